//! `envforge wake`: the runtime, on demand.

use crate::args::Wake;
use crate::context::Context;
use crate::exit::ExitCode;
use crate::readiness::{self, Reporter, Settled};
use crate::render;
use envforge_api::http::usage::WorkspaceUsage;
use envforge_api::http::workspaces::{self, Workspace};
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use envforge_core::size::Size;
use envforge_core::usage::CapMode;

/// Wakes a runtime and waits until its services are ready or blocked.
pub(crate) async fn wake(ctx: &mut Context<'_>, wake: Wake) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(wake.name.as_deref())?;
    show_cap(ctx, &slug).await?;
    let woken = post(ctx, &slug, wake.size).await?;
    if wake.no_wait {
        ctx.printer.answer(&woken, || format!("{slug} is waking"));
        return Ok(ExitCode::Ok);
    }
    let (workspace, how) = settle(ctx, &slug, &woken, &mut Reporter::default()).await?;
    ctx.printer.answer(&workspace, || format!("{slug} is {}", word(how)));
    Ok(exit_code(how))
}

/// A cap is shown before a wake counts against it.
async fn show_cap(ctx: &Context<'_>, slug: &Slug) -> Result<(), Refusal> {
    if ctx.printer.is_json() {
        return Ok(());
    }
    let path = ctx.workspace_path(slug, "/usage").await?;
    let usage: WorkspaceUsage = ctx.get(&path).await?;
    for standing in &usage.caps {
        ctx.printer.note(&format!("cap: {}", render::standing(standing)));
    }
    // A server that is older knows the workspace's own only.
    if usage.caps.is_empty() && usage.cap.mode != CapMode::None {
        ctx.printer.note(&format!("cap: {}", render::cap(usage.cap, usage.cap_posture, &usage.currency)));
    }
    Ok(())
}

/// Orders the wake.
pub(crate) async fn post(ctx: &Context<'_>, slug: &Slug, size: Option<Size>) -> Result<Workspace, Refusal> {
    ctx.printer.slow("waking", post_quietly(ctx, slug, size)).await
}

/// Orders the wake without a word: a shell may be on the screen.
pub(crate) async fn post_quietly(ctx: &Context<'_>, slug: &Slug, size: Option<Size>) -> Result<Workspace, Refusal> {
    let path = ctx.workspace_path(slug, "/wake").await?;
    ctx.client()?.post(&path, &workspaces::Wake { size }).await.map_err(|error| ctx.refusal(error))
}

/// Waits until a wake has settled.
pub(crate) async fn settle(
    ctx: &Context<'_>,
    slug: &Slug,
    woken: &Workspace,
    reporter: &mut Reporter,
) -> Result<(Workspace, Settled), Refusal> {
    let generation = woken.runtime.generation;
    readiness::wait(ctx, slug, Some(reporter), "waking", |workspace| readiness::settled(workspace, generation)).await
}

/// How a wake ended, in a word.
pub(crate) fn word(how: Settled) -> &'static str {
    match how {
        Settled::Ready => "awake and ready",
        Settled::Blocked => "blocked",
        Settled::Asleep => "asleep again: someone put it to sleep meanwhile",
    }
}

/// How the program ends after a wake.
pub(crate) fn exit_code(how: Settled) -> ExitCode {
    match how {
        Settled::Ready => ExitCode::Ok,
        Settled::Blocked | Settled::Asleep => ExitCode::Failed,
    }
}
