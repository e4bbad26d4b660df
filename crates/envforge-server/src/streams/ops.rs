//! Tickets, and opening a stream.

use crate::app::App;
use crate::elevations;
use crate::git;
use crate::hosts;
use crate::ledger::{self, Entry};
use crate::platform::bus::Listener;
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::{Answer, Fault};
use crate::platform::fd::FdStream;
use crate::platform::http::auth::Permit;
use crate::platform::storable;
use crate::recordings;
use crate::workspaces;
use crate::workspaces::store::Row;
use envforge_api::exec::Start;
use envforge_api::http::recordings::TerminalRecordings;
use envforge_api::http::terminal::Terminals;
use envforge_api::uplink::{LogFilter, Open, OpenError, PATTERN_MAX};
use envforge_core::id::{ElevationId, RecordingId, WorkspaceId};
use envforge_core::manifest::HOOK_KEYS;
use envforge_core::name::Slug;
use envforge_core::readiness::ReadinessState;
use envforge_core::refusal::Refusal;
use envforge_core::terminal::TerminalName;
use envforge_core::ticket::{Person, TicketClaims, TicketKind};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::time::Instant;

/// Life of a ticket that opens one stream now.
const TICKET_LIFE: SignedDuration = SignedDuration::from_secs(30);
/// How long a stream waits for a host that is just coming back.
const HOST_WAIT: Duration = Duration::from_secs(5);
/// Between two tries while it is.
const HOST_PAUSE: Duration = Duration::from_millis(50);
/// How a host refuses a ticket for what it was registered as before.
const OTHER_REGISTRATION: &str = "ticket.other_host";
/// The most of a command's program that is noted, in bytes.
const PROGRAM_MAX: usize = 256;
/// The most a host tells in one piece, in bytes.
const TOLD_MAX: usize = 256 * 1024;

/// What a ticket is for.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// What it opens.
    pub kind: TicketKind,
    /// Of what: a service, a job, an elevation, a terminal.
    pub subject: &'a str,
    /// When what it opens must be over.
    pub until: Option<Timestamp>,
    /// Whom a terminal is for.
    pub person: Option<Person>,
    /// That it is recorded.
    pub recording: Option<RecordingId>,
}

impl<'a> Wanted<'a> {
    /// With no more to say.
    pub fn of(kind: TicketKind, subject: &'a str) -> Self {
        Self { kind, subject, until: None, person: None, recording: None }
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
        recording: wanted.recording,
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

/// The workspace, unless it is going, and its host's generation: for what needs no transaction.
pub async fn usable(app: &App, permit: &Permit, slug: &Slug) -> Answer<(Row, u64)> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::ops::find_usable(&mut tx, slug).await?;
    let generation = hosts::store::generation(&mut tx, row.host).await?;
    Ok((row, generation))
}

/// Until a member may no longer, or the key or session that they showed has ended.
pub async fn until_lost(app: &App, permit: &Permit, workspace: WorkspaceId, nudges: Listener) {
    tokio::select! {
        () = workspaces::ops::until_lost(app, permit, workspace, nudges) => {}
        () = permit.ended(app) => {}
    }
}

/// The workspace, if its shell can be used.
async fn with_shell(tx: &mut Tx, slug: &Slug) -> Answer<Row> {
    let row = workspaces::ops::find_usable(tx, slug).await?;
    match row.shell.state {
        ReadinessState::Ready | ReadinessState::Asleep => Ok(row),
        ReadinessState::Waking => {
            Err(Refusal::unavailable("shell.waking", "the shell is being prepared").retry_after(1).into())
        }
        ReadinessState::Blocked => {
            let cause = row.shell.cause.clone().unwrap_or_default();
            let fix = row.shell.fix.clone().unwrap_or_default();
            Err(Refusal::conflict("shell.blocked", format!("the shell can't be prepared: {cause}")).hint(fix).into())
        }
    }
}

/// Opens a terminal of the shell.
pub async fn terminal(
    app: &App,
    permit: &Permit,
    slug: &Slug,
    name: &TerminalName,
    (cols, rows): (u16, u16),
) -> Answer<Opened> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = with_shell(&mut tx, slug).await?;
    let recording = recordings::ops::begun(app, &mut tx).await?;
    noted(app, &mut tx, permit, "shell.attached", &row, name, recording).await?;
    git::ops::attached(&mut tx, row.id, permit.user).await?;
    let generation = hosts::store::generation(&mut tx, row.host).await?;
    let person = Some(git::ops::person(app, &mut tx, permit.user, &permit.name).await?);
    tx.commit().await?;
    let wanted = Wanted { person, recording, ..Wanted::of(TicketKind::Terminal, name.as_str()) };
    open(app, &row, generation, wanted, Open::Terminal { cols, rows }).await
}

