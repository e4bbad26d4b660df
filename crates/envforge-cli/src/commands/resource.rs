//! `envforge resource`: credentials of a workspace's resources.

use crate::args::{ResourceRotate, ResourceVerb};
use crate::context::{Context, segment};
use crate::exit::ExitCode;
use crate::readiness;
use crate::render;
use envforge_api::http::resources::{RotatedCredential, TakesEffect};
use envforge_api::http::workspaces::Workspace;
use envforge_core::name::Slug;
use envforge_core::readiness::{Part, PartKind, ReadinessState};
use envforge_core::refusal::Refusal;
use serde::Serialize;
use serde_json::json;

/// Runs a verb.
pub(crate) async fn resource(ctx: &mut Context<'_>, verb: ResourceVerb) -> Result<ExitCode, Refusal> {
    match verb {
        ResourceVerb::Rotate(asked) => rotate(ctx, asked).await,
    }
}

/// Orders the change, and waits until the services that were started again have settled.
async fn rotate(
    ctx: &mut Context<'_>,
    ResourceRotate { resource, no_wait }: ResourceRotate,
) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(None)?;
    let path = ctx.workspace_path(&slug, &format!("/resources/{}/rotate", segment(&resource))).await?;
    let rotated: RotatedCredential = ctx.printer.slow("rotating", ctx.post(&path, &json!({}))).await?;
    let is_restarted = rotated.takes_effect == TakesEffect::Now && !rotated.services.is_empty();
    if no_wait || !is_restarted {
        ctx.printer.answer(&Answer::of(&rotated, Vec::new()), || said(&rotated, &slug));
        return Ok(ExitCode::Ok);
    }
    let settled = |now: &Workspace| {
        let is_waking = parts(now, &rotated).any(|part| part.state == ReadinessState::Waking);
        (!is_waking).then_some(())
    };
    let waited = readiness::wait(ctx, &slug, None, "waiting for the services", settled).await;
    // Whatever becomes of the services, the credential is another one.
    let (parts, lines) = match &waited {
        Ok((workspace, ())) => {
            let parts: Vec<Part> = parts(workspace, &rotated).cloned().collect();
            let lines: Vec<String> = parts.iter().map(|part| render::part_change(part, workspace)).collect();
            (parts, lines)
        }
        Err(_) => (Vec::new(), Vec::new()),
    };
    let is_blocked = parts.iter().any(|part| part.state == ReadinessState::Blocked);
    ctx.printer.answer(&Answer::of(&rotated, parts), || [&[said(&rotated, &slug)], &lines[..]].concat().join("\n"));
    waited?;
    Ok(if is_blocked { ExitCode::Failed } else { ExitCode::Ok })
}

/// What programs are told.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    rotated: &'a RotatedCredential,
    /// The services that were started again, as they are; none if they were not waited for.
    parts: Vec<Part>,
}

impl<'a> Answer<'a> {
    fn of(rotated: &'a RotatedCredential, parts: Vec<Part>) -> Self {
        Self { rotated, parts }
    }
}

fn parts<'a>(workspace: &'a Workspace, rotated: &RotatedCredential) -> impl Iterator<Item = &'a Part> {
    let is_one = |part: &&Part| part.kind == PartKind::Service && rotated.services.contains(&part.name);
    workspace.parts.iter().filter(is_one)
}

fn said(rotated: &RotatedCredential, slug: &Slug) -> String {
    let RotatedCredential { resource, takes_effect, services } = rotated;
    let then = match takes_effect {
        TakesEffect::NextWake => "nothing runs: services have it at the next wake".to_owned(),
        TakesEffect::Now if services.is_empty() => "no service takes an input of it".to_owned(),
        TakesEffect::Now => format!("restarted, as far as they ran: {}", services.join(", ")),
    };
    format!("{resource} of {slug} has a new credential, and refuses the one from before\n{then}")
}
