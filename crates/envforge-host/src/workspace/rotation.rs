//! Who uses a resource, ended and started again: its credential is another one.
//!
//! Ended is what was given the one from before, all of it before anything is started: a daemon that takes over meanwhile must
//! not take such a process for one of today. Jobs that run keep what they were given, and end when they end.

use super::driver::Driver;
use super::provisioning::GRACE;
use super::runtime::{SERVICE, grace};
use crate::faults::point;
use crate::resources::{Provision, postgres, process};
use crate::services::supervisor::Event as Change;
use envforge_core::manifest::ResourceKind;
use futures_util::future::join_all;
use std::time::Duration;

impl Driver {
    /// Ends the services that take an input of this resource, and the resource if it is a process; done once they have ended.
    pub(crate) fn end_users(&mut self, kind: ResourceKind) -> impl Future<Output = ()> + Send + 'static {
        let (client, now) = (self.layer.client.clone(), self.ctx.now());
        let mut ends: Vec<(String, Duration)> = Vec::new();
        for name in self.users_of(kind) {
            let (Some(unit), Some(rotating)) = (self.runtime.units.get_mut(&name), &mut self.state.rotating) else {
                continue;
            };
            // Those an earlier daemon had begun to end are stopped already.
            if !unit.supervisor.wants_process() && !rotating.ended.contains(&name) {
                continue;
            }
            unit.supervisor.handle(Change::Stop, now);
            (unit.pid, unit.host_pid, unit.probe, unit.ending) = (None, None, None, true);
            unit.hear_nothing();
            ends.push((format!("{SERVICE}{name}"), grace(&unit.declared)));
            rotating.ended.insert(name.clone());
            self.reset_checks_of(&name);
        }
        if let Some(unit) = self.runtime.instances.get_mut(&kind) {
            unit.supervisor.handle(Change::Stop, now);
            (unit.pid, unit.probe) = (None, None);
            self.note_instance(kind);
            ends.push((process(kind), GRACE));
        } else if matches!(self.runtime.resources.get(&kind), Some(Provision::Ready(_)))
            && let Ok(Some(values)) = postgres::known(&self.place)
        {
            self.runtime.resources.insert(kind, Provision::Ready(values));
        }
        self.publish();
        async move {
            let Some(client) = client else { return };
            let stops = ends.iter().map(|(name, grace)| client.stop(name, *grace));
            drop(join_all(stops).await);
            point("users.ended");
        }
    }

    /// Starts a resource that is a process and was ended.
    pub(crate) async fn start_again(&mut self, kind: ResourceKind) {
        if let Some(unit) = self.runtime.instances.get_mut(&kind) {
            unit.supervisor.retry();
            self.change_instance(kind, Change::InputsKnown).await;
        }
    }

    /// Whether a resource is on its way to be usable.
    pub(crate) fn is_starting(&self, kind: ResourceKind) -> bool {
        matches!(self.runtime.resources.get(&kind), Some(Provision::Pending))
    }

    /// Lets services that were ended start, and tries those again that could not run.
    pub(crate) fn let_users_start(&mut self, kind: ResourceKind) {
        let ended = self.state.rotating.take().map(|rotating| rotating.ended).unwrap_or_default();
        for name in self.users_of(kind) {
            let Some(unit) = self.runtime.units.get_mut(&name) else { continue };
            if ended.contains(&name) {
                unit.ending = false;
                unit.supervisor.retry();
            } else {
                unit.supervisor.retry_blocked();
            }
        }
    }

    fn users_of(&self, kind: ResourceKind) -> Vec<String> {
        self.runtime.wiring.iter().flat_map(|wiring| wiring.users_of(kind)).map(str::to_owned).collect()
    }
}
