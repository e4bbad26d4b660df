//! `/v1/operator/queues`, `/v1/operator/jobs`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Operator;
use crate::platform::http::extract::{Json, Path, Query};
use axum::extract::State;
use envforge_api::http::ErrorBody;
use envforge_api::http::jobs::{BackgroundJob, BackgroundJobs, JobFilter, Queues};
use envforge_core::id::BackgroundJobId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(queues)).routes(routes!(list)).routes(routes!(retry)).routes(routes!(cancel))
}

/// Queues of background jobs, counted over all servers.
#[utoipa::path(get, path = "/v1/operator/queues", tag = "jobs", security(("api_key" = ["operator"])),
    responses((status = 200, body = Queues), (status = "default", body = ErrorBody)))]
async fn queues(State(app): State<App>, _operator: Operator) -> Answer<Json<Queues>> {
    Ok(Json(ops::queues(&app).await?))
}

/// Background jobs, newest first.
#[utoipa::path(get, path = "/v1/operator/jobs", tag = "jobs", security(("api_key" = ["operator"])), params(JobFilter),
    responses((status = 200, body = BackgroundJobs), (status = "default", body = ErrorBody)))]
async fn list(
    State(app): State<App>,
    _operator: Operator,
    Query(filter): Query<JobFilter>,
) -> Answer<Json<BackgroundJobs>> {
    Ok(Json(ops::list(&app, &filter).await?))
}

/// Run a job again that did not succeed, or one that waits at once.
#[utoipa::path(post, path = "/v1/operator/jobs/{job}/retry", tag = "jobs", security(("api_key" = ["operator"])),
    params(("job" = BackgroundJobId, Path, description = "Job id")),
    responses((status = 200, body = BackgroundJob), (status = "default", body = ErrorBody)))]
async fn retry(
    State(app): State<App>,
    operator: Operator,
    Path(job): Path<BackgroundJobId>,
) -> Answer<Json<BackgroundJob>> {
    Ok(Json(ops::retry(&app, &operator.actor(), job).await?))
}

/// Cancel a job; one that runs is told to end.
#[utoipa::path(post, path = "/v1/operator/jobs/{job}/cancel", tag = "jobs", security(("api_key" = ["operator"])),
    params(("job" = BackgroundJobId, Path, description = "Job id")),
    responses((status = 200, body = BackgroundJob), (status = "default", body = ErrorBody)))]
async fn cancel(
    State(app): State<App>,
    operator: Operator,
    Path(job): Path<BackgroundJobId>,
) -> Answer<Json<BackgroundJob>> {
    Ok(Json(ops::cancel(&app, &operator.actor(), job).await?))
}
