//! HTTP/2 behind: services that speak it without TLS, from the first byte on (RFC 9113, section 3.3).
//!
//! Each worker has one connection to such a service, a [`Trunk`], and more only while the service allows no further stream
//! on it. A request and its answer are an [`Exchange`], one stream, moved by the task of the client's own connection as a
//! lane is; a task of the trunk's own moves frames.
//!
//! ```text
//!   open ──preface, first settings──► in use ──GOAWAY, broken──► retired: its streams end, no new ones begin
//!                                       └────nothing for a while──────────►─┘
//! ```
//!
//! What a service says it never looked at (a refused stream, one beyond what its GOAWAY names) may be sent again whatever
//! it is, as long as none of its body was taken.

use crate::body::{BodyError, ClientBody};
use crate::carrier::Broken;
use crate::deadline::Deadline;
use crate::flights::Flights;
use crate::http1::body::{Framing, Piece};
use crate::http1::head::{HeadError, headers_in};
use crate::http1::response::{Fields, ResponseHead};
use crate::http2::Tunnel;
use crate::phase::forward::Failure;
use crate::phase::headers::{ForService, trailers_of};
use crate::phase::rewrite::ForClient;
use crate::wire::{Rewound, Stream};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{Ping, Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Frame;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What a service may send of one answer before it is read.
const STREAM_WINDOW: u32 = 256 * 1024;
/// And of all of them: more than a client is likely to leave unread, so that slow ones do not hold up the others.
const CONNECTION_WINDOW: u32 = 32 * 1024 * 1024;
/// Most streams of a connection: were all of them but one left unread, that one would still have room.
const STREAMS_MAX: usize = (CONNECTION_WINDOW / STREAM_WINDOW - 1) as usize;
/// Largest head of a response, as it is counted in HTTP/2.
const HEAD_MAX: u32 = 256 * 1024;
/// What follows the key of a WebSocket's handshake in its proof (RFC 6455, section 1.3).
const WEBSOCKET: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The connections to one service.
pub(crate) struct Trunks {
    /// Of each worker.
    open: Vec<Mutex<Vec<Arc<Trunk>>>>,
    /// By worker: many who want the first connection cause one.
    pub(crate) opening: Flights<usize, Result<Arc<Trunk>, Failure>>,
}

impl Trunks {
    /// For so many workers.
    pub(crate) fn new(workers: usize) -> Self {
        Self { open: (0..workers).map(|_| Mutex::default()).collect(), opening: Flights::default() }
    }

    fn of(&self, worker: usize) -> MutexGuard<'_, Vec<Arc<Trunk>>> {
        self.open[worker].lock().expect("no panic while held")
    }

    /// A connection that takes another stream.
    pub(crate) fn find(&self, worker: usize) -> Option<Arc<Trunk>> {
        let mut open = self.of(worker);
        open.retain(|trunk| !trunk.is_retired());
        open.iter().find(|trunk| trunk.has_room()).cloned()
    }

    /// Another connection.
    pub(crate) fn add(&self, worker: usize, trunk: &Arc<Trunk>) {
        self.of(worker).push(Arc::clone(trunk));
    }

    /// Lets go of what rested too long.
    pub(crate) fn sweep(&self, rest: Duration) {
        for worker in 0..self.open.len() {
            self.of(worker).retain(|trunk| trunk.rested() < rest);
        }
    }
}

/// What is under way on a connection, and since when nothing is.
struct Usage {
    streams: usize,
    since: Instant,
}

/// A connection that many requests share. It ends when nobody holds it and none of its streams is open.
pub(crate) struct Trunk {
    sender: SendRequest<Bytes>,
    is_retired: Arc<AtomicBool>,
    usage: Mutex<Usage>,
}

/// One of a connection's streams, for as long as it is used.
pub(crate) struct Using(Arc<Trunk>);

impl Using {
    fn new(trunk: &Arc<Trunk>) -> Self {
        trunk.usage().streams += 1;
        Self(Arc::clone(trunk))
    }
}

impl Drop for Using {
    fn drop(&mut self) {
        let mut usage = self.0.usage();
        usage.streams -= 1;
        usage.since = Instant::now();
    }
}

