//! Rows of secrets and their versions.

use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use anyhow::Context as _;
use envforge_api::http::secrets::{SecretInfo, SecretScope, SecretVersion};
use envforge_core::egress::EgressRule;
use envforge_core::id::{Id as _, ProjectId, SecretId, UserId, WorkspaceId};
use envforge_core::name::Slug;
use envforge_core::secret::{SecretName, VERSIONS_KEPT};
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Where a secret is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Org,
    Project(ProjectId),
    Workspace(WorkspaceId),
}

impl Place {
    fn columns(self) -> (Option<Uuid>, Option<Uuid>) {
        match self {
            Self::Org => (None, None),
            Self::Project(project) => (Some(project.uuid()), None),
            Self::Workspace(workspace) => (None, Some(workspace.uuid())),
        }
    }
}

/// A version as it lies in the database.
pub(crate) struct Stored {
    pub(crate) id: SecretId,
    pub(crate) name: SecretName,
    pub(crate) version: u32,
    pub(crate) held: Held,
    /// Lent to a destination, and given to no service.
    pub(crate) egress: Option<EgressRule>,
}

/// Where the value of a version is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Here.
    Sealed(Vec<u8>),
    /// In a store outside the database, as this version there.
    Outside { store: String, version: i64 },
}

fn held(row: &PgRow) -> Answer<Held> {
    Ok(match row.try_get("store")? {
        None => Held::Sealed(row.try_get("sealed")?),
        Some(store) => Held::Outside { store, version: row.try_get("store_version")? },
    })
}

fn egress(row: &PgRow) -> Answer<Option<EgressRule>> {
    let stored: Option<serde_json::Value> = row.try_get("egress")?;
    Ok(stored.map(serde_json::from_value).transpose()?)
}

fn stored(row: &PgRow) -> Answer<Stored> {
    Ok(Stored {
        id: SecretId::from_uuid(row.try_get("id")?),
        name: row.try_get::<String, _>("name")?.parse().context("stored name")?,
        version: row.try_get::<i32, _>("version")?.cast_unsigned(),
        held: held(row)?,
        egress: egress(row)?,
    })
}

fn slug(row: &PgRow, column: &str) -> Answer<Option<Slug>> {
    Ok(row.try_get::<Option<String>, _>(column)?.map(|slug| slug.parse()).transpose().context("stored slug")?)
}

fn info(row: &PgRow) -> Answer<SecretInfo> {
    let scope = match (slug(row, "project_slug")?, slug(row, "workspace_slug")?) {
        (Some(project), _) => SecretScope::Project { project },
        (None, Some(workspace)) => SecretScope::Workspace { workspace },
        (None, None) => SecretScope::Org,
    };
    Ok(SecretInfo {
        id: SecretId::from_uuid(row.try_get("id")?),
        name: row.try_get::<String, _>("name")?.parse().context("stored name")?,
        scope,
        version: row.try_get::<i32, _>("version")?.cast_unsigned(),
        egress: egress(row)?,
        set_by: row.try_get("set_by_name")?,
        set_at: row.try_get::<SqlTimestamp, _>("set_at")?.to_jiff(),
        last_used_at: row.try_get::<Option<SqlTimestamp>, _>("last_used_at")?.map(SqlTimestamp::to_jiff),
    })
}

/// Secrets with what is shown of them; one of a project or workspace that the member does not see is not there.
const INFO: &str = "SELECT s.id, s.name, s.version, s.last_used_at, v.set_at, v.egress, u.name AS set_by_name, \
    p.slug AS project_slug, w.slug AS workspace_slug \
    FROM secrets s JOIN secret_versions v ON v.secret_id = s.id AND v.version = s.version JOIN users u ON u.id = v.set_by \
    LEFT JOIN projects p ON p.id = s.project_id LEFT JOIN workspaces w ON w.id = s.workspace_id \
    WHERE (s.project_id IS NULL OR p.id IS NOT NULL) AND (s.workspace_id IS NULL OR w.id IS NOT NULL)";

macro_rules! info {
    ($tail:literal) => {
        sqlx::query(sqlx::AssertSqlSafe(format!(concat!("{} ", $tail), INFO)))
    };
}

