//! The server as its operator sees it: alive, ready, measured.
//!
//! *Alive* asks nobody: a process that answers is not helped by a restart. *Ready* says whether requests should come here: the
//! database answers, its schema fits, the ledger is being sealed, and this process is not about to end. A drain says
//! *not ready* first and closes its listener later, so that whoever balances load can look away in between.

pub mod http;
pub mod ops;
pub(crate) mod store;
