//! Rows of jobs, as the board sees them. Every statement wants a transaction of [`Db::begin_jobs`].
//!
//! [`Db::begin_jobs`]: crate::platform::db::Db::begin_jobs

use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use envforge_api::http::jobs::{BackgroundJob, JobFilter};
use envforge_core::id::{BackgroundJobId, Id as _, OrgId};
use envforge_core::job::{JobState, Queue};
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Jobs deleted in one transaction.
const BATCH: i64 = 1_000;

fn parse<T: std::str::FromStr<Err = String>>(text: &str) -> anyhow::Result<T> {
    text.parse().map_err(|error: String| anyhow::anyhow!("a stored job: {error}"))
}

fn job(row: &PgRow) -> Answer<BackgroundJob> {
    let time = |column: &str| -> Result<Option<Timestamp>, sqlx::Error> {
        Ok(row.try_get::<Option<SqlTimestamp>, _>(column)?.map(SqlTimestamp::to_jiff))
    };
    let state = parse(row.try_get("state")?)?;
    Ok(BackgroundJob {
        id: BackgroundJobId::from_uuid(row.try_get("id")?),
        queue: parse(row.try_get("queue")?)?,
        kind: row.try_get("kind")?,
        arguments: row.try_get("arguments")?,
        org: row.try_get::<Option<Uuid>, _>("org_id")?.map(OrgId::from_uuid),
        priority: row.try_get("priority")?,
        unique_key: row.try_get("unique_key")?,
        state,
        attempt: row.try_get::<i32, _>("attempt")?.unsigned_abs(),
        max_attempts: row.try_get::<i32, _>("max_attempts")?.unsigned_abs(),
        run_at: row.try_get::<SqlTimestamp, _>("run_at")?.to_jiff(),
        error: row.try_get("error")?,
        cancelling: state == JobState::Running && time("cancel_asked_at")?.is_some(),
        created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
        started_at: time("started_at")?,
        finished_at: time("finished_at")?,
    })
}

/// Jobs that fit, newest first.
pub(crate) async fn list(tx: &mut Tx, filter: &JobFilter, limit: u32) -> Answer<Vec<BackgroundJob>> {
    let rows = sqlx::query(
        "SELECT * FROM jobs WHERE ($1::text IS NULL OR queue = $1) AND ($2::text IS NULL OR state = $2) \
         AND ($3::text IS NULL OR kind = $3) AND ($4::uuid IS NULL OR id < $4) ORDER BY id DESC LIMIT $5",
    )
    .bind(filter.queue.map(Queue::as_str))
    .bind(filter.state.map(JobState::as_str))
    .bind(&filter.kind)
    .bind(filter.before.map(BackgroundJobId::uuid))
    .bind(i64::from(limit))
    .fetch_all(tx.conn())
    .await?;
    rows.iter().map(job).collect()
}

/// How many jobs each queue has in each state.
pub(crate) async fn counts(tx: &mut Tx) -> Answer<BTreeMap<(Queue, JobState), u64>> {
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT queue, state, count(*) FROM jobs GROUP BY queue, state").fetch_all(tx.conn()).await?;
    let mut counts = BTreeMap::new();
    for (queue, state, count) in rows {
        counts.insert((parse(&queue)?, parse(&state)?), count.unsigned_abs());
    }
    Ok(counts)
}

/// When the longest waiting of each queue's due jobs was due.
pub(crate) async fn oldest_due(tx: &mut Tx, now: Timestamp) -> Answer<BTreeMap<Queue, Timestamp>> {
    let rows: Vec<(String, SqlTimestamp)> =
        sqlx::query_as("SELECT queue, min(run_at) FROM jobs WHERE state = 'waiting' AND run_at <= $1 GROUP BY queue")
            .bind(now.to_sqlx())
            .fetch_all(tx.conn())
            .await?;
    let mut oldest = BTreeMap::new();
    for (queue, at) in rows {
        oldest.insert(parse(&queue)?, at.to_jiff());
    }
    Ok(oldest)
}

/// A job, locked.
pub(crate) async fn lock(tx: &mut Tx, id: BackgroundJobId) -> Answer<Option<BackgroundJob>> {
    let row =
        sqlx::query("SELECT * FROM jobs WHERE id = $1 FOR UPDATE").bind(id.uuid()).fetch_optional(tx.conn()).await?;
    row.as_ref().map(job).transpose()
}

/// A locked job that does not run waits from now on, with all its attempts; `false` when another with its key is not
/// finished, and then the transaction is over.
pub(crate) async fn retry(tx: &mut Tx, id: BackgroundJobId, now: Timestamp) -> Answer<bool> {
    let retried = sqlx::query(
        "UPDATE jobs SET state = 'waiting', attempt = 0, run_at = $2, cancel_asked_at = NULL, finished_at = NULL WHERE id = $1",
    )
    .bind(id.uuid())
    .bind(now.to_sqlx())
    .execute(tx.conn())
    .await;
    match retried {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
        done => Ok(done.map(|_| true)?),
    }
}

/// A locked job that waits is cancelled; one that runs is asked to end.
pub(crate) async fn cancel(tx: &mut Tx, id: BackgroundJobId, now: Timestamp) -> Answer<()> {
    sqlx::query(
        "UPDATE jobs SET cancel_asked_at = $2, \
           finished_at = CASE state WHEN 'waiting' THEN $2 END, \
           state = CASE state WHEN 'waiting' THEN 'cancelled' ELSE state END \
         WHERE id = $1",
    )
    .bind(id.uuid())
    .bind(now.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Deletes some of the jobs that ended so before `before`; how many.
pub(crate) async fn forget(tx: &mut Tx, states: [JobState; 2], before: Timestamp) -> Answer<u64> {
    let done = sqlx::query(
        "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE state = ANY ($1) AND finished_at < $2 LIMIT $3)",
    )
    .bind(states.map(JobState::as_str))
    .bind(before.to_sqlx())
    .bind(BATCH)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}
