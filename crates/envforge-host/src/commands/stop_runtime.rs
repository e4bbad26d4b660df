//! `STOP_RUNTIME`: every service is asked to end, given its grace, and ended; then resources, then the sandbox.
//!
//! A paused runtime is resumed for it, so that services can end in order; that moment is not reported as awake, because nothing was
//! woken.

use super::{Finished, begin, journaled};
use crate::ctx::HostContext;
use crate::engines::Layer;
use crate::files::Durability;
use crate::init::client::InitClient;
use crate::init::protocol::ProcessState;
use crate::journal::Intent;
use crate::place::Place;
use crate::resources::redis;
use crate::services::supervisor::Event as Change;
use crate::sys::sandbox::Sandbox;
use crate::trouble::{Blocked, blocked};
use crate::workspace::driver::Driver;
use crate::workspace::runtime::grace;
use envforge_api::host::{HostCommand, Outcome};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What jobs and other processes get between the request and the kill.
const OTHER_GRACE: Duration = Duration::from_secs(5);
/// How long an init may take to answer a connection.
const REACH_LIMIT: Duration = Duration::from_secs(2);
/// How long the sandbox may take to end once nothing is left in it.
const END_LIMIT: Duration = Duration::from_secs(3);

pub(super) fn obey(driver: &mut Driver, command: HostCommand) {
    let was_frozen = driver.is_frozen();
    if !journaled(driver, &command, Durability::Process, |_| {}) {
        return;
    }
    driver.fail_pending_jobs("the runtime was stopped before the job began");
    driver.drop_probes();
    driver.runtime.trouble = None;
    driver.runtime.stopping = true;
    driver.runtime.reclaim = None;
    if driver.layer.sandbox.is_some() && !was_frozen {
        driver.publish();
    }
    let work = driver.end_runtime();
    begin(driver, command, async move { Finished::Stopped(work.await) });
}

pub(super) fn finished(driver: &mut Driver, command: &HostCommand, result: Result<(), Blocked>) {
    let outcome = match result {
        Ok(()) => {
            driver.runtime_is_gone("the runtime was stopped");
            Outcome::Done
        }
        Err(block) => {
            driver.runtime.stopping = false;
            Outcome::Failed(block.into())
        }
    };
    driver.publish();
    driver.answer(command.id, outcome, Durability::Process);
}

impl Driver {
    /// Ends the runtime in order; what does not end in time is killed.
    pub(super) fn end_runtime(&mut self) -> impl Future<Output = Result<(), Blocked>> + Send + 'static {
        let mut graces = BTreeMap::new();
        let now = self.ctx.now();
        for (name, unit) in &mut self.runtime.units {
            graces.insert(format!("service.{name}"), grace(&unit.declared));
            unit.supervisor.handle(Change::Stop, now);
        }
        if let Some(unit) = &mut self.runtime.redis {
            unit.supervisor.handle(Change::Stop, now);
        }
        let frozen = matches!(self.state.intent, Intent::Frozen { .. });
        let (ctx, place) = (Arc::clone(&self.ctx), self.place.clone());
        let (sandbox, client) = (self.layer.sandbox.clone(), self.layer.client.clone());
        async move {
            if let Some(sandbox) = sandbox {
                if frozen {
                    drop(ctx.engine.thaw(&place, Layer::Runtime));
                }
                end_in_order(&sandbox, client, &graces).await;
            }
            clear(&ctx, &place, Layer::Runtime).await
        }
    }
}

async fn end_in_order(sandbox: &Sandbox, client: Option<InitClient>, graces: &BTreeMap<String, Duration>) {
    let client = match client {
        Some(client) => Some(client),
        None => tokio::time::timeout(REACH_LIMIT, sandbox.connect()).await.ok().and_then(Result::ok),
    };
    let Some(client) = client else { return };
    let Ok(Ok(known)) = tokio::time::timeout(REACH_LIMIT, client.list()).await else { return };
    let running = known.processes.iter().filter(|record| record.state == ProcessState::Running);
    let names: Vec<String> = running.map(|record| record.name.clone()).filter(|name| name != redis::PROCESS).collect();
    let stops = names.iter().map(|name| client.stop(name, graces.get(name).copied().unwrap_or(OTHER_GRACE)));
    drop(futures_util::future::join_all(stops).await);
    // Last, so that services could still write to it.
    drop(client.stop(redis::PROCESS, OTHER_GRACE).await);
    if client.shutdown(Duration::from_secs(1)).await.is_ok() {
        drop(tokio::time::timeout(END_LIMIT, sandbox.ended()).await);
    }
}

/// Ends whatever is left of a layer.
pub(super) async fn clear(ctx: &HostContext, place: &Place, layer: Layer) -> Result<(), Blocked> {
    let ended = ctx.engine.end(place, layer).await;
    ended.map_err(|error| {
        blocked(
            "runtime.not_stopped",
            format!("the {layer} could not be ended: {error}"),
            "see the host daemon's log, then try again",
        )
    })
}
