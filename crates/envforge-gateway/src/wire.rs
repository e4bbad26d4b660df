//! A connection's bytes: what was read and not yet understood, what is still to be written, and its deadline.
//!
//! A [`Wire`] is shared by the task that serves a connection and the request body that task handed on, which read it in
//! turn.

use crate::deadline::Deadline;
use crate::http1::server::Receiving;
use bytes::{Buf as _, Bytes, BytesMut};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::io::poll_read_buf;

/// Room for what is read at once.
const READ: usize = 8 * 1024;
/// Largest piece that is copied behind what waits to be written; a larger one is written from where it is.
const COPIED: usize = 4 * 1024;
/// How much is read ahead of a client that sends more than was asked for yet.
const AHEAD: usize = 64 * 1024;

/// Where bytes come from and go to.
pub(crate) enum Stream {
    /// Plain.
    Tcp(TcpStream),
    /// Inside TLS.
    Tls(Box<TlsStream<TcpStream>>),
    /// One stream of an HTTP/2 connection.
    H2(Box<crate::http2::Tunnel>),
}

impl Stream {
    /// Its end will be a reset: an end in order would say that all was said.
    pub(crate) fn resets(&self) {
        let told = match self {
            Self::Tcp(stream) => stream.set_zero_linger(),
            Self::Tls(stream) => stream.get_ref().0.set_zero_linger(),
            Self::H2(_) => Ok(()),
        };
        drop(told);
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, into),
            Self::H2(stream) => Pin::new(&mut **stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
            Self::H2(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
            Self::H2(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
            Self::H2(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            Self::H2(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

/// Bytes on their way out: small ones gathered, a large one as it is.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) small: BytesMut,
    large: Bytes,
    needs_flush: bool,
}

impl Outbox {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty() && !self.needs_flush
    }

    /// Whether another piece may be put in before this was written.
    pub(crate) fn has_room(&self) -> bool {
        self.large.is_empty() && self.small.len() < READ
    }

    /// Puts bytes behind what waits; only while there is room.
    pub(crate) fn put(&mut self, bytes: Bytes) {
        if bytes.len() <= COPIED || !self.large.is_empty() {
            self.small.extend_from_slice(&bytes);
        } else {
            self.large = bytes;
        }
    }

    /// Writes what waits.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        while !(self.small.is_empty() && self.large.is_empty()) {
            let written = if self.large.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, &self.small))?
            } else if self.small.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, &self.large))?
            } else {
                let slices = [IoSlice::new(&self.small), IoSlice::new(&self.large)];
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.needs_flush = true;
            let of_small = written.min(self.small.len());
            self.small.advance(of_small);
            self.large.advance(written - of_small);
        }
        if self.needs_flush {
            ready!(Pin::new(&mut *stream).poll_flush(cx))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// A client's connection.
pub(crate) struct Wire {
    pub(crate) stream: Stream,
    pub(crate) input: BytesMut,
    pub(crate) out: Outbox,
    /// The body of the request under way.
    pub(crate) receiving: Receiving,
    deadline: Deadline,
}

/// A wire as its users hold it.
pub(crate) type SharedWire = Arc<Mutex<Wire>>;

/// Nobody panics while a wire is held.
pub(crate) fn lock(wire: &Mutex<Wire>) -> MutexGuard<'_, Wire> {
    wire.lock().expect("no panic while held")
}

impl Wire {
    pub(crate) fn new(stream: Stream, time: Duration) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            out: Outbox::default(),
            receiving: Receiving::nothing(),
            deadline: Deadline::new(time),
        }
    }

    /// From now on so much time.
    pub(crate) fn give(&mut self, time: Duration) {
        self.deadline.give(time);
    }

    /// Ready once the time is over.
    pub(crate) fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !ready!(self.deadline.poll_fired(cx)) {
            if self.input.is_empty() && self.out.is_empty() {
                // It rests: its buffers are given back.
                self.input = BytesMut::new();
                self.out = Outbox::default();
            }
        }
        Poll::Ready(())
    }

    /// Reads more; zero at the end.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(READ);
        poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input)
    }

    /// Writes what waits.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.out.poll_write(cx, &mut self.stream)
    }

    /// Says that nothing more comes.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Ready once the client is gone; meanwhile what it sends early is taken in, up to a limit.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.input.len() < AHEAD {
            match ready!(self.poll_fill(cx)) {
                Ok(read) if read > 0 => {}
                _ => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Takes it apart: the stream from the first byte not yet understood, and what it is still to be told.
    pub(crate) fn into_parts(self) -> (Rewound, BytesMut) {
        (Rewound { begin: self.input.freeze(), stream: self.stream }, self.out.small)
    }
}

/// A stream of which some was read already.
pub(crate) struct Rewound {
    pub(crate) begin: Bytes,
    pub(crate) stream: Stream,
}

impl AsyncRead for Rewound {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.begin.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let length = self.begin.len().min(into.remaining());
        into.put_slice(&self.begin.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
