//! What crosses a process boundary: the shapes of the public API, of the control stream between server and
//! host, of the gateway's own API, and of the data uplink, with the typed clients for each.
//!
//! The four programs never depend on one another; they share only this crate and the domain. A shape here is a
//! contract: the public one is drift-tested against `docs/reference/openapi.json`, the host's against
//! `docs/reference/host-protocol.schema.json`. Changing one is a decision, not a refactoring.
#![warn(missing_docs)]

pub mod ambient;
pub mod client;
pub mod console;
pub mod exec;
pub mod gateway;
pub mod host;
pub mod http;
pub mod keys;
pub mod sensitive;
pub mod pkce;
pub mod trace;
pub mod uplink;
pub mod values;
