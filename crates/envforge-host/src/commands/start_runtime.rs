//! `START_RUNTIME`: a thaw, a start, or another try of what is blocked.
//!
//! Of a runtime that is awake, a start reads the manifest again: what is blocked is tried, what changed is started anew,
//! what is to run and did not change goes on, and what was stopped on order or has ended stays so.
//!
//! A thaw is the hot path: one write to the kernel, one to the journal (not synced), and the report is on its way.
//! A start is answered when the runtime's sandbox is there; its services follow, and what becomes of them is reported.

use super::{journaled, not_prepared};
use crate::engines::Layer;
use crate::files::Durability;
use crate::journal::Intent;
use crate::trouble::{Blocked, blocked, unwritable};
use crate::workspace::driver::Driver;
use crate::workspace::layers::Held;
use crate::workspace::layers::{runtime_limits, runtime_plan};
use crate::workspace::manifest::usable;
use envforge_api::host::{HostCommand, Outcome, StartRuntime};
use envforge_core::manifest::{Manifest, ResourceKind};
use jiff::Timestamp;
use std::sync::Arc;

pub(super) async fn obey(driver: &mut Driver, command: HostCommand, order: StartRuntime) {
    if let Intent::Frozen { order: before, since } = driver.state.intent.clone()
        && driver.layer.sandbox.is_some()
    {
        return thaw(driver, command, order, &before, since).await;
    }
    if driver.state.prepared.is_none() || !driver.place.checkout().exists() {
        return driver.answer(command.id, Outcome::Failed(not_prepared().into()), Durability::Process);
    }
    if !journaled(driver, &command, Durability::Process, |state| state.intent = Intent::Awake { order: order.clone() })
    {
        return;
    }
    tracing::info!(workspace = %driver.place.workspace, size = %order.size, cause = order.cause, "runtime: wake");
    driver.runtime.trouble = None;
    let outcome = match start(driver, &order).await {
        Ok(()) => Outcome::Done,
        Err(block) => {
            driver.fail_pending_jobs(&block.cause);
            // What runs already goes on as it was.
            if driver.layer.sandbox.is_none() {
                driver.state.intent = Intent::Asleep;
                driver.runtime.trouble = Some(block.clone());
            }
            Outcome::Failed(block.into())
        }
    };
    driver.settle().await;
    driver.answer(command.id, outcome, Durability::Process);
}

/// Lets a paused runtime go on.
async fn thaw(driver: &mut Driver, command: HostCommand, order: StartRuntime, before: &StartRuntime, since: Timestamp) {
    if let Err(error) = driver.ctx.engine.thaw(&driver.place, Layer::Runtime) {
        let block = blocked(
            "runtime.not_thawed",
            format!("the runtime could not be resumed: {error}"),
            "stop it, then wake it again",
        );
        return driver.answer(command.id, Outcome::Failed(block.into()), Durability::Process);
    }
    driver.runtime.reclaim = None;
    let previous = driver.state.clone();
    driver.state.generation = command.generation;
    driver.state.intent = Intent::Awake { order: order.clone() };
    driver.state.remember(command.id, Outcome::Done);
    driver.state.wake_of = Some(since);
    driver.skip_time(since);
    driver.publish();
    if driver.unsaved {
        // Nothing was told. What can't be remembered is not done.
        driver.state = previous;
        driver.news.manifest = true;
        let frozen = driver.ctx.engine.freeze(&driver.place, Layer::Runtime).await;
        if let Err(error) = frozen {
            tracing::error!(workspace = %driver.place.workspace, %error, "runtime: not paused again after its journal could not be written");
        }
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        return driver.say_answer(command.id, Outcome::Failed(unwritable(&full).into()));
    }
    driver.say_answer(command.id, Outcome::Done);
    driver.after_wake();
    if before.size != order.size {
        set_limits(driver, &order);
        driver.retry_out_of_memory();
    }
    driver.resume_probes();
    driver.reconcile_if_needed();
    driver.settle().await;
}

/// Brings the runtime up from whatever is there.
async fn start(driver: &mut Driver, order: &StartRuntime) -> Result<(), Blocked> {
    if driver.layer.sandbox.as_ref().is_some_and(|sandbox| !sandbox.is_running()) {
        driver.runtime_is_gone("the runtime ended while it ran");
        driver.state.intent = Intent::Awake { order: order.clone() };
    }
    let manifest = usable(&driver.read_manifest())?;
    let to_end = driver.runtime.load(&manifest);
    for (name, grace) in to_end {
        driver.end_process(name, grace);
    }
    let database = |manifest: &Manifest| manifest.resources.get(&ResourceKind::Postgres).cloned();
    if driver.state.running.as_ref().map(database) != Some(database(&manifest)) {
        // What is there stays, and what is asked for now is added.
        driver.runtime.resources.remove(&ResourceKind::Postgres);
    }
    driver.state.running = Some(manifest.clone());
    driver.ensure_setup(&manifest).await;
    driver.refresh_context();
    if driver.layer.sandbox.is_some() {
        set_limits(driver, order);
        driver.fetch_secrets_anew();
        driver.after_wake();
        if driver.is_active() && driver.runtime.reconciled {
            driver.begin_resources().await;
        }
        return Ok(());
    }
    build(driver, order, &manifest).await
}

/// Has the runtime, which is awake, be as the file is now.
pub(super) async fn take_file(driver: &mut Driver) -> Result<(), Blocked> {
    match driver.order().cloned() {
        Some(order) => start(driver, &order).await,
        None => Ok(()),
    }
}

async fn build(driver: &mut Driver, order: &StartRuntime, manifest: &Manifest) -> Result<(), Blocked> {
    let failed = |cause: String| {
        blocked(
            "runtime.not_started",
            format!("the runtime could not be started: {cause}"),
            "see the host daemon's log, then wake it again",
        )
    };
    let prepared = driver.state.prepared.clone().ok_or_else(not_prepared)?;
    let plan = runtime_plan(&driver.ctx, &driver.place, &prepared, order);
    let network = driver.ctx.engine.prepare_network(&driver.place).await;
    network.map_err(|error| failed(error.to_string()))?;
    let started = driver.ctx.engine.start(&driver.place, &plan).await;
    driver.ctx.metrics.sandbox_started(Layer::Runtime, started.is_ok());
    let sandbox = started.map_err(|error| failed(error.to_string()))?;
    driver.state.process_started = false;
    driver.runtime.reconciled = false;
    driver.count_memory_anew();
    driver.hold(Held::Runtime, Arc::new(sandbox));
    driver.fetch_secrets();
    tracing::debug!(workspace = %driver.place.workspace, services = manifest.services.len(), "runtime: its sandbox is there");
    Ok(())
}

fn set_limits(driver: &Driver, order: &StartRuntime) {
    if let Err(error) = driver.ctx.engine.limit(&driver.place, Layer::Runtime, runtime_limits(order.size)) {
        tracing::warn!(workspace = %driver.place.workspace, %error, "runtime: its limits were not changed");
    }
}
