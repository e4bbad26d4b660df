//! `STOP_RUNTIME`: every service is asked to end, given its grace, and ended; then resources, then the sandbox.
//!
//! A paused runtime is resumed for it, so that services can end in order; that moment is not reported as awake, because nothing was
//! woken. A daemon that dies on the way leaves the command in the journal and the next one goes on with it at once: what is half
//! ended must be neither started again nor taken for awake.

use super::{Finished, begin, journaled};
use crate::ctx::HostContext;
use crate::engines::Layer;
use crate::faults::point;
use crate::files::Durability;
use crate::init::client::InitClient;
use crate::init::protocol::ProcessState;
use crate::journal::Intent;
use crate::place::Place;
use crate::resources;
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
    if !journaled(driver, &command, Durability::Process, |state| state.stopping = Some(command.clone())) {
        return;
    }
    let hook = driver.before_sleep(command.id);
    driver.fail_pending_jobs("the runtime was stopped before the job began");
    driver.drop_probes();
    driver.runtime.trouble = None;
    driver.runtime.stopping = true;
    driver.runtime.reclaim = None;
    if driver.layer.sandbox.is_some() && !was_frozen {
        driver.publish();
    }
    let work = driver.end_runtime();
    begin(driver, command, async move {
        if let Some(hook) = hook {
            hook.await;
        }
        Finished::Stopped(work.await)
    });
}

pub(super) fn finished(driver: &mut Driver, command: &HostCommand, result: Result<(), Blocked>) {
    driver.state.stopping = None;
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
        for unit in self.runtime.instances.values_mut() {
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
    let (last, first): (Vec<&str>, Vec<&str>) =
        running.map(|record| record.name.as_str()).partition(|name| name.starts_with(resources::PROCESS));
    // Resources are last, so that services could still write to them.
    for names in [first, last] {
        let stops = names.into_iter().map(|name| client.stop(name, graces.get(name).copied().unwrap_or(OTHER_GRACE)));
        drop(futures_util::future::join_all(stops).await);
        point("services.ended");
    }
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
