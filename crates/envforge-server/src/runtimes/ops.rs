//! Wake, sleep, observe.

use super::store::{self, Change};
use crate::app::App;
use crate::caps;
use crate::hosts;
use crate::ledger::{self, Entry};
use crate::links;
use crate::member_sessions;
use crate::platform::bus::Nudge;
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::{Answer, Fault};
use crate::platform::http::auth::Permit;
use crate::receipts;
use crate::usage;
use crate::workspaces;
use crate::workspaces::store::{OpenWindow, Row};
use envforge_api::host::{CheckoutReport, NameDevHosts, Order, Outcome, Report, StartRuntime, Trouble};
use envforge_core::access::{Action, allows};
use envforge_core::id::{CommandId, LinkId, LoginSessionId, UsageSessionId, UserId, WindowId, WorkspaceId};
use envforge_core::link::{Holder, SessionClaims};
use envforge_core::name::Slug;
use envforge_core::readiness::{Part, PartKind, ReadinessState};
use envforge_core::refusal::Refusal;
use envforge_core::runtime::{ObservedPhase, RuntimeIntent, RuntimeOrder, RuntimeState, SleepTier, WakeOutcome};
use envforge_core::size::Size;
use envforge_core::usage::WindowFact;
use envforge_core::usage::meter::{CLOCKS_DIFFER, Closing, Meter, Sight, Step, Witness};
use serde_json::json;
use std::collections::BTreeMap;

/// Commits of one report at most.
const COMMITS_MAX: usize = 50;

/// Who wakes, and why.
#[derive(Debug, Clone)]
pub struct Waker {
    /// As the ledger names it.
    pub actor: String,
    /// In words: `link visit`, `envforge run`.
    pub cause: String,
    /// Another size than the workspace's.
    pub size: Option<Size>,
    /// The link of a visitor.
    pub link: Option<LinkId>,
}

/// Wakes for a member. What is awake and has something that is blocked is started again, and its host's answer waited
/// for: a manifest that was corrected is read now, one that is broken is refused.
pub async fn wake(app: &App, permit: &Permit, slug: &Slug, size: Option<Size>, cause: &str) -> Answer<WorkspaceId> {
    let nudges = app.bus.listen();
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::store::lock_by_slug(&mut tx, slug).await?;
    let mut row = row.ok_or_else(|| workspaces::ops::not_found(slug))?;
    let waker = Waker { actor: permit.actor(), cause: format!("{cause} {}", permit.actor()), size, link: None };
    let id = row.id;
    let again = match wake_locked(app, &mut tx, &mut row, &waker).await? {
        WakeOutcome::Already => start_again(app, &mut tx, &row, &waker).await?,
        WakeOutcome::Start { .. } => None,
    };
    tx.commit().await?;
    let Some(command) = again else { return Ok(id) };
    match hosts::ops::answer(app, permit.scope, id, command, nudges).await? {
        Some(Outcome::Failed(trouble)) => Err(Refusal::conflict(&trouble.code, trouble.cause).hint(trouble.fix).into()),
        // Stale: it was put to sleep meanwhile, as its view says.
        Some(Outcome::Done | Outcome::Stale) => Ok(id),
        None => {
            let message = "the host has not begun to start again what is blocked; it does as soon as it can";
            Err(Refusal::unavailable("runtime.start_waits", message).retry_after(5).into())
        }
    }
}

/// Orders another start of a runtime that is awake or on its way, if something of it is blocked. Intent and generation
/// stay; the meter goes on. Only a member asks for this: a visitor's knock is no reason to try what can't run.
async fn start_again(app: &App, tx: &mut Tx, row: &Row, waker: &Waker) -> Answer<Option<CommandId>> {
    let generation = row.runtime.generation;
    if !row.parts.iter().any(is_tried_by_a_start)
        || workspaces::ops::is_host_lost(app, row)
        || hosts::store::start_waits(tx, row.id, generation).await?
    {
        return Ok(None);
    }
    let order = StartRuntime {
        size: row.runtime_size,
        cause: waker.cause.clone(),
        public_urls: public_urls(app, tx, row.id).await?,
        dev_hosts_known: row.manifest.is_some(),
        again: true,
    };
    let command = hosts::ops::command(app, tx, row.host, row.id, generation, Order::StartRuntime(order)).await?;
    let entry = Entry::new(&waker.actor, "runtime.start_asked", row.id, &waker.cause);
    ledger::record(app, tx, entry.details(json!({ "generation": generation }))).await?;
    Ok(Some(command))
}

