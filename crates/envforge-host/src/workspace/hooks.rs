//! What a repository has run around sleep: `hooks.before_sleep` and `hooks.after_wake`.
//!
//! Both run in the runtime beside its services, are given what a job is given, and have a log of their own. Neither decides
//! anything: sleep follows a hook that fails or takes too long, and a thaw waits for none. What went wrong is told in
//! the hook's log. The first runs once for each order to sleep, the second once for each pause that ended, whatever becomes of
//! the daemon meanwhile: the init remembers what it started a process for ([`Spawn::once`]).
//!
//! A wake that comes while the first still runs calls the sleep off. The second is run then too, so that it can undo what the
//! first had begun. A start from nothing runs neither: services that start have commands of their own.

use super::driver::Driver;
use crate::faults::point;
use crate::init::client::InitClient;
use crate::init::protocol::{ProcessState, Program, RefusalCode, Spawn};
use crate::journal::Intent;
use crate::script::{exit_of, run_to_end};
use crate::services::supervisor::Exit;
use crate::sys::sandbox::Sandbox;
use crate::sys::watch::watch;
use crate::uplink::logs::own_log;
use envforge_api::host::Order;
use envforge_core::id::{CommandId, WorkspaceId};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;

const BEFORE_SLEEP: &str = "before_sleep";
const AFTER_WAKE: &str = "after_wake";
/// How long `before_sleep` may take; sleep waits for it so long.
const BEFORE_SLEEP_LIMIT: Duration = Duration::from_secs(10);
/// How long `after_wake` may take; nothing waits for it.
const AFTER_WAKE_LIMIT: Duration = Duration::from_mins(1);
/// How long an init may take to answer a connection.
const REACH_LIMIT: Duration = Duration::from_secs(2);
/// How long a line for the log may take.
const TELL_LIMIT: Duration = Duration::from_secs(1);

/// The name of a hook's process.
fn process(hook: &str) -> String {
    format!("hook.{hook}")
}

/// A hook that is to be run once for what its `key` says.
struct Hook {
    workspace: WorkspaceId,
    sandbox: Arc<Sandbox>,
    client: Option<InitClient>,
    name: &'static str,
    /// What must not run at the same time.
    other: &'static str,
    limit: Duration,
    spawn: Spawn,
}

impl Driver {
    /// Runs `before_sleep` to its end for this order to sleep; nothing where there is none, or nothing runs.
    pub(crate) fn before_sleep(&self, order: CommandId) -> Option<impl Future<Output = ()> + Send + use<>> {
        if !matches!(self.state.intent, Intent::Awake { .. }) || !self.state.process_started {
            return None;
        }
        let command = self.state.running.as_ref()?.hooks.before_sleep.clone()?;
        self.hook(BEFORE_SLEEP, command, order.to_string()).map(Hook::run)
    }

    /// Something else is wanted before the runtime slept: it stays awake.
    pub(crate) async fn call_off_sleep(&mut self) {
        self.operation = None;
        self.state.wake_of = Some(self.ctx.now());
        if let Some(client) = &self.layer.client {
            drop(client.stop(&process(BEFORE_SLEEP), Duration::ZERO).await);
        }
    }

    /// Begins `after_wake` for the pause that ended last, unless it was begun.
    pub(crate) fn after_wake(&mut self) {
        let is_sleeping = (self.operation.as_ref())
            .is_some_and(|operation| matches!(operation.command.order, Order::FreezeRuntime | Order::StopRuntime));
        if is_sleeping {
            // What is to run before that sleep would be ended for it.
            return;
        }
        let Some(since) = self.state.wake_of.filter(|_| self.wants_runtime()) else { return };
        let Some(command) = self.state.running.as_ref().and_then(|manifest| manifest.hooks.after_wake.clone()) else {
            return;
        };
        if let Some(hook) = self.hook(AFTER_WAKE, command, since.to_string()) {
            self.runtime.after_wake = Some(self.ctx.tasks.spawn_owned("hook", hook.run()));
        }
    }

