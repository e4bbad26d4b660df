//! Smoke checks: one request each, asked once its service is ready, again and again until it passes.

use super::driver::Driver;
use super::runtime::Unit;
use crate::tasks::Owned;

/// A smoke check.
pub(crate) enum CheckState {
    /// Its service is not ready.
    Waiting,
    /// It asks.
    Asking(Owned),
    /// It got the answer it wants.
    Passed,
    /// It did not, and asks again.
    Failed { cause: String, asking: Option<Owned> },
}

impl Driver {
    /// Starts asking what is ready, and stops asking what is not.
    pub(super) fn ask_checks(&mut self) {
        let (Some(manifest), Some(line)) = (&self.state.running, self.line()) else { return };
        for (name, check) in &manifest.checks {
            let unit = self.runtime.units.get(&check.service).filter(|unit| unit.is_ready());
            let waits = matches!(self.runtime.checks.get(name), Some(CheckState::Waiting));
            if let Some((pid, port)) = unit.and_then(|unit| Some((unit.pid?, unit.port?))).filter(|_| waits) {
                let asking = super::probes::ask_check(&self.ctx, &self.place, &line, name, check, pid, port);
                self.runtime.checks.insert(name.clone(), CheckState::Asking(asking));
            }
        }
    }

    /// A check of a service that is not ready says nothing.
    pub(super) fn reset_checks_of(&mut self, service: &str) {
        if self.runtime.units.get(service).is_some_and(Unit::is_ready) {
            return;
        }
        let Some(manifest) = &self.state.running else { return };
        for (name, check) in &manifest.checks {
            if check.service == service {
                self.runtime.checks.insert(name.clone(), CheckState::Waiting);
            }
        }
    }

    pub(crate) fn checked(&mut self, name: &str, pid: i32, result: Result<(), String>) {
        let service = self
            .state
            .running
            .as_ref()
            .and_then(|manifest| manifest.checks.get(name))
            .map(|check| check.service.clone());
        let Some(unit) = service.and_then(|service| self.runtime.units.get(&service)) else { return };
        if unit.pid != Some(pid) || !unit.is_ready() {
            return;
        }
        let Some(state) = self.runtime.checks.get_mut(name) else { return };
        *state = match (result, std::mem::replace(state, CheckState::Waiting)) {
            (Ok(()), _) => CheckState::Passed,
            (Err(cause), CheckState::Asking(asking)) => CheckState::Failed { cause, asking: Some(asking) },
            (Err(cause), CheckState::Failed { asking, .. }) => CheckState::Failed { cause, asking },
            (Err(_), other) => other,
        };
        self.publish();
    }
}
