//! Rows of workspaces and labels, read together with the runtime beside them.

use crate::activity;
use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use anyhow::Context as _;
use envforge_api::host::Trouble;
use envforge_api::http::elevations::ActiveElevation;
use envforge_core::access::Role;
use envforge_core::id::{
    ElevationId, HostId, Id as _, LinkId, OrgId, ProjectId, UsageSessionId, UserId, WindowId, WorkspaceId,
};
use envforge_core::idle::Activity;
use envforge_core::manifest::Manifest;
use envforge_core::name::Slug;
use envforge_core::readiness::Part;
use envforge_core::runtime::{Runtime, RuntimeIntent, RuntimeState};
use envforge_core::size::Size;
use envforge_core::timetable::{Quiet, QuietHours};
use envforge_core::usage::cap::{GRACE_MINUTES, WARN_AT};
use envforge_core::usage::meter::Meter;
use envforge_core::usage::{Cap, CapMode};
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use uuid::Uuid;

/// An open awake window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenWindow {
    /// The window.
    pub id: WindowId,
    /// When it opened.
    pub opened_at: Timestamp,
}

/// A workspace with its runtime.
#[derive(Debug, Clone)]
pub struct Row {
    pub id: WorkspaceId,
    pub org: OrgId,
    pub org_slug: Slug,
    pub project_id: ProjectId,
    pub project: Slug,
    pub host: HostId,
    /// Whether its control stream is up.
    pub host_online: bool,
    pub host_seen_at: Option<Timestamp>,
    pub slug: Slug,
    pub branch: String,
    /// The workspace it began as a copy of, and that one's slug.
    pub forked_from: Option<(WorkspaceId, Slug)>,
    pub shell: Part,
    pub parts: Vec<Part>,
    pub known_good: Vec<String>,
    pub manifest: Option<Manifest>,
    pub diagnostics: Vec<String>,
    /// Highest report sequence taken in.
    pub sequence: u64,
    pub created_at: Timestamp,
    pub deleting: bool,
    /// The size a wake uses unless it names another.
    pub size: Size,
    pub runtime: Runtime,
    /// The size of the running or last session.
    pub runtime_size: Size,
    pub session: Option<UsageSessionId>,
    pub window: Option<OpenWindow>,
    pub wake_cause: Option<String>,
    /// Who or what put it to sleep last.
    pub sleep_cause: Option<String>,
    /// The link whose visitor woke it, if that was one.
    pub woken_by: Option<LinkId>,
    /// The last instant at which a runtime process was proven to run.
    pub last_proof: Option<Timestamp>,
    /// When the start was asked for before which nothing of it can have run.
    pub start_asked: Option<Timestamp>,
    /// When its last window closed.
    pub metered_until: Option<Timestamp>,
    pub blocked: Option<Trouble>,
    /// Whether the last report of this generation saw nothing run.
    pub absent: bool,
    /// When the runtime's state last changed.
    pub changed_at: Timestamp,
    pub last_activity: Option<Timestamp>,
    /// Requests open at all gateways together.
    pub in_flight: u32,
    pub jobs_running: u32,
    /// The last minute in which it did something, and what.
    pub minute: Option<(Timestamp, Activity)>,
    /// Root that somebody has in it, if its time is not over.
    pub elevation: Option<ActiveElevation>,
    pub cap: Cap,
    pub project_cap: Cap,
    pub org_cap: Cap,
    /// The org's quiet hours.
    pub quiet: Option<Quiet>,
    /// The idle limits of its project and its org, in seconds.
    pub project_idle: Option<u32>,
    pub org_idle: Option<u32>,
    /// Since when it goes on for its jobs although a cap stops it.
    pub cap_grace_since: Option<Timestamp>,
}

impl Row {
    /// The caps it counts against: its own, its project's, its org's.
    pub(crate) fn caps(&self) -> [Cap; 3] {
        [self.cap, self.project_cap, self.org_cap]
    }

