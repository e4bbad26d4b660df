//! Phase 6: the request goes to the service, and its response back.
//!
//! What is ours is taken out on the way in (session cookie, link header) and kept out on the way back (`Domain=` in
//! `Set-Cookie`, cookies of our name); what belongs to one hop stays on its hop. Bodies are streamed. A request
//! that was never written, or has no body and no effect, is sent a second time when a kept connection turns
//! out to be dead; any other is not, because the service may have seen it.

use crate::activity::Visit;
use crate::alarm::Alarm;
use crate::body::{AnswerBody, ClientBody, Rest, UpstreamBody};
use crate::hints::Hints;
use crate::http1::body::Framing;
use crate::http1::lane::{Lane, LaneError};
use crate::http1::response::ResponseHead;
use crate::local::Held;
use crate::phase::headers::{self, ForService};
use crate::pool;
use crate::realtime::Joined;
use crate::routes::{LabelRoute, Rule};
use crate::serve::Client;
use crate::sessions::Admitted;
use crate::shared::Shared;
use crate::stats::Phase;
use bytes::Bytes;
use envforge_api::uplink::{Open, OpenError};
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

/// Why a service did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its host is not connected.
    NoHost,
    /// It accepts no connection, or broke it.
    Unreachable,
    /// The client's body broke off, or can't be read.
    ClientBody,
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
    // A WebSocket keeps its connection for itself.
    let mut kept = if outgoing.websocket { None } else { rule.upstream.take(client.worker) };
    loop {
        let is_kept = kept.is_some();
        let mut lane = match kept.take() {
            Some(lane) => {
                shared.stats.upstream_reused.add();
                lane
            }
            None => Lane::new(connect(shared, route, rule).await?),
        };
        let Some(body) = outgoing.body.take() else { return Err(Failure::Unreachable) };
        let body = Some(body).filter(|body| !body.is_empty());
        let way = outgoing.way(shared, client);
        let request = ForService {
            head: &outgoing.head,
            websocket: outgoing.websocket,
            is_trusted: client.is_trusted,
            way: &way,
        };
        lane.begin(&request, outgoing.framing, body);
        match head(&mut lane, outgoing).await {
            Ok(head) => {
                shared.stats.forwarded.add();
                return respond(shared, client, admitted, alarm, route, number, outgoing, head, lane);
            }
            Err(error) => {
                tracing::debug!(service = %rule.service, %error, "forward: the service broke the connection");
                if outgoing.can_repeat {
                    outgoing.body = Some(ClientBody::Empty);
                    if is_kept {
                        shared.stats.retried.add();
                        continue;
                    }
                }
                return Err(if matches!(error, LaneError::Body(_)) {
                    Failure::ClientBody
                } else {
                    Failure::Unreachable
                });
            }
        }
    }
}

/// The head of the answer; what comes before it is passed on if it helps.
async fn head(lane: &mut Lane, outgoing: &Outgoing) -> Result<ResponseHead, LaneError> {
    for _ in 0..INTERIM {
        let head = poll_fn(|cx| lane.poll_head(cx, &outgoing.head.method)).await?;
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
    Err(LaneError::HungUp)
}

/// Opens a connection to the service through its host.
async fn connect(shared: &Shared, route: &LabelRoute, rule: &Rule) -> Result<TcpStream, Failure> {
    let open = || shared.uplinks.open(route.host, &rule.ticket, Open::Service);
    shared.stats.upstream_opened.add();
    let begun = Instant::now();
    let opened = match open().await {
        Err(OpenError::NotConnected) if shared.uplinks.connected(route.host, HOST_PATIENCE).await => open().await,
        opened => opened,
    };
    shared.stats.time(Phase::Connect, begun.elapsed());
    match opened.and_then(|fd| Ok(pool::stream_of(fd)?)) {
        Ok(stream) => Ok(stream),
        Err(OpenError::NotConnected) => Err(Failure::NoHost),
        Err(error) => {
            tracing::debug!(service = %rule.service, %error, "forward: no connection to the service");
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
    lane: Lane,
) -> Result<Response<AnswerBody>, Failure> {
    let ResponseHead { status, fields, framing, keep_alive } = head;
    let Some(mut visit) = outgoing.visit.take() else { return Err(Failure::Unreachable) };
    if status == StatusCode::SWITCHING_PROTOCOLS {
        if !outgoing.websocket {
            tracing::debug!("forward: a service switched protocols without being asked");
            return Err(Failure::Unreachable);
        }
        visit.becomes_realtime();
        let joined = Joined {
            shared: Arc::clone(shared),
            workspace: Arc::clone(&route.workspace),
            admitted: Arc::clone(admitted.shared()),
            visit,
            path: outgoing.path().to_owned(),
            fields,
            service: lane.into_stream(),
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
    let body = UpstreamBody::new(fields, framing, lane, rest, visit, admitted.clone(), Arc::clone(alarm));
    Ok(answer(status, AnswerBody::Upstream(Box::new(body))))
}

fn answer(status: StatusCode, body: AnswerBody) -> Response<AnswerBody> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}
