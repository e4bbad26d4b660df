//! Connections: accepted, served over HTTP/1.1, and let go at the end.
//!
//! Every connection is a task of the tracker, so the end can be waited for. When told to stop, the gateway accepts
//! nothing more, lets each connection finish the request it is in, and after a limit hangs up.

use crate::config::Limits;
use crate::phase;
use crate::shared::Shared;
use http::{HeaderValue, Request};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Pause after a failed accept: most often there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The other end of a connection.
pub(crate) struct Peer {
    /// Its address, as services are told it.
    pub(crate) address: HeaderValue,
}

impl Peer {
    fn new(address: SocketAddr) -> Self {
        let text = address.ip().to_canonical().to_string();
        let address = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self { address }
    }
}

/// Accepts until told to stop.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let limits = &shared.config.limits;
    let room = Arc::new(Semaphore::new(limits.connections));
    let http = builder(limits);
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener, &room) => accepted,
            () = shared.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, address, permit)) => {
                let connection = serve(Arc::clone(&shared), http.clone(), stream, address, permit);
                shared.tasks.spawn(connection);
            }
            Err(error) => {
                tracing::warn!(%error, "serve: a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, permit))
}

fn builder(limits: &Limits) -> Builder {
    let mut http = Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes)
        .max_headers(limits.headers)
        .half_close(false);
    http
}

async fn serve(
    shared: Arc<Shared>,
    http: Builder,
    stream: TcpStream,
    address: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        return tracing::debug!(%error, "serve: a connection ended before it began");
    }
    shared.stats.connections.add();
    let peer = Peer::new(address);
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let (shared, peer) = (&shared, &peer);
        async move { Ok::<_, Infallible>(phase::handle(shared, peer, request).await) }
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let mut stop = pin!(shared.stop.cancelled());
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = &mut stop => {
            connection.as_mut().graceful_shutdown();
            let limit = shared.config.limits.drain;
            tokio::time::timeout(limit, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "serve: a connection ended early");
    }
    shared.stats.connections.sub();
    drop(permit);
}
