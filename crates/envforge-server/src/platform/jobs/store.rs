//! Rows of jobs. Every statement but [`insert`] wants a transaction of [`Db::begin_jobs`].
//!
//! [`Db::begin_jobs`]: crate::platform::db::Db::begin_jobs

use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::Answer;
use envforge_core::id::{BackgroundJobId, Id as _, LeaseId, OrgId};
use envforge_core::job::{JobState, Queue};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde_json::Value;
use sqlx::Row as _;
use uuid::Uuid;

/// A job to enqueue.
#[derive(Debug, Clone)]
pub(crate) struct NewJob {
    pub(crate) queue: Queue,
    pub(crate) kind: &'static str,
    pub(crate) arguments: Value,
    pub(crate) priority: i16,
    pub(crate) unique_key: Option<String>,
    pub(crate) max_attempts: u32,
    /// At once when absent.
    pub(crate) run_at: Option<Timestamp>,
}

/// A job this server runs.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    pub(crate) id: BackgroundJobId,
    pub(crate) lease: LeaseId,
    pub(crate) org: Option<OrgScope>,
    pub(crate) kind: String,
    pub(crate) arguments: Value,
    pub(crate) attempt: u32,
}

/// A running job, locked.
#[derive(Debug, Clone)]
pub(crate) struct Underway {
    pub(crate) id: BackgroundJobId,
    pub(crate) kind: String,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) is_cancelled: bool,
}

