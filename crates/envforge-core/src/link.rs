//! Signed links, and the browser sessions that they and members' sign-ins are exchanged for.
//!
//! A link token names org, workspace, service, dev host label and expiry; holding it is not yet a session.
//! `GET /share/<token>` has no effect; the POST of its card exchanges it at the server, which checks
//! revocation and budgets in its database and mints a [`SessionClaims`] cookie bound to exactly one label. A member gets
//! such a cookie by [`crate::entry`]. The gateway verifies all of it offline and learns from its feed what has ended;
//! without a fresh feed it refuses.

use crate::id::{LinkId, LinkSessionId, LoginSessionId, OrgId, UserId, WorkspaceId};
use crate::token::Claims;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Default life of a link.
pub const DEFAULT_EXPIRY: SignedDuration = SignedDuration::from_mins(60);
/// Longest life of a link.
pub const MAX_EXPIRY: SignedDuration = SignedDuration::from_hours(24 * 30);
/// Wakes a link may cause unless it says otherwise.
pub const DEFAULT_WAKE_BUDGET: u32 = 20;
/// Awake minutes a link may cause unless it says otherwise.
pub const DEFAULT_MINUTE_BUDGET: u32 = 240;
/// Cookie that carries a browser session over TLS.
pub const COOKIE: &str = "__Host-envforge";
/// The same on plain HTTP, where browsers refuse the `__Host-` prefix (single box on `*.localhost`).
pub const COOKIE_PLAIN: &str = "envforge-session";
/// Header with which agents and CI send a link token instead of a cookie.
pub const HEADER: &str = "envforge-link";

/// What a link token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkClaims {
    /// The link.
    #[serde(rename = "lnk")]
    pub link: LinkId,
    /// The org.
    pub org: OrgId,
    /// The workspace.
    #[serde(rename = "ws")]
    pub workspace: WorkspaceId,
    /// The service.
    #[serde(rename = "svc")]
    pub service: String,
    /// The dev host label it is good on.
    #[serde(rename = "lbl")]
    pub label: String,
    /// Expiry, seconds since 1970 UTC.
    #[serde(rename = "exp")]
    pub expires: i64,
}

/// Longest list of routes a link may be limited to: it travels in every request's cookie.
pub const ROUTES_MAX: usize = 8;
/// Longest of them.
pub const ROUTE_MAX: usize = 100;

/// Whether `path` lies below one of these prefixes; without any, every path does. `/docs` holds `/docs` and `/docs/x`,
/// not `/docsearch`. A path that leads up again is below none: what it means is the service's to say.
pub fn is_allowed(routes: &[String], path: &str) -> bool {
    routes.is_empty()
        || !leads_up(path.as_bytes())
            && routes.iter().any(|route| {
                let route = route.trim_end_matches('/');
                path.strip_prefix(route).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
}

/// Whether some service finds `..` in it: as it is, decoded, or decoded once more by a second part of it. Some take `\`
/// for `/`, and some cut `;parameters` off each segment (RFC 3986, section 3.3) before they look.
fn leads_up(path: &[u8]) -> bool {
    let once = decoded(path);
    let twice = decoded(&once);
    [path, &once, &twice].into_iter().any(|read| {
        let mut segments = read.split(|byte| matches!(byte, b'/' | b'\\'));
        segments.any(|segment| segment.split(|byte| *byte == b';').next() == Some(b".."))
    })
}

/// With its percent-encoding taken off once (RFC 3986, section 2.1); what is none stays.
fn decoded(path: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let (mut rest, mut decoded) = (path, Vec::with_capacity(path.len()));
    while let [first, after @ ..] = rest {
        rest = after;
        decoded.push(match (first, after) {
            (b'%', [high, low, after @ ..]) => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            _ => *first,
        });
    }
    decoded
}

impl Claims for LinkClaims {
    const PREFIX: &'static str = "efl1";
    fn expires_at(&self) -> Timestamp {
        Timestamp::from_second(self.expires).unwrap_or(Timestamp::MIN)
    }
}

/// On whose behalf a browser session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Holder {
    /// Whoever a link was sent to.
    #[serde(rename = "lnk")]
    Link(LinkId),
    /// A member of the org, signed in with their account.
    #[serde(rename = "mbr")]
    Member {
        /// Who.
        #[serde(rename = "usr")]
        user: UserId,
        /// Their session at the product, which this one never outlives.
        #[serde(rename = "lgn")]
        login: LoginSessionId,
    },
}

impl Holder {
    /// Whether it is a member, who may be told causes and fixes.
    pub const fn is_member(self) -> bool {
        matches!(self, Self::Member { .. })
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Link(link) => link.fmt(f),
            Self::Member { user, .. } => user.fmt(f),
        }
    }
}

