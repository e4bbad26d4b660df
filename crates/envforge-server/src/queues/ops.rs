//! Looking at jobs, retrying and cancelling them.

use super::store;
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::{Answer, Fault};
use envforge_api::http::jobs::{BackgroundJob, BackgroundJobs, JobFilter, QueueStatus, Queues};
use envforge_core::id::BackgroundJobId;
use envforge_core::job::{JobState, Queue};
use envforge_core::refusal::Refusal;
use serde_json::json;

/// Jobs on a page when nothing is said.
const PAGE: u32 = 50;
/// Most jobs on a page.
const PAGE_MAX: u32 = 200;

/// A page of jobs, newest first.
pub async fn list(app: &App, filter: &JobFilter) -> Answer<BackgroundJobs> {
    let limit = filter.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Refusal::invalid("job.limit", format!("a page has 1 to {PAGE_MAX} jobs")).into());
    }
    let mut tx = app.db.begin_jobs().await?;
    let mut jobs = store::list(&mut tx, filter, limit + 1).await?;
    let is_last = jobs.len() <= limit as usize;
    jobs.truncate(limit as usize);
    let next = jobs.last().map(|job| job.id).filter(|_| !is_last);
    Ok(BackgroundJobs { jobs, next })
}

/// All queues, counted over all servers: for the board and for metrics.
pub async fn queues(app: &App) -> Answer<Queues> {
    let mut tx = app.db.begin_jobs().await?;
    let counts = store::counts(&mut tx).await?;
    let oldest = store::oldest_due(&mut tx, app.now()).await?;
    let status = |queue: Queue| {
        let count = |state| counts.get(&(queue, state)).copied().unwrap_or(0);
        QueueStatus {
            queue,
            concurrency: u32::try_from(app.config.concurrency(queue)).unwrap_or(u32::MAX),
            waiting: count(JobState::Waiting),
            running: count(JobState::Running),
            done: count(JobState::Done),
            failed: count(JobState::Failed),
            cancelled: count(JobState::Cancelled),
            dead: count(JobState::Dead),
            oldest_due_at: oldest.get(&queue).copied(),
        }
    };
    Ok(Queues { queues: Queue::ALL.map(status).into() })
}

/// Runs a job that did not succeed again from its first attempt, and one that waits at once.
pub async fn retry(app: &App, actor: &str, id: BackgroundJobId) -> Answer<BackgroundJob> {
    let mut tx = app.db.begin_jobs().await?;
    let job = lock(&mut tx, id).await?;
    if !job.state.is_retryable() {
        let message = format!("a job that is {} can't be retried", job.state);
        return Err(Refusal::conflict("job.not_retryable", message)
            .hint("only jobs that wait, failed, are dead or were cancelled can")
            .into());
    }
    if !store::retry(&mut tx, id, app.now()).await? {
        return Err(Refusal::conflict("job.duplicate", "the same job waits or runs already")
            .hint("see `envforge admin jobs list --kind`")
            .into());
    }
    record(app, &mut tx, actor, "job.retried", &job).await?;
    tx.nudge(Nudge::Jobs);
    finish(tx, id).await
}

/// Ends a job that waits; one that runs is told to end, and is cancelled when it has.
pub async fn cancel(app: &App, actor: &str, id: BackgroundJobId) -> Answer<BackgroundJob> {
    let mut tx = app.db.begin_jobs().await?;
    let job = lock(&mut tx, id).await?;
    if job.cancelling || job.state == JobState::Cancelled {
        return Ok(job);
    }
    if job.state.is_finished() {
        return Err(Refusal::conflict("job.finished", format!("the job is {} already", job.state)).into());
    }
    store::cancel(&mut tx, id, app.now()).await?;
    record(app, &mut tx, actor, "job.cancelled", &job).await?;
    tx.nudge(Nudge::JobCancelled { job: id });
    finish(tx, id).await
}

async fn lock(tx: &mut Tx, id: BackgroundJobId) -> Answer<BackgroundJob> {
    store::lock(tx, id).await?.ok_or_else(|| {
        Fault::from(
            Refusal::not_found("job.not_found", "there is no such job")
                .hint("`envforge admin jobs list` shows them; finished ones are kept for a while only"),
        )
    })
}

async fn record(app: &App, tx: &mut Tx, actor: &str, verb: &'static str, job: &BackgroundJob) -> Answer<()> {
    let details = json!({
        "kind": job.kind, "queue": job.queue, "state": job.state, "attempt": job.attempt,
        "org": job.org.map_or_else(String::new, |org| org.to_string()),
    });
    ledger::record(app, tx, Entry::new(actor, verb, job.id, "asked by the operator").details(details)).await
}

async fn finish(mut tx: Tx, id: BackgroundJobId) -> Answer<BackgroundJob> {
    let job = lock(&mut tx, id).await?;
    tx.commit().await?;
    Ok(job)
}
