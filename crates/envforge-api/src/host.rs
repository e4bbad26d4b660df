//! The control stream between server and host daemon.
//!
//! The host dials out and holds one WebSocket at [`STREAM_PATH`]; every message is one JSON text frame. Down come
//! [`HostCommand`]s, re-sent until answered; up go results, reports and heartbeats. A report is kept by the host
//! until it is acknowledged, so nothing that was seen is lost when either side dies. Everything carries the
//! workspace's generation: a host refuses commands of an older one than it has obeyed.

use crate::http::runs::RunState;
use crate::http::workspaces::ServiceAction;
use crate::sensitive::Sensitive;
use envforge_core::egress::EgressRule;
use envforge_core::id::{CommandId, ElevationId, HostId, JobId, OrgId, WorkspaceId};
use envforge_core::manifest::{Manifest, ResourceKind};
use envforge_core::name::Slug;
use envforge_core::pressure::MemoryReading;
use envforge_core::readiness::Part;
use envforge_core::runtime::ObservedPhase;
use envforge_core::secret::SecretName;
use envforge_core::size::Size;
use envforge_core::ssh::SshPublicKey;
use envforge_core::ticket::TicketFault;
use envforge_core::token::{Claims, PublicKey};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// Where a host registers.
pub const REGISTER_PATH: &str = "/internal/host/register";
/// Where the control stream is held.
pub const STREAM_PATH: &str = "/internal/host/stream";
/// Where a host asks for a Git credential for one of its workspaces.
pub const GIT_CREDENTIAL_PATH: &str = "/internal/host/git-credential";
/// Where a host says that what it was given for Git was rejected.
pub const GIT_REJECTED_PATH: &str = "/internal/host/git-rejected";
/// Where a host asks for the key that SSH in one of its workspaces may log in with.
pub const GIT_IDENTITY_PATH: &str = "/internal/host/git-identity";
/// Where a host asks for a signature with it.
pub const GIT_SIGNATURE_PATH: &str = "/internal/host/git-signature";
/// Where a host fetches what it lends to a request on its way out.
pub const EGRESS_PATH: &str = "/internal/host/egress";
/// Where a host fetches the secrets that services declare.
pub const SECRETS_PATH: &str = "/internal/host/secrets";
/// Seconds between heartbeats.
pub const HEARTBEAT_SECONDS: u64 = 2;

/// Exchanges a one-time token for the host's own key.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Register {
    /// The one-time token.
    pub token: String,
}

/// What registration answers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Registered {
    /// The host.
    pub host: HostId,
    /// The one org it obeys from now on.
    pub org: OrgId,
    /// The host's key: `Authorization: Bearer` on the stream.
    pub key: String,
}

/// Asks for what Git in a workspace needs to reach a repository. The server knows whom it is for: the host can't say.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskGitCredential {
    /// The registration generation of the host's last stream; a daemon that was replaced is refused.
    pub host_generation: u64,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The address Git wants to reach.
    pub url: String,
}

/// What Git shows to the repository's host. It is handed on and kept nowhere.
#[derive(Clone, Serialize, Deserialize)]
pub struct GitCredential {
    /// User name for HTTP.
    pub username: String,
    /// The token.
    pub password: String,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// Asks for the key that SSH in a workspace may log in with at the host of the workspace's repository. The server knows
/// whose it is: the host can't say.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskGitIdentity {
    /// The registration generation of the host's last stream; a daemon that was replaced is refused.
    pub host_generation: u64,
    /// The workspace.
    pub workspace: WorkspaceId,
}

/// A key that SSH may log in with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GitIdentity {
    /// Its public half, as it is registered.
    pub public_key: SshPublicKey,
    /// What people see of it.
    pub comment: String,
}

/// Asks for a signature that logs in at the host of the workspace's repository.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskGitSignature {
    /// The registration generation of the host's last stream; a daemon that was replaced is refused.
    pub host_generation: u64,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The key, as it was given.
    pub public_key: SshPublicKey,
    /// What is to be signed, in base64: a request to log in (RFC 4252, section 7), or it is refused.
    pub data: String,
}

