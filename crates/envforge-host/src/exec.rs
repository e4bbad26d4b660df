//! One command in the shell layer: for as long as its client is there, and no longer.
//!
//! ```text
//!   socket ─► frames ─┬─ input ─► window ─► stdin ─┐
//!                     └─ signals, sizes ──────────►│ the command, a session of its own
//!   socket ◄─ frames ◄─ stdout, stderr, its end ◄──┘
//! ```
//!
//! It is started by the shell's init with the shell's environment and limits; no shell reads its arguments, and the runtime
//! sleeps on. Unlike a terminal's, its bytes pass through the daemon, because three streams and an end go through one
//! socket ([`envforge_api::exec`]); so it ends with the daemon, and one that was left by a daemon that was killed is ended by
//! the next ([`clear`]).
//!
//! What must stay true:
//!
//! - Whatever the command itself wrote before it ended is told before its end. What it left in the background runs on, and is
//!   not waited for.
//! - A client that is gone, or does not keep to the frames, ends the command with everything in its session.
//! - Nothing here holds more than [`INPUT_WINDOW`] bytes of input and a few frames of output.
//! - A client that reads nothing holds back its command, and never the daemon's end.

use crate::ctx::HostContext;
use crate::engines::inside;
use crate::init::client::{ClientError, InitClient};
use crate::init::protocol::{ProcessState, Program, RefusalCode, SandboxState, Spawn, TerminalSize};
use crate::sys::watch::{watch, write_all};
use crate::terminal;
use crate::workspace::view::View;
use envforge_api::exec::{DATA_MAX, End, Frames, FromCommand, INPUT_WINDOW, Signal, Start, ToCommand, delimited};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::ticket::Person;
use rustix::io::Errno;
use rustix::termios::Winsize;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// Names of commands' processes begin so.
const PREFIX: &str = "exec.";
/// Most commands of a workspace at once.
const AT_ONCE: usize = 32;
/// How long a client may take to say what is to run.
const START_LIMIT: Duration = Duration::from_secs(10);
/// What a command whose client is gone has between TERM and KILL.
const GRACE: Duration = Duration::from_secs(2);
/// How long the init may take to tell how a command ended.
const REAP_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks whether it can.
const REAP_PAUSE: Duration = Duration::from_millis(2);
/// How long a client has to read what was said when the daemon ends.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Frames on their way to the client.
const FRAMES: usize = 4;
/// What ends the input of a terminal.
const END_OF_INPUT: &[u8] = b"\x04";

/// A place among the workspace's commands, given back when dropped.
struct Running {
    view: Arc<View>,
    name: String,
}

impl Running {
    fn begin(ctx: &HostContext, view: &Arc<View>) -> Result<Self, Refusal> {
        let name = terminal::process_name(ctx, PREFIX);
        let mut seen = view.get();
        if seen.commands.len() >= AT_ONCE {
            let message = format!("{AT_ONCE} commands of this workspace run already");
            return Err(Refusal::new(RefusalKind::Limit, "exec.too_many", message)
                .hint("wait for one of them to end")
                .retry_after(1));
        }
        seen.commands.insert(name.clone());
        Ok(Self { view: Arc::clone(view), name })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.view.get().commands.remove(&self.name);
    }
}

/// Opens a socket on which a client says what is to run; commits are by `person` from then on, as when they attach.
pub(crate) async fn open(
    ctx: &Arc<HostContext>,
    view: &Arc<View>,
    person: Option<&Person>,
) -> Result<OwnedFd, Refusal> {
    terminal::commits_are_by(view, person);
    let shell = terminal::shell_of(view).await?;
    let running = Running::begin(ctx, view)?;
    // From here on it is `running` that keeps the shell.
    let shell = InitClient::clone(&shell);
    let broken = |error: io::Error| Refusal::new(RefusalKind::Internal, "exec.socket", format!("no socket: {error}"));
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(broken)?;
    ours.set_nonblocking(true).map_err(broken)?;
    let ours = tokio::net::UnixStream::from_std(ours).map_err(broken)?;
    let ctx_of_task = Arc::clone(ctx);
    ctx.tasks.spawn("exec", async move {
        let (read, write) = ours.into_split();
        let (to, told) = mpsc::channel(FRAMES);
        let client = Client { read, frames: Frames::default() };
        let telling = async {
            let late = async {
                ctx_of_task.tasks.cancelled().await;
                tokio::time::sleep(LAST_WORDS).await;
            };
            // A frame that was begun is written to its end, whatever else ends meanwhile.
            tokio::select! {
                () = tell(write, told) => {}
                () = late => {}
            }
        };
        tokio::join!(telling, serve(&ctx_of_task, &shell, running, client, to));
    });
    Ok(theirs.into())
}