    /// Whether somebody has to look at what it uses.
    pub(crate) fn is_capped(&self) -> bool {
        self.caps().iter().any(|cap| cap.mode != CapMode::None) || self.cap_grace_since.is_some()
    }

    /// Its meter, as it stands.
    pub(crate) fn meter(&self) -> Meter {
        Meter {
            runtime: self.runtime,
            opened_at: self.window.map(|window| window.opened_at),
            last_proof: self.last_proof,
            start_asked: self.start_asked,
            metered_until: self.metered_until,
        }
    }
}

/// The columns of a cap as a query names them with this prefix; `table` is where they are.
macro_rules! cap_columns {
    ($table:literal, $prefix:literal) => {
        concat!(
            $table,
            ".cap_mode AS ",
            $prefix,
            "mode, ",
            $table,
            ".cap_minutes AS ",
            $prefix,
            "minutes, ",
            $table,
            ".cap_micros AS ",
            $prefix,
            "micros, ",
            $table,
            ".cap_warn_at AS ",
            $prefix,
            "warn_at, ",
            $table,
            ".cap_grace_minutes AS ",
            $prefix,
            "grace"
        )
    };
}
pub(crate) use cap_columns;

/// Reads what [`cap_columns`] names; none where there is no row.
pub(crate) fn cap(row: &PgRow, prefix: &str) -> Answer<Cap> {
    let column = |name: &str| format!("{prefix}{name}");
    let mode = match row.try_get::<Option<String>, _>(column("mode").as_str())?.as_deref() {
        Some("warn") => CapMode::Warn,
        Some("stop") => CapMode::Stop,
        _ => CapMode::None,
    };
    let amount =
        |name| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column(name).as_str())?.map(i64::cast_unsigned));
    let warn_at: Option<i16> = row.try_get(column("warn_at").as_str())?;
    let grace: Option<i32> = row.try_get(column("grace").as_str())?;
    Ok(Cap {
        mode,
        minutes: amount("minutes")?.unwrap_or_default(),
        micros: amount("micros")?,
        warn_at: warn_at.and_then(|percent| u8::try_from(percent).ok()).unwrap_or(WARN_AT),
        grace_minutes: grace.map_or(GRACE_MINUTES, i32::cast_unsigned),
    })
}

const SELECT: &str = concat!(
    "SELECT ",
    cap_columns!("r", "cap_"),
    ", ",
    cap_columns!("p", "project_cap_"),
    ", ",
    cap_columns!("o", "org_cap_"),
    ", r.cap_grace_since, w.*, o.slug AS org_slug, o.quiet_hours, o.idle_limit AS org_idle, h.online AS host_online, h.last_seen_at AS host_seen_at, p.slug AS project_slug, p.idle_limit AS project_idle, \
    r.intent, r.state, r.generation, r.size AS runtime_size, r.session_id, r.window_id, r.window_opened, r.wake_cause, r.sleep_cause, r.woken_by, r.last_proof, r.start_asked, r.metered_until, \
    r.blocked_code, r.blocked_cause, r.blocked_fix, r.absent, r.changed_at, r.last_activity, r.jobs_running, \
    am.minute, am.cpu AS minute_cpu, am.disk AS minute_disk, am.network AS minute_network, am.realtime AS minute_realtime, \
    am.requests AS minute_requests, am.jobs AS minute_jobs, \
    (SELECT coalesce(sum(g.in_flight), 0) FROM gateway_requests g WHERE g.workspace_id = w.id) AS in_flight, \
    (SELECT f.slug FROM workspaces f WHERE f.id = w.forked_from) AS fork_slug, \
    e.id AS elevation_id, e.state AS elevation_state, e.expires_at AS elevation_until, eu.name AS elevation_by \
    FROM workspaces w JOIN orgs o ON o.org_id = w.org_id JOIN projects p ON p.id = w.project_id JOIN hosts h ON h.id = w.host_id JOIN runtimes r ON r.workspace_id = w.id \
    LEFT JOIN elevations e ON e.workspace_id = w.id AND e.state IN ('approved', 'active') LEFT JOIN users eu ON eu.id = e.requested_by \
    LEFT JOIN LATERAL (SELECT * FROM activity_minutes a WHERE a.workspace_id = w.id ORDER BY a.minute DESC LIMIT 1) am ON true \
    WHERE w.deleted_at IS NULL"
);

