//! Terminals in the shell layer.
//!
//! Each client gets a terminal of its own in which a tmux client runs; all of them attach to one session, so several
//! people and agents share what they see, and closing one ends nothing. The daemon passes the terminal's master side
//! on and keeps no copy: when the last holder closes it, the tmux client hangs up and the session goes on. tmux draws the whole
//! screen at each attach. A terminal of several clients has the size of the one that typed last.
//!
//! Where the organization wants terminals recorded, what a client sees passes through the daemon, which writes it down first, and the
//! client is told ([`crate::recorded`]).
//!
//! A terminal is a session of that name. Members' programs may make sessions too; [`list`] shows all that have a name one can
//! attach to, and they count as terminals.

pub(crate) mod list;
pub(crate) mod untouched;

use crate::ctx::HostContext;
use crate::engines::inside;
use crate::git;
use crate::init::client::{ClientError, InitClient};
use crate::init::protocol::{Program, Spawn, TerminalSize};
use crate::place::Place;
use crate::recorded::recording::{About, Recorded, Recording};
use crate::recorded::relay::{self, Over, Terminal};
use crate::trouble::{Blocked, blocked};
use crate::workspace::view::{ShellUse, View};
use envforge_core::id::RecordingId;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::terminal::TerminalName;
use envforge_core::ticket::{Person, TicketClaims};
use std::collections::BTreeMap;
use std::io;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Names of terminals' processes begin so.
pub(crate) const PREFIX: &str = "terminal.";
/// The configuration, as the sandbox sees it.
pub(crate) const CONFIG_PATH: &str = "/run/envforge/tmux.conf";

/// Several clients of different sizes, quick keys, and no end when the last client leaves.
pub(crate) const CONFIG: &str = "\
set -g default-terminal 'tmux-256color'
set -ga terminal-overrides ',xterm-256color:RGB'
set -g escape-time 10
set -g focus-events on
set -g history-limit 50000
set -g window-size latest
set -g status off
set -g exit-empty off
set -g destroy-unattached off
set -g set-titles on
set -g set-clipboard on
if-shell '[ -r ~/.tmux.conf ]' 'source-file ~/.tmux.conf'
";

/// What a client of a recorded terminal is shown first.
const RECORDED: &str = "This terminal is recorded: what it shows is kept, as your organization wants it.";
/// For so many milliseconds.
const SHOWN_MS: &str = "5000";
/// How long a shell may take to answer.
const SHELL_LIMIT: Duration = Duration::from_secs(3);
/// Between two looks whether it does.
const SHELL_PAUSE: Duration = Duration::from_millis(3);

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The tmux command line up to its own command.
fn tmux(ctx: &HostContext, uid: u32) -> Vec<String> {
    let socket = format!("/run/user/{uid}/tmux");
    [&ctx.config.tmux, "-u", "-f", CONFIG_PATH, "-S", &socket].map(str::to_owned).to_vec()
}

/// What a terminal's programs are told of it.
pub(crate) fn environment() -> BTreeMap<String, String> {
    [("TERM", "xterm-256color"), ("LANG", "C.UTF-8"), ("COLORTERM", "truecolor")]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// What starts the session before anybody attaches, so that the first attach is as quick as the next.
pub(crate) fn prepare(ctx: &HostContext, uid: u32) -> Spawn {
    let mut argv = tmux(ctx, uid);
    argv.extend(["new-session", "-d", "-s", TerminalName::default().as_str()].map(str::to_owned));
    let mut spawn = Spawn::new("tmux.prepare", Program::Argv(argv));
    spawn.env = environment();
    spawn.cwd = inside::CHECKOUT.into();
    spawn
}

/// What is wrong when that could not be started.
pub(crate) fn not_prepared(ctx: &HostContext, error: &ClientError) -> Blocked {
    blocked(
        "shell.tmux_missing",
        format!("`{}`, in which shells survive, could not be started: {error}", ctx.config.tmux),
        "install it on the host: apt-get install tmux; the shell then starts by itself within a minute",
    )
}

/// The shell's init, for as long as something is being started in it.
pub(crate) struct Shell<'a> {
    init: InitClient,
    _use: ShellUse<'a>,
}

impl Deref for Shell<'_> {
    type Target = InitClient;

    fn deref(&self) -> &InitClient {
        &self.init
    }
}

/// The shell's init; one that rests, was started a moment ago, or is taken up by a new daemon, is waited for.
pub(crate) async fn shell_of(view: &View) -> Result<Shell<'_>, Refusal> {
    let in_use = view.use_shell();
    let until = tokio::time::Instant::now() + SHELL_LIMIT;
    loop {
        if let Some(init) = view.get().shell.clone() {
            return Ok(Shell { init, _use: in_use });
        }
        if tokio::time::Instant::now() >= until {
            return Err(Refusal::unavailable("shell.not_ready", "the workspace's shell is not ready")
                .hint("its readiness says what is missing"));
        }
        tokio::time::sleep(SHELL_PAUSE).await;
    }
}

