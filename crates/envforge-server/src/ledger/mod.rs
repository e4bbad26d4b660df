//! The ledger: every change of state leaves an event, in the transaction that makes it.
//!
//! Rows are inserted and never changed. A sealer gives each event its place and hash in the chain of its org, in
//! the order in which it finds them committed, within a second; places are rows of their own, so an event that commits late
//! under a lower sequence number simply takes a later place. One chain is sealed by one replica at a time
//! (advisory lock). The rules of hashing and checking are in `envforge_core::ledger`.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;

pub use ops::{Entry, record};
