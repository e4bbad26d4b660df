//! `/v1/orgs`, `/v1/orgs/{org}/members`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::{Caller, Member};
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use axum::http::StatusCode;
use envforge_api::http::ErrorBody;
use envforge_api::http::orgs::{CreateOrg, Members, Org, UpdateMember, UpdateOrg};
use envforge_core::access::Action;
use envforge_core::id::UserId;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(show, rename))
        .routes(routes!(members))
        .routes(routes!(set_role, remove))
}

/// Make an org and own it: the operator, or everybody where the installation is open.
#[utoipa::path(post, path = "/v1/orgs", tag = "orgs", request_body = CreateOrg,
    responses((status = 201, body = Org), (status = "default", body = ErrorBody)))]
async fn create(
    State(app): State<App>,
    Caller(identity): Caller,
    Json(body): Json<CreateOrg>,
) -> Answer<(StatusCode, Json<Org>)> {
    Ok((StatusCode::CREATED, Json(ops::create(&app, &identity, &body).await?)))
}

/// The org.
#[utoipa::path(get, path = "/v1/orgs/{org}", tag = "orgs", security(("api_key" = ["view"])), params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = Org), (status = "default", body = ErrorBody)))]
async fn show(State(app): State<App>, member: Member) -> Answer<Json<Org>> {
    Ok(Json(ops::show(&app, &member.permit(Action::View)?).await?))
}

/// Change its display name.
#[utoipa::path(put, path = "/v1/orgs/{org}", tag = "orgs", security(("api_key" = ["org.rename"])), params(("org" = String, Path, description = "Org slug")),
    request_body = UpdateOrg, responses((status = 200, body = Org), (status = "default", body = ErrorBody)))]
async fn rename(State(app): State<App>, member: Member, Json(body): Json<UpdateOrg>) -> Answer<Json<Org>> {
    Ok(Json(ops::rename(&app, &member.permit(Action::RenameOrg)?, &body.name).await?))
}

/// Members with their roles and groups.
#[utoipa::path(get, path = "/v1/orgs/{org}/members", tag = "members", security(("api_key" = ["view"])), params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = Members), (status = "default", body = ErrorBody)))]
async fn members(State(app): State<App>, member: Member) -> Answer<Json<Members>> {
    Ok(Json(ops::members(&app, &member.permit(Action::View)?).await?))
}

/// Change a member's role; it holds from the next request on, and open terminals that it forbids end.
#[utoipa::path(put, path = "/v1/orgs/{org}/members/{user}", tag = "members", security(("api_key" = ["member.manage"])),
    params(("org" = String, Path, description = "Org slug"), ("user" = UserId, Path, description = "User id")),
    request_body = UpdateMember, responses((status = 204), (status = "default", body = ErrorBody)))]
async fn set_role(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, UserId)>,
    Json(body): Json<UpdateMember>,
) -> Answer<StatusCode> {
    let (_, user) = path;
    ops::set_role(&app, &member.permit(Action::ManageMembers)?, user, body.role).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Remove a member; removing oneself needs no right. Open terminals and live views end within two seconds.
#[utoipa::path(delete, path = "/v1/orgs/{org}/members/{user}", tag = "members", security(("api_key" = ["member.manage"])),
    params(("org" = String, Path, description = "Org slug"), ("user" = UserId, Path, description = "User id")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn remove(State(app): State<App>, member: Member, Path(path): Path<(Slug, UserId)>) -> Answer<StatusCode> {
    let (_, user) = path;
    let action = if user == member.user { Action::View } else { Action::ManageMembers };
    ops::remove(&app, &member.permit(action)?, user).await?;
    Ok(StatusCode::NO_CONTENT)
}
