//! Caps, what was told of them, and what lifts them.

use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use crate::workspaces::store::{cap, cap_columns};
use anyhow::Context as _;
use envforge_core::id::{Id as _, OrgId, ProjectId, UserId, WorkspaceId};
use envforge_core::name::Slug;
use envforge_core::usage::cap::{CapOverride, CapStep, Limit};
use envforge_core::usage::price::SpentSeconds;
use envforge_core::usage::{Cap, CapLevel, Month, PriceList, SizeSeconds};
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use std::collections::BTreeMap;
use std::fmt;
use uuid::Uuid;

/// Whose a cap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    Workspace(WorkspaceId),
    Project(ProjectId),
    Org(OrgId),
}

impl Holder {
    pub(crate) fn level(self) -> CapLevel {
        match self {
            Self::Workspace(_) => CapLevel::Workspace,
            Self::Project(_) => CapLevel::Project,
            Self::Org(_) => CapLevel::Organization,
        }
    }

    fn uuid(self) -> Uuid {
        match self {
            Self::Workspace(id) => id.uuid(),
            Self::Project(id) => id.uuid(),
            Self::Org(id) => id.uuid(),
        }
    }

    /// Project and workspace, for the columns that say who sees a row.
    fn columns(self) -> (Option<Uuid>, Option<Uuid>) {
        match self {
            Self::Workspace(id) => (None, Some(id.uuid())),
            Self::Project(id) => (Some(id.uuid()), None),
            Self::Org(_) => (None, None),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workspace(id) => id.fmt(f),
            Self::Project(id) => id.fmt(f),
            Self::Org(id) => id.fmt(f),
        }
    }
}

