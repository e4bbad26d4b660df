//! Creating, showing and deleting workspaces; taking in what the host says about them.

use super::store::{self, Holder, NewWorkspace, Row};
use crate::accounts;
use crate::app::App;
use crate::hosts;
use crate::ledger::{self, Entry};
use crate::platform::bus::{Listener, Nudge};
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::{Answer, Fault};
use crate::platform::http::auth::Permit;
use crate::projects;
use crate::runtimes;
use crate::secrets;
use envforge_api::host::{ManifestReport, Order, PrepareShell, Trouble, WorkspaceNames};
use envforge_api::http::projects::Project;
use envforge_api::http::workspaces::{CreateWorkspace, DevHost, RuntimeView, Workspace, Workspaces};
use envforge_core::access::Action;
use envforge_core::hostname;
use envforge_core::id::{HostId, WorkspaceId};
use envforge_core::idle::{self, IdleFacts, IdleLimits, IdlePolicy, IdleSource};
use envforge_core::name::Slug;
use envforge_core::readiness::{Part, PartKind, ReadinessState, without_log};
use envforge_core::refusal::Refusal;
use envforge_core::runtime::RuntimeState;
use jiff::Timestamp;
use serde_json::json;
use std::time::Duration;

/// Most workspaces of one org that are not deleted.
const WORKSPACES_MAX: i64 = 2_000;

/// How often open streams look for a loss of access that nobody told of.
const ACCESS_LOOK: Duration = Duration::from_secs(30);
/// The same after a look that failed.
const ACCESS_RETRY: Duration = Duration::from_secs(1);

/// The refusal for a workspace that is not there.
pub fn not_found(slug: &Slug) -> Fault {
    Refusal::not_found("workspace.not_found", format!("there is no workspace `{slug}`"))
        .hint("`envforge workspace list` shows what there is")
        .into()
}

/// A workspace by its slug.
pub async fn find(tx: &mut Tx, slug: &Slug) -> Answer<Row> {
    store::find(tx, slug).await?.ok_or_else(|| not_found(slug))
}

/// A workspace by its slug, for a change: one that is being deleted answers as gone.
pub async fn find_usable(tx: &mut Tx, slug: &Slug) -> Answer<Row> {
    let row = find(tx, slug).await?;
    if row.deleting {
        return Err(Refusal::conflict("workspace.deleting", format!("workspace `{slug}` is being deleted")).into());
    }
    Ok(row)
}

/// All workspaces of the org.
pub async fn list(app: &App, permit: &Permit) -> Answer<Workspaces> {
    let mut tx = app.db.begin(permit.scope).await?;
    let mut workspaces = Vec::new();
    for row in store::list(&mut tx).await? {
        workspaces.push(shown(app, &mut tx, permit, row).await?);
    }
    Ok(Workspaces { workspaces })
}

/// One workspace as people see it.
pub async fn view(app: &App, permit: &Permit, slug: &Slug) -> Answer<Workspace> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = find(&mut tx, slug).await?;
    shown(app, &mut tx, permit, row).await
}

/// One workspace as people see it, by id; `None` once it is deleted.
pub async fn view_by_id(app: &App, permit: &Permit, id: WorkspaceId) -> Answer<Option<Workspace>> {
    let mut tx = app.db.begin(permit.scope).await?;
    match store::find_by_id(&mut tx, id).await? {
        Some(row) => Ok(Some(shown(app, &mut tx, permit, row).await?)),
        None => Ok(None),
    }
}

/// Whether a member still may do to a workspace what they were permitted.
async fn holds(app: &App, permit: &Permit, id: WorkspaceId) -> Answer<bool> {
    let mut tx = app.db.begin(permit.scope).await?;
    Ok(store::role_at(&mut tx, id, permit.user).await?.is_some_and(|role| permit.holds(role)))
}

/// Ends when a member may no longer do to a workspace what they were permitted: what is open then has to end too.
/// The first look is at once, so `nudges` need not be older than the permission.
pub async fn until_lost(app: &App, permit: &Permit, id: WorkspaceId, mut nudges: Listener) {
    let mut tick = tokio::time::interval(ACCESS_LOOK);
    loop {
        tokio::select! {
            nudge = nudges.next() => if !nudge.touches(permit.scope.org(), permit.user) { continue },
            _ = tick.tick() => {}
        }
        match holds(app, permit, id).await {
            Ok(true) => {}
            Ok(false) => return,
            // While the database is out of reach nobody's rights change either.
            Err(fault) => {
                tracing::warn!(%fault, workspace = %id, "whether a member still may could not be read, it is asked again");
                tick.reset_after(ACCESS_RETRY);
            }
        }
    }
}

