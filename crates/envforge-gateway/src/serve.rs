//! Connections: accepted, given to a worker, served, and let go at the end.
//!
//! A worker is a thread with a loop of its own. A connection stays on the worker it was given to, with the connections to
//! services that its requests use, so a request wakes no other thread. Whoever has the fewest gets the next.
//!
//! Every connection is a task of the tracker, so the end can be waited for. When told to stop, the gateway accepts
//! nothing more, lets each connection finish the request it is in, and after a limit hangs up.

use crate::http1;
use crate::http1::server::Tunnelled;
use crate::http2;
use crate::local;
use crate::memo::Memo;
use crate::network::Network;
use crate::rates;
use crate::shared::Shared;
use crate::stats::Outcome;
use crate::wire::{Stream, Wire};
use http::HeaderMap;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Pause after a failed accept: most often there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection that has said nothing yet may take to do so once the gateway ends: what was sent when it was taken in
/// is about to arrive, and what a browser opened in advance is not waited for.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The other end of a connection.
pub(crate) struct Client {
    /// Its address, as services are told it.
    pub(crate) address: String,
    ip: IpAddr,
    /// It is a load balancer of ours.
    pub(crate) is_trusted: bool,
    /// The worker that serves it.
    pub(crate) worker: usize,
    pub(crate) memo: Memo,
    /// Told to stop; the worker's own, so that looking at it disturbs no other.
    pub(crate) stop: CancellationToken,
}

impl Client {
    fn new(address: SocketAddr, trusted: &[Network], worker: usize, stop: CancellationToken) -> Self {
        let ip = address.ip().to_canonical();
        let is_trusted = trusted.iter().any(|network| network.contains(ip));
        Self { address: ip.to_string(), ip, is_trusted, worker, memo: Memo::default(), stop }
    }

    /// Whom a request comes from: of what load balancers of ours say, the last that is none of them.
    pub(crate) fn address_of(&self, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
        if !self.is_trusted {
            return self.ip;
        }
        let told = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let told: Vec<&str> = told.flat_map(|value| value.split(',')).map(str::trim).collect();
        for address in told.into_iter().rev() {
            match address.parse::<IpAddr>() {
                Ok(address) if trusted.iter().any(|network| network.contains(address)) => {}
                Ok(address) => return address.to_canonical(),
                Err(_) => break,
            }
        }
        self.ip
    }
}

/// A connection on its way to a worker.
struct Accepted {
    stream: std::net::TcpStream,
    address: SocketAddr,
    permit: OwnedSemaphorePermit,
    /// None for a load balancer of ours.
    place: Option<Place>,
    open: Counted,
    /// It is waited for from now on, also before its worker has seen it.
    awaited: TaskTrackerToken,
}

/// One more of a worker's connections, until it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many connections each address has open.
#[derive(Default)]
struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of an address's connections, until it is dropped.
struct Place {
    crowd: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Crowd {
    /// Takes one more of an address in, if it has fewer than so many.
    fn admit(&self, address: IpAddr, most: usize) -> Option<Place> {
        let mut open = self.0.lock().expect("no panic while held");
        let count = open.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { crowd: Arc::clone(&self.0), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.crowd.lock().expect("no panic while held");
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// A worker, as whoever accepts sees it.
pub(crate) struct Worker {
    next: mpsc::UnboundedSender<Accepted>,
    open: Arc<AtomicUsize>,
}

/// Starts the workers; their threads end when `ended` is cancelled.
pub(crate) fn start(
    shared: &Arc<Shared>,
    ended: &CancellationToken,
) -> std::io::Result<(Vec<Worker>, Vec<thread::JoinHandle<()>>)> {
    let (mut workers, mut threads) = (Vec::new(), Vec::new());
    for number in 0..shared.workers {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (next, arriving) = mpsc::unbounded_channel();
        let (shared, ended) = (Arc::clone(shared), ended.clone());
        let work = move || runtime.block_on(work(shared, number, arriving, ended));
        threads.push(thread::Builder::new().name(format!("gateway-{number}")).spawn(work)?);
        workers.push(Worker { next, open: Arc::default() });
    }
    Ok((workers, threads))
}

async fn work(
    shared: Arc<Shared>,
    number: usize,
    mut arriving: mpsc::UnboundedReceiver<Accepted>,
    ended: CancellationToken,
) {
    local::set_worker(number);
    let stop = shared.stop.child_token();
    while let Some(accepted) = arriving.recv().await {
        let client = Client::new(accepted.address, &shared.config.trusted, number, stop.clone());
        shared.tasks.spawn(serve(Arc::clone(&shared), client, accepted));
    }
    ended.cancelled().await;
}

/// Accepts until told to stop.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener, workers: Vec<Worker>) {
    let room = Arc::new(Semaphore::new(shared.config.limits.connections));
    let crowd = Crowd::default();
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener, &room) => accepted,
            () = shared.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, address, permit)) => {
                let Some(worker) = workers.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed)) else {
                    return;
                };
                let ip = address.ip().to_canonical();
                let is_trusted = shared.config.trusted.iter().any(|network| network.contains(ip));
                let mut place = None;
                if !is_trusted {
                    place = crowd.admit(rates::household(ip), shared.config.limits.address_connections);
                    if place.is_none() {
                        shared.stats.count(Outcome::TooMany);
                        continue;
                    }
                }
                let open = Counted::new(&worker.open);
                let awaited = shared.tasks.token();
                if worker.next.send(Accepted { stream, address, permit, place, open, awaited }).is_err() {
                    tracing::error!("serve: a worker is gone");
                }
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
) -> std::io::Result<(std::net::TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream.into_std()?, address, permit))
}

