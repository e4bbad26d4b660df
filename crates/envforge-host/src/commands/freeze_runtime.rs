//! `FREEZE_RUNTIME`: every process stands still, connections stay open, a wake is a thaw.
//!
//! A hook of the repository may run first ([`crate::workspace`]'s `hooks`); until it has ended, any later order wins. What
//! memory can be given back is given back once the pause has lasted as long as the manifest says: it takes tens of
//! milliseconds to come again, which a quick thaw should not pay.

use super::{Finished, begin};
use crate::engines::Layer;
use crate::files::Durability;
use crate::journal::Intent;
use crate::trouble::{blocked, unwritable};
use crate::workspace::driver::Driver;
use envforge_api::host::{HostCommand, Outcome};
use std::sync::Arc;
use std::time::Duration;

pub(super) async fn obey(driver: &mut Driver, command: HostCommand) {
    let Some(hook) = driver.before_sleep(command.id) else { return pause(driver, command).await };
    begin(driver, command, async move {
        hook.await;
        Finished::Quieted
    });
}

/// The pause itself.
pub(super) async fn pause(driver: &mut Driver, command: HostCommand) {
    let previous = driver.state.clone();
    driver.state.generation = command.generation;
    let order = match driver.state.intent.clone() {
        Intent::Awake { order } if driver.layer.sandbox.is_some() => order,
        // There is nothing to pause, or it is paused.
        _ => {
            driver.publish();
            return driver.answer(command.id, Outcome::Done, Durability::Process);
        }
    };
    driver.drop_probes();
    if let Err(error) = driver.ctx.engine.freeze(&driver.place, Layer::Runtime).await {
        drop(driver.ctx.engine.thaw(&driver.place, Layer::Runtime));
        driver.resume_probes();
        driver.settle().await;
        let block =
            blocked("runtime.not_frozen", format!("the runtime could not be paused: {error}"), "stop it instead");
        return driver.answer(command.id, Outcome::Failed(block.into()), Durability::Process);
    }
    driver.state.intent = Intent::Frozen { order, since: driver.ctx.now() };
    driver.state.wake_of = None;
    driver.state.remember(command.id, Outcome::Done);
    driver.publish();
    if driver.unsaved {
        driver.state = previous;
        driver.news.manifest = true;
        drop(driver.ctx.engine.thaw(&driver.place, Layer::Runtime));
        driver.resume_probes();
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        return driver.say_answer(command.id, Outcome::Failed(unwritable(&full).into()));
    }
    driver.say_answer(command.id, Outcome::Done);
    driver.reclaim_later();
}

impl Driver {
    /// Gives back the memory of a runtime that is paused, once the pause has lasted long enough.
    pub(crate) fn reclaim_later(&mut self) {
        let Intent::Frozen { since, .. } = &self.state.intent else { return };
        let passed = Duration::try_from(self.ctx.now().duration_since(*since)).unwrap_or_default();
        let policy = self.state.running.as_ref().map(|manifest| manifest.runtime).unwrap_or_default();
        let left = Duration::from_secs(policy.reclaim_after.into()).saturating_sub(passed);
        let (ctx, place) = (Arc::clone(&self.ctx), self.place.clone());
        self.runtime.reclaim = Some(self.ctx.tasks.spawn_owned("reclaim", async move {
            tokio::time::sleep(left).await;
            match ctx.engine.reclaim(&place, Layer::Runtime).await {
                Ok(bytes) => tracing::debug!(workspace = %place.workspace, bytes, "runtime: memory given back"),
                Err(error) => {
                    tracing::warn!(workspace = %place.workspace, %error, "runtime: its memory stays while it sleeps");
                }
            }
        }));
    }
}
