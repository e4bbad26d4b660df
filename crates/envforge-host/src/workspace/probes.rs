//! Asking, beside the driver: who listens, who is healthy, which checks pass.
//!
//! A probe belongs to one process and ends with it; all of them are dropped before a freeze and made again after the
//! thaw. They only ever put what they found into the driver's queue.

use super::driver::Driver;
use super::events::{Heard, RuntimeEvent, RuntimeLine};
use super::memory;
use super::runtime::directory;
use crate::ctx::HostContext;
use crate::engines::Layer;
use crate::init::client::InitClient;
use crate::init::protocol::{Program, Spawn};
use crate::place::Place;
use crate::script::run_to_end;
use crate::services::health::{self, Mode};
use crate::services::log_file::Cursor;
use crate::services::supervisor::State;
use crate::tasks::Owned;
use envforge_core::manifest::Check;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The first pause of whatever is asked again and again.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause while something is on its way.
const WAKING_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two failed health checks.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// After this, who listens is told again while something is on its way.
const TOLD_AGAIN: Duration = Duration::from_millis(500);
/// Between two looks at the ports when all is well.
const CALM_PAUSE: Duration = Duration::from_secs(2);
/// Between two health checks of a service that works.
const HEALTHY_PAUSE: Duration = Duration::from_secs(10);
/// The same for a command, which costs a process.
const COMMAND_PAUSE: Duration = Duration::from_secs(30);
/// How long a health command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(20);
/// How long a worker must run to be taken for running.
const RUNS_AFTER: Duration = Duration::from_millis(300);
/// Between two tries of a check that fails.
const CHECK_PAUSE: Duration = Duration::from_secs(5);

/// The tasks that look who listens and whether memory ran out, and for whom they look.
pub(super) struct PortsProbe {
    aim: watch::Sender<Aim>,
    _tasks: [Owned; 2],
}

/// Whose ports are wanted, and how soon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Aim {
    /// Services' processes on the host.
    leaders: BTreeMap<i32, String>,
    urgent: bool,
}

impl Driver {
    /// Has somebody look who listens, for the processes that run now.
    pub(super) fn aim_ports_probe(&mut self) {
        let units = &self.runtime.units;
        let aim = Aim {
            leaders: units.iter().filter_map(|(name, unit)| Some((unit.host_pid?, name.clone()))).collect(),
            urgent: units.values().any(|unit| unit.host_pid.is_some() && (!unit.is_ready() || unit.is_elsewhere())),
        };
        match &self.runtime.ports_probe {
            Some(probe) => {
                probe.aim.send_if_modified(|current| {
                    let changed = *current != aim;
                    *current = aim;
                    changed
                });
            }
            None if aim.leaders.is_empty() => {}
            None => {
                let Some(line) = self.line() else { return };
                let (sender, receiver) = watch::channel(aim);
                let (ctx, place, memory) = (Arc::clone(&self.ctx), self.place.clone(), self.runtime.memory.clone());
                let memory =
                    memory::watch(ctx, place, line.clone(), memory, sender.subscribe(), |aim| aim.leaders.clone());
                let ports = look_at_ports(Arc::clone(&self.ctx), self.place.clone(), line, receiver);
                let tasks = &self.ctx.tasks;
                let tasks = [tasks.spawn_owned("ports", ports), tasks.spawn_owned("memory", memory)];
                self.runtime.ports_probe = Some(PortsProbe { aim: sender, _tasks: tasks });
            }
        }
    }

