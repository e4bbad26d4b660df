//! Encryption at rest: seals what must never lie in the database in clear.
//!
//! Every org has a data key of its own, the installation another; each lies in the database wrapped under a
//! key-encryption key that does not ([`crate::platform::keys`]). A sealed value carries the id of its data key, so data keys
//! rotate while old values still open, and is bound to its place: org and context are authenticated, so a value copied to
//! another row or another org does not open. Unwrapped keys are kept in memory for [`KEPT`](ops::KEPT).
//!
//! Both kinds of key change while everything runs: a new data key takes over and what lies under the old one is sealed
//! anew by its owners ([`ops::rotate`]); a new key-encryption key is put before the old one, and data keys are wrapped anew
//! ([`jobs`]) until the old one wraps none.
//!
//! What is sealed is a [`Secret`](envforge_core::secret::Secret) before and after; which slice may open it is
//! that slice's business, and so is saying in the ledger that it did.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
