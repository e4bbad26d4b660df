//! Data uplinks: one outgoing connection to each gateway and to the server's terminal relay.
//!
//! ```text
//!   Open { ticket, kind } ─► signature, expiry ─► org, host, generation ─► kind ─► nonce unused ─► the stream
//! ```
//!
//! The other end asks for streams; the ticket decides. It is checked before anything else happens and before anything is
//! looked up. What goes back is a connected descriptor, which then needs neither this connection nor the daemon.
//! All but service tickets are good once; a spent one is remembered until it would have expired, across restarts. What is
//! wrong with a ticket and can't be a delay goes to the ledger, with the next heartbeat.

pub(crate) mod logs;
mod nonces;
mod service;

use crate::console;
use crate::ctx::HostContext;
use crate::elevation;
use crate::exec;
use crate::recorded::recording;
use crate::terminal;
use crate::transfer::{self, Direction};
use crate::workspace::registry::Workspaces;
use envforge_api::host::UplinkAddress;
use envforge_api::uplink::{self, Open};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::ticket::{TicketClaims, TicketFault, TicketKind};
use envforge_core::token::{Keyring, PublicKey, TokenError};
use nonces::Nonces;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often it is looked whether another process has taken an address over.
const LOOK: Duration = Duration::from_millis(100);
/// Connections that end at once, in a row, after which the pass is taken to have expired.
const REFUSED_IN_A_ROW: u32 = 6;
/// A pass is good for days: one younger than this is refused for another reason, which a new one does not change. A gateway
/// that knows no key yet refuses every pass, and must not cost the others' host its control stream.
const PASS_FRESH: Duration = Duration::from_mins(10);

/// The host's uplinks.
pub(crate) struct Uplinks {
    ctx: Arc<HostContext>,
    workspaces: Arc<Workspaces>,
    trust: Mutex<Trust>,
    nonces: Nonces,
    searches: logs::Turns,
    /// For the next heartbeat.
    faults: Mutex<BTreeSet<TicketFault>>,
    dialled: Mutex<BTreeMap<String, watch::Sender<Option<String>>>>,
    pass_needed: Notify,
}

/// What the last welcome said about tickets; nobody is trusted before the first.
#[derive(Default)]
struct Trust {
    generation: Option<u64>,
    keys: Keyring,
}

impl Uplinks {
    pub(crate) fn new(ctx: Arc<HostContext>, workspaces: Arc<Workspaces>) -> io::Result<Arc<Self>> {
        let nonces = Nonces::load(ctx.data.path().join("nonces"), ctx.now())?;
        Ok(Arc::new(Self {
            ctx,
            workspaces,
            trust: Mutex::default(),
            nonces,
            searches: logs::turns(),
            faults: Mutex::default(),
            dialled: Mutex::default(),
            pass_needed: Notify::new(),
        }))
    }

    /// Resolves when some other end no longer takes the pass.
    pub(crate) async fn pass_needed(&self) {
        self.pass_needed.notified().await;
    }

    /// Trusts these keys from now on, and dials these addresses and no others.
    pub(crate) fn welcomed(self: &Arc<Self>, generation: u64, keys: &[PublicKey], addresses: Vec<UplinkAddress>) {
        {
            let mut trust = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
            *trust = Trust { generation: Some(generation), keys: Keyring::new(keys) };
        }
        let mut dialled = self.dialled.lock().unwrap_or_else(PoisonError::into_inner);
        dialled.retain(|path, _| addresses.iter().any(|address| address.path == *path));
        for address in addresses {
            if let Some(pass) = dialled.get(&address.path) {
                pass.send_replace(Some(address.pass));
                continue;
            }
            let (sender, pass) = watch::channel(Some(address.pass));
            dialled.insert(address.path.clone(), sender);
            let uplinks = Arc::clone(self);
            self.ctx.tasks.spawn_loose("uplink", async move { uplinks.hold(address.path, pass).await });
        }
    }

