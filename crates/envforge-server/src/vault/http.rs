//! `/v1/operator/keys`, and `/v1/operator/data-key/rotate`, for the operator; `/v1/orgs/{org}/data-key/rotate`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::{Member, Operator};
use crate::platform::http::extract::Json;
use axum::extract::State;
use axum::http::StatusCode;
use envforge_api::http::ErrorBody;
use envforge_api::http::vault::KeyEncryptionKeys;
use envforge_core::access::Action;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(keys)).routes(routes!(rotate_installation)).routes(routes!(rotate))
}

/// The key-encryption keys, and how many data keys each wraps: whether an old one can be taken away, or one is missing.
#[utoipa::path(get, path = "/v1/operator/keys", tag = "installation", security(("api_key" = ["operator"])),
    responses((status = 200, body = KeyEncryptionKeys), (status = "default", body = ErrorBody)))]
async fn keys(State(app): State<App>, _: Operator) -> Answer<Json<KeyEncryptionKeys>> {
    Ok(Json(ops::key_encryption_keys(&app).await?))
}

/// Put a new data key in use for the installation; what lies under the old one is sealed anew in the background.
#[utoipa::path(post, path = "/v1/operator/data-key/rotate", tag = "installation", security(("api_key" = ["operator"])),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn rotate_installation(State(app): State<App>, operator: Operator) -> Answer<StatusCode> {
    let mut tx = app.db.begin_installation().await?;
    ops::rotate(&app, &mut tx, &operator.actor()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Put a new data key in use for the org; what lies under the old one is sealed anew in the background.
#[utoipa::path(post, path = "/v1/orgs/{org}/data-key/rotate", tag = "secrets", security(("api_key" = ["secret.manage"])),
    params(("org" = String, Path, description = "Org slug")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn rotate(State(app): State<App>, member: Member) -> Answer<StatusCode> {
    let permit = member.permit(Action::ManageSecrets)?;
    let mut tx = app.db.begin(permit.scope).await?;
    ops::rotate(&app, &mut tx, &permit.actor()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
