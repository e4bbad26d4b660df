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
use envforge_core::access::{Role, Scopes};
use envforge_core::id::{ApiKeyId, UserId};
use envforge_core::name::Slug;
use jiff::Timestamp;

/// Somebody signed in.
#[derive(Debug, Clone)]
pub struct Identity {
    /// What they showed.
    pub credential: Credential,
    /// The user.
    pub user: UserId,
    /// Display name.
    pub name: String,
    /// Whether they operate the installation.
    pub is_operator: bool,
    /// Memberships.
    pub orgs: Vec<(OrgScope, Slug, Role)>,
}

/// What somebody signed in with.
#[derive(Debug, Clone)]
pub enum Credential {
    /// An API key.
    Key {
        /// The key.
        id: ApiKeyId,
        /// What it is limited to.
        scopes: Scopes,
        /// When it ends; never when absent.
        expires_at: Option<Timestamp>,
    },
}

impl Credential {
    /// What it leaves of its person's rights.
    pub fn scopes(&self) -> &Scopes {
        match self {
            Self::Key { scopes, .. } => scopes,
        }
    }
}
