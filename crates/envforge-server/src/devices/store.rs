//! Rows of machines that wait.

use crate::platform::db::{Db, Tx};
use crate::platform::fault::Answer;
use envforge_core::id::{DeviceId, Id as _, UserId};
use envforge_core::login::{Decision, DeviceGrant, UserCode};
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

/// A machine that waits.
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) machine: String,
    pub(crate) grant: DeviceGrant,
    /// Who decided.
    pub(crate) user: Option<UserId>,
    /// PKCE's challenge, in the loopback flow.
    pub(crate) challenge: Option<String>,
}

/// What its program and its person show.
pub(crate) struct Shown<'a> {
    pub(crate) digest: String,
    pub(crate) user_code: Option<&'a UserCode>,
    pub(crate) source: &'a str,
}

const fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Approved => "approved",
        Decision::Denied => "denied",
    }
}

fn device(row: &PgRow) -> Result<Device, sqlx::Error> {
    let decision = match row.try_get::<Option<&str>, _>("decision")? {
        Some("approved") => Some(Decision::Approved),
        Some(_) => Some(Decision::Denied),
        None => None,
    };
    Ok(Device {
        id: DeviceId::from_uuid(row.try_get("id")?),
        machine: row.try_get("machine")?,
        grant: DeviceGrant {
            expires_at: row.try_get::<SqlTimestamp, _>("expires_at")?.to_jiff(),
            interval: row.try_get::<i32, _>("interval_s")?.unsigned_abs(),
            polled_at: row.try_get::<Option<SqlTimestamp>, _>("polled_at")?.map(SqlTimestamp::to_jiff),
            decision,
        },
        user: row.try_get::<Option<Uuid>, _>("user_id")?.map(UserId::from_uuid),
        challenge: row.try_get("challenge")?,
    })
}

/// How many machines of this source wait, one source counted at a time.
pub(crate) async fn waiting_of(tx: &mut Tx, source: &str) -> Answer<i64> {
    sqlx::query("SELECT pg_advisory_xact_lock(7305726, hashtext($1))").bind(source).execute(tx.conn()).await?;
    Ok(sqlx::query_scalar("SELECT count(*) FROM device_codes WHERE source = $1")
        .bind(source)
        .fetch_one(tx.conn())
        .await?)
}

/// Stores a machine; `false` when its user code is another's already.
pub(crate) async fn insert(tx: &mut Tx, device: &Device, shown: &Shown<'_>) -> Answer<bool> {
    let done = sqlx::query(
        "INSERT INTO device_codes (id, digest, user_code, challenge, machine, source, expires_at, interval_s, decision, user_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (user_code) DO NOTHING",
    )
    .bind(device.id.uuid())
    .bind(&shown.digest)
    .bind(shown.user_code.map(UserCode::as_str))
    .bind(&device.challenge)
    .bind(&device.machine)
    .bind(shown.source)
    .bind(device.grant.expires_at.to_sqlx())
    .bind(device.grant.interval.cast_signed())
    .bind(device.grant.decision.map(word))
    .bind(device.user.map(envforge_core::id::Id::uuid))
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The machine that shows this, locked.
pub(crate) async fn lock_by_digest(tx: &mut Tx, digest: &str) -> Answer<Option<Device>> {
    let row = sqlx::query("SELECT * FROM device_codes WHERE digest = $1 FOR UPDATE")
        .bind(digest)
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.as_ref().map(device).transpose()?)
}

/// The machine with this user code, locked.
pub(crate) async fn lock_by_user_code(tx: &mut Tx, code: &UserCode) -> Answer<Option<Device>> {
    let row = sqlx::query("SELECT * FROM device_codes WHERE user_code = $1 FOR UPDATE")
        .bind(code.as_str())
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.as_ref().map(device).transpose()?)
}

/// Keeps what changed.
pub(crate) async fn update(tx: &mut Tx, device: &Device) -> Answer<()> {
    sqlx::query("UPDATE device_codes SET interval_s = $2, polled_at = $3, decision = $4, user_id = $5 WHERE id = $1")
        .bind(device.id.uuid())
        .bind(device.grant.interval.cast_signed())
        .bind(device.grant.polled_at.map(jiff_sqlx::ToSqlx::to_sqlx))
        .bind(device.grant.decision.map(word))
        .bind(device.user.map(envforge_core::id::Id::uuid))
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Forgets a machine.
pub(crate) async fn delete(tx: &mut Tx, id: DeviceId) -> Answer<()> {
    sqlx::query("DELETE FROM device_codes WHERE id = $1").bind(id.uuid()).execute(tx.conn()).await?;
    Ok(())
}

/// Forgets machines that waited too long.
pub(crate) async fn delete_expired(db: &Db, now: Timestamp) -> Answer<()> {
    sqlx::query("DELETE FROM device_codes WHERE expires_at <= $1").bind(now.to_sqlx()).execute(db.pool()).await?;
    Ok(())
}
