//! Background jobs, as the installation's operator sees them.

use envforge_core::id::{BackgroundJobId, OrgId};
use envforge_core::job::{JobState, Queue};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// Which jobs to list, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobFilter {
    /// Only of this queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// Only in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<JobState>,
    /// Only of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only older than this job: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub before: Option<BackgroundJobId>,
    /// How many; 50 when absent, at most 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A background job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackgroundJob {
    /// The job.
    pub id: BackgroundJobId,
    /// Its queue.
    pub queue: Queue,
    /// What it does.
    pub kind: String,
    /// What to do it with: references, never secrets.
    #[schema(value_type = Object)]
    pub arguments: Value,
    /// The org it works for; absent for the installation's own.
    pub org: Option<OrgId>,
    /// Larger runs first.
    pub priority: i16,
    /// At most one job of this kind and org with this key is not finished.
    pub unique_key: Option<String>,
    /// How far it is.
    pub state: JobState,
    /// Attempts so far, with the one under way.
    pub attempt: u32,
    /// Most attempts.
    pub max_attempts: u32,
    /// When it is due.
    #[schema(value_type = String)]
    pub run_at: Timestamp,
    /// Why the last attempt failed, or why it waits.
    pub error: Option<String>,
    /// Whether it was asked to end and has not yet.
    pub cancelling: bool,
    /// When it was enqueued.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When the last attempt began.
    #[schema(value_type = Option<String>)]
    pub started_at: Option<Timestamp>,
    /// When it was finished.
    #[schema(value_type = Option<String>)]
    pub finished_at: Option<Timestamp>,
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackgroundJobs {
    /// Newest first.
    pub jobs: Vec<BackgroundJob>,
    /// `before` of the next page; absent on the last.
    pub next: Option<BackgroundJobId>,
}

/// A queue, over all servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueStatus {
    /// The queue.
    pub queue: Queue,
    /// How many of its jobs one server runs at a time.
    pub concurrency: u32,
    /// Jobs that wait, due or not.
    pub waiting: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that succeeded and are still kept.
    pub done: u64,
    /// Jobs whose handler gave up.
    pub failed: u64,
    /// Jobs a person ended.
    pub cancelled: u64,
    /// Dead letters.
    pub dead: u64,
    /// Since when the longest waiting of the jobs that are due is due.
    #[schema(value_type = Option<String>)]
    pub oldest_due_at: Option<Timestamp>,
}

/// All queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Queues {
    /// All there are.
    pub queues: Vec<QueueStatus>,
}