/// Ends and forgets what a daemon before this one left.
pub(crate) fn clear(ctx: &HostContext, view: &View, shell: &InitClient, known: &SandboxState) {
    let ours = view.get().commands.clone();
    let left = known.processes.iter().map(|record| record.name.clone());
    for name in left.filter(|name| name.starts_with(PREFIX) && !ours.contains(name)) {
        let shell = shell.clone();
        ctx.tasks.spawn_loose("exec-clear", async move { drop(end(&shell, &name).await) });
    }
}

/// Ends everything in a command's session, and forgets it.
async fn end(shell: &InitClient, name: &str) -> Result<(), ClientError> {
    shell.stop(name, GRACE).await?;
    shell.forget(name).await
}

async fn tell(mut write: OwnedWriteHalf, mut told: mpsc::Receiver<FromCommand>) {
    while let Some(frame) = told.recv().await {
        if write.write_all(&delimited(&frame.encode())).await.is_err() {
            return;
        }
    }
}

/// The client's side of the socket.
struct Client {
    read: OwnedReadHalf,
    frames: Frames,
}

impl Client {
    /// The next frame; nothing when the client is gone, or says what is none.
    async fn next(&mut self) -> Option<ToCommand> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            if let Some(frame) = self.frames.take().ok()? {
                return ToCommand::decode(&frame).ok();
            }
            match self.read.read(&mut buffer).await {
                Ok(length @ 1..) => self.frames.push(&buffer[..length]),
                _ => return None,
            }
        }
    }
}

async fn serve(
    ctx: &HostContext,
    shell: &InitClient,
    running: Running,
    mut client: Client,
    to: mpsc::Sender<FromCommand>,
) {
    let Ok(Some(ToCommand::Start(start))) = tokio::time::timeout(START_LIMIT, client.next()).await else { return };
    let name = running.name.as_str();
    let begun = match start.check() {
        Ok(()) => begin(shell, name, start).await,
        Err(refusal) => Err(refusal),
    };
    let (pidfd, streams) = match begun {
        Ok(begun) => begun,
        Err(refusal) => return drop(to.send(FromCommand::Ended(End::Refused { refusal })).await),
    };
    let Streams { input, output, terminal } = streams;
    let waiting = Waiting::default();
    let over = tokio::select! {
        biased;
        () = ctx.tasks.cancelled() => false,
        () = to.closed() => false,
        () = heed(shell, name, &mut client, &waiting, terminal.as_deref()) => false,
        () = supply(input, &waiting, &to) => false,
        () = pour_all(output, pidfd, &to) => true,
    };
    if over {
        let end = end_of(shell, name).await;
        drop(shell.forget(name).await);
        // Whoever hears of the end finds the place free.
        drop(running);
        drop(to.send(FromCommand::Ended(end)).await);
    } else if let Err(error) = end(shell, name).await {
        tracing::warn!(%error, name, "exec: a command whose client is gone does not end");
    }
}

type Fd = AsyncFd<OwnedFd>;

/// This side's ends of a command's streams.
struct Streams {
    input: Option<Arc<Fd>>,
    output: Output,
    /// Its terminal, to be told of its size.
    terminal: Option<Arc<Fd>>,
}

enum Output {
    Pipes(Fd, Fd),
    Terminal(Arc<Fd>),
}

/// Starts the command.
async fn begin(shell: &InitClient, name: &str, start: Start) -> Result<(OwnedFd, Streams), Refusal> {
    let mut spawn = Spawn::new(name, Program::Argv(start.argv));
    spawn.cwd = inside::CHECKOUT.into();
    let Some(size) = start.terminal else { return piped(shell, spawn).await };
    spawn.env = terminal::environment();
    spawn.tty = Some(TerminalSize { cols: size.cols.clamp(2, 1000), rows: size.rows.clamp(2, 1000) });
    let spawned = shell.spawn(spawn).await.map_err(|error| refused(name, &error))?;
    let master = spawned.terminal.ok_or_else(|| not_started(name, &"the shell gave no terminal"))?;
    let master = Arc::new(ours(master).map_err(|error| not_started(name, &error))?);
    let streams = Streams {
        input: Some(Arc::clone(&master)),
        output: Output::Terminal(Arc::clone(&master)),
        terminal: Some(master),
    };
    Ok((spawned.pidfd, streams))
}

