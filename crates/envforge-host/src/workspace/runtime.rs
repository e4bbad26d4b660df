//! The runtime layer: services, resources and checks brought up together.
//!
//! There is no order but the one inputs impose. After every event the driver looks at what is known now and starts what
//! has become possible ([`Driver::settle`]); what a process or a probe says goes to the service's supervisor, whose
//! effects are carried out here.

use super::checks::CheckState;
use super::driver::Driver;
use super::events::RuntimeEvent;
use super::layers::Held;
use super::memory::MemoryWatch;
use super::probes::PortsProbe;
use super::secrets::Secrets;
use crate::faults::point;
use crate::init::protocol::{Exit, ProcessRecord, ProcessState, Program, SandboxState, Spawn};
use crate::journal::{Intent, ServiceRecord};
use crate::resources::Provision;
use crate::script::Script;
use crate::services::env_file;
use crate::services::health::Mode;
use crate::services::host_names;
use crate::services::log_file::{self, Cursor};
use crate::services::supervisor::{Effect, Event as Change, Exit as ServiceExit, State, Supervisor};
use crate::tasks::Owned;
use crate::trouble::{Blocked, Note};
use crate::{engines::inside, init::protocol::RefusalCode};
use envforge_api::host::StartRuntime;
use envforge_core::manifest::{InputValues, Manifest, ResourceKind, Service, Source, Wiring};
use envforge_core::token::digest;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::sync::watch;

/// Names of services' processes begin so.
pub(super) const SERVICE: &str = "service.";
/// How long after an exit the last lines are sure to be in the log.
const LAST_WORDS_AFTER: Duration = Duration::from_millis(60);
/// How long after a start its environment is written down.
const ENV_FILE_AFTER: Duration = Duration::from_millis(300);
/// How many last lines a cause quotes.
const LAST_WORDS: usize = 20;
/// When nothing is due.
const NEVER: Duration = Duration::from_hours(1);

/// What runs, or is to run.
#[derive(Default)]
pub(crate) struct Runtime {
    pub(crate) units: BTreeMap<String, Unit>,
    pub(crate) resources: BTreeMap<ResourceKind, Provision>,
    pub(crate) instances: BTreeMap<ResourceKind, InstanceUnit>,
    pub(crate) checks: BTreeMap<String, CheckState>,
    pub(crate) wiring: Option<Wiring>,
    pub(crate) secrets: Secrets,
    /// What keeps the runtime as a whole from running.
    pub(crate) trouble: Option<Blocked>,
    /// An operation ends it.
    pub(crate) stopping: bool,
    /// What the init knows was compared with what the journal knows.
    pub(crate) reconciled: bool,
    pub(super) ports_probe: Option<PortsProbe>,
    pub(super) memory: MemoryWatch,
    /// Memory ran out for somebody, and it can't be told for whom.
    pub(super) memory_note: Option<Note>,
    /// Gives back memory some time after a freeze.
    pub(crate) reclaim: Option<Owned>,
    /// Waits for the end of `after_wake`.
    pub(super) after_wake: Option<Owned>,
}

/// A service.
pub(crate) struct Unit {
    pub(crate) declared: Service,
    pub(crate) mode: Mode,
    pub(crate) supervisor: Supervisor,
    /// Of the process now running, inside the sandbox.
    pub(crate) pid: Option<i32>,
    /// The same on the host.
    pub(crate) host_pid: Option<i32>,
    /// The port it listens on.
    pub(crate) port: Option<u16>,
    /// The address it listens on, if 127.0.0.1 does not lead there.
    pub(crate) address: Option<IpAddr>,
    /// It listens, and perhaps not where it is going to, since then.
    pub(super) elsewhere_since: Option<Timestamp>,
    pub(super) port_seen: watch::Sender<Option<u16>>,
    /// What asks for its health.
    pub(super) probe: Option<Owned>,
    /// Where this process's output begins in the log; `None` when that is not known.
    pub(super) log: Option<Cursor>,
    /// An earlier process of it is being ended.
    pub(crate) ending: bool,
    /// Memory ran out for a process it had started.
    pub(super) memory_note: Option<Note>,
}

/// A resource that is a process.
pub(crate) struct InstanceUnit {
    pub(crate) supervisor: Supervisor,
    pub(crate) pid: Option<i32>,
    pub(super) probe: Option<Owned>,
}

