//! `GET …/database/dump` and `POST …/database/restore`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::{Json, Path};
use crate::streams::ops as streams;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use envforge_api::http::ErrorBody;
use envforge_api::http::databases::Restored;
use envforge_core::access::Action;
use envforge_core::name::Slug;
use futures_util::StreamExt as _;
use std::time::Duration;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// How long what is left of a dump that was refused is read and thrown away, so that its sender hears why.
const REST: Duration = Duration::from_secs(30);

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(dump)).routes(routes!(restore))
}

/// Dump the workspace's database, in pg_dump's custom format. Only while the runtime is awake, which this does not change. An
/// answer that breaks off is no whole dump.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/database/dump", tag = "databases", security(("api_key" = ["run.create"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    responses((status = 200, content_type = "application/octet-stream", body = String), (status = "default", body = ErrorBody)))]
async fn dump(State(app): State<App>, member: Member, Path(path): Path<(Slug, Slug)>) -> Answer<Response> {
    let (_, slug) = path;
    let permit = member.permit(Action::Run)?;
    let nudges = app.bus.listen();
    let dump = ops::dump(&app, &permit, &slug).await?;
    let workspace = dump.row.id;
    let bytes = dump.bytes(async move { streams::until_lost(&app, &permit, workspace, nudges).await });
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(bytes)).into_response())
}

/// Make the workspace's database what a dump in pg_dump's custom format holds, all of it or nothing. Only while the runtime is
/// awake, which this does not change. Who is connected to the database is cut off when it changes.
#[utoipa::path(post, path = "/v1/orgs/{org}/workspaces/{workspace}/database/restore", tag = "databases", security(("api_key" = ["run.create"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    request_body(content = String, content_type = "application/octet-stream", description = "The dump"),
    responses((status = 200, body = Restored), (status = "default", body = ErrorBody)))]
async fn restore(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    body: Body,
) -> Answer<Json<Restored>> {
    let (_, slug) = path;
    let permit = member.permit(Action::Run)?;
    let mut body = body.into_data_stream();
    match ops::restore(&app, &permit, &slug, &mut body).await {
        Ok(bytes) => Ok(Json(Restored { bytes })),
        Err(fault) => {
            drop(tokio::time::timeout(REST, rest(body)).await);
            Err(fault)
        }
    }
}

async fn rest(mut body: BodyDataStream) {
    while let Some(Ok(_)) = body.next().await {}
}
