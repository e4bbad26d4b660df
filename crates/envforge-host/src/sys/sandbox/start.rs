//! The daemon's side: starting a sandbox, finding one again, ending one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{MemfdFlags, SeekFrom};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, Interest};
use tokio::net::unix::pipe;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::starter::{FULL, ROOTLESS};
use super::{INIT_ARGUMENT, SandboxSpec, SpecError, join};
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

/// What the starting init writes to its standard output, one line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
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
    /// Waits for its end, so that one that was killed is gone at once. Given up with this, which kills it.
    _end: JoinSet<io::Result<ExitStatus>>,
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
        let end = tokio::time::Instant::now() + limit;
        let mut group = join::birthplace(&spec.cgroup_procs);
        let mut may_repeat = true;
        loop {
            return match self.start_in(spec, group.as_ref(), end).await {
                Ok(sandbox) => Ok(sandbox),
                // Who was to begin it had ended, and is replaced.
                Err(Failed::NotBegun) if std::mem::take(&mut may_repeat) => continue,
                // It never ran ([`join`]).
                Err(Failed::Silently) if group.take().is_some() => continue,
                Err(Failed::NotBegun) => Err(SandboxError::Died("the process that begins it ended".to_owned())),
                Err(Failed::Silently) => Err(SandboxError::Died("it said nothing".to_owned())),
                Err(Failed::Late) => Err(SandboxError::TimedOut(limit)),
                Err(Failed::With(error)) => Err(error),
            };
        }
    }

    async fn start_in(&self, spec: &SandboxSpec, group: Option<&OwnedFd>, end: Instant) -> Result<Sandbox, Failed> {
        let io_error = |step| move |source| SandboxError::Io { step, source };
        let input = spec_file(spec).map_err(io_error("specification"))?;
        let (heard, say) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| io_error("report")(error.into()))?;
        let heard = pipe::Receiver::from_owned_fd(heard).map_err(io_error("report"))?;
        let message = if spec.rootless { ROOTLESS } else { FULL };
        let given: Vec<BorrowedFd<'_>> =
            [Some(&input), Some(&say), group].into_iter().flatten().map(AsFd::as_fd).collect();
        let asked = timeout_at(end, self.ask(message, &given)).await;
        // Theirs alone from here on, so that it ends with them.
        drop(say);
        let born = asked.map_err(|_| Failed::Late)??;
        if born.is_some() {
            point("layer.forked");
        }

        let heard = timeout_at(end, said(heard)).await.unwrap_or(Err(Failed::Late));
        let Some((pid, pidfd)) = born else {
            return Err(match heard {
                // Nobody had the other end.
                Err(Failed::Silently) => Failed::NotBegun,
                Err(failed) => failed,
                // It was born, and who could have told of it died at that moment.
                Ok(()) => SandboxError::Died("nobody said who it is".to_owned()).into(),
            });
        };
        if let Err(failed) = heard {
            let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
            return Err(failed);
        }
        Sandbox::hold(pid, pidfd, &spec.control_socket).map_err(Into::into)
    }

    /// Has the first process of a sandbox born: its number, and what holds it. `None` if it was not, or nobody is there to tell.
    async fn ask(&self, message: &[u8], given: &[BorrowedFd<'_>]) -> Result<Option<(i32, OwnedFd)>, SandboxError> {
        let io_error = |source| SandboxError::Io { step: "start of the init", source };
        let mut idle = self.idle.lock().await;
        let process = match idle.take() {
            Some(process) => process,
            None => Process::start(&self.program).map_err(io_error)?,
        };
        if process.socket.send(message, given).await.is_err() {
            return Ok(None);
        }
        let Some(answer) = process.socket.receive().await.map_err(io_error)? else {
            return Ok(None);
        };
        *idle = Some(process);
        let pid = std::str::from_utf8(&answer.bytes).ok().and_then(|text| text.parse().ok());
        Ok(pid.zip(answer.fds.into_iter().next()))
    }
}

/// Why a sandbox does not run.
enum Failed {
    /// There is nothing of it.
    NotBegun,
    /// Its first process ended without a word.
    Silently,
    /// It was not ready in time.
    Late,
    With(SandboxError),
}

impl From<SandboxError> for Failed {
    fn from(error: SandboxError) -> Self {
        Self::With(error)
    }
}

/// Waits until the init says that it is ready, or why not.
async fn said(heard: pipe::Receiver) -> Result<(), Failed> {
    let mut lines = BufReader::new(heard).lines();
    let io_error = |source| SandboxError::Io { step: "report", source };
    let Some(mut line) = lines.next_line().await.map_err(io_error)? else {
        return Err(Failed::Silently);
    };
    match serde_json::from_str(&line) {
        Ok(Report::Ready) => Ok(()),
        Ok(Report::Failed { step, reason }) => Err(SandboxError::Step { step, reason }.into()),
        // The last words of a program that breaks.
        Err(_) => {
            while let Some(further) = lines.next_line().await.map_err(io_error)? {
                line.push(' ');
                line.push_str(&further);
            }
            Err(SandboxError::Died(line).into())
        }
    }
}

impl Process {
    fn start(program: &Path) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let mut command = crate::sys::command::tokio_command(program);
        command.arg(INIT_ARGUMENT).env_clear().current_dir("/").stdin(Stdio::from(theirs)).stdout(Stdio::null());
        let socket = PacketSocket::new(ours)?;
        let mut child = command.kill_on_drop(true).spawn()?;
        let mut end = JoinSet::new();
        end.spawn(async move { child.wait().await });
        Ok(Self { socket, _end: end })
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
    /// One that was just born.
    fn hold(pid: i32, pidfd: OwnedFd, control_socket: &Path) -> Result<Self, SandboxError> {
        let identity = ProcessIdentity::of(pid).map_err(|_| SandboxError::Gone(pid))?;
        // Had it ended, that could have been somebody else.
        let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
        if rustix::event::poll(&mut ended, Some(&Timespec::default())) != Ok(0) {
            return Err(SandboxError::Gone(pid));
        }
        Ok(Self { identity, control_socket: control_socket.to_owned(), pidfd })
    }

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