impl Unit {
    pub(crate) fn new(declared: Service, mode: Mode) -> Self {
        let serves = declared.port.is_some() || !declared.routes.is_empty() || mode.needs_port();
        let supervisor = Supervisor::of_service(declared.restart, declared.start_timeout, serves);
        Self {
            declared,
            mode,
            supervisor,
            pid: None,
            host_pid: None,
            port: None,
            address: None,
            elsewhere_since: None,
            port_seen: watch::Sender::new(None),
            probe: None,
            log: None,
            ending: false,
            memory_note: None,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.supervisor.state(), State::Ready { .. })
    }
}

impl Runtime {
    /// What the journal keeps of the services.
    pub(crate) fn records(&self) -> BTreeMap<String, ServiceRecord> {
        let record = |unit: &Unit| ServiceRecord {
            supervisor: unit.supervisor.clone(),
            pid: unit.pid,
            port: unit.port,
            address: unit.address,
            log: unit.log.as_ref().and_then(Cursor::position),
        };
        self.units.iter().map(|(name, unit)| (name.clone(), record(unit))).collect()
    }

    /// The port each service listens on.
    pub(crate) fn ports(&self) -> BTreeMap<String, u16> {
        self.units.iter().filter_map(|(name, unit)| Some((name.clone(), unit.port?))).collect()
    }

    /// Every value known now.
    pub(crate) fn values(&self, order: Option<&StartRuntime>) -> InputValues {
        let mut values = InputValues::default();
        for (name, unit) in &self.units {
            if let Some(port) = unit.port {
                values.bound_at(name, (unit.address.unwrap_or(Ipv4Addr::LOCALHOST.into()), port).into());
            }
        }
        for (kind, provision) in &self.resources {
            if let Provision::Ready(given) = provision {
                values.resource(*kind, given.clone());
            }
        }
        for (service, origin) in order.map(|order| &order.public_urls).into_iter().flatten() {
            values.public_url(service, origin.clone());
        }
        for (name, value) in self.secrets.given() {
            values.secret(name, value);
        }
        values
    }

    /// Takes a manifest: services that did not change stay, blocked and new ones wait. Returns those whose processes must
    /// end.
    pub(crate) fn load(&mut self, manifest: &Manifest) -> Vec<(String, Duration)> {
        let wiring = Wiring::new(manifest);
        let mut to_end = Vec::new();
        let mut units = std::mem::take(&mut self.units);
        for (name, service) in &manifest.services {
            let mode = Mode::of(service, is_needed(name, manifest, &wiring));
            let unit = match units.remove(name) {
                Some(mut unit) if unit.declared == *service && unit.mode == mode => {
                    unit.supervisor.retry_blocked();
                    unit
                }
                Some(old) => {
                    let ending = old.pid.is_some() || old.ending;
                    if old.pid.is_some() {
                        to_end.push((name.clone(), grace(&old.declared)));
                    }
                    Unit { ending, ..Unit::new(service.clone(), mode) }
                }
                None => Unit::new(service.clone(), mode),
            };
            self.units.insert(name.clone(), unit);
        }
        to_end.extend(
            units
                .iter()
                .filter(|(_, unit)| unit.pid.is_some())
                .map(|(name, unit)| (name.clone(), grace(&unit.declared))),
        );
        self.checks = manifest.checks.keys().map(|name| (name.clone(), CheckState::Waiting)).collect();
        self.resources.retain(|kind, _| manifest.resources.contains_key(kind));
        self.wiring = Some(wiring);
        to_end
    }
}

/// Whether others want its port: a service that takes it as an input, or a check that asks it.
fn is_needed(name: &str, manifest: &Manifest, wiring: &Wiring) -> bool {
    let taken = |source: &Source| matches!(source, Source::ServiceUrl { service } | Source::ServicePort { service } if service == name);
    let inputs = wiring.services.values().flat_map(|service| service.inputs.values());
    inputs.filter_map(|input| input.source()).any(taken) || manifest.checks.values().any(|check| check.service == name)
}

/// Between the request to stop and the kill.
pub(crate) fn grace(service: &Service) -> Duration {
    Duration::from_secs(service.stop_grace.into())
}

impl Driver {
    /// Starts what has become possible, and tells what is.
    pub(crate) async fn settle(&mut self) {
        if self.is_active() && self.runtime.reconciled {
            if self.common_hold().is_none() {
                self.start_possible().await;
            }
            self.start_jobs().await;
            self.ask_checks();
            self.aim_ports_probe();
        }
        self.publish();
    }

    async fn start_possible(&mut self) {
        let Some(wiring) = &self.runtime.wiring else { return };
        let satisfied = self.runtime.values(self.order()).sources();
        let possible: Vec<String> = wiring
            .ready_to_start(&satisfied)
            .into_iter()
            .filter(|name| self.runtime.units.get(*name).is_some_and(|unit| *unit.supervisor.state() == State::Waiting))
            .filter(|name| self.secrets_hold(name).is_none())
            .map(str::to_owned)
            .collect();
        for name in possible {
            self.change(&name, Change::InputsKnown).await;
        }
    }

