//! Terminals as a list, log lines and recordings as text; and what every WebSocket to a host has in common.

use super::ops::{self, Lines, Opened};
use crate::app::App;
use crate::platform::bus::Listener;
use crate::platform::fault::Answer;
use crate::platform::http::auth::{Member, Permit};
use crate::platform::http::extract::{Json, Path, Query};
use axum::body::Body;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use envforge_api::http::ErrorBody;
use envforge_api::http::recordings::TerminalRecordings;
use envforge_api::http::terminal::Terminals;
use envforge_api::uplink::LogFilter;
use envforge_core::access::Action;
use envforge_core::id::{ElevationId, JobId, RecordingId};
use envforge_core::name::Slug;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::Deserialize;
use std::time::Duration;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// How long a client whose stream is taken away has to read why.
pub(crate) const FAREWELL: Duration = Duration::from_millis(500);
const PLAIN: &str = "text/plain; charset=utf-8";
/// Between pings to a terminal's client.
pub(crate) const PING: Duration = Duration::from_secs(20);

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(terminals))
        .routes(routes!(end_terminal))
        .routes(routes!(recording))
        .routes(routes!(recordings))
        .routes(routes!(terminal_recording))
        .routes(routes!(service_logs))
        .routes(routes!(run_logs))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LogLines {
    /// Lines from the end to begin with, of those that are wanted; when absent, 200 of a service's log that is not searched,
    /// else all.
    tail: Option<u32>,
    /// Keep sending what is appended.
    #[serde(default)]
    follow: bool,
    /// Only lines in which this regular expression is found, without time and stream; `(?i)` before it ignores case. At most
    /// 1024 bytes.
    #[param(value_type = Option<String>, max_length = 1024)]
    grep: Option<String>,
    /// Only lines that were not written before this time.
    #[param(value_type = Option<String>)]
    since: Option<Timestamp>,
}

impl LogLines {
    /// As many lines as this, if the request neither counts nor searches them.
    fn lines(self, unsaid: u32) -> Lines {
        let filter = LogFilter { grep: self.grep, since: self.since };
        let tail = self.tail.unwrap_or(if filter.is_empty() { unsaid } else { u32::MAX });
        Lines { tail, follow: self.follow, filter }
    }
}

/// The terminals of the workspace's shell.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/terminals", tag = "shell", security(("api_key" = ["shell.attach"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    responses((status = 200, body = Terminals), (status = "default", body = ErrorBody)))]
async fn terminals(State(app): State<App>, member: Member, Path(path): Path<(Slug, Slug)>) -> Answer<Json<Terminals>> {
    let (_, slug) = path;
    Ok(Json(ops::terminals(&app, &member.permit(Action::Attach)?, &slug).await?))
}

/// End a terminal, for everybody attached to it; answers with those that are left.
#[utoipa::path(delete, path = "/v1/orgs/{org}/workspaces/{workspace}/terminals/{terminal}", tag = "shell", security(("api_key" = ["shell.attach"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"), ("terminal" = String, Path, description = "Its name")),
    responses((status = 200, body = Terminals), (status = "default", body = ErrorBody)))]
async fn end_terminal(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug, String)>,
) -> Answer<Json<Terminals>> {
    let (_, slug, terminal) = path;
    let permit = member.permit(Action::Attach)?;
    let name = terminal.parse()?;
    Ok(Json(ops::end_terminal(&app, &permit, &slug, &name).await?))
}

/// What an elevation's root terminals printed, in the asciicast v2 format.
#[utoipa::path(get, path = "/v1/orgs/{org}/elevations/{elevation}/recording", tag = "elevations", security(("api_key" = ["recording.read"])),
    params(("org" = String, Path, description = "Org slug"), ("elevation" = ElevationId, Path, description = "Elevation id")),
    responses((status = 200, content_type = "application/x-asciicast", body = String), (status = "default", body = ErrorBody)))]
async fn recording(State(app): State<App>, member: Member, Path(path): Path<(Slug, ElevationId)>) -> Answer<Response> {
    let (_, id) = path;
    let permit = member.permit(Action::ReadRecording)?;
    let nudges = app.bus.listen();
    let opened = ops::recording(&app, &permit, id).await?;
    Ok(text(app, permit, opened, nudges, "application/x-asciicast"))
}

