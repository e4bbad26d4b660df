//! The ledger: every change of state leaves an event, in the transaction that makes it.
//!
//! Rows are inserted and never changed. A sealer gives each event its place and hash in the chain of its org, in
//! the order in which it finds them committed, within a second; places are rows of their own, so an event that commits late
//! under a lower sequence number simply takes a later place. One chain is sealed by one replica at a time
//! (advisory lock), and only after a head that is signed: what somebody wrote past the product is never signed for them.
//! Each chain is verified again and again against its signed checkpoints. Old events leave only behind a signed
//! anchor, and the meter's never. The rules of hashing and checking are in `envforge_core::ledger`.
//!
//! What was refused and matters for security is recorded too, summed up by [`refused`].

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;

pub use ops::{Entry, Memory, Refused, record, refused};