    /// Begins to ask for a service's health.
    pub(super) fn start_probe(&mut self, name: &str) {
        let (Some(client), Some(line)) = (self.layer.client.clone(), self.line()) else { return };
        let Some(unit) = self.runtime.units.get_mut(name) else { return };
        let Some(pid) = unit.pid else { return };
        let probe = Probe {
            ctx: Arc::clone(&self.ctx),
            place: self.place.clone(),
            client,
            service: name.to_owned(),
            pid,
            port: unit.port_seen.subscribe(),
            line,
        };
        unit.port_seen.send_replace(unit.port);
        let log = unit.log.clone().unwrap_or_else(|| Cursor::start(&self.place.logs(), name));
        let was_ready = matches!(unit.supervisor.state(), State::Ready { .. });
        unit.probe = match unit.mode.clone() {
            Mode::Bound => None,
            Mode::Running | Mode::Log(_) if was_ready => None,
            Mode::Running => Some(self.ctx.tasks.spawn_owned("health", async move {
                tokio::time::sleep(RUNS_AFTER).await;
                probe.tell(Ok(()));
            })),
            Mode::Log(text) => Some(self.ctx.tasks.spawn_owned("health", probe.watch_log(log, text))),
            Mode::Tcp => Some(self.ctx.tasks.spawn_owned("health", probe.ask_port(None))),
            Mode::Http(path) => Some(self.ctx.tasks.spawn_owned("health", probe.ask_port(Some(path)))),
            Mode::Command(line) => {
                let directory = directory(&unit.declared);
                let environment = self
                    .runtime
                    .wiring
                    .as_ref()
                    .and_then(|wiring| wiring.resolve(name, &self.runtime.values(self.order())).ok());
                let ask = probe.ask_command(line, directory, environment.unwrap_or_default());
                let command = self.ctx.tasks.spawn_owned("health", ask);
                if let Some(unit) = self.runtime.units.get_mut(name) {
                    unit.probe = Some(command);
                }
                return;
            }
        };
    }

    /// Asks nothing any more, until [`Driver::resume_probes`].
    pub(crate) fn drop_probes(&mut self) {
        self.runtime.ports_probe = None;
        self.runtime.secrets.stop_asking();
        for unit in self.runtime.units.values_mut() {
            unit.probe = None;
        }
        for unit in self.runtime.instances.values_mut() {
            unit.probe = None;
        }
        for check in self.runtime.checks.values_mut() {
            match check {
                super::checks::CheckState::Asking(_) => *check = super::checks::CheckState::Waiting,
                super::checks::CheckState::Failed { asking, .. } => *asking = None,
                super::checks::CheckState::Waiting | super::checks::CheckState::Passed => {}
            }
        }
    }

    /// Asks again what was asked before a freeze.
    pub(crate) fn resume_probes(&mut self) {
        let names: Vec<String> =
            self.runtime.units.iter().filter(|(_, unit)| unit.pid.is_some()).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.start_probe(&name);
        }
        for check in self.runtime.checks.values_mut() {
            if matches!(check, super::checks::CheckState::Failed { asking: None, .. }) {
                *check = super::checks::CheckState::Waiting;
            }
        }
        self.watch_instances();
        self.fetch_secrets();
    }
}

