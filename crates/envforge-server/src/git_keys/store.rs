//! Rows of people's SSH keys.

use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use anyhow::Context as _;
use envforge_api::http::git::GitKey;
use envforge_core::id::{GitKeyId, Id as _, UserId};
use envforge_core::ssh::SshPublicKey;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

/// A key as it lies in the database.
pub(crate) struct Stored {
    pub(crate) id: GitKeyId,
    pub(crate) host: String,
    pub(crate) public: SshPublicKey,
    pub(crate) sealed: Vec<u8>,
    pub(crate) created_at: Timestamp,
    pub(crate) last_used_at: Option<Timestamp>,
}

impl Stored {
    /// What its owner sees of it.
    pub(crate) fn shown(&self) -> GitKey {
        GitKey {
            id: self.id,
            host: self.host.clone(),
            public_key: self.public.to_string(),
            fingerprint: self.public.fingerprint(),
            created_at: self.created_at,
            last_used_at: self.last_used_at,
        }
    }
}

fn read(row: &PgRow) -> Answer<Stored> {
    let public: String = row.try_get("public_key")?;
    let last_used_at: Option<SqlTimestamp> = row.try_get("last_used_at")?;
    Ok(Stored {
        id: GitKeyId::from_uuid(row.try_get("id")?),
        host: row.try_get("host")?,
        public: public.parse().map_err(anyhow::Error::msg).context("stored public key")?,
        sealed: row.try_get("sealed")?,
        created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
        last_used_at: last_used_at.map(SqlTimestamp::to_jiff),
    })
}

/// A person's keys, by host.
pub(crate) async fn list(tx: &mut Tx, user: UserId) -> Answer<Vec<Stored>> {
    let rows = sqlx::query("SELECT * FROM git_keys WHERE user_id = $1 ORDER BY host")
        .bind(user.uuid())
        .fetch_all(tx.conn())
        .await?;
    rows.iter().map(read).collect()
}

/// A person's key for a host.
pub(crate) async fn find(tx: &mut Tx, user: UserId, host: &str) -> Answer<Option<Stored>> {
    let row = sqlx::query("SELECT * FROM git_keys WHERE user_id = $1 AND host = $2")
        .bind(user.uuid())
        .bind(host)
        .fetch_optional(tx.conn())
        .await?;
    row.as_ref().map(read).transpose()
}

/// One change of a person's keys at a time, until the transaction ends.
pub(crate) async fn lock(tx: &mut Tx, user: UserId) -> Answer<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('git-keys/' || $1, 0))")
        .bind(user.uuid().to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(crate) async fn insert(tx: &mut Tx, user: UserId, key: &Stored) -> Answer<()> {
    sqlx::query(
        "INSERT INTO git_keys (id, user_id, host, public_key, sealed, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(key.id.uuid())
    .bind(user.uuid())
    .bind(&key.host)
    .bind(key.public.to_string())
    .bind(&key.sealed)
    .bind(key.created_at.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Removes a person's key for a host; `None` when there is none.
pub(crate) async fn delete(tx: &mut Tx, user: UserId, host: &str) -> Answer<Option<GitKeyId>> {
    let id: Option<uuid::Uuid> =
        sqlx::query_scalar("DELETE FROM git_keys WHERE user_id = $1 AND host = $2 RETURNING id")
            .bind(user.uuid())
            .bind(host)
            .fetch_optional(tx.conn())
            .await?;
    Ok(id.map(GitKeyId::from_uuid))
}

/// Notes that something was signed with it, at most once a minute.
pub(crate) async fn used(tx: &mut Tx, id: GitKeyId, now: Timestamp) -> Answer<()> {
    sqlx::query(
        "UPDATE git_keys SET last_used_at = $2 WHERE id = $1 AND coalesce(last_used_at <= $2 - interval '1 minute', true)",
    )
    .bind(id.uuid())
    .bind(now.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(())
}