/// All secrets of the org, the widest scope of a name first.
pub(crate) async fn list(tx: &mut Tx) -> Answer<Vec<SecretInfo>> {
    info!("ORDER BY s.name, (s.workspace_id IS NOT NULL), (s.project_id IS NOT NULL), p.slug, w.slug")
        .fetch_all(tx.conn())
        .await?
        .iter()
        .map(info)
        .collect()
}

pub(crate) async fn find(tx: &mut Tx, id: SecretId) -> Answer<Option<SecretInfo>> {
    info!("AND s.id = $1").bind(id.uuid()).fetch_optional(tx.conn()).await?.as_ref().map(info).transpose()
}

pub(crate) async fn count(tx: &mut Tx) -> Answer<i64> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM secrets").fetch_one(tx.conn()).await?)
}

/// A project by its slug.
pub(crate) async fn project(tx: &mut Tx, slug: &Slug) -> Answer<Option<ProjectId>> {
    let id: Option<Uuid> = sqlx::query_scalar("SELECT id FROM projects WHERE slug = $1")
        .bind(slug.as_str())
        .fetch_optional(tx.conn())
        .await?;
    Ok(id.map(ProjectId::from_uuid))
}

/// A workspace by its slug, unless it is on its way out; held so that it stays until the transaction ends.
pub(crate) async fn workspace(tx: &mut Tx, slug: &Slug) -> Answer<Option<WorkspaceId>> {
    let statement =
        "SELECT id FROM workspaces WHERE slug = $1 AND deleting_at IS NULL AND deleted_at IS NULL FOR SHARE";
    let id: Option<Uuid> = sqlx::query_scalar(statement).bind(slug.as_str()).fetch_optional(tx.conn()).await?;
    Ok(id.map(WorkspaceId::from_uuid))
}

/// The secret of a name in a place, locked until the transaction ends: id and version in use.
pub(crate) async fn lock_named(tx: &mut Tx, name: &SecretName, place: Place) -> Answer<Option<(SecretId, u32)>> {
    let (project, workspace) = place.columns();
    let row = sqlx::query(
        "SELECT id, version FROM secrets WHERE name = $1 AND project_id IS NOT DISTINCT FROM $2 AND workspace_id IS NOT DISTINCT FROM $3 FOR UPDATE",
    )
    .bind(name.as_str())
    .bind(project)
    .bind(workspace)
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((SecretId::from_uuid(row.try_get("id")?), row.try_get::<i32, _>("version")?.cast_unsigned())))
}

/// Locks a secret until the transaction ends; `false` when there is none.
pub(crate) async fn lock(tx: &mut Tx, id: SecretId) -> Answer<bool> {
    let row =
        sqlx::query("SELECT 1 FROM secrets WHERE id = $1 FOR UPDATE").bind(id.uuid()).fetch_optional(tx.conn()).await?;
    Ok(row.is_some())
}

/// Adds a secret at its first version; `false` when somebody else has just taken its name.
pub(crate) async fn insert(tx: &mut Tx, id: SecretId, name: &SecretName, place: Place) -> Answer<bool> {
    let (project, workspace) = place.columns();
    let done = sqlx::query(
        "INSERT INTO secrets (id, org_id, project_id, workspace_id, name, version) VALUES ($1, current_org(), $2, $3, $4, 1) ON CONFLICT DO NOTHING",
    )
    .bind(id.uuid())
    .bind(project)
    .bind(workspace)
    .bind(name.as_str())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A version to add.
pub(crate) struct NewVersion<'a> {
    pub(crate) version: u32,
    pub(crate) held: &'a Held,
    pub(crate) restored_from: Option<u32>,
    pub(crate) egress: Option<&'a EgressRule>,
    pub(crate) set_by: UserId,
    pub(crate) set_at: Timestamp,
}

