//! The reconciler of runtimes: idle ones sleep, and so do those whose cap is reached or whose link has no minutes left;
//! frozen ones stop, sooner where a host's memory is short; windows of lost hosts close, and what a host could not end it is told to end again.
//!
//! Runs every second, told nothing: it looks at what is stored and acts through the same operations as everyone
//! else. Running twice is harmless, because each operation looks again under the row's lock.

use super::ops::{self, Seen};
use super::store;
use crate::app::App;
use crate::caps;
use crate::hosts;
use crate::links;
use crate::platform::db::OrgScope;
use crate::platform::fault::Answer;
use crate::usage;
use crate::workspaces;
use crate::workspaces::store::Row;
use envforge_api::host::Order;
use envforge_core::idle::{self, IdleVerdict};
use envforge_core::pressure;
use envforge_core::runtime::{ObservedPhase, RuntimeIntent, RuntimeState, SleepTier};
use envforge_core::usage::WindowFact;
use envforge_core::usage::meter::{Closing, Witness};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// An order to end something that failed is given again so much later, twice as much later each time.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(5);
/// The longest it waits.
const AGAIN_MAX: SignedDuration = SignedDuration::from_mins(5);

/// Reconciles for ever.
pub async fn run(app: App) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        if let Err(fault) = round(&app).await {
            tracing::warn!(%fault, "runtimes could not be looked at, they will be again");
        }
    }
}

/// Looks at every org once.
pub async fn round(app: &App) -> Answer<()> {
    for org in store::system_orgs_with_live_runtimes(&app.db).await? {
        if let Err(fault) = look(app, org).await {
            tracing::warn!(%fault, "an org's runtimes could not be looked at, they will be again");
        }
    }
    Ok(())
}

/// Looks at one org once; returns how many runtimes it acted on.
async fn look(app: &App, org: OrgScope) -> Answer<usize> {
    let mut tx = app.db.begin(org).await?;
    let rows = workspaces::store::live(&mut tx).await?;
    drop(tx);
    let mut acted = order_again(app, org).await?;
    for row in &rows {
        if act(app, org, row).await? {
            acted += 1;
        }
    }
    Ok(acted + make_room(app, org, &rows).await?)
}

/// Gives failed orders again; what can't be frozen is stopped instead, so that it does not go on and cost.
async fn order_again(app: &App, org: OrgScope) -> Answer<usize> {
    let mut tx = app.db.begin(org).await?;
    let orders = hosts::store::failed_orders(&mut tx, None).await?;
    drop(tx);
    let mut given = 0;
    for order in orders {
        if app.now().duration_since(order.answered_at) <= again_after(order.tries) {
            continue;
        }
        let failed = order.command;
        // One transaction each: nobody holds two workspaces at once.
        let mut tx = app.db.begin(org).await?;
        let Some(row) = workspaces::store::lock(&mut tx, failed.workspace).await? else { continue };
        // It was found without the lock; look again with it.
        let last = hosts::store::failed_orders(&mut tx, Some(row.id)).await?;
        if last.iter().all(|last| last.command.id != failed.id) {
            continue;
        }
        let is_done = row.runtime.state == RuntimeState::Asleep && failed.order != Order::DestroyWorkspace;
        if row.runtime.generation != failed.generation || is_done {
            continue;
        }
        given += 1;
        if failed.order == Order::FreezeRuntime {
            ops::sleep_locked(app, &mut tx, row, SleepTier::Stopped, "system:runtimes", "it could not be frozen")
                .await?;
        } else {
            hosts::ops::command(app, &mut tx, row.host, row.id, failed.generation, failed.order).await?;
        }
        tx.commit().await?;
    }
    Ok(given)
}

/// How long after its `tries`th failure an order is given again.
fn again_after(tries: u32) -> SignedDuration {
    AGAIN_AFTER.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(AGAIN_MAX)
}

