//! HTTP/1.1, both ways: with browsers in front and with services behind.
//!
//! A proxy that reads a message one way and lets a service read it another can be used against both, and most of
//! a small request's cost is spent between libraries that were made for programs that end requests. So the
//! gateway has its own: `httparse` splits a head, and everything about what a message *means* is decided here, once.
//!
//! - [`head`]: a request's head taken apart and put together. What can be read in two ways is refused.
//! - [`response`]: the same for answers.
//! - [`body`]: where a body ends (RFC 9112, section 6), and chunks.
//! - [`lane`]: a connection to a service, driven by whoever uses it.
//! - [`server`]: a client's connection, from its first request to its last.
//!
//! Everything that leaves is written anew from what was understood; no byte of a head is passed on as it came.

pub(crate) mod body;
pub(crate) mod head;
pub(crate) mod lane;
pub(crate) mod response;
pub(crate) mod server;
