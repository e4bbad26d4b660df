//! Starting the daemon, and ending it.

use crate::claim::{self, Taken};
use crate::config::HostConfig;
use crate::ctx::HostContext;
use crate::disk::Disk;
use crate::egress_proxy::EgressProxy;
use crate::engines::{Engine, native::Native};
use crate::fork;
use crate::journal::{self, Gravestone};
use crate::metrics::Metrics;
use crate::place::DataDir;
use crate::registration::{RegistrationError, identify};
use crate::removal;
use crate::resources::postgres::Cluster;
use crate::stream::{Stream, heartbeats, outbox::Outbox};
use crate::sys::capability::{self, NotPermitted};
use crate::sys::memory;
use crate::tasks::Tasks;
use crate::uplink::Uplinks;
use crate::workspace::registry::Workspaces;
use envforge_api::ambient::{SystemClock, SystemEntropy};
use envforge_api::client::Client;
use envforge_api::host::Machine;
use envforge_core::clock::Clock as _;
use envforge_core::id::{HostId, OrgId};
use envforge_core::refusal::Refusal;
use jiff::SignedDuration;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long another daemon may take to let go of the data directory.
const LOCK_LIMIT: Duration = Duration::from_secs(2);
/// How long deleted workspaces are remembered.
const STONES_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another daemon has the data directory.
    #[error("another host daemon uses {0}")]
    InUse(String),
    /// A file or directory of its own could not be made or read.
    #[error("the host's data directory: {0}")]
    Data(#[from] io::Error),
    /// It has no identity.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// Another host of this machine has what this one would take of it.
    #[error(transparent)]
    Taken(#[from] Taken),
    /// The machine can't run sandboxes.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
}

/// The host daemon.
#[derive(Debug)]
pub struct Host;

/// A daemon that runs.
#[derive(Debug)]
pub struct RunningHost {
    host: HostId,
    org: OrgId,
    tasks: Tasks,
    operated: Operated,
    /// Held as long as the daemon lives: two never share a data directory.
    _lock: std::fs::File,
}

impl Host {
    /// Starts the daemon: registers if it must, takes up what an earlier daemon left, and dials the server. Returns when
    /// it runs; it ends when `cancel` is cancelled, and ends nothing it runs.
    pub async fn start(config: HostConfig, cancel: CancellationToken) -> Result<RunningHost, StartError> {
        let isolation = capability::probe()?;
        let data = DataDir::new(&config.data_dir, !isolation.rootless);
        data.create()?;
        let lock = lock(&config.data_dir).await?;
        let is_apart = !isolation.rootless;
        let engine: Arc<dyn Engine> = Arc::new(Native::new(&config, isolation)?);
        if is_apart {
            claim::take(&config)??;
        }
        let identity = identify(&config, &cancel).await?;
        let postgres = Cluster::new(&config, &data);
        postgres.prepare()?;
        let server = Client::new(&config.server, Some(identity.key.clone()))
            .map_err(|error| io::Error::other(error.into_refusal().message))?;
        let egress = EgressProxy::new(&config, server.clone())?;
        let tasks = Tasks::new(cancel);
        let (host, org) = (identity.host, identity.org);
        let disk = Arc::new(Disk::new(data.path(), config.low_water));
        let ctx = Arc::new(HostContext {
            config,
            data,
            disk: Arc::clone(&disk),
            identity,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            engine,
            postgres,
            elevations: Arc::default(),
            outbox: Outbox::default(),
            server,
            egress,
            tasks: tasks.clone(),
            generation: AtomicU64::default(),
            metrics: Metrics::default(),
            deleted: Notify::new(),
        });
        Gravestone::prune(&ctx.data, SystemClock.now().checked_sub(STONES_KEPT).unwrap_or_default())?;
        let found = journal::read_all(&ctx.data)?;
        let reserved: Vec<u32> = found.users.iter().filter_map(|uid| uid.checked_sub(ctx.config.uid_base)).collect();
        let indexes: BTreeSet<u32> =
            found.states.iter().map(|state| state.index).chain(reserved.iter().copied()).collect();
        let workspaces = Workspaces::new(Arc::clone(&ctx), reserved);
        ctx.engine.clear_others(&ctx.data.workspaces(), indexes).await;
        workspaces.take_up(found.states);
        let uplinks = Uplinks::new(Arc::clone(&ctx), Arc::clone(&workspaces))?;
        let stream = Stream {
            machine: machine(&ctx),
            ctx: Arc::clone(&ctx),
            workspaces: Arc::clone(&workspaces),
            uplinks: Arc::clone(&uplinks),
        };
        tasks.spawn("stream", stream.hold());
        tasks.spawn_loose("disk-watch", disk.watch());
        tasks.spawn_loose("removal", removal::remove(Arc::clone(&ctx)));
        let (cluster, needing) = (Arc::clone(&ctx), Arc::clone(&workspaces));
        tasks.spawn_loose("postgres-watch", async move {
            cluster.postgres.watch(|| needing.may_have_runtimes(), cluster.entropy.as_ref()).await;
        });
        let operated = Operated { ctx: Arc::clone(&ctx), workspaces: Arc::clone(&workspaces) };
        tasks.spawn("heartbeats", heartbeats(ctx, workspaces, uplinks));
        Ok(RunningHost { host, org, tasks, operated, _lock: lock })
    }
}

/// A daemon as its operator sees it.
#[derive(Clone)]
pub struct Operated {
    ctx: Arc<HostContext>,
    workspaces: Arc<Workspaces>,
}

impl std::fmt::Debug for Operated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Operated")
    }
}

impl Operated {
    /// Its metrics as `OpenMetrics` text.
    pub fn metrics(&self) -> String {
        self.ctx.metrics.text(&self.workspaces, self.ctx.outbox.connection().is_some())
    }

    /// Whether the server reaches it; else why not.
    pub fn ready(&self) -> Result<(), Refusal> {
        if self.ctx.tasks.is_cancelled() {
            return Err(Refusal::unavailable("host.draining", "this host daemon is about to end"));
        }
        if self.ctx.outbox.connection().is_none() {
            return Err(Refusal::unavailable("host.not_connected", "the control stream to the server is not open"));
        }
        Ok(())
    }
}

impl RunningHost {
    /// What its operator may ask while it runs.
    pub fn operated(&self) -> Operated {
        self.operated.clone()
    }

    /// The host's id.
    pub fn host(&self) -> HostId {
        self.host
    }

    /// The org it obeys.
    pub fn org(&self) -> OrgId {
        self.org
    }

    /// Waits until the daemon was cancelled and has ended.
    pub async fn wait(self) {
        self.tasks.cancelled().await;
        self.tasks.wait().await;
    }
}

/// Takes the data directory; a daemon that ends this very moment is waited for.
pub(crate) async fn lock(data_dir: &Path) -> Result<std::fs::File, StartError> {
    let path = data_dir.join("lock");
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    let until = tokio::time::Instant::now() + LOCK_LIMIT;
    loop {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if tokio::time::Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StartError::InUse(data_dir.display().to_string())),
            Err(error) => return Err(StartError::Data(error.into())),
        }
    }
}

fn machine(ctx: &HostContext) -> Machine {
    let memory = memory::read(&ctx.config.proc).ok();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    Machine {
        milli_cpu: cores * 1_000,
        memory: memory.map_or(0, |memory| memory.total),
        swap: memory.map(|memory| memory.swap),
        reductions: ctx.engine.reductions(),
        elevation: ctx.engine.elevates(),
        copy_on_write: fork::is_copy_on_write(ctx.data.path()),
    }
}
