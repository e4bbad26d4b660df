//! `GET /v1/health`, `GET /v1/ready`, `GET /v1/operator/health-report`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Operator;
use crate::platform::http::extract::Json;
use axum::extract::State;
use envforge_api::http::system::HealthReport;
use envforge_api::http::{ErrorBody, Health, Ready};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(ready)).routes(routes!(health_report))
}

/// Whether the server is alive; asks nothing of anybody else.
#[utoipa::path(get, path = "/v1/health", tag = "system", security(()), responses((status = 200, body = Health)))]
async fn health() -> Json<Health> {
    Json(Health { status: "ok".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

/// Whether requests should come here: the database answers and fits, the ledger is sealed, and no drain has begun.
#[utoipa::path(get, path = "/v1/ready", tag = "system", security(()),
    responses((status = 200, body = Ready), (status = "default", body = ErrorBody)))]
async fn ready(State(app): State<App>) -> Answer<Json<Ready>> {
    let schema = ops::ready(&app).await?;
    Ok(Json(Ready { version: env!("CARGO_PKG_VERSION").to_owned(), schema }))
}

/// How the installation is: hosts, ledgers, jobs, disks, clocks, keys, and who it depends on. Each is looked at now, and for
/// some seconds at most.
#[utoipa::path(get, path = "/v1/operator/health-report", tag = "installation", security(("api_key" = ["operator"])),
    responses((status = 200, body = HealthReport), (status = "default", body = ErrorBody)))]
async fn health_report(State(app): State<App>, _: Operator) -> Json<HealthReport> {
    Json(ops::health_report(&app).await)
}
