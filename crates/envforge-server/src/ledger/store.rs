//! Ledger rows. Statements name their chain themselves: the policies' own condition can't use an index.

use crate::platform::db::{Db, Tx};
use crate::platform::fault::Answer;
use envforge_api::http::ledger::{LedgerBreak, LedgerOrder, ListedEvent};
use envforge_core::id::{EventId, Id as _, LinkId, OrgId, UsageSessionId, WorkspaceId};
use envforge_core::ledger::{Anchor, Checkpoint, Event, Hash, Seal, SealedEvent, whole_milliseconds};
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row as _};
use uuid::Uuid;

/// The rows of this transaction's chain, by the index of their table.
macro_rules! ours {
    ($table:literal) => {
        concat!("coalesce(", $table, ".org_id, '00000000-0000-0000-0000-000000000000') = current_chain()")
    };
}

type Row<T> = Result<T, sqlx::Error>;

fn decoded<T, E: std::error::Error + Send + Sync + 'static>(result: Result<T, E>) -> Row<T> {
    result.map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

fn org(row: &PgRow) -> Row<Option<OrgId>> {
    Ok(row.try_get::<Option<Uuid>, _>("org_id")?.map(OrgId::from_uuid))
}

fn at(row: &PgRow, column: &str) -> Row<Timestamp> {
    Ok(row.try_get::<SqlTimestamp, _>(column)?.to_jiff())
}

fn event(row: &PgRow) -> Row<Event> {
    Ok(Event {
        id: EventId::from_uuid(row.try_get("id")?),
        org: org(row)?,
        at: at(row, "at")?,
        actor: row.try_get("actor")?,
        verb: row.try_get("verb")?,
        subject: row.try_get("subject")?,
        cause: row.try_get("cause")?,
        details: row.try_get("details")?,
    })
}

fn hash(row: &PgRow, column: &str) -> Row<Hash> {
    decoded(row.try_get::<&str, _>(column)?.parse())
}

fn seal(row: &PgRow) -> Row<Seal> {
    Ok(Seal { position: row.try_get::<i64, _>("position")?.cast_unsigned(), hash: hash(row, "hash")? })
}

fn checkpoint(row: &PgRow) -> Row<Checkpoint> {
    let Seal { position, hash } = seal(row)?;
    let at = whole_milliseconds(at(row, "at")?);
    Ok(Checkpoint {
        org: org(row)?,
        position,
        hash,
        at,
        key: row.try_get("key")?,
        signature: row.try_get("signature")?,
    })
}

/// Appends an event, and notes that it has no place yet.
pub(crate) async fn insert(tx: &mut Tx, event: &Event) -> Answer<()> {
    sqlx::query(
        "WITH event AS (INSERT INTO ledger_events (id, org_id, at, actor, verb, subject, cause, details) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING seq) \
         INSERT INTO ledger_unsealed (chain, seq) SELECT current_chain(), seq FROM event",
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

/// Whether there is such an event since then. One who asks and then writes is alone until the transaction ends.
pub(crate) async fn was_written(tx: &mut Tx, actor: &str, verb: &str, subject: &str, since: Timestamp) -> Answer<bool> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0))")
        .bind(verb)
        .bind(subject)
        .execute(tx.conn())
        .await?;
    let found = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM ledger_events WHERE org_id IS NOT DISTINCT FROM current_org() AND subject = $3 AND verb = $2 AND actor = $1 AND at > $4)",
    )
    .bind(actor)
    .bind(verb)
    .bind(subject)
    .bind(since.to_sqlx())
    .fetch_one(tx.conn())
    .await?;
    Ok(found)
}

/// Chains that have events without a seal.
pub(crate) async fn system_unsealed_chains(db: &Db) -> Answer<Vec<Option<OrgId>>> {
    let orgs: Vec<Option<Uuid>> = sqlx::query_scalar("SELECT system_unsealed_chains()").fetch_all(db.pool()).await?;
    Ok(orgs.into_iter().map(|org| org.map(OrgId::from_uuid)).collect())
}

