//! Phase 6: the request goes to the service, and its response back.
//!
//! What is ours is taken out on the way in (session cookie, link header) and kept out on the way back (`Domain=` in
//! `Set-Cookie`, cookies of our name); what belongs to one hop stays on its hop. Bodies are streamed. A request
//! that was never written, or has no body and no effect, is sent a second time when a kept connection turns
//! out to be dead; any other is not, because the service may have seen it.

use crate::activity::Visit;
use crate::body::{AnswerBody, RequestBody, UpstreamBody};
use crate::phase::headers;
use crate::pool::{self, Lane};
use crate::realtime;
use crate::routes::{LabelRoute, Rule};
use crate::serve::Peer;
use crate::sessions::Admitted;
use crate::shared::Shared;
use envforge_api::uplink::{Open, OpenError};
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a host that is not connected is waited for; long enough for one that is just restarting.
const HOST_PATIENCE: Duration = Duration::from_secs(3);

/// Why a service did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its host is not connected.
    NoHost,
    /// It accepts no connection, or broke it.
    Unreachable,
}

/// A request as it will leave.
pub(crate) struct Outgoing {
    request: Option<Request<RequestBody>>,
    uri: Uri,
    can_repeat: bool,
    upgrade: Option<OnUpgrade>,
    /// Open for as long as the request, its response and the socket it may become.
    pub(crate) visit: Option<Visit>,
}

