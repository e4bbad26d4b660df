//! `envforge status`: what every part can do now, and if it can't, why and what helps.

use crate::args::Named;
use crate::context::Context;
use crate::exit::ExitCode;
use crate::render;
use envforge_api::ambient::SystemClock;
use envforge_api::http::workspaces::Workspace;
use envforge_core::clock::Clock as _;
use envforge_core::refusal::Refusal;

/// Shows a workspace. Looking wakes nothing.
pub(crate) async fn status(ctx: &mut Context<'_>, named: Named) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(named.name.as_deref())?;
    let path = ctx.workspace_path(&slug, "").await?;
    let workspace: Workspace = ctx.get(&path).await?;
    let news = if ctx.printer.is_json() { Vec::new() } else { super::cap::news(ctx, &workspace).await };
    ctx.printer.answer(&workspace, || {
        let mut text = render::status(&workspace, SystemClock.now());
        for line in news {
            text.push_str(&line);
            text.push('\n');
        }
        text
    });
    Ok(ExitCode::Ok)
}
