//! The control stream: one held WebSocket to the server, made again whenever it breaks.
//!
//! ```text
//!   connect ─► Hello ─► Welcome ─► open: commands in; answers, reports, heartbeats out ─► broken ─► pause ─► connect
//! ```
//!
//! A host that is welcomed as another, or into another org, than it registered with hangs up: it obeys one org for as
//! long as it lives. The pause grows from 50 ms to 2 s and starts over once a stream was open.

pub(crate) mod outbox;

use crate::ctx::HostContext;
use crate::faults::point;
use crate::sys::memory;
use crate::uplink::Uplinks;
use crate::workspace::registry::Workspaces;
use envforge_api::client::Address;
use envforge_api::host::{FromHost, HEARTBEAT_SECONDS, Machine, STREAM_PATH, ToHost};
use futures_util::{SinkExt as _, StreamExt as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long the server may take to welcome.
const WELCOME_LIMIT: Duration = Duration::from_secs(10);

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("{0}")]
    Connect(String),
    #[error("{0}")]
    Broken(#[from] WsError),
    #[error("the server closed the stream")]
    Closed,
    #[error("the server did not welcome this host within {} s", WELCOME_LIMIT.as_secs())]
    NotWelcomed,
    #[error("the server takes this host for another, or for another org's")]
    WrongHost,
    #[error("{0}")]
    Unreadable(String),
    #[error("a new pass for the uplinks is needed")]
    PassExpired,
}

/// What a stream needs.
pub(crate) struct Stream {
    pub(crate) ctx: Arc<HostContext>,
    pub(crate) workspaces: Arc<Workspaces>,
    pub(crate) uplinks: Arc<Uplinks>,
    pub(crate) machine: Machine,
}

