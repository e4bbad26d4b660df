//! The data uplink: how gateway and server open streams on a host.
//!
//! The host dials out to a local `SOCK_SEQPACKET` socket and shows its [`HostPass`](crate::host::HostPass). From then on
//! the other end asks for streams, each with a ticket the server signed, and the host answers with a connected
//! file descriptor: the service's own TCP socket, opened inside the workspace's network namespace, a terminal's
//! PTY, or a pipe of log lines or of a recording. So no byte of a stream takes an extra hop on the one box. A descriptor in hand
//! outlives this connection and the daemon.
//!
//! One datagram is one JSON message of at most [`MESSAGE_MAX`] bytes; answers may come in any order.

pub mod transfer;

use crate::host::HostPass;
use envforge_core::id::HostId;
use envforge_core::refusal::Refusal;
use envforge_core::token::{Keyring, TokenError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio_seqpacket::ancillary::{AncillaryMessageReader, AncillaryMessageWriter, OwnedAncillaryMessage};
use tokio_seqpacket::{UnixSeqpacket, UnixSeqpacketListener};

/// Largest message, in bytes.
pub const MESSAGE_MAX: usize = 16 * 1024;
/// Longest pattern, in bytes.
pub const PATTERN_MAX: usize = 1024;
/// How long a host may take to open a stream.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// What kind of stream is wanted, beside the ticket that allows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "open", rename_all = "snake_case")]
pub enum Open {
    /// The service's socket.
    Service,
    /// A terminal of this size.
    Terminal {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// A pipe of the terminals there are: one [`Terminals`](crate::http::terminal::Terminals) as JSON.
    Terminals,
    /// The same, once the ticket's terminal has ended.
    EndTerminal,
    /// A socket of the frames of one command ([`crate::exec`]).
    Exec,
    /// A root terminal of this size.
    Elevation {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// A recording, as asciicast v2.
    Recording,
    /// The recordings of terminals there are: one [`TerminalRecordings`](crate::http::recordings::TerminalRecordings) as JSON.
    Recordings,
    /// A dump of the workspace's database, as [`transfer`] has it.
    DatabaseDump,
    /// A socket that takes a dump to restore as [`transfer`] has it, and answers with the end of such a stream.
    DatabaseRestore,
    /// Captured log lines.
    Logs {
        /// Lines from the end to begin with, of those that are wanted.
        tail: u32,
        /// Keep sending what is appended.
        follow: bool,
        /// Which lines are wanted; all, if nothing is said. A daemon from before there were filters sends all.
        #[serde(default, skip_serializing_if = "LogFilter::is_empty")]
        filter: LogFilter,
    },
    /// The answer to a console's question, as [`crate::console`] says.
    Console {
        /// The question in JSON; the ticket names its digest.
        question: String,
    },
}

/// Which lines of a log are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFilter {
    /// In which this regular expression (syntax of the `regex` crate) is found, in what the process wrote, without time and
    /// stream. At most [`PATTERN_MAX`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grep: Option<String>,
    /// That were not written before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl LogFilter {
    /// Whether all lines are wanted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Message {
    Hello { pass: String },
    Open { id: u64, ticket: String, open: Open },
    Opened { id: u64 },
    Refused { id: u64, refusal: Refusal },
}

/// Why a stream did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The host has no uplink to here now.
    #[error("the host is not connected")]
    NotConnected,
    /// The host says no.
    #[error("{0}")]
    Refused(Refusal),
    /// The host did not answer, or the connection broke.
    #[error("the host did not open the stream: {0}")]
    Broken(#[from] io::Error),
}

async fn send(socket: &UnixSeqpacket, message: &Message, fd: Option<OwnedFd>) -> io::Result<()> {
    use std::os::fd::AsFd as _;
    let bytes = serde_json::to_vec(message).map_err(io::Error::other)?;
    let slices = [IoSlice::new(&bytes)];
    let mut space = [0_u8; 64];
    let mut ancillary = AncillaryMessageWriter::new(&mut space);
    if let Some(fd) = &fd {
        ancillary.add_fds(&[fd.as_fd()]).map_err(|_| io::Error::other("no room for a descriptor"))?;
    }
    let sent = socket.send_vectored_with_ancillary(&slices, &mut ancillary).await?;
    if sent == bytes.len() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::WriteZero)) }
}

