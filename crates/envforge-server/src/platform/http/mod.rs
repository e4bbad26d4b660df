//! HTTP: the routers, who is calling, and how refusals become answers.
//!
//! Two listeners: the public API on TCP, for people and agents, and the internal socket of the box, for its gateway
//! and host. The public one checks `Host` (a page that rebinds its name to 127.0.0.1 is refused) and `Origin`. It takes keys
//! in `Authorization`, and sessions in a cookie, with which a change must come from a page of our own ([`auth`]).

pub mod auth;
pub mod cards;
pub mod extract;
pub mod noted;
pub mod openapi;
mod pages;
pub mod source;

use crate::app::App;
use crate::platform::fault::Fault;
use crate::platform::metrics::{RequestLabels, method_label, status_label};
use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use envforge_api::http::ErrorBody;
use envforge_api::trace;
use envforge_core::refusal::{Refusal, RefusalKind};
use tracing::Instrument as _;
use tracing::field::Empty;

/// Largest request body, in bytes.
pub const BODY_MAX: usize = 256 * 1024;

/// A refusal as an HTTP answer.
pub fn answer(refusal: Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (retry, code) = (refusal.retry_after, noted::Code(refusal.code.clone()));
    let mut response = (status, axum::Json(ErrorBody { error: refusal })).into_response();
    response.extensions_mut().insert(code);
    if let Some(seconds) = retry {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        answer(self.into_refusal())
    }
}

/// The router of the public API.
pub fn public(app: App) -> Router {
    let (router, _) = openapi::routes().split_for_parts();
    router
        .merge(crate::signin::http::pages())
        .merge(crate::devices::http::pages())
        .merge(crate::member_sessions::http::pages())
        .route("/v1/openapi.json", axum::routing::get(openapi::serve))
        .fallback(pages::serve)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(app.clone(), check_host))
        .layer(middleware::from_fn_with_state(app.clone(), noted::note))
        .layer(middleware::from_fn_with_state(app.clone(), measure))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(app)
}

/// The router of the internal socket.
pub fn internal(app: App) -> Router {
    Router::new()
        .merge(crate::gateways::http::routes())
        .merge(crate::control::http::routes())
        .fallback(no_such_path)
        .layer(middleware::from_fn(follow))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(app)
}

pub(super) async fn no_such_path(request: Request) -> Response {
    let message = format!("there is nothing at {}", request.uri().path());
    answer(Refusal::not_found("path.not_found", message).hint("the API is described by /v1/openapi.json"))
}

async fn no_such_method(request: Request) -> Response {
    let message = format!("{} does not answer {}", request.uri().path(), request.method());
    let mut response =
        answer(Refusal::invalid("path.method", message).hint("the API is described by /v1/openapi.json"));
    // The router adds which methods it does answer.
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}

/// Counts requests and their time, by the route's template.
async fn measure(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = tokio::time::Instant::now();
    let route = route_of(&request).to_owned();
    let method = method_label(request.method().as_str());
    let response = traced(request, next).await;
    let labels = RequestLabels { route, method, status: status_label(response.status().as_u16()) };
    app.metrics.request(&labels, began.elapsed());
    response
}

/// The template of a request's route.
fn route_of(request: &Request) -> &str {
    request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str)
}

/// Answers in a span; of a stream it ends with the answer's head.
async fn traced(request: Request, next: Next) -> Response {
    let (route, method) = (route_of(&request), method_label(request.method().as_str()));
    let span = tracing::debug_span!(
        target: trace::TARGET,
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
    );
    trace::adopt(&span, request.headers());
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", i64::from(response.status().as_u16()));
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    response
}

/// Of what gateways and hosts ask by themselves, every second and for as long as they live, there are no spans: only of what
/// belongs to somebody's request.
async fn follow(request: Request, next: Next) -> Response {
    if request.headers().contains_key(trace::TRACEPARENT) {
        traced(request, next).await
    } else {
        next.run(request).await
    }
}

/// Refuses names that are not ours (DNS rebinding) and pages of other origins.
async fn check_host(State(app): State<App>, request: Request, next: Next) -> Response {
    // A request that names two hosts means neither (RFC 9112, 3.2).
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().filter(|_| hosts.next().is_none()).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let public = app.config.public_url.split("://").nth(1).unwrap_or_default();
    let public_name = public.rsplit_once(':').map_or(public, |(name, _)| name);
    let ours = matches!(name, "127.0.0.1" | "localhost" | "[::1]") || name == public_name;
    if !ours {
        return answer(Refusal::new(
            RefusalKind::Forbidden,
            "host.unknown",
            "this name is not one of the server's own",
        ));
    }
    if let Some(origin) = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok())
        && origin != app.config.public_url
        && origin.split("://").nth(1) != Some(host)
    {
        return answer(Refusal::new(
            RefusalKind::Forbidden,
            "origin.foreign",
            "pages of other origins can't call the API",
        ));
    }
    next.run(request).await
}
