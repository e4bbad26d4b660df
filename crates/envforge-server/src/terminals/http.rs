//! Terminals as WebSockets.

use super::ops::{self, Bound, Kept, Session};
use crate::app::App;
use crate::platform::bus::Listener;
use crate::platform::fault::Answer;
use crate::platform::fd::FdStream;
use crate::platform::http::auth::{Member, Permit};
use crate::platform::http::extract::{Path, Query};
use crate::streams;
use crate::streams::http::{FAREWELL, PING, websocket};
use crate::streams::ops::{Opened, until_lost};
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use bytes::Bytes;
use envforge_api::http::ErrorBody;
use envforge_api::http::terminal::{TerminalControl, TerminalNotice};
use envforge_core::access::Action;
use envforge_core::id::ElevationId;
use envforge_core::name::Slug;
use envforge_core::resume::INPUT_MAX;
use envforge_core::terminal::TerminalName;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The largest message of a client, in bytes.
const MESSAGE_MAX: usize = 1 << 20;
/// The most output in one message, in bytes.
const PIECE: usize = 16 * 1024;
/// How soon a client is told of input that was written, in any case.
const TELL_WITHIN: Duration = Duration::from_secs(1);
/// So many times a client with a session may say nothing between two pings. It asks for a sign of life more often by itself.
const SILENT_MAX: u32 = 2;
/// How long a client may take to leave when it knows that the terminal is over.
const LEAVE_WITHIN: Duration = Duration::from_secs(45);
/// A terminal that says nothing for this long rests.
const REST: Duration = Duration::from_millis(200);

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(terminal)).routes(routes!(root_terminal))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Size {
    /// Columns, 80 when absent.
    cols: Option<u16>,
    /// Rows, 24 when absent.
    rows: Option<u16>,
}

fn clamped(cols: u16, rows: u16) -> (u16, u16) {
    (cols.clamp(2, 1000), rows.clamp(2, 1000))
}

impl Size {
    /// Columns and rows.
    fn clamped(&self) -> (u16, u16) {
        clamped(self.cols.unwrap_or(80), self.rows.unwrap_or(24))
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

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Resuming {
    /// That the terminal is to outlive its connection for about a minute; its first frame says what it is resumed with.
    #[serde(default)]
    resumable: bool,
    /// Resume this one instead of attaching anew.
    resume: Option<String>,
    /// How many bytes of its output were received; with `resume` alone.
    received: Option<u64>,
}

/// Attach to a terminal of the workspace's shell (WebSocket: binary frames are the terminal, text frames its control).
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/terminal", tag = "shell", security(("api_key" = ["shell.attach"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"), Which, Size, Resuming),
    responses((status = 101, description = "The terminal"), (status = "default", body = ErrorBody)))]
async fn terminal(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Query(which): Query<Which>,
    Query(size): Query<Size>,
    Query(resuming): Query<Resuming>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer<Response> {
    let (_, slug) = path;
    let permit = member.permit(Action::Attach)?;
    let (name, upgrade, nudges) = (which.name()?, websocket(upgrade)?, app.bus.listen());
    let upgrade = upgrade.max_message_size(MESSAGE_MAX);
    if let Some(token) = &resuming.resume {
        let workspace = streams::ops::shell(&app, &permit, &slug).await?;
        let received = resuming.received.unwrap_or(0);
        let session = ops::find(&app, &Bound::to(&permit, workspace, &name), token, received)?;
        let size = size.clamped();
        return Ok(upgrade.on_upgrade(move |socket| async move {
            resume(&app, &permit, &session, socket, received, size, nudges).await;
        }));
    }
    let opened = streams::ops::terminal(&app, &permit, &slug, &name, size.clamped()).await?;
    if !resuming.resumable {
        return Ok(once(app, permit, upgrade, opened, nudges));
    }
    Ok(upgrade.on_upgrade(move |socket| async move {
        let (session, token) = ops::begin(&app, &permit, opened, &name);
        let turn = session.take().await;
        let begun = vec![notice(&TerminalNotice::Session { token })];
        hold(&app, &permit, &session, &turn, Line { socket, begun, is_stained: false }, nudges).await;
    }))
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
    let opened = streams::ops::elevated(&app, &permit, id, cols, rows).await?;
    Ok(once(app, permit, upgrade.max_message_size(MESSAGE_MAX), opened, nudges))
}

/// A terminal with one connection, until either side ends it, or the right to it is lost.
fn once(app: App, permit: Permit, upgrade: WebSocketUpgrade, opened: Opened, nudges: Listener) -> Response {
    let cancel = app.cancel.clone();
    upgrade.on_upgrade(move |socket| async move {
        let may_not = CancellationToken::new();
        let lost = async {
            until_lost(&app, &permit, opened.workspace, nudges).await;
            may_not.cancel();
            tokio::time::sleep(FAREWELL).await;
        };
        let line = Line { socket, begun: Vec::new(), is_stained: false };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = lost => {}
            _ = relay(line, &opened.stream, None, &may_not) => {}
        }
    })
}

