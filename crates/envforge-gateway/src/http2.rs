//! HTTP/2 in front (RFC 9113), over `h2`, which does the framing, the flow control and the limits on both.
//!
//! A stream becomes the same request an HTTP/1.1 connection would carry, so one set of phases answers both. What HTTP/2
//! says in another way is said in the one way the phases and the services know: `:authority` is `Host`, cookies are one
//! header, and an extended CONNECT (RFC 8441) is the WebSocket handshake it stands for.

use crate::access_log::Entry;
use crate::body::{AnswerBody, BodyError, ClientBody, Polled};
use crate::h2c::Using;
use crate::hints::Hints;
use crate::http1::body::Framing;
use crate::http1::response::Said;
use crate::phase::answer::{self, Audience};
use crate::phase::headers::trailers_of;
use crate::phase::{self, refused::Refused};
use crate::serve::Client;
use crate::shared::Shared;
use crate::wire::{Rewound, Stream};
use bytes::{Buf as _, Bytes, BytesMut};
use h2::ext::Protocol;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, STRICT_TRANSPORT_SECURITY,
    UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Frame;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What an HTTP/2 connection begins with.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Streams of one connection at once.
const STREAMS: u32 = 128;
/// What one stream, and one connection, may send before it is read.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How long we wait for room for our own words, which fit into what any client takes at once. Strangers who ask too often
/// have to have the room already.
const OWN_STALL: Duration = Duration::from_secs(5);
/// The key of a handshake that stands for an extended CONNECT: 16 bytes as RFC 6455 wants them. It guards against servers
/// that don't know what they answer; nothing is secret about it.
const KEY: HeaderValue = HeaderValue::from_static("ZW52Zm9yZ2UtZ2F0ZXdheQ==");

/// Serves a connection to its end.
pub(crate) async fn serve(shared: &Arc<Shared>, client: &Arc<Client>, stream: Rewound) {
    client.memo.is_shared();
    let limits = &shared.config.limits;
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(limits.header_bytes as u32)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(STREAM_WINDOW as usize)
        .enable_connect_protocol();
    let Ok(Ok(mut connection)) = tokio::time::timeout(limits.header_time, builder.handshake(stream)).await else {
        return tracing::debug!("http2: a connection ended before it began");
    };
    let open = Arc::new(AtomicUsize::new(0));
    let mut stop = pin!(client.stop.cancelled());
    let (mut stopping, mut is_told) = (false, false);
    loop {
        let idle = open.load(Ordering::Relaxed) == 0;
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = &mut stop, if !stopping => {
                stopping = true;
                connection.graceful_shutdown();
                continue;
            }
            () = tokio::time::sleep(limits.header_time) => {
                if idle && open.load(Ordering::Relaxed) == 0 {
                    // Whoever does not answer that it may end is not waited for again.
                    if is_told {
                        return tracing::debug!("http2: a connection at rest was left");
                    }
                    is_told = true;
                    connection.graceful_shutdown();
                }
                continue;
            }
        };
        match accepted {
            Some(Ok((request, respond))) => {
                open.fetch_add(1, Ordering::Relaxed);
                let (shared, client, open) = (Arc::clone(shared), Arc::clone(client), Arc::clone(&open));
                let tasks = shared.tasks.clone();
                tasks.spawn(async move {
                    answer(&shared, &client, request, respond).await;
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "http2: a connection broke");
                return;
            }
            None => return,
        }
    }
}

