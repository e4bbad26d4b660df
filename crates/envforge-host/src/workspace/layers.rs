//! A workspace's two layers: held, watched, found again.
//!
//! A layer is watched by two tasks: one waits for its init to end, the other holds a connection to it and passes on what
//! ends inside. A connection to a paused init answers once it is thawed, so nothing here needs to know of pauses.

use super::driver::Driver;
use super::events::Event;
use crate::console;
use crate::context::Context;
use crate::ctx::HostContext;
use crate::egress_proxy;
use crate::engines::{Bind, Layer, LayerLimits, LayerPlan, inside};
use crate::exec;
use crate::files::Durability;
use crate::git;
use crate::init::client::{ClientError, Events, InitClient};
use crate::init::protocol::{Event as InitEvent, ProcessState, SandboxState};
use crate::journal::Intent;
use crate::place::Place;
use crate::sys::sandbox::Sandbox;
use crate::tasks::Owned;
use crate::terminal;
use crate::trouble::{Blocked, blocked};
use envforge_api::host::{PrepareShell, StartRuntime};
use envforge_core::size::Size;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Processes and threads a runtime may have.
const RUNTIME_PROCESSES: u64 = 8_192;
/// The pause between two tries to start a shell.
const SHELL_AGAIN: SignedDuration = SignedDuration::from_secs(30);
/// The pause between two tries to reach an init.
const AGAIN: Duration = Duration::from_millis(100);

/// The layers a driver holds. A root terminal's is held by who opened it ([`crate::elevation`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// [`Layer::Shell`].
    Shell,
    /// [`Layer::Runtime`].
    Runtime,
}

/// A layer, if it is there.
#[derive(Default)]
pub(crate) struct LayerSlot {
    pub(crate) sandbox: Option<Arc<Sandbox>>,
    /// The way to its init, while the connection holds.
    pub(crate) client: Option<InitClient>,
    /// They end with the slot.
    _tasks: Vec<Owned>,
}

impl LayerSlot {
    /// The init's pid.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.sandbox.as_ref().map(|sandbox| sandbox.pid())
    }
}

/// What the shell layer looks like.
pub(crate) fn shell_plan(ctx: &HostContext, place: &Place, prepared: &PrepareShell) -> LayerPlan {
    let mut binds = vec![
        Bind::read_only(place.logs(), inside::LOGS),
        Bind::read_only(place.git(), inside::GIT),
        // Consoles read it here, for the runtime may be asleep.
        Bind::read_only(place.data(), inside::DATA),
    ];
    binds.extend(program_on_disk(&ctx.config.program).map(|program| Bind::read_only(program, inside::PROGRAM)));
    LayerPlan {
        layer: Layer::Shell,
        hostname: hostname(prepared),
        limits: shell_limits(ctx),
        binds,
        init_only: Vec::new(),
        files: vec![(PathBuf::from(terminal::CONFIG_PATH), terminal::CONFIG.to_owned())],
        environment: environment(ctx, prepared),
    }
}

/// What the runtime layer looks like.
pub(crate) fn runtime_plan(
    ctx: &HostContext,
    place: &Place,
    prepared: &PrepareShell,
    order: &StartRuntime,
) -> LayerPlan {
    let mut binds = vec![Bind::writable(place.data(), inside::DATA), Bind::read_only(place.git(), inside::GIT)];
    binds.extend(program_on_disk(&ctx.config.program).map(|program| Bind::read_only(program, inside::PROGRAM)));
    LayerPlan {
        layer: Layer::Runtime,
        hostname: hostname(prepared),
        limits: runtime_limits(order.size),
        binds,
        init_only: vec![Bind::read_only(ctx.postgres.socket_dir(), inside::POSTGRES)],
        files: Vec::new(),
        environment: environment(ctx, prepared),
    }
}

/// Where a program lies that is named by a link of the kernel's; after an upgrade, the one that lies there now.
fn program_on_disk(program: &Path) -> Option<PathBuf> {
    let path = std::fs::read_link(program).unwrap_or_else(|_| program.to_owned());
    let path = match path.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(path) => PathBuf::from(path),
        None => path,
    };
    path.is_file().then_some(path)
}

