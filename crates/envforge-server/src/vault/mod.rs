//! Encryption at rest: seals what must never lie in the database in clear.
//!
//! Every org has a data key of its own, the installation another; each lies in the database wrapped under a
//! key-encryption key that does not ([`crate::platform::keys`]). A sealed value carries the id of its data key, so data keys
//! rotate while old values still open, and is bound to its place: org and context are authenticated, so a value copied to
//! another row or another org does not open. Unwrapped keys are kept in memory for [`KEPT`](ops::KEPT).
//!
//! What is sealed is a [`Secret`](envforge_core::secret::Secret) before and after; which slice may open it is
//! that slice's business, and so is saying in the ledger that it did.

pub mod ops;
pub(crate) mod store;
