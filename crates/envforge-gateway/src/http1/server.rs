//! A client's connection, from its first request to its last.
//!
//! One task serves it. While a request waits, the connection is watched: a client that hangs up takes its request
//! along. What was sent too early is kept, up to a limit, and answered in turn. A body nobody wanted is not read for
//! long: the connection ends instead.
//!
//! ```text
//!   rest ──► head ──► phases ──► answer's head ──► its body ──► rest
//!              │ unreadable, late    └─ 101: the stream goes on as a WebSocket
//!              └──► said, and closed
//! ```

use crate::access_log::Entry;
use crate::body::{AnswerBody, BodyError, ClientBody, Polled};
use crate::hints::Hints;
use crate::http1::body::{Decoder, Framing, Piece, put_chunk, put_last_chunk};
use crate::http1::head::{HeadEnd, HeadError, RequestHead, take_request};
use crate::http1::response::{Announced, Said, put_response};
use crate::phase::answer::{self, Audience};
use crate::phase::{self, refused::Refused};
use crate::serve::Client;
use crate::shared::Shared;
use crate::wire::{Rewound, SharedWire, Wire, lock};
use bytes::{Bytes, BytesMut};
use http::{Method, Response, StatusCode, Version};
use http_body::Frame;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How long, and for how many bytes, a connection that is about to end is read on, so that its client gets to see the
/// answer before the reset.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 * 1024;

/// The body of a request, read by whoever it is handed to.
pub(crate) struct Upload {
    wire: SharedWire,
    framing: Framing,
    stall: Duration,
}

/// Where in its body a request is.
#[derive(Debug)]
pub(crate) struct Receiving {
    decoder: Decoder,
    /// The client waits for a word before it sends it.
    waits_for_word: bool,
}

impl Receiving {
    pub(crate) fn nothing() -> Self {
        Self { decoder: Decoder::new(Framing::Empty), waits_for_word: false }
    }

    fn is_over(&self) -> bool {
        self.decoder.is_over()
    }
}

impl Upload {
    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        let mut wire = lock(&self.wire);
        let wire = &mut *wire;
        loop {
            match wire.receiving.decoder.take(&mut wire.input) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::More) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
            if std::mem::take(&mut wire.receiving.waits_for_word) {
                wire.out.small.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            if let Poll::Ready(Err(error)) = wire.poll_write(cx) {
                return Poll::Ready(Some(Err(error.into())));
            }
            let outcome: Result<(), BodyError> = match wire.poll_fill(cx) {
                Poll::Ready(Ok(0)) => wire.receiving.decoder.ends().map_err(Into::into),
                Poll::Ready(Ok(_)) => {
                    wire.give(self.stall);
                    Ok(())
                }
                Poll::Ready(Err(error)) => Err(error.into()),
                Poll::Pending => {
                    ready!(wire.poll_overdue(cx));
                    Err("nothing of it came for too long".into())
                }
            };
            if let Err(error) = outcome {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

/// Why a connection ends.
enum End {
    /// The client is gone, or too slow to be served.
    Gone,
    /// Nothing was under way.
    Rest,
    /// It was told so, or must not go on; the client may still be sending.
    Told,
    /// It speaks something else now.
    Tunnel(Box<crate::realtime::Joined>),
}

/// Serves a connection to its end.
pub(crate) async fn serve(shared: &Arc<Shared>, client: &Arc<Client>, wire: Wire) -> Option<Tunnelled> {
    let mut connection = Connection { shared, client, wire: Arc::new(Mutex::new(wire)) };
    let end = loop {
        if let Err(end) = connection.turn().await {
            break end;
        }
    };
    match end {
        End::Gone | End::Rest => None,
        End::Told => {
            connection.linger().await;
            None
        }
        End::Tunnel(joined) => {
            let wire = Arc::into_inner(connection.wire)?.into_inner().ok()?;
            let (client, told) = wire.into_parts();
            Some(Tunnelled { joined, client, told })
        }
    }
}

/// A connection that became a WebSocket.
pub(crate) struct Tunnelled {
    pub(crate) joined: Box<crate::realtime::Joined>,
    pub(crate) client: Rewound,
    /// What the client is still to be told first.
    pub(crate) told: BytesMut,
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    client: &'a Arc<Client>,
    wire: SharedWire,
}

/// What is remembered of a request while it is answered.
struct Asked {
    is_head: bool,
    version: Version,
    keep_alive: bool,
    takes_trailers: bool,
}

impl Connection<'_> {
    /// One request and its answer.
    async fn turn(&mut self) -> Result<(), End> {
        let limits = &self.shared.config.limits;
        lock(&self.wire).give(limits.header_time);
        let head = match self.head().await? {
            Ok(head) => head,
            Err(error) => return Err(self.refuse(error).await),
        };
        let asked = Asked {
            is_head: *head.request.method() == Method::HEAD,
            version: head.request.version(),
            keep_alive: head.keep_alive,
            takes_trailers: head.takes_trailers,
        };
        let body = match head.framing {
            Framing::Empty => ClientBody::Empty,
            framing => {
                let mut wire = lock(&self.wire);
                wire.receiving = Receiving { decoder: Decoder::new(framing), waits_for_word: head.expects_continue };
                wire.give(limits.stall);
                ClientBody::Http1(Upload { wire: Arc::clone(&self.wire), framing, stall: limits.stall })
            }
        };
        let request = head.request.map(|()| body);
        let hints = (asked.version == Version::HTTP_11).then(|| Hints::Http1(Arc::clone(&self.wire)));
        let mut handling = pin!(phase::handle(self.shared, self.client, hints, request));
        let wire = &self.wire;
        let answer = poll_fn(|cx| match handling.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Ok(answer)),
            Poll::Pending => lock(wire).poll_gone(cx).map(|()| Err(End::Gone)),
        });
        let answer = answer.await?;
        self.answer(&asked, answer).await
    }

