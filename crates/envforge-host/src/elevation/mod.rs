//! Root terminals: one at a time in a workspace, of one person, recorded, for as long as the server said.
//!
//! ```text
//!   ticket ─► allowed here? until when? ended before? ─► elevated sandbox ─► PTY ─┐
//!   the other end ◄── PTY of our own ◄── relay (time, revocation, size) ◄─────────┤
//!                                                            recording ◄──────────┘
//! ```
//!
//! A root terminal is a sandbox of its own ([`Layer::Elevated`]) that lives exactly as long as the terminal: whichever ends
//! first, the shell, the connection, the time box, the elevation or this daemon, ends it with everything in it. It is
//! not shared and not found again. What is printed is recorded ([`crate::recorded`]); what can't be written down ends the terminal.
//!
//! What must stay true:
//!
//! - Nothing opens without a ticket of its own kind, which names the elevation and when it is over; the daemon ends it
//!   then by itself, whatever became of the server.
//! - An elevation that was ended opens nothing again, also with a ticket that was signed before and after a restart: a file
//!   beside the recordings says so.

use crate::ctx::HostContext;
use crate::engines::{Layer, inside};
use crate::files::{self, Durability};
use crate::init::client::InitClient;
use crate::init::protocol::{Program, Spawn, TerminalSize};
use crate::place::Place;
use crate::recorded::recording::{Recorded, Recording};
use crate::recorded::relay::{self, Over, Terminal};
use crate::workspace::layers;
use crate::workspace::view::View;
use envforge_core::elevation::MINUTES_MAX;
use envforge_core::id::{ElevationId, WorkspaceId};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::ticket::TicketClaims;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// The root terminals that are open.
#[derive(Default)]
pub(crate) struct Elevations {
    live: Mutex<HashMap<WorkspaceId, Live>>,
}

#[derive(Clone)]
struct Live {
    elevation: ElevationId,
    /// Ends it.
    stop: CancellationToken,
    /// It is gone, with everything in it.
    gone: CancellationToken,
}

/// A workspace's one place for a root terminal, taken; given back when dropped.
struct Taken {
    elevations: Arc<Elevations>,
    workspace: WorkspaceId,
    live: Live,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.elevations.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.workspace);
        self.live.gone.cancel();
    }
}

impl Elevations {
    fn take(self: &Arc<Self>, workspace: WorkspaceId, elevation: ElevationId) -> Option<Taken> {
        let mut map = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if map.contains_key(&workspace) {
            return None;
        }
        let live = Live { elevation, stop: CancellationToken::new(), gone: CancellationToken::new() };
        map.insert(workspace, live.clone());
        Some(Taken { elevations: Arc::clone(self), workspace, live })
    }

    /// Whether a root terminal of this workspace is open, or about to be.
    pub(crate) fn is_open(&self, workspace: WorkspaceId) -> bool {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&workspace)
    }

    /// Ends the terminal of an elevation, if there is one; the answer resolves when it is gone.
    pub(crate) fn cut(&self, workspace: WorkspaceId, elevation: ElevationId) -> Option<CancellationToken> {
        let map = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let live = map.get(&workspace).filter(|live| live.elevation == elevation)?;
        live.stop.cancel();
        Some(live.gone.clone())
    }

    /// Ends an elevation for good; nothing of it runs when this returns. May be repeated.
    pub(crate) async fn end(&self, place: &Place, elevation: ElevationId) -> io::Result<()> {
        // First that nothing opens any more, then what is open: in the other order one could slip through.
        files::directory(&place.recordings(), 0o700, None)?;
        files::replace(&ended_mark(place, elevation), b"", 0o600, Durability::Machine)?;
        if let Some(gone) = self.cut(place.workspace, elevation) {
            gone.cancelled().await;
        }
        Ok(())
    }
}

fn ended_mark(place: &Place, elevation: ElevationId) -> PathBuf {
    place.recordings().join(format!("{elevation}.ended"))
}

fn forbidden(code: &str, message: &str) -> Refusal {
    Refusal::new(RefusalKind::Forbidden, code, message)
}

fn over() -> Refusal {
    forbidden("elevation.over", "this elevation is over")
}

/// The elevation a ticket is for, and until when.
fn granted(claims: &TicketClaims, now: Timestamp) -> Result<(ElevationId, Timestamp), Refusal> {
    let elevation = claims.subject.parse().map_err(|_| forbidden("ticket.invalid", "the ticket names no elevation"))?;
    let until = claims.until.and_then(|until| Timestamp::from_second(until).ok());
    let until =
        until.ok_or_else(|| forbidden("ticket.invalid", "the ticket does not say when the elevation is over"))?;
    let latest = now.saturating_add(SignedDuration::from_mins(i64::from(MINUTES_MAX))).unwrap_or(Timestamp::MAX);
    if until <= now || until > latest {
        return Err(over());
    }
    Ok((elevation, until))
}