/// Adds a job to the transaction's org or the installation; `false` when one with its key is not finished.
pub(crate) async fn insert(tx: &mut Tx, id: BackgroundJobId, job: &NewJob, now: Timestamp) -> Answer<bool> {
    let done = sqlx::query(
        "INSERT INTO jobs (id, org_id, queue, kind, arguments, priority, unique_key, max_attempts, run_at, created_at) \
         VALUES ($1, current_org(), $2, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT (org_key, kind, unique_key) WHERE unique_key IS NOT NULL AND state IN ('waiting', 'running') DO NOTHING",
    )
    .bind(id.uuid())
    .bind(job.queue.as_str())
    .bind(job.kind)
    .bind(&job.arguments)
    .bind(job.priority)
    .bind(&job.unique_key)
    .bind(i32::try_from(job.max_attempts).unwrap_or(i32::MAX))
    .bind(job.run_at.unwrap_or(now).to_sqlx())
    .bind(now.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Which of these queues have a due job of these kinds.
pub(crate) async fn due(tx: &mut Tx, queues: &[Queue], kinds: &[String], now: Timestamp) -> Answer<Vec<Queue>> {
    let names: Vec<&str> = queues.iter().map(|queue| queue.as_str()).collect();
    let found: Vec<String> = sqlx::query_scalar(
        "SELECT q FROM unnest($1::text[]) AS q \
         WHERE EXISTS (SELECT 1 FROM jobs WHERE queue = q AND state = 'waiting' AND run_at <= $2 AND kind = ANY ($3))",
    )
    .bind(names)
    .bind(now.to_sqlx())
    .bind(kinds)
    .fetch_all(tx.conn())
    .await?;
    Ok(queues.iter().copied().filter(|queue| found.iter().any(|name| name == queue.as_str())).collect())
}

/// What is wanted from a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) queue: Queue,
    pub(crate) kinds: &'a [String],
    pub(crate) limit: usize,
    pub(crate) lease: LeaseId,
    pub(crate) lease_until: Timestamp,
}

/// Takes due jobs: the highest priority first; among equals those of the org that has the fewest running or before
/// them, and between orgs by lot, so that one org's thousand jobs don't hold up another's one; within an org the
/// longest due. The distinct orgs are found by one index probe each, so the cost grows with the orgs that wait and not
/// with the jobs.
pub(crate) async fn claim(tx: &mut Tx, claim: Claim<'_>, now: Timestamp) -> Answer<Vec<Claimed>> {
    let rows = sqlx::query(
        "WITH RECURSIVE orgs (key) AS ( \
           (SELECT org_key FROM jobs WHERE queue = $1 AND state = 'waiting' ORDER BY org_key LIMIT 1) \
           UNION ALL \
           SELECT (SELECT j.org_key FROM jobs j WHERE j.queue = $1 AND j.state = 'waiting' AND j.org_key > orgs.key ORDER BY j.org_key LIMIT 1) \
           FROM orgs WHERE orgs.key IS NOT NULL \
         ), busy AS ( \
           SELECT org_key, count(*) AS jobs FROM jobs WHERE queue = $1 AND state = 'running' GROUP BY org_key \
         ), candidates AS ( \
           SELECT first.id, first.priority, uuid_hash_extended(orgs.key, $7) AS lot, coalesce(busy.jobs, 0) \
             + row_number() OVER (PARTITION BY orgs.key ORDER BY first.priority DESC, first.run_at, first.id) AS turn \
           FROM orgs LEFT JOIN busy ON busy.org_key = orgs.key CROSS JOIN LATERAL ( \
             SELECT id, priority, run_at FROM jobs \
             WHERE queue = $1 AND state = 'waiting' AND org_key = orgs.key AND run_at <= $2 AND kind = ANY ($3) \
             ORDER BY priority DESC, run_at, id LIMIT $4 \
           ) AS first \
         ), taken AS ( \
           SELECT j.id FROM jobs j JOIN candidates c ON c.id = j.id WHERE j.state = 'waiting' \
           ORDER BY c.priority DESC, c.turn, c.lot LIMIT $4 FOR UPDATE OF j SKIP LOCKED \
         ) \
         UPDATE jobs SET state = 'running', attempt = attempt + 1, lease = $5, lease_until = $6, started_at = $2, \
           error = CASE WHEN started_at IS NULL THEN NULL ELSE error END \
         FROM taken WHERE jobs.id = taken.id \
         RETURNING jobs.id, jobs.org_id, jobs.kind, jobs.arguments, jobs.attempt",
    )
    .bind(claim.queue.as_str())
    .bind(now.to_sqlx())
    .bind(claim.kinds)
    .bind(i64::try_from(claim.limit).unwrap_or(i64::MAX))
    .bind(claim.lease.uuid())
    .bind(claim.lease_until.to_sqlx())
    .bind(claim.lease.uuid().as_u64_pair().1.cast_signed())
    .fetch_all(tx.conn())
    .await?;
    let mut jobs = Vec::with_capacity(rows.len());
    for row in rows {
        let org: Option<Uuid> = row.try_get("org_id")?;
        jobs.push(Claimed {
            id: BackgroundJobId::from_uuid(row.try_get("id")?),
            lease: claim.lease,
            org: org.map(|org| OrgScope::established(OrgId::from_uuid(org))),
            kind: row.try_get("kind")?,
            arguments: row.try_get("arguments")?,
            attempt: row.try_get::<i32, _>("attempt")?.unsigned_abs(),
        });
    }
    Ok(jobs)
}

/// Renews leases; those still held, each with whether it was asked to end.
pub(crate) async fn renew(
    tx: &mut Tx,
    held: &[(BackgroundJobId, LeaseId)],
    until: Timestamp,
) -> Answer<Vec<(BackgroundJobId, bool)>> {
    let (ids, leases): (Vec<Uuid>, Vec<Uuid>) = held.iter().map(|(id, lease)| (id.uuid(), lease.uuid())).unzip();
    let rows: Vec<(Uuid, bool)> = sqlx::query_as(
        "UPDATE jobs SET lease_until = $3 FROM unnest($1::uuid[], $2::uuid[]) AS held (id, lease) \
         WHERE jobs.id = held.id AND jobs.lease = held.lease RETURNING jobs.id, cancel_asked_at IS NOT NULL",
    )
    .bind(ids)
    .bind(leases)
    .bind(until.to_sqlx())
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|(id, is_cancelled)| (BackgroundJobId::from_uuid(id), is_cancelled)).collect())
}

