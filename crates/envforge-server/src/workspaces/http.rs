//! `/v1/orgs/{org}/workspaces`, and the live stream of one.

use super::ops;
use crate::app::App;
use crate::platform::bus::Nudge;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use envforge_api::http::ErrorBody;
use envforge_api::http::workspaces::{CreateWorkspace, Workspace, WorkspaceChanged, Workspaces};
use envforge_core::access::Action;
use envforge_core::name::Slug;
use futures_util::{Stream, StreamExt as _};
use std::convert::Infallible;
use std::time::Duration;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// How often the host of a live view is looked for while it is away.
const HOST_LOOK: Duration = Duration::from_secs(1);

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, delete)).routes(routes!(events))
}

/// Workspaces of the org.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces", tag = "workspaces", security(("api_key" = ["view"])), params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = Workspaces), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, member: Member) -> Answer<Json<Workspaces>> {
    Ok(Json(ops::list(&app, &member.permit(Action::View)?).await?))
}

/// Create a workspace, or get the one of this branch.
#[utoipa::path(post, path = "/v1/orgs/{org}/workspaces", tag = "workspaces", security(("api_key" = ["workspace.create"])), params(("org" = String, Path, description = "Org slug")),
    request_body = CreateWorkspace, responses((status = 200, body = Workspace), (status = "default", body = ErrorBody)))]
async fn create(State(app): State<App>, member: Member, Json(body): Json<CreateWorkspace>) -> Answer<Json<Workspace>> {
    Ok(Json(ops::create(&app, &member.permit(Action::CreateWorkspace)?, &body).await?))
}

/// One workspace with the readiness of all its parts.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}", tag = "workspaces", security(("api_key" = ["view"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    responses((status = 200, body = Workspace), (status = "default", body = ErrorBody)))]
async fn show(State(app): State<App>, member: Member, Path(path): Path<(Slug, Slug)>) -> Answer<Json<Workspace>> {
    let (_, slug) = path;
    let permit = member.permit(Action::View)?;
    Ok(Json(ops::view(&app, &permit, &slug).await?))
}

/// Delete a workspace with its checkout, databases and links.
#[utoipa::path(delete, path = "/v1/orgs/{org}/workspaces/{workspace}", tag = "workspaces", security(("api_key" = ["workspace.delete"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    responses((status = 202), (status = "default", body = ErrorBody)))]
async fn delete(State(app): State<App>, member: Member, Path(path): Path<(Slug, Slug)>) -> Answer<StatusCode> {
    let (_, slug) = path;
    ops::delete(&app, &member.permit(Action::DeleteWorkspace)?, &slug).await?;
    Ok(StatusCode::ACCEPTED)
}

/// The workspace, again each time it changes (server-sent events; the first is the present state).
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/events", tag = "workspaces", security(("api_key" = ["view"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    responses((status = 200, content_type = "text/event-stream", body = WorkspaceChanged), (status = "default", body = ErrorBody)))]
async fn events(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let (_, slug) = path;
    let permit = member.permit(Action::View)?;
    // Listen first, then look: a change between the two is then seen twice, never missed.
    let (mut nudges, access) = (app.bus.listen(), app.bus.listen());
    let first = ops::view(&app, &permit, &slug).await?;
    let id = first.id;
    let ended = permit.ended(&app);
    let (sender, receiver) = tokio::sync::mpsc::channel::<WorkspaceChanged>(1);
    let stopped = app.cancel.clone();
    let task = app.clone();
    app.spawn("workspace events", async move {
        let mut last = first.clone();
        if sender.send(WorkspaceChanged { workspace: Some(first) }).await.is_err() {
            return;
        }
        let mut tick = tokio::time::interval(HOST_LOOK);
        let mut lost = std::pin::pin!(ops::until_lost(&task, &permit, id, access));
        loop {
            tokio::select! {
                () = stopped.cancelled() => return,
                () = sender.closed() => return,
                () = &mut lost => return,
                nudge = nudges.next() => match nudge {
                    Nudge::Workspace { workspace, .. } if workspace == id => {}
                    Nudge::Resync => {}
                    _ => continue,
                },
                // That a host stays away is told by nobody.
                _ = tick.tick(), if last.shell.code.as_deref() == Some("host.lost") => {}
            }
            let now = match ops::view_by_id(&task, &permit, id).await {
                Ok(now) => now,
                Err(fault) => {
                    tracing::warn!(%fault, "a live view could not be read, the reader will come again");
                    return;
                }
            };
            let ended = now.is_none();
            if now.as_ref() != Some(&last) && sender.send(WorkspaceChanged { workspace: now.clone() }).await.is_err() {
                return;
            }
            match now {
                Some(now) => last = now,
                None => debug_assert!(ended),
            }
            if ended {
                return;
            }
        }
    });
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let changed = receiver.recv().await?;
        let event = Event::default().json_data(&changed).unwrap_or_default();
        Some((Ok(event), receiver))
    });
    let stream = stream.take_until(ended);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(10))))
}
