//! Reading usage, setting caps, and the cap check of a wake.

use super::store;
use crate::accounts;
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::Answer;
use crate::platform::http::auth::Permit;
use crate::settings;
use crate::workspaces;
use crate::workspaces::store::Row;
use envforge_api::http::usage::{OrgUsage, SetCap, UsedWorkspace, WorkspaceUsage};
use envforge_core::access::Role;
use envforge_core::id::WorkspaceId;
use envforge_core::manifest::ResourceMode;
use envforge_core::name::Slug;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::usage::{AwakeWindow, CapMode, CapPosture, Month, SizeSeconds, WindowFact, fold, months, receipts};
use jiff::{Timestamp, Unit};
use serde_json::json;
use std::collections::BTreeMap;

/// The usage panel of a workspace.
pub async fn usage(app: &App, permit: &Permit, slug: &Slug) -> Answer<WorkspaceUsage> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::ops::find(&mut tx, slug).await?;
    let now = app.now();
    let mut windows = store::windows(&mut tx, row.id).await?;
    let used = store::seconds_of(&mut tx, row.id, Month::of(now), now).await?;
    let prices = settings::ops::price_list(app, &mut tx).await?;
    let estimate_micros = if let Some(held) = prices.of_whole(Month::of(now)) {
        prices.cost_of(&[(held.version, used)])
    } else {
        let spent = store::spent(&mut tx, &prices, Month::of(now), now).await?;
        spent.get(&row.id).map_or(0, |spent| prices.cost_of(spent))
    };
    let mut wake_cause = row.session.is_some().then_some(row.wake_cause).flatten();
    let mut causes: Vec<_> = wake_cause.as_mut().into_iter().collect();
    for window in &mut windows {
        causes.push(&mut window.wake_cause);
        causes.extend(window.end_cause.as_mut());
    }
    accounts::ops::say_names(&mut tx, causes).await?;
    drop(tx);
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
        cap_posture: row.cap.posture(used.total()),
        estimate_micros,
        currency: prices.at(now).prices.currency.clone(),
        billed_separately: billed_separately.collect(),
        receipts: receipts(&windows, row.session, &prices, now),
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

/// What the org used in a month; this one when none is named. Of projects that the reader does not see, nothing is
/// listed; their seconds are in the sums of those who pay, or run the org.
pub async fn org_usage(app: &App, permit: &Permit, month: Option<Month>) -> Answer<OrgUsage> {
    let now = app.now();
    let month = month.unwrap_or_else(|| Month::of(now));
    let mut tx = app.db.begin(permit.scope).await?;
    let listed = store::list(&mut tx, month, now).await?;
    let cap = store::org_cap(&mut tx).await?;
    let prices = settings::ops::price_list(app, &mut tx).await?;
    // Where prices change within the month its windows are looked at; else the sums that are kept say enough.
    let is_changed = prices.of_whole(month).is_none();
    let changed = if is_changed { Some(store::spent(&mut tx, &prices, month, now).await?) } else { None };
    let sees_all = matches!(permit.role(), Role::Owner | Role::Admin | Role::Billing);
    let seconds = if sees_all {
        store::system_org_seconds(&mut tx, month, now).await?
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
        Some(_) if sees_all => prices.cost_of(&store::system_org_spent(&mut tx, &prices, month, now).await?),
        Some(spent) => prices.cost_of(&spent.values().flatten().copied().collect::<Vec<_>>()),
        None => prices.cost_of(&[(in_force, seconds)]),
    };
    drop(tx);
    let workspaces = listed.into_iter().map(|listed| UsedWorkspace {
        id: listed.workspace,
        slug: listed.slug,
        project: listed.project,
        is_deleted: listed.is_deleted,
        seconds: listed.seconds,
        awake_seconds: listed.seconds.total(),
        cost_micros: cost(listed.workspace, listed.seconds),
        cap: listed.cap,
        cap_posture: listed.cap.posture(listed.seconds.total()),
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
        cap_posture: sees_all.then(|| cap.posture(seconds.total())),
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

/// Whether caps let this workspace wake, in the transaction that wakes it; a warning is recorded. Who holds the org's sum
/// until its end decides on what the others have done.
pub async fn check_caps(app: &App, tx: &mut Tx, row: &Row, actor: &str) -> Answer<()> {
    if row.org_cap.mode == CapMode::Stop {
        store::system_lock_org(tx, Month::of(app.now())).await?;
    }
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
    let month = Month::of(now);
    if row.cap.mode != CapMode::None {
        let used = store::seconds_of(tx, row.id, month, now).await?;
        postures.push(("workspace", row.cap.posture(used.total())));
    }
    if row.org_cap.mode != CapMode::None {
        let used = store::system_org_seconds(tx, month, now).await?;
        postures.push(("organization", row.org_cap.posture(used.total())));
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
