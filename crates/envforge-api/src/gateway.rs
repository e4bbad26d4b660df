//! What a gateway asks the server: routes, exchanges, wakes; and the feed that keeps it honest.
//!
//! A gateway holds public keys only. It learns of revocations and state changes from the feed, newline-separated
//! JSON at [`FEED_PATH`] ([`Presence`] says whose it is) with a beat every second. When the last beat is older than [`LEASE_SECONDS`] it refuses every
//! request: cut off means closed. All calls carry `Authorization: Bearer <gateway key>`.

use envforge_core::id::{GatewayId, HostId, LinkId, LinkSessionId, OrgId, WorkspaceId};
use envforge_core::manifest::{Protocol, Rewrite};
use envforge_core::readiness::Part;
use envforge_core::runtime::RuntimeState;
use envforge_core::token::PublicKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// The feed.
pub const FEED_PATH: &str = "/internal/gateway/feed";
/// `GET …/routes/{label}`.
pub const ROUTES_PATH: &str = "/internal/gateway/routes";
/// `POST`: [`Exchange`] → [`Exchanged`].
pub const EXCHANGE_PATH: &str = "/internal/gateway/exchange";
/// `POST`: [`Enter`] → [`Exchanged`].
pub const ENTER_PATH: &str = "/internal/gateway/enter";
/// `POST`: [`WakeRequest`] → [`WakeAnswer`].
pub const WAKE_PATH: &str = "/internal/gateway/wake";
/// `POST`: [`Activity`] → nothing.
pub const ACTIVITY_PATH: &str = "/internal/gateway/activity";
/// Every call of a gateway: method and path; a route's label follows [`ROUTES_PATH`].
pub const CALLS: [(&str, &str); 6] = [
    ("GET", FEED_PATH),
    ("GET", ROUTES_PATH),
    ("POST", EXCHANGE_PATH),
    ("POST", ENTER_PATH),
    ("POST", WAKE_PATH),
    ("POST", ACTIVITY_PATH),
];
/// Seconds between beats of the feed.
pub const BEAT_SECONDS: u64 = 1;
/// Seconds after which a gateway without a beat refuses everything.
pub const LEASE_SECONDS: u64 = 10;

/// Who a gateway is; the query of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Presence {
    /// Its instance, new at each start: what the one before it had open has ended with it.
    pub gateway: GatewayId,
    /// Where it listens, for operators.
    pub address: SocketAddr,
}

impl Presence {
    /// What to ask for the feed.
    pub fn feed(&self) -> String {
        format!("{FEED_PATH}?gateway={}&address={}", self.gateway, self.address)
    }
}

/// One line of the feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FeedItem {
    /// First line: all that holds now. Replaces what the gateway knew.
    Snapshot {
        /// Keys that sign links, sessions, tickets and host passes.
        keys: Vec<PublicKey>,
        /// Links revoked and not yet expired.
        revoked: Vec<LinkId>,
        /// Members' sessions that ended before their time.
        #[serde(default)]
        ended: Vec<LinkSessionId>,
    },
    /// The server lives; renews the lease.
    Beat,
    /// A link and all its sessions end now, open streams included.
    Revoked {
        /// The link.
        link: LinkId,
    },
    /// A member's session ends now, open streams included.
    SessionEnded {
        /// The session.
        session: LinkSessionId,
    },
    /// A workspace changed: drop what is cached of it. Carries the state so that waiters need not ask.
    Workspace {
        /// The workspace.
        workspace: WorkspaceId,
        /// Its runtime; `None` once it is deleted.
        runtime: Option<RouteRuntime>,
    },
}

/// The runtime as the gateway needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRuntime {
    /// The state.
    pub state: RuntimeState,
    /// The generation.
    pub generation: u64,
    /// What blocks it; for members, not for strangers.
    pub blocked_cause: Option<String>,
    /// What helps.
    pub blocked_fix: Option<String>,
    /// Services, resources and checks.
    pub parts: Vec<Part>,
}

/// Where a label leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The label.
    pub label: String,
    /// The org.
    pub org: OrgId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The workspace's slug, for the card and the waiting page.
    pub workspace_slug: String,
    /// The service the label names.
    pub service: String,
    /// Which service answers which path: the longest prefix wins. A prefix matches whole path segments.
    pub rules: Vec<RouteRule>,
    /// The host that runs it.
    pub host: HostId,
    /// The runtime.
    pub runtime: RouteRuntime,
}

/// A path prefix, the service behind it, and the ticket that opens a stream to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRule {
    /// Path prefix, starting with `/`.
    pub prefix: String,
    /// The service.
    pub service: String,
    /// A `service` ticket; ask for the route again before it expires.
    pub ticket: String,
    /// When the ticket expires.
    pub ticket_expires_at: Timestamp,
    /// What the service speaks.
    #[serde(default)]
    pub protocol: Protocol,
    /// What is changed in its answers.
    #[serde(default)]
    pub rewrite: BTreeSet<Rewrite>,
    /// The port it believes to be reached at, if it is known.
    #[serde(default)]
    pub port: Option<u16>,
}

/// Exchanges a link token for a browser session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// The dev host label the token was shown on.
    pub label: String,
    /// The link token.
    pub token: String,
    /// `User-Agent`, cut to 200 characters, for the visit log.
    pub user_agent: Option<String>,
}

/// Exchanges a member's entry code for a browser session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enter {
    /// The dev host label the code was shown on.
    pub label: String,
    /// The code, whose browser the gateway has checked.
    pub code: String,
    /// `User-Agent`, cut to 200 characters.
    pub user_agent: Option<String>,
}

/// A fresh browser session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchanged {
    /// The signed session: the cookie's value.
    pub session: String,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// Wakes a workspace for a verified session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WakeRequest {
    /// The signed session.
    pub session: String,
    /// The session's id, for the log.
    pub session_id: LinkSessionId,
    /// The path that woke it, without query.
    pub path: String,
}

/// What a wake answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WakeAnswer {
    /// The runtime after the wake was decided.
    pub runtime: RouteRuntime,
}

/// What a gateway saw since its last call; sent every second when there is something, and all of it anew when the feed
/// begins anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// Whose requests are open. What is open at a gateway whose feed ended longer ago than a lease is forgotten.
    pub gateway: GatewayId,
    /// Per workspace.
    pub workspaces: Vec<WorkspaceActivity>,
    /// Requests without a verified session, per label; counted, never an event each.
    pub unverified: Vec<UnverifiedCount>,
}

/// Traffic of one workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceActivity {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Requests open now, realtime excluded.
    pub in_flight: u32,
    /// Realtime connections open now.
    pub realtime: u32,
    /// Bytes moved on realtime connections since the last call.
    pub realtime_bytes: u64,
    /// Requests begun since the last call. None from a gateway that does not tell.
    #[serde(default)]
    pub requests: u64,
    /// When a request last began or ended.
    pub last_activity: Timestamp,
}

/// Unverified requests on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnverifiedCount {
    /// The label, or empty for hosts that are no label.
    pub label: String,
    /// Why: `no_session`, `forged`, `expired`, `revoked`, `wrong_host`, `other_browser`, `unknown_label`.
    pub reason: String,
    /// How many.
    pub count: u64,
}
