//! Receipts: of one session, of a workspace, of an org's month.

use envforge_core::id::{EventId, UsageSessionId, WorkspaceId};
use envforge_core::ledger::Hash;
use envforge_core::name::Slug;
use envforge_core::usage::{Month, SessionReceipt};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// Most receipts of one answer.
pub const RECEIPTS_LIMIT_MAX: u16 = 200;

/// Which receipts of a workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReceiptsQuery {
    /// How many at most, 1 to 200; 20 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u16>,
    /// Goes on where an earlier answer ended: its `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptFormat {
    /// JSON.
    Json,
    /// Comma-separated values, a line for each window.
    Csv,
    /// A page for people.
    Html,
}

/// In which form a receipt is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReceiptQuery {
    /// The form; else what `Accept` prefers, JSON by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub format: Option<ReceiptFormat>,
}

/// Which receipts of an org.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MonthQuery {
    /// Those of sessions that ended in this calendar month (UTC) like `2026-11`; this one when absent.
    #[param(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month: Option<Month>,
    /// `json`, or `csv` for all of them at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub format: Option<ReceiptFormat>,
    /// Goes on where an earlier answer ended: its `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Receipts of a workspace, newest first. One of a session that is still open comes first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipts {
    /// The receipts, in short.
    pub receipts: Vec<ReceiptSummary>,
    /// The cursor of the next page; absent when this is the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A receipt in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiptSummary {
    /// The session.
    pub session: UsageSessionId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its name.
    #[schema(value_type = String)]
    pub workspace_slug: Slug,
    /// Whether it is kept as it is; else figures grow.
    pub is_final: bool,
    /// When its first window opened.
    #[schema(value_type = Option<String>)]
    pub opened_at: Option<Timestamp>,
    /// When the session ended.
    #[schema(value_type = Option<String>)]
    pub ended_at: Option<Timestamp>,
    /// What woke it.
    pub wake_cause: Option<String>,
    /// Metered seconds.
    pub awake_seconds: u64,
    /// Seconds that could not be proven and are not billed.
    pub unproven_seconds: u64,
    /// Cost in micro-units of the currency.
    pub cost_micros: u64,
    /// ISO 4217 code.
    pub currency: String,
}

impl ReceiptSummary {
    /// Of a receipt.
    pub fn of(receipt: &SessionReceipt) -> Self {
        let first = receipt.windows.first();
        Self {
            session: receipt.session,
            workspace: receipt.workspace,
            workspace_slug: receipt.workspace_slug.clone(),
            is_final: receipt.is_final,
            opened_at: first.map(|window| window.opened_at),
            ended_at: receipt.ended.as_ref().map(|ended| ended.at),
            wake_cause: first.map(|window| window.wake_cause.clone()),
            awake_seconds: receipt.awake_seconds,
            unproven_seconds: receipt.unproven_seconds,
            cost_micros: receipt.cost_micros,
            currency: receipt.currency.clone(),
        }
    }
}

/// A receipt and what proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeptReceipt {
    /// The receipt. The hash is of its canonical text: keys sorted by their bytes, no white space.
    #[schema(value_type = SessionReceipt)]
    pub receipt: Value,
    /// SHA-256 of that text, hexadecimal; absent while it is not final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub sha256: Option<Hash>,
    /// The event of the ledger that has this hash; absent while it is not final, or when the ledger has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<RecordedHash>,
    /// Whether receipt, hash and ledger say the same; absent while it is not final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_intact: Option<bool>,
    /// What people that it names by id are called now.
    pub names: BTreeMap<String, String>,
}

/// A receipt's hash as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordedHash {
    /// The event.
    pub event: EventId,
    /// When it was written.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// The hash.
    pub sha256: String,
}

/// Final receipts of sessions that ended in a month, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MonthReceipts {
    /// The month, in UTC.
    pub month: Month,
    /// The receipts.
    #[schema(value_type = Vec<SessionReceipt>)]
    pub receipts: Vec<Value>,
    /// The cursor of the next page; absent when this is the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
