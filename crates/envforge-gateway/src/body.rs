//! Bodies on their way through: streamed, never gathered.
//!
//! [`UpstreamBody`] is where a response lives after its head was passed on. It drives what it reads from, with
//! what is left of the request, counts realtime bytes, and holds the things that must end with it: the visit, and the
//! connection, which goes back to rest if the response was read to its end. It breaks off when its session ends; a
//! browser then sees a truncated response, never a complete one.

use crate::activity::Visit;
use crate::alarm::Alarm;
use crate::carrier::Carrier;
use crate::http1::body::{Decoder, Framing, Piece};
use crate::http1::response::{Fields, Said};
use crate::http1::server::Upload;
use crate::local::Held;
use crate::realtime::Joined;
use crate::routes::LabelRoute;
use crate::sessions::Admitted;
use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
use http_body::Frame;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What goes wrong in a body.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// What a poll of a body says.
pub(crate) type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

/// The body of a client's request.
pub(crate) enum ClientBody {
    /// None.
    Empty,
    /// As it comes over HTTP/1.1.
    Http1(Upload),
    /// As it comes over HTTP/2.
    Http2(crate::http2::Upload),
}

impl ClientBody {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// How its end is known to whoever it is passed on to.
    pub(crate) fn framing(&self) -> Framing {
        match self {
            Self::Empty => Framing::Empty,
            Self::Http1(upload) => upload.framing(),
            Self::Http2(upload) => upload.framing(),
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Http1(upload) => upload.poll_frame(cx),
            Self::Http2(upload) => upload.poll_frame(cx),
        }
    }

    /// Reads it to its end if it has at most so many bytes, and tells whether it had.
    pub(crate) async fn skip(mut self, max: usize) -> bool {
        let mut length = 0;
        loop {
            match poll_fn(|cx| self.poll_frame(cx)).await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => length += frame.data_ref().map_or(0, Bytes::len),
            }
            if length > max {
                return false;
            }
        }
    }
}

/// The body of an answer to a client.
pub(crate) enum AnswerBody {
    /// Our own words.
    Own(Bytes),
    /// A service's.
    Upstream(Box<UpstreamBody>),
    /// Our own events, as they happen.
    Events(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
    /// From here on both sides speak WebSocket.
    Tunnel(Box<Joined>),
}

impl AnswerBody {
    /// Our own words.
    pub(crate) fn own(text: impl Into<Bytes>) -> Self {
        Self::Own(text.into())
    }

    /// How its end is known.
    pub(crate) fn framing(&self) -> Framing {
        match self {
            Self::Own(text) if text.is_empty() => Framing::Empty,
            Self::Own(text) => Framing::Length(text.len() as u64),
            Self::Upstream(body) => body.framing,
            Self::Events(_) => Framing::UntilEnd,
            Self::Tunnel(_) => Framing::Empty,
        }
    }

    /// The headers of its answer; `ours` are those that stand if it is ours.
    pub(crate) fn said<'a>(&'a self, ours: &'a HeaderMap) -> Said<'a> {
        match self {
            Self::Own(_) | Self::Events(_) => Said::Ours(ours),
            Self::Upstream(body) => Said::Theirs(&body.fields),
            Self::Tunnel(joined) => Said::Theirs(&joined.fields),
        }
    }

    /// Whether whoever answers may still read the request's body.
    pub(crate) fn reads_request(&self) -> bool {
        matches!(self, Self::Upstream(body) if body.carrier.is_some())
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        match self {
            Self::Own(text) if text.is_empty() => Poll::Ready(None),
            Self::Own(text) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
            Self::Upstream(body) => body.poll(cx),
            Self::Events(events) => events.as_mut().poll_next(cx).map(|event| Some(Ok(Frame::data(event?)))),
            Self::Tunnel(_) => Poll::Ready(None),
        }
    }
}

/// A service's response body.
pub(crate) struct UpstreamBody {
    fields: Fields,
    framing: Framing,
    decoder: Decoder,
    /// What it comes from, until it is over.
    carrier: Option<Carrier>,
    /// Where a connection rests afterwards.
    rest: Option<Rest>,
    visit: Visit,
    admitted: Held<Admitted>,
    alarm: Arc<Alarm>,
}

/// Where a connection rests, and beside how many others.
pub(crate) struct Rest {
    pub(crate) route: Held<LabelRoute>,
    pub(crate) rule: usize,
    pub(crate) worker: usize,
    pub(crate) room: usize,
}

impl UpstreamBody {
    pub(crate) fn new(
        fields: Fields,
        framing: Framing,
        carrier: Carrier,
        rest: Option<Rest>,
        visit: Visit,
        admitted: Held<Admitted>,
        alarm: Arc<Alarm>,
    ) -> Self {
        let decoder = Decoder::new(framing);
        let mut body = Self { fields, framing, decoder, carrier: Some(carrier), rest, visit, admitted, alarm };
        if body.decoder.is_over() {
            body.end();
        }
        body
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.admitted.has_ended() {
            return Poll::Ready(Some(Err("the session ended".into())));
        }
        let Some(carrier) = &mut self.carrier else { return Poll::Ready(None) };
        match carrier.poll_piece(cx, &mut self.decoder) {
            Poll::Ready(Ok(Piece::Data(data))) => {
                self.visit.moved(data.len());
                if carrier.is_over(&self.decoder) {
                    self.end();
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Poll::Ready(Ok(Piece::Trailers(trailers))) => {
                self.end();
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Poll::Ready(Ok(Piece::End | Piece::More)) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            Poll::Pending => {
                self.alarm.set(cx);
                if self.admitted.has_ended() {
                    return Poll::Ready(Some(Err("the session ended".into())));
                }
                Poll::Pending
            }
        }
    }

    /// Its connection may carry another request, if all of this one was taken.
    fn end(&mut self) {
        if let (Some(Carrier::Lane(lane)), Some(rest)) = (self.carrier.take(), self.rest.take()) {
            rest.route.rule_at(rest.rule).upstream.rest(rest.worker, lane, rest.room);
        }
    }
}
