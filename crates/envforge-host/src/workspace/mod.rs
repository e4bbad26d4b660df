//! One workspace, driven by one task.
//!
//! ```text
//!   server ── commands ──┐
//!   inits ── exits ──────┤               ┌─► journal (before anything is told)
//!   probes ── health ────┼─► one queue ─► driver ─► layers, services, resources, jobs
//!   timers, heartbeat ───┘               └─► view (for streams), reports, answers
//! ```
//!
//! Only the driver changes a workspace: it takes one event at a time, so nothing here needs a lock and every order of
//! events is some order of the queue. What takes long runs beside it: a command that must be answered when it is done is
//! an *operation* (one at a time, later commands wait; a deletion ends the one before it), everything else
//! is a task that puts its result into the queue.
//!
//! What must stay true:
//!
//! - A command is obeyed only if its generation is not older than the one obeyed, and answered the same when it comes again.
//! - Whatever a command started is found again after a crash of the daemon: by its process, by its name in the
//!   layer's init, by the state of its files. Obeying it twice, or half and then whole, ends the same.
//! - A report says what is, not what should be.
//! - A thaw waits for nothing but the kernel.

mod checks;
pub(crate) mod driver;
pub(crate) mod events;
pub(crate) mod jobs;
mod hooks;
pub(crate) mod layers;
pub(crate) mod manifest;
pub(crate) mod memory;
mod ports;
mod probes;
mod provisioning;
mod proof;
pub(crate) mod publish;
pub(crate) mod readiness;
pub(crate) mod registry;
mod rest;
mod rotation;
pub(crate) mod runtime;
pub(crate) mod secrets;
pub(crate) mod setup;
mod take_up;
pub(crate) mod view;
