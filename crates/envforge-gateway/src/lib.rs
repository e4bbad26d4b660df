//! The gateway: it verifies, wakes and forwards; it has no database and fails closed.
//!
//! # The life of a request
//!
//! ```text
//!  browser, agent ──► label ──► session ──► policy ──► route ──► wake ──► forward ──► service
//!                       │          │           │         │         │         │
//!                       └──────────┴───────────┴── refused ────────┴─────────┘
//!                                                    │
//!                                     answer: a card, a page, or JSON
//! ```
//!
//! | phase | question | asks the server |
//! |---|---|---|
//! | [`label`](phase) | which dev host is meant? | no |
//! | `session` | who asks, and does that hold here and now? | once per link sent as a header |
//! | `policy` | may anybody do this on a dev host? | no |
//! | `route` | which service answers, on which host? | when nothing fresh is known |
//! | `wake` | does it run? | once per sleeping workspace |
//! | `forward` | what does it say? | no |
//! | `answer` | how does a refusal look to whoever asked? | no |
//!
//! Beside the requests run further tasks: `feed` hears of changes and revocations, `activity` tells of traffic, the uplink
//! takes hosts in, `keep` ends what time ends, and `accept` takes connections in.
//!
//! # What must stay true
//!
//! - Verify first: before a session is verified nothing is asked of the server, so a stranger can't make it work.
//! - Cut off means closed: without a beat of the feed for a lease's length nothing is forwarded and open streams end.
//! - A session's end reaches everything open on its behalf: held requests, streams and WebSockets.
//! - Many who wait cause one wake; whoever gives up takes nobody's wake along.
//! - The gateway holds public keys and `service` tickets only. A taken gateway mints no link and is no shell.
//! - Tokens and cookies are in no log line; paths aren't either, because a share path is a token.

mod access_log;
mod activity;
mod alarm;
mod body;
mod carrier;
mod config;
mod deadline;
mod entry;
mod feed;
mod flights;
mod h2c;
mod hints;
mod http1;
mod http2;
mod lease;
mod local;
mod memo;
mod metrics;
mod network;
mod own;
mod pages;
mod phase;
mod polls;
mod pool;
mod rates;
mod realtime;
mod routes;
mod serve;
mod sessions;
mod share;
mod shared;
mod stats;
pub mod tls;
mod wire;

pub use config::{GatewayConfig, Limits, Scheme};
pub use network::{Network, NotANetwork};
pub use rates::Rate;
pub use stats::Stats;

use envforge_api::client::{Address, CallError, Client};
use envforge_api::gateway::Presence;
use envforge_api::uplink::Uplinks;
use envforge_core::clock::Clock;
use envforge_core::refusal::Refusal;
use futures_util::future::poll_immediate;
use shared::Shared;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tls::{Acceptor, TlsConfig, TlsError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else listens there.
    #[error("{address} is already in use by another program")]
    PortInUse {
        /// The address wanted.
        address: SocketAddr,
    },
    /// The address can't be listened on.
    #[error("the gateway can't listen on {address}: {source}")]
    Listen {
        /// The address wanted.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The certificate or its key is not right.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The hosts' socket can't be made.
    #[error("the gateway can't make the hosts' socket {}: {source}", path.display())]
    Uplink {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The access log can't be written.
    #[error("the gateway can't write its access log: {source}")]
    AccessLog {
        /// What the system says.
        source: io::Error,
    },
    /// The threads that serve connections can't be started.
    #[error("the gateway can't start its workers: {source}")]
    Workers {
        /// What the system says.
        source: io::Error,
    },
    /// The server's client can't be made.
    #[error("the gateway can't prepare its calls to the server: {0}")]
    Client(#[from] CallError),
}

impl StartError {
    /// What helps.
    pub fn fix(&self) -> String {
        match self {
            Self::PortInUse { address } => format!(
                "find it with `ss -ltnp 'sport = :{}'` and stop it, or let the gateway listen on another port",
                address.port()
            ),
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "ports below 1024 need the capability CAP_NET_BIND_SERVICE; or listen on a higher port".to_owned()
            }
            Self::Listen { .. } => "check that the address belongs to this machine".to_owned(),
            Self::Tls(error) => error.fix(),
            Self::Uplink { path, .. } => {
                let folder = path.parent().unwrap_or(path);
                format!("check that {} exists and may be written to", folder.display())
            }
            Self::AccessLog { .. } => {
                "check that its folder exists and that the gateway's user may write there".to_owned()
            }
            Self::Workers { .. } => "check the limits on open files and threads of its user".to_owned(),
            Self::Client(_) => "check the path of the server's socket".to_owned(),
        }
    }
}

/// Listening sockets that were made elsewhere and outlive the gateway: while one gateway is replaced by the next,
/// connections wait in them instead of being refused.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Instead of the address to listen on.
    pub front: Option<std::net::TcpListener>,
    /// Instead of the address whose requests are redirected to HTTPS; of use with TLS only.
    pub redirect: Option<std::net::TcpListener>,
}

/// The gateway.
#[derive(Debug, Clone, Copy)]
pub struct Gateway;

/// A gateway at work. It ends when the token it was started with is cancelled.
pub struct RunningGateway {
    /// Where it listens; tells the port when it was asked for port 0.
    pub local_addr: SocketAddr,
    /// Where plain HTTP is redirected to HTTPS, if it is.
    pub redirect_addr: Option<SocketAddr>,
    /// Done once everything has ended.
    pub join: JoinHandle<()>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for RunningGateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RunningGateway({})", self.local_addr)
    }
}

