//! Why a runtime is awake or asleep, and what another policy would have made of past weeks.

use super::store;
use crate::accounts;
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::fault::Answer;
use crate::platform::http::auth::Permit;
use crate::projects;
use crate::runs;
use crate::usage;
use crate::workspaces;
use envforge_api::http::activity::{IdleLimit, ReplayQuery, Replayed, Why};
use envforge_core::access::Action;
use envforge_core::idle::{self, IdlePolicy, check_idle};
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use envforge_core::runtime::RuntimeState;
use jiff::SignedDuration;
use serde_json::json;

/// How many days minutes are kept.
pub(super) const DAYS_KEPT: u32 = 28;
/// Days that are replayed when nobody says.
const DAYS_REPLAYED: u32 = 14;
/// How many jobs that run are named.
const JOBS_NAMED: i64 = 10;

/// Why it is awake or asleep now.
pub async fn why(app: &App, permit: &Permit, slug: &Slug) -> Answer<Why> {
    let mut tx = app.db.begin(permit.scope).await?;
    let mut row = workspaces::ops::find(&mut tx, slug).await?;
    let now = app.now();
    let (policy, rule_of) = workspaces::ops::idle_rule(&row, now);
    let facts = workspaces::ops::idle_facts(&row);
    let is_awake = matches!(row.runtime.state, RuntimeState::Awake | RuntimeState::Waking);
    let mut cause = if is_awake { row.wake_cause.take() } else { row.sleep_cause.take() };
    accounts::ops::say_names(&mut tx, cause.as_mut().into_iter().collect()).await?;
    let mut idle = (row.runtime.state == RuntimeState::Awake).then(|| idle::decide(&facts, &policy, now));
    // A key that may see usage alone is not told what is run.
    if facts.jobs_running > 0 && permit.also(Action::View) {
        let jobs = runs::store::running(&mut tx, row.id, JOBS_NAMED).await?;
        let jobs: Vec<String> = jobs.into_iter().map(|argv| argv.join(" ")).collect();
        idle = idle.map(|verdict| verdict.with_jobs(&jobs));
    }
    Ok(Why {
        state: row.runtime.state,
        since: row.changed_at,
        cause,
        idle,
        last_work: is_awake.then_some(facts.last_work),
        policy,
        rule_of,
        now,
    })
}

/// What another policy would have made of the past days.
pub async fn replay(app: &App, permit: &Permit, slug: &Slug, query: &ReplayQuery) -> Answer<Replayed> {
    let days = query.days.unwrap_or(DAYS_REPLAYED);
    if !(1..=DAYS_KEPT).contains(&days) {
        let message = format!("`{days}` days can't be replayed: minutes are kept for {DAYS_KEPT} days");
        return Err(Refusal::invalid("replay.days", message).hint("leave `days` away for the past two weeks").into());
    }
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::ops::find(&mut tx, slug).await?;
    let today = workspaces::ops::idle_policy(&row, app.now());
    let freeze_after = query.freeze_after.unwrap_or(today.freeze_after);
    check_idle("replay.freeze_after", freeze_after)?;
    let policy = IdlePolicy { freeze_after, cpu: query.cpu.unwrap_or(today.cpu), ..today };
    let now = app.now();
    let from = now.saturating_sub(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(now);
    let minutes = store::since(&mut tx, row.id, from).await?;
    let mut windows = usage::store::windows(&mut tx, row.id).await?;
    windows.retain(|window| window.opened_at >= from);
    let replay = idle::replay(&windows, &minutes, &policy, now);
    Ok(Replayed { from, policy, replay })
}

/// The org's idle limit.
pub async fn org_limit(app: &App, permit: &Permit) -> Answer<IdleLimit> {
    let mut tx = app.db.begin(permit.scope).await?;
    Ok(IdleLimit { seconds: store::org_limit(&mut tx).await? })
}

/// A project's idle limit.
pub async fn project_limit(app: &App, permit: &Permit, slug: &Slug) -> Answer<IdleLimit> {
    let mut tx = app.db.begin(permit.scope).await?;
    let project = projects::store::find(&mut tx, slug).await?.ok_or_else(|| projects::ops::not_found(slug))?;
    Ok(IdleLimit { seconds: store::project_limit(&mut tx, project.id).await? })
}

/// Sets or removes the org's, from now on.
pub async fn set_org_limit(app: &App, permit: &Permit, limit: IdleLimit) -> Answer<IdleLimit> {
    check_limit(limit)?;
    let mut tx = app.db.begin(permit.scope).await?;
    if store::set_org_limit(&mut tx, limit.seconds).await? {
        let (actor, details) = (permit.actor(), json!({ "seconds": limit.seconds }));
        let entry = Entry::new(&actor, "idle_limit.changed", permit.scope.org(), "asked").details(details);
        ledger::record(app, &mut tx, entry).await?;
        tx.commit().await?;
    }
    Ok(limit)
}

/// Sets or removes a project's, from now on.
pub async fn set_project_limit(app: &App, permit: &Permit, slug: &Slug, limit: IdleLimit) -> Answer<IdleLimit> {
    check_limit(limit)?;
    let mut tx = app.db.begin(permit.scope).await?;
    let project = projects::store::find(&mut tx, slug).await?.ok_or_else(|| projects::ops::not_found(slug))?;
    if store::set_project_limit(&mut tx, project.id, limit.seconds).await? {
        let (actor, details) = (permit.actor(), json!({ "seconds": limit.seconds }));
        let entry = Entry::new(&actor, "idle_limit.changed", project.id, "asked").details(details);
        ledger::record(app, &mut tx, entry).await?;
        tx.commit().await?;
    }
    Ok(limit)
}

fn check_limit(limit: IdleLimit) -> Answer<()> {
    limit.seconds.map_or(Ok(()), |seconds| check_idle("idle_limit.seconds", seconds))?;
    Ok(())
}
