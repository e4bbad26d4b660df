//! Which workspaces this host has, and the way to each one's driver.
//!
//! A workspace appears here by its first `PREPARE_SHELL` or by its journal at start, and goes with its destruction.
//! Each takes an index, from which its Linux user and its network addresses follow; no two have the same at a time.

use super::driver::Driver;
use super::events::Event;
use super::view::View;
use crate::ctx::HostContext;
use crate::engines::Layer;
use crate::journal::{Gravestone, WorkspaceState};
use crate::place::Place;
use crate::sys::ports::traffic;
use crate::trouble::blocked;
use envforge_api::host::{FromHost, HostCommand, Order, Outcome, PrepareShell, Pulse, Work, WorkspaceNames};
use envforge_core::id::{CommandId, WorkspaceId};
use envforge_core::readiness::ReadinessState;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// More workspaces than a host's network pool has room for.
const INDEX_LIMIT: u32 = crate::sys::egress::POOL_SIZE;

/// All workspaces of this host.
pub(crate) struct Workspaces {
    ctx: Arc<HostContext>,
    map: Mutex<BTreeMap<WorkspaceId, Handle>>,
    /// Indexes of workspaces whose journals can't be read.
    reserved: Vec<u32>,
    /// What each runtime had used at the last heartbeat, and when that was.
    used: Mutex<BTreeMap<WorkspaceId, (Used, Timestamp)>>,
}

/// What a runtime used since it was made: microseconds of CPU, bytes of disks and network.
#[derive(Clone, Copy)]
struct Used {
    cpu: u64,
    disk: u64,
    network: u64,
}

struct Handle {
    queue: mpsc::UnboundedSender<Event>,
    view: Arc<View>,
    index: u32,
}

/// How many there are of what.
#[derive(Debug, Default)]
pub(crate) struct Census {
    pub(crate) workspaces: usize,
    pub(crate) runtimes: usize,
    pub(crate) frozen: usize,
    /// Of each declared service.
    pub(crate) services: Vec<ReadinessState>,
}