/// When the oldest event of this transaction's chain was written that has no seal.
pub(crate) async fn oldest_unsealed(tx: &mut Tx) -> Answer<Option<Timestamp>> {
    let oldest: Option<SqlTimestamp> = sqlx::query_scalar(
        "SELECT min(e.at) FROM ledger_unsealed u JOIN ledger_events e ON e.seq = u.seq WHERE u.chain = current_chain()",
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(oldest.map(SqlTimestamp::to_jiff))
}

/// Every chain: the orgs', and the installation's.
pub(crate) async fn system_chains(db: &Db) -> Answer<Vec<Option<OrgId>>> {
    let orgs: Vec<Uuid> = sqlx::query_scalar("SELECT system_org_ids()").fetch_all(db.pool()).await?;
    Ok(orgs.into_iter().map(|org| Some(OrgId::from_uuid(org))).chain([None]).collect())
}

/// Takes the right to seal or prune this transaction's chain until the transaction ends; `false` when another has it.
pub(crate) async fn lock_chain(tx: &mut Tx) -> Answer<bool> {
    let key = tx.org().map_or(0, |org| org.uuid().as_u64_pair().1.cast_signed());
    Ok(sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)").bind(key).fetch_one(tx.conn()).await?)
}

/// The last seal of this transaction's chain, and the checkpoint of its position, as of one moment.
pub(crate) async fn head(tx: &mut Tx) -> Answer<(Seal, Option<Checkpoint>)> {
    let row = sqlx::query(concat!(
        "SELECT s.position AS head, s.hash AS head_hash, c.* FROM \
         (SELECT position, hash FROM ledger_seals WHERE ",
        ours!("ledger_seals"),
        " ORDER BY position DESC LIMIT 1) s LEFT JOIN ledger_checkpoints c ON c.position = s.position AND ",
        ours!("c")
    ))
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else { return Ok((Seal { position: 0, hash: Hash::GENESIS }, None)) };
    let head = Seal { position: row.try_get::<i64, _>("head")?.cast_unsigned(), hash: hash(&row, "head_hash")? };
    let signed = row.try_get::<Option<i64>, _>("position")?.map(|_| checkpoint(&row)).transpose()?;
    Ok((head, signed))
}

/// The hash at a position, if it is there.
pub(crate) async fn hash_at(tx: &mut Tx, position: u64) -> Answer<Option<Hash>> {
    let row = sqlx::query(concat!("SELECT hash FROM ledger_seals WHERE position = $1 AND ", ours!("ledger_seals")))
        .bind(position.cast_signed())
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.map(|row| hash(&row, "hash")).transpose()?)
}

/// Events of this transaction's chain without a seal, each with its number in the order of writing, at most `limit`.
pub(crate) async fn unsealed(tx: &mut Tx, limit: i64) -> Answer<(Vec<i64>, Vec<Event>)> {
    let rows = sqlx::query(
        "SELECT e.* FROM ledger_unsealed u JOIN ledger_events e ON e.seq = u.seq WHERE u.chain = current_chain() ORDER BY u.seq LIMIT $1",
    )
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;
    let numbers = rows.iter().map(|row| row.try_get("seq")).collect::<Row<_>>()?;
    Ok((numbers, rows.iter().map(event).collect::<Row<_>>()?))
}

