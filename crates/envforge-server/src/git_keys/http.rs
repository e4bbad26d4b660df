//! `/v1/git-keys`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Caller;
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use axum::http::StatusCode;
use envforge_api::http::ErrorBody;
use envforge_api::http::git::{GenerateGitKey, GitKey, GitKeys, ImportGitKey};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, generate, import)).routes(routes!(remove))
}

/// My SSH keys for Git hosts, their public halves.
#[utoipa::path(get, path = "/v1/git-keys", tag = "git-keys",
    responses((status = 200, body = GitKeys), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, Caller(identity): Caller) -> Answer<Json<GitKeys>> {
    Ok(Json(ops::list(&app, &identity).await?))
}

/// Make an SSH key for a Git host; its private half never leaves the server.
#[utoipa::path(post, path = "/v1/git-keys", tag = "git-keys", request_body = GenerateGitKey,
    responses((status = 200, body = GitKey), (status = "default", body = ErrorBody)))]
async fn generate(
    State(app): State<App>,
    Caller(identity): Caller,
    Json(body): Json<GenerateGitKey>,
) -> Answer<Json<GitKey>> {
    Ok(Json(ops::generate(&app, &identity, &body).await?))
}

/// Bring an SSH key for a Git host; it can't be read back.
#[utoipa::path(put, path = "/v1/git-keys", tag = "git-keys", request_body = ImportGitKey,
    responses((status = 200, body = GitKey), (status = "default", body = ErrorBody)))]
async fn import(
    State(app): State<App>,
    Caller(identity): Caller,
    Json(body): Json<ImportGitKey>,
) -> Answer<Json<GitKey>> {
    Ok(Json(ops::import(&app, &identity, body).await?))
}

/// Remove my SSH key for a Git host; nothing is signed from the next request on.
#[utoipa::path(delete, path = "/v1/git-keys/{host}", tag = "git-keys",
    params(("host" = String, Path, description = "The Git host")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn remove(State(app): State<App>, Caller(identity): Caller, Path(host): Path<String>) -> Answer<StatusCode> {
    ops::remove(&app, &identity, &host).await?;
    Ok(StatusCode::NO_CONTENT)
}