async fn answer(
    shared: &Arc<Shared>,
    client: &Arc<Client>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let respond = Arc::new(Mutex::new(respond));
    let is_head = *request.method() == Method::HEAD;
    let mut tunnel = None;
    let mut given = None;
    let response = match understood(request, shared.config.limits.headers, &mut tunnel) {
        Ok(request) => {
            let hints = Some(Hints::Http2(Arc::clone(&respond)));
            let mut handling = pin!(phase::handle(shared, client, hints, request));
            let answered = poll_fn(|cx| match handling.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(Some(response)),
                Poll::Pending => respond.lock().expect("no panic while held").poll_reset(cx).map(|_| None),
            });
            match answered.await {
                Some(response) => response,
                None => return,
            }
        }
        Err(refused) => {
            shared.stats.requests.add();
            shared.stats.count(refused.outcome());
            answer::refuse(Audience::Program, &refused)
        }
    };
    let (mut head, body) = response.into_parts();
    if let Said::Theirs(fields) = body.said(&HeaderMap::new()) {
        head.headers = fields.to_map();
        if is_head && let Some(length) = fields.length {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
    head.version = Version::HTTP_2;
    let entry = head.extensions.remove::<Arc<Mutex<Entry>>>();
    head.headers.extend(shared.hsts().map(|hsts| (STRICT_TRANSPORT_SECURITY, hsts.clone())));
    if let AnswerBody::Tunnel(joined) = body {
        let Some(recv) = tunnel else { return };
        head.status = StatusCode::OK;
        head.headers.remove(SEC_WEBSOCKET_ACCEPT);
        if let Some(send) = send_head(&respond, head, false) {
            let stream = Stream::H2(Box::new(Tunnel::new(send, recv, None)));
            joined.run(Rewound { begin: Bytes::new(), stream }, BytesMut::new()).await;
        }
        return;
    }
    drop(tunnel);
    match body.framing() {
        _ if is_head => {}
        Framing::Length(length) => drop(head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length))),
        _ => drop(head.headers.remove(CONTENT_LENGTH)),
    }
    let is_over = is_head || body.framing() == Framing::Empty;
    let stall = match body {
        AnswerBody::Own(_) if head.status == StatusCode::TOO_MANY_REQUESTS => Duration::ZERO,
        AnswerBody::Own(_) => OWN_STALL,
        _ => shared.config.limits.stall,
    };
    if let Some(send) = send_head(&respond, head, is_over)
        && !is_over
    {
        let sent = send_body(send, body, stall, &mut given, entry.as_ref()).await;
        if sent.is_ok()
            && let Some(entry) = &entry
        {
            entry.lock().expect("no panic while held").is_whole();
        }
        if let Err(error) = sent {
            tracing::debug!(%error, "http2: an answer broke off");
            if let Some(mut send) = given {
                send.send_reset(Reason::INTERNAL_ERROR);
            }
        }
    }
}

fn send_head(
    respond: &Mutex<SendResponse<Bytes>>,
    head: http::response::Parts,
    is_over: bool,
) -> Option<SendStream<Bytes>> {
    let response = Response::from_parts(head, ());
    let sent = respond.lock().expect("no panic while held").send_response(response, is_over);
    sent.inspect_err(|error| tracing::debug!(%error, "http2: an answer was not taken")).ok()
}

/// Puts a stream's request into the one form the phases know. The stream of an extended CONNECT is set apart.
fn understood(
    request: Request<RecvStream>,
    headers_max: usize,
    tunnel: &mut Option<RecvStream>,
) -> Result<Request<ClientBody>, Refused> {
    let (mut head, body) = request.into_parts();
    if head.headers.len() > headers_max {
        return Err(Refused::HeadTooLarge);
    }
    let protocol = head.extensions.remove::<Protocol>();
    head.extensions.clear();
    if let Some(authority) = head.uri.authority() {
        let host = HeaderValue::from_str(authority.as_str());
        let host = host.map_err(|_| Refused::BadRequest("the target is not readable"))?;
        let mut hosts = head.headers.get_all(HOST).iter();
        if hosts.any(|told| !told.as_bytes().eq_ignore_ascii_case(host.as_bytes())) {
            return Err(Refused::BadRequest("the request names more than one host"));
        }
        head.headers.insert(HOST, host);
        if let Some(path) = head.uri.path_and_query().cloned() {
            head.uri = path.into();
        }
    }
    join_cookies(&mut head.headers);
    let body = match protocol {
        Some(protocol) if head.method == Method::CONNECT && protocol.as_str() == "websocket" => {
            head.method = Method::GET;
            head.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            head.headers.insert(SEC_WEBSOCKET_KEY, KEY);
            *tunnel = Some(body);
            ClientBody::Empty
        }
        Some(_) => return Err(Refused::Method),
        None if body.is_end_stream() => ClientBody::Empty,
        None => ClientBody::Http2(Upload::new(&head.headers, body)?),
    };
    Ok(Request::from_parts(head, body))
}

