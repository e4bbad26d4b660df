//! `CHANGE_SERVICE`: one service started, stopped or restarted while the runtime is awake.
//!
//! Answered when it is begun. What was ended is ended with its grace, and started again when nothing of it is left. A service
//! stopped on order stays so through a freeze and a thaw; a runtime that comes up from stopped starts all of them.
//!
//! A restart is of the service as `envforge.yml` declares it now: if the file says something else than what runs, it is taken as by
//! a start of a runtime that is awake; one that can't be read is refused and nothing is ended.

use super::{journaled, start_runtime};
use crate::files::Durability;
use crate::services::supervisor::Event as Change;
use crate::trouble::{Blocked, blocked};
use crate::workspace::driver::Driver;
use crate::workspace::manifest::usable;
use envforge_api::host::{ChangeService, HostCommand, Outcome};
use envforge_api::http::workspaces::ServiceAction;

pub(super) async fn obey(driver: &mut Driver, command: HostCommand, change: &ChangeService) {
    let name = &change.service;
    let is_other = match check(driver, name, change.action) {
        Ok(is_other) => is_other,
        Err(block) => return driver.answer(command.id, Outcome::Failed(block.into()), Durability::Process),
    };
    if !journaled(driver, &command, Durability::Process, |_| {}) {
        return;
    }
    if is_other && let Err(block) = start_runtime::take_file(driver).await {
        return driver.answer(command.id, Outcome::Failed(block.into()), Durability::Process);
    }
    if matches!(change.action, ServiceAction::Stop | ServiceAction::Restart) {
        driver.change(name, Change::Stop).await;
    }
    if matches!(change.action, ServiceAction::Start | ServiceAction::Restart)
        && let Some(unit) = driver.runtime.units.get_mut(name)
    {
        unit.supervisor.retry();
    }
    // What is waiting now is started, if what it needs is there.
    driver.settle().await;
    driver.answer(command.id, Outcome::Done, Durability::Process);
}

/// Refuses what can't be done; whether the file is to be taken as it is now.
fn check(driver: &mut Driver, service: &str, action: ServiceAction) -> Result<bool, Blocked> {
    if !driver.is_active() {
        return Err(blocked("runtime.not_awake", "the runtime is not awake", "wake it, then try again"));
    }
    if action == ServiceAction::Restart {
        let now = usable(&driver.read_manifest())?;
        if driver.state.running.as_ref().is_some_and(|running| running.runs_otherwise(&now)) {
            if now.services.contains_key(service) {
                return Ok(true);
            }
            let declared: Vec<&str> = now.services.keys().map(String::as_str).collect();
            return Err(blocked(
                "service.unknown",
                format!("envforge.yml declares no service {service} any more"),
                format!("it declares {}; `envforge service stop {service}` ends it", declared.join(", ")),
            ));
        }
    }
    if driver.runtime.units.contains_key(service) {
        return Ok(false);
    }
    let declared: Vec<&str> = driver.runtime.units.keys().map(String::as_str).collect();
    Err(blocked(
        "service.unknown",
        format!("envforge.yml, as the runtime was woken with it, declares no service {service}"),
        format!("it declares {}; `envforge service restart {service}` reads it again", declared.join(", ")),
    ))
}