impl RunningGateway {
    /// What it did so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats.snapshot()
    }

    /// What its operator may ask while it runs, and after.
    pub fn operated(&self) -> Operated {
        Operated(Arc::clone(&self.shared))
    }

    /// Whether it has heard from its server lately; without that it refuses everything.
    pub fn is_connected(&self) -> bool {
        self.shared.lease.holds()
    }
}

/// A gateway as its operator sees it.
#[derive(Clone)]
pub struct Operated(Arc<Shared>);

impl Operated {
    /// Its metrics as `OpenMetrics` text.
    pub fn metrics(&self) -> String {
        metrics::text(&self.0)
    }

    /// Whether requests should come here; else why not.
    pub fn ready(&self) -> Result<(), Refusal> {
        own::ready(&self.0).map_err(|refused| refused.refusal())
    }
}

impl Gateway {
    /// Starts a gateway that runs until `drain` is cancelled: then it says that it is about to end, for as long as its
    /// limits tell, before it ends. It listens when this returns, and refuses everything until
    /// it has heard from its server.
    pub async fn start(
        config: GatewayConfig,
        clock: Arc<dyn Clock>,
        drain: CancellationToken,
    ) -> Result<RunningGateway, StartError> {
        Self::start_on(Sockets::default(), config, clock, drain).await
    }

    /// The same, on sockets that were made elsewhere.
    pub async fn start_on(
        sockets: Sockets,
        mut config: GatewayConfig,
        clock: Arc<dyn Clock>,
        drain: CancellationToken,
    ) -> Result<RunningGateway, StartError> {
        if config.tls.is_some() {
            config.external_scheme = Scheme::Https;
        }
        let handshake_time = config.limits.handshake_time;
        let tls = config.tls.as_ref().map(|tls| Acceptor::new(tls, &config.dev_domain, handshake_time)).transpose()?;
        let address = config.listen;
        let listener = listen(sockets.front, address).await?;
        let redirect = match (&config.tls, sockets.redirect) {
            (Some(TlsConfig { redirect: None, .. }), None) | (None, _) => None,
            (Some(tls), socket) => Some(listen(socket, tls.redirect.unwrap_or(address)).await?),
        };
        let redirect_addr = redirect.as_ref().and_then(|listener| listener.local_addr().ok());
        let local_addr = listener.local_addr().map_err(|source| StartError::Listen { address, source })?;
        let server = Client::new(&Address::Socket(config.server_socket.clone()), Some(config.key.clone()))?;
        let limits = config.limits.clone();
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let workers = config.workers.unwrap_or_else(processors).max(1);
        // Another token, so that the gateway may stop itself without stopping its program.
        let stop = CancellationToken::new();
        let external_port = config.external_port.unwrap_or(local_addr.port());
        let access_log = config.access_log.as_deref().map(access_log::AccessLog::open).transpose();
        let access_log = access_log.map_err(|source| StartError::AccessLog { source })?;
        let shared = Arc::new(Shared {
            access_log,
            strangers: rates::Addresses::new(limits.stranger_rate),
            forgers: rates::Addresses::new(limits.stranger_rate.times(10)),
            since: Instant::now(),
            presence: Presence { gateway: config.id, address: local_addr },
            external_port,
            tls,
            clock,
            server,
            uplinks: Arc::new(Uplinks::default()),
            lease: lease::Lease::new(limits.lease),
            sessions: sessions::Sessions::new(limits.sessions),
            routes: routes::Routes::new(limits.routes, limits.held, workers),
            unverified: activity::UnverifiedCounts::default(),
            stats: stats::Counters::default(),
            route_flights: flights::Flights::default(),
            exchange_flights: flights::Flights::default(),
            tasks: TaskTracker::new(),
            keepers: TaskTracker::new(),
            over: CancellationToken::new(),
            drain,
            stop: stop.clone(),
            stopping: AtomicBool::new(false),
            workers,
            config,
        });
        serve_uplink(&shared).await?;
        shared.tasks.spawn(announce_end(Arc::clone(&shared)));
        shared.keepers.spawn(feed::run(Arc::clone(&shared)));
        shared.keepers.spawn(feed::keep(Arc::clone(&shared)));
        shared.tasks.spawn(activity::run(Arc::clone(&shared)));
        let ended = CancellationToken::new();
        let (workers, threads) = serve::start(&shared, &ended).map_err(|source| StartError::Workers { source })?;
        shared.tasks.spawn(accept(Arc::clone(&shared), listener, workers));
        if let (Some(acceptor), Some(config)) = (shared.tls.clone(), shared.config.tls.clone()) {
            shared.tasks.spawn(tls::keep(Arc::clone(&shared), acceptor, config));
        }
        if let Some(listener) = redirect {
            shared.tasks.spawn(tls::redirect::serve(Arc::clone(&shared), listener));
        }
        tracing::info!(%local_addr, dev_domain = %shared.config.dev_domain, "gateway: listening");
        let join = TaskTracker::new().spawn(finish(Arc::clone(&shared), stop, ended, threads));
        Ok(RunningGateway { local_addr, redirect_addr, join, shared })
    }
}

