//! Settings that are edited at run time, the installation's and each org's.
//!
//! What there is and what it accepts is in [`envforge_core::setting`]. A change is a new version of the whole form, sealed by
//! the [vault](crate::vault) in the place `setting/<name>/<version>`; versions are rows that are never changed, so history,
//! comparison and restoring are reading. Secret fields are never shown, not even to whoever set them; a version restored
//! brings its secrets back with it.
//!
//! Whoever uses a setting asks [`ops::in_force`] each time, or listens for [`Nudge::Setting`](crate::platform::bus::Nudge).
//! The mail server and the identity providers are put in use by [`jobs`]: here before a change is answered, in other
//! servers when they hear of it. What the server was started with stays: the setting `mail` comes before its mail
//! server, and its identity providers come before settings of the same name.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
