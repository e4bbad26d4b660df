//! The gateway's counters in Prometheus' terms, made when somebody looks.
//!
//! A request costs what it cost before: the atomic numbers of [`crate::stats`]. Here they get names. Labels have few values,
//! known when this is compiled; none names an org, a workspace, a host or a path.

use crate::shared::Shared;
use crate::stats::{Outcome, Phase};
use crate::tls::Acceptor;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::Arc;

struct Numbers(Arc<Shared>);

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Numbers")
    }
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let shared = &self.0;
        let stats = &shared.stats;
        let name = "requests_ended";
        let help = "Requests by what became of them; `forwarded` are those a service answered";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        let outcomes = Outcome::ALL.into_iter().map(|outcome| (outcome.as_str(), &stats.outcomes[outcome as usize]));
        for (outcome, counter) in outcomes.chain([("forwarded", &stats.forwarded)]) {
            let labels = [("outcome", outcome)];
            ConstCounter::new(counter.get()).encode(family.encode_family(&labels)?)?;
        }
        for (name, help, counter) in [
            ("requests", "Requests received", &stats.requests),
            ("sessions_verified", "Signatures checked and found good", &stats.verified),
            ("links_exchanged", "Links exchanged for sessions at the server", &stats.exchanges),
            ("route_calls", "Routes asked of the server", &stats.route_calls),
            ("wake_calls", "Wakes asked of the server", &stats.wake_calls),
            ("upstream_opened", "Connections opened to services", &stats.upstream_opened),
            ("upstream_reused", "Requests sent on a connection kept from before", &stats.upstream_reused),
            ("retried", "Requests sent a second time", &stats.retried),
            ("tunnels", "WebSockets joined", &stats.tunnels),
            ("pongs", "WebSocket pings answered for a frozen runtime", &stats.pongs),
            ("cut", "Requests, streams and sockets cut because their session ended", &stats.ended),
        ] {
            let counter = ConstCounter::new(counter.get());
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let help = "Lines of the access log that the disk was too slow for";
        let counter = ConstCounter::new(shared.access_log.as_ref().map_or(0, |log| log.dropped.get()));
        counter.encode(encoder.encode_descriptor("access_log_dropped", help, None, MetricType::Counter)?)?;
        let help = "What a request's time goes into; `answer` is all of it until the head of the service's answer";
        let mut family = encoder.encode_descriptor("phase", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for phase in Phase::ALL {
            let (sum, buckets) = stats.times[phase as usize].snapshot();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let labels = [("phase", phase.as_str())];
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        let failed = ConstCounter::new(shared.tls.as_ref().map_or(0, Acceptor::failed));
        let help = "TLS handshakes that came to nothing";
        failed.encode(encoder.encode_descriptor("handshakes_failed", help, None, MetricType::Counter)?)?;
        let ends = shared.tls.as_ref().map_or(0, |tls| tls.lifetime().not_after.as_second());
        for (name, help, number) in [
            (
                "certificate_ends_timestamp_seconds",
                "When the certificate shown expires, in seconds since 1970; 0 without TLS",
                ends.cast_unsigned(),
            ),
            ("connections", "Client connections open", stats.connections.get()),
            (
                "realtime",
                "WebSockets and event streams open",
                shared.routes.workspaces().iter().map(|workspace| workspace.traffic.realtime()).sum(),
            ),
            ("sessions", "Verified sessions remembered", shared.sessions.count() as u64),
            ("connected", "1 while the lease on the server's feed holds", u64::from(shared.lease.holds())),
        ] {
            let gauge = ConstGauge::new(number.cast_signed());
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

/// Everything as `OpenMetrics` text, whose end is marked.
pub(crate) fn text(shared: &Arc<Shared>) -> String {
    let mut registry = Registry::with_prefix("envforge_gateway");
    registry.register_collector(Box::new(Numbers(Arc::clone(shared))));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}
