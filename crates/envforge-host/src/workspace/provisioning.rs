//! Resources on the way to being usable.
//!
//! A database is made in the background. The other kinds are instances: processes with a supervisor each, like services,
//! but started whatever their inputs, always started again, and ready once they answer as their kind does.

use super::driver::Driver;
use super::events::{Event, RuntimeEvent};
use super::runtime::InstanceUnit;
use crate::engines::inside;
use crate::init::protocol::{Exit, ProcessRecord, ProcessState, RefusalCode};
use crate::place::Place;
use crate::resources::{self, Instance, Provision, Values, postgres};
use crate::services::log_file;
use crate::services::supervisor::{Effect, Event as Change, Exit as ServiceExit, State, Supervisor};
use crate::trouble::{Blocked, blocked};
use crate::uplink::logs::own_log;
use envforge_core::manifest::{Manifest, ResourceKind, ResourceMode, RestartPolicy};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The pid of no init: a database made before there is a runtime.
const NOBODY: i32 = 0;
/// Between two tries to reach an instance that starts.
const AGAIN: Duration = Duration::from_millis(5);
/// What an instance gets between the request to stop and the kill.
pub(super) const GRACE: Duration = Duration::from_secs(5);

impl Driver {
    /// Makes what the manifest asks for and is not there, or could not be had before.
    pub(crate) async fn begin_resources(&mut self) {
        let Some(manifest) = &self.state.running else { return };
        let wanted: Vec<ResourceKind> = manifest
            .resources
            .iter()
            .filter(|(kind, mode)| {
                let missing = matches!(self.runtime.resources.get(kind), None | Some(Provision::Blocked(_)));
                mode.is_branch_scoped() && missing
            })
            .map(|(kind, _)| *kind)
            .collect();
        for kind in wanted {
            self.runtime.resources.insert(kind, Provision::Pending);
            match resources::instance(kind) {
                None => self.begin_postgres(),
                Some(instance) => self.begin_instance(kind, instance).await,
            }
        }
    }

    fn begin_postgres(&self) {
        let (Some(init), Some(manifest)) = (self.layer.pid(), &self.state.running) else { return };
        self.provision_database(manifest, init);
    }

    /// Makes the branch database ahead of the first wake, which then does not wait for it.
    pub(crate) fn prepare_database(&self, manifest: &Manifest) {
        if database(manifest).is_some() && !self.state.database {
            self.provision_database(manifest, NOBODY);
        }
    }

    /// Makes the database in the background, for the runtime with this init. What was begun is finished, also when a
    /// later attempt or a deletion follows: those wait for it.
    fn provision_database(&self, manifest: &Manifest, init: i32) {
        let (ctx, place, known) = (Arc::clone(&self.ctx), self.place.clone(), self.state.database);
        let source = if known { Ok(None) } else { self.database_source(manifest) };
        let extensions = database(manifest).map(|(_, extensions)| extensions.to_vec()).unwrap_or_default();
        let queue = self.queue.clone();
        self.ctx.tasks.spawn_loose("postgres", async move {
            let result = match source {
                Ok(Some(source)) => ctx.postgres.provision_as_copy(&source, &place, ctx.entropy.as_ref()).await,
                Ok(None) => ctx.postgres.provision(&place, known, ctx.entropy.as_ref()).await,
                Err(block) => Err(block),
            };
            let result = match result {
                Ok(values) => ctx.postgres.install(&place, &extensions, ctx.entropy.as_ref()).await.map(|()| values),
                Err(block) => Err(block),
            };
            drop(queue.send(Event::Provisioned(ResourceKind::Postgres, init, Box::new(result))));
        });
    }

    /// Whose database a new one begins as a copy of. The file is the same in every branch: the one it names begins empty.
    fn database_source(&self, manifest: &Manifest) -> Result<Option<Place>, Blocked> {
        let (Some((Some(branch), _)), Some(prepared)) = (database(manifest), &self.state.prepared) else {
            return Ok(None);
        };
        if branch == prepared.branch {
            return Ok(None);
        }
        self.workspaces.of_branch(&prepared.names, branch, self.place.workspace).map(Some).ok_or_else(|| {
            blocked(
                "resource.source_missing",
                format!("the database is to begin as a copy of branch {branch}'s, which has no workspace on this host"),
                format!(
                    "make a workspace of branch {branch}, or remove `from` from `postgres`; then wake this one again"
                ),
            )
        })
    }

