//! Reading usage, and writing down what the meter decides.

use super::store;
use crate::accounts;
use crate::app::App;
use crate::caps;
use crate::ledger::{self, Entry};
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::Answer;
use crate::platform::http::auth::Permit;
use crate::settings;
use crate::workspaces;
use envforge_api::http::usage::{OrgUsage, UsedWorkspace, WorkspaceUsage};
use envforge_core::id::WorkspaceId;
use envforge_core::manifest::ResourceMode;
use envforge_core::name::Slug;
use envforge_core::usage::{
    AwakeWindow, CapLevel, CapPosture, Month, SizeSeconds, Used, WindowFact, fold, months, receipts,
};
use jiff::{Timestamp, Unit};
use serde_json::json;
use std::collections::BTreeMap;

/// The usage panel of a workspace.
pub async fn usage(app: &App, permit: &Permit, slug: &Slug) -> Answer<WorkspaceUsage> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::ops::find(&mut tx, slug).await?;
    let now = app.now();
    let mut windows = store::windows(&mut tx, row.id).await?;
    let used = caps::store::seconds_of(&mut tx, &[row.id], Month::of(now), now).await?;
    let prices = settings::ops::price_list(app, &mut tx).await?;
    let estimate_micros = if let Some(held) = prices.of_whole(Month::of(now)) {
        prices.cost_of(&[(held.version, used)])
    } else {
        let spent = caps::store::spent(&mut tx, &prices, Month::of(now), now).await?;
        spent.get(&row.id).map_or(0, |spent| prices.cost_of(spent))
    };
    let caps = caps::ops::of_row(app, &mut tx, permit, &row).await?;
    let mut wake_cause = row.session.is_some().then_some(row.wake_cause).flatten();
    let mut causes: Vec<_> = wake_cause.as_mut().into_iter().collect();
    for window in &mut windows {
        causes.push(&mut window.wake_cause);
        causes.extend(window.end_cause.as_mut());
    }
    accounts::ops::say_names(&mut tx, causes).await?;
    drop(tx);
    let own = caps.caps.iter().find(|cap| cap.level == CapLevel::Workspace).and_then(|cap| cap.posture);
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
        awake_seconds_this_month: used.total(),
        cap: row.cap,
        cap_posture: own.unwrap_or(CapPosture::None),
        caps: caps.caps,
        cap_grace_until: caps.grace_until,
        estimate_micros,
        currency: prices.at(now).prices.currency.clone(),
        billed_separately: billed_separately.collect(),
        receipts: receipts(&windows, row.session, &prices, now),
    })
}

