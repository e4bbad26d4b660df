//! Showing and setting schedules and quiet hours.

use super::store::{self, Stored};
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Permit;
use crate::workspaces;
use envforge_api::http::schedules::{NextDue, OrgQuietHours, SetSchedule, WorkspaceSchedule};
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use envforge_core::timetable::{Timetable, Week};
use jiff::Timestamp;
use serde_json::json;

/// When a workspace wakes and sleeps by itself.
pub async fn show(app: &App, permit: &Permit, slug: &Slug) -> Answer<WorkspaceSchedule> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::ops::find(&mut tx, slug).await?;
    let stored = store::find(&mut tx, row.id).await?;
    Ok(shown(stored, app.now()))
}

fn shown(stored: Option<Stored>, now: Timestamp) -> WorkspaceSchedule {
    let Some(Stored { timetable, last, .. }) = stored else {
        return WorkspaceSchedule { schedule: None, next: None, last: None };
    };
    let next = timetable.check().ok().and_then(|week| week.next(now));
    let next = next.map(|due| NextDue { at: due.at, action: due.action });
    WorkspaceSchedule { schedule: Some(timetable), next, last }
}

/// Sets or removes it. What was due before is not made up for, and a sleep that waits for the end of work waits no more.
pub async fn set(app: &App, permit: &Permit, slug: &Slug, request: SetSchedule) -> Answer<WorkspaceSchedule> {
    let wanted = match request.schedule {
        Some(timetable) => {
            let week = timetable.check()?;
            Some((timetable.normalized(&week), week))
        }
        None => None,
    };
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::store::lock_by_slug(&mut tx, slug).await?.ok_or_else(|| workspaces::ops::not_found(slug))?;
    if row.deleting {
        return Err(Refusal::conflict("workspace.deleting", format!("workspace `{slug}` is being deleted")).into());
    }
    let (actor, now) = (permit.actor(), app.now());
    match wanted {
        Some((timetable, week)) => {
            let before = store::find(&mut tx, row.id).await?;
            if before.as_ref().is_some_and(|before| before.timetable == timetable) {
                return Ok(shown(before, now));
            }
            store::put(&mut tx, row.id, &timetable, next_look(&week, now), permit.user, now).await?;
            let details = told(&timetable)?;
            ledger::record(app, &mut tx, Entry::new(&actor, "schedule.set", row.id, "asked").details(details)).await?;
        }
        None if store::remove(&mut tx, row.id).await? => {
            ledger::record(app, &mut tx, Entry::new(&actor, "schedule.removed", row.id, "asked")).await?;
        }
        None => return Ok(shown(None, now)),
    }
    tx.nudge(Nudge::Workspace { org: row.org, workspace: row.id });
    let stored = store::find(&mut tx, row.id).await?;
    tx.commit().await?;
    Ok(shown(stored, now))
}

fn told(timetable: &Timetable) -> Answer<serde_json::Value> {
    Ok(json!({ "zone": timetable.zone, "entries": serde_json::to_value(&timetable.entries)? }))
}

/// When a schedule has to be looked at after `now`.
pub(super) fn next_look(week: &Week, now: Timestamp) -> Timestamp {
    week.next(now).map_or(Timestamp::MAX, |due| due.at)
}

/// The org's quiet hours.
pub async fn quiet_hours(app: &App, permit: &Permit) -> Answer<OrgQuietHours> {
    let mut tx = app.db.begin(permit.scope).await?;
    Ok(OrgQuietHours { quiet_hours: store::quiet_hours(&mut tx).await? })
}

/// Sets or removes them, from now on.
pub async fn set_quiet_hours(app: &App, permit: &Permit, request: OrgQuietHours) -> Answer<OrgQuietHours> {
    let quiet_hours = match request.quiet_hours {
        Some(hours) => {
            let quiet = hours.check()?;
            Some(hours.normalized(&quiet))
        }
        None => None,
    };
    let mut tx = app.db.begin(permit.scope).await?;
    if store::set_quiet_hours(&mut tx, quiet_hours.as_ref()).await? {
        let details = json!({ "quiet_hours": serde_json::to_value(&quiet_hours)? });
        let actor = permit.actor();
        let entry = Entry::new(&actor, "quiet_hours.changed", permit.scope.org(), "asked").details(details);
        ledger::record(app, &mut tx, entry).await?;
        tx.commit().await?;
    }
    Ok(OrgQuietHours { quiet_hours })
}
