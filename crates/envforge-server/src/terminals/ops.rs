//! Sessions: what is kept of a terminal's stream, for whom, and for how long.

use crate::accounts::CredentialId;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::fd::FdStream;
use crate::platform::http::auth::Permit;
use crate::streams::ops::Opened;
use envforge_api::http::terminal::{SESSION_OFFSET, SESSION_UNKNOWN};
use envforge_api::sensitive::Sensitive;
use envforge_core::id::{OrgId, UserId, WorkspaceId};
use envforge_core::refusal::Refusal;
use envforge_core::resume::{NotKept, Received, Sent};
use envforge_core::secret::Secret;
use envforge_core::terminal::TerminalName;
use envforge_core::token::digest;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

/// How long a session lives on without a connection.
pub const KEPT_FOR: SignedDuration = SignedDuration::from_secs(60);
/// Most sessions of one person without a connection; the oldest ends when there is another.
pub const DETACHED_PER_USER: usize = 16;
/// The same of all.
pub const DETACHED_MAX: usize = 256;
/// Most output of a session that is kept for a client that does not say it has it, in bytes.
pub const OUTPUT_MAX: usize = 1024 * 1024;
/// Between two looks whether a session's time is over.
const LOOK: Duration = Duration::from_secs(1);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whose a session is, and of what: nobody else can resume it, nor is it resumed as something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    user: UserId,
    credential: CredentialId,
    org: OrgId,
    workspace: WorkspaceId,
    terminal: TerminalName,
}

impl Bound {
    /// To somebody's terminal of a workspace.
    pub fn to(permit: &Permit, workspace: WorkspaceId, terminal: &TerminalName) -> Self {
        let (user, credential, org) = (permit.user, permit.credential(), permit.scope.org());
        Self { user, credential, org, workspace, terminal: terminal.clone() }
    }
}

/// What has passed, in both directions.
#[derive(Debug)]
struct Flow {
    output: Sent,
    input: Received,
    /// Since when it has no connection, and as which of all that lost theirs.
    detached: Option<(Timestamp, u64)>,
}

/// A terminal's stream that outlives its connections.
#[derive(Debug)]
pub struct Session {
    /// The terminal.
    pub stream: FdStream,
    bound: Bound,
    digest: String,
    flow: Mutex<Flow>,
    /// Told when the client should hear something, or there is room for output again.
    pub stirred: Notify,
    /// Tells the holder that another takes over.
    holder: Mutex<CancellationToken>,
    turn: Arc<tokio::sync::Mutex<()>>,
    ended: CancellationToken,
}

/// The right to move a session's bytes. Its holder stops as soon as it is cancelled, between two bytes.
#[derive(Debug)]
pub struct Turn {
    /// Another holder waits.
    pub taken: CancellationToken,
    _guard: OwnedMutexGuard<()>,
}

impl Session {
    /// The workspace.
    pub fn workspace(&self) -> WorkspaceId {
        self.bound.workspace
    }

    /// Takes the session over from whoever holds it.
    pub async fn take(&self) -> Turn {
        let taken = CancellationToken::new();
        std::mem::replace(&mut *lock(&self.holder), taken.clone()).cancel();
        let guard = Arc::clone(&self.turn).lock_owned().await;
        Turn { taken, _guard: guard }
    }

    /// How much output may be sent now, in bytes.
    pub fn room(&self) -> usize {
        lock(&self.flow).output.room()
    }

    /// Output was read, no more than there was room for.
    pub fn read(&self, bytes: &[u8]) {
        lock(&self.flow).output.push(bytes);
    }

    /// The client has so much of the output.
    pub fn acknowledge(&self, bytes: u64) -> Result<(), NotKept> {
        lock(&self.flow).output.acknowledge(bytes)?;
        self.stirred.notify_one();
        Ok(())
    }

    /// Input was written.
    pub fn wrote(&self, length: usize) {
        let mut flow = lock(&self.flow);
        let was_untold = flow.input.is_untold();
        flow.input.take(length);
        if !was_untold || flow.input.is_due() {
            self.stirred.notify_one();
        }
    }

    /// Whether the client should hear of input that was written: soon, and at once.
    pub fn untold(&self) -> (bool, bool) {
        let flow = lock(&self.flow);
        (flow.input.is_untold(), flow.input.is_due())
    }

    /// How much input was written, for the client to be told.
    pub fn tell(&self) -> u64 {
        lock(&self.flow).input.tell()
    }

    /// Goes on with a client that has `received` bytes of output: what it is sent first, and how much input was written.
    pub fn resume(&self, received: u64) -> Result<(Vec<u8>, u64), NotKept> {
        let mut flow = lock(&self.flow);
        let output = flow.output.resume(received)?;
        flow.detached = None;
        Ok((output, flow.input.tell()))
    }

