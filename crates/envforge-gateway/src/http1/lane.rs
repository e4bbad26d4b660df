//! A connection to a service.
//!
//! A [`Lane`] is driven by whoever uses it: request, response head and response body are all moved by the task of the
//! client's own connection, so a request crosses no task and wakes no other thread. At rest nobody drives it; whether it
//! is still good is asked when it is taken (a service that closed its end, or said something unasked, is seen then).

use crate::body::{BodyError, ClientBody};
use crate::carrier::Broken;
use crate::deadline::Deadline;
use crate::http1::body::{Decoder, Framing, Piece, put_chunk, put_last_chunk};
use crate::http1::head::{HeadEnd, put_request};
use crate::http1::response::{ResponseHead, take_response};
use crate::phase::headers::ForService;
use crate::phase::rewrite::ForClient;
use crate::wire::{Outbox, Rewound, Stream};
use bytes::BytesMut;
use http::Method;
use http_body::Frame;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

/// Room for what is read at once.
const READ: usize = 16 * 1024;
/// Largest head of a response.
const HEAD_MAX: usize = 256 * 1024;

/// One HTTP/1.1 connection to a service.
pub(crate) struct Lane {
    stream: TcpStream,
    input: BytesMut,
    out: Outbox,
    end: HeadEnd,
    /// The service took no more of a request.
    is_broken: bool,
    /// The client's body, and whether it goes in chunks.
    upload: Option<(ClientBody, bool)>,
    /// Until when the answer begins.
    deadline: Deadline,
    patience: Duration,
    rests_since: Instant,
}

impl Lane {
    /// A connection to a service that may take so long to answer.
    pub(crate) fn new(stream: TcpStream, patience: Duration) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            out: Outbox::default(),
            end: HeadEnd::default(),
            is_broken: false,
            upload: None,
            deadline: Deadline::new(patience),
            patience,
            rests_since: Instant::now(),
        }
    }

    /// Whether it can carry a request: idle, and nothing came in that nobody asked for, its end included. This costs
    /// a system call only when something did.
    pub(crate) fn is_open(&mut self) -> bool {
        !self.is_broken
            && self.input.is_empty()
            && self.out.is_empty()
            && self.upload.is_none()
            && self.stream.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Puts a request on its way.
    pub(crate) fn begin(&mut self, request: &ForService<'_>, framing: Framing, body: Option<ClientBody>) {
        self.deadline.give(self.patience);
        put_request(&mut self.out.small, request, framing);
        self.upload = body.map(|body| (body, framing == Framing::Chunked));
    }

    /// Moves the request on, and reads the head of the answer.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        to: &Method,
        rules: ForClient<'_>,
    ) -> Poll<Result<ResponseHead, Broken>> {
        // A service may answer and hang up before it read everything: what it said counts.
        let sent = match self.poll_upload(cx) {
            Poll::Ready(Err(Broken::Body(error))) => return Poll::Ready(Err(Broken::Body(error))),
            Poll::Ready(Err(error)) => Some(error),
            Poll::Ready(Ok(())) | Poll::Pending => None,
        };
        loop {
            if let Some(length) = self.end.find(&mut self.input, HEAD_MAX)? {
                return Poll::Ready(Ok(take_response(&mut self.input, length, to, rules)?));
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(sent.unwrap_or(Broken::HungUp))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {
                    return match sent {
                        Some(error) => Poll::Ready(Err(error)),
                        None => self.deadline.poll_overdue(cx).map(|()| Err(Broken::Overdue)),
                    };
                }
            }
        }
    }

    /// Moves what is left of the request on; ready when nothing is.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            while let Some((body, is_chunked)) = &mut self.upload
                && self.out.has_room()
            {
                let Poll::Ready(frame) = body.poll_frame(cx) else { break };
                let is_chunked = *is_chunked;
                // As long as a request is on its way, its answer can't be late.
                self.deadline.give(self.patience);
                match frame.transpose().map_err(Broken::Body)?.map(Frame::into_data) {
                    Some(Ok(data)) if is_chunked => put_chunk(&mut self.out.small, &data),
                    Some(Ok(data)) => self.out.put(data),
                    Some(Err(frame)) => {
                        if is_chunked {
                            put_last_chunk(&mut self.out.small, frame.trailers_ref());
                        }
                        self.upload = None;
                    }
                    None => {
                        if is_chunked {
                            put_last_chunk(&mut self.out.small, None);
                        }
                        self.upload = None;
                    }
                }
            }
            if self.out.is_empty() {
                return if self.upload.is_some() { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
            ready!(self.out.poll_write(cx, &mut self.stream))?;
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(READ);
        poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input)
    }

    /// Reads the next piece of the answer's body, and moves on what is left of the request.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>, decoder: &mut Decoder) -> Poll<Result<Piece, BodyError>> {
        if (self.upload.is_some() || !self.out.is_empty())
            && let Poll::Ready(Err(error)) = self.poll_upload(cx)
        {
            if let Broken::Body(error) = error {
                // Its end would never be told: the answer can't go on as if it had been.
                return Poll::Ready(Err(error));
            }
            // The service wants no more of it.
            tracing::debug!(%error, "lane: the rest of a request was not taken");
            self.upload = None;
            self.out = Outbox::default();
            self.is_broken = true;
        }
        loop {
            match decoder.take(&mut self.input)? {
                Piece::More => {}
                piece => return Poll::Ready(Ok(piece)),
            }
            if ready!(self.poll_fill(cx))? == 0 {
                decoder.ends()?;
            }
        }
    }

    /// Its stream, once it speaks something else.
    pub(crate) fn into_stream(self) -> Rewound {
        Rewound { begin: self.input.freeze(), stream: Stream::Tcp(self.stream) }
    }

    /// It rests from now on.
    pub(crate) fn rests(&mut self) {
        self.rests_since = Instant::now();
    }

    /// For how long it has rested.
    pub(crate) fn rested(&self) -> Duration {
        self.rests_since.elapsed()
    }
}
