//! Bodies on their way through: streamed, never gathered.
//!
//! [`UpstreamBody`] is where a response lives after its head was passed on. It drives the connection it reads from,
//! counts realtime bytes, and holds the things that must end with it: the visit, and the connection, which goes
//! back to rest if the response was read to its end. It breaks off when its session ends; a browser then sees a
//! truncated response, never a complete one.

use crate::activity::Visit;
use crate::pool::{Lane, Upstream};
use crate::sessions::Admitted;
use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio_util::sync::WaitForCancellationFutureOwned;

/// What goes wrong in a body.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer to a client.
pub(crate) enum AnswerBody {
    /// Our own words.
    Own(Full<Bytes>),
    /// A service's.
    Upstream(Box<UpstreamBody>),
    /// Our own events, as they happen.
    Events(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
}

impl AnswerBody {
    /// Our own words.
    pub(crate) fn own(text: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(text.into()))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Upstream(body) => body.poll(context),
            Self::Events(events) => events.as_mut().poll_next(context).map(|event| Some(Ok(Frame::data(event?)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Upstream(body) => body.incoming.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Upstream(body) => body.incoming.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// A service's response body.
pub(crate) struct UpstreamBody {
    incoming: Incoming,
    /// The connection it comes from, and where that rests; `None` when a task of its own drives it.
    lane: Option<(Lane, Arc<Upstream>, usize)>,
    visit: Visit,
    admitted: Arc<Admitted>,
    /// Made at the first wait: most bodies are there at once.
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    at_end: bool,
}

impl UpstreamBody {
    pub(crate) fn new(
        incoming: Incoming,
        lane: Option<(Lane, Arc<Upstream>, usize)>,
        visit: Visit,
        admitted: Arc<Admitted>,
    ) -> Self {
        Self { incoming, lane, visit, admitted, cut: None, at_end: false }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.admitted.ends().is_cancelled() {
            return Poll::Ready(Some(Err("the session ended".into())));
        }
        let mut polled = Pin::new(&mut self.incoming).poll_frame(context);
        if polled.is_pending()
            && let Some((lane, _, _)) = &mut self.lane
        {
            lane.drive(context);
            polled = Pin::new(&mut self.incoming).poll_frame(context);
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.visit.moved(frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                self.at_end = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                let ends = self.admitted.ends();
                let cut = self.cut.get_or_insert_with(|| Box::pin(ends.clone().cancelled_owned()));
                match cut.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(Some(Err("the session ended".into()))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        if !self.at_end && !self.incoming.is_end_stream() {
            return;
        }
        if let Some((lane, upstream, room)) = self.lane.take() {
            upstream.rest(lane, room);
        }
    }
}

/// The body of a request to a service.
pub(crate) enum RequestBody {
    /// None.
    Empty,
    /// As it comes from the client.
    Stream(Incoming),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Stream(incoming) => Pin::new(incoming).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(incoming) => incoming.size_hint(),
        }
    }
}