    /// The next request's head.
    async fn head(&self) -> Result<Result<RequestHead, HeadError>, End> {
        let limits = &self.shared.config.limits;
        let mut end = HeadEnd::default();
        let mut stop = None;
        poll_fn(|cx| {
            let mut wire = lock(&self.wire);
            loop {
                match end.find(&mut wire.input, limits.header_bytes) {
                    Ok(Some(length)) => {
                        return Poll::Ready(Ok(take_request(&mut wire.input, length, limits.headers)));
                    }
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Ok(Err(error))),
                }
                match wire.poll_fill(cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(End::Gone)),
                    Poll::Ready(Ok(_)) => continue,
                    Poll::Pending => {}
                }
                if wire.poll_overdue(cx).is_ready() {
                    return Poll::Ready(Err(if wire.input.is_empty() { End::Rest } else { End::Told }));
                }
                let stop = stop.get_or_insert_with(|| Box::pin(self.client.stop.cancelled()));
                return match stop.as_mut().poll(cx) {
                    Poll::Ready(()) if wire.input.is_empty() => Poll::Ready(Err(End::Rest)),
                    _ => Poll::Pending,
                };
            }
        })
        .await
    }

    /// Says why a head can't be read; what follows it can't be read either.
    async fn refuse(&self, error: HeadError) -> End {
        self.shared.stats.requests.add();
        let refused = match error {
            HeadError::TooLarge => Refused::HeadTooLarge,
            HeadError::Malformed(why) => Refused::BadRequest(why),
            HeadError::Version => Refused::Version,
        };
        self.shared.stats.count(refused.outcome());
        let asked = Asked { is_head: false, version: Version::HTTP_11, keep_alive: false, takes_trailers: false };
        match self.answer(&asked, answer::refuse(Audience::Program, &refused)).await {
            Err(end) => end,
            Ok(()) => End::Told,
        }
    }

    async fn answer(&self, asked: &Asked, answer: Response<AnswerBody>) -> Result<(), End> {
        let (head, mut body) = answer.into_parts();
        let hsts = self.shared.hsts();
        if let AnswerBody::Tunnel(joined) = body {
            let (said, upgrade) = (Said::Theirs(&joined.fields), Some("Upgrade\r\nupgrade: websocket"));
            put_response(&mut lock(&self.wire).out.small, said, head.status, Announced::None, upgrade, hsts);
            return Err(End::Tunnel(joined));
        }
        let entry = head.extensions.get::<Arc<Mutex<Entry>>>().cloned();
        let announced = announced(asked, head.status, body.framing());
        // What is left of a request that nobody reads any more ends the connection.
        let is_readable = body.reads_request() || lock(&self.wire).receiving.is_over();
        let may_go_on = is_readable && !self.shared.stopping.load(Ordering::Acquire);
        let keeps = asked.keep_alive && announced != Announced::UntilEnd && may_go_on;
        let connection = match (keeps, asked.version) {
            (true, Version::HTTP_10) => Some("keep-alive"),
            (true, _) => None,
            (false, _) => Some("close"),
        };
        {
            let mut wire = lock(&self.wire);
            let said = body.said(&head.headers);
            put_response(&mut wire.out.small, said, head.status, announced, connection, hsts);
            wire.give(self.shared.config.limits.stall);
        }
        let mut is_over = announced == Announced::None;
        if is_over {
            drop(std::mem::replace(&mut body, AnswerBody::own("")));
        }
        poll_fn(|cx| self.poll_answer(cx, asked, announced, &mut body, &mut is_over, entry.as_ref())).await?;
        note(entry.as_ref(), Entry::is_whole);
        if keeps && lock(&self.wire).receiving.is_over() { Ok(()) } else { Err(End::Told) }
    }

    /// Moves an answer's body on; ready when all of it is written.
    fn poll_answer(
        &self,
        cx: &mut Context<'_>,
        asked: &Asked,
        announced: Announced,
        body: &mut AnswerBody,
        is_over: &mut bool,
        entry: Option<&Arc<Mutex<Entry>>>,
    ) -> Poll<Result<(), End>> {
        loop {
            while !*is_over && lock(&self.wire).out.has_room() {
                // Not under the lock: a body that is still being sent reads the same wire.
                let Poll::Ready(frame) = body.poll_frame(cx) else { break };
                if let (Some(_), Some(Ok(frame))) = (entry, &frame) {
                    note(entry, |entry| entry.add(frame.data_ref().map_or(0, Bytes::len)));
                }
                let mut wire = lock(&self.wire);
                let out = &mut wire.out;
                match frame.map(|frame| frame.map(Frame::into_data)) {
                    Some(Ok(Ok(data))) if announced == Announced::Chunked => put_chunk(&mut out.small, &data),
                    Some(Ok(Ok(data))) => out.put(data),
                    Some(Ok(Err(frame))) => {
                        let trailers = frame.trailers_ref().filter(|_| asked.takes_trailers);
                        if announced == Announced::Chunked {
                            put_last_chunk(&mut out.small, trailers);
                        }
                        *is_over = true;
                    }
                    None => {
                        if announced == Announced::Chunked {
                            put_last_chunk(&mut out.small, None);
                        }
                        *is_over = true;
                    }
                    // Cut short: the client must not take it for whole.
                    Some(Err(error)) => {
                        tracing::debug!(%error, "serve: an answer broke off");
                        let _ = wire.poll_write(cx);
                        if announced == Announced::UntilEnd {
                            wire.stream.resets();
                        }
                        return Poll::Ready(Err(End::Gone));
                    }
                }
            }
            let mut wire = lock(&self.wire);
            if wire.out.is_empty() {
                if *is_over {
                    return Poll::Ready(Ok(()));
                }
                return wire.poll_gone(cx).map(|()| Err(End::Gone));
            }
            match wire.poll_write(cx) {
                Poll::Ready(Ok(())) => wire.give(self.shared.config.limits.stall),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(End::Gone)),
                Poll::Pending => return wire.poll_overdue(cx).map(|()| Err(End::Gone)),
            }
        }
    }

    /// Reads on for a moment, after saying that nothing more comes.
    async fn linger(&self) {
        lock(&self.wire).give(LINGER);
        let mut left = LINGER_BYTES;
        poll_fn(|cx| {
            let mut wire = lock(&self.wire);
            match wire.poll_shutdown(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return wire.poll_overdue(cx),
            }
            loop {
                wire.input.clear();
                match wire.poll_fill(cx) {
                    Poll::Ready(Ok(read)) if read > 0 && left > read => left -= read,
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return wire.poll_overdue(cx),
                }
            }
        })
        .await;
    }
}

fn note(entry: Option<&Arc<Mutex<Entry>>>, what: impl FnOnce(&mut Entry)) {
    if let Some(entry) = entry {
        what(&mut entry.lock().expect("no panic while held"));
    }
}

/// How an answer's end is told to who asked so.
fn announced(asked: &Asked, status: StatusCode, framing: Framing) -> Announced {
    if asked.is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Announced::None;
    }
    match framing {
        Framing::Empty => Announced::Length(0),
        Framing::Length(length) => Announced::Length(length),
        Framing::Chunked | Framing::UntilEnd if asked.version == Version::HTTP_11 => Announced::Chunked,
        Framing::Chunked | Framing::UntilEnd => Announced::UntilEnd,
    }
}