async fn receive(socket: &UnixSeqpacket) -> io::Result<(Message, Option<OwnedFd>)> {
    let mut bytes = vec![0_u8; MESSAGE_MAX];
    let mut space = [0_u8; 128];
    let (length, fd) = {
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let (length, ancillary): (usize, AncillaryMessageReader<'_>) =
            socket.recv_vectored_with_ancillary(&mut slices, &mut space).await?;
        let mut fd = None;
        for message in ancillary.into_messages() {
            if let OwnedAncillaryMessage::FileDescriptors(mut fds) = message {
                fd = fds.next();
            }
        }
        (length, fd)
    };
    if length == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    let message = serde_json::from_slice(&bytes[..length]).map_err(io::Error::other)?;
    Ok((message, fd))
}

type Waiting = Mutex<HashMap<u64, oneshot::Sender<Result<OwnedFd, OpenError>>>>;

struct Link {
    socket: UnixSeqpacket,
    /// What the host showed.
    pass: String,
    /// Told once, the connection ends.
    ended: Notify,
    waiting: Waiting,
    next: AtomicU64,
}

/// The uplinks of the hosts connected here; the gateway's and the server's side.
#[derive(Default)]
pub struct Uplinks {
    hosts: Mutex<HashMap<HostId, Arc<Link>>>,
    changed: Notify,
}

impl std::fmt::Debug for Uplinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Uplinks")
    }
}

impl Uplinks {
    /// Listens on `path`, replacing a socket file left behind, and serves hosts until dropped. `keys` is asked at
    /// each hello, so that rotated keys count at once; `refused` hears of each pass that does not hold. As long as no key is
    /// known, as before a gateway's first feed, none does and nobody is told: the host comes again.
    pub async fn serve(
        self: Arc<Self>,
        path: &Path,
        keys: impl Fn() -> Keyring + Send + Sync + 'static,
        now: impl Fn() -> jiff::Timestamp + Send + Sync + 'static,
        refused: impl Fn(TokenError) + Send + Sync + 'static,
    ) -> io::Result<()> {
        let mut listener = listen(path)?;
        let keys = Arc::new(keys);
        let known = Arc::clone(&keys);
        let check = Arc::new(move |pass: &str| keys().verify::<HostPass>(pass, now()));
        let refused = Arc::new(refused);
        let mut tasks = tokio::task::JoinSet::new();
        loop {
            let socket = listener.accept().await?;
            let (uplinks, check, refused) = (Arc::clone(&self), Arc::clone(&check), Arc::clone(&refused));
            let known = Arc::clone(&known);
            while tasks.try_join_next().is_some() {}
            tasks.spawn(async move {
                let hello = tokio::time::timeout(OPEN_TIMEOUT, receive(&socket)).await;
                let Ok(Ok((Message::Hello { pass }, _))) = hello else {
                    return tracing::warn!("uplink: a connection without a hello was closed");
                };
                match check(&pass) {
                    Ok(claims) => uplinks.run(claims.host, pass, socket, &*check).await,
                    Err(TokenError::UnknownKey) if known().is_empty() => {
                        tracing::debug!("uplink: a host came before any key was known; it comes again");
                    }
                    Err(error) => {
                        tracing::warn!(%error, "uplink: a host's pass was refused");
                        refused(error);
                    }
                }
            });
        }
    }