/// Whether a part is blocked until the runtime is started once more. Checks go on asking by themselves.
fn is_tried_by_a_start(part: &Part) -> bool {
    let is_kind = match part.kind {
        PartKind::Service | PartKind::Resource => true,
        _ => part.code.as_deref() == Some("setup.failed"),
    };
    is_kind && part.state == ReadinessState::Blocked
}

/// Wakes for a verified session on a dev host. Asked by two gateways at once, or again because an answer was lost, it wakes
/// once and spends one wake of a link: whoever comes second finds it on its way, or blocked. No gateway asks for what it knows
/// to be blocked, so such a request is of before the wake that found that out.
pub async fn wake_by_session(app: &App, claims: &SessionClaims, path: &str) -> Answer<Row> {
    let path: String = path.chars().filter(|c| !c.is_control()).take(100).collect();
    match claims.holder {
        Holder::Link(link) => wake_by_link(app, claims, link, &path).await,
        Holder::Member { user, login } => wake_by_member(app, claims, user, login, &path).await,
    }
}

/// Within the link's budget.
async fn wake_by_link(app: &App, claims: &SessionClaims, link: LinkId, path: &str) -> Answer<Row> {
    let mut tx = app.db.begin(OrgScope::established(claims.org)).await?;
    let mut row = workspaces::store::lock(&mut tx, claims.workspace).await?.ok_or_else(gone)?;
    let starts = starts(&row);
    links::ops::spend_wake(app, &mut tx, claims.org, link, starts).await?;
    if !starts {
        return Ok(row);
    }
    let waker = Waker {
        actor: format!("link_session:{}", claims.session),
        cause: format!("link visit to {path}"),
        size: None,
        link: Some(link),
    };
    wake_locked(app, &mut tx, &mut row, &waker).await?;
    tx.commit().await?;
    Ok(row)
}

/// Whether a session's wake has something to do.
fn starts(row: &Row) -> bool {
    let mut runtime = row.runtime;
    runtime.state != RuntimeState::Blocked && runtime.wake() != WakeOutcome::Already
}

/// As the member by their own name, if they still may; no link pays for it.
async fn wake_by_member(
    app: &App,
    claims: &SessionClaims,
    user: UserId,
    login: LoginSessionId,
    path: &str,
) -> Answer<Row> {
    let mut tx = app.db.begin(OrgScope::of_member(claims.org, user)).await?;
    let role = member_sessions::ops::check_visit(app, &mut tx, claims, user, login).await?;
    let mut row = workspaces::store::lock(&mut tx, claims.workspace).await?.ok_or_else(gone)?;
    if starts(&row) {
        member_sessions::ops::check_wake(role)?;
    } else if row.runtime.state == RuntimeState::Blocked || !allows(role, Action::Wake) {
        return Ok(row);
    }
    let actor = format!("user:{user}");
    let waker = Waker { cause: format!("dev host visit by {actor} to {path}"), actor, size: None, link: None };
    wake_locked(app, &mut tx, &mut row, &waker).await?;
    tx.commit().await?;
    Ok(row)
}

fn gone() -> Fault {
    Refusal::not_found("workspace.not_found", "this workspace is gone").into()
}

/// The wake itself, on a locked row, which becomes what it is after, in the caller's transaction.
pub async fn wake_locked(app: &App, tx: &mut Tx, row: &mut Row, waker: &Waker) -> Answer<WakeOutcome> {
    let outcome = decide_wake(app, tx, row, waker).await;
    app.metrics.wake(match &outcome {
        Ok(WakeOutcome::Already) => "already",
        Ok(WakeOutcome::Start { thaw: true, .. }) => "thawed",
        Ok(WakeOutcome::Start { thaw: false, .. }) => "started",
        Err(Fault::Refused(_)) => "refused",
        Err(Fault::Broken(_)) => "failed",
    });
    outcome
}

