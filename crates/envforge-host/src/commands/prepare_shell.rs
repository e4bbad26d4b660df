//! `PREPARE_SHELL`: directories, Linux user, network, checkout, context, shell.
//!
//! Done when somebody can attach. The setup hook is begun and not waited for.

use super::{Finished, begin, journaled};
use crate::checkout;
use crate::ctx::HostContext;
use crate::files::Durability;
use crate::fork::{self, Source};
use crate::journal::{Journal, SetupState, WorkspaceState};
use crate::place::Place;
use crate::sys::sandbox::Sandbox;
use crate::trouble::{Blocked, blocked, unwritable};
use crate::workspace::driver::Driver;
use crate::workspace::layers::Held;
use crate::workspace::layers::start_shell;
use crate::workspace::view::FilesLock;
use envforge_api::host::{HostCommand, ManifestReport, Outcome, PrepareShell};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) async fn obey(driver: &mut Driver, command: HostCommand, prepare: PrepareShell) {
    let is_new = driver.state.revision == 0;
    // What is there already takes hardly any room to be started again.
    let refusal = if driver.place.checkout().exists() { None } else { driver.ctx.disk.refusal() };
    if let Some(low) = refusal {
        driver.say_answer(command.id, Outcome::Failed(low.into()));
        return give_up_if(is_new, driver);
    }
    if let Err(error) = driver.place.create() {
        driver.say_answer(command.id, Outcome::Failed(unwritable(&error).into()));
        return give_up_if(is_new, driver);
    }
    let source = source(driver, &prepare).await;
    // What the source's setup made is in its files, and comes with them.
    let setup = source.as_ref().and_then(|source| {
        let state = Journal::of(&source.place).read().ok().flatten()?;
        state.setup.filter(|record| record.state == SetupState::Done)
    });
    let note = |state: &mut WorkspaceState| {
        state.prepared = Some(prepare.clone());
        state.setup = setup.or(state.setup.take());
    };
    if !journaled(driver, &command, Durability::Machine, note) {
        return give_up_if(is_new, driver);
    }
    driver.shell_trouble = None;
    driver.serve_git(&prepare);
    driver.publish();
    let begins = Beginning { source, files: driver.view.files(), running: driver.shell.sandbox.clone() };
    let (ctx, place) = (Arc::clone(&driver.ctx), driver.place.clone());
    begin(driver, command, async move { Finished::Prepared(work(ctx, place, prepare, begins).await) });
}

/// What there is before the work begins.
struct Beginning {
    /// What it is to be a copy of.
    source: Option<Source>,
    files: FilesLock,
    running: Option<Arc<Sandbox>>,
}

/// The workspace that this one is a fork of: one of this host, and of the same project. One that has its checkout needs
/// none any more.
async fn source(driver: &Driver, prepare: &PrepareShell) -> Option<Source> {
    if driver.place.checkout().exists() {
        return None;
    }
    let view = driver.workspaces.view(prepare.fork_of?)?;
    // Right after a start of the daemon it may not be known yet what there is of it.
    view.taken_up().await;
    let seen = view.get();
    let is_of_project = seen
        .prepared
        .as_ref()
        .is_some_and(|source| source.names.project == prepare.names.project && source.names.org == prepare.names.org);
    let place = seen.place.clone();
    drop(seen);
    (is_of_project && place.checkout().exists()).then(|| Source { place, files: view.files() })
}

/// The workspace's files: a copy of another's, or a clone of the repository.
async fn files(
    ctx: &Arc<HostContext>,
    place: &Place,
    prepare: &PrepareShell,
    begins: &Beginning,
) -> Result<(), Blocked> {
    match (&begins.source, prepare.fork_of) {
        (Some(source), _) => fork::make(ctx, source, place, &prepare.branch, &begins.files).await,
        (None, Some(_)) if !place.checkout().exists() => Err(fork::no_source()),
        _ => checkout::ensure(place, ctx.data.path(), &prepare.repository, &prepare.branch).await,
    }
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
    begins: Beginning,
) -> Result<Arc<Sandbox>, Blocked> {
    // Neither needs the other: the repository is fetched by a process of the host.
    let (network, checkout) = tokio::join!(ctx.engine.prepare_network(&place), files(&ctx, &place, &prepare, &begins));
    checkout?;
    let network =
        network.map_err(|error| blocked("shell.no_network", error.to_string(), "see the host daemon's log"))?;
    if let Some(why) = network {
        tracing::warn!(workspace = %place.workspace, why, "network: the workspace has no way out");
    }
    match begins.running.filter(|sandbox| sandbox.is_running()) {
        Some(sandbox) => Ok(sandbox),
        None => start_shell(&ctx, &place, &prepare, &BTreeMap::new()).await,
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
