//! Counters: what the gateway did since its start, for tests, benchmarks and operators.
//!
//! Each is one atomic number that only rises (except [`Stats::connections`], which is how many are open now). They
//! are never a basis for a decision; the server's own view of traffic comes from `activity`.

use crate::local::Cells;
use std::time::Duration;

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(Cells);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.add(1);
    }

    pub(crate) fn sub(&self) {
        self.0.add(-1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.sum().cast_unsigned()
    }
}

/// What a request's time goes into; each only where it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A link shown as a header is exchanged at the server.
    Session,
    /// The server is asked for a route.
    Route,
    /// A wake is waited for.
    Wake,
    /// A connection to the service is opened.
    Connect,
    /// From the request's head to the head of the service's answer, all of the above included.
    Answer,
}

impl Phase {
    /// All, in the order of their numbers.
    pub(crate) const ALL: [Self; 5] = [Self::Session, Self::Route, Self::Wake, Self::Connect, Self::Answer];

    /// As in the metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Route => "route",
            Self::Wake => "wake",
            Self::Connect => "connect",
            Self::Answer => "answer",
        }
    }
}

/// Upper bounds of times, in seconds: an answer takes microseconds of ours, a thaw milliseconds, a start seconds.
pub(crate) const BOUNDS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 25.0];

/// How long something took, by bounds.
#[derive(Debug, Default)]
pub(crate) struct Times {
    counts: [Cells; BOUNDS.len() + 1],
    microseconds: Cells,
}

impl Times {
    pub(crate) fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        self.counts[BOUNDS.partition_point(|bound| *bound < seconds)].add(1);
        self.microseconds.add(time.as_micros() as i64);
    }

    /// The sum in seconds, and how many were at most each bound; the last is without one.
    pub(crate) fn snapshot(&self) -> (f64, Vec<(f64, u64)>) {
        let bounds = BOUNDS.into_iter().chain([f64::MAX]);
        let counts = self.counts.iter().map(|count| count.sum().cast_unsigned());
        (self.microseconds.sum() as f64 / 1_000_000.0, bounds.zip(counts).collect())
    }
}

/// The live counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Requests that no service answered, by [`crate::phase::refused::Refused::outcome`]; and the gateway's own answers.
    pub(crate) outcomes: [Counter; Outcome::ALL.len()],
    /// How long each phase took.
    pub(crate) times: [Times; Phase::ALL.len()],
    pub(crate) connections: Counter,
    pub(crate) requests: Counter,
    pub(crate) unverified: Counter,
    pub(crate) verified: Counter,
    pub(crate) exchanges: Counter,
    pub(crate) route_calls: Counter,
    pub(crate) wake_calls: Counter,
    pub(crate) waiting_pages: Counter,
    pub(crate) forwarded: Counter,
    pub(crate) upstream_opened: Counter,
    pub(crate) upstream_reused: Counter,
    pub(crate) retried: Counter,
    pub(crate) tunnels: Counter,
    pub(crate) pongs: Counter,
    pub(crate) ended: Counter,
}

/// What became of a request, other than a service's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Share,
    Entry,
    Own,
    BadRequest,
    Unverified,
    DeadLink,
    LeaseOver,
    Forbidden,
    TooMany,
    NotFound,
    WaitingPage,
    Waking,
    Asleep,
    Blocked,
    ServerRefused,
    NoHost,
    Unreachable,
    Overdue,
    Fault,
}

impl Outcome {
    /// All, in the order of their numbers.
    pub(crate) const ALL: [Self; 19] = [
        Self::Share,
        Self::Entry,
        Self::Own,
        Self::BadRequest,
        Self::Unverified,
        Self::DeadLink,
        Self::LeaseOver,
        Self::Forbidden,
        Self::TooMany,
        Self::NotFound,
        Self::WaitingPage,
        Self::Waking,
        Self::Asleep,
        Self::Blocked,
        Self::ServerRefused,
        Self::NoHost,
        Self::Unreachable,
        Self::Overdue,
        Self::Fault,
    ];

    /// As in the metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Entry => "entry",
            Self::Own => "own",
            Self::BadRequest => "bad_request",
            Self::Unverified => "unverified",
            Self::DeadLink => "dead_link",
            Self::LeaseOver => "lease_over",
            Self::Forbidden => "forbidden",
            Self::TooMany => "too_many",
            Self::NotFound => "not_found",
            Self::WaitingPage => "waiting_page",
            Self::Waking => "waking",
            Self::Asleep => "asleep",
            Self::Blocked => "blocked",
            Self::ServerRefused => "server_refused",
            Self::NoHost => "no_host",
            Self::Unreachable => "unreachable",
            Self::Overdue => "overdue",
            Self::Fault => "fault",
        }
    }
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Client connections open now.
    pub connections: u64,
    /// Requests received.
    pub requests: u64,
    /// Requests refused for want of a verified session.
    pub unverified: u64,
    /// Signatures checked and found good (what is remembered is not checked again).
    pub verified: u64,
    /// Links exchanged for sessions at the server.
    pub exchanges: u64,
    /// Routes asked of the server.
    pub route_calls: u64,
    /// Wakes asked of the server.
    pub wake_calls: u64,
    /// Waiting pages shown.
    pub waiting_pages: u64,
    /// Requests a service answered.
    pub forwarded: u64,
    /// Connections opened to services.
    pub upstream_opened: u64,
    /// Requests sent on a connection kept from before.
    pub upstream_reused: u64,
    /// Requests sent a second time because a kept connection had died.
    pub retried: u64,
    /// WebSockets joined.
    pub tunnels: u64,
    /// WebSocket pings answered for a frozen runtime.
    pub pongs: u64,
    /// Requests, streams and sockets cut because their session ended.
    pub ended: u64,
}

impl Counters {
    /// A request came to this end.
    pub(crate) fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].add();
    }

    /// A phase took so long.
    pub(crate) fn time(&self, phase: Phase, time: Duration) {
        self.times[phase as usize].observe(time);
    }

    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            connections: self.connections.get(),
            requests: self.requests.get(),
            unverified: self.unverified.get(),
            verified: self.verified.get(),
            exchanges: self.exchanges.get(),
            route_calls: self.route_calls.get(),
            wake_calls: self.wake_calls.get(),
            waiting_pages: self.waiting_pages.get(),
            forwarded: self.forwarded.get(),
            upstream_opened: self.upstream_opened.get(),
            upstream_reused: self.upstream_reused.get(),
            retried: self.retried.get(),
            tunnels: self.tunnels.get(),
            pongs: self.pongs.get(),
            ended: self.ended.get(),
        }
    }
}
