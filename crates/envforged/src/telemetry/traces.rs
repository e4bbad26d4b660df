//! Spans to an OpenTelemetry collector: OTLP over HTTP, in batches.
//!
//! The environment of OpenTelemetry's SDKs says where to and how much: `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`),
//! `…_HEADERS`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER` and its argument, `OTEL_BSP_*`; without an endpoint,
//! with `OTEL_SDK_DISABLED=true` or `OTEL_TRACES_EXPORTER=none` there are no traces.
//!
//! A span that ends goes into a queue of 2048 and is dropped when that is full: nothing waits for a collector. One thread of the
//! SDK empties it; its requests run on the role's own runtime. A collector that does not take them is told of once, and
//! once more when it does again.

use bytes::Bytes;
use envforge_api::trace::{TRACEPARENT, Wiring};
use http::{Request, Response};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::registry::LookupSpan;

/// How long a collector may take for a batch.
const EXPORT: Duration = Duration::from_secs(5);
/// How long the end of a role waits for the last batch.
const FLUSH: Duration = Duration::from_secs(1);
/// The longest answer of a collector that is read, in bytes.
const ANSWER_MAX: usize = 64 * 1024;

/// What is exported of this process.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// As the environment says; `None` when it asks for none.
    pub(crate) fn from_environment(role: &'static str, runtime: &Handle) -> Option<anyhow::Result<Self>> {
        is_wanted().then(|| Self::new(role, runtime))
    }

    fn new(role: &'static str, runtime: &Handle) -> anyhow::Result<Self> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_http_client(Collector::new(runtime.clone())?)
            .build()?;
        let attributes = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let mut resource = Resource::builder().with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("envforge.role", role),
        ]);
        if variable("OTEL_SERVICE_NAME").is_none() && !attributes.contains("service.name=") {
            resource = resource.with_service_name(format!("envforge-{role}"));
        }
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build());
        Ok(Self { provider: provider.build() })
    }

    /// What makes exported spans of the subscriber's.
    pub(crate) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> OpenTelemetryLayer<S, SdkTracer> {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("envforge"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
    }

    /// Sends what is left, for a moment at most.
    pub(crate) fn flush(self) {
        // A collector that is away was told of.
        let _ = self.provider.shutdown_with_timeout(FLUSH);
    }
}

/// How spans here are tied to those of other processes.
pub(crate) const WIRING: Wiring = Wiring {
    adopt: |span, traceparent| {
        let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
        if parent.span().span_context().is_valid() {
            // A span that the filter left out has no parent to be given.
            let _ = span.set_parent(parent);
        }
    },
    current: || {
        let mut carrier = HashMap::new();
        TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
        carrier.remove(TRACEPARENT)
    },
};

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_wanted() -> bool {
    let endpoint =
        variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT")).is_some();
    let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
    endpoint && !is_off
}

/// The way to a collector.
#[derive(Debug)]
struct Collector {
    http: reqwest::Client,
    runtime: Handle,
    is_away: Arc<AtomicBool>,
}

impl Collector {
    fn new(runtime: Handle) -> anyhow::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "a collector is no server of ours")]
        let http = reqwest::Client::builder()
            .timeout(EXPORT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("envforge/", env!("CARGO_PKG_VERSION")));
        Ok(Self { http: http.build()?, runtime, is_away: Arc::default() })
    }
}

/// Sends a batch.
async fn send(http: reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let request = reqwest::Request::try_from(request)?;
    let mut response = http.execute(request).await.map_err(reqwest::Error::without_url)?;
    let mut answer = Response::builder().status(response.status());
    if let Some(headers) = answer.headers_mut() {
        *headers = response.headers().clone();
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_MAX {
            return Err("the collector's answer is too long".into());
        }
    }
    Ok(answer.body(body.into())?)
}

/// The cause at the end of a chain of errors.
fn cause(error: &HttpError) -> String {
    let mut cause: &dyn std::error::Error = &**error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl HttpClient for Collector {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let (http, is_away) = (self.http.clone(), Arc::clone(&self.is_away));
        // The SDK's thread has no runtime of its own.
        let sent = self.runtime.spawn(async move {
            let outcome = send(http, request).await;
            let trouble = match &outcome {
                Ok(answer) if answer.status().is_success() => None,
                Ok(answer) => Some(format!("it answered {}", answer.status())),
                Err(error) => Some(cause(error)),
            };
            let was_away = is_away.swap(trouble.is_some(), Ordering::Relaxed);
            match trouble {
                Some(error) if !was_away => {
                    tracing::warn!(%error, "traces: the collector does not take spans; they are lost until it does");
                }
                None if was_away => tracing::info!("traces: the collector takes spans again"),
                _ => {}
            }
            outcome
        });
        Box::pin(async move { sent.await? })
    }
}
