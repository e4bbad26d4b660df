//! Rotate.

use crate::app::App;
use crate::hosts;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Permit;
use crate::runtimes;
use crate::workspaces;
use crate::workspaces::store::Row;
use envforge_api::host::{HostCommand, Order, Outcome, RotateCredential};
use envforge_api::http::resources::{RotatedCredential, TakesEffect};
use envforge_core::id::HostId;
use envforge_core::manifest::{ResourceKind, ResourceMode, Wiring};
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use envforge_core::runtime::{RuntimeIntent, SleepTier};
use serde_json::json;
use std::time::Duration;

/// How long whoever asked waits: services are ended with their grace.
const ROTATED_WITHIN: Duration = Duration::from_secs(25);

/// Has the host make another credential, and waits until the one from before is refused.
pub async fn rotate(app: &App, permit: &Permit, slug: &Slug, resource: &str) -> Answer<RotatedCredential> {
    let kind = kind(resource)?;
    let nudges = app.bus.listen();
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::store::lock_by_slug(&mut tx, slug).await?;
    let row = row.ok_or_else(|| workspaces::ops::not_found(slug))?;
    if row.deleting {
        return Err(Refusal::conflict("workspace.deleting", format!("workspace `{slug}` is being deleted")).into());
    }
    check(&row, kind)?;
    let rotated = RotatedCredential {
        resource: kind,
        takes_effect: match row.runtime.intent {
            RuntimeIntent::Awake => TakesEffect::Now,
            RuntimeIntent::Frozen | RuntimeIntent::Asleep => TakesEffect::NextWake,
        },
        services: services(&row, kind),
    };
    let (workspace, host, mut generation) = (row.id, row.host, row.runtime.generation);
    let (actor, cause) = (permit.actor(), format!("envforge resource rotate {kind} by {}", permit.actor()));
    let entry = Entry::new(&actor, "resource.rotate_asked", workspace, &cause).details(json!({ "resource": kind }));
    ledger::record(app, &mut tx, entry).await?;
    if row.runtime.intent == RuntimeIntent::Frozen {
        let reason = format!("the credential of its {kind} is rotated, and what is paused has the one from before");
        runtimes::ops::sleep_locked(app, &mut tx, row, SleepTier::Stopped, &actor, &reason).await?;
        generation += 1;
    }
    let order = Order::RotateCredential(RotateCredential { resource: kind });
    let command = hosts::ops::command(app, &mut tx, host, workspace, generation, order).await?;
    tx.commit().await?;
    match hosts::ops::answer_within(app, permit.scope, workspace, command, nudges, ROTATED_WITHIN).await? {
        Some(Outcome::Done) => Ok(rotated),
        Some(Outcome::Failed(trouble)) => Err(Refusal::conflict(&trouble.code, trouble.cause).hint(trouble.fix).into()),
        Some(Outcome::Stale) => {
            let message = format!("`{slug}` was woken or put to sleep meanwhile, and nothing was changed");
            Err(Refusal::conflict("resource.overtaken", message).hint("try again").into())
        }
        None => {
            let message = format!("the host has not changed the credential of {kind} yet; it does as soon as it can");
            Err(Refusal::unavailable("resource.rotate_waits", message)
                .hint("a host daemon that is older than the server does not know how: upgrade it. `envforge ledger list` tells when it is done")
                .retry_after(5)
                .into())
        }
    }
}

/// The host has answered: whoever asked waits for it, and the ledger has it.
pub async fn answered(app: &App, tx: &mut Tx, host: HostId, command: &HostCommand, outcome: &Outcome) -> Answer<()> {
    let Order::RotateCredential(RotateCredential { resource }) = command.order else { return Ok(()) };
    let (verb, cause) = match outcome {
        Outcome::Done => ("resource.rotated", "carried out"),
        Outcome::Stale => ("resource.rotate_failed", "resource.overtaken"),
        Outcome::Failed(trouble) => ("resource.rotate_failed", trouble.code.as_str()),
    };
    let actor = format!("host:{host}");
    let entry = Entry::new(&actor, verb, command.workspace, cause).details(json!({ "resource": resource }));
    ledger::record(app, tx, entry).await?;
    tx.nudge(Nudge::Workspace { org: command.org, workspace: command.workspace });
    Ok(())
}

fn kind(resource: &str) -> Result<ResourceKind, Refusal> {
    let with: Vec<&str> =
        ResourceKind::ALL.into_iter().filter(|kind| kind.has_credential()).map(ResourceKind::as_str).collect();
    let hint = format!("those with a credential are {}", with.join(" and "));
    let Some(kind) = ResourceKind::ALL.into_iter().find(|kind| kind.as_str() == resource) else {
        return Err(
            Refusal::not_found("resource.unknown", format!("there is no kind of resource `{resource}`")).hint(hint)
        );
    };
    if kind.has_credential() {
        return Ok(kind);
    }
    let message = format!("`{kind}` has no password or key: nobody outside the workspace's own network reaches it");
    Err(Refusal::conflict("resource.no_credential", message).hint(hint))
}

/// Refuses what the workspace's manifest does not declare, or others run.
fn check(row: &Row, kind: ResourceKind) -> Result<(), Refusal> {
    let (slug, declared) = (&row.slug, row.manifest.as_ref().and_then(|manifest| manifest.resources.get(&kind)));
    match declared {
        Some(ResourceMode::BranchScoped { .. }) => Ok(()),
        Some(ResourceMode::CustomerCloud { secret }) => {
            let message = format!("`{kind}` of `{slug}` is run by a provider of yours, who rotates its credential");
            Err(Refusal::conflict("resource.customer_cloud", message)
                .hint(format!("rotate it there, then `envforge secret set {secret}`")))
        }
        None => Err(Refusal::conflict("resource.undeclared", format!("`{slug}` declares no resource `{kind}`"))
            .hint(format!("write `{kind}: branch_scoped` under `resources` in envforge.yml, and wake it"))),
    }
}

fn services(row: &Row, kind: ResourceKind) -> Vec<String> {
    let wiring = row.manifest.as_ref().map(Wiring::new).unwrap_or_default();
    wiring.users_of(kind).map(str::to_owned).collect()
}
