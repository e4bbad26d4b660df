//! Counters: what the gateway did since its start, for tests, benchmarks and operators.
//!
//! Each is one atomic number that only rises (except [`Stats::connections`], which is how many are open now). They
//! are never a basis for a decision; the server's own view of traffic comes from `activity`.

use crate::local::Cells;
use prometheus_client::metrics::histogram::Histogram;

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

/// The live counters.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Requests that no service answered, by [`crate::phase::refused::Refused::outcome`]; and the gateway's own answers.
    pub(crate) outcomes: [Counter; Outcome::ALL.len()],
    /// How long requests that had to wait for a wake did.
    pub(crate) wake_wait: Histogram,
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
    Own,
    BadRequest,
    Unverified,
    DeadLink,
    LeaseOver,
    Forbidden,
    NotFound,
    WaitingPage,
    Waking,
    Asleep,
    Blocked,
    ServerRefused,
    NoHost,
    Unreachable,
    Fault,
}

impl Outcome {
    /// All, in the order of their numbers.
    pub(crate) const ALL: [Self; 16] = [
        Self::Share,
        Self::Own,
        Self::BadRequest,
        Self::Unverified,
        Self::DeadLink,
        Self::LeaseOver,
        Self::Forbidden,
        Self::NotFound,
        Self::WaitingPage,
        Self::Waking,
        Self::Asleep,
        Self::Blocked,
        Self::ServerRefused,
        Self::NoHost,
        Self::Unreachable,
        Self::Fault,
    ];

    /// As in the metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Own => "own",
            Self::BadRequest => "bad_request",
            Self::Unverified => "unverified",
            Self::DeadLink => "dead_link",
            Self::LeaseOver => "lease_over",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::WaitingPage => "waiting_page",
            Self::Waking => "waking",
            Self::Asleep => "asleep",
            Self::Blocked => "blocked",
            Self::ServerRefused => "server_refused",
            Self::NoHost => "no_host",
            Self::Unreachable => "unreachable",
            Self::Fault => "fault",
        }
    }
}

/// Upper bounds of a wait, in seconds: a thaw takes milliseconds, a start seconds.
const WAIT_SECONDS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 25.0];

impl Default for Counters {
    fn default() -> Self {
        Self {
            outcomes: Default::default(),
            wake_wait: Histogram::new(WAIT_SECONDS),
            connections: Counter::default(),
            requests: Counter::default(),
            unverified: Counter::default(),
            verified: Counter::default(),
            exchanges: Counter::default(),
            route_calls: Counter::default(),
            wake_calls: Counter::default(),
            waiting_pages: Counter::default(),
            forwarded: Counter::default(),
            upstream_opened: Counter::default(),
            upstream_reused: Counter::default(),
            retried: Counter::default(),
            tunnels: Counter::default(),
            pongs: Counter::default(),
            ended: Counter::default(),
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
