//! `NAME_DEV_HOSTS`: what a start could not know yet.
//!
//! The first wake of a workspace is ordered before anybody has read its `envforge.yml`, and so is the first after an edit. The
//! services' dev hosts exist once the server has taken in what this host read; services that were held back for them start.

use super::journaled;
use crate::files::Durability;
use crate::journal::Intent;
use crate::workspace::driver::Driver;
use envforge_api::host::{HostCommand, NameDevHosts, Outcome};

pub(super) async fn obey(driver: &mut Driver, command: HostCommand, named: NameDevHosts) {
    let kept = journaled(driver, &command, Durability::Process, |state| {
        if let Intent::Awake { order } | Intent::Frozen { order, .. } = &mut state.intent {
            (order.public_urls, order.dev_hosts_known) = (named.public_urls, true);
        }
    });
    if !kept {
        return;
    }
    driver.refresh_context();
    driver.retry_unnamed();
    driver.settle().await;
    driver.answer(command.id, Outcome::Done, Durability::Process);
}
