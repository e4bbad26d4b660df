//! `/internal/host/…`, on the internal socket only: registration, secrets, and the stream itself.

use super::ops;
use crate::app::App;
use crate::git;
use crate::git_keys;
use crate::hosts;
use crate::platform::bus::Nudge;
use crate::platform::db::OrgScope;
use crate::platform::fault::Answer;
use crate::platform::http::answer;
use crate::platform::http::auth::bearer;
use crate::platform::http::extract::Json;
use crate::platform::storable;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use envforge_api::host::{
    AskEgress, AskGitCredential, AskGitIdentity, AskGitSignature, AskSecrets, EGRESS_PATH, FromHost,
    GIT_CREDENTIAL_PATH, GIT_IDENTITY_PATH, GIT_REJECTED_PATH, GIT_SIGNATURE_PATH, GitCredential, GitIdentity,
    GitSignature, GivenEgress, GivenSecrets, REGISTER_PATH, Register, Registered, Report, SECRETS_PATH, STREAM_PATH,
    ToHost,
};
use envforge_core::id::{CommandId, HostId, WorkspaceId};
use envforge_core::refusal::{Refusal, RefusalKind};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

/// Without an answer for this long, a command is sent again on the same stream.
const RESEND: Duration = Duration::from_secs(15);
/// A stream that said nothing for this long is dead: heartbeats come every two seconds.
const SILENCE: Duration = Duration::from_secs(10);
/// Largest message from a host, in bytes.
const MESSAGE_MAX: usize = 4 << 20;
/// Most claims on others' workspaces told to the ledger per stream.
const CLAIMS_MAX: usize = 20;

pub(crate) fn routes() -> axum::Router<App> {
    axum::Router::new()
        .route(REGISTER_PATH, post(register))
        .route(SECRETS_PATH, post(secrets))
        .route(EGRESS_PATH, post(egress))
        .route(STREAM_PATH, get(stream))
        .route(GIT_CREDENTIAL_PATH, post(git_credential))
        .route(GIT_REJECTED_PATH, post(git_rejected))
        .route(GIT_IDENTITY_PATH, post(git_identity))
        .route(GIT_SIGNATURE_PATH, post(git_signature))
}

async fn register(State(app): State<App>, Json(body): Json<Register>) -> Answer<Json<Registered>> {
    Ok(Json(hosts::ops::register(&app, &body.token).await?))
}

/// A host that showed its key.
struct KnownHost(HostId, OrgScope);

impl FromRequestParts<App> for KnownHost {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        match hosts::ops::authenticate(app, bearer(parts).unwrap_or_default()).await {
            Ok(Some((host, scope))) => Ok(Self(host, scope)),
            Ok(None) => {
                hosts::ops::refused_stranger(app, "host.key");
                let message = "this is not a registered host's key";
                Err(answer(Refusal::new(RefusalKind::Unauthenticated, "host.key", message)))
            }
            Err(fault) => Err(fault.into_response()),
        }
    }
}

async fn git_credential(
    State(app): State<App>,
    KnownHost(host, scope): KnownHost,
    Json(body): Json<AskGitCredential>,
) -> Answer<Json<GitCredential>> {
    Ok(Json(git::ops::issue(&app, host, scope, &body).await?))
}

async fn git_rejected(
    State(app): State<App>,
    KnownHost(host, scope): KnownHost,
    Json(body): Json<AskGitCredential>,
) -> Answer<Json<()>> {
    Ok(Json(git::ops::rejected(&app, host, scope, &body).await?))
}

async fn git_identity(
    State(app): State<App>,
    KnownHost(host, scope): KnownHost,
    Json(body): Json<AskGitIdentity>,
) -> Answer<Json<GitIdentity>> {
    Ok(Json(git_keys::ops::identity(&app, host, scope, &body).await?))
}

async fn git_signature(
    State(app): State<App>,
    KnownHost(host, scope): KnownHost,
    Json(body): Json<AskGitSignature>,
) -> Answer<Json<GitSignature>> {
    Ok(Json(git_keys::ops::sign(&app, host, scope, &body).await?))
}

