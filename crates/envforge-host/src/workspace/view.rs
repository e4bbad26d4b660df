//! What others may know of a workspace without asking its driver.
//!
//! The driver writes it after every change; streams and heartbeats read it. It decides nothing.

use crate::init::client::InitClient;
use crate::place::Place;
use crate::sys::process::ProcessIdentity;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The shared view.
pub(crate) struct View(Mutex<Seen>);

/// What is seen.
pub(crate) struct Seen {
    pub(crate) place: Place,
    pub(crate) generation: u64,
    /// The shell's init, once the shell is ready.
    pub(crate) shell: Option<InitClient>,
    /// Declared services.
    pub(crate) services: BTreeSet<String>,
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
}

impl View {
    pub(crate) fn new(place: Place) -> Self {
        Self(Mutex::new(Seen {
            place,
            generation: 0,
            shell: None,
            services: BTreeSet::new(),
            ports: BTreeMap::new(),
            jobs: BTreeSet::new(),
            jobs_running: 0,
            runtime: None,
            runs: false,
            frozen: false,
            process_runs: false,
        }))
    }

    /// What is seen now; hold it briefly and never across an await.
    pub(crate) fn get(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