async fn noted(
    app: &App,
    tx: &mut Tx,
    permit: &Permit,
    verb: &'static str,
    row: &Row,
    name: &TerminalName,
    recording: Option<RecordingId>,
) -> Answer<()> {
    let actor = permit.actor();
    let mut details = json!({ "terminal": name });
    if let Some(recording) = recording {
        details["recording"] = json!(recording);
    }
    let entry = Entry::new(&actor, verb, row.id, row.slug.as_str()).details(details);
    ledger::record(app, tx, entry).await
}

/// The terminals of a workspace.
pub async fn terminals(app: &App, permit: &Permit, slug: &Slug) -> Answer<Terminals> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = with_shell(&mut tx, slug).await?;
    let generation = hosts::store::generation(&mut tx, row.host).await?;
    drop(tx);
    let opened = open(app, &row, generation, Wanted::of(TicketKind::Terminal, ""), Open::Terminals).await?;
    told(&opened.stream).await
}

/// Ends a terminal for everybody; what is left.
pub async fn end_terminal(app: &App, permit: &Permit, slug: &Slug, name: &TerminalName) -> Answer<Terminals> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = with_shell(&mut tx, slug).await?;
    let generation = hosts::store::generation(&mut tx, row.host).await?;
    drop(tx);
    let wanted = Wanted::of(TicketKind::Terminal, name.as_str());
    let opened = open(app, &row, generation, wanted, Open::EndTerminal).await?;
    let mut tx = app.db.begin(permit.scope).await?;
    noted(app, &mut tx, permit, "terminal.ended", &row, name, None).await?;
    tx.commit().await?;
    told(&opened.stream).await
}

/// Whether a command could be run in the shell of a workspace.
pub async fn has_shell(app: &App, permit: &Permit, slug: &Slug) -> Answer<()> {
    shell(app, permit, slug).await.map(drop)
}

/// The workspace of a shell that can be used.
pub async fn shell(app: &App, permit: &Permit, slug: &Slug) -> Answer<WorkspaceId> {
    let mut tx = app.db.begin(permit.scope).await?;
    Ok(with_shell(&mut tx, slug).await?.id)
}

/// Opens a socket for the frames of one command. Its program is in the ledger, its arguments are not; Git acts for who runs
/// it, as for who attaches.
pub async fn exec(app: &App, permit: &Permit, slug: &Slug, start: &Start) -> Answer<Opened> {
    start.check()?;
    let mut tx = app.db.begin(permit.scope).await?;
    let row = with_shell(&mut tx, slug).await?;
    let actor = permit.actor();
    let entry = Entry::new(&actor, "exec.started", row.id, slug.as_str())
        .details(json!({ "program": storable::text(&start.argv[0], PROGRAM_MAX) }));
    ledger::record(app, &mut tx, entry).await?;
    git::ops::attached(&mut tx, row.id, permit.user).await?;
    let generation = hosts::store::generation(&mut tx, row.host).await?;
    let person = Some(git::ops::person(app, &mut tx, permit.user, &permit.name).await?);
    tx.commit().await?;
    open(app, &row, generation, Wanted { person, ..Wanted::of(TicketKind::Terminal, "") }, Open::Exec).await
}

/// What a host tells in one piece.
async fn told<T: DeserializeOwned>(stream: &FdStream) -> Answer<T> {
    let unclear = |what: &str| Refusal::unavailable("host.unclear", format!("the workspace's host {what}"));
    let mut text = Vec::new();
    let reading = async {
        let mut buffer = [0_u8; 8 * 1024];
        while let length @ 1.. = stream.read(&mut buffer).await? {
            text.extend_from_slice(&buffer[..length]);
            if text.len() > TOLD_MAX {
                break;
            }
        }
        Ok::<_, std::io::Error>(())
    };
    match tokio::time::timeout(HOST_WAIT, reading).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(unclear(&format!("was cut off: {error}")).into()),
        Err(_) => return Err(unclear("did not say all in time").retry_after(1).into()),
    }
    Ok(serde_json::from_slice(&text).map_err(|_| unclear("told something that makes no sense"))?)
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