async fn secrets(
    KnownHost(host, scope): KnownHost,
    State(app): State<App>,
    Json(asked): Json<AskSecrets>,
) -> Answer<Json<GivenSecrets>> {
    Ok(Json(ops::secrets(&app, host, scope, &asked).await?))
}

async fn egress(
    KnownHost(host, scope): KnownHost,
    State(app): State<App>,
    Json(asked): Json<AskEgress>,
) -> Answer<Json<GivenEgress>> {
    Ok(Json(ops::egress(&app, host, scope, &asked).await?))
}

async fn stream(KnownHost(host, scope): KnownHost, State(app): State<App>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(MESSAGE_MAX).on_upgrade(move |socket| async move {
        let cancel = app.cancel.clone();
        let held = Held { app, host, scope, generation: 0, sent: HashMap::new(), claims: HashSet::new() };
        tokio::select! {
            () = cancel.cancelled() => {}
            result = held.hold(socket) => match result {
                Ok(()) => tracing::info!(%host, "the host's control stream ended"),
                Err(fault) => tracing::warn!(%host, %fault, "the host's control stream broke, it will come again"),
            },
        }
    })
}

/// A stream while it is counted.
struct Counted(App);

impl Counted {
    fn new(app: &App) -> Self {
        app.metrics.host_streams.inc();
        Self(app.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.host_streams.dec();
    }
}

struct Held {
    app: App,
    host: HostId,
    scope: OrgScope,
    /// Raised by each stream of the host.
    generation: u64,
    /// When each open command was last sent on this stream.
    sent: HashMap<CommandId, Instant>,
    /// Workspaces that it reported on and that are not on it.
    claims: HashSet<WorkspaceId>,
}

type Sender = SplitSink<WebSocket, Message>;

async fn send(sender: &mut Sender, message: &ToHost) -> Answer<()> {
    let text = serde_json::to_string(message)?;
    sender.send(Message::Text(text.into())).await.map_err(|error| anyhow::Error::new(error).into())
}

async fn receive(receiver: &mut SplitStream<WebSocket>) -> Answer<Option<FromHost>> {
    loop {
        match tokio::time::timeout(SILENCE, receiver.next()).await {
            Err(_) => return Err(anyhow::anyhow!("no heartbeat for {SILENCE:?}").into()),
            Ok(None | Some(Ok(Message::Close(_)))) => return Ok(None),
            Ok(Some(Err(error))) => return Err(anyhow::Error::new(error).into()),
            Ok(Some(Ok(Message::Text(text)))) => return Ok(Some(storable::read(&text)?)),
            Ok(Some(Ok(_))) => {}
        }
    }
}

impl Held {
    async fn hold(mut self, socket: WebSocket) -> Answer<()> {
        let (mut sender, mut receiver) = socket.split();
        let Some(FromHost::Hello { version, machine }) = receive(&mut receiver).await? else {
            return Err(anyhow::anyhow!("a host must begin with its hello").into());
        };
        let mut nudges = self.app.bus.listen();
        let mut keys = self.app.signing_keys.watch();
        let (generation, welcome) = ops::begin(&self.app, self.host, self.scope, &machine).await?;
        self.generation = generation;
        tracing::info!(host = %self.host, version, generation, "a host's control stream began");
        let _counted = Counted::new(&self.app);
        let result = async {
            send(&mut sender, &welcome).await?;
            // Messages are read by their own task-like future, so a half-read one is never dropped by `select`.
            let (incoming, mut messages) = tokio::sync::mpsc::channel(64);
            let read = async {
                loop {
                    let message = receive(&mut receiver).await;
                    let ends = !matches!(message, Ok(Some(_)));
                    if incoming.send(message).await.is_err() || ends {
                        return std::future::pending::<()>().await;
                    }
                }
            };
            let work = async {
                let mut tick = tokio::time::interval(Duration::from_secs(1));
                let mut is_behind = false;
                loop {
                    tokio::select! {
                        message = messages.recv() => match message.transpose()?.flatten() {
                            Some(message) => self.taken(&mut sender, message).await?,
                            None => return Ok(()),
                        },
                        nudge = nudges.next() => match nudge {
                            Nudge::Commands { host } if host == self.host => self.send_commands(&mut sender).await?,
                            Nudge::Resync => self.send_commands(&mut sender).await?,
                            _ => {}
                        },
                        _ = tick.tick() => {
                            if std::mem::take(&mut is_behind) {
                                send(&mut sender, &self.welcome()?).await?;
                            }
                            self.send_commands(&mut sender).await?;
                        }
                        () = keys.next() => match self.welcome() {
                            Ok(again) => send(&mut sender, &again).await?,
                            // The only key left was read and is just being opened.
                            Err(_) => is_behind = true,
                        },
                    }
                }
            };
            tokio::select! {
                () = read => Ok(()),
                result = work => result,
            }
        }
        .await;
        ops::end(&self.app, self.host, self.scope, generation).await?;
        result
    }

