//! One box: a small supervisor with separate server, gateway and host processes, and PostgreSQL.
//!
//! ```text
//!   envforged all (root)
//!    ├── envforged server    61190   its own database role, its own secrets
//!    ├── envforged gateway   61191   no database, one secret
//!    └── envforged host      root    sandboxes: no children of anyone here, they outlive all of it
//!   postgres                 postgres, detached, adopted
//! ```
//!
//! What holds, whatever is killed when:
//!
//! - Killing one child is killing exactly that part; it is restarted alone.
//! - The gateway's sockets are the supervisor's: while there is no gateway, connections wait and are answered late.
//! - Killing the supervisor ends its children (the kernel tells them). PostgreSQL, shells and services live on; the next
//!   `envforged all` adopts them.
//! - `SIGTERM` drains: gateway and host finish, then the server, then PostgreSQL stops. Shells and services stay: an
//!   upgrade is `stop`, replace the program, start. (A service manager must therefore signal this process only:
//!   `KillMode=process`.)
//! - Before anything is started the box is locked and its ports are free, or nothing is started.
//!
//! Started by an ordinary user, everything runs as that user: the same processes and the same sandboxes, with less
//! between them. What is reduced is the host's to find out, and is said at the end of the start.

mod children;
mod database;
pub(crate) mod operated;
pub(crate) mod layout;
pub(crate) mod lock;
pub(crate) mod probe;
mod specs;
mod steps;

use super::StopSignals;
use crate::account::is_root;
use crate::advice::advised;
use crate::args::AllArguments;
use crate::postgres::{Cluster, Postmaster};
use crate::{listen, notify, operator, private, telemetry};
use anyhow::Context as _;
use children::{Keeper, Spec};
use layout::{Accounts, Layout};
use operated::Operated;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use steps::Steps;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long a role may take until it answers.
const READY: Duration = Duration::from_secs(30);
/// How often it is asked.
const POLL: Duration = Duration::from_millis(10);
/// How long gateway and host have before the server is told to stop too.
const FIRST_TO_GO: Duration = Duration::from_secs(5);

/// Runs the box until it is told to stop.
pub(crate) fn run(arguments: &AllArguments) -> anyhow::Result<ExitCode> {
    telemetry::start();
    // One thread: the kernel ends the children when the *thread* that started them ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(supervise(arguments))
}

async fn supervise(arguments: &AllArguments) -> anyhow::Result<ExitCode> {
    let mut signals = StopSignals::new()?;
    super::raise_open_files_limit();
    let mut steps = Steps::new();
    let accounts = Accounts::resolve(arguments)?;
    let layout = Layout::of(&arguments.place)?;
    layout.prepare(&accounts)?;
    let _lock = lock::take(&layout)?;
    children::wait_for_orphans(&layout).await;
    let ports = Ports {
        server: listen::reserve(arguments.listen, "--listen")?,
        front: FrontPorts {
            gateway: Arc::new(listen::reserve(arguments.gateway_listen, "--gateway-listen")?),
            redirect: match arguments.tls.redirect_listen {
                Some(address) => Some(Arc::new(listen::reserve(address, "--redirect-listen")?)),
                None => None,
            },
        },
    };
    let (keeper, mut hopeless) = Keeper::new(&layout);
    let operated = Operated { layout: layout.clone(), restarts: keeper.restarts.clone() };
    let _operator = operator::listen(arguments.operator.metrics_listen.as_ref(), operated)?;
    let cluster = database::cluster(arguments, &layout, &accounts)?.map(Arc::new);
    let mut running =
        Running { layout, accounts, keeper, stops: Stops::default(), front: JoinSet::new(), back: JoinSet::new() };
    let started = tokio::select! {
        started = running.start(arguments, ports, cluster.as_ref(), &mut hopeless, &mut steps) => started.map(|()| true),
        () = signals.next() => Ok(false),
    };
    if matches!(started, Ok(true)) {
        notify::tell(notify::READY);
        signals.next().await;
        tracing::info!("stopping; shells and services stay");
    }
    notify::tell(notify::STOPPING);
    let kill = running.stops.kill.clone();
    let mut drain = std::pin::pin!(running.drain());
    tokio::select! {
        () = &mut drain => {}
        () = signals.next() => {
            kill.cancel();
            drain.await;
        }
    }
    if let Some(cluster) = cluster {
        cluster.stop().await.context("stopping PostgreSQL")?;
    }
    started.map(|_| ExitCode::SUCCESS)
}

/// The ports, kept from the first check until their roles take them: making a database takes seconds.
struct Ports {
    server: TcpListener,
    front: FrontPorts,
}

/// Those that are kept for ever, and handed to each gateway.
struct FrontPorts {
    gateway: Arc<TcpListener>,
    redirect: Option<Arc<TcpListener>>,
}

/// Tokens of the three stages of an end.
#[derive(Debug, Default)]
struct Stops {
    /// Gateway and host.
    front: CancellationToken,
    /// Server, and the one that starts PostgreSQL again.
    back: CancellationToken,
    /// No more patience.
    kill: CancellationToken,
}

/// The box while it runs.
struct Running {
    layout: Layout,
    accounts: Accounts,
    keeper: Keeper,
    stops: Stops,
    front: JoinSet<()>,
    back: JoinSet<()>,
}

