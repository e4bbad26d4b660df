//! `/v1/operator/settings` and `/v1/orgs/{org}/settings`: the same verbs for two owners.

use super::ops::{self, Owner};
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::{Member, Operator};
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use envforge_api::http::ErrorBody;
use envforge_api::http::settings::{ChangeSetting, RestoreSetting, Setting, SettingVersions, Settings};
use envforge_core::access::Action;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, change, clear))
        .routes(routes!(history))
        .routes(routes!(restore))
        .routes(routes!(list_of_org))
        .routes(routes!(show_of_org, change_of_org, clear_of_org))
        .routes(routes!(history_of_org))
        .routes(routes!(restore_of_org))
}

/// Settings of the installation.
#[utoipa::path(get, path = "/v1/operator/settings", tag = "settings", security(("api_key" = ["operator"])),
    responses((status = 200, body = Settings), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, operator: Operator) -> Answer<Json<Settings>> {
    Ok(Json(ops::list(&app, &Owner::from(&operator)).await?))
}

/// A setting, without its secrets.
#[utoipa::path(get, path = "/v1/operator/settings/{setting}", tag = "settings", security(("api_key" = ["operator"])),
    params(("setting" = String, Path, description = "Name of the setting", example = "object_storage")),
    responses((status = 200, body = Setting), (status = "default", body = ErrorBody)))]
async fn show(State(app): State<App>, operator: Operator, Path(name): Path<String>) -> Answer<Json<Setting>> {
    Ok(Json(ops::show(&app, &Owner::from(&operator), &name).await?))
}

/// Change a setting; every change is kept as a version.
#[utoipa::path(put, path = "/v1/operator/settings/{setting}", tag = "settings", security(("api_key" = ["operator"])),
    params(("setting" = String, Path, description = "Name of the setting", example = "object_storage")), request_body = ChangeSetting,
    responses((status = 200, body = Setting), (status = "default", body = ErrorBody)))]
async fn change(
    State(app): State<App>,
    operator: Operator,
    Path(name): Path<String>,
    Json(body): Json<ChangeSetting>,
) -> Answer<Json<Setting>> {
    Ok(Json(ops::change(&app, &Owner::from(&operator), &name, &body).await?))
}

/// Take a setting out of force; its history stays.
#[utoipa::path(delete, path = "/v1/operator/settings/{setting}", tag = "settings", security(("api_key" = ["operator"])),
    params(("setting" = String, Path, description = "Name of the setting", example = "object_storage")),
    responses((status = 200, body = Setting), (status = "default", body = ErrorBody)))]
async fn clear(State(app): State<App>, operator: Operator, Path(name): Path<String>) -> Answer<Json<Setting>> {
    Ok(Json(ops::clear(&app, &Owner::from(&operator), &name).await?))
}

/// The versions of a setting and how they differ.
#[utoipa::path(get, path = "/v1/operator/settings/{setting}/versions", tag = "settings", security(("api_key" = ["operator"])),
    params(("setting" = String, Path, description = "Name of the setting", example = "object_storage")),
    responses((status = 200, body = SettingVersions), (status = "default", body = ErrorBody)))]
async fn history(
    State(app): State<App>,
    operator: Operator,
    Path(name): Path<String>,
) -> Answer<Json<SettingVersions>> {
    Ok(Json(ops::history(&app, &Owner::from(&operator), &name).await?))
}

/// Make an earlier version the newest again.
#[utoipa::path(post, path = "/v1/operator/settings/{setting}/restore", tag = "settings", security(("api_key" = ["operator"])),
    params(("setting" = String, Path, description = "Name of the setting", example = "object_storage")), request_body = RestoreSetting,
    responses((status = 200, body = Setting), (status = "default", body = ErrorBody)))]
async fn restore(
    State(app): State<App>,
    operator: Operator,
    Path(name): Path<String>,
    Json(body): Json<RestoreSetting>,
) -> Answer<Json<Setting>> {
    Ok(Json(ops::restore(&app, &Owner::from(&operator), &name, &body).await?))
}