impl Trunk {
    /// Speaks HTTP/2 on a connection. It is there once the service has said what it allows: that comes before the answer
    /// to the first ping.
    pub(crate) async fn open(stream: TcpStream) -> Result<Arc<Self>, h2::Error> {
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEAD_MAX)
            .max_send_buffer_size(STREAM_WINDOW as usize);
        let (sender, mut connection) = builder.handshake(stream).await?;
        let pings = connection.ping_pong();
        let is_retired = Arc::new(AtomicBool::new(false));
        let retire = Arc::clone(&is_retired);
        // Not one of those the gateway's end waits for: it lasts as long as its streams, which are.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "h2c: a connection to a service broke");
            }
            retire.store(true, Ordering::Release);
        });
        if let Some(mut pings) = pings {
            pings.ping(Ping::opaque()).await?;
        }
        let usage = Mutex::new(Usage { streams: 0, since: Instant::now() });
        Ok(Arc::new(Self { sender, is_retired, usage }))
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().expect("no panic while held")
    }

    fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Acquire)
    }

    /// Nothing new begins on it.
    pub(crate) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
    }

    fn has_room(&self) -> bool {
        self.usage().streams < self.sender.current_max_send_streams().min(STREAMS_MAX)
    }

    /// For how long nothing was under way on it.
    fn rested(&self) -> Duration {
        let usage = self.usage();
        if usage.streams == 0 { usage.since.elapsed() } else { Duration::ZERO }
    }

    /// Whether the service takes WebSockets (RFC 8441).
    pub(crate) fn takes_websockets(&self) -> bool {
        self.sender.is_extended_connect_protocol_enabled()
    }

    /// Begins an exchange. When the connection takes no more, the body is given back.
    pub(crate) fn begin(
        self: &Arc<Self>,
        request: &ForService<'_>,
        websocket: bool,
        framing: Framing,
        body: ClientBody,
        patience: Duration,
    ) -> Result<Exchange, (Broken, ClientBody)> {
        let head = match head_of(request, websocket, framing) {
            Ok(head) => head,
            Err(error) => return Err((error.into(), body)),
        };
        let key = head.1;
        let is_over = body.is_empty() && !websocket;
        let mut sender = self.sender.clone();
        match sender.send_request(head.0, is_over) {
            Ok((response, send)) => Ok(Exchange {
                response,
                recv: None,
                send,
                upload: Some(body).filter(|body| !body.is_empty()),
                taken: Bytes::new(),
                is_whole: true,
                has_all_data: false,
                key,
                deadline: Deadline::new(patience),
                patience,
                using: Using::new(self),
            }),
            Err(error) => Err((error.into(), body)),
        }
    }
}

/// A request's head in HTTP/2's form, and the key of its handshake if it asks to become a WebSocket.
fn head_of(
    request: &ForService<'_>,
    websocket: bool,
    framing: Framing,
) -> Result<(Request<()>, Option<HeaderValue>), HeadError> {
    const TARGET: HeadError = HeadError::Malformed("the target can't be read");
    let mut lines = BytesMut::with_capacity(1024);
    request.put(&mut lines);
    let mut headers = headers_in(&lines)?;
    let host = headers.remove(HOST).ok_or(TARGET)?;
    let mut target = http::uri::Parts::default();
    target.scheme = Some(Scheme::HTTP);
    target.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| TARGET)?);
    let path = request.head.uri.path_and_query().cloned();
    target.path_and_query = Some(path.unwrap_or(PathAndQuery::from_static("/")));
    if let Framing::Length(length) = framing {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let mut head = Request::new(());
    *head.method_mut() = request.head.method.clone();
    *head.uri_mut() = Uri::from_parts(target).map_err(|_| TARGET)?;
    let mut key = None;
    if websocket {
        *head.method_mut() = Method::CONNECT;
        head.extensions_mut().insert(Protocol::from_static("websocket"));
        key = headers.remove(SEC_WEBSOCKET_KEY);
    }
    *head.headers_mut() = headers;
    Ok((head, key))
}

/// What proves that a handshake's key was read.
fn proof_of(key: &HeaderValue) -> Option<HeaderValue> {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), WEBSOCKET.as_bytes()].concat());
    HeaderValue::from_str(&BASE64_STANDARD.encode(hash)).ok()
}

/// Whether the service says that it never looked at the request.
fn is_unseen(error: &h2::Error) -> bool {
    // A stream gets the peer's GOAWAY as its error only if that names an earlier one as the last it will look at.
    error.is_remote() && (error.is_go_away() || (error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM)))
}

/// A request and its answer: one stream.
pub(crate) struct Exchange {
    response: ResponseFuture,
    recv: Option<RecvStream>,
    send: SendStream<Bytes>,
    upload: Option<ClientBody>,
    /// What was taken of the client's body and waits for room.
    taken: Bytes,
    /// Nothing was taken yet.
    is_whole: bool,
    has_all_data: bool,
    key: Option<HeaderValue>,
    deadline: Deadline,
    patience: Duration,
    using: Using,
}

