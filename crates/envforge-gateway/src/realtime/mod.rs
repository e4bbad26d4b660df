//! WebSockets, once both sides have agreed to speak it.
//!
//! [`Joined`] moves bytes between browser and service until either side ends or the session does. It looks into the
//! bytes only as far as `frames` does, keeps no buffer while nothing moves (each worker thread lends one), and ends
//! within a moment of the session's end: by a close frame where a frame boundary allows it, and by hanging up in
//! any case.
//!
//! ```text
//!   client ──► read ──► frames ──┬── service awake: as it is ──────────► service
//!                                └── frozen: ping ─► pong back to the client
//!                                            data ─► wake, and pass on once that is allowed
//!   client ◄── pongs between frames ◄── frames ◄── read ◄─────────────── service
//! ```

mod frames;

use crate::activity::Visit;
use crate::http1::response::Fields;
use crate::phase::wake;
use crate::routes::Workspace;
use crate::sessions::Admitted;
use crate::shared::Shared;
use crate::wire::Rewound;
use bytes::BytesMut;
use envforge_core::refusal::Refusal;
use frames::{CLOSE_AWAY, CLOSE_LATER, CLOSE_POLICY, Frames};
use futures_util::future::BoxFuture;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

/// Bytes read at once.
const CHUNK: usize = 32 * 1024;

