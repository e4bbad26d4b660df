//! When workspaces wake and sleep by themselves.

use envforge_core::timetable::{DueAction, QuietHours, Skip, Timetable};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Sets a workspace's schedule, instead of what was set before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSchedule {
    /// The schedule; `null` for none.
    pub schedule: Option<Timetable>,
}

/// A workspace's schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkspaceSchedule {
    /// The schedule, if there is one.
    pub schedule: Option<Timetable>,
    /// What is due next.
    pub next: Option<NextDue>,
    /// What came of what was due last.
    pub last: Option<LastDue>,
}

/// What is due next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NextDue {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What.
    pub action: DueAction,
}

/// What came of something due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastDue {
    /// When it was due.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What.
    pub action: DueAction,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: DueOutcome,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum DueOutcome {
    /// It was done, or was so already.
    Done,
    /// It was left out.
    Skipped {
        /// Why.
        reason: Skip,
    },
    /// The wake was refused, and is not tried again.
    Refused {
        /// The refusal's code.
        code: String,
        /// What it said.
        message: String,
    },
}

/// The hours in which no schedule of the org wakes anything, read and set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrgQuietHours {
    /// The hours; `null` for none.
    pub quiet_hours: Option<QuietHours>,
}
