//! Which shell, and how to get there.

use super::socket::{self, Socket};
use super::terminal::Terminal;
use crate::context::{Context, UNREACHABLE};
use envforge_api::http::elevations::Elevation;
use envforge_api::http::terminal::{SESSION_OFFSET, SESSION_UNKNOWN, TerminalNotice};
use envforge_core::id::ElevationId;
use envforge_core::name::Slug;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::Secret;
use envforge_core::terminal::TerminalName;
use futures_util::StreamExt as _;
use std::time::Duration;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

/// How long a shell that is being prepared is waited for at first.
const PREPARE_MAX: Duration = Duration::from_mins(2);
/// How long anything else that passes is waited for at first.
const HOST_MAX: Duration = Duration::from_secs(10);
/// How long a server may take to go on with a terminal.
const RESUME_MAX: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Clone)]
pub(crate) struct Shell {
    pub(super) server: String,
    pub(super) key: Secret,
    pub(super) org: Slug,
    pub(super) workspace: Slug,
    /// Which of its terminals.
    pub(super) terminal: TerminalName,
    /// A root terminal, of this elevation: nothing of it outlives its connection.
    pub(super) elevation: Option<ElevationId>,
}

impl Shell {
    /// The main terminal of `workspace`. Asks the server for nothing.
    pub(crate) fn new(ctx: &Context<'_>, org: Slug, workspace: Slug) -> Result<Self, Refusal> {
        let (server, key, terminal) = (ctx.server.clone(), ctx.require_key()?, TerminalName::default());
        Ok(Self { server, key, org, workspace, terminal, elevation: None })
    }

    /// Another terminal of the same.
    pub(crate) fn terminal(self, terminal: TerminalName) -> Self {
        Self { terminal, ..self }
    }

    /// The root terminal of an elevation.
    pub(crate) fn root(ctx: &Context<'_>, org: Slug, elevation: &Elevation) -> Result<Self, Refusal> {
        let shell = Self::new(ctx, org, elevation.slug.clone())?;
        Ok(Self { elevation: Some(elevation.id), ..shell })
    }

    /// A terminal, as one that can be resumed if the server knows how.
    pub(super) async fn connect(&self, size: (u16, u16)) -> Result<Socket, Refusal> {
        self.open(size, if self.elevation.is_none() { "&resumable=true" } else { "" }).await
    }

    /// Goes on with a terminal of which `received` bytes of output came: the connection, and how many bytes of input the
    /// server has. Nothing when the server does not keep it.
    pub(super) async fn resume(
        &self,
        size: (u16, u16),
        token: &Secret,
        received: u64,
    ) -> Result<Option<(Socket, u64)>, Refusal> {
        let opened = self.open(size, &format!("&resume={}&received={received}", token.expose())).await;
        let mut socket = match opened {
            Err(refusal) if [SESSION_UNKNOWN, SESSION_OFFSET].contains(&refusal.code.as_str()) => return Ok(None),
            opened => opened?,
        };
        let first = async {
            loop {
                match socket.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    first => return first,
                }
            }
        };
        match tokio::time::timeout(RESUME_MAX, first).await {
            Ok(Some(Ok(Message::Text(text)))) => Ok(match serde_json::from_str(&text) {
                Ok(TerminalNotice::Resumed { received }) => Some((socket, received)),
                _ => None,
            }),
            // A server that does not know of resuming opened another client's terminal.
            Ok(Some(Ok(Message::Binary(_)))) => Ok(None),
            _ => Err(Refusal::unavailable(UNREACHABLE, "the server did not go on with the terminal")),
        }
    }

    async fn open(&self, (cols, rows): (u16, u16), further: &str) -> Result<Socket, Refusal> {
        let of = match self.elevation {
            Some(elevation) => format!("elevations/{elevation}/terminal?"),
            None if self.terminal.is_main() => format!("workspaces/{}/terminal?", self.workspace),
            None => format!("workspaces/{}/terminal?terminal={}&", self.workspace, self.terminal),
        };
        let path = format!("/v1/orgs/{}/{of}cols={cols}&rows={rows}{further}", self.org);
        Box::pin(socket::connect(&self.server, &path, &self.key)).await
    }

    /// The first connection: a shell that is still being prepared is waited for, anything else is an answer.
    pub(super) async fn connect_first(&self, terminal: &Terminal) -> Result<Socket, Refusal> {
        let begun = Instant::now();
        loop {
            match self.connect(terminal.size()).await {
                Err(refusal) if begun.elapsed() < patience(&refusal) => {
                    let pause = Duration::from_secs(u64::from(refusal.retry_after.unwrap_or(1).clamp(1, 5)));
                    tokio::time::sleep(pause).await;
                }
                answer => return answer,
            }
        }
    }
}

/// How long a first refusal is met by asking again: preparing a shell may clone a repository, a host that is just
/// coming back takes seconds, and nobody waits for a server that does not answer.
fn patience(refusal: &Refusal) -> Duration {
    match (refusal.code.as_str(), refusal.kind) {
        ("shell.waking", _) => PREPARE_MAX,
        (UNREACHABLE, _) => Duration::ZERO,
        (_, RefusalKind::Unavailable) => HOST_MAX,
        _ => Duration::ZERO,
    }
}
