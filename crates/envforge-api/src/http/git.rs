//! A person's own credentials for Git hosts.

use envforge_core::id::GitCredentialId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Sets one's token for a Git host, in place of the one that may be there. It can't be read back.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetGitCredential {
    /// The host, as in the repository's URL: `github.com`, `git.example.org:8443`.
    #[schema(example = "github.com")]
    pub host: String,
    /// User name for HTTP; most hosts take any with a token.
    #[serde(default)]
    pub username: Option<String>,
    /// The token.
    #[schema(write_only)]
    pub token: String,
    /// When the host lets it end, if one knows.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
}

/// A credential of one's own, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GitCredential {
    /// The credential.
    pub id: GitCredentialId,
    /// The host.
    pub host: String,
    /// User name for HTTP.
    pub username: String,
    /// When it was set.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it ends, as far as known.
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
    /// When Git in a workspace was last given it, to the minute.
    #[schema(value_type = Option<String>)]
    pub last_used_at: Option<Timestamp>,
}

/// One's credentials for Git hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GitCredentials {
    /// By host.
    pub git_credentials: Vec<GitCredential>,
}

/// Says where the installation's GitHub App is installed for an org.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetGitInstallation {
    /// The account whose repositories it reaches.
    pub account: String,
    /// The installation's number.
    pub installation: u64,
}
