//! Usage and receipts.

use crate::http::caps::CapStanding;
use envforge_core::id::WorkspaceId;
use envforge_core::name::Slug;
use envforge_core::runtime::RuntimeState;
use envforge_core::size::Size;
use envforge_core::usage::price::Bill;
use envforge_core::usage::{Cap, CapPosture, Month, Receipt, SizeSeconds};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The usage panel of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkspaceUsage {
    /// The runtime's state.
    pub state: RuntimeState,
    /// Its size.
    pub size: Size,
    /// What woke it, while it is not asleep.
    pub wake_cause: Option<String>,
    /// Since when the open awake window runs.
    #[schema(value_type = Option<String>)]
    pub awake_since: Option<Timestamp>,
    /// Metered seconds this calendar month (UTC), the open window included.
    pub awake_seconds_this_month: u64,
    /// The cap.
    pub cap: Cap,
    /// Where usage stands against it.
    pub cap_posture: CapPosture,
    /// All caps it counts against, its own too.
    #[serde(default)]
    pub caps: Vec<CapStanding>,
    /// Until when jobs that run may go on although a cap stops it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub cap_grace_until: Option<Timestamp>,
    /// Cost this month in micro-units of the currency.
    pub estimate_micros: u64,
    /// ISO 4217 code.
    pub currency: String,
    /// Resources a provider bills separately.
    pub billed_separately: Vec<String>,
    /// Receipts, newest first; kept after sleep.
    pub receipts: Vec<Receipt>,
}

/// Sets a cap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetCap {
    /// The new cap.
    pub cap: Cap,
}

/// Which month.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    /// A calendar month (UTC) like `2026-11`; this one when absent.
    #[param(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month: Option<Month>,
}

/// What an org used in a month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrgUsage {
    /// The month, in UTC.
    pub month: Month,
    /// Whether it is over; until then figures may grow.
    pub is_over: bool,
    /// Workspaces that are there or were awake in it, of the projects the reader sees, by project and name.
    pub workspaces: Vec<UsedWorkspace>,
    /// Seconds awake together. For owners, admins and billing those of projects they don't see are in it.
    pub seconds: SizeSeconds,
    /// Seconds awake of all sizes together.
    pub awake_seconds: u64,
    /// What they cost in micro-units of the currency.
    pub cost_micros: u64,
    /// ISO 4217 code.
    pub currency: String,
    /// What is to be paid, credit and minimum included; absent for whoever does not see all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bill: Option<Bill>,
    /// The organization's cap.
    pub cap: Cap,
    /// Where the whole organization's usage of the month stands against it; absent for whoever does not see all of it.
    pub cap_posture: Option<CapPosture>,
    /// Caps that are set of the organization and of the projects the reader sees, with where this month stands; none of a month
    /// that is over.
    #[serde(default)]
    pub caps: Vec<CapStanding>,
}

/// What a workspace used in a month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsedWorkspace {
    /// The workspace.
    pub id: WorkspaceId,
    /// Its name.
    #[schema(value_type = String)]
    pub slug: Slug,
    /// Its project.
    #[schema(value_type = String)]
    pub project: Slug,
    /// Whether it was deleted meanwhile.
    pub is_deleted: bool,
    /// Seconds awake.
    pub seconds: SizeSeconds,
    /// Seconds awake of all sizes together.
    pub awake_seconds: u64,
    /// What they cost in micro-units of the currency.
    pub cost_micros: u64,
    /// Its cap.
    pub cap: Cap,
    /// Where the month's usage stands against it.
    pub cap_posture: CapPosture,
}
