//! The one place where the host daemon starts a program of the machine it runs on.
//!
//! Such programs (`ip`, `nft`, `git`, database tools) run with a minimal environment and never inherit a descriptor.
//! What a workspace asks to run is never started here: that is the sandbox's init.
#![expect(unsafe_code, reason = "what a process is to be ended with is said between fork and exec")]

use std::ffi::OsStr;
use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

/// Where programs of the system are looked for, whatever the daemon's own PATH says.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program of the system failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It is not installed.
    #[error("{0} is not installed")]
    Missing(String),
    /// It could not be run.
    #[error("{program}: {source}")]
    Io {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ran and reported failure.
    #[error("{line}: {said}")]
    Failed {
        /// The program and its arguments.
        line: String,
        /// The last of what it wrote, or how it ended.
        said: String,
    },
}

/// A command to configure further, with the system's PATH and nothing else in its environment.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn std_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", SYSTEM_PATH).env("LC_ALL", "C.UTF-8");
    command
}

/// The same for tokio.
pub fn tokio_command(program: impl AsRef<OsStr>) -> tokio::process::Command {
    tokio::process::Command::from(std_command(program))
}

/// Ends the program when the daemon ends, however that does: nobody would wait for it any more. For what is started by one of the
/// runtime's own threads, which live as long as the daemon; the kernel goes by the thread.
pub(crate) fn end_with_daemon(command: &mut tokio::process::Command) {
    let daemon = rustix::process::getpid();
    // SAFETY: between fork and exec only system calls are made: no allocation, no lock.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            // It may have ended before that was said.
            if rustix::process::getppid() != Some(daemon) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            Ok(())
        });
    }
}

/// Runs a program to its end, with `input` as its standard input, and returns what it wrote. Blocks.
pub fn run(program: &str, args: &[&str], input: &str) -> Result<String, CommandError> {
    let io_error = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => CommandError::Missing(program.to_owned()),
        _ => CommandError::Io { program: program.to_owned(), source },
    };
    let mut command = std_command(program);
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    let mut child = command.spawn().map_err(io_error)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that fails early closes its end; its own message is worth more than ours.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(io_error)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(CommandError::Failed { line: format!("{program} {}", args.join(" ")), said: said(&output) })
    }
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    match text.trim() {
        "" => output.status.to_string(),
        text => text.to_owned(),
    }
}
