//! Signed links.

use envforge_core::id::{LinkId, LinkSessionId, WorkspaceId};
use envforge_core::usage::WokenWindow;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Asks for a signed link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateLink {
    /// The service.
    pub service: String,
    /// Minutes until it expires; 60 when absent, at most 43,200 (30 days).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_minutes: Option<u32>,
    /// Most visits (exchanges for a browser session); no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visit_budget: Option<u32>,
    /// Most wakes it may cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake_budget: Option<u32>,
    /// Most awake minutes of the windows its wakes open; 240 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minute_budget: Option<u32>,
    /// Path prefixes it is limited to, such as `/docs`; every path when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
}

/// A new link; the only time its token is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedLink {
    /// The link.
    pub link: Link,
    /// What to share: `https://<dev host>/share/<token>`.
    pub url: String,
    /// The token, for the `envforge-link` header of agents and CI.
    pub token: String,
}

/// A link, without its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// The link.
    pub id: LinkId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The service.
    pub service: String,
    /// The dev host label.
    pub label: String,
    /// `active`, `expired` or `revoked`.
    pub state: LinkState,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it expires.
    #[schema(value_type = String)]
    pub expires_at: Timestamp,
    /// Visits so far.
    pub visits: u32,
    /// Most visits allowed.
    pub visit_budget: Option<u32>,
    /// Wakes caused so far.
    pub wakes: u32,
    /// Most wakes allowed.
    pub wake_budget: u32,
    /// Awake minutes of the windows its wakes opened and that are closed, rounded up.
    #[serde(default)]
    pub minutes: u32,
    /// Most awake minutes allowed.
    #[serde(default)]
    pub minute_budget: u32,
    /// Path prefixes it is limited to; every path when empty.
    #[serde(default)]
    pub routes: Vec<String>,
}

/// Whether a link still opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// It opens.
    Active,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

/// Links of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Links {
    /// Newest first.
    pub links: Vec<Link>,
}

/// Which visits to list, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VisitsQuery {
    /// Only before this one: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub before: Option<LinkSessionId>,
    /// How many; 50 when absent, at most 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// One exchange of a link for a browser session, and what that session woke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Visit {
    /// The session.
    pub session: LinkSessionId,
    /// When it began.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// What the browser called itself; forgotten a week after the session expired.
    pub user_agent: Option<String>,
    /// Awake windows that it caused, oldest first.
    pub windows: Vec<WokenWindow>,
    /// Metered seconds of these.
    pub awake_seconds: u64,
    /// Their cost in micro-units of the currency.
    pub cost_micros: u64,
}

/// Visits through a link, as far back as the ledger goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Visits {
    /// Newest first.
    pub visits: Vec<Visit>,
    /// ISO 4217 code.
    pub currency: String,
    /// `before` of the next page, when there is one.
    pub next: Option<LinkSessionId>,
}