/// The idle policy of a workspace.
pub fn idle_policy(row: &Row, now: Timestamp) -> IdlePolicy {
    idle_rule(row, now).0
}

/// The same, and whose word it is: its manifest's, or a shorter one of its project, its org or the org's quiet hours.
pub fn idle_rule(row: &Row, now: Timestamp) -> (IdlePolicy, IdleSource) {
    let runtime = row.manifest.as_ref().map(|manifest| manifest.runtime).unwrap_or_default();
    let quiet = row.quiet.as_ref().filter(|quiet| quiet.covers(now)).map(|quiet| quiet.idle);
    let limits = IdleLimits { manifest: runtime.idle, project: row.project_idle, org: row.org_idle, quiet };
    let (freeze_after, source) = limits.shortest();
    (IdlePolicy { freeze_after, stop_after: runtime.stop_after, ..IdlePolicy::default() }, source)
}

/// The facts the idle rule decides on.
pub fn idle_facts(row: &Row) -> IdleFacts {
    IdleFacts {
        requests_in_flight: row.in_flight,
        jobs_running: row.jobs_running,
        minute: row.minute.unwrap_or_default(),
        last_work: row.last_activity.unwrap_or(row.changed_at).max(row.changed_at),
    }
}

/// A host came or went: whoever looks at its workspaces looks again.
pub async fn host_changed(tx: &mut Tx, scope: OrgScope, host: HostId) -> Answer<()> {
    for workspace in store::on_host(tx, host).await? {
        tx.nudge(Nudge::Workspace { org: scope.org(), workspace });
    }
    Ok(())
}

/// Takes the log lines out of every cause.
pub fn without_logs(row: &mut Row) {
    row.shell = row.shell.clone().without_log();
    row.parts = row.parts.drain(..).map(Part::without_log).collect();
    if let Some(trouble) = &mut row.blocked {
        trouble.cause = without_log(&trouble.cause).to_owned();
    }
}

/// Whether the workspace's host has been away for so long that nothing is asked of it any more. One that went a
/// moment ago is back in a moment, and finds what was asked of it meanwhile.
pub fn is_host_lost(app: &App, row: &Row) -> bool {
    !row.host_online && hosts::ops::is_silent(app, row.host_seen_at.unwrap_or(row.created_at))
}

/// What nobody but its host could tell, as long as that is away. Nothing of it is stored: once the host is back, its
/// reports are what counts.
fn without_host(app: &App, row: &mut Row, view: &mut RuntimeView) {
    if row.host_online {
        return;
    }
    let lost = hosts::ops::lost();
    let is_lost = is_host_lost(app, row);
    if row.shell.state != ReadinessState::Blocked {
        let state = if is_lost { ReadinessState::Blocked } else { row.shell.state };
        row.shell = Part { state, ..Part::blocked(PartKind::Shell, "shell", &lost.code, &*lost.cause, &*lost.fix) };
    }
    let is_up = matches!(view.state, RuntimeState::Waking | RuntimeState::Awake | RuntimeState::Stopping);
    if is_lost && is_up {
        view.readiness = ReadinessState::Blocked;
        view.blocked_code = Some(lost.code);
        view.blocked_cause = Some(lost.cause);
        view.blocked_fix = Some(lost.fix);
    }
}

