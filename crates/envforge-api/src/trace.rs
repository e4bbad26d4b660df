//! What ties the spans of one process to those of another, as a `traceparent` (<https://www.w3.org/TR/trace-context/>).
//!
//! Server, gateway and host make spans of `tracing` with the target [`TARGET`] and know nothing else of tracing systems.
//! The program they run in [`wire`]s what exports those spans, and only those; where nothing is wired nothing is made and
//! nothing is passed on. A span holds no query, header, body, token or name that a person chose.

use http::HeaderMap;
use std::sync::OnceLock;
use tracing::Span;

/// The target of spans that are exported; their level is DEBUG.
pub const TARGET: &str = "envforge_trace";
/// The header that names the caller's span.
pub const TRACEPARENT: &str = "traceparent";

/// The length of a `traceparent` of version 00, the only one there is, in bytes.
pub const TRACEPARENT_LENGTH: usize = 55;

/// What exports spans.
#[derive(Debug, Clone, Copy)]
pub struct Wiring {
    /// Makes a span that has not been entered the child of another process's; what is no `traceparent` changes nothing.
    pub adopt: fn(&Span, &str),
    /// The `traceparent` of the span that is entered now, if it is one that is exported.
    pub current: fn() -> Option<String>,
}

static WIRING: OnceLock<Wiring> = OnceLock::new();

/// Wires what exports spans, once per process; later calls change nothing.
pub fn wire(wiring: Wiring) {
    let _ = WIRING.set(wiring);
}

/// Makes a span that has not been entered the child of the one that the headers name.
pub fn adopt(span: &Span, headers: &HeaderMap) {
    adopt_parent(span, headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()));
}

/// The same for a `traceparent` that came another way. What is none, or longer than one is, changes nothing.
pub fn adopt_parent(span: &Span, parent: Option<&str>) {
    if let Some(wiring) = WIRING.get()
        && let Some(parent) = parent.filter(|parent| parent.len() <= TRACEPARENT_LENGTH)
    {
        (wiring.adopt)(span, parent);
    }
}

/// The `traceparent` of the span that is entered now, for a call to another process.
pub fn current() -> Option<String> {
    WIRING.get().and_then(|wiring| (wiring.current)())
}
