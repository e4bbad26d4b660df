//! The control stream: one held WebSocket per host, on which commands go down and what happened comes up.
//!
//! A command is a row; it is sent when the row is committed, and again until it is answered, on whatever stream the host
//! holds then. Reports are applied one transaction each and acknowledged after the commit, so a host forgets only what
//! is stored. Everything here may happen twice. What a host says is made storable first
//! ([`crate::platform::storable`]), and a message that can't be stored all the same is given up alone: repeated for ever,
//! it would keep the whole host away.

pub mod http;
pub mod ops;
