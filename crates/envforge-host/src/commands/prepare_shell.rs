//! `PREPARE_SHELL`: directories, Linux user, network, checkout, context, shell.
//!
//! Done when somebody can attach. The setup hook is begun and not waited for.

use super::{Finished, begin, journaled};
use crate::checkout;
use crate::ctx::HostContext;
use crate::files::Durability;
use crate::place::Place;
use crate::sys::sandbox::Sandbox;
use crate::trouble::{Blocked, blocked, unwritable};
use crate::workspace::driver::Driver;
use crate::workspace::layers::Held;
use crate::workspace::layers::start_shell;
use envforge_api::host::{HostCommand, ManifestReport, Outcome, PrepareShell};
use std::sync::Arc;

pub(super) fn obey(driver: &mut Driver, command: HostCommand, prepare: PrepareShell) {
    let is_new = driver.state.revision == 0;
    if let Err(error) = driver.place.create() {
        driver.say_answer(command.id, Outcome::Failed(unwritable(&error).into()));
        return give_up_if(is_new, driver);
    }
    if !journaled(driver, &command, Durability::Machine, |state| state.prepared = Some(prepare.clone())) {
        return give_up_if(is_new, driver);
    }
    driver.shell_trouble = None;
    driver.serve_git(&prepare);
    driver.publish();
    let (ctx, place, running) = (Arc::clone(&driver.ctx), driver.place.clone(), driver.shell.sandbox.clone());
    begin(driver, command, async move { Finished::Prepared(work(ctx, place, prepare, running).await) });
}

/// A workspace that never was in a journal leaves nothing behind.
fn give_up_if(is_new: bool, driver: &mut Driver) {
    if is_new {
        driver.abandon();
    }
}

async fn work(
    ctx: Arc<HostContext>,
    place: Place,
    prepare: PrepareShell,
    running: Option<Arc<Sandbox>>,
) -> Result<Arc<Sandbox>, Blocked> {
    // Neither needs the other: the repository is fetched by a process of the host.
    let (network, checkout) = tokio::join!(
        ctx.engine.prepare_network(&place),
        checkout::ensure(&place, ctx.data.path(), &prepare.repository, &prepare.branch)
    );
    checkout?;
    let network =
        network.map_err(|error| blocked("shell.no_network", error.to_string(), "see the host daemon's log"))?;
    if let Some(why) = network {
        tracing::warn!(workspace = %place.workspace, why, "network: the workspace has no way out");
    }
    match running.filter(|sandbox| sandbox.is_running()) {
        Some(sandbox) => Ok(sandbox),
        None => start_shell(&ctx, &place, &prepare).await,
    }
}

pub(super) async fn finished(driver: &mut Driver, command: HostCommand, result: Result<Arc<Sandbox>, Blocked>) {
    let outcome = match result {
        Ok(sandbox) => {
            if driver.shell.pid() != Some(sandbox.pid()) {
                driver.hold(Held::Shell, sandbox);
            }
            driver.shell_trouble = None;
            if let ManifestReport::Valid { manifest } = driver.read_manifest() {
                if driver.shell.client.is_some() {
                    driver.ensure_setup(&manifest).await;
                }
                driver.prepare_database(&manifest);
            }
            Outcome::Done
        }
        Err(block) => {
            driver.shell_trouble = Some(block.clone());
            Outcome::Failed(block.into())
        }
    };
    driver.publish();
    driver.answer(command.id, outcome, Durability::Machine);
}
