//! Rows of sessions.

use super::Method;
use crate::accounts::{self, Credential, CredentialId, Identity};
use crate::platform::db::{Db, Tx};
use crate::platform::fault::Answer;
use crate::providers::identity::SignedOut;
use envforge_api::http::sign_in::LoginSession;
use envforge_core::id::{Id as _, LoginSessionId, UserId};
use envforge_core::login::{IDLE, SEEN_EVERY, session_end};
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

/// Most sessions of one user; the one unused longest gives way.
const SESSIONS_MAX: i64 = 50;

/// A session to store.
pub(crate) struct NewSession<'a> {
    pub(crate) id: LoginSessionId,
    pub(crate) user: UserId,
    pub(crate) digest: String,
    pub(crate) method: Method<'a>,
    pub(crate) user_agent: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// A session that was ended.
pub(crate) struct Ended {
    pub(crate) id: LoginSessionId,
    pub(crate) user: UserId,
    pub(crate) provider: Option<String>,
}

fn time(row: &PgRow, column: &str) -> Result<Timestamp, sqlx::Error> {
    Ok(row.try_get::<SqlTimestamp, _>(column)?.to_jiff())
}

fn ended(row: &PgRow) -> Result<Ended, sqlx::Error> {
    Ok(Ended {
        id: LoginSessionId::from_uuid(row.try_get("id")?),
        user: UserId::from_uuid(row.try_get("user_id")?),
        provider: row.try_get("provider")?,
    })
}

