//! Usage and receipts.

use envforge_core::runtime::RuntimeState;
use envforge_core::size::Size;
use envforge_core::usage::{Cap, CapPosture, Receipt};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