async fn shown(app: &App, tx: &mut Tx, permit: &Permit, mut row: Row) -> Answer<Workspace> {
    if !permit.also(Action::ReadLogs) {
        without_logs(&mut row);
    }
    let labels = store::labels(tx, row.id).await?;
    let dev_hosts = labels
        .into_iter()
        .map(|(service, label)| DevHost { url: app.config.dev_url(&label), service, label })
        .collect();
    let mut wake_cause = row.wake_cause.take().filter(|_| row.runtime.state != RuntimeState::Asleep);
    accounts::ops::say_names(tx, wake_cause.as_mut().into_iter().collect()).await?;
    let sleeps = matches!(row.runtime.state, RuntimeState::Asleep | RuntimeState::Frozen);
    let parts = row
        .parts
        .iter()
        .map(|part| if sleeps && part.state != ReadinessState::Blocked { part.asleep() } else { part.clone() })
        .collect();
    let idle = (row.runtime.state == RuntimeState::Awake)
        .then(|| idle::decide(&idle_facts(&row), &idle_policy(&row, app.now()), app.now()));
    let blocked = row.blocked.take();
    let mut runtime = RuntimeView {
        readiness: row.runtime.state.readiness(),
        state: row.runtime.state,
        generation: row.runtime.generation,
        size: row.runtime_size,
        wake_cause,
        awake_since: row.window.map(|window| window.opened_at),
        blocked_code: blocked.as_ref().map(|trouble| trouble.code.clone()),
        blocked_cause: blocked.as_ref().map(|trouble| trouble.cause.clone()),
        blocked_fix: blocked.map(|trouble| trouble.fix),
        idle,
        is_capped: row.is_capped(),
    };
    without_host(app, &mut row, &mut runtime);
    Ok(Workspace {
        id: row.id,
        org: row.org,
        org_slug: row.org_slug,
        slug: row.slug,
        project: row.project,
        branch: row.branch,
        forked_from: row.forked_from.map(|(_, slug)| slug),
        shell: row.shell,
        runtime,
        parts,
        diagnostics: row.diagnostics,
        dev_hosts,
        elevation: row.elevation.filter(|elevation| elevation.until > app.now()),
        created_at: row.created_at,
    })
}

/// Creates a workspace, or answers the one of this branch. One whose shell is blocked is prepared again.
pub async fn create(app: &App, permit: &Permit, request: &CreateWorkspace) -> Answer<Workspace> {
    check_branch(&request.branch)?;
    let mut tx = app.db.begin(permit.scope).await?;
    let Some(project) = projects::store::find(&mut tx, &request.project).await? else {
        return Err(
            Refusal::not_found("project.not_found", format!("there is no project `{}`", request.project)).into()
        );
    };
    let added = match existing(&mut tx, &project, request).await? {
        Some(existing) => Some(again(app, &mut tx, permit, &project, existing).await?),
        None => add(app, &mut tx, permit, &project, request).await?,
    };
    let id = if let Some(id) = added {
        id
    } else if let Some(existing) = existing(&mut tx, &project, request).await? {
        // Somebody asked for the same at the same moment, and has committed.
        again(app, &mut tx, permit, &project, existing).await?
    } else {
        // It is in a project that the caller does not see.
        let message = format!("the name `{}` is taken", slug_of(request));
        return Err(Refusal::conflict("workspace.name_taken", message).hint("choose another name").into());
    };
    tx.commit().await?;
    view_by_id(app, permit, id).await?.ok_or_else(|| not_found(&slug_of(request)))
}

fn slug_of(request: &CreateWorkspace) -> Slug {
    request.slug.clone().unwrap_or_else(|| Slug::from_text(&request.branch))
}

/// The workspace a request means, if there is one: that of its branch, whatever it is called.
async fn existing(tx: &mut Tx, project: &Project, request: &CreateWorkspace) -> Answer<Option<Row>> {
    let found = match store::find_by_branch(tx, &project.id, &request.branch).await? {
        Some(found) => Some(found),
        None => store::find(tx, &slug_of(request)).await?,
    };
    let Some(found) = found else { return Ok(None) };
    let refusal = if found.project != request.project || found.branch != request.branch {
        Refusal::conflict(
            "workspace.name_taken",
            format!("workspace `{}` is of branch `{}` of project `{}`", found.slug, found.branch, found.project),
        )
        .hint("choose another name for this one")
    } else if request.slug.as_ref().is_some_and(|slug| *slug != found.slug) {
        Refusal::conflict(
            "workspace.branch_taken",
            format!("branch `{}` has a workspace already: `{}`", found.branch, found.slug),
        )
        .hint("use that one, or delete it first")
    } else if found.deleting {
        Refusal::conflict("workspace.deleting", format!("workspace `{}` is being deleted", found.slug))
            .hint("try again in a moment")
            .retry_after(2)
    } else {
        return Ok(Some(found));
    };
    Err(refusal.into())
}