impl Exchange {
    /// Moves the request on, and reads the next head of the answer.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        to: &Method,
        rules: ForClient<'_>,
    ) -> Poll<Result<ResponseHead, Broken>> {
        match self.poll_upload(cx) {
            Poll::Ready(Err(Broken::Body(error))) => {
                self.send.send_reset(Reason::CANCEL);
                return Poll::Ready(Err(Broken::Body(error)));
            }
            // The service wants no more of it; why is seen by its answer.
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "h2c: the rest of a request was not taken");
                (self.upload, self.taken) = (None, Bytes::new());
            }
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        if let Poll::Ready(Some(interim)) = self.response.poll_informational(cx) {
            let interim = interim?;
            let fields = Fields::of(interim.headers(), rules)?;
            let head = ResponseHead { status: interim.status(), fields, framing: Framing::Empty, keep_alive: false };
            return Poll::Ready(Ok(head));
        }
        match Pin::new(&mut self.response).poll(cx) {
            Poll::Ready(response) => Poll::Ready(self.head(response?, to, rules)),
            Poll::Pending if self.deadline.poll_overdue(cx).is_ready() => Poll::Ready(Err(Broken::Overdue)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn head(
        &mut self,
        response: Response<RecvStream>,
        to: &Method,
        rules: ForClient<'_>,
    ) -> Result<ResponseHead, Broken> {
        let (mut head, recv) = response.into_parts();
        if head.status.is_success()
            && let Some(proof) = self.key.as_ref().and_then(proof_of)
        {
            head.status = StatusCode::SWITCHING_PROTOCOLS;
            head.headers.insert(SEC_WEBSOCKET_ACCEPT, proof);
        }
        let fields = Fields::of(&head.headers, rules)?;
        let has_none = *to == Method::HEAD
            || recv.is_end_stream()
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framing = match fields.length {
            _ if has_none => Framing::Empty,
            Some(0) => Framing::Empty,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        self.recv = Some(recv);
        Ok(ResponseHead { status: head.status, fields, framing, keep_alive: false })
    }

    /// Moves what is left of the request on; ready when nothing is.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            if !self.taken.is_empty() {
                if self.send.capacity() == 0 {
                    self.send.reserve_capacity(self.taken.len());
                    ready!(self.send.poll_capacity(cx)).ok_or(Broken::HungUp)??;
                }
                let room = self.send.capacity().min(self.taken.len());
                self.send.send_data(self.taken.split_to(room), false)?;
                continue;
            }
            let Some(body) = &mut self.upload else { return Poll::Ready(Ok(())) };
            let frame = ready!(body.poll_frame(cx)).transpose().map_err(Broken::Body)?;
            self.is_whole = false;
            self.deadline.give(self.patience);
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => self.taken = data,
                Some(Err(frame)) => {
                    self.upload = None;
                    self.send.send_trailers(trailers_of(&frame.into_trailers().unwrap_or_default()))?;
                }
                None => {
                    self.upload = None;
                    self.send.send_data(Bytes::new(), true)?;
                }
            }
        }
    }

    /// After it broke: the request's body, if the service never looked at the request and nothing of the body was taken.
    pub(crate) fn unseen(self, error: &Broken) -> Option<ClientBody> {
        match error {
            Broken::Http2(error) if self.is_whole && is_unseen(error) => {
                if error.is_go_away() {
                    self.using.0.retire();
                }
                Some(self.upload.unwrap_or(ClientBody::Empty))
            }
            _ => None,
        }
    }

    /// Reads the next piece of the answer's body, and moves on what is left of the request.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, BodyError>> {
        match self.poll_upload(cx) {
            Poll::Ready(Err(Broken::Body(error))) => {
                self.send.send_reset(Reason::CANCEL);
                return Poll::Ready(Err(error));
            }
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "h2c: the rest of a request was not taken");
                (self.upload, self.taken) = (None, Bytes::new());
            }
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        let Some(recv) = &mut self.recv else { return Poll::Ready(Ok(Piece::End)) };
        if !self.has_all_data {
            match ready!(recv.poll_data(cx)) {
                Some(Ok(data)) => {
                    recv.flow_control().release_capacity(data.len())?;
                    return Poll::Ready(Ok(Piece::Data(data)));
                }
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => self.has_all_data = true,
            }
        }
        match ready!(recv.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(Ok(trailers.map_or(Piece::End, Piece::Trailers))),
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }

    /// Whether all of the answer was read.
    pub(crate) fn is_over(&self) -> bool {
        self.recv.as_ref().is_none_or(RecvStream::is_end_stream)
    }

    /// Both directions as bytes.
    pub(crate) fn into_stream(self) -> Option<Rewound> {
        let tunnel = Tunnel::new(self.send, self.recv?, Some(self.using));
        Some(Rewound { begin: Bytes::new(), stream: Stream::H2(Box::new(tunnel)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_proven_as_the_standard_shows() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(proof_of(&key).expect("a value"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
