//! `envforge root`: root in a workspace, for a reason and for a while.

use crate::args::{RootMode, RootPolicyArgs, RootRequest, RootVerb};
use crate::attach::{self, Shell};
use crate::commands;
use crate::context::{Context, segment};
use crate::exit::ExitCode;
use crate::printer::printable;
use crate::render;
use envforge_api::http::accounts::Me;
use envforge_api::http::elevations::{CreateElevation, Elevation, Elevations, OrgRootPolicy};
use envforge_core::elevation::{ElevationState, RootPolicy};
use envforge_core::refusal::Refusal;
use serde_json::json;

/// Policy, requests, answers, and the root terminal itself.
pub(crate) async fn root(ctx: &mut Context<'_>, verb: RootVerb) -> Result<ExitCode, Refusal> {
    match verb {
        RootVerb::Policy(arguments) => policy(ctx, arguments).await,
        RootVerb::Request(arguments) => request(ctx, arguments).await,
        RootVerb::Approve { elevation } => answer(ctx, &elevation, "approve").await,
        RootVerb::Refuse { elevation } => answer(ctx, &elevation, "refuse").await,
        RootVerb::Revoke { elevation } => answer(ctx, &elevation, "revoke").await,
        RootVerb::List => {
            let all: Elevations = ctx.get(&ctx.org_path("/elevations").await?).await?;
            ctx.printer.answer(&all, || list(&all.elevations));
            Ok(ExitCode::Ok)
        }
        RootVerb::Recording { elevation } => {
            let path = ctx.org_path(&format!("/elevations/{}/recording", segment(&elevation))).await?;
            commands::recording::print(ctx, &path).await
        }
        RootVerb::Shell { elevation } => shell(ctx, elevation.as_deref()).await,
    }
}

async fn policy(ctx: &Context<'_>, arguments: RootPolicyArgs) -> Result<ExitCode, Refusal> {
    let path = ctx.org_path("/root-policy").await?;
    let max_minutes = arguments.max_minutes;
    let wanted = arguments.mode.map(|mode| match mode {
        RootMode::Disabled => RootPolicy::Disabled,
        RootMode::BreakGlass => RootPolicy::BreakGlass { max_minutes },
        RootMode::Workspace => RootPolicy::Workspace { max_minutes },
    });
    let now: OrgRootPolicy = match wanted {
        Some(policy) => ctx.put(&path, &OrgRootPolicy { policy }).await?,
        None => ctx.get(&path).await?,
    };
    ctx.printer.answer(&now, || match now.policy {
        RootPolicy::Disabled => "disabled: nobody can become root in a workspace".to_owned(),
        RootPolicy::BreakGlass { max_minutes } => {
            format!("break-glass: root for at most {max_minutes} minutes, once another person has approved")
        }
        RootPolicy::Workspace { max_minutes } => {
            format!("workspace: root for at most {max_minutes} minutes, for whoever asks with a reason")
        }
    });
    Ok(ExitCode::Ok)
}

async fn request(ctx: &Context<'_>, arguments: RootRequest) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(None)?;
    let path = ctx.workspace_path(&slug, "/elevations").await?;
    let body = CreateElevation { reason: arguments.reason, minutes: arguments.minutes };
    let elevation: Elevation = ctx.post(&path, &body).await?;
    ctx.printer.answer(&elevation, || elevation.id.to_string());
    ctx.printer.note(&about(&elevation));
    Ok(ExitCode::Ok)
}

async fn answer(ctx: &Context<'_>, id: &str, verb: &str) -> Result<ExitCode, Refusal> {
    let path = ctx.org_path(&format!("/elevations/{}/{verb}", segment(id))).await?;
    let elevation: Elevation = ctx.post(&path, &json!({})).await?;
    ctx.printer.answer(&elevation, || about(&elevation));
    Ok(ExitCode::Ok)
}

/// How it stands, and what comes next.
fn about(elevation: &Elevation) -> String {
    let (id, slug, who) = (elevation.id, &elevation.slug, printable(&elevation.requested_by.name));
    let until = render::time(elevation.expires_at);
    match elevation.state {
        ElevationState::Requested => {
            format!("waits until {until} for another person: `envforge root approve {id}`")
        }
        ElevationState::Approved | ElevationState::Active => {
            format!("{who} may be root in {slug} until {until}: `envforge root shell {id}`")
        }
        ElevationState::Refused => format!("{who} does not become root in {slug}"),
        ElevationState::Withdrawn => format!("{who} no longer asks for root in {slug}"),
        ElevationState::Ended => format!("{who} is no longer root in {slug}: its terminal ends within a second"),
    }
}

fn list(elevations: &[Elevation]) -> String {
    if elevations.is_empty() {
        return "nobody has asked for root; `envforge root request` does".to_owned();
    }
    let rows: Vec<_> = elevations
        .iter()
        .map(|elevation| {
            vec![
                elevation.id.to_string(),
                elevation.slug.to_string(),
                elevation.ended.map_or(elevation.state.as_str(), |ended| ended.as_str()).to_owned(),
                printable(&elevation.requested_by.name),
                elevation.decided_by.as_ref().map_or_else(String::new, |person| printable(&person.name)),
                render::time(elevation.ended_at.unwrap_or(elevation.expires_at)),
                printable(&elevation.reason),
            ]
        })
        .collect();
    render::table(&["ELEVATION", "WORKSPACE", "STATE", "FOR", "ANSWERED BY", "UNTIL", "REASON"], &rows)
}

/// Opens the root terminal of one's own elevation.
async fn shell(ctx: &mut Context<'_>, wanted: Option<&str>) -> Result<ExitCode, Refusal> {
    commands::attach::needs_terminal(ctx)?;
    let here = if wanted.is_none() { Some(ctx.workspace(None)?) } else { None };
    let me: Me = ctx.get("/v1/me").await?;
    let org = ctx.choose_org(&me)?;
    let all: Elevations = ctx.get(&format!("/v1/orgs/{org}/elevations")).await?;
    let is_it = |elevation: &Elevation| match wanted {
        Some(id) => elevation.id.to_string() == id,
        None => {
            Some(&elevation.slug) == here.as_ref()
                && elevation.requested_by.user == me.user
                && elevation.state.is_granted()
        }
    };
    let elevation = all.elevations.into_iter().find(is_it).ok_or_else(|| {
        Refusal::not_found("elevation.none", "there is no elevation of yours to open a terminal of")
            .hint("`envforge root request --reason …` asks for one; `envforge root list` shows what there is")
    })?;
    Box::pin(attach::attach(ctx, &Shell::root(ctx, org, &elevation)?)).await
}
