//! `/v1/orgs/{org}/workspaces/{workspace}/forks`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use envforge_api::http::ErrorBody;
use envforge_api::http::workspaces::{ForkWorkspace, ForkedWorkspaces};
use envforge_core::access::Action;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(fork))
}

/// Make copies of a workspace, or get those that exist.
#[utoipa::path(post, path = "/v1/orgs/{org}/workspaces/{workspace}/forks", tag = "workspaces", security(("api_key" = ["workspace.create"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    request_body = ForkWorkspace, responses((status = 200, body = ForkedWorkspaces), (status = "default", body = ErrorBody)))]
async fn fork(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Json(body): Json<ForkWorkspace>,
) -> Answer<Json<ForkedWorkspaces>> {
    let (_, slug) = path;
    let permit = member.permit(Action::CreateWorkspace)?;
    // Whoever has a copy reads what is in it.
    member.permit(Action::Attach)?;
    Ok(Json(ops::fork(&app, &permit, &slug, &body).await?))
}
