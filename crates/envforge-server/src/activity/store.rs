//! Rows of minutes.

use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use envforge_core::id::{Id as _, ProjectId, WorkspaceId};
use envforge_core::idle::{Activity, minute_of};
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use std::collections::BTreeMap;

/// More than any minute has: what a host or gateway tells is never more.
const TOLD_MAX: u64 = 1 << 40;

/// Adds what was seen of a workspace to the minute it was seen in.
pub(crate) async fn add(tx: &mut Tx, workspace: WorkspaceId, at: Timestamp, seen: &Activity) -> Answer<()> {
    if *seen == Activity::default() {
        return Ok(());
    }
    let number = |told: u64| told.min(TOLD_MAX).cast_signed();
    sqlx::query(
        "INSERT INTO activity_minutes AS a (org_id, workspace_id, minute, cpu, disk, network, realtime, requests, jobs) \
         VALUES (current_org(), $1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (workspace_id, minute) DO UPDATE SET cpu = a.cpu + excluded.cpu, disk = a.disk + excluded.disk, \
         network = a.network + excluded.network, realtime = a.realtime + excluded.realtime, \
         requests = a.requests + excluded.requests, jobs = greatest(a.jobs, excluded.jobs)",
    )
    .bind(workspace.uuid())
    .bind(minute_of(at).to_sqlx())
    .bind(number(seen.cpu))
    .bind(number(seen.disk))
    .bind(number(seen.network))
    .bind(number(seen.realtime))
    .bind(number(seen.requests))
    .bind(i32::try_from(seen.jobs).unwrap_or(i32::MAX))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The minutes of a workspace from an instant on.
pub(crate) async fn since(
    tx: &mut Tx,
    workspace: WorkspaceId,
    from: Timestamp,
) -> Answer<BTreeMap<Timestamp, Activity>> {
    let rows = sqlx::query(
        "SELECT minute, cpu AS minute_cpu, disk AS minute_disk, network AS minute_network, realtime AS minute_realtime, \
         requests AS minute_requests, jobs AS minute_jobs FROM activity_minutes WHERE workspace_id = $1 AND minute >= $2",
    )
    .bind(workspace.uuid())
    .bind(minute_of(from).to_sqlx())
    .fetch_all(tx.conn())
    .await?;
    rows.iter().filter_map(|row| read(row).transpose()).collect()
}

/// A minute of columns that are named so; none where there is none.
pub(crate) fn read(row: &PgRow) -> Answer<Option<(Timestamp, Activity)>> {
    let Some(minute) = row.try_get::<Option<SqlTimestamp>, _>("minute")? else { return Ok(None) };
    let number = |column: &str| row.try_get::<i64, _>(column).map(i64::cast_unsigned);
    let activity = Activity {
        cpu: number("minute_cpu")?,
        disk: number("minute_disk")?,
        network: number("minute_network")?,
        realtime: number("minute_realtime")?,
        requests: number("minute_requests")?,
        jobs: row.try_get::<i32, _>("minute_jobs")?.cast_unsigned(),
    };
    Ok(Some((minute.to_jiff(), activity)))
}

/// Forgets minutes before an instant; how many.
pub(crate) async fn forget(tx: &mut Tx, before: Timestamp) -> Answer<u64> {
    let done = sqlx::query("DELETE FROM activity_minutes WHERE minute < $1").bind(before.to_sqlx());
    Ok(done.execute(tx.conn()).await?.rows_affected())
}

/// The org's idle limit, in seconds.
pub(crate) async fn org_limit(tx: &mut Tx) -> Answer<Option<u32>> {
    let statement = "SELECT idle_limit FROM orgs WHERE org_id = current_org()";
    let limit: Option<i32> = sqlx::query_scalar(statement).fetch_one(tx.conn()).await?;
    Ok(limit.map(i32::cast_unsigned))
}

/// Sets it; `false` when it is so already.
pub(crate) async fn set_org_limit(tx: &mut Tx, limit: Option<u32>) -> Answer<bool> {
    let statement = "UPDATE orgs SET idle_limit = $1 WHERE org_id = current_org() AND idle_limit IS DISTINCT FROM $1";
    let done = sqlx::query(statement).bind(limit.map(u32::cast_signed)).execute(tx.conn()).await?;
    Ok(done.rows_affected() == 1)
}

/// A project's idle limit, in seconds.
pub(crate) async fn project_limit(tx: &mut Tx, project: ProjectId) -> Answer<Option<u32>> {
    let statement = "SELECT idle_limit FROM projects WHERE id = $1";
    let limit: Option<i32> = sqlx::query_scalar(statement).bind(project.uuid()).fetch_one(tx.conn()).await?;
    Ok(limit.map(i32::cast_unsigned))
}

/// Sets it; `false` when it is so already.
pub(crate) async fn set_project_limit(tx: &mut Tx, project: ProjectId, limit: Option<u32>) -> Answer<bool> {
    let statement = "UPDATE projects SET idle_limit = $2 WHERE id = $1 AND idle_limit IS DISTINCT FROM $2";
    let done = sqlx::query(statement).bind(project.uuid()).bind(limit.map(u32::cast_signed)).execute(tx.conn()).await?;
    Ok(done.rows_affected() == 1)
}
