//! What survives a crash of the daemon: one file per workspace, always whole.
//!
//! A journal is written in two ways. Before an effect that another machine start must know of (a user id is taken,
//! a workspace is gone) the disk has it: `state.json`, synced. Everything else must survive the daemon only, since a
//! machine that restarts has no processes left to be wrong about: `state.recent.json`, renamed into place and
//! not synced, so that a thaw never waits for a disk; the driver syncs it within a heartbeat. At start the newer of the two
//! that reads is taken. A revision that rises with each write decides which is newer.
//!
//! What must stay true: no command is answered before its answer is in the journal; a report's sequence is in the
//! journal before the report is sent; a report that opens or closes the meter stays until it is acknowledged.

use crate::disk::Spares;
use crate::faults::point;
use crate::files::{self, Durability};
use crate::place::{DataDir, Place};
use crate::reports::ReportQueue;
use crate::services::supervisor::Supervisor;
use crate::sys::process::ProcessIdentity;
use crate::tasks::Tasks;
use crate::trouble::is_full;
use envforge_api::host::{HostCommand, JobReport, ManifestReport, Outcome, PrepareShell, Report, StartRuntime};
use envforge_api::http::runs::RunState;
use envforge_core::id::{CommandId, JobId, WorkspaceId};
use envforge_core::manifest::Manifest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Answered commands remembered.
const ANSWERS_KEPT: usize = 64;
/// Ended jobs remembered.
const JOBS_KEPT: usize = 64;

/// What a runtime should be, by the last command obeyed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "intent")]
pub(crate) enum Intent {
    /// Nothing runs.
    #[default]
    Asleep,
    /// Services run.
    Awake {
        /// As ordered.
        order: StartRuntime,
    },
    /// Paused.
    Frozen {
        /// As ordered before the pause.
        order: StartRuntime,
        /// When it was paused.
        since: Timestamp,
    },
}

/// A command that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answered {
    pub(crate) command: CommandId,
    pub(crate) outcome: Outcome,
}

/// A service that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceRecord {
    pub(crate) supervisor: Supervisor,
    /// Of the process now running, inside the sandbox.
    pub(crate) pid: Option<i32>,
    /// The port it listens on.
    pub(crate) port: Option<u16>,
    /// The address it listens on, if that is not 127.0.0.1.
    #[serde(default)]
    pub(crate) address: Option<IpAddr>,
    /// Where its output begins: the inode of its log, and the byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<(u64, u64)>,
}

/// A job that was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobRecord {
    pub(crate) argv: Vec<String>,
    /// The service whose environment and directory it has.
    #[serde(default)]
    pub(crate) service: Option<String>,
    pub(crate) state: RunState,
    pub(crate) exit_code: Option<i32>,
    pub(crate) cause: Option<String>,
}

impl JobRecord {
    pub(crate) fn report(&self, job: JobId) -> JobReport {
        JobReport { job, state: self.state, exit_code: self.exit_code, cause: self.cause.clone() }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, RunState::Ended | RunState::Failed)
    }
}

/// The setup hook, for one state of the files it depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SetupRecord {
    /// Digest of the command and those files.
    pub(crate) key: String,
    /// The command, as shown.
    pub(crate) command: String,
    pub(crate) state: SetupState,
}

/// A credential on its way to be another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rotating {
    pub(crate) command: HostCommand,
    /// What marks the one from before: as long as that is the one that is kept, nothing was changed.
    pub(crate) before: String,
    /// The services that were ended for it, and start when all of them have.
    #[serde(default)]
    pub(crate) ended: BTreeSet<String>,
}

/// What the runtime's cgroup counted, as far as it was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutOfMemoryRecord {
    /// Processes killed because memory ran out.
    pub(crate) kills: u64,
    /// How often the runtime's own limit was met.
    pub(crate) limit_hits: u64,
}

/// How far the setup hook is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub(crate) enum SetupState {
    /// It runs.
    Running,
    /// It ended with status 0.
    Done,
    /// It did not.
    Failed {
        /// Why, with its last lines.
        cause: String,
    },
}