/// The recordings of a workspace's terminals, the newest first, at most 200; also while it sleeps.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/recordings", tag = "shell", security(("api_key" = ["recording.read"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    responses((status = 200, body = TerminalRecordings), (status = "default", body = ErrorBody)))]
async fn recordings(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
) -> Answer<Json<TerminalRecordings>> {
    let (_, slug) = path;
    Ok(Json(ops::recordings(&app, &member.permit(Action::ReadRecording)?, &slug).await?))
}

/// What a terminal's client was shown, in the asciicast v2 format.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/recordings/{recording}", tag = "shell", security(("api_key" = ["recording.read"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"), ("recording" = RecordingId, Path, description = "Recording id")),
    responses((status = 200, content_type = "application/x-asciicast", body = String), (status = "default", body = ErrorBody)))]
async fn terminal_recording(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug, RecordingId)>,
) -> Answer<Response> {
    let (_, slug, id) = path;
    let permit = member.permit(Action::ReadRecording)?;
    let nudges = app.bus.listen();
    let opened = ops::terminal_recording(&app, &permit, &slug, id).await?;
    Ok(text(app, permit, opened, nudges, "application/x-asciicast"))
}

/// The upgrade, or what is missing for one.
pub(crate) fn websocket(upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>) -> Answer<WebSocketUpgrade> {
    upgrade.map_err(|rejection| {
        let refusal = envforge_core::refusal::Refusal::invalid("terminal.websocket", rejection.body_text());
        refusal.hint("a terminal is a WebSocket; `envforge up` attaches").into()
    })
}

fn text(app: App, permit: Permit, opened: Opened, nudges: Listener, kind: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], body(app, permit, opened, nudges, Vec::new(), u64::MAX)).into_response()
}

/// What was read already and what else comes, so many bytes at most, as long as the right to it lasts.
pub(crate) fn body(app: App, permit: Permit, opened: Opened, nudges: Listener, begun: Vec<u8>, size: u64) -> Body {
    let Opened { stream, workspace } = opened;
    let cut = |mut bytes: Vec<u8>, left: u64| {
        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - bytes.len() as u64;
        (Bytes::from(bytes), left)
    };
    let (begun, left) = cut(begun, size);
    let chunks = futures_util::stream::unfold(Some((stream, left)), move |state| async move {
        let (stream, left) = state.filter(|(_, left)| *left > 0)?;
        let mut buffer = vec![0_u8; 16 * 1024];
        match stream.read(&mut buffer).await {
            Ok(0) => None,
            Ok(length) => {
                buffer.truncate(length);
                let (chunk, left) = cut(buffer, left);
                Some((Ok::<_, std::io::Error>(chunk), Some((stream, left))))
            }
            Err(error) => Some((Err(error), None)),
        }
    });
    let lost = async move { ops::until_lost(&app, &permit, workspace, nudges).await };
    let begun = futures_util::stream::iter((!begun.is_empty()).then_some(Ok(begun)));
    Body::from_stream(begun.chain(chunks).take_until(lost))
}

/// Captured log lines of a service, also while it sleeps; `setup` is the setup hook's.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/logs/{service}", tag = "logs", security(("api_key" = ["logs.read"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"), ("service" = String, Path, description = "Service"), LogLines),
    responses((status = 200, content_type = "text/plain", body = String), (status = "default", body = ErrorBody)))]
async fn service_logs(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug, Slug)>,
    Query(query): Query<LogLines>,
) -> Answer<Response> {
    let (_, slug, service) = path;
    let permit = member.permit(Action::ReadLogs)?;
    let nudges = app.bus.listen();
    let opened = ops::logs(&app, &permit, &slug, service.as_str(), query.lines(200)).await?;
    Ok(text(app, permit, opened, nudges, PLAIN))
}

/// Captured output of a run.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/runs/{run}/logs", tag = "logs", security(("api_key" = ["logs.read"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"), ("run" = JobId, Path, description = "Job id"), LogLines),
    responses((status = 200, content_type = "text/plain", body = String), (status = "default", body = ErrorBody)))]
async fn run_logs(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug, JobId)>,
    Query(query): Query<LogLines>,
) -> Answer<Response> {
    let (_, slug, job) = path;
    let permit = member.permit(Action::ReadLogs)?;
    crate::runs::ops::show(&app, &permit, &slug, job).await?;
    let nudges = app.bus.listen();
    let opened = ops::logs(&app, &permit, &slug, &format!("job-{job}"), query.lines(u32::MAX)).await?;
    Ok(text(app, permit, opened, nudges, PLAIN))
}
