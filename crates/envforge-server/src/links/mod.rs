//! Signed links: made here, shown once, exchanged for browser sessions, revoked.
//!
//! The token is signed and stateless; what changes (visits, wakes, revocation) is the row. Revoking nudges the feed
//! of every gateway in the same commit. A link can be made only for a service that is ready, or asleep and known
//! good: a link that leads to an error teaches people to distrust links.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
