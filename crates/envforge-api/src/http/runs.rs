//! Runs: a test or job in the runtime layer, which it wakes.

use envforge_core::id::JobId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asks for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRun {
    /// Program and arguments; not interpreted by a shell.
    pub argv: Vec<String>,
    /// The service whose environment, secrets and directory it is to have. Without one it has every input in capitals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for the runtime.
    Pending,
    /// Runs.
    Running,
    /// Ended with an exit code.
    Ended,
    /// Could not be run, or its end was not seen.
    Failed,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// The job.
    pub id: JobId,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Its state.
    pub state: RunState,
    /// Exit code once ended; 128 + signal when killed.
    pub exit_code: Option<i32>,
    /// Why it failed.
    pub cause: Option<String>,
    /// When it was asked for.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>)]
    pub ended_at: Option<Timestamp>,
}
