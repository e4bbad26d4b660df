//! The driver's queue: what comes in, and who handles it.

use super::events::{Event, RuntimeEvent, RuntimeLine};
use super::layers::{Held, LayerSlot};
use super::manifest::FileStamp;
use super::publish::News;
use super::registry::Workspaces;
use super::rest::ShellRest;
use super::runtime::Runtime;
use super::view::View;
use crate::commands::{self, Finished};
use crate::ctx::HostContext;
use crate::faults::point;
use crate::files::Durability;
use crate::journal::{Intent, Journal, WorkspaceState};
use crate::place::Place;
use crate::script::Script;
use crate::services::log_file;
use crate::tasks::Owned;
use crate::trouble::{Blocked, unwritable};
use crate::uplink::logs::job_log;
use envforge_api::host::{FromHost, HEARTBEAT_SECONDS, HostCommand, Order, Outcome};
use envforge_api::trace;
use envforge_core::id::CommandId;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

/// The pause between two beats of a workspace at rest: nobody in it can change a file, only who works on the host itself.
const REST_BEAT: Duration = Duration::from_mins(1);

/// A command that is being carried out and answered at its end.
pub(crate) struct Operation {
    pub(crate) command: HostCommand,
    pub(crate) span: Span,
    pub(crate) _task: Owned,
}

/// The one writer of a workspace.
pub(crate) struct Driver {
    pub(crate) ctx: Arc<HostContext>,
    pub(crate) workspaces: Arc<Workspaces>,
    pub(crate) place: Place,
    pub(crate) journal: Journal,
    pub(crate) state: WorkspaceState,
    pub(crate) view: Arc<View>,
    pub(crate) queue: mpsc::UnboundedSender<Event>,
    pub(crate) shell: LayerSlot,
    pub(crate) layer: LayerSlot,
    pub(crate) runtime: Runtime,
    /// The workspace's end of the egress proxy.
    pub(crate) egress: Option<Owned>,
    pub(crate) shell_trouble: Option<Blocked>,
    /// A shell that did not start is not tried before.
    pub(crate) shell_not_before: Timestamp,
    pub(crate) shell_rest: ShellRest,
    pub(crate) operation: Option<Operation>,
    pub(crate) deferred: VecDeque<HostCommand>,
    pub(crate) news: News,
    /// What `.envforge/` was last made to say.
    pub(crate) context_written: Option<Script>,
    /// The connection to the server that has everything this workspace told.
    pub(crate) connection: u64,
    /// The journal could not be written; what it should hold was not told.
    pub(crate) unsaved: bool,
    /// The disk may not have the journal yet.
    pub(crate) unsynced: bool,
    pub(crate) manifest_stamp: Option<FileStamp>,
    /// The setup hook ended, and its last words are being read.
    pub(crate) setup_is_ending: bool,
    /// Answers the workspace's Git.
    pub(crate) git: Vec<Owned>,
    /// The workspace is destroyed; the driver ends.
    pub(crate) gone: bool,
}