    fn hook(&self, name: &'static str, command: String, key: String) -> Option<Hook> {
        let given = self.given(None)?;
        let mut spawn = Spawn::new(&process(name), Program::Shell(command));
        (spawn.env, spawn.secrets, spawn.cwd) = (given.environment, given.secrets, given.directory);
        spawn.log = Some(own_log(name));
        spawn.whole_tree = true;
        (spawn.key, spawn.once) = (Some(key), true);
        let (other, limit) =
            if name == BEFORE_SLEEP { (AFTER_WAKE, BEFORE_SLEEP_LIMIT) } else { (BEFORE_SLEEP, AFTER_WAKE_LIMIT) };
        Some(Hook {
            workspace: self.place.workspace,
            sandbox: self.layer.sandbox.clone()?,
            client: self.layer.client.clone(),
            name,
            other,
            limit,
            spawn,
        })
    }
}

impl Hook {
    async fn run(self) {
        let client = match &self.client {
            Some(client) => Some(client.clone()),
            None => tokio::time::timeout(REACH_LIMIT, self.sandbox.connect()).await.ok().and_then(Result::ok),
        };
        let Some(client) = client else {
            tracing::warn!(workspace = %self.workspace, hook = self.name, "hook: not run, because the runtime's init does not answer");
            return;
        };
        if let Err(cause) = self.carry_out(&client).await {
            tracing::info!(workspace = %self.workspace, hook = self.name, cause, "hook: failed, and nothing waits for it");
            self.tell(&client, &cause).await;
        }
    }

    /// Runs it unless it was run, and waits for its end.
    async fn carry_out(&self, client: &InitClient) -> Result<(), String> {
        let process = process(self.name);
        let known = client.list().await.map_err(|error| error.to_string())?.processes;
        let find = |name: &str| known.iter().find(|record| record.name == name);
        let runs = |name: &str| find(name).is_some_and(|record| record.state == ProcessState::Running);
        let is_mine = find(&process).is_some_and(|record| record.key == self.spawn.key);
        let mut begun = None;
        if !is_mine {
            // One that was begun for this goes on beside whatever is there: nobody ends what came after it.
            for stale in [self::process(self.other), process.clone()].iter().filter(|name| runs(name)) {
                drop(client.stop(stale, Duration::ZERO).await);
            }
            let spawned = client.spawn(self.spawn.clone()).await;
            point("hook.started");
            match spawned {
                Ok(spawned) => begun = Some(spawned.pidfd),
                // Asked for over another connection before, which the init read only now.
                Err(error) if error.refusal() == Some(RefusalCode::NameTaken) => {}
                Err(error) => return Err(format!("could not be started: {error}")),
            }
        }
        let begun = match begun {
            Some(begun) => begun,
            None => match client.locate(&process).await {
                Ok((_, running)) => running,
                Err(error) if error.refusal() == Some(RefusalCode::NoSuchProcess) => return Ok(()),
                Err(error) => return Err(format!("could not be found: {error}")),
            },
        };
        let ended = watch(begun, Interest::READABLE).map_err(|error| error.to_string())?;
        if tokio::time::timeout(self.limit, ended.readable()).await.is_err() {
            drop(client.stop(&process, Duration::ZERO).await);
            return Err(format!("did not end within {} s and was killed", self.limit.as_secs()));
        }
        let exit = exit_of(client, &process).await.map_err(|error| error.to_string())?;
        point("hook.ended");
        match exit {
            Some(exit) if exit.code == Some(0) => Ok(()),
            Some(exit) => Err(Exit { code: exit.code, signal: exit.signal }.say()),
            None => Err("ended, and nobody saw how".to_owned()),
        }
    }

    /// Says in its log what became of it. The log is the workspace's: it is written from within.
    async fn tell(&self, client: &InitClient, cause: &str) {
        let line = format!("envforge: {} {cause}; nothing waits for it", self.name);
        let argv = ["printf".to_owned(), "%s\\n".to_owned(), line].into();
        let mut spawn = Spawn::new(&process("told"), Program::Argv(argv));
        spawn.cwd = "/".into();
        spawn.log = self.spawn.log.clone();
        if let Err(error) = run_to_end(client, spawn, TELL_LIMIT).await {
            tracing::debug!(workspace = %self.workspace, %error, "hook: its log does not say how it ended");
        }
    }
}
