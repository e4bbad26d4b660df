//! One server's worker: claims what is due, runs it, and writes how it ended.
//!
//! One loop claims and keeps leases; each job runs in a task of its own, its handler in another inside it, so that a
//! panic is one job's failure. At a stop every job is told to end, waited for, and given back if it has not.

use super::job::{Handler, JobContext, JobError, Registry};
use super::schedule::Scheduler;
use super::store::{self, Claim, Claimed, Underway};
use crate::app::App;
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use crate::platform::storable;
use envforge_core::id::{BackgroundJobId, LeaseId};
use envforge_core::job::{Ended, JobState, Next, Queue, next};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a job is believed to run without a heartbeat.
pub const LEASE: SignedDuration = SignedDuration::from_secs(60);
/// How often leases are renewed and those of others looked at.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often it looks for due jobs, nudged or not.
const LOOK: Duration = Duration::from_secs(1);
/// How long a job that was told to end may take; less than the whole server's drain.
const GRACE: Duration = Duration::from_secs(5);
/// Longest error kept, in bytes.
const ERROR_MAX: usize = 2 * 1024;
/// How often it is tried to write an outcome, a second apart; then the lease ends and the job runs again.
const WRITE_TRIES: u32 = 30;

/// A job this server runs.
#[derive(Debug, Clone)]
struct Held {
    queue: Queue,
    /// Asks its handler to end.
    cancel: CancellationToken,
    /// Drops its handler: the job is another's by now.
    lost: CancellationToken,
}

struct Worker {
    app: App,
    registry: Registry,
    kinds: Vec<String>,
    /// By job and lease: one that failed may be here again before its last attempt is cleared away.
    held: Mutex<HashMap<(BackgroundJobId, LeaseId), Held>>,
    /// There may be something to claim.
    look: Notify,
    tasks: TaskTracker,
}

/// Runs jobs until the server stops, then waits for those under way.
pub async fn run(app: App, registry: Registry) {
    let mut scheduler = Scheduler::new(&registry);
    let kinds = registry.kinds();
    let (held, look, tasks) = (Mutex::default(), Notify::new(), TaskTracker::new());
    let worker = Arc::new(Worker { app, registry, kinds, held, look, tasks });
    let listening = worker.app.cancel.run_until_cancelled(worker.listen());
    let (mut tick, mut beat) = (tokio::time::interval(LOOK), tokio::time::interval(HEARTBEAT));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut proven_at = worker.app.now();
    let working = async {
        loop {
            tokio::select! {
                () = worker.app.cancel.cancelled() => return,
                _ = tick.tick() => {
                    scheduler.look(&worker.app).await;
                    worker.claim().await;
                }
                () = worker.look.notified() => worker.claim().await,
                _ = beat.tick() => worker.beat(&mut proven_at).await,
            }
        }
    };
    tokio::join!(listening, working);
    for held in worker.held.lock().expect("no panic while held").values() {
        held.cancel.cancel();
    }
    worker.tasks.close();
    worker.tasks.wait().await;
}

impl Worker {
    /// Turns nudges into one flag, so that a thousand of them are one look.
    async fn listen(&self) {
        let mut nudges = self.app.bus.listen();
        loop {
            match nudges.next().await {
                Nudge::Jobs | Nudge::Resync => self.look.notify_one(),
                Nudge::JobCancelled { job } => {
                    let held = self.held.lock().expect("no panic while held");
                    held.iter().filter(|((id, _), _)| *id == job).for_each(|(_, held)| held.cancel.cancel());
                }
                _ => {}
            }
        }
    }

    /// Queues with free places, and how many.
    fn free(&self) -> Vec<(Queue, usize)> {
        let held = self.held.lock().expect("no panic while held");
        let running = |queue| held.values().filter(|held| held.queue == queue).count();
        Queue::ALL
            .into_iter()
            .map(|queue| (queue, self.app.config.concurrency(queue).saturating_sub(running(queue))))
            .filter(|(_, free)| *free > 0)
            .collect()
    }

    /// Fills free places until there are none, or nothing is due.
    async fn claim(self: &Arc<Self>) {
        loop {
            let free = self.free();
            if free.is_empty() || self.app.cancel.is_cancelled() {
                return;
            }
            match self.claim_some(&free).await {
                Ok(0) => return,
                Ok(_) => {}
                Err(fault) => {
                    tracing::warn!(%fault, "no jobs could be claimed, it will be tried again");
                    return;
                }
            }
        }
    }