async fn piped(shell: &InitClient, spawn: Spawn) -> Result<(OwnedFd, Streams), Refusal> {
    let name = spawn.name.clone();
    let failed = |error: io::Error| not_started(&name, &error);
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from);
    let ((stdin, input), (output, stdout), (errors, stderr)) =
        (pipe().map_err(failed)?, pipe().map_err(failed)?, pipe().map_err(failed)?);
    let spawned = shell.spawn_with_stdio(spawn, stdin.as_fd(), stdout.as_fd(), stderr.as_fd()).await;
    let spawned = spawned.map_err(|error| refused(&name, &error))?;
    let streams = Streams {
        input: Some(Arc::new(ours(input).map_err(failed)?)),
        output: Output::Pipes(ours(output).map_err(failed)?, ours(errors).map_err(failed)?),
        terminal: None,
    };
    Ok((spawned.pidfd, streams))
}

fn ours(fd: OwnedFd) -> io::Result<Fd> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    // A pipe has one direction, and registering for both is harmless.
    watch(fd, Interest::READABLE | Interest::WRITABLE)
}

fn not_started(name: &str, error: &dyn std::fmt::Display) -> Refusal {
    let said = error.to_string();
    let cause = said.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&said);
    Refusal::unavailable("exec.not_started", format!("the command could not be started: {cause}"))
        .hint("the shell's readiness says what it is short of: `envforge status`")
}

/// Why the init started nothing.
fn refused(name: &str, error: &ClientError) -> Refusal {
    let refusal = not_started(name, error);
    if error.refusal() != Some(RefusalCode::SpawnFailed) {
        return refusal;
    }
    Refusal { kind: RefusalKind::NotFound, ..refusal }
        .hint("it is looked for in the shell layer; `envforge run` runs in the runtime")
}

/// Input that came and was not taken yet.
#[derive(Default)]
struct Waiting {
    input: Mutex<Input>,
    came: Notify,
}

#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    ended: bool,
}

impl Waiting {
    fn lock(&self) -> std::sync::MutexGuard<'_, Input> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps input; false when that is more than may be on its way, or comes after its end.
    fn keep(&self, bytes: &[u8]) -> bool {
        let mut input = self.lock();
        if input.ended || input.bytes.len() + bytes.len() > INPUT_WINDOW {
            return false;
        }
        input.bytes.extend_from_slice(bytes);
        self.came.notify_one();
        true
    }

    fn end(&self) {
        self.lock().ended = true;
        self.came.notify_one();
    }

    /// The first of it, which stays until it is [`Waiting::taken`]; nothing at its end.
    async fn first(&self) -> Option<Vec<u8>> {
        loop {
            {
                let input = self.lock();
                if !input.bytes.is_empty() {
                    return Some(input.bytes[..input.bytes.len().min(DATA_MAX)].to_vec());
                }
                if input.ended {
                    return None;
                }
            }
            self.came.notified().await;
        }
    }

    fn taken(&self, bytes: usize) {
        self.lock().bytes.drain(..bytes);
    }
}

/// Takes in what the client says, until it is gone or says what it should not.
async fn heed(shell: &InitClient, name: &str, client: &mut Client, waiting: &Waiting, terminal: Option<&Fd>) {
    while let Some(frame) = client.next().await {
        match frame {
            ToCommand::Start(_) => return,
            ToCommand::Input(bytes) => {
                if !waiting.keep(&bytes) {
                    return;
                }
            }
            ToCommand::InputEnded => waiting.end(),
            // One that ended just now needs none.
            ToCommand::Signal(signal) => drop(pass_on(shell, name, signal).await),
            ToCommand::Resize(size) => {
                let size = Winsize {
                    ws_col: size.cols.clamp(2, 1000),
                    ws_row: size.rows.clamp(2, 1000),
                    ws_xpixel: 0,
                    ws_ypixel: 0,
                };
                let _ = terminal.map(|terminal| rustix::termios::tcsetwinsize(terminal.get_ref(), size));
            }
        }
    }
}

