//! Rows of runtimes. State columns change by compare-and-set on generation and state.

use crate::platform::db::{Db, OrgScope, Tx};
use crate::platform::fault::Answer;
use crate::workspaces::store::OpenWindow;
use envforge_api::host::{Pulse, Trouble};
use envforge_core::id::{HostId, Id as _, LinkId, OrgId, UsageSessionId, WorkspaceId};
use envforge_core::runtime::Runtime;
use envforge_core::size::Size;
use envforge_core::usage::meter::Meter;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use std::str::FromStr as _;
use uuid::Uuid;

/// What a runtime becomes.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) meter: Meter,
    pub(crate) size: Size,
    pub(crate) session: Option<UsageSessionId>,
    pub(crate) window: Option<OpenWindow>,
    pub(crate) wake_cause: Option<String>,
    pub(crate) sleep_cause: Option<String>,
    /// The link whose visitor woke it, if that was one.
    pub(crate) woken_by: Option<LinkId>,
    pub(crate) blocked: Option<Trouble>,
    pub(crate) absent: bool,
    pub(crate) at: Timestamp,
}

/// Writes a change to a runtime that is still as `before`. The caller holds the row's lock, so anything else is a bug,
/// and is refused rather than written.
pub(crate) async fn write(tx: &mut Tx, workspace: WorkspaceId, before: &Runtime, change: &Change) -> Answer<()> {
    let done = sqlx::query(
        "UPDATE runtimes SET intent = $4, state = $5, generation = $6, size = $7, session_id = $8, window_id = $9, window_opened = $10, \
         wake_cause = $11, blocked_code = $12, blocked_cause = $13, blocked_fix = $14, changed_at = $15, absent = $16, \
         sleep_cause = $17, woken_by = $18, start_asked = $19, metered_until = $20 \
         WHERE workspace_id = $1 AND generation = $2 AND state = $3",
    )
    .bind(workspace.uuid())
    .bind(before.generation.cast_signed())
    .bind(before.state.as_str())
    .bind(change.meter.runtime.intent.as_str())
    .bind(change.meter.runtime.state.as_str())
    .bind(change.meter.runtime.generation.cast_signed())
    .bind(change.size.as_str())
    .bind(change.session.map(envforge_core::id::Id::uuid))
    .bind(change.window.map(|window| window.id.uuid()))
    .bind(change.window.map(|window| window.opened_at.to_sqlx()))
    .bind(&change.wake_cause)
    .bind(change.blocked.as_ref().map(|trouble| &trouble.code))
    .bind(change.blocked.as_ref().map(|trouble| &trouble.cause))
    .bind(change.blocked.as_ref().map(|trouble| &trouble.fix))
    .bind(change.at.to_sqlx())
    .bind(change.absent)
    .bind(&change.sleep_cause)
    .bind(change.woken_by.map(envforge_core::id::Id::uuid))
    .bind(change.meter.start_asked.map(Timestamp::to_sqlx))
    .bind(change.meter.metered_until.map(Timestamp::to_sqlx))
    .execute(tx.conn())
    .await?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(anyhow::anyhow!("the runtime of {workspace} changed under its lock").into())
    }
}

/// It is no link's visitor any more who keeps a runtime awake.
pub(crate) async fn clear_woken_by(tx: &mut Tx, workspace: WorkspaceId) -> Answer<()> {
    sqlx::query("UPDATE runtimes SET woken_by = NULL WHERE workspace_id = $1")
        .bind(workspace.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Memory reserved on a host by runtimes that are to be awake, one workspace left out; also by those the reader does not
/// see.
pub(crate) async fn system_reserved_memory(tx: &mut Tx, host: HostId, except: WorkspaceId) -> Answer<u64> {
    let sizes: Vec<String> = sqlx::query_scalar("SELECT system_awake_sizes($1, $2)")
        .bind(host.uuid())
        .bind(except.uuid())
        .fetch_all(tx.conn())
        .await?;
    Ok(sizes.iter().filter_map(|size| Size::from_str(size).ok()).map(Size::reserved_memory).sum())
}

/// A heartbeat's facts about one workspace. Work counts as activity. Answers whether it proves a runtime to run that
/// has no open window; `None` when the workspace is not on this host, and nothing is stored.
pub(crate) async fn pulse(tx: &mut Tx, host: HostId, pulse: &Pulse, at: Timestamp) -> Answer<Option<bool>> {
    let busy = pulse.jobs_running > 0;
    let unmetered: Option<bool> = sqlx::query_scalar(
        "UPDATE runtimes r SET last_proof = CASE WHEN $4 THEN $3 ELSE last_proof END, milli_cpu = $5, jobs_running = $6, \
         last_activity = CASE WHEN $7 THEN $3 ELSE last_activity END \
         FROM workspaces w WHERE r.workspace_id = $1 AND w.id = r.workspace_id AND w.host_id = $2 \
         RETURNING $4 AND r.window_id IS NULL AND r.state IN ('awake', 'waking')",
    )
    .bind(pulse.workspace.uuid())
    .bind(host.uuid())
    .bind(at.to_sqlx())
    .bind(pulse.process_runs)
    .bind(pulse.service_milli_cpu.cast_signed())
    .bind(pulse.jobs_running.cast_signed())
    .bind(busy)
    .fetch_optional(tx.conn())
    .await?;
    Ok(unmetered)
}

/// Traffic was last seen then.
pub(crate) async fn active(tx: &mut Tx, workspace: WorkspaceId, at: Timestamp) -> Answer<()> {
    sqlx::query("UPDATE runtimes SET last_activity = greatest(last_activity, $2) WHERE workspace_id = $1")
        .bind(workspace.uuid())
        .bind(at.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Orgs with a runtime that is not fully asleep.
pub(crate) async fn system_orgs_with_live_runtimes(db: &Db) -> Answer<Vec<OrgScope>> {
    let ids: Vec<Uuid> = sqlx::query_scalar("SELECT system_orgs_with_live_runtimes()").fetch_all(db.pool()).await?;
    Ok(ids.into_iter().map(|id| OrgScope::established(OrgId::from_uuid(id))).collect())
}