/// Looks who listens, quickly while something is on its way, and tells when it changed; as long as something is on its way,
/// also now and then when it did not.
async fn look_at_ports(ctx: Arc<HostContext>, place: Place, line: RuntimeLine, mut aim: watch::Receiver<Aim>) {
    let (mut last, mut since_told, line_init) = (None, Duration::ZERO, line.init);
    loop {
        let Aim { leaders, urgent } = aim.borrow_and_update().clone();
        let longest = if urgent { WAKING_PAUSE } else { CALM_PAUSE };
        let mut pause = if urgent { FIRST_PAUSE } else { CALM_PAUSE };
        loop {
            let (engine, at, pids) =
                (Arc::clone(&ctx.engine), place.clone(), leaders.keys().copied().collect::<Vec<i32>>());
            let looked =
                tokio::task::spawn_blocking(move || engine.listeners(&at, Layer::Runtime, line_init, &pids)).await;
            if let Ok(Ok(found)) = looked {
                let owner = |leader: Option<i32>| leader.and_then(|leader| leaders.get(&leader).cloned());
                let heard = found.iter().map(|listener| Heard {
                    port: listener.port,
                    address: listener.address,
                    service: owner(listener.leader),
                });
                let found: Vec<Heard> = heard.collect();
                if last.as_ref() != Some(&found) || urgent && since_told >= TOLD_AGAIN {
                    line.tell(RuntimeEvent::Listening(found.clone()));
                    (last, since_told) = (Some(found), Duration::ZERO);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => since_told += pause,
                changed = aim.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
            }
            pause = (pause * 2).min(longest);
        }
    }
}

/// What asks for one process's health.
struct Probe {
    ctx: Arc<HostContext>,
    place: Place,
    client: InitClient,
    service: String,
    pid: i32,
    port: watch::Receiver<Option<u16>>,
    line: RuntimeLine,
}

impl Probe {
    fn tell(&self, result: Result<(), String>) {
        self.line.tell(RuntimeEvent::Probed(self.service.clone(), self.pid, result));
    }

    /// Asks the port, by a GET of the path or by a mere connection.
    async fn ask_port(mut self, path: Option<String>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let Ok(port) = self.port.wait_for(Option::is_some).await.map(|port| *port) else { return };
            let Some(port) = port else { continue };
            let result = match &path {
                Some(path) => match health::status_of(&self.ctx, &self.place, port, path).await {
                    Ok(status) if status < 400 => Ok(()),
                    Ok(status) => Err(format!("GET {path} answered {status}")),
                    Err(cause) => Err(cause),
                },
                None => health::accepts(&self.ctx, &self.place, port).await,
            };
            let next = if result.is_ok() { HEALTHY_PAUSE } else { pause };
            pause = if result.is_ok() { WAKING_PAUSE } else { (pause * 2).min(FAILED_PAUSE) };
            self.tell(result);
            tokio::time::sleep(next).await;
        }
    }

    /// Runs a command with the service's own environment, where the service runs.
    async fn ask_command(self, line: String, directory: PathBuf, environment: BTreeMap<String, String>) {
        let mut pause = WAKING_PAUSE;
        loop {
            let mut spawn = Spawn::new(&format!("health.{}", self.service), Program::Shell(line.clone()));
            spawn.env.clone_from(&environment);
            spawn.cwd.clone_from(&directory);
            spawn.whole_tree = true;
            let result = match run_to_end(&self.client, spawn, COMMAND_LIMIT).await {
                Ok(Some(0)) => Ok(()),
                Ok(Some(code)) => Err(format!("`{line}` exited with code {code}")),
                Ok(None) => Err(format!("`{line}` did not end within {} s", COMMAND_LIMIT.as_secs())),
                Err(error) => Err(format!("`{line}`: {error}")),
            };
            let next = if result.is_ok() { COMMAND_PAUSE } else { pause };
            pause = (pause * 2).min(FAILED_PAUSE);
            self.tell(result);
            tokio::time::sleep(next).await;
        }
    }

    /// Waits for a text in the log.
    async fn watch_log(self, mut log: Cursor, text: String) {
        let mut line = Vec::new();
        loop {
            match log.read() {
                Ok(new) if new.is_empty() => tokio::time::sleep(WAKING_PAUSE).await,
                Ok(new) => {
                    line.extend(new);
                    if String::from_utf8_lossy(&line).contains(&text) {
                        return self.tell(Ok(()));
                    }
                    // What is left of a line may be the beginning of the text.
                    let kept = line.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                    line.drain(..kept);
                }
                Err(error) => {
                    self.tell(Err(format!("its log can't be read: {error}")));
                    tokio::time::sleep(FAILED_PAUSE).await;
                }
            }
        }
    }
}

/// Asks until a check passes.
pub(super) fn ask_check(
    ctx: &Arc<HostContext>,
    place: &Place,
    line: &RuntimeLine,
    name: &str,
    check: &Check,
    pid: i32,
    port: u16,
) -> Owned {
    let (context, place, line, name, check) =
        (Arc::clone(ctx), place.clone(), line.clone(), name.to_owned(), check.clone());
    ctx.tasks.spawn_owned("check", async move {
        loop {
            let result = match health::status_of(&context, &place, port, &check.path).await {
                Ok(status) if status == check.status => Ok(()),
                Ok(status) => Err(format!(
                    "GET {} of service {} answered {status}, not {}",
                    check.path, check.service, check.status
                )),
                Err(cause) => Err(format!("service {}: {cause}", check.service)),
            };
            let passed = result.is_ok();
            line.tell(RuntimeEvent::Checked(name.clone(), pid, result));
            if passed {
                return;
            }
            tokio::time::sleep(CHECK_PAUSE).await;
        }
    })
}
