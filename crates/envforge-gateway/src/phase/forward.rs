//! Phase 6: the request goes to the service, and its response back.
//!
//! What is ours is taken out on the way in (session cookie, link header) and kept out on the way back (`Domain=` in
//! `Set-Cookie`, cookies of our name); what belongs to one hop stays on its hop. Bodies are streamed. A request
//! that was never written, or has no body and no effect, is sent a second time when a kept connection turns
//! out to be dead; any other is not, because the service may have seen it, unless it says over HTTP/2 that it did not.

use crate::activity::Visit;
use crate::alarm::Alarm;
use crate::body::{AnswerBody, ClientBody, Rest, UpstreamBody};
use crate::carrier::{Broken, Carrier};
use crate::config::Scheme;
use crate::h2c::Trunk;
use crate::hints::Hints;
use crate::http1::body::Framing;
use crate::http1::lane::Lane;
use crate::http1::response::ResponseHead;
use crate::local::Held;
use crate::phase::headers::{self, ForService};
use crate::phase::rewrite::ForClient;
use crate::pool;
use crate::realtime::Joined;
use crate::routes::{LabelRoute, Rule};
use crate::serve::Client;
use crate::sessions::Admitted;
use crate::shared::Shared;
use crate::stats::Phase;
use bytes::Bytes;
use envforge_api::uplink::{Open, OpenError};
use envforge_core::id::HostId;
use envforge_core::manifest::Protocol;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long a host that is not connected is waited for; long enough for one that is just restarting.
const HOST_PATIENCE: Duration = Duration::from_secs(3);
/// Interim responses before the one that counts.
const INTERIM: usize = 16;
/// How often a request that a service did not look at is sent.
const ATTEMPTS: usize = 4;

/// Why a service did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its host is not connected.
    NoHost,
    /// It accepts no connection, or broke it.
    Unreachable,
    /// It did not begin its answer in time.
    Overdue,
    /// It speaks HTTP/2 and takes no WebSockets there.
    NoWebSocket,
    /// The client's body broke off, or can't be read.
    ClientBody,
}

impl Failure {
    /// Whether the same request may be answered a moment later.
    pub(crate) fn may_pass(self) -> bool {
        !matches!(self, Self::Overdue | Self::NoWebSocket)
    }
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Body(_) => Self::ClientBody,
            Broken::Overdue => Self::Overdue,
            Broken::Io(_) | Broken::Http2(_) | Broken::HungUp | Broken::Head(_) => Self::Unreachable,
        }
    }
}

/// A request as it will leave.
pub(crate) struct Outgoing {
    head: Parts,
    /// Taken when it is sent; what was sent of it can't be sent again.
    body: Option<ClientBody>,
    framing: Framing,
    can_repeat: bool,
    websocket: bool,
    hints: Option<Hints>,
    /// Open for as long as the request, its response and the socket it may become.
    pub(crate) visit: Option<Visit>,
}

impl Outgoing {
    /// Prepares a client's request.
    pub(crate) fn new(hints: Option<Hints>, request: Request<ClientBody>, websocket: bool) -> Self {
        let (head, body) = request.into_parts();
        let can_repeat = body.is_empty() && matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let framing = body.framing();
        Self { head, body: Some(body), framing, can_repeat, websocket, hints, visit: None }
    }

    /// What is asked for.
    pub(crate) fn uri(&self) -> Uri {
        self.head.uri.clone()
    }

    /// The path asked for.
    pub(crate) fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// Whether it can still be sent from its start.
    pub(crate) fn is_whole(&self) -> bool {
        self.body.is_some()
    }

    /// Whether it may be sent before its wake is allowed: what a refused request leaves in a frozen service's socket is
    /// read when somebody else wakes it, and must have no effect then.
    pub(crate) fn may_be_early(&self) -> bool {
        self.can_repeat && !self.websocket
    }

    /// Its head as its service gets to see it.
    fn for_service<'a>(&'a self, client: &Client, way: &'a Bytes) -> ForService<'a> {
        ForService { head: &self.head, websocket: self.websocket, is_trusted: client.is_trusted, way }
    }

    /// What its service is told of the way it came.
    fn way(&self, shared: &Shared, client: &Client) -> Bytes {
        // Whoever got here named one.
        let nowhere = HeaderValue::from_static("");
        let host = self.head.headers.get(HOST).unwrap_or(&nowhere);
        let make = || headers::way(&client.address, host, shared.config.external_scheme, shared.external_port);
        client.memo.way(host, make)
    }
}

