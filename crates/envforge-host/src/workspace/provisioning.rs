//! Resources on the way to being usable.

use super::driver::Driver;
use super::events::{Event, RuntimeEvent};
use super::runtime::RedisUnit;
use crate::engines::inside;
use crate::init::protocol::{Exit, ProcessRecord, ProcessState, RefusalCode};
use crate::resources::{Provision, postgres, redis};
use crate::services::log_file;
use crate::services::supervisor::{Effect, Event as Change, Exit as ServiceExit, State, Supervisor};
use crate::trouble::{Blocked, blocked};
use crate::uplink::logs::own_log;
use envforge_core::manifest::{Manifest, ResourceKind, ResourceMode, RestartPolicy};
use envforge_core::secret::Secret;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The pid of no init: a database made before there is a runtime.
const NOBODY: i32 = 0;
/// Between two tries to reach an instance that starts.
const AGAIN: Duration = Duration::from_millis(5);

impl Driver {
    /// Makes what the manifest asks for and is not there, or could not be had before.
    pub(crate) async fn begin_resources(&mut self) {
        let Some(manifest) = &self.state.running else { return };
        let wanted: Vec<ResourceKind> = manifest
            .resources
            .iter()
            .filter(|(kind, mode)| {
                let missing = matches!(self.runtime.resources.get(kind), None | Some(Provision::Blocked(_)));
                **mode == ResourceMode::BranchScoped && missing
            })
            .map(|(kind, _)| *kind)
            .collect();
        for kind in wanted {
            self.runtime.resources.insert(kind, Provision::Pending);
            match kind {
                ResourceKind::Postgres => self.begin_postgres(),
                ResourceKind::Redis => self.begin_redis().await,
            }
        }
    }

    fn begin_postgres(&self) {
        let Some(init) = self.layer.pid() else { return };
        self.provision_database(init);
    }

    /// Makes the branch database ahead of the first wake, which then does not wait for it.
    pub(crate) fn prepare_database(&self, manifest: &Manifest) {
        if manifest.resources.get(&ResourceKind::Postgres) == Some(&ResourceMode::BranchScoped) && !self.state.database
        {
            self.provision_database(NOBODY);
        }
    }

    /// Makes the database in the background, for the runtime with this init. What was begun is finished, also when a
    /// later attempt or a deletion follows: those wait for it.
    fn provision_database(&self, init: i32) {
        let (ctx, place, known) = (Arc::clone(&self.ctx), self.place.clone(), self.state.database);
        let queue = self.queue.clone();
        self.ctx.tasks.spawn_loose("postgres", async move {
            let result = ctx.postgres.provision(&place, known, ctx.entropy.as_ref()).await;
            drop(queue.send(Event::Provisioned(ResourceKind::Postgres, init, result)));
        });
    }

