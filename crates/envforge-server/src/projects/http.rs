//! `/v1/orgs/{org}/projects`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use envforge_api::http::ErrorBody;
use envforge_api::http::orgs::ProjectAccess;
use envforge_api::http::projects::{CreateProject, Project, Projects};
use envforge_core::access::Action;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(access, set_access))
}

/// Projects of the org.
#[utoipa::path(get, path = "/v1/orgs/{org}/projects", tag = "projects", security(("api_key" = ["view"])), params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = Projects), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, member: Member) -> Answer<Json<Projects>> {
    Ok(Json(ops::list(&app, &member.permit(Action::View)?).await?))
}

/// Create a project; the same slug and repository answer the one that exists.
#[utoipa::path(post, path = "/v1/orgs/{org}/projects", tag = "projects", security(("api_key" = ["project.create"])), params(("org" = String, Path, description = "Org slug")),
    request_body = CreateProject, responses((status = 200, body = Project), (status = "default", body = ErrorBody)))]
async fn create(State(app): State<App>, member: Member, Json(body): Json<CreateProject>) -> Answer<Json<Project>> {
    Ok(Json(ops::create(&app, &member.permit(Action::CreateProject)?, &body).await?))
}

/// Who sees a project, beside owners and admins.
#[utoipa::path(get, path = "/v1/orgs/{org}/projects/{project}/access", tag = "projects", security(("api_key" = ["view"])),
    params(("org" = String, Path, description = "Org slug"), ("project" = String, Path, description = "Project slug")),
    responses((status = 200, body = ProjectAccess), (status = "default", body = ErrorBody)))]
async fn access(State(app): State<App>, member: Member, Path(path): Path<(Slug, Slug)>) -> Answer<Json<ProjectAccess>> {
    let (_, slug) = path;
    Ok(Json(ops::access(&app, &member.permit(Action::View)?, &slug).await?))
}

/// Open a project to all members, or restrict it to groups; terminals and live views that may not be any more end.
#[utoipa::path(put, path = "/v1/orgs/{org}/projects/{project}/access", tag = "projects", security(("api_key" = ["project.access"])),
    params(("org" = String, Path, description = "Org slug"), ("project" = String, Path, description = "Project slug")),
    request_body = ProjectAccess, responses((status = 200, body = ProjectAccess), (status = "default", body = ErrorBody)))]
async fn set_access(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Json(body): Json<ProjectAccess>,
) -> Answer<Json<ProjectAccess>> {
    let (_, slug) = path;
    Ok(Json(ops::set_access(&app, &member.permit(Action::SetProjectAccess)?, &slug, &body).await?))
}