/// Prepares a workspace's shell again if it is blocked.
pub(crate) async fn again(
    app: &App,
    tx: &mut Tx,
    permit: &Permit,
    project: &Project,
    existing: Row,
) -> Answer<WorkspaceId> {
    if existing.shell.state == ReadinessState::Blocked {
        store::set_shell(tx, existing.id, &Part::new(PartKind::Shell, "shell", ReadinessState::Waking)).await?;
        let fork_of = existing.forked_from.as_ref().map(|(id, _)| *id);
        let order = prepare(permit, project, &existing.slug, &existing.branch, fork_of);
        hosts::ops::command(app, tx, existing.host, existing.id, existing.runtime.generation, order).await?;
        tx.nudge(Nudge::Workspace { org: existing.org, workspace: existing.id });
    }
    Ok(existing.id)
}

/// Adds a workspace and orders its shell; `None` when somebody else has just added it.
async fn add(
    app: &App,
    tx: &mut Tx,
    permit: &Permit,
    project: &Project,
    request: &CreateWorkspace,
) -> Answer<Option<WorkspaceId>> {
    check_room(tx, 1).await?;
    let Some(host) = hosts::store::candidates(tx).await?.into_iter().next() else {
        return Err(Refusal::unavailable("host.none", "the organization has no host yet")
            .hint("register one with `envforged host`")
            .into());
    };
    let (id, slug, branch): (WorkspaceId, _, _) = (app.mint(), slug_of(request), &request.branch);
    check_labels(tx, permit, project, &slug).await?;
    let shell = Part::new(PartKind::Shell, "shell", ReadinessState::Waking);
    let (host, user, now) = (host.host, permit.user, app.now());
    let new = NewWorkspace {
        id,
        project: &project.id,
        host,
        slug: &slug,
        branch,
        size: request.size,
        shell: &shell,
        forked_from: None,
        user,
        now,
    };
    if !store::insert(tx, &new).await? {
        return Ok(None);
    }
    let actor = permit.actor();
    let entry = Entry::new(&actor, "workspace.created", id, slug.as_str()).details(json!({ "branch": branch }));
    ledger::record(app, tx, entry).await?;
    hosts::ops::command(app, tx, host, id, 0, prepare(permit, project, &slug, branch, None)).await?;
    tx.nudge(Nudge::Workspace { org: permit.scope.org(), workspace: id });
    Ok(Some(id))
}

/// That the org may have so many more.
pub(crate) async fn check_room(tx: &mut Tx, more: i64) -> Answer<()> {
    let there = store::system_count(tx).await?;
    if there + more <= WORKSPACES_MAX {
        return Ok(());
    }
    let message = format!("the organization has {there} workspaces, and may have {WORKSPACES_MAX}");
    Err(Refusal::conflict("workspace.too_many", message).hint("delete some that are not used").into())
}

/// The order to make a workspace's shell, as a copy of another workspace or from the repository.
pub(crate) fn prepare(
    permit: &Permit,
    project: &Project,
    slug: &Slug,
    branch: &str,
    fork_of: Option<WorkspaceId>,
) -> Order {
    let names = WorkspaceNames { org: permit.org.clone(), project: project.slug.clone(), workspace: slug.clone() };
    let repository = project.repository.clone();
    Order::PrepareShell(PrepareShell { names, repository, branch: branch.to_owned(), fork_of })
}

/// Git's own rules for branch names, as far as they keep a name from being anything else (git-check-ref-format).
fn check_branch(branch: &str) -> Answer<()> {
    let bad = branch.is_empty()
        || branch.len() > 200
        || branch.starts_with(['-', '/', '.'])
        || branch.ends_with(['/', '.'])
        || branch.contains("..")
        || branch.contains("//")
        || branch.contains("@{")
        || branch.chars().any(|c| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\'));
    let lock = branch.split('/').any(|part| part.rsplit_once('.').is_some_and(|(_, end)| end == "lock"));
    if bad || lock {
        return Err(Refusal::invalid(
            "workspace.branch",
            format!("`{}` is not a branch name Git accepts", branch.escape_debug()),
        )
        .into());
    }
    Ok(())
}

/// Deletes a workspace: the host destroys everything, then the row is closed. Links die at once.
pub async fn delete(app: &App, permit: &Permit, slug: &Slug) -> Answer<()> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = store::lock_by_slug(&mut tx, slug).await?.ok_or_else(|| not_found(slug))?;
    if row.deleting {
        return Ok(());
    }
    let generation = store::begin_deletion(&mut tx, row.id, app.now()).await?;
    hosts::store::supersede(&mut tx, row.id, generation, app.now()).await?;
    hosts::ops::command(app, &mut tx, row.host, row.id, generation, Order::DestroyWorkspace).await?;
    ledger::record(app, &mut tx, Entry::new(&permit.actor(), "workspace.deletion_asked", row.id, slug.as_str()))
        .await?;
    tx.nudge(Nudge::Workspace { org: row.org, workspace: row.id });
    tx.commit().await
}

