//! `GET …/usage` of a workspace and of an org, `PUT …/cap` of a workspace.

use super::ops;
use crate::app::App;
use crate::caps;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::{Json, Path, Query};
use axum::extract::State;
use envforge_api::http::ErrorBody;
use envforge_api::http::usage::{OrgUsage, SetCap, UsageQuery, WorkspaceUsage};
use envforge_core::access::Action;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(usage)).routes(routes!(set_cap)).routes(routes!(org_usage))
}

/// Usage, cap posture, estimate and receipts.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/usage", tag = "usage", security(("api_key" = ["usage.view"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    responses((status = 200, body = WorkspaceUsage), (status = "default", body = ErrorBody)))]
async fn usage(State(app): State<App>, member: Member, Path(path): Path<(Slug, Slug)>) -> Answer<Json<WorkspaceUsage>> {
    let (_, slug) = path;
    Ok(Json(ops::usage(&app, &member.permit(Action::ViewUsage)?, &slug).await?))
}

/// Set a workspace's cap on awake minutes or money a month.
#[utoipa::path(put, path = "/v1/orgs/{org}/workspaces/{workspace}/cap", tag = "usage", security(("api_key" = ["cap.set"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    request_body = SetCap, responses((status = 200, body = WorkspaceUsage), (status = "default", body = ErrorBody)))]
async fn set_cap(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Json(body): Json<SetCap>,
) -> Answer<Json<WorkspaceUsage>> {
    let (_, slug) = path;
    let permit = member.permit(Action::SetCaps)?;
    caps::ops::set(&app, &permit, &caps::ops::Target::Workspace(slug.clone()), body.cap).await?;
    Ok(Json(ops::usage(&app, &permit, &slug).await?))
}

/// What each workspace used in a month, what that costs, and the sums.
#[utoipa::path(get, path = "/v1/orgs/{org}/usage", tag = "usage", security(("api_key" = ["usage.view"])),
    params(("org" = String, Path, description = "Org slug"), UsageQuery),
    responses((status = 200, body = OrgUsage), (status = "default", body = ErrorBody)))]
async fn org_usage(State(app): State<App>, member: Member, Query(query): Query<UsageQuery>) -> Answer<Json<OrgUsage>> {
    Ok(Json(ops::org_usage(&app, &member.permit(Action::ViewUsage)?, query.month).await?))
}
