//! `/v1/orgs/{org}/terminal-policy`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::Json;
use axum::extract::State;
use envforge_api::http::ErrorBody;
use envforge_api::http::recordings::OrgTerminalPolicy;
use envforge_core::access::Action;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(policy, set_policy))
}

/// Whether the org's terminals are recorded.
#[utoipa::path(get, path = "/v1/orgs/{org}/terminal-policy", tag = "shell", security(("api_key" = ["view"])),
    params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = OrgTerminalPolicy), (status = "default", body = ErrorBody)))]
async fn policy(State(app): State<App>, member: Member) -> Answer<Json<OrgTerminalPolicy>> {
    Ok(Json(ops::policy(&app, &member.permit(Action::View)?).await?))
}

/// Say whether terminals that are opened from now on are recorded.
#[utoipa::path(put, path = "/v1/orgs/{org}/terminal-policy", tag = "shell", security(("api_key" = ["terminal_policy.set"])),
    params(("org" = String, Path, description = "Org slug")),
    request_body = OrgTerminalPolicy, responses((status = 200, body = OrgTerminalPolicy), (status = "default", body = ErrorBody)))]
async fn set_policy(
    State(app): State<App>,
    member: Member,
    Json(body): Json<OrgTerminalPolicy>,
) -> Answer<Json<OrgTerminalPolicy>> {
    Ok(Json(ops::set_policy(&app, &member.permit(Action::SetTerminalPolicy)?, body).await?))
}