/// What the org used in a month; this one when none is named. Of projects that the reader does not see, nothing is
/// listed; their seconds are in the sums of those who pay, or run the org.
pub async fn org_usage(app: &App, permit: &Permit, month: Option<Month>) -> Answer<OrgUsage> {
    let now = app.now();
    let month = month.unwrap_or_else(|| Month::of(now));
    let mut tx = app.db.begin(permit.scope).await?;
    let listed = store::list(&mut tx, month, now).await?;
    let cap = caps::store::of_org(&mut tx).await?;
    let caps = if Month::of(now) == month { caps::ops::of_org(app, &mut tx, permit).await? } else { Vec::new() };
    let prices = settings::ops::price_list(app, &mut tx).await?;
    // Where prices change within the month its windows are looked at; else the sums that are kept say enough.
    let is_changed = prices.of_whole(month).is_none();
    let changed = if is_changed { Some(caps::store::spent(&mut tx, &prices, month, now).await?) } else { None };
    let sees_all = caps::ops::sees_all(permit);
    let seconds = if sees_all {
        caps::store::system_org_seconds(&mut tx, month, now).await?
    } else {
        let mut seen = SizeSeconds::default();
        for workspace in &listed {
            seen.add_all(workspace.seconds);
        }
        seen
    };
    let in_force = prices.at(month.start()).version;
    let cost = |workspace: WorkspaceId, seconds: SizeSeconds| match &changed {
        Some(spent) => spent.get(&workspace).map_or(0, |spent| prices.cost_of(spent)),
        None => prices.cost_of(&[(in_force, seconds)]),
    };
    let cost_micros = match &changed {
        Some(_) if sees_all => prices.cost_of(&caps::store::system_org_spent(&mut tx, &prices, month, now).await?),
        Some(spent) => prices.cost_of(&spent.values().flatten().copied().collect::<Vec<_>>()),
        None => prices.cost_of(&[(in_force, seconds)]),
    };
    drop(tx);
    // With what lifts it, where it is this month's.
    let posture = caps.iter().find(|cap| cap.level == CapLevel::Organization).and_then(|cap| cap.posture);
    let workspaces = listed.into_iter().map(|listed| UsedWorkspace {
        id: listed.workspace,
        slug: listed.slug,
        project: listed.project,
        is_deleted: listed.is_deleted,
        seconds: listed.seconds,
        awake_seconds: listed.seconds.total(),
        cost_micros: cost(listed.workspace, listed.seconds),
        cap: listed.cap,
        cap_posture: listed
            .cap
            .posture(Used { seconds: listed.seconds.total(), micros: cost(listed.workspace, listed.seconds) }),
    });
    Ok(OrgUsage {
        month,
        is_over: month.end() <= now,
        workspaces: workspaces.collect(),
        seconds,
        awake_seconds: seconds.total(),
        cost_micros,
        currency: prices.at(month.start()).prices.currency.clone(),
        bill: sees_all.then(|| prices.bill(month, cost_micros)),
        cap,
        cap_posture: sees_all
            .then(|| posture.unwrap_or_else(|| cap.posture(Used { seconds: seconds.total(), micros: cost_micros }))),
        caps,
    })
}

/// Writes down that a window opened or closed; the same transaction keeps it for reading.
pub async fn record(
    app: &App,
    tx: &mut Tx,
    workspace: WorkspaceId,
    actor: &str,
    evidence: &str,
    fact: &WindowFact,
) -> Answer<()> {
    let verb = match fact {
        WindowFact::Opened { .. } => "window.opened",
        WindowFact::Closed { .. } => "window.closed",
    };
    let entry = Entry::new(actor, verb, workspace, evidence).details(serde_json::to_value(fact)?);
    ledger::record(app, tx, entry).await
}

/// Makes a workspace's windows as they are kept for reading anew from the ledger, if they don't say the same; tells what
/// was different.
pub(super) async fn verify(app: &App, org: OrgScope, workspace: WorkspaceId) -> Answer<Option<&'static str>> {
    let mut tx = app.db.begin(org).await?;
    // No window opens or closes between the two.
    store::lock(&mut tx, workspace).await?;
    let facts = ledger::store::window_facts(&mut tx, workspace).await?;
    let facts = facts.into_iter().map(serde_json::from_value).collect::<Result<Vec<WindowFact>, _>>()?;
    let windows: Vec<_> = fold(&facts).into_iter().map(stored).collect();
    let different = if store::windows(&mut tx, workspace).await? == windows {
        let closed: Vec<_> = windows.into_iter().filter(|window| window.closed_at.is_some()).collect();
        let mut expected = months(&closed, app.now());
        let mut kept: BTreeMap<_, _> = store::months(&mut tx, workspace).await?.into_iter().collect();
        for all in [&mut expected, &mut kept] {
            all.retain(|_, seconds| seconds.total() > 0);
        }
        if kept == expected {
            return Ok(None);
        }
        "months"
    } else {
        "windows"
    };
    store::system_rebuild(&mut tx, workspace).await?;
    let entry = Entry::new("system:meter", "usage.rebuilt", workspace, "it did not say what the ledger says");
    ledger::record(app, &mut tx, entry.details(json!({ "different": different }))).await?;
    tx.commit().await?;
    Ok(Some(different))
}

/// A window as the database keeps it: to the microsecond.
fn stored(window: AwakeWindow) -> AwakeWindow {
    let rounded = |at: Timestamp| at.round(Unit::Microsecond).unwrap_or(at);
    AwakeWindow { opened_at: rounded(window.opened_at), closed_at: window.closed_at.map(rounded), ..window }
}