async fn decide_wake(app: &App, tx: &mut Tx, row: &mut Row, waker: &Waker) -> Answer<WakeOutcome> {
    if row.deleting {
        return Err(
            Refusal::conflict("workspace.deleting", format!("workspace `{}` is being deleted", row.slug)).into()
        );
    }
    let mut meter = row.meter();
    let outcome = meter.wake(app.now());
    let runtime = meter.runtime;
    let WakeOutcome::Start { thaw, new_session } = outcome else {
        if waker.link.is_none() {
            take_over(app, tx, row, waker).await?;
        }
        return Ok(outcome);
    };
    let size = waker.size.unwrap_or(if new_session { row.size } else { row.runtime_size });
    caps::ops::check_wake(app, tx, row, &waker.actor).await?;
    check_capacity(app, tx, row, size).await?;
    let session = match row.session {
        Some(session) => session,
        None => app.mint::<UsageSessionId>(),
    };
    let change = Change {
        meter,
        size,
        session: Some(session),
        window: row.window,
        wake_cause: Some(waker.cause.clone()),
        sleep_cause: row.sleep_cause.clone(),
        woken_by: waker.link,
        blocked: None,
        absent: false,
        at: app.now(),
    };
    store::write(tx, row.id, &row.runtime, &change).await?;
    hosts::store::supersede(tx, row.id, runtime.generation, app.now()).await?;
    let public_urls = public_urls(app, tx, row.id).await?;
    let cause = waker.cause.clone();
    let dev_hosts_known = row.manifest.is_some();
    let order = Order::StartRuntime(StartRuntime { size, cause, public_urls, dev_hosts_known, again: false });
    hosts::ops::command(app, tx, row.host, row.id, runtime.generation, order).await?;
    let details = json!({ "session": session, "size": size, "thaw": thaw, "generation": runtime.generation });
    ledger::record(app, tx, Entry::new(&waker.actor, "runtime.wake_asked", row.id, &waker.cause).details(details))
        .await?;
    tx.nudge(Nudge::Workspace { org: row.org, workspace: row.id });
    (row.runtime, row.runtime_size, row.session) = (runtime, size, Some(session));
    row.start_asked = meter.start_asked;
    (row.wake_cause, row.woken_by, row.blocked, row.absent) = (change.wake_cause, waker.link, None, false);
    row.changed_at = change.at;
    Ok(outcome)
}

/// Dev host origin per service.
async fn public_urls(app: &App, tx: &mut Tx, workspace: WorkspaceId) -> Answer<BTreeMap<String, String>> {
    let labels = workspaces::store::labels(tx, workspace).await?;
    Ok(labels.into_iter().map(|(service, label)| (service, app.config.dev_url(&label))).collect())
}

/// Tells the host which dev hosts there are by now, if it was told to wake the runtime before they were known.
pub async fn name_dev_hosts(app: &App, tx: &mut Tx, row: &Row) -> Answer<()> {
    if row.runtime.intent != RuntimeIntent::Awake {
        return Ok(());
    }
    let public_urls = public_urls(app, tx, row.id).await?;
    let order = Order::NameDevHosts(NameDevHosts { public_urls });
    hosts::ops::command(app, tx, row.host, row.id, row.runtime.generation, order).await?;
    Ok(())
}

/// A member wants awake what a link's visitor woke: from now on it is not the link's minutes that it costs.
async fn take_over(app: &App, tx: &mut Tx, row: &mut Row, waker: &Waker) -> Answer<()> {
    let Some(link) = row.woken_by.take() else { return Ok(()) };
    if let Some(window) = row.window {
        links::ops::spend_time(tx, link, window.opened_at, app.now()).await?;
    }
    store::clear_woken_by(tx, row.id).await?;
    let entry = Entry::new(&waker.actor, "runtime.taken_over", row.id, &waker.cause);
    ledger::record(app, tx, entry.details(json!({ "link": link }))).await
}

