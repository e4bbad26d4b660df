//! A workspace's resources: their credentials, exchanged.
//!
//! A credential is made by the host and known there alone; here is only who asked for another one, and when. It is changed whatever
//! the runtime does: what is awake is restarted with it by the host, what sleeps has it at its next wake, and nothing is
//! woken. What is paused is stopped first, in the same transaction, because its processes would go on with what is refused by
//! then.

pub mod http;
pub mod ops;