/// Gives events their places.
pub(crate) async fn insert_seals(tx: &mut Tx, seals: &[(EventId, Seal)], numbers: &[i64]) -> Answer<()> {
    let org = tx.org().map(envforge_core::id::Id::uuid);
    let ids: Vec<Uuid> = seals.iter().map(|(id, _)| id.uuid()).collect();
    let positions: Vec<i64> = seals.iter().map(|(_, seal)| seal.position.cast_signed()).collect();
    let hashes: Vec<String> = seals.iter().map(|(_, seal)| seal.hash.to_string()).collect();
    sqlx::query(
        "INSERT INTO ledger_seals (event_id, org_id, position, hash) SELECT id, $1, position, hash FROM unnest($2::uuid[], $3::bigint[], $4::text[]) AS t (id, position, hash)",
    )
    .bind(org)
    .bind(ids)
    .bind(positions)
    .bind(hashes)
    .execute(tx.conn())
    .await?;
    sqlx::query("DELETE FROM ledger_unsealed WHERE chain = current_chain() AND seq = ANY ($1)")
        .bind(numbers)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Keeps a signed checkpoint.
pub(crate) async fn insert_checkpoint(tx: &mut Tx, checkpoint: &Checkpoint) -> Answer<()> {
    sqlx::query(
        "INSERT INTO ledger_checkpoints (org_id, position, hash, at, key, signature) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(checkpoint.org.map(envforge_core::id::Id::uuid))
    .bind(checkpoint.position.cast_signed())
    .bind(checkpoint.hash.to_string())
    .bind(checkpoint.at.to_sqlx())
    .bind(&checkpoint.key)
    .bind(&checkpoint.signature)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Sealed events of this transaction's chain after one position up to another, in order, at most `limit`.
pub(crate) async fn sealed(tx: &mut Tx, after: u64, upto: u64, limit: i64) -> Answer<Vec<SealedEvent>> {
    let rows = sqlx::query(concat!(
        "SELECT e.*, s.position, s.hash FROM ledger_seals s JOIN ledger_events e ON e.id = s.event_id \
         WHERE s.position > $1 AND s.position <= $2 AND ",
        ours!("s"),
        " ORDER BY s.position LIMIT $3"
    ))
    .bind(after.cast_signed())
    .bind(upto.min(i64::MAX.cast_unsigned()).cast_signed())
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.iter().map(|row| Ok(SealedEvent { event: event(row)?, seal: seal(row)? })).collect::<Row<_>>()?)
}

/// Checkpoints of this transaction's chain after one position up to another, in order.
pub(crate) async fn checkpoints(tx: &mut Tx, after: u64, upto: u64) -> Answer<Vec<Checkpoint>> {
    let rows = sqlx::query(concat!(
        "SELECT * FROM ledger_checkpoints c WHERE c.position > $1 AND c.position <= $2 AND ",
        ours!("c"),
        " ORDER BY c.position"
    ))
    .bind(after.cast_signed())
    .bind(upto.cast_signed())
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.iter().map(checkpoint).collect::<Row<_>>()?)
}

/// The newest anchor of this transaction's chain.
pub(crate) async fn anchor(tx: &mut Tx) -> Answer<Option<Anchor>> {
    let row =
        sqlx::query(concat!("SELECT * FROM ledger_anchors a WHERE ", ours!("a"), " ORDER BY a.position DESC LIMIT 1"))
            .fetch_optional(tx.conn())
            .await?;
    let Some(row) = row else { return Ok(None) };
    let Seal { position, hash: end } = seal(&row)?;
    Ok(Some(Anchor {
        org: org(&row)?,
        position,
        hash: end,
        before: at(&row, "before")?,
        kept: row.try_get::<i64, _>("kept")?.cast_unsigned(),
        kept_hash: hash(&row, "kept_hash")?,
        key: row.try_get("key")?,
        signature: row.try_get("signature")?,
    }))
}

/// Keeps an anchor and deletes what it stands for; returns how many events that were.
pub(crate) async fn prune(tx: &mut Tx, anchor: &Anchor) -> Answer<u64> {
    sqlx::query(
        "INSERT INTO ledger_anchors (org_id, position, hash, before, kept, kept_hash, key, signature) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(anchor.org.map(envforge_core::id::Id::uuid))
    .bind(anchor.position.cast_signed())
    .bind(anchor.hash.to_string())
    .bind(anchor.before.to_sqlx())
    .bind(anchor.kept.cast_signed())
    .bind(anchor.kept_hash.to_string())
    .bind(&anchor.key)
    .bind(&anchor.signature)
    .execute(tx.conn())
    .await?;
    let pruned: i64 = sqlx::query_scalar("SELECT system_prune_ledger($1)")
        .bind(anchor.position.cast_signed())
        .fetch_one(tx.conn())
        .await?;
    Ok(pruned.cast_unsigned())
}

/// How far this transaction's chain was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// The highest position verified.
    pub(crate) verified: Seal,
    /// When.
    pub(crate) verified_at: Timestamp,
    /// The round that is under way.
    pub(crate) round: Option<Round>,
    /// When the last round ended in which everything held.
    pub(crate) whole_at: Option<Timestamp>,
    /// What does not hold.
    pub(crate) broken: Option<LedgerBreak>,
}

/// Where a round over a whole chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Round {
    /// The last position read.
    pub(crate) position: u64,
    /// The hash there, or of the kept chain.
    pub(crate) hash: Hash,
    /// Among the kept events below the anchor: how many were read.
    pub(crate) kept: Option<u64>,
}