/// A signature for one login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GitSignature {
    /// As it stands in SSH's messages (RFC 8709, section 6), in base64.
    pub signature: String,
}

/// Asks for the secrets of a workspace's services, just before these start. Never part of a command: commands lie in
/// the database and are sent again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct AskSecrets {
    /// The workspace, placed on the host that asks.
    pub workspace: WorkspaceId,
    /// Its generation; an older one than the present is refused.
    pub generation: u64,
    /// What each service declares.
    pub services: BTreeMap<String, BTreeSet<SecretName>>,
}

/// The secrets asked for, as far as there are any.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GivenSecrets {
    /// By name; a name that is not here names no secret of this workspace.
    pub secrets: BTreeMap<SecretName, Sensitive>,
}

/// Asks for what is to be added to a workspace's requests for one destination.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct AskEgress {
    /// The workspace, placed on the host that asks.
    pub workspace: WorkspaceId,
    /// The destination, as rules name it.
    pub host: String,
}

/// A secret to add to a request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Lent {
    /// Its name.
    pub name: SecretName,
    /// Where and how it is added.
    pub rule: EgressRule,
    /// The value.
    pub value: Sensitive,
}

/// The secrets lent to the destination asked for; none is a destination nobody named.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GivenEgress {
    /// By name.
    pub lent: Vec<Lent>,
}

/// From server to host.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToHost {
    /// First message of every stream, and again when the keys have changed.
    Welcome {
        /// The org the host belongs to; a host that belongs to another one hangs up.
        org: OrgId,
        /// The host.
        host: HostId,
        /// Registration generation; tickets carry it.
        host_generation: u64,
        /// Keys that sign tickets.
        keys: Vec<PublicKey>,
        /// Where to dial data uplinks to.
        uplinks: Vec<UplinkAddress>,
    },
    /// An order.
    Command {
        /// The order.
        command: Box<HostCommand>,
    },
    /// Reports up to this sequence are stored; the host may forget them.
    Acknowledge {
        /// The workspace.
        workspace: WorkspaceId,
        /// Highest sequence stored.
        sequence: u64,
    },
}

/// A gateway or terminal relay to dial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UplinkAddress {
    /// Path of a local socket.
    pub path: String,
    /// Proof for the other end that this host belongs there: a signed [`HostPass`].
    pub pass: String,
}

/// What a host shows to a gateway: signed by the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPass {
    /// The host.
    pub host: HostId,
    /// Its org.
    pub org: OrgId,
    /// Expiry, seconds since 1970 UTC.
    #[serde(rename = "exp")]
    pub expires: i64,
}

impl Claims for HostPass {
    const PREFIX: &'static str = "efh1";
    fn expires_at(&self) -> Timestamp {
        Timestamp::from_second(self.expires).unwrap_or(Timestamp::MIN)
    }
}

/// A durable order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostCommand {
    /// The command; a host that has answered it answers the same again.
    pub id: CommandId,
    /// The org; a host refuses another's.
    pub org: OrgId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The workspace's generation; older than obeyed is refused as stale.
    pub generation: u64,
    /// What to do.
    pub order: Order,
    /// The span of the request that caused it, as a `traceparent`; none without one, or where nothing is traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verb", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Order {
    /// Make directory, Linux user, checkout, README and `.envforge` context, and start the shell sandbox.
    PrepareShell(PrepareShell),
    /// Bring the runtime up, or thaw it.
    StartRuntime(StartRuntime),
    /// Tell a runtime that is awake which dev hosts its services have by now.
    NameDevHosts(NameDevHosts),
    /// Pause every runtime process.
    FreezeRuntime,
    /// End every runtime process.
    StopRuntime,
    /// Run a test or job in the runtime sandbox.
    RunJob(RunJob),
    /// Start, stop or restart one service of a runtime that is awake.
    ChangeService(ChangeService),
    /// Make a new credential of one resource, and start again what was given the one from before.
    RotateCredential(RotateCredential),
    /// End an elevation: its root terminal with everything in it, and open none of it again.
    EndElevation(EndElevation),
    /// End everything and delete the workspace with its resources.
    DestroyWorkspace,
}

