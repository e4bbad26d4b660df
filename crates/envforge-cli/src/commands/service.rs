//! `envforge service`: one service started, stopped or restarted.

use crate::args::{ServiceNamed, ServiceVerb};
use crate::context::Context;
use crate::exit::ExitCode;
use crate::readiness;
use crate::render;
use envforge_api::http::workspaces::{ChangeService, ServiceAction, Workspace};
use envforge_core::readiness::{Part, PartKind, ReadinessState};
use envforge_core::refusal::Refusal;

/// Orders the change, and waits until the service has settled.
pub(crate) async fn service(ctx: &mut Context<'_>, verb: ServiceVerb) -> Result<ExitCode, Refusal> {
    let (action, ServiceNamed { service, no_wait }) = match verb {
        ServiceVerb::Start(named) => (ServiceAction::Start, named),
        ServiceVerb::Stop(named) => (ServiceAction::Stop, named),
        ServiceVerb::Restart(named) => (ServiceAction::Restart, named),
    };
    let slug = ctx.workspace(None)?;
    let path = ctx.workspace_path(&slug, &format!("/services/{service}")).await?;
    let body = ChangeService { action };
    let mut workspace: Workspace = ctx.printer.slow(action.as_str(), ctx.post(&path, &body)).await?;
    if !no_wait && part(&workspace, &service).is_some_and(|part| part.state == ReadinessState::Waking) {
        let settled = |now: &Workspace| {
            let is_settled = part(now, &service).is_none_or(|part| part.state != ReadinessState::Waking);
            is_settled.then_some(())
        };
        (workspace, ()) = readiness::wait(ctx, &slug, None, "waiting for the service", settled).await?;
    }
    let found = part(&workspace, &service).cloned();
    ctx.printer.answer(&workspace, || match &found {
        Some(part) => render::part_change(part, &workspace),
        None => format!("service {service} is not declared any more"),
    });
    Ok(match found.map(|part| part.state) {
        Some(ReadinessState::Blocked) | None => ExitCode::Failed,
        Some(_) => ExitCode::Ok,
    })
}

fn part<'a>(workspace: &'a Workspace, service: &str) -> Option<&'a Part> {
    workspace.parts.iter().find(|part| part.kind == PartKind::Service && part.name == service)
}
