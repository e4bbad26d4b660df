//! `GET …/why`, `GET …/why/replay`, and the idle limits of projects and the org.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::{Json, Path, Query};
use axum::extract::State;
use envforge_api::http::ErrorBody;
use envforge_api::http::activity::{IdleLimit, ReplayQuery, Replayed, Why};
use envforge_core::access::Action;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(why))
        .routes(routes!(replay))
        .routes(routes!(org_limit, set_org_limit))
        .routes(routes!(project_limit, set_project_limit))
}

/// Why a runtime is awake or asleep, what holds it, and when it will sleep.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/why", tag = "usage", security(("api_key" = ["usage.view"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    responses((status = 200, body = Why), (status = "default", body = ErrorBody)))]
async fn why(State(app): State<App>, member: Member, Path(path): Path<(Slug, Slug)>) -> Answer<Json<Why>> {
    Ok(Json(ops::why(&app, &member.permit(Action::ViewUsage)?, &path.1).await?))
}

/// What another idle policy would have made of the past days.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/why/replay", tag = "usage", security(("api_key" = ["usage.view"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"), ReplayQuery),
    responses((status = 200, body = Replayed), (status = "default", body = ErrorBody)))]
async fn replay(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Query(query): Query<ReplayQuery>,
) -> Answer<Json<Replayed>> {
    Ok(Json(ops::replay(&app, &member.permit(Action::ViewUsage)?, &path.1, &query).await?))
}

/// After how long without work the org's runtimes sleep at the latest.
#[utoipa::path(get, path = "/v1/orgs/{org}/idle-limit", tag = "usage", security(("api_key" = ["usage.view"])),
    params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = IdleLimit), (status = "default", body = ErrorBody)))]
async fn org_limit(State(app): State<App>, member: Member) -> Answer<Json<IdleLimit>> {
    Ok(Json(ops::org_limit(&app, &member.permit(Action::ViewUsage)?).await?))
}

/// Say after how long without work the org's runtimes sleep at the latest.
#[utoipa::path(put, path = "/v1/orgs/{org}/idle-limit", tag = "usage", security(("api_key" = ["cap.set"])),
    params(("org" = String, Path, description = "Org slug")),
    request_body = IdleLimit, responses((status = 200, body = IdleLimit), (status = "default", body = ErrorBody)))]
async fn set_org_limit(State(app): State<App>, member: Member, Json(body): Json<IdleLimit>) -> Answer<Json<IdleLimit>> {
    Ok(Json(ops::set_org_limit(&app, &member.permit(Action::SetCaps)?, body).await?))
}

/// After how long without work a project's runtimes sleep at the latest.
#[utoipa::path(get, path = "/v1/orgs/{org}/projects/{project}/idle-limit", tag = "usage", security(("api_key" = ["usage.view"])),
    params(("org" = String, Path, description = "Org slug"), ("project" = String, Path, description = "Project slug")),
    responses((status = 200, body = IdleLimit), (status = "default", body = ErrorBody)))]
async fn project_limit(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
) -> Answer<Json<IdleLimit>> {
    Ok(Json(ops::project_limit(&app, &member.permit(Action::ViewUsage)?, &path.1).await?))
}

/// Say after how long without work a project's runtimes sleep at the latest.
#[utoipa::path(put, path = "/v1/orgs/{org}/projects/{project}/idle-limit", tag = "usage", security(("api_key" = ["cap.set"])),
    params(("org" = String, Path, description = "Org slug"), ("project" = String, Path, description = "Project slug")),
    request_body = IdleLimit, responses((status = 200, body = IdleLimit), (status = "default", body = ErrorBody)))]
async fn set_project_limit(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Json(body): Json<IdleLimit>,
) -> Answer<Json<IdleLimit>> {
    Ok(Json(ops::set_project_limit(&app, &member.permit(Action::SetCaps)?, &path.1, body).await?))
}