    /// Tells a service's supervisor what happened and carries out what follows.
    pub(crate) async fn change(&mut self, name: &str, change: Change) {
        let now = self.ctx.now();
        let Some(unit) = self.runtime.units.get_mut(name) else { return };
        match unit.supervisor.handle(change, now) {
            Some(Effect::Start) => self.start_service(name).await,
            Some(Effect::Stop) => self.end_service(name),
            None => {}
        }
        self.reset_checks_of(name);
    }

    /// Starts a service's process.
    async fn start_service(&mut self, name: &str) {
        if self.runtime.units.get(name).is_none_or(|unit| unit.ending) {
            // Started when the earlier process is gone.
            return;
        }
        if self.secrets_hold(name).is_some() {
            // Started when its secrets are there: an earlier daemon had them.
            return;
        }
        let log = Cursor::end(&self.place.logs(), name);
        let started = self.spawn_service(name).await;
        let Some(unit) = self.runtime.units.get_mut(name) else { return };
        match started {
            Ok((pid, host_pid)) => {
                unit.pid = Some(pid);
                unit.host_pid = host_pid;
                unit.hear_nothing();
                self.state.process_started = true;
                unit.log = Some(log);
                unit.memory_note = None;
                self.start_probe(name);
            }
            Err(cause) => {
                let now = self.ctx.now();
                unit.supervisor.handle(Change::NotStarted { cause }, now);
            }
        }
    }

    async fn spawn_service(&mut self, name: &str) -> Result<(i32, Option<i32>), String> {
        let client = self.layer.client.clone().ok_or("the runtime's init does not answer")?;
        let wiring = self.runtime.wiring.as_ref().ok_or("the manifest is not read")?;
        let mut environment =
            wiring.resolve(name, &self.runtime.values(self.order())).map_err(|missing| missing.to_string())?;
        if let Some(origin) = self.order().and_then(|order| order.public_urls.get(name)) {
            host_names::allow(&mut environment, origin);
        }
        let unit = self.runtime.units.get(name).ok_or("the service is not declared")?;
        let process = format!("{SERVICE}{name}");
        let mut spawn = Spawn::new(&process, Program::Shell(unit.declared.command.clone()));
        spawn.env.clone_from(&environment);
        spawn.secrets = wiring.secret_variables(name);
        spawn.cwd = directory(&unit.declared);
        spawn.log = Some(name.to_owned());
        spawn.whole_tree = true;
        spawn.key = Some(key_of(&unit.declared));
        if unit.supervisor.restarts() > 0 {
            self.ctx.metrics.service_restarted();
            // What the process before it left behind may hold its port.
            drop(client.stop(&process, Duration::ZERO).await);
        }
        let mut spawned = client.spawn(spawn.clone()).await;
        if spawned.as_ref().is_err_and(|error| error.refusal() == Some(RefusalCode::NameTaken)) {
            // Of another declaration, and started before a crash of the daemon that was too early to note it.
            drop(client.stop(&process, Duration::ZERO).await);
            spawned = client.spawn(spawn).await;
        }
        let spawned = spawned.map_err(|error| error.to_string())?;
        point("service.started");
        self.write_env_files(name, &environment);
        Ok((spawned.pid, spawned.host_pid))
    }

    /// The service's environment as files in the runtime's own memory, for people who debug it from within.
    fn write_env_files(&self, name: &str, environment: &BTreeMap<String, String>) {
        let Some(client) = self.layer.client.clone() else { return };
        let dir = format!("/run/user/{}/envforge/env", self.place.uid);
        let mut script = Script::umask("077");
        script.directory(&dir);
        let sourced = format!("{name}.sh");
        script.file(&format!("{dir}/{sourced}"), &env_file::to_source(environment));
        script.file(&format!("{dir}/{name}.env"), &env_file::dotenv(environment, &sourced));
        self.ctx.tasks.spawn_loose("env-file", async move {
            // Services come up first: nothing waits for this.
            tokio::time::sleep(ENV_FILE_AFTER).await;
            if let Err(error) = script.run(&client).await {
                tracing::debug!(%error, "service: its env files were not written");
            }
        });
    }

    /// Ends a service's process, in the background; [`Driver::service_gone`] follows.
    fn end_service(&mut self, name: &str) {
        let Some(unit) = self.runtime.units.get_mut(name) else { return };
        (unit.pid, unit.host_pid, unit.probe, unit.ending) = (None, None, None, true);
        unit.hear_nothing();
        let grace = grace(&unit.declared);
        self.end_process(name.to_owned(), grace);
    }

