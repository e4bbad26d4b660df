//! `…/workspaces/{workspace}/mail`, `…/objects` and `…/database`.

use super::ops::{self, Content};
use crate::app::App;
use crate::platform::bus::Listener;
use crate::platform::fault::Answer;
use crate::platform::http::auth::{Member, Permit};
use crate::platform::http::extract::{Json, Path, Query};
use crate::streams;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use envforge_api::console::Question;
use envforge_api::http::ErrorBody;
use envforge_api::http::consoles::{Buckets, DatabaseRows, Mail, Mails, Objects, QueryDatabase};
use envforge_core::access::Action;
use envforge_core::id::MailId;
use envforge_core::name::Slug;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Entries of a page, when nobody says how many.
const PAGE: u32 = 100;
/// The most.
const PAGE_MAX: u32 = 1_000;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(mails))
        .routes(routes!(mail))
        .routes(routes!(raw_mail))
        .routes(routes!(buckets))
        .routes(routes!(objects))
        .routes(routes!(object))
        .routes(routes!(query))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct MailPage {
    /// Only messages older than this one.
    before: Option<MailId>,
    /// At most so many, 100 when absent, up to 1000.
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ObjectPage {
    /// Only keys that begin so.
    #[serde(default)]
    prefix: String,
    /// Only keys behind this one.
    #[serde(default)]
    after: String,
    /// At most so many, 100 when absent, up to 1000.
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ObjectNamed {
    /// The object's key.
    key: String,
}

fn page(limit: Option<u32>) -> u32 {
    limit.unwrap_or(PAGE).clamp(1, PAGE_MAX)
}

/// Messages in a workspace's mail sink, the newest first, also while it sleeps.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/mail", tag = "consoles", security(("api_key" = ["console.use"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"), MailPage),
    responses((status = 200, body = Mails), (status = "default", body = ErrorBody)))]
async fn mails(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Query(query): Query<MailPage>,
) -> Answer<Json<Mails>> {
    let permit = member.permit(Action::UseConsoles)?;
    Ok(Json(ops::mails(&app, &permit, &path.1, query.before, page(query.limit)).await?))
}

/// A message, read: headers, text, the source of its HTML, what is attached.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/mail/{mail}", tag = "consoles", security(("api_key" = ["console.use"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"), ("mail" = MailId, Path, description = "Message id")),
    responses((status = 200, body = Mail), (status = "default", body = ErrorBody)))]
async fn mail(State(app): State<App>, member: Member, Path(path): Path<(Slug, Slug, MailId)>) -> Answer<Json<Mail>> {
    let permit = member.permit(Action::UseConsoles)?;
    Ok(Json(ops::mail(&app, &permit, &path.1, path.2).await?))
}

/// A message as it was sent, as a file to save.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/mail/{mail}/raw", tag = "consoles", security(("api_key" = ["console.use"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"), ("mail" = MailId, Path, description = "Message id")),
    responses((status = 200, content_type = "application/octet-stream", body = String), (status = "default", body = ErrorBody)))]
async fn raw_mail(State(app): State<App>, member: Member, Path(path): Path<(Slug, Slug, MailId)>) -> Answer<Response> {
    let permit = member.permit(Action::UseConsoles)?;
    let nudges = app.bus.listen();
    let content = ops::raw_mail(&app, &permit, &path.1, path.2).await?;
    Ok(file(app, permit, content, nudges, &format!("{}.eml", path.2)))
}

/// The buckets of a workspace's object storage, also while it sleeps.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/objects", tag = "consoles", security(("api_key" = ["console.use"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    responses((status = 200, body = Buckets), (status = "default", body = ErrorBody)))]
async fn buckets(State(app): State<App>, member: Member, Path(path): Path<(Slug, Slug)>) -> Answer<Json<Buckets>> {
    let permit = member.permit(Action::UseConsoles)?;
    Ok(Json(ops::buckets(&app, &permit, &path.1).await?))
}

/// Objects of a bucket, by key.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/objects/{bucket}", tag = "consoles", security(("api_key" = ["console.use"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"), ("bucket" = String, Path, description = "Bucket"), ObjectPage),
    responses((status = 200, body = Objects), (status = "default", body = ErrorBody)))]
async fn objects(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug, String)>,
    Query(query): Query<ObjectPage>,
) -> Answer<Json<Objects>> {
    let permit = member.permit(Action::UseConsoles)?;
    let ObjectPage { prefix, after, limit } = query;
    let question = Question::Objects { bucket: path.2, prefix, after, limit: page(limit) };
    Ok(Json(ops::objects(&app, &permit, &path.1, &question).await?))
}

/// An object's content, as a file to save.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/objects/{bucket}/content", tag = "consoles", security(("api_key" = ["console.use"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"), ("bucket" = String, Path, description = "Bucket"), ObjectNamed),
    responses((status = 200, content_type = "application/octet-stream", body = String), (status = "default", body = ErrorBody)))]
async fn object(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug, String)>,
    Query(query): Query<ObjectNamed>,
) -> Answer<Response> {
    let permit = member.permit(Action::UseConsoles)?;
    let nudges = app.bus.listen();
    let content = ops::object(&app, &permit, &path.1, path.2, query.key).await?;
    Ok(file(app, permit, content, nudges, "object"))
}

/// Ask a workspace's database, which reads and changes nothing; refused while the runtime is asleep, and nothing is woken for it.
#[utoipa::path(post, path = "/v1/orgs/{org}/workspaces/{workspace}/database/query", tag = "consoles", security(("api_key" = ["console.use"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    request_body = QueryDatabase,
    responses((status = 200, body = DatabaseRows), (status = "default", body = ErrorBody)))]
async fn query(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Json(body): Json<QueryDatabase>,
) -> Answer<Json<DatabaseRows>> {
    let permit = member.permit(Action::UseConsoles)?;
    Ok(Json(ops::query(&app, &permit, &path.1, body.query, page(body.limit)).await?))
}

/// A stranger's bytes: to be saved under a name of ours, and never a page, whatever they look like.
fn file(app: App, permit: Permit, content: Content, nudges: Listener, name: &str) -> Response {
    let Content { begun, opened, size } = content;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, size.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, streams::http::body(app, permit, opened, nudges, begun, size)).into_response()
}
