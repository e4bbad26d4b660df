//! The daemon's side: starting a sandbox, finding one again, ending one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{MemfdFlags, SeekFrom};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, Interest};
use tokio::net::unix::pipe;
use tokio::sync::Mutex;

use super::starter::START;
use super::{INIT_ARGUMENT, SandboxSpec, SpecError};
use crate::faults::point;
use crate::init::client::{ClientError, InitClient};
use crate::init::wire::PacketSocket;
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
    report_to(rustix::stdio::stdout(), report);
}

/// The same to another place.
pub(super) fn report_to(to: impl AsFd, report: &Report) {
    if let Ok(mut line) = serde_json::to_vec(report) {
        line.push(b'\n');
        let _ = rustix::io::write(to, &line);
    }
}

/// Starts sandboxes, by a process that it keeps for that ([`super::starter`]).
#[derive(Debug)]
pub struct Starter {
    program: PathBuf,
    /// Out of here while it is asked something: who gives up in the middle does not leave an answer to the next one.
    idle: Mutex<Option<Process>>,
}

/// The process; it is ended with this.
#[derive(Debug)]
struct Process {
    socket: PacketSocket,
    _child: tokio::process::Child,
}

impl Starter {
    /// `program` is the executable whose `main` begins with `envforge_host::init::main`; the daemon passes
    /// `/proc/self/exe`, so that after an upgrade on disk it still starts the init it was built with. It is run when the first
    /// sandbox is started, and again should it have ended.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), idle: Mutex::default() }
    }

    /// Builds a sandbox and waits until its init serves the control socket.
    pub async fn start(&self, spec: &SandboxSpec, limit: Duration) -> Result<Sandbox, SandboxError> {
        spec.validate()?;
        let io_error = |step| move |source| SandboxError::Io { step, source };
        let input = spec_file(spec).map_err(io_error("specification"))?;
        let (heard, say) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| io_error("report")(error.into()))?;
        let mut lines = lines(heard).map_err(io_error("report"))?;
        let end = tokio::time::Instant::now() + limit;
        let process = tokio::time::timeout_at(end, self.ask(&input, &say)).await;
        // Theirs alone from here on, so that it ends with them.
        drop(say);
        let process = process.unwrap_or(Err(SandboxError::TimedOut(limit)))?;

        let mut forked = None;
        let outcome = tokio::time::timeout_at(end, ready(&mut lines, &mut forked)).await;
        let outcome = outcome.unwrap_or(Err(SandboxError::TimedOut(limit)));
        let mut error = match outcome.and_then(|identity| Sandbox::adopt(identity, &spec.control_socket)) {
            Ok(sandbox) => return Ok(sandbox),
            Err(error) => error,
        };
        for pidfd in process.into_iter().chain(forked.and_then(|identity| identity.open().ok())) {
            let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
        }
        if let SandboxError::Died(said) = &mut error {
            let rest = async {
                while let Ok(Some(line)) = lines.next_line().await {
                    said.push_str(&line);
                }
            };
            let _ = tokio::time::timeout(limit, rest).await;
        }
        Err(error)
    }

    /// Has a process begin the sandbox and say what becomes of it; `None` if it could not and said why.
    async fn ask(&self, spec: &OwnedFd, say: &OwnedFd) -> Result<Option<OwnedFd>, SandboxError> {
        let io_error = |source| SandboxError::Io { step: "start of the init", source };
        let mut idle = self.idle.lock().await;
        let message = [spec.as_fd(), say.as_fd()];
        let process = match idle.take() {
            // One that has ended takes nothing, so nothing is begun twice.
            Some(process) if process.socket.send(START, &message).await.is_ok() => process,
            _ => {
                let process = Process::start(&self.program).map_err(io_error)?;
                process.socket.send(START, &message).await.map_err(|error| SandboxError::Died(error.to_string()))?;
                process
            }
        };
        let answer = process.socket.receive().await.map_err(io_error)?;
        let answer = answer.ok_or_else(|| SandboxError::Died("the process that starts inits ended".to_owned()))?;
        *idle = Some(process);
        Ok(answer.fds.into_iter().next())
    }
}

impl Process {
    fn start(program: &Path) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let mut command = crate::sys::command::tokio_command(program);
        command.arg(INIT_ARGUMENT).env_clear().current_dir("/").stdin(Stdio::from(theirs)).stdout(Stdio::null());
        Ok(Self { socket: PacketSocket::new(ours)?, _child: command.kill_on_drop(true).spawn()? })
    }
}

type Lines = tokio::io::Lines<BufReader<pipe::Receiver>>;

fn lines(heard: OwnedFd) -> io::Result<Lines> {
    Ok(BufReader::new(pipe::Receiver::from_owned_fd(heard)?).lines())
}

/// Two processes write the lines, the one that begins and the init it forks: either may come first.
async fn ready(lines: &mut Lines, forked: &mut Option<ProcessIdentity>) -> Result<ProcessIdentity, SandboxError> {
    let mut is_ready = false;
    loop {
        if let Some(identity) = *forked
            && is_ready
        {
            return Ok(identity);
        }
        let line = lines.next_line().await.map_err(|source| SandboxError::Io { step: "report", source })?;
        let Some(line) = line else {
            return Err(SandboxError::Died(String::new()));
        };
        match serde_json::from_str(&line) {
            Ok(Report::Forked { pid }) => {
                // Gone already if its first step failed; the next line says which.
                *forked = ProcessIdentity::of(pid).ok();
                point("layer.forked");
            }
            Ok(Report::Ready) => is_ready = true,
            Ok(Report::Failed { step, reason }) => return Err(SandboxError::Step { step, reason }),
            Err(_) => return Err(SandboxError::Died(line)),
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

#[cfg(test)]
mod tests {
    use super::{Report, lines, ready, report_to};
    use crate::sys::process::ProcessIdentity;
    use rustix::pipe::{PipeFlags, pipe_with};

    #[tokio::test]
    async fn an_init_may_be_ready_before_its_pid_is_said() {
        let pid = std::process::id().cast_signed();
        let (heard, say) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        report_to(&say, &Report::Ready);
        report_to(&say, &Report::Forked { pid });
        let mut forked = None;
        let identity = ready(&mut lines(heard).unwrap(), &mut forked).await.unwrap();
        assert_eq!((identity, forked), (ProcessIdentity::of(pid).unwrap(), Some(identity)));
    }
}
