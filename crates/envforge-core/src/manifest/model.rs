//! The manifest as the rest of the product sees it: defaults filled in, routes settled, names checked.
//!
//! These types cross process boundaries as JSON (the server reads the file, the host obeys it), so their JSON is their
//! own, explicit and unambiguous, and not the shorthand people write in `envforge.yml`; `schema` describes that one.
//! A [`Manifest`] made by [`parse`](super::parse) has passed every check; one read from JSON is as good as its sender.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::size::Size;

/// What one repository declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Manifest {
    /// The repository this file belongs to, as `host/owner/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Whether changes to this file are proposed as a pull request.
    #[serde(default)]
    pub prepare_pr: bool,
    /// Long-running processes, by name.
    pub services: BTreeMap<String, Service>,
    /// Resources every workspace gets its own of.
    #[serde(default)]
    pub resources: BTreeMap<ResourceKind, ResourceMode>,
    /// Smoke checks, by name.
    #[serde(default)]
    pub checks: BTreeMap<String, Check>,
    /// What a runtime of this repository is like unless someone asks otherwise.
    #[serde(default)]
    pub runtime: RuntimeDefaults,
    /// What the shell layer has.
    #[serde(default)]
    pub shell: Shell,
    /// Commands run at fixed moments.
    #[serde(default)]
    pub hooks: Hooks,
    /// Plain values that services can take as inputs, by input name.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
}

/// A long-running process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Service {
    /// The command line, run by a shell.
    pub command: String,
    /// Where it runs, relative to the checkout; the checkout itself when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The port it listens on. Absent: found when it binds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What it speaks on that port.
    #[serde(default, skip_serializing_if = "Protocol::is_http")]
    pub protocol: Protocol,
    /// Path prefixes of the dev host that reach it; empty for a service no browser asks for.
    #[serde(default)]
    pub routes: Vec<String>,
    /// What the gateway changes in its answers, so that they lead to the dev host.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub rewrite: BTreeSet<Rewrite>,
    /// Named values it asks for.
    #[serde(default)]
    pub inputs: BTreeMap<String, Requirement>,
    /// Its environment variables.
    #[serde(default)]
    pub environment: BTreeMap<String, EnvValue>,
    /// How to tell that it works. Absent: it is ready once its port accepts a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What happens when it ends by itself.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Seconds between the request to stop and the kill.
    #[serde(default = "default_stop_grace")]
    pub stop_grace: u32,
    /// Seconds it may take to become ready; two minutes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_timeout: Option<u32>,
}

/// What a service speaks on its port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/2 without TLS and from the first byte on (RFC 9113, section 3.3), as gRPC servers do.
    H2c,
}

/// What the gateway changes in a service's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rewrite {
    /// Redirects to the address the service believes to have, such as `http://localhost:3000/x`, lead to the dev host.
    Redirects,
    /// Cookies a browser would refuse from the dev host lose what it refuses: `Secure` where the gateway is reached
    /// without TLS, and `SameSite=None` without `Secure`.
    Cookies,
}

/// Whether a service can run without an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Requirement {
    /// The service does not start before the value is known.
    Required,
    /// The service starts without it, and then lacks the variables mapped from it.
    Optional,
}

/// The value of one environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    /// Written out in the file.
    Literal(String),
    /// The value of the input of that name, written `input.<name>`.
    Input(String),
}

/// How to tell that a service works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// A GET of this path answers with a status below 400.
    Http {
        /// The path asked for, starting with `/`.
        path: String,
    },
    /// The port accepts a connection.
    Tcp,
    /// This command ends with status 0.
    Command(String),
    /// The service has printed a line that contains this text.
    Log(String),
}

/// What happens when a service ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// Started again, with back-off, when it ended with an error; a service that is to answer on a port, however it ended.
    #[default]
    OnFailure,
    /// Started again, with back-off, however it ended.
    Always,
    /// Left ended.
    Never,
}

/// The kinds of resource this version provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    /// A PostgreSQL database.
    Postgres,
    /// A Redis instance.
    Redis,
    /// A bucket that speaks the S3 API.
    ObjectStorage,
    /// A mail sink: SMTP that accepts every message and delivers none.
    Mail,
}

/// Who runs a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum ResourceMode {
    /// Made for each workspace, on its host.
    BranchScoped {
        /// The branch a database begins as a copy of; empty when absent. PostgreSQL only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// Extensions the database is to have, of those that are allowed. PostgreSQL only.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        extensions: Vec<String>,
    },
    /// Run and billed by a provider of the customer's; only its address is known here, as a secret.
    CustomerCloud {
        /// The secret that holds its URL.
        secret: String,
    },
}

/// A smoke check: one request and the status it must answer with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Check {
    /// The service asked.
    pub service: String,
    /// The path asked for, starting with `/`.
    pub path: String,
    /// The status expected.
    #[serde(default = "default_status")]
    pub status: u16,
}

/// What a runtime is like unless someone asks otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct RuntimeDefaults {
    /// How big it is.
    #[serde(default)]
    pub size: Size,
    /// Seconds without activity before it is frozen.
    #[serde(default = "default_idle")]
    pub idle: u32,
    /// Seconds frozen before its memory is given back, as far as the machine has swap.
    #[serde(default = "default_reclaim_after")]
    pub reclaim_after: u32,
    /// Seconds frozen before it is stopped.
    #[serde(default = "default_stop_after")]
    pub stop_after: u32,
}

