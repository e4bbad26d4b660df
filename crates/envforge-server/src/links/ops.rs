//! Issue, list, revoke, exchange.

use super::store::{self, Row};
use crate::app::App;
use crate::ledger::{self, Entry, Refused};
use crate::platform::bus::Nudge;
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::{Answer, Fault};
use crate::platform::http::auth::Permit;
use crate::settings;
use crate::workspaces;
use crate::workspaces::store::Row as WorkspaceRow;
use envforge_api::gateway::{Exchange, Exchanged};
use envforge_api::http::links::{CreateLink, CreatedLink, Link, LinkState, Links, Visit, Visits, VisitsQuery};
use envforge_core::hostname;
use envforge_core::id::{LinkId, LinkSessionId, OrgId};
use envforge_core::link::{
    DEFAULT_EXPIRY, DEFAULT_MINUTE_BUDGET, DEFAULT_WAKE_BUDGET, Holder, LinkClaims, LinkRefused, MAX_EXPIRY, ROUTE_MAX,
    ROUTES_MAX, SessionClaims,
};
use envforge_core::name::Slug;
use envforge_core::readiness::{PartKind, ReadinessState};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::runtime::RuntimeState;
use envforge_core::usage::{WakeFact, woken_by_visits};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// Most links of one workspace that still open.
const LINKS_MAX: usize = 200;
/// Most awake minutes a link may be given: those of its longest life.
const MINUTES_MAX: u32 = 30 * 24 * 60;
/// What comes before a session's id where it is an actor.
const ACTOR: &str = "link_session:";
/// Visits on a page when nothing is said.
const VISITS_PAGE: u32 = 50;
/// Most visits on a page.
const VISITS_PAGE_MAX: u32 = 200;

fn refused(reason: LinkRefused) -> Fault {
    let kind = match reason {
        LinkRefused::VisitsSpent | LinkRefused::WakesSpent | LinkRefused::MinutesSpent => RefusalKind::Limit,
        LinkRefused::Revoked | LinkRefused::Expired => RefusalKind::Forbidden,
    };
    Refusal::new(kind, reason.code(), reason.to_string()).hint("ask whoever sent it for a new one").into()
}

/// A refusal of a token that is genuine: somebody has it, and it is noted which.
fn noted(app: &App, org: OrgId, link: LinkId, reason: LinkRefused) -> Fault {
    let cause = reason.code().to_owned();
    let actor = format!("link:{link}");
    ledger::refused(app, Refused { org: Some(org), actor, verb: "link.refused", subject: link.to_string(), cause });
    refused(reason)
}

/// Whether a link to a service can be shared now, and what is missing if not.
fn shareable(row: &WorkspaceRow, service: &str) -> Answer<()> {
    let Some(manifest) = &row.manifest else {
        let cause = row.diagnostics.first().cloned().unwrap_or_else(|| "its envforge.yml was not read yet".to_owned());
        return Err(Refusal::conflict("link.no_manifest", format!("no link yet: {cause}"))
            .hint("`envforge status` shows the state")
            .into());
    };
    if !manifest.services.contains_key(service) {
        let known = manifest.services.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(Refusal::not_found("service.not_found", format!("there is no service `{service}`"))
            .hint(format!("services: {known}"))
            .into());
    }
    let part = row.parts.iter().find(|part| part.kind == PartKind::Service && part.name == service);
    let asleep = matches!(row.runtime.state, RuntimeState::Asleep | RuntimeState::Frozen | RuntimeState::Stopping);
    let known_good = row.known_good.iter().any(|name| name == service);
    if part.is_some_and(|part| part.state == ReadinessState::Ready) || (asleep && known_good) {
        return Ok(());
    }
    let (cause, hint) = match part {
        Some(part) if part.state == ReadinessState::Blocked => (
            part.cause.clone().unwrap_or_else(|| "it is blocked".to_owned()),
            part.fix.clone().unwrap_or_else(|| "`envforge status` shows why".to_owned()),
        ),
        _ if asleep => ("it has never been ready yet".to_owned(), "wake it once with `envforge wake`".to_owned()),
        _ => ("it is not ready yet".to_owned(), "wait until `envforge status` shows it ready".to_owned()),
    };
    Err(Refusal::conflict("link.service_not_ready", format!("no link to `{service}` yet: {cause}"))
        .hint(hint)
        .retry_after(1)
        .into())
}

