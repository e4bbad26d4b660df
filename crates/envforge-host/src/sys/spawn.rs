//! Starting a process from within a sandbox, as its own session.
#![expect(unsafe_code, reason = "a session is made between fork and exec")]

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where a process's input comes from and its output goes.
pub(crate) struct Streams {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// Stdin is a terminal and becomes the session's.
    pub(crate) terminal: bool,
}

/// Starts `argv` with exactly this environment in a new session, with ordinary signals; returns its pid. Reaping it is the
/// caller's business.
#[expect(clippy::disallowed_methods, reason = "a workspace's own program, inside its sandbox")]
pub(crate) fn in_new_session(
    argv: &[String],
    env: &BTreeMap<String, String>,
    cwd: &Path,
    streams: Streams,
) -> io::Result<i32> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "nothing to run"));
    };
    let terminal = streams.terminal;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(env)
        .current_dir(cwd)
        .stdin(Stdio::from(streams.stdin))
        .stdout(Stdio::from(streams.stdout))
        .stderr(Stdio::from(streams.stderr));
    // SAFETY: between fork and exec only system calls are made: no allocation, no lock.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            if terminal {
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            }
            Ok(())
        });
    }
    Ok(command.spawn()?.id() as i32)
}