/// The host destroyed it.
pub async fn deleted(app: &App, tx: &mut Tx, id: WorkspaceId) -> Answer<()> {
    if store::finish_deletion(tx, id, app.now()).await?
        && let Some(org) = tx.org()
    {
        secrets::ops::workspace_deleted(app, tx, id).await?;
        ledger::record(app, tx, Entry::new("system:host", "workspace.deleted", id, "destroyed on its host")).await?;
        tx.nudge(Nudge::Workspace { org, workspace: id });
    }
    Ok(())
}

/// The host could not prepare the shell, or not take it away.
pub async fn shell_blocked(tx: &mut Tx, id: WorkspaceId, trouble: &Trouble) -> Answer<()> {
    let shell = Part::blocked(PartKind::Shell, "shell", &trouble.code, trouble.cause.clone(), trouble.fix.clone());
    store::set_shell(tx, id, &shell).await?;
    if let Some(org) = tx.org() {
        tx.nudge(Nudge::Workspace { org, workspace: id });
    }
    Ok(())
}

/// Why a service gets no dev host, and what helps.
pub(crate) fn no_dev_host(service: &str, label: &str, holder: &Holder) -> String {
    let whose = match holder {
        Holder::Ours { workspace, service } => format!("service `{service}` of workspace `{workspace}`"),
        Holder::Others => "another organization".to_owned(),
    };
    format!("service `{service}` has no dev host: its label `{label}` is held by {whose}")
}

/// What helps where a label is held.
pub(crate) const NO_DEV_HOST_HELP: &str = "rename the service, or make the workspace under another name (`--slug`)";

/// Refuses the name of a new workspace if a service that the project is known to have would get no dev host under it.
pub(crate) async fn check_labels(tx: &mut Tx, permit: &Permit, project: &Project, slug: &Slug) -> Answer<()> {
    for service in store::services_of(tx, &project.id).await? {
        let Ok(name) = service.parse::<Slug>() else { continue };
        let label = hostname::label(&name, slug, &permit.org);
        if let Some(holder) = store::holder(tx, &label).await? {
            let message = format!("under the name `{slug}` {}", no_dev_host(&service, &label, &holder));
            return Err(Refusal::conflict("workspace.label_taken", message)
                .hint("choose another name with `--slug`")
                .into());
        }
    }
    Ok(())
}

/// Takes in the manifest a host read, and stores the labels of its services. A service whose label is held keeps its name
/// but gets no dev host; the workspace's diagnostics say so.
pub async fn manifest_seen(app: &App, tx: &mut Tx, row: &Row, report: &ManifestReport) -> Answer<()> {
    match report {
        ManifestReport::Broken { diagnostics } => store::set_diagnostics(tx, row.id, diagnostics).await,
        ManifestReport::Missing => {
            store::set_diagnostics(tx, row.id, &["envforge.yml: there is no such file in the checkout".to_owned()])
                .await
        }
        ManifestReport::Valid { manifest } => {
            store::set_manifest(tx, row.id, manifest).await?;
            let before = store::labels(tx, row.id).await?;
            let mut without = Vec::new();
            let services: Vec<&str> = manifest.services.keys().map(String::as_str).collect();
            for service in manifest.services.keys() {
                let Ok(slug) = service.parse::<Slug>() else { continue };
                let label = hostname::label(&slug, &row.slug, &row.org_slug);
                if let Some(holder) = store::claim_label(tx, &label, row.id, service, &services, app.now()).await? {
                    let cause = no_dev_host(service, &label, &holder);
                    without.push(format!("envforge.yml: {cause}\n  help: {NO_DEV_HOST_HELP}"));
                }
            }
            if !without.is_empty() {
                store::set_diagnostics(tx, row.id, &without).await?;
            }
            if row.manifest.is_none() || store::labels(tx, row.id).await? != before {
                runtimes::ops::name_dev_hosts(app, tx, row).await?;
            }
            Ok(())
        }
    }
}
