//! `CHANGE_SERVICE`: one service started, stopped or restarted while the runtime is awake.
//!
//! Answered when it is begun. What was ended is ended with its grace, and started again when nothing of it is left. A service
//! stopped on order stays so through a freeze and a thaw; a runtime that comes up from stopped starts all of them.

use super::journaled;
use crate::files::Durability;
use crate::services::supervisor::Event as Change;
use crate::trouble::{Blocked, blocked};
use crate::workspace::driver::Driver;
use envforge_api::host::{ChangeService, HostCommand, Outcome};
use envforge_api::http::workspaces::ServiceAction;

pub(super) async fn obey(driver: &mut Driver, command: HostCommand, change: &ChangeService) {
    if let Err(block) = check(driver, &change.service) {
        return driver.answer(command.id, Outcome::Failed(block.into()), Durability::Process);
    }
    if !journaled(driver, &command, Durability::Process, |_| {}) {
        return;
    }
    let name = &change.service;
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

fn check(driver: &Driver, service: &str) -> Result<(), Blocked> {
    if !driver.is_active() {
        return Err(blocked("runtime.not_awake", "the runtime is not awake", "wake it, then try again"));
    }
    if driver.runtime.units.contains_key(service) {
        return Ok(());
    }
    let declared: Vec<&str> = driver.runtime.units.keys().map(String::as_str).collect();
    Err(blocked(
        "service.unknown",
        format!("envforge.yml, as the runtime was woken with it, declares no service {service}"),
        format!("it declares {}; `envforge sleep --stop`, then `envforge wake` reads it again", declared.join(", ")),
    ))
}