impl Order {
    /// The verb, as in the schema.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::PrepareShell(_) => "PREPARE_SHELL",
            Self::StartRuntime(_) => "START_RUNTIME",
            Self::NameDevHosts(_) => "NAME_DEV_HOSTS",
            Self::FreezeRuntime => "FREEZE_RUNTIME",
            Self::StopRuntime => "STOP_RUNTIME",
            Self::RunJob(_) => "RUN_JOB",
            Self::ChangeService(_) => "CHANGE_SERVICE",
            Self::RotateCredential(_) => "ROTATE_CREDENTIAL",
            Self::EndElevation(_) => "END_ELEVATION",
            Self::DestroyWorkspace => "DESTROY_WORKSPACE",
        }
    }
}

/// `PREPARE_SHELL`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrepareShell {
    /// The workspace's names.
    pub names: WorkspaceNames,
    /// Where the repository is: a Git URL, or an absolute path on this box.
    pub repository: String,
    /// The branch; made from the repository's default branch when it does not exist.
    pub branch: String,
    /// The workspace of the same project and host that it begins as a copy of, on a new branch; none begins as a clone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork_of: Option<WorkspaceId>,
}

/// The names a workspace goes by, for prompts, README and context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceNames {
    /// Org slug.
    pub org: Slug,
    /// Project slug.
    pub project: Slug,
    /// Workspace slug.
    pub workspace: Slug,
}

/// `START_RUNTIME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StartRuntime {
    /// Limits to enforce.
    pub size: Size,
    /// What woke it, for the host's log.
    pub cause: String,
    /// Dev host origin per service, for `<service>_public_url` inputs.
    pub public_urls: BTreeMap<String, String>,
    /// Whether these are all there are. A workspace that is woken before its manifest was reported has none yet, and
    /// `NAME_DEV_HOSTS` follows.
    #[serde(default = "yes")]
    pub dev_hosts_known: bool,
    /// The runtime is awake, and something of it is blocked: the manifest is read again, what changed or is blocked is
    /// started, and what runs goes on. A failure says that nothing was changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

const fn yes() -> bool {
    true
}

/// `NAME_DEV_HOSTS`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NameDevHosts {
    /// Dev host origin per service: all there are.
    pub public_urls: BTreeMap<String, String>,
}

/// `RUN_JOB`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunJob {
    /// The job; its captured log is named after it.
    pub job: JobId,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The service whose environment, secrets and directory it has; none has every input under its own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// `CHANGE_SERVICE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeService {
    /// The service, as `envforge.yml` names it.
    pub service: String,
    /// What is to happen to it.
    pub action: ServiceAction,
}

/// `ROTATE_CREDENTIAL`. The credential itself is made by the host and goes nowhere but to the workspace's services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RotateCredential {
    /// The resource: one that has a credential.
    pub resource: ResourceKind,
}

/// `END_ELEVATION`. Obeyed whatever its generation: root is taken back also from a workspace that has gone on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndElevation {
    /// The elevation.
    pub elevation: ElevationId,
}

/// From host to server.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromHost {
    /// First message of every stream.
    Hello {
        /// The daemon's version.
        version: String,
        /// What the machine has.
        machine: Machine,
    },
    /// A command was carried out, or can't be.
    Answer {
        /// The command.
        command: CommandId,
        /// How it went.
        outcome: Outcome,
    },
    /// What is, in one workspace.
    Report {
        /// The report.
        report: Box<Report>,
    },
    /// The host lives.
    Heartbeat {
        /// The host's clock.
        at: Timestamp,
        /// What each workspace with a running process is doing.
        workspaces: Vec<Pulse>,
        /// What was wrong with tickets shown since the last one, for the ledger.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        tickets: BTreeSet<TicketFault>,
        /// What keeps the host from taking anything new on: a disk that is nearly full.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trouble: Option<Trouble>,
        /// How short the machine's memory is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memory: Option<MemoryReading>,
    },
}

