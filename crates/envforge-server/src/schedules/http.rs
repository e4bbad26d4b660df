//! `/v1/orgs/{org}/workspaces/{workspace}/schedule` and `/v1/orgs/{org}/quiet-hours`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use envforge_api::http::ErrorBody;
use envforge_api::http::schedules::{OrgQuietHours, SetSchedule, WorkspaceSchedule};
use envforge_core::access::Action;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show, set)).routes(routes!(quiet_hours, set_quiet_hours))
}

/// When a workspace wakes and sleeps by itself.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/schedule", tag = "schedules", security(("api_key" = ["view"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    responses((status = 200, body = WorkspaceSchedule), (status = "default", body = ErrorBody)))]
async fn show(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
) -> Answer<Json<WorkspaceSchedule>> {
    let (_, slug) = path;
    Ok(Json(ops::show(&app, &member.permit(Action::View)?, &slug).await?))
}

/// Say when a workspace wakes and sleeps by itself, instead of what was said before.
#[utoipa::path(put, path = "/v1/orgs/{org}/workspaces/{workspace}/schedule", tag = "schedules", security(("api_key" = ["schedule.set"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    request_body = SetSchedule, responses((status = 200, body = WorkspaceSchedule), (status = "default", body = ErrorBody)))]
async fn set(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Json(body): Json<SetSchedule>,
) -> Answer<Json<WorkspaceSchedule>> {
    let (_, slug) = path;
    Ok(Json(ops::set(&app, &member.permit(Action::SetSchedule)?, &slug, body).await?))
}

/// The hours in which no schedule of the org wakes anything.
#[utoipa::path(get, path = "/v1/orgs/{org}/quiet-hours", tag = "schedules", security(("api_key" = ["view"])),
    params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = OrgQuietHours), (status = "default", body = ErrorBody)))]
async fn quiet_hours(State(app): State<App>, member: Member) -> Answer<Json<OrgQuietHours>> {
    Ok(Json(ops::quiet_hours(&app, &member.permit(Action::View)?).await?))
}

/// Set the hours in which no schedule of the org wakes anything; visits still do.
#[utoipa::path(put, path = "/v1/orgs/{org}/quiet-hours", tag = "schedules", security(("api_key" = ["quiet_hours.set"])),
    params(("org" = String, Path, description = "Org slug")),
    request_body = OrgQuietHours, responses((status = 200, body = OrgQuietHours), (status = "default", body = ErrorBody)))]
async fn set_quiet_hours(
    State(app): State<App>,
    member: Member,
    Json(body): Json<OrgQuietHours>,
) -> Answer<Json<OrgQuietHours>> {
    Ok(Json(ops::set_quiet_hours(&app, &member.permit(Action::SetQuietHours)?, body).await?))
}
