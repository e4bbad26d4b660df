//! What a host daemon counts for its operator, in Prometheus' terms.
//!
//! Counters are of this daemon since its start; how many workspaces and services there are is looked up when somebody
//! asks. Labels have few values, known when this is compiled; none names an org, a workspace or a service.

use crate::engines::Layer;
use crate::workspace::registry::Workspaces;
use envforge_core::readiness::ReadinessState;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The states a service is counted in.
const STATES: [ReadinessState; 4] =
    [ReadinessState::Ready, ReadinessState::Waking, ReadinessState::Blocked, ReadinessState::Asleep];

/// A sandbox's start.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StartLabels {
    layer: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

const fn label(state: ReadinessState) -> &'static str {
    match state {
        ReadinessState::Ready => "ready",
        ReadinessState::Waking => "waking",
        ReadinessState::Blocked => "blocked",
        ReadinessState::Asleep => "asleep",
    }
}

/// What is counted as it happens.
#[derive(Debug)]
pub(crate) struct Metrics {
    starts: Family<StartLabels, Counter>,
    restarts: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let starts = Family::<StartLabels, Counter>::default();
        for layer in ["shell", "runtime"] {
            for outcome in ["started", "failed"] {
                // There from the start: a series that appears with its first count hides that count.
                drop(starts.get_or_create(&StartLabels { layer, outcome }));
            }
        }
        Self { starts, restarts: Counter::default() }
    }
}

impl Metrics {
    /// A sandbox was started, or not.
    pub(crate) fn sandbox_started(&self, layer: Layer, is_started: bool) {
        let layer = match layer {
            Layer::Shell => "shell",
            Layer::Runtime => "runtime",
            Layer::Elevated => "elevated",
        };
        let outcome = if is_started { "started" } else { "failed" };
        self.starts.get_or_create(&StartLabels { layer, outcome }).inc();
    }

    /// A service that had failed was started again.
    pub(crate) fn service_restarted(&self) {
        self.restarts.inc();
    }

    /// Everything as `OpenMetrics` text, whose end is marked.
    pub(crate) fn text(&self, workspaces: &Workspaces, is_connected: bool) -> String {
        let mut registry = Registry::with_prefix("envforge_host");
        let gauge = |value: usize| {
            let gauge: Gauge = Gauge::default();
            gauge.set(value as i64);
            gauge
        };
        let census = workspaces.census();
        registry.register("connected", "1 while the control stream to the server is open", gauge(is_connected.into()));
        registry.register("workspaces", "Workspaces on this host", gauge(census.workspaces));
        registry.register("runtimes", "Runtimes that run, frozen ones included", gauge(census.runtimes));
        registry.register("runtimes_frozen", "Runtimes that are paused", gauge(census.frozen));
        let services = Family::<StateLabels, Gauge>::default();
        for state in STATES {
            let count = census.services.iter().filter(|other| **other == state).count();
            services.get_or_create(&StateLabels { state: label(state) }).set(count as i64);
        }
        registry.register("services", "Declared services, by readiness", services);
        registry.register("sandbox_starts", "Sandboxes started, by layer and outcome", self.starts.clone());
        registry.register("service_restarts", "Services started again after a failure", self.restarts.clone());
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}
