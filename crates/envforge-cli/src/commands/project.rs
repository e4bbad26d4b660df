//! `envforge project`: who sees a project, and how long its runtimes idle.

use crate::args::ProjectVerb;
use crate::context::Context;
use crate::exit::ExitCode;
use envforge_api::http::orgs::ProjectAccess;
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;

/// The verbs of `envforge project`.
pub(crate) async fn project(ctx: &mut Context<'_>, verb: ProjectVerb) -> Result<ExitCode, Refusal> {
    let (project, open, restrict, groups) = match verb {
        ProjectVerb::Access { project, open, restrict, groups } => (project, open, restrict, groups),
        ProjectVerb::IdleLimit { project, limit } => {
            let path = ctx.org_path(&format!("/projects/{project}/idle-limit")).await?;
            super::org::idle_limit(ctx, &path, limit).await?;
            return Ok(ExitCode::Ok);
        }
    };
    let path = ctx.org_path(&format!("/projects/{project}/access")).await?;
    let access: ProjectAccess = if open || restrict {
        ctx.put(&path, &ProjectAccess { is_restricted: restrict, groups }).await?
    } else {
        ctx.get(&path).await?
    };
    ctx.printer.answer(&access, || {
        if !access.is_restricted {
            return format!("{project} is open to all members");
        }
        let groups: Vec<_> = access.groups.iter().map(Slug::as_str).collect();
        let among = if groups.is_empty() { String::new() } else { format!(" and to {}", groups.join(", ")) };
        format!("{project} is shown to owners and admins{among}")
    });
    Ok(ExitCode::Ok)
}
