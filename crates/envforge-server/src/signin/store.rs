//! Rows of addresses, identities, and sign-ins under way.

use crate::platform::db::{Db, Tx};
use crate::platform::fault::Answer;
use envforge_core::access::Role;
use envforge_core::email::EmailAddress;
use envforge_core::id::{Id as _, MagicLinkId, OrgId, UserId};
use envforge_core::name::Slug;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use uuid::Uuid;

/// A sign-in under way at a provider.
pub(crate) struct Attempt {
    pub(crate) state_digest: String,
    pub(crate) browser_digest: String,
    pub(crate) provider: String,
    pub(crate) sealed: Vec<u8>,
    pub(crate) expires_at: Timestamp,
}

/// How many sign-ins of this source are under way, one source counted at a time.
pub(crate) async fn attempts_of(tx: &mut Tx, source: &str) -> Answer<i64> {
    lock_source(tx, source).await?;
    Ok(sqlx::query_scalar("SELECT count(*) FROM sign_in_attempts WHERE source = $1")
        .bind(source)
        .fetch_one(tx.conn())
        .await?)
}

/// Two requests of one source can't both be the last that is allowed.
async fn lock_source(tx: &mut Tx, source: &str) -> Answer<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(7305723, hashtext($1))").bind(source).execute(tx.conn()).await?;
    Ok(())
}

