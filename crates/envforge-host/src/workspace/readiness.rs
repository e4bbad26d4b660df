//! What a workspace's parts can do now: pure reading of the driver's state.
//!
//! Every part is always told of: asleep is a state, not an absence. A service that waits says for what; one that
//! waits for something that is blocked is blocked itself, and says by what.

use super::checks::CheckState;
use super::driver::Driver;
use super::ports;
use super::runtime::Unit;
use crate::journal::{Intent, SetupState};
use crate::resources::Provision;
use crate::services::supervisor::State;
use crate::trouble::{Blocked, Note, blocked};
use envforge_api::host::ManifestReport;
use envforge_api::http::runs::RunState;
use envforge_core::manifest::{FILE_NAME, Port, ResourceKind, Service, Source, Supply};
use envforge_core::readiness::{Part, PartKind, ReadinessState, without_log};
use envforge_core::runtime::ObservedPhase;

/// What keeps a service, or a job, from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It will be there.
    Waits(String),
    /// It will not be there by itself.
    Blocked(Blocked),
}

/// Services that wait for each other's ports are at most so many; beyond it something is circular.
const CHAIN_MAX: usize = 64;

impl Driver {
    /// The runtime's phase, whether a process of it runs, and what blocks it.
    pub(crate) fn phase(&self) -> (ObservedPhase, bool, Option<Blocked>) {
        let runs = self.state.process_started;
        if self.layer.sandbox.is_none() {
            return match &self.runtime.trouble {
                Some(trouble) => (ObservedPhase::Blocked, false, Some(trouble.clone())),
                None => (ObservedPhase::Absent, false, None),
            };
        }
        if self.is_frozen() {
            return (ObservedPhase::Frozen, runs, None);
        }
        if self.runtime.stopping {
            return (ObservedPhase::Stopping, runs, None);
        }
        if let Some(trouble) = &self.runtime.trouble {
            return (ObservedPhase::Blocked, runs, Some(trouble.clone()));
        }
        let mut first_block = None;
        let (mut usable, mut unsettled) = (0, 0);
        for (name, unit) in &self.runtime.units {
            match self.blocked_by(name, unit) {
                Some(block) => first_block = first_block.or(Some((name, block))),
                None if unit.supervisor.is_settled() => usable += 1,
                None => unsettled += 1,
            }
        }
        let job_runs = self.state.jobs.values().any(|job| job.state == RunState::Running);
        match first_block {
            _ if unsettled > 0 || self.layer.client.is_none() && usable == 0 => (ObservedPhase::Starting, runs, None),
            Some((name, block)) if usable == 0 && !job_runs => {
                let cause = format!("service {name}: {}", without_log(&block.cause));
                (ObservedPhase::Blocked, runs, Some(Blocked { cause, ..block }))
            }
            _ => (ObservedPhase::Up, runs, None),
        }
    }

    /// What blocks a service, by itself or through what it waits for.
    fn blocked_by(&self, name: &str, unit: &Unit) -> Option<Blocked> {
        match unit.supervisor.state() {
            State::Blocked { code, cause, fix } => Some(blocked(code, cause.clone(), fix.clone())),
            State::Waiting => match self.held_by(name, 0) {
                Some(Hold::Blocked(block)) => Some(block),
                _ => None,
            },
            _ => None,
        }
    }

    /// What keeps services and jobs from starting, whatever they need.
    pub(crate) fn common_hold(&self) -> Option<Hold> {
        self.setup_hold().or_else(|| {
            let is_unnamed = self.order().is_some_and(|order| !order.dev_hosts_known);
            is_unnamed.then(|| Hold::Waits("waits for the server to name its dev hosts".to_owned()))
        })
    }

    /// What the setup hook keeps from starting.
    fn setup_hold(&self) -> Option<Hold> {
        self.state.running.as_ref()?.hooks.setup.as_ref()?;
        let record = self.state.setup.as_ref()?;
        match &record.state {
            SetupState::Done => None,
            SetupState::Running => Some(Hold::Waits(format!("setup: `{}` is running", record.command))),
            SetupState::Failed { cause } => Some(Hold::Blocked(setup_failed(&record.command, cause))),
        }
    }

    /// What keeps a waiting service from starting.
    pub(crate) fn held_by(&self, service: &str, depth: usize) -> Option<Hold> {
        match self.common_hold() {
            // What it said is quoted where it stands itself, not by everyone who waits for it.
            Some(Hold::Blocked(block)) => {
                return Some(Hold::Blocked(Blocked { cause: without_log(&block.cause).to_owned(), ..block }));
            }
            Some(hold) => return Some(hold),
            None => {}
        }
        if let Some(hold) = self.secrets_hold(service) {
            return Some(hold);
        }
        let wiring = self.runtime.wiring.as_ref()?;
        let satisfied = self.runtime.values(self.order()).sources();
        let missing = wiring.held_back_by(service, &satisfied);
        let mut waits = None;
        for input in missing {
            let supply =
                wiring.services.get(service).and_then(|wiring| wiring.inputs.get(input)).map(|wired| &wired.supply);
            let hold = match supply {
                Some(Supply::Unsatisfied { cause, fix }) => Hold::Blocked(blocked(
                    "service.input_missing",
                    format!("it needs input {input}: {cause}"),
                    format!("{fix}; then `envforge wake`"),
                )),
                Some(Supply::Provided { source }) => self.hold_by_source(input, source, depth),
                None => continue,
            };
            match hold {
                Hold::Blocked(_) => return Some(hold),
                Hold::Waits(_) => waits = waits.or(Some(hold)),
            }
        }
        waits
    }

