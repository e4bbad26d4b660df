//! Invitations: how somebody becomes a member who is none yet.
//!
//! A token of 256 random bits behind `efi_`, shown once and stored as its digest, good for one acceptance within seven
//! days. An unknown, used, revoked or expired token all get the same answer. An invitation is worth what its inviter may
//! give at the moment it is accepted: once they may not, it is void.
//!
//! One for an address is its addressee's alone, who proved the address by signing in; whoever signs in for the first
//! time becomes a member of the orgs that invited their address. It is mailed by a job: what waits for that is its token,
//! sealed, in its row.
//!
//! Whoever accepts without being signed in becomes a new user and gets an API key: on a box without mail and without an
//! identity provider there is no other way in, and with one there is none but signing in (decision record 19).

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
