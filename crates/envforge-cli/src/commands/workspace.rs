//! `envforge workspace`: list, create, delete, and what they used.

use crate::args::{Named, WorkspaceCap, WorkspaceCreate, WorkspaceDelete, WorkspaceVerb};
use crate::ask;
use crate::commands::up::project;
use crate::context::Context;
use crate::exit::ExitCode;
use crate::follow::Follow;
use crate::render;
use envforge_api::http::usage::{SetCap, WorkspaceUsage};
use envforge_api::http::workspaces::{CreateWorkspace, Workspace, Workspaces};
use envforge_core::name::Slug;
use envforge_core::readiness::ReadinessState;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::usage::Cap;
use serde_json::{Value, json};
use std::time::Duration;

/// The verbs of `envforge workspace`.
pub(crate) async fn workspace(ctx: &mut Context<'_>, verb: WorkspaceVerb) -> Result<ExitCode, Refusal> {
    match verb {
        WorkspaceVerb::List => list(ctx).await,
        WorkspaceVerb::Create(arguments) => create(ctx, arguments).await,
        WorkspaceVerb::Delete(arguments) => delete(ctx, arguments).await,
        WorkspaceVerb::Usage(named) => usage(ctx, named).await,
        WorkspaceVerb::Cap(arguments) => cap(ctx, arguments).await,
    }
}

/// All workspaces of the org.
pub(crate) async fn all(ctx: &Context<'_>) -> Result<Workspaces, Refusal> {
    let path = ctx.org_path("/workspaces").await?;
    ctx.get(&path).await
}

async fn list(ctx: &Context<'_>) -> Result<ExitCode, Refusal> {
    let workspaces = all(ctx).await?;
    ctx.printer.answer(&workspaces, || {
        if workspaces.workspaces.is_empty() {
            return "no workspaces; `envforge up` in a Git repository makes one".to_owned();
        }
        let rows: Vec<_> = workspaces.workspaces.iter().map(row).collect();
        render::table(&["WORKSPACE", "PROJECT", "BRANCH", "SHELL", "RUNTIME", "SIZE"], &rows)
    });
    Ok(ExitCode::Ok)
}

fn row(workspace: &Workspace) -> Vec<String> {
    vec![
        workspace.slug.to_string(),
        workspace.project.to_string(),
        workspace.branch.clone(),
        render::readiness(workspace.shell.state).to_owned(),
        render::runtime_word(workspace.runtime.state).to_owned(),
        workspace.runtime.size.to_string(),
    ]
}

async fn create(ctx: &Context<'_>, arguments: WorkspaceCreate) -> Result<ExitCode, Refusal> {
    let project = match arguments.project {
        Some(project) => project,
        None => project::of_repository(ctx, None).await?,
    };
    let body = CreateWorkspace { project, branch: arguments.branch, slug: arguments.slug, size: arguments.size };
    let workspace = project::create_workspace(ctx, body).await?;
    if let Some(repository) = ctx.repository() {
        ctx.remember_workspace(repository, &workspace.branch, &workspace.slug);
    }
    ctx.printer.answer(&workspace, || format!("{} is there; `envforge up {0}` opens it", workspace.slug));
    Ok(ExitCode::Ok)
}

async fn delete(ctx: &Context<'_>, arguments: WorkspaceDelete) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(Some(&arguments.name))?;
    if !arguments.yes {
        if !ctx.printer.is_interactive() {
            return Err(Refusal::invalid(
                "workspace.delete_unconfirmed",
                format!("deleting {slug} can't be undone, and nobody can be asked here"),
            )
            .hint("`--yes` deletes without asking"));
        }
        if !ask::confirm(&format!(
            "Delete {slug} with its checkout, databases, files and links? Nothing of it remains"
        ))? {
            return Err(Refusal::conflict("asked.cancelled", "cancelled"));
        }
    }
    let path = ctx.workspace_path(&slug, "").await?;
    let _: Value = ctx.delete(&path).await?;
    ctx.forget_workspace(&slug);
    ctx.printer.slow("deleting", gone(ctx, &slug)).await?;
    ctx.printer.answer(&json!({ "workspace": slug, "deleted": true }), || {
        format!("{slug} is deleted; its receipts and ledger events are kept")
    });
    Ok(ExitCode::Ok)
}

/// How long a deletion is watched.
const DELETE_MAX: Duration = Duration::from_mins(5);

/// Waits until a workspace that is being deleted is no more. Its links are dead already, and its host goes on trying
/// when nobody waits any more.
async fn gone(ctx: &Context<'_>, slug: &Slug) -> Result<(), Refusal> {
    let mut follow = Follow::new(ctx, slug).await?;
    let mut cause = "its host has not destroyed it yet".to_owned();
    let end = tokio::time::Instant::now() + DELETE_MAX;
    loop {
        match tokio::time::timeout_at(end, follow.next()).await {
            Ok(Ok(workspace)) => {
                if workspace.shell.state == ReadinessState::Blocked
                    && let Some(why) = workspace.shell.cause
                {
                    cause = format!("its host could not destroy it: {why}");
                }
            }
            Ok(Err(refusal)) if refusal.kind == RefusalKind::NotFound => return Ok(()),
            Ok(Err(refusal)) => return Err(refusal),
            Err(_) => {
                let message = format!("{slug} is still being deleted: {cause}");
                return Err(Refusal::unavailable("workspace.delete_unfinished", message).hint(
                    "it goes on by itself once its host can; `envforge workspace list` shows whether it is gone",
                ));
            }
        }
    }
}

async fn usage(ctx: &Context<'_>, named: Named) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(named.name.as_deref())?;
    let path = ctx.workspace_path(&slug, "/usage").await?;
    let usage: WorkspaceUsage = ctx.get(&path).await?;
    ctx.printer.answer(&usage, || render::usage(slug.as_str(), &usage));
    Ok(ExitCode::Ok)
}

async fn cap(ctx: &Context<'_>, arguments: WorkspaceCap) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(None)?;
    let cap = Cap { mode: super::cap::mode(arguments.mode), minutes: arguments.minutes.unwrap_or(0), ..Cap::default() };
    let path = ctx.workspace_path(&slug, "/cap").await?;
    let usage: WorkspaceUsage = ctx.put(&path, &SetCap { cap }).await?;
    ctx.printer
        .answer(&usage, || format!("cap of {slug}: {}", render::cap(usage.cap, usage.cap_posture, &usage.currency)));
    Ok(ExitCode::Ok)
}
