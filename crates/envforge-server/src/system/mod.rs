//! The server as its operator sees it: alive, ready, measured.
//!
//! *Alive* asks nobody: a process that answers is not helped by a restart. *Ready* says whether requests should come here: the
//! database answers, its schema fits, the ledger is being sealed, and this process is not about to end. A drain says
//! *not ready* first and closes its listener later, so that whoever balances load can look away in between.
//!
//! The *report* is for a person and says more: each check is named, has a verdict, and says what helps. All run at once and none may
//! take longer than a few seconds, because what is looked for is what hangs.

pub mod http;
pub mod ops;
pub(crate) mod store;