    async fn run(
        &self,
        host: HostId,
        pass: String,
        socket: UnixSeqpacket,
        check: impl Fn(&str) -> Result<HostPass, TokenError>,
    ) {
        let link = Link { socket, pass, ended: Notify::new(), waiting: Mutex::default(), next: AtomicU64::new(1) };
        let link = Arc::new(link);
        self.hosts.lock().expect("no panic while held").insert(host, Arc::clone(&link));
        // Its key may have been revoked before `end_unknown` could see it here.
        if check(&link.pass).is_err() {
            link.ended.notify_one();
        }
        self.changed.notify_waiters();
        tracing::debug!(%host, "uplink: connected");
        loop {
            let received = tokio::select! {
                received = receive(&link.socket) => received,
                () = link.ended.notified() => Err(io::Error::other("the key of its pass was revoked")),
            };
            let (id, answer) = match received {
                Ok((Message::Opened { id }, Some(fd))) => (id, Ok(fd)),
                Ok((Message::Opened { id }, None)) => {
                    (id, Err(OpenError::Broken(io::Error::other("no descriptor came along"))))
                }
                Ok((Message::Refused { id, refusal }, _)) => (id, Err(OpenError::Refused(refusal))),
                Ok(_) => continue,
                Err(error) => {
                    tracing::debug!(%host, %error, "uplink: closed");
                    break;
                }
            };
            if let Some(waiter) = link.waiting.lock().expect("no panic while held").remove(&id) {
                // The asker may be gone; then the descriptor is dropped and the stream closes.
                drop(waiter.send(answer));
            }
        }
        link.waiting.lock().expect("no panic while held").clear();
        let mut hosts = self.hosts.lock().expect("no panic while held");
        if hosts.get(&host).is_some_and(|current| Arc::ptr_eq(current, &link)) {
            hosts.remove(&host);
        }
    }

    /// Ends the connections whose pass was signed by none of these keys. One that has expired since it was shown is let be.
    pub fn end_unknown(&self, keys: &Keyring, now: jiff::Timestamp) {
        for link in self.hosts.lock().expect("no panic while held").values() {
            match keys.verify::<HostPass>(&link.pass, now) {
                Ok(_) | Err(TokenError::Expired) => {}
                Err(_) => link.ended.notify_one(),
            }
        }
    }

    /// Whether a host is connected.
    pub fn is_connected(&self, host: HostId) -> bool {
        self.hosts.lock().expect("no panic while held").contains_key(&host)
    }

    /// Waits until a host is connected, at most as long as given.
    pub async fn connected(&self, host: HostId, limit: Duration) -> bool {
        tokio::time::timeout(limit, async {
            loop {
                let changed = self.changed.notified();
                if self.is_connected(host) {
                    return;
                }
                changed.await;
            }
        })
        .await
        .is_ok()
    }

    /// Opens a stream on `host`.
    pub async fn open(&self, host: HostId, ticket: &str, open: Open) -> Result<OwnedFd, OpenError> {
        let link = self.hosts.lock().expect("no panic while held").get(&host).cloned();
        let link = link.ok_or(OpenError::NotConnected)?;
        let id = link.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        link.waiting.lock().expect("no panic while held").insert(id, sender);
        let asked = send(&link.socket, &Message::Open { id, ticket: ticket.to_owned(), open }, None).await;
        let answer = match asked {
            Ok(()) => tokio::time::timeout(OPEN_TIMEOUT, receiver).await,
            Err(error) => {
                link.waiting.lock().expect("no panic while held").remove(&id);
                return Err(OpenError::Broken(error));
            }
        };
        link.waiting.lock().expect("no panic while held").remove(&id);
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(OpenError::NotConnected),
            Err(_) => Err(OpenError::Broken(io::Error::from(io::ErrorKind::TimedOut))),
        }
    }
}

fn listen(path: &Path) -> io::Result<UnixSeqpacketListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixSeqpacketListener::bind(path)
}

/// The host's side: dials `path`, shows `pass`, and answers every request through `handler` until the connection
/// breaks. Requests are handled concurrently, each by its own call.
pub async fn dial<H, F>(path: &Path, pass: &str, handler: H) -> io::Result<()>
where
    H: Fn(String, Open) -> F + Send + Sync + 'static,
    F: Future<Output = Result<OwnedFd, Refusal>> + Send + 'static,
{
    let socket = Arc::new(UnixSeqpacket::connect(path).await?);
    send(&socket, &Message::Hello { pass: pass.to_owned() }, None).await?;
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let (message, _) = receive(&socket).await?;
        while tasks.try_join_next().is_some() {}
        if let Message::Open { id, ticket, open } = message {
            let work = handler(ticket, open);
            let socket = Arc::clone(&socket);
            tasks.spawn(async move {
                let (answer, fd) = match work.await {
                    Ok(fd) => (Message::Opened { id }, Some(fd)),
                    Err(refusal) => (Message::Refused { id, refusal }, None),
                };
                if let Err(error) = send(&socket, &answer, fd).await {
                    tracing::debug!(%error, "uplink: an answer was not sent");
                }
            });
        }
    }
}

#[cfg(test)]
mod tests;
