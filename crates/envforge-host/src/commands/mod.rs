//! Commands of the server, one file per verb.
//!
//! [`obey`] is called with a command that was not answered and is not older than what was obeyed. A verb journals what
//! it is about to do, does it, reports what is, and answers; one that takes long becomes the driver's operation and
//! goes on in [`finished`]. A command that can't be journaled is answered so and changes nothing. Every verb may run again from
//! any point at which the daemon may have died: it looks at what is there before it makes it.

mod change_service;
mod destroy_workspace;
mod end_elevation;
mod freeze_runtime;
mod name_dev_hosts;
mod prepare_shell;
mod rotate_credential;
mod run_job;
mod start_runtime;
mod stop_runtime;

use crate::faults;
use crate::files::Durability;
use crate::journal::WorkspaceState;
use crate::sys::sandbox::Sandbox;
use crate::trouble::{Blocked, blocked, unwritable};
use crate::workspace::driver::{Driver, Operation};
use crate::workspace::events::Event;
use envforge_api::host::{HostCommand, Order, Outcome};
use std::sync::Arc;
use tracing::Span;

/// What an operation came to.
pub(crate) enum Finished {
    /// The checkout is there and the shell runs.
    Prepared(Result<Arc<Sandbox>, Blocked>),
    /// The hook that runs before a pause has ended.
    Quieted,
    /// A credential is another one, and who was given the one from before ends.
    Rotated(rotate_credential::Step),
    /// The runtime is gone.
    Stopped(Result<(), Blocked>),
    /// Both layers are gone; the rest of the workspace is still there.
    Ended(Result<(), Blocked>),
    /// Nothing of the workspace is left but its journal.
    Removed(Result<(), Blocked>),
}

/// Carries a command out, or begins to.
pub(crate) async fn obey(driver: &mut Driver, command: HostCommand) {
    faults::command(command.generation);
    faults::point("command.taken");
    match command.order.clone() {
        Order::PrepareShell(prepare) => prepare_shell::obey(driver, command, prepare).await,
        Order::StartRuntime(start) => start_runtime::obey(driver, command, start).await,
        Order::NameDevHosts(named) => name_dev_hosts::obey(driver, command, named).await,
        Order::FreezeRuntime => freeze_runtime::obey(driver, command).await,
        Order::StopRuntime => stop_runtime::obey(driver, command),
        Order::RunJob(job) => run_job::obey(driver, command, job).await,
        Order::ChangeService(change) => change_service::obey(driver, command, &change).await,
        Order::RotateCredential(rotate) => rotate_credential::obey(driver, command, rotate),
        Order::EndElevation(end) => end_elevation::obey(driver, command, end).await,
        Order::DestroyWorkspace => destroy_workspace::obey(driver, command),
    }
}

/// Goes on after an operation.
pub(crate) async fn finished(driver: &mut Driver, command: HostCommand, finished: Finished) {
    match finished {
        Finished::Prepared(result) => prepare_shell::finished(driver, command, result).await,
        Finished::Quieted => freeze_runtime::pause(driver, command).await,
        Finished::Rotated(step) => rotate_credential::goes_on(driver, command, step).await,
        Finished::Stopped(result) => stop_runtime::finished(driver, &command, result),
        Finished::Ended(result) => destroy_workspace::ended(driver, command, result),
        Finished::Removed(result) => destroy_workspace::removed(driver, &command, result),
    }
}

/// Changes the state and journals it; if the journal can't take it, nothing is changed and the command is answered so.
fn journaled(
    driver: &mut Driver,
    command: &HostCommand,
    durability: Durability,
    change: impl FnOnce(&mut WorkspaceState),
) -> bool {
    let before = driver.state.clone();
    driver.state.generation = command.generation;
    change(&mut driver.state);
    match driver.save(durability) {
        Ok(()) => true,
        Err(error) => {
            driver.state = before;
            driver.say_answer(command.id, Outcome::Failed(unwritable(&error).into()));
            false
        }
    }
}

/// Makes a command the driver's operation.
fn begin(driver: &mut Driver, command: HostCommand, work: impl Future<Output = Finished> + Send + 'static) {
    let (queue, id) = (driver.queue.clone(), command.id);
    let task = driver.ctx.tasks.spawn_owned("operation", async move {
        drop(queue.send(Event::Finished(id, Box::new(work.await))));
    });
    driver.operation = Some(Operation { command, span: Span::current(), _task: task });
}

fn not_prepared() -> Blocked {
    blocked("workspace.not_prepared", "the workspace's shell was not prepared on this host", "prepare its shell first")
}
