//! When workspaces wake and sleep by themselves, and the hours in which no schedule wakes anything.
//!
//! What is due is said by [`envforge_core::timetable`]. The reconciler acts through the same operations as everyone else, so that
//! caps and capacity count, and notes the due time it acted on in the transaction that acts: on each once, however many
//! servers look.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