/// What the machine has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Cores, in thousandths.
    pub milli_cpu: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// Swap in bytes, zram included: what the memory of a frozen runtime goes to. None if it can't be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<u64>,
    /// What its isolation lacks, in plain sentences; empty is full isolation.
    pub reductions: Vec<String>,
    /// Whether it opens root terminals: its operator allows it, and workspaces have users of their own.
    #[serde(default)]
    pub elevation: bool,
    /// Whether a fork shares the blocks of its files with what it is a copy of.
    #[serde(default)]
    pub copy_on_write: bool,
}

/// How a command went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is done (or, for `START_RUNTIME`, `RUN_JOB` and `CHANGE_SERVICE`, well begun; the rest is reported; for
    /// `ROTATE_CREDENTIAL`, the one from before is refused, and what was given it has ended).
    Done,
    /// The workspace has obeyed a newer generation.
    Stale,
    /// It can't be done.
    Failed(Trouble),
}

/// What is wrong and what helps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Trouble {
    /// Stable code: `shell.branch_not_found`, `host.disk_full`.
    pub code: String,
    /// The cause.
    pub cause: String,
    /// What helps.
    pub fix: String,
}

/// What is, in one workspace. Each report is whole: a later one replaces an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Rises by one per report of this workspace, also across restarts of the host.
    pub sequence: u64,
    /// The generation obeyed.
    pub generation: u64,
    /// When it was seen, by the host's clock.
    pub at: Timestamp,
    /// The runtime's phase.
    pub phase: ObservedPhase,
    /// Whether a runtime process exists.
    pub process_runs: bool,
    /// When an end was not seen: the last instant at which the runtime was proven to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_proof: Option<Timestamp>,
    /// What blocks the runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// Shell, services, resources, checks.
    pub parts: Vec<PartReport>,
    /// The manifest as read from the checkout; sent when it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<ManifestReport>,
    /// Jobs whose state changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobReport>,
    /// Where the checkout is, and commits made in it lately; told when the phase changes, by hosts that look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout: Option<CheckoutReport>,
}

/// A checkout, as its own files tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckoutReport {
    /// The commit checked out.
    pub head: String,
    /// The last commits made in it, oldest first, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<CommitReport>,
}

/// A commit that was made in a checkout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommitReport {
    /// Its id.
    pub id: String,
    /// When it was made, by the host's clock.
    pub at: Timestamp,
}

/// A part, as the host reports it.
pub type PartReport = Part;

/// The manifest as read from the checkout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum ManifestReport {
    /// It is good.
    Valid {
        /// The manifest, resolved.
        manifest: Box<Manifest>,
    },
    /// It is broken; the previous good one stays in force.
    Broken {
        /// Rendered diagnostics: file, line, column, cause, fix.
        diagnostics: Vec<String>,
    },
    /// There is no `envforge.yml`.
    Missing,
}

/// A job's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobReport {
    /// The job.
    pub job: JobId,
    /// Its state.
    pub state: RunState,
    /// Exit code once ended; 128 + signal when killed.
    pub exit_code: Option<i32>,
    /// Why it failed.
    pub cause: Option<String>,
}

/// What a workspace with a running process is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pulse {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Generation obeyed.
    pub generation: u64,
    /// Whether a runtime process exists and is not frozen: proof for the meter.
    pub process_runs: bool,
    /// CPU its services used since the last heartbeat, in thousandths of a core.
    pub service_milli_cpu: u64,
    /// Memory of the runtime in bytes.
    pub memory: u64,
    /// Jobs running.
    pub jobs_running: u32,
    /// What was done since the heartbeat before. None from a host that does not tell.
    #[serde(default)]
    pub work: Option<Work>,
}

/// What a runtime did between two heartbeats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Work {
    /// Processor time of its services, in milliseconds.
    pub cpu: u64,
    /// Bytes read from and written to disks, where the kernel says (cgroup v2); else 0.
    pub disk: u64,
    /// Bytes in and out of the workspace's network, its shell's included.
    pub network: u64,
}
