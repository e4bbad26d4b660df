//! What every role does alike: end with its supervisor, run on few threads, stop in two stages.
//!
//! The first signal cancels a token: the role stops accepting and finishes what is open. A second signal, or ten
//! seconds, ends it as it stands. A role whose supervisor dies gets `SIGTERM` from the kernel and stops the same
//! way, so that a killed supervisor leaves no process behind that a new one would have to argue with; PostgreSQL
//! and sandboxes are no children and live on.

pub(crate) mod acme;
pub(crate) mod all;
pub(crate) mod gateway;
pub(crate) mod host;
pub(crate) mod server;

use crate::args::Supervised;
use anyhow::{Context as _, bail};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long a role may take to finish what is open.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);

/// Runs a role until it is told to stop; `notice` is how long it says so before it begins to.
///
/// Two worker threads: one box has two cores to begin with, and every thread costs memory that workspaces could use.
fn run<F>(name: &'static str, supervised: &Supervised, notice: Duration, role: F) -> anyhow::Result<ExitCode>
where
    F: AsyncFnOnce(CancellationToken) -> anyhow::Result<()>,
{
    follow(supervised)?;
    // `ps` and `top` would say `exe`: the supervisor runs us as `/proc/self/exe`.
    let _ = rustix::thread::set_name(&std::ffi::CString::new(format!("ef-{name}"))?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(32)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let traces = crate::telemetry::start_role(name, runtime.handle());
    let outcome = runtime.block_on(async {
        let mut stop = StopSignals::new()?;
        let token = CancellationToken::new();
        let watcher = async {
            stop.next().await;
            token.cancel();
            tokio::select! {
                () = stop.next() => "a second signal came",
                () = tokio::time::sleep(notice + DRAIN) => "the time to finish is over",
            }
        };
        tokio::select! {
            outcome = role(token.clone()) => match outcome {
                Ok(()) if !token.is_cancelled() => bail!("the {name} ended without being told to"),
                outcome => outcome,
            },
            why = watcher => {
                tracing::warn!("{name}: {why}, ending as it stands");
                Ok(())
            }
        }
    });
    if let Some(traces) = traces {
        traces.flush();
    }
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Open files a gateway with tens of thousands of connections needs.
const OPEN_FILES: u64 = 1 << 20;

/// Lets this process's children raise how many files they hold open; without root, as far as the limit goes. What they
/// begin with stays as it is: programs in workspaces are not used to more.
fn raise_open_files_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    if crate::account::is_root() && now.maximum.is_some_and(|maximum| maximum < OPEN_FILES) {
        let _ = setrlimit(Resource::Nofile, Rlimit { maximum: Some(OPEN_FILES), ..now });
    }
}

/// Uses all of the limit, for roles that hold connections.
fn use_open_files_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now });
}

/// Ends this process when its supervisor does.
fn follow(supervised: &Supervised) -> anyhow::Result<()> {
    let Some(supervisor) = supervised.supervisor else { return Ok(()) };
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
        .context("asking to be told of the supervisor's death")?;
    // It may have died before we asked.
    if rustix::process::getppid().map(rustix::process::Pid::as_raw_pid) != Some(supervisor) {
        bail!("the supervisor (process {supervisor}) is gone");
    }
    Ok(())
}

/// The signals that mean *stop*.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl StopSignals {
    fn new() -> anyhow::Result<Self> {
        let watch = |kind| signal(kind).context("listening for signals");
        Ok(Self {
            terminate: watch(SignalKind::terminate())?,
            interrupt: watch(SignalKind::interrupt())?,
            hang_up: watch(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