    fn welcome(&self) -> Answer<ToHost> {
        ops::welcome(&self.app, self.host, self.scope, self.generation)
    }

    async fn send_commands(&mut self, sender: &mut Sender) -> Answer<()> {
        let open = ops::open_commands(&self.app, self.host, self.scope).await?;
        let now = Instant::now();
        self.sent.retain(|id, _| open.iter().any(|command| command.id == *id));
        for command in open {
            if self.sent.get(&command.id).is_none_or(|at| now.duration_since(*at) > RESEND) {
                self.sent.insert(command.id, now);
                send(sender, &ToHost::Command { command: Box::new(command) }).await?;
            }
        }
        Ok(())
    }

    async fn reported(&mut self, report: &Report) -> Answer<()> {
        if ops::reported(&self.app, self.host, self.scope, report).await? {
            return Ok(());
        }
        // Once per stream and workspace: a host that goes on and on must not fill the ledger.
        if self.claims.len() < CLAIMS_MAX && self.claims.insert(report.workspace) {
            tracing::warn!(host = %self.host, workspace = %report.workspace, "a host reported on a workspace that is not on it, nothing of it was taken in");
            ops::claimed(&self.app, self.host, self.scope, report.workspace).await?;
        }
        Ok(())
    }

    async fn taken(&mut self, sender: &mut Sender, message: FromHost) -> Answer<()> {
        match message {
            FromHost::Hello { .. } => Ok(()),
            FromHost::Answer { command, outcome } => {
                // One that can't be stored is asked for again, but not at once.
                let stored = ops::answered(&self.app, self.host, self.scope, command, &outcome).await;
                given_up(self.host, "answer", stored)
            }
            FromHost::Report { report } => {
                // One that can't be stored is acknowledged too: the next is whole again.
                let stored = self.reported(&report).await;
                given_up(self.host, "report", stored)?;
                send(sender, &ToHost::Acknowledge { workspace: report.workspace, sequence: report.sequence }).await
            }
            FromHost::Heartbeat { workspaces, tickets, trouble, memory, .. } => {
                for fault in tickets {
                    hosts::ops::refused(&self.app, self.host, self.scope, "host.ticket_refused", fault.code());
                }
                let (app, generation, trouble) = (&self.app, self.generation, trouble.as_ref());
                let stored = ops::heartbeat(app, self.host, self.scope, generation, workspaces, trouble, memory).await;
                given_up(self.host, "heartbeat", stored)
            }
        }
    }
}

/// Lets a message go that can't be stored for what it says; one that the database could not take now ends the stream,
/// so that the host says it again.
fn given_up(host: HostId, what: &str, stored: Answer<()>) -> Answer<()> {
    match stored {
        Err(fault) if !fault.is_transient() => {
            tracing::error!(%host, what, %fault, "a host's message could not be stored and is given up");
            Ok(())
        }
        stored => stored,
    }
}