    pub(super) async fn provisioned(&mut self, kind: ResourceKind, init: i32, result: Result<Values, Blocked>) {
        if result.is_ok() {
            self.state.database = true;
        }
        if self.layer.pid() != Some(init) || self.runtime.stopping {
            return;
        }
        let result = match result {
            // Its password may be another one by now.
            Ok(values) => {
                self.forward_postgres().await.map(|()| postgres::known(&self.place).ok().flatten().unwrap_or(values))
            }
            Err(block) => Err(block),
        };
        let provision = match result {
            Ok(values) => Provision::Ready(values),
            Err(block) => Provision::Blocked(block),
        };
        self.runtime.resources.insert(kind, provision);
        self.settle().await;
    }

    async fn forward_postgres(&self) -> Result<(), Blocked> {
        let port = self.place.resource_port(postgres::PORT);
        let failed = |cause: String| {
            let fix = format!("is something else in the workspace listening on port {port}?");
            blocked("resource.postgres_failed", cause, fix)
        };
        let client =
            self.layer.client.clone().ok_or_else(|| failed("the runtime's init does not answer".to_owned()))?;
        let socket = Path::new(inside::POSTGRES).join(format!(".s.PGSQL.{}", postgres::PORT));
        let listen = (Ipv4Addr::LOCALHOST, port).into();
        client.forward(listen, &socket, Some(postgres::SHARE)).await.map_err(|error| failed(error.to_string()))
    }

    async fn begin_instance(&mut self, kind: ResourceKind, instance: &dyn Instance) {
        if let Err(block) = instance.check(&self.ctx.config) {
            self.runtime.resources.insert(kind, Provision::Blocked(block));
            return;
        }
        let mut supervisor = Supervisor::new(RestartPolicy::Always);
        let pid = self.runtime.instances.get(&kind).and_then(|unit| unit.pid);
        if pid.is_some() {
            // An earlier daemon started it.
            supervisor.handle(Change::InputsKnown, self.ctx.now());
        }
        self.runtime.instances.insert(kind, InstanceUnit { supervisor, pid, probe: None });
        if pid.is_some() {
            self.watch_instance(kind);
        } else {
            self.change_instance(kind, Change::InputsKnown).await;
        }
    }

    async fn spawn_instance(&self, kind: ResourceKind) -> Result<i32, String> {
        let client = self.layer.client.clone().ok_or("the runtime's init does not answer")?;
        let instance = resources::instance(kind).ok_or("it is no process")?;
        let spawn = resources::spawn(kind, instance, &self.ctx.config, &self.place, self.ctx.entropy.as_ref())
            .map_err(|error| error.to_string())?;
        let mut started = client.spawn(spawn.clone()).await;
        if started.as_ref().is_err_and(|error| error.refusal() == Some(RefusalCode::NameTaken)) {
            drop(client.stop(&spawn.name, GRACE).await);
            started = client.spawn(spawn).await;
        }
        started.map(|spawned| spawned.pid).map_err(|error| error.to_string())
    }

    /// Asks every instance until it answers, unless it has.
    pub(super) fn watch_instances(&mut self) {
        let kinds: Vec<ResourceKind> = self.runtime.instances.keys().copied().collect();
        for kind in kinds {
            self.watch_instance(kind);
        }
    }

    fn watch_instance(&mut self, kind: ResourceKind) {
        let (line, instance) = (self.line(), resources::instance(kind));
        let Some(unit) = self.runtime.instances.get_mut(&kind) else { return };
        let Some(pid) = unit.pid.filter(|_| !matches!(unit.supervisor.state(), State::Ready { .. })) else { return };
        let (Some(line), Some(instance)) = (line, instance) else { return };
        let (ctx, place) = (Arc::clone(&self.ctx), self.place.clone());
        unit.probe = Some(self.ctx.tasks.spawn_owned("resource", async move {
            loop {
                if let Ok(stream) = ctx.engine.connect(&place, instance.port(&place)).await
                    && resources::is_ready(instance, stream).await.unwrap_or(false)
                {
                    line.tell(RuntimeEvent::InstanceReady(kind, pid));
                    return;
                }
                tokio::time::sleep(AGAIN).await;
            }
        }));
    }