/// What the shell layer has beyond the host image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Shell {
    /// Programs people and agents find on their PATH.
    #[serde(default)]
    pub tools: Vec<String>,
}

/// Commands run at fixed moments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Hooks {
    /// Run once in the shell layer after checkout, and again when the files it depends on change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<String>,
    /// Run in the runtime layer before it is put to sleep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_sleep: Option<String>,
    /// Run in the runtime layer after a thaw, beside the services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_wake: Option<String>,
}

/// Seconds between the request to stop and the kill, when the file does not say.
pub(super) const DEFAULT_STOP_GRACE: u32 = 10;
/// Seconds a service may take to become ready, when the file does not say.
pub const DEFAULT_START_TIMEOUT: u32 = 2 * 60;
/// The most seconds a service may be given to become ready.
pub const START_TIMEOUT_MAX: u32 = 60 * 60;
/// Seconds of idleness before a freeze, when the file does not say.
pub(super) const DEFAULT_IDLE: u32 = 10 * 60;
/// Seconds frozen before memory is given back, when the file does not say: long enough that whoever comes back soon does
/// not wait for it.
pub(super) const DEFAULT_RECLAIM_AFTER: u32 = 3 * 60;
/// Seconds frozen before a stop, when the file does not say.
pub(super) const DEFAULT_STOP_AFTER: u32 = 30 * 60;
/// The status a check expects, when the file does not say.
pub(super) const DEFAULT_STATUS: u16 = 200;

fn default_stop_grace() -> u32 {
    DEFAULT_STOP_GRACE
}

fn default_idle() -> u32 {
    DEFAULT_IDLE
}

fn default_reclaim_after() -> u32 {
    DEFAULT_RECLAIM_AFTER
}

fn default_stop_after() -> u32 {
    DEFAULT_STOP_AFTER
}

fn default_status() -> u16 {
    DEFAULT_STATUS
}

impl Manifest {
    /// Whether what runs by this one would run otherwise by another. What is said for the server, which goes by the newest
    /// file, and what the shell has do not count.
    pub fn runs_otherwise(&self, other: &Self) -> bool {
        let what_runs = |manifest: &Self| Self {
            repo: None,
            prepare_pr: false,
            runtime: RuntimeDefaults::default(),
            shell: Shell::default(),
            ..manifest.clone()
        };
        what_runs(self) != what_runs(other)
    }
}

impl Default for RuntimeDefaults {
    fn default() -> Self {
        Self {
            size: Size::default(),
            idle: DEFAULT_IDLE,
            reclaim_after: DEFAULT_RECLAIM_AFTER,
            stop_after: DEFAULT_STOP_AFTER,
        }
    }
}

impl Requirement {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
        }
    }
}

impl Protocol {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::H2c => "h2c",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
    fn is_http(&self) -> bool {
        *self == Self::Http
    }
}

impl Rewrite {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Redirects, Self::Cookies];

    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redirects => "redirects",
            Self::Cookies => "cookies",
        }
    }
}

impl RestartPolicy {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnFailure => "on_failure",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

impl Default for ResourceMode {
    fn default() -> Self {
        Self::BranchScoped { from: None, extensions: Vec::new() }
    }
}

impl ResourceMode {
    /// Whether each workspace is given one of its own.
    pub fn is_branch_scoped(&self) -> bool {
        matches!(self, Self::BranchScoped { .. })
    }
}

impl ResourceKind {
    /// Every kind this version provides.
    pub const ALL: [Self; 4] = [Self::Postgres, Self::Redis, Self::ObjectStorage, Self::Mail];

    /// The key in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::ObjectStorage => "object_storage",
            Self::Mail => "mail",
        }
    }

    /// The names of the inputs that are its whole address, all with the same value. A resource in the customer's cloud
    /// gives these from its secret, and nothing else.
    pub fn address_inputs(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["database_url", "postgres_url"],
            Self::Redis => &["redis_url"],
            Self::ObjectStorage => &["object_storage_url", "s3_url"],
            Self::Mail => &["smtp_url"],
        }
    }

    /// The names of the inputs that are pieces of its address, for programs that take them one by one. Where no
    /// branch-scoped resource gives them, they are secrets like any other name.
    pub fn piece_inputs(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => {
                &["postgres_host", "postgres_port", "postgres_user", "postgres_password", "postgres_database"]
            }
            Self::Redis => &["redis_host", "redis_port"],
            Self::ObjectStorage => {
                &["s3_endpoint", "s3_bucket", "s3_region", "s3_access_key_id", "s3_secret_access_key"]
            }
            Self::Mail => &["smtp_host", "smtp_port"],
        }
    }

    /// Inputs that are a password and nothing else.
    pub const PASSWORDS: [&'static str; 2] = ["postgres_password", "s3_secret_access_key"];

    /// Whether a branch-scoped one asks whoever uses it for a password or a key. The others are reached by nobody but the
    /// workspace.
    pub fn has_credential(self) -> bool {
        matches!(self, Self::Postgres | Self::ObjectStorage)
    }

    /// The names of all inputs that a branch-scoped one gives.
    pub fn input_names(self) -> impl Iterator<Item = &'static str> {
        self.address_inputs().iter().chain(self.piece_inputs()).copied()
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}
