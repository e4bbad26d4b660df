//! Structured logs, to standard error only: whoever starts the program decides where they go.
//!
//! `ENVFORGE_LOG` filters (`info` by default, `debug`, `envforge_gateway=debug,info`, …); `ENVFORGE_LOG_FORMAT=json`
//! makes one JSON object a line. Under `all` every role inherits the supervisor's standard error, and the target of
//! a line (`envforge_server::…`) says which role wrote it.

use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Whether lines are JSON.
pub(crate) fn is_json() -> bool {
    std::env::var_os("ENVFORGE_LOG_FORMAT").is_some_and(|format| format == "json")
}

/// Begins to log; what a filter can't parse is ignored in favour of `info`.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("ENVFORGE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, in a test, changes nothing.
    let _ = if is_json() {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.compact().with_ansi(std::io::stderr().is_terminal()).try_init()
    };
}
