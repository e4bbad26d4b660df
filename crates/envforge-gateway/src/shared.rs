//! What every phase is given: configuration, clock, the ways out, and what is known.

use crate::access_log::AccessLog;
use crate::activity::UnverifiedCounts;
use crate::config::{GatewayConfig, Scheme};
use crate::flights::Flights;
use crate::lease::Lease;
use crate::phase::refused::Refused;
use crate::rates::Addresses;
use crate::routes::{LabelRoute, Routes};
use crate::sessions::{Admitted, Digest, Sessions};
use crate::stats::Counters;
use crate::tls::Acceptor;
use envforge_api::client::Client;
use envforge_api::gateway::Presence;
use envforge_api::uplink::Uplinks;
use envforge_core::clock::Clock;
use http::HeaderValue;
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What every phase is given.
pub(crate) struct Shared {
    pub(crate) config: GatewayConfig,
    pub(crate) access_log: Option<AccessLog>,
    /// How often addresses ask without a session.
    pub(crate) strangers: Addresses,
    /// How often addresses show what turns out to be no good. Beyond it no more signatures of theirs are checked, which
    /// takes far longer than to refuse who shows none.
    pub(crate) forgers: Addresses,
    /// What paces are counted from.
    pub(crate) since: Instant,
    /// Who it is to the server.
    pub(crate) presence: Presence,
    /// Threads that serve connections.
    pub(crate) workers: usize,
    /// The port browsers use, as services are told it.
    pub(crate) external_port: u16,
    /// Takes connections into TLS, when it is ended here.
    pub(crate) tls: Option<Acceptor>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) server: Client,
    pub(crate) uplinks: Arc<Uplinks>,
    pub(crate) lease: Lease,
    pub(crate) sessions: Sessions,
    pub(crate) routes: Routes,
    pub(crate) unverified: UnverifiedCounts,
    pub(crate) stats: Counters,
    /// Routes being asked for, by label.
    pub(crate) route_flights: Flights<String, Result<Arc<LabelRoute>, Refused>>,
    /// Links from headers being exchanged, by digest.
    pub(crate) exchange_flights: Flights<Digest, Result<Arc<Admitted>, Refused>>,
    /// Everything that runs, so that the end can be waited for.
    pub(crate) tasks: TaskTracker,
    /// What must run until all of that has ended: the feed, the ends it brings, and hosts' uplinks.
    pub(crate) keepers: TaskTracker,
    /// Told that all of it has ended.
    pub(crate) over: CancellationToken,
    /// Told that the end is near: not ready any more, and still answering for a while.
    pub(crate) drain: CancellationToken,
    /// The same as `stop`, where looking at it costs nothing.
    pub(crate) stopping: AtomicBool,
    /// Told to stop.
    pub(crate) stop: CancellationToken,
}

impl Shared {
    /// What an answer over TLS says so that browsers stay with it.
    pub(crate) fn hsts(&self) -> Option<&HeaderValue> {
        self.tls.as_ref().map(|tls| &tls.hsts)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether browsers come by TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.config.external_scheme == Scheme::Https
    }
}
