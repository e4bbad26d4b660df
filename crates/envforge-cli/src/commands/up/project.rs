//! The project of a repository and the workspace of a branch: found, or made.

use crate::context::{Context, is_loopback};
use crate::repository::{Repository, without_credentials};
use envforge_api::http::projects::{CreateProject, Project, Projects};
use envforge_api::http::workspaces::{CreateWorkspace, Workspace};
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use std::time::Duration;
use tokio::time::Instant;

/// The project of the repository one stands in, made when missing. `from` is where the server should clone from.
pub(crate) async fn of_repository(ctx: &Context<'_>, from: Option<String>) -> Result<Slug, Refusal> {
    let repository = ctx.repository().ok_or_else(|| {
        Refusal::invalid("project.not_named", "no project is named, and this folder is not in a Git repository")
            .hint("name one with `--project`, or run it inside a repository")
    })?;
    let path = ctx.org_path("/projects").await?;
    let known: Projects = ctx.get(&path).await?;
    let is_known = |source: &str| {
        known.projects.iter().find(|project| project.repository == source).map(|project| project.slug.clone())
    };
    let root = repository.root.to_string_lossy();
    if let Some(slug) = is_known(from.as_deref().unwrap_or(&root)) {
        return Ok(slug);
    }
    let origin = repository.origin();
    if from.is_none()
        && let Some(slug) = origin.as_deref().map(without_credentials).and_then(|origin| is_known(&origin))
    {
        return Ok(slug);
    }
    let source = source(ctx, repository, origin.as_deref(), from)?;
    let slug = repository.project_slug(origin.as_deref());
    let taken = known.projects.iter().any(|project| project.slug == slug);
    // Two repositories of one name: the second carries a digest of where it is.
    let slug = if taken { Slug::from_text(&format!("{slug}-{}", short_digest(&source))) } else { slug };
    ctx.printer.note(&format!("new project {slug}, cloned from {source}"));
    let body = CreateProject { slug, repository: source };
    let project: Project = ctx.post(&path, &body).await?;
    Ok(project.slug)
}

fn short_digest(text: &str) -> String {
    envforge_core::token::digest(text).chars().take(6).collect()
}

/// Where the server clones from: as asked, else this checkout where the server can see it, else the origin.
fn source(
    ctx: &Context<'_>,
    repository: &Repository,
    origin: Option<&str>,
    from: Option<String>,
) -> Result<String, Refusal> {
    if let Some(from) = from {
        return Ok(from);
    }
    if is_loopback(&ctx.server) {
        return Ok(repository.root.to_string_lossy().into_owned());
    }
    origin.map(without_credentials).ok_or_else(|| {
        Refusal::invalid(
            "project.no_origin",
            format!("{} has no origin, and the server at {} can't read it here", repository.root.display(), ctx.server),
        )
        .hint("push it somewhere and name that with `--repository URL`")
    })
}

/// How long a workspace of the same name may take to be gone.
const DELETING_MAX: Duration = Duration::from_secs(30);

/// Makes a workspace, or finds the one of this branch. A name that another project's branch has taken gets the
/// project's name in front; one that is just being deleted is waited for.
pub(crate) async fn create_workspace(ctx: &Context<'_>, mut body: CreateWorkspace) -> Result<Workspace, Refusal> {
    let path = ctx.org_path("/workspaces").await?;
    let begun = Instant::now();
    loop {
        let refusal = match ctx.post(&path, &body).await {
            Ok(workspace) => return Ok(workspace),
            Err(refusal) => refusal,
        };
        match refusal.code.as_str() {
            "workspace.name_taken" if body.slug.is_none() => {
                body.slug = Some(Slug::from_text(&format!("{}-{}", body.project, body.branch)));
            }
            "workspace.deleting" if begun.elapsed() < DELETING_MAX => {
                tokio::time::sleep(Duration::from_secs(u64::from(refusal.retry_after.unwrap_or(1)))).await;
            }
            _ => return Err(refusal),
        }
    }
}
