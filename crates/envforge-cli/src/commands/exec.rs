//! `envforge exec -- command`: a command in the shell layer, as if it ran here.
//!
//! Its streams are this program's, its exit code the exit code, and the signals this program gets are passed on. Unlike a
//! run it is nothing without its client: when this program ends or the connection is lost, the command is ended, so it can
//! be used where a local command could. Nothing wakes for it.
//!
//! Each stream is held back by its reader. Input is read only as far as the other side has room ([`INPUT_WINDOW`]), so that
//! Ctrl-C never waits behind it.

use super::attach::needs_terminal;
use crate::args::Exec;
use crate::attach::screen::Screen;
use crate::attach::socket::{self, Socket};
use crate::attach::terminal::{RawMode, Terminal};
use crate::context::Context;
use crate::exit::ExitCode;
use crate::lines::{Splitter, Stream};
use bytes::Bytes;
use envforge_api::exec::{DATA_MAX, End, FromCommand, INPUT_WINDOW, Signal, Size, Start, ToCommand};
use envforge_core::refusal::{Refusal, RefusalKind};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{Signal as Heard, SignalKind, signal};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;

/// How often the other side is told that this one is there.
const PING_EVERY: Duration = Duration::from_secs(10);
/// Without a word for this long, the connection counts as lost.
const DEAD_AFTER: Duration = Duration::from_mins(1);

/// Runs a command in the shell layer.
pub(crate) async fn exec(ctx: &mut Context<'_>, arguments: Exec) -> Result<ExitCode, Refusal> {
    if arguments.tty {
        needs_terminal(ctx)?;
    }
    let workspace = ctx.workspace(None)?;
    let org = ctx.org().await?;
    let terminal = if arguments.tty { Some(Terminal::open()?) } else { None };
    let start = Start { argv: arguments.argv, terminal: terminal.as_ref().map(size) };
    start.check()?;
    let path = format!("/v1/orgs/{org}/workspaces/{workspace}/exec");
    let (server, key) = (ctx.server.clone(), ctx.require_key()?);
    let connecting = Box::pin(socket::connect(&server, &path, &key));
    let mut socket = ctx.printer.slow("waiting for the shell", connecting).await?;
    send(&mut socket, ToCommand::Start(start)).await.map_err(|()| lost())?;
    let mut signals = Signals::listen().map_err(|error| {
        Refusal::new(RefusalKind::Internal, "exec.signals", format!("signals can't be received: {error}"))
    })?;
    let here = Here { ctx, terminal, screen: RefCell::default(), lines: RefCell::default() };
    let raw =
        here.terminal.as_ref().map(|_| RawMode::enter()).transpose().map_err(|error| {
            Refusal::conflict("attach.no_terminal", format!("the terminal can't be made raw: {error}"))
        })?;
    let over = pass(&here, socket, &mut signals).await;
    here.leave().await;
    drop(raw);
    match over {
        Over::Ended(end) => ended(ctx, end),
        Over::Lost => Err(lost()),
        Over::ReaderGone => Ok(ExitCode::Command(141)),
    }
}

fn ended(ctx: &Context<'_>, end: End) -> Result<ExitCode, Refusal> {
    if ctx.printer.is_json() && !matches!(end, End::Refused { .. }) {
        ctx.printer.value(&json!({ "type": "exec", "end": end }));
    }
    match end {
        End::Exited { code } => Ok(ExitCode::Command(u8::try_from(code).unwrap_or(255))),
        // As a shell would say it.
        End::Killed { signal } => Ok(ExitCode::Command(u8::try_from(128 + signal).unwrap_or(255))),
        End::Refused { refusal } => Err(refusal),
        End::Unseen { reason } => {
            Err(Refusal::unavailable("exec.unseen", format!("the end of the command was not seen: {reason}")))
        }
    }
}

fn lost() -> Refusal {
    Refusal::unavailable("exec.lost", "the connection was lost, which ends the command")
        .hint("what should outlive it: `envforge run`, or a terminal")
}

fn size(terminal: &Terminal) -> Size {
    let (cols, rows) = terminal.size();
    Size { cols, rows }
}

fn message(frame: &ToCommand) -> Message {
    Message::Binary(Bytes::from(frame.encode()))
}

async fn send(socket: &mut Socket, frame: ToCommand) -> Result<(), ()> {
    socket.send(message(&frame)).await.map_err(|_| ())
}

/// What is passed on.
struct Signals {
    interrupt: Heard,
    quit: Heard,
    terminate: Heard,
    hangup: Heard,
    resized: Heard,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            resized: signal(SignalKind::window_change())?,
        })
    }

    /// The next, as a frame.
    async fn next(&mut self, terminal: Option<&Terminal>) -> ToCommand {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return ToCommand::Signal(Signal::Interrupt),
                _ = self.quit.recv() => return ToCommand::Signal(Signal::Quit),
                _ = self.terminate.recv() => return ToCommand::Signal(Signal::Terminate),
                _ = self.hangup.recv() => return ToCommand::Signal(Signal::Hangup),
                _ = self.resized.recv() => if let Some(terminal) = terminal {
                    return ToCommand::Resize(size(terminal));
                },
            }
        }
    }
}

