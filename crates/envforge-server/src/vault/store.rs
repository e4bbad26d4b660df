//! Rows of wrapped data keys.

use crate::platform::db::{Db, OrgScope, Tx};
use crate::platform::fault::Answer;
use envforge_core::id::{Id, OrgId};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use std::collections::BTreeMap;
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

/// Retires the key in use; its id.
pub(crate) async fn retire(tx: &mut Tx, now: Timestamp) -> Answer<Option<Uuid>> {
    Ok(sqlx::query_scalar("UPDATE data_keys SET retired_at = $1 WHERE retired_at IS NULL RETURNING id")
        .bind(now.to_sqlx())
        .fetch_optional(tx.conn())
        .await?)
}

/// Whose data keys one of these key-encryption keys wraps: orgs, and with `None` the installation.
pub(crate) async fn system_to_rewrap(db: &Db, old: &[String]) -> Answer<Vec<Option<OrgScope>>> {
    let orgs: Vec<Option<Uuid>> =
        sqlx::query_scalar("SELECT system_orgs_to_rewrap($1)").bind(old).fetch_all(db.pool()).await?;
    Ok(orgs.into_iter().map(|org| org.map(|org| OrgScope::established(OrgId::from_uuid(org)))).collect())
}

/// How many data keys each key-encryption key wraps.
pub(crate) async fn system_wrappers(db: &Db) -> Answer<BTreeMap<String, u64>> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT wrapped_by, keys FROM system_data_key_wrappers()").fetch_all(db.pool()).await?;
    Ok(rows.into_iter().map(|(name, keys)| (name, keys.cast_unsigned())).collect())
}

/// Some keys that one of these key-encryption keys wraps, locked; what somebody else is at is left out.
pub(crate) async fn to_rewrap(tx: &mut Tx, old: &[String], most: i64) -> Answer<Vec<StoredKey>> {
    let rows = sqlx::query(
        "SELECT id, wrapped_by, wrapped FROM data_keys WHERE wrapped_by = ANY ($1) ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED",
    )
    .bind(old)
    .bind(most)
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.iter().map(stored).collect::<Result<_, _>>()?)
}

/// Stores a key as another key-encryption key wraps it.
pub(crate) async fn rewrap(tx: &mut Tx, id: Uuid, wrapper: &str, wrapped: &[u8]) -> Answer<()> {
    sqlx::query("UPDATE data_keys SET wrapped_by = $2, wrapped = $3 WHERE id = $1")
        .bind(id)
        .bind(wrapper)
        .bind(wrapped)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Whose data keys were rotated once: orgs, and with `None` the installation.
pub(crate) async fn system_rotated(db: &Db) -> Answer<Vec<Option<OrgScope>>> {
    let orgs: Vec<Option<Uuid>> =
        sqlx::query_scalar("SELECT system_orgs_with_retired_keys()").fetch_all(db.pool()).await?;
    Ok(orgs.into_iter().map(|org| org.map(|org| OrgScope::established(OrgId::from_uuid(org)))).collect())
}