/// Sets a cap.
pub(crate) async fn set(tx: &mut Tx, holder: Holder, cap: Cap) -> Answer<()> {
    let statement = match holder {
        Holder::Workspace(_) => {
            "UPDATE runtimes SET cap_mode = $2, cap_minutes = $3, cap_micros = $4, cap_warn_at = $5, cap_grace_minutes = $6 WHERE workspace_id = $1"
        }
        Holder::Project(_) => {
            "UPDATE projects SET cap_mode = $2, cap_minutes = $3, cap_micros = $4, cap_warn_at = $5, cap_grace_minutes = $6 WHERE id = $1"
        }
        Holder::Org(_) => {
            "UPDATE orgs SET cap_mode = $2, cap_minutes = $3, cap_micros = $4, cap_warn_at = $5, cap_grace_minutes = $6 WHERE org_id = $1"
        }
    };
    sqlx::query(statement)
        .bind(holder.uuid())
        .bind(cap.mode.as_str())
        .bind(cap.minutes.cast_signed())
        .bind(cap.micros.map(u64::cast_signed))
        .bind(i16::from(cap.warn_at))
        .bind(cap.grace_minutes.cast_signed())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// The caps of a workspace, of its project and of the org, as they are now.
pub(crate) async fn caps_of(tx: &mut Tx, workspace: WorkspaceId) -> Answer<[Cap; 3]> {
    let row = sqlx::query(concat!(
        "SELECT ",
        cap_columns!("r", "cap_"),
        ", ",
        cap_columns!("p", "project_cap_"),
        ", ",
        cap_columns!("o", "org_cap_"),
        " FROM workspaces w JOIN runtimes r ON r.workspace_id = w.id JOIN projects p ON p.id = w.project_id \
         JOIN orgs o ON o.org_id = w.org_id WHERE w.id = $1"
    ))
    .bind(workspace.uuid())
    .fetch_one(tx.conn())
    .await?;
    Ok([cap(&row, "cap_")?, cap(&row, "project_cap_")?, cap(&row, "org_cap_")?])
}

/// The org's cap.
pub(crate) async fn of_org(tx: &mut Tx) -> Answer<Cap> {
    let row = sqlx::query(concat!("SELECT ", cap_columns!("o", "cap_"), " FROM orgs o WHERE o.org_id = current_org()"))
        .fetch_one(tx.conn())
        .await?;
    cap(&row, "cap_")
}

/// Projects that the reader sees, with their caps.
pub(crate) async fn of_projects(tx: &mut Tx) -> Answer<Vec<(ProjectId, Slug, Cap)>> {
    let rows =
        sqlx::query(concat!("SELECT p.id, p.slug, ", cap_columns!("p", "cap_"), " FROM projects p ORDER BY p.slug"))
            .fetch_all(tx.conn())
            .await?;
    let read = |row: &PgRow| {
        let slug = row.try_get::<String, _>("slug")?.parse::<Slug>().map_err(anyhow::Error::new)?;
        Ok((ProjectId::from_uuid(row.try_get("id")?), slug, cap(row, "cap_")?))
    };
    rows.iter().map(read).collect()
}

/// Holds a project's sum until the transaction ends; taken after a workspace's lock, and before the org's.
pub(crate) async fn lock_project(tx: &mut Tx, project: ProjectId) -> Answer<()> {
    // Not its row: whoever changes that goes on to its workspaces, and they come first here.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('cap/' || $1::text, 0))")
        .bind(project.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Reads a sum.
pub(crate) fn seconds(row: &PgRow) -> Answer<SizeSeconds> {
    let column = |name: &str| Ok::<_, sqlx::Error>(row.try_get::<i64, _>(name)?.cast_unsigned());
    Ok(SizeSeconds { small: column("small")?, medium: column("medium")?, large: column("large")? })
}

/// Seconds of some workspaces together in a month up to an instant, open windows included.
pub(crate) async fn seconds_of(
    tx: &mut Tx,
    workspaces: &[WorkspaceId],
    month: Month,
    now: Timestamp,
) -> Answer<SizeSeconds> {
    // One statement: a window that closes meanwhile is seen open or in the sum, never in neither.
    let row = sqlx::query(
        "WITH parts AS (SELECT small, medium, large FROM usage_months WHERE workspace_id = ANY ($1) AND month = $2 \
         UNION ALL SELECT CASE a.size WHEN 'small' THEN m.seconds END, CASE a.size WHEN 'medium' THEN m.seconds END, \
         CASE a.size WHEN 'large' THEN m.seconds END FROM awake_windows a CROSS JOIN LATERAL seconds_of_months(a.opened_at, $3) m \
         WHERE a.workspace_id = ANY ($1) AND a.org_id = current_org() AND a.closed_at IS NULL AND m.month = $2) \
         SELECT coalesce(sum(small), 0)::bigint AS small, coalesce(sum(medium), 0)::bigint AS medium, coalesce(sum(large), 0)::bigint AS large FROM parts",
    )
    .bind(workspaces.iter().map(|workspace| workspace.uuid()).collect::<Vec<_>>())
    .bind(month.first().to_sqlx())
    .bind(now.to_sqlx())
    .fetch_one(tx.conn())
    .await?;
    seconds(&row)
}

/// The same of all workspaces of the org together, also those the reader does not see.
pub(crate) async fn system_org_seconds(tx: &mut Tx, month: Month, now: Timestamp) -> Answer<SizeSeconds> {
    let row = sqlx::query("SELECT * FROM system_org_usage($1, $2)")
        .bind(month.first().to_sqlx())
        .bind(now.to_sqlx())
        .fetch_one(tx.conn())
        .await?;
    seconds(&row)
}

/// Holds the org's sum of a month until the transaction ends; taken after a workspace's lock, and before a host's.
pub(crate) async fn system_lock_org(tx: &mut Tx, month: Month) -> Answer<()> {
    sqlx::query("SELECT system_lock_org_usage($1)").bind(month.first().to_sqlx()).execute(tx.conn()).await?;
    Ok(())
}

/// Seconds of a month up to an instant by version of the prices, of each workspace that was awake in it.
pub(crate) async fn spent(
    tx: &mut Tx,
    prices: &PriceList,
    month: Month,
    now: Timestamp,
) -> Answer<BTreeMap<WorkspaceId, SpentSeconds>> {
    let rows = sqlx::query(
        "SELECT a.workspace_id, s.span, coalesce(sum(s.seconds) FILTER (WHERE a.size = 'small'), 0)::bigint AS small, \
         coalesce(sum(s.seconds) FILTER (WHERE a.size = 'medium'), 0)::bigint AS medium, \
         coalesce(sum(s.seconds) FILTER (WHERE a.size = 'large'), 0)::bigint AS large \
         FROM awake_windows a CROSS JOIN LATERAL seconds_of_spans(greatest(a.opened_at, $1), least(coalesce(a.closed_at, $3), $2), $4) s \
         WHERE a.org_id = current_org() AND a.opened_at < $2 AND coalesce(a.closed_at, $3) > $1 GROUP BY a.workspace_id, s.span",
    )
    .bind(month.start().to_sqlx())
    .bind(month.end().to_sqlx())
    .bind(now.to_sqlx())
    .bind(bounds(prices))
    .fetch_all(tx.conn())
    .await?;
    let mut spent: BTreeMap<WorkspaceId, SpentSeconds> = BTreeMap::new();
    for row in &rows {
        spent.entry(WorkspaceId::from_uuid(row.try_get("workspace_id")?)).or_default().push(span(row, prices)?);
    }
    Ok(spent)
}

/// The same of all workspaces of the org together, also those the reader does not see.
pub(crate) async fn system_org_spent(
    tx: &mut Tx,
    prices: &PriceList,
    month: Month,
    now: Timestamp,
) -> Answer<SpentSeconds> {
    let rows = sqlx::query("SELECT * FROM system_org_spans($1, $2, $3)")
        .bind(month.first().to_sqlx())
        .bind(now.to_sqlx())
        .bind(bounds(prices))
        .fetch_all(tx.conn())
        .await?;
    rows.iter().map(|row| span(row, prices)).collect()
}

fn bounds(prices: &PriceList) -> Vec<SqlTimestamp> {
    prices.changes().into_iter().map(jiff_sqlx::ToSqlx::to_sqlx).collect()
}

fn span(row: &PgRow, prices: &PriceList) -> Answer<(u64, SizeSeconds)> {
    let number = usize::try_from(row.try_get::<i32, _>("span")?).unwrap_or_default();
    let version = prices.versions().get(number).context("a span is of a version")?.version;
    Ok((version, seconds(row)?))
}

/// All workspaces of a project, those that were deleted too. Whoever sees the project sees all of them.
pub(crate) async fn workspaces_of(tx: &mut Tx, project: ProjectId) -> Answer<Vec<WorkspaceId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM workspaces WHERE project_id = $1")
        .bind(project.uuid())
        .fetch_all(tx.conn())
        .await?;
    Ok(ids.into_iter().map(WorkspaceId::from_uuid).collect())
}

/// How many runtimes are on their way and have no window yet, as a second each: of a project, or of the org.
pub(crate) async fn system_waking(tx: &mut Tx, project: Option<ProjectId>) -> Answer<SizeSeconds> {
    let row =
        sqlx::query("SELECT * FROM system_waking($1)").bind(project.map(ProjectId::uuid)).fetch_one(tx.conn()).await?;
    seconds(&row)
}

/// Whether a step of these holders was told in the month.
pub(crate) async fn told(tx: &mut Tx, holders: &[Holder], month: Month) -> Answer<Vec<(Uuid, String)>> {
    Ok(sqlx::query_as("SELECT subject, step FROM cap_steps WHERE subject = ANY ($1) AND month = $2")
        .bind(holders.iter().map(|holder| holder.uuid()).collect::<Vec<_>>())
        .bind(month.first().to_sqlx())
        .fetch_all(tx.conn())
        .await?)
}

/// Whether it is among what [`told`] found.
pub(crate) fn is_told(told: &[(Uuid, String)], holder: Holder, step: CapStep) -> bool {
    told.iter().any(|(subject, told)| *subject == holder.uuid() && told == step.as_str())
}

/// Remembers that a step is told; `false` when somebody else has just told it.
pub(crate) async fn tell(tx: &mut Tx, holder: Holder, month: Month, step: CapStep) -> Answer<bool> {
    let (project, workspace) = holder.columns();
    let inserted = sqlx::query(
        "INSERT INTO cap_steps (subject, month, step, org_id, project_id, workspace_id) VALUES ($1, $2, $3, current_org(), $4, $5) \
         ON CONFLICT DO NOTHING",
    )
    .bind(holder.uuid())
    .bind(month.first().to_sqlx())
    .bind(step.as_str())
    .bind(project)
    .bind(workspace)
    .execute(tx.conn())
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Forgets what was told of a cap, or one step of it.
pub(crate) async fn forget(tx: &mut Tx, holder: Holder, step: Option<CapStep>) -> Answer<()> {
    sqlx::query("DELETE FROM cap_steps WHERE subject = $1 AND ($2::text IS NULL OR step = $2)")
        .bind(holder.uuid())
        .bind(step.map(CapStep::as_str))
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// An override as it lies in the database.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) lifted: CapOverride,
    pub(crate) reason: String,
    pub(crate) by: UserId,
    pub(crate) at: Timestamp,
}

fn given(row: &PgRow) -> Answer<Given> {
    let amount = |name| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(name)?.map(i64::cast_unsigned));
    let up_to = match (amount("up_to_seconds")?, amount("up_to_micros")?) {
        (Some(seconds), _) => Some(Limit::Seconds(seconds)),
        (None, Some(micros)) => Some(Limit::Micros(micros)),
        (None, None) => None,
    };
    Ok(Given {
        lifted: CapOverride { until: row.try_get::<SqlTimestamp, _>("until")?.to_jiff(), up_to },
        reason: row.try_get("reason")?,
        by: UserId::from_uuid(row.try_get("given_by")?),
        at: row.try_get::<SqlTimestamp, _>("given_at")?.to_jiff(),
    })
}

/// What lifts a cap, or did.
pub(crate) async fn find_override(tx: &mut Tx, holder: Holder) -> Answer<Option<Given>> {
    let row = sqlx::query("SELECT * FROM cap_overrides WHERE subject = $1")
        .bind(holder.uuid())
        .fetch_optional(tx.conn())
        .await?;
    row.as_ref().map(given).transpose()
}

/// Lifts a cap, in the place of what lifted it before.
pub(crate) async fn give(tx: &mut Tx, holder: Holder, new: &Given) -> Answer<()> {
    let (project, workspace) = holder.columns();
    let (seconds, micros) = match new.lifted.up_to {
        Some(Limit::Seconds(seconds)) => (Some(seconds), None),
        Some(Limit::Micros(micros)) => (None, Some(micros)),
        None => (None, None),
    };
    sqlx::query(
        "INSERT INTO cap_overrides (subject, org_id, project_id, workspace_id, until, up_to_seconds, up_to_micros, reason, given_by, given_at) \
         VALUES ($1, current_org(), $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (subject) DO UPDATE SET until = excluded.until, \
         up_to_seconds = excluded.up_to_seconds, up_to_micros = excluded.up_to_micros, reason = excluded.reason, \
         given_by = excluded.given_by, given_at = excluded.given_at",
    )
    .bind(holder.uuid())
    .bind(project)
    .bind(workspace)
    .bind(new.lifted.until.to_sqlx())
    .bind(seconds.map(u64::cast_signed))
    .bind(micros.map(u64::cast_signed))
    .bind(&new.reason)
    .bind(new.by.uuid())
    .bind(new.at.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ends what lifts a cap; whether there was something.
pub(crate) async fn take_back(tx: &mut Tx, holder: Holder) -> Answer<bool> {
    let deleted =
        sqlx::query("DELETE FROM cap_overrides WHERE subject = $1").bind(holder.uuid()).execute(tx.conn()).await?;
    Ok(deleted.rows_affected() == 1)
}

/// Since when a runtime that a cap stops goes on for its jobs.
pub(crate) async fn set_grace(tx: &mut Tx, workspace: WorkspaceId, since: Option<Timestamp>) -> Answer<()> {
    sqlx::query("UPDATE runtimes SET cap_grace_since = $2 WHERE workspace_id = $1")
        .bind(workspace.uuid())
        .bind(since.map(jiff_sqlx::ToSqlx::to_sqlx))
        .execute(tx.conn())
        .await?;
    Ok(())
}