impl Stream {
    /// Holds the stream until the daemon ends.
    pub(crate) async fn hold(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let mut was_open = false;
            let ended = tokio::select! {
                ended = self.once(&mut was_open) => ended,
                () = self.ctx.tasks.cancelled() => return,
            };
            if was_open {
                pause = FIRST_PAUSE;
            }
            match ended {
                Err(error @ StreamError::WrongHost) => tracing::error!(%error, "control stream refused"),
                Err(error) if was_open => tracing::warn!(%error, "control stream lost"),
                Err(error) => tracing::debug!(%error, "control stream not open yet"),
                Ok(()) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.ctx.tasks.cancelled() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn once(&self, was_open: &mut bool) -> Result<(), StreamError> {
        let target = match &self.ctx.config.server {
            Address::Socket(_) => format!("ws://localhost{STREAM_PATH}"),
            Address::Url(url) => format!("{}{STREAM_PATH}", url.replacen("http", "ws", 1).trim_end_matches('/')),
        };
        let mut request = target.into_client_request()?;
        let bearer = format!("Bearer {}", self.ctx.identity.key.expose());
        let mut value =
            http::HeaderValue::from_str(&bearer).map_err(|error| StreamError::Connect(error.to_string()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(http::header::AUTHORIZATION, value);
        match &self.ctx.config.server {
            Address::Socket(path) => {
                let socket = tokio::net::UnixStream::connect(path)
                    .await
                    .map_err(|error| StreamError::Connect(format!("{}: {error}", path.display())))?;
                let (stream, _) = tokio_tungstenite::client_async(request, socket).await?;
                self.speak(stream, was_open).await
            }
            Address::Url(_) => {
                let (stream, _) = tokio_tungstenite::connect_async(request).await?;
                self.speak(stream, was_open).await
            }
        }
    }

    async fn speak<S>(&self, mut socket: WebSocketStream<S>, was_open: &mut bool) -> Result<(), StreamError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // Swap may be added at any time.
        let swap = memory::read(&self.ctx.config.proc).ok().map(|memory| memory.swap);
        let machine = Machine { swap, ..self.machine.clone() };
        let hello = FromHost::Hello { version: env!("CARGO_PKG_VERSION").to_owned(), machine };
        socket.send(text(&hello)?).await?;
        let first = tokio::time::timeout(WELCOME_LIMIT, next(&mut socket)).await;
        let welcome = first.map_err(|_| StreamError::NotWelcomed)??;
        if !matches!(welcome, ToHost::Welcome { .. }) {
            return Err(StreamError::NotWelcomed);
        }
        self.welcomed(welcome)?;
        *was_open = true;
        let (connection, outgoing) = self.ctx.outbox.open();
        tracing::info!(host = %self.ctx.identity.host, "control stream open");
        self.workspaces.connected();
        let ended = self.exchange(&mut socket, outgoing).await;
        self.ctx.outbox.close(connection);
        ended
    }

    async fn exchange<S>(
        &self,
        socket: &mut WebSocketStream<S>,
        mut outgoing: mpsc::UnboundedReceiver<FromHost>,
    ) -> Result<(), StreamError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            tokio::select! {
                incoming = next(socket) => self.received(incoming?)?,
                Some(message) = outgoing.recv() => {
                    let (mut next, mut reported, mut answered) = (Some(message), false, false);
                    while let Some(message) = next {
                        reported |= matches!(message, FromHost::Report { .. });
                        answered |= matches!(message, FromHost::Answer { .. });
                        socket.feed(text(&message)?).await?;
                        next = outgoing.try_recv().ok();
                    }
                    socket.flush().await?;
                    if reported {
                        point("report.sent");
                    }
                    if answered {
                        point("answer.sent");
                    }
                }
                () = self.uplinks.pass_needed() => return Err(StreamError::PassExpired),
            }
        }
    }

    fn received(&self, message: ToHost) -> Result<(), StreamError> {
        match message {
            ToHost::Welcome { .. } => self.welcomed(message),
            ToHost::Command { command } => {
                self.workspaces.command(*command);
                Ok(())
            }
            ToHost::Acknowledge { workspace, sequence } => {
                self.workspaces.acknowledge(workspace, sequence);
                Ok(())
            }
        }
    }

    fn welcomed(&self, message: ToHost) -> Result<(), StreamError> {
        let ToHost::Welcome { org, host, host_generation, keys, uplinks } = message else { return Ok(()) };
        if org != self.ctx.identity.org || host != self.ctx.identity.host {
            return Err(StreamError::WrongHost);
        }
        self.ctx.generation.store(host_generation, Ordering::Relaxed);
        self.uplinks.welcomed(host_generation, &keys, uplinks);
        Ok(())
    }
}

fn text(message: &FromHost) -> Result<Message, StreamError> {
    serde_json::to_string(message).map(Message::text).map_err(|error| StreamError::Unreadable(error.to_string()))
}

/// The next message; what a newer server says and this host does not know is skipped.
async fn next<S>(socket: &mut WebSocketStream<S>) -> Result<ToHost, StreamError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let Some(message) = socket.next().await else { return Err(StreamError::Closed) };
        match message? {
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(message) => return Ok(message),
                Err(error) => tracing::warn!(%error, "control stream: a message was not understood"),
            },
            Message::Close(_) => return Err(StreamError::Closed),
            _ => {}
        }
    }
}

/// Tells the server every other second that the host lives, and what each running workspace does.
pub(crate) async fn heartbeats(ctx: Arc<HostContext>, workspaces: Arc<Workspaces>, uplinks: Arc<Uplinks>) {
    let mut beat = tokio::time::interval(Duration::from_secs(HEARTBEAT_SECONDS));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = ctx.tasks.cancelled() => return,
        }
        let at = ctx.now();
        let workspaces = workspaces.pulses(at);
        // Kept for as long as nobody listens.
        let tickets = ctx.outbox.connection().map(|_| uplinks.take_faults()).unwrap_or_default();
        let (trouble, memory) = (ctx.disk.trouble(), memory::reading(&ctx.config.proc).ok());
        ctx.outbox.send(FromHost::Heartbeat { at, workspaces, tickets, trouble, memory });
    }
}