fn state_of(row: &PgRow) -> Row<State> {
    let unsigned = |column: &str| Row::Ok(row.try_get::<Option<i64>, _>(column)?.map(i64::cast_unsigned));
    let time = |column: &str| Row::Ok(row.try_get::<Option<SqlTimestamp>, _>(column)?.map(SqlTimestamp::to_jiff));
    let round = match unsigned("round_position")? {
        Some(position) => Some(Round { position, hash: hash(row, "round_hash")?, kept: unsigned("round_kept")? }),
        None => None,
    };
    let broken = match (unsigned("broken_position")?, time("broken_at")?) {
        (Some(position), Some(at)) => Some(LedgerBreak { position, reason: row.try_get("broken_reason")?, at }),
        _ => None,
    };
    let position = row.try_get::<i64, _>("verified_position")?.cast_unsigned();
    let verified = Seal { position, hash: hash(row, "verified_hash")? };
    Ok(State { verified, verified_at: at(row, "verified_at")?, round, whole_at: time("whole_at")?, broken })
}

/// The state of this transaction's chain, once it was looked at.
pub(crate) async fn state(tx: &mut Tx) -> Answer<Option<State>> {
    let row = sqlx::query(concat!("SELECT * FROM ledger_states WHERE ", ours!("ledger_states")))
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.as_ref().map(state_of).transpose()?)
}

/// The same, made if missing and held until the transaction ends; nothing while another holds it.
pub(crate) async fn lock_state(tx: &mut Tx, now: Timestamp) -> Answer<Option<State>> {
    sqlx::query(
        "INSERT INTO ledger_states (org_id, verified_position, verified_hash, verified_at) VALUES ($1, 0, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(tx.org().map(envforge_core::id::Id::uuid))
    .bind(Hash::GENESIS.to_string())
    .bind(now.to_sqlx())
    .execute(tx.conn())
    .await?;
    let row =
        sqlx::query(concat!("SELECT * FROM ledger_states WHERE ", ours!("ledger_states"), " FOR UPDATE SKIP LOCKED"))
            .fetch_optional(tx.conn())
            .await?;
    Ok(row.as_ref().map(state_of).transpose()?)
}

/// Keeps the state of this transaction's chain.
pub(crate) async fn put_state(tx: &mut Tx, state: &State) -> Answer<()> {
    let broken = state.broken.as_ref();
    let done = sqlx::query(concat!(
        "UPDATE ledger_states SET verified_position = $1, verified_hash = $2, verified_at = $3, round_position = $4, \
         round_hash = $5, round_kept = $6, whole_at = $7, broken_position = $8, broken_reason = $9, broken_at = $10 WHERE ",
        ours!("ledger_states")
    ))
    .bind(state.verified.position.cast_signed())
    .bind(state.verified.hash.to_string())
    .bind(state.verified_at.to_sqlx())
    .bind(state.round.map(|round| round.position.cast_signed()))
    .bind(state.round.map(|round| round.hash.to_string()))
    .bind(state.round.and_then(|round| round.kept).map(u64::cast_signed))
    .bind(state.whole_at.map(jiff_sqlx::ToSqlx::to_sqlx))
    .bind(broken.map(|broken| broken.position.cast_signed()))
    .bind(broken.map(|broken| &broken.reason))
    .bind(broken.map(|broken| broken.at.to_sqlx()))
    .execute(tx.conn())
    .await?;
    if done.rows_affected() != 1 {
        return Err(anyhow::anyhow!("the state of a chain is gone while it is held").into());
    }
    Ok(())
}

/// What to look for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter<'a> {
    pub(crate) actor: Option<&'a str>,
    pub(crate) verb: Option<&'a str>,
    /// What stands before a verb's dot.
    pub(crate) area: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    /// The last event of the page before.
    pub(crate) cursor: Option<(Timestamp, EventId)>,
    pub(crate) order: LedgerOrder,
}

