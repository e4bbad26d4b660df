//! Who one is: user, orgs, API keys, hosts.

use crate::host::Trouble;
use envforge_core::access::Role;
use envforge_core::id::{ApiKeyId, HostId, OrgId, UserId};
use envforge_core::name::Slug;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// The user.
    pub user: UserId,
    /// Display name.
    pub name: String,
    /// Whether one operates the installation.
    #[serde(default)]
    pub is_operator: bool,
    /// What the credential shown is limited to; empty is no limit.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Which key or session was shown.
    #[serde(default)]
    pub credential: String,
    /// The orgs one is a member of.
    pub orgs: Vec<Membership>,
}

/// A membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Membership {
    /// The org.
    pub org: OrgId,
    /// Its slug.
    pub slug: Slug,
    /// One's role in it.
    pub role: Role,
}

/// Asks for an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApiKey {
    /// What it is for.
    pub name: String,
    /// What it is limited to: `read`, or codes of actions; empty is no limit.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// When it ends; never when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
}

/// A new API key; the only time its value is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedApiKey {
    /// The key.
    pub id: ApiKeyId,
    /// The value to send as `Authorization: Bearer`.
    pub value: String,
}

/// An API key, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiKey {
    /// The key.
    pub id: ApiKeyId,
    /// What it is for.
    pub name: String,
    /// Its first characters, to recognize it by.
    pub prefix: String,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// What it is limited to; empty is no limit.
    pub scopes: Vec<String>,
    /// When it ends.
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    #[schema(value_type = Option<String>)]
    pub last_used_at: Option<Timestamp>,
}

/// One's API keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiKeys {
    /// Newest first.
    pub api_keys: Vec<ApiKey>,
}

/// State of a host, separate from any runtime's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// A token was issued, the host has not come yet.
    Registering,
    /// Its control stream is up.
    Online,
    /// Its control stream is gone.
    Lost,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Host {
    /// The host.
    pub id: HostId,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: HostState,
    /// What its isolation lacks, in plain sentences; empty is full isolation.
    pub reductions: Vec<String>,
    /// What keeps it from taking anything new on, as it last said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// Swap of its machine in bytes, zram included. With 0, what is frozen keeps nearly all of its memory until it is stopped;
    /// none if the host never said.
    #[serde(default)]
    pub swap: Option<u64>,
    /// Why its machine's memory is short, while it is: what has been frozen longest is stopped then.
    #[serde(default)]
    pub memory_short: Option<String>,
    /// Last heartbeat.
    #[schema(value_type = Option<String>)]
    pub last_seen_at: Option<Timestamp>,
}

/// Hosts of an org.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hosts {
    /// By name.
    pub hosts: Vec<Host>,
}

/// Asks for a one-time host registration token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateHostToken {
    /// Name of the host to be.
    pub name: Slug,
}

/// A one-time registration token; the only time it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedHostToken {
    /// The host to be.
    pub host: HostId,
    /// Hand it to `envforged host --token-file`.
    pub token: String,
}