/// Issues a link.
pub async fn create(app: &App, permit: &Permit, slug: &Slug, request: &CreateLink) -> Answer<CreatedLink> {
    let minutes =
        request.expires_in_minutes.map_or(DEFAULT_EXPIRY, |minutes| SignedDuration::from_mins(i64::from(minutes)));
    if minutes.is_zero() || minutes > MAX_EXPIRY {
        return Err(Refusal::invalid("link.expiry", "a link lives from 1 minute to 30 days").into());
    }
    if request.visit_budget == Some(0)
        || request.wake_budget.is_some_and(|budget| budget > 10_000)
        || request.visit_budget.is_some_and(|b| b > 1_000_000)
    {
        return Err(
            Refusal::invalid("link.budget", "a visit budget is 1 to 1,000,000, a wake budget at most 10,000").into()
        );
    }
    if request.minute_budget.is_some_and(|budget| budget == 0 || budget > MINUTES_MAX) {
        return Err(Refusal::invalid("link.budget", "a minute budget is 1 to 43,200").into());
    }
    check_routes(&request.routes)?;
    let now = app.now();
    let mut tx = app.db.begin(permit.scope).await?;
    let workspace = workspaces::ops::find_usable(&mut tx, slug).await?;
    shareable(&workspace, &request.service)?;
    let labels = workspaces::store::labels(&mut tx, workspace.id).await?;
    let Some((_, label)) = labels.into_iter().find(|(service, _)| *service == request.service) else {
        return Err(no_label(&mut tx, &workspace, &request.service).await?.into());
    };
    if store::list(&mut tx, workspace.id).await?.iter().filter(|link| opens(app, link, now).is_ok()).count()
        >= LINKS_MAX
    {
        return Err(Refusal::conflict("link.too_many", format!("this workspace has {LINKS_MAX} open links"))
            .hint("revoke some")
            .into());
    }
    let row = Row {
        id: app.mint(),
        workspace: workspace.id,
        service: request.service.clone(),
        label,
        created_at: now,
        rules: envforge_core::link::Link {
            expires_at: now.saturating_add(minutes).unwrap_or(Timestamp::MAX),
            revoked_at: None,
            visits: 0,
            visit_budget: request.visit_budget,
            wakes: 0,
            wake_budget: request.wake_budget.unwrap_or(DEFAULT_WAKE_BUDGET),
            awake_seconds: 0,
            minute_budget: request.minute_budget.unwrap_or(DEFAULT_MINUTE_BUDGET),
        },
        routes: request.routes.clone(),
    };
    store::insert(&mut tx, &row, permit.user).await?;
    let details =
        json!({ "service": row.service, "workspace": workspace.id, "expires_at": row.rules.expires_at.to_string() });
    ledger::record(app, &mut tx, Entry::new(&permit.actor(), "link.issued", row.id, slug.as_str()).details(details))
        .await?;
    let claims = LinkClaims {
        link: row.id,
        org: permit.scope.org(),
        workspace: row.workspace,
        service: row.service.clone(),
        label: row.label.clone(),
        expires: row.rules.expires_at.as_second(),
    };
    let token = app.signing_keys.sign(&claims, now)?;
    tx.commit().await?;
    Ok(CreatedLink {
        url: format!("{}/share/{token}", app.config.dev_url(&row.label)),
        token,
        link: shown(app, row, now),
    })
}

/// The refusal for a service whose label another one holds.
async fn no_label(tx: &mut Tx, workspace: &WorkspaceRow, service: &str) -> Answer<Refusal> {
    let label = service.parse().map(|name| hostname::label(&name, &workspace.slug, &workspace.org_slug));
    let holder = match &label {
        Ok(label) => workspaces::store::holder(tx, label).await?.map(|holder| (label, holder)),
        Err(_) => None,
    };
    let message = match holder {
        Some((label, holder)) => workspaces::ops::no_dev_host(service, label, &holder),
        // It was free again a moment ago, and is taken with the next `envforge.yml` that is read.
        None => format!("service `{service}` has no dev host yet"),
    };
    Ok(Refusal::conflict("link.no_label", message).hint(workspaces::ops::NO_DEV_HOST_HELP))
}

/// Whether its token still opens something.
fn opens(app: &App, row: &Row, now: Timestamp) -> Result<(), LinkRefused> {
    row.rules.holds(now)?;
    // The key that signed it was revoked.
    if row.created_at < app.signing_keys.since() { Err(LinkRefused::Revoked) } else { Ok(()) }
}

