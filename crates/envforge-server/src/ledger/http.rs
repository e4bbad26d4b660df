//! `GET /v1/orgs/{org}/ledger`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::Json;
use axum::extract::State;
use envforge_api::http::ErrorBody;
use envforge_api::http::usage::LedgerExport;
use envforge_core::access::Action;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(export_ledger))
}

/// Export the org's ledger with a signed checkpoint.
#[utoipa::path(get, path = "/v1/orgs/{org}/ledger", tag = "ledger", security(("api_key" = ["ledger.read"])), params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = LedgerExport), (status = "default", body = ErrorBody)))]
async fn export_ledger(State(app): State<App>, member: Member) -> Answer<Json<LedgerExport>> {
    let permit = member.permit(Action::ReadLedger)?;
    Ok(Json(ops::export(&app, &permit).await?))
}