/// Opens a root terminal.
pub(crate) async fn open(
    ctx: &Arc<HostContext>,
    view: &View,
    claims: &TicketClaims,
    cols: u16,
    rows: u16,
) -> Result<OwnedFd, Refusal> {
    if !ctx.engine.elevates() {
        return Err(forbidden("elevation.host_refuses", "this host opens no root terminals")
            .hint("its operator allows them with `--allow-elevation`, as root"));
    }
    let (elevation, until) = granted(claims, ctx.now())?;
    let (place, prepared, secrets) = {
        let seen = view.get();
        (seen.place.clone(), seen.prepared.clone(), Arc::clone(&seen.secrets))
    };
    let prepared =
        prepared.ok_or_else(|| Refusal::unavailable("shell.not_ready", "the workspace's shell is not ready"))?;
    let taken = ctx.elevations.take(place.workspace, elevation).ok_or_else(|| {
        Refusal::conflict("elevation.in_use", "a root terminal of this workspace is open already")
            .hint("root terminals are not shared; close that one first")
    })?;
    if ended_mark(&place, elevation).exists() {
        return Err(over());
    }
    view.stir();
    let size = TerminalSize { cols: cols.clamp(2, 1000), rows: rows.clamp(2, 1000) };
    let of = Recorded::Elevation(elevation);
    let recording = Recording::begin(&place, of, None, size, ctx.config.recording_max, secrets, ctx.now())?;
    let plan = layers::elevated_plan(ctx, &prepared);
    let sandbox = ctx.engine.start(&place, &plan).await.map_err(|error| not_started(&error))?;
    let begun = async {
        let client = sandbox.connect().await.map_err(|error| not_started(&error))?;
        let inside = shell(&client, size).await?;
        let (theirs, ours) = relay::own_pty(size).map_err(|error| not_started(&error))?;
        let terminal = Terminal::new(inside, ours, size).map_err(|error| not_started(&error))?;
        Ok((client, theirs, terminal))
    };
    match begun.await {
        Ok((client, theirs, terminal)) => {
            tracing::info!(workspace = %place.workspace, %elevation, %until, "a root terminal was opened");
            let ctx_of_task = Arc::clone(ctx);
            ctx.tasks.spawn("elevation", async move {
                hold(&ctx_of_task, &place, taken, terminal, recording, until).await;
                // The sandbox ends with this connection, should nothing else have ended it.
                drop(client);
            });
            Ok(theirs)
        }
        Err(refusal) => {
            drop(ctx.engine.end(&place, Layer::Elevated).await);
            Err(refusal)
        }
    }
}

fn not_started(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::unavailable("elevation.not_started", format!("the root terminal could not be started: {error}"))
        .hint("see the host daemon's log")
}

/// Root's shell. Nothing that the workspace's user wrote is read by it: its home is empty.
async fn shell(client: &InitClient, size: TerminalSize) -> Result<OwnedFd, Refusal> {
    let argv = ["/bin/bash", "--login"].map(str::to_owned).to_vec();
    let mut spawn = Spawn::new("root", Program::Argv(argv));
    spawn.cwd = inside::CHECKOUT.into();
    spawn.tty = Some(size);
    let spawned = client.spawn(spawn).await.map_err(|error| not_started(&error))?;
    spawned.terminal.ok_or_else(|| not_started(&"the sandbox gave no terminal"))
}

/// Carries a terminal to its end, and ends everything in it.
async fn hold(
    ctx: &HostContext,
    place: &Place,
    taken: Taken,
    terminal: Terminal,
    recording: Recording,
    until: Timestamp,
) {
    let recording = Mutex::new(recording);
    let why = tokio::select! {
        biased;
        () = ctx.tasks.cancelled() => Over::Daemon,
        () = taken.live.stop.cancelled() => Over::Ended,
        () = reached(ctx, until) => Over::Expired,
        why = terminal.relay(&recording, || ctx.now()) => why,
    };
    if let Err(error) = ctx.engine.end(place, Layer::Elevated).await {
        tracing::error!(workspace = %place.workspace, %error, "a root terminal does not end");
    }
    let elevation = taken.live.elevation;
    tracing::info!(workspace = %place.workspace, %elevation, %why, "a root terminal ended");
    recording.into_inner().unwrap_or_else(PoisonError::into_inner).close(&why, ctx.now());
    terminal.say("root", &why);
}

/// Resolves when the wall clock has reached this instant, also if it was set or the machine slept.
async fn reached(ctx: &HostContext, until: Timestamp) {
    const LOOK: SignedDuration = SignedDuration::from_millis(500);
    loop {
        let left = until.duration_since(ctx.now());
        if !left.is_positive() {
            return;
        }
        tokio::time::sleep(left.min(LOOK).unsigned_abs()).await;
    }
}
