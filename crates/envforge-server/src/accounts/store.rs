//! Rows of orgs, users, memberships and API keys.

use super::{Credential, Identity};
use crate::platform::db::{Db, OrgScope, Tx};
use crate::platform::fault::Answer;
use anyhow::Context as _;
use envforge_api::http::accounts::ApiKey;
use envforge_core::access::{Role, Scopes};
use envforge_core::email::EmailAddress;
use envforge_core::id::{ApiKeyId, Id as _, OrgId, UserId};
use envforge_core::name::Slug;
use envforge_core::token::digest;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The user and memberships behind a key, and that it was used: noted at most once a minute, in the same statement.
pub(crate) async fn system_authenticate(db: &Db, key_digest: &str, now: Timestamp) -> Answer<Option<Identity>> {
    let rows = sqlx::query(
        "WITH used AS ( \
           UPDATE api_keys SET last_used_at = $2 \
           WHERE digest = $1 AND revoked_at IS NULL AND coalesce(last_used_at < $2 - interval '1 minute', true) \
         ) SELECT * FROM system_authenticate($1)",
    )
    .bind(key_digest)
    .bind(now.to_sqlx())
    .fetch_all(db.pool())
    .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let user = UserId::from_uuid(first.try_get("user_id")?);
    Ok(Some(Identity {
        credential: Credential::Key {
            id: ApiKeyId::from_uuid(first.try_get("key_id")?),
            // A scope this program does not know closes the key rather than widening it.
            scopes: scopes(first)?,
            expires_at: first.try_get::<Option<SqlTimestamp>, _>("expires_at")?.map(SqlTimestamp::to_jiff),
        },
        user,
        name: first.try_get("user_name")?,
        is_operator: first.try_get("is_operator")?,
        orgs: memberships(&rows, user)?,
    }))
}

/// The memberships in the rows of a look-up by credential.
pub(crate) fn memberships(rows: &[PgRow], user: UserId) -> Answer<Vec<(OrgScope, Slug, Role)>> {
    let mut orgs = Vec::new();
    for row in rows {
        if let (Some(org), Some(slug), Some(role)) = (
            row.try_get::<Option<Uuid>, _>("org_id")?,
            row.try_get::<Option<String>, _>("org_slug")?,
            row.try_get::<Option<String>, _>("role")?,
        ) {
            let slug: Slug = slug.parse().context("stored org slug")?;
            let role: Role = role.parse().map_err(|error: String| anyhow::anyhow!(error))?;
            orgs.push((OrgScope::of_member(OrgId::from_uuid(org), user), slug, role));
        }
    }
    Ok(orgs)
}

fn scopes(row: &PgRow) -> Answer<Scopes> {
    let names: Vec<String> = row.try_get("scopes")?;
    Ok(Scopes::parse(&names).map_err(|error| anyhow::anyhow!("stored scopes: {error}"))?)
}

/// One bootstrap at a time, until the transaction ends.
pub(crate) async fn lock_bootstrap(tx: &mut Tx) -> Answer<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(7305722)").execute(tx.conn()).await?;
    Ok(())
}

/// Whether any org exists.
pub(crate) async fn system_any_org(tx: &mut Tx) -> Answer<bool> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM system_org_ids())").fetch_one(tx.conn()).await?)
}

/// Every org, for what is done in each of them.
pub(crate) async fn system_orgs(db: &Db) -> Answer<Vec<OrgScope>> {
    let orgs: Vec<Uuid> = sqlx::query_scalar("SELECT system_org_ids()").fetch_all(db.pool()).await?;
    Ok(orgs.into_iter().map(|org| OrgScope::established(OrgId::from_uuid(org))).collect())
}

