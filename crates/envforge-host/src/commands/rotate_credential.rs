//! `ROTATE_CREDENTIAL`: a resource asks for another password or key from now on, and who was given the one from before starts anew.
//!
//! ```text
//!   journal ─► the new one, beside the old ─► the database's role ─► in the old one's place ─► services end ─► start
//!              (its file's `.next`)            (PostgreSQL alone)      (a rename)
//! ```
//!
//! The journal holds what marks the old one, never either of the two. So a daemon that died anywhere on the way is followed by
//! one that goes on with it at once, and knows whether a new one was made: there is never a third. A runtime that is not there
//! is not woken, and one that is paused is not touched: its processes would go on with what is refused by then. The server has it
//! stopped first.

use super::{Finished, begin, journaled, not_prepared};
use crate::files::Durability;
use crate::journal::Rotating;
use crate::resources::{credential, mark_of, object_storage};
use crate::trouble::{Blocked, blocked};
use crate::workspace::driver::Driver;
use envforge_api::host::{HostCommand, Order, Outcome, RotateCredential};
use envforge_core::manifest::ResourceKind;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at a runtime that can't be told anything yet, or a resource that is not ready yet.
const AGAIN: Duration = Duration::from_millis(20);
/// How often it is looked.
const LOOKS: u32 = 500;

/// How far it is.
pub(crate) enum Step {
    /// The credential was changed, or not; so often it was looked whether the runtime can be told.
    Changed(Result<(), Blocked>, u32),
    /// Services, and the resource if it is a process, have ended.
    Ended,
    /// The resource was started again; so often it was looked whether it is ready.
    Started(u32),
}

pub(super) fn obey(driver: &mut Driver, command: HostCommand, RotateCredential { resource }: RotateCredential) {
    let before = match check(driver, &command, resource) {
        Ok(Some(before)) => before,
        // Nobody was ever given one.
        Ok(None) => return finish(driver, &command, Outcome::Done),
        Err(block) => return finish(driver, &command, Outcome::Failed(block.into())),
    };
    let begun = driver.state.rotating.clone().filter(|rotating| rotating.command.id == command.id);
    let rotating =
        begun.unwrap_or_else(|| Rotating { command: command.clone(), before: before.clone(), ended: BTreeSet::new() });
    if !journaled(driver, &command, Durability::Machine, |state| state.rotating = Some(rotating)) {
        return;
    }
    let (ctx, place) = (Arc::clone(&driver.ctx), driver.place.clone());
    begin(driver, command, async move {
        let changed = match resource {
            ResourceKind::Postgres => ctx.postgres.rotate(&place, &before, ctx.entropy.as_ref()).await,
            _ => object_storage::rotate(&place, &before, ctx.entropy.as_ref()).map_err(|error| not_written(&error)),
        };
        Finished::Rotated(Step::Changed(changed, 0))
    });
}

/// What marks the credential that is to go.
fn check(driver: &Driver, command: &HostCommand, resource: ResourceKind) -> Result<Option<String>, Blocked> {
    if driver.state.prepared.is_none() {
        return Err(not_prepared());
    }
    let path = credential(resource, &driver.place).ok_or_else(|| {
        blocked(
            "resource.no_credential",
            format!("{resource} has no password or key: nobody but the workspace reaches it"),
            "nothing is to be done",
        )
    })?;
    if driver.is_frozen() {
        return Err(blocked(
            "resource.paused",
            "the runtime is paused, and what runs in it would go on with what is refused by then; nothing was changed",
            "`envforge sleep --stop`, or wake it; then try again",
        ));
    }
    // Begun by an earlier daemon, perhaps.
    match &driver.state.rotating {
        Some(rotating) if rotating.command.id == command.id => Ok(Some(rotating.before.clone())),
        _ => mark_of(&path).map_err(|error| not_written(&error)),
    }
}

/// Goes on after a step.
pub(super) async fn goes_on(driver: &mut Driver, command: HostCommand, step: Step) {
    let Order::RotateCredential(RotateCredential { resource }) = command.order else { return };
    match step {
        Step::Changed(Err(block), _) => finish(driver, &command, Outcome::Failed(block.into())),
        Step::Changed(Ok(()), _) if driver.layer.sandbox.is_none() => {
            tracing::info!(workspace = %driver.place.workspace, %resource, "resource: its credential is another one");
            finish(driver, &command, Outcome::Done);
        }
        Step::Changed(Ok(()), looks) if !driver.is_active() || !driver.runtime.reconciled => {
            if looks >= LOOKS {
                return finish(driver, &command, Outcome::Failed(not_told().into()));
            }
            later(driver, command, Step::Changed(Ok(()), looks + 1));
        }
        Step::Changed(Ok(()), _) => {
            tracing::info!(workspace = %driver.place.workspace, %resource, "resource: its credential is another one");
            let end = driver.end_users(resource);
            begin(driver, command, async move {
                end.await;
                Finished::Rotated(Step::Ended)
            });
        }
        Step::Ended => {
            driver.start_again(resource).await;
            start(driver, command, resource, 0).await;
        }
        Step::Started(looks) => start(driver, command, resource, looks).await,
    }
}

/// Starts services again, once the resource is ready: one that takes it as an option would start without it.
async fn start(driver: &mut Driver, command: HostCommand, resource: ResourceKind, looks: u32) {
    if driver.is_starting(resource) && looks < LOOKS {
        return later(driver, command, Step::Started(looks + 1));
    }
    driver.let_users_start(resource);
    // Noted before anything starts: a daemon that takes over must not end it for a second time.
    driver.state.remember(command.id, Outcome::Done);
    let noted = driver.save(Durability::Process);
    driver.settle().await;
    match noted {
        Ok(()) => driver.say_answer(command.id, Outcome::Done),
        Err(_) => driver.answer(command.id, Outcome::Done, Durability::Process),
    }
}

fn later(driver: &mut Driver, command: HostCommand, step: Step) {
    begin(driver, command, async move {
        tokio::time::sleep(AGAIN).await;
        Finished::Rotated(step)
    });
}

fn finish(driver: &mut Driver, command: &HostCommand, outcome: Outcome) {
    driver.state.rotating.take_if(|rotating| rotating.command.id == command.id);
    driver.answer(command.id, outcome, Durability::Process);
}

fn not_told() -> Blocked {
    blocked(
        "resource.not_told",
        "the credential is another one, and the runtime's init does not answer: services still have the one from before",
        "`envforge sleep --stop`, then `envforge wake`",
    )
}

fn not_written(error: &io::Error) -> Blocked {
    blocked(
        "resource.not_rotated",
        format!("nothing was changed: {error}"),
        "see that the host's disk has room, then try again",
    )
}