fn time(row: &PgRow, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
    Ok(row.try_get::<Option<SqlTimestamp>, _>(column)?.map(SqlTimestamp::to_jiff))
}

fn quiet(row: &PgRow) -> Answer<Option<Quiet>> {
    let hours = row.try_get::<Option<Json<QuietHours>>, _>("quiet_hours")?;
    // Checked when they were set. A workspace is read all the same.
    Ok(hours.and_then(|hours| hours.0.check().ok()))
}

fn size(row: &PgRow, column: &str) -> Answer<Size> {
    Ok(row.try_get::<String, _>(column)?.parse::<Size>().map_err(|error| anyhow::anyhow!(error))?)
}

fn elevation(row: &PgRow) -> Answer<Option<ActiveElevation>> {
    let (id, until) = (row.try_get::<Option<Uuid>, _>("elevation_id")?, time(row, "elevation_until")?);
    let (Some(id), Some(until)) = (id, until) else { return Ok(None) };
    Ok(Some(ActiveElevation {
        id: ElevationId::from_uuid(id),
        by: row.try_get("elevation_by")?,
        opened: row.try_get::<String, _>("elevation_state")? == "active",
        until,
    }))
}

fn forked_from(row: &PgRow) -> Answer<Option<(WorkspaceId, Slug)>> {
    let id = row.try_get::<Option<Uuid>, _>("forked_from")?.map(WorkspaceId::from_uuid);
    let slug = row.try_get::<Option<String>, _>("fork_slug")?.map(|slug| slug.parse::<Slug>()).transpose();
    Ok(id.zip(slug.context("stored slug")?))
}

