//! Receipts: what is kept of each usage session once it has ended, and reported for billing.
//!
//! ```text
//!   session.ended ─► job, of the same transaction ─► receipt, its hash in the ledger ─► job, of the same transaction ─► provider
//! ```
//!
//! A receipt is made of the windows and of what the ledger says of the session's time (`envforge_core::usage::receipt`). It is
//! written once, as canonical text, and nobody may change it; `receipt.final` has its SHA-256, so it is in the chain. The job runs
//! within a second; it may run again, or at two servers, and one writes it. [`jobs::CatchUp`] finds what has none. A session
//! that is not over has a receipt so far, made when asked for.
//!
//! Reporting ([`jobs::Report`]) notes that it begins before it sends, and that it was sent afterwards. The provider drops a second
//! report of the same identifier for a day; what may have arrived longer ago than that waits for a person.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
