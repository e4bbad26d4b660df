//! Hosts and the commands sent to them.
//!
//! A host belongs to one org for good. It registers once, with a one-time token, and gets a key of its own; each
//! control stream raises its generation, and tickets carry that, so a stream of a replaced daemon opens nothing.
//! A command is a row written in the transaction that decided it; it is sent, and sent again, until it is answered
//! ([`crate::control`] does the sending).

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