/// Adds a version of a locked secret and puts it in use; the oldest go.
pub(crate) async fn add_version(tx: &mut Tx, id: SecretId, new: &NewVersion<'_>) -> Answer<()> {
    let (sealed, store, store_version) = match new.held {
        Held::Sealed(sealed) => (sealed.as_slice(), None, None),
        Held::Outside { store, version } => (&[][..], Some(store), Some(version)),
    };
    sqlx::query(
        "INSERT INTO secret_versions (secret_id, org_id, version, sealed, restored_from, set_by, set_at, egress, store, store_version) VALUES ($1, current_org(), $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(id.uuid())
    .bind(new.version.cast_signed())
    .bind(sealed)
    .bind(new.restored_from.map(u32::cast_signed))
    .bind(new.set_by.uuid())
    .bind(new.set_at.to_sqlx())
    .bind(new.egress.map(serde_json::to_value).transpose()?)
    .bind(store)
    .bind(store_version)
    .execute(tx.conn())
    .await?;
    sqlx::query("UPDATE secrets SET version = $2 WHERE id = $1")
        .bind(id.uuid())
        .bind(new.version.cast_signed())
        .execute(tx.conn())
        .await?;
    sqlx::query("DELETE FROM secret_versions WHERE secret_id = $1 AND version <= $2")
        .bind(id.uuid())
        .bind(new.version.cast_signed() - VERSIONS_KEPT.cast_signed())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// The versions that are kept, newest first.
pub(crate) async fn versions(tx: &mut Tx, id: SecretId) -> Answer<Vec<SecretVersion>> {
    let rows = sqlx::query(
        "SELECT v.version, v.restored_from, v.set_at, u.name AS set_by_name FROM secret_versions v JOIN users u ON u.id = v.set_by WHERE v.secret_id = $1 ORDER BY v.version DESC",
    )
    .bind(id.uuid())
    .fetch_all(tx.conn())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(SecretVersion {
                version: row.try_get::<i32, _>("version")?.cast_unsigned(),
                set_by: row.try_get("set_by_name")?,
                set_at: row.try_get::<SqlTimestamp, _>("set_at")?.to_jiff(),
                restored_from: row.try_get::<Option<i32>, _>("restored_from")?.map(i32::cast_unsigned),
            })
        })
        .collect()
}

/// One version of a secret.
pub(crate) async fn version(tx: &mut Tx, id: SecretId, version: u32) -> Answer<Option<Stored>> {
    let row = sqlx::query(
        "SELECT s.id, s.name, v.version, v.sealed, v.store, v.store_version, v.egress FROM secrets s JOIN secret_versions v ON v.secret_id = s.id WHERE s.id = $1 AND v.version = $2",
    )
    .bind(id.uuid())
    .bind(i32::try_from(version).unwrap_or(i32::MAX))
    .fetch_optional(tx.conn())
    .await?;
    row.as_ref().map(stored).transpose()
}

/// The stores outside the database that hold versions of a secret.
pub(crate) async fn stores(tx: &mut Tx, id: SecretId) -> Answer<BTreeSet<String>> {
    let statement = "SELECT DISTINCT store FROM secret_versions WHERE secret_id = $1 AND store IS NOT NULL";
    let stores: Vec<String> = sqlx::query_scalar(statement).bind(id.uuid()).fetch_all(tx.conn()).await?;
    Ok(stores.into_iter().collect())
}

pub(crate) async fn delete(tx: &mut Tx, id: SecretId) -> Answer<()> {
    sqlx::query("DELETE FROM secrets WHERE id = $1").bind(id.uuid()).execute(tx.conn()).await?;
    Ok(())
}

/// Secrets of one workspace alone.
pub(crate) async fn of_workspace(tx: &mut Tx, workspace: WorkspaceId) -> Answer<Vec<(SecretId, String)>> {
    let rows = sqlx::query("SELECT id, name FROM secrets WHERE workspace_id = $1 ORDER BY name")
        .bind(workspace.uuid())
        .fetch_all(tx.conn())
        .await?;
    rows.iter().map(|row| Ok((SecretId::from_uuid(row.try_get("id")?), row.try_get("name")?))).collect()
}

