//! `/v1/orgs/{org}/root-policy`, `…/workspaces/{workspace}/elevations`, `/v1/orgs/{org}/elevations`.

use super::ops::{self, Answering};
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use axum::http::StatusCode;
use envforge_api::http::ErrorBody;
use envforge_api::http::elevations::{CreateElevation, Elevation, Elevations, OrgRootPolicy};
use envforge_core::access::Action;
use envforge_core::id::ElevationId;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(policy, set_policy))
        .routes(routes!(request))
        .routes(routes!(list))
        .routes(routes!(approve))
        .routes(routes!(refuse))
        .routes(routes!(revoke))
}

/// The org's root policy.
#[utoipa::path(get, path = "/v1/orgs/{org}/root-policy", tag = "elevations", security(("api_key" = ["view"])),
    params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = OrgRootPolicy), (status = "default", body = ErrorBody)))]
async fn policy(State(app): State<App>, member: Member) -> Answer<Json<OrgRootPolicy>> {
    Ok(Json(ops::policy(&app, &member.permit(Action::View)?).await?))
}

/// Set the root policy; another mode ends what was granted under the one before.
#[utoipa::path(put, path = "/v1/orgs/{org}/root-policy", tag = "elevations", security(("api_key" = ["root_policy.set"])),
    params(("org" = String, Path, description = "Org slug")),
    request_body = OrgRootPolicy, responses((status = 200, body = OrgRootPolicy), (status = "default", body = ErrorBody)))]
async fn set_policy(
    State(app): State<App>,
    member: Member,
    Json(body): Json<OrgRootPolicy>,
) -> Answer<Json<OrgRootPolicy>> {
    Ok(Json(ops::set_policy(&app, &member.permit(Action::SetRootPolicy)?, body.policy).await?))
}

/// Ask for root in a workspace.
#[utoipa::path(post, path = "/v1/orgs/{org}/workspaces/{workspace}/elevations", tag = "elevations", security(("api_key" = ["elevation.request"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    request_body = CreateElevation, responses((status = 201, body = Elevation), (status = "default", body = ErrorBody)))]
async fn request(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Json(body): Json<CreateElevation>,
) -> Answer<(StatusCode, Json<Elevation>)> {
    let (_, slug) = path;
    let permit = member.permit(Action::RequestElevation)?;
    Ok((StatusCode::CREATED, Json(ops::request(&app, &permit, &slug, &body).await?)))
}

/// Elevations of the org, newest first.
#[utoipa::path(get, path = "/v1/orgs/{org}/elevations", tag = "elevations", security(("api_key" = ["view"])),
    params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = Elevations), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, member: Member) -> Answer<Json<Elevations>> {
    Ok(Json(ops::list(&app, &member.permit(Action::View)?).await?))
}

/// Approve somebody else's request; its time box begins.
#[utoipa::path(post, path = "/v1/orgs/{org}/elevations/{elevation}/approve", tag = "elevations", security(("api_key" = ["elevation.approve"])),
    params(("org" = String, Path, description = "Org slug"), ("elevation" = ElevationId, Path, description = "Elevation id")),
    responses((status = 200, body = Elevation), (status = "default", body = ErrorBody)))]
async fn approve(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, ElevationId)>,
) -> Answer<Json<Elevation>> {
    let (_, id) = path;
    Ok(Json(ops::answer(&app, &member.permit(Action::ApproveElevation)?, id, Answering::Approve).await?))
}

/// Refuse somebody else's request.
#[utoipa::path(post, path = "/v1/orgs/{org}/elevations/{elevation}/refuse", tag = "elevations", security(("api_key" = ["elevation.approve"])),
    params(("org" = String, Path, description = "Org slug"), ("elevation" = ElevationId, Path, description = "Elevation id")),
    responses((status = 200, body = Elevation), (status = "default", body = ErrorBody)))]
async fn refuse(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, ElevationId)>,
) -> Answer<Json<Elevation>> {
    let (_, id) = path;
    Ok(Json(ops::answer(&app, &member.permit(Action::ApproveElevation)?, id, Answering::Refuse).await?))
}

/// Take an elevation back: one's own, or as an approver anybody's. Its terminal ends within a second.
#[utoipa::path(post, path = "/v1/orgs/{org}/elevations/{elevation}/revoke", tag = "elevations", security(("api_key" = ["elevation.request"])),
    params(("org" = String, Path, description = "Org slug"), ("elevation" = ElevationId, Path, description = "Elevation id")),
    responses((status = 200, body = Elevation), (status = "default", body = ErrorBody)))]
async fn revoke(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, ElevationId)>,
) -> Answer<Json<Elevation>> {
    let (_, id) = path;
    Ok(Json(ops::answer(&app, &member.permit(Action::RequestElevation)?, id, Answering::Revoke).await?))
}
