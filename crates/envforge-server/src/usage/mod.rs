//! The meter and receipts: what the ledger says, never second bookkeeping.
//!
//! Everything about the past is in `window.opened` and `window.closed` events. The database keeps what they say for reading,
//! written by a trigger in the transaction of the event: the windows, and the seconds of each month. The cap check inside
//! the wake's transaction and an org's usage read these few rows; [`jobs`] compares them with the fold of
//! `envforge_core::usage`, says so when they differ, and makes them anew.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
