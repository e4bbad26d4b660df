//! `GET`, `PUT …/cap` and `POST`, `DELETE …/cap/override`, of a workspace, a project and the org; a workspace's `PUT` answers its usage,
//! and is [there](crate::usage::http).

use super::ops::{self, Target};
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use envforge_api::http::ErrorBody;
use envforge_api::http::caps::{CapStanding, OverrideCap, WorkspaceCaps};
use envforge_api::http::usage::SetCap;
use envforge_core::access::Action;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(caps_of_workspace))
        .routes(routes!(cap_of_project, set_cap_of_project))
        .routes(routes!(cap_of_org, set_cap_of_org))
        .routes(routes!(override_cap, end_override))
        .routes(routes!(override_cap_of_project, end_override_of_project))
        .routes(routes!(override_cap_of_org, end_override_of_org))
}

/// The caps that a workspace counts against: its own, its project's, the organization's, and the link's that woke it.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/cap", tag = "usage", security(("api_key" = ["usage.view"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    responses((status = 200, body = WorkspaceCaps), (status = "default", body = ErrorBody)))]
async fn caps_of_workspace(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
) -> Answer<Json<WorkspaceCaps>> {
    let (_, slug) = path;
    Ok(Json(ops::of_workspace(&app, &member.permit(Action::ViewUsage)?, &slug).await?))
}

/// A project's cap.
#[utoipa::path(get, path = "/v1/orgs/{org}/projects/{project}/cap", tag = "usage", security(("api_key" = ["usage.view"])),
    params(("org" = String, Path, description = "Org slug"), ("project" = String, Path, description = "Project slug")),
    responses((status = 200, body = CapStanding), (status = "default", body = ErrorBody)))]
async fn cap_of_project(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
) -> Answer<Json<CapStanding>> {
    let (_, slug) = path;
    Ok(Json(ops::show(&app, &member.permit(Action::ViewUsage)?, &Target::Project(slug)).await?))
}

/// Set a project's cap: of all its workspaces together.
#[utoipa::path(put, path = "/v1/orgs/{org}/projects/{project}/cap", tag = "usage", security(("api_key" = ["cap.set"])),
    params(("org" = String, Path, description = "Org slug"), ("project" = String, Path, description = "Project slug")),
    request_body = SetCap, responses((status = 200, body = CapStanding), (status = "default", body = ErrorBody)))]
async fn set_cap_of_project(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Json(body): Json<SetCap>,
) -> Answer<Json<CapStanding>> {
    let (_, slug) = path;
    Ok(Json(ops::set(&app, &member.permit(Action::SetCaps)?, &Target::Project(slug), body.cap).await?))
}

/// The organization's cap.
#[utoipa::path(get, path = "/v1/orgs/{org}/cap", tag = "usage", security(("api_key" = ["usage.view"])),
    params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = CapStanding), (status = "default", body = ErrorBody)))]
async fn cap_of_org(State(app): State<App>, member: Member) -> Answer<Json<CapStanding>> {
    Ok(Json(ops::show(&app, &member.permit(Action::ViewUsage)?, &Target::Org).await?))
}

/// Set the organization's cap: of all its workspaces together.
#[utoipa::path(put, path = "/v1/orgs/{org}/cap", tag = "usage", security(("api_key" = ["cap.set"])),
    params(("org" = String, Path, description = "Org slug")),
    request_body = SetCap, responses((status = 200, body = CapStanding), (status = "default", body = ErrorBody)))]
async fn set_cap_of_org(State(app): State<App>, member: Member, Json(body): Json<SetCap>) -> Answer<Json<CapStanding>> {
    Ok(Json(ops::set(&app, &member.permit(Action::SetCaps)?, &Target::Org, body.cap).await?))
}

/// Lift the stop of a workspace's cap for a while, for a reason.
#[utoipa::path(post, path = "/v1/orgs/{org}/workspaces/{workspace}/cap/override", tag = "usage", security(("api_key" = ["cap.override"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    request_body = OverrideCap, responses((status = 200, body = CapStanding), (status = "default", body = ErrorBody)))]
async fn override_cap(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Json(body): Json<OverrideCap>,
) -> Answer<Json<CapStanding>> {
    let (_, slug) = path;
    Ok(Json(ops::lift(&app, &member.permit(Action::OverrideCap)?, &Target::Workspace(slug), &body).await?))
}

/// End the override of a workspace's cap.
#[utoipa::path(delete, path = "/v1/orgs/{org}/workspaces/{workspace}/cap/override", tag = "usage", security(("api_key" = ["cap.override"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    responses((status = 200, body = CapStanding), (status = "default", body = ErrorBody)))]
async fn end_override(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
) -> Answer<Json<CapStanding>> {
    let (_, slug) = path;
    Ok(Json(ops::end(&app, &member.permit(Action::OverrideCap)?, &Target::Workspace(slug)).await?))
}

/// Lift the stop of a project's cap for a while, for a reason.
#[utoipa::path(post, path = "/v1/orgs/{org}/projects/{project}/cap/override", tag = "usage", security(("api_key" = ["cap.override"])),
    params(("org" = String, Path, description = "Org slug"), ("project" = String, Path, description = "Project slug")),
    request_body = OverrideCap, responses((status = 200, body = CapStanding), (status = "default", body = ErrorBody)))]
async fn override_cap_of_project(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Json(body): Json<OverrideCap>,
) -> Answer<Json<CapStanding>> {
    let (_, slug) = path;
    Ok(Json(ops::lift(&app, &member.permit(Action::OverrideCap)?, &Target::Project(slug), &body).await?))
}

/// End the override of a project's cap.
#[utoipa::path(delete, path = "/v1/orgs/{org}/projects/{project}/cap/override", tag = "usage", security(("api_key" = ["cap.override"])),
    params(("org" = String, Path, description = "Org slug"), ("project" = String, Path, description = "Project slug")),
    responses((status = 200, body = CapStanding), (status = "default", body = ErrorBody)))]
async fn end_override_of_project(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
) -> Answer<Json<CapStanding>> {
    let (_, slug) = path;
    Ok(Json(ops::end(&app, &member.permit(Action::OverrideCap)?, &Target::Project(slug)).await?))
}

/// Lift the stop of the organization's cap for a while, for a reason.
#[utoipa::path(post, path = "/v1/orgs/{org}/cap/override", tag = "usage", security(("api_key" = ["cap.override"])),
    params(("org" = String, Path, description = "Org slug")),
    request_body = OverrideCap, responses((status = 200, body = CapStanding), (status = "default", body = ErrorBody)))]
async fn override_cap_of_org(
    State(app): State<App>,
    member: Member,
    Json(body): Json<OverrideCap>,
) -> Answer<Json<CapStanding>> {
    Ok(Json(ops::lift(&app, &member.permit(Action::OverrideCap)?, &Target::Org, &body).await?))
}

/// End the override of the organization's cap.
#[utoipa::path(delete, path = "/v1/orgs/{org}/cap/override", tag = "usage", security(("api_key" = ["cap.override"])),
    params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = CapStanding), (status = "default", body = ErrorBody)))]
async fn end_override_of_org(State(app): State<App>, member: Member) -> Answer<Json<CapStanding>> {
    Ok(Json(ops::end(&app, &member.permit(Action::OverrideCap)?, &Target::Org).await?))
}
