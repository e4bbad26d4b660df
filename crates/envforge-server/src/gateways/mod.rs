//! What gateways ask: routes, exchanges, wakes, and the feed that keeps them honest.
//!
//! A gateway proves itself with a key and is told only what it needs: where a label leads, tickets for services, who is
//! revoked. It is never given a terminal ticket. The shapes are `envforge_api::gateway`'s.
//!
//! There may be any number of them. Each is one instance, from its start to its end, and is there as long as it holds the
//! feed:
//!
//! ```text
//!   feed begins ──► there ──feed ends──► not heard of ──longer than its lease──► forgotten, with the requests open at it
//!                     ▲                        │
//!                     └────── feed begins ─────┘   it tells its requests anew
//! ```
//!
//! A gateway refuses and cuts everything when its lease ends, so what is forgotten is open no more.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
