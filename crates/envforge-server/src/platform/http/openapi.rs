//! The API's routes and their OpenAPI document: one list makes both, so neither can drift from the other.
//!
//! The document is checked in as `docs/reference/openapi.json`; a test fails when it differs.

use crate::app::App;
use crate::{
    accounts, activity, caps, consoles, databases, devices, elevations, exec, forks, git, git_keys, groups, hosts,
    invitations, ledger, links, orgs, projects, queues, receipts, recordings, resources, runs, runtimes, schedules,
    secrets, services, sessions, settings, signin, signing_keys, streams, system, terminals, usage, vault, workspaces,
};
use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

#[derive(OpenApi)]
#[openapi(
    info(title = "EnvForge", description = "Branch workspaces: shells, runtimes that wake on demand, signed links, receipts.", license(name = "Apache-2.0")),
    security(("api_key" = []))
)]
struct Base;

/// All routes of the public API.
pub fn routes() -> OpenApiRouter<App> {
    let mut base = Base::openapi();
    base.components
        .get_or_insert_default()
        .add_security_scheme("api_key", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    OpenApiRouter::with_openapi(base)
        .merge(system::http::routes())
        .merge(accounts::http::routes())
        .merge(settings::http::routes())
        .merge(groups::http::routes())
        .merge(orgs::http::routes())
        .merge(invitations::http::routes())
        .merge(git::http::routes())
        .merge(git_keys::http::routes())
        .merge(sessions::http::routes())
        .merge(signin::http::routes())
        .merge(devices::http::routes())
        .merge(hosts::http::routes())
        .merge(projects::http::routes())
        .merge(secrets::http::routes())
        .merge(workspaces::http::routes())
        .merge(forks::http::routes())
        .merge(runtimes::http::routes())
        .merge(schedules::http::routes())
        .merge(usage::http::routes())
        .merge(activity::http::routes())
        .merge(receipts::http::routes())
        .merge(caps::http::routes())
        .merge(links::http::routes())
        .merge(runs::http::routes())
        .merge(services::http::routes())
        .merge(resources::http::routes())
        .merge(consoles::http::routes())
        .merge(databases::http::routes())
        .merge(elevations::http::routes())
        .merge(recordings::http::routes())
        .merge(terminals::http::routes())
        .merge(streams::http::routes())
        .merge(exec::http::routes())
        .merge(ledger::http::routes())
        .merge(queues::http::routes())
        .merge(vault::http::routes())
        .merge(signing_keys::http::routes())
}

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = routes().into_openapi();
    // Handlers are called `list` and `create` in each slice; in the document every operation has a name of its own.
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post, &mut item.put, &mut item.delete].into_iter().flatten() {
            let tag = operation.tags.as_ref().and_then(|tags| tags.first()).cloned().unwrap_or_default();
            let name = operation.operation_id.take().unwrap_or_default();
            operation.operation_id = Some(format!("{}_{name}", tag.replace('-', "_")));
        }
    }
    document
}

/// `GET /v1/openapi.json`.
pub async fn serve() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}
