//! Creating and listing projects.

use super::store;
use crate::accounts;
use crate::app::App;
use crate::groups;
use crate::hosts;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::{Answer, Fault};
use crate::platform::http::auth::Permit;
use envforge_api::http::orgs::ProjectAccess;
use envforge_api::http::projects::{CreateProject, Project, Projects};
use envforge_core::access::Action;
use envforge_core::name::Slug;
use envforge_core::refusal::{Refusal, RefusalKind};
use serde_json::json;

/// Most groups of one project.
const GROUPS_MAX: usize = 50;

/// Projects of the org.
pub async fn list(app: &App, permit: &Permit) -> Answer<Projects> {
    let mut tx = app.db.begin(permit.scope).await?;
    Ok(Projects { projects: store::list(&mut tx).await? })
}

/// Creates a project; the same slug with the same repository answers the one that exists.
pub async fn create(app: &App, permit: &Permit, request: &CreateProject) -> Answer<Project> {
    check_repository(&request.repository)?;
    let mut tx = app.db.begin(permit.scope).await?;
    if request.repository.starts_with('/') && !hosts::store::candidates(&mut tx).await?.iter().any(|host| host.is_local)
    {
        return Err(Refusal::invalid(
            "project.path_without_local_host",
            "a path is only possible when the organization's host is this box",
        )
        .hint("give the repository's Git URL")
        .into());
    }
    if let Some(existing) = existing(&mut tx, request).await? {
        return Ok(existing);
    }
    if request.repository.starts_with('/') && !permit.also(Action::CreateLocalProject) {
        return Err(Refusal::new(
            RefusalKind::Forbidden,
            "project.path_forbidden",
            "only an owner can make a project of a path on the box",
        )
        .hint("give the repository's Git URL, or ask an owner to make the project once")
        .into());
    }
    let project = Project {
        id: app.mint(),
        slug: request.slug.clone(),
        repository: request.repository.clone(),
        created_at: app.now(),
    };
    if !store::insert(&mut tx, &project).await? {
        // Somebody asked for the same slug at the same moment, and has committed; or it is of one the caller can't see.
        let taken = || Refusal::conflict("project.exists", format!("the slug `{}` is taken", request.slug));
        return Ok(existing(&mut tx, request).await?.ok_or_else(|| taken().hint("choose another slug"))?);
    }
    ledger::record(app, &mut tx, Entry::new(&permit.actor(), "project.created", project.id, project.slug.as_str()))
        .await?;
    tx.commit().await?;
    Ok(project)
}

/// The refusal for a project that is not there.
pub fn not_found(slug: &Slug) -> Fault {
    Refusal::not_found("project.not_found", format!("there is no project `{slug}`")).into()
}

/// Who sees a project.
pub async fn access(app: &App, permit: &Permit, slug: &Slug) -> Answer<ProjectAccess> {
    let mut tx = app.db.begin(permit.scope).await?;
    let project = store::find(&mut tx, slug).await?.ok_or_else(|| not_found(slug))?;
    store::access(&mut tx, project.id).await
}

/// Changes who sees a project. It holds from this commit on: open terminals and live views are ended.
pub async fn set_access(app: &App, permit: &Permit, slug: &Slug, request: &ProjectAccess) -> Answer<ProjectAccess> {
    if request.groups.len() > GROUPS_MAX || (!request.is_restricted && !request.groups.is_empty()) {
        let message = format!("a restricted project has up to {GROUPS_MAX} groups, any other has none");
        return Err(Refusal::invalid("project.access", message).into());
    }
    let mut tx = app.db.begin(permit.scope).await?;
    accounts::ops::lock_members(&mut tx, permit).await?;
    let project = store::find(&mut tx, slug).await?.ok_or_else(|| not_found(slug))?;
    let groups = groups::ops::ids(&mut tx, &request.groups).await?;
    store::set_access(&mut tx, project.id, request.is_restricted, &groups).await?;
    let ids: Vec<String> = groups.iter().map(ToString::to_string).collect();
    let details = json!({ "is_restricted": request.is_restricted, "groups": ids.join(" ") });
    let actor = permit.actor();
    let entry = Entry::new(&actor, "project.access_changed", project.id, "asked").details(details);
    ledger::record(app, &mut tx, entry).await?;
    tx.nudge(Nudge::Membership { org: permit.scope.org(), user: None });
    tx.commit().await?;
    access(app, permit, slug).await
}

async fn existing(tx: &mut Tx, request: &CreateProject) -> Answer<Option<Project>> {
    let Some(existing) = store::find(tx, &request.slug).await? else { return Ok(None) };
    if existing.repository == request.repository {
        return Ok(Some(existing));
    }
    Err(Refusal::conflict(
        "project.exists",
        format!("project `{}` is of another repository: {}", request.slug, existing.repository),
    )
    .hint("choose another slug")
    .into())
}

fn check_repository(repository: &str) -> Answer<()> {
    let hint = "give a URL such as https://github.com/acme/planner.git, or on the one box an absolute path";
    let plain =
        !repository.is_empty() && repository.len() <= 500 && !repository.chars().any(|c| c.is_control() || c == ' ');
    let known = ["/", "https://", "http://", "ssh://", "git@"].iter().any(|start| repository.starts_with(start));
    // A password in a URL would end up in logs and pages.
    let has_password = repository
        .split("://")
        .nth(1)
        .and_then(|rest| rest.split_once('@'))
        .is_some_and(|(user, _)| user.contains(':'));
    if plain && known && !repository.contains("/../") && !has_password {
        return Ok(());
    }
    let cause = if has_password {
        "a repository URL can't carry a password"
    } else {
        "this is not a repository this product can clone"
    };
    Err(Refusal::invalid("project.repository", cause).hint(hint).into())
}
