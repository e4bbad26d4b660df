//! Counters: what the gateway did since its start, for tests, benchmarks and operators.
//!
//! Each is one atomic number that only rises (except [`Stats::connections`], which is how many are open now). They
//! are never a basis for a decision; the server's own view of traffic comes from `activity`.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The live counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
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
