//! `POST /v1/orgs/{org}/workspaces/{workspace}/resources/{resource}/rotate`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use envforge_api::http::ErrorBody;
use envforge_api::http::resources::RotatedCredential;
use envforge_core::access::Action;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(rotate))
}

/// Make a new password or key of a resource. Answered once its host refuses the one from before. Services that take an input of
/// it are started again with the new one; a runtime that sleeps is not woken, and has it at its next wake. Redis and mail have
/// none.
#[utoipa::path(post, path = "/v1/orgs/{org}/workspaces/{workspace}/resources/{resource}/rotate", tag = "resources", security(("api_key" = ["secret.manage_workspace"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"), ("resource" = String, Path, description = "Kind, as in envforge.yml: postgres or object_storage")),
    responses((status = 200, body = RotatedCredential), (status = "default", body = ErrorBody)))]
async fn rotate(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug, String)>,
) -> Answer<Json<RotatedCredential>> {
    let (_, slug, resource) = path;
    Ok(Json(ops::rotate(&app, &member.permit(Action::ManageWorkspaceSecrets)?, &slug, &resource).await?))
}
