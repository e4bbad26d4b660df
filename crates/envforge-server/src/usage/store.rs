//! Caps, and the ledger's windows as they are kept for reading. The database writes these itself, from the events.

use crate::caps::store::seconds;
use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use crate::workspaces::store::{cap, cap_columns};
use anyhow::Context as _;
use envforge_core::id::{Id as _, UsageSessionId, WindowId, WorkspaceId};
use envforge_core::name::Slug;
use envforge_core::size::Size;
use envforge_core::usage::{AwakeWindow, Cap, Month, SizeSeconds};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff_sqlx::{Date as SqlDate, Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

/// A workspace's windows in the order of their opening.
pub(crate) async fn windows(tx: &mut Tx, workspace: WorkspaceId) -> Answer<Vec<AwakeWindow>> {
    let rows =
        sqlx::query("SELECT * FROM awake_windows WHERE workspace_id = $1 ORDER BY opened_at, closed_at, window_id")
            .bind(workspace.uuid())
            .fetch_all(tx.conn())
            .await?;
    rows.iter().map(window).collect()
}

fn window(row: &PgRow) -> Answer<AwakeWindow> {
    let size: String = row.try_get("size")?;
    Ok(AwakeWindow {
        window: WindowId::from_uuid(row.try_get("window_id")?),
        session: UsageSessionId::from_uuid(row.try_get("session_id")?),
        opened_at: row.try_get::<SqlTimestamp, _>("opened_at")?.to_jiff(),
        closed_at: row.try_get::<Option<SqlTimestamp>, _>("closed_at")?.map(SqlTimestamp::to_jiff),
        size: size.parse::<Size>().map_err(|error| anyhow::anyhow!(error))?,
        wake_cause: row.try_get("wake_cause")?,
        end_cause: row.try_get("end_cause")?,
        unproven_seconds: row.try_get::<i64, _>("unproven_seconds")?.cast_unsigned(),
    })
}

/// A workspace in a month.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) workspace: WorkspaceId,
    pub(crate) slug: Slug,
    pub(crate) project: Slug,
    pub(crate) is_deleted: bool,
    pub(crate) cap: Cap,
    pub(crate) seconds: SizeSeconds,
}

/// Workspaces that are there, or were awake in the month.
pub(crate) async fn list(tx: &mut Tx, month: Month, now: Timestamp) -> Answer<Vec<Listed>> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        cap_columns!("r", "cap_"),
        ", w.id, w.slug, p.slug AS project, w.deleted_at IS NOT NULL AS is_deleted, \
         coalesce(u.small, 0) + CASE a.size WHEN 'small' THEN a.seconds ELSE 0 END AS small, \
         coalesce(u.medium, 0) + CASE a.size WHEN 'medium' THEN a.seconds ELSE 0 END AS medium, \
         coalesce(u.large, 0) + CASE a.size WHEN 'large' THEN a.seconds ELSE 0 END AS large \
         FROM workspaces w JOIN projects p ON p.id = w.project_id LEFT JOIN runtimes r ON r.workspace_id = w.id \
         LEFT JOIN usage_months u ON u.workspace_id = w.id AND u.org_id = current_org() AND u.month = $1 \
         LEFT JOIN (SELECT o.workspace_id, o.size, m.seconds FROM awake_windows o CROSS JOIN LATERAL seconds_of_months(o.opened_at, $2) m \
         WHERE o.org_id = current_org() AND o.closed_at IS NULL AND m.month = $1) a ON a.workspace_id = w.id \
         WHERE w.org_id = current_org() AND (w.deleted_at IS NULL OR u.month IS NOT NULL OR a.seconds IS NOT NULL) \
         ORDER BY p.slug, w.slug, w.id"
    ))
    .bind(month.first().to_sqlx())
    .bind(now.to_sqlx())
    .fetch_all(tx.conn())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Listed {
                workspace: WorkspaceId::from_uuid(row.try_get("id")?),
                slug: row.try_get::<String, _>("slug")?.parse().context("stored slug")?,
                project: row.try_get::<String, _>("project")?.parse().context("stored slug")?,
                is_deleted: row.try_get("is_deleted")?,
                cap: cap(row, "cap_")?,
                seconds: seconds(row)?,
            })
        })
        .collect()
}

/// Months of a workspace's closed windows.
pub(crate) async fn months(tx: &mut Tx, workspace: WorkspaceId) -> Answer<Vec<(Month, SizeSeconds)>> {
    let rows = sqlx::query("SELECT * FROM usage_months WHERE workspace_id = $1 ORDER BY month")
        .bind(workspace.uuid())
        .fetch_all(tx.conn())
        .await?;
    rows.iter().map(|row| Ok((month(row)?, seconds(row)?))).collect()
}

fn month(row: &PgRow) -> Answer<Month> {
    let date: Date = row.try_get::<SqlDate, _>("month")?.to_jiff();
    Ok(Month::of_date(date))
}

/// Workspaces of the org that have windows, deleted ones too.
pub(crate) async fn with_windows(tx: &mut Tx) -> Answer<Vec<WorkspaceId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT w.id FROM workspaces w WHERE w.org_id = current_org() AND EXISTS (SELECT FROM ledger_events e \
         WHERE e.org_id = current_org() AND e.subject = 'ws_' || replace(w.id::text, '-', '') AND e.verb IN ('window.opened', 'window.closed'))",
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(WorkspaceId::from_uuid).collect())
}

/// Holds a workspace's runtime, so that no window of it opens or closes.
pub(crate) async fn lock(tx: &mut Tx, workspace: WorkspaceId) -> Answer<()> {
    sqlx::query("SELECT FROM runtimes WHERE workspace_id = $1 FOR NO KEY UPDATE")
        .bind(workspace.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Makes a workspace's rows anew from the ledger.
pub(crate) async fn system_rebuild(tx: &mut Tx, workspace: WorkspaceId) -> Answer<()> {
    sqlx::query("SELECT system_rebuild_windows($1)").bind(workspace.uuid()).execute(tx.conn()).await?;
    Ok(())
}

/// Whether the org's months are the sums of its workspaces'.
pub(crate) async fn org_months_hold(tx: &mut Tx) -> Answer<bool> {
    let holds = sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT FROM (SELECT * FROM org_usage_months WHERE org_id = current_org()) o \
         FULL JOIN (SELECT month, sum(small) AS small, sum(medium) AS medium, sum(large) AS large FROM usage_months \
         WHERE org_id = current_org() GROUP BY month) u ON u.month = o.month \
         WHERE (coalesce(o.small, 0), coalesce(o.medium, 0), coalesce(o.large, 0)) \
         IS DISTINCT FROM (coalesce(u.small, 0), coalesce(u.medium, 0), coalesce(u.large, 0)))",
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(holds)
}

/// Makes the org's months anew from its workspaces'.
pub(crate) async fn system_rebuild_org(tx: &mut Tx) -> Answer<()> {
    sqlx::query("SELECT system_rebuild_org_months()").execute(tx.conn()).await?;
    Ok(())
}