/// The socket made elsewhere, else one of our own.
async fn listen(inherited: Option<std::net::TcpListener>, address: SocketAddr) -> Result<TcpListener, StartError> {
    let listener = match inherited {
        Some(socket) => socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket)),
        None => TcpListener::bind(address).await,
    };
    listener.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::PortInUse { address },
        _ => StartError::Listen { address, source },
    })
}

/// Accepts from the first word of the server on, or when it did not come for a while.
async fn accept(shared: Arc<Shared>, listener: TcpListener, workers: Vec<serve::Worker>) {
    let heard = async {
        while !shared.lease.holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(shared.config.limits.first_word, heard) => {}
        () = shared.stop.cancelled() => return,
    }
    serve::accept(shared, listener, workers).await;
}

/// Told to end, says so for a while before anything stops.
async fn announce_end(shared: Arc<Shared>) {
    tokio::select! {
        () = shared.drain.cancelled() => tokio::time::sleep(shared.config.limits.drain_notice).await,
        () = shared.stop.cancelled() => {}
    }
    shared.stopping.store(true, Ordering::Release);
    shared.stop.cancel();
}

/// Listens for hosts; the first turn, which makes the socket, is taken here so that its failure is told.
async fn serve_uplink(shared: &Arc<Shared>) -> Result<(), StartError> {
    let (keys, clock) = (Arc::clone(shared), Arc::clone(&shared.clock));
    let (uplinks, path) = (Arc::clone(&shared.uplinks), shared.config.uplink_path.clone());
    let work = async move {
        let keys = move || keys.sessions.keyring().as_ref().clone();
        // Not told on: until the first feed no key is known, and every host's pass is refused.
        uplinks.serve(&path, keys, move || clock.now(), drop).await
    };
    let mut work = Box::pin(work);
    if let Some(Err(source)) = poll_immediate(&mut work).await {
        return Err(StartError::Uplink { path: shared.config.uplink_path.clone(), source });
    }
    let (stop, over) = (shared.stop.clone(), shared.over.clone());
    shared.keepers.spawn(async move {
        tokio::select! {
            ended = work => {
                if let Err(error) = ended {
                    tracing::error!(%error, "uplink: no host can connect any more; the gateway stops");
                    stop.cancel();
                }
            }
            () = over.cancelled() => {}
        }
    });
    Ok(())
}

/// Waits for the end, then for everything under way, a little longer than each connection is given. The server is told
/// last: a request it still counts as in flight would keep its runtime awake until this gateway is forgotten.
async fn finish(
    shared: Arc<Shared>,
    stop: CancellationToken,
    ended: CancellationToken,
    threads: Vec<std::thread::JoinHandle<()>>,
) {
    stop.cancelled().await;
    shared.tasks.close();
    let limit = shared.config.limits.drain;
    if tokio::time::timeout(limit, shared.tasks.wait()).await.is_err() {
        // Whatever is left ends with its worker.
        tracing::warn!(left = shared.tasks.len(), "gateway: stopped before everything had ended");
    }
    shared.over.cancel();
    shared.keepers.close();
    shared.keepers.wait().await;
    ended.cancel();
    let joined = tokio::task::spawn_blocking(|| threads.into_iter().all(|thread| thread.join().is_ok()));
    if !joined.await.unwrap_or(false) {
        tracing::error!("gateway: a worker broke down");
    }
    if tokio::time::timeout(Duration::from_secs(2), activity::tell(&shared)).await.is_err() {
        tracing::warn!("gateway: the server took no last word of the traffic");
    }
}