    pub(super) async fn provisioned(&mut self, kind: ResourceKind, init: i32, result: Result<Secret, Blocked>) {
        if result.is_ok() {
            self.state.database = true;
        }
        if self.layer.pid() != Some(init) || self.runtime.stopping {
            return;
        }
        let result = match result {
            Ok(url) => self.forward_postgres().await.map(|()| url),
            Err(block) => Err(block),
        };
        let provision = match result {
            Ok(url) => Provision::Ready(url),
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
        client.forward((Ipv4Addr::LOCALHOST, port).into(), &socket).await.map_err(|error| failed(error.to_string()))
    }

    async fn begin_redis(&mut self) {
        if let Err(block) = redis::check(&self.ctx.config) {
            self.runtime.resources.insert(ResourceKind::Redis, Provision::Blocked(block));
            return;
        }
        let mut supervisor = Supervisor::new(RestartPolicy::Always);
        let pid = self.runtime.redis.as_ref().and_then(|redis| redis.pid);
        if pid.is_some() {
            // An earlier daemon started it.
            supervisor.handle(Change::InputsKnown, self.ctx.now());
        }
        self.runtime.redis = Some(RedisUnit { supervisor, pid, probe: None });
        if pid.is_some() {
            self.watch_redis();
        } else {
            self.change_redis(Change::InputsKnown).await;
        }
    }

    async fn spawn_redis(&self) -> Result<i32, String> {
        let client = self.layer.client.clone().ok_or("the runtime's init does not answer")?;
        let mut started = client.spawn(redis::spawn(&self.ctx.config, &self.place)).await;
        if started.as_ref().is_err_and(|error| error.refusal() == Some(RefusalCode::NameTaken)) {
            drop(client.stop(redis::PROCESS, Duration::from_secs(5)).await);
            started = client.spawn(redis::spawn(&self.ctx.config, &self.place)).await;
        }
        started.map(|spawned| spawned.pid).map_err(|error| error.to_string())
    }

    /// Asks Redis until it answers, unless it has.
    pub(super) fn watch_redis(&mut self) {
        let line = self.line();
        let Some(unit) = &mut self.runtime.redis else { return };
        let Some(pid) = unit.pid.filter(|_| !matches!(unit.supervisor.state(), State::Ready { .. })) else { return };
        let Some(line) = line else { return };
        let (ctx, place) = (Arc::clone(&self.ctx), self.place.clone());
        unit.probe = Some(self.ctx.tasks.spawn_owned("redis", async move {
            loop {
                if let Ok(stream) = ctx.engine.connect(&place, place.resource_port(redis::PORT)).await
                    && redis::is_ready(stream).await.unwrap_or(false)
                {
                    line.tell(RuntimeEvent::RedisReady(pid));
                    return;
                }
                tokio::time::sleep(AGAIN).await;
            }
        }));
    }

    pub(super) async fn redis_ready(&mut self, pid: i32) {
        if self.runtime.redis.as_ref().is_some_and(|redis| redis.pid == Some(pid)) {
            self.change_redis(Change::Healthy).await;
            self.settle().await;
        }
    }

    pub(super) async fn redis_exited(&mut self, pid: i32, exit: Exit) {
        let Some(unit) = self.runtime.redis.as_mut().filter(|redis| redis.pid == Some(pid)) else { return };
        (unit.pid, unit.probe) = (None, None);
        let lines = log_file::last_words(&self.place.logs(), &own_log("redis"), 20);
        self.change_redis(Change::Exited { exit: ServiceExit { code: exit.code, signal: exit.signal }, lines }).await;
    }

    pub(super) async fn change_redis(&mut self, change: Change) {
        let now = self.ctx.now();
        let Some(unit) = &mut self.runtime.redis else { return };
        match unit.supervisor.handle(change, now) {
            Some(Effect::Start) => {
                let started = self.spawn_redis().await;
                let Some(unit) = &mut self.runtime.redis else { return };
                match started {
                    Ok(pid) => unit.pid = Some(pid),
                    Err(cause) => {
                        unit.supervisor.handle(Change::NotStarted { cause }, now);
                    }
                }
                self.watch_redis();
            }
            Some(Effect::Stop) => {
                unit.pid = None;
                if let Some(client) = self.layer.client.clone() {
                    self.ctx.tasks.spawn_loose("redis-stop", async move {
                        drop(client.stop(redis::PROCESS, Duration::from_secs(5)).await);
                    });
                }
            }
            None => {}
        }
        self.note_redis();
    }

    /// The resource stands as its process does.
    fn note_redis(&mut self) {
        let Some(unit) = &self.runtime.redis else { return };
        let provision = match unit.supervisor.state() {
            State::Ready { .. } => Provision::Ready(Secret::new(redis::url(&self.place))),
            State::Blocked { cause, fix, .. } => {
                Provision::Blocked(blocked("resource.redis_failed", format!("Redis: {cause}"), fix.clone()))
            }
            _ => Provision::Pending,
        };
        self.runtime.resources.insert(ResourceKind::Redis, provision);
    }

    /// An instance an earlier daemon started is taken up.
    pub(super) fn reconcile_redis(&mut self, record: Option<&ProcessRecord>) {
        let Some(pid) = record.filter(|record| record.state == ProcessState::Running).map(|record| record.pid) else {
            return;
        };
        if self.runtime.redis.is_none() {
            let supervisor = Supervisor::new(RestartPolicy::Always);
            self.runtime.redis = Some(RedisUnit { supervisor, pid: Some(pid), probe: None });
        }
    }
}