    /// Reads output as far as there is room, while nobody is there to see it. Never ends.
    async fn read_on(&self) {
        let mut buffer = vec![0_u8; 16 * 1024];
        loop {
            let room = self.room().min(buffer.len());
            // Room does not come without a client. The end of the terminal is found again by the next.
            if room == 0 {
                break;
            }
            match self.stream.read(&mut buffer[..room]).await {
                Ok(length @ 1..) => self.read(&buffer[..length]),
                _ => break,
            }
        }
        std::future::pending::<()>().await;
    }

    fn is_over(&self, now: Timestamp) -> bool {
        let detached = lock(&self.flow).detached;
        self.ended.is_cancelled() || detached.is_some_and(|(since, _)| now.duration_since(since) >= KEPT_FOR)
    }
}

/// The sessions of this process.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// By the digest of their tokens.
    sessions: HashMap<String, Arc<Session>>,
    /// How many lost their connection so far.
    detached: u64,
}

impl Sessions {
    /// Forgets a session: nobody resumes it any more.
    pub fn end(&self, session: &Session) {
        lock(&self.0).sessions.remove(&session.digest);
    }

    /// How many have no connection now.
    pub fn detached(&self) -> usize {
        lock(&self.0).sessions.values().filter(|session| lock(&session.flow).detached.is_some()).count()
    }

    /// Notes that a session has no connection now, and ends the oldest ones if there are too many.
    fn detach(&self, session: &Session, now: Timestamp) {
        let mut held = lock(&self.0);
        held.detached += 1;
        lock(&session.flow).detached = Some((now, held.detached));
        let place = |session: &Arc<Session>| lock(&session.flow).detached.map(|(_, place)| place);
        let mut detached: Vec<_> =
            held.sessions.values().filter_map(|session| Some((place(session)?, Arc::clone(session)))).collect();
        detached.sort_unstable_by_key(|(place, _)| *place);
        let of_user = detached.iter().filter(|(_, other)| other.bound.user == session.bound.user);
        let too_many = detached.len().saturating_sub(DETACHED_MAX);
        let too_many_of_user = of_user.clone().count().saturating_sub(DETACHED_PER_USER);
        for (_, oldest) in of_user.take(too_many_of_user).chain(detached.iter().take(too_many)) {
            held.sessions.remove(&oldest.digest);
            oldest.ended.cancel();
        }
    }
}

/// Makes a session of a terminal; what it is resumed with.
pub fn begin(app: &App, permit: &Permit, opened: Opened, terminal: &TerminalName) -> (Arc<Session>, Sensitive) {
    let mut random = [0_u8; 32];
    app.entropy.fill(&mut random);
    let token = hex::encode(random);
    let session = Arc::new(Session {
        stream: opened.stream,
        bound: Bound::to(permit, opened.workspace, terminal),
        digest: digest(&token),
        flow: Mutex::new(Flow { output: Sent::new(OUTPUT_MAX), input: Received::default(), detached: None }),
        stirred: Notify::new(),
        holder: Mutex::new(CancellationToken::new()),
        turn: Arc::default(),
        ended: CancellationToken::new(),
    });
    lock(&app.terminals.0).sessions.insert(session.digest.clone(), Arc::clone(&session));
    (session, Sensitive(Secret::new(token)))
}

/// The session of a token, if it is this member's, of this terminal, and can go on at byte `received` of its output. Whose it
/// is otherwise, nobody learns.
pub fn find(app: &App, bound: &Bound, token: &str, received: u64) -> Answer<Arc<Session>> {
    let session = lock(&app.terminals.0).sessions.get(&digest(token)).cloned();
    let session = session.filter(|session| session.bound == *bound && !session.is_over(app.now()));
    let session = session.ok_or_else(|| {
        Refusal::not_found(SESSION_UNKNOWN, "this terminal can't be resumed: its time is over, or it was never yours")
            .hint("attach anew; the shell goes on")
    })?;
    lock(&session.flow).output.has(received).map_err(|error| {
        Refusal::invalid(SESSION_OFFSET, format!("this terminal can't be resumed there: {error}"))
            .hint("attach anew; the shell goes on")
    })?;
    Ok(session)
}

/// Whether a session that was found is still there, for who has its turn.
pub fn is_kept(app: &App, session: &Session) -> bool {
    lock(&app.terminals.0).sessions.contains_key(&session.digest) && !session.is_over(app.now())
}

/// How a session without a connection went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Another holder has it.
    Taken,
    /// Its time, or the right to it, is over.
    Over,
}

/// Keeps a session that lost its connection, until it is resumed, its time is over, or `lost` says that the right to it is.
pub async fn keep(app: &App, session: &Session, turn: &Turn, lost: impl Future<Output = ()>) -> Kept {
    app.terminals.detach(session, app.now());
    let over = async {
        while !session.is_over(app.now()) {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        biased;
        () = turn.taken.cancelled() => Kept::Taken,
        () = session.ended.cancelled() => Kept::Over,
        () = lost => Kept::Over,
        () = over => Kept::Over,
        () = session.read_on() => Kept::Over,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
