//! The terminals there are: seen, made within their number, ended.
//!
//! tmux is asked by a client of its own, as the workspace's user. What it answers is that user's to forge and is read as
//! such: bounded, line by line, and a line that does not fit is no terminal.

use super::{environment, named, process_name, shell_of, tmux};
use crate::ctx::HostContext;
use crate::engines::inside;
use crate::init::client::{ClientError, InitClient};
use crate::init::protocol::{Program, Spawn};
use crate::script;
use crate::uplink::logs::make_pipe;
use crate::workspace::view::View;
use envforge_api::http::terminal::{Terminal, Terminals};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::terminal::{TerminalName, may_be_made, not_found};
use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;

/// A line for each session; no session's name has a colon.
const FORMAT: &str =
    "#{session_created}:#{session_attached}:#{window_width}:#{window_height}:#{session_name}:#{pane_current_command}";
/// The most that is read of an answer, in bytes.
const ANSWER_MAX: u64 = 64 * 1024;
/// How long tmux may take.
const LIMIT: Duration = Duration::from_secs(3);
/// The longest name of a program that is told.
const COMMAND_MAX: usize = 64;

/// Runs a tmux command in the shell: whether it did what it should, and what it answered.
pub(super) async fn ask(
    ctx: &HostContext,
    shell: &InitClient,
    uid: u32,
    arguments: &[&str],
) -> Result<(bool, String), ClientError> {
    let mut argv = tmux(ctx, uid);
    argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    answer(ctx, shell, argv).await
}