/// Events of the org that fit, at most `limit`.
pub(crate) async fn search(tx: &mut Tx, filter: &Filter<'_>, limit: i64) -> Answer<Vec<ListedEvent>> {
    let mut query = QueryBuilder::<Postgres>::new(
        "SELECT e.*, s.position, s.hash FROM (SELECT * FROM ledger_events WHERE org_id = current_org()",
    );
    let texts = [
        (" AND actor = ", filter.actor),
        (" AND verb = ", filter.verb),
        (" AND area = ", filter.area),
        (" AND subject = ", filter.subject),
    ];
    for (condition, value) in texts {
        if let Some(value) = value {
            query.push(condition).push_bind(value.to_owned());
        }
    }
    for (condition, time) in [(" AND at >= ", filter.since), (" AND at < ", filter.until)] {
        if let Some(time) = time {
            query.push(condition).push_bind(time.to_sqlx());
        }
    }
    let (order, beyond) = match filter.order {
        LedgerOrder::Newest => ("at DESC, id DESC", " AND (at, id) < ("),
        LedgerOrder::Oldest => ("at, id", " AND (at, id) > ("),
    };
    if let Some((at, id)) = filter.cursor {
        query.push(beyond).push_bind(at.to_sqlx()).push(", ").push_bind(id.uuid()).push(")");
    }
    query.push(" ORDER BY ").push(order).push(" LIMIT ").push_bind(limit);
    query.push(") e LEFT JOIN ledger_seals s ON s.event_id = e.id ORDER BY ").push(order);
    let rows = query.build().fetch_all(tx.conn()).await?;
    let listed = |row: &PgRow| {
        let seal = row.try_get::<Option<i64>, _>("position")?.map(|_| seal(row)).transpose()?;
        Ok(ListedEvent { event: event(row)?, seal })
    };
    Ok(rows.iter().map(listed).collect::<Row<_>>()?)
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

/// Visits through a link, each with its actor, the newest first; only those of actors before this one.
pub(crate) async fn visits(
    tx: &mut Tx,
    link: LinkId,
    before: Option<&str>,
    limit: i64,
) -> Answer<Vec<(String, Timestamp)>> {
    let rows: Vec<(String, SqlTimestamp)> = sqlx::query_as(
        "SELECT actor, at FROM ledger_events WHERE org_id = current_org() AND subject = $1 AND verb = 'link.visited' \
         AND ($2::text IS NULL OR actor COLLATE \"C\" < $2) ORDER BY actor COLLATE \"C\" DESC LIMIT $3",
    )
    .bind(link.to_string())
    .bind(before)
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|(actor, at)| (actor, at.to_jiff())).collect())
}

/// An event about wakes and windows.
#[derive(Debug)]
pub(crate) struct WakeEvent {
    pub(crate) verb: String,
    pub(crate) actor: String,
    pub(crate) at: Timestamp,
    pub(crate) details: Value,
}

/// What woke a workspace since then, and its windows, in the order of the ledger.
pub(crate) async fn wakes(tx: &mut Tx, workspace: WorkspaceId, since: Timestamp) -> Answer<Vec<WakeEvent>> {
    let rows: Vec<(String, String, SqlTimestamp, Value)> = sqlx::query_as(
        "SELECT verb, actor, at, details FROM ledger_events WHERE org_id = current_org() AND subject = $1 AND at >= $2 \
         AND verb IN ('runtime.wake_asked', 'runtime.taken_over', 'window.opened', 'window.closed') ORDER BY seq",
    )
    .bind(workspace.to_string())
    .bind(since.to_sqlx())
    .fetch_all(tx.conn())
    .await?;
    let event =
        |(verb, actor, at, details): (_, _, SqlTimestamp, _)| WakeEvent { verb, actor, at: at.to_jiff(), details };
    Ok(rows.into_iter().map(event).collect())
}