    async fn claim_some(self: &Arc<Self>, free: &[(Queue, usize)]) -> Answer<usize> {
        let queues: Vec<Queue> = free.iter().map(|(queue, _)| *queue).collect();
        let now = self.app.now();
        let mut tx = self.app.db.begin_jobs().await?;
        let due = store::due(&mut tx, &queues, &self.kinds, now).await?;
        let mut claimed = Vec::new();
        for (queue, limit) in free.iter().filter(|(queue, _)| due.contains(queue)) {
            let (lease, lease_until) = (self.app.mint(), lease_end(now));
            let claim = Claim { queue: *queue, kinds: &self.kinds, limit: *limit, lease, lease_until };
            claimed.extend(store::claim(&mut tx, claim, now).await?.into_iter().map(|job| (*queue, job)));
        }
        tx.commit().await?;
        let count = claimed.len();
        for (queue, job) in claimed {
            let held = Held { queue, cancel: CancellationToken::new(), lost: CancellationToken::new() };
            self.held.lock().expect("no panic while held").insert((job.id, job.lease), held.clone());
            if self.app.cancel.is_cancelled() {
                held.cancel.cancel();
            }
            let worker = Arc::clone(self);
            self.tasks.spawn(async move {
                worker.work(job, &held).await;
            });
        }
        Ok(count)
    }

    async fn work(self: Arc<Self>, job: Claimed, held: &Held) {
        let handler = *self.registry.handlers.get(job.kind.as_str()).expect("only known kinds are claimed");
        let (ended, error) = self.attempt(handler, &job, held).await;
        if !held.lost.is_cancelled() {
            self.write(&job, ended, error.as_deref()).await;
        }
        self.held.lock().expect("no panic while held").remove(&(job.id, job.lease));
        self.look.notify_one();
    }

