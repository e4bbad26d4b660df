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
//! - Killing the supervisor ends its children (the kernel tells them). PostgreSQL, shells and services live on; the next
//!   `envforged all` adopts them.
//! - `SIGTERM` drains: gateway and host finish, then the server, then PostgreSQL stops. Shells and services stay: an
//!   upgrade is `stop`, replace the program, start. (A service manager must therefore signal this process only:
//!   `KillMode=process`.)
//! - Before anything is started the box is locked and its ports are free, or nothing is started.

mod children;
mod database;
pub(crate) mod layout;
pub(crate) mod lock;
pub(crate) mod probe;
mod specs;
mod steps;

use super::StopSignals;
use crate::account::is_root;
use crate::args::AllArguments;
use crate::postgres::{Cluster, Postmaster};
use crate::{listen, notify, private, telemetry};
use anyhow::{Context as _, bail};
use children::{Keeper, Spec};
use layout::{Accounts, Layout};
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
    let mut steps = Steps::new();
    let accounts = Accounts::resolve(arguments)?;
    let layout = Layout::of(&arguments.place)?;
    layout.prepare(&accounts)?;
    let _lock = lock::take(&layout)?;
    children::wait_for_orphans(&layout).await;
    listen::check_free(arguments.listen, "--listen")?;
    listen::check_free(arguments.gateway_listen, "--gateway-listen")?;
    let cluster = database::cluster(arguments, &layout, &accounts)?.map(Arc::new);
    if !is_root() {
        steps.note(
            "not root: server, gateway, host and PostgreSQL run as one user, so only the programs themselves keep \
             them apart",
        );
    }
    let (keeper, hopeless) = Keeper::new(&layout);
    let stops = Stops::default();
    let mut running = Running { layout, accounts, keeper, stops, tasks: JoinSet::new(), early: JoinSet::new() };
    let started = tokio::select! {
        started = running.start(arguments, cluster.as_ref(), hopeless, &mut steps) => started,
        () = signals.next() => Ok(()),
    };
    if started.is_ok() && running.is_up() {
        notify::tell(notify::READY);
        signals.next().await;
    }
    notify::tell(notify::STOPPING);
    if started.is_ok() {
        tracing::info!("stopping; shells and services stay");
    }
    tokio::select! {
        () = running.drain() => {}
        () = async { signals.next().await; running_kill(&stops_of(&started)).await } => {}
    }
    if let Some(cluster) = cluster {
        cluster.stop().await.context("stopping PostgreSQL")?;
    }
    started.map(|()| ExitCode::SUCCESS)
}
