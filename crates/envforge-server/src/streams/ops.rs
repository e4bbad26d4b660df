//! Tickets, and opening a stream.

use crate::app::App;
use crate::elevations;
use crate::git;
use crate::hosts;
use crate::ledger::{self, Entry};
use crate::platform::fault::{Answer, Fault};
use crate::platform::fd::FdStream;
use crate::platform::http::auth::Permit;
use crate::workspaces;
use crate::workspaces::store::Row;
use envforge_api::uplink::{Open, OpenError};
use envforge_core::id::{ElevationId, WorkspaceId};
use envforge_core::name::Slug;
use envforge_core::readiness::ReadinessState;
use envforge_core::refusal::Refusal;
use envforge_core::ticket::{Person, TicketClaims, TicketKind};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Life of a ticket that opens one stream now.
const TICKET_LIFE: SignedDuration = SignedDuration::from_secs(30);
/// How long a stream waits for a host that is just coming back.
const HOST_WAIT: Duration = Duration::from_secs(5);

/// What a ticket is for.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// What it opens.
    pub kind: TicketKind,
    /// Of what: a service, a job, an elevation.
    pub subject: &'a str,
    /// When what it opens must be over.
    pub until: Option<Timestamp>,
    /// Whom a terminal is for.
    pub person: Option<Person>,
}

impl<'a> Wanted<'a> {
    /// With no more to say.
    pub fn of(kind: TicketKind, subject: &'a str) -> Self {
        Self { kind, subject, until: None, person: None }
    }
}

/// Signs a ticket.
pub fn ticket(
    app: &App,
    row: &Row,
    host_generation: u64,
    wanted: Wanted<'_>,
    life: SignedDuration,
) -> Answer<(String, Timestamp)> {
    let expires_at = app.now().saturating_add(life).unwrap_or(Timestamp::MAX);
    let mut nonce = [0_u8; 8];
    app.entropy.fill(&mut nonce);
    let claims = TicketClaims {
        org: row.org,
        host: row.host,
        generation: host_generation,
        workspace: row.id,
        kind: wanted.kind,
        subject: wanted.subject.to_owned(),
        expires: expires_at.as_second(),
        nonce: u64::from_le_bytes(nonce),
        until: wanted.until.map(Timestamp::as_second),
        person: wanted.person,
    };
    Ok((app.signing_keys.sign(&claims, app.now())?, expires_at))
}

/// An open stream, and the workspace it is of.
pub struct Opened {
    /// The stream.
    pub stream: FdStream,
    /// The workspace.
    pub workspace: WorkspaceId,
}

/// Opens the shell's terminal.
pub async fn terminal(app: &App, permit: &Permit, slug: &Slug, cols: u16, rows: u16) -> Answer<Opened> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::ops::find_usable(&mut tx, slug).await?;
    match row.shell.state {
        ReadinessState::Ready | ReadinessState::Asleep => {}
        ReadinessState::Waking => {
            return Err(Refusal::unavailable("shell.waking", "the shell is being prepared").retry_after(1).into());
        }
        ReadinessState::Blocked => {
            let cause = row.shell.cause.clone().unwrap_or_default();
            let fix = row.shell.fix.clone().unwrap_or_default();
            return Err(Refusal::conflict("shell.blocked", format!("the shell can't be prepared: {cause}"))
                .hint(fix)
                .into());
        }
    }
    ledger::record(app, &mut tx, Entry::new(&permit.actor(), "shell.attached", row.id, slug.as_str())).await?;
    git::ops::attached(&mut tx, row.id, permit.user).await?;
    let generation = hosts::store::generation(&mut tx, row.host).await?;
    let person = Some(git::ops::person(app, &mut tx, permit.user, &permit.name).await?);
    tx.commit().await?;
    let wanted = Wanted { person, ..Wanted::of(TicketKind::Terminal, "") };
    open(app, &row, generation, wanted, Open::Terminal { cols, rows }).await
}

/// Opens a root terminal of an elevation.
pub async fn elevated(app: &App, permit: &Permit, id: ElevationId, cols: u16, rows: u16) -> Answer<Opened> {
    let mut tx = app.db.begin(permit.scope).await?;
    let (row, until) = elevations::ops::enter(app, &mut tx, permit, id).await?;
    let generation = hosts::store::generation(&mut tx, row.host).await?;
    tx.commit().await?;
    let subject = id.to_string();
    let wanted = Wanted { until: Some(until), ..Wanted::of(TicketKind::Elevation, &subject) };
    open(app, &row, generation, wanted, Open::Elevation { cols, rows }).await
}

/// Opens the recording of an elevation.
pub async fn recording(app: &App, permit: &Permit, id: ElevationId) -> Answer<Opened> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = elevations::ops::read_recording(app, &mut tx, permit, id).await?;
    let generation = hosts::store::generation(&mut tx, row.host).await?;
    tx.commit().await?;
    open(app, &row, generation, Wanted::of(TicketKind::Recording, &id.to_string()), Open::Recording).await
}

/// Opens the captured log of a service, or of a job (`job-<id>`).
pub async fn logs(app: &App, permit: &Permit, slug: &Slug, subject: &str, tail: u32, follow: bool) -> Answer<Opened> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::ops::find_usable(&mut tx, slug).await?;
    let known = subject.starts_with("job-")
        || subject == "setup"
        || row.manifest.as_ref().is_some_and(|manifest| manifest.services.contains_key(subject))
        || row.parts.iter().any(|part| part.name == subject);
    if !known {
        return Err(Refusal::not_found("service.not_found", format!("there is no service `{subject}`"))
            .hint("`envforge status` lists the services")
            .into());
    }
    let generation = hosts::store::generation(&mut tx, row.host).await?;
    drop(tx);
    open(app, &row, generation, Wanted::of(TicketKind::Logs, subject), Open::Logs { tail, follow }).await
}

async fn open(app: &App, row: &Row, generation: u64, wanted: Wanted<'_>, open: Open) -> Answer<Opened> {
    let (ticket, _) = ticket(app, row, generation, wanted, TICKET_LIFE)?;
    app.uplinks.connected(row.host, HOST_WAIT).await;
    match app.uplinks.open(row.host, &ticket, open).await {
        Ok(fd) => Ok(Opened { stream: FdStream::new(fd).map_err(anyhow::Error::new)?, workspace: row.id }),
        Err(OpenError::Refused(refusal)) => Err(refusal.into()),
        Err(error) => Err(Fault::from(
            Refusal::unavailable("host.unreachable", format!("the workspace's host can't be reached: {error}"))
                .hint("try again in a moment; `envforge doctor` looks into it")
                .retry_after(1),
        )),
    }
}