async fn act(app: &App, org: OrgScope, seen: &Row) -> Answer<bool> {
    if is_lost(app, seen) {
        return close_lost(app, org, seen).await.map(|()| true);
    }
    if seen.is_capped() && seen.runtime.window_open && seen.runtime.intent == RuntimeIntent::Awake {
        let mut tx = app.db.begin(org).await?;
        let Some(row) = workspaces::store::lock(&mut tx, seen.id).await? else { return Ok(false) };
        if row.runtime.window_open && row.runtime.intent == RuntimeIntent::Awake {
            let reason = caps::ops::while_awake(app, &mut tx, &row).await?;
            let sleeps = reason.is_some();
            if let Some(reason) = reason {
                ops::sleep_locked(app, &mut tx, row, SleepTier::Frozen, "system:cap", &reason).await?;
            }
            tx.commit().await?;
            if sleeps {
                return Ok(true);
            }
        }
    }
    if seen.woken_by.is_some() && seen.window.is_some() && seen.runtime.intent == RuntimeIntent::Awake {
        let mut tx = app.db.begin(org).await?;
        let Some(row) = workspaces::store::lock(&mut tx, seen.id).await? else { return Ok(false) };
        if let (Some(link), Some(window)) = (row.woken_by, row.window)
            && links::ops::is_used_up(&mut tx, link, window.opened_at, app.now()).await?
        {
            let reason = "the awake minutes of the link that woke it are used up";
            ops::sleep_locked(app, &mut tx, row, SleepTier::Frozen, "system:link", reason).await?;
            return tx.commit().await.map(|()| true);
        }
    }
    if let Some(until) = worked_until(app, seen) {
        let mut tx = app.db.begin(org).await?;
        store::active(&mut tx, seen.id, until).await?;
        return tx.commit().await.map(|()| false);
    }
    let Some((tier, reason)) = verdict(app, seen) else { return Ok(false) };
    let mut tx = app.db.begin(org).await?;
    let Some(row) = workspaces::store::lock(&mut tx, seen.id).await? else { return Ok(false) };
    // It was decided without the lock; decide again with it.
    if verdict(app, &row).is_none() {
        return Ok(false);
    }
    ops::sleep_locked(app, &mut tx, row, tier, "system:idle", &reason).await?;
    tx.commit().await?;
    Ok(true)
}

/// Stops what has been frozen longest on each host that is short of memory, one at a time.
async fn make_room(app: &App, org: OrgScope, seen: &[Row]) -> Answer<usize> {
    let mut tx = app.db.begin(org).await?;
    let short = hosts::store::short(&mut tx, None).await?;
    drop(tx);
    let mut stopped = 0;
    for host in short {
        let frozen = seen.iter().filter(|row| row.host == host.host && is_frozen(row));
        let frozen = frozen.map(|row| (row.id, row.changed_at));
        let Some(chosen) = pressure::make_room(frozen, host.relieved_at, app.now()) else { continue };
        let mut tx = app.db.begin(org).await?;
        let Some(row) = workspaces::store::lock(&mut tx, chosen).await? else { continue };
        // It was decided without the locks; decide again with them.
        let Some(host) = hosts::store::short(&mut tx, Some(host.host)).await?.pop() else { continue };
        let alone = is_frozen(&row).then_some((row.id, row.changed_at));
        if pressure::make_room(alone, host.relieved_at, app.now()).is_none() {
            continue;
        }
        let reason = format!("its host is short of memory: {}; it was frozen longest", host.why);
        ops::sleep_locked(app, &mut tx, row, SleepTier::Stopped, "system:memory", &reason).await?;
        hosts::store::relieved(&mut tx, host.host, app.now()).await?;
        tx.commit().await?;
        stopped += 1;
    }
    Ok(stopped)
}

fn is_frozen(row: &Row) -> bool {
    (row.runtime.state, row.runtime.intent) == (RuntimeState::Frozen, RuntimeIntent::Frozen)
}

/// Until when the last minute was work, if that is not noted: the next minute takes its place.
fn worked_until(app: &App, row: &Row) -> Option<Timestamp> {
    let facts = workspaces::ops::idle_facts(row);
    let until = idle::worked_until(&facts, &workspaces::ops::idle_policy(row, app.now()))?;
    (row.runtime.window_open && until > facts.last_work).then_some(until)
}

