//! Attached to a shell: this terminal on one side, the workspace's on the other, bytes in between.
//!
//! ```text
//!   keys ──► Terminal ──► binary frames ──► server ──► host ──► tmux
//!   screen ◄─ Terminal ◄─ binary frames ◄──────────────────────── │
//! ```
//!
//! The two directions never wait for each other: a program that floods the screen does not delay a key, and a
//! paste nobody reads does not stop the output. Echo is the remote side's; nothing is printed in advance and
//! nothing is held back.
//!
//! The shell is not here, so losing the connection loses nothing: it is made again, for as long as it takes, and
//! the remote side redraws the screen. Until then the last line says so and Ctrl-C gives up. Whatever ends it,
//! the terminal is given back as it was ([`terminal::RawMode`], [`screen::Screen::undo`]). How the services fare
//! meanwhile is in the window's title, the one place that belongs to no program on the screen.

pub(crate) mod screen;
pub(crate) mod socket;
pub(crate) mod terminal;
mod title;

use crate::context::{Context, UNREACHABLE};
use crate::exit::ExitCode;
use crate::follow::Backoff;
use crate::printer::printable;
use bytes::Bytes;
use envforge_api::http::elevations::Elevation;
use envforge_api::http::terminal::{TerminalControl, TerminalNotice};
use envforge_core::id::ElevationId;
use envforge_core::name::Slug;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::Secret;
use envforge_core::terminal::TerminalName;
use futures_util::{SinkExt as _, StreamExt as _};
use screen::Screen;
use socket::Socket;
use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;
use terminal::{RawMode, Terminal};
use title::Title;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// How often the other side is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(10);
/// Without a sign of life for this long, the connection counts as lost.
const DEAD_AFTER: Duration = Duration::from_secs(25);
/// How long a shell that is being prepared is waited for at first.
const PREPARE_MAX: Duration = Duration::from_mins(2);
/// How long anything else that passes is waited for at first.
const HOST_MAX: Duration = Duration::from_secs(10);
/// Ctrl-C, as it arrives in raw mode.
const CTRL_C: u8 = 3;

/// Which shell, and how to get there.
#[derive(Clone)]
pub(crate) struct Shell {
    server: String,
    key: Secret,
    org: Slug,
    workspace: Slug,
    /// Which of its terminals.
    terminal: TerminalName,
    /// A root terminal, of this elevation: nothing of it outlives its connection.
    elevation: Option<ElevationId>,
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

    async fn connect(&self, (cols, rows): (u16, u16)) -> Result<Socket, Refusal> {
        let of = match self.elevation {
            Some(elevation) => format!("elevations/{elevation}/terminal?"),
            None if self.terminal.is_main() => format!("workspaces/{}/terminal?", self.workspace),
            None => format!("workspaces/{}/terminal?terminal={}&", self.workspace, self.terminal),
        };
        let path = format!("/v1/orgs/{}/{of}cols={cols}&rows={rows}", self.org);
        Box::pin(socket::connect(&self.server, &path, &self.key)).await
    }

    /// The first connection: a shell that is still being prepared is waited for, anything else is an answer.
    async fn connect_first(&self, terminal: &Terminal) -> Result<Socket, Refusal> {
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

/// The signals that matter while attached.
struct Signals {
    resized: Signal,
    continued: Signal,
    ended: [Signal; 3],
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            resized: signal(SignalKind::window_change())?,
            continued: signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
            ended: [signal(SignalKind::terminate())?, signal(SignalKind::hangup())?, signal(SignalKind::interrupt())?],
        })
    }
}

async fn any(signals: &mut [Signal; 3]) {
    let [a, b, c] = signals;
    tokio::select! {
        _ = a.recv() => {}
        _ = b.recv() => {}
        _ = c.recv() => {}
    }
}

/// Why one connection is over.
#[derive(Debug)]
enum Over {
    /// The terminal on the other side ended, or this client was detached.
    Ended(String),
    /// The connection was lost; the shell lives.
    Lost,
    /// This program was told to end.
    Signalled,
    /// This terminal is gone.
    TerminalGone,
}