pub(crate) async fn insert_attempt(tx: &mut Tx, attempt: &Attempt, source: &str) -> Answer<()> {
    sqlx::query(
        "INSERT INTO sign_in_attempts (state_digest, browser_digest, provider, sealed, source, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&attempt.state_digest)
    .bind(&attempt.browser_digest)
    .bind(&attempt.provider)
    .bind(&attempt.sealed)
    .bind(source)
    .bind(attempt.expires_at.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Takes an attempt out: nobody gets it again.
pub(crate) async fn take_attempt(tx: &mut Tx, state_digest: &str) -> Answer<Option<Attempt>> {
    let row = sqlx::query(
        "DELETE FROM sign_in_attempts WHERE state_digest = $1 RETURNING browser_digest, provider, sealed, expires_at",
    )
    .bind(state_digest)
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Attempt {
        state_digest: state_digest.to_owned(),
        browser_digest: row.try_get("browser_digest")?,
        provider: row.try_get("provider")?,
        sealed: row.try_get("sealed")?,
        expires_at: row.try_get::<SqlTimestamp, _>("expires_at")?.to_jiff(),
    }))
}

/// A link in a mail.
pub(crate) struct MagicLink {
    pub(crate) id: MagicLinkId,
    pub(crate) digest: String,
    pub(crate) address: EmailAddress,
    pub(crate) return_to: String,
    pub(crate) expires_at: Timestamp,
}

/// How many links this source asked for that have not ended, one source counted at a time.
pub(crate) async fn links_of(tx: &mut Tx, source: &str) -> Answer<i64> {
    lock_source(tx, source).await?;
    Ok(sqlx::query_scalar("SELECT count(*) FROM magic_links WHERE source = $1")
        .bind(source)
        .fetch_one(tx.conn())
        .await?)
}

/// Notes a link; one without a sealed token is sent to nobody.
pub(crate) async fn insert_link(tx: &mut Tx, link: &MagicLink, sealed: Option<&[u8]>, source: &str) -> Answer<()> {
    sqlx::query(
        "INSERT INTO magic_links (id, digest, address, return_to, source, expires_at, sealed_token) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(link.id.uuid())
    .bind(&link.digest)
    .bind(link.address.as_str())
    .bind(&link.return_to)
    .bind(source)
    .bind(link.expires_at.to_sqlx())
    .bind(sealed)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What a mail with a link needs.
pub(crate) struct Unsent {
    pub(crate) address: EmailAddress,
    pub(crate) sealed_token: Vec<u8>,
    pub(crate) expires_at: Timestamp,
}

/// A link that was not sent yet, was not used and still works.
pub(crate) async fn unsent(tx: &mut Tx, id: MagicLinkId, now: Timestamp) -> Answer<Option<Unsent>> {
    let row = sqlx::query(
        "SELECT address, sealed_token, expires_at FROM magic_links WHERE id = $1 AND sealed_token IS NOT NULL AND expires_at > $2",
    )
    .bind(id.uuid())
    .bind(now.to_sqlx())
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let address = row.try_get::<String, _>("address")?;
    Ok(Some(Unsent {
        address: address.parse().map_err(|_| anyhow::anyhow!("a stored address is none"))?,
        sealed_token: row.try_get("sealed_token")?,
        expires_at: row.try_get::<SqlTimestamp, _>("expires_at")?.to_jiff(),
    }))
}

/// Forgets a link's token: it was sent, or never will be.
pub(crate) async fn forget_token(tx: &mut Tx, id: MagicLinkId) -> Answer<()> {
    sqlx::query("UPDATE magic_links SET sealed_token = NULL WHERE id = $1").bind(id.uuid()).execute(tx.conn()).await?;
    Ok(())
}

/// How many links to this address have not ended; who asks is alone with the address until the transaction ends.
pub(crate) async fn links_to(tx: &mut Tx, address: &EmailAddress) -> Answer<i64> {
    lock_source(tx, address.as_str()).await?;
    Ok(sqlx::query_scalar("SELECT count(*) FROM magic_links WHERE address = $1")
        .bind(address.as_str())
        .fetch_one(tx.conn())
        .await?)
}

/// A link that somebody opened.
pub(crate) struct Taken {
    pub(crate) address: EmailAddress,
    pub(crate) return_to: String,
    pub(crate) expires_at: Timestamp,
}

/// Takes a link out, and the others to its address: who used one needs no other.
pub(crate) async fn take_link(tx: &mut Tx, digest: &str) -> Answer<Option<Taken>> {
    let row = sqlx::query("DELETE FROM magic_links WHERE digest = $1 RETURNING address, return_to, expires_at")
        .bind(digest)
        .fetch_optional(tx.conn())
        .await?;
    let Some(row) = row else { return Ok(None) };
    let address: String = row.try_get("address")?;
    sqlx::query("DELETE FROM magic_links WHERE address = $1").bind(&address).execute(tx.conn()).await?;
    Ok(Some(Taken {
        address: address.parse().map_err(|_| anyhow::anyhow!("a stored address is none"))?,
        return_to: row.try_get("return_to")?,
        expires_at: row.try_get::<SqlTimestamp, _>("expires_at")?.to_jiff(),
    }))
}

/// Forgets what was not used in time.
pub(crate) async fn delete_expired(db: &Db, now: Timestamp) -> Answer<()> {
    for statement in
        ["DELETE FROM sign_in_attempts WHERE expires_at <= $1", "DELETE FROM magic_links WHERE expires_at <= $1"]
    {
        sqlx::query(statement).bind(now.to_sqlx()).execute(db.pool()).await?;
    }
    Ok(())
}

fn user(id: Option<Uuid>) -> Option<UserId> {
    id.map(UserId::from_uuid)
}

/// Whose address this is.
pub(crate) async fn user_of_address(tx: &mut Tx, address: &EmailAddress) -> Answer<Option<UserId>> {
    let id = sqlx::query_scalar("SELECT user_id FROM user_emails WHERE address = $1")
        .bind(address.as_str())
        .fetch_optional(tx.conn())
        .await?;
    Ok(user(id))
}

/// The same in a transaction; two sign-ins with one address come one after the other.
pub(crate) async fn lock_user_of_address(tx: &mut Tx, address: &EmailAddress) -> Answer<Option<UserId>> {
    sqlx::query("SELECT pg_advisory_xact_lock(7305724, hashtext($1))")
        .bind(address.as_str())
        .execute(tx.conn())
        .await?;
    user_of_address(tx, address).await
}

/// Notes an address that somebody proved; `false` when it is somebody's already.
pub(crate) async fn insert_address(tx: &mut Tx, id: UserId, address: &EmailAddress, now: Timestamp) -> Answer<bool> {
    let done = sqlx::query(
        "INSERT INTO user_emails (address, user_id, verified_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(address.as_str())
    .bind(id.uuid())
    .bind(now.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Who somebody at a provider is here, and that they signed in.
pub(crate) async fn lock_user_of_identity(
    tx: &mut Tx,
    issuer: &str,
    subject: &str,
    now: Timestamp,
) -> Answer<Option<UserId>> {
    sqlx::query("SELECT pg_advisory_xact_lock(7305725, hashtext($1))")
        .bind(format!("{issuer} {subject}"))
        .execute(tx.conn())
        .await?;
    let id = sqlx::query_scalar(
        "UPDATE identities SET last_used_at = $3 WHERE issuer = $1 AND subject = $2 RETURNING user_id",
    )
    .bind(issuer)
    .bind(subject)
    .bind(now.to_sqlx())
    .fetch_optional(tx.conn())
    .await?;
    Ok(user(id))
}

pub(crate) async fn insert_identity(
    tx: &mut Tx,
    id: UserId,
    issuer: &str,
    subject: &str,
    now: Timestamp,
) -> Answer<()> {
    sqlx::query(
        "INSERT INTO identities (issuer, subject, user_id, created_at, last_used_at) VALUES ($1, $2, $3, $4, $4)",
    )
    .bind(issuer)
    .bind(subject)
    .bind(id.uuid())
    .bind(now.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The org of this name.
pub(crate) async fn system_org(tx: &mut Tx, slug: &Slug) -> Answer<Option<OrgId>> {
    let id: Option<Uuid> =
        sqlx::query_scalar("SELECT system_org_by_slug($1)").bind(slug.as_str()).fetch_one(tx.conn()).await?;
    Ok(id.map(OrgId::from_uuid))
}

/// Makes somebody a member of this transaction's org; `false` when they are one, whose role stays.
pub(crate) async fn join(tx: &mut Tx, id: UserId, role: Role) -> Answer<bool> {
    let done = sqlx::query(
        "INSERT INTO memberships (org_id, user_id, role) VALUES (current_org(), $1, $2) ON CONFLICT DO NOTHING",
    )
    .bind(id.uuid())
    .bind(role.as_str())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}