fn verdict(app: &App, row: &Row) -> Option<(SleepTier, String)> {
    let policy = workspaces::ops::idle_policy(row, app.now());
    // One that never comes up costs as much as one that is up.
    let is_metered = row.runtime.state == RuntimeState::Awake
        || row.runtime.state == RuntimeState::Waking && row.runtime.window_open;
    match (row.runtime.state, row.runtime.intent) {
        (_, RuntimeIntent::Awake) if is_metered => {
            match idle::decide(&workspaces::ops::idle_facts(row), &policy, app.now()) {
                IdleVerdict::Sleep { reason } => Some((SleepTier::Frozen, reason)),
                IdleVerdict::Busy { .. } | IdleVerdict::Idle { .. } => None,
            }
        }
        _ if is_frozen(row) => (app.now().duration_since(row.changed_at)
            >= SignedDuration::from_secs(policy.stop_after.into()))
        .then(|| (SleepTier::Stopped, format!("frozen for {} s", policy.stop_after))),
        _ => None,
    }
}

fn is_lost(app: &App, row: &Row) -> bool {
    row.meter().proven_until().is_some_and(|proof| hosts::ops::is_silent(app, proof))
}

/// Closes the window of a runtime nobody has proven to run. When its host comes back and it still runs, its next
/// pulse opens another.
async fn close_lost(app: &App, org: OrgScope, seen: &Row) -> Answer<()> {
    let mut tx = app.db.begin(org).await?;
    let Some(row) = workspaces::store::lock(&mut tx, seen.id).await? else { return Ok(()) };
    if !is_lost(app, &row) {
        return Ok(());
    }
    let mut meter = row.meter();
    let (Some(window), Some(closing)) = (row.window, meter.lose(app.now())) else { return Ok(()) };
    if let Some(link) = row.woken_by {
        links::ops::spend_time(&mut tx, link, window.opened_at, closing.at).await?;
    }
    let cause = "its host was lost; closed at the last heartbeat".to_owned();
    let Closing { at, unproven_seconds, .. } = closing;
    let fact = WindowFact::Closed { window: window.id, at, cause, unproven_seconds };
    usage::ops::record(app, &mut tx, row.id, "system:meter", "host lost", &fact).await?;
    let change = store::Change {
        meter,
        size: row.runtime_size,
        session: row.session,
        window: None,
        wake_cause: row.wake_cause.clone(),
        sleep_cause: row.sleep_cause.clone(),
        woken_by: row.woken_by,
        blocked: row.blocked.clone(),
        absent: row.absent,
        at: row.changed_at,
    };
    store::write(&mut tx, row.id, &row.runtime, &change).await?;
    tx.commit().await
}

/// A pulse proves that a runtime runs although its window was closed: its host was lost and is back.
pub async fn reopen(
    app: &App,
    org: OrgScope,
    workspace: envforge_core::id::WorkspaceId,
    generation: u64,
) -> Answer<()> {
    let mut tx = app.db.begin(org).await?;
    let Some(row) = workspaces::store::lock(&mut tx, workspace).await? else { return Ok(()) };
    if row.window.is_some() || !matches!(row.runtime.state, RuntimeState::Awake | RuntimeState::Waking) {
        return Ok(());
    }
    let phase = if row.runtime.state == RuntimeState::Awake { ObservedPhase::Up } else { ObservedPhase::Starting };
    let seen = Seen { generation, phase, process_runs: true, witness: Witness::Server, trouble: None };
    ops::apply(app, &mut tx, row, seen, "heartbeat").await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_goes_on_failing_is_given_ever_more_rarely() {
        let seconds: Vec<_> = [1, 2, 3, 6, 7, 8, u32::MAX].map(|tries| again_after(tries).as_secs()).into();
        assert_eq!(seconds, [5, 10, 20, 160, 300, 300, 300]);
    }
}
