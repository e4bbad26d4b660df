//! `/v1/git-credentials`, and for the operator `/v1/git-installations`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::{Caller, Operator};
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use axum::http::StatusCode;
use envforge_api::http::ErrorBody;
use envforge_api::http::git::{GitCredential, GitCredentials, SetGitCredential, SetGitInstallation};
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, set))
        .routes(routes!(remove))
        .routes(routes!(set_installation, remove_installation))
}

/// My credentials for Git hosts, without their values.
#[utoipa::path(get, path = "/v1/git-credentials", tag = "git-credentials",
    responses((status = 200, body = GitCredentials), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, Caller(identity): Caller) -> Answer<Json<GitCredentials>> {
    Ok(Json(ops::list(&app, &identity).await?))
}

/// Set my token for a Git host; it can't be read back.
#[utoipa::path(put, path = "/v1/git-credentials", tag = "git-credentials", request_body = SetGitCredential,
    responses((status = 200, body = GitCredential), (status = "default", body = ErrorBody)))]
async fn set(
    State(app): State<App>,
    Caller(identity): Caller,
    Json(body): Json<SetGitCredential>,
) -> Answer<Json<GitCredential>> {
    Ok(Json(ops::set(&app, &identity, body).await?))
}

/// Remove my token for a Git host; nothing is given from the next request on.
#[utoipa::path(delete, path = "/v1/git-credentials/{host}", tag = "git-credentials",
    params(("host" = String, Path, description = "The Git host")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn remove(State(app): State<App>, Caller(identity): Caller, Path(host): Path<String>) -> Answer<StatusCode> {
    ops::remove(&app, &identity, &host).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Say where the installation's GitHub App is installed for an org: its repositories' tokens come from there.
#[utoipa::path(put, path = "/v1/git-installations/{slug}", tag = "git-installations", security(("api_key" = ["operator"])),
    params(("slug" = String, Path, description = "Org slug")), request_body = SetGitInstallation,
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn set_installation(
    State(app): State<App>,
    operator: Operator,
    Path(slug): Path<Slug>,
    Json(body): Json<SetGitInstallation>,
) -> Answer<StatusCode> {
    ops::set_installation(&app, &operator, &slug, &body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Use the GitHub App for an org no more.
#[utoipa::path(delete, path = "/v1/git-installations/{slug}", tag = "git-installations", security(("api_key" = ["operator"])),
    params(("slug" = String, Path, description = "Org slug")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn remove_installation(State(app): State<App>, operator: Operator, Path(slug): Path<Slug>) -> Answer<StatusCode> {
    ops::remove_installation(&app, &operator, &slug).await?;
    Ok(StatusCode::NO_CONTENT)
}
