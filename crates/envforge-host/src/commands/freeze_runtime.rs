//! `FREEZE_RUNTIME`: every process stands still, connections stay open, a wake is a thaw.
//!
//! What memory can be given back is given back once the pause has lasted a while: pushing it out takes tens of
//! milliseconds to undo, which a quick thaw should not pay.

use crate::engines::Layer;
use crate::files::Durability;
use crate::journal::Intent;
use crate::trouble::{blocked, unwritable};
use crate::workspace::driver::Driver;
use envforge_api::host::{HostCommand, Outcome};
use std::sync::Arc;
use std::time::Duration;

/// How long a pause lasts before memory is given back.
const RECLAIM_AFTER: Duration = Duration::from_secs(30);

pub(super) async fn obey(driver: &mut Driver, command: HostCommand) {
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
    let (ctx, place) = (Arc::clone(&driver.ctx), driver.place.clone());
    driver.runtime.reclaim = Some(driver.ctx.tasks.spawn_owned("reclaim", async move {
        tokio::time::sleep(RECLAIM_AFTER).await;
        match ctx.engine.reclaim(&place, Layer::Runtime).await {
            Ok(bytes) => tracing::debug!(workspace = %place.workspace, bytes, "runtime: memory given back"),
            Err(error) => tracing::debug!(workspace = %place.workspace, %error, "runtime: no memory given back"),
        }
    }));
}
