//! `…/workspaces/{workspace}/links`, `/v1/orgs/{org}/links/{link}`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::{Json, Path, Query};
use axum::extract::State;
use axum::http::StatusCode;
use envforge_api::http::ErrorBody;
use envforge_api::http::links::{CreateLink, CreatedLink, Link, Links, Visits, VisitsQuery};
use envforge_core::access::Action;
use envforge_core::id::LinkId;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke)).routes(routes!(visits))
}

/// Links of a workspace, without their tokens.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/links", tag = "links", security(("api_key" = ["view"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    responses((status = 200, body = Links), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, member: Member, Path(path): Path<(Slug, Slug)>) -> Answer<Json<Links>> {
    let (_, slug) = path;
    Ok(Json(ops::list(&app, &member.permit(Action::View)?, &slug).await?))
}

/// Issue a signed link; its token is shown only here.
#[utoipa::path(post, path = "/v1/orgs/{org}/workspaces/{workspace}/links", tag = "links", security(("api_key" = ["link.issue"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    request_body = CreateLink, responses((status = 201, body = CreatedLink), (status = "default", body = ErrorBody)))]
async fn create(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Json(body): Json<CreateLink>,
) -> Answer<(StatusCode, Json<CreatedLink>)> {
    let (_, slug) = path;
    let permit = member.permit(Action::IssueLink)?;
    Ok((StatusCode::CREATED, Json(ops::create(&app, &permit, &slug, &body).await?)))
}

/// Visits through a link, newest first: who, when, what each woke and what that cost.
#[utoipa::path(get, path = "/v1/orgs/{org}/links/{link}/visits", tag = "links", security(("api_key" = ["usage.view"])),
    params(("org" = String, Path, description = "Org slug"), ("link" = LinkId, Path, description = "Link id"), VisitsQuery),
    responses((status = 200, body = Visits), (status = "default", body = ErrorBody)))]
async fn visits(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, LinkId)>,
    Query(query): Query<VisitsQuery>,
) -> Answer<Json<Visits>> {
    let (_, link) = path;
    Ok(Json(ops::visits(&app, &member.permit(Action::ViewUsage)?, link, &query).await?))
}

/// Revoke a link; its sessions and open streams end within a second.
#[utoipa::path(delete, path = "/v1/orgs/{org}/links/{link}", tag = "links", security(("api_key" = ["link.issue"])),
    params(("org" = String, Path, description = "Org slug"), ("link" = LinkId, Path, description = "Link id")),
    responses((status = 200, body = Link), (status = "default", body = ErrorBody)))]
async fn revoke(State(app): State<App>, member: Member, Path(path): Path<(Slug, LinkId)>) -> Answer<Json<Link>> {
    let (_, link) = path;
    Ok(Json(ops::revoke(&app, &member.permit(Action::IssueLink)?, link).await?))
}
