//! Searching, exporting and looking at the ledger: an org's by its members, the installation's by its operator.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::{Member, Operator};
use crate::platform::http::extract::{Json, Query};
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use envforge_api::http::ErrorBody;
use envforge_api::http::ledger::{LedgerEvents, LedgerQuery, LedgerState};
use envforge_core::access::Action;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(search_ledger))
        .routes(routes!(export_ledger))
        .routes(routes!(ledger_state))
        .routes(routes!(export_installation_ledger))
        .routes(routes!(installation_ledger_state))
}

/// Search the org's ledger.
#[utoipa::path(get, path = "/v1/orgs/{org}/ledger", tag = "ledger", security(("api_key" = ["ledger.read"])),
    params(("org" = String, Path, description = "Org slug"), LedgerQuery),
    responses((status = 200, body = LedgerEvents), (status = "default", body = ErrorBody)))]
async fn search_ledger(
    State(app): State<App>,
    member: Member,
    Query(query): Query<LedgerQuery>,
) -> Answer<Json<LedgerEvents>> {
    let permit = member.permit(Action::ReadLedger)?;
    Ok(Json(ops::search(&app, &permit, &query).await?))
}

/// Export the org's ledger: JSON lines that end with a signed checkpoint.
#[utoipa::path(get, path = "/v1/orgs/{org}/ledger/export", tag = "ledger", security(("api_key" = ["ledger.read"])),
    params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, content_type = "application/x-ndjson", body = String), (status = "default", body = ErrorBody)))]
async fn export_ledger(State(app): State<App>, member: Member) -> Answer<Response> {
    let permit = member.permit(Action::ReadLedger)?;
    Ok(lines(ops::export(&app, Some(permit.scope.org())).await?))
}

/// How the org's ledger stands: head, checkpoint, how far it was verified.
#[utoipa::path(get, path = "/v1/orgs/{org}/ledger/state", tag = "ledger", security(("api_key" = ["ledger.read"])),
    params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = LedgerState), (status = "default", body = ErrorBody)))]
async fn ledger_state(State(app): State<App>, member: Member) -> Answer<Json<LedgerState>> {
    let permit = member.permit(Action::ReadLedger)?;
    Ok(Json(ops::state(&app, Some(permit.scope.org())).await?))
}

/// Export the installation's own ledger.
#[utoipa::path(get, path = "/v1/installation/ledger/export", tag = "ledger", security(("api_key" = ["operator"])),
    responses((status = 200, content_type = "application/x-ndjson", body = String), (status = "default", body = ErrorBody)))]
async fn export_installation_ledger(State(app): State<App>, _: Operator) -> Answer<Response> {
    Ok(lines(ops::export(&app, None).await?))
}

/// How the installation's own ledger stands.
#[utoipa::path(get, path = "/v1/installation/ledger/state", tag = "ledger", security(("api_key" = ["operator"])),
    responses((status = 200, body = LedgerState), (status = "default", body = ErrorBody)))]
async fn installation_ledger_state(State(app): State<App>, _: Operator) -> Answer<Json<LedgerState>> {
    Ok(Json(ops::state(&app, None).await?))
}

fn lines(export: ops::Export) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(export.bytes())).into_response()
}
