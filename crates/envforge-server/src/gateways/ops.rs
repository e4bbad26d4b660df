//! Resolving a label, waking for a session, taking in activity.

use super::store;
use crate::app::App;
use crate::hosts;
use crate::platform::db::OrgScope;
use crate::platform::fault::Answer;
use crate::runtimes;
use crate::streams;
use crate::streams::ops::Wanted;
use crate::workspaces;
use crate::workspaces::store::Row;
use envforge_api::gateway::{
    Activity, BEAT_SECONDS, FeedItem, LEASE_SECONDS, Presence, Route, RouteRule, RouteRuntime, WakeAnswer, WakeRequest,
};
use envforge_core::id::{GatewayId, OrgId, WorkspaceId};
use envforge_core::idle;
use envforge_core::link::SessionClaims;
use envforge_core::readiness::{Part, PartKind, without_log};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::ticket::TicketKind;
use jiff::{SignedDuration, Timestamp};

/// Life of a `service` ticket: a gateway asks again before it ends.
const TICKET_LIFE: SignedDuration = SignedDuration::from_secs(120);
/// A gateway not heard of for so long is gone. Any line of the feed renews its lease, and one may follow the beat that was
/// noted here: hence the beats beyond it.
const GONE_AFTER: SignedDuration = SignedDuration::from_secs((LEASE_SECONDS + 2 * BEAT_SECONDS).cast_signed());

/// A runtime as gateways are told of it: nobody reads logs through a link.
fn runtime(row: &Row) -> RouteRuntime {
    RouteRuntime {
        state: row.runtime.state,
        generation: row.runtime.generation,
        blocked_cause: row.blocked.as_ref().map(|trouble| without_log(&trouble.cause).to_owned()),
        blocked_fix: row.blocked.as_ref().map(|trouble| trouble.fix.clone()),
        parts: row.parts.iter().cloned().map(Part::without_log).collect(),
    }
}

/// Where a label leads.
pub async fn resolve(app: &App, label: &str) -> Answer<Route> {
    let unknown = || Refusal::not_found("label.unknown", "no service has this name");
    let Some((org, workspace, service)) = workspaces::store::system_resolve_label(&app.db, label).await? else {
        return Err(unknown().into());
    };
    let mut tx = app.db.begin(OrgScope::established(org)).await?;
    let row =
        workspaces::store::find_by_id(&mut tx, workspace).await?.filter(|row| !row.deleting).ok_or_else(unknown)?;
    let generation = hosts::store::generation(&mut tx, row.host).await?;
    drop(tx);
    let rules = rules(&row, &service).into_iter().map(|(prefix, service)| {
        let (ticket, ticket_expires_at) =
            streams::ops::ticket(app, &row, generation, Wanted::of(TicketKind::Service, &service), TICKET_LIFE)?;
        let declared = row.manifest.as_ref().and_then(|manifest| manifest.services.get(&service));
        let declared = declared.cloned().unwrap_or_default();
        let port = declared.port.or_else(|| bound_port(&row, &service));
        let (protocol, rewrite) = (declared.protocol, declared.rewrite);
        Ok(RouteRule { prefix, service, ticket, ticket_expires_at, protocol, rewrite, port })
    });
    Ok(Route {
        label: label.to_owned(),
        org,
        workspace,
        workspace_slug: row.slug.to_string(),
        rules: rules.collect::<Answer<_>>()?,
        service,
        host: row.host,
        runtime: runtime(&row),
    })
}

/// The port a service was found to listen on.
fn bound_port(row: &Row, service: &str) -> Option<u16> {
    let is_it = |part: &&Part| part.kind == PartKind::Service && part.name == service;
    row.parts.iter().find(is_it).and_then(|part| part.port)
}

/// Which service answers which path on a service's dev host. The service at `/` carries the whole application, so the
/// browser has one origin; any other service answers all of its own host.
fn rules(row: &Row, service: &str) -> Vec<(String, String)> {
    let routes = row.manifest.iter().flat_map(|manifest| &manifest.services);
    let front =
        routes.clone().any(|(name, declared)| name == service && declared.routes.iter().any(|route| route == "/"));
    if !front {
        return vec![("/".to_owned(), service.to_owned())];
    }
    routes.flat_map(|(name, declared)| declared.routes.iter().map(move |route| (route.clone(), name.clone()))).collect()
}

/// Wakes for a verified session. The signature was checked by the gateway; it is checked again here, where it counts.
pub async fn wake(app: &App, request: &WakeRequest) -> Answer<WakeAnswer> {
    let claims: SessionClaims = app.signing_keys.verify(&request.session, app.now()).map_err(|error| {
        Refusal::new(RefusalKind::Forbidden, "session.invalid", format!("this session does not hold: {error}"))
    })?;
    let row = runtimes::ops::wake_by_session(app, &claims, &request.path).await?;
    Ok(WakeAnswer { runtime: runtime(&row) })
}

/// Takes in what a gateway saw.
pub async fn activity(app: &App, activity: &Activity) -> Answer<()> {
    for seen in activity.workspaces.iter().take(10_000) {
        let Some(org) = store::system_workspace_org(&app.db, seen.workspace).await? else { continue };
        let mut tx = app.db.begin(OrgScope::established(org)).await?;
        // A gateway's clock that runs ahead must not keep a runtime awake.
        let last = seen.last_activity.min(app.now());
        store::requests(&mut tx, activity.gateway, seen.workspace, seen.in_flight).await?;
        runtimes::store::active(&mut tx, seen.workspace, last).await?;
        let done =
            idle::Activity { realtime: seen.realtime_bytes, requests: seen.requests, ..idle::Activity::default() };
        crate::activity::store::add(&mut tx, seen.workspace, app.now(), &done).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// A workspace as the feed tells it.
pub async fn feed_item(app: &App, org: OrgId, workspace: WorkspaceId) -> Answer<FeedItem> {
    let mut tx = app.db.begin(OrgScope::established(org)).await?;
    let row = workspaces::store::find_by_id(&mut tx, workspace).await?.filter(|row| !row.deleting);
    Ok(FeedItem::Workspace { workspace, runtime: row.as_ref().map(runtime) })
}

/// A gateway begins to listen to the feed.
pub async fn came(app: &App, presence: &Presence) -> Answer<()> {
    store::came(&app.db, presence, app.now()).await
}

/// A gateway still listens; `false` when it was forgotten meanwhile, and with it what it told.
pub async fn stays(app: &App, gateway: GatewayId) -> Answer<bool> {
    store::stays(&app.db, gateway, app.now()).await
}

/// Forgets gateways that are gone. A server that was not there itself first gives them the time to come back.
pub async fn forget(app: &App) -> Answer<()> {
    let now = app.now();
    if now.duration_since(app.started_at) <= GONE_AFTER {
        return Ok(());
    }
    let before = now.checked_sub(GONE_AFTER).unwrap_or(Timestamp::MIN);
    for address in store::forget(&app.db, before).await? {
        tracing::info!(address, "a gateway is gone, requests that were open at it are forgotten");
    }
    Ok(())
}

/// Where the gateways that are there listen.
pub async fn addresses(app: &App) -> Answer<Vec<String>> {
    store::addresses(&app.db).await
}