/// Goes on with a session over another connection, in the place of whoever holds it.
async fn resume(
    app: &App,
    permit: &Permit,
    session: &Arc<Session>,
    socket: WebSocket,
    received: u64,
    (cols, rows): (u16, u16),
    nudges: Listener,
) {
    let turn = session.take().await;
    // Its last holder may have ended it meanwhile; then the client hears so when it tries again.
    if !ops::is_kept(app, session) {
        return;
    }
    let (output, taken) = match session.resume(received) {
        Ok(resumed) => resumed,
        Err(error) => {
            tracing::debug!(%error, "a terminal could not be resumed after all");
            return app.terminals.end(session);
        }
    };
    let mut begun = vec![notice(&TerminalNotice::Resumed { received: taken })];
    begun.extend(binary(&output));
    drop(session.stream.resize(cols, rows));
    // The client wrote over its last line meanwhile.
    hold(app, permit, session, &turn, Line { socket, begun, is_stained: true }, nudges).await;
}

/// Moves a session's bytes over one connection, and keeps it when that is lost.
async fn hold(app: &App, permit: &Permit, session: &Session, turn: &ops::Turn, line: Line, nudges: Listener) {
    let mut lost = pin!(until_lost(app, permit, session.workspace(), nudges));
    let may_not = CancellationToken::new();
    let left = {
        let mut relayed = pin!(relay(line, &session.stream, Some(session), &may_not));
        tokio::select! {
            biased;
            () = app.cancel.cancelled() => return,
            () = turn.taken.cancelled() => return,
            left = &mut relayed => left,
            () = &mut lost => {
                may_not.cancel();
                drop(tokio::time::timeout(FAREWELL, relayed).await);
                Left::Over
            }
        }
    };
    if left == Left::Lost && ops::keep(app, session, turn, lost).await == Kept::Taken {
        return;
    }
    app.terminals.end(session);
}

/// One connection of a client.
struct Line {
    socket: WebSocket,
    /// What the client is sent first.
    begun: Vec<Message>,
    /// Whether something else than the terminal's output is on the client's screen.
    is_stained: bool,
}

/// Draws a terminal's window again, at its next rest: what scrolls by while a screen is drawn as a whole is in no scrollback.
/// One that never rests draws over what is there to be drawn over.
struct Redraw<'a> {
    stream: &'a FdStream,
    asked: Notify,
}

impl Redraw<'_> {
    fn draw(&self) {
        drop(self.stream.size().and_then(|(cols, rows)| self.stream.redraw(cols, rows)));
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// The terminal ended and the client knows, or the client left for good.
    Over,
    /// It broke.
    Lost,
}

fn notice(notice: &TerminalNotice) -> Message {
    Message::Text(serde_json::to_string(notice).unwrap_or_default().into())
}

fn binary(output: &[u8]) -> impl Iterator<Item = Message> {
    output.chunks(PIECE).map(|piece| Message::Binary(Bytes::copy_from_slice(piece)))
}

/// Moves bytes until either side ends, the connection breaks, or the right to them is lost. May be dropped at any moment: what
/// passed is noted in the session by then.
async fn relay(line: Line, stream: &FdStream, session: Option<&Session>, may_not: &CancellationToken) -> Left {
    let (mut to, mut from) = line.socket.split();
    let heard = AtomicBool::new(true);
    let redraw = Redraw { stream, asked: Notify::new() };
    if line.is_stained {
        redraw.asked.notify_one();
    }
    let ended = tokio::select! {
        ended = down(&mut to, line.begun, &redraw, session, &heard, may_not) => ended,
        left = up(&mut from, &redraw, session, &heard, may_not) => return left,
    };
    let Some(reason) = ended else { return Left::Lost };
    if to.send(notice(&TerminalNotice::Ended { reason: reason.to_owned() })).await.is_err() || to.close().await.is_err()
    {
        return Left::Lost;
    }
    // Until the client has left, which may read slowly. A socket that is closed before all that came on it is read is reset,
    // and what was on its way to the client, a terminal's last words, is lost.
    while let Ok(Some(Ok(message))) = tokio::time::timeout(LEAVE_WITHIN, from.next()).await {
        if matches!(message, Message::Close(_)) {
            return Left::Over;
        }
    }
    Left::Lost
}

