//! `…/workspaces/{workspace}/runs`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use axum::http::StatusCode;
use envforge_api::http::ErrorBody;
use envforge_api::http::runs::{CreateRun, Run};
use envforge_core::access::Action;
use envforge_core::id::JobId;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create)).routes(routes!(show))
}

/// Run a test or job in the runtime layer, waking it.
#[utoipa::path(post, path = "/v1/orgs/{org}/workspaces/{workspace}/runs", tag = "runs", security(("api_key" = ["run.create"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    request_body = CreateRun, responses((status = 201, body = Run), (status = "default", body = ErrorBody)))]
async fn create(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Json(body): Json<CreateRun>,
) -> Answer<(StatusCode, Json<Run>)> {
    let (_, slug) = path;
    let permit = member.permit(Action::Run)?;
    Ok((StatusCode::CREATED, Json(ops::create(&app, &permit, &slug, &body).await?)))
}

/// One run with its state and exit code.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/runs/{run}", tag = "runs", security(("api_key" = ["view"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"), ("run" = JobId, Path, description = "Job id")),
    responses((status = 200, body = Run), (status = "default", body = ErrorBody)))]
async fn show(State(app): State<App>, member: Member, Path(path): Path<(Slug, Slug, JobId)>) -> Answer<Json<Run>> {
    let (_, slug, job) = path;
    Ok(Json(ops::show(&app, &member.permit(Action::View)?, &slug, job).await?))
}
