//! Brings a database's schema up to date, as its owner. May run again at any time.
//!
//! `all` runs it as a process of its own before the server starts: the server never sees the owner's password.

use crate::args::MigrateArguments;
use crate::private;
use crate::roles::server::database_url;
use anyhow::Context as _;
use std::process::ExitCode;

/// Migrates.
pub(crate) fn run(arguments: &MigrateArguments) -> anyhow::Result<ExitCode> {
    crate::telemetry::start();
    let url = database_url(arguments.database_url_file.as_deref())?;
    let password = private::read(&arguments.app_password_file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(envforge_server::migrate(url.expose(), &password)).context("migrating the database")?;
    Ok(ExitCode::SUCCESS)
}
