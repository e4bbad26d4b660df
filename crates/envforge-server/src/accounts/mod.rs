//! Who one is: orgs, users, memberships, API keys, and the local owner of a one-box installation.
//!
//! A key is 256 random bits behind `efk_`; only its SHA-256 is stored, and its value is shown once. One look-up
//! per request (`system_authenticate`) yields user and memberships together, and with them the [`OrgScope`]s.
//!
//! [`OrgScope`]: crate::platform::db::OrgScope

pub mod http;
pub(crate) mod jobs;
pub mod ops;
pub(crate) mod store;

use crate::platform::db::OrgScope;
use envforge_core::access::{Role, Scopes};
use envforge_core::id::{ApiKeyId, Id as _, LoginSessionId, UserId};
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
    /// A session in a browser.
    Session {
        /// The session.
        id: LoginSessionId,
    },
}

/// Which key or session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialId {
    /// An API key.
    Key(ApiKeyId),
    /// A session.
    Session(LoginSessionId),
}

impl CredentialId {
    /// The id without its kind.
    pub fn uuid(self) -> uuid::Uuid {
        match self {
            Self::Key(id) => id.uuid(),
            Self::Session(id) => id.uuid(),
        }
    }
}

impl std::fmt::Display for CredentialId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::Session(id) => id.fmt(f),
        }
    }
}

/// A session is limited by nothing: its person is there.
static UNLIMITED: Scopes = Scopes::Unlimited;

impl Credential {
    /// What it leaves of its person's rights.
    pub fn scopes(&self) -> &Scopes {
        match self {
            Self::Key { scopes, .. } => scopes,
            Self::Session { .. } => &UNLIMITED,
        }
    }

    /// Which it is.
    pub fn id(&self) -> CredentialId {
        match self {
            Self::Key { id, .. } => CredentialId::Key(*id),
            Self::Session { id } => CredentialId::Session(*id),
        }
    }
}
