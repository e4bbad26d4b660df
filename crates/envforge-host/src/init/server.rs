//! The init's main loop: accept, reap, end.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags};
use rustix::process::WaitOptions;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use super::connection;
use super::forward::Forwards;
use super::log::Logs;
use super::processes::Processes;
use super::protocol::{Event, ServerFrame};
use super::wire::PacketListener;
use crate::sys::process::{Stat, all_pids};
use crate::sys::sandbox::{Entered, Report, report};

/// The grace of a shutdown that was asked for by signal.
const SIGNAL_GRACE: Duration = Duration::from_secs(5);

/// Messages a slow subscriber may lag behind before its connection is closed; it can ask `List` when it is back.
const OUTGOING: usize = 1024;

/// What all connections share. One thread, so cells suffice; nothing is borrowed across an await.
pub(super) struct Shared {
    pub(super) processes: RefCell<Processes>,
    pub(super) logs: Logs,
    pub(super) forwards: Forwards,
    subscribers: RefCell<Vec<mpsc::Sender<Outgoing>>>,
    /// Something ended.
    pub(super) reaped: Notify,
    /// The grace of the shutdown that was asked for.
    shutdown: Cell<Option<Duration>>,
    shutdown_asked: Notify,
}

/// A message on its way out.
pub(super) struct Outgoing {
    pub(super) frame: ServerFrame,
    pub(super) fds: Vec<OwnedFd>,
}

impl Shared {
    pub(super) fn is_shutting_down(&self) -> bool {
        self.shutdown.get().is_some()
    }

    pub(super) fn ask_shutdown(&self, grace: Duration) {
        if !self.is_shutting_down() {
            self.shutdown.set(Some(grace));
        }
        self.shutdown_asked.notify_one();
    }

    pub(super) fn subscribe(&self, sender: mpsc::Sender<Outgoing>) {
        self.subscribers.borrow_mut().push(sender);
    }

    pub(super) fn tell(&self, event: &Event) {
        self.subscribers.borrow_mut().retain(|subscriber| {
            let frame = ServerFrame::Event(event.clone());
            subscriber.try_send(Outgoing { frame, fds: Vec::new() }).is_ok()
        });
    }
}

/// A queue for one connection.
pub(super) fn outgoing() -> (mpsc::Sender<Outgoing>, mpsc::Receiver<Outgoing>) {
    mpsc::channel(OUTGOING)
}

/// Serves until the sandbox is to end.
pub(super) async fn serve(entered: Entered) -> io::Result<()> {
    let Entered { spec, listener, log_dir, init_only } = entered;
    let listener = PacketListener::new(listener)?;
    let mut child_ended = signal(SignalKind::child())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let shared = Rc::new(Shared {
        processes: RefCell::new(Processes::new(&spec)),
        logs: Logs::new(log_dir, &spec),
        forwards: Forwards::new(init_only),
        subscribers: RefCell::default(),
        reaped: Notify::new(),
        shutdown: Cell::new(None),
        shutdown_asked: Notify::new(),
    });
    // Nobody would end root that outlived its daemon, so it ends with the first connection.
    let mut is_tied = spec.elevated.is_some();
    report(&Report::Ready);
    let_go_of_starter(&shared);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of descriptors, say; the peer tries again.
                if let Ok(socket) = accepted {
                    let (shared, is_owner) = (Rc::clone(&shared), std::mem::take(&mut is_tied));
                    tokio::task::spawn_local(async move {
                        connection::serve(Rc::clone(&shared), socket).await;
                        if is_owner {
                            shared.ask_shutdown(Duration::ZERO);
                        }
                    });
                }
            }
            _ = child_ended.recv() => reap(&shared),
            _ = terminate.recv() => shared.ask_shutdown(SIGNAL_GRACE),
            () = shared.shutdown_asked.notified() => break,
        }
    }
    let grace = shared.shutdown.get().unwrap_or(SIGNAL_GRACE);
    let _ = kill(Pid::from_raw(-1), Signal::SIGTERM);
    let _ = tokio::time::timeout(grace, async {
        while others_run() {
            tokio::select! {
                _ = child_ended.recv() => reap(&shared),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    })
    .await;
    // The kernel ends whatever is left when this process does. Subscribers get what is queued for them first.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    reap(&shared);
    tokio::task::yield_now().await;
    Ok(())
}

/// From here on nothing leads to the process that started this one: its pipes break when the daemon ends.
fn let_go_of_starter(shared: &Shared) {
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        // Where a panic of this program would be found.
        let own = shared.logs.open_own();
        let _ = rustix::stdio::dup2_stderr(own.as_ref().unwrap_or(&null));
    }
}

/// Collects every process that ended, orphans included, and tells of the named ones.
fn reap(shared: &Shared) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        let ended = shared.processes.borrow_mut().ended(
            pid.as_raw_nonzero().get(),
            status.exit_status(),
            status.terminating_signal(),
        );
        if let Some(event) = ended {
            shared.tell(&event);
        }
    }
    shared.reaped.notify_waiters();
}

fn others_run() -> bool {
    all_pids().into_iter().any(|pid| pid != 1 && Stat::read(pid).is_ok_and(|stat| !stat.ended))
}
