//! Structured logs, to standard error only: whoever starts the program decides where they go. And traces, for whom asks.
//!
//! `ENVFORGE_LOG` filters (`info` by default, `debug`, `envforge_gateway=debug,info`, …); `ENVFORGE_LOG_FORMAT=json`
//! makes one JSON object a line. Under `all` every role inherits the supervisor's standard error, and the target of
//! a line (`envforge_server::…`) says which role wrote it.
//!
//! Where an endpoint is named ([`traces`]) a role exports its spans of the target [`trace::TARGET`], and nothing else: no line of
//! the log, no span of a library. Else no span is made at all.

mod traces;

use envforge_api::trace;
use std::io::IsTerminal as _;
use tokio::runtime::Handle;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

pub(crate) use traces::Traces;

/// Whether lines are JSON.
pub(crate) fn is_json() -> bool {
    std::env::var_os("ENVFORGE_LOG_FORMAT").is_some_and(|format| format == "json")
}

/// Begins to log; what a filter can't parse is ignored in favour of `info`.
pub(crate) fn start() {
    // A second start, in a test, changes nothing.
    let _ = Registry::default().with(lines()).try_init();
}

/// Begins to log, and to export traces if the environment says where to.
pub(crate) fn start_role(role: &'static str, runtime: &Handle) -> Option<Traces> {
    match Traces::from_environment(role, runtime).transpose() {
        Ok(None) => {
            start();
            None
        }
        Ok(Some(traces)) => {
            let spans = traces.layer().with_filter(Targets::new().with_target(trace::TARGET, LevelFilter::DEBUG));
            let _ = Registry::default().with(lines()).with(spans).try_init();
            trace::wire(traces::WIRING);
            Some(traces)
        }
        Err(error) => {
            start();
            tracing::warn!(%error, "traces: none are exported; set OTEL_EXPORTER_OTLP_ENDPOINT to a URL such as http://127.0.0.1:4318");
            None
        }
    }
}

/// The lines of the log.
fn lines<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    let filter = EnvFilter::try_from_env("ENVFORGE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if is_json() {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.compact().with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    lines.with_filter(filter.and(filter_fn(says_no_content)))
}

/// Libraries that write down what passes through them at [`Level::TRACE`]: requests with their headers, what is typed at a
/// terminal. No filter lets that into the log.
const TALKATIVE: [&str; 2] = [envforge_aws::LOGS_BODIES, "tungstenite"];

fn says_no_content(metadata: &Metadata<'_>) -> bool {
    *metadata.level() < Level::TRACE || !TALKATIVE.iter().any(|target| metadata.target().starts_with(target))
}