/// Attaches until the person detaches, the shell ends or the server refuses.
pub(crate) async fn attach(ctx: &Context<'_>, shell: &Shell) -> Result<ExitCode, Refusal> {
    let terminal = Terminal::open()?;
    let cant_listen =
        |error| Refusal::new(RefusalKind::Internal, "attach.signals", format!("signals can't be received: {error}"));
    let mut signals = Signals::listen().map_err(cant_listen)?;
    let socket = ctx.printer.slow("waiting for the shell", shell.connect_first(&terminal)).await?;
    let raw = RawMode::enter()
        .map_err(|error| Refusal::conflict("attach.no_terminal", format!("the terminal can't be made raw: {error}")))?;
    let mut attached = Attached {
        terminal,
        screen: RefCell::new(Screen::default()),
        writing: Cell::new(false),
        title: Title::follow(shell),
    };
    let over = attached.stay(shell, socket, &mut signals).await;
    attached.leave().await;
    drop(raw);
    let name = &shell.workspace;
    match over? {
        Over::Ended(reason) => {
            let reason = if reason.is_empty() { String::new() } else { format!(": {}", printable(&reason)) };
            ctx.printer.note(&format!("[detached from {name}{reason}]"));
            Ok(ExitCode::Ok)
        }
        Over::Lost if shell.elevation.is_some() => {
            ctx.printer.note("[connection lost; a root terminal ends with it: `envforge root shell` opens another]");
            Ok(ExitCode::Unavailable)
        }
        Over::Lost => {
            let which = if shell.terminal.is_main() { String::new() } else { format!(" -t {}", shell.terminal) };
            let again = format!("`envforge attach {name}{which}`");
            ctx.printer.note(&format!("[gave up reconnecting to {name}; its shell goes on: {again}]"));
            Ok(ExitCode::Unavailable)
        }
        Over::Signalled | Over::TerminalGone => Ok(ExitCode::Failed),
    }
}

struct Attached {
    terminal: Terminal,
    screen: RefCell<Screen>,
    /// Whether output is half written: nothing else may be written then.
    writing: Cell<bool>,
    title: Title,
}

impl Attached {
    /// One connection after another, until it is over for good.
    async fn stay(&mut self, shell: &Shell, first: Socket, signals: &mut Signals) -> Result<Over, Refusal> {
        let mut socket = first;
        loop {
            match self.pass(socket, signals).await {
                Over::Lost if shell.elevation.is_none() => {}
                over => return Ok(over),
            }
            socket = match self.reconnect(shell, signals).await? {
                Ok(socket) => socket,
                Err(over) => return Ok(over),
            };
            let undo = self.screen.replace(Screen::default()).undo();
            if self.terminal.write_all(&undo).await.is_err() {
                return Ok(Over::TerminalGone);
            }
        }
    }