/// The versions in use of secrets of one workspace alone.
pub(crate) async fn in_use_of_workspace(tx: &mut Tx, workspace: WorkspaceId) -> Answer<Vec<Stored>> {
    let rows = sqlx::query(
        "SELECT s.id, s.name, v.version, v.sealed, v.store, v.store_version, v.egress FROM secrets s \
         JOIN secret_versions v ON v.secret_id = s.id AND v.version = s.version WHERE s.workspace_id = $1 ORDER BY s.name",
    )
    .bind(workspace.uuid())
    .fetch_all(tx.conn())
    .await?;
    rows.iter().map(stored).collect()
}

/// The versions in use that a workspace gets under these names: of each the narrowest.
pub(crate) async fn in_force(tx: &mut Tx, workspace: WorkspaceId, names: &[String]) -> Answer<Vec<Stored>> {
    let rows = sqlx::query(
        "SELECT DISTINCT ON (s.name) s.id, s.name, s.version, v.sealed, v.store, v.store_version, v.egress \
         FROM workspaces w \
         JOIN secrets s ON s.workspace_id = w.id OR s.project_id = w.project_id OR (s.workspace_id IS NULL AND s.project_id IS NULL) \
         JOIN secret_versions v ON v.secret_id = s.id AND v.version = s.version \
         WHERE w.id = $1 AND s.name = ANY ($2) \
         ORDER BY s.name, (s.workspace_id IS NULL), (s.project_id IS NULL)",
    )
    .bind(workspace.uuid())
    .bind(names)
    .fetch_all(tx.conn())
    .await?;
    rows.iter().map(stored).collect()
}

/// The versions in use that are lent to a workspace's requests for a destination: of each name the narrowest.
pub(crate) async fn lent(tx: &mut Tx, workspace: WorkspaceId, host: &str) -> Answer<Vec<Stored>> {
    let rows = sqlx::query(
        "SELECT * FROM (SELECT DISTINCT ON (s.name) s.id, s.name, s.version, v.sealed, v.store, v.store_version, v.egress \
         FROM workspaces w \
         JOIN secrets s ON s.workspace_id = w.id OR s.project_id = w.project_id OR (s.workspace_id IS NULL AND s.project_id IS NULL) \
         JOIN secret_versions v ON v.secret_id = s.id AND v.version = s.version \
         WHERE w.id = $1 \
         ORDER BY s.name, (s.workspace_id IS NULL), (s.project_id IS NULL)) AS narrowest \
         WHERE egress->>'host' = $2 ORDER BY name",
    )
    .bind(workspace.uuid())
    .bind(host)
    .fetch_all(tx.conn())
    .await?;
    rows.iter().map(stored).collect()
}

pub(crate) async fn used(tx: &mut Tx, ids: &[SecretId], now: Timestamp) -> Answer<()> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    sqlx::query("UPDATE secrets SET last_used_at = $2 WHERE id = ANY ($1)")
        .bind(ids)
        .bind(now.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Some versions of the org sealed under a retired data key, locked; what somebody else is at is left out.
pub(crate) async fn to_reseal(tx: &mut Tx, most: i64) -> Answer<Vec<Stored>> {
    let rows = sqlx::query(
        "SELECT s.id, s.name, v.version, v.sealed, v.store, v.store_version, v.egress FROM secret_versions v JOIN secrets s ON s.id = v.secret_id \
         JOIN data_keys k ON k.org_id = v.org_id AND k.retired_at IS NULL \
         WHERE v.store IS NULL AND substring(v.sealed FROM 2 FOR 16) <> uuid_send(k.id) ORDER BY v.secret_id, v.version LIMIT $1 FOR UPDATE OF v SKIP LOCKED",
    )
    .bind(most)
    .fetch_all(tx.conn())
    .await?;
    rows.iter().map(stored).collect()
}

/// Puts the same value under another key.
pub(crate) async fn reseal(tx: &mut Tx, version: &Stored, sealed: &[u8]) -> Answer<()> {
    sqlx::query("UPDATE secret_versions SET sealed = $3 WHERE secret_id = $1 AND version = $2")
        .bind(version.id.uuid())
        .bind(version.version.cast_signed())
        .bind(sealed)
        .execute(tx.conn())
        .await?;
    Ok(())
}
