//! Workspaces with their shell, runtime, parts and dev hosts.

use crate::http::elevations::ActiveElevation;
use envforge_core::id::{OrgId, WorkspaceId};
use envforge_core::idle::IdleVerdict;
use envforge_core::name::Slug;
use envforge_core::readiness::{Part, ReadinessState};
use envforge_core::runtime::{RuntimeState, SleepTier};
use envforge_core::size::Size;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asks for a workspace. Asking again for the same branch of the same project answers the one that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateWorkspace {
    /// The project.
    pub project: Slug,
    /// The branch; made from the repository's default branch when it does not exist.
    pub branch: String,
    /// Its slug, unique in the org; made from the branch when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<Slug>,
    /// Runtime size; the manifest's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
}

/// A workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Workspace {
    /// The workspace.
    pub id: WorkspaceId,
    /// The org.
    pub org: OrgId,
    /// The org's slug.
    pub org_slug: Slug,
    /// Its slug.
    pub slug: Slug,
    /// The project.
    pub project: Slug,
    /// The branch.
    pub branch: String,
    /// The workspace it began as a copy of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<Slug>,
    /// Shell layer.
    pub shell: Part,
    /// Runtime layer.
    pub runtime: RuntimeView,
    /// Services, resources and checks.
    pub parts: Vec<Part>,
    /// What is wrong with the checkout's `envforge.yml`: file, line, column, cause, fix. While there is something, what runs
    /// goes on as the last good one said.
    #[serde(default)]
    pub diagnostics: Vec<String>,
    /// Dev hosts, one per service; a name is no promise of availability.
    pub dev_hosts: Vec<DevHost>,
    /// Root that somebody has in it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elevation: Option<ActiveElevation>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

/// The runtime as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuntimeView {
    /// The public word: ready, waking, blocked or asleep.
    pub readiness: ReadinessState,
    /// The exact state.
    pub state: RuntimeState,
    /// Raised by every wake and sleep.
    pub generation: u64,
    /// Its size.
    pub size: Size,
    /// What woke it, while it is not asleep.
    pub wake_cause: Option<String>,
    /// Since when the open awake window runs.
    #[schema(value_type = Option<String>)]
    pub awake_since: Option<Timestamp>,
    /// Code of what blocks it.
    pub blocked_code: Option<String>,
    /// Why it is blocked.
    pub blocked_cause: Option<String>,
    /// What helps.
    pub blocked_fix: Option<String>,
    /// Why it stays awake, or when it will sleep; absent unless awake.
    pub idle: Option<IdleVerdict>,
    /// Whether a cap is set that it counts against.
    #[serde(default)]
    pub is_capped: bool,
}

/// A dev host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DevHost {
    /// The service.
    pub service: String,
    /// The DNS label.
    pub label: String,
    /// The URL, without any token.
    pub url: String,
}

/// Workspaces of an org.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Workspaces {
    /// By slug.
    pub workspaces: Vec<Workspace>,
}

/// Most copies one request may ask for.
pub const FORKS_MAX: usize = 20;

/// Asks for copies of a workspace: its files, database and object storage as they are now, its own secrets, size and cap.
/// Asking again for the same ones answers those that exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkWorkspace {
    /// The slug of each copy, at most [`FORKS_MAX`]; its branch has the same name and begins at the source's commit.
    #[schema(min_items = 1, max_items = 20)]
    pub slugs: Vec<Slug>,
}

/// The copies of a workspace. Each is there when its shell is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForkedWorkspaces {
    /// In the order asked for.
    pub workspaces: Vec<Workspace>,
    /// Whether their files take no room of their own until they change.
    pub copy_on_write: bool,
}

/// What can happen to one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceAction {
    /// It runs again if it had ended, was stopped or is blocked; one that runs is left alone.
    Start,
    /// It ends, and stays so until it is started or the runtime wakes from stopped.
    Stop,
    /// It ends, and is started as `envforge.yml` and its inputs are now; a broken file changes nothing.
    Restart,
}

impl ServiceAction {
    /// The word in commands and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

/// Starts, stops or restarts a service; a runtime that sleeps is woken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeService {
    /// What is to happen.
    pub action: ServiceAction,
}

/// Wakes a runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wake {
    /// Another size than the workspace's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
}

/// Puts a runtime to sleep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sleep {
    /// How deep.
    #[serde(default)]
    pub tier: SleepTier,
}

/// One server-sent event of `GET …/workspaces/{workspace}/events`: the whole workspace, each time it changed.
/// Correct after a reconnect, because the first event is always the present state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkspaceChanged {
    /// The workspace now; absent once it is deleted.
    pub workspace: Option<Workspace>,
}
