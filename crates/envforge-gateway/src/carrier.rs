//! What carries a request to a service and its answer back.
//!
//! Over HTTP/1.1 that is a connection, for as long as the answer takes; over HTTP/2 one stream of a connection that many
//! share. Either way it is moved by the task of the client's own connection, and only as fast as the client takes the answer.

use crate::body::BodyError;
use crate::h2c::Exchange;
use crate::http1::body::{Decoder, Piece};
use crate::http1::head::HeadError;
use crate::http1::lane::Lane;
use crate::http1::response::ResponseHead;
use crate::phase::rewrite::ForClient;
use crate::wire::Rewound;
use http::Method;
use std::io;
use std::task::{Context, Poll};

/// Why a service did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The stream, or the connection it is part of, did.
    #[error("{0}")]
    Http2(#[from] h2::Error),
    /// It ended before it answered.
    #[error("it hung up before it answered")]
    HungUp,
    /// It took too long.
    #[error("its answer did not begin in time")]
    Overdue,
    /// The service's answer can't be read.
    #[error("its answer can't be read: {0}")]
    Head(#[from] HeadError),
    /// The client's body broke off.
    #[error("the client's body broke off: {0}")]
    Body(BodyError),
}

/// What carries a request and its answer.
#[expect(clippy::large_enum_variant, reason = "most are lanes, and each request would pay for a box")]
pub(crate) enum Carrier {
    /// A connection.
    Lane(Lane),
    /// A stream of one.
    Exchange(Box<Exchange>),
}

impl Carrier {
    /// Moves the request on, and reads the next head of the answer, interim ones included.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        to: &Method,
        rules: ForClient<'_>,
    ) -> Poll<Result<ResponseHead, Broken>> {
        match self {
            Self::Lane(lane) => lane.poll_head(cx, to, rules),
            Self::Exchange(exchange) => exchange.poll_head(cx, to, rules),
        }
    }

    /// Reads the next piece of the answer's body, and moves on what is left of the request.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>, decoder: &mut Decoder) -> Poll<Result<Piece, BodyError>> {
        match self {
            Self::Lane(lane) => lane.poll_piece(cx, decoder),
            Self::Exchange(exchange) => exchange.poll_piece(cx),
        }
    }

    /// Whether all of the answer was read.
    pub(crate) fn is_over(&self, decoder: &Decoder) -> bool {
        match self {
            Self::Lane(_) => decoder.is_over(),
            Self::Exchange(exchange) => exchange.is_over(),
        }
    }

    /// Both directions as bytes, once they speak something else.
    pub(crate) fn into_stream(self) -> Option<Rewound> {
        match self {
            Self::Lane(lane) => Some(lane.into_stream()),
            Self::Exchange(exchange) => exchange.into_stream(),
        }
    }
}