/// Which lines of a log, and whether what is appended too.
#[derive(Debug, Clone)]
pub struct Lines {
    /// From the end to begin with, of those the filter wants.
    pub tail: u32,
    /// Whether what is appended is sent too.
    pub follow: bool,
    /// Which are wanted.
    pub filter: LogFilter,
}

/// The recordings of a workspace's terminals.
pub async fn recordings(app: &App, permit: &Permit, slug: &Slug) -> Answer<TerminalRecordings> {
    let (row, generation) = usable(app, permit, slug).await?;
    let opened = open(app, &row, generation, Wanted::of(TicketKind::Recording, ""), Open::Recordings).await?;
    told(&opened.stream).await
}

/// Opens a recording of one of a workspace's terminals.
pub async fn terminal_recording(app: &App, permit: &Permit, slug: &Slug, id: RecordingId) -> Answer<Opened> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::ops::find_usable(&mut tx, slug).await?;
    recordings::ops::read(app, &mut tx, permit, &row, id).await?;
    let generation = hosts::store::generation(&mut tx, row.host).await?;
    tx.commit().await?;
    open(app, &row, generation, Wanted::of(TicketKind::Recording, &id.to_string()), Open::Recording).await
}

/// Opens the captured log of a service, or of a job (`job-<id>`).
pub async fn logs(app: &App, permit: &Permit, slug: &Slug, subject: &str, lines: Lines) -> Answer<Opened> {
    let Lines { tail, follow, filter } = lines;
    if filter.grep.as_ref().is_some_and(|pattern| pattern.len() > PATTERN_MAX) {
        let cause = format!("the pattern is longer than {PATTERN_MAX} bytes");
        return Err(Refusal::invalid("logs.pattern_too_big", cause).hint("search for something shorter").into());
    }
    let (row, generation) = usable(app, permit, slug).await?;
    let known = subject.starts_with("job-")
        || HOOK_KEYS.contains(&subject)
        || row.manifest.as_ref().is_some_and(|manifest| manifest.services.contains_key(subject))
        || row.parts.iter().any(|part| part.name == subject);
    if !known {
        return Err(Refusal::not_found("service.not_found", format!("there is no service `{subject}`"))
            .hint("`envforge status` lists the services")
            .into());
    }
    open(app, &row, generation, Wanted::of(TicketKind::Logs, subject), Open::Logs { tail, follow, filter }).await
}

async fn open_once(
    app: &App,
    row: &Row,
    generation: u64,
    wanted: &Wanted<'_>,
    open: &Open,
) -> Answer<Result<OwnedFd, OpenError>> {
    let (ticket, _) = ticket(app, row, generation, wanted.clone(), TICKET_LIFE)?;
    Ok(app.uplinks.open(row.host, &ticket, open.clone()).await)
}

/// Opens what a ticket for it allows.
pub async fn open(app: &App, row: &Row, generation: u64, wanted: Wanted<'_>, open: Open) -> Answer<Opened> {
    let end = Instant::now() + HOST_WAIT;
    app.uplinks.connected(row.host, HOST_WAIT).await;
    let mut opened = open_once(app, row, generation, &wanted, &open).await?;
    // A daemon that was just started may have been registered anew since the generation was read, or hear of it a moment later.
    while matches!(&opened, Err(OpenError::Refused(refusal)) if refusal.code == OTHER_REGISTRATION)
        && Instant::now() < end
    {
        tokio::time::sleep(HOST_PAUSE).await;
        let mut tx = app.db.begin(OrgScope::established(row.org)).await?;
        let generation = hosts::store::generation(&mut tx, row.host).await?;
        drop(tx);
        opened = open_once(app, row, generation, &wanted, &open).await?;
    }
    match opened {
        Ok(fd) => Ok(Opened { stream: FdStream::new(fd).map_err(anyhow::Error::new)?, workspace: row.id }),
        Err(OpenError::Refused(refusal)) => Err(refusal.into()),
        Err(error) => Err(Fault::from(
            Refusal::unavailable("host.unreachable", format!("the workspace's host can't be reached: {error}"))
                .hint("try again in a moment; `envforge doctor` looks into it")
                .retry_after(1),
        )),
    }
}
