//! What runtimes do, minute by minute: what the idle rule decides by, why one is awake or asleep, and what another rule would have
//! made of it.
//!
//! Observations, not events: minutes are kept for some weeks, and the ledger alone says what was metered.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
