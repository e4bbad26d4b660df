//! A connection to a service.
//!
//! A [`Lane`] is driven by whoever uses it: request, response head and response body are all moved by the task of the
//! client's own connection, so a request crosses no task and wakes no other thread. At rest nobody drives it; whether it
//! is still good is asked when it is taken (a service that closed its end, or said something unasked, is seen then).

use crate::body::{BodyError, ClientBody};
use crate::http1::body::{Decoder, Framing, Piece, put_chunk, put_last_chunk};
use crate::http1::head::{HeadEnd, HeadError, put_request};
use crate::http1::response::{ResponseHead, take_response};
use crate::phase::headers::ForService;
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

/// Why a lane broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaneError {
    /// The connection did.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It ended before it answered.
    #[error("it hung up before it answered")]
    HungUp,
    /// The service's answer can't be read.
    #[error("its answer can't be read: {0}")]
    Head(#[from] HeadError),
    /// The client's body broke off.
    #[error("the client's body broke off: {0}")]
    Body(BodyError),
}

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
    rests_since: Instant,
}

impl Lane {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            out: Outbox::default(),
            end: HeadEnd::default(),
            is_broken: false,
            upload: None,
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
        put_request(&mut self.out.small, request, framing);
        self.upload = body.map(|body| (body, framing == Framing::Chunked));
    }

    /// Moves the request on, and reads the head of the answer.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>, to: &Method) -> Poll<Result<ResponseHead, LaneError>> {
        // A service may answer and hang up before it read everything: what it said counts.
        let sent = match self.poll_upload(cx) {
            Poll::Ready(Err(LaneError::Body(error))) => return Poll::Ready(Err(LaneError::Body(error))),
            Poll::Ready(Err(error)) => Some(error),
            Poll::Ready(Ok(())) | Poll::Pending => None,
        };
        loop {
            if let Some(length) = self.end.find(&mut self.input, HEAD_MAX)? {
                return Poll::Ready(Ok(take_response(&mut self.input, length, to)?));
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(sent.unwrap_or(LaneError::HungUp))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {
                    return match sent {
                        Some(error) => Poll::Ready(Err(error)),
                        None => Poll::Pending,
                    };
                }
            }
        }
    }

    /// Moves what is left of the request on; ready when nothing is.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LaneError>> {
        loop {
            while let Some((body, is_chunked)) = &mut self.upload
                && self.out.has_room()
            {
                let Poll::Ready(frame) = body.poll_frame(cx) else { break };
                let is_chunked = *is_chunked;
                match frame.transpose().map_err(LaneError::Body)?.map(Frame::into_data) {
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