/// Why it is over.
enum Over {
    Ended(End),
    Lost,
    /// Nobody reads what the command says.
    ReaderGone,
}

/// This side of the streams.
struct Here<'a> {
    ctx: &'a Context<'a>,
    terminal: Option<Terminal>,
    screen: RefCell<Screen>,
    /// What of a line is there, of both streams, for JSON.
    lines: RefCell<[Splitter; 2]>,
}

impl Here<'_> {
    async fn write(&self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        if let Some(terminal) = &self.terminal {
            self.screen.borrow_mut().push(bytes);
            return terminal.write_all(bytes).await;
        }
        if self.ctx.printer.is_json() {
            let at = usize::from(stream == Stream::Stderr);
            let whole = self.lines.borrow_mut()[at].push(bytes);
            for line in &whole {
                self.line(stream, line);
            }
            return if self.ctx.printer.reader_gone() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) };
        }
        match stream {
            Stream::Stdout => {
                let mut out = tokio::io::stdout();
                out.write_all(bytes).await?;
                out.flush().await
            }
            Stream::Stderr => {
                let mut out = tokio::io::stderr();
                out.write_all(bytes).await?;
                out.flush().await
            }
        }
    }

    fn line(&self, stream: Stream, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        self.ctx.printer.value(&json!({ "type": "line", "stream": stream.as_str(), "text": text }));
    }

    /// Gives the screen back, and says what of a line was left.
    async fn leave(&self) {
        if let Some(terminal) = &self.terminal {
            let undo = self.screen.borrow().undo();
            let _ = tokio::time::timeout(Duration::from_secs(1), terminal.write_all(&undo)).await;
        }
        let lines = self.lines.replace(Default::default());
        for (splitter, stream) in lines.into_iter().zip([Stream::Stdout, Stream::Stderr]) {
            if let Some(line) = splitter.finish() {
                self.line(stream, &line);
            }
        }
    }
}

/// Passes the streams on until the command has ended, or can't be heard any more.
async fn pass(here: &Here<'_>, socket: Socket, signals: &mut Signals) -> Over {
    let (to, mut from) = socket.split();
    let to = tokio::sync::Mutex::new(to);
    let (room, more) = (Cell::new(INPUT_WINDOW), Notify::new());
    tokio::select! {
        biased;
        over = output(here, &mut from, &room, &more) => over,
        () = input(here, &to, &room, &more) => Over::Lost,
        () = beside(here, &to, signals) => Over::Lost,
    }
}

type Sink = tokio::sync::Mutex<SplitSink<Socket, Message>>;

async fn output(here: &Here<'_>, from: &mut SplitStream<Socket>, room: &Cell<usize>, more: &Notify) -> Over {
    loop {
        let Ok(Some(Ok(message))) = tokio::time::timeout(DEAD_AFTER, from.next()).await else { return Over::Lost };
        let Message::Binary(frame) = message else { continue };
        let written = match FromCommand::decode(&frame) {
            Ok(FromCommand::Output(bytes)) => here.write(Stream::Stdout, &bytes).await,
            Ok(FromCommand::Errors(bytes)) => here.write(Stream::Stderr, &bytes).await,
            Ok(FromCommand::Taken(bytes)) => {
                room.set((room.get() + bytes as usize).min(INPUT_WINDOW));
                more.notify_one();
                Ok(())
            }
            Ok(FromCommand::Ended(end)) => return Over::Ended(end),
            Err(_) => return Over::Lost,
        };
        if written.is_err() {
            return Over::ReaderGone;
        }
    }
}

/// Passes input on; returns when the connection takes no more.
async fn input(here: &Here<'_>, to: &Sink, room: &Cell<usize>, more: &Notify) {
    let (mut stdin, mut buffer) = (tokio::io::stdin(), vec![0_u8; DATA_MAX]);
    loop {
        while room.get() == 0 {
            more.notified().await;
        }
        let most = room.get().min(DATA_MAX);
        // A stdin that can't be read has ended.
        let read = match &here.terminal {
            Some(terminal) => terminal.read(&mut buffer[..most]).await,
            None => stdin.read(&mut buffer[..most]).await,
        };
        let length = read.unwrap_or(0);
        let frame = if length == 0 { ToCommand::InputEnded } else { ToCommand::Input(buffer[..length].to_vec()) };
        room.set(room.get() - length);
        if to.lock().await.send(message(&frame)).await.is_err() {
            // What the command says last may still be on its way.
            return std::future::pending().await;
        }
        if length == 0 {
            return std::future::pending().await;
        }
    }
}

/// Passes signals on, and says now and then that somebody is here.
async fn beside(here: &Here<'_>, to: &Sink, signals: &mut Signals) {
    let mut alive = tokio::time::interval(PING_EVERY);
    loop {
        let next = tokio::select! {
            frame = signals.next(here.terminal.as_ref()) => message(&frame),
            _ = alive.tick() => Message::Ping(Bytes::new()),
        };
        if to.lock().await.send(next).await.is_err() {
            return std::future::pending().await;
        }
    }
}