    fn hold_by_source(&self, input: &str, source: &Source, depth: usize) -> Hold {
        match source {
            Source::Resource { resource } => match self.runtime.resources.get(resource) {
                Some(Provision::Blocked(block)) => input_blocked(input, &format!("resource {resource}"), block),
                _ => Hold::Waits(format!("waits for input {input}: resource {resource} is starting")),
            },
            Source::ServiceUrl { service } | Source::ServicePort { service } => {
                let provider = self.runtime.units.get(service).filter(|_| depth < CHAIN_MAX);
                let block = provider.and_then(|unit| match unit.supervisor.state() {
                    State::Blocked { code, cause, fix } => Some(blocked(code, cause.clone(), fix.clone())),
                    State::Waiting => match self.held_by(service, depth + 1) {
                        Some(Hold::Blocked(block)) => Some(block),
                        _ => None,
                    },
                    State::Ended { cause } => {
                        let fix = format!("`envforge service start {service}`");
                        Some(blocked("service.ended", cause.clone(), fix))
                    }
                    _ => None,
                });
                match block {
                    Some(block) => input_blocked(input, &format!("service {service}"), &block),
                    None => Hold::Waits(format!("waits for input {input}: service {service} does not listen yet")),
                }
            }
            Source::Secret { name } if self.runtime.secrets.is_missing(name) => Hold::Blocked(blocked(
                "service.input_missing",
                format!("it needs input {input}, and there is no secret {name} for this workspace"),
                format!("`envforge secret set {name}`; the service then starts by itself"),
            )),
            Source::ServicePublicUrl { .. } | Source::Variable { .. } | Source::Secret { .. } => {
                Hold::Waits(format!("waits for input {input}: {source}"))
            }
        }
    }

