//! Secrets of an org, a project or a workspace: values go in and never come out.

use crate::sensitive::Sensitive;
use envforge_core::egress::EgressRule;
use envforge_core::id::SecretId;
use envforge_core::name::Slug;
use envforge_core::secret::SecretName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Sets a secret: makes it, or gives it a new version, which is in use from the next start of a service on.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSecret {
    /// Its name; the input `stripe_key` of a service takes the secret `STRIPE_KEY`.
    pub name: SecretName,
    /// The value: text of 1 to 65,536 bytes.
    #[schema(value_type = String, format = Password)]
    pub value: Sensitive,
    /// With it no service is given the secret: the host adds it to requests for the destination named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressRule>,
}

/// Where a secret is known; where two of one name are, the narrower one counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SecretScope {
    /// In every workspace of the org.
    Org,
    /// In every workspace of one project.
    Project {
        /// The project.
        project: Slug,
    },
    /// In one workspace.
    Workspace {
        /// The workspace.
        workspace: Slug,
    },
}

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretInfo {
    /// The secret.
    pub id: SecretId,
    /// Its name.
    pub name: SecretName,
    /// Where it is known.
    pub scope: SecretScope,
    /// The version in use.
    pub version: u32,
    /// Where it is lent to, if no service is given it.
    pub egress: Option<EgressRule>,
    /// Who set that version.
    pub set_by: String,
    /// When.
    #[schema(value_type = String)]
    pub set_at: Timestamp,
    /// When a service was last given it.
    #[schema(value_type = Option<String>)]
    pub last_used_at: Option<Timestamp>,
}

/// Secrets of an org, with those of its projects and workspaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Secrets {
    /// By name, the widest scope first.
    pub secrets: Vec<SecretInfo>,
}

/// A version of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretVersion {
    /// Its number.
    pub version: u32,
    /// Who set it.
    pub set_by: String,
    /// When.
    #[schema(value_type = String)]
    pub set_at: Timestamp,
    /// The version it has its value from, when it was restored.
    pub restored_from: Option<u32>,
}

/// The versions of a secret that are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretVersions {
    /// Newest first; the first is in use.
    pub versions: Vec<SecretVersion>,
}

/// Makes an older version's value the newest version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreSecret {
    /// The older version.
    pub version: u32,
}
