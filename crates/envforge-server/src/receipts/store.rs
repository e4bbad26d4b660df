//! Rows of receipts and of what was reported of them.

use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use anyhow::Context as _;
use envforge_core::id::{Id as _, UsageSessionId, WorkspaceId};
use envforge_core::manifest::Manifest;
use envforge_core::name::Slug;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use uuid::Uuid;

/// A receipt as it lies in the database.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) session: UsageSessionId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) ended_at: Timestamp,
    pub(crate) document: String,
    pub(crate) sha256: String,
}

fn kept(row: &PgRow) -> Answer<Kept> {
    Ok(Kept {
        session: UsageSessionId::from_uuid(row.try_get("session_id")?),
        workspace: WorkspaceId::from_uuid(row.try_get("workspace_id")?),
        ended_at: row.try_get::<SqlTimestamp, _>("ended_at")?.to_jiff(),
        document: row.try_get("document")?,
        sha256: row.try_get("sha256")?,
    })
}

/// Keeps a receipt; `false` when somebody else has.
pub(crate) async fn insert(tx: &mut Tx, kept: &Kept) -> Answer<bool> {
    let done = sqlx::query(
        "INSERT INTO receipts (session_id, org_id, workspace_id, ended_at, document, sha256) VALUES ($1, current_org(), $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(kept.session.uuid())
    .bind(kept.workspace.uuid())
    .bind(kept.ended_at.to_sqlx())
    .bind(&kept.document)
    .bind(&kept.sha256)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A session's receipt.
pub(crate) async fn find(tx: &mut Tx, session: UsageSessionId) -> Answer<Option<Kept>> {
    let row = sqlx::query("SELECT * FROM receipts WHERE session_id = $1 AND org_id = current_org()")
        .bind(session.uuid())
        .fetch_optional(tx.conn())
        .await?;
    row.as_ref().map(kept).transpose()
}

/// Where a page begins: behind this receipt.
pub(crate) type Cursor = (Timestamp, UsageSessionId);

/// Receipts of a workspace, newest first.
pub(crate) async fn of_workspace(
    tx: &mut Tx,
    workspace: WorkspaceId,
    before: Option<Cursor>,
    limit: i64,
) -> Answer<Vec<Kept>> {
    let rows = sqlx::query(
        "SELECT * FROM receipts WHERE workspace_id = $1 AND org_id = current_org() \
         AND ($2::timestamptz IS NULL OR (ended_at, session_id) < ($2, $3)) ORDER BY ended_at DESC, session_id DESC LIMIT $4",
    )
    .bind(workspace.uuid())
    .bind(before.map(|(at, _)| at.to_sqlx()))
    .bind(before.map(|(_, session)| session.uuid()))
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;
    rows.iter().map(kept).collect()
}

/// Receipts of sessions that ended in this time, newest first, of the projects the reader sees.
pub(crate) async fn of_time(
    tx: &mut Tx,
    from: Timestamp,
    to: Timestamp,
    before: Option<Cursor>,
    limit: i64,
) -> Answer<Vec<Kept>> {
    let rows = sqlx::query(
        "SELECT * FROM receipts WHERE org_id = current_org() AND ended_at >= $1 AND ended_at < $2 \
         AND ($3::timestamptz IS NULL OR (ended_at, session_id) < ($3, $4)) ORDER BY ended_at DESC, session_id DESC LIMIT $5",
    )
    .bind(from.to_sqlx())
    .bind(to.to_sqlx())
    .bind(before.map(|(at, _)| at.to_sqlx()))
    .bind(before.map(|(_, session)| session.uuid()))
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;
    rows.iter().map(kept).collect()
}

/// A workspace as a receipt names it, also one that was deleted.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) slug: Slug,
    pub(crate) project: Slug,
    pub(crate) branch: String,
    pub(crate) manifest: Option<Manifest>,
}

pub(crate) async fn place(tx: &mut Tx, workspace: WorkspaceId) -> Answer<Option<Place>> {
    let row = sqlx::query(
        "SELECT w.slug, w.branch, w.manifest, p.slug AS project FROM workspaces w JOIN projects p ON p.id = w.project_id \
         WHERE w.id = $1 AND w.org_id = current_org()",
    )
    .bind(workspace.uuid())
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Place {
        slug: row.try_get::<String, _>("slug")?.parse().context("stored slug")?,
        project: row.try_get::<String, _>("project")?.parse().context("stored slug")?,
        branch: row.try_get("branch")?,
        manifest: row.try_get::<Option<Json<Manifest>>, _>("manifest")?.map(|manifest| manifest.0),
    }))
}

/// Sessions of the org that the ledger says have ended, and that have no receipt; the oldest first.
pub(crate) async fn missing(tx: &mut Tx, limit: i64) -> Answer<Vec<(WorkspaceId, UsageSessionId)>> {
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "SELECT w.id, right(e.details->>'session', 32)::uuid FROM ledger_events e \
         JOIN workspaces w ON w.org_id = e.org_id AND e.subject = 'ws_' || replace(w.id::text, '-', '') \
         WHERE e.org_id = current_org() AND e.verb = 'session.ended' AND e.details->>'session' ~ '^us_[0-9a-f]{32}$' \
         AND NOT EXISTS (SELECT FROM receipts r WHERE r.session_id = right(e.details->>'session', 32)::uuid) ORDER BY e.at, e.id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;
    let read = |(workspace, session)| (WorkspaceId::from_uuid(workspace), UsageSessionId::from_uuid(session));
    Ok(rows.into_iter().map(read).collect())
}

/// The org's slug.
pub(crate) async fn org_slug(tx: &mut Tx) -> Answer<String> {
    Ok(sqlx::query_scalar("SELECT slug FROM orgs WHERE org_id = current_org()").fetch_one(tx.conn()).await?)
}

/// How far a receipt is reported.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reported {
    /// Since when it may have arrived.
    pub(crate) tried_at: Option<Timestamp>,
    pub(crate) sent_at: Option<Timestamp>,
}

/// The same, made if missing and held until the transaction ends.
pub(crate) async fn lock_report(tx: &mut Tx, session: UsageSessionId) -> Answer<Reported> {
    sqlx::query("INSERT INTO billing_reports (session_id, org_id) VALUES ($1, current_org()) ON CONFLICT DO NOTHING")
        .bind(session.uuid())
        .execute(tx.conn())
        .await?;
    let row = sqlx::query("SELECT * FROM billing_reports WHERE session_id = $1 AND org_id = current_org() FOR UPDATE")
        .bind(session.uuid())
        .fetch_one(tx.conn())
        .await?;
    let time =
        |column: &str| Ok::<_, sqlx::Error>(row.try_get::<Option<SqlTimestamp>, _>(column)?.map(SqlTimestamp::to_jiff));
    Ok(Reported { tried_at: time("tried_at")?, sent_at: time("sent_at")? })
}

/// Writes down how far it is.
pub(crate) async fn put_report(tx: &mut Tx, session: UsageSessionId, reported: Reported) -> Answer<()> {
    sqlx::query(
        "UPDATE billing_reports SET tried_at = $2, sent_at = $3 WHERE session_id = $1 AND org_id = current_org()",
    )
    .bind(session.uuid())
    .bind(reported.tried_at.map(jiff_sqlx::ToSqlx::to_sqlx))
    .bind(reported.sent_at.map(jiff_sqlx::ToSqlx::to_sqlx))
    .execute(tx.conn())
    .await?;
    Ok(())
}
