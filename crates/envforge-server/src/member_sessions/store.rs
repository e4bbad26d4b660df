//! Rows of members' codes and sessions on dev hosts.

use crate::platform::db::{Db, Tx};
use crate::platform::fault::Answer;
use envforge_core::id::{Id as _, LinkSessionId, LoginSessionId, UserId, WorkspaceId};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::Row as _;
use std::collections::HashSet;
use uuid::Uuid;

/// A code to store.
pub(crate) struct NewCode<'a> {
    pub(crate) id: LinkSessionId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) user: UserId,
    pub(crate) login: LoginSessionId,
    pub(crate) service: &'a str,
    pub(crate) label: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// A code, or the session it became.
pub(crate) struct Row {
    pub(crate) id: LinkSessionId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) user: UserId,
    pub(crate) service: String,
    pub(crate) label: String,
}

pub(crate) async fn insert(tx: &mut Tx, new: &NewCode<'_>) -> Answer<()> {
    sqlx::query(
        "INSERT INTO member_sessions (id, org_id, workspace_id, user_id, login_id, service, label, created_at, expires_at) \
         VALUES ($1, current_org(), $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(new.id.uuid())
    .bind(new.workspace.uuid())
    .bind(new.user.uuid())
    .bind(new.login.uuid())
    .bind(new.service)
    .bind(new.label)
    .bind(new.now.to_sqlx())
    .bind(new.expires_at.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// How many codes of a member wait to be spent.
pub(crate) async fn waiting(tx: &mut Tx, user: UserId, now: Timestamp) -> Answer<i64> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) FROM member_sessions \
         WHERE org_id = current_org() AND user_id = $1 AND expires_at > $2 AND opened_at IS NULL",
    )
    .bind(user.uuid())
    .bind(now.to_sqlx())
    .fetch_one(tx.conn())
    .await?)
}

/// A code, locked until the transaction ends, so that it is spent once.
pub(crate) async fn lock(tx: &mut Tx, id: LinkSessionId) -> Answer<Option<Row>> {
    let row = sqlx::query("SELECT * FROM member_sessions WHERE id = $1 FOR UPDATE")
        .bind(id.uuid())
        .fetch_optional(tx.conn())
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Row {
        id,
        workspace: WorkspaceId::from_uuid(row.try_get("workspace_id")?),
        user: UserId::from_uuid(row.try_get("user_id")?),
        service: row.try_get("service")?,
        label: row.try_get("label")?,
    }))
}

/// The code is spent: it is a session from now on. `false` when it was one before.
pub(crate) async fn open(
    tx: &mut Tx,
    id: LinkSessionId,
    user_agent: Option<&str>,
    now: Timestamp,
    expires_at: Timestamp,
) -> Answer<bool> {
    let done = sqlx::query(
        "UPDATE member_sessions SET opened_at = $2, expires_at = $3, user_agent = $4 WHERE id = $1 AND opened_at IS NULL",
    )
    .bind(id.uuid())
    .bind(now.to_sqlx())
    .bind(expires_at.to_sqlx())
    .bind(user_agent)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether a session was opened, and has not expired.
pub(crate) async fn is_open(tx: &mut Tx, id: LinkSessionId, now: Timestamp) -> Answer<bool> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM member_sessions WHERE id = $1 AND opened_at IS NOT NULL AND expires_at > $2)",
    )
    .bind(id.uuid())
    .bind(now.to_sqlx())
    .fetch_one(tx.conn())
    .await?)
}

/// Sessions that have not expired and may not go on; `roles` are those that may open dev hosts.
pub(crate) async fn system_ended(db: &Db, now: Timestamp, roles: &[&str]) -> Answer<HashSet<LinkSessionId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar("SELECT system_ended_member_sessions($1, $2)")
        .bind(now.to_sqlx())
        .bind(roles)
        .fetch_all(db.pool())
        .await?;
    Ok(ids.into_iter().map(LinkSessionId::from_uuid).collect())
}

/// Deletes the org's codes and sessions that expired before `before`; how many.
pub(crate) async fn forget(tx: &mut Tx, before: Timestamp) -> Answer<u64> {
    let done = sqlx::query("DELETE FROM member_sessions WHERE org_id = current_org() AND expires_at < $1")
        .bind(before.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected())
}
