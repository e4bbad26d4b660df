//! The whole control plane in a page: connect, bootstrap, listen, run the jobs, and stop in order.

use crate::accounts;
use crate::activity;
use crate::app::{App, Parts};
use crate::caps;
use crate::devices;
use crate::elevations;
use crate::gateways;
use crate::git_keys;
use crate::hosts;
use crate::invitations;
use crate::ledger;
use crate::links;
use crate::member_sessions;
use crate::platform::bus::Bus;
use crate::platform::config::ServerConfig;
use crate::platform::db::Db;
use crate::platform::http;
use crate::platform::jobs::{self, Registry};
use crate::platform::metrics::Metrics;
use crate::platform::schema;
use crate::providers::git_host::{GitApp, Github};
use crate::providers::identity::Providers;
use crate::providers::mail::ActiveMailer;
use crate::queues;
use crate::receipts;
use crate::runtimes;
use crate::schedules;
use crate::secrets;
use crate::sessions;
use crate::settings;
use crate::signin;
use crate::signing_keys;
use crate::system::ops::LastLook;
use crate::terminals::ops::Sessions;
use crate::usage;
use crate::vault::{self, ops::Unwrapped};
use anyhow::Context as _;
use envforge_api::ambient::{SystemClock, SystemEntropy};
use envforge_api::uplink::Uplinks;
use envforge_core::clock::{Clock, Entropy};
use envforge_core::schedule::Schedule;
use envforge_core::token::{Keyring, Signer, TokenError};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long requests under way may take after the order to stop.
const DRAIN: Duration = Duration::from_secs(8);

/// The control plane.
#[derive(Debug)]
pub struct Server;

/// A server that runs.
pub struct RunningServer {
    /// Where the public API listens.
    pub local_addr: SocketAddr,
    app: App,
    tasks: TaskTracker,
}

impl Server {
    /// Starts with the real clock and random source.
    pub async fn start(config: ServerConfig, cancel: CancellationToken) -> anyhow::Result<RunningServer> {
        Self::start_with(config, Arc::new(SystemClock), Arc::new(SystemEntropy), cancel).await
    }

    /// Starts with the clock and random source given.
    pub async fn start_with(
        config: ServerConfig,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        drain: CancellationToken,
    ) -> anyhow::Result<RunningServer> {
        let mut seed = [0_u8; 32];
        hex::decode_to_slice(config.signing_seed.expose().trim(), &mut seed)
            .context("the signing seed must be 64 hexadecimal digits")?;
        let ledger_signer = Arc::new(Signer::from_seed(&seed));
        let ledger_keyring = Keyring::new(&[ledger_signer.public_key()]);
        let git_app = config.github_app.as_ref().map(|app| anyhow::Ok(Box::new(Github::new(app)?) as Box<dyn GitApp>));
        let git_app = git_app.transpose()?;
        let identity = Providers::new(&config.public_url, &config.identity_providers)?;
        let mailer = ActiveMailer::new(config.mail.as_ref())?;
        let bus = Bus::default();
        let db = Db::connect(&config.database_url, bus.clone()).await.context("connecting to PostgreSQL")?;
        schema::check(db.pool()).await?;
        let (listener, internal) = (listen(config.listen).await?, listen_socket(&config.internal_socket)?);
        let local_addr = listener.local_addr()?;
        let tasks = TaskTracker::new();
        let uplinks = Arc::new(Uplinks::default());
        let started_at = clock.now();
        let app = App::new(Parts {
            db,
            bus,
            started_at,
            clock,
            entropy,
            signing_keys: signing_keys::ops::Ring::default(),
            ledger_signer,
            ledger_keyring,
            unwrapped: Unwrapped::default(),
            signatures: git_keys::ops::Given::default(),
            ledger: ledger::Memory::default(),
            git_app,
            mailer,
            identity,
            in_use: settings::jobs::InUse::default(),
            refusals: signin::jobs::Refusals::default(),
            config,
            uplinks,
            terminals: Sessions::default(),
            metrics: Metrics::default(),
            last_look: LastLook::default(),
            drain,
            cancel: CancellationToken::new(),
            tasks: tasks.clone(),
        });
        signing_keys::ops::begin(&app).await.context("the signing keys")?;
        if let Some(wanted) = &app.config.bootstrap {
            accounts::ops::bootstrap(&app, wanted).await.context("the first start")?;
        }
        hosts::ops::begin(&app).await.context("forgetting the streams of before")?;
        settings::jobs::apply_soon(&app).await;
        let unverified = gateways::jobs::Unverified::default();
        spawn_watchers(&app);
        // Not ones that are dropped at the stop: they have a last word.
        tasks.spawn(jobs::run(app.clone(), registry()));
        tasks.spawn(ledger::jobs::run_refusals(app.clone()));
        tasks.spawn(gateways::jobs::run(app.clone(), unverified.clone()));
        app.spawn("uplinks", serve_uplinks(app.clone()));
        app.spawn("uplinks of revoked keys", end_uplinks(app.clone()));
        tasks.spawn(announce_end(app.clone()));
        let public = http::public(app.clone());
        let internal_router = http::internal(app.clone()).layer(axum::Extension(unverified));
        let (stop, stop_internal) = (app.cancel.clone(), app.cancel.clone());
        tasks.spawn(async move {
            use axum::serve::ListenerExt as _;
            let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
            let public = public.into_make_service_with_connect_info::<SocketAddr>();
            let served = axum::serve(listener, public).with_graceful_shutdown(stop.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!(%error, "the public listener ended");
            }
        });
        tasks.spawn(async move {
            let served =
                axum::serve(internal, internal_router).with_graceful_shutdown(stop_internal.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!(%error, "the internal listener ended");
            }
        });
        tracing::info!(%local_addr, "the control plane listens");
        Ok(RunningServer { local_addr, app, tasks })
    }
}

