//! `/v1/sessions`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Caller;
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use axum::http::StatusCode;
use envforge_api::http::ErrorBody;
use envforge_api::http::sign_in::LoginSessions;
use envforge_core::id::LoginSessionId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(revoke))
}

/// My sessions in browsers.
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions",
    responses((status = 200, body = LoginSessions), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, Caller(identity): Caller) -> Answer<Json<LoginSessions>> {
    Ok(Json(ops::list(&app, &identity).await?))
}

/// End a session of mine; its open streams end within a second or two.
#[utoipa::path(delete, path = "/v1/sessions/{session}", tag = "sessions",
    params(("session" = LoginSessionId, Path, description = "Session id")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn revoke(
    State(app): State<App>,
    Caller(identity): Caller,
    Path(session): Path<LoginSessionId>,
) -> Answer<StatusCode> {
    ops::revoke(&app, &identity, session).await?;
    Ok(StatusCode::NO_CONTENT)
}
