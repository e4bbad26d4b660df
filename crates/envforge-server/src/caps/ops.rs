//! Showing, setting and lifting caps; and what they refuse, end and tell.

use super::jobs::CapEvent;
use super::store::{self, Given, Holder};
use crate::accounts;
use crate::app::App;
use crate::ledger::{self, Entry, Refused};
use crate::links;
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Permit;
use crate::projects;
use crate::settings;
use crate::workspaces;
use crate::workspaces::store::Row;
use envforge_api::http::caps::{CapStanding, GivenOverride, OverrideCap, WorkspaceCaps};
use envforge_core::access::Role;
use envforge_core::id::{ProjectId, WorkspaceId};
use envforge_core::name::Slug;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::usage::cap::{self, CapStep, Grace, Limit, MONTH_MINUTES, Wish};
use envforge_core::usage::{Cap, CapLevel, CapMode, CapPosture, Month, PriceList, SizeSeconds, Used};
use jiff::Timestamp;
use serde_json::json;

/// Who speaks for a cap.
const ACTOR: &str = "system:cap";

/// Whose cap somebody means.
#[derive(Debug, Clone)]
pub enum Target {
    /// A workspace's.
    Workspace(Slug),
    /// A project's.
    Project(Slug),
    /// The org's.
    Org,
}

/// A cap with what counts against it.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    holder: Holder,
    name: String,
    cap: Cap,
    used: Used,
    given: Option<Given>,
    /// What money is counted in.
    currency: String,
}

impl Measured {
    /// Where it stands, what lifts it counted in.
    fn posture(&self, now: Timestamp) -> CapPosture {
        self.cap.posture_with(self.used, self.given.as_ref().map(|given| given.lifted), now)
    }

    /// What lifts its stop now.
    fn lifted(&self, now: Timestamp) -> Option<&Given> {
        self.given.as_ref().filter(|given| given.lifted.holds(self.used, now))
    }

    fn words(&self) -> String {
        let percent = self.cap.posture(self.used).percent().unwrap_or(0);
        let limit = self.cap.limit_words(&self.currency);
        format!("the {}'s cap is used up: {percent} % of the month's {limit}", self.holder.level())
    }

    /// As the ledger tells it.
    fn details(&self) -> serde_json::Value {
        json!({
            "level": self.holder.level(), "mode": self.cap.mode, "minutes": self.cap.minutes, "micros": self.cap.micros,
            "percent": self.cap.posture(self.used).percent(), "used_seconds": self.used.seconds, "used_micros": self.used.micros,
        })
    }
}

/// What a cap's holder has used, and what it costs.
async fn used(tx: &mut Tx, prices: &PriceList, holder: Holder, month: Month, now: Timestamp) -> Answer<Used> {
    let workspaces = match holder {
        Holder::Workspace(id) => Some(vec![id]),
        Holder::Project(id) => Some(store::workspaces_of(tx, id).await?),
        Holder::Org(_) => None,
    };
    let seconds = match &workspaces {
        Some(ids) => store::seconds_of(tx, ids, month, now).await?,
        None => store::system_org_seconds(tx, month, now).await?,
    };
    let spent = match (prices.of_whole(month), workspaces) {
        (Some(held), _) => vec![(held.version, seconds)],
        // Where prices change within the month, windows are looked at one by one.
        (None, None) => store::system_org_spent(tx, prices, month, now).await?,
        (None, Some(ids)) => {
            let mut spent = store::spent(tx, prices, month, now).await?;
            ids.iter().filter_map(|id| spent.remove(id)).flatten().collect()
        }
    };
    Ok(Used { seconds: seconds.total(), micros: prices.cost_of(&spent) })
}

async fn measure(
    app: &App,
    tx: &mut Tx,
    prices: &PriceList,
    holder: Holder,
    name: String,
    cap: Cap,
) -> Answer<Measured> {
    let (now, month) = (app.now(), Month::of(app.now()));
    let used = used(tx, prices, holder, month, now).await?;
    let given = if cap.mode == CapMode::Stop { store::find_override(tx, holder).await? } else { None };
    Ok(Measured { holder, name, cap, used, given, currency: prices.at(now).prices.currency.clone() })
}

