//! Signing a machine in: the command line gets an API key of its own, named after the machine, for 30 days.
//!
//! Two ways, one row each. With a browser on the machine, the program listens on the loopback address and the browser
//! brings it a code, useless without PKCE's verifier (RFC 8252). Without one, it shows a short code that a person
//! compares in a browser elsewhere, and polls (RFC 8628). Either way a person who is signed in sees which machine asks,
//! and says yes. The key's value is made when it is fetched and is nowhere before.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