impl Workspaces {
    /// `reserved` are indexes not to be given to anybody.
    pub(crate) fn new(ctx: Arc<HostContext>, reserved: Vec<u32>) -> Arc<Self> {
        Arc::new(Self { ctx, map: Mutex::default(), reserved, used: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<WorkspaceId, Handle>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up the workspaces an earlier daemon left.
    pub(crate) fn take_up(self: &Arc<Self>, states: Vec<WorkspaceState>) {
        let mut map = self.lock();
        for state in states {
            if map.values().any(|handle| handle.index == state.index) {
                tracing::error!(workspace = %state.workspace, index = state.index, "journal: two workspaces have one index; this one is left alone");
                continue;
            }
            let handle = self.start(state);
            map.insert(handle.0, handle.1);
        }
    }

    fn start(self: &Arc<Self>, state: WorkspaceState) -> (WorkspaceId, Handle) {
        let (queue, events) = mpsc::unbounded_channel();
        let (workspace, index) = (state.workspace, state.index);
        let place = self.ctx.data.place(workspace, index, state.uid);
        let view = Arc::new(View::new(place.clone()));
        let driver =
            Driver::new(Arc::clone(&self.ctx), Arc::clone(self), place, state, Arc::clone(&view), queue.clone());
        self.ctx.tasks.spawn("workspace", Box::new(driver).run(events));
        (workspace, Handle { queue, view, index })
    }

    /// A command from the server.
    pub(crate) fn command(self: &Arc<Self>, command: HostCommand) {
        if command.org != self.ctx.identity.org {
            tracing::error!(org = %command.org, command = %command.id, "a command of another org was refused");
            let trouble =
                blocked("host.wrong_org", "this host obeys another org", "send the command to a host of its own org");
            return self.answer(command.id, Outcome::Failed(trouble.into()));
        }
        if let Order::EndElevation(end) = &command.order {
            // At once; its driver, which may be busy, sees to the rest.
            drop(self.ctx.elevations.cut(command.workspace, end.elevation));
        }
        let mut map = self.lock();
        if let Some(handle) = map.get(&command.workspace) {
            drop(handle.queue.send(Event::Command(Box::new(command))));
            return;
        }
        if let Some(outcome) =
            Gravestone::read(&self.ctx.data, command.workspace).and_then(|stone| stone.answer_to(&command))
        {
            return self.answer(command.id, outcome);
        }
        match command.order {
            Order::PrepareShell(_) => {
                let taken: Vec<u32> = map.values().map(|handle| handle.index).collect();
                let is_free = |index: &u32| !taken.contains(index) && !self.reserved.contains(index);
                let Some(index) = (0..INDEX_LIMIT).find(is_free) else {
                    let trouble = blocked(
                        "host.full",
                        "this host has as many workspaces as it can",
                        "delete a workspace, or add a host",
                    );
                    return self.answer(command.id, Outcome::Failed(trouble.into()));
                };
                let state = WorkspaceState::new(command.workspace, index, self.ctx.config.uid_base + index);
                let (workspace, handle) = self.start(state);
                drop(handle.queue.send(Event::Command(Box::new(command))));
                map.insert(workspace, handle);
            }
            Order::DestroyWorkspace | Order::EndElevation(_) => self.answer(command.id, Outcome::Done),
            Order::FreezeRuntime
            | Order::StopRuntime
            | Order::StartRuntime(_)
            | Order::NameDevHosts(_)
            | Order::RunJob(_)
            | Order::ChangeService(_)
            | Order::RotateCredential(_) => {
                let trouble = blocked(
                    "workspace.not_prepared",
                    "this host does not have the workspace",
                    "prepare its shell first",
                );
                self.answer(command.id, Outcome::Failed(trouble.into()));
            }
        }
    }

    fn answer(&self, command: CommandId, outcome: Outcome) {
        self.ctx.outbox.send(FromHost::Answer { command, outcome });
    }

    /// The server has a workspace's reports up to here.
    pub(crate) fn acknowledge(&self, workspace: WorkspaceId, sequence: u64) {
        if let Some(handle) = self.lock().get(&workspace) {
            drop(handle.queue.send(Event::Acknowledge(sequence)));
        }
    }

    /// There is a new connection to the server.
    pub(crate) fn connected(&self) {
        for handle in self.lock().values() {
            drop(handle.queue.send(Event::Connected));
        }
    }

    /// What is known of a workspace.
    pub(crate) fn view(&self, workspace: WorkspaceId) -> Option<Arc<View>> {
        self.lock().get(&workspace).map(|handle| Arc::clone(&handle.view))
    }

    /// Where the workspace of this branch of the same project is, apart from `except`; of several, the first that was made.
    pub(crate) fn of_branch(&self, names: &WorkspaceNames, branch: &str, except: WorkspaceId) -> Option<Place> {
        let is_it = |prepared: &PrepareShell| {
            (&prepared.names.org, &prepared.names.project, prepared.branch.as_str())
                == (&names.org, &names.project, branch)
        };
        let map = self.lock();
        // Ids are ordered by time.
        map.iter().filter(|(workspace, _)| **workspace != except).find_map(|(_, handle)| {
            let seen = handle.view.get();
            seen.prepared.as_ref().is_some_and(is_it).then(|| seen.place.clone())
        })
    }

    /// Whether there is a runtime, awake or paused, or may be one: not every driver knows yet what an earlier daemon left.
    pub(crate) fn may_have_runtimes(&self) -> bool {
        self.lock().values().any(|handle| !handle.view.is_taken_up() || handle.view.get().runs)
    }

    /// The workspace is gone; its index may be given again.
    pub(super) fn forget(&self, workspace: WorkspaceId) {
        self.lock().remove(&workspace);
    }

    /// How many there are of what.
    pub(crate) fn census(&self) -> Census {
        let views: Vec<Arc<View>> = self.lock().values().map(|handle| Arc::clone(&handle.view)).collect();
        let mut census = Census { workspaces: views.len(), ..Census::default() };
        for view in views {
            let seen = view.get();
            census.runtimes += usize::from(seen.runs);
            census.frozen += usize::from(seen.frozen);
            census.services.extend(&seen.readiness);
        }
        census
    }

    /// What each workspace with a running process does, noted as the last proof that it ran.
    pub(crate) fn pulses(&self, at: Timestamp) -> Vec<Pulse> {
        let views: Vec<(WorkspaceId, Arc<View>)> =
            self.lock().iter().map(|(workspace, handle)| (*workspace, Arc::clone(&handle.view))).collect();
        let mut before = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut after = BTreeMap::new();
        let mut pulses = Vec::new();
        for (workspace, view) in views {
            let (place, generation, jobs_running, init) = {
                let seen = view.get();
                let runs = seen.runs && !seen.frozen && seen.process_runs;
                let Some(init) = seen.runtime.filter(|init| runs && init.is_running()) else { continue };
                (seen.place.clone(), seen.generation, seen.jobs_running + seen.transfers, init)
            };
            if let Err(error) = super::proof::touch(&place.proof(), at) {
                tracing::debug!(%workspace, %error, "proof: not noted");
            }
            let stats = self.ctx.engine.stats(&place, Layer::Runtime).unwrap_or_default();
            // Without a network of its own it would be the machine's.
            let network = if self.ctx.engine.has_own_network() { traffic(init.pid).unwrap_or(0) } else { 0 };
            let used = Used { cpu: stats.cpu_usage_us, disk: stats.disk_bytes, network };
            // What was used before the first heartbeat is that of no interval: of a daemon before this one, or of the start.
            let (then, since) = before.get(&workspace).copied().unwrap_or((used, at));
            let cpu = used.cpu.saturating_sub(then.cpu);
            pulses.push(Pulse {
                workspace,
                generation,
                process_runs: true,
                service_milli_cpu: milli_cpu(cpu, since, at),
                memory: stats.memory_bytes,
                jobs_running,
                work: Some(Work {
                    cpu: cpu / 1_000,
                    disk: used.disk.saturating_sub(then.disk),
                    network: used.network.saturating_sub(then.network),
                }),
            });
            after.insert(workspace, (used, at));
        }
        *before = after;
        pulses
    }
}

/// Microseconds of CPU between two instants, as thousandths of a core.
fn milli_cpu(used: u64, from: Timestamp, to: Timestamp) -> u64 {
    let passed = u64::try_from(to.duration_since(from).as_micros()).unwrap_or(0);
    used.saturating_mul(1_000).checked_div(passed).unwrap_or(0)
}