/// Everything that survives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkspaceState {
    pub(crate) revision: u64,
    pub(crate) workspace: WorkspaceId,
    pub(crate) index: u32,
    pub(crate) uid: u32,
    /// The generation obeyed.
    pub(crate) generation: u64,
    pub(crate) answered: VecDeque<Answered>,
    pub(crate) prepared: Option<PrepareShell>,
    pub(crate) reports: ReportQueue,
    /// The last report, without what is only sent when it changed.
    pub(crate) last: Option<Report>,
    pub(crate) manifest_reported: Option<ManifestReport>,
    pub(crate) intent: Intent,
    /// The manifest the runtime was started with.
    pub(crate) running: Option<Manifest>,
    /// The order to stop that is being carried out.
    #[serde(default)]
    pub(crate) stopping: Option<HostCommand>,
    /// The order to rotate a credential that is being carried out.
    #[serde(default)]
    pub(crate) rotating: Option<Rotating>,
    /// The beginning of the pause that ended last, while the runtime is awake: what `after_wake` is run for.
    #[serde(default)]
    pub(crate) wake_of: Option<Timestamp>,
    pub(crate) shell: Option<ProcessIdentity>,
    /// The shell was put away, with nothing of anybody's in it: who needs one has it started.
    #[serde(default)]
    pub(crate) shell_rests: bool,
    pub(crate) runtime: Option<ProcessIdentity>,
    /// A service or job was started since the runtime came up.
    pub(crate) process_started: bool,
    pub(crate) services: BTreeMap<String, ServiceRecord>,
    pub(crate) jobs: BTreeMap<JobId, JobRecord>,
    pub(crate) setup: Option<SetupRecord>,
    /// The branch database exists.
    pub(crate) database: bool,
    /// What was told of processes that memory ran out for; `None` of a runtime that an older daemon started.
    #[serde(default)]
    pub(crate) out_of_memory: Option<OutOfMemoryRecord>,
}

impl WorkspaceState {
    pub(crate) fn new(workspace: WorkspaceId, index: u32, uid: u32) -> Self {
        Self {
            revision: 0,
            workspace,
            index,
            uid,
            generation: 0,
            answered: VecDeque::new(),
            prepared: None,
            reports: ReportQueue::default(),
            last: None,
            manifest_reported: None,
            intent: Intent::Asleep,
            running: None,
            stopping: None,
            rotating: None,
            wake_of: None,
            shell: None,
            shell_rests: false,
            runtime: None,
            process_started: false,
            services: BTreeMap::new(),
            jobs: BTreeMap::new(),
            setup: None,
            database: false,
            out_of_memory: None,
        }
    }

    /// The answer a command already got, or must get because a newer one was obeyed.
    pub(crate) fn answer_to(&self, command: &HostCommand) -> Option<Outcome> {
        let answered = self.answered.iter().find(|answered| answered.command == command.id);
        match answered {
            Some(answered) => Some(answered.outcome.clone()),
            None if command.generation < self.generation => Some(Outcome::Stale),
            None => None,
        }
    }

    /// Remembers an answer; the oldest are forgotten.
    pub(crate) fn remember(&mut self, command: CommandId, outcome: Outcome) {
        self.answered.retain(|answered| answered.command != command);
        self.answered.push_back(Answered { command, outcome });
        while self.answered.len() > ANSWERS_KEPT {
            self.answered.pop_front();
        }
    }

    /// Forgets the oldest jobs that are over, and says which.
    pub(crate) fn prune_jobs(&mut self) -> Vec<JobId> {
        // Ids are ordered by time.
        let mut over: Vec<JobId> = self.jobs.iter().filter(|(_, job)| job.is_over()).map(|(id, _)| *id).collect();
        over.truncate(over.len().saturating_sub(JOBS_KEPT));
        for id in &over {
            self.jobs.remove(id);
        }
        over
    }
}

/// The files of one workspace's journal.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    synced: PathBuf,
    recent: PathBuf,
    /// The revision the synced file has; its lock is held while that file is written.
    last_synced: Arc<Mutex<u64>>,
    /// For a full disk; only who writes has them.
    spares: Option<Arc<Spares>>,
}

impl Journal {
    pub(crate) fn of(place: &Place) -> Self {
        Self {
            synced: place.root().join("state.json"),
            recent: place.root().join("state.recent.json"),
            last_synced: Arc::default(),
            spares: None,
        }
    }

    /// The same, to be written also while the disk is full.
    pub(crate) fn with(self, spares: &Arc<Spares>) -> Self {
        Self { spares: Some(Arc::clone(spares)), ..self }
    }

    /// Writes the state, raising its revision.
    pub(crate) fn write(&self, state: &mut WorkspaceState, durability: Durability) -> io::Result<()> {
        state.revision += 1;
        let bytes = serde_json::to_vec(state).map_err(io::Error::other)?;
        point("journal.before");
        match durability {
            Durability::Process => self.replace(&self.recent, &bytes, durability)?,
            Durability::Machine => self.write_synced(state.revision, &bytes)?,
        }
        point("journal.after");
        Ok(())
    }

    fn write_synced(&self, revision: u64, bytes: &[u8]) -> io::Result<()> {
        let mut last = self.last_synced.lock().unwrap_or_else(PoisonError::into_inner);
        if revision > *last {
            self.replace(&self.synced, bytes, Durability::Machine)?;
            *last = revision;
        }
        Ok(())
    }

