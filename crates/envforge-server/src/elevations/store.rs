//! Rows of elevations, and the org's root policy.

use crate::platform::db::{Db, OrgScope, Tx};
use crate::platform::fault::Answer;
use anyhow::Context as _;
use envforge_api::http::elevations::Person;
use envforge_core::access::Role;
use envforge_core::elevation::{Elevation, ElevationState, EndReason, RootPolicy};
use envforge_core::id::{ElevationId, Id as _, OrgId, UserId, WorkspaceId};
use envforge_core::name::Slug;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

/// An elevation.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: ElevationId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) slug: Slug,
    /// The workspace is being deleted, or is.
    pub(crate) deleting: bool,
    /// The policy's mode when it was asked for.
    pub(crate) mode: String,
    pub(crate) rules: Elevation,
    pub(crate) reason: String,
    pub(crate) requester: String,
    /// What the requester is in the org by now.
    pub(crate) role: Option<Role>,
    pub(crate) requested_at: Timestamp,
    pub(crate) decided_by: Option<Person>,
    pub(crate) decided_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
}

const SELECT: &str = "SELECT e.*, w.slug, w.deleting_at IS NOT NULL AS deleting, u.name AS requester, d.name AS decider, m.role \
    FROM elevations e JOIN workspaces w ON w.id = e.workspace_id JOIN users u ON u.id = e.requested_by LEFT JOIN users d ON d.id = e.decided_by \
    LEFT JOIN memberships m ON m.org_id = e.org_id AND m.user_id = e.requested_by";

fn time(row: &PgRow, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
    Ok(row.try_get::<Option<SqlTimestamp>, _>(column)?.map(SqlTimestamp::to_jiff))
}

fn read(row: &PgRow) -> Answer<Row> {
    let state: String = row.try_get("state")?;
    let ended: Option<String> = row.try_get("ended")?;
    let decided_by = match (row.try_get::<Option<Uuid>, _>("decided_by")?, row.try_get("decider")?) {
        (Some(user), Some(name)) => Some(Person { user: UserId::from_uuid(user), name }),
        _ => None,
    };
    Ok(Row {
        id: ElevationId::from_uuid(row.try_get("id")?),
        workspace: WorkspaceId::from_uuid(row.try_get("workspace_id")?),
        slug: row.try_get::<String, _>("slug")?.parse().context("stored slug")?,
        deleting: row.try_get("deleting")?,
        mode: row.try_get("mode")?,
        rules: Elevation {
            state: ElevationState::from_storage(&state).context("stored state")?,
            ended: ended.map(|ended| EndReason::from_storage(&ended).context("stored end")).transpose()?,
            requester: UserId::from_uuid(row.try_get("requested_by")?),
            minutes: row.try_get::<i32, _>("minutes")?.cast_unsigned(),
            expires_at: row.try_get::<SqlTimestamp, _>("expires_at")?.to_jiff(),
        },
        reason: row.try_get("reason")?,
        requester: row.try_get("requester")?,
        role: row.try_get::<Option<String>, _>("role")?.and_then(|role| role.parse().ok()),
        requested_at: row.try_get::<SqlTimestamp, _>("requested_at")?.to_jiff(),
        decided_by,
        decided_at: time(row, "decided_at")?,
        ended_at: time(row, "ended_at")?,
    })
}

macro_rules! select {
    ($tail:literal) => {
        sqlx::query(sqlx::AssertSqlSafe(format!(concat!("{} ", $tail), SELECT)))
    };
}

/// Adds an elevation; `false` when the workspace has an open one already.
pub(crate) async fn insert(tx: &mut Tx, row: &Row) -> Answer<bool> {
    let done = sqlx::query(
        "INSERT INTO elevations (id, org_id, workspace_id, mode, state, reason, minutes, requested_by, requested_at, decided_at, expires_at) VALUES ($1, current_org(), $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
    )
    .bind(row.id.uuid())
    .bind(row.workspace.uuid())
    .bind(&row.mode)
    .bind(row.rules.state.as_str())
    .bind(&row.reason)
    .bind(row.rules.minutes.cast_signed())
    .bind(row.rules.requester.uuid())
    .bind(row.requested_at.to_sqlx())
    .bind(row.decided_at.map(jiff_sqlx::ToSqlx::to_sqlx))
    .bind(row.rules.expires_at.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Elevations of the org, newest first.
pub(crate) async fn list(tx: &mut Tx) -> Answer<Vec<Row>> {
    select!("ORDER BY e.id DESC LIMIT 200").fetch_all(tx.conn()).await?.iter().map(read).collect()
}

pub(crate) async fn find(tx: &mut Tx, id: ElevationId) -> Answer<Option<Row>> {
    let row = select!("WHERE e.id = $1").bind(id.uuid()).fetch_optional(tx.conn()).await?;
    row.as_ref().map(read).transpose()
}

/// An elevation, locked until the transaction ends.
pub(crate) async fn lock(tx: &mut Tx, id: ElevationId) -> Answer<Option<Row>> {
    let row = select!("WHERE e.id = $1 FOR UPDATE OF e").bind(id.uuid()).fetch_optional(tx.conn()).await?;
    row.as_ref().map(read).transpose()
}

/// Stores a step from the state it was taken in; `false` when it is in another by now.
pub(crate) async fn advance(tx: &mut Tx, from: ElevationState, row: &Row) -> Answer<bool> {
    let done = sqlx::query(
        "UPDATE elevations SET state = $3, ended = $4, decided_by = $5, decided_at = $6, expires_at = $7, ended_at = $8 WHERE id = $1 AND state = $2",
    )
    .bind(row.id.uuid())
    .bind(from.as_str())
    .bind(row.rules.state.as_str())
    .bind(row.rules.ended.map(EndReason::as_str))
    .bind(row.decided_by.as_ref().map(|person| person.user.uuid()))
    .bind(row.decided_at.map(jiff_sqlx::ToSqlx::to_sqlx))
    .bind(row.rules.expires_at.to_sqlx())
    .bind(row.ended_at.map(jiff_sqlx::ToSqlx::to_sqlx))
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Elevations of the org that are not over.
pub(crate) async fn open(tx: &mut Tx) -> Answer<Vec<Row>> {
    select!("WHERE e.state IN ('requested', 'approved', 'active') ORDER BY e.id")
        .fetch_all(tx.conn())
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Orgs that have such.
pub(crate) async fn system_orgs_with_open(db: &Db) -> Answer<Vec<OrgScope>> {
    let orgs: Vec<Uuid> = sqlx::query_scalar("SELECT system_orgs_with_open_elevations()").fetch_all(db.pool()).await?;
    Ok(orgs.into_iter().map(|org| OrgScope::established(OrgId::from_uuid(org))).collect())
}

/// The org's policy.
pub(crate) async fn policy(tx: &mut Tx) -> Answer<RootPolicy> {
    let (mode, minutes): (String, i32) =
        sqlx::query_as("SELECT root_mode, root_max_minutes FROM orgs WHERE org_id = current_org()")
            .fetch_one(tx.conn())
            .await?;
    Ok(RootPolicy::from_storage(&mode, minutes.cast_unsigned()))
}

/// Stores a policy; `false` when it is the one the org has.
pub(crate) async fn set_policy(tx: &mut Tx, policy: RootPolicy) -> Answer<bool> {
    let done = sqlx::query(
        "UPDATE orgs SET root_mode = $1, root_max_minutes = $2 WHERE org_id = current_org() AND (root_mode, root_max_minutes) IS DISTINCT FROM ($1, $2)",
    )
    .bind(policy.mode())
    .bind(policy.max_minutes().cast_signed())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}
