//! The reconciler of schedules: what is due is done, left out, or waits for the end of work.
//!
//! Told nothing: it looks at what is due by what is stored, and looks again under the workspace's lock. Running twice, or on two
//! servers at once, is harmless: the due time acted on changes by compare-and-set in the transaction that acts.

use super::ops::next_look;
use super::store::{self, Stored};
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::{Answer, Fault};
use crate::runtimes::ops::{Waker, sleep_locked, wake_locked};
use crate::workspaces;
use crate::workspaces::store::Row;
use anyhow::Context as _;
use envforge_api::http::schedules::{DueOutcome, LastDue};
use envforge_core::id::WorkspaceId;
use envforge_core::refusal::Refusal;
use envforge_core::runtime::{RuntimeIntent, SleepTier};
use envforge_core::timetable::{self, Due, DueFacts, Skip, Step, Week};
use jiff::Timestamp;
use serde_json::json;
use std::time::Duration;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(5);
/// As the ledger names it.
const ACTOR: &str = "system:schedule";
/// Why a runtime wakes or sleeps.
const CAUSE: &str = "schedule";

/// Reconciles for ever.
pub async fn run(app: App) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        if let Err(fault) = round(&app).await {
            tracing::warn!(%fault, "schedules could not be looked at, they will be again");
        }
    }
}

/// Looks at everything due once.
pub async fn round(app: &App) -> Answer<()> {
    for org in store::system_orgs_with_due(&app.db, app.now()).await? {
        let mut tx = app.db.begin(org).await?;
        let due = store::due(&mut tx, app.now()).await?;
        drop(tx);
        for workspace in due {
            // One that can't be acted on keeps none of the others waiting.
            if let Err(fault) = act(app, org, workspace).await {
                tracing::warn!(%fault, %workspace, "a schedule could not be acted on, it will be looked at again");
            }
        }
    }
    Ok(())
}

/// Acts on what is due in one workspace, if it still is.
async fn act(app: &App, org: OrgScope, workspace: WorkspaceId) -> Answer<()> {
    let mut tx = app.db.begin(org).await?;
    let Some(mut row) = workspaces::store::lock(&mut tx, workspace).await? else { return Ok(()) };
    let Some(stored) = store::find(&mut tx, workspace).await?.filter(|_| !row.deleting) else { return Ok(()) };
    let week = stored.timetable.check().context("the stored schedule")?;
    let now = app.now();
    let Some(due) = week.pending(stored.acted, now) else {
        store::look_again(&mut tx, workspace, next_look(&week, now)).await?;
        return tx.commit().await;
    };
    let quiet = match store::quiet_hours(&mut tx).await? {
        Some(hours) => Some(hours.check().context("the stored quiet hours")?),
        None => None,
    };
    let outcome = match timetable::decide(due, quiet.as_ref(), &facts(&row, now), now) {
        Step::Hold { .. } => return Ok(()),
        Step::Wake => {
            let waker = Waker { actor: ACTOR.to_owned(), cause: CAUSE.to_owned(), size: None, link: None };
            match wake_locked(app, &mut tx, &mut row, &waker).await {
                Ok(_) => DueOutcome::Done,
                Err(Fault::Refused(refusal)) => {
                    // Whatever the wake wrote before it was refused did not happen.
                    drop(tx);
                    return refused(app, org, workspace, &stored, due, &refusal).await;
                }
                Err(fault) => return Err(fault),
            }
        }
        Step::Sleep => {
            sleep_locked(app, &mut tx, row, SleepTier::Frozen, ACTOR, CAUSE).await?;
            DueOutcome::Done
        }
        Step::Skip(reason) => DueOutcome::Skipped { reason },
    };
    done(app, tx, workspace, &stored, &week, LastDue { at: due.at, action: due.action, outcome }).await
}

/// A wake that was refused is over, and told of once.
async fn refused(
    app: &App,
    org: OrgScope,
    workspace: WorkspaceId,
    seen: &Stored,
    due: Due,
    refusal: &Refusal,
) -> Answer<()> {
    let mut tx = app.db.begin(org).await?;
    let Some(row) = workspaces::store::lock(&mut tx, workspace).await? else { return Ok(()) };
    if row.deleting {
        return Ok(());
    }
    let week = seen.timetable.check().context("the stored schedule")?;
    let outcome = DueOutcome::Refused { code: refusal.code.clone(), message: refusal.message.clone() };
    done(app, tx, workspace, seen, &week, LastDue { at: due.at, action: due.action, outcome }).await
}

/// Notes what came of it, unless it was acted on meanwhile: then nothing of this happens.
async fn done(app: &App, mut tx: Tx, workspace: WorkspaceId, seen: &Stored, week: &Week, last: LastDue) -> Answer<()> {
    if !store::act(&mut tx, workspace, seen, &last, next_look(week, app.now())).await? {
        return Ok(());
    }
    let told = match &last.outcome {
        // A sleep of what sleeps is no news; a wake that does not come is.
        DueOutcome::Skipped { reason: reason @ (Skip::Late | Skip::Quiet) } => {
            Some(("schedule.skipped", json!({ "reason": reason })))
        }
        DueOutcome::Refused { code, message } => {
            Some(("schedule.refused", json!({ "code": code, "message": message })))
        }
        DueOutcome::Done | DueOutcome::Skipped { .. } => None,
    };
    if let Some((verb, mut details)) = told {
        details["due"] = json!(last.at);
        details["action"] = json!(last.action);
        ledger::record(app, &mut tx, Entry::new(ACTOR, verb, workspace, CAUSE).details(details)).await?;
    }
    tx.commit().await
}

fn facts(row: &Row, now: Timestamp) -> DueFacts {
    // A window is opened anew when its host was lost, and a state changes when services come and go: it was woken before both.
    let since = row.window.map_or(row.changed_at, |window| window.opened_at.min(row.changed_at));
    DueFacts {
        is_awake: row.runtime.intent == RuntimeIntent::Awake,
        since,
        idle: workspaces::ops::idle_facts(row),
        policy: workspaces::ops::idle_policy(row, now),
    }
}
