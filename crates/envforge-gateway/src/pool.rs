//! Connections to services.
//!
//! A [`Lane`] is one HTTP/1.1 connection, driven by whoever uses it: the request, the response head and the response
//! body are all moved by the task of the client's own connection, so a request crosses no task and wakes no other
//! thread. At rest nobody drives a lane; whether it is still good is asked when it is taken (a service that closed its
//! end is seen then), and once more by [`Lane::send`], which gives a request back that was never written.
//!
//! Lanes rest in an [`Upstream`] per workspace and service, last in, first out, and go when they rested too long.

use crate::body::RequestBody;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Read and write buffer towards a service grow to this at most.
const BUFFER_MAX: usize = 128 * 1024;

/// Makes a stream of the descriptor a host handed over.
pub(crate) fn stream_of(fd: OwnedFd) -> std::io::Result<TcpStream> {
    let stream = std::net::TcpStream::from(fd);
    stream.set_nonblocking(true)?;
    let stream = TcpStream::from_std(stream)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn client() -> Builder {
    let mut builder = Builder::new();
    builder.max_buf_size(BUFFER_MAX);
    builder
}

/// A connection that lives on in its own task, for requests that want to become a WebSocket.
pub(crate) async fn open_upgradable(
    stream: TcpStream,
    tasks: &tokio_util::task::TaskTracker,
) -> hyper::Result<SendRequest<RequestBody>> {
    let (sender, connection) = client().handshake(TokioIo::new(stream)).await?;
    tasks.spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "forward: a service's connection ended");
        }
    });
    Ok(sender)
}

/// One HTTP/1.1 connection to a service.
pub(crate) struct Lane {
    sender: SendRequest<RequestBody>,
    connection: Pin<Box<Connection<TokioIo<TcpStream>, RequestBody>>>,
    finished: bool,
    rests_since: Instant,
}

impl Lane {
    /// Speaks HTTP/1.1 on `stream`.
    pub(crate) async fn open(stream: TcpStream) -> hyper::Result<Self> {
        let (sender, connection) = client().handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, connection: Box::pin(connection), finished: false, rests_since: Instant::now() })
    }

    /// Moves bytes, both ways, as far as they go now.
    pub(crate) fn drive(&mut self, context: &mut Context<'_>) {
        if !self.finished && self.connection.as_mut().poll(context).is_ready() {
            self.finished = true;
        }
    }

    /// Whether it can carry another request.
    fn is_open(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.finished && self.sender.is_ready()
    }

    /// Sends a request and returns the response's head; the error carries the request if it was never written.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Box<TrySendError<Request<RequestBody>>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let (connection, finished) = (&mut self.connection, &mut self.finished);
        poll_fn(|context| {
            if !*finished && connection.as_mut().poll(context).is_ready() {
                *finished = true;
            }
            answer.as_mut().poll(context)
        })
        .await
        .map_err(Box::new)
    }
}

/// The resting connections to one service of one workspace.
#[derive(Default)]
pub(crate) struct Upstream(Mutex<Vec<Lane>>);

impl Upstream {
    /// A resting connection that is still good.
    pub(crate) fn take(&self) -> Option<Lane> {
        loop {
            let mut lane = self.0.lock().expect("no panic while held").pop()?;
            if lane.is_open() {
                return Some(lane);
            }
        }
    }

    /// Puts a connection to rest if it can carry another request and there is room for it.
    pub(crate) fn rest(&self, mut lane: Lane, room: usize) {
        if !lane.is_open() {
            return;
        }
        lane.rests_since = Instant::now();
        let mut resting = self.0.lock().expect("no panic while held");
        if resting.len() < room {
            resting.push(lane);
        }
    }

    /// Closes what rested too long.
    pub(crate) fn sweep(&self, rest: Duration) {
        let gone: Vec<Lane> = {
            let mut resting = self.0.lock().expect("no panic while held");
            let old = resting.partition_point(|lane| lane.rests_since.elapsed() >= rest);
            resting.drain(..old).collect()
        };
        drop(gone);
    }
}
