//! Terminals in the shell layer.
//!
//! Each client gets a terminal of its own in which a tmux client runs; all of them attach to one session, so several
//! people and agents share what they see, and closing one ends nothing. The daemon passes the terminal's master side
//! on and keeps no copy: when the last holder closes it, the tmux client hangs up and the session goes on. tmux draws the whole
//! screen at each attach.

use crate::ctx::HostContext;
use crate::engines::inside;
use crate::git;
use crate::init::client::{ClientError, InitClient};
use crate::init::protocol::{Program, Spawn, TerminalSize};
use crate::trouble::{Blocked, blocked};
use crate::workspace::view::View;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::ticket::Person;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The session everybody attaches to, unless the ticket names another.
pub(crate) const MAIN_SESSION: &str = "main";
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

fn environment() -> BTreeMap<String, String> {
    [("TERM", "xterm-256color"), ("LANG", "C.UTF-8"), ("COLORTERM", "truecolor")]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// What starts the session before anybody attaches, so that the first attach is as quick as the next.
pub(crate) fn prepare(ctx: &HostContext, uid: u32) -> Spawn {
    let mut argv = tmux(ctx, uid);
    argv.extend(["new-session", "-d", "-s", MAIN_SESSION].map(str::to_owned));
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

/// The shell's init; one that was started a moment ago, or is taken up by a new daemon, is waited for.
async fn shell_of(view: &View) -> Option<InitClient> {
    let until = tokio::time::Instant::now() + SHELL_LIMIT;
    loop {
        let shell = view.get().shell.clone();
        if shell.is_some() || tokio::time::Instant::now() >= until {
            return shell;
        }
        tokio::time::sleep(SHELL_PAUSE).await;
    }
}

/// Opens a terminal; commits are by `person` from then on.
pub(crate) async fn open(
    ctx: &HostContext,
    view: &View,
    subject: &str,
    person: Option<&Person>,
    cols: u16,
    rows: u16,
) -> Result<OwnedFd, Refusal> {
    let session = if subject.is_empty() { MAIN_SESSION } else { subject };
    let fits =
        session.len() <= 32 && session.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !fits {
        return Err(Refusal::invalid("terminal.bad_name", "a terminal's name is at most 32 letters, digits, - and _"));
    }
    let place = view.get().place.clone();
    if let Some(person) = person
        && let Err(error) = git::commits_are_by(&place, person)
    {
        tracing::warn!(workspace = %place.workspace, %error, "git: who attached could not be noted; commits keep the identity of before");
    }
    let uid = place.uid;
    let shell = shell_of(view).await.ok_or_else(|| {
        Refusal::unavailable("shell.not_ready", "the workspace's shell is not ready")
            .hint("its readiness says what is missing")
    })?;
    let mut argv = tmux(ctx, uid);
    argv.extend(["new-session", "-A", "-s", session].map(str::to_owned));
    let mut random = [0_u8; 4];
    ctx.entropy.fill(&mut random);
    // Unique also among those an earlier daemon started.
    let name = format!("{PREFIX}{}.{}", NEXT.fetch_add(1, Ordering::Relaxed), hex::encode(random));
    let mut spawn = Spawn::new(&name, Program::Argv(argv));
    spawn.env = environment();
    spawn.cwd = inside::CHECKOUT.into();
    spawn.tty = Some(TerminalSize { cols: cols.clamp(2, 1000), rows: rows.clamp(2, 1000) });
    let spawned = shell.spawn(spawn).await.map_err(|error| {
        Refusal::unavailable("terminal.not_started", format!("the terminal could not be started: {error}"))
            .hint("is tmux installed on the host?")
    })?;
    spawned
        .terminal
        .ok_or_else(|| Refusal::new(RefusalKind::Internal, "terminal.not_started", "the shell gave no terminal"))
}