/// What a root terminal's layer looks like: the shell's limits, nothing that a program of the workspace could have put
/// in root's way.
pub(crate) fn elevated_plan(ctx: &HostContext, prepared: &PrepareShell) -> LayerPlan {
    let root = [
        ("HOME", "/root"),
        ("USER", "root"),
        ("LOGNAME", "root"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ];
    let mut environment = environment(ctx, prepared);
    environment.extend(root.map(|(name, value)| (name.to_owned(), value.to_owned())));
    LayerPlan {
        layer: Layer::Elevated,
        hostname: hostname(prepared),
        limits: shell_limits(ctx),
        binds: Vec::new(),
        init_only: Vec::new(),
        files: Vec::new(),
        environment,
    }
}

fn shell_limits(ctx: &HostContext) -> LayerLimits {
    let limits = ctx.config.shell_limits;
    LayerLimits {
        milli_cpu: limits.milli_cpu.into(),
        reserved_milli_cpu: 500,
        memory: limits.memory,
        processes: limits.processes,
    }
}

/// The limits of a size.
pub(crate) fn runtime_limits(size: Size) -> LayerLimits {
    LayerLimits {
        milli_cpu: size.burst_milli_cpu(),
        reserved_milli_cpu: size.reserved_milli_cpu(),
        memory: size.burst_memory(),
        processes: RUNTIME_PROCESSES,
    }
}

fn hostname(prepared: &PrepareShell) -> String {
    prepared.names.workspace.as_str().chars().take(63).collect()
}

fn environment(ctx: &HostContext, prepared: &PrepareShell) -> BTreeMap<String, String> {
    let names = &prepared.names;
    let egress = ctx.engine.has_own_network().then_some(("ENVFORGE_EGRESS_URL", egress_proxy::URL));
    let named = [
        ("ENVFORGE", "1"),
        ("ENVFORGE_ORG", names.org.as_str()),
        ("ENVFORGE_PROJECT", names.project.as_str()),
        ("ENVFORGE_WORKSPACE", names.workspace.as_str()),
        ("ENVFORGE_BRANCH", &prepared.branch),
        git::CONFIG_VARIABLE,
    ];
    named.into_iter().chain(egress).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Starts the shell, with its context written and its session open.
pub(crate) async fn start_shell(
    ctx: &HostContext,
    place: &Place,
    prepared: &PrepareShell,
    public_urls: &BTreeMap<String, String>,
) -> Result<Arc<Sandbox>, Blocked> {
    let failed = |cause: String| {
        blocked("shell.not_started", format!("the shell could not be started: {cause}"), "see the host daemon's log")
    };
    let started = ctx.engine.start(place, &shell_plan(ctx, place, prepared)).await;
    ctx.metrics.sandbox_started(Layer::Shell, started.is_ok());
    let sandbox = started.map_err(|error| failed(error.to_string()))?;
    let client = sandbox.connect().await.map_err(|error| failed(error.to_string()))?;
    let manifest = super::manifest::read(place);
    let context = Context { prepared, manifest: Some(&manifest), public_urls };
    let script = context.script();
    let (written, session) = tokio::join!(script.run(&client), client.spawn(terminal::prepare(ctx, place.uid)));
    if let Err(error) = written {
        tracing::warn!(workspace = %place.workspace, %error, "shell: its context was not written");
    }
    if let Err(error) = session {
        // A shell that nobody can enter is none. It is tried again in a while.
        drop(ctx.engine.end(place, Layer::Shell).await);
        return Err(terminal::not_prepared(ctx, &error));
    }
    Ok(Arc::new(sandbox))
}

/// A connection that hears of everything from now on, and what was before.
async fn attach(sandbox: &Sandbox) -> Result<(InitClient, Events, SandboxState), ClientError> {
    let client = sandbox.connect().await?;
    let events = client.subscribe().await?;
    let known = client.list().await?;
    Ok((client, events, known))
}

impl Driver {
    /// Takes hold of a layer that runs, and watches it.
    pub(crate) fn hold(&mut self, layer: Held, sandbox: Arc<Sandbox>) {
        let pid = sandbox.pid();
        let (queue, watched) = (self.queue.clone(), Arc::clone(&sandbox));
        let end = self.ctx.tasks.spawn_owned("layer-end", async move {
            match watched.ended().await {
                Ok(()) => drop(queue.send(Event::Ended(layer, pid))),
                Err(error) => tracing::error!(%error, pid, "layer: its end can't be seen"),
            }
        });
        let (queue, watched) = (self.queue.clone(), Arc::clone(&sandbox));
        let events = self.ctx.tasks.spawn_owned("layer-events", async move {
            while watched.is_running() {
                match attach(&watched).await {
                    Ok((client, mut events, known)) => {
                        drop(queue.send(Event::Attached(layer, pid, client, Box::new(known))));
                        while let Some(InitEvent::Exited { name, pid: of, exit }) = events.next().await {
                            drop(queue.send(Event::Exited(layer, pid, name, of, exit)));
                        }
                        drop(queue.send(Event::Detached(layer, pid)));
                    }
                    Err(error) => tracing::debug!(%error, pid, "layer: its init does not answer"),
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
        let identity = sandbox.identity();
        *self.slot(layer) = LayerSlot { sandbox: Some(sandbox), client: None, _tasks: vec![end, events] };
        match layer {
            Held::Shell => (self.state.shell, self.state.shell_rests) = (Some(identity), false),
            Held::Runtime => self.state.runtime = Some(identity),
        }
        // Whoever comes after a crash must find it.
        drop(self.save(Durability::Process));
        self.show();
    }

    /// Lets go of a layer that is gone.
    pub(crate) fn let_go(&mut self, layer: Held) {
        *self.slot(layer) = LayerSlot::default();
        match layer {
            Held::Shell => self.state.shell = None,
            Held::Runtime => self.state.runtime = None,
        }
        self.show();
    }

    /// An init answers, with what it knows.
    pub(crate) async fn attached(&mut self, layer: Held, pid: i32, client: InitClient, known: SandboxState) {
        if self.slot(layer).pid() != Some(pid) {
            return;
        }
        self.slot(layer).client = Some(client);
        self.show();
        match layer {
            Held::Shell => {
                self.keep_egress_proxy().await;
                self.shell_attached(&known).await;
            }
            Held::Runtime => self.runtime_attached(&known).await,
        }
        self.settle().await;
    }

    pub(crate) fn detached(&mut self, layer: Held, pid: i32) {
        if self.slot(layer).pid() == Some(pid) {
            self.slot(layer).client = None;
            self.show();
        }
    }

    /// A layer's init ended without having been told to by an operation.
    pub(crate) async fn ended(&mut self, layer: Held, pid: i32) {
        if self.slot(layer).pid() != Some(pid) {
            return;
        }
        match layer {
            // The operation that ends it knows.
            Held::Shell if self.is_destroying() => {}
            Held::Shell => {
                tracing::warn!(workspace = %self.place.workspace, "the shell ended; it is started again");
                self.let_go(Held::Shell);
                self.setup_lost();
                self.keep_shell().await;
            }
            Held::Runtime if self.runtime.stopping => {}
            Held::Runtime => {
                tracing::warn!(workspace = %self.place.workspace, "the runtime ended by itself");
                if let Err(error) = self.ctx.engine.end(&self.place, Layer::Runtime).await {
                    tracing::warn!(workspace = %self.place.workspace, %error, "runtime: not cleared away");
                }
                self.runtime_is_gone("the runtime ended while it ran");
            }
        }
        self.settle().await;
    }

    /// Starts the shell again when it is gone and should be there.
    pub(crate) async fn keep_shell(&mut self) {
        let Some(prepared) = self.state.prepared.clone() else { return };
        if self.ctx.now() < self.shell_not_before
            || self.shell.sandbox.is_some()
            || self.state.shell_rests
            || self.is_shell_of_an_operation()
            || !self.place.checkout().exists()
        {
            return;
        }
        if let Err(error) = self.ctx.engine.prepare_network(&self.place).await {
            tracing::warn!(workspace = %self.place.workspace, %error, "network: not there");
        }
        let none = BTreeMap::new();
        let public_urls = self.order().map_or(&none, |order| &order.public_urls);
        match start_shell(&self.ctx, &self.place, &prepared, public_urls).await {
            Ok(sandbox) => {
                self.hold(Held::Shell, sandbox);
                self.shell_trouble = None;
            }
            Err(trouble) => {
                self.shell_trouble = Some(trouble);
                self.shell_not_before = self.ctx.now().checked_add(SHELL_AGAIN).unwrap_or(Timestamp::MAX);
            }
        }
        self.publish();
    }

    /// What ended in the shell while nobody listened is looked at and forgotten.
    async fn shell_attached(&mut self, known: &SandboxState) {
        for record in &known.processes {
            if let ProcessState::Exited(exit) = record.state {
                self.exited(Held::Shell, &record.name, record.pid, exit).await;
            }
        }
        if let Some(shell) = &self.shell.client {
            exec::clear(&self.ctx, &self.view, shell, known);
        }
        let running = known
            .processes
            .iter()
            .any(|record| record.name == super::setup::PROCESS && record.state == ProcessState::Running);
        self.setup_after_attach(running).await;
    }

    /// A process in a layer ended.
    pub(crate) async fn exited(&mut self, layer: Held, name: &str, pid: i32, exit: crate::init::protocol::Exit) {
        match layer {
            Held::Shell if name == super::setup::PROCESS => self.setup_exited(exit),
            Held::Shell if [terminal::PREFIX, "tmux.", console::PREFIX].iter().any(|it| name.starts_with(it)) => {
                self.forget(Held::Shell, name);
            }
            Held::Shell => {}
            Held::Runtime if name.starts_with(console::PREFIX) => self.forget(Held::Runtime, name),
            Held::Runtime => self.runtime_exited(name, pid, exit).await,
        }
    }

    /// Drops an exit record that was seen to.
    pub(crate) fn forget(&mut self, layer: Held, name: &str) {
        let Some(client) = self.slot(layer).client.clone() else { return };
        let name = name.to_owned();
        self.ctx.tasks.spawn_loose("forget", async move {
            drop(client.forget(&name).await);
        });
    }

    /// The order the runtime is to follow, awake or paused.
    pub(crate) fn order(&self) -> Option<&StartRuntime> {
        match &self.state.intent {
            Intent::Awake { order } | Intent::Frozen { order, .. } => Some(order),
            Intent::Asleep => None,
        }
    }
}
