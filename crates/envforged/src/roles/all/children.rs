//! Keeps the role processes running: starts, watches, restarts, drains.
//!
//! ```text
//!            ┌────────── died: pause 100 ms, doubled up to 5 s ◄──┐
//!            ▼                                                    │
//!         started ── lived 10 s: the pause is short again ────────┤
//!            │                                                    │
//!            └── stop: SIGTERM, 10 s, SIGKILL ──► ended       death
//! ```
//!
//! Each child is kept by one task, so the death of one is nobody else's business. Before the box was up once, three
//! deaths in a row give up: the cause is not one that time heals. After that nothing gives up, but the fifth death
//! in a row says plainly that this is a loop.
//!
//! Children are written down in `run/children.json`. When a supervisor is killed the kernel ends its children; the
//! next supervisor waits for those in the file before it asks for their ports.

use super::layout::Layout;
use super::operated::{ROLES, RoleLabel};
use crate::account::Account;
use crate::process::Identity;
use crate::roles::DRAIN;
use command_fds::{CommandFdExt as _, FdMapping};
use fs_err::OpenOptions;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A child that lived so long did not die of its start.
const SETTLED: Duration = Duration::from_secs(10);
/// Deaths in a row after which a start gives up.
const HOPELESS: u32 = 3;
/// Deaths in a row that are told as a loop.
const LOOP: u32 = 5;

/// The first descriptor of those that are handed over (`sd_listen_fds(3)`).
const FIRST_SOCKET: i32 = 3;

/// A role as a process.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// The subcommand.
    pub(crate) role: &'static str,
    /// Its flags.
    pub(crate) arguments: Vec<OsString>,
    /// Who it runs as.
    pub(crate) account: Option<Account>,
    /// Its whole environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Listening sockets it is handed, by name: they are the supervisor's, and stay when it dies.
    pub(crate) sockets: Vec<(&'static str, Arc<TcpListener>)>,
}

impl Spec {
    /// The command that runs it.
    pub(crate) fn command(&self) -> io::Result<Command> {
        // This very executable, also when the file was replaced by an upgrade or lies where the role's user can't go.
        #[expect(clippy::disallowed_methods, reason = "the one place that starts roles")]
        let mut command = Command::new("/proc/self/exe");
        command.arg0("envforged").arg(self.role).args(&self.arguments);
        command.env_clear().envs(self.environment.iter().cloned()).current_dir("/");
        // A group of its own: the terminal's Ctrl-C is for the supervisor, which drains in order.
        command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0).kill_on_drop(true);
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        if !self.sockets.is_empty() {
            let hand = |((_, socket), child_fd): (&(_, Arc<TcpListener>), _)| {
                Ok(FdMapping { parent_fd: socket.try_clone()?.into(), child_fd })
            };
            let handed: io::Result<Vec<_>> = self.sockets.iter().zip(FIRST_SOCKET..).map(hand).collect();
            let names: Vec<&str> = self.sockets.iter().map(|(name, _)| *name).collect();
            command.fd_mappings(handed?).map_err(io::Error::other)?;
            // Its process number, which the protocol also knows, nobody knows before it runs.
            command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        }
        Ok(command)
    }
}

/// The children that run now, on disk.
#[derive(Debug)]
struct Roster {
    path: PathBuf,
    running: Mutex<Running>,
}

/// The roster as it is written; of another start of the machine it means nothing.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Running {
    boot: String,
    children: BTreeMap<String, Identity>,
}

impl Roster {
    fn set(&self, role: &str, identity: Option<Identity>) {
        let mut running = self.running.lock().expect("no panic while held");
        match identity {
            Some(identity) => running.children.insert(role.to_owned(), identity),
            None => running.children.remove(role),
        };
        let text = serde_json::to_vec(&*running).expect("plain data");
        let partial = self.path.with_extension("partial");
        let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial);
        let written =
            written.and_then(|mut file| file.write_all(&text)).and_then(|()| fs_err::rename(&partial, &self.path));
        if let Err(error) = written {
            tracing::warn!(%error, "the list of children was not written");
        }
    }
}

/// Keeps children running.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    roster: Arc<Roster>,
    is_up: Arc<AtomicBool>,
    gave_up: mpsc::Sender<String>,
    /// Starts after a death.
    pub(crate) restarts: Family<RoleLabel, Counter>,
}