    fn replace(&self, path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
        replace(path, bytes, durability, self.spares.as_deref())
    }

    /// Brings the state to the disk without keeping anybody waiting.
    pub(crate) fn sync_later(&self, state: &mut WorkspaceState, tasks: &Tasks) {
        state.revision += 1;
        let Ok(bytes) = serde_json::to_vec(state) else { return };
        let (journal, revision, workspace) = (self.clone(), state.revision, state.workspace);
        tasks.spawn("journal-sync", async move {
            let written = tokio::task::spawn_blocking(move || journal.write_synced(revision, &bytes)).await;
            if let Ok(Err(error)) = written {
                tracing::warn!(%workspace, %error, "journal: not synced");
            }
        });
    }

    /// The newest state that reads; `None` when there is none.
    pub(crate) fn read(&self) -> io::Result<Option<WorkspaceState>> {
        let mut newest: Option<WorkspaceState> = None;
        let mut broken = None;
        for path in [&self.synced, &self.recent] {
            let bytes = match fs_err::read(path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            match serde_json::from_slice::<WorkspaceState>(&bytes) {
                Ok(state) if newest.as_ref().is_none_or(|newest| newest.revision < state.revision) => {
                    newest = Some(state);
                }
                Ok(_) => {}
                // An unsynced file after a machine crash; the synced one stands in.
                Err(error) => broken = Some(io::Error::other(format!("{}: {error}", path.display()))),
            }
        }
        match (newest, broken) {
            (None, Some(error)) => Err(error),
            (newest, _) => Ok(newest),
        }
    }
}

/// Replaces a file of JSON, with what was put by for that if the disk is full.
fn replace(path: &Path, json: &[u8], durability: Durability, spares: Option<&Spares>) -> io::Result<()> {
    if let Some(spares) = spares.filter(|spares| spares.hold(path))
        && spares.replace(path, json).is_ok()
    {
        return Ok(());
    }
    match (files::replace(path, json, 0o600, durability), spares) {
        (Err(error), Some(spares)) if is_full(&error) => spares.replace(path, json).map_err(|_| error),
        (written, _) => written,
    }
}

/// What is remembered of a workspace that was deleted: enough to answer its commands again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gravestone {
    pub(crate) generation: u64,
    pub(crate) answered: VecDeque<Answered>,
    pub(crate) at: Timestamp,
}

impl Gravestone {
    pub(crate) fn answer_to(&self, command: &HostCommand) -> Option<Outcome> {
        let answered = self.answered.iter().find(|answered| answered.command == command.id);
        match answered {
            Some(answered) => Some(answered.outcome.clone()),
            None if command.generation < self.generation => Some(Outcome::Stale),
            None => None,
        }
    }

    pub(crate) fn write(&self, data: &DataDir, workspace: WorkspaceId, spares: &Spares) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::other)?;
        replace(&data.destroyed().join(workspace.to_string()), &bytes, Durability::Machine, Some(spares))
    }

    pub(crate) fn read(data: &DataDir, workspace: WorkspaceId) -> Option<Self> {
        let bytes = fs_err::read(data.destroyed().join(workspace.to_string())).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Forgets those older than `before`.
    pub(crate) fn prune(data: &DataDir, before: Timestamp) -> io::Result<()> {
        for entry in fs_err::read_dir(data.destroyed())? {
            let path = entry?.path();
            let stone = fs_err::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
            if stone.is_none_or(|stone| stone.at < before) {
                files::remove_if_there(&path)?;
            }
        }
        Ok(())
    }
}

/// What the journals of a host say.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) states: Vec<WorkspaceState>,
    /// Linux users of workspaces whose journal can't be read: nobody else may be given them.
    pub(crate) users: Vec<u32>,
}

/// The states of all workspaces of this host; one that can't be read is told and left alone.
pub(crate) fn read_all(data: &DataDir) -> io::Result<Found> {
    let mut found = Found::default();
    for entry in fs_err::read_dir(data.workspaces())? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(Ok(workspace)) = name.to_str().map(str::parse::<WorkspaceId>) else { continue };
        // Index and user are not known before the journal is read, and not needed to find it.
        let place = data.place(workspace, 0, 0);
        match Journal::of(&place).read() {
            Ok(Some(state)) => found.states.push(state),
            // The journal is the first thing made and the last removed: what has none is no workspace yet, or none any more.
            Ok(None) => files::remove_tree(&entry.path())?,
            Err(error) => {
                tracing::error!(%workspace, %error, "journal: a workspace can't be taken up");
                found.users.extend(fs_err::symlink_metadata(place.home()).map(|metadata| metadata.uid()));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
