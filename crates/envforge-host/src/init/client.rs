//! The daemon's end of a sandbox's control socket.
//!
//! A client may be dropped and made again at any time; nothing in the sandbox notices. Answers are matched by id, so
//! any number of requests may be on their way at once. A frozen sandbox answers nothing until it is thawed (its init
//! is frozen with it), so every request has a time limit: callers thaw first, then ask.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::protocol::{Answer, Event, Refusal, RefusalCode, Request, RequestFrame, SandboxState, ServerFrame, Spawn};
use super::wire::{Packet, PacketSocket};
use crate::sys::process;

/// How long an ordinary request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// A connection to a sandbox's init. Clones share it.
#[derive(Clone)]
pub struct InitClient {
    shared: Arc<Shared>,
    _reader: Arc<AbortOnDrop>,
}

struct Shared {
    socket: PacketSocket,
    next_id: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    waiting: HashMap<u64, oneshot::Sender<Reply>>,
    subscribers: Vec<mpsc::UnboundedSender<Event>>,
}

type Reply = Result<(Answer, Vec<OwnedFd>), Refusal>;

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A request to an init that brought no answer, or a refusal.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens there, or the socket broke.
    #[error("sandbox control socket: {0}")]
    Io(#[from] io::Error),
    /// The init is gone, or closed the connection.
    #[error("the sandbox's init is gone")]
    Closed,
    /// No answer in time. A frozen sandbox never answers.
    #[error("the sandbox's init did not answer within {0:?}")]
    TimedOut(Duration),
    /// The init answered no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The answer made no sense.
    #[error("the sandbox's init sent an answer that does not fit the request: {0}")]
    Unexpected(String),
}

impl ClientError {
    /// The refusal's code, if it is one.
    pub fn refusal(&self) -> Option<RefusalCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            _ => None,
        }
    }
}

/// A process that was started.
#[derive(Debug)]
pub struct Spawned {
    /// Its id inside the sandbox.
    pub pid: i32,
    /// Its id on the host; `None` if it ended at once.
    pub host_pid: Option<i32>,
    /// A descriptor for it, readable when it has ended.
    pub pidfd: OwnedFd,
    /// The master side of its terminal, if it was given one. The terminal hangs up when the last copy is closed.
    pub terminal: Option<OwnedFd>,
}

/// What happens in a sandbox from the moment of subscribing.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::UnboundedReceiver<Event>,
}

impl Events {
    /// The next event, or `None` when the connection ended.
    pub async fn next(&mut self) -> Option<Event> {
        self.receiver.recv().await
    }
}

