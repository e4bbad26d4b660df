//! Who one is: orgs, users, memberships, API keys, and the local owner of a one-box installation.
//!
//! A key is 256 random bits behind `efk_`; only its SHA-256 is stored, and its value is shown once. One look-up
//! per request (`system_authenticate`) yields user and memberships together, and with them the [`OrgScope`]s.
//!
//! [`OrgScope`]: crate::platform::db::OrgScope

pub mod http;
pub mod ops;
pub(crate) mod store;

use crate::platform::db::OrgScope;
use envforge_core::access::Role;
use envforge_core::id::{ApiKeyId, UserId};
use envforge_core::name::Slug;

/// Somebody signed in.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The key shown.
    pub key: ApiKeyId,
    /// The user.
    pub user: UserId,
    /// Display name.
    pub name: String,
    /// Memberships.
    pub orgs: Vec<(OrgScope, Slug, Role)>,
}
