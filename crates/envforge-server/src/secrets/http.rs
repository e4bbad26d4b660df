//! `/v1/orgs/{org}/secrets`, and setting one for a project or a workspace.

use super::ops::{self, Target};
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use envforge_api::http::ErrorBody;
use envforge_api::http::secrets::{RestoreSecret, SecretInfo, SecretVersions, Secrets, SetSecret};
use envforge_core::access::Action;
use envforge_core::id::SecretId;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, set))
        .routes(routes!(set_for_project))
        .routes(routes!(set_for_workspace))
        .routes(routes!(remove))
        .routes(routes!(versions))
        .routes(routes!(restore))
}

/// Secrets of the org, its projects and workspaces, without their values.
#[utoipa::path(get, path = "/v1/orgs/{org}/secrets", tag = "secrets", security(("api_key" = ["secret.view"])),
    params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = Secrets), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, member: Member) -> Answer<Json<Secrets>> {
    Ok(Json(ops::list(&app, &member.permit(Action::ViewSecrets)?).await?))
}

/// Set a secret of the whole org: a new one, or a new version.
#[utoipa::path(post, path = "/v1/orgs/{org}/secrets", tag = "secrets", security(("api_key" = ["secret.manage"])),
    params(("org" = String, Path, description = "Org slug")),
    request_body = SetSecret, responses((status = 200, body = SecretInfo), (status = "default", body = ErrorBody)))]
async fn set(State(app): State<App>, member: Member, Json(body): Json<SetSecret>) -> Answer<Json<SecretInfo>> {
    Ok(Json(ops::set(&app, &member.permit(Action::ManageSecrets)?, Target::Org, &body).await?))
}

/// Set a secret of one project.
#[utoipa::path(post, path = "/v1/orgs/{org}/projects/{project}/secrets", tag = "secrets", security(("api_key" = ["secret.manage"])),
    params(("org" = String, Path, description = "Org slug"), ("project" = String, Path, description = "Project slug")),
    request_body = SetSecret, responses((status = 200, body = SecretInfo), (status = "default", body = ErrorBody)))]
async fn set_for_project(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Json(body): Json<SetSecret>,
) -> Answer<Json<SecretInfo>> {
    let (_, project) = path;
    let permit = member.permit(Action::ManageSecrets)?;
    Ok(Json(ops::set(&app, &permit, Target::Project(&project), &body).await?))
}

/// Set a secret of one workspace.
#[utoipa::path(post, path = "/v1/orgs/{org}/workspaces/{workspace}/secrets", tag = "secrets", security(("api_key" = ["secret.manage_workspace"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    request_body = SetSecret, responses((status = 200, body = SecretInfo), (status = "default", body = ErrorBody)))]
async fn set_for_workspace(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Json(body): Json<SetSecret>,
) -> Answer<Json<SecretInfo>> {
    let (_, workspace) = path;
    let permit = member.permit(Action::ManageWorkspaceSecrets)?;
    Ok(Json(ops::set(&app, &permit, Target::Workspace(&workspace), &body).await?))
}

/// Remove a secret with all its versions; one of the org or a project asks for `secret.manage`.
#[utoipa::path(delete, path = "/v1/orgs/{org}/secrets/{secret}", tag = "secrets", security(("api_key" = ["secret.manage_workspace"])),
    params(("org" = String, Path, description = "Org slug"), ("secret" = SecretId, Path, description = "Secret id")),
    responses((status = 200, body = SecretInfo), (status = "default", body = ErrorBody)))]
async fn remove(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, SecretId)>,
) -> Answer<Json<SecretInfo>> {
    let (_, secret) = path;
    Ok(Json(ops::remove(&app, &member.permit(Action::ManageWorkspaceSecrets)?, secret).await?))
}

/// The versions of a secret that are kept, without their values.
#[utoipa::path(get, path = "/v1/orgs/{org}/secrets/{secret}/versions", tag = "secrets", security(("api_key" = ["secret.view"])),
    params(("org" = String, Path, description = "Org slug"), ("secret" = SecretId, Path, description = "Secret id")),
    responses((status = 200, body = SecretVersions), (status = "default", body = ErrorBody)))]
async fn versions(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, SecretId)>,
) -> Answer<Json<SecretVersions>> {
    let (_, secret) = path;
    Ok(Json(ops::versions(&app, &member.permit(Action::ViewSecrets)?, secret).await?))
}

/// Make an older version's value the newest version; one of the org or a project asks for `secret.manage`.
#[utoipa::path(post, path = "/v1/orgs/{org}/secrets/{secret}/restore", tag = "secrets", security(("api_key" = ["secret.manage_workspace"])),
    params(("org" = String, Path, description = "Org slug"), ("secret" = SecretId, Path, description = "Secret id")),
    request_body = RestoreSecret, responses((status = 200, body = SecretInfo), (status = "default", body = ErrorBody)))]
async fn restore(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, SecretId)>,
    Json(body): Json<RestoreSecret>,
) -> Answer<Json<SecretInfo>> {
    let (_, secret) = path;
    let permit = member.permit(Action::ManageWorkspaceSecrets)?;
    Ok(Json(ops::restore(&app, &permit, secret, body.version).await?))
}