fn shown(app: &App, row: Row, now: Timestamp) -> Link {
    let state = match opens(app, &row, now) {
        Ok(()) => LinkState::Active,
        Err(LinkRefused::Revoked) => LinkState::Revoked,
        Err(_) => LinkState::Expired,
    };
    Link {
        id: row.id,
        workspace: row.workspace,
        service: row.service,
        label: row.label,
        state,
        created_at: row.created_at,
        expires_at: row.rules.expires_at,
        visits: row.rules.visits,
        visit_budget: row.rules.visit_budget,
        wakes: row.rules.wakes,
        wake_budget: row.rules.wake_budget,
        minutes: u32::try_from(row.rules.awake_seconds.div_ceil(60)).unwrap_or(u32::MAX),
        minute_budget: row.rules.minute_budget,
        routes: row.routes,
    }
}

/// Paths as a service sees them: no query, nothing that leads up.
fn check_routes(routes: &[String]) -> Answer<()> {
    let is_route = |route: &String| {
        route.starts_with('/')
            // To a browser that is another host.
            && !route.starts_with("//")
            && route.len() <= ROUTE_MAX
            && route.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '%' | '\\'))
            && !route.split('/').any(|part| part == "..")
    };
    if routes.len() <= ROUTES_MAX && routes.iter().all(is_route) {
        return Ok(());
    }
    Err(Refusal::invalid(
        "link.routes",
        format!("a link is limited to at most {ROUTES_MAX} path prefixes such as `/docs`"),
    )
    .hint("give plain paths: no query, no `%`, no `..`")
    .into())
}

/// Links of a workspace, newest first.
pub async fn list(app: &App, permit: &Permit, slug: &Slug) -> Answer<Links> {
    let mut tx = app.db.begin(permit.scope).await?;
    let workspace = workspaces::ops::find(&mut tx, slug).await?;
    let now = app.now();
    Ok(Links { links: store::list(&mut tx, workspace.id).await?.into_iter().map(|row| shown(app, row, now)).collect() })
}

/// Visits through a link, newest first, with what each woke.
pub async fn visits(app: &App, permit: &Permit, id: LinkId, query: &VisitsQuery) -> Answer<Visits> {
    let limit = query.limit.unwrap_or(VISITS_PAGE);
    if !(1..=VISITS_PAGE_MAX).contains(&limit) {
        return Err(Refusal::invalid("visit.limit", format!("a page has 1 to {VISITS_PAGE_MAX} visits")).into());
    }
    let mut tx = app.db.begin(permit.scope).await?;
    let Some(link) = store::find(&mut tx, id).await? else { return Err(not_found()) };
    let before = query.before.map(|session| format!("{ACTOR}{session}"));
    let mut found = ledger::store::visits(&mut tx, id, before.as_deref(), i64::from(limit) + 1).await?;
    let is_last = found.len() <= limit as usize;
    found.truncate(limit as usize);
    let found: Vec<_> = found.iter().filter_map(|(actor, at)| Some((session_of(actor)?, *at))).collect();
    let next = found.last().map(|(session, _)| *session).filter(|_| !is_last);
    let sessions: Vec<_> = found.iter().map(|(session, _)| *session).collect();
    let mut agents = store::user_agents(&mut tx, &sessions).await?;
    let mut facts = Vec::new();
    for event in ledger::store::wakes(&mut tx, link.workspace, link.created_at).await? {
        facts.push(match event.verb.as_str() {
            "runtime.wake_asked" => WakeFact::Asked(session_of(&event.actor)),
            "runtime.taken_over" => WakeFact::TakenOver(event.at),
            _ => WakeFact::Window(serde_json::from_value(event.details)?),
        });
    }
    let prices = settings::ops::price_list(app, &mut tx).await?;
    let mut woken = woken_by_visits(&facts, &prices, app.now());
    let visits = found.into_iter().map(|(session, at)| {
        let windows = woken.remove(&session).unwrap_or_default();
        Visit {
            session,
            at,
            user_agent: agents.remove(&session).flatten(),
            awake_seconds: windows.iter().map(|window| window.awake_seconds).sum(),
            cost_micros: windows.iter().map(|window| window.cost_micros).sum(),
            windows,
        }
    });
    Ok(Visits { visits: visits.collect(), currency: prices.at(app.now()).prices.currency.clone(), next })
}

/// The session that an actor of the ledger is, if it is one.
fn session_of(actor: &str) -> Option<LinkSessionId> {
    actor.strip_prefix(ACTOR)?.parse().ok()
}

fn not_found() -> Fault {
    Refusal::not_found("link.not_found", "there is no such link").into()
}

