//! Ledger rows.

use crate::platform::db::{Db, Tx};
use crate::platform::fault::Answer;
use envforge_core::id::{EventId, Id as _, OrgId, WorkspaceId};
use envforge_core::ledger::{Checkpoint, Event, GENESIS, Seal, SealedEvent};
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

fn event(row: &PgRow) -> Result<Event, sqlx::Error> {
    Ok(Event {
        id: EventId::from_uuid(row.try_get("id")?),
        org: row.try_get::<Option<Uuid>, _>("org_id")?.map(OrgId::from_uuid),
        at: row.try_get::<SqlTimestamp, _>("at")?.to_jiff(),
        actor: row.try_get("actor")?,
        verb: row.try_get("verb")?,
        subject: row.try_get("subject")?,
        cause: row.try_get("cause")?,
        details: row.try_get("details")?,
    })
}

/// Appends an event.
pub(crate) async fn insert(tx: &mut Tx, event: &Event) -> Answer<()> {
    sqlx::query(
        "INSERT INTO ledger_events (id, org_id, at, actor, verb, subject, cause, details) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(event.id.uuid())
    .bind(event.org.map(envforge_core::id::Id::uuid))
    .bind(event.at.to_sqlx())
    .bind(&event.actor)
    .bind(&event.verb)
    .bind(&event.subject)
    .bind(&event.cause)
    .bind(&event.details)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Chains that have events without a seal.
pub(crate) async fn system_unsealed_chains(db: &Db) -> Answer<Vec<Option<OrgId>>> {
    let orgs: Vec<Option<Uuid>> = sqlx::query_scalar("SELECT system_unsealed_chains()").fetch_all(db.pool()).await?;
    Ok(orgs.into_iter().map(|org| org.map(OrgId::from_uuid)).collect())
}

/// Takes the right to seal this transaction's chain until the transaction ends; `false` when another has it.
pub(crate) async fn lock_chain(tx: &mut Tx) -> Answer<bool> {
    let key = tx.org().map_or(0, |org| org.uuid().as_u64_pair().1.cast_signed());
    Ok(sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)").bind(key).fetch_one(tx.conn()).await?)
}

/// The head of this transaction's chain: position and hash.
pub(crate) async fn head(tx: &mut Tx) -> Answer<(u64, String)> {
    let row = sqlx::query("SELECT position, hash FROM ledger_seals ORDER BY position DESC LIMIT 1")
        .fetch_optional(tx.conn())
        .await?;
    match row {
        Some(row) => Ok((row.try_get::<i64, _>(0)?.cast_unsigned(), row.try_get(1)?)),
        None => Ok((0, GENESIS.to_owned())),
    }
}

/// Events of this transaction's chain without a seal, in the order of their writing, at most `limit`.
pub(crate) async fn unsealed(tx: &mut Tx, limit: i64) -> Answer<Vec<Event>> {
    let rows = sqlx::query(
        "SELECT e.* FROM ledger_events e LEFT JOIN ledger_seals s ON s.event_id = e.id WHERE s.event_id IS NULL ORDER BY e.seq LIMIT $1",
    )
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.iter().map(event).collect::<Result<_, _>>()?)
}

/// Adds seals.
pub(crate) async fn insert_seals(tx: &mut Tx, seals: &[(EventId, Seal)]) -> Answer<()> {
    let org = tx.org().map(envforge_core::id::Id::uuid);
    let ids: Vec<Uuid> = seals.iter().map(|(id, _)| id.uuid()).collect();
    let positions: Vec<i64> = seals.iter().map(|(_, seal)| seal.position.cast_signed()).collect();
    let hashes: Vec<String> = seals.iter().map(|(_, seal)| seal.hash.clone()).collect();
    sqlx::query(
        "INSERT INTO ledger_seals (event_id, org_id, position, hash) SELECT id, $1, position, hash FROM unnest($2::uuid[], $3::bigint[], $4::text[]) AS t (id, position, hash)",
    )
    .bind(org)
    .bind(ids)
    .bind(positions)
    .bind(hashes)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Keeps a signed checkpoint.
pub(crate) async fn insert_checkpoint(tx: &mut Tx, checkpoint: &Checkpoint) -> Answer<()> {
    sqlx::query(
        "INSERT INTO ledger_checkpoints (org_id, position, hash, at, key, signature) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    )
    .bind(checkpoint.org.map(envforge_core::id::Id::uuid))
    .bind(checkpoint.position.cast_signed())
    .bind(&checkpoint.hash)
    .bind(checkpoint.at.to_sqlx())
    .bind(&checkpoint.key)
    .bind(&checkpoint.signature)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// All sealed events of this transaction's chain, in order.
pub(crate) async fn sealed(tx: &mut Tx) -> Answer<Vec<SealedEvent>> {
    let rows = sqlx::query(
        "SELECT e.*, s.position, s.hash FROM ledger_seals s JOIN ledger_events e ON e.id = s.event_id ORDER BY s.position",
    )
    .fetch_all(tx.conn())
    .await?;
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        let seal = Seal { position: row.try_get::<i64, _>("position")?.cast_unsigned(), hash: row.try_get("hash")? };
        events.push(SealedEvent { event: event(row)?, seal });
    }
    Ok(events)
}

/// Details of a workspace's `window.opened` and `window.closed` events, in the order of their writing.
pub(crate) async fn window_facts(tx: &mut Tx, workspace: WorkspaceId) -> Answer<Vec<Value>> {
    Ok(sqlx::query_scalar(
        "SELECT details FROM ledger_events WHERE org_id = current_org() AND subject = $1 AND verb IN ('window.opened', 'window.closed') ORDER BY seq",
    )
    .bind(workspace.to_string())
    .fetch_all(tx.conn())
    .await?)
}

/// The same for every workspace of the org, each with its id.
pub(crate) async fn org_window_facts(tx: &mut Tx) -> Answer<Vec<(String, Value)>> {
    Ok(sqlx::query_as(
        "SELECT subject, details FROM ledger_events WHERE org_id = current_org() AND verb IN ('window.opened', 'window.closed') ORDER BY seq",
    )
    .fetch_all(tx.conn())
    .await?)
}
