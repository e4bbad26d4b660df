//! What a server counts for its operator, in Prometheus' terms.
//!
//! Counters and histograms are of this process since its start; gauges of the whole installation are asked of the
//! database when somebody looks ([`crate::system`]). Labels have few values, known when this is compiled: routes are
//! templates, never paths, and no label names an org, a workspace or a person.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// Upper bounds of a request's time, in seconds: a look-up takes one millisecond, a slow transaction one second.
const REQUEST_SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];
/// Upper bounds of how long an event waits for its seal, in seconds: it should be within one.
const SEAL_SECONDS: [f64; 7] = [0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

/// See [`Metrics::wake`].
const WAKE_OUTCOMES: [&str; 5] = ["started", "thawed", "already", "refused", "failed"];

/// A request, as far as it is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The route's template, `other` for what has none.
    pub route: String,
    /// The method, `other` for unusual ones.
    pub method: &'static str,
    /// `2xx` and so on.
    pub status: &'static str,
}

/// How a wake went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WakeLabels {
    outcome: &'static str,
}

/// See the module.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
    wakes: Family<WakeLabels, Counter>,
    /// Events written to the ledger.
    pub ledger_appends: Counter,
    seal_lag: Histogram,
    /// Control streams of hosts that this process holds.
    pub host_streams: Gauge,
    /// Gauges that are asked for when somebody looks.
    pub figures: Figures,
}

/// Gauges of the moment.
#[derive(Debug, Default)]
pub struct Figures {
    /// Connections to the database.
    pub connections: Gauge,
    /// Those of them that nobody uses.
    pub idle_connections: Gauge,
    /// Events without a seal.
    pub unsealed: Gauge,
    /// How long the oldest of them has waited, in seconds.
    pub unsealed_age: Gauge,
    /// Commands that no host has answered.
    pub commands_open: Gauge,
    /// Runtimes awake.
    pub runtimes_awake: Gauge,
    /// Registered hosts.
    pub hosts: Gauge,
    /// Hosts with a control stream to any server.
    pub hosts_online: Gauge,
    /// Gateways with a feed of any server.
    pub gateways: Gauge,
    /// 1 when the database answered for these.
    pub database_up: Gauge,
    /// The schema's version.
    pub schema_version: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("envforge_server");
        let requests: Family<RequestLabels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS));
        let (wakes, ledger_appends) = (Family::<WakeLabels, Counter>::default(), Counter::default());
        let (seal_lag, host_streams) = (Histogram::new(SEAL_SECONDS), Gauge::default());
        let figures = Figures::default();
        for outcome in WAKE_OUTCOMES {
            // There from the start: a series that appears with its first count hides that count.
            drop(wakes.get_or_create(&WakeLabels { outcome }));
        }
        registry.register_with_unit(
            "request",
            "Time to the head of an answer, by route, method and class of status",
            Unit::Seconds,
            requests.clone(),
        );
        registry.register("wakes", "Wakes asked for, by outcome", wakes.clone());
        registry.register("ledger_appends", "Events written to the ledger", ledger_appends.clone());
        registry.register_with_unit("seal_lag", "Time from an event to its seal", Unit::Seconds, seal_lag.clone());
        registry.register("host_streams", "Control streams of hosts held by this process", host_streams.clone());
        for (name, help, gauge) in [
            ("database_connections", "Connections to the database", &figures.connections),
            ("database_connections_idle", "Connections to the database that nobody uses", &figures.idle_connections),
            ("ledger_unsealed", "Events without a seal, of the newest ten thousand", &figures.unsealed),
            ("ledger_unsealed_age_seconds", "Age of the oldest event without a seal", &figures.unsealed_age),
            ("commands_open", "Commands that no host has answered", &figures.commands_open),
            ("runtimes_awake", "Runtimes awake in the installation", &figures.runtimes_awake),
            ("hosts", "Registered hosts of the installation", &figures.hosts),
            ("hosts_online", "Hosts with a control stream to any server", &figures.hosts_online),
            ("gateways", "Gateways with a feed of any server", &figures.gateways),
            ("database_up", "1 when the database answered this look", &figures.database_up),
            ("schema_version", "Version of the database's schema", &figures.schema_version),
        ] {
            registry.register(name, help, gauge.clone());
        }
        Self { registry, requests, wakes, ledger_appends, seal_lag, host_streams, figures }
    }
}

impl Metrics {
    /// A request was answered.
    pub fn request(&self, labels: &RequestLabels, took: Duration) {
        self.requests.get_or_create(labels).observe(took.as_secs_f64());
    }

    /// A wake was asked for: `started`, `thawed`, `already`, `refused` or `failed`.
    pub fn wake(&self, outcome: &'static str) {
        self.wakes.get_or_create(&WakeLabels { outcome }).inc();
    }

    /// An event got its seal.
    pub fn sealed(&self, after: Duration) {
        self.seal_lag.observe(after.as_secs_f64());
    }

    /// Everything as `OpenMetrics` text, whose end is marked.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

/// A method as it is counted.
pub fn method_label(method: &str) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("other")
}

/// A status as it is counted.
pub fn status_label(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
