//! Writing files where a workspace's user writes: by a script that runs as that user, inside a layer.
//!
//! The daemon never writes into a home or a checkout itself: whoever owns the directory could have put a link where it
//! writes. The script goes in by a memory file as standard input, so nothing of it, secrets included, is seen in a process
//! list or lies on a disk.

use crate::init::client::{ClientError, InitClient};
use crate::init::protocol::{Exit, ProcessState, Program, RefusalCode, Spawn};
use rustix::fs::{MemfdFlags, Mode, OFlags, SeekFrom};
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::Interest;

/// How long such a script may take.
const LIMIT: Duration = Duration::from_secs(10);

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A text as one word for a POSIX shell.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Files to be written, as a script. It may hold secrets and is not printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Script {
    text: String,
}

impl Script {
    /// Files get no more rights than these.
    pub(crate) fn umask(mask: &str) -> Self {
        Self { text: format!("set -e\numask {mask}\n") }
    }

    /// Makes a directory.
    pub(crate) fn directory(&mut self, path: &str) {
        let _ = writeln!(self.text, "mkdir -p {}", quote(path));
    }

    /// Writes a file whole, replacing what is there.
    pub(crate) fn file(&mut self, path: &str, content: &str) {
        let (path, beside) = (quote(path), quote(&format!("{path}.tmp")));
        let _ = writeln!(self.text, "printf %s {} >{beside}\nmv -f {beside} {path}", quote(content));
    }

    /// Writes a file unless there is one.
    pub(crate) fn file_if_missing(&mut self, path: &str, content: &str) {
        let _ = writeln!(self.text, "if [ ! -e {} ]; then", quote(path));
        self.file(path, content);
        self.text.push_str("fi\n");
    }

    /// Any other line.
    pub(crate) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Runs it in a layer and waits for its end.
    pub(crate) async fn run(&self, client: &InitClient) -> Result<(), ClientError> {
        let name = format!("script.{}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let stdin = memory_file(&self.text)?;
        let null =
            rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(io::Error::from)?;
        let mut spawn = Spawn::new(&name, Program::Argv(vec!["/bin/sh".to_owned(), "-s".to_owned()]));
        spawn.cwd = "/".into();
        let spawned = client.spawn_with_stdio(spawn, stdin.as_fd(), null.as_fd(), null.as_fd()).await?;
        match wait(client, &name, spawned.pidfd, LIMIT).await? {
            Some(0) => Ok(()),
            Some(code) => Err(ClientError::Unexpected(format!("a script in the sandbox exited with code {code}"))),
            None => Err(ClientError::Unexpected("a script in the sandbox did not end".to_owned())),
        }
    }
}

/// Runs a process in a layer to its end and forgets it; its exit code, or nothing if it had to be killed.
pub(crate) async fn run_to_end(client: &InitClient, spawn: Spawn, limit: Duration) -> Result<Option<i32>, ClientError> {
    let name = spawn.name.clone();
    let mut spawned = client.spawn(spawn.clone()).await;
    if spawned.as_ref().is_err_and(|error| error.refusal() == Some(RefusalCode::NameTaken)) {
        // Whoever waited for it before is gone.
        client.stop(&name, Duration::ZERO).await?;
        spawned = client.spawn(spawn).await;
    }
    let spawned = spawned?;
    wait(client, &name, spawned.pidfd, limit).await
}

/// Waits for a process's end and forgets it; its exit code, or nothing if it had to be killed.
pub(crate) async fn wait(
    client: &InitClient,
    name: &str,
    pidfd: OwnedFd,
    limit: Duration,
) -> Result<Option<i32>, ClientError> {
    let ended = crate::sys::watch::watch(pidfd, Interest::READABLE)?;
    let in_time = tokio::time::timeout(limit, ended.readable()).await.is_ok();
    if !in_time {
        client.stop(name, Duration::ZERO).await?;
    }
    let exit = exit_of(client, name).await?;
    client.forget(name).await?;
    Ok(exit.filter(|_| in_time).map(|exit| exit.code.unwrap_or(128)))
}

/// How a process ended whose end its descriptor told of; nothing of one that is not known.
pub(crate) async fn exit_of(client: &InitClient, name: &str) -> Result<Option<Exit>, ClientError> {
    // The descriptor tells of the end before the init has reaped it.
    for _ in 0..50 {
        let state = client.list().await?;
        let record = state.processes.iter().find(|record| record.name == name);
        match record.map(|record| &record.state) {
            Some(ProcessState::Exited(exit)) => return Ok(Some(*exit)),
            Some(ProcessState::Running) => tokio::time::sleep(Duration::from_millis(2)).await,
            None => return Ok(None),
        }
    }
    Ok(None)
}

fn memory_file(text: &str) -> io::Result<OwnedFd> {
    use std::io::Write as _;
    let fd = rustix::fs::memfd_create("script", MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(text.as_bytes())?;
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn evaluated(word: &str) -> String {
        crate::sys::command::run("sh", &["-s"], &format!("printf %s {word}\n")).expect("sh runs")
    }

    #[test]
    fn what_is_quoted_is_one_word() {
        for text in ["", "a b", "it's", "$HOME `id` \\ \"x\" !", "new\nline", "'''"] {
            assert_eq!(evaluated(&quote(text)), text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_text_survives_a_shell(text in "[^\0]{0,40}") {
            prop_assert_eq!(evaluated(&quote(&text)), text);
        }
    }
}
