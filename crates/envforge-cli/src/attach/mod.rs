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
//! The shell is not here, so losing the connection loses nothing: it is made again, for as long as it takes. Within a
//! minute the terminal goes on where it was, with what was typed meanwhile ([`session`]); later the remote side redraws the
//! screen ([`again`]). Until then the last line says so and Ctrl-C gives up. Whatever ends it, the terminal is given back
//! as it was ([`terminal::RawMode`], [`screen::Screen::undo`]). How the services fare meanwhile is in the
//! window's title, the one place that belongs to no program on the screen.

mod again;
mod pass;
pub(crate) mod screen;
mod session;
mod shell;
pub(crate) mod socket;
pub(crate) mod terminal;
mod title;

use crate::context::Context;
use crate::exit::ExitCode;
use crate::printer::printable;
use again::Again;
use bytes::Bytes;
use envforge_core::refusal::{Refusal, RefusalKind};
use screen::Screen;
use session::Session;
pub(crate) use shell::Shell;
use socket::Socket;
use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;
use terminal::{RawMode, Terminal};
use title::Title;
use tokio::signal::unix::{Signal, SignalKind, signal};

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
        rest: RefCell::new(Bytes::new()),
        session: RefCell::new(if shell.elevation.is_none() { Session::asked() } else { Session::plain() }),
        to_say: Cell::new(None),
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
    /// Output that came and is not written yet.
    rest: RefCell<Bytes>,
    session: RefCell<Session>,
    /// What attaching anew may have cost.
    to_say: Cell<Option<&'static str>>,
    title: Title,
}

impl Attached {
    /// One connection after another, until it is over for good.
    async fn stay(&mut self, shell: &Shell, first: Socket, signals: &mut Signals) -> Result<Over, Refusal> {
        let (mut socket, mut begun) = (first, Vec::new());
        loop {
            match self.pass(socket, begun, signals).await {
                Over::Lost if shell.elevation.is_none() => {}
                over => return Ok(over),
            }
            (socket, begun) = match self.reconnect(shell, signals).await? {
                Again::Resumed(socket, input) => (socket, input),
                Again::Anew(socket) => (socket, Vec::new()),
                Again::Over(over) => return Ok(over),
            };
        }
    }

    /// Gives the screen back. A terminal that takes no more output is not waited for.
    async fn leave(&self) {
        let mut undo = self.screen.borrow().undo();
        undo.extend_from_slice(&self.title.restore());
        let _ = tokio::time::timeout(Duration::from_secs(1), self.terminal.write_all(&undo)).await;
    }
}
