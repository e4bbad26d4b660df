//! Services, one at a time: started, stopped, restarted.
//!
//! A host carries it out, and only while the runtime is awake; so a runtime that sleeps is woken first, in the same
//! transaction, by whoever asks. Whether the service then becomes ready is its readiness, as after any wake.

pub mod http;
pub mod ops;