async fn pass_on(shell: &InitClient, name: &str, signal: Signal) -> Result<(), ClientError> {
    use rustix::process::Signal as Number;
    let (number, to_all) = match signal {
        Signal::Interrupt => (Number::INT, true),
        Signal::Quit => (Number::QUIT, true),
        Signal::Terminate => (Number::TERM, false),
        Signal::Hangup => (Number::HUP, false),
    };
    shell.signal(name, number.as_raw(), to_all).await
}

/// Gives the command its input, and tells how much it took; never ends before the command.
async fn supply(mut input: Option<Arc<Fd>>, waiting: &Waiting, to: &mpsc::Sender<FromCommand>) {
    let is_terminal = input.as_ref().is_some_and(|fd| rustix::termios::isatty(fd.get_ref()));
    while let Some(bytes) = waiting.first().await {
        // What a command does not read any more is taken as well, as by a pipe that is left to itself.
        if let Some(fd) = &input
            && write_all(fd, &bytes).await.is_err()
        {
            input = None;
        }
        waiting.taken(bytes.len());
        let taken = u32::try_from(bytes.len()).expect("at most `DATA_MAX`");
        if to.send(FromCommand::Taken(taken)).await.is_err() {
            return;
        }
    }
    if let Some(fd) = input.filter(|_| is_terminal) {
        drop(write_all(&fd, END_OF_INPUT).await);
    }
    std::future::pending::<()>().await;
}

/// Passes on what the command says until it has ended and all of it is said.
async fn pour_all(output: Output, pidfd: OwnedFd, to: &mpsc::Sender<FromCommand>) {
    let ended = CancellationToken::new();
    let end = async {
        match watch(pidfd, Interest::READABLE) {
            Ok(pidfd) => drop(pidfd.readable().await),
            Err(error) => tracing::error!(%error, "exec: a command's end can't be seen"),
        }
        ended.cancel();
    };
    match output {
        // A terminal is hung up when its session ends, and then reads to its end by itself.
        Output::Terminal(master) => {
            let to_its_end = CancellationToken::new();
            tokio::join!(end, pour(&master, FromCommand::Output, to, &to_its_end));
        }
        Output::Pipes(output, errors) => {
            tokio::join!(
                end,
                pour(&output, FromCommand::Output, to, &ended),
                pour(&errors, FromCommand::Errors, to, &ended)
            );
        }
    }
}

/// Passes on a stream to its end; or, once the command has ended, as far as there is something.
async fn pour(fd: &Fd, frame: fn(Vec<u8>) -> FromCommand, to: &mpsc::Sender<FromCommand>, ended: &CancellationToken) {
    let mut buffer = vec![0; DATA_MAX];
    loop {
        let is_over = ended.is_cancelled();
        let read = if is_over {
            // The kernel is asked, not what was heard of it: what the command wrote before it ended is there by now.
            rustix::io::read(fd.get_ref(), &mut buffer[..])
        } else {
            tokio::select! {
                readable = fd.readable() => {
                    let Ok(mut guard) = readable else { return };
                    let read = rustix::io::read(fd.get_ref(), &mut buffer[..]);
                    if read == Err(Errno::AGAIN) {
                        guard.clear_ready();
                        continue;
                    }
                    read
                }
                () = ended.cancelled() => continue,
            }
        };
        match read {
            Ok(length @ 1..) => {
                if to.send(frame(buffer[..length].to_vec())).await.is_err() {
                    return;
                }
            }
            Err(Errno::INTR) => {}
            // The end, a terminal's (`EIO`), or nothing more from one that has ended.
            _ => return,
        }
    }
}

/// How a command ended that has.
async fn end_of(shell: &InitClient, name: &str) -> End {
    let unseen = |reason: &str| End::Unseen { reason: reason.to_owned() };
    let looking = async {
        loop {
            let state = match shell.list().await {
                Ok(state) => state,
                Err(error) => return unseen(&error.to_string()),
            };
            match state.processes.iter().find(|record| record.name == name).map(|record| &record.state) {
                // Its descriptor tells of the end before the init has reaped it.
                Some(ProcessState::Running) => tokio::time::sleep(REAP_PAUSE).await,
                Some(ProcessState::Exited(exit)) => {
                    return match (exit.code, exit.signal) {
                        (Some(code), _) => End::Exited { code },
                        (None, Some(signal)) => End::Killed { signal },
                        (None, None) => unseen("the shell did not see how"),
                    };
                }
                None => return unseen("the shell knows nothing of it"),
            }
        }
    };
    tokio::time::timeout(REAP_LIMIT, looking).await.unwrap_or_else(|_| unseen("the shell did not tell how in time"))
}