impl Running {
    /// Starts everything in order; each step waits until it can be used.
    async fn start(
        &mut self,
        arguments: &AllArguments,
        ports: Ports,
        cluster: Option<&Arc<Cluster>>,
        hopeless: &mut mpsc::Receiver<String>,
        steps: &mut Steps,
    ) -> anyhow::Result<()> {
        let (layout, accounts) = (self.layout.clone(), self.accounts);
        specs::make_secrets(arguments, &layout, &accounts)?;
        let cluster_of = cluster.map(AsRef::as_ref);
        let postmaster = database::ensure(cluster_of, arguments, &layout, &accounts, steps).await?;
        if let (Some(cluster), Some(postmaster)) = (cluster, postmaster) {
            self.keep_database(Arc::clone(cluster), postmaster);
        }
        database::migrate(&layout, &accounts).await?;
        steps.done("schema", "up to date");

        drop(ports.server);
        self.keep_back(specs::server(arguments, &layout, &accounts));
        let ready = async || {
            let is_ready = probe::is_ready(arguments.listen).await && self.is_server_ours(arguments.listen);
            is_ready.then_some(())
        };
        answer("server", hopeless, ready).await?;
        self.publish(steps)?;
        steps.done("server", &format!("answers on {}", arguments.listen));

        self.keep_front(specs::gateway(arguments, &layout, &accounts, &ports.front));
        self.keep_front(specs::host(arguments, &layout));
        // Not over its port, where connections are taken from before it runs. Ready is when it has heard from the server.
        let socket = layout.operator_socket("gateway");
        let is_ready = async || matches!(probe::operator(&socket, "/ready").await, Some((200, _))).then_some(());
        answer("gateway", hopeless, is_ready).await?;
        steps.done("gateway", &format!("answers on {}", arguments.gateway_listen));
        self.host_is_online(arguments, hopeless, steps).await?;

        self.keeper.is_up();
        // Only now: whoever finds this file finds a box that can do everything.
        let url = layout.server_url();
        fs_err::write(&url, format!("http://{}\n", probe::reachable(arguments.listen)))?;
        fs_err::set_permissions(&url, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        let port = specs::gateway_port(arguments).map_or_else(String::new, |port| format!(":{port}"));
        let (scheme, domain) = (specs::scheme(arguments).as_str(), &arguments.dev_domain);
        steps.up(&[
            ("server", specs::public_url(arguments)),
            ("dev hosts", format!("{scheme}://<service>--<workspace>--{}.{domain}{port}", arguments.org)),
            ("data", layout.root().display().to_string()),
            ("owner's key", layout.owner_key().display().to_string()),
        ]);
        Ok(())
    }

    /// Whether it is our child that answers there, and not somebody who was quicker.
    fn is_server_ours(&self, address: SocketAddr) -> bool {
        self.keeper.pid("server").is_some_and(|pid| listen::is_listener(pid, address.port()))
    }

    async fn host_is_online(
        &self,
        arguments: &AllArguments,
        hopeless: &mut mpsc::Receiver<String>,
        steps: &mut Steps,
    ) -> anyhow::Result<()> {
        if !self.layout.owner_key().exists() {
            steps.done("host", "started; whether it is online only a member's key tells");
            return Ok(());
        }
        let key = private::read(&self.layout.owner_key())?;
        let online = async || probe::online_host(arguments.listen, &arguments.org, &key).await;
        let host = answer("host", hopeless, online).await?;
        steps.done("host", &format!("{} is online", host.name));
        for reduction in host.reductions {
            steps.note(&reduction);
        }
        Ok(())
    }

    /// Hands what the first start made to whom it is for.
    fn publish(&self, steps: &Steps) -> anyhow::Result<()> {
        let layout = &self.layout;
        let root = is_root().then(crate::account::Account::own);
        for (made, target, account) in [
            (layout.server_secret("owner.key"), layout.owner_key(), self.accounts.starter),
            (layout.server_secret("host.token"), layout.host_token(), root),
        ] {
            if made.exists() {
                private::write(&target, &private::read(&made)?, account)?;
                fs_err::remove_file(&made)?;
            }
        }
        if !layout.owner_key().exists() {
            steps.note(&format!(
                "the database belongs to an installation whose owner's key is not in {}: sign in with a key of your own",
                layout.owner_key().display()
            ));
        }
        Ok(())
    }

    fn keep_back(&mut self, spec: Spec) {
        let keeping = self.keeper.clone().keep(spec, self.stops.back.clone(), self.stops.kill.clone());
        self.back.spawn(keeping);
    }

    fn keep_front(&mut self, spec: Spec) {
        let keeping = self.keeper.clone().keep(spec, self.stops.front.clone(), self.stops.kill.clone());
        self.front.spawn(keeping);
    }

    fn keep_database(&mut self, cluster: Arc<Cluster>, postmaster: Postmaster) {
        let stop = self.stops.back.clone();
        self.back.spawn(async move { database::keep(&cluster, postmaster, stop).await });
    }

    /// Ends every child in order. What they started in sandboxes stays.
    async fn drain(&mut self) {
        let _ = fs_err::remove_file(self.layout.server_url());
        self.stops.front.cancel();
        // The server hears the last reports; but it does not wait for somebody's endless download.
        let _ = timeout(FIRST_TO_GO, async { while self.front.join_next().await.is_some() {} }).await;
        self.stops.back.cancel();
        while self.front.join_next().await.is_some() {}
        while self.back.join_next().await.is_some() {}
    }
}

/// Waits until a role answers what is asked of it.
async fn answer<T>(
    role: &str,
    hopeless: &mut mpsc::Receiver<String>,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            sleep(POLL).await;
        }
    };
    let fix = "its words are above; ENVFORGE_LOG=debug tells more, `envforged doctor` looks at the machine";
    tokio::select! {
        answer = timeout(READY, asking) => {
            answer.map_err(|_| advised(format!("the {role} did not answer within {} s", READY.as_secs()), fix))
        }
        Some(why) = hopeless.recv() => Err(advised(why, fix)),
    }
}
