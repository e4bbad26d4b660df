//! Rows of signing keys; they belong to the installation.

use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use envforge_core::signing::SigningKey;
use envforge_core::token::PublicKey;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;

/// A key as it lies in the database.
pub(crate) struct Row {
    pub(crate) key: SigningKey,
    /// The seed of its private half; none once nobody signs with it.
    pub(crate) sealed: Option<Vec<u8>>,
}

/// One change at a time, until the transaction ends.
pub(crate) async fn lock(tx: &mut Tx) -> Answer<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('signing-keys', 0))").execute(tx.conn()).await?;
    Ok(())
}

pub(crate) async fn all(tx: &mut Tx) -> Answer<Vec<Row>> {
    let rows = sqlx::query("SELECT * FROM signing_keys").fetch_all(tx.conn()).await?;
    let read = |row: &sqlx::postgres::PgRow| {
        Ok(Row {
            key: SigningKey {
                public: PublicKey { id: row.try_get("id")?, key: row.try_get("public_key")? },
                announced_at: row.try_get::<SqlTimestamp, _>("announced_at")?.to_jiff(),
                signs_from: row.try_get::<SqlTimestamp, _>("signs_from")?.to_jiff(),
                verifies_until: row.try_get::<Option<SqlTimestamp>, _>("verifies_until")?.map(SqlTimestamp::to_jiff),
            },
            sealed: row.try_get("sealed")?,
        })
    };
    rows.iter().map(read).collect()
}

pub(crate) async fn insert(tx: &mut Tx, row: &Row) -> Answer<()> {
    sqlx::query(
        "INSERT INTO signing_keys (id, public_key, sealed, announced_at, signs_from, verifies_until) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&row.key.public.id)
    .bind(&row.key.public.key)
    .bind(&row.sealed)
    .bind(row.key.announced_at.to_sqlx())
    .bind(row.key.signs_from.to_sqlx())
    .bind(row.key.verifies_until.map(jiff_sqlx::ToSqlx::to_sqlx))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Gives a key its end, if it got one.
pub(crate) async fn set_end(tx: &mut Tx, key: &SigningKey) -> Answer<()> {
    sqlx::query("UPDATE signing_keys SET verifies_until = $2 WHERE id = $1 AND verifies_until IS NULL")
        .bind(&key.public.id)
        .bind(key.verifies_until.map(jiff_sqlx::ToSqlx::to_sqlx))
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Puts the private half of a key under another data key, or destroys it.
pub(crate) async fn set_sealed(tx: &mut Tx, id: &str, sealed: Option<&[u8]>) -> Answer<()> {
    sqlx::query("UPDATE signing_keys SET sealed = $2 WHERE id = $1").bind(id).bind(sealed).execute(tx.conn()).await?;
    Ok(())
}

pub(crate) async fn delete(tx: &mut Tx, id: &str) -> Answer<()> {
    sqlx::query("DELETE FROM signing_keys WHERE id = $1").bind(id).execute(tx.conn()).await?;
    Ok(())
}

/// Private halves sealed under a retired data key, locked; a sealed value carries its key's id behind its first byte.
pub(crate) async fn to_reseal(tx: &mut Tx) -> Answer<Vec<(String, Vec<u8>)>> {
    Ok(sqlx::query_as(
        "SELECT s.id, s.sealed FROM signing_keys s JOIN data_keys k ON k.org_id IS NULL AND k.retired_at IS NULL \
         WHERE current_org() IS NULL AND substring(s.sealed FROM 2 FOR 16) <> uuid_send(k.id) \
         ORDER BY s.id FOR UPDATE OF s SKIP LOCKED",
    )
    .fetch_all(tx.conn())
    .await?)
}
