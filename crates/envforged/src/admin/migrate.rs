//! Changes a database's schema, as its owner: up to date, or to a version. May run again at any time, and beside others.
//!
//! `all` runs it as a process of its own before the server starts: the server never sees the owner's password. On a
//! fleet an upgrade without an outage is this, then the new servers, then the end of the old ones.

use crate::advice::advised;
use crate::args::MigrateArguments;
use crate::private;
use crate::roles::all::layout::Layout;
use crate::roles::server::database_url;
use anyhow::Context as _;
use envforge_core::secret::Secret;
use envforge_server::schema::{self, Plan, SchemaError, Step};
use serde_json::json;
use std::io::Write as _;
use std::process::ExitCode;

/// Migrates, or shows what that would do.
pub(crate) fn run(arguments: &MigrateArguments) -> anyhow::Result<ExitCode> {
    crate::telemetry::start();
    let url = owner_url(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let plan = runtime.block_on(async {
        if arguments.plan {
            return schema::plan(url.expose(), arguments.to).await.map_err(|error| explain(&error));
        }
        let password = match &arguments.app_password_file {
            Some(path) => private::read(path)?,
            None => private::read(&Layout::of(&arguments.place)?.database_secret("app.password"))?,
        };
        let migrated = match arguments.to {
            Some(version) => schema::migrate_to(url.expose(), &password, version).await,
            None => schema::migrate(url.expose(), &password).await,
        };
        migrated.map_err(|error| explain(&error))
    });
    show(&plan.context("migrating the database")?, arguments)?;
    Ok(ExitCode::SUCCESS)
}

/// The URL in the file, else the one in `DATABASE_URL`, else the one box's own.
fn owner_url(arguments: &MigrateArguments) -> anyhow::Result<Secret> {
    let is_given = arguments.database_url_file.is_some() || std::env::var_os("DATABASE_URL").is_some();
    let own = Layout::of(&arguments.place)?.database_secret("owner.url");
    if !is_given && own.exists() {
        return private::read(&own);
    }
    database_url(arguments.database_url_file.as_deref())
}

fn explain(error: &SchemaError) -> anyhow::Error {
    let fix = error.fix();
    advised(error.to_string(), fix)
}

fn show(plan: &Plan, arguments: &MigrateArguments) -> anyhow::Result<()> {
    let kind = |step: &Step| if step.is_contract { "contract" } else { "expand" };
    let mut out = std::io::stdout().lock();
    if arguments.json {
        let list = |steps: &[Step]| -> Vec<serde_json::Value> {
            steps.iter().map(|step| json!({ "version": step.version, "name": step.name, "kind": kind(step) })).collect()
        };
        let report =
            json!({ "from": plan.from, "up": list(&plan.up), "down": list(&plan.down), "done": !arguments.plan });
        serde_json::to_writer_pretty(&mut out, &report)?;
        return Ok(writeln!(out)?);
    }
    for step in &plan.up {
        writeln!(out, "+ {:04} {} ({})", step.version, step.name, kind(step))?;
    }
    for step in &plan.down {
        writeln!(out, "- {:04} {}", step.version, step.name)?;
    }
    if plan.up.is_empty() && plan.down.is_empty() && (arguments.plan || arguments.to.is_some()) {
        writeln!(out, "nothing to do: the schema is at version {}", plan.from)?;
    }
    Ok(())
}