    /// Ends the process of a service, declared still or not.
    pub(crate) fn end_process(&self, name: String, grace: Duration) {
        let (Some(client), Some(line)) = (self.layer.client.clone(), self.line()) else { return };
        self.ctx.tasks.spawn_loose("service-stop", async move {
            if let Err(error) = client.stop(&format!("{SERVICE}{name}"), grace).await {
                tracing::debug!(name, %error, "service: its process was not ended");
            }
            line.tell(RuntimeEvent::ServiceGone(name));
        });
    }

    pub(crate) async fn service_gone(&mut self, name: &str) {
        let Some(unit) = self.runtime.units.get_mut(name) else { return };
        unit.ending = false;
        if unit.pid.is_none() && unit.supervisor.wants_process() && self.is_active() {
            self.start_service(name).await;
        }
        self.settle().await;
    }

    /// Starts the services that should run and were held back by something that is there now.
    pub(super) async fn start_held_services(&mut self) {
        let held = |unit: &Unit| unit.pid.is_none() && !unit.ending && unit.supervisor.wants_process();
        let names: Vec<String> =
            self.runtime.units.iter().filter(|(_, unit)| held(unit)).map(|(name, _)| name.clone()).collect();
        for name in names {
            if self.is_active() {
                self.start_service(&name).await;
            }
        }
    }

    /// Services that are blocked and ask for a dev host are tried again: it may have become known.
    pub(crate) fn retry_unnamed(&mut self) {
        let Some(wiring) = &self.runtime.wiring else { return };
        for (name, unit) in &mut self.runtime.units {
            let mut inputs = wiring.services.get(name).into_iter().flat_map(|service| service.inputs.values());
            if inputs.any(|input| matches!(input.source(), Some(Source::ServicePublicUrl { .. }))) {
                unit.supervisor.retry_blocked();
            }
        }
    }

    /// A process in the runtime ended.
    pub(crate) async fn runtime_exited(&mut self, name: &str, pid: i32, exit: Exit) {
        if let Some(service) = name.strip_prefix(SERVICE) {
            if self.runtime.units.get(service).is_some_and(|unit| unit.pid == Some(pid)) {
                self.tell_exit_with_words(service.to_owned(), pid, exit);
            }
        } else if let Some(kind) = name.strip_prefix(crate::resources::PROCESS) {
            self.instance_exited(kind, pid, exit).await;
            self.settle().await;
        } else if let Some(job) = name.strip_prefix(super::jobs::JOB) {
            self.job_exited(job, exit);
            self.settle().await;
        }
    }

    /// Waits until the last lines are in the log, then tells of the exit with them.
    fn tell_exit_with_words(&self, service: String, pid: i32, exit: Exit) {
        let Some(line) = self.line() else { return };
        let logs = self.place.logs();
        let since = self.runtime.units.get(&service).and_then(|unit| unit.log.clone());
        self.ctx.tasks.spawn_loose("last-words", async move {
            tokio::time::sleep(LAST_WORDS_AFTER).await;
            let lines = log_file::last_words(&logs, &service, LAST_WORDS, since.as_ref());
            line.tell(RuntimeEvent::ServiceExited(service, pid, exit, lines));
        });
    }

    pub(crate) async fn service_exited(&mut self, service: &str, pid: i32, exit: Exit, lines: String) {
        let Some(unit) = self.runtime.units.get_mut(service).filter(|unit| unit.pid == Some(pid)) else { return };
        (unit.pid, unit.host_pid, unit.probe) = (None, None, None);
        unit.hear_nothing();
        let memory = self.ended_for_memory(Some(service), exit);
        let exit = ServiceExit { code: exit.code, signal: exit.signal };
        self.change(service, Change::Exited { exit, memory, lines }).await;
        self.settle().await;
    }

    /// Compares what the journal knows of the runtime with what its init knows, and goes on from there.
    pub(crate) async fn runtime_attached(&mut self, known: &SandboxState) {
        if !self.wants_runtime() || self.runtime.stopping {
            return;
        }
        let record = |name: &str| known.processes.iter().find(|record| record.name == name);
        let names: Vec<String> = self.runtime.units.keys().cloned().collect();
        for name in names {
            self.reconcile_service(&name, record(&format!("{SERVICE}{name}"))).await;
        }
        self.fetch_secrets();
        self.reconcile_jobs(known);
        self.reconcile_instances(&known.processes);
        self.runtime.reconciled = true;
        self.begin_resources().await;
        self.after_wake();
    }

