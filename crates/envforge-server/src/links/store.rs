//! Rows of links and their browser sessions.

use crate::platform::db::{Db, Tx};
use crate::platform::fault::Answer;
use envforge_core::id::{Id as _, LinkId, LinkSessionId, UserId, WorkspaceId};
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A link.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: LinkId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) service: String,
    pub(crate) label: String,
    pub(crate) created_at: Timestamp,
    pub(crate) rules: envforge_core::link::Link,
    pub(crate) routes: Vec<String>,
}

fn read(row: &PgRow) -> Answer<Row> {
    Ok(Row {
        id: LinkId::from_uuid(row.try_get("id")?),
        workspace: WorkspaceId::from_uuid(row.try_get("workspace_id")?),
        service: row.try_get("service")?,
        label: row.try_get("label")?,
        created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
        rules: envforge_core::link::Link {
            expires_at: row.try_get::<SqlTimestamp, _>("expires_at")?.to_jiff(),
            revoked_at: row.try_get::<Option<SqlTimestamp>, _>("revoked_at")?.map(SqlTimestamp::to_jiff),
            visits: row.try_get::<i32, _>("visits")?.cast_unsigned(),
            visit_budget: row.try_get::<Option<i32>, _>("visit_budget")?.map(i32::cast_unsigned),
            wakes: row.try_get::<i32, _>("wakes")?.cast_unsigned(),
            wake_budget: row.try_get::<i32, _>("wake_budget")?.cast_unsigned(),
            awake_seconds: row.try_get::<i64, _>("awake_seconds")?.cast_unsigned(),
            minute_budget: row.try_get::<i32, _>("minute_budget")?.cast_unsigned(),
        },
        routes: row.try_get::<Json<Vec<String>>, _>("routes")?.0,
    })
}

pub(crate) async fn insert(tx: &mut Tx, row: &Row, user: UserId) -> Answer<()> {
    sqlx::query(
        "INSERT INTO links (id, org_id, workspace_id, service, label, created_by, created_at, expires_at, visit_budget, wake_budget, minute_budget, routes) VALUES ($1, current_org(), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(row.id.uuid())
    .bind(row.workspace.uuid())
    .bind(&row.service)
    .bind(&row.label)
    .bind(user.uuid())
    .bind(row.created_at.to_sqlx())
    .bind(row.rules.expires_at.to_sqlx())
    .bind(row.rules.visit_budget.map(u32::cast_signed))
    .bind(row.rules.wake_budget.cast_signed())
    .bind(row.rules.minute_budget.cast_signed())
    .bind(Json(&row.routes))
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(crate) async fn list(tx: &mut Tx, workspace: WorkspaceId) -> Answer<Vec<Row>> {
    let rows = sqlx::query("SELECT * FROM links WHERE workspace_id = $1 ORDER BY id DESC LIMIT 1000")
        .bind(workspace.uuid())
        .fetch_all(tx.conn())
        .await?;
    rows.iter().map(read).collect()
}

pub(crate) async fn find(tx: &mut Tx, id: LinkId) -> Answer<Option<Row>> {
    let row = sqlx::query("SELECT * FROM links WHERE id = $1").bind(id.uuid()).fetch_optional(tx.conn()).await?;
    row.as_ref().map(read).transpose()
}

/// What browsers called themselves, as far as their sessions are kept.
pub(crate) async fn user_agents(
    tx: &mut Tx,
    sessions: &[LinkSessionId],
) -> Answer<BTreeMap<LinkSessionId, Option<String>>> {
    let ids: Vec<Uuid> = sessions.iter().map(|session| session.uuid()).collect();
    let rows: Vec<(Uuid, Option<String>)> =
        sqlx::query_as("SELECT id, user_agent FROM link_sessions WHERE id = ANY ($1)")
            .bind(ids)
            .fetch_all(tx.conn())
            .await?;
    Ok(rows.into_iter().map(|(id, agent)| (LinkSessionId::from_uuid(id), agent)).collect())
}

/// A link, locked until the transaction ends, so that budgets can't be overspent by two at once.
pub(crate) async fn lock(tx: &mut Tx, id: LinkId) -> Answer<Option<Row>> {
    let row =
        sqlx::query("SELECT * FROM links WHERE id = $1 FOR UPDATE").bind(id.uuid()).fetch_optional(tx.conn()).await?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn revoke(tx: &mut Tx, id: LinkId, now: Timestamp) -> Answer<()> {
    sqlx::query("UPDATE links SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
        .bind(id.uuid())
        .bind(now.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(crate) async fn count_wake(tx: &mut Tx, id: LinkId) -> Answer<()> {
    sqlx::query("UPDATE links SET wakes = wakes + 1 WHERE id = $1").bind(id.uuid()).execute(tx.conn()).await?;
    Ok(())
}

/// Adds the awake time of a window that it opened.
pub(crate) async fn count_awake(tx: &mut Tx, id: LinkId, seconds: u64) -> Answer<()> {
    sqlx::query("UPDATE links SET awake_seconds = awake_seconds + $2 WHERE id = $1")
        .bind(id.uuid())
        .bind(seconds.cast_signed())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// A browser session, and the visit it is.
pub(crate) async fn insert_session(
    tx: &mut Tx,
    id: LinkSessionId,
    link: LinkId,
    user_agent: Option<&str>,
    now: Timestamp,
    expires: Timestamp,
) -> Answer<()> {
    sqlx::query("INSERT INTO link_sessions (id, org_id, link_id, user_agent, created_at, expires_at) VALUES ($1, current_org(), $2, $3, $4, $5)")
        .bind(id.uuid())
        .bind(link.uuid())
        .bind(user_agent)
        .bind(now.to_sqlx())
        .bind(expires.to_sqlx())
        .execute(tx.conn())
        .await?;
    sqlx::query("UPDATE links SET visits = visits + 1 WHERE id = $1").bind(link.uuid()).execute(tx.conn()).await?;
    Ok(())
}

/// Links revoked whose tokens have not expired: what a gateway must refuse.
pub(crate) async fn system_revoked_links(db: &Db, now: Timestamp) -> Answer<Vec<LinkId>> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar("SELECT system_revoked_links($1)").bind(now.to_sqlx()).fetch_all(db.pool()).await?;
    Ok(ids.into_iter().map(LinkId::from_uuid).collect())
}

/// Deletes the org's browser sessions that expired before `before`; how many.
pub(crate) async fn forget_sessions(tx: &mut Tx, before: Timestamp) -> Answer<u64> {
    let done = sqlx::query("DELETE FROM link_sessions WHERE org_id = current_org() AND expires_at < $1")
        .bind(before.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected())
}
