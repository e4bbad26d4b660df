//! Making forks.

use crate::app::App;
use crate::hosts;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Permit;
use crate::projects;
use crate::secrets::{self, ops::Copy};
use crate::workspaces::ops::{self as workspaces, check_labels, check_room, find_usable, prepare};
use crate::workspaces::store::{self, NewWorkspace, Row};
use envforge_api::http::projects::Project;
use envforge_api::http::workspaces::{FORKS_MAX, ForkWorkspace, ForkedWorkspaces};
use envforge_core::id::WorkspaceId;
use envforge_core::name::Slug;
use envforge_core::readiness::{Part, PartKind, ReadinessState};
use envforge_core::refusal::Refusal;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Makes the forks that are not there yet; all of them, or none.
pub async fn fork(app: &App, permit: &Permit, slug: &Slug, request: &ForkWorkspace) -> Answer<ForkedWorkspaces> {
    check(request)?;
    let mut secrets = values(app, permit, slug, request).await?;
    let mut tx = app.db.begin(permit.scope).await?;
    let source = find_usable(&mut tx, slug).await?;
    check_source(app, &source)?;
    let Some(project) = projects::store::find(&mut tx, &source.project).await? else {
        let message = format!("there is no project `{}`", source.project);
        return Err(Refusal::not_found("project.not_found", message).into());
    };
    let mut ids = Vec::new();
    let mut missing = Vec::new();
    for name in &request.slugs {
        match store::find(&mut tx, name).await? {
            Some(there) => ids.push(existing(app, &mut tx, permit, &project, &source, there).await?),
            None => missing.push(name),
        }
    }
    check_room(&mut tx, i64::try_from(missing.len()).unwrap_or(i64::MAX)).await?;
    for name in missing {
        let copies = secrets.remove(name).unwrap_or_default();
        ids.push(add(app, &mut tx, permit, &project, &source, name, copies).await?);
    }
    let copy_on_write = hosts::store::copies_on_write(&mut tx, source.host).await?;
    tx.commit().await?;
    let mut workspaces = Vec::new();
    for id in ids {
        workspaces.extend(workspaces::view_by_id(app, permit, id).await?);
    }
    let place = |slug: &Slug| request.slugs.iter().position(|asked| asked == slug);
    workspaces.sort_by_key(|workspace| place(&workspace.slug));
    Ok(ForkedWorkspaces { workspaces, copy_on_write })
}

fn check(request: &ForkWorkspace) -> Answer<()> {
    if request.slugs.is_empty() || request.slugs.len() > FORKS_MAX {
        let message = format!("one request makes 1 to {FORKS_MAX} forks, not {}", request.slugs.len());
        return Err(Refusal::invalid("fork.count", message).into());
    }
    if request.slugs.iter().collect::<BTreeSet<_>>().len() < request.slugs.len() {
        return Err(Refusal::invalid("fork.named_twice", "two forks can't have the same name").into());
    }
    Ok(())
}

/// That there is something to copy, and somebody to copy it.
fn check_source(app: &App, source: &Row) -> Answer<()> {
    if workspaces::is_host_lost(app, source) {
        let lost = hosts::ops::lost();
        return Err(Refusal::unavailable(&lost.code, lost.cause).hint(lost.fix).into());
    }
    if source.shell.state == ReadinessState::Ready {
        return Ok(());
    }
    let message = format!("`{}` can't be forked before its shell is ready", source.slug);
    Err(Refusal::conflict("fork.source_not_ready", message)
        .hint(format!("`envforge status {}` says what is missing", source.slug))
        .into())
}

/// A workspace of that name is there: a fork asked for before, or somebody else's.
async fn existing(
    app: &App,
    tx: &mut Tx,
    permit: &Permit,
    project: &Project,
    source: &Row,
    there: Row,
) -> Answer<WorkspaceId> {
    let is_fork = there.forked_from.as_ref().is_some_and(|(id, _)| *id == source.id);
    if is_fork && !there.deleting {
        return workspaces::again(app, tx, permit, project, there).await;
    }
    Err(taken(&there.slug))
}

fn taken(slug: &Slug) -> crate::platform::fault::Fault {
    Refusal::conflict("workspace.name_taken", format!("the name `{slug}` is taken")).hint("choose another one").into()
}

async fn add(
    app: &App,
    tx: &mut Tx,
    permit: &Permit,
    project: &Project,
    source: &Row,
    slug: &Slug,
    secrets: Vec<Copy>,
) -> Answer<WorkspaceId> {
    check_labels(tx, permit, project, slug).await?;
    if let Some(other) = store::find_by_branch(tx, &project.id, slug.as_str()).await? {
        let message = format!("branch `{slug}` has a workspace already: `{}`", other.slug);
        return Err(Refusal::conflict("workspace.branch_taken", message).hint("choose another name").into());
    }
    let (id, host): (WorkspaceId, _) = (app.mint(), source.host);
    let new = NewWorkspace {
        id,
        project: &project.id,
        host,
        slug,
        branch: slug.as_str(),
        size: None,
        shell: &Part::new(PartKind::Shell, "shell", ReadinessState::Waking),
        forked_from: Some(source.id),
        user: permit.user,
        now: app.now(),
    };
    if !store::insert(tx, &new).await? {
        // By somebody at the same moment, or in a project that the caller does not see.
        return Err(taken(slug));
    }
    store::copy_limits(tx, source.id, id).await?;
    let details = json!({ "branch": slug, "fork_of": source.id, "fork_of_slug": source.slug });
    let actor = permit.actor();
    ledger::record(app, tx, Entry::new(&actor, "workspace.created", id, slug.as_str()).details(details)).await?;
    secrets::ops::add_copies(app, tx, permit, id, secrets).await?;
    let order = prepare(permit, project, slug, slug.as_str(), Some(source.id));
    hosts::ops::command(app, tx, host, id, 0, order).await?;
    tx.nudge(Nudge::Workspace { org: permit.scope.org(), workspace: id });
    Ok(id)
}

/// Copies of the secrets that are the source's alone, for each fork that is not there yet. What lies in a store outside
/// is put there before the transaction that refers to it.
async fn values(app: &App, permit: &Permit, slug: &Slug, request: &ForkWorkspace) -> Answer<BTreeMap<Slug, Vec<Copy>>> {
    let mut tx = app.db.begin(permit.scope).await?;
    let source = find_usable(&mut tx, slug).await?;
    let mut missing = Vec::new();
    for name in &request.slugs {
        if store::find(&mut tx, name).await?.is_none() {
            missing.push(name);
        }
    }
    let values = secrets::ops::values_of_workspace(app, tx, permit.scope, source.id).await?;
    let mut all = BTreeMap::new();
    for name in missing {
        all.insert(name.clone(), secrets::ops::copies(app, permit.scope, &values).await?);
    }
    Ok(all)
}
