//! Rows of hosts and commands.

use crate::platform::db::{Db, OrgScope, Tx};
use crate::platform::fault::Answer;
use envforge_api::host::{HostCommand, Machine, Outcome, Trouble};
use envforge_api::http::accounts::{Host, HostState};
use envforge_core::id::{CommandId, HostId, Id as _, OrgId, WorkspaceId};
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

/// What placement needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    pub(crate) host: HostId,
    pub(crate) is_local: bool,
    pub(crate) memory: u64,
}

pub(crate) async fn insert(
    tx: &mut Tx,
    id: HostId,
    name: &str,
    is_local: bool,
    token_digest: &str,
    now: Timestamp,
) -> Answer<()> {
    sqlx::query("INSERT INTO hosts (id, org_id, name, is_local, token_digest, created_at) VALUES ($1, current_org(), $2, $3, $4, $5)")
        .bind(id.uuid())
        .bind(name)
        .bind(is_local)
        .bind(token_digest)
        .bind(now.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(crate) async fn list(tx: &mut Tx) -> Answer<Vec<Host>> {
    let rows = sqlx::query("SELECT * FROM hosts ORDER BY name").fetch_all(tx.conn()).await?;
    let mut hosts = Vec::with_capacity(rows.len());
    for row in rows {
        let registered = row.try_get::<Option<String>, _>("key_digest")?.is_some();
        hosts.push(Host {
            id: HostId::from_uuid(row.try_get("id")?),
            name: row.try_get("name")?,
            state: match (registered, row.try_get("online")?) {
                (false, _) => HostState::Registering,
                (true, true) => HostState::Online,
                (true, false) => HostState::Lost,
            },
            reductions: row.try_get::<Json<Vec<String>>, _>("reductions")?.0,
            trouble: row.try_get::<Option<Json<Trouble>>, _>("trouble")?.map(|trouble| trouble.0),
            swap: row.try_get::<Option<i64>, _>("swap")?.map(i64::cast_unsigned),
            memory_short: row.try_get("memory_short")?,
            last_seen_at: row.try_get::<Option<SqlTimestamp>, _>("last_seen_at")?.map(SqlTimestamp::to_jiff),
        });
    }
    Ok(hosts)
}

/// A host, locked until the transaction ends, so that its memory is given to one runtime at a time.
pub(crate) async fn lock(tx: &mut Tx, host: HostId) -> Answer<Option<Capacity>> {
    let row = sqlx::query("SELECT id, is_local, memory FROM hosts WHERE id = $1 FOR NO KEY UPDATE")
        .bind(host.uuid())
        .fetch_optional(tx.conn())
        .await?;
    row.as_ref().map(capacity).transpose()
}

fn capacity(row: &PgRow) -> Answer<Capacity> {
    Ok(Capacity {
        host: HostId::from_uuid(row.try_get("id")?),
        is_local: row.try_get("is_local")?,
        memory: row.try_get::<i64, _>("memory")?.cast_unsigned(),
    })
}

/// Hosts a workspace may be placed on, in order of preference.
pub(crate) async fn candidates(tx: &mut Tx) -> Answer<Vec<Capacity>> {
    let rows = sqlx::query("SELECT id, is_local, memory FROM hosts ORDER BY online DESC, is_local DESC, created_at")
        .fetch_all(tx.conn())
        .await?;
    rows.iter().map(capacity).collect()
}

pub(crate) async fn system_find_host(db: &Db, key_digest: &str) -> Answer<Option<(HostId, OrgScope)>> {
    find(db, "SELECT * FROM system_find_host($1)", key_digest).await
}

pub(crate) async fn system_find_host_token(db: &Db, token_digest: &str) -> Answer<Option<(HostId, OrgScope)>> {
    find(db, "SELECT * FROM system_find_host_token($1)", token_digest).await
}

async fn find(db: &Db, statement: &'static str, digest: &str) -> Answer<Option<(HostId, OrgScope)>> {
    let row = sqlx::query(statement).bind(digest).fetch_optional(db.pool()).await?;
    let Some(row) = row else { return Ok(None) };
    let host = HostId::from_uuid(row.try_get("host_id")?);
    Ok(Some((host, OrgScope::established(OrgId::from_uuid(row.try_get("org_id")?)))))
}

pub(crate) async fn set_key(tx: &mut Tx, host: HostId, key_digest: &str) -> Answer<()> {
    sqlx::query("UPDATE hosts SET key_digest = $2 WHERE id = $1")
        .bind(host.uuid())
        .bind(key_digest)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// A control stream begins: the one-time token is spent, the generation rises.
pub(crate) async fn stream_began(tx: &mut Tx, host: HostId, machine: &Machine, now: Timestamp) -> Answer<u64> {
    let generation: i64 = sqlx::query_scalar(
        "UPDATE hosts SET token_digest = NULL, online = true, generation = generation + 1, last_seen_at = $2, reductions = $3, milli_cpu = $4, memory = $5, allows_elevation = $6, copy_on_write = $7, swap = $8, memory_short = NULL WHERE id = $1 RETURNING generation",
    )
    .bind(host.uuid())
    .bind(now.to_sqlx())
    .bind(Json(&machine.reductions))
    .bind(machine.milli_cpu.cast_signed())
    .bind(machine.memory.cast_signed())
    .bind(machine.elevation)
    .bind(machine.copy_on_write)
    .bind(machine.swap.map(u64::cast_signed))
    .fetch_one(tx.conn())
    .await?;
    Ok(generation.cast_unsigned())
}

/// A control stream ended; a newer one of the same host is left alone.
pub(crate) async fn stream_ended(tx: &mut Tx, host: HostId, generation: u64) -> Answer<bool> {
    let done = sqlx::query("UPDATE hosts SET online = false WHERE id = $1 AND generation = $2")
        .bind(host.uuid())
        .bind(generation.cast_signed())
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected() == 1)
}

/// A heartbeat on the stream of a generation: the host is there, and says what is wrong with it. Answers whether its memory
/// was short before.
pub(crate) async fn seen(
    tx: &mut Tx,
    host: HostId,
    generation: u64,
    trouble: Option<&Trouble>,
    now: Timestamp,
) -> Answer<bool> {
    let statement = "UPDATE hosts SET last_seen_at = $2, online = online OR generation = $3, trouble = $4 WHERE id = $1 \
                     RETURNING memory_short IS NOT NULL";
    let query = sqlx::query_scalar(statement)
        .bind(host.uuid())
        .bind(now.to_sqlx())
        .bind(generation.cast_signed())
        .bind(trouble.map(Json));
    Ok(query.fetch_optional(tx.conn()).await?.unwrap_or(false))
}

/// Memory is short on a host, for this reason, or is not any more.
pub(crate) async fn set_memory_short(tx: &mut Tx, host: HostId, why: Option<&str>) -> Answer<()> {
    let statement = "UPDATE hosts SET memory_short = $2 WHERE id = $1";
    sqlx::query(statement).bind(host.uuid()).bind(why).execute(tx.conn()).await?;
    Ok(())
}

/// A host whose memory is short.
#[derive(Debug)]
pub(crate) struct Short {
    pub(crate) host: HostId,
    /// Why, in words.
    pub(crate) why: String,
    /// When a runtime was last stopped for it.
    pub(crate) relieved_at: Option<Timestamp>,
}

/// Hosts that are there and short of memory; one of them alone, locked until the transaction ends.
pub(crate) async fn short(tx: &mut Tx, alone: Option<HostId>) -> Answer<Vec<Short>> {
    let (all, one) = (
        "SELECT id, memory_short, relieved_at FROM hosts WHERE online AND memory_short IS NOT NULL",
        "SELECT id, memory_short, relieved_at FROM hosts WHERE online AND memory_short IS NOT NULL AND id = $1 \
         FOR NO KEY UPDATE",
    );
    let rows = match alone {
        None => sqlx::query(all).fetch_all(tx.conn()).await?,
        Some(host) => sqlx::query(one).bind(host.uuid()).fetch_all(tx.conn()).await?,
    };
    let short = |row: PgRow| {
        Ok(Short {
            host: HostId::from_uuid(row.try_get("id")?),
            why: row.try_get("memory_short")?,
            relieved_at: row.try_get::<Option<SqlTimestamp>, _>("relieved_at")?.map(SqlTimestamp::to_jiff),
        })
    };
    rows.into_iter().map(short).collect()
}

/// A runtime was stopped for a host's memory.
pub(crate) async fn relieved(tx: &mut Tx, host: HostId, now: Timestamp) -> Answer<()> {
    let statement = "UPDATE hosts SET relieved_at = $2 WHERE id = $1";
    sqlx::query(statement).bind(host.uuid()).bind(now.to_sqlx()).execute(tx.conn()).await?;
    Ok(())
}

/// Whether a workspace is on a host, or was until its deletion.
pub(crate) async fn has(tx: &mut Tx, host: HostId, workspace: WorkspaceId) -> Answer<bool> {
    let statement = "SELECT EXISTS (SELECT 1 FROM workspaces WHERE id = $1 AND host_id = $2)";
    Ok(sqlx::query_scalar(statement).bind(workspace.uuid()).bind(host.uuid()).fetch_one(tx.conn()).await?)
}

/// No host has a control stream, as far as is known.
pub(crate) async fn system_forget_streams(db: &Db) -> Answer<()> {
    sqlx::query("SELECT system_forget_streams()").execute(db.pool()).await?;
    Ok(())
}

/// What decides whether a host may open root terminals.
#[derive(Debug, Clone)]
pub(crate) struct Elevating {
    /// Its daemon does.
    pub(crate) allows: bool,
    /// Its machine also runs the control plane.
    pub(crate) is_local: bool,
    /// What its isolation lacks.
    pub(crate) reductions: Vec<String>,
}

pub(crate) async fn elevating(tx: &mut Tx, host: HostId) -> Answer<Elevating> {
    let row = sqlx::query("SELECT allows_elevation, is_local, reductions FROM hosts WHERE id = $1")
        .bind(host.uuid())
        .fetch_one(tx.conn())
        .await?;
    Ok(Elevating {
        allows: row.try_get("allows_elevation")?,
        is_local: row.try_get("is_local")?,
        reductions: row.try_get::<Json<Vec<String>>, _>("reductions")?.0,
    })
}

/// Whether copies on a host share the blocks of their files.
pub(crate) async fn copies_on_write(tx: &mut Tx, host: HostId) -> Answer<bool> {
    let statement = "SELECT copy_on_write FROM hosts WHERE id = $1";
    Ok(sqlx::query_scalar(statement).bind(host.uuid()).fetch_one(tx.conn()).await?)
}

/// The registration generation of a host, for tickets.
pub(crate) async fn generation(tx: &mut Tx, host: HostId) -> Answer<u64> {
    let generation: i64 =
        sqlx::query_scalar("SELECT generation FROM hosts WHERE id = $1").bind(host.uuid()).fetch_one(tx.conn()).await?;
    Ok(generation.cast_unsigned())
}

pub(crate) async fn insert_command(tx: &mut Tx, host: HostId, command: &HostCommand, now: Timestamp) -> Answer<()> {
    sqlx::query(
        "INSERT INTO host_commands (id, org_id, host_id, workspace_id, generation, verb, command, created_at) VALUES ($1, current_org(), $2, $3, $4, $5, $6, $7)",
    )
    .bind(command.id.uuid())
    .bind(host.uuid())
    .bind(command.workspace.uuid())
    .bind(command.generation.cast_signed())
    .bind(command.order.verb())
    .bind(Json(command))
    .bind(now.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Most commands sent of one workspace before the first of them is answered, and most of one host.
const OPEN_MAX: (i64, i64) = (20, 200);

/// Commands of a host without an answer, oldest first; each workspace's first come before any other's many.
pub(crate) async fn open_commands(tx: &mut Tx, host: HostId) -> Answer<Vec<HostCommand>> {
    let rows: Vec<Json<HostCommand>> = sqlx::query_scalar(
        "SELECT command FROM ( \
           SELECT command, seq, row_number() OVER (PARTITION BY workspace_id ORDER BY seq) AS place \
           FROM host_commands WHERE host_id = $1 AND answered_at IS NULL \
         ) open WHERE place <= $2 ORDER BY place, seq LIMIT $3",
    )
    .bind(host.uuid())
    .bind(OPEN_MAX.0)
    .bind(OPEN_MAX.1)
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// The workspace of a command without an answer; `None` when it has one or is not this host's.
pub(crate) async fn command_workspace(tx: &mut Tx, host: HostId, id: CommandId) -> Answer<Option<WorkspaceId>> {
    let statement = "SELECT workspace_id FROM host_commands WHERE id = $1 AND host_id = $2 AND answered_at IS NULL";
    let workspace: Option<uuid::Uuid> =
        sqlx::query_scalar(statement).bind(id.uuid()).bind(host.uuid()).fetch_optional(tx.conn()).await?;
    Ok(workspace.map(WorkspaceId::from_uuid))
}

/// Stores an answer; `None` when the command was answered before or is not this host's.
pub(crate) async fn answer_command(
    tx: &mut Tx,
    host: HostId,
    id: CommandId,
    outcome: &Outcome,
    now: Timestamp,
) -> Answer<Option<HostCommand>> {
    let row: Option<Json<HostCommand>> = sqlx::query_scalar(
        "UPDATE host_commands SET outcome = $3, answered_at = $4 WHERE id = $1 AND host_id = $2 AND answered_at IS NULL RETURNING command",
    )
    .bind(id.uuid())
    .bind(host.uuid())
    .bind(Json(outcome))
    .bind(now.to_sqlx())
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| row.0))
}

/// What a command came to, if it was answered.
pub(crate) async fn outcome(tx: &mut Tx, id: CommandId) -> Answer<Option<Outcome>> {
    let statement = "SELECT outcome FROM host_commands WHERE id = $1 AND answered_at IS NOT NULL";
    let outcome: Option<Json<Outcome>> =
        sqlx::query_scalar(statement).bind(id.uuid()).fetch_optional(tx.conn()).await?;
    Ok(outcome.map(|outcome| outcome.0))
}

/// Ends commands that a newer intent has overtaken, so that they are not sent any more.
pub(crate) async fn supersede(tx: &mut Tx, workspace: WorkspaceId, before: u64, now: Timestamp) -> Answer<()> {
    let outcome: Value = serde_json::to_value(Outcome::Stale)?;
    sqlx::query(
        "UPDATE host_commands SET outcome = $3, answered_at = $4 WHERE workspace_id = $1 AND generation < $2 AND answered_at IS NULL AND verb IN ('START_RUNTIME', 'FREEZE_RUNTIME', 'STOP_RUNTIME')",
    )
    .bind(workspace.uuid())
    .bind(before.cast_signed())
    .bind(outcome)
    .bind(now.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Whether the start of a generation was not answered yet.
pub(crate) async fn start_waits(tx: &mut Tx, workspace: WorkspaceId, generation: u64) -> Answer<bool> {
    let statement = "SELECT EXISTS (SELECT 1 FROM host_commands WHERE workspace_id = $1 AND generation = $2 AND verb = 'START_RUNTIME' AND answered_at IS NULL)";
    Ok(sqlx::query_scalar(statement).bind(workspace.uuid()).bind(generation.cast_signed()).fetch_one(tx.conn()).await?)
}

/// An order that failed, and how often it did.
pub(crate) struct FailedOrder {
    pub(crate) command: HostCommand,
    pub(crate) tries: u32,
    pub(crate) answered_at: Timestamp,
}

/// Orders that put to sleep or destroy, failed, and are still the last their workspace was given; of one workspace or all.
pub(crate) async fn failed_orders(tx: &mut Tx, of: Option<WorkspaceId>) -> Answer<Vec<FailedOrder>> {
    let rows = sqlx::query(
        "SELECT c.command, c.answered_at, ( \
           SELECT count(*) FROM host_commands t \
           WHERE t.workspace_id = c.workspace_id AND t.verb = c.verb AND t.generation = c.generation \
         ) AS tries FROM workspaces w CROSS JOIN LATERAL ( \
           SELECT * FROM host_commands o WHERE o.workspace_id = w.id AND o.verb IN ('START_RUNTIME', 'FREEZE_RUNTIME', 'STOP_RUNTIME', 'DESTROY_WORKSPACE') \
           ORDER BY o.seq DESC LIMIT 1 \
         ) c WHERE w.deleted_at IS NULL AND c.verb <> 'START_RUNTIME' AND c.outcome ->> 'outcome' = 'failed' AND ($1 IS NULL OR w.id = $1)",
    )
    .bind(of.map(envforge_core::id::Id::uuid))
    .fetch_all(tx.conn())
    .await?;
    let mut orders = Vec::with_capacity(rows.len());
    for row in rows {
        orders.push(FailedOrder {
            command: row.try_get::<Json<HostCommand>, _>("command")?.0,
            tries: u32::try_from(row.try_get::<i64, _>("tries")?).unwrap_or(u32::MAX),
            answered_at: row.try_get::<SqlTimestamp, _>("answered_at")?.to_jiff(),
        });
    }
    Ok(orders)
}

/// Deletes commands answered before `before`, but none that is its workspace's last; returns how many.
pub(crate) async fn forget_answered(tx: &mut Tx, before: Timestamp) -> Answer<u64> {
    let done = sqlx::query(
        "DELETE FROM host_commands c WHERE org_id = current_org() AND answered_at < $1 \
         AND EXISTS (SELECT 1 FROM host_commands n WHERE n.workspace_id = c.workspace_id AND n.seq > c.seq)",
    )
    .bind(before.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}