/// Adds an org; `false` when its slug is taken.
pub(crate) async fn insert_org(tx: &mut Tx, id: OrgId, slug: &Slug, name: &str, now: Timestamp) -> Answer<bool> {
    let statement = "INSERT INTO orgs (org_id, slug, name, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    let inserted = sqlx::query(statement)
        .bind(id.uuid())
        .bind(slug.as_str())
        .bind(name)
        .bind(now.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(inserted.rows_affected() == 1)
}

pub(crate) async fn insert_user(tx: &mut Tx, id: UserId, name: &str, is_operator: bool, now: Timestamp) -> Answer<()> {
    sqlx::query("INSERT INTO users (id, name, is_operator, created_at) VALUES ($1, $2, $3, $4)")
        .bind(id.uuid())
        .bind(name)
        .bind(is_operator)
        .bind(now.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(crate) async fn insert_membership(tx: &mut Tx, org: OrgId, user: UserId, role: Role) -> Answer<()> {
    sqlx::query("INSERT INTO memberships (org_id, user_id, role) VALUES ($1, $2, $3)")
        .bind(org.uuid())
        .bind(user.uuid())
        .bind(role.as_str())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// What these users are called now.
pub(crate) async fn names(tx: &mut Tx, users: &[UserId]) -> Answer<BTreeMap<UserId, String>> {
    let ids: Vec<Uuid> = users.iter().map(|user| user.uuid()).collect();
    let rows: Vec<(Uuid, String)> =
        sqlx::query_as("SELECT id, name FROM users WHERE id = ANY($1)").bind(ids).fetch_all(tx.conn()).await?;
    Ok(rows.into_iter().map(|(id, name)| (UserId::from_uuid(id), name)).collect())
}

/// One change of the org's memberships at a time, until the transaction ends.
pub(crate) async fn lock_members(tx: &mut Tx) -> Answer<()> {
    sqlx::query("SELECT 1 FROM orgs WHERE org_id = current_org() FOR NO KEY UPDATE").execute(tx.conn()).await?;
    Ok(())
}

/// A member's role.
pub(crate) async fn role(tx: &mut Tx, user: UserId) -> Answer<Option<Role>> {
    let role: Option<String> =
        sqlx::query_scalar("SELECT role FROM memberships WHERE org_id = current_org() AND user_id = $1")
            .bind(user.uuid())
            .fetch_optional(tx.conn())
            .await?;
    Ok(role.map(|role| role.parse()).transpose().map_err(|error: String| anyhow::anyhow!(error))?)
}

/// A key to store.
pub(crate) struct NewKey<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
    pub(crate) scopes: &'a Scopes,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Stores a key's digest and the start of its value.
pub(crate) async fn insert_key(
    tx: &mut Tx,
    id: ApiKeyId,
    user: UserId,
    request: &NewKey<'_>,
    now: Timestamp,
) -> Answer<()> {
    sqlx::query(
        "INSERT INTO api_keys (id, user_id, name, prefix, digest, scopes, expires_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
        .bind(id.uuid())
        .bind(user.uuid())
        .bind(request.name)
        .bind(&request.value[..12])
        .bind(digest(request.value))
        .bind(request.scopes.names())
        .bind(request.expires_at.map(jiff_sqlx::ToSqlx::to_sqlx))
        .bind(now.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(crate) async fn keys(db: &Db, user: UserId) -> Answer<Vec<ApiKey>> {
    let rows = sqlx::query(
        "SELECT id, name, prefix, scopes, created_at, expires_at, last_used_at FROM api_keys WHERE user_id = $1 AND revoked_at IS NULL ORDER BY id DESC",
    )
    .bind(user.uuid())
    .fetch_all(db.pool())
    .await?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows {
        keys.push(ApiKey {
            id: ApiKeyId::from_uuid(row.try_get("id")?),
            name: row.try_get("name")?,
            prefix: row.try_get("prefix")?,
            created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
            scopes: row.try_get("scopes")?,
            expires_at: row.try_get::<Option<SqlTimestamp>, _>("expires_at")?.map(SqlTimestamp::to_jiff),
            last_used_at: row.try_get::<Option<SqlTimestamp>, _>("last_used_at")?.map(SqlTimestamp::to_jiff),
        });
    }
    Ok(keys)
}

/// Revokes a key of this user; `false` when there is none.
pub(crate) async fn revoke_key(tx: &mut Tx, id: ApiKeyId, user: UserId, now: Timestamp) -> Answer<bool> {
    let done = sqlx::query("UPDATE api_keys SET revoked_at = $3 WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL")
        .bind(id.uuid())
        .bind(user.uuid())
        .bind(now.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected() == 1)
}

/// The addresses somebody proved; the one proved first is their primary one.
pub(crate) async fn verified_addresses(tx: &mut Tx, user: UserId) -> Answer<Vec<EmailAddress>> {
    let addresses: Vec<String> =
        sqlx::query_scalar("SELECT address FROM user_emails WHERE user_id = $1 ORDER BY verified_at, address")
            .bind(user.uuid())
            .fetch_all(tx.conn())
            .await?;
    let parsed = addresses.iter().map(|address| address.parse());
    Ok(parsed.collect::<Result<_, _>>().map_err(|_| anyhow::anyhow!("a stored address is none"))?)
}
