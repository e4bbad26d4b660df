//! A person's own credentials for Git hosts: tokens for HTTPS, keys for SSH.

use envforge_core::id::{GitCredentialId, GitKeyId};
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

/// Makes an SSH key for a Git host; its private half never leaves the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerateGitKey {
    /// The host, as in the repository's address: `github.com`, `git.example.org:2222`.
    #[schema(example = "github.com")]
    pub host: String,
}

/// Brings an SSH key for a Git host. It can't be read back.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportGitKey {
    /// The host, as in the repository's address.
    #[schema(example = "github.com")]
    pub host: String,
    /// An Ed25519 key in OpenSSH's format, without a passphrase.
    #[schema(write_only)]
    pub private_key: String,
}

/// An SSH key of one's own, its public half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GitKey {
    /// The key.
    pub id: GitKeyId,
    /// The host.
    pub host: String,
    /// The line to register there: `ssh-ed25519 AAAA…`.
    pub public_key: String,
    /// As hosts show it: `SHA256:…`.
    pub fingerprint: String,
    /// When it was made or brought.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When Git in a workspace last logged in with it, to the minute.
    #[schema(value_type = Option<String>)]
    pub last_used_at: Option<Timestamp>,
}

/// One's SSH keys for Git hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GitKeys {
    /// By host.
    pub git_keys: Vec<GitKey>,
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