impl InitClient {
    /// Connects to the init that listens at `path`, and makes sure that it answers.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        let client = Self::connect_unchecked(path)?;
        client.ping().await?;
        Ok(client)
    }

    /// Connects without waiting for an answer, as one must to a frozen sandbox.
    pub fn connect_unchecked(path: &Path) -> Result<Self, ClientError> {
        let shared = Arc::new(Shared {
            socket: PacketSocket::connect(path)?,
            next_id: AtomicU64::new(1),
            state: Mutex::default(),
        });
        let reader = tokio::spawn(read_answers(Arc::clone(&shared)));
        Ok(Self { shared, _reader: Arc::new(AbortOnDrop(reader)) })
    }

    /// Does it answer?
    pub async fn ping(&self) -> Result<(), ClientError> {
        self.done(Request::Ping, REQUEST_LIMIT).await
    }

    /// Starts a process.
    pub async fn spawn(&self, spawn: Spawn) -> Result<Spawned, ClientError> {
        self.spawn_inner(spawn, &[]).await
    }

    /// Starts a process with these as its stdin, stdout and stderr. They are duplicated: close your own copies.
    pub async fn spawn_with_stdio(
        &self,
        mut spawn: Spawn,
        stdin: BorrowedFd<'_>,
        stdout: BorrowedFd<'_>,
        stderr: BorrowedFd<'_>,
    ) -> Result<Spawned, ClientError> {
        spawn.pass_stdio = true;
        self.spawn_inner(spawn, &[stdin, stdout, stderr]).await
    }

    async fn spawn_inner(&self, spawn: Spawn, fds: &[BorrowedFd<'_>]) -> Result<Spawned, ClientError> {
        let wants_terminal = spawn.tty.is_some();
        let (answer, mut fds) = self.request(Request::Spawn(Box::new(spawn)), fds, REQUEST_LIMIT).await?;
        let Answer::Spawned { pid } = answer else {
            return Err(unexpected(&answer));
        };
        if fds.len() != 1 + usize::from(wants_terminal) {
            return Err(ClientError::Unexpected(format!("{} descriptors", fds.len())));
        }
        let terminal = if wants_terminal { fds.pop() } else { None };
        let pidfd = fds.remove(0);
        Ok(Spawned { pid, host_pid: process::pid_of_pidfd(pidfd.as_fd()), pidfd, terminal })
    }

    /// Sends a signal to a process, or to everything in its session.
    pub async fn signal(&self, name: &str, signal: i32, whole_session: bool) -> Result<(), ClientError> {
        let request = Request::Signal { name: name.to_owned(), signal, whole_session };
        self.done(request, REQUEST_LIMIT).await
    }

    /// TERM, then after `grace` KILL; returns when nothing the process started is left.
    pub async fn stop(&self, name: &str, grace: Duration) -> Result<(), ClientError> {
        let request = Request::Stop { name: name.to_owned(), grace_ms: grace.as_millis() as u64 };
        self.done(request, grace + REQUEST_LIMIT).await
    }

    /// Every process known, running or remembered, and every forward.
    pub async fn list(&self) -> Result<SandboxState, ClientError> {
        match self.request(Request::List, &[], REQUEST_LIMIT).await? {
            (Answer::State(state), _) => Ok(state),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Drops the exit record of a process that ended. Forgetting what is not known is not an error.
    pub async fn forget(&self, name: &str) -> Result<(), ClientError> {
        self.done(Request::Forget { name: name.to_owned() }, REQUEST_LIMIT).await
    }

    /// The id on the host of a running process, and a descriptor for it.
    pub async fn locate(&self, name: &str) -> Result<(i32, OwnedFd), ClientError> {
        let request = Request::Locate { name: name.to_owned() };
        let (answer, mut fds) = self.request(request, &[], REQUEST_LIMIT).await?;
        let Some(pidfd) = fds.pop() else {
            return Err(unexpected(&answer));
        };
        match process::pid_of_pidfd(pidfd.as_fd()) {
            Some(pid) => Ok((pid, pidfd)),
            None => Err(Refusal::new(RefusalCode::NoSuchProcess, format!("{name} ended just now")).into()),
        }
    }

    /// Events from now on. To miss nothing, subscribe first and list second.
    pub async fn subscribe(&self) -> Result<Events, ClientError> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.shared.lock().subscribers.push(sender);
        self.done(Request::Subscribe, REQUEST_LIMIT).await?;
        Ok(Events { receiver })
    }

    /// Carries TCP connections to `listen` inside the network namespace to a Unix socket the init sees, as many as `limit` at
    /// once. Asking twice for the same is fine; the first limit holds.
    pub async fn forward(&self, listen: SocketAddr, to: &Path, limit: Option<u32>) -> Result<(), ClientError> {
        let to = to.to_owned();
        self.done(Request::Forward { listen, to, limit }, REQUEST_LIMIT).await
    }

    /// Ends a forward. Asking twice is fine.
    pub async fn unforward(&self, listen: SocketAddr) -> Result<(), ClientError> {
        self.done(Request::Unforward { listen }, REQUEST_LIMIT).await
    }

    /// A connection to a port on the sandbox's loopback, opened by the init. Slower than `sys::netns::connect`, and the
    /// only way into a rootless sandbox.
    pub async fn connect_port(&self, port: u16) -> Result<std::net::TcpStream, ClientError> {
        let (answer, mut fds) = self.request(Request::Connect { port }, &[], REQUEST_LIMIT).await?;
        match fds.pop() {
            Some(fd) => Ok(fd.into()),
            None => Err(unexpected(&answer)),
        }
    }

    /// TERM to everything, after the grace KILL, then the sandbox is gone. Answered before it begins.
    pub async fn shutdown(&self, grace: Duration) -> Result<(), ClientError> {
        let grace_ms = grace.as_millis() as u64;
        self.done(Request::Shutdown { grace_ms }, REQUEST_LIMIT).await
    }

    async fn done(&self, request: Request, limit: Duration) -> Result<(), ClientError> {
        match self.request(request, &[], limit).await? {
            (Answer::Done, _) => Ok(()),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Any request, with descriptors to send along and those that came back.
    pub async fn request(
        &self,
        request: Request,
        fds: &[BorrowedFd<'_>],
        limit: Duration,
    ) -> Result<(Answer, Vec<OwnedFd>), ClientError> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        let _forget = ForgetOnDrop { shared: &self.shared, id };
        {
            let mut state = self.shared.lock();
            if state.closed {
                return Err(ClientError::Closed);
            }
            state.waiting.insert(id, sender);
        }
        let bytes = serde_json::to_vec(&RequestFrame { id, request })
            .map_err(|error| ClientError::Unexpected(error.to_string()))?;
        let exchange = async {
            self.shared.socket.send(&bytes, fds).await.map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected => {
                    ClientError::Closed
                }
                _ => ClientError::Io(error),
            })?;
            receiver.await.map_err(|_| ClientError::Closed)
        };
        match tokio::time::timeout(limit, exchange).await {
            Ok(reply) => Ok(reply??),
            Err(_) => Err(ClientError::TimedOut(limit)),
        }
    }
}

fn unexpected(answer: &Answer) -> ClientError {
    ClientError::Unexpected(format!("{answer:?}"))
}

/// A caller that gave up must not leave its place in the table behind.
struct ForgetOnDrop<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for ForgetOnDrop<'_> {
    fn drop(&mut self) {
        self.shared.lock().waiting.remove(&self.id);
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, packet: Packet) {
        let frame = match serde_json::from_slice(&packet.bytes) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::warn!(%error, "a sandbox's init sent a message that can't be read");
                return;
            }
        };
        let mut state = self.lock();
        match frame {
            ServerFrame::Answer { id, answer } => {
                if let Some(waiting) = state.waiting.remove(&id) {
                    let _ = waiting.send(Ok((answer, packet.fds)));
                }
            }
            ServerFrame::Refused { id, refusal } => {
                if let Some(waiting) = state.waiting.remove(&id) {
                    let _ = waiting.send(Err(refusal));
                }
            }
            ServerFrame::Event(event) => {
                state.subscribers.retain(|subscriber| subscriber.send(event.clone()).is_ok());
            }
        }
    }
}

async fn read_answers(shared: Arc<Shared>) {
    while let Ok(Some(packet)) = shared.socket.receive().await {
        shared.deliver(packet);
    }
    let mut state = shared.lock();
    state.closed = true;
    state.waiting.clear();
    state.subscribers.clear();
}