/// What a browser session's cookie says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClaims {
    /// The session.
    #[serde(rename = "ses")]
    pub session: LinkSessionId,
    /// Whose it is.
    #[serde(flatten)]
    pub holder: Holder,
    /// The org.
    pub org: OrgId,
    /// The workspace.
    #[serde(rename = "ws")]
    pub workspace: WorkspaceId,
    /// The service the label names.
    #[serde(rename = "svc")]
    pub service: String,
    /// The dev host label it is good on; worthless on any other.
    #[serde(rename = "lbl")]
    pub label: String,
    /// Expiry, seconds since 1970 UTC; never later than that of the link, or of the member's login session.
    #[serde(rename = "exp")]
    pub expires: i64,
    /// Path prefixes it is limited to; none is no limit.
    #[serde(rename = "rts", default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
}

impl Claims for SessionClaims {
    const PREFIX: &'static str = "efs1";
    fn expires_at(&self) -> Timestamp {
        Timestamp::from_second(self.expires).unwrap_or(Timestamp::MIN)
    }
}

/// A link as the server knows it, for the rules below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Until when it holds.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Visits (exchanges) so far.
    pub visits: u32,
    /// Most visits allowed; `None` is no limit.
    pub visit_budget: Option<u32>,
    /// Wakes caused so far.
    pub wakes: u32,
    /// Most wakes allowed.
    pub wake_budget: u32,
    /// Awake time of the windows that its wakes opened, as far as they are closed, in seconds.
    pub awake_seconds: u64,
    /// Most awake minutes allowed.
    pub minute_budget: u32,
}

/// Why a link does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkRefused {
    /// It was revoked.
    #[error("this link was revoked")]
    Revoked,
    /// Its time is over.
    #[error("this link has expired")]
    Expired,
    /// Its visits are used up.
    #[error("this link's visits are used up")]
    VisitsSpent,
    /// Its wakes are used up.
    #[error("this link's wakes are used up")]
    WakesSpent,
    /// Its awake minutes are used up.
    #[error("this link's awake minutes are used up")]
    MinutesSpent,
}

impl LinkRefused {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Revoked => "link.revoked",
            Self::Expired => "link.expired",
            Self::VisitsSpent => "link.visits_spent",
            Self::WakesSpent => "link.wakes_spent",
            Self::MinutesSpent => "link.minutes_spent",
        }
    }
}

impl Link {
    /// Whether the link still holds at `now`.
    pub fn holds(&self, now: Timestamp) -> Result<(), LinkRefused> {
        if self.revoked_at.is_some() {
            return Err(LinkRefused::Revoked);
        }
        if self.expires_at <= now {
            return Err(LinkRefused::Expired);
        }
        Ok(())
    }

    /// Whether one more visit may be exchanged for a session.
    pub fn visit(&self, now: Timestamp) -> Result<(), LinkRefused> {
        self.holds(now)?;
        match self.visit_budget {
            Some(budget) if self.visits >= budget => Err(LinkRefused::VisitsSpent),
            _ => Ok(()),
        }
    }

    /// Whether a session of this link may wake the runtime once more.
    pub fn wake(&self, now: Timestamp) -> Result<(), LinkRefused> {
        self.holds(now)?;
        if self.wakes >= self.wake_budget {
            return Err(LinkRefused::WakesSpent);
        }
        if self.is_used_up(SignedDuration::ZERO) {
            return Err(LinkRefused::MinutesSpent);
        }
        Ok(())
    }

