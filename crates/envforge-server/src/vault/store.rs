//! Rows of wrapped data keys.

use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use envforge_core::id::Id;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

/// A data key as it lies in the database.
pub(crate) struct StoredKey {
    pub(crate) id: Uuid,
    pub(crate) wrapped_by: String,
    pub(crate) wrapped: Vec<u8>,
}

fn stored(row: &PgRow) -> Result<StoredKey, sqlx::Error> {
    Ok(StoredKey { id: row.try_get("id")?, wrapped_by: row.try_get("wrapped_by")?, wrapped: row.try_get("wrapped")? })
}

/// The key for new values of this transaction's org.
pub(crate) async fn in_use(tx: &mut Tx) -> Answer<Option<StoredKey>> {
    let row = sqlx::query("SELECT id, wrapped_by, wrapped FROM data_keys WHERE retired_at IS NULL")
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.as_ref().map(stored).transpose()?)
}

/// A key of this transaction's org, also a retired one.
pub(crate) async fn find(tx: &mut Tx, id: Uuid) -> Answer<Option<StoredKey>> {
    let row = sqlx::query("SELECT id, wrapped_by, wrapped FROM data_keys WHERE id = $1")
        .bind(id)
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.as_ref().map(stored).transpose()?)
}

/// One maker of keys at a time in this org, until the transaction ends.
pub(crate) async fn lock(tx: &mut Tx) -> Answer<()> {
    let org = tx.org().map_or_else(Uuid::nil, Id::uuid);
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('data-key/' || $1, 0))")
        .bind(org.to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Stores a key in use.
pub(crate) async fn insert(tx: &mut Tx, key: &StoredKey, now: Timestamp) -> Answer<()> {
    let org = tx.org().map(Id::uuid);
    sqlx::query("INSERT INTO data_keys (id, org_id, wrapped_by, wrapped, created_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(key.id)
        .bind(org)
        .bind(&key.wrapped_by)
        .bind(&key.wrapped)
        .bind(now.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(())
}
