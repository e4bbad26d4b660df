//! Root in workspaces: the org's policy, requests, approvals, time boxes.
//!
//! The rules are the domain's ([`envforge_core::elevation`]); this slice keeps the rows. Each step is one transaction: the
//! row by compare-and-set, the ledger event, and, when something that was granted is over, the order to the host that
//! ends it. That order is kept until the host answers, and the host knows the end of the time box by itself, so neither
//! a dead server nor a lost host leaves root open.
//!
//! A change of the policy ends what was granted under the one before. Terminals and recordings are opened by
//! [`crate::streams`], which asks here first; a link, a link's session or a gateway can ask for neither.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
