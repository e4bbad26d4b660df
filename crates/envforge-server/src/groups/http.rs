//! `/v1/orgs/{org}/groups`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use axum::http::StatusCode;
use envforge_api::http::ErrorBody;
use envforge_api::http::orgs::{Groups, NameGroup};
use envforge_core::access::Action;
use envforge_core::id::UserId;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(rename, delete))
        .routes(routes!(add_member, remove_member))
}

/// Groups of the org with their members.
#[utoipa::path(get, path = "/v1/orgs/{org}/groups", tag = "groups", security(("api_key" = ["view"])), params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = Groups), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, member: Member) -> Answer<Json<Groups>> {
    Ok(Json(ops::list(&app, &member.permit(Action::View)?).await?))
}

/// Make a group.
#[utoipa::path(post, path = "/v1/orgs/{org}/groups", tag = "groups", security(("api_key" = ["member.manage"])), params(("org" = String, Path, description = "Org slug")),
    request_body = NameGroup, responses((status = 200, body = Groups), (status = "default", body = ErrorBody)))]
async fn create(State(app): State<App>, member: Member, Json(body): Json<NameGroup>) -> Answer<Json<Groups>> {
    Ok(Json(ops::create(&app, &member.permit(Action::ManageMembers)?, &body.name).await?))
}

/// Rename a group.
#[utoipa::path(put, path = "/v1/orgs/{org}/groups/{group}", tag = "groups", security(("api_key" = ["member.manage"])),
    params(("org" = String, Path, description = "Org slug"), ("group" = String, Path, description = "Group name")),
    request_body = NameGroup, responses((status = 200, body = Groups), (status = "default", body = ErrorBody)))]
async fn rename(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Json(body): Json<NameGroup>,
) -> Answer<Json<Groups>> {
    let (_, group) = path;
    Ok(Json(ops::rename(&app, &member.permit(Action::ManageMembers)?, &group, &body.name).await?))
}

/// Delete a group; projects restricted to it stay restricted.
#[utoipa::path(delete, path = "/v1/orgs/{org}/groups/{group}", tag = "groups", security(("api_key" = ["member.manage"])),
    params(("org" = String, Path, description = "Org slug"), ("group" = String, Path, description = "Group name")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn delete(State(app): State<App>, member: Member, Path(path): Path<(Slug, Slug)>) -> Answer<StatusCode> {
    let (_, group) = path;
    ops::delete(&app, &member.permit(Action::ManageMembers)?, &group).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Put a member into a group.
#[utoipa::path(put, path = "/v1/orgs/{org}/groups/{group}/members/{user}", tag = "groups", security(("api_key" = ["member.manage"])),
    params(("org" = String, Path, description = "Org slug"), ("group" = String, Path, description = "Group name"), ("user" = UserId, Path, description = "User id")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn add_member(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug, UserId)>,
) -> Answer<StatusCode> {
    let (_, group, user) = path;
    ops::add_member(&app, &member.permit(Action::ManageMembers)?, &group, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a member out of a group; what is open to them through it ends within two seconds.
#[utoipa::path(delete, path = "/v1/orgs/{org}/groups/{group}/members/{user}", tag = "groups", security(("api_key" = ["member.manage"])),
    params(("org" = String, Path, description = "Org slug"), ("group" = String, Path, description = "Group name"), ("user" = UserId, Path, description = "User id")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn remove_member(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug, UserId)>,
) -> Answer<StatusCode> {
    let (_, group, user) = path;
    ops::remove_member(&app, &member.permit(Action::ManageMembers)?, &group, user).await?;
    Ok(StatusCode::NO_CONTENT)
}
