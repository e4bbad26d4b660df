//! Rows of runs.

use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use envforge_api::host::JobReport;
use envforge_api::http::runs::{Run, RunState};
use envforge_core::id::{Id as _, JobId, UserId, WorkspaceId};
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::types::Json;

const fn name(state: RunState) -> &'static str {
    match state {
        RunState::Pending => "pending",
        RunState::Running => "running",
        RunState::Ended => "ended",
        RunState::Failed => "failed",
    }
}

pub(crate) async fn insert(
    tx: &mut Tx,
    id: JobId,
    workspace: WorkspaceId,
    argv: &[String],
    user: UserId,
    now: Timestamp,
) -> Answer<()> {
    sqlx::query("INSERT INTO runs (id, org_id, workspace_id, argv, created_by, created_at) VALUES ($1, current_org(), $2, $3, $4, $5)")
        .bind(id.uuid())
        .bind(workspace.uuid())
        .bind(Json(argv))
        .bind(user.uuid())
        .bind(now.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Runs of a workspace asked for since then that have not ended.
pub(crate) async fn open(tx: &mut Tx, workspace: WorkspaceId, since: Timestamp) -> Answer<i64> {
    let statement = "SELECT count(*) FROM runs WHERE workspace_id = $1 AND ended_at IS NULL AND created_at > $2";
    Ok(sqlx::query_scalar(statement).bind(workspace.uuid()).bind(since.to_sqlx()).fetch_one(tx.conn()).await?)
}

/// What the first runs of a workspace that run now were asked for, the oldest first.
pub(crate) async fn running(tx: &mut Tx, workspace: WorkspaceId, most: i64) -> Answer<Vec<Vec<String>>> {
    let statement = "SELECT argv FROM runs WHERE workspace_id = $1 AND state = 'running' AND ended_at IS NULL ORDER BY created_at, id LIMIT $2";
    let found: Vec<Json<Vec<String>>> =
        sqlx::query_scalar(statement).bind(workspace.uuid()).bind(most).fetch_all(tx.conn()).await?;
    Ok(found.into_iter().map(|argv| argv.0).collect())
}

pub(crate) async fn find(tx: &mut Tx, workspace: WorkspaceId, id: JobId) -> Answer<Option<Run>> {
    let row = sqlx::query("SELECT * FROM runs WHERE id = $1 AND workspace_id = $2")
        .bind(id.uuid())
        .bind(workspace.uuid())
        .fetch_optional(tx.conn())
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Run {
        id,
        argv: row.try_get::<Json<Vec<String>>, _>("argv")?.0,
        state: match row.try_get::<String, _>("state")?.as_str() {
            "running" => RunState::Running,
            "ended" => RunState::Ended,
            "failed" => RunState::Failed,
            _ => RunState::Pending,
        },
        exit_code: row.try_get("exit_code")?,
        cause: row.try_get("cause")?,
        created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
        ended_at: row.try_get::<Option<SqlTimestamp>, _>("ended_at")?.map(SqlTimestamp::to_jiff),
    }))
}

/// Stores what is reported of a run that has not ended; `false` when it had, or is not of this workspace.
pub(crate) async fn update(
    tx: &mut Tx,
    workspace: WorkspaceId,
    report: &JobReport,
    ended: Option<Timestamp>,
) -> Answer<bool> {
    let done = sqlx::query(
        "UPDATE runs SET state = $3, exit_code = $4, cause = $5, ended_at = $6 WHERE id = $1 AND workspace_id = $2 AND ended_at IS NULL AND state <> $3",
    )
    .bind(report.job.uuid())
    .bind(workspace.uuid())
    .bind(name(report.state))
    .bind(report.exit_code)
    .bind(&report.cause)
    .bind(ended.map(jiff_sqlx::ToSqlx::to_sqlx))
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}