/// The job succeeded; `false` when the lease is another's by now.
pub(crate) async fn done(tx: &mut Tx, id: BackgroundJobId, lease: LeaseId, now: Timestamp) -> Answer<bool> {
    let done = sqlx::query(
        "UPDATE jobs SET state = 'done', finished_at = $3, lease = NULL, lease_until = NULL WHERE id = $1 AND lease = $2",
    )
    .bind(id.uuid())
    .bind(lease.uuid())
    .bind(now.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The job succeeded and nobody wants to look at it; `false` when the lease is another's by now.
pub(crate) async fn delete(tx: &mut Tx, id: BackgroundJobId, lease: LeaseId) -> Answer<bool> {
    let done = sqlx::query("DELETE FROM jobs WHERE id = $1 AND lease = $2")
        .bind(id.uuid())
        .bind(lease.uuid())
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected() == 1)
}

fn underway(row: &sqlx::postgres::PgRow) -> Result<Underway, sqlx::Error> {
    Ok(Underway {
        id: BackgroundJobId::from_uuid(row.try_get("id")?),
        kind: row.try_get("kind")?,
        attempt: row.try_get::<i32, _>("attempt")?.unsigned_abs(),
        max_attempts: row.try_get::<i32, _>("max_attempts")?.unsigned_abs(),
        is_cancelled: row.try_get("is_cancelled")?,
    })
}

/// A job this lease holds, locked; `None` when the lease is another's by now.
pub(crate) async fn lock(tx: &mut Tx, id: BackgroundJobId, lease: LeaseId) -> Answer<Option<Underway>> {
    let row = sqlx::query(
        "SELECT id, kind, attempt, max_attempts, cancel_asked_at IS NOT NULL AS is_cancelled FROM jobs \
         WHERE id = $1 AND lease = $2 FOR UPDATE",
    )
    .bind(id.uuid())
    .bind(lease.uuid())
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.as_ref().map(underway).transpose()?)
}

/// Running jobs whose lease has ended, locked.
pub(crate) async fn lock_lost(tx: &mut Tx, now: Timestamp) -> Answer<Vec<Underway>> {
    let rows = sqlx::query(
        "SELECT id, kind, attempt, max_attempts, cancel_asked_at IS NOT NULL AS is_cancelled FROM jobs \
         WHERE state = 'running' AND lease_until < $1 ORDER BY lease_until LIMIT 100 FOR UPDATE SKIP LOCKED",
    )
    .bind(now.to_sqlx())
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.iter().map(underway).collect::<Result<_, _>>()?)
}

/// A locked running job waits again.
pub(crate) async fn wait_again(
    tx: &mut Tx,
    id: BackgroundJobId,
    attempt: u32,
    run_at: Timestamp,
    error: Option<&str>,
) -> Answer<()> {
    sqlx::query(
        "UPDATE jobs SET state = 'waiting', attempt = $2, run_at = $3, error = coalesce($4, error), lease = NULL, lease_until = NULL WHERE id = $1",
    )
    .bind(id.uuid())
    .bind(i32::try_from(attempt).unwrap_or(i32::MAX))
    .bind(run_at.to_sqlx())
    .bind(error)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A locked running job is finished.
pub(crate) async fn finish(
    tx: &mut Tx,
    id: BackgroundJobId,
    state: JobState,
    now: Timestamp,
    error: Option<&str>,
) -> Answer<()> {
    sqlx::query(
        "UPDATE jobs SET state = $2, finished_at = $3, error = coalesce($4, error), lease = NULL, lease_until = NULL WHERE id = $1",
    )
    .bind(id.uuid())
    .bind(state.as_str())
    .bind(now.to_sqlx())
    .bind(error)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Says of due jobs of other kinds why they wait.
pub(crate) async fn explain_unknown(tx: &mut Tx, kinds: &[String], now: Timestamp) -> Answer<Vec<String>> {
    let explained: Vec<String> = sqlx::query_scalar(
        "UPDATE jobs SET error = format('no running server knows jobs of the kind `%s`; a newer version may', kind) \
         WHERE state = 'waiting' AND run_at <= $2 AND started_at IS NULL AND error IS NULL AND kind <> ALL ($1) RETURNING kind",
    )
    .bind(kinds)
    .bind(now.to_sqlx())
    .fetch_all(tx.conn())
    .await?;
    Ok(explained)
}

/// Moves a schedule forward; `true` for the one caller who is to act on this due time. One that is new acts on none.
pub(crate) async fn take_due(tx: &mut Tx, kind: &str, due: Timestamp) -> Answer<bool> {
    let is_new = sqlx::query("INSERT INTO job_schedules (kind, last_due) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(kind)
        .bind(due.to_sqlx())
        .execute(tx.conn())
        .await?;
    if is_new.rows_affected() == 1 {
        return Ok(false);
    }
    let moved = sqlx::query("UPDATE job_schedules SET last_due = $2 WHERE kind = $1 AND last_due < $2")
        .bind(kind)
        .bind(due.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(moved.rows_affected() == 1)
}
