//! Settings that are edited at run time, the installation's and each org's.
//!
//! What there is and what it accepts is in [`envforge_core::setting`]. A change is a new version of the whole form, sealed by
//! the [vault](crate::vault) in the place `setting/<name>/<version>`; versions are rows that are never changed, so history,
//! comparison and restoring are reading. Secret fields are never shown, not even to whoever set them; a version restored
//! brings its secrets back with it.
//!
//! Whoever uses a setting asks [`ops::in_force`] each time, or listens for [`Nudge::Setting`](crate::platform::bus::Nudge).

pub mod http;
pub mod ops;
pub(crate) mod store;
