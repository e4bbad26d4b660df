//! Rows of people's Git credentials, and what of a workspace decides which one it gets.

use crate::platform::db::{Db, OrgScope, Tx};
use crate::platform::fault::Answer;
use anyhow::Context as _;
use envforge_api::http::git::GitCredential;
use envforge_core::access::Role;
use envforge_core::id::{GitCredentialId, HostId, Id as _, OrgId, UserId, WorkspaceId};
use envforge_core::name::Slug;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

/// A credential as it lies in the database.
pub(crate) struct Stored {
    pub(crate) shown: GitCredential,
    pub(crate) sealed: Vec<u8>,
}

fn read(row: &PgRow) -> Result<Stored, sqlx::Error> {
    let time = |column: &str| row.try_get::<Option<SqlTimestamp>, _>(column);
    let shown = GitCredential {
        id: GitCredentialId::from_uuid(row.try_get("id")?),
        host: row.try_get("host")?,
        username: row.try_get("username")?,
        created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
        expires_at: time("expires_at")?.map(SqlTimestamp::to_jiff),
        last_used_at: time("last_used_at")?.map(SqlTimestamp::to_jiff),
    };
    Ok(Stored { shown, sealed: row.try_get("sealed")? })
}

/// A person's credentials, by host.
pub(crate) async fn list(tx: &mut Tx, user: UserId) -> Answer<Vec<GitCredential>> {
    let rows = sqlx::query("SELECT * FROM git_credentials WHERE user_id = $1 ORDER BY host")
        .bind(user.uuid())
        .fetch_all(tx.conn())
        .await?;
    Ok(rows.iter().map(|row| read(row).map(|stored| stored.shown)).collect::<Result<_, _>>()?)
}

/// A person's credential for a host.
pub(crate) async fn find(tx: &mut Tx, user: UserId, host: &str) -> Answer<Option<Stored>> {
    let row = sqlx::query("SELECT * FROM git_credentials WHERE user_id = $1 AND host = $2")
        .bind(user.uuid())
        .bind(host)
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// One change of a person's credentials at a time, until the transaction ends.
pub(crate) async fn lock(tx: &mut Tx, user: UserId) -> Answer<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('git-credentials/' || $1, 0))")
        .bind(user.uuid().to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(crate) async fn insert(tx: &mut Tx, user: UserId, stored: &Stored) -> Answer<()> {
    let shown = &stored.shown;
    sqlx::query(
        "INSERT INTO git_credentials (id, user_id, host, username, sealed, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(shown.id.uuid())
    .bind(user.uuid())
    .bind(&shown.host)
    .bind(&shown.username)
    .bind(&stored.sealed)
    .bind(shown.created_at.to_sqlx())
    .bind(shown.expires_at.map(jiff_sqlx::ToSqlx::to_sqlx))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Removes a person's credential for a host; `None` when there is none.
pub(crate) async fn delete(tx: &mut Tx, user: UserId, host: &str) -> Answer<Option<GitCredentialId>> {
    let id: Option<uuid::Uuid> =
        sqlx::query_scalar("DELETE FROM git_credentials WHERE user_id = $1 AND host = $2 RETURNING id")
            .bind(user.uuid())
            .bind(host)
            .fetch_optional(tx.conn())
            .await?;
    Ok(id.map(GitCredentialId::from_uuid))
}

/// Notes that it was given out, at most once a minute.
pub(crate) async fn used(tx: &mut Tx, id: GitCredentialId, now: Timestamp) -> Answer<()> {
    sqlx::query(
        "UPDATE git_credentials SET last_used_at = $2 WHERE id = $1 AND coalesce(last_used_at <= $2 - interval '1 minute', true)",
    )
    .bind(id.uuid())
    .bind(now.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A workspace, as far as its Git is concerned.
pub(crate) struct Asking {
    pub(crate) repository: String,
    /// Who acts there.
    pub(crate) person: UserId,
    pub(crate) name: String,
    /// Their role in the org; `None` when they are no member any more.
    pub(crate) role: Option<Role>,
    /// The account that the app is installed for, and its installation.
    pub(crate) installation: Option<(String, u64)>,
    /// Of the host's last stream.
    pub(crate) host_generation: u64,
}

/// A workspace of this very host that is not being deleted.
pub(crate) async fn asking(tx: &mut Tx, host: HostId, workspace: WorkspaceId) -> Answer<Option<Asking>> {
    let row = sqlx::query(
        "SELECT p.repository, u.id AS person, u.name, m.role, h.generation, i.account, i.installation \
         FROM workspaces w JOIN projects p ON p.id = w.project_id JOIN hosts h ON h.id = w.host_id \
         JOIN users u ON u.id = coalesce(w.acting_user, w.created_by) LEFT JOIN memberships m ON m.user_id = u.id \
         LEFT JOIN git_installations i ON i.org_id = w.org_id \
         WHERE w.id = $1 AND w.host_id = $2 AND w.deleting_at IS NULL AND w.deleted_at IS NULL",
    )
    .bind(workspace.uuid())
    .bind(host.uuid())
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let role: Option<String> = row.try_get("role")?;
    let role = role.map(|role| role.parse::<Role>().map_err(anyhow::Error::msg)).transpose().context("stored role")?;
    Ok(Some(Asking {
        repository: row.try_get("repository")?,
        person: UserId::from_uuid(row.try_get("person")?),
        name: row.try_get("name")?,
        role,
        installation: installation(&row)?,
        host_generation: row.try_get::<i64, _>("generation")?.cast_unsigned(),
    }))
}

/// Git in this workspace acts for this person from now on.
pub(crate) async fn acts_for(tx: &mut Tx, workspace: WorkspaceId, user: UserId) -> Answer<()> {
    sqlx::query("UPDATE workspaces SET acting_user = $2 WHERE id = $1 AND acting_user IS DISTINCT FROM $2")
        .bind(workspace.uuid())
        .bind(user.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

fn installation(row: &PgRow) -> Result<Option<(String, u64)>, sqlx::Error> {
    let account: Option<String> = row.try_get("account")?;
    let number: Option<i64> = row.try_get("installation")?;
    Ok(account.zip(number.map(i64::cast_unsigned)))
}

/// The org of a name, for the operator.
pub(crate) async fn system_find_org(db: &Db, slug: &Slug) -> Answer<Option<OrgScope>> {
    let id: Option<uuid::Uuid> =
        sqlx::query_scalar("SELECT system_find_org($1)").bind(slug.as_str()).fetch_one(db.pool()).await?;
    Ok(id.map(|id| OrgScope::established(OrgId::from_uuid(id))))
}

/// Where the app is installed for this transaction's org, in place of what was said before.
pub(crate) async fn set_installation(tx: &mut Tx, account: &str, installation: u64, now: Timestamp) -> Answer<()> {
    remove_installation(tx).await?;
    sqlx::query(
        "INSERT INTO git_installations (org_id, account, installation, created_at) VALUES (current_org(), $1, $2, $3)",
    )
    .bind(account)
    .bind(installation.cast_signed())
    .bind(now.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Forgets it; `false` when there was none.
pub(crate) async fn remove_installation(tx: &mut Tx) -> Answer<bool> {
    let done = sqlx::query("DELETE FROM git_installations WHERE org_id = current_org()").execute(tx.conn()).await?;
    Ok(done.rows_affected() == 1)
}