    pub(super) async fn instance_ready(&mut self, kind: ResourceKind, pid: i32) {
        if self.runtime.instances.get(&kind).is_some_and(|unit| unit.pid == Some(pid)) {
            self.change_instance(kind, Change::Healthy).await;
            self.settle().await;
        }
    }

    /// The process of an instance ended; `name` is what follows [`resources::PROCESS`].
    pub(super) async fn instance_exited(&mut self, name: &str, pid: i32, exit: Exit) {
        let Some(kind) = ResourceKind::ALL.into_iter().find(|kind| kind.as_str() == name) else { return };
        let Some(unit) = self.runtime.instances.get_mut(&kind).filter(|unit| unit.pid == Some(pid)) else { return };
        (unit.pid, unit.probe) = (None, None);
        let lines = log_file::last_words(&self.place.logs(), &own_log(name), 20, None);
        let memory = self.ended_for_memory(None, exit);
        let exit = ServiceExit { code: exit.code, signal: exit.signal };
        self.change_instance(kind, Change::Exited { exit, memory, lines }).await;
    }

    pub(super) async fn change_instance(&mut self, kind: ResourceKind, change: Change) {
        let now = self.ctx.now();
        let Some(unit) = self.runtime.instances.get_mut(&kind) else { return };
        match unit.supervisor.handle(change, now) {
            Some(Effect::Start) => {
                let started = self.spawn_instance(kind).await;
                let Some(unit) = self.runtime.instances.get_mut(&kind) else { return };
                match started {
                    Ok(pid) => unit.pid = Some(pid),
                    Err(cause) => {
                        unit.supervisor.handle(Change::NotStarted { cause }, now);
                    }
                }
                self.watch_instance(kind);
            }
            Some(Effect::Stop) => {
                unit.pid = None;
                if let Some(client) = self.layer.client.clone() {
                    self.ctx.tasks.spawn_loose("resource-stop", async move {
                        drop(client.stop(&resources::process(kind), GRACE).await);
                    });
                }
            }
            None => {}
        }
        self.note_instance(kind);
    }

    /// The resource stands as its process does.
    pub(super) fn note_instance(&mut self, kind: ResourceKind) {
        let (Some(unit), Some(instance)) = (self.runtime.instances.get(&kind), resources::instance(kind)) else {
            return;
        };
        let failed = |cause: &str, fix: &str| {
            let cause = format!("{}: {cause}", instance.title());
            Provision::Blocked(blocked(&format!("resource.{kind}_failed"), cause, fix))
        };
        let provision = match unit.supervisor.state() {
            State::Ready { .. } => match instance.values(&self.place, self.ctx.entropy.as_ref()) {
                Ok(values) => Provision::Ready(values),
                Err(error) => failed(&error.to_string(), "see that the host's disk has room"),
            },
            State::Blocked { cause, fix, .. } => failed(cause, fix),
            _ => Provision::Pending,
        };
        self.runtime.resources.insert(kind, provision);
    }

    /// Instances an earlier daemon started are taken up.
    pub(super) fn reconcile_instances(&mut self, processes: &[ProcessRecord]) {
        for kind in ResourceKind::ALL {
            let name = resources::process(kind);
            let running = |record: &&ProcessRecord| record.name == name && record.state == ProcessState::Running;
            let Some(pid) = processes.iter().find(running).map(|record| record.pid) else { continue };
            self.runtime.instances.entry(kind).or_insert_with(|| InstanceUnit {
                supervisor: Supervisor::new(RestartPolicy::Always),
                pid: Some(pid),
                probe: None,
            });
        }
    }
}

/// What is said of the branch's own database, if there is to be one: whose copy it begins as, and its extensions.
fn database(manifest: &Manifest) -> Option<(Option<&str>, &[String])> {
    match manifest.resources.get(&ResourceKind::Postgres) {
        Some(ResourceMode::BranchScoped { from, extensions }) => Some((from.as_deref(), extensions)),
        _ => None,
    }
}