/// The caps that are set of what a runtime counts against, in the order workspace, project, org.
async fn measured(app: &App, tx: &mut Tx, prices: &PriceList, row: &Row, caps: [Cap; 3]) -> Answer<Vec<Measured>> {
    let holders = [
        (Holder::Workspace(row.id), row.slug.to_string()),
        (Holder::Project(row.project_id), row.project.to_string()),
        (Holder::Org(row.org), row.org_slug.to_string()),
    ];
    let mut all = Vec::new();
    for ((holder, name), cap) in holders.into_iter().zip(caps) {
        if cap.mode != CapMode::None {
            all.push(measure(app, tx, prices, holder, name, cap).await?);
        }
    }
    Ok(all)
}

/// Whether caps let this workspace wake, in the transaction that wakes it. Who holds project and org until its end decides on
/// what the others have done.
pub(crate) async fn check_wake(app: &App, tx: &mut Tx, row: &mut Row, actor: &str) -> Answer<()> {
    end_grace(app, tx, row, "it ended").await?;
    row.cap_grace_since = None;
    if row.project_cap.mode == CapMode::Stop {
        store::lock_project(tx, row.project_id).await?;
    }
    if row.org_cap.mode == CapMode::Stop {
        store::system_lock_org(tx, Month::of(app.now())).await?;
    }
    let caps = if row.caps().iter().all(|cap| cap.mode == CapMode::None) {
        return Ok(());
    } else {
        store::caps_of(tx, row.id).await?
    };
    let (now, prices) = (app.now(), settings::ops::price_list(app, tx).await?);
    let all = measured(app, tx, &prices, row, caps).await?;
    tell(app, tx, &all, Some(row), actor).await?;
    for mut one in all {
        // Others that are on their way will use a second at least.
        let waking = match one.holder {
            Holder::Workspace(_) => SizeSeconds::default(),
            Holder::Project(project) => store::system_waking(tx, Some(project)).await?,
            Holder::Org(_) => store::system_waking(tx, None).await?,
        };
        one.used.seconds = one.used.seconds.saturating_add(waking.total());
        one.used.micros = one.used.micros.saturating_add(prices.cost_of(&[(prices.at(now).version, waking)]));
        match one.posture(now) {
            CapPosture::Stopped { .. } => {
                let message = one.words();
                let (actor, subject) = (actor.to_owned(), row.id.to_string());
                let cause = format!("the {}'s cap", one.holder.level());
                ledger::refused(app, Refused { org: Some(row.org), actor, verb: "cap.blocked", subject, cause });
                return Err(stopped(message).into());
            }
            CapPosture::Warning { .. } if one.lifted(now).is_some() && is_full(&one) => {
                let cause = "overridden";
                let entry = Entry::new(actor, CapStep::Continued.verb(), row.id, cause).details(one.details());
                ledger::record(app, tx, entry).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_full(one: &Measured) -> bool {
    one.cap.steps(one.used).contains(&CapStep::Reached)
}

fn stopped(message: String) -> Refusal {
    Refusal::new(RefusalKind::Limit, "cap.stopped", message)
        .hint("raise the cap, override it for a reason (`envforge cap override`), or wait for the next month")
}

/// Refuses a new job in a runtime that goes on only for those that run.
pub(crate) fn check_run(row: &Row) -> Answer<()> {
    if row.cap_grace_since.is_none() {
        return Ok(());
    }
    Err(stopped("a cap is used up: jobs that run may end, and none begins".to_owned()).into())
}

/// Looks at a runtime that is awake, on its locked row: tells what is to be told, and answers why it must sleep now, if so.
pub(crate) async fn while_awake(app: &App, tx: &mut Tx, row: &Row) -> Answer<Option<String>> {
    let now = app.now();
    let prices = settings::ops::price_list(app, tx).await?;
    let all = measured(app, tx, &prices, row, row.caps()).await?;
    tell(app, tx, &all, Some(row), ACTOR).await?;
    for one in &all {
        if let Some(given) = &one.given
            && one.lifted(now).is_none()
        {
            let cause = if now >= given.lifted.until { "its time is over" } else { "what it allowed is used" };
            end_override(app, tx, one, ACTOR, cause).await?;
        }
    }
    let full: Vec<&Measured> =
        all.iter().filter(|one| matches!(one.posture(now), CapPosture::Stopped { .. })).collect();
    let Some(first) = full.first() else {
        end_grace(app, tx, row, "no cap stops it any more").await?;
        return Ok(None);
    };
    let reason = first.words();
    let minutes = full.iter().map(|one| one.cap.grace_minutes).min().unwrap_or(0);
    let ended = match cap::grace(minutes, row.jobs_running > 0, row.cap_grace_since, now) {
        Grace::Until(until) => {
            if row.cap_grace_since.is_none() {
                store::set_grace(tx, row.id, Some(now)).await?;
                let details = json!({ "until": until.to_string(), "jobs": row.jobs_running });
                ledger::record(app, tx, Entry::new(ACTOR, "cap.grace_begun", row.id, &reason).details(details)).await?;
                tx.nudge(Nudge::Workspace { org: row.org, workspace: row.id });
            }
            return Ok(None);
        }
        Grace::NoJobs => "no job runs",
        Grace::Over => "the time for jobs that ran is over",
    };
    let reason = if row.cap_grace_since.is_some() { format!("{reason}; {ended}") } else { reason };
    ledger::record(app, tx, Entry::new(ACTOR, "cap.blocked", row.id, &reason).details(first.details())).await?;
    Ok(Some(reason))
}

/// Ends the time that jobs have past a cap, if it has begun.
pub(crate) async fn end_grace(app: &App, tx: &mut Tx, row: &Row, cause: &str) -> Answer<()> {
    let Some(since) = row.cap_grace_since else { return Ok(()) };
    store::set_grace(tx, row.id, None).await?;
    let seconds = app.now().duration_since(since).as_secs().max(0);
    let entry = Entry::new(ACTOR, "cap.grace_ended", row.id, cause).details(json!({ "seconds": seconds }));
    ledger::record(app, tx, entry).await?;
    tx.nudge(Nudge::Workspace { org: row.org, workspace: row.id });
    Ok(())
}

/// Tells of caps what was not told this month. `row` is the workspace that brought it up, if one did.
async fn tell(app: &App, tx: &mut Tx, all: &[Measured], row: Option<&Row>, actor: &str) -> Answer<()> {
    let (now, month) = (app.now(), Month::of(app.now()));
    let due: Vec<(&Measured, CapStep)> = all
        .iter()
        .flat_map(|one| {
            let continued = is_full(one) && one.lifted(now).is_some();
            let steps = one.cap.steps(one.used).iter().copied().chain(continued.then_some(CapStep::Continued));
            steps.map(move |step| (one, step))
        })
        .collect();
    if due.is_empty() {
        return Ok(());
    }
    let holders: Vec<Holder> = due.iter().map(|(one, _)| one.holder).collect();
    let told = store::told(tx, &holders, month).await?;
    for (one, step) in due {
        // A wake that an override allows says so itself, each time.
        let is_said = step == CapStep::Continued && actor != ACTOR;
        if is_said || store::is_told(&told, one.holder, step) || !store::tell(tx, one.holder, month, step).await? {
            continue;
        }
        let cause = one.holder.level().as_str();
        let mut details = one.details();
        if let Some(row) = row {
            details["workspace"] = row.id.to_string().into();
            tx.nudge(Nudge::Workspace { org: row.org, workspace: row.id });
        }
        ledger::record(app, tx, Entry::new(actor, step.verb(), one.holder, cause).details(details)).await?;
        announce(app, tx, one, step.verb(), row).await?;
    }
    Ok(())
}

/// Tells the org's webhook, once the transaction is committed.
async fn announce(app: &App, tx: &mut Tx, one: &Measured, kind: &str, row: Option<&Row>) -> Answer<()> {
    let mut event = json!({
        "type": kind, "at": app.now().to_string(), "name": one.name, "cap": one.cap,
        "currency": one.currency, "workspace": row.map(|row| row.slug.as_str()),
    });
    if let (Some(event), serde_json::Value::Object(details)) = (event.as_object_mut(), one.details()) {
        event.extend(details);
    }
    CapEvent::send(app, tx, event).await
}

/// A cap as it is shown; of the whole org's, only whoever sees all of it is told how much was used.
fn standing(one: &Measured, permit: &Permit, now: Timestamp) -> CapStanding {
    let is_seen = !matches!(one.holder, Holder::Org(_)) || sees_all(permit);
    let posture = one.posture(now);
    CapStanding {
        level: one.holder.level(),
        name: one.name.clone(),
        cap: one.cap,
        posture: (is_seen || posture.is_news()).then_some(posture),
        awake_seconds: is_seen.then_some(one.used.seconds),
        cost_micros: is_seen.then_some(one.used.micros),
        currency: one.currency.clone(),
        overridden: one.lifted(now).map(|given| GivenOverride {
            by: format!("user:{}", given.by),
            reason: given.reason.clone(),
            at: given.at,
            until: given.lifted.until,
            up_to_seconds: match given.lifted.up_to {
                Some(Limit::Seconds(seconds)) => Some(seconds),
                _ => None,
            },
            up_to_micros: match given.lifted.up_to {
                Some(Limit::Micros(micros)) => Some(micros),
                _ => None,
            },
        }),
    }
}

/// Whether somebody is told what the whole org used.
pub(crate) fn sees_all(permit: &Permit) -> bool {
    matches!(permit.role(), Role::Owner | Role::Admin | Role::Billing)
}

/// People by name, in what is shown.
async fn say_names(tx: &mut Tx, standings: &mut [CapStanding]) -> Answer<()> {
    let names = standings.iter_mut().filter_map(|standing| standing.overridden.as_mut());
    accounts::ops::say_names(tx, names.map(|given| &mut given.by).collect()).await
}

/// The caps that a workspace's runtime counts against.
pub(crate) async fn of_row(app: &App, tx: &mut Tx, permit: &Permit, row: &Row) -> Answer<WorkspaceCaps> {
    let (now, prices) = (app.now(), settings::ops::price_list(app, tx).await?);
    let all = measured(app, tx, &prices, row, row.caps()).await?;
    let mut caps: Vec<CapStanding> = all.iter().map(|one| standing(one, permit, now)).collect();
    say_names(tx, &mut caps).await?;
    if let Some(link) = row.woken_by
        && let Some((minutes, seconds)) =
            links::ops::budget(tx, link, row.window.map(|window| window.opened_at), now).await?
    {
        let cap = Cap { mode: CapMode::Stop, minutes, grace_minutes: 0, ..Cap::default() };
        caps.push(CapStanding {
            level: CapLevel::Link,
            name: link.to_string(),
            cap,
            posture: Some(cap.posture(Used { seconds, micros: 0 })),
            awake_seconds: Some(seconds),
            cost_micros: None,
            currency: prices.at(now).prices.currency.clone(),
            overridden: None,
        });
    }
    let minutes = all.iter().filter(|one| matches!(one.posture(now), CapPosture::Stopped { .. }));
    let minutes = minutes.map(|one| one.cap.grace_minutes).min();
    let grace_until = minutes.zip(row.cap_grace_since).and_then(|(minutes, since)| {
        match cap::grace(minutes, true, Some(since), now) {
            Grace::Until(until) => Some(until),
            Grace::NoJobs | Grace::Over => None,
        }
    });
    Ok(WorkspaceCaps { caps, grace_until })
}

/// Caps of the org and of the projects that the reader sees, those that are set; for the org's usage.
pub(crate) async fn of_org(app: &App, tx: &mut Tx, permit: &Permit) -> Answer<Vec<CapStanding>> {
    let (now, prices) = (app.now(), settings::ops::price_list(app, tx).await?);
    let mut caps = Vec::new();
    let holders = store::of_projects(tx).await?.into_iter().map(|(id, slug, cap)| (Holder::Project(id), slug, cap));
    let org = (Holder::Org(permit.scope.org()), permit.org.clone(), store::of_org(tx).await?);
    for (holder, name, cap) in std::iter::once(org).chain(holders) {
        if cap.mode != CapMode::None {
            let one = measure(app, tx, &prices, holder, name.to_string(), cap).await?;
            caps.push(standing(&one, permit, now));
        }
    }
    say_names(tx, &mut caps).await?;
    Ok(caps)
}

/// A workspace's caps.
pub async fn of_workspace(app: &App, permit: &Permit, slug: &Slug) -> Answer<WorkspaceCaps> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::ops::find(&mut tx, slug).await?;
    of_row(app, &mut tx, permit, &row).await
}

/// One cap, set or not.
pub async fn show(app: &App, permit: &Permit, target: &Target) -> Answer<CapStanding> {
    let mut tx = app.db.begin(permit.scope).await?;
    let one = find(app, &mut tx, permit, target).await?;
    shown(app, &mut tx, permit, &one).await
}

async fn shown(app: &App, tx: &mut Tx, permit: &Permit, one: &Measured) -> Answer<CapStanding> {
    let mut standing = standing(one, permit, app.now());
    say_names(tx, std::slice::from_mut(&mut standing)).await?;
    Ok(standing)
}

async fn find(app: &App, tx: &mut Tx, permit: &Permit, target: &Target) -> Answer<Measured> {
    let (holder, name, cap) = match target {
        Target::Workspace(slug) => {
            let row = workspaces::ops::find_usable(tx, slug).await?;
            (Holder::Workspace(row.id), slug, row.cap)
        }
        Target::Project(slug) => {
            let project = store::of_projects(tx).await?.into_iter().find(|(_, found, _)| found == slug);
            let (id, _, cap) = project.ok_or_else(|| projects::ops::not_found(slug))?;
            (Holder::Project(id), slug, cap)
        }
        Target::Org => (Holder::Org(permit.scope.org()), &permit.org, store::of_org(tx).await?),
    };
    let prices = settings::ops::price_list(app, tx).await?;
    measure(app, tx, &prices, holder, name.to_string(), cap).await
}

/// The same for whoever changes it: no wake decides meanwhile.
async fn lock(app: &App, tx: &mut Tx, permit: &Permit, target: &Target) -> Answer<Measured> {
    let found = find(app, tx, permit, target).await?;
    match found.holder {
        Holder::Workspace(id) => drop(workspaces::store::lock(tx, id).await?),
        Holder::Project(id) => store::lock_project(tx, id).await?,
        Holder::Org(_) => store::system_lock_org(tx, Month::of(app.now())).await?,
    }
    find(app, tx, permit, target).await
}

/// Sets a cap. What was told of it is told anew.
pub async fn set(app: &App, permit: &Permit, target: &Target, cap: Cap) -> Answer<CapStanding> {
    cap.check(matches!(target, Target::Workspace(_)).then_some(MONTH_MINUTES))?;
    let mut tx = app.db.begin(permit.scope).await?;
    let before = lock(app, &mut tx, permit, target).await?;
    store::set(&mut tx, before.holder, cap).await?;
    store::forget(&mut tx, before.holder, None).await?;
    let details = json!({
        "level": before.holder.level(), "mode": cap.mode, "minutes": cap.minutes, "micros": cap.micros,
        "warn_at": cap.warn_at, "grace_minutes": cap.grace_minutes,
    });
    ledger::record(app, &mut tx, Entry::new(&permit.actor(), "cap.set", before.holder, "asked").details(details))
        .await?;
    if cap.mode != CapMode::Stop && before.given.is_some() {
        end_override(app, &mut tx, &before, &permit.actor(), "the cap stops nothing any more").await?;
    }
    let one = find(app, &mut tx, permit, target).await?;
    tell(app, &mut tx, std::slice::from_ref(&one), None, ACTOR).await?;
    finish(app, tx, permit, &one).await
}

/// Lifts a cap's stop for a while.
pub async fn lift(app: &App, permit: &Permit, target: &Target, request: &OverrideCap) -> Answer<CapStanding> {
    cap::check_reason(&request.reason)?;
    let mut tx = app.db.begin(permit.scope).await?;
    let mut one = lock(app, &mut tx, permit, target).await?;
    let wish = Wish { until: request.until, minutes: request.minutes, micros: request.micros };
    let now = app.now();
    let lifted = one.cap.lifted(wish, one.used, now, Month::of(now).end())?;
    let given = Given { lifted, reason: request.reason.clone(), by: permit.user, at: now };
    store::give(&mut tx, one.holder, &given).await?;
    store::forget(&mut tx, one.holder, Some(CapStep::Continued)).await?;
    let mut details = one.details();
    details["until"] = lifted.until.to_string().into();
    match lifted.up_to {
        Some(Limit::Seconds(seconds)) => details["up_to_seconds"] = seconds.into(),
        Some(Limit::Micros(micros)) => details["up_to_micros"] = micros.into(),
        None => {}
    }
    let actor = permit.actor();
    let entry = Entry::new(&actor, "cap.overridden", one.holder, &request.reason).details(details);
    ledger::record(app, &mut tx, entry).await?;
    announce(app, &mut tx, &one, "cap.overridden", None).await?;
    one.given = Some(given);
    finish(app, tx, permit, &one).await
}

/// Ends what lifts a cap.
pub async fn end(app: &App, permit: &Permit, target: &Target) -> Answer<CapStanding> {
    let mut tx = app.db.begin(permit.scope).await?;
    let mut one = lock(app, &mut tx, permit, target).await?;
    if one.lifted(app.now()).is_none() {
        return Err(Refusal::conflict(
            "cap.not_overridden",
            format!("no override of the {}'s cap holds", one.holder.level()),
        )
        .hint("`envforge cap show` tells which caps are overridden")
        .into());
    }
    end_override(app, &mut tx, &one, &permit.actor(), "asked").await?;
    one.given = None;
    finish(app, tx, permit, &one).await
}

async fn end_override(app: &App, tx: &mut Tx, one: &Measured, actor: &str, cause: &str) -> Answer<()> {
    if !store::take_back(tx, one.holder).await? {
        return Ok(());
    }
    let entry = Entry::new(actor, "cap.override_ended", one.holder, cause).details(one.details());
    ledger::record(app, tx, entry).await?;
    announce(app, tx, one, "cap.override_ended", None).await
}

/// Commits a change, and tells whoever watches a workspace that it is about.
async fn finish(app: &App, mut tx: Tx, permit: &Permit, one: &Measured) -> Answer<CapStanding> {
    let (only, project): (Option<WorkspaceId>, Option<ProjectId>) = match one.holder {
        Holder::Workspace(id) => (Some(id), None),
        Holder::Project(id) => (None, Some(id)),
        Holder::Org(_) => (None, None),
    };
    for row in workspaces::store::live(&mut tx).await? {
        if only.is_none_or(|id| id == row.id) && project.is_none_or(|id| id == row.project_id) {
            tx.nudge(Nudge::Workspace { org: row.org, workspace: row.id });
        }
    }
    if let Some(workspace) = only {
        tx.nudge(Nudge::Workspace { org: permit.scope.org(), workspace });
    }
    let standing = shown(app, &mut tx, permit, one).await?;
    tx.commit().await?;
    Ok(standing)
}
