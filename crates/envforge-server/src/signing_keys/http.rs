//! `/v1/operator/signing-keys`, for the installation's operator.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Operator;
use crate::platform::http::extract::Json;
use axum::extract::State;
use envforge_api::http::ErrorBody;
use envforge_api::http::vault::{RotateSigningKey, SigningKeys};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(rotate))
}

/// The keys that sign links, sessions and tickets, or still verify them.
#[utoipa::path(get, path = "/v1/operator/signing-keys", tag = "installation", security(("api_key" = ["operator"])),
    responses((status = 200, body = SigningKeys), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, _: Operator) -> Answer<Json<SigningKeys>> {
    Ok(Json(ops::list(&app)))
}

/// Put a new signing key in use: after a minute, while what was signed before holds; or at once, and what was signed before
/// ends.
#[utoipa::path(post, path = "/v1/operator/signing-keys/rotate", tag = "installation", security(("api_key" = ["operator"])),
    request_body = RotateSigningKey, responses((status = 200, body = SigningKeys), (status = "default", body = ErrorBody)))]
async fn rotate(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<RotateSigningKey>,
) -> Answer<Json<SigningKeys>> {
    Ok(Json(ops::rotate(&app, &operator.actor(), &body).await?))
}