fn read(row: &PgRow) -> Answer<Row> {
    let session: Option<Uuid> = row.try_get("session_id")?;
    let window: Option<Uuid> = row.try_get("window_id")?;
    let intent: String = row.try_get("intent")?;
    let state: String = row.try_get("state")?;
    let window = match (window, time(row, "window_opened")?) {
        (Some(id), Some(opened_at)) => Some(OpenWindow { id: WindowId::from_uuid(id), opened_at }),
        _ => None,
    };
    let blocked = match row.try_get::<Option<String>, _>("blocked_code")? {
        Some(code) => Some(Trouble {
            code,
            cause: row.try_get::<Option<String>, _>("blocked_cause")?.unwrap_or_default(),
            fix: row.try_get::<Option<String>, _>("blocked_fix")?.unwrap_or_default(),
        }),
        None => None,
    };
    Ok(Row {
        id: WorkspaceId::from_uuid(row.try_get("id")?),
        org: OrgId::from_uuid(row.try_get("org_id")?),
        org_slug: row.try_get::<String, _>("org_slug")?.parse().context("stored slug")?,
        project_id: ProjectId::from_uuid(row.try_get("project_id")?),
        project: row.try_get::<String, _>("project_slug")?.parse().context("stored slug")?,
        host: HostId::from_uuid(row.try_get("host_id")?),
        host_online: row.try_get("host_online")?,
        host_seen_at: time(row, "host_seen_at")?,
        slug: row.try_get::<String, _>("slug")?.parse().context("stored slug")?,
        branch: row.try_get("branch")?,
        forked_from: forked_from(row)?,
        shell: row.try_get::<Json<Part>, _>("shell")?.0,
        parts: row.try_get::<Json<Vec<Part>>, _>("parts")?.0,
        known_good: row.try_get::<Json<Vec<String>>, _>("known_good")?.0,
        manifest: row.try_get::<Option<Json<Manifest>>, _>("manifest")?.map(|manifest| manifest.0),
        diagnostics: row.try_get::<Json<Vec<String>>, _>("diagnostics")?.0,
        sequence: row.try_get::<i64, _>("sequence")?.cast_unsigned(),
        created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
        deleting: time(row, "deleting_at")?.is_some(),
        size: size(row, "size")?,
        runtime: Runtime {
            intent: RuntimeIntent::from_storage(&intent).context("stored intent")?,
            state: RuntimeState::from_storage(&state).context("stored state")?,
            generation: row.try_get::<i64, _>("generation")?.cast_unsigned(),
            window_open: window.is_some(),
            session_open: session.is_some(),
        },
        runtime_size: size(row, "runtime_size")?,
        session: session.map(UsageSessionId::from_uuid),
        window,
        wake_cause: row.try_get("wake_cause")?,
        sleep_cause: row.try_get("sleep_cause")?,
        woken_by: row.try_get::<Option<Uuid>, _>("woken_by")?.map(LinkId::from_uuid),
        last_proof: time(row, "last_proof")?,
        start_asked: time(row, "start_asked")?,
        metered_until: time(row, "metered_until")?,
        blocked,
        absent: row.try_get("absent")?,
        changed_at: row.try_get::<SqlTimestamp, _>("changed_at")?.to_jiff(),
        last_activity: time(row, "last_activity")?,
        in_flight: u32::try_from(row.try_get::<i64, _>("in_flight")?).unwrap_or(u32::MAX),
        jobs_running: row.try_get::<i32, _>("jobs_running")?.cast_unsigned(),
        minute: activity::store::read(row)?,
        elevation: elevation(row)?,
        cap: cap(row, "cap_")?,
        project_cap: cap(row, "project_cap_")?,
        org_cap: cap(row, "org_cap_")?,
        cap_grace_since: time(row, "cap_grace_since")?,
        quiet: quiet(row)?,
        project_idle: row.try_get::<Option<i32>, _>("project_idle")?.map(i32::cast_unsigned),
        org_idle: row.try_get::<Option<i32>, _>("org_idle")?.map(i32::cast_unsigned),
    })
}

macro_rules! select {
    ($tail:literal) => {
        sqlx::query(sqlx::AssertSqlSafe(format!(concat!("{} ", $tail), SELECT)))
    };
}

pub(crate) async fn list(tx: &mut Tx) -> Answer<Vec<Row>> {
    select!("ORDER BY w.slug").fetch_all(tx.conn()).await?.iter().map(read).collect()
}

pub(crate) async fn find(tx: &mut Tx, slug: &Slug) -> Answer<Option<Row>> {
    let row = select!("AND w.slug = $1").bind(slug.as_str()).fetch_optional(tx.conn()).await?;
    row.as_ref().map(read).transpose()
}

