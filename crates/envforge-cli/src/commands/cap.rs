//! `envforge cap`: caps of workspaces, projects and the organization.

use crate::args::{CapLift, CapModeArg, CapOf, CapSet, CapVerb, Moment};
use crate::context::Context;
use crate::exit::ExitCode;
use crate::render;
use envforge_api::ambient::SystemClock;
use envforge_api::http::caps::{CapStanding, OverrideCap, WorkspaceCaps};
use envforge_api::http::usage::{SetCap, WorkspaceUsage};
use envforge_api::http::workspaces::Workspace;
use envforge_core::clock::Clock as _;
use envforge_core::refusal::Refusal;
use envforge_core::usage::{Cap, CapMode, CapPosture};

/// The verbs of `envforge cap`.
pub(crate) async fn cap(ctx: &mut Context<'_>, verb: CapVerb) -> Result<ExitCode, Refusal> {
    match verb {
        CapVerb::Show(of) => show(ctx, &of).await?,
        CapVerb::Set(arguments) => set(ctx, arguments).await?,
        CapVerb::Override(arguments) => lift(ctx, arguments).await?,
    }
    Ok(ExitCode::Ok)
}

/// The mode as the API knows it.
pub(crate) fn mode(chosen: CapModeArg) -> CapMode {
    match chosen {
        CapModeArg::None => CapMode::None,
        CapModeArg::Warn => CapMode::Warn,
        CapModeArg::Stop => CapMode::Stop,
    }
}

/// Where the API has the cap, and whether it is a workspace's.
async fn path(ctx: &Context<'_>, of: &CapOf) -> Result<(String, bool), Refusal> {
    if of.whole_org {
        return Ok((ctx.org_path("/cap").await?, false));
    }
    if let Some(project) = &of.project {
        return Ok((ctx.org_path(&format!("/projects/{project}/cap")).await?, false));
    }
    let slug = ctx.workspace(of.name.as_deref())?;
    Ok((ctx.workspace_path(&slug, "/cap").await?, true))
}

async fn show(ctx: &Context<'_>, of: &CapOf) -> Result<(), Refusal> {
    let (path, is_workspace) = path(ctx, of).await?;
    if !is_workspace {
        let standing: CapStanding = ctx.get(&path).await?;
        ctx.printer.answer(&standing, || render::standing(&standing));
        return Ok(());
    }
    let caps: WorkspaceCaps = ctx.get(&path).await?;
    ctx.printer.answer(&caps, || {
        let mut lines: Vec<String> = caps.caps.iter().map(render::standing).collect();
        if let Some(until) = caps.grace_until {
            lines.push(format!("jobs that run may go on until {}", render::time(until)));
        }
        if lines.is_empty() { "no cap is set".to_owned() } else { lines.join("\n") }
    });
    Ok(())
}

async fn set(ctx: &Context<'_>, arguments: CapSet) -> Result<(), Refusal> {
    let mut cap = Cap {
        mode: mode(arguments.mode),
        minutes: arguments.minutes.unwrap_or(0),
        micros: arguments.money,
        warn_at: arguments.warn_at,
        ..Cap::default()
    };
    if let Some(grace) = arguments.grace {
        cap.grace_minutes = minutes(grace)?;
    }
    let (path, is_workspace) = path(ctx, &arguments.of).await?;
    if is_workspace {
        let usage: WorkspaceUsage = ctx.put(&path, &SetCap { cap }).await?;
        ctx.printer.answer(&usage, || {
            format!("cap of the workspace: {}", render::cap(usage.cap, usage.cap_posture, &usage.currency))
        });
    } else {
        let standing: CapStanding = ctx.put(&path, &SetCap { cap }).await?;
        ctx.printer.answer(&standing, || render::standing(&standing));
    }
    Ok(())
}

/// A length of time in whole minutes.
fn minutes(length: Moment) -> Result<u32, Refusal> {
    let wrong = || {
        Refusal::invalid("cap.grace", "the grace is a length of time in whole minutes")
            .hint("write it like `10m` or `1h`")
    };
    let Moment::Ago(length) = length else { return Err(wrong()) };
    if length.as_secs() % 60 != 0 {
        return Err(wrong());
    }
    u32::try_from(length.as_mins()).map_err(|_| wrong())
}

async fn lift(ctx: &Context<'_>, arguments: CapLift) -> Result<(), Refusal> {
    let (path, _) = path(ctx, &arguments.of).await?;
    let path = format!("{path}/override");
    let standing: CapStanding = if arguments.end {
        ctx.delete(&path).await?
    } else {
        let until = match arguments.until {
            None => None,
            Some(Moment::At(at)) => Some(at),
            // The same lengths as `--since`, seen the other way.
            Some(Moment::Ago(length)) => SystemClock.now().checked_add(length).ok(),
        };
        let request = OverrideCap {
            reason: arguments.reason.unwrap_or_default(),
            until,
            minutes: arguments.minutes,
            micros: arguments.money,
        };
        ctx.post(&path, &request).await?
    };
    ctx.printer.answer(&standing, || render::standing(&standing));
    Ok(())
}

/// Lines about caps that somebody should hear of, of a workspace; none where that can't be asked.
pub(crate) async fn news(ctx: &Context<'_>, workspace: &Workspace) -> Vec<String> {
    if !workspace.runtime.is_capped {
        return Vec::new();
    }
    let Ok(path) = ctx.workspace_path(&workspace.slug, "/cap").await else { return Vec::new() };
    let Ok(client) = ctx.client() else { return Vec::new() };
    let caps: WorkspaceCaps = match client.get(&path).await {
        Ok(caps) => caps,
        Err(_) => return Vec::new(),
    };
    let is_news = |standing: &&CapStanding| standing.posture.is_some_and(CapPosture::is_news);
    let mut lines: Vec<String> =
        caps.caps.iter().filter(is_news).map(|standing| format!("cap: {}", render::standing(standing))).collect();
    if let Some(until) = caps.grace_until {
        let left = render::duration(render::until(until, SystemClock.now()));
        lines.push(format!("cap: it sleeps in {left} at the latest; jobs that run may end until then"));
    }
    lines
}