/// Sends the request to the rule's service. After a failure the request is still whole if it can be sent again.
pub(crate) async fn send(
    shared: &Arc<Shared>,
    client: &Client,
    admitted: &Held<Admitted>,
    alarm: &Arc<Alarm>,
    route: &Held<LabelRoute>,
    number: usize,
    outgoing: &mut Outgoing,
) -> Result<Response<AnswerBody>, Failure> {
    let rule = route.rule_at(number);
    let is_plain = shared.config.external_scheme == Scheme::Http;
    let rules = ForClient { is_plain, rewriting: rule.rewriting.as_ref() };
    let (head, carrier) = match rule.protocol {
        Protocol::Http => by_lane(shared, client, route, rule, outgoing, rules).await?,
        // Set apart, so that it takes no room in every request.
        Protocol::H2c => Box::pin(by_trunk(shared, client, route, rule, outgoing, rules)).await?,
    };
    shared.stats.forwarded.add();
    respond(shared, client, admitted, alarm, route, number, outgoing, head, carrier)
}

/// Over HTTP/1.1: on a connection that has it to itself.
async fn by_lane(
    shared: &Shared,
    client: &Client,
    route: &LabelRoute,
    rule: &Rule,
    outgoing: &mut Outgoing,
    rules: ForClient<'_>,
) -> Result<(ResponseHead, Carrier), Failure> {
    // A WebSocket keeps its connection for itself.
    let mut kept = if outgoing.websocket { None } else { rule.upstream.take(client.worker) };
    loop {
        let is_kept = kept.is_some();
        let mut lane = if let Some(lane) = kept.take() {
            shared.stats.upstream_reused.add();
            lane
        } else {
            let stream = connect(shared, route.host, &rule.ticket, &rule.service).await?;
            Lane::new(stream, shared.config.limits.answer)
        };
        let Some(body) = outgoing.body.take() else { return Err(Failure::Unreachable) };
        let body = Some(body).filter(|body| !body.is_empty());
        let way = outgoing.way(shared, client);
        lane.begin(&outgoing.for_service(client, &way), outgoing.framing, body);
        let mut carrier = Carrier::Lane(lane);
        let error = match head(&mut carrier, outgoing, rules).await {
            Ok(head) => return Ok((head, carrier)),
            Err(error) => error,
        };
        tracing::debug!(service = %rule.service, %error, "forward: the service broke the connection");
        if outgoing.can_repeat {
            outgoing.body = Some(ClientBody::Empty);
            if is_kept && !matches!(error, Broken::Overdue) {
                shared.stats.retried.add();
                continue;
            }
        }
        return Err(error.into());
    }
}

/// Over HTTP/2: as a stream of a connection that many share.
async fn by_trunk(
    shared: &Arc<Shared>,
    client: &Client,
    route: &LabelRoute,
    rule: &Rule,
    outgoing: &mut Outgoing,
    rules: ForClient<'_>,
) -> Result<(ResponseHead, Carrier), Failure> {
    let mut failure = Failure::Unreachable;
    for _ in 0..ATTEMPTS {
        let (trunk, is_kept) = match rule.upstream.trunks.find(client.worker) {
            Some(trunk) => (trunk, true),
            None => (open_trunk(shared, client.worker, route, rule).await?, false),
        };
        if outgoing.websocket && !trunk.takes_websockets() {
            return Err(Failure::NoWebSocket);
        }
        let Some(body) = outgoing.body.take() else { return Err(failure) };
        let way = outgoing.way(shared, client);
        let request = ForService { websocket: false, ..outgoing.for_service(client, &way) };
        let patience = shared.config.limits.answer;
        let exchange = match trunk.begin(&request, outgoing.websocket, outgoing.framing, body, patience) {
            Ok(exchange) => exchange,
            // Nothing of it was sent: it broke, or was told to end, while it rested.
            Err((error, body)) => {
                tracing::debug!(service = %rule.service, %error, "forward: a connection takes no more");
                if !matches!(error, Broken::Http2(_)) {
                    return Err(error.into());
                }
                trunk.retire();
                outgoing.body = Some(body);
                continue;
            }
        };
        if is_kept {
            shared.stats.upstream_reused.add();
        }
        let mut carrier = Carrier::Exchange(Box::new(exchange));
        let error = match head(&mut carrier, outgoing, rules).await {
            Ok(head) => return Ok((head, carrier)),
            Err(error) => error,
        };
        tracing::debug!(service = %rule.service, %error, "forward: the service broke the stream");
        let Carrier::Exchange(exchange) = carrier else { return Err(error.into()) };
        outgoing.body = exchange.unseen(&error);
        let is_unseen = outgoing.body.is_some();
        if outgoing.can_repeat {
            outgoing.body = Some(ClientBody::Empty);
        }
        let may_again = is_unseen || (outgoing.can_repeat && is_kept && !matches!(error, Broken::Overdue));
        failure = error.into();
        if !may_again {
            return Err(failure);
        }
        shared.stats.retried.add();
    }
    Err(failure)
}

