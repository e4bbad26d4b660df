//! Invitations: how somebody becomes a member who is none yet.
//!
//! A token of 256 random bits behind `efi_`, shown once and stored as its digest, good for one acceptance within seven
//! days. An unknown, used, revoked or expired token all get the same answer. An invitation is worth what its inviter may
//! give at the moment it is accepted: once they may not, it is void.
//!
//! Whoever accepts without being signed in becomes a new user and gets an API key: on a box without a sign-in provider
//! there is no other way in (decision record 19).

pub mod http;
pub mod ops;
pub(crate) mod store;
