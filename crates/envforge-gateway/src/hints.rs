//! Early hints: a service's 103 responses, passed on before its answer (RFC 8297).

use crate::http1::response::{Announced, Fields, Said, put_response};
use crate::wire::{SharedWire, lock};
use bytes::Bytes;
use h2::server::SendResponse;
use http::{Response, StatusCode};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

/// Where the client of a request can be told hints.
#[derive(Clone)]
pub(crate) enum Hints {
    /// On an HTTP/1.1 connection.
    Http1(SharedWire),
    /// On a stream of HTTP/2.
    Http2(Arc<Mutex<SendResponse<Bytes>>>),
}

impl Hints {
    /// Tells them, as well as it goes.
    pub(crate) fn tell(&self, fields: &Fields) {
        match self {
            Self::Http1(wire) => {
                let mut wire = lock(wire);
                put_response(
                    &mut wire.out.small,
                    Said::Theirs(fields),
                    StatusCode::EARLY_HINTS,
                    Announced::None,
                    None,
                    None,
                );
                // What is not taken now goes with the answer.
                let _ = wire.poll_write(&mut Context::from_waker(Waker::noop()));
            }
            Self::Http2(respond) => {
                let mut response = Response::new(());
                *response.status_mut() = StatusCode::EARLY_HINTS;
                *response.headers_mut() = fields.to_map();
                if let Err(error) = respond.lock().expect("no panic while held").send_informational(response) {
                    tracing::debug!(%error, "hints: not told");
                }
            }
        }
    }
}