/// Another connection that many share; all who want one now get the same.
async fn open_trunk(
    shared: &Arc<Shared>,
    worker: usize,
    route: &LabelRoute,
    rule: &Rule,
) -> Result<Arc<Trunk>, Failure> {
    let start = || {
        let (shared, upstream) = (Arc::clone(shared), Arc::clone(&rule.upstream));
        let (host, ticket, service) = (route.host, rule.ticket.clone(), rule.service.clone());
        async move {
            let stream = connect(&shared, host, &ticket, &service).await?;
            let opened = tokio::time::timeout(shared.config.limits.answer, Trunk::open(stream)).await;
            let trunk = opened.map_err(|_| Failure::Overdue)?.map_err(|error| {
                tracing::debug!(%service, %error, "forward: the service does not speak HTTP/2");
                Failure::Unreachable
            })?;
            upstream.trunks.add(worker, &trunk);
            Ok(trunk)
        }
    };
    let opening = rule.upstream.trunks.opening.join(&shared.tasks, &worker, start);
    opening.await.unwrap_or(Err(Failure::Unreachable))
}

/// The head of the answer; what comes before it is passed on if it helps.
async fn head(carrier: &mut Carrier, outgoing: &Outgoing, rules: ForClient<'_>) -> Result<ResponseHead, Broken> {
    for _ in 0..INTERIM {
        let head = poll_fn(|cx| carrier.poll_head(cx, &outgoing.head.method, rules)).await?;
        match head.status {
            StatusCode::SWITCHING_PROTOCOLS => return Ok(head),
            StatusCode::EARLY_HINTS => {
                if let Some(hints) = &outgoing.hints {
                    hints.tell(&head.fields);
                }
            }
            status if status.is_informational() => {}
            _ => return Ok(head),
        }
    }
    Err(Broken::HungUp)
}

/// Opens a connection to the service through its host.
async fn connect(shared: &Shared, host: HostId, ticket: &str, service: &str) -> Result<TcpStream, Failure> {
    let open = || shared.uplinks.open(host, ticket, Open::Service);
    shared.stats.upstream_opened.add();
    let begun = Instant::now();
    let opened = match open().await {
        Err(OpenError::NotConnected) if shared.uplinks.connected(host, HOST_PATIENCE).await => open().await,
        opened => opened,
    };
    shared.stats.time(Phase::Connect, begun.elapsed());
    match opened.and_then(|fd| Ok(pool::stream_of(fd)?)) {
        Ok(stream) => Ok(stream),
        Err(OpenError::NotConnected) => Err(Failure::NoHost),
        Err(error) => {
            tracing::debug!(%service, %error, "forward: no connection to the service");
            Err(Failure::Unreachable)
        }
    }
}

/// Passes a response on, streaming, or joins the two sides that agreed to speak WebSocket.
#[expect(clippy::too_many_arguments, reason = "all that a request met on its way")]
fn respond(
    shared: &Arc<Shared>,
    client: &Client,
    admitted: &Held<Admitted>,
    alarm: &Arc<Alarm>,
    route: &Held<LabelRoute>,
    number: usize,
    outgoing: &mut Outgoing,
    head: ResponseHead,
    carrier: Carrier,
) -> Result<Response<AnswerBody>, Failure> {
    let ResponseHead { status, fields, framing, keep_alive } = head;
    let Some(mut visit) = outgoing.visit.take() else { return Err(Failure::Unreachable) };
    if status == StatusCode::SWITCHING_PROTOCOLS {
        if !outgoing.websocket {
            tracing::debug!("forward: a service switched protocols without being asked");
            return Err(Failure::Unreachable);
        }
        let Some(service) = carrier.into_stream() else { return Err(Failure::Unreachable) };
        visit.becomes_realtime();
        let joined = Joined {
            shared: Arc::clone(shared),
            workspace: Arc::clone(&route.workspace),
            admitted: Arc::clone(admitted.shared()),
            visit,
            path: outgoing.path().to_owned(),
            fields,
            service,
        };
        return Ok(answer(status, AnswerBody::Tunnel(Box::new(joined))));
    }
    if fields.is_event_stream {
        visit.becomes_realtime();
    }
    let rest = keep_alive.then(|| Rest {
        route: route.clone(),
        rule: number,
        worker: client.worker,
        room: shared.config.limits.upstream_resting,
    });
    let body = UpstreamBody::new(fields, framing, carrier, rest, visit, admitted.clone(), Arc::clone(alarm));
    Ok(answer(status, AnswerBody::Upstream(Box::new(body))))
}

fn answer(status: StatusCode, body: AnswerBody) -> Response<AnswerBody> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}
