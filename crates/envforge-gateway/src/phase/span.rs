//! The span of a request that waits, made when it begins to and closed with the head of the answer.
//!
//! A request that finds its service awake has none: those are most, and the service's own. Many may wait for one wake; the
//! call that wakes is the child of whoever made it.

use crate::body::AnswerBody;
use crate::phase::refused::Refused;
use envforge_api::trace;
use envforge_core::id::WorkspaceId;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tracing::Span;
use tracing::field::Empty;

/// The span of a wait, if there is one.
pub(crate) struct WaitSpan {
    workspace: WorkspaceId,
    traceparent: Option<HeaderValue>,
    span: Option<Span>,
}

impl WaitSpan {
    /// Of a request that does not wait yet.
    pub(crate) fn new<B>(request: &Request<B>, workspace: WorkspaceId) -> Self {
        Self { workspace, traceparent: request.headers().get(trace::TRACEPARENT).cloned(), span: None }
    }

    /// The span, from the first time it is asked for: a child of the caller's.
    pub(crate) fn get(&mut self) -> Span {
        if let Some(span) = &self.span {
            return span.clone();
        }
        let span = tracing::debug_span!(
            target: trace::TARGET,
            "wait for a wake",
            otel.kind = "server",
            otel.status_code = Empty,
            http.response.status_code = Empty,
            error.type = Empty,
            workspace = %self.workspace,
        );
        let parent = self.traceparent.take().map(|value| (HeaderName::from_static(trace::TRACEPARENT), value));
        trace::adopt(&span, &HeaderMap::from_iter(parent));
        self.span.insert(span).clone()
    }

    /// Closes it with what became of the request.
    pub(crate) fn close(&mut self, outcome: &Result<Response<AnswerBody>, Refused>) {
        let Some(span) = self.span.take() else { return };
        match outcome {
            Ok(response) => {
                span.record("http.response.status_code", i64::from(response.status().as_u16()));
            }
            Err(refused) => {
                let refusal = refused.refusal();
                span.record("http.response.status_code", i64::from(refusal.kind.http_status()));
                span.record("error.type", refusal.code.as_str());
                span.record("otel.status_code", "ERROR");
            }
        }
    }
}