/// Runs a command in the shell: whether it did what it should, and what it printed.
pub(super) async fn answer(
    ctx: &HostContext,
    shell: &InitClient,
    argv: Vec<String>,
) -> Result<(bool, String), ClientError> {
    // Its end is looked at here; that of a `tmux.` would be forgotten by the driver first.
    let name = process_name(ctx, "ask.");
    let mut spawn = Spawn::new(&name, Program::Argv(argv));
    spawn.env = environment();
    spawn.cwd = inside::CHECKOUT.into();
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(io::Error::from)?;
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    rustix::io::ioctl_fionbio(&reader, true).map_err(io::Error::from)?;
    let spawned = shell.spawn_with_stdio(spawn, null.as_fd(), writer.as_fd(), null.as_fd()).await?;
    drop(writer);
    let reading = async {
        let mut answer = Vec::new();
        // Whoever else holds the pipe does not hold up the answer.
        let read = pipe::Receiver::from_owned_fd(reader)?.take(ANSWER_MAX);
        let _ = tokio::time::timeout(LIMIT, { read }.read_to_end(&mut answer)).await;
        Ok::<_, io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let (answer, code) = tokio::join!(reading, script::wait(shell, &name, spawned.pidfd, LIMIT));
    Ok((code? == Some(0), answer?))
}

async fn read(ctx: &HostContext, shell: &InitClient, uid: u32) -> Result<Terminals, Refusal> {
    // Without a server there are none, and it says no.
    let (_, answer) = ask(ctx, shell, uid, &["list-sessions", "-F", FORMAT]).await.map_err(|error| unasked(&error))?;
    Ok(parsed(&answer))
}

fn unasked(error: &ClientError) -> Refusal {
    Refusal::unavailable("terminal.not_listed", format!("the workspace's terminals can't be seen: {error}"))
        .retry_after(1)
}

fn parsed(answer: &str) -> Terminals {
    let mut terminals: Vec<_> = answer.lines().filter_map(line).collect();
    terminals.sort_by(|a, b| a.name.cmp(&b.name));
    terminals.dedup_by(|a, b| a.name == b.name);
    Terminals { terminals }
}

fn line(line: &str) -> Option<Terminal> {
    let mut parts = line.splitn(6, ':');
    let mut next = || parts.next();
    let since = Timestamp::from_second(next()?.parse().ok()?).ok()?;
    let (clients, cols, rows) = (next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?);
    let name = next()?.parse().ok()?;
    let command = next()?.chars().filter(|c| !c.is_control()).take(COMMAND_MAX).collect();
    Some(Terminal { name, since, clients, cols, rows, command })
}

/// Makes a terminal unless it is there. The main one is made by whoever attaches: nothing stands in its way.
pub(super) async fn make(
    ctx: &HostContext,
    view: &View,
    shell: &InitClient,
    name: &TerminalName,
) -> Result<(), Refusal> {
    if name.is_main() {
        return Ok(());
    }
    let uid = view.get().place.uid;
    let _alone = view.only_terminals().await;
    let known = read(ctx, shell, uid).await?.terminals;
    if known.iter().any(|terminal| terminal.name == *name) {
        return Ok(());
    }
    may_be_made(known.len())?;
    match ask(ctx, shell, uid, &["new-session", "-d", "-s", name.as_str()]).await {
        Ok((true, _)) => Ok(()),
        Ok((false, _)) => Err(Refusal::unavailable("terminal.not_started", "the terminal could not be started")),
        Err(error) => Err(unasked(&error)),
    }
}

/// Opens a pipe of the terminals there are.
pub(crate) async fn open(ctx: &HostContext, view: &View) -> Result<OwnedFd, Refusal> {
    let (shell, uid) = (shell_of(view).await?, view.get().place.uid);
    told(ctx, &read(ctx, &shell, uid).await?)
}

/// Ends a terminal with everything that listens to its end, and tells what is left.
pub(crate) async fn end(ctx: &HostContext, view: &View, subject: &str) -> Result<OwnedFd, Refusal> {
    let name = named(subject)?;
    let (shell, uid) = (shell_of(view).await?, view.get().place.uid);
    let _alone = view.only_terminals().await;
    let is_it = |terminal: &Terminal| terminal.name == name;
    if !read(ctx, &shell, uid).await?.terminals.iter().any(is_it) {
        return Err(not_found(&name));
    }
    // Without the sign a name would also mean one that begins with it.
    let target = format!("={name}");
    ask(ctx, &shell, uid, &["kill-session", "-t", &target]).await.map_err(|error| unasked(&error))?;
    let left = read(ctx, &shell, uid).await?;
    if left.terminals.iter().any(is_it) {
        return Err(Refusal::unavailable("terminal.not_ended", format!("terminal `{name}` does not end")));
    }
    told(ctx, &left)
}

fn told(ctx: &HostContext, terminals: &Terminals) -> Result<OwnedFd, Refusal> {
    let broken =
        |error: io::Error| Refusal::new(RefusalKind::Internal, "terminal.pipe", format!("no pipe for them: {error}"));
    let text = serde_json::to_vec(terminals).map_err(|error| broken(error.into()))?;
    let (mut into, pipe) = make_pipe().map_err(broken)?;
    ctx.tasks.spawn_loose("terminals", async move { drop(into.write_all(&text).await) });
    Ok(pipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // proves UP-3
    #[test]
    fn a_line_that_does_not_fit_is_no_terminal() {
        let answer = "1700000000:2:80:24:main:vim:x\n1700000000:0:80:24:a b:sh\n:::::\n1:0:1:1:build:\u{1b}[2Jmake\n\
                      99999999999999999999:0:80:24:x:sh\n1700000000:0:80:24:main:again\nno server running\n";
        let told: Vec<_> = parsed(answer).terminals;
        let seen: Vec<_> = told.iter().map(|it| (it.name.as_str(), it.clients, it.command.as_str())).collect();
        assert_eq!(seen, [("build", 0, "[2Jmake"), ("main", 2, "vim:x")]);
    }

    proptest! {
        #[test]
        fn whatever_is_answered_has_names_once(answer in "([0-9]{1,4}:[0-9]:[0-9]{1,6}:[0-9]{1,3}:[a-c.=]{1,2}:.{0,4}\n){0,8}") {
            let names: Vec<_> = parsed(&answer).terminals.into_iter().map(|terminal| terminal.name).collect();
            let once: std::collections::BTreeSet<_> = names.iter().cloned().collect();
            prop_assert_eq!(names.len(), once.len());
        }
    }
}