/// Revokes a link; revoking twice is fine.
pub async fn revoke(app: &App, permit: &Permit, id: LinkId) -> Answer<Link> {
    let mut tx = app.db.begin(permit.scope).await?;
    let Some(mut row) = store::lock(&mut tx, id).await? else {
        return Err(not_found());
    };
    let now = app.now();
    if row.rules.revoked_at.is_none() {
        row.rules.revoked_at = Some(now);
        store::revoke(&mut tx, id, now).await?;
        ledger::record(app, &mut tx, Entry::new(&permit.actor(), "link.revoked", id, "asked")).await?;
        tx.nudge(Nudge::Revoked { link: id });
        tx.commit().await?;
    }
    Ok(shown(app, row, now))
}

/// Exchanges a link token for a browser session, counting the visit in the same transaction.
pub async fn exchange(app: &App, request: &Exchange) -> Answer<Exchanged> {
    let now = app.now();
    let claims: LinkClaims = app.signing_keys.verify(&request.token, now).map_err(|error| {
        Refusal::new(RefusalKind::Forbidden, "link.invalid", format!("this link does not open: {error}"))
    })?;
    if claims.label != request.label {
        return Err(Refusal::new(RefusalKind::Forbidden, "link.wrong_host", "this link is of another dev host").into());
    }
    let mut tx = app.db.begin(OrgScope::established(claims.org)).await?;
    let Some(row) = store::lock(&mut tx, claims.link).await? else {
        return Err(refused(LinkRefused::Revoked));
    };
    row.rules.visit(now).map_err(|reason| noted(app, claims.org, row.id, reason))?;
    let workspace = workspaces::store::find_by_id(&mut tx, row.workspace).await?;
    if workspace.is_none_or(|workspace| workspace.deleting) {
        return Err(refused(LinkRefused::Revoked));
    }
    let session: LinkSessionId = app.mint();
    let agent: Option<String> =
        request.user_agent.as_ref().map(|agent| agent.chars().filter(|c| !c.is_control()).take(200).collect());
    store::insert_session(&mut tx, session, row.id, agent.as_deref(), now, row.rules.expires_at).await?;
    let details = json!({ "session": session, "workspace": row.workspace, "service": row.service });
    ledger::record(
        app,
        &mut tx,
        Entry::new(&format!("{ACTOR}{session}"), "link.visited", row.id, "exchange").details(details),
    )
    .await?;
    let expires = row.rules.expires_at.as_second();
    let claims = SessionClaims {
        session,
        holder: Holder::Link(row.id),
        org: claims.org,
        workspace: row.workspace,
        service: row.service,
        label: row.label,
        expires,
        routes: row.routes,
    };
    let session = app.signing_keys.sign(&claims, now)?;
    tx.commit().await?;
    Ok(Exchanged { session, expires_at: row.rules.expires_at })
}

/// Checks that a session of this link may wake, and counts the wake, in the wake's transaction.
pub async fn spend_wake(app: &App, tx: &mut Tx, org: OrgId, link: LinkId, starts: bool) -> Answer<()> {
    let now = app.now();
    let Some(row) = store::lock(tx, link).await? else {
        return Err(refused(LinkRefused::Revoked));
    };
    if !starts {
        return row.rules.holds(now).map_err(refused);
    }
    row.rules.wake(now).map_err(|reason| noted(app, org, row.id, reason))?;
    store::count_wake(tx, row.id).await
}

/// A window that this link's wake opened is closed, or no longer its alone.
pub async fn spend_time(tx: &mut Tx, link: LinkId, from: Timestamp, to: Timestamp) -> Answer<()> {
    let seconds = u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0);
    store::count_awake(tx, link, seconds).await
}

/// A link's budget of awake minutes, and the seconds used of it, with a window of its that has been open since `opened`.
pub async fn budget(
    tx: &mut Tx,
    link: LinkId,
    opened: Option<Timestamp>,
    now: Timestamp,
) -> Answer<Option<(u64, u64)>> {
    let row = store::find(tx, link).await?;
    let open = opened.map_or(0, |opened| u64::try_from(now.duration_since(opened).as_secs()).unwrap_or(0));
    Ok(row.map(|row| (u64::from(row.rules.minute_budget), row.rules.awake_seconds.saturating_add(open))))
}

/// Whether the link has no awake minutes left, with a window of its that has been open since `opened`.
pub async fn is_used_up(tx: &mut Tx, link: LinkId, opened: Timestamp, now: Timestamp) -> Answer<bool> {
    let row = store::lock(tx, link).await?;
    Ok(row.is_some_and(|row| row.rules.is_used_up(now.duration_since(opened))))
}
