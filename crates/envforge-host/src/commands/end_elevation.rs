//! `END_ELEVATION`: the root terminal of an elevation ends with everything in it, and none of it is opened again.
//!
//! Obeyed whatever its generation and whatever operation is under way: nothing that a workspace is doing is a reason to
//! leave somebody root.

use crate::files::Durability;
use crate::trouble::unwritable;
use crate::workspace::driver::Driver;
use envforge_api::host::{EndElevation, HostCommand, Outcome};

pub(super) async fn obey(driver: &mut Driver, command: HostCommand, end: EndElevation) {
    match driver.ctx.elevations.end(&driver.place, end.elevation).await {
        Ok(()) => driver.answer(command.id, Outcome::Done, Durability::Process),
        Err(error) => driver.say_answer(command.id, Outcome::Failed(unwritable(&error).into())),
    }
}