/// HTTP/2 may carry each cookie by itself (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// The body of a request.
pub(crate) struct Upload {
    stream: RecvStream,
    framing: Framing,
    has_all_data: bool,
}

impl Upload {
    /// `h2` holds the stream to the length its headers tell.
    fn new(headers: &HeaderMap, stream: RecvStream) -> Result<Self, Refused> {
        let length = headers.get(CONTENT_LENGTH).map(|value| value.to_str().ok().and_then(|text| text.parse().ok()));
        let framing = match length {
            None => Framing::Chunked,
            Some(Some(length)) => Framing::Length(length),
            Some(None) => return Err(Refused::BadRequest("the length of the body is no number")),
        };
        Ok(Self { stream, framing, has_all_data: false })
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        if !self.has_all_data {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    let released = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(released.map(|()| Frame::data(data)).map_err(Into::into)));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => self.has_all_data = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }
}

/// Sends a body, as fast as the client takes it. A stream that is to be reset is left in `given`.
async fn send_body(
    send: SendStream<Bytes>,
    mut body: AnswerBody,
    stall: Duration,
    given: &mut Option<SendStream<Bytes>>,
    entry: Option<&Arc<Mutex<Entry>>>,
) -> Result<(), BodyError> {
    let send = given.insert(send);
    loop {
        let frame = poll_fn(|cx| {
            if let Poll::Ready(reset) = send.poll_reset(cx) {
                return Poll::Ready(Some(Err(reset.map_or_else(Into::into, |_| "the client wants no more".into()))));
            }
            body.poll_frame(cx)
        });
        match frame.await.transpose()?.map(Frame::into_data) {
            Some(Ok(data)) => {
                if let Some(entry) = entry {
                    entry.lock().expect("no panic while held").add(data.len());
                }
                put(send, data, stall).await?;
            }
            Some(Err(frame)) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return Ok(send.send_trailers(trailers_of(&trailers))?);
            }
            None => return Ok(send.send_data(Bytes::new(), true)?),
        }
    }
}

async fn put(send: &mut SendStream<Bytes>, mut data: Bytes, stall: Duration) -> Result<(), BodyError> {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        let room = tokio::time::timeout(stall, poll_fn(|cx| send.poll_capacity(cx))).await?;
        let room = room.ok_or("the stream is closed")??;
        send.send_data(data.split_to(room.min(data.len())), false)?;
    }
    Ok(())
}

/// A stream as two directions of bytes.
pub(crate) struct Tunnel {
    send: SendStream<Bytes>,
    recv: RecvStream,
    /// What came and was not read yet.
    begun: Bytes,
    /// Of a connection to a service: that it is in use.
    _using: Option<Using>,
}

impl Tunnel {
    pub(crate) fn new(send: SendStream<Bytes>, recv: RecvStream, using: Option<Using>) -> Self {
        Self { send, recv, begun: Bytes::new(), _using: using }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.begun.is_empty() {
            match ready!(self.recv.poll_data(cx)) {
                Some(Ok(data)) => self.begun = data,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.begun.len().min(into.remaining());
        into.put_slice(&self.begun[..length]);
        self.begun.advance(length);
        Poll::Ready(self.recv.flow_control().release_capacity(length).map_err(io::Error::other))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.send.reserve_capacity(bytes.len());
        let room = match ready!(self.send.poll_capacity(cx)) {
            Some(room) => room.map_err(io::Error::other)?.min(bytes.len()),
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        };
        let sent = self.send.send_data(Bytes::copy_from_slice(&bytes[..room]), false);
        Poll::Ready(sent.map(|()| room).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.send.send_data(Bytes::new(), true).map_err(io::Error::other))
    }
}
