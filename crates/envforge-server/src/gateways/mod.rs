//! What gateways ask: routes, exchanges, wakes, and the feed that keeps them honest.
//!
//! A gateway proves itself with a key and is told only what it needs: where a label leads, tickets for services, who is
//! revoked. It is never given a terminal ticket. The shapes are `envforge_api::gateway`'s.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
