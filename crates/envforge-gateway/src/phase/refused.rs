//! Every way in which a request does not reach a service.
//!
//! Phases return these; `answer` alone decides how each looks to a browser, a program or a crawler. What strangers
//! and link holders may not know (causes, hosts, fixes) is in none that a phase returns, so it can't leak into a page: the
//! two variants that say more are made by `member` alone, of a refusal that was on its way to a member.

use crate::sessions::Unverified;
use crate::stats::Outcome;
use envforge_core::readiness::ReadinessState;
use envforge_core::refusal::{Refusal, RefusalKind};
use std::time::Duration;

/// Every way in which a request does not reach a service.
#[derive(Debug, Clone)]
pub(crate) enum Refused {
    /// Not a request that means one thing only.
    BadRequest(&'static str),
    /// No verified session.
    Unverified(Unverified),
    /// An entry code that does not open.
    NoEntry(Unverified),
    /// A share link that does not open; `was_good` says that it did once.
    DeadLink { was_good: bool },
    /// The gateway has not heard from the server for too long.
    LeaseOver,
    /// This gateway is about to end.
    Draining,
    /// Too many of its kind; after so long another is answered.
    TooMany(Duration),
    /// A method that no dev host answers.
    Method,
    /// Another site sent it, with this site's cookie.
    CrossOrigin,
    /// More of a head than is read.
    HeadTooLarge,
    /// A version of HTTP that is not spoken.
    Version,
    /// A body where none is wanted.
    BodyTooLarge,
    /// The label leads nowhere.
    NoPreview,
    /// No service answers the path.
    NoPath,
    /// On its way up; a browser gets the page that becomes the app.
    WaitingPage(Box<Waiting>),
    /// On its way up; too long for whoever asked.
    Waking,
    /// Nothing of it runs, and who asked may not change that.
    Asleep,
    /// The runtime or the service can't run now.
    Blocked,
    /// The same to a member, who may know why.
    BlockedBecause(Vec<Why>),
    /// The server says no.
    Server(Refusal),
    /// The same to a member, in its own words.
    ServerToMember(Refusal),
    /// The host that runs it is not connected.
    NoHost,
    /// The service does not answer.
    Unreachable,
    /// The service did not begin its answer in time.
    Overdue,
    /// The service speaks HTTP/2 and takes no WebSockets there.
    NoWebSocket,
    /// A fault of ours.
    Fault,
}

/// Why something can't run, for members.
#[derive(Debug, Clone)]
pub(crate) struct Why {
    /// The part; the runtime as a whole when absent.
    pub(crate) part: Option<String>,
    pub(crate) cause: String,
    pub(crate) fix: Option<String>,
}

/// What the waiting page shows.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) slug: String,
    pub(crate) service: String,
    pub(crate) parts: Vec<(String, ReadinessState)>,
}