    /// Shell, setup, services, resources and checks.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let mut parts = vec![self.shell_part()];
        parts.extend(self.setup_part());
        let Some(manifest) = self.manifest_in_force() else { return parts };
        let awake = self.layer.sandbox.is_some() && !self.is_frozen();
        for name in manifest.services.keys() {
            let part = match self.runtime.units.get(name) {
                Some(unit) => self.service_part(name, unit),
                None => {
                    Part { port: self.last_port(name), ..Part::new(PartKind::Service, name, ReadinessState::Asleep) }
                }
            };
            parts.push(if awake { part } else { part.asleep() });
        }
        for (kind, mode) in &manifest.resources {
            if mode.is_branch_scoped() {
                parts.push(self.resource_part(*kind, awake));
            }
        }
        for name in manifest.checks.keys() {
            parts.push(self.check_part(name, awake));
        }
        if let Some(note) = self.runtime.memory_note.as_ref().filter(|_| awake) {
            parts.push(note.on(Part::new(PartKind::Runtime, "memory", ReadinessState::Ready)));
        }
        if let Some(note) = self.file_note().filter(|_| awake) {
            parts.push(note.on(Part::new(PartKind::Runtime, FILE_NAME, ReadinessState::Ready)));
        }
        parts
    }

    /// The file says something else than what runs, and how that is applied: a restart of any service takes all of it.
    fn file_note(&self) -> Option<Note> {
        let running = self.state.running.as_ref()?;
        let Some(ManifestReport::Valid { manifest }) = &self.state.manifest_reported else { return None };
        if !running.runs_otherwise(manifest) {
            return None;
        }
        let is_changed = |(name, service): &(&String, &Service)| running.services.get(*name) != Some(*service);
        let changed = manifest.services.iter().find(is_changed).or_else(|| manifest.services.iter().next());
        let (name, _) = changed?;
        let cause = "it changed since it was read for what runs, which goes on as before".to_owned();
        Some(Note { cause, fix: format!("`envforge service restart {name}` applies it") })
    }

    fn shell_part(&self) -> Part {
        let new = |state| Part::new(PartKind::Shell, "shell", state);
        match &self.shell_trouble {
            Some(trouble) => trouble.part(PartKind::Shell, "shell"),
            None if self.shell.sandbox.is_some() || self.state.shell_rests => new(ReadinessState::Ready),
            None if self.is_destroying() => {
                Part { cause: Some("the workspace is being deleted".to_owned()), ..new(ReadinessState::Waking) }
            }
            None => Part { cause: Some("the checkout is being made".to_owned()), ..new(ReadinessState::Waking) },
        }
    }

    fn setup_part(&self) -> Option<Part> {
        let record = self.state.setup.as_ref()?;
        if self
            .manifest_in_force()
            .is_some_and(|manifest| manifest.hooks.setup.is_none() || manifest.checks.contains_key("setup"))
        {
            return None;
        }
        Some(match &record.state {
            SetupState::Done => Part::new(PartKind::Check, "setup", ReadinessState::Ready),
            SetupState::Running => Part {
                cause: Some(format!("`{}` is running", record.command)),
                ..Part::new(PartKind::Check, "setup", ReadinessState::Waking)
            },
            SetupState::Failed { cause } => setup_failed(&record.command, cause).part(PartKind::Check, "setup"),
        })
    }

    fn service_part(&self, name: &str, unit: &Unit) -> Part {
        let new = |state| Part {
            port: unit.port,
            restarts: unit.supervisor.restarts(),
            ..Part::new(PartKind::Service, name, state)
        };
        let ready = || match unit.memory_note.clone().or_else(|| self.port_note(name, unit)) {
            Some(note) => note.on(new(ReadinessState::Ready)),
            None => new(ReadinessState::Ready),
        };
        let waking = |cause: Option<String>| Part { cause, ..new(ReadinessState::Waking) };
        match unit.supervisor.state() {
            State::Waiting => match self.held_by(name, 0) {
                Some(Hold::Blocked(block)) => block.part(PartKind::Service, name),
                Some(Hold::Waits(cause)) => waking(Some(cause)),
                None => waking(None),
            },
            State::Starting { detail, .. } => waking(detail.clone()),
            State::Ready { .. } => ready(),
            State::Unwell { detail, .. } => waking(Some(format!("its health check fails: {detail}"))),
            State::BackOff { cause, .. } => waking(Some(format!("it is started again: {cause}"))),
            State::Blocked { code, cause, fix } => Part {
                restarts: unit.supervisor.restarts(),
                ..Part::blocked(PartKind::Service, name, code, cause.clone(), fix.clone())
            },
            State::Ended { cause } => Part { cause: Some(cause.clone()), ..new(ReadinessState::Asleep) },
            State::Stopped if self.state.rotating.as_ref().is_some_and(|rotating| rotating.ended.contains(name)) => {
                waking(Some("it is started again: a credential it was given is another one".to_owned()))
            }
            State::Stopped => new(ReadinessState::Asleep),
        }
    }

    /// A service that listens where it was not declared, and is used there.
    fn port_note(&self, name: &str, unit: &Unit) -> Option<Note> {
        let Some(Port::Declared(declared)) = self.port_wanted(name) else { return None };
        let port = unit.port.filter(|port| *port != declared)?;
        let fix = format!("write `port: {port}` in envforge.yml, or have the service listen on $PORT");
        Some(Note { cause: ports::elsewhere(declared, port), fix })
    }

    /// The port a sleeping service had when it last ran.
    fn last_port(&self, service: &str) -> Option<u16> {
        let last = self.state.last.as_ref()?;
        last.parts.iter().find(|part| part.kind == PartKind::Service && part.name == service)?.port
    }

    fn resource_part(&self, kind: ResourceKind, awake: bool) -> Part {
        let name = kind.as_str();
        match self.runtime.resources.get(&kind) {
            _ if !awake => Part::new(PartKind::Resource, name, ReadinessState::Asleep),
            Some(Provision::Ready(_)) => Part::new(PartKind::Resource, name, ReadinessState::Ready),
            Some(Provision::Blocked(block)) => block.part(PartKind::Resource, name),
            Some(Provision::Pending) | None => Part::new(PartKind::Resource, name, ReadinessState::Waking),
        }
    }

    fn check_part(&self, name: &str, awake: bool) -> Part {
        match self.runtime.checks.get(name) {
            _ if !awake => Part::new(PartKind::Check, name, ReadinessState::Asleep),
            Some(CheckState::Passed) => Part::new(PartKind::Check, name, ReadinessState::Ready),
            Some(CheckState::Failed { cause, .. }) => Part::blocked(
                PartKind::Check,
                name,
                "check.failed",
                cause.clone(),
                "see the service's log; the check is tried again by itself",
            ),
            Some(CheckState::Waiting | CheckState::Asking(_)) | None => {
                Part::new(PartKind::Check, name, ReadinessState::Waking)
            }
        }
    }

    /// Whether the runtime should be there and awake.
    pub(crate) fn wants_runtime(&self) -> bool {
        matches!(self.state.intent, Intent::Awake { .. })
    }
}

fn setup_failed(command: &str, cause: &str) -> Blocked {
    blocked(
        "setup.failed",
        format!("setup: `{command}` {cause}"),
        "`envforge logs setup` shows all it said; correct it, then `envforge wake`",
    )
}

fn input_blocked(input: &str, provider: &str, block: &Blocked) -> Hold {
    Hold::Blocked(blocked(
        "service.input_blocked",
        format!("it needs input {input}, and {provider} is blocked: {}", without_log(&block.cause)),
        block.fix.clone(),
    ))
}