/// The workspace of a branch.
pub(crate) async fn find_by_branch(tx: &mut Tx, project: &ProjectId, branch: &str) -> Answer<Option<Row>> {
    let row = select!("AND w.project_id = $1 AND w.branch = $2")
        .bind(project.uuid())
        .bind(branch)
        .fetch_optional(tx.conn())
        .await?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn find_by_id(tx: &mut Tx, id: WorkspaceId) -> Answer<Option<Row>> {
    let row = select!("AND w.id = $1").bind(id.uuid()).fetch_optional(tx.conn()).await?;
    row.as_ref().map(read).transpose()
}

/// The same, with workspace and runtime locked until the transaction ends: one change at a time. Whoever changes either
/// takes both here, in this order and before anything else but rows of its own; the host's row comes after them.
pub(crate) async fn lock(tx: &mut Tx, id: WorkspaceId) -> Answer<Option<Row>> {
    let row = select!("AND w.id = $1 FOR NO KEY UPDATE OF w, r").bind(id.uuid()).fetch_optional(tx.conn()).await?;
    row.as_ref().map(read).transpose()
}

/// The same by slug.
pub(crate) async fn lock_by_slug(tx: &mut Tx, slug: &Slug) -> Answer<Option<Row>> {
    let row =
        select!("AND w.slug = $1 FOR NO KEY UPDATE OF w, r").bind(slug.as_str()).fetch_optional(tx.conn()).await?;
    row.as_ref().map(read).transpose()
}

/// Workspaces on a host.
pub(crate) async fn on_host(tx: &mut Tx, host: HostId) -> Answer<Vec<WorkspaceId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM workspaces WHERE host_id = $1 AND deleted_at IS NULL")
        .bind(host.uuid())
        .fetch_all(tx.conn())
        .await?;
    Ok(ids.into_iter().map(WorkspaceId::from_uuid).collect())
}

/// Workspaces whose runtime is not fully asleep.
pub(crate) async fn live(tx: &mut Tx) -> Answer<Vec<Row>> {
    select!("AND (r.state <> 'asleep' OR r.window_id IS NOT NULL)")
        .fetch_all(tx.conn())
        .await?
        .iter()
        .map(read)
        .collect()
}

/// How many the org has, also those the reader does not see.
pub(crate) async fn system_count(tx: &mut Tx) -> Answer<i64> {
    Ok(sqlx::query_scalar("SELECT system_workspace_count()").fetch_one(tx.conn()).await?)
}

/// The role of a member, if they see the workspace.
pub(crate) async fn role_at(tx: &mut Tx, id: WorkspaceId, user: UserId) -> Answer<Option<Role>> {
    let role: Option<String> = sqlx::query_scalar(
        "SELECT role FROM memberships WHERE org_id = current_org() AND user_id = $2 AND EXISTS (SELECT 1 FROM workspaces WHERE id = $1)",
    )
    .bind(id.uuid())
    .bind(user.uuid())
    .fetch_optional(tx.conn())
    .await?;
    Ok(role.map(|role| role.parse()).transpose().map_err(|error: String| anyhow::anyhow!(error))?)
}

/// A workspace to add.
pub(crate) struct NewWorkspace<'a> {
    pub(crate) id: WorkspaceId,
    pub(crate) project: &'a ProjectId,
    pub(crate) host: HostId,
    pub(crate) slug: &'a Slug,
    pub(crate) branch: &'a str,
    /// Chosen for it; the manifest's otherwise.
    pub(crate) size: Option<Size>,
    pub(crate) shell: &'a Part,
    pub(crate) forked_from: Option<WorkspaceId>,
    pub(crate) user: UserId,
    pub(crate) now: Timestamp,
}

/// Adds a workspace; `false` when somebody else has just taken its name or its branch.
pub(crate) async fn insert(tx: &mut Tx, new: &NewWorkspace<'_>) -> Answer<bool> {
    let chosen = new.size.unwrap_or_default();
    let inserted = sqlx::query(
        "INSERT INTO workspaces (id, org_id, project_id, host_id, slug, branch, size, size_pinned, shell, created_by, created_at, forked_from) VALUES ($1, current_org(), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
    )
    .bind(new.id.uuid())
    .bind(new.project.uuid())
    .bind(new.host.uuid())
    .bind(new.slug.as_str())
    .bind(new.branch)
    .bind(chosen.as_str())
    .bind(new.size.is_some())
    .bind(Json(new.shell))
    .bind(new.user.uuid())
    .bind(new.now.to_sqlx())
    .bind(new.forked_from.map(WorkspaceId::uuid))
    .execute(tx.conn())
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("INSERT INTO runtimes (workspace_id, org_id, size, changed_at) VALUES ($1, current_org(), $2, $3)")
        .bind(new.id.uuid())
        .bind(chosen.as_str())
        .bind(new.now.to_sqlx())
        .execute(tx.conn())
        .await?;
    Ok(true)
}