pub(crate) async fn insert(tx: &mut Tx, new: &NewSession<'_>) -> Answer<()> {
    sqlx::query(
        "DELETE FROM login_sessions WHERE id IN ( \
           SELECT id FROM login_sessions WHERE user_id = $1 ORDER BY revoked_at IS NULL DESC, last_seen_at DESC OFFSET $2)",
    )
    .bind(new.user.uuid())
    .bind(SESSIONS_MAX - 1)
    .execute(tx.conn())
    .await?;
    let (provider, issuer, subject, session, key) = match new.method {
        Method::Provider { name, issuer, subject, session, .. } => {
            (Some(name), Some(issuer), Some(subject), session, None)
        }
        Method::Mail => (None, None, None, None, None),
        Method::Key(id) => (None, None, None, None, Some(id.uuid())),
    };
    sqlx::query(
        "INSERT INTO login_sessions (id, user_id, digest, method, provider, issuer, subject, provider_session, key_id, user_agent, created_at, last_seen_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12)",
    )
    .bind(new.id.uuid())
    .bind(new.user.uuid())
    .bind(&new.digest)
    .bind(new.method.as_str())
    .bind(provider)
    .bind(issuer)
    .bind(subject)
    .bind(session)
    .bind(key)
    .bind(new.user_agent)
    .bind(new.now.to_sqlx())
    .bind(new.expires_at.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The user and memberships behind a session that has not ended, and that it was used, noted in the same statement.
pub(crate) async fn system_authenticate(db: &Db, digest: &str, now: Timestamp) -> Answer<Option<Identity>> {
    let rows = sqlx::query(
        "WITH used AS ( \
           UPDATE login_sessions SET last_seen_at = $2 \
           WHERE digest = $1 AND revoked_at IS NULL AND expires_at > $2 AND last_seen_at > $3 AND last_seen_at <= $4 \
         ) SELECT * FROM system_authenticate_session($1)",
    )
    .bind(digest)
    .bind(now.to_sqlx())
    .bind(now.saturating_sub(IDLE).unwrap_or(Timestamp::MIN).to_sqlx())
    .bind(now.saturating_sub(SEEN_EVERY).unwrap_or(Timestamp::MIN).to_sqlx())
    .fetch_all(db.pool())
    .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    if session_end(time(first, "last_seen_at")?, time(first, "expires_at")?) <= now {
        return Ok(None);
    }
    let user = UserId::from_uuid(first.try_get("user_id")?);
    Ok(Some(Identity {
        credential: Credential::Session { id: LoginSessionId::from_uuid(first.try_get("session_id")?) },
        user,
        name: first.try_get("user_name")?,
        is_operator: first.try_get("is_operator")?,
        orgs: accounts::store::memberships(&rows, user)?,
    }))
}

/// Whether a credential holds at `now`.
pub(crate) async fn is_live(db: &Db, credential: CredentialId, now: Timestamp) -> Answer<bool> {
    let statement = match credential {
        CredentialId::Key(_) => {
            "SELECT EXISTS (SELECT 1 FROM api_keys WHERE id = $1 AND revoked_at IS NULL AND coalesce(expires_at > $2, true))"
        }
        CredentialId::Session(_) => {
            "SELECT EXISTS (SELECT 1 FROM login_sessions s LEFT JOIN api_keys k ON k.id = s.key_id \
             WHERE s.id = $1 AND s.revoked_at IS NULL AND s.expires_at > $2 AND k.revoked_at IS NULL)"
        }
    };
    Ok(sqlx::query_scalar(statement).bind(credential.uuid()).bind(now.to_sqlx()).fetch_one(db.pool()).await?)
}

/// When a session ends if it is not used again; `None` when it has ended.
pub(crate) async fn ends_at(tx: &mut Tx, id: LoginSessionId, now: Timestamp) -> Answer<Option<Timestamp>> {
    let row = sqlx::query(
        "SELECT s.last_seen_at, s.expires_at FROM login_sessions s LEFT JOIN api_keys k ON k.id = s.key_id \
         WHERE s.id = $1 AND s.revoked_at IS NULL AND k.revoked_at IS NULL",
    )
    .bind(id.uuid())
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let ends_at = session_end(time(&row, "last_seen_at")?, time(&row, "expires_at")?);
    Ok((ends_at > now).then_some(ends_at))
}

pub(crate) async fn list(
    db: &Db,
    user: UserId,
    current: Option<LoginSessionId>,
    now: Timestamp,
) -> Answer<Vec<LoginSession>> {
    let rows = sqlx::query(
        "SELECT s.* FROM login_sessions s LEFT JOIN api_keys k ON k.id = s.key_id \
         WHERE s.user_id = $1 AND s.revoked_at IS NULL AND k.revoked_at IS NULL ORDER BY s.last_seen_at DESC, s.id DESC",
    )
    .bind(user.uuid())
    .fetch_all(db.pool())
    .await?;
    let mut sessions = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = LoginSessionId::from_uuid(row.try_get("id")?);
        let last_seen_at = time(row, "last_seen_at")?;
        let ends_at = session_end(last_seen_at, time(row, "expires_at")?);
        if ends_at <= now {
            continue;
        }
        sessions.push(LoginSession {
            id,
            method: row.try_get("method")?,
            provider: row.try_get("provider")?,
            user_agent: row.try_get("user_agent")?,
            created_at: time(row, "created_at")?,
            last_seen_at,
            ends_at,
            is_current: Some(id) == current,
        });
    }
    Ok(sessions)
}

/// Ends a session of this user; `None` when there is none that lives.
pub(crate) async fn revoke(tx: &mut Tx, id: LoginSessionId, user: UserId, now: Timestamp) -> Answer<Option<Ended>> {
    let row = sqlx::query(
        "UPDATE login_sessions SET revoked_at = $3 WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL \
         RETURNING id, user_id, provider",
    )
    .bind(id.uuid())
    .bind(user.uuid())
    .bind(now.to_sqlx())
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.as_ref().map(ended).transpose()?)
}

pub(crate) async fn revoke_by_digest(tx: &mut Tx, digest: &str, now: Timestamp) -> Answer<Option<Ended>> {
    let row = sqlx::query(
        "UPDATE login_sessions SET revoked_at = $2 WHERE digest = $1 AND revoked_at IS NULL RETURNING id, user_id, provider",
    )
    .bind(digest)
    .bind(now.to_sqlx())
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.as_ref().map(ended).transpose()?)
}