/// Settings of the org.
#[utoipa::path(get, path = "/v1/orgs/{org}/settings", tag = "settings", security(("api_key" = ["setting.view"])),
    params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = Settings), (status = "default", body = ErrorBody)))]
async fn list_of_org(State(app): State<App>, member: Member) -> Answer<Json<Settings>> {
    Ok(Json(ops::list(&app, &Owner::from(&member.permit(Action::ViewSettings)?)).await?))
}

/// A setting of the org, without its secrets.
#[utoipa::path(get, path = "/v1/orgs/{org}/settings/{setting}", tag = "settings", security(("api_key" = ["setting.view"])),
    params(("org" = String, Path, description = "Org slug"), ("setting" = String, Path, description = "Name of the setting", example = "object_storage")),
    responses((status = 200, body = Setting), (status = "default", body = ErrorBody)))]
async fn show_of_org(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, String)>,
) -> Answer<Json<Setting>> {
    Ok(Json(ops::show(&app, &Owner::from(&member.permit(Action::ViewSettings)?), &path.1).await?))
}

/// Change a setting of the org; every change is kept as a version.
#[utoipa::path(put, path = "/v1/orgs/{org}/settings/{setting}", tag = "settings", security(("api_key" = ["setting.change"])),
    params(("org" = String, Path, description = "Org slug"), ("setting" = String, Path, description = "Name of the setting", example = "object_storage")), request_body = ChangeSetting,
    responses((status = 200, body = Setting), (status = "default", body = ErrorBody)))]
async fn change_of_org(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, String)>,
    Json(body): Json<ChangeSetting>,
) -> Answer<Json<Setting>> {
    Ok(Json(ops::change(&app, &Owner::from(&member.permit(Action::ChangeSettings)?), &path.1, &body).await?))
}

/// Take a setting of the org out of force; its history stays.
#[utoipa::path(delete, path = "/v1/orgs/{org}/settings/{setting}", tag = "settings", security(("api_key" = ["setting.change"])),
    params(("org" = String, Path, description = "Org slug"), ("setting" = String, Path, description = "Name of the setting", example = "object_storage")),
    responses((status = 200, body = Setting), (status = "default", body = ErrorBody)))]
async fn clear_of_org(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, String)>,
) -> Answer<Json<Setting>> {
    Ok(Json(ops::clear(&app, &Owner::from(&member.permit(Action::ChangeSettings)?), &path.1).await?))
}

/// The versions of a setting of the org and how they differ.
#[utoipa::path(get, path = "/v1/orgs/{org}/settings/{setting}/versions", tag = "settings", security(("api_key" = ["setting.view"])),
    params(("org" = String, Path, description = "Org slug"), ("setting" = String, Path, description = "Name of the setting", example = "object_storage")),
    responses((status = 200, body = SettingVersions), (status = "default", body = ErrorBody)))]
async fn history_of_org(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, String)>,
) -> Answer<Json<SettingVersions>> {
    Ok(Json(ops::history(&app, &Owner::from(&member.permit(Action::ViewSettings)?), &path.1).await?))
}

/// Make an earlier version of a setting of the org the newest again.
#[utoipa::path(post, path = "/v1/orgs/{org}/settings/{setting}/restore", tag = "settings", security(("api_key" = ["setting.change"])),
    params(("org" = String, Path, description = "Org slug"), ("setting" = String, Path, description = "Name of the setting", example = "object_storage")), request_body = RestoreSetting,
    responses((status = 200, body = Setting), (status = "default", body = ErrorBody)))]
async fn restore_of_org(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, String)>,
    Json(body): Json<RestoreSetting>,
) -> Answer<Json<Setting>> {
    Ok(Json(ops::restore(&app, &Owner::from(&member.permit(Action::ChangeSettings)?), &path.1, &body).await?))
}
