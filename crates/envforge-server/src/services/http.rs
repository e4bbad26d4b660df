//! `POST /v1/orgs/{org}/workspaces/{workspace}/services/{service}`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use envforge_api::http::ErrorBody;
use envforge_api::http::workspaces::{ChangeService, Workspace};
use envforge_core::access::Action;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(change))
}

/// Start, stop or restart a service. Answered once its host has begun.
#[utoipa::path(post, path = "/v1/orgs/{org}/workspaces/{workspace}/services/{service}", tag = "services", security(("api_key" = ["runtime.wake"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"), ("service" = String, Path, description = "Name in envforge.yml")),
    request_body = ChangeService, responses((status = 200, body = Workspace), (status = "default", body = ErrorBody)))]
async fn change(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug, String)>,
    Json(body): Json<ChangeService>,
) -> Answer<Json<Workspace>> {
    let (_, slug, service) = path;
    Ok(Json(ops::change(&app, &member.permit(Action::Wake)?, &slug, &service, body.action).await?))
}