/// Takes over what a workspace is limited to from the one it is a copy of.
pub(crate) async fn copy_limits(tx: &mut Tx, from: WorkspaceId, to: WorkspaceId) -> Answer<()> {
    sqlx::query("UPDATE workspaces w SET size = f.size, size_pinned = f.size_pinned FROM workspaces f WHERE f.id = $1 AND w.id = $2")
        .bind(from.uuid())
        .bind(to.uuid())
        .execute(tx.conn())
        .await?;
    sqlx::query("UPDATE runtimes r SET cap_mode = f.cap_mode, cap_minutes = f.cap_minutes, cap_micros = f.cap_micros, cap_warn_at = f.cap_warn_at, cap_grace_minutes = f.cap_grace_minutes FROM runtimes f WHERE f.workspace_id = $1 AND r.workspace_id = $2")
        .bind(from.uuid())
        .bind(to.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(crate) async fn set_shell(tx: &mut Tx, id: WorkspaceId, shell: &Part) -> Answer<()> {
    sqlx::query("UPDATE workspaces SET shell = $2 WHERE id = $1")
        .bind(id.uuid())
        .bind(Json(shell))
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Stores what a report says of the parts.
pub(crate) async fn set_parts(
    tx: &mut Tx,
    id: WorkspaceId,
    sequence: u64,
    shell: &Part,
    parts: &[Part],
    known_good: &[String],
) -> Answer<()> {
    sqlx::query("UPDATE workspaces SET sequence = $2, shell = $3, parts = $4, known_good = $5 WHERE id = $1")
        .bind(id.uuid())
        .bind(sequence.cast_signed())
        .bind(Json(shell))
        .bind(Json(parts))
        .bind(Json(known_good))
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// A good manifest: stored, and its size taken unless one was chosen for the workspace.
pub(crate) async fn set_manifest(tx: &mut Tx, id: WorkspaceId, manifest: &Manifest) -> Answer<()> {
    sqlx::query(
        "UPDATE workspaces SET manifest = $2, diagnostics = '[]', size = CASE WHEN size_pinned THEN size ELSE $3 END WHERE id = $1",
    )
    .bind(id.uuid())
    .bind(Json(manifest))
    .bind(manifest.runtime.size.as_str())
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(crate) async fn set_diagnostics(tx: &mut Tx, id: WorkspaceId, diagnostics: &[String]) -> Answer<()> {
    sqlx::query("UPDATE workspaces SET diagnostics = $2 WHERE id = $1")
        .bind(id.uuid())
        .bind(Json(diagnostics))
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Marks a locked workspace as being deleted and ends its intent; returns the generation of the end.
pub(crate) async fn begin_deletion(tx: &mut Tx, id: WorkspaceId, now: Timestamp) -> Answer<u64> {
    sqlx::query("UPDATE workspaces SET deleting_at = $2 WHERE id = $1")
        .bind(id.uuid())
        .bind(now.to_sqlx())
        .execute(tx.conn())
        .await?;
    let generation: i64 = sqlx::query_scalar(
        "UPDATE runtimes SET intent = 'asleep', generation = generation + 1, changed_at = $2 WHERE workspace_id = $1 RETURNING generation",
    )
    .bind(id.uuid())
    .bind(now.to_sqlx())
    .fetch_one(tx.conn())
    .await?;
    Ok(generation.cast_unsigned())
}

/// Closes the row; `false` when it was closed before.
pub(crate) async fn finish_deletion(tx: &mut Tx, id: WorkspaceId, now: Timestamp) -> Answer<bool> {
    let done = sqlx::query(
        "UPDATE workspaces SET deleted_at = $2 WHERE id = $1 AND deleting_at IS NOT NULL AND deleted_at IS NULL",
    )
    .bind(id.uuid())
    .bind(now.to_sqlx())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Service and label of each dev host of a workspace.
pub(crate) async fn labels(tx: &mut Tx, id: WorkspaceId) -> Answer<Vec<(String, String)>> {
    Ok(sqlx::query_as("SELECT service, label FROM labels WHERE workspace_id = $1 ORDER BY service")
        .bind(id.uuid())
        .fetch_all(tx.conn())
        .await?)
}

/// Who has a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A service of a workspace of this org.
    Ours {
        /// The workspace's slug.
        workspace: String,
        /// The service.
        service: String,
    },
    /// Somebody in another org.
    Others,
}

/// Takes a label for a service, or says who holds it: another one, of this or another workspace or org. A label of a
/// service that the workspace has no more (`services` are those it has) or of a deleted workspace of the same org is taken
/// over; one of another org never is.
pub(crate) async fn claim_label(
    tx: &mut Tx,
    label: &str,
    id: WorkspaceId,
    service: &str,
    services: &[&str],
    now: Timestamp,
) -> Answer<Option<Holder>> {
    let inserted = sqlx::query(
        "INSERT INTO labels (label, org_id, workspace_id, service, created_at) VALUES ($1, current_org(), $2, $3, $4) ON CONFLICT (label) DO NOTHING",
    )
    .bind(label)
    .bind(id.uuid())
    .bind(service)
    .bind(now.to_sqlx())
    .execute(tx.conn())
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(None);
    }
    let taken = sqlx::query(
        "UPDATE labels SET workspace_id = $2, service = $3 WHERE label = $1 AND (workspace_id = $2 AND (service = $3 OR service <> ALL ($4)) OR workspace_id IN (SELECT id FROM workspaces WHERE deleted_at IS NOT NULL))",
    )
    .bind(label)
    .bind(id.uuid())
    .bind(service)
    .bind(services)
    .execute(tx.conn())
    .await?;
    if taken.rows_affected() == 1 { Ok(None) } else { Ok(holder(tx, label).await?) }
}

/// Who holds a label that can't be taken over.
pub(crate) async fn holder(tx: &mut Tx, label: &str) -> Answer<Option<Holder>> {
    let row: Option<(Option<String>, Option<String>, Option<bool>)> = sqlx::query_as(
        "SELECT w.slug, l.service, w.deleted_at IS NOT NULL FROM (SELECT system_label_org($1) AS org) held \
         LEFT JOIN labels l ON l.label = $1 LEFT JOIN workspaces w ON w.id = l.workspace_id WHERE held.org IS NOT NULL",
    )
    .bind(label)
    .fetch_optional(tx.conn())
    .await?;
    Ok(match row {
        None | Some((Some(_), _, Some(true))) => None,
        Some((Some(workspace), Some(service), _)) => Some(Holder::Ours { workspace, service }),
        Some(_) => Some(Holder::Others),
    })
}

/// Services that workspaces of a project have had so far.
pub(crate) async fn services_of(tx: &mut Tx, project: &ProjectId) -> Answer<Vec<String>> {
    Ok(sqlx::query_scalar(
        "SELECT DISTINCT jsonb_object_keys(manifest -> 'services') FROM workspaces WHERE project_id = $1 AND manifest IS NOT NULL AND deleted_at IS NULL LIMIT 200",
    )
    .bind(project.uuid())
    .fetch_all(tx.conn())
    .await?)
}

/// Where a label leads.
pub(crate) async fn system_resolve_label(
    db: &crate::platform::db::Db,
    label: &str,
) -> Answer<Option<(OrgId, WorkspaceId, String)>> {
    let row = sqlx::query("SELECT * FROM system_resolve_label($1)").bind(label).fetch_optional(db.pool()).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((
        OrgId::from_uuid(row.try_get("org_id")?),
        WorkspaceId::from_uuid(row.try_get("workspace_id")?),
        row.try_get("service")?,
    )))
}