impl Driver {
    pub(crate) fn new(
        ctx: Arc<HostContext>,
        workspaces: Arc<Workspaces>,
        place: Place,
        state: WorkspaceState,
        view: Arc<View>,
        queue: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            journal: Journal::of(&place).with(&ctx.disk.spares),
            ctx,
            workspaces,
            place,
            state,
            view,
            queue,
            shell: LayerSlot::default(),
            layer: LayerSlot::default(),
            runtime: Runtime::default(),
            egress: None,
            shell_trouble: None,
            shell_not_before: Timestamp::UNIX_EPOCH,
            shell_rest: ShellRest::default(),
            operation: None,
            deferred: VecDeque::new(),
            news: News::default(),
            context_written: None,
            connection: 0,
            unsaved: false,
            unsynced: false,
            manifest_stamp: None,
            setup_is_ending: false,
            git: Vec::new(),
            gone: false,
        }
    }

    /// Whether the workspace is being destroyed.
    pub(crate) fn is_destroying(&self) -> bool {
        self.operation.as_ref().is_some_and(|operation| operation.command.order == Order::DestroyWorkspace)
    }

    /// Drives the workspace until it is destroyed or the daemon ends. Its layers go on without it.
    ///
    /// Most workspaces sleep: what a step needs is in a box while it is taken, and no part of this.
    pub(crate) async fn run(mut self: Box<Self>, mut events: mpsc::UnboundedReceiver<Event>) {
        Box::pin(self.take_up()).await;
        let (tasks, view) = (self.ctx.tasks.clone(), Arc::clone(&self.view));
        // What comes up asleep was just looked at.
        let mut beaten = self.is_at_rest().then(Instant::now);
        while !self.gone {
            let now = Instant::now();
            let beat = beaten.map_or(now, |beaten| beaten + self.between_beats());
            let tick = now + self.time_to_deadline();
            tokio::select! {
                biased;
                () = tasks.cancelled() => break,
                Some(event) = events.recv() => Box::pin(self.handle(event)).await,
                () = view.shell_missed() => Box::pin(self.wake_shell()).await,
                // There is another pause until the next beat.
                () = view.stirred() => {}
                () = tokio::time::sleep_until(tick.min(beat)) => {
                    if tick <= beat {
                        Box::pin(self.tick()).await;
                    } else {
                        Box::pin(self.beat()).await;
                        beaten = Some(Instant::now());
                    }
                }
            }
        }
        if !self.gone && self.unsynced {
            drop(self.save(Durability::Machine));
        }
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Command(command) => self.command(*command).await,
            Event::Finished(command, finished) => self.finished(command, *finished).await,
            Event::Acknowledge(sequence) => {
                self.state.reports.acknowledge(sequence);
                self.unsynced = true;
            }
            Event::Connected => self.repeat_reports(),
            Event::Attached(layer, pid, client, known) => self.attached(layer, pid, client, *known).await,
            Event::Detached(layer, pid) => self.detached(layer, pid),
            Event::Ended(layer, pid) => self.ended(layer, pid).await,
            Event::Exited(layer, init, name, pid, exit) => {
                if self.slot(layer).pid() == Some(init) {
                    self.exited(layer, &name, pid, exit).await;
                }
            }
            Event::Runtime(init, event) => {
                if self.layer.pid() == Some(init) && !self.runtime.stopping {
                    self.runtime_event(*event).await;
                }
            }
            Event::Provisioned(kind, init, result) => self.provisioned(kind, init, *result).await,
            Event::SetupEnded(exit, lines) => self.setup_ended(exit, &lines).await,
        }
    }

    async fn runtime_event(&mut self, event: RuntimeEvent) {
        match event {
            RuntimeEvent::ServiceExited(service, pid, exit, lines) => {
                self.service_exited(&service, pid, exit, lines).await;
            }
            RuntimeEvent::ServiceGone(service) => self.service_gone(&service).await,
            RuntimeEvent::Listening(listeners) => self.listening(listeners).await,
            RuntimeEvent::Probed(service, pid, result) => self.probed(&service, pid, result).await,
            RuntimeEvent::MemoryRanOut => self.memory_ran_out(),
            RuntimeEvent::InstanceReady(kind, pid) => self.instance_ready(kind, pid).await,
            RuntimeEvent::Secrets(names, given) => self.secrets_given(names, given).await,
            RuntimeEvent::Checked(check, pid, result) => self.checked(&check, pid, result),
        }
    }

    /// The way to tell this driver of the runtime that is there now.
    pub(crate) fn line(&self) -> Option<RuntimeLine> {
        Some(RuntimeLine { queue: self.queue.clone(), init: self.layer.pid()? })
    }

    /// A command: answered before, to wait, or to be carried out.
    pub(crate) async fn command(&mut self, command: HostCommand) {
        if matches!(command.order, Order::EndElevation(_)) {
            return self.obey(command).await;
        }
        if let Some(outcome) = self.state.answer_to(&command) {
            return self.say_answer(command.id, outcome);
        }
        if let Some(operation) = &self.operation {
            if operation.command.id == command.id {
                return;
            }
            if operation.command.order == Order::FreezeRuntime && is_newer_runtime_order(&command, &operation.command) {
                // Nothing sleeps yet, and this is what is wanted now.
                let frozen = operation.command.id;
                self.call_off_sleep().await;
                self.obey(command).await;
                return self.say_answer(frozen, Outcome::Stale);
            }
            if command.order == Order::DestroyWorkspace && !matches!(operation.command.order, Order::DestroyWorkspace) {
                // What is being made is not wanted any more; what was made so far goes with the rest.
                self.operation = None;
                self.deferred.clear();
            } else {
                if self.deferred.iter().all(|deferred| deferred.id != command.id) {
                    self.deferred.push_back(command);
                }
                return;
            }
        }
        tracing::debug!(workspace = %self.place.workspace, command = %command.id, verb = command.order.verb(), "command taken");
        self.obey(command).await;
    }

    /// Carries a command out, or begins to, in a span that ends with it.
    async fn obey(&mut self, command: HostCommand) {
        let span = tracing::debug_span!(
            target: trace::TARGET,
            parent: None,
            "command",
            otel.name = command.order.verb(),
            otel.kind = "consumer",
            otel.status_code = Empty,
            workspace = %self.place.workspace,
            command = %command.id,
            outcome = Empty,
        );
        trace::adopt_parent(&span, command.traceparent.as_deref());
        commands::obey(self, command).instrument(span).await;
    }

    async fn finished(&mut self, command: CommandId, finished: Finished) {
        let Some(operation) = self.operation.take_if(|operation| operation.command.id == command) else { return };
        commands::finished(self, operation.command, finished).instrument(operation.span).await;
        while self.operation.is_none() && !self.gone {
            let Some(command) = self.deferred.pop_front() else { return };
            self.command(command).await;
        }
    }

    /// Journals an answer and gives it. An answer that can't be journaled is a failure, and remembered nowhere.
    pub(crate) fn answer(&mut self, command: CommandId, outcome: Outcome, durability: Durability) {
        self.state.remember(command, outcome.clone());
        match self.save(durability) {
            Ok(()) => self.say_answer(command, outcome),
            Err(error) => {
                self.state.answered.retain(|answered| answered.command != command);
                self.say_answer(command, Outcome::Failed(unwritable(&error).into()));
            }
        }
    }

    /// Gives an answer that the journal has, or that nothing was done for.
    pub(crate) fn say_answer(&self, command: CommandId, outcome: Outcome) {
        let span = Span::current();
        span.record(
            "outcome",
            match &outcome {
                Outcome::Done => "done",
                Outcome::Stale => "stale",
                Outcome::Failed(trouble) => &trouble.code,
            },
        );
        if let Outcome::Failed(trouble) = &outcome {
            span.record("otel.status_code", "ERROR");
            tracing::info!(workspace = %self.place.workspace, %command, code = trouble.code, cause = trouble.cause, "command failed");
        }
        point("answer.before");
        self.ctx.outbox.send(FromHost::Answer { command, outcome });
    }

    /// Writes the journal.
    pub(crate) fn save(&mut self, durability: Durability) -> io::Result<()> {
        self.state.services = self.runtime.records();
        let forgotten = self.state.prune_jobs();
        let written = self.journal.write(&mut self.state, durability);
        match &written {
            Ok(()) => {
                // Nobody can ask for them any more.
                for job in forgotten {
                    log_file::remove(&self.place.logs(), &job_log(&job.to_string()));
                }
                self.unsaved = false;
                self.unsynced = durability == Durability::Process;
            }
            Err(error) => {
                if !self.unsaved {
                    tracing::error!(workspace = %self.place.workspace, %error, "journal: not written; nothing is told until it is");
                }
                self.unsaved = true;
            }
        }
        written
    }

    /// Whether there is no layer and none is wanted: what happens then, the driver is told.
    fn is_at_rest(&self) -> bool {
        let has_layer = self.shell.sandbox.is_some() || self.layer.sandbox.is_some();
        let has_work = self.operation.is_some() || self.unsaved || self.unsynced;
        self.state.shell_rests && !has_layer && !has_work && !self.ctx.elevations.is_open(self.place.workspace)
    }

    fn between_beats(&self) -> Duration {
        if self.is_at_rest() { REST_BEAT } else { Duration::from_secs(HEARTBEAT_SECONDS) }
    }

    /// Every other second; seldom at rest.
    async fn beat(&mut self) {
        if self.unsaved && self.save(Durability::Process).is_ok() {
            self.connection = 0;
            self.repeat_reports();
        }
        if self.unsynced {
            self.unsynced = false;
            self.journal.sync_later(&mut self.state, &self.ctx.tasks);
        }
        if self.operation.is_none() {
            self.look_at_manifest();
            self.keep_shell().await;
            self.let_shell_rest().await;
        }
        self.keep_egress_proxy().await;
        self.look_for_missing_secrets();
    }

    /// The workspace is not, or no longer, on this host.
    pub(crate) fn abandon(&mut self) {
        self.gone = true;
        self.workspaces.forget(self.place.workspace);
        drop(crate::files::remove_tree(self.place.root()));
    }

    /// Time since then did not pass for what was paused.
    pub(crate) fn skip_time(&mut self, since: Timestamp) {
        let paused = self.ctx.now().duration_since(since);
        for unit in self.runtime.units.values_mut() {
            unit.elsewhere_since = None;
        }
        let instances = self.runtime.instances.values_mut().map(|unit| &mut unit.supervisor);
        for supervisor in self.runtime.units.values_mut().map(|unit| &mut unit.supervisor).chain(instances) {
            supervisor.shift(paused);
        }
    }

    /// Asks an init that answers what it knows, if it was paused when it should have been asked.
    pub(crate) fn reconcile_if_needed(&self) {
        let (Some(client), Some(pid)) = (self.layer.client.clone(), self.layer.pid()) else { return };
        if self.runtime.reconciled {
            return;
        }
        let queue = self.queue.clone();
        self.ctx.tasks.spawn_loose("reconcile", async move {
            if let Ok(known) = client.list().await {
                drop(queue.send(Event::Attached(Held::Runtime, pid, client, Box::new(known))));
            }
        });
    }

    /// Whether the runtime is paused.
    pub(crate) fn is_frozen(&self) -> bool {
        matches!(self.state.intent, Intent::Frozen { .. })
    }

    /// Whether what runs in the runtime may be told to do something.
    pub(crate) fn is_active(&self) -> bool {
        self.layer.client.is_some() && !self.is_frozen() && !self.runtime.stopping
    }

    /// The slot of a layer.
    pub(crate) fn slot(&mut self, layer: Held) -> &mut LayerSlot {
        match layer {
            Held::Shell => &mut self.shell,
            Held::Runtime => &mut self.layer,
        }
    }
}

/// Whether a command says later than another what is to become of the runtime.
fn is_newer_runtime_order(command: &HostCommand, than: &HostCommand) -> bool {
    command.generation > than.generation && matches!(command.order, Order::StartRuntime(_) | Order::StopRuntime)
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