/// Whether the host has room for the reserved part of `size`, beside what runs. A host that is lighter than a size is
/// not refused for that alone: the one box may be smaller than `small` and still run one.
async fn check_capacity(app: &App, tx: &mut Tx, row: &Row, size: Size) -> Answer<()> {
    let Some(host) = hosts::store::lock(tx, row.host).await? else {
        return Err(Refusal::unavailable("host.none", "the workspace's host is gone").into());
    };
    if workspaces::ops::is_host_lost(app, row) {
        return Err(Refusal::unavailable("host.lost", "the workspace's host is lost, nothing can wake now")
            .hint("`envforge doctor` on the host's machine tells why")
            .retry_after(5)
            .into());
    }
    let others = store::system_reserved_memory(tx, row.host, row.id).await?;
    if host.memory > 0 && others > 0 && others + size.reserved_memory() > host.memory {
        return Err(Refusal::unavailable(
            "runtime.no_capacity",
            format!("no capacity: {size} needs memory that other runtimes on this host have reserved"),
        )
        .hint("put another workspace to sleep, or wake with a smaller size")
        .retry_after(30)
        .into());
    }
    Ok(())
}

/// Puts a runtime to sleep for a member.
pub async fn sleep(app: &App, permit: &Permit, slug: &Slug, tier: SleepTier) -> Answer<()> {
    let mut tx = app.db.begin(permit.scope).await?;
    let row = workspaces::store::lock_by_slug(&mut tx, slug).await?.ok_or_else(|| workspaces::ops::not_found(slug))?;
    let cause = format!("asked by {}", permit.actor());
    sleep_locked(app, &mut tx, row, tier, &permit.actor(), &cause).await?;
    tx.commit().await
}

/// The sleep itself, on a locked row; nothing happens when it sleeps that deep already.
pub async fn sleep_locked(app: &App, tx: &mut Tx, row: Row, tier: SleepTier, actor: &str, cause: &str) -> Answer<()> {
    let mut runtime = row.runtime;
    let Some(order) = runtime.sleep(tier) else { return Ok(()) };
    caps::ops::end_grace(app, tx, &row, cause).await?;
    let change = Change {
        meter: Meter { runtime, ..row.meter() },
        size: row.runtime_size,
        session: row.session,
        window: row.window,
        wake_cause: row.wake_cause.clone(),
        sleep_cause: Some(cause.to_owned()),
        woken_by: row.woken_by,
        blocked: None,
        absent: false,
        at: app.now(),
    };
    store::write(tx, row.id, &row.runtime, &change).await?;
    hosts::store::supersede(tx, row.id, runtime.generation, app.now()).await?;
    let order = match order {
        RuntimeOrder::Freeze => Order::FreezeRuntime,
        RuntimeOrder::Stop | RuntimeOrder::Start => Order::StopRuntime,
    };
    hosts::ops::command(app, tx, row.host, row.id, runtime.generation, order).await?;
    let details = json!({ "tier": tier, "generation": runtime.generation });
    ledger::record(app, tx, Entry::new(actor, "runtime.sleep_asked", row.id, cause).details(details)).await?;
    tx.nudge(Nudge::Workspace { org: row.org, workspace: row.id });
    Ok(())
}

/// Takes in a host's report. A report taken in before changes nothing; the answer is the same.
pub async fn observe(app: &App, tx: &mut Tx, report: &Report) -> Answer<()> {
    let Some(row) = workspaces::store::lock(tx, report.workspace).await? else { return Ok(()) };
    if report.sequence <= row.sequence {
        return Ok(());
    }
    if let Some(manifest) = &report.manifest {
        workspaces::ops::manifest_seen(app, tx, &row, manifest).await?;
    }
    let shell =
        report.parts.iter().find(|part| part.kind == PartKind::Shell).cloned().unwrap_or_else(|| row.shell.clone());
    let parts: Vec<_> = report.parts.iter().filter(|part| part.kind != PartKind::Shell).cloned().collect();
    let mut known_good = row.known_good.clone();
    for part in &parts {
        if part.kind == PartKind::Service && part.state == ReadinessState::Ready && !known_good.contains(&part.name) {
            known_good.push(part.name.clone());
        }
    }
    workspaces::store::set_parts(tx, row.id, report.sequence, &shell, &parts, &known_good).await?;
    if let Some(checkout) = &report.checkout {
        checkout_seen(app, tx, &row, checkout).await?;
    }
    let seen = Seen {
        generation: report.generation,
        phase: report.phase,
        process_runs: report.process_runs,
        witness: Witness::Host { at: report.at, last_proof: report.last_proof },
        trouble: report.trouble.clone(),
    };
    apply(app, tx, row, seen, "host report").await
}