    /// Whether its awake minutes are used up, with a window of its that is open for `open`.
    pub fn is_used_up(&self, open: SignedDuration) -> bool {
        let open = u64::try_from(open.as_secs()).unwrap_or(0);
        self.awake_seconds.saturating_add(open) >= u64::from(self.minute_budget) * 60
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        Link {
            expires_at: Timestamp::from_second(100).expect("in range"),
            revoked_at: None,
            visits: 0,
            visit_budget: Some(1),
            wakes: 0,
            wake_budget: 1,
            awake_seconds: 0,
            minute_budget: 2,
        }
    }

    // proves LINK-10
    #[test]
    fn a_session_is_a_links_or_a_members() {
        let session = |holder: serde_json::Value| {
            let mut claims = serde_json::json!({
                "ses": "ls_00000000000000000000000000000001", "org": "org_00000000000000000000000000000001",
                "ws": "ws_00000000000000000000000000000001", "svc": "web", "lbl": "web--a--b", "exp": 7,
            });
            claims.as_object_mut().expect("an object").extend(holder.as_object().expect("an object").clone());
            let read: Result<SessionClaims, _> = serde_json::from_value(claims.clone());
            if let Ok(read) = &read {
                assert_eq!(serde_json::to_value(read).expect("plain data"), claims, "written as it was read");
            }
            read.map(|claims| claims.holder)
        };
        let link = "link_00000000000000000000000000000002";
        let (user, login) = ("user_00000000000000000000000000000003", "sess_00000000000000000000000000000004");
        let of_link = session(serde_json::json!({ "lnk": link })).expect("as before there were others");
        assert_eq!(of_link, Holder::Link(link.parse().expect("an id")));
        let of_member = session(serde_json::json!({ "mbr": { "usr": user, "lgn": login } })).expect("a member's");
        assert_eq!(of_member, Holder::Member { user: user.parse().expect("one"), login: login.parse().expect("one") });
        assert!(of_member.is_member() && !of_link.is_member());
        for bad in
            [serde_json::json!({}), serde_json::json!({ "mbr": { "usr": user } }), serde_json::json!({ "lnk": user })]
        {
            assert!(session(bad.clone()).is_err(), "{bad}");
        }
    }

    // proves LINK-2
    #[test]
    fn a_route_holds_what_is_below_it() {
        let routes = ["/docs/".to_owned(), "/api/public".to_owned()];
        for path in ["/docs", "/docs/", "/docs/a/b", "/api/public/x"] {
            assert!(is_allowed(&routes, path), "{path}");
        }
        for path in [
            "/",
            "/docsearch",
            "/api",
            "/api/publicity",
            "/docs/../admin",
            "/docs/%2e%2E/admin",
            "/docs/..\\x",
            "/docs/x%2F..%2f..%2Fadmin",
            "/docs/..;/admin",
            "/docs/..%3bx=y/admin",
            "/docs/%252e%252E/admin",
            "/docs/%2%65.%5cadmin",
        ] {
            assert!(!is_allowed(&routes, path), "{path}");
        }
        assert!(is_allowed(&[], "/any/../thing") && is_allowed(&["/".to_owned()], "/any"));
    }

    // proves LINK-2
    #[test]
    fn budgets_expiry_and_revocation_refuse() {
        let early = Timestamp::from_second(1).expect("in range");
        let late = Timestamp::from_second(100).expect("in range");
        assert_eq!(link().visit(early), Ok(()));
        assert_eq!(link().visit(late), Err(LinkRefused::Expired));
        assert_eq!(Link { visits: 1, ..link() }.visit(early), Err(LinkRefused::VisitsSpent));
        assert_eq!(Link { wakes: 1, ..link() }.wake(early), Err(LinkRefused::WakesSpent));
        assert_eq!(Link { revoked_at: Some(early), ..link() }.wake(early), Err(LinkRefused::Revoked));
        assert_eq!(Link { awake_seconds: 120, ..link() }.wake(early), Err(LinkRefused::MinutesSpent));
        let almost = Link { awake_seconds: 60, ..link() };
        assert_eq!(almost.wake(early), Ok(()));
        assert!(almost.is_used_up(SignedDuration::from_secs(60)) && !almost.is_used_up(SignedDuration::from_secs(59)));
    }
}