/// When a usage session was first asked for, as far as the ledger still has it.
pub(crate) async fn session_began(
    tx: &mut Tx,
    workspace: WorkspaceId,
    session: UsageSessionId,
) -> Answer<Option<Timestamp>> {
    let began: Option<SqlTimestamp> = sqlx::query_scalar(
        "SELECT min(at) FROM ledger_events WHERE org_id = current_org() AND subject = $1 \
         AND verb IN ('runtime.wake_asked', 'window.opened') AND details->>'session' = $2",
    )
    .bind(workspace.to_string())
    .bind(session.to_string())
    .fetch_one(tx.conn())
    .await?;
    Ok(began.map(SqlTimestamp::to_jiff))
}

/// When a usage session ended, if it has.
pub(crate) async fn session_ended(
    tx: &mut Tx,
    workspace: WorkspaceId,
    session: UsageSessionId,
) -> Answer<Option<Timestamp>> {
    let ended: Option<SqlTimestamp> = sqlx::query_scalar(
        "SELECT min(at) FROM ledger_events WHERE org_id = current_org() AND subject = $1 AND verb = 'session.ended' \
         AND details->>'session' = $2",
    )
    .bind(workspace.to_string())
    .bind(session.to_string())
    .fetch_one(tx.conn())
    .await?;
    Ok(ended.map(SqlTimestamp::to_jiff))
}

/// What is said of a workspace from one instant to another, in order: its own events, visits by link and steps of elevations.
pub(crate) async fn of_workspace(
    tx: &mut Tx,
    workspace: WorkspaceId,
    since: Timestamp,
    until: Timestamp,
) -> Answer<Vec<Event>> {
    let rows = sqlx::query(
        "SELECT * FROM ledger_events WHERE org_id = current_org() AND subject = $1 AND at >= $2 AND at <= $3 \
         UNION ALL SELECT * FROM ledger_events WHERE org_id = current_org() AND verb = 'link.visited' AND at >= $2 AND at <= $3 \
         AND details->>'workspace' = $1 \
         UNION ALL SELECT * FROM ledger_events WHERE org_id = current_org() AND area = 'elevation' AND at >= $2 AND at <= $3 \
         AND details->>'workspace' = $1 AND subject <> $1 ORDER BY seq",
    )
    .bind(workspace.to_string())
    .bind(since.to_sqlx())
    .bind(until.to_sqlx())
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.iter().map(event).collect::<Row<_>>()?)
}

/// Visits by these actors before an instant.
pub(crate) async fn visits_of(tx: &mut Tx, actors: &[String], before: Timestamp) -> Answer<Vec<Event>> {
    let rows = sqlx::query(
        "SELECT * FROM ledger_events WHERE org_id = current_org() AND actor = ANY ($1) AND verb = 'link.visited' AND at < $2 ORDER BY seq",
    )
    .bind(actors)
    .bind(before.to_sqlx())
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.iter().map(event).collect::<Row<_>>()?)
}

/// Secrets that a workspace used from one instant to another: their names, what for, and how often.
pub(crate) async fn secrets_used(
    tx: &mut Tx,
    workspace: WorkspaceId,
    since: Timestamp,
    until: Timestamp,
) -> Answer<Vec<(String, String, u64)>> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT details->>'name', coalesce(details->>'service', details->>'egress', ''), count(*) FROM ledger_events \
         WHERE org_id = current_org() AND verb = 'secret.used' AND at >= $2 AND at <= $3 AND details->>'workspace' = $1 \
         AND details->>'name' IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .bind(workspace.to_string())
    .bind(since.to_sqlx())
    .bind(until.to_sqlx())
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|(name, used_by, count)| (name, used_by, count.cast_unsigned())).collect())
}

/// The event that has the hash of a session's receipt.
pub(crate) async fn receipt_event(
    tx: &mut Tx,
    workspace: WorkspaceId,
    session: UsageSessionId,
) -> Answer<Option<Event>> {
    let row = sqlx::query(
        "SELECT * FROM ledger_events WHERE org_id = current_org() AND subject = $1 AND verb = 'receipt.final' \
         AND details->>'session' = $2 ORDER BY seq LIMIT 1",
    )
    .bind(workspace.to_string())
    .bind(session.to_string())
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.as_ref().map(event).transpose()?)
}