impl Refused {
    /// The refusal as a program sees it.
    pub(crate) fn refusal(&self) -> Refusal {
        let unauthenticated = |code: &str, message: &str| {
            Refusal::new(RefusalKind::Unauthenticated, code, message)
                .hint("open the share link again, or ask its sender for a fresh one")
        };
        match self {
            Self::BadRequest(message) => Refusal::invalid("request.malformed", *message),
            Self::Unverified(Unverified::UnknownLabel) => {
                Refusal::not_found("preview.not_found", "there is no preview at this address")
            }
            Self::Unverified(Unverified::NoSession) => {
                unauthenticated("link.required", "this preview opens with a link")
            }
            Self::Unverified(Unverified::Forged) => unauthenticated("link.invalid", "the link or session is not valid"),
            Self::Unverified(Unverified::WrongHost) => {
                unauthenticated("link.wrong_host", "the link or session is for another address")
            }
            Self::Unverified(Unverified::Expired) | Self::DeadLink { was_good: true } => {
                unauthenticated("link.expired", "the link or session has ended")
            }
            Self::Unverified(Unverified::Revoked) => unauthenticated("link.revoked", "the link was revoked"),
            Self::Unverified(Unverified::SignedOut) => {
                Refusal::new(RefusalKind::Unauthenticated, "session.ended", "you are signed out here")
                    .hint("sign in again")
            }
            Self::Unverified(Unverified::OtherBrowser) | Self::NoEntry(_) => Refusal::new(
                RefusalKind::Forbidden,
                "entry.invalid",
                "signing in took too long, was done before, or began in another browser",
            )
            .hint("sign in again from the preview"),
            Self::DeadLink { was_good: false } => Refusal::not_found("link.invalid", "this link does not open"),
            Self::LeaseOver => Refusal::unavailable(
                "gateway.lease_over",
                "the gateway has lost its server and lets nobody in until it is back",
            ),
            Self::Draining => Refusal::unavailable("gateway.draining", "this gateway is about to end"),
            Self::Method => Refusal::invalid("request.method", "this method is not answered here"),
            Self::CrossOrigin => Refusal::new(
                RefusalKind::Forbidden,
                "request.cross_origin",
                "another site may not use this preview's session",
            ),
            Self::TooMany(wait) => {
                Refusal::new(RefusalKind::Limit, "request.rate", "too many requests; more are answered in a moment")
                    .retry_after(wait.as_secs() as u32 + 1)
            }
            Self::HeadTooLarge => Refusal::invalid(
                "request.head_too_large",
                "the request's line and headers are larger than is read here",
            ),
            Self::Version => Refusal::invalid("request.version", "HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here"),
            Self::BodyTooLarge => Refusal::invalid("request.body_too_large", "the body is larger than wanted here"),
            Self::NoPreview => {
                Refusal::not_found("preview.not_found", "there is no preview at this address (any more)")
            }
            Self::NoPath => Refusal::not_found("preview.no_such_path", "no service answers this path"),
            Self::WaitingPage(_) | Self::Waking => {
                Refusal::unavailable("runtime.waking", "the preview is waking up").hint("try again in a second")
            }
            Self::Asleep => {
                Refusal::unavailable("runtime.asleep", "the preview sleeps; open or reload its page to wake it")
                    .retry_after(30)
            }
            Self::Blocked => {
                Refusal::unavailable("runtime.blocked", "this preview can't start right now; the team can see why")
                    .retry_after(10)
            }
            Self::BlockedBecause(causes) => {
                let Some(why) = causes.first() else { return Self::Blocked.refusal() };
                let message = match &why.part {
                    Some(part) => format!("`{part}` can't run: {}", why.cause),
                    None => why.cause.clone(),
                };
                let refusal = Refusal::unavailable("runtime.blocked", message).retry_after(10);
                why.fix.iter().fold(refusal, |refusal, fix| refusal.hint(fix.as_str()))
            }
            Self::Server(refusal) => told(refusal),
            Self::ServerToMember(refusal) => refusal.clone(),
            Self::NoHost => {
                Refusal::unavailable("host.unreachable", "the machine of this preview is not connected").retry_after(3)
            }
            Self::Unreachable => Refusal::unavailable("service.unreachable", "the service does not answer"),
            Self::Overdue => Refusal::unavailable("service.timeout", "the service did not begin its answer in time"),
            Self::NoWebSocket => {
                Refusal::unavailable("service.no_websocket", "the service speaks HTTP/2 and takes no WebSockets there")
            }
            Self::Fault => Refusal::new(RefusalKind::Internal, "gateway.fault", "something broke in the gateway"),
        }
    }

    /// As it is counted.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::BadRequest(_) | Self::HeadTooLarge | Self::Version => Outcome::BadRequest,
            Self::Unverified(_) | Self::NoEntry(_) => Outcome::Unverified,
            Self::DeadLink { .. } => Outcome::DeadLink,
            Self::LeaseOver | Self::Draining => Outcome::LeaseOver,
            Self::TooMany(_) => Outcome::TooMany,
            Self::Method | Self::CrossOrigin | Self::BodyTooLarge => Outcome::Forbidden,
            Self::NoPreview | Self::NoPath => Outcome::NotFound,
            Self::WaitingPage(_) => Outcome::WaitingPage,
            Self::Waking => Outcome::Waking,
            Self::Asleep => Outcome::Asleep,
            Self::Blocked | Self::BlockedBecause(_) => Outcome::Blocked,
            Self::Server(_) | Self::ServerToMember(_) => Outcome::ServerRefused,
            Self::NoHost => Outcome::NoHost,
            Self::Unreachable | Self::NoWebSocket => Outcome::Unreachable,
            Self::Overdue => Outcome::Overdue,
            Self::Fault => Outcome::Fault,
        }
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::DeadLink { was_good: true } => 410,
            Self::Method => 405,
            Self::BodyTooLarge => 413,
            Self::HeadTooLarge => 431,
            Self::Version => 505,
            Self::Unreachable | Self::NoWebSocket => 502,
            Self::Overdue => 504,
            Self::Fault => 500,
            other => other.refusal().kind.http_status(),
        }
    }
}

/// A refusal of the server as a link holder may see it: limits in its words, faults without them. Hints are for members.
fn told(refusal: &Refusal) -> Refusal {
    let message = match refusal.kind {
        RefusalKind::Internal | RefusalKind::Unavailable => "the preview can't be opened right now".to_owned(),
        _ => refusal.message.clone(),
    };
    Refusal { message, hint: None, ..refusal.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves LINK-6
    #[test]
    fn faults_of_the_server_are_not_told_to_link_holders() {
        let fault =
            Refusal::new(RefusalKind::Internal, "server.fault", "disk /dev/sda1 of host-7 is full").hint("buy one");
        let told = Refused::Server(fault).refusal();
        assert_eq!((told.code.as_str(), told.hint), ("server.fault", None));
        assert!(!told.message.contains("host-7"));
        let cap = Refusal::new(RefusalKind::Limit, "usage.cap", "the org's awake minutes are used up");
        assert_eq!(Refused::Server(cap.clone()).refusal(), cap);
    }
}
