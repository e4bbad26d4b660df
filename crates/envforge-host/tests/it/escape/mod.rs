//! Isolation that is tried, not claimed.
//!
//! Somebody hostile works in a workspace: in its shell, in its runtime and at a root terminal. Beside it lives another one, with
//! a service, a database, a cache, files and processes. Each line of the tables below is something they try, as one line for
//! a shell. It passes only if it is refused in all places it is tried from, *and* the very same line succeeds where the
//! protection is absent ([`Control`]): as root of the machine, as the user it concerns, in the victim's own sandbox, or
//! in a sandbox that was started without the protection. So a line that fails for a reason of its own is found out.
//!
//! - [`files`]: what is on the disks of the machine; [`processes`]: what runs on it; [`network`]: what listens; [`resources`]:
//!   databases and caches; [`kernel`]: what would undo all of this; [`egress`]: the machine's addresses and the clouds' metadata.
//! - [`planted`]: what is put in the way before a layer starts; [`inheritance`]: what the daemon might leave open, or be reached by.
//! - [`limits`]: what one layer may use of the machine, and that its neighbours go on.
//!
//! [`scene`] is where it happens, [`attempt`] the judge, [`probes`] what no program of the system does.

mod attempt;
mod egress;
mod files;
mod inheritance;
mod kernel;
mod limits;
mod network;
mod planted;
pub(crate) mod probes;
mod processes;
mod resources;
mod scene;
