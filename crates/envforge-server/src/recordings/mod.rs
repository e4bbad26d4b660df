//! Whether an org's terminals are recorded.
//!
//! The policy is asked for each time a terminal is opened, and what is open goes on as it was opened. The recording itself is the
//! host's, which writes down what it prints before anybody sees it; recordings are opened by [`crate::streams`]. Who reads one is in the
//! ledger.

pub mod http;
pub mod ops;
pub(crate) mod store;
