//! Terminals as WebSockets and as a list, log lines and recordings as text.

use super::ops::{self, Lines, Opened};
use crate::app::App;
use crate::platform::bus::Listener;
use crate::platform::fault::Answer;
use crate::platform::fd::FdStream;
use crate::platform::http::auth::{Member, Permit};
use crate::platform::http::extract::{Json, Path, Query};
use crate::workspaces;
use axum::body::Body;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use envforge_api::http::ErrorBody;
use envforge_api::http::recordings::TerminalRecordings;
use envforge_api::http::terminal::{TerminalControl, TerminalNotice, Terminals};
use envforge_api::uplink::LogFilter;
use envforge_core::access::Action;
use envforge_core::id::{ElevationId, JobId, RecordingId, WorkspaceId};
use envforge_core::name::Slug;
use envforge_core::terminal::TerminalName;
use futures_util::{SinkExt as _, StreamExt as _};
use jiff::Timestamp;
use serde::Deserialize;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
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
        .routes(routes!(terminal))
        .routes(routes!(terminals))
        .routes(routes!(end_terminal))
        .routes(routes!(root_terminal))
        .routes(routes!(recording))
        .routes(routes!(recordings))
        .routes(routes!(terminal_recording))
        .routes(routes!(service_logs))
        .routes(routes!(run_logs))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Size {
    /// Columns, 80 when absent.
    cols: Option<u16>,
    /// Rows, 24 when absent.
    rows: Option<u16>,
}

impl Size {
    /// Columns and rows.
    fn clamped(&self) -> (u16, u16) {
        (self.cols.unwrap_or(80).clamp(2, 1000), self.rows.unwrap_or(24).clamp(2, 1000))
    }
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

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// The terminal's name, `main` when absent; one that is not there is made.
    terminal: Option<String>,
}

impl Which {
    fn name(&self) -> Answer<TerminalName> {
        Ok(self.terminal.as_deref().map(str::parse).transpose()?.unwrap_or_default())
    }
}

/// Attach to a terminal of the workspace's shell (WebSocket: binary frames are the terminal, text frames its control).
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/terminal", tag = "shell", security(("api_key" = ["shell.attach"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"), Which, Size),
    responses((status = 101, description = "The terminal"), (status = "default", body = ErrorBody)))]
async fn terminal(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Query(which): Query<Which>,
    Query(size): Query<Size>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer<Response> {
    let (_, slug) = path;
    let permit = member.permit(Action::Attach)?;
    let (name, upgrade, nudges) = (which.name()?, websocket(upgrade)?, app.bus.listen());
    let opened = ops::terminal(&app, &permit, &slug, &name, size.clamped()).await?;
    Ok(relayed(app, permit, upgrade, opened, nudges))
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

/// Open a root terminal of one's own elevation (WebSocket, as the shell's). It is recorded, not shared, and over with
/// the connection.
#[utoipa::path(get, path = "/v1/orgs/{org}/elevations/{elevation}/terminal", tag = "elevations", security(("api_key" = ["elevation.request"])),
    params(("org" = String, Path, description = "Org slug"), ("elevation" = ElevationId, Path, description = "Elevation id"), Size),
    responses((status = 101, description = "The terminal"), (status = "default", body = ErrorBody)))]
async fn root_terminal(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, ElevationId)>,
    Query(size): Query<Size>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer<Response> {
    let (_, id) = path;
    let permit = member.permit(Action::RequestElevation)?;
    let (upgrade, (cols, rows), nudges) = (websocket(upgrade)?, size.clamped(), app.bus.listen());
    let opened = ops::elevated(&app, &permit, id, cols, rows).await?;
    Ok(relayed(app, permit, upgrade, opened, nudges))
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

/// Relays a terminal until either side ends it, or the right to it is lost.
fn relayed(app: App, permit: Permit, upgrade: WebSocketUpgrade, opened: Opened, nudges: Listener) -> Response {
    let cancel = app.cancel.clone();
    upgrade.max_message_size(1 << 20).on_upgrade(move |socket| async move {
        let ended = CancellationToken::new();
        let lost = async {
            until_lost(&app, &permit, opened.workspace, nudges).await;
            ended.cancel();
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = lost => {}
            () = relay(socket, opened.stream, &ended) => {}
        }
    })
}

/// Until a member may no longer, or the key or session that they showed has ended.
pub(crate) async fn until_lost(app: &App, permit: &Permit, workspace: WorkspaceId, nudges: Listener) {
    tokio::select! {
        () = workspaces::ops::until_lost(app, permit, workspace, nudges) => {}
        () = permit.ended(app) => {}
    }
}

/// Moves bytes until either side ends, or the right to them does.
async fn relay(socket: WebSocket, stream: FdStream, ended: &CancellationToken) {
    let (mut sender, mut receiver) = socket.split();
    let down = async {
        let mut buffer = vec![0_u8; 16 * 1024];
        let mut ping = tokio::time::interval(PING);
        let reason = loop {
            tokio::select! {
                () = ended.cancelled() => break "you may not be in this shell any more",
                read = stream.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => break "the terminal was closed",
                    Ok(length) => {
                        if sender.send(Message::Binary(Bytes::copy_from_slice(&buffer[..length]))).await.is_err() {
                            return;
                        }
                    }
                },
                _ = ping.tick() => if sender.send(Message::Ping(Bytes::new())).await.is_err() { return; },
            }
        };
        let notice = TerminalNotice::Ended { reason: reason.to_owned() };
        let text = serde_json::to_string(&notice).unwrap_or_default();
        if sender.send(Message::Text(text.into())).await.is_ok() {
            drop(sender.close().await);
        }
    };
    let up = async {
        while let Some(Ok(message)) = receiver.next().await {
            if ended.is_cancelled() {
                std::future::pending::<()>().await;
            }
            let done = match message {
                Message::Binary(bytes) => stream.write_all(&bytes).await,
                Message::Text(text) => match serde_json::from_str(&text) {
                    Ok(TerminalControl::Resize { cols, rows }) => {
                        stream.resize(cols.clamp(2, 1000), rows.clamp(2, 1000))
                    }
                    Err(_) => Ok(()),
                },
                Message::Close(_) => break,
                Message::Ping(_) | Message::Pong(_) => Ok(()),
            };
            if done.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = down => {}
        () = up => {}
    }
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
    let lost = async move { until_lost(&app, &permit, workspace, nudges).await };
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
