//! A command as a WebSocket: its frames, passed on to its host's socket and back.
//!
//! The first frame is read here: what is to run is checked and noted before a host is asked. The others are passed on one by
//! one, those of a client only if they are frames of one. When the client is gone, is silent for [`SILENCE`], or may not be
//! here any more, the socket is closed, which ends the command.

use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::fd::FdStream;
use crate::platform::http::auth::{Member, Permit};
use crate::platform::http::extract::Path;
use crate::streams::http::{FAREWELL, PING, websocket};
use crate::streams::ops;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use bytes::Bytes;
use envforge_api::exec::{End, FRAME_MAX, Frames, FromCommand, Start, ToCommand, delimited};
use envforge_api::http::ErrorBody;
use envforge_core::access::Action;
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use std::time::Duration;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// How long a client may say nothing. Its pings come also while it reads nothing.
const SILENCE: Duration = Duration::from_secs(45);
/// How long a client may take to say what is to run.
const START_LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(exec))
}

/// Run a command in the shell layer (WebSocket: each binary frame is a frame of `envforge_api::exec`; the first says what
/// to run). It ends with the connection, and a client says something, if only a ping, at least every 45 seconds.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/exec", tag = "shell", security(("api_key" = ["shell.attach"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    responses((status = 101, description = "The command"), (status = "default", body = ErrorBody)))]
async fn exec(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer<Response> {
    let (_, slug) = path;
    let permit = member.permit(Action::Attach)?;
    let upgrade = websocket(upgrade)?;
    ops::has_shell(&app, &permit, &slug).await?;
    Ok(upgrade.max_message_size(FRAME_MAX).on_upgrade(move |socket| serve(app, permit, slug, socket)))
}

/// Runs what the client says, to its end.
async fn serve(app: App, permit: Permit, slug: Slug, socket: WebSocket) {
    let (mut to, mut from) = socket.split();
    let nudges = app.bus.listen();
    let end = match tokio::time::timeout(START_LIMIT, start(&mut from)).await {
        Ok(Some(start)) => match ops::exec(&app, &permit, &slug, &start).await {
            Ok(opened) => {
                let first = delimited(&ToCommand::Start(start).encode());
                tokio::select! {
                    () = app.cancel.cancelled() => Some(unseen("the server stops")),
                    () = ops::until_lost(&app, &permit, opened.workspace, nudges) => {
                        Some(unseen("you may not be in this shell any more"))
                    }
                    end = pass(&opened.stream, &first, &mut to, &mut from) => end,
                }
            }
            Err(fault) => Some(End::Refused { refusal: fault.into_refusal() }),
        },
        Ok(None) => None,
        Err(_) => Some(End::Refused { refusal: Refusal::invalid("exec.no_start", "nothing was said to be run") }),
    };
    if let Some(end) = end {
        let told = to.send(message(FromCommand::Ended(end).encode()));
        // A client that reads nothing does not hold this up.
        drop(tokio::time::timeout(START_LIMIT, told).await);
    }
    drop(tokio::time::timeout(START_LIMIT, to.close()).await);
    let stopped = async {
        app.cancel.cancelled().await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        () = stopped => {}
        () = left(&mut from) => {}
    }
}

/// Until the client has left, which may read slowly. A socket that is closed before all that came on it is read is reset,
/// and what was on its way to the client is lost.
async fn left(from: &mut SplitStream<WebSocket>) {
    while let Ok(Some(Ok(_))) = tokio::time::timeout(SILENCE, from.next()).await {}
}

fn unseen(reason: &str) -> End {
    End::Unseen { reason: reason.to_owned() }
}

fn message(frame: Vec<u8>) -> Message {
    Message::Binary(Bytes::from(frame))
}

/// The first frame, which says what is to run.
async fn start(from: &mut SplitStream<WebSocket>) -> Option<Start> {
    while let Some(Ok(message)) = from.next().await {
        match message {
            Message::Binary(frame) => match ToCommand::decode(&frame) {
                Ok(ToCommand::Start(start)) => return Some(start),
                _ => return None,
            },
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Text(_) | Message::Close(_) => return None,
        }
    }
    None
}

/// Passes frames on both ways; what is left to tell the client at the end.
async fn pass(
    host: &FdStream,
    first: &[u8],
    to: &mut SplitSink<WebSocket, Message>,
    from: &mut SplitStream<WebSocket>,
) -> Option<End> {
    let down = async {
        let (mut frames, mut buffer) = (Frames::default(), vec![0_u8; 32 * 1024]);
        let mut ping = tokio::time::interval(PING);
        loop {
            loop {
                let Ok(frame) = frames.take() else { return Some(unseen("its host says what makes no sense")) };
                let Some(frame) = frame else { break };
                let is_last = matches!(FromCommand::decode(&frame), Ok(FromCommand::Ended(_)));
                to.send(message(frame)).await.ok()?;
                if is_last {
                    return None;
                }
            }
            tokio::select! {
                read = host.read(&mut buffer) => match read {
                    Ok(length @ 1..) => frames.push(&buffer[..length]),
                    _ => return Some(unseen("its host went away")),
                },
                _ = ping.tick() => to.send(Message::Ping(Bytes::new())).await.ok()?,
            }
        }
    };
    let up = async {
        if host.write_all(first).await.is_err() {
            return std::future::pending().await;
        }
        loop {
            let Ok(Some(Ok(message))) = tokio::time::timeout(SILENCE, from.next()).await else { return None };
            match message {
                Message::Binary(frame) if ToCommand::decode(&frame).is_ok() => {
                    // When the host has hung up, its last word is still on its way down.
                    if host.write_all(&delimited(&frame)).await.is_err() {
                        return std::future::pending().await;
                    }
                }
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Binary(_) | Message::Text(_) | Message::Close(_) => return None,
            }
        }
    };
    tokio::select! {
        biased;
        end = down => end,
        end = up => end,
    }
}