/// Writes down where the checkout of a session is, and which commits were made since the runtime last changed; receipts tell.
async fn checkout_seen(app: &App, tx: &mut Tx, row: &Row, checkout: &CheckoutReport) -> Answer<()> {
    let is_id = |text: &str| matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if row.session.is_none() || !is_id(&checkout.head) {
        return Ok(());
    }
    let since = row.changed_at.checked_sub(CLOCKS_DIFFER).unwrap_or(row.changed_at);
    let made = checkout.commits.iter().filter(|commit| commit.at >= since && is_id(&commit.id)).take(COMMITS_MAX);
    let commits: Vec<&str> = made.map(|commit| commit.id.as_str()).collect();
    let actor = format!("host:{}", row.host);
    let details = json!({ "head": checkout.head, "commits": commits });
    ledger::record(app, tx, Entry::new(&actor, "checkout.seen", row.id, "host report").details(details)).await
}

/// What was seen of a runtime.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The generation obeyed.
    pub generation: u64,
    /// The phase.
    pub phase: ObservedPhase,
    /// Whether a runtime process exists.
    pub process_runs: bool,
    /// Who saw it, and when.
    pub witness: Witness,
    /// What blocks it.
    pub trouble: Option<Trouble>,
}

/// Applies what was seen to the row and the meter.
pub async fn apply(app: &App, tx: &mut Tx, row: Row, seen: Seen, evidence: &str) -> Answer<()> {
    let mut meter = row.meter();
    let absent = seen.phase == ObservedPhase::Absent && seen.generation == meter.runtime.generation;
    let start_waits = absent && hosts::store::start_waits(tx, row.id, seen.generation).await?;
    let sight = Sight {
        generation: seen.generation,
        phase: seen.phase,
        process_runs: seen.process_runs,
        start_waits,
        witness: seen.witness,
    };
    let Step { observed, opens, closes } = meter.observe(&sight, app.now());
    let runtime = meter.runtime;
    let actor = format!("host:{}", row.host);
    let mut session = row.session;
    let mut window = row.window;
    if let Some(at) = opens {
        let id: WindowId = app.mint();
        let owner = *session.get_or_insert_with(|| app.mint());
        let cause = row.wake_cause.clone().unwrap_or_else(|| "seen running".to_owned());
        let fact = WindowFact::Opened { window: id, session: owner, at, size: row.runtime_size, cause };
        usage::ops::record(app, tx, row.id, &actor, evidence, &fact).await?;
        window = Some(OpenWindow { id, opened_at: at });
    }
    if let (Some(closing), Some(open)) = (closes, window)
        && opens.is_none()
    {
        close(app, tx, &row, open, &seen, closing, &actor, evidence).await?;
        window = None;
    }
    if observed.session_ends
        && let Some(ended) = session.take()
    {
        let entry = Entry::new(&actor, "session.ended", row.id, "fully asleep").details(json!({ "session": ended }));
        ledger::record(app, tx, entry).await?;
        receipts::ops::ended(app, tx, row.id, ended).await?;
    }
    if observed.changed {
        let verb = match runtime.state {
            RuntimeState::Awake => Some("runtime.woken"),
            RuntimeState::Frozen => Some("runtime.frozen"),
            RuntimeState::Asleep => Some("runtime.stopped"),
            RuntimeState::Blocked => Some("runtime.blocked"),
            RuntimeState::Waking | RuntimeState::Stopping => None,
        };
        if let Some(verb) = verb {
            let cause = seen.trouble.as_ref().map_or(evidence, |trouble| trouble.code.as_str());
            let entry = Entry::new(&actor, verb, row.id, cause).details(json!({ "generation": seen.generation }));
            ledger::record(app, tx, entry).await?;
        }
    }
    let blocked = (runtime.state == RuntimeState::Blocked).then(|| {
        seen.trouble.clone().or_else(|| row.blocked.clone()).unwrap_or_else(|| Trouble {
            code: "runtime.blocked".to_owned(),
            cause: "no service can run".to_owned(),
            fix: "`envforge status` shows the cause of each service".to_owned(),
        })
    });
    let change = Change {
        meter,
        size: row.runtime_size,
        session,
        window,
        wake_cause: row.wake_cause.clone(),
        sleep_cause: row.sleep_cause.clone(),
        woken_by: row.woken_by,
        blocked,
        absent,
        at: if observed.changed { app.now() } else { row.changed_at },
    };
    store::write(tx, row.id, &row.runtime, &change).await?;
    tx.nudge(Nudge::Workspace { org: row.org, workspace: row.id });
    Ok(())
}