impl Keeper {
    /// A keeper, and where it tells that a child is hopeless.
    pub(crate) fn new(layout: &Layout) -> (Self, mpsc::Receiver<String>) {
        let (gave_up, hopeless) = mpsc::channel(4);
        let running = Running { boot: boot(), children: BTreeMap::new() };
        let roster = Arc::new(Roster { path: layout.children(), running: Mutex::new(running) });
        (Self { roster, is_up: Arc::default(), gave_up, restarts: restarts() }, hopeless)
    }

    /// The process of a role, while one runs.
    pub(crate) fn pid(&self, role: &str) -> Option<i32> {
        let running = self.roster.running.lock().expect("no panic while held");
        running.children.get(role).map(|identity| identity.pid)
    }

    /// From now on nothing gives up.
    pub(crate) fn is_up(&self) {
        self.is_up.store(true, Ordering::Relaxed);
    }

    /// Keeps a role running until `stop`; `kill` ends the patience of its end.
    pub(crate) async fn keep(self, spec: Spec, stop: CancellationToken, kill: CancellationToken) {
        let role = spec.role;
        let (mut deaths, mut pause) = (0, PAUSE_MIN);
        loop {
            let began = Instant::now();
            let how = match spec.command().and_then(|mut command| command.spawn()) {
                Ok(mut child) => {
                    let identity = child.id().and_then(|pid| Identity::of(pid.cast_signed()));
                    self.roster.set(role, identity);
                    let ended = tokio::select! {
                        ended = child.wait() => ended,
                        () = stop.cancelled() => {
                            end(role, &mut child, identity, &kill).await;
                            self.roster.set(role, None);
                            return;
                        }
                    };
                    self.roster.set(role, None);
                    ended.map_or_else(|error| error.to_string(), |status| status.to_string())
                }
                Err(error) => format!("it could not be started: {error}"),
            };
            if began.elapsed() >= SETTLED {
                (deaths, pause) = (0, PAUSE_MIN);
            }
            deaths += 1;
            if !self.is_up.load(Ordering::Relaxed) && deaths >= HOPELESS {
                let _ = self.gave_up.try_send(format!("the {role} died {deaths} times while it started ({how})"));
                return;
            }
            let pause_ms = pause.as_millis() as u64;
            if deaths == LOOP {
                tracing::error!(
                    role,
                    how,
                    deaths,
                    "the {role} dies each time it starts; its last words are above. It is tried again every 5 s; \
                     `envforged doctor` looks for the cause"
                );
            } else {
                tracing::warn!(role, how, deaths, pause_ms, "the {role} died and is started again");
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            pause = (pause * 2).min(PAUSE_MAX);
            self.restarts.get_or_create(&[("role", role)]).inc();
        }
    }
}

async fn end(role: &str, child: &mut Child, identity: Option<Identity>, kill: &CancellationToken) {
    if let Some(identity) = identity {
        identity.signal(Signal::TERM);
    }
    tokio::select! {
        _ = timeout(DRAIN, child.wait()) => {}
        () = kill.cancelled() => {}
    }
    if matches!(child.try_wait(), Ok(None)) {
        tracing::warn!(role, "the {role} did not finish in time and is killed");
        let _ = child.kill().await;
    }
}

/// Waits for children of a supervisor that was killed; the kernel has told them to end.
pub(crate) async fn wait_for_orphans(layout: &Layout) {
    let Ok(text) = fs_err::read(layout.children()) else { return };
    let Ok(orphans) = serde_json::from_slice::<Running>(&text) else { return };
    if orphans.boot != boot() {
        return;
    }
    for (role, orphan) in orphans.children.into_iter().filter(|(_, orphan)| orphan.is_alive()) {
        tracing::info!(role, pid = orphan.pid, "waiting for the {role} of a supervisor that was killed");
        orphan.signal(Signal::TERM);
        let gone = async {
            while orphan.is_alive() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(DRAIN + Duration::from_secs(1), gone).await.is_err() {
            orphan.signal(Signal::KILL);
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// No restarts, of each role.
fn restarts() -> Family<RoleLabel, Counter> {
    let restarts = Family::<RoleLabel, Counter>::default();
    for role in ROLES {
        drop(restarts.get_or_create(&[("role", role)]));
    }
    restarts
}

/// This start of the machine.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}