/// Ends the sessions somebody opened by this provider: the one it names, or all.
pub(crate) async fn revoke_by_identity(tx: &mut Tx, who: &SignedOut, now: Timestamp) -> Answer<Vec<Ended>> {
    let rows = sqlx::query(
        "UPDATE login_sessions SET revoked_at = $4 \
         WHERE issuer = $1 AND subject = $2 AND ($3::text IS NULL OR provider_session = $3) AND revoked_at IS NULL \
         RETURNING id, user_id, provider",
    )
    .bind(&who.issuer)
    .bind(&who.subject)
    .bind(&who.session)
    .bind(now.to_sqlx())
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.iter().map(ended).collect::<Result<_, _>>()?)
}

/// A session whose provider is to be asked again.
pub(crate) struct Due {
    pub(crate) session: LoginSessionId,
    pub(crate) user: UserId,
    pub(crate) provider: String,
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) sealed: Vec<u8>,
    /// When it last vouched for the person.
    pub(crate) answered_at: Timestamp,
}

/// Keeps what a provider is asked with, the next time at `due_at`.
pub(crate) async fn set_standing(
    tx: &mut Tx,
    session: LoginSessionId,
    sealed: &[u8],
    answered_at: Timestamp,
    due_at: Timestamp,
) -> Answer<()> {
    sqlx::query(
        "INSERT INTO session_standings (session_id, sealed, answered_at, due_at) \
         SELECT id, $2, $3, $4 FROM login_sessions WHERE id = $1 AND revoked_at IS NULL \
         ON CONFLICT (session_id) DO UPDATE SET sealed = $2, answered_at = $3, due_at = $4",
    )
    .bind(session.uuid())
    .bind(sealed)
    .bind(answered_at.to_sqlx())
    .bind(due_at.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Takes up to `most` sessions that are due; nobody else gets them before `again_at`.
pub(crate) async fn take_due(db: &Db, now: Timestamp, again_at: Timestamp, most: i64) -> Answer<Vec<Due>> {
    let rows = sqlx::query(
        "UPDATE session_standings t SET due_at = $2 FROM login_sessions s WHERE s.id = t.session_id AND t.session_id IN ( \
           SELECT session_id FROM session_standings WHERE due_at <= $1 ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) \
         RETURNING t.session_id, t.sealed, t.answered_at, s.user_id, s.provider, s.issuer, s.subject",
    )
    .bind(now.to_sqlx())
    .bind(again_at.to_sqlx())
    .bind(most)
    .fetch_all(db.pool())
    .await?;
    let read = |row: &PgRow| {
        Ok(Due {
            session: LoginSessionId::from_uuid(row.try_get("session_id")?),
            user: UserId::from_uuid(row.try_get("user_id")?),
            provider: row.try_get("provider")?,
            issuer: row.try_get("issuer")?,
            subject: row.try_get("subject")?,
            sealed: row.try_get("sealed")?,
            answered_at: time(row, "answered_at")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Deletes what a session's provider is asked with.
pub(crate) async fn forget_standing(tx: &mut Tx, session: LoginSessionId) -> Answer<()> {
    sqlx::query("DELETE FROM session_standings WHERE session_id = $1").bind(session.uuid()).execute(tx.conn()).await?;
    Ok(())
}

/// Deletes sessions that ended before `before`; what they did is in the ledger.
pub(crate) async fn delete_ended(db: &Db, before: Timestamp) -> Answer<()> {
    sqlx::query("DELETE FROM login_sessions WHERE revoked_at < $1 OR expires_at < $1 OR last_seen_at < $2")
        .bind(before.to_sqlx())
        .bind(before.saturating_sub(IDLE).unwrap_or(Timestamp::MIN).to_sqlx())
        .execute(db.pool())
        .await?;
    Ok(())
}