    /// Keeps one uplink up until its address is dropped.
    ///
    /// When another process takes the address over, as the next gateway does while the one before finishes, it is dialled at
    /// once; the connection to the one before stays until that one ends.
    async fn hold(self: Arc<Self>, path: String, mut pass: watch::Receiver<Option<String>>) {
        let (mut pause, mut refused) = (FIRST_PAUSE, 0);
        let mut before = JoinSet::new();
        let (mut known, mut given) = (String::new(), Instant::now());
        loop {
            let Some(current) = pass.borrow_and_update().clone() else { return };
            if current != known {
                (known, given) = (current.clone(), Instant::now());
            }
            let began = Instant::now();
            let socket = Socket::at(&path);
            let mut dialled = Box::pin(dial(Arc::clone(&self), path.clone(), current));
            while before.try_join_next().is_some() {}
            let ended = tokio::select! {
                ended = &mut dialled => ended,
                () = replaced(&path, socket) => {
                    before.spawn(dialled);
                    continue;
                }
                gone = dropped(&mut pass) => return gone,
            };
            let lasted = began.elapsed() > LONGEST_PAUSE;
            if let Err(error) = ended {
                tracing::debug!(path, %error, "uplink: not connected");
                let closed = error.kind() == io::ErrorKind::UnexpectedEof;
                refused = if closed && !lasted { refused + 1 } else { 0 };
            }
            if refused >= REFUSED_IN_A_ROW {
                refused = 0;
                if given.elapsed() > PASS_FRESH {
                    self.pass_needed.notify_one();
                }
            }
            pause = if lasted { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = pass.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Opens what a ticket allows.
    async fn open(&self, ticket: &str, open: Open) -> Result<OwnedFd, Refusal> {
        let claims = self.check(ticket, &open)?;
        let view = self
            .workspaces
            .view(claims.workspace)
            .ok_or_else(|| Refusal::not_found("workspace.not_here", "this host does not have the workspace"))?;
        view.taken_up().await;
        match open {
            Open::Service => service::open(&self.ctx, &view, &claims.subject).await,
            Open::Terminal { cols, rows } => terminal::open(&self.ctx, &view, &claims, cols, rows).await,
            Open::Terminals => terminal::list::open(&self.ctx, &view).await,
            Open::EndTerminal => terminal::list::end(&self.ctx, &view, &claims.subject).await,
            Open::Exec => exec::open(&self.ctx, &view, claims.person.as_ref()).await,
            Open::Elevation { cols, rows } => elevation::open(&self.ctx, &view, &claims, cols, rows).await,
            Open::Recording => {
                let place = view.get().place.clone();
                recording::read(&self.ctx, &place, &claims.subject)
            }
            Open::Recordings => recording::list(&self.ctx, &view.get().place.clone()),
            Open::Console { question } => console::open(&self.ctx, &view, &claims.subject, &question).await,
            Open::DatabaseDump => transfer::open(&self.ctx, view, Direction::Dump),
            Open::DatabaseRestore => transfer::open(&self.ctx, view, Direction::Restore),
            Open::Logs { tail, follow, filter } => {
                let lines = logs::Lines { tail, follow, filter };
                logs::open(&self.ctx, &view, &claims.subject, &lines, &self.searches)
            }
        }
    }

    fn check(&self, ticket: &str, open: &Open) -> Result<TicketClaims, Refusal> {
        let now = self.ctx.now();
        let claims: TicketClaims = {
            let trust = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
            let claims: TicketClaims = trust.keys.verify(ticket, now).map_err(|error| match error {
                TokenError::Expired => forbidden("ticket.expired", "the ticket has expired"),
                TokenError::UnknownKey if trust.generation.is_none() => {
                    forbidden("ticket.unknown_key", "this host has not heard yet whose tickets are good")
                }
                TokenError::UnknownKey => {
                    self.suspect(TicketFault::UnknownKey, "the ticket was signed by a key this host does not know")
                }
                TokenError::Malformed | TokenError::Forged => {
                    self.suspect(TicketFault::Invalid, "this is no ticket for a host")
                }
            })?;
            if (claims.org, claims.host) != (self.ctx.identity.org, self.ctx.identity.host) {
                return Err(self.suspect(TicketFault::OtherHost, "the ticket is for another host or org"));
            }
            if Some(claims.generation) != trust.generation {
                return Err(forbidden("ticket.other_host", "the ticket is for another registration of this host"));
            }
            claims
        };
        let kind = match open {
            Open::Service => TicketKind::Service,
            Open::Terminal { .. } | Open::Terminals | Open::EndTerminal | Open::Exec => TicketKind::Terminal,
            Open::Elevation { .. } => TicketKind::Elevation,
            Open::Recording | Open::Recordings => TicketKind::Recording,
            Open::DatabaseDump | Open::DatabaseRestore => TicketKind::Database,
            Open::Logs { .. } => TicketKind::Logs,
            Open::Console { .. } => TicketKind::Console,
        };
        if claims.kind != kind {
            return Err(self.suspect(TicketFault::OtherKind, "the ticket is for another kind of stream"));
        }
        if kind != TicketKind::Service && !self.nonces.spend(claims.nonce, claims.expires, now) {
            return Err(self.suspect(TicketFault::Spent, "the ticket was used already"));
        }
        Ok(claims)
    }

    /// A refusal that the server is told of.
    fn suspect(&self, fault: TicketFault, message: &str) -> Refusal {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).insert(fault);
        forbidden(fault.code(), message)
    }

    /// What was wrong with tickets since the last call.
    pub(crate) fn take_faults(&self) -> BTreeSet<TicketFault> {
        std::mem::take(&mut *self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Answers the other end until the connection breaks.
async fn dial(uplinks: Arc<Uplinks>, path: String, pass: String) -> io::Result<()> {
    let open = move |ticket: String, open| {
        let uplinks = Arc::clone(&uplinks);
        async move { uplinks.open(&ticket, open).await }
    };
    uplink::dial(Path::new(&path), &pass, open).await
}

/// Which socket is at a path: numbers of files are given out again at once, so when it was made counts too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Socket {
    number: u64,
    made: (i64, i64),
}

impl Socket {
    fn at(path: &str) -> Option<Self> {
        let metadata = std::fs::symlink_metadata(path).ok()?;
        Some(Self { number: metadata.ino(), made: (metadata.mtime(), metadata.mtime_nsec()) })
    }
}

/// Resolves when there is another socket at the path.
async fn replaced(path: &str, dialled: Option<Socket>) {
    loop {
        tokio::time::sleep(LOOK).await;
        if Socket::at(path).is_some_and(|socket| Some(socket) != dialled) {
            return;
        }
    }
}

/// Resolves when the address is no longer wanted; a new pass for it is taken at the next dial.
async fn dropped(pass: &mut watch::Receiver<Option<String>>) {
    while pass.changed().await.is_ok() {}
}

fn forbidden(code: &str, message: &str) -> Refusal {
    Refusal::new(RefusalKind::Forbidden, code, message)
}