thread_local! {
    /// The buffer a worker thread lends to whichever socket has something to say.
    static LENT: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

/// Two sides that agreed to speak WebSocket.
pub(crate) struct Joined {
    pub(crate) shared: Arc<Shared>,
    pub(crate) workspace: Arc<Workspace>,
    pub(crate) admitted: Arc<Admitted>,
    pub(crate) visit: Visit,
    /// The path it was opened at, for a wake's log.
    pub(crate) path: String,
    /// The headers with which the service agreed.
    pub(crate) fields: Fields,
    pub(crate) service: Rewound,
}

impl Joined {
    /// Moves bytes until one side ends, the session does, or the gateway stops.
    /// `told` is what the client is still to be told before anything else.
    pub(crate) async fn run(self, client: Rewound, told: BytesMut) {
        self.shared.stats.tunnels.add();
        let ends = self.admitted.ends().clone();
        let stop = self.shared.stop.clone();
        let Self { shared, workspace, admitted, visit, path, service, .. } = self;
        let client = Side { told: told.to_vec(), ..Side::new(client) };
        let service = Side::new(service);
        let joined = Traits { shared, workspace, admitted, visit, path };
        let mut tunnel = Tunnel { joined, client, service, waking: None, held: Vec::new() };
        let (mut ends, mut stop) = (pin!(ends.cancelled()), pin!(stop.cancelled()));
        let over = poll_fn(|context| {
            if ends.as_mut().poll(context).is_ready() {
                return Poll::Ready(Over::Session);
            }
            if stop.as_mut().poll(context).is_ready() {
                return Poll::Ready(Over::Stop);
            }
            tunnel.poll(context)
        })
        .await;
        match over {
            Over::Session => {
                tunnel.joined.shared.stats.ended.add();
                tunnel.say_last(CLOSE_POLICY).await;
            }
            Over::WakeRefused => tunnel.say_last(CLOSE_LATER).await,
            Over::Stop => tunnel.say_last(CLOSE_AWAY).await,
            Over::Side => {}
            Over::Broken(error) => tracing::debug!(%error, "realtime: a side broke"),
        }
    }
}

/// Why it is over.
enum Over {
    /// One side ended, and the other has all it said.
    Side,
    /// A side broke.
    Broken(io::Error),
    /// The session ended.
    Session,
    /// The runtime froze and may not be woken.
    WakeRefused,
    /// The gateway stops.
    Stop,
}

/// One side: its socket, the place in what it says, and what it is still to be told.
struct Side {
    io: Rewound,
    says: Frames,
    told: Vec<u8>,
    /// How much of that it was told.
    at: usize,
    needs_flush: bool,
    has_ended: bool,
}

impl Side {
    fn new(io: Rewound) -> Self {
        Self { io, says: Frames::default(), told: Vec::new(), at: 0, needs_flush: false, has_ended: false }
    }

    /// Tells it what is left to tell.
    fn poll_tell(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.at < self.told.len() {
            let written = ready!(Pin::new(&mut self.io).poll_write(context, &self.told[self.at..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.at += written;
            self.needs_flush = true;
        }
        // Given back at once: most sockets are idle most of the time.
        (self.told, self.at) = (Vec::new(), 0);
        if self.needs_flush {
            ready!(Pin::new(&mut self.io).poll_flush(context))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Tells it some bytes now, keeping what it does not take.
    fn tell(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while self.told.is_empty() && !rest.is_empty() {
            match Pin::new(&mut self.io).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    rest = &rest[written..];
                    self.needs_flush = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.told.extend_from_slice(rest);
        Ok(())
    }
}

/// On whose behalf it is open.
struct Traits {
    shared: Arc<Shared>,
    workspace: Arc<Workspace>,
    admitted: Arc<Admitted>,
    visit: Visit,
    path: String,
}

struct Tunnel {
    joined: Traits,
    client: Side,
    service: Side,
    /// The wake under way, and what the client said that caused it. Until it is allowed nothing more is read from the
    /// client, and nothing reaches the service: what was refused must not be read at somebody else's wake.
    waking: Option<BoxFuture<'static, Result<u64, Refusal>>>,
    held: Vec<u8>,
}

impl Tunnel {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Over> {
        loop {
            if let Some(waking) = &mut self.waking
                && let Poll::Ready(verdict) = waking.as_mut().poll(context)
            {
                self.waking = None;
                if verdict.is_err() {
                    return Poll::Ready(Over::WakeRefused);
                }
                let held = std::mem::take(&mut self.held);
                if let Err(error) = self.service.tell(context, &held) {
                    return Poll::Ready(Over::Broken(error));
                }
            }
            let was_waking = self.waking.is_some();
            match (self.poll_up(context), self.poll_down(context)) {
                (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => return Poll::Ready(Over::Broken(error)),
                (Poll::Ready(Ok(())), _) | (_, Poll::Ready(Ok(()))) => return Poll::Ready(Over::Side),
                // A wake begun just now must be looked at once, so that it tells when it is decided.
                (Poll::Pending, Poll::Pending) if self.waking.is_some() && !was_waking => {}
                (Poll::Pending, Poll::Pending) => return Poll::Pending,
            }
        }
    }

    /// From client to service; ready at the client's end.
    fn poll_up(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        LENT.with_borrow_mut(|lent| {
            loop {
                ready!(self.service.poll_tell(context))?;
                if self.client.has_ended {
                    return Poll::Ready(Ok(()));
                }
                if self.waking.is_some() {
                    return Poll::Pending;
                }
                let mut buffer = ReadBuf::new(lent);
                ready!(Pin::new(&mut self.client.io).poll_read(context, &mut buffer))?;
                let bytes = buffer.filled();
                if bytes.is_empty() {
                    self.client.has_ended = true;
                    continue;
                }
                let is_frozen = self.is_frozen();
                if !is_frozen && self.client.says.is_clear() {
                    let data = self.client.says.follow(bytes);
                    self.joined.visit.moved(data);
                    self.service.tell(context, bytes)?;
                } else {
                    self.sift(context, bytes, is_frozen)?;
                }
            }
        })
    }

    /// What a client says while its service is frozen.
    fn sift(&mut self, context: &mut Context<'_>, bytes: &[u8], is_frozen: bool) -> io::Result<()> {
        let sifted = self.client.says.sift(bytes, is_frozen);
        if sifted.answered > 0 {
            // In the middle of a frame there is no room for a pong, nor while the client does not read; the next ping will
            // find some.
            if self.service.says.is_between() && self.client.told.is_empty() {
                (0..sifted.answered).for_each(|_| self.joined.shared.stats.pongs.add());
                self.client.tell(context, &sifted.pongs)?;
                if let Poll::Ready(Err(error)) = self.client.poll_tell(context) {
                    return Err(error);
                }
            }
        }
        if sifted.is_data {
            self.joined.visit.moved(sifted.pass.len());
        }
        if is_frozen && sifted.is_data {
            let Traits { shared, workspace, admitted, path, .. } = &self.joined;
            let (shared, workspace, admitted) = (Arc::clone(shared), Arc::clone(workspace), Arc::clone(admitted));
            let path = path.clone();
            self.waking = Some(Box::pin(async move { wake::ask(&shared, &workspace, &admitted, &path).await }));
            self.held = sifted.pass;
        } else if !sifted.pass.is_empty() {
            self.service.tell(context, &sifted.pass)?;
        }
        Ok(())
    }

    fn is_frozen(&self) -> bool {
        self.joined.workspace.is_frozen()
    }

    /// From service to client; ready at the service's end.
    fn poll_down(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        LENT.with_borrow_mut(|lent| {
            loop {
                ready!(self.client.poll_tell(context))?;
                if self.service.has_ended {
                    return Poll::Ready(Ok(()));
                }
                let mut buffer = ReadBuf::new(lent);
                ready!(Pin::new(&mut self.service.io).poll_read(context, &mut buffer))?;
                let bytes = buffer.filled();
                if bytes.is_empty() {
                    self.service.has_ended = true;
                    continue;
                }
                let data = self.service.says.follow(bytes);
                self.joined.visit.moved(data);
                self.client.tell(context, bytes)?;
            }
        })
    }

    /// Tells the client why it ends, if a frame boundary allows it and the socket takes it at once.
    async fn say_last(&mut self, frame: [u8; 4]) {
        if !self.service.says.is_between() {
            return;
        }
        poll_fn(|context| {
            let told = self.client.tell(context, &frame).is_ok() && self.client.poll_tell(context).is_ready();
            let closed = told && Pin::new(&mut self.client.io).poll_shutdown(context).is_ready();
            Poll::Ready(closed)
        })
        .await;
    }
}