/// Output, until the terminal ends: why it did. Nothing when the connection broke.
async fn down(
    to: &mut SplitSink<WebSocket, Message>,
    begun: Vec<Message>,
    redraw: &Redraw<'_>,
    session: Option<&Session>,
    heard: &AtomicBool,
    may_not: &CancellationToken,
) -> Option<&'static str> {
    let stream = redraw.stream;
    for message in begun {
        to.send(message).await.ok()?;
    }
    let mut buffer = vec![0_u8; PIECE];
    let (mut ping, mut silent) = (tokio::time::interval(PING), 0);
    // The timer is set only while there is something to tell, and then once for all that comes until then.
    let (mut tell, mut is_set) = (pin!(tokio::time::sleep(TELL_WITHIN)), false);
    let (mut rest, mut is_stained) = (pin!(tokio::time::sleep(REST)), false);
    let stirred = async || match session {
        Some(session) => session.stirred.notified().await,
        None => std::future::pending().await,
    };
    loop {
        let room = session.map_or(PIECE, |session| session.room().min(PIECE));
        let message = tokio::select! {
            () = may_not.cancelled() => return Some("you may not be in this shell any more"),
            read = stream.read(&mut buffer[..room]), if room > 0 => match read {
                Ok(0) | Err(_) => return Some("the terminal was closed"),
                Ok(length) => {
                    if let Some(session) = session {
                        session.read(&buffer[..length]);
                    }
                    if is_stained {
                        rest.as_mut().reset(Instant::now() + REST);
                    }
                    Message::Binary(Bytes::copy_from_slice(&buffer[..length]))
                }
            },
            () = stirred() => match session.map(Session::untold) {
                Some((true, true)) => told(session, &mut is_set)?,
                Some((true, false)) if !is_set => {
                    tell.as_mut().reset(Instant::now() + TELL_WITHIN);
                    is_set = true;
                    continue;
                }
                _ => continue,
            },
            () = &mut tell, if is_set => told(session, &mut is_set)?,
            () = redraw.asked.notified() => {
                rest.as_mut().reset(Instant::now() + REST);
                is_stained = true;
                continue;
            }
            () = &mut rest, if is_stained => {
                is_stained = false;
                redraw.draw();
                continue;
            }
            _ = ping.tick() => {
                silent = if heard.swap(false, Ordering::Relaxed) { 0 } else { silent + 1 };
                if session.is_some() && silent >= SILENT_MAX {
                    return None;
                }
                Message::Ping(Bytes::new())
            }
        };
        to.send(message).await.ok()?;
    }
}

fn told(session: Option<&Session>, is_set: &mut bool) -> Option<Message> {
    *is_set = false;
    session.map(|session| notice(&TerminalNotice::Received { bytes: session.tell() }))
}

/// Input and control, until the client leaves. What else it says does not wait for input that nobody reads.
async fn up(
    from: &mut SplitStream<WebSocket>,
    redraw: &Redraw<'_>,
    session: Option<&Session>,
    heard: &AtomicBool,
    may_not: &CancellationToken,
) -> Left {
    let stream = redraw.stream;
    let mut input = VecDeque::<Bytes>::new();
    let mut is_writable = true;
    loop {
        let waiting: usize = input.iter().map(Bytes::len).sum();
        let message = match input.front_mut() {
            None => from.next().await,
            Some(next) => tokio::select! {
                biased;
                wrote = stream.write(next) => {
                    if let Ok(length) = wrote {
                        drop(next.split_to(length));
                        if next.is_empty() {
                            input.pop_front();
                        }
                        if let Some(session) = session {
                            session.wrote(length);
                        }
                    } else {
                        // The terminal is over; its last words are still on their way down.
                        is_writable = false;
                        input.clear();
                    }
                    continue;
                }
                message = from.next(), if waiting < INPUT_MAX => message,
            },
        };
        let Some(Ok(message)) = message else { return Left::Lost };
        if may_not.is_cancelled() {
            std::future::pending::<()>().await;
        }
        heard.store(true, Ordering::Relaxed);
        match message {
            Message::Binary(bytes) if is_writable && !bytes.is_empty() => input.push_back(bytes),
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(TerminalControl::Resize { cols, rows }) => {
                    let (cols, rows) = clamped(cols, rows);
                    drop(stream.resize(cols, rows));
                }
                Ok(TerminalControl::Redraw) => redraw.asked.notify_one(),
                Ok(TerminalControl::Received { bytes }) => {
                    if session.is_some_and(|session| session.acknowledge(bytes).is_err()) {
                        return Left::Over;
                    }
                }
                Err(_) => {}
            },
            Message::Close(frame) => {
                let is_for_good = frame.is_none_or(|frame| frame.code == close_code::NORMAL);
                return if is_for_good { Left::Over } else { Left::Lost };
            }
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => {}
        }
    }
}