    /// Passes bytes both ways over one connection.
    async fn pass(&mut self, socket: Socket, signals: &mut Signals) -> Over {
        let (mut to, mut from) = socket.split();
        let heard = Cell::new(Instant::now());
        let (terminal, screen, writing, title) = (&self.terminal, &self.screen, &self.writing, &mut self.title);
        let input = async {
            let mut buffer = vec![0_u8; 16 * 1024];
            let mut alive = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
            loop {
                let message = tokio::select! {
                    biased;
                    read = terminal.read(&mut buffer) => match read {
                        Ok(length @ 1..) => Message::Binary(Bytes::copy_from_slice(&buffer[..length])),
                        Ok(0) | Err(_) => return Over::TerminalGone,
                    },
                    _ = signals.resized.recv() => resize(terminal.size()),
                    _ = signals.continued.recv() => {
                        RawMode::renew();
                        resize(terminal.size())
                    }
                    () = any(&mut signals.ended) => return Over::Signalled,
                    _ = alive.tick() => {
                        if heard.get().elapsed() > DEAD_AFTER {
                            return Over::Lost;
                        }
                        Message::Ping(Bytes::new())
                    }
                };
                if to.send(message).await.is_err() {
                    return Over::Lost;
                }
            }
        };
        let output = async {
            while let Some(Ok(message)) = from.next().await {
                heard.set(Instant::now());
                match message {
                    Message::Binary(bytes) => {
                        writing.set(true);
                        screen.borrow_mut().push(&bytes);
                        if terminal.write_all(&bytes).await.is_err() {
                            return Over::TerminalGone;
                        }
                        writing.set(false);
                    }
                    Message::Text(text) => {
                        if let Ok(TerminalNotice::Ended { reason }) = serde_json::from_str(&text) {
                            return Over::Ended(reason);
                        }
                    }
                    Message::Close(Some(frame)) if matches!(frame.code, CloseCode::Normal | CloseCode::Policy) => {
                        return Over::Ended(frame.reason.to_string());
                    }
                    Message::Close(_) => return Over::Lost,
                    Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                }
            }
            Over::Lost
        };
        let titles = async {
            loop {
                let sequence = title.changed().await;
                while writing.get() || !screen.borrow().is_between() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                writing.set(true);
                let written = terminal.write_all(&sequence).await;
                writing.set(false);
                if written.is_err() {
                    return Over::TerminalGone;
                }
            }
        };
        let over = tokio::select! {
            biased;
            over = output => over,
            over = input => over,
            over = titles => over,
        };
        self.writing.set(false);
        over
    }

    /// Connects again; Ctrl-C gives up. The outer error is the server's final no.
    async fn reconnect(&self, shell: &Shell, signals: &mut Signals) -> Result<Result<Socket, Over>, Refusal> {
        let mut backoff = Backoff::default();
        let mut buffer = [0_u8; 1024];
        loop {
            let pause = backoff.pause();
            self.say("connection lost, reconnecting; the shell goes on (Ctrl-C gives up)").await;
            let attempt = async {
                tokio::time::sleep(pause).await;
                shell.connect(self.terminal.size()).await
            };
            let mut attempt = std::pin::pin!(attempt);
            let answer = loop {
                tokio::select! {
                    answer = &mut attempt => break answer,
                    read = self.terminal.read(&mut buffer) => match read {
                        Ok(length @ 1..) if !buffer[..length].contains(&CTRL_C) => {}
                        Ok(1..) => return Ok(Err(Over::Lost)),
                        _ => return Ok(Err(Over::TerminalGone)),
                    },
                    _ = signals.resized.recv() => {}
                    _ = signals.continued.recv() => RawMode::renew(),
                    () = any(&mut signals.ended) => return Ok(Err(Over::Signalled)),
                }
            };
            match answer {
                Ok(socket) => return Ok(Ok(socket)),
                Err(refusal) if refusal.kind == RefusalKind::Unavailable => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// Writes on the last line, and puts the cursor back.
    async fn say(&self, text: &str) {
        let (cols, rows) = self.terminal.size();
        let text: String = text.chars().take(usize::from(cols).saturating_sub(2)).collect();
        // Whatever sequence the lost connection left half said is cancelled first.
        let cancel = if self.screen.borrow().is_between() { "" } else { "\x18" };
        let line = format!("{cancel}\x1b7\x1b[{rows};1H\x1b[0;7m {text} \x1b[0m\x1b[K\x1b8");
        let _ = self.terminal.write_all(line.as_bytes()).await;
    }

    /// Gives the screen back. A terminal that takes no more output is not waited for.
    async fn leave(&self) {
        let mut undo = self.screen.borrow().undo();
        undo.extend_from_slice(&self.title.restore());
        let _ = tokio::time::timeout(Duration::from_secs(1), self.terminal.write_all(&undo)).await;
    }
}

fn resize((cols, rows): (u16, u16)) -> Message {
    let control = TerminalControl::Resize { cols, rows };
    Message::Text(serde_json::to_string(&control).expect("plain data").into())
}