impl Outgoing {
    /// Prepares a client's request.
    pub(crate) fn new(shared: &Shared, peer: &Peer, request: Request<Incoming>, websocket: bool) -> Self {
        let (mut parts, body) = request.into_parts();
        let upgrade = if websocket { parts.extensions.remove::<OnUpgrade>() } else { None };
        parts.extensions.clear();
        headers::clean_request(&mut parts.headers, peer, shared.config.external_scheme, &shared.external_port);
        if upgrade.is_some() {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        parts.version = Version::HTTP_11;
        let uri = parts.uri.clone();
        let is_empty = body.is_end_stream();
        let can_repeat = is_empty && matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let body = if is_empty { RequestBody::Empty } else { RequestBody::Stream(body) };
        Self { request: Some(Request::from_parts(parts, body)), uri, can_repeat, upgrade, visit: None }
    }

    /// What is asked for.
    pub(crate) fn uri(&self) -> Uri {
        self.uri.clone()
    }

    /// The path asked for.
    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    /// Whether it can still be sent from its start.
    pub(crate) fn is_whole(&self) -> bool {
        self.request.is_some()
    }

    /// Whether it may be sent before its wake is allowed: what a refused request leaves in a frozen service's socket is
    /// read when somebody else wakes it, and must have no effect then.
    pub(crate) fn may_be_early(&self) -> bool {
        self.can_repeat && self.upgrade.is_none()
    }

    fn copy(&self) -> Option<Request<RequestBody>> {
        let request = self.request.as_ref().filter(|_| self.can_repeat)?;
        let mut copy = Request::new(RequestBody::Empty);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        Some(copy)
    }
}

/// Sends the request to the rule's service. After a failure the request is still there if it can be sent again.
pub(crate) async fn send(
    shared: &Arc<Shared>,
    admitted: &Arc<Admitted>,
    route: &LabelRoute,
    rule: &Rule,
    outgoing: &mut Outgoing,
) -> Result<Response<AnswerBody>, Failure> {
    if outgoing.upgrade.is_some() {
        return send_upgradable(shared, admitted, route, rule, outgoing).await;
    }
    let kept = rule.upstream.take();
    let mut is_kept = kept.is_some();
    let mut next = kept;
    loop {
        let mut lane = match next.take() {
            Some(lane) => {
                shared.stats.upstream_reused.add();
                lane
            }
            None => Lane::open(connect(shared, route, rule).await?).await.map_err(|error| broken(rule, &error))?,
        };
        let copy = outgoing.copy();
        let Some(request) = outgoing.request.take() else { return Err(Failure::Unreachable) };
        match lane.send(request).await {
            Ok(response) => {
                shared.stats.forwarded.add();
                let lane = Some((lane, Arc::clone(&rule.upstream), shared.config.limits.upstream_resting));
                return respond(admitted, outgoing, response, lane);
            }
            Err(mut error) => {
                outgoing.request = error.take_message().or(copy);
                if is_kept && outgoing.is_whole() {
                    shared.stats.retried.add();
                    is_kept = false;
                    continue;
                }
                return Err(broken(rule, error.error()));
            }
        }
    }
}

fn broken(rule: &Rule, error: &hyper::Error) -> Failure {
    tracing::debug!(service = %rule.service, %error, "forward: the service broke the connection");
    Failure::Unreachable
}

/// Opens a connection to the service through its host.
async fn connect(shared: &Shared, route: &LabelRoute, rule: &Rule) -> Result<TcpStream, Failure> {
    let open = || shared.uplinks.open(route.host, &rule.ticket, Open::Service);
    shared.stats.upstream_opened.add();
    let opened = match open().await {
        Err(OpenError::NotConnected) if shared.uplinks.connected(route.host, HOST_PATIENCE).await => open().await,
        opened => opened,
    };
    match opened.and_then(|fd| Ok(pool::stream_of(fd)?)) {
        Ok(stream) => Ok(stream),
        Err(OpenError::NotConnected) => Err(Failure::NoHost),
        Err(error) => {
            tracing::debug!(service = %rule.service, %error, "forward: no connection to the service");
            Err(Failure::Unreachable)
        }
    }
}

/// Passes a response on, streaming.
fn respond(
    admitted: &Arc<Admitted>,
    outgoing: &mut Outgoing,
    response: Response<Incoming>,
    lane: Option<(Lane, Arc<pool::Upstream>, usize)>,
) -> Result<Response<AnswerBody>, Failure> {
    let (mut parts, body) = response.into_parts();
    let Some(mut visit) = outgoing.visit.take() else { return Err(Failure::Unreachable) };
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        tracing::debug!("forward: a service switched protocols without being asked");
        return Err(Failure::Unreachable);
    }
    headers::clean_response(&mut parts.headers);
    parts.extensions.clear();
    if is_event_stream(&parts.headers) {
        visit.becomes_realtime();
    }
    let body = UpstreamBody::new(body, lane, visit, Arc::clone(admitted));
    Ok(Response::from_parts(parts, AnswerBody::Upstream(Box::new(body))))
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// Sends a request that wants to become a WebSocket, on a connection of its own.
async fn send_upgradable(
    shared: &Arc<Shared>,
    admitted: &Arc<Admitted>,
    route: &LabelRoute,
    rule: &Rule,
    outgoing: &mut Outgoing,
) -> Result<Response<AnswerBody>, Failure> {
    let stream = connect(shared, route, rule).await?;
    let opened = pool::open_upgradable(stream, &shared.tasks).await;
    let mut sender = opened.map_err(|error| broken(rule, &error))?;
    let copy = outgoing.copy();
    let Some(request) = outgoing.request.take() else { return Err(Failure::Unreachable) };
    let mut response = match sender.try_send_request(request).await {
        Ok(response) => response,
        Err(mut error) => {
            outgoing.request = error.take_message().or(copy);
            return Err(broken(rule, error.error()));
        }
    };
    shared.stats.forwarded.add();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return respond(admitted, outgoing, response, None);
    }
    let (Some(client), Some(mut visit)) = (outgoing.upgrade.take(), outgoing.visit.take()) else {
        return Err(Failure::Unreachable);
    };
    visit.becomes_realtime();
    let service = hyper::upgrade::on(&mut response);
    let joined = realtime::Joined {
        shared: Arc::clone(shared),
        workspace: Arc::clone(&route.workspace),
        admitted: Arc::clone(admitted),
        visit,
        path: outgoing.path().to_owned(),
    };
    shared.tasks.spawn(joined.run(client, service));
    let (mut parts, _) = response.into_parts();
    headers::clean_response(&mut parts.headers);
    parts.extensions.clear();
    parts.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    Ok(Response::from_parts(parts, AnswerBody::own("")))
}
