//! What others may know of a workspace without asking its driver.
//!
//! The driver writes it after every change; streams and heartbeats read it. It decides nothing.

use crate::console;
use crate::init::client::InitClient;
use crate::place::Place;
use crate::redact::Known;
use crate::sys::process::ProcessIdentity;
use envforge_api::host::PrepareShell;
use envforge_core::readiness::ReadinessState;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore, watch};

/// Held to read by whoever copies a workspace's files, to write by whoever makes or removes them: no copy is of half of them.
pub(crate) type FilesLock = Arc<tokio::sync::RwLock<()>>;

/// The shared view.
pub(crate) struct View {
    seen: Mutex<Seen>,
    files: FilesLock,
    /// Held while a terminal is made or ended: their number is a limit.
    terminals: tokio::sync::Mutex<()>,
    consoles: Arc<Semaphore>,
    /// Somebody needs the shell, which is not there.
    shell_missed: Notify,
    /// A root terminal was opened.
    stirred: Notify,
    /// The driver has found out what is there.
    taken_up: watch::Sender<bool>,
}

/// What is seen.
pub(crate) struct Seen {
    pub(crate) place: Place,
    pub(crate) generation: u64,
    /// What the workspace was prepared as, once it was.
    pub(crate) prepared: Option<PrepareShell>,
    /// The shell's init, once the shell is ready.
    pub(crate) shell: Option<InitClient>,
    /// Those who are about to start something in it.
    shell_users: u32,
    /// How many there have been.
    shell_uses: u64,
    /// The runtime's init, while it can be told something.
    pub(crate) runtime_init: Option<InitClient>,
    /// Dumps and restores on their way: a runtime with one is at work.
    pub(crate) transfers: u32,
    /// Declared services.
    pub(crate) services: BTreeSet<String>,
    /// How each of them is.
    pub(crate) readiness: Vec<ReadinessState>,
    /// The port each service listens on.
    pub(crate) ports: BTreeMap<String, u16>,
    /// Jobs remembered, by id.
    pub(crate) jobs: BTreeSet<String>,
    pub(crate) jobs_running: u32,
    /// The runtime's init, while there is one.
    pub(crate) runtime: Option<ProcessIdentity>,
    /// There is a runtime, paused or not.
    pub(crate) runs: bool,
    /// It is paused.
    pub(crate) frozen: bool,
    /// A service or job was started in it.
    pub(crate) process_runs: bool,
    /// Processes of commands whose client is there.
    pub(crate) commands: BTreeSet<String>,
    /// Secrets that services were given; what is recorded is looked through for them.
    pub(crate) secrets: Arc<Known>,
}

impl View {
    pub(crate) fn new(place: Place) -> Self {
        let seen = Seen {
            place,
            generation: 0,
            prepared: None,
            shell: None,
            shell_users: 0,
            shell_uses: 0,
            runtime_init: None,
            transfers: 0,
            services: BTreeSet::new(),
            readiness: Vec::new(),
            ports: BTreeMap::new(),
            jobs: BTreeSet::new(),
            jobs_running: 0,
            runtime: None,
            runs: false,
            frozen: false,
            process_runs: false,
            commands: BTreeSet::new(),
            secrets: Arc::default(),
        };
        Self {
            seen: Mutex::new(seen),
            files: FilesLock::default(),
            terminals: tokio::sync::Mutex::default(),
            consoles: console::places(),
            shell_missed: Notify::new(),
            stirred: Notify::new(),
            taken_up: watch::Sender::new(false),
        }
    }

    /// Until it is dropped, nobody else makes or ends a terminal.
    pub(crate) async fn only_terminals(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.terminals.lock().await
    }

    /// How many more console answers it may begin.
    pub(crate) fn consoles(&self) -> Arc<Semaphore> {
        Arc::clone(&self.consoles)
    }

    /// Somebody is about to start something in the shell: while the answer is held, it is not put away.
    pub(crate) fn use_shell(&self) -> ShellUse<'_> {
        let mut seen = self.get();
        seen.shell_users += 1;
        seen.shell_uses += 1;
        if seen.shell.is_none() {
            self.shell_missed.notify_one();
        }
        ShellUse(self)
    }

    /// Waits until somebody needs the shell and finds none.
    pub(super) async fn shell_missed(&self) {
        self.shell_missed.notified().await;
    }

    /// From now on somebody may change the workspace's files without a layer of its driver's.
    pub(crate) fn stir(&self) {
        self.stirred.notify_one();
    }

    /// Waits for that.
    pub(super) async fn stirred(&self) {
        self.stirred.notified().await;
    }

    /// How often the shell was used, if nobody is at it.
    pub(super) fn shell_uses(&self) -> Option<u64> {
        let seen = self.get();
        (seen.shell_users == 0 && seen.commands.is_empty()).then_some(seen.shell_uses)
    }

    /// Keeps everybody from the shell, unless it was used since it had been used so often.
    pub(super) fn close_shell(&self, uses: u64) -> bool {
        let mut seen = self.get();
        let unused = seen.shell_users == 0 && seen.shell_uses == uses;
        if unused {
            seen.shell = None;
        }
        unused
    }

    /// The lock of its files.
    pub(crate) fn files(&self) -> FilesLock {
        Arc::clone(&self.files)
    }

    /// The driver knows now what an earlier daemon left.
    pub(super) fn set_taken_up(&self) {
        self.taken_up.send_replace(true);
    }

    pub(super) fn is_taken_up(&self) -> bool {
        *self.taken_up.borrow()
    }

    /// Waits until the driver knows what an earlier daemon left; it takes milliseconds.
    pub(crate) async fn taken_up(&self) {
        drop(self.taken_up.subscribe().wait_for(|taken_up| *taken_up).await);
    }

    /// What is seen now; hold it briefly and never across an await.
    pub(crate) fn get(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody is about to start something in the shell.
pub(crate) struct ShellUse<'a>(&'a View);

impl Drop for ShellUse<'_> {
    fn drop(&mut self) {
        self.0.get().shell_users -= 1;
    }
}