/// Writes down why and when the open window ended.
#[expect(clippy::too_many_arguments, reason = "all of it is what the event says")]
async fn close(
    app: &App,
    tx: &mut Tx,
    row: &Row,
    open: OpenWindow,
    seen: &Seen,
    closing: Closing,
    actor: &str,
    evidence: &str,
) -> Answer<()> {
    // A wake that came after may have been asked for already.
    let was_sent_to_sleep = row.runtime.intent != RuntimeIntent::Awake || seen.generation < row.runtime.generation;
    let is_unseen = match seen.witness {
        Witness::Host { last_proof, .. } => last_proof.is_some(),
        Witness::Server => true,
    };
    let cause = match (seen.phase, &row.sleep_cause) {
        _ if is_unseen => "its end was not seen; closed at the last proof",
        (ObservedPhase::Blocked, _) => "every service is blocked",
        _ if row.deleting => "the workspace was deleted",
        (_, Some(cause)) if was_sent_to_sleep => cause,
        _ => "it ended by itself",
    };
    if let Some(link) = row.woken_by {
        links::ops::spend_time(tx, link, open.opened_at, closing.at).await?;
    }
    let Closing { at, unproven_seconds, .. } = closing;
    let fact = WindowFact::Closed { window: open.id, at, cause: cause.to_owned(), unproven_seconds };
    usage::ops::record(app, tx, row.id, actor, evidence, &fact).await
}

/// The host carried out `START_RUNTIME`. What it had reported as gone before it could answer did not wait for the start:
/// it was started, and ended.
pub async fn started(app: &App, tx: &mut Tx, workspace: WorkspaceId, generation: u64) -> Answer<()> {
    let Some(row) = workspaces::store::lock(tx, workspace).await? else { return Ok(()) };
    if row.runtime.generation != generation || !row.absent {
        return Ok(());
    }
    let seen =
        Seen { generation, phase: ObservedPhase::Absent, process_runs: false, witness: Witness::Server, trouble: None };
    apply(app, tx, row, seen, "start answered").await
}

/// The host could not carry out `START_RUNTIME`.
pub async fn start_failed(
    app: &App,
    tx: &mut Tx,
    workspace: WorkspaceId,
    generation: u64,
    trouble: &Trouble,
) -> Answer<()> {
    let Some(row) = workspaces::store::lock(tx, workspace).await? else { return Ok(()) };
    if row.runtime.generation != generation {
        return Ok(());
    }
    let seen = Seen {
        generation,
        phase: ObservedPhase::Blocked,
        process_runs: false,
        witness: Witness::Server,
        trouble: Some(trouble.clone()),
    };
    apply(app, tx, row, seen, "command refused").await
}

/// The host destroyed the workspace: whatever window was still open ends here, also when its last report was lost.
pub async fn destroyed(app: &App, tx: &mut Tx, workspace: WorkspaceId) -> Answer<()> {
    let Some(row) = workspaces::store::lock(tx, workspace).await? else { return Ok(()) };
    if row.window.is_none() && row.session.is_none() {
        return Ok(());
    }
    let seen = Seen {
        generation: row.runtime.generation,
        phase: ObservedPhase::Absent,
        process_runs: false,
        witness: Witness::Server,
        trouble: None,
    };
    apply(app, tx, row, seen, "workspace destroyed").await
}
