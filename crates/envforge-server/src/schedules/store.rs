//! Rows of schedules; quiet hours are a column of the org.

use crate::platform::db::{Db, OrgScope, Tx};
use crate::platform::fault::Answer;
use envforge_api::http::schedules::LastDue;
use envforge_core::id::{Id as _, OrgId, UserId, WorkspaceId};
use envforge_core::timetable::{QuietHours, Timetable};
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::types::Json;
use uuid::Uuid;

/// A schedule, and how far it was acted on.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) timetable: Timetable,
    pub(crate) acted: Timestamp,
    pub(crate) last: Option<LastDue>,
}

/// A workspace's.
pub(crate) async fn find(tx: &mut Tx, workspace: WorkspaceId) -> Answer<Option<Stored>> {
    let row = sqlx::query("SELECT timetable, acted, last FROM workspace_schedules WHERE workspace_id = $1")
        .bind(workspace.uuid())
        .fetch_optional(tx.conn())
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Stored {
        timetable: row.try_get::<Json<Timetable>, _>("timetable")?.0,
        acted: row.try_get::<SqlTimestamp, _>("acted")?.to_jiff(),
        last: row.try_get::<Option<Json<LastDue>>, _>("last")?.map(|last| last.0),
    }))
}

/// Sets one: what was due before now is not its own.
pub(crate) async fn put(
    tx: &mut Tx,
    workspace: WorkspaceId,
    timetable: &Timetable,
    due_at: Timestamp,
    user: UserId,
    now: Timestamp,
) -> Answer<()> {
    sqlx::query(
        "INSERT INTO workspace_schedules (workspace_id, org_id, timetable, acted, due_at, set_by, set_at) VALUES ($1, current_org(), $2, $5, $3, $4, $5) \
         ON CONFLICT (workspace_id) DO UPDATE SET timetable = $2, acted = $5, due_at = $3, last = NULL, set_by = $4, set_at = $5",
    )
    .bind(workspace.uuid())
    .bind(Json(timetable))
    .bind(due_at.to_sqlx())
    .bind(user.uuid())
    .bind(now.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Removes one; `false` when there is none.
pub(crate) async fn remove(tx: &mut Tx, workspace: WorkspaceId) -> Answer<bool> {
    let done = sqlx::query("DELETE FROM workspace_schedules WHERE workspace_id = $1")
        .bind(workspace.uuid())
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that a due time was acted on, and when to look again; `false` when somebody else did, or set another schedule.
pub(crate) async fn act(
    tx: &mut Tx,
    workspace: WorkspaceId,
    before: &Stored,
    last: &LastDue,
    due_at: Timestamp,
) -> Answer<bool> {
    let done = sqlx::query(
        "UPDATE workspace_schedules SET acted = $3, due_at = $4, last = $5 WHERE workspace_id = $1 AND acted = $2",
    )
    .bind(workspace.uuid())
    .bind(before.acted.to_sqlx())
    .bind(last.at.to_sqlx())
    .bind(due_at.to_sqlx())
    .bind(Json(last))
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Nothing is due: looks again then.
pub(crate) async fn look_again(tx: &mut Tx, workspace: WorkspaceId, due_at: Timestamp) -> Answer<()> {
    sqlx::query("UPDATE workspace_schedules SET due_at = $2 WHERE workspace_id = $1")
        .bind(workspace.uuid())
        .bind(due_at.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Workspaces to look at.
pub(crate) async fn due(tx: &mut Tx, now: Timestamp) -> Answer<Vec<WorkspaceId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT s.workspace_id FROM workspace_schedules s JOIN workspaces w ON w.id = s.workspace_id WHERE s.due_at <= $1 AND w.deleting_at IS NULL ORDER BY s.due_at, s.workspace_id",
    )
    .bind(now.to_sqlx())
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(WorkspaceId::from_uuid).collect())
}

/// Orgs with something due.
pub(crate) async fn system_orgs_with_due(db: &Db, now: Timestamp) -> Answer<Vec<OrgScope>> {
    let ids: Vec<Uuid> = sqlx::query_scalar("SELECT system_orgs_with_due_schedules($1)")
        .bind(now.to_sqlx())
        .fetch_all(db.pool())
        .await?;
    Ok(ids.into_iter().map(|id| OrgScope::established(OrgId::from_uuid(id))).collect())
}

/// The org's quiet hours.
pub(crate) async fn quiet_hours(tx: &mut Tx) -> Answer<Option<QuietHours>> {
    let hours: Option<Json<QuietHours>> =
        sqlx::query_scalar("SELECT quiet_hours FROM orgs WHERE org_id = current_org()").fetch_one(tx.conn()).await?;
    Ok(hours.map(|hours| hours.0))
}

/// Stores them; `false` when they are so already.
pub(crate) async fn set_quiet_hours(tx: &mut Tx, hours: Option<&QuietHours>) -> Answer<bool> {
    let done = sqlx::query(
        "UPDATE orgs SET quiet_hours = $1 WHERE org_id = current_org() AND quiet_hours IS DISTINCT FROM $1",
    )
    .bind(hours.map(Json))
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}
