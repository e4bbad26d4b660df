//! Start, stop, restart.

use crate::app::App;
use crate::hosts;
use crate::ledger::{self, Entry};
use crate::platform::fault::Answer;
use crate::platform::http::auth::Permit;
use crate::runtimes;
use crate::runtimes::ops::Waker;
use crate::workspaces;
use crate::workspaces::store::Row;
use envforge_api::host::{ChangeService, Order, Outcome};
use envforge_api::http::workspaces::{ServiceAction, Workspace};
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use envforge_core::runtime::{RuntimeState, WakeOutcome};
use serde_json::json;

/// Changes a service, waking the runtime for it, and waits until its host has begun.
pub async fn change(
    app: &App,
    permit: &Permit,
    slug: &Slug,
    service: &str,
    action: ServiceAction,
) -> Answer<Workspace> {
    let nudges = app.bus.listen();
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::store::lock_by_slug(&mut tx, slug).await?;
    let mut row = row.ok_or_else(|| workspaces::ops::not_found(slug))?;
    check_declared(&row, service)?;
    if action == ServiceAction::Stop && row.runtime.state == RuntimeState::Asleep {
        let message = format!("`{slug}` is asleep (stopped): nothing of it runs");
        return Err(Refusal::conflict("service.asleep", message).into());
    }
    let (actor, verb) = (permit.actor(), action.as_str());
    let cause = format!("envforge service {verb} {service} by {actor}");
    let waker = Waker { actor, cause, size: None, link: None };
    let woken = runtimes::ops::wake_locked(app, &mut tx, &mut row, &waker).await?;
    let entry = Entry::new(&waker.actor, "service.change_asked", row.id, &waker.cause)
        .details(json!({ "service": service, "action": verb }));
    ledger::record(app, &mut tx, entry).await?;
    // A runtime that comes up from stopped starts all its services anyway.
    let mut command = None;
    if !matches!(woken, WakeOutcome::Start { thaw: false, .. }) {
        let order = Order::ChangeService(ChangeService { service: service.to_owned(), action });
        command = Some(hosts::ops::command(app, &mut tx, row.host, row.id, row.runtime.generation, order).await?);
    }
    tx.commit().await?;
    if let Some(command) = command {
        match hosts::ops::answer(app, permit.scope, row.id, command, nudges).await? {
            Some(Outcome::Done) => {}
            Some(Outcome::Failed(trouble)) => {
                return Err(Refusal::conflict(&trouble.code, trouble.cause).hint(trouble.fix).into());
            }
            Some(Outcome::Stale) => {
                let message = format!("`{slug}` was put to sleep before {service} could be changed");
                return Err(Refusal::conflict("service.overtaken", message).hint("try again").into());
            }
            None => {
                let message = format!("the host has not begun to {verb} {service} yet; it does as soon as it can");
                return Err(Refusal::unavailable("service.change_waits", message).retry_after(5).into());
            }
        }
    }
    workspaces::ops::view_by_id(app, permit, row.id).await?.ok_or_else(|| workspaces::ops::not_found(slug))
}

/// Refuses a service that the workspace's manifest does not declare.
pub fn check_declared(row: &Row, service: &str) -> Answer<()> {
    // The host has the last word: it knows the file the runtime was woken with.
    let declared = row.manifest.as_ref().map(|manifest| &manifest.services);
    if !declared.is_some_and(|services| services.contains_key(service)) {
        let names: Vec<&str> = declared.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let refusal = Refusal::not_found("service.unknown", format!("`{}` has no service `{service}`", row.slug));
        let known = if names.is_empty() { "its envforge.yml declares none".to_owned() } else { names.join(", ") };
        return Err(refusal.hint(format!("services: {known}")).into());
    }
    Ok(())
}