    async fn reconcile_service(&mut self, name: &str, record: Option<&ProcessRecord>) {
        let now = self.ctx.now();
        let Some(unit) = self.runtime.units.get_mut(name) else { return };
        if let Some(record) = record.filter(|record| record.state == ProcessState::Running)
            && record.key.as_ref().is_some_and(|key| *key == key_of(&unit.declared))
            && !unit.ending
        {
            // What the daemon before this one did last, before it could note it: started, or started again.
            let start = unit.supervisor.handle(Change::InputsKnown, now);
            if start.or_else(|| unit.supervisor.handle(Change::Tick, now)) == Some(Effect::Start) {
                unit.pid = Some(record.pid);
                self.state.process_started = true;
            }
        }
        if !unit.supervisor.wants_process() || unit.ending {
            return;
        }
        match record.map(|record| (&record.state, record.pid)) {
            Some((ProcessState::Running, pid)) if unit.pid != Some(pid) => {
                // Not the process the journal knows: of another declaration, perhaps. It makes way.
                (unit.pid, unit.ending) = (None, true);
                let grace = grace(&unit.declared);
                self.end_process(name.to_owned(), grace);
            }
            Some((ProcessState::Running, _)) => {
                let located = match &self.layer.client {
                    Some(client) => client.locate(&format!("{SERVICE}{name}")).await.ok(),
                    None => None,
                };
                if let Some(unit) = self.runtime.units.get_mut(name) {
                    unit.host_pid = located.map(|(pid, _)| pid);
                }
                self.start_probe(name);
            }
            Some((ProcessState::Exited(exit), pid)) => {
                unit.pid = Some(pid);
                self.tell_exit_with_words(name.to_owned(), pid, *exit);
            }
            None => {
                unit.pid = None;
                let exit = ServiceExit { code: None, signal: None };
                self.change(name, Change::Exited { exit, memory: None, lines: String::new() }).await;
            }
        }
    }

    /// Until when nothing is due.
    pub(crate) fn time_to_deadline(&self) -> Duration {
        if !self.is_active() {
            return NEVER;
        }
        let instances = self.runtime.instances.values().filter_map(|unit| unit.supervisor.deadline());
        let services = self.runtime.units.values().filter_map(|unit| unit.supervisor.deadline());
        let Some(first) = services.chain(instances).min() else { return NEVER };
        let left = first.duration_since(self.ctx.now());
        Duration::try_from(left).unwrap_or(Duration::ZERO) + Duration::from_millis(1)
    }

    /// Something is due.
    pub(crate) async fn tick(&mut self) {
        let now = self.ctx.now();
        let is_due = |deadline: Option<Timestamp>| deadline.is_some_and(|deadline| deadline <= now);
        let due: Vec<String> = self
            .runtime
            .units
            .iter()
            .filter(|(_, unit)| is_due(unit.supervisor.deadline()))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.change(&name, Change::Tick).await;
        }
        let instances = self.runtime.instances.iter().filter(|(_, unit)| is_due(unit.supervisor.deadline()));
        let due: Vec<ResourceKind> = instances.map(|(kind, _)| *kind).collect();
        for kind in due {
            self.change_instance(kind, Change::Tick).await;
        }
        self.settle().await;
    }

    /// A health check said something of a process.
    pub(crate) async fn probed(&mut self, service: &str, pid: i32, result: Result<(), String>) {
        if self.runtime.units.get(service).is_none_or(|unit| unit.pid != Some(pid)) {
            return;
        }
        let change = match result {
            Ok(()) => Change::Healthy,
            Err(detail) => Change::Unhealthy { detail, sure: false },
        };
        self.change(service, change).await;
        self.settle().await;
    }

    /// The runtime is not there any more; what ran in it is not either.
    pub(crate) fn runtime_is_gone(&mut self, cause: &str) {
        self.let_go(Held::Runtime);
        self.runtime = Runtime { trouble: self.runtime.trouble.take(), ..Runtime::default() };
        self.forget_secrets();
        self.state.process_started = false;
        self.state.intent = Intent::Asleep;
        self.state.wake_of = None;
        self.fail_running_jobs(cause);
        self.show();
    }
}

/// What a service's process is started for: this declaration.
fn key_of(service: &Service) -> String {
    digest(&serde_json::to_string(service).unwrap_or_default())
}

/// Where a service starts, as the sandbox sees it.
pub(super) fn directory(service: &Service) -> std::path::PathBuf {
    let checkout = std::path::Path::new(inside::CHECKOUT);
    service.directory.as_ref().map_or_else(|| checkout.to_owned(), |directory| checkout.join(directory))
}

#[cfg(test)]
#[path = "runtime_tests.rs"]
mod tests;
