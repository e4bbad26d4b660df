//! Runtimes: the one transaction that wakes, the ones that put to sleep, and what hosts report.
//!
//! `ops::wake` locks the workspace's and the runtime's row and, in one transaction, asks the machine in `envforge_core::runtime`, checks
//! caps and capacity, writes intent and generation, the ledger event and the `START_RUNTIME` command. Two wakes can't
//! both slip under a cap, and a thousand waiters make one command. `ops::observe` is the only place that opens and
//! closes awake windows, from what the host saw; `jobs` puts idle runtimes to sleep and closes the windows of hosts that
//! were lost.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
