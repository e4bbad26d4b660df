//! Streams from hosts: terminals, root terminals with their recordings, and captured logs.
//!
//! The server checks who may, signs a ticket good once and for seconds, and asks the host for a descriptor over its
//! uplink; then it relays between that and the caller. Neither wakes anything: a shell and captured logs are readable
//! while the runtime sleeps.

pub mod http;
pub mod ops;
