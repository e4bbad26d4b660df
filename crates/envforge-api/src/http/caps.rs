//! Caps of workspaces, projects and organizations, and overrides of them.

use envforge_core::usage::{Cap, CapLevel, CapPosture};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A cap, and where this month's usage stands against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CapStanding {
    /// Whose it is.
    pub level: CapLevel,
    /// The workspace, project or organization by name; the link by id.
    pub name: String,
    /// The cap.
    pub cap: Cap,
    /// Where usage stands. Of the whole organization's, whoever does not see all of it is told warnings and stops only.
    #[serde(default)]
    pub posture: Option<CapPosture>,
    /// Seconds awake that count; absent for whoever does not see all of them.
    #[serde(default)]
    pub awake_seconds: Option<u64>,
    /// What they cost, in micro-units of the currency; the same.
    #[serde(default)]
    pub cost_micros: Option<u64>,
    /// ISO 4217 code.
    pub currency: String,
    /// What lifts its stop now.
    #[serde(default)]
    pub overridden: Option<GivenOverride>,
}

impl CapStanding {
    /// How much is used, in words: `82 % of the month's 600 minutes`.
    pub fn words(&self) -> Option<String> {
        let percent = self.posture?.percent()?;
        let whole = if self.level == CapLevel::Link { "its" } else { "the month's" };
        Some(format!("{percent} % of {whole} {}", self.cap.limit_words(&self.currency)))
    }
}

/// An override that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GivenOverride {
    /// Who gave it, by name.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Until when it holds.
    #[schema(value_type = String)]
    pub until: Timestamp,
    /// Up to how many seconds awake in the month; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to_seconds: Option<u64>,
    /// Up to which cost in the month, in micro-units of the currency; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to_micros: Option<u64>,
}

/// The caps that a workspace's runtime counts against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkspaceCaps {
    /// Those that are set: the workspace's, its project's, the organization's, and the budget of the link that woke it.
    pub caps: Vec<CapStanding>,
    /// Until when jobs that run may go on although a cap stops it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub grace_until: Option<Timestamp>,
}

/// Lifts a cap's stop. Without an end or an amount it holds until the month ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OverrideCap {
    /// Why; kept in the ledger.
    pub reason: String,
    /// Until when; the month's end at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub until: Option<Timestamp>,
    /// So many awake minutes more than the cap, or than were used when that is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<u64>,
    /// So much money more, in micro-units of the currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micros: Option<u64>,
}