    /// Runs the handler; how it ended, and what went wrong.
    async fn attempt(&self, handler: Handler, job: &Claimed, held: &Held) -> (Ended, Option<String>) {
        let ctx = JobContext { id: job.id, org: job.org, attempt: job.attempt, cancel: held.cancel.clone() };
        let mut running = self.tasks.spawn((handler.run)(self.app.clone(), ctx, job.arguments.clone()));
        let told = async {
            held.cancel.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let cut = tokio::select! {
            joined = &mut running => {
                let (ended, error) = match joined {
                    Ok(Ok(())) => return (Ended::Done, None),
                    Ok(Err(JobError::GiveUp(cause))) => (Ended::GaveUp, format!("{cause:#}")),
                    Ok(Err(JobError::Later { cause, after })) => (Ended::Later(after), format!("{cause:#}")),
                    Err(error) => (Ended::Later(None), panic_text(error)),
                };
                let is_released = self.app.cancel.is_cancelled() && matches!(ended, Ended::Later(_));
                return (if is_released { Ended::Released } else { ended }, Some(error));
            }
            () = told => if self.app.cancel.is_cancelled() { (Ended::Released, None) } else {
                (Ended::Later(None), Some("it was told to end and dropped".to_owned()))
            },
            () = held.lost.cancelled() => (Ended::Lost, None),
            () = tokio::time::sleep(handler.time_limit) => {
                (Ended::Later(None), Some(format!("it took longer than {} s", handler.time_limit.as_secs())))
            }
        };
        running.abort();
        // Only when it is gone may another attempt begin.
        drop(running.await);
        cut
    }

    /// Writes how an attempt ended, unless its lease is another's by now.
    async fn write(&self, job: &Claimed, ended: Ended, error: Option<&str>) {
        let error = error.map(|error| storable::text(error, ERROR_MAX));
        for _ in 0..WRITE_TRIES {
            match self.try_write(job, ended, error.as_deref()).await {
                Ok(true) => return,
                Ok(false) => {
                    tracing::warn!(job = %job.id, kind = job.kind, "a job was taken from this server, its end is not counted");
                    return;
                }
                Err(fault) => {
                    tracing::warn!(%fault, job = %job.id, kind = job.kind, "a job's end could not be written, trying again");
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn try_write(&self, job: &Claimed, ended: Ended, error: Option<&str>) -> Answer<bool> {
        let mut tx = self.app.db.begin_jobs().await?;
        if ended == Ended::Done {
            let is_kept = self.registry.handlers.get(job.kind.as_str()).is_none_or(|handler| handler.is_kept);
            let is_ours = if is_kept {
                store::done(&mut tx, job.id, job.lease, self.app.now()).await?
            } else {
                store::delete(&mut tx, job.id, job.lease).await?
            };
            if !is_ours {
                return Ok(false);
            }
            tracing::debug!(job = %job.id, kind = job.kind, attempt = job.attempt, "a job is done");
        } else {
            let Some(underway) = store::lock(&mut tx, job.id, job.lease).await? else { return Ok(false) };
            settle(&self.app, &mut tx, &underway, ended, error).await?;
        }
        tx.commit().await.map(|()| true)
    }

    /// Renews this server's leases, takes back those of servers that are gone, and says why unknown kinds wait.
    async fn beat(&self, proven_at: &mut Timestamp) {
        match self.renew().await {
            Ok(()) => *proven_at = self.app.now(),
            Err(fault) => {
                tracing::warn!(%fault, "leases of jobs could not be renewed");
                if self.app.now().duration_since(*proven_at) >= LEASE {
                    // Another server may have them by now.
                    self.held.lock().expect("no panic while held").values().for_each(|held| held.lost.cancel());
                }
            }
        }
        if let Err(fault) = self.take_back().await {
            tracing::warn!(%fault, "jobs of lost servers could not be looked for, they will be");
        }
    }

    async fn renew(&self) -> Answer<()> {
        let held: HashMap<_, _> = self.held.lock().expect("no panic while held").clone();
        if held.is_empty() {
            return Ok(());
        }
        let leases: Vec<_> = held.keys().copied().collect();
        let mut tx = self.app.db.begin_jobs().await?;
        let ours: HashMap<_, _> =
            store::renew(&mut tx, &leases, lease_end(self.app.now())).await?.into_iter().collect();
        tx.commit().await?;
        for ((id, _), held) in held {
            match ours.get(&id) {
                Some(true) => held.cancel.cancel(),
                Some(false) => {}
                // Also one that has just ended by itself: nobody is left to drop then.
                None => held.lost.cancel(),
            }
        }
        Ok(())
    }

    async fn take_back(&self) -> Answer<()> {
        let mut tx = self.app.db.begin_jobs().await?;
        let lost = store::lock_lost(&mut tx, self.app.now()).await?;
        for job in &lost {
            let error = format!("the server that ran attempt {} was not heard of any more", job.attempt);
            settle(&self.app, &mut tx, job, Ended::Lost, Some(&error)).await?;
        }
        let unknown = store::explain_unknown(&mut tx, &self.kinds, self.app.now()).await?;
        if !lost.is_empty() {
            tx.nudge(Nudge::Jobs);
        }
        tx.commit().await?;
        if let Some(kind) = unknown.first() {
            tracing::warn!(kind, count = unknown.len(), "jobs wait whose kind this server does not know");
        }
        Ok(())
    }
}

/// Writes what follows from the end of a locked attempt.
async fn settle(app: &App, tx: &mut Tx, job: &Underway, ended: Ended, error: Option<&str>) -> Answer<()> {
    let mut random = [0; 8];
    app.entropy.fill(&mut random);
    let (id, kind, number) = (job.id, &job.kind, job.attempt);
    match next(ended, number, job.max_attempts, job.is_cancelled, u64::from_le_bytes(random)) {
        Next::Again { after, counts } => {
            let run_at = app.now().checked_add(after).unwrap_or(Timestamp::MAX);
            let counted = if counts { number } else { number.saturating_sub(1) };
            store::wait_again(tx, id, counted, run_at, error).await?;
            tracing::warn!(job = %id, kind, attempt = number, error, "a job did not finish, it will be run again");
        }
        Next::Finished(state) => {
            store::finish(tx, id, state, app.now(), error).await?;
            if state == JobState::Dead {
                tracing::error!(job = %id, kind, attempt = number, error, "a job failed too often and is not tried again");
            } else {
                tracing::warn!(job = %id, kind, %state, error, "a job ended without success");
            }
        }
    }
    Ok(())
}

fn lease_end(now: Timestamp) -> Timestamp {
    now.checked_add(LEASE).unwrap_or(Timestamp::MAX)
}

fn panic_text(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
            format!("its handler panicked: {text}")
        }
        Err(error) => error.to_string(),
    }
}
