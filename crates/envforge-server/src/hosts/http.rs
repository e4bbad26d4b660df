//! `/v1/orgs/{org}/hosts`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::Json;
use axum::extract::State;
use axum::http::StatusCode;
use envforge_api::http::ErrorBody;
use envforge_api::http::accounts::{CreateHostToken, CreatedHostToken, Hosts};
use envforge_core::access::Action;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(create_token))
}

/// Hosts of the org with their state and what their isolation lacks.
#[utoipa::path(get, path = "/v1/orgs/{org}/hosts", tag = "hosts", security(("api_key" = ["view"])), params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = Hosts), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, member: Member) -> Answer<Json<Hosts>> {
    Ok(Json(ops::list(&app, &member.permit(Action::View)?).await?))
}

/// Make a one-time registration token for a host.
#[utoipa::path(post, path = "/v1/orgs/{org}/host-tokens", tag = "hosts", security(("api_key" = ["host.manage"])), params(("org" = String, Path, description = "Org slug")),
    request_body = CreateHostToken, responses((status = 201, body = CreatedHostToken), (status = "default", body = ErrorBody)))]
async fn create_token(
    State(app): State<App>,
    member: Member,
    Json(body): Json<CreateHostToken>,
) -> Answer<(StatusCode, Json<CreatedHostToken>)> {
    let permit = member.permit(Action::ManageHosts)?;
    Ok((StatusCode::CREATED, Json(ops::create_token(&app, &permit, &body).await?)))
}
