//! The board of background jobs, for the installation's operator: what waits, runs and failed; retry and cancel.
//!
//! The machinery is [`crate::platform::jobs`]; this is what a person sees and changes of it. Every change is an event of
//! the installation's ledger. Finished jobs are history and are deleted by their age.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