/// A name for a process, unique also among those an earlier daemon started.
pub(crate) fn process_name(ctx: &HostContext, prefix: &str) -> String {
    let mut random = [0_u8; 4];
    ctx.entropy.fill(&mut random);
    format!("{prefix}{}.{}", NEXT.fetch_add(1, Ordering::Relaxed), hex::encode(random))
}

/// The terminal a ticket is for.
fn named(subject: &str) -> Result<TerminalName, Refusal> {
    if subject.is_empty() { Ok(TerminalName::default()) } else { subject.parse() }
}

/// Notes who came to the shell, for its commits.
pub(crate) fn commits_are_by(view: &View, person: Option<&Person>) {
    let place = view.get().place.clone();
    if let Some(person) = person
        && let Err(error) = git::commits_are_by(&place, person)
    {
        tracing::warn!(workspace = %place.workspace, %error, "git: who attached could not be noted; commits keep the identity of before");
    }
}

/// Opens a terminal; commits are by the ticket's person from then on, and what it prints is recorded if the ticket says so.
pub(crate) async fn open(
    ctx: &Arc<HostContext>,
    view: &View,
    claims: &TicketClaims,
    cols: u16,
    rows: u16,
) -> Result<OwnedFd, Refusal> {
    let name = named(&claims.subject)?;
    commits_are_by(view, claims.person.as_ref());
    let place = view.get().place.clone();
    let shell = shell_of(view).await?;
    list::make(ctx, view, &shell, &name).await?;
    let size = TerminalSize { cols: cols.clamp(2, 1000), rows: rows.clamp(2, 1000) };
    let mut argv = tmux(ctx, place.uid);
    argv.extend(["new-session", "-A", "-s", name.as_str()].map(str::to_owned));
    let recording = claims.recording.map(|id| begin_recording(ctx, view, claims, &name, id, size)).transpose()?;
    if recording.is_some() {
        argv.extend([";", "display-message", "-d", SHOWN_MS, RECORDED].map(str::to_owned));
    }
    let inside = attach(&shell, argv, process_name(ctx, PREFIX), size).await?;
    match recording {
        Some(recording) => record(ctx, &place, inside, recording, size),
        None => Ok(inside),
    }
}

async fn attach(shell: &InitClient, argv: Vec<String>, name: String, size: TerminalSize) -> Result<OwnedFd, Refusal> {
    let mut spawn = Spawn::new(&name, Program::Argv(argv));
    spawn.env = environment();
    spawn.cwd = inside::CHECKOUT.into();
    spawn.tty = Some(size);
    let spawned = shell.spawn(spawn).await.map_err(|error| {
        Refusal::unavailable("terminal.not_started", format!("the terminal could not be started: {error}"))
            .hint("is tmux installed on the host?")
    })?;
    spawned
        .terminal
        .ok_or_else(|| Refusal::new(RefusalKind::Internal, "terminal.not_started", "the shell gave no terminal"))
}

fn begin_recording(
    ctx: &HostContext,
    view: &View,
    claims: &TicketClaims,
    name: &TerminalName,
    id: RecordingId,
    size: TerminalSize,
) -> Result<Recording, Refusal> {
    let (place, secrets) = {
        let seen = view.get();
        (seen.place.clone(), Arc::clone(&seen.secrets))
    };
    let person = claims.person.as_ref().map(|person| person.name.clone()).unwrap_or_default();
    let about = About { terminal: name.clone(), person };
    let of = Recorded::Terminal(id);
    Recording::begin(&place, of, Some(&about), size, ctx.config.recording_max, secrets, ctx.now())
}

/// Stands between a terminal and its client; answers the client's end.
fn record(
    ctx: &Arc<HostContext>,
    place: &Place,
    inside: OwnedFd,
    recording: Recording,
    size: TerminalSize,
) -> Result<OwnedFd, Refusal> {
    let not_started = |error: io::Error| {
        Refusal::unavailable("terminal.not_started", format!("the terminal could not be recorded: {error}"))
    };
    let (theirs, ours) = relay::own_pty(size).map_err(not_started)?;
    let terminal = Terminal::new(inside, ours, size).map_err(not_started)?;
    let (ctx_of_task, workspace) = (Arc::clone(ctx), place.workspace);
    ctx.tasks.spawn("recorded-terminal", async move {
        let ctx = ctx_of_task;
        let recording = Mutex::new(recording);
        let why = tokio::select! {
            biased;
            () = ctx.tasks.cancelled() => Over::Daemon,
            why = terminal.relay(&recording, || ctx.now()) => why,
        };
        tracing::debug!(%workspace, %why, "a recorded terminal ended");
        recording.into_inner().unwrap_or_else(PoisonError::into_inner).close(&why, ctx.now());
        terminal.say("terminal", &why);
    });
    Ok(theirs)
}