async fn serve(shared: Arc<Shared>, client: Client, accepted: Accepted) {
    let Accepted { stream, permit, place, open, awaited: _awaited, .. } = accepted;
    let connected = Connected::new(&shared, permit, place, open);
    let opened = stream.set_nodelay(true).and_then(|()| TcpStream::from_std(stream));
    let stream = match opened {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, "serve: a connection ended before it began"),
    };
    let client = Arc::new(client);
    let Some(stream) = secured(&shared, stream).await else { return };
    let served = speak(&shared, &client, stream).await;
    if let Some(Tunnelled { joined, client, told }) = served {
        // A task of its own: what served the connection so far is large, and a WebSocket stays for long.
        shared.tasks.spawn(async move {
            joined.run(client, told).await;
            drop(connected);
        });
    }
}

/// The connection inside TLS, where that is ended here.
async fn secured(shared: &Shared, stream: TcpStream) -> Option<Stream> {
    let Some(tls) = &shared.tls else { return Some(Stream::Tcp(stream)) };
    let secured = tls.accept(stream).await;
    let secured = secured.inspect_err(|error| tracing::debug!(%error, "serve: a TLS handshake came to nothing"));
    secured.ok().map(|stream| Stream::Tls(Box::new(stream)))
}

/// Holds what a connection takes up.
struct Connected {
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
    _place: Option<Place>,
    _open: Counted,
}

impl Connected {
    fn new(shared: &Arc<Shared>, permit: OwnedSemaphorePermit, place: Option<Place>, open: Counted) -> Self {
        shared.stats.connections.add();
        Self { shared: Arc::clone(shared), _permit: permit, _place: place, _open: open }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.shared.stats.connections.sub();
    }
}

/// Serves a connection in the protocol it begins with.
async fn speak(shared: &Arc<Shared>, client: &Arc<Client>, stream: Stream) -> Option<Tunnelled> {
    let mut wire = Wire::new(stream, shared.config.limits.header_time);
    let (mut stop, mut stops) = (pin!(client.stop.cancelled()), false);
    let is_http2 = poll_fn(|cx| {
        if !stops && stop.as_mut().poll(cx).is_ready() {
            stops = true;
            wire.give(LAST_WORD);
        }
        loop {
            if !wire.input.is_empty() && !http2::PREFACE.starts_with(&wire.input) {
                return Poll::Ready(Some(wire.input.starts_with(http2::PREFACE)));
            }
            match wire.poll_fill(cx) {
                Poll::Ready(Ok(read)) if read > 0 => {
                    if wire.input.starts_with(http2::PREFACE) {
                        return Poll::Ready(Some(true));
                    }
                }
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => return wire.poll_overdue(cx).map(|()| None),
            }
        }
    });
    if is_http2.await? {
        let (stream, _) = wire.into_parts();
        http2::serve(shared, client, stream).await;
        return None;
    }
    http1::server::serve(shared, client, wire).await
}
