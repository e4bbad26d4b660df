//! Groups of an org's members: who sees a restricted project ([`crate::projects`]).
//!
//! A group gives no rights of its own: what a member may do follows from their role alone, and a group only widens where.
//! Whoever leaves the org leaves its groups by a foreign key.

pub mod http;
pub mod ops;
pub(crate) mod store;
