//! `GET /v1/me`, `/v1/api-keys`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Caller;
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use axum::http::StatusCode;
use envforge_api::http::ErrorBody;
use envforge_api::http::accounts::{ApiKeys, CreateApiKey, CreatedApiKey, Me};
use envforge_core::id::ApiKeyId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(me)).routes(routes!(list_keys, create_key)).routes(routes!(revoke_key))
}

/// Who am I?
#[utoipa::path(get, path = "/v1/me", tag = "accounts", responses((status = 200, body = Me), (status = "default", body = ErrorBody)))]
async fn me(Caller(identity): Caller) -> Json<Me> {
    Json(ops::me(&identity))
}

/// My API keys.
#[utoipa::path(get, path = "/v1/api-keys", tag = "accounts", responses((status = 200, body = ApiKeys), (status = "default", body = ErrorBody)))]
async fn list_keys(State(app): State<App>, Caller(identity): Caller) -> Answer<Json<ApiKeys>> {
    Ok(Json(ops::list_keys(&app, &identity).await?))
}

/// Make an API key of mine; its value is shown only here.
#[utoipa::path(post, path = "/v1/api-keys", tag = "accounts", request_body = CreateApiKey,
    responses((status = 201, body = CreatedApiKey), (status = "default", body = ErrorBody)))]
async fn create_key(
    State(app): State<App>,
    Caller(identity): Caller,
    Json(body): Json<CreateApiKey>,
) -> Answer<(StatusCode, Json<CreatedApiKey>)> {
    Ok((StatusCode::CREATED, Json(ops::create_key(&app, &identity, &body).await?)))
}

/// Revoke an API key of mine.
#[utoipa::path(delete, path = "/v1/api-keys/{key}", tag = "accounts", params(("key" = ApiKeyId, Path, description = "Key id")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn revoke_key(State(app): State<App>, Caller(identity): Caller, Path(key): Path<ApiKeyId>) -> Answer<StatusCode> {
    ops::revoke_key(&app, &identity, key).await?;
    Ok(StatusCode::NO_CONTENT)
}
