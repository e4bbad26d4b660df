//! Reading usage, setting caps, and the cap check of a wake.

use super::store;
use crate::accounts;
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Permit;
use crate::workspaces;
use crate::workspaces::store::Row;
use envforge_api::http::usage::{SetCap, WorkspaceUsage};
use envforge_core::manifest::ResourceMode;
use envforge_core::name::Slug;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::usage::{AwakeWindow, CapMode, CapPosture, WindowFact, fold, receipts};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The usage panel of a workspace.
pub async fn usage(app: &App, permit: &Permit, slug: &Slug) -> Answer<WorkspaceUsage> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::ops::find(&mut tx, slug).await?;
    let mut windows = fold(&facts(ledger::store::window_facts(&mut tx, row.id).await?)?);
    let mut wake_cause = row.session.is_some().then_some(row.wake_cause).flatten();
    let mut causes: Vec<_> = wake_cause.as_mut().into_iter().collect();
    for window in &mut windows {
        causes.push(&mut window.wake_cause);
        causes.extend(window.end_cause.as_mut());
    }
    accounts::ops::say_names(&mut tx, causes).await?;
    drop(tx);
    let now = app.now();
    let prices = &app.config.prices;
    let seconds = seconds_this_month(&windows, now);
    let month = month_start(now);
    let estimate_micros = windows
        .iter()
        .map(|window| prices.cost(window.size, clipped_seconds(window, month, now)))
        .fold(0, u64::saturating_add);
    let billed_separately = row.manifest.iter().flat_map(|manifest| {
        manifest
            .resources
            .iter()
            .filter(|(_, mode)| matches!(mode, ResourceMode::CustomerCloud { .. }))
            .map(|(kind, _)| kind.to_string())
    });
    Ok(WorkspaceUsage {
        state: row.runtime.state,
        size: row.runtime_size,
        wake_cause,
        awake_since: row.window.map(|window| window.opened_at),
        awake_seconds_this_month: seconds,
        cap: row.cap,
        cap_posture: row.cap.posture(seconds),
        estimate_micros,
        currency: prices.currency.clone(),
        billed_separately: billed_separately.collect(),
        receipts: receipts(&windows, row.session, prices, now),
    })
}

/// Sets a workspace's cap.
pub async fn set_cap(app: &App, permit: &Permit, slug: &Slug, request: SetCap) -> Answer<WorkspaceUsage> {
    if request.cap.minutes > 60 * 24 * 31 {
        return Err(Refusal::invalid("cap.minutes", "a month has at most 44,640 minutes").into());
    }
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::ops::find_usable(&mut tx, slug).await?;
    let mode = match request.cap.mode {
        CapMode::None => "none",
        CapMode::Warn => "warn",
        CapMode::Stop => "stop",
    };
    store::set_cap(&mut tx, row.id, mode, request.cap.minutes).await?;
    let details = json!({ "mode": mode, "minutes": request.cap.minutes });
    ledger::record(app, &mut tx, Entry::new(&permit.actor(), "cap.set", row.id, "asked").details(details)).await?;
    tx.nudge(Nudge::Workspace { org: row.org, workspace: row.id });
    tx.commit().await?;
    usage(app, permit, slug).await
}

/// Whether caps let this workspace wake, in the transaction that wakes it; a warning is recorded.
pub async fn check_caps(app: &App, tx: &mut Tx, row: &Row, actor: &str) -> Answer<()> {
    for (whose, posture) in postures(app, tx, row).await? {
        check(app, tx, row, actor, whose, posture).await?;
    }
    Ok(())
}

/// Which cap says that this workspace must not be awake any more, in words.
pub async fn used_up(app: &App, tx: &mut Tx, row: &Row) -> Answer<Option<String>> {
    let postures = postures(app, tx, row).await?;
    let stopped = postures.into_iter().find(|(_, posture)| matches!(posture, CapPosture::Stopped { .. }));
    Ok(stopped.map(|(whose, _)| format!("the {whose}'s cap on awake minutes is used up")))
}

/// Where the caps that are set stand, and whose each is.
async fn postures(app: &App, tx: &mut Tx, row: &Row) -> Answer<Vec<(&'static str, CapPosture)>> {
    let (now, mut postures) = (app.now(), Vec::new());
    if row.cap.mode != CapMode::None {
        let windows = fold(&facts(ledger::store::window_facts(tx, row.id).await?)?);
        postures.push(("workspace", row.cap.posture(seconds_this_month(&windows, now))));
    }
    if row.org_cap.mode != CapMode::None {
        // Windows of different workspaces overlap rightly, so each workspace is folded apart.
        let mut of_workspace: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (workspace, details) in ledger::store::org_window_facts(tx).await? {
            of_workspace.entry(workspace).or_default().push(details);
        }
        let mut seconds = 0;
        for details in of_workspace.into_values() {
            seconds += seconds_this_month(&fold(&facts(details)?), now);
        }
        postures.push(("organization", row.org_cap.posture(seconds)));
    }
    Ok(postures)
}

async fn check(app: &App, tx: &mut Tx, row: &Row, actor: &str, whose: &str, posture: CapPosture) -> Answer<()> {
    match posture {
        CapPosture::Stopped { percent } => Err(Refusal::new(
            RefusalKind::Limit,
            "cap.stopped",
            format!("the {whose}'s cap on awake minutes is used up ({percent} %)"),
        )
        .hint("raise the cap, or wait for the next month")
        .into()),
        CapPosture::Warning { percent } => {
            let entry = Entry::new(actor, "cap.warned", row.id, whose).details(json!({ "percent": percent }));
            ledger::record(app, tx, entry).await
        }
        CapPosture::None | CapPosture::Within { .. } => Ok(()),
    }
}

fn facts(details: Vec<Value>) -> Answer<Vec<WindowFact>> {
    Ok(details.into_iter().map(serde_json::from_value).collect::<Result<_, _>>()?)
}

fn month_start(now: Timestamp) -> Timestamp {
    let zoned = now.to_zoned(TimeZone::UTC);
    zoned.first_of_month().and_then(|day| day.start_of_day()).map_or(now, |start| start.timestamp())
}

fn clipped_seconds(window: &AwakeWindow, from: Timestamp, now: Timestamp) -> u64 {
    let clipped = AwakeWindow { opened_at: window.opened_at.max(from), ..window.clone() };
    clipped.seconds(now)
}

fn seconds_this_month(windows: &[AwakeWindow], now: Timestamp) -> u64 {
    let from = month_start(now);
    windows.iter().map(|window| clipped_seconds(window, from, now)).sum()
}