/// What goes on beside requests until the stop.
fn spawn_watchers(app: &App) {
    app.spawn("notifications", app.bus.clone().hear_others(app.db.pool().clone()));
    app.spawn("sealer", ledger::jobs::run(app.clone()));
    app.spawn("verifier", ledger::jobs::run_verifier(app.clone()));
    if let Some(days) = app.config.ledger_retention_days {
        app.spawn("pruning", ledger::jobs::run_pruning(app.clone(), days));
    }
    app.spawn("settings", settings::jobs::run(app.clone()));
    app.spawn("sessions", sessions::jobs::run(app.clone()));
    app.spawn("sessions at providers", sessions::jobs::ask_again(app.clone()));
    app.spawn("devices", devices::jobs::run(app.clone()));
    app.spawn("sign-in", signin::jobs::run(app.clone()));
    app.spawn("runtimes", runtimes::jobs::run(app.clone()));
    app.spawn("usage", usage::jobs::run(app.clone()));
    app.spawn("schedules", schedules::jobs::run(app.clone()));
    app.spawn("elevations", elevations::jobs::run(app.clone()));
    app.spawn("signing keys", signing_keys::jobs::run(app.clone()));
    app.spawn("gateways", gateways::jobs::forget(app.clone()));
    app.spawn("rewrap", vault::jobs::run(app.clone()));
    app.spawn("reseal", secrets::jobs::run(app.clone()));
}

/// All kinds of background jobs, and when those of the installation are due.
fn registry() -> Registry {
    let every = |minutes| Schedule::Every { minutes };
    Registry::default()
        .recurring(every(10), &hosts::jobs::ForgetAnswered {})
        .recurring(every(60), &activity::jobs::ForgetActivity {})
        .recurring(every(60), &links::jobs::ForgetSessions {})
        .recurring(every(60), &member_sessions::jobs::ForgetSessions {})
        .recurring(every(60), &queues::jobs::ForgetFinished {})
        .recurring(every(10), &receipts::jobs::CatchUp {})
        .recurring(every(60), &signing_keys::jobs::TidySigningKeys {})
        .with::<invitations::jobs::SendInvitation>()
        .with::<signin::jobs::SendLink>()
        .with::<secrets::jobs::ForgetValues>()
        .with::<receipts::jobs::MakeReceipt>()
        .with::<receipts::jobs::Report>()
        .with::<caps::jobs::CapEvent>()
}

/// Told to end, says so for a while before anything stops.
async fn announce_end(app: App) {
    app.drain.cancelled().await;
    tokio::time::sleep(app.config.drain_notice).await;
    app.cancel.cancel();
}

/// Ends what hosts hold here with passes of keys that were revoked.
async fn end_uplinks(app: App) {
    let mut keys = app.signing_keys.watch();
    loop {
        keys.next().await;
        app.uplinks.end_unknown(&app.signing_keys.keyring(), app.now());
    }
}

async fn serve_uplinks(app: App) {
    let (keys, clock, ledger) = (app.clone(), app.clone(), app.clone());
    // A host that was away for long comes with an old pass, and asks for another.
    let refused = move |error| {
        if error != TokenError::Expired {
            hosts::ops::refused_stranger(&ledger, "host.pass");
        }
    };
    let uplinks = Arc::clone(&app.uplinks);
    let served =
        uplinks.serve(&app.config.uplink_path, move || keys.signing_keys.keyring(), move || clock.now(), refused).await;
    if let Err(error) = served {
        tracing::error!(%error, path = %app.config.uplink_path.display(), "the terminal relay can't listen");
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("port {} is in use by another program; choose one with --listen", address.port())
        }
        _ => anyhow::Error::new(error).context(format!("listening on {address}")),
    })
}

fn listen_socket(path: &Path) -> anyhow::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(|| format!("listening on {}", path.display()))?;
    // Who may reach it is the directory's business; who may do what, the keys'.
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

impl RunningServer {
    /// The parts, for tests and the process that runs it.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Waits until the server was told to stop and has drained, at most for a few seconds.
    pub async fn wait(self) {
        self.app.cancel.cancelled().await;
        self.tasks.close();
        if tokio::time::timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("some requests did not end in time and were cut");
        }
    }
}
