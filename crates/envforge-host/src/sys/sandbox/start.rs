//! The daemon's side: starting a sandbox, finding one again, ending one.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{MemfdFlags, SeekFrom};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, Interest};

use super::{INIT_ARGUMENT, SandboxSpec, SpecError};
use crate::faults::point;
use crate::init::client::{ClientError, InitClient};
use crate::sys::process::ProcessIdentity;
use crate::sys::watch::watch;

/// A running sandbox, as the daemon holds it. Dropping it leaves the sandbox running.
#[derive(Debug)]
pub struct Sandbox {
    identity: ProcessIdentity,
    control_socket: PathBuf,
    pidfd: OwnedFd,
}

/// A sandbox could not be started or found.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The specification is impossible.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A step of building it failed; nothing of it is left.
    #[error("sandbox: {step}: {reason}")]
    Step {
        /// What was being done, e.g. `pivot_root`.
        step: String,
        /// What the kernel said, e.g. `Operation not permitted (os error 1)`.
        reason: String,
    },
    /// The init said nothing in time, and was ended.
    #[error("sandbox: not ready within {0:?}")]
    TimedOut(Duration),
    /// The init is not the process that was asked for; it ended, or the machine was started again.
    #[error("sandbox: process {0} is gone")]
    Gone(i32),
    /// The init ended without a word.
    #[error("sandbox: the init ended before it was ready: {0}")]
    Died(String),
    /// The daemon's own side failed.
    #[error("sandbox: {step}: {source}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// What the starting init writes to its standard output, one line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The init was forked; its pid as the daemon sees it.
    Forked { pid: i32 },
    /// It is complete and serves its socket.
    Ready,
    /// A step failed.
    Failed { step: String, reason: String },
}

/// Writes one report line to standard output. Nobody may be left to read it; then it is lost.
pub(crate) fn report(report: &Report) {
    if let Ok(mut line) = serde_json::to_vec(report) {
        line.push(b'\n');
        let _ = rustix::io::write(rustix::stdio::stdout(), &line);
    }
}

/// Builds a sandbox and waits until its init serves the control socket.
///
/// `program` is the executable whose `main` begins with `envforge_host::init::main`; the daemon passes
/// `/proc/self/exe`, so that after an upgrade on disk it still starts the init it was built with.
pub async fn start(program: &Path, spec: &SandboxSpec, limit: Duration) -> Result<Sandbox, SandboxError> {
    spec.validate()?;
    let io_error = |step| move |source| SandboxError::Io { step, source };
    let input = spec_file(spec).map_err(io_error("specification"))?;
    let mut child = crate::sys::command::tokio_command(program)
        .arg(INIT_ARGUMENT)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(input))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io_error("start of the init"))?;
    let stdout = child.stdout.take().ok_or_else(|| io_error("stdout")(io::ErrorKind::BrokenPipe.into()))?;
    let mut lines = BufReader::new(stdout).lines();

    // Two processes write the lines, the starter and the init it forked: either may come first.
    let (mut forked, mut is_ready) = (None, false);
    let outcome = tokio::time::timeout(limit, async {
        loop {
            if let Some(identity) = forked
                && is_ready
            {
                return Ok(identity);
            }
            let line = lines.next_line().await.map_err(io_error("report"))?;
            let Some(line) = line else {
                return Err(SandboxError::Died(String::new()));
            };
            match serde_json::from_str(&line) {
                Ok(Report::Forked { pid }) => {
                    // Gone already if its first step failed; the next line says which.
                    forked = ProcessIdentity::of(pid).ok();
                    point("layer.forked");
                }
                Ok(Report::Ready) => is_ready = true,
                Ok(Report::Failed { step, reason }) => {
                    return Err(SandboxError::Step { step, reason });
                }
                Err(_) => return Err(SandboxError::Died(line)),
            }
        }
    })
    .await
    .unwrap_or(Err(SandboxError::TimedOut(limit)));

    match outcome.and_then(|identity| Sandbox::adopt(identity, &spec.control_socket)) {
        Ok(sandbox) => {
            // The starter has left already or is about to; this only reaps it.
            let _ = tokio::time::timeout(limit, child.wait()).await;
            Ok(sandbox)
        }
        Err(error) => {
            let _ = child.start_kill();
            if let Some(identity) = forked {
                kill(&identity);
            }
            let said = match tokio::time::timeout(limit, child.wait_with_output()).await {
                Ok(Ok(output)) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                _ => String::new(),
            };
            match error {
                SandboxError::Died(text) if !said.is_empty() => Err(SandboxError::Died(format!("{text}{said}"))),
                error => Err(error),
            }
        }
    }
}

fn spec_file(spec: &SandboxSpec) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create("sandbox-spec", MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(fd);
    io::Write::write_all(&mut file, &serde_json::to_vec(spec)?)?;
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    Ok(file.into())
}

fn kill(identity: &ProcessIdentity) {
    if let Ok(pidfd) = identity.open() {
        let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
    }
}

impl Sandbox {
    /// Takes up a sandbox that an earlier daemon started, if that very process still runs.
    pub fn adopt(identity: ProcessIdentity, control_socket: &Path) -> Result<Self, SandboxError> {
        let pidfd = identity.open().map_err(|_| SandboxError::Gone(identity.pid))?;
        Ok(Self { identity, control_socket: control_socket.to_owned(), pidfd })
    }

    /// Who the init is; for the journal.
    pub fn identity(&self) -> ProcessIdentity {
        self.identity
    }

    /// The init's pid on the host.
    pub fn pid(&self) -> i32 {
        self.identity.pid
    }

    /// Where the init listens.
    pub fn control_socket(&self) -> &Path {
        &self.control_socket
    }

    /// A new connection to the init. Fails on a frozen sandbox: thaw it first.
    pub async fn connect(&self) -> Result<InitClient, ClientError> {
        InitClient::connect(&self.control_socket).await
    }

    /// Whether the init runs (frozen counts as running).
    pub fn is_running(&self) -> bool {
        self.identity.is_running()
    }

    /// Returns when the init has ended, and with it everything in the sandbox.
    pub async fn ended(&self) -> io::Result<()> {
        let watched = watch(self.pidfd.try_clone()?, Interest::READABLE)?;
        watched.readable().await?.retain_ready();
        Ok(())
    }

    /// Ends the init at once; the kernel ends everything in its pid namespace with it, and takes a moment for it (see
    /// [`Sandbox::ended`]). A sandbox frozen by a v1 freezer dies only when thawed: `sys::cgroup::Group::kill` sees to that.
    pub fn kill(&self) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => other.map_err(Into::into),
        }
    }
}
