//! The policy; asking, answering, taking back; entering; ending what is due.

use super::store::{self, Row};
use crate::app::App;
use crate::hosts;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::{Answer, Fault};
use crate::platform::http::auth::Permit;
use crate::workspaces;
use crate::workspaces::store::Row as WorkspaceRow;
use envforge_api::host::{EndElevation, Order};
use envforge_api::http::elevations::{CreateElevation, Elevation as Shown, Elevations, OrgRootPolicy, Person};
use envforge_core::access::{Action, allows};
use envforge_core::elevation::{Elevation, ElevationRefused, ElevationState, EndReason, Party, RootPolicy, Step};
use envforge_core::id::ElevationId;
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use jiff::Timestamp;
use serde_json::json;

/// Who ends what is due.
const SYSTEM: &str = "system:elevations";

fn refused(reason: ElevationRefused) -> Fault {
    Refusal::from(reason).into()
}

fn not_found() -> Fault {
    Refusal::not_found("elevation.not_found", "there is no such elevation")
        .hint("`envforge root list` shows what there is")
        .into()
}

/// The org's root policy.
pub async fn policy(app: &App, permit: &Permit) -> Answer<OrgRootPolicy> {
    let mut tx = app.db.begin(permit.scope).await?;
    Ok(OrgRootPolicy { policy: store::policy(&mut tx).await? })
}

/// Sets it. What was granted under another mode is over within the second.
pub async fn set_policy(app: &App, permit: &Permit, policy: RootPolicy) -> Answer<OrgRootPolicy> {
    policy.check().map_err(refused)?;
    let mut tx = app.db.begin(permit.scope).await?;
    if store::set_policy(&mut tx, policy).await? {
        let details = json!({ "mode": policy.mode(), "max_minutes": policy.max_minutes() });
        let actor = permit.actor();
        let entry = Entry::new(&actor, "root_policy.changed", permit.scope.org(), "asked").details(details);
        ledger::record(app, &mut tx, entry).await?;
        tx.commit().await?;
        settle(app, permit.scope).await?;
    }
    Ok(OrgRootPolicy { policy })
}

/// Asks for root in a workspace.
pub async fn request(app: &App, permit: &Permit, slug: &Slug, wanted: &CreateElevation) -> Answer<Shown> {
    let now = app.now();
    let mut tx = app.db.begin(permit.scope).await?;
    let workspace = usable(workspaces::store::lock_by_slug(&mut tx, slug).await?, slug)?;
    let policy = store::policy(&mut tx).await?;
    let asked = Elevation::request(policy, permit.user, &wanted.reason, wanted.minutes, now);
    let (rules, approved) = asked.map_err(refused)?;
    hosts::ops::may_elevate(&mut tx, workspace.host).await?;
    let row = Row {
        id: app.mint(),
        workspace: workspace.id,
        slug: workspace.slug.clone(),
        deleting: false,
        mode: policy.mode().to_owned(),
        rules,
        reason: wanted.reason.clone(),
        requester: permit.name.clone(),
        role: None,
        requested_at: now,
        decided_by: None,
        decided_at: approved.map(|_| now),
        ended_at: None,
    };
    if !store::insert(&mut tx, &row).await? {
        return Err(Refusal::conflict("elevation.open_already", format!("there is an open elevation in `{slug}`"))
            .hint("`envforge root list` shows whose; `envforge root revoke` ends it")
            .into());
    }
    let asked = Row { rules: Elevation { state: ElevationState::Requested, ..rules }, ..row.clone() };
    record(app, &mut tx, &asked, Step::Requested, &permit.actor()).await?;
    if let Some(step) = approved {
        record(app, &mut tx, &row, step, "system:root_policy").await?;
    }
    tx.nudge(Nudge::Workspace { org: workspace.org, workspace: workspace.id });
    tx.commit().await?;
    Ok(shown(row))
}

fn usable(row: Option<WorkspaceRow>, slug: &Slug) -> Answer<WorkspaceRow> {
    let row = row.ok_or_else(|| workspaces::ops::not_found(slug))?;
    if row.deleting {
        return Err(Refusal::conflict("workspace.deleting", format!("workspace `{slug}` is being deleted")).into());
    }
    Ok(row)
}

/// The ledger's event of a step: who, what for, and how it came out.
async fn record(app: &App, tx: &mut Tx, row: &Row, step: Step, actor: &str) -> Answer<()> {
    let details = json!({
        "workspace": row.workspace,
        "requested_by": row.rules.requester,
        "minutes": row.rules.minutes,
        "expires_at": row.rules.expires_at.to_string(),
        "outcome": row.rules.state.as_str(),
    });
    ledger::record(app, tx, Entry::new(actor, step.verb(), row.id, &row.reason).details(details)).await
}

/// Elevations of the org.
pub async fn list(app: &App, permit: &Permit) -> Answer<Elevations> {
    let mut tx = app.db.begin(permit.scope).await?;
    Ok(Elevations { elevations: store::list(&mut tx).await?.into_iter().map(shown).collect() })
}

fn shown(row: Row) -> Shown {
    Shown {
        id: row.id,
        workspace: row.workspace,
        slug: row.slug,
        state: row.rules.state,
        ended: row.rules.ended,
        reason: row.reason,
        minutes: row.rules.minutes,
        requested_by: Person { user: row.rules.requester, name: row.requester },
        requested_at: row.requested_at,
        decided_by: row.decided_by,
        decided_at: row.decided_at,
        expires_at: row.rules.expires_at,
        ended_at: row.ended_at,
    }
}

/// An elevation and its workspace, both locked, the workspace first as everywhere; it is gone when it is `None`.
async fn lock(tx: &mut Tx, id: ElevationId) -> Answer<(Row, Option<WorkspaceRow>)> {
    let found = store::find(tx, id).await?.ok_or_else(not_found)?;
    let workspace = workspaces::store::lock(tx, found.workspace).await?;
    Ok((store::lock(tx, id).await?.ok_or_else(not_found)?, workspace))
}

/// Stores a step that was taken on a locked row, with all that follows from it.
async fn took(
    app: &App,
    tx: &mut Tx,
    (before, row): (ElevationState, &Row),
    workspace: Option<&WorkspaceRow>,
    step: Step,
    actor: &str,
) -> Answer<()> {
    if !store::advance(tx, before, row).await? {
        return Err(refused(ElevationRefused::Answered));
    }
    record(app, tx, row, step, actor).await?;
    let Some(workspace) = workspace else { return Ok(()) };
    if before.is_granted() && !row.rules.state.is_open() {
        let order = Order::EndElevation(EndElevation { elevation: row.id });
        hosts::ops::command(app, tx, workspace.host, workspace.id, workspace.runtime.generation, order).await?;
    }
    tx.nudge(Nudge::Workspace { org: workspace.org, workspace: workspace.id });
    Ok(())
}

/// What somebody does with an elevation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answering {
    /// Approves a request.
    Approve,
    /// Says no to it.
    Refuse,
    /// Takes it back, whatever it is by now.
    Revoke,
}

/// Answers or takes back.
pub async fn answer(app: &App, permit: &Permit, id: ElevationId, answering: Answering) -> Answer<Shown> {
    let now = app.now();
    let mut tx = app.db.begin(permit.scope).await?;
    let (mut row, workspace) = lock(&mut tx, id).await?;
    let party = Party { user: permit.user, may_approve: permit.also(Action::ApproveElevation) };
    let before = row.rules.state;
    let step = match answering {
        Answering::Approve => {
            check_mode(&mut tx, &row).await?;
            row.rules.approve(party, now)
        }
        Answering::Refuse => row.rules.refuse(party, now),
        Answering::Revoke => row.rules.revoke(party, now),
    };
    let step = step.map_err(refused)?;
    match step {
        Step::Approved | Step::Refused => {
            row.decided_by = Some(Person { user: permit.user, name: permit.name.clone() });
            row.decided_at = Some(now);
        }
        _ => {}
    }
    row.ended_at = (!row.rules.state.is_open()).then_some(now);
    took(app, &mut tx, (before, &row), workspace.as_ref(), step, &permit.actor()).await?;
    tx.commit().await?;
    Ok(shown(row))
}

/// Whether the policy is still the one it was asked under.
async fn check_mode(tx: &mut Tx, row: &Row) -> Answer<()> {
    match store::policy(tx).await? {
        RootPolicy::Disabled => Err(refused(ElevationRefused::Disabled)),
        policy if policy.mode() != row.mode => Err(refused(ElevationRefused::Over)),
        _ => Ok(()),
    }
}

/// Lets the requester in: notes that a root terminal is being opened, and answers where and until when.
pub async fn enter(app: &App, tx: &mut Tx, permit: &Permit, id: ElevationId) -> Answer<(WorkspaceRow, Timestamp)> {
    let (mut row, workspace) = lock(tx, id).await?;
    let before = row.rules.state;
    let step = row.rules.open(permit.user, app.now()).map_err(refused)?;
    check_mode(tx, &row).await?;
    let workspace = usable(workspace, &row.slug)?;
    hosts::ops::may_elevate(tx, workspace.host).await?;
    let actor = permit.actor();
    if let Some(step) = step {
        took(app, tx, (before, &row), Some(&workspace), step, &actor).await?;
    }
    let details = json!({ "workspace": row.workspace });
    let opened = Entry::new(&actor, "elevation.terminal_opened", row.id, &row.reason).details(details);
    ledger::record(app, tx, opened).await?;
    Ok((workspace, row.rules.expires_at))
}

/// Notes that a recording is being read, and answers where it is.
pub async fn read_recording(app: &App, tx: &mut Tx, permit: &Permit, id: ElevationId) -> Answer<WorkspaceRow> {
    let row = store::find(tx, id).await?.ok_or_else(not_found)?;
    let workspace = usable(workspaces::store::find_by_id(tx, row.workspace).await?, &row.slug)?;
    let details = json!({ "workspace": row.workspace });
    let actor = permit.actor();
    let read = Entry::new(&actor, "elevation.recording_read", row.id, "asked").details(details);
    ledger::record(app, tx, read).await?;
    Ok(workspace)
}

/// The step that is due, whoever asks for it, if one is.
fn due(row: &mut Row, policy: RootPolicy, now: Timestamp) -> Option<Step> {
    let may_ask = row.role.is_some_and(|role| allows(role, Action::RequestElevation));
    match row.rules.expire(now) {
        Some(expired) => Some(expired),
        None if row.deleting => row.rules.cut(EndReason::Closed),
        None if policy.mode() != row.mode || !may_ask => row.rules.cut(EndReason::Revoked),
        None => None,
    }
}

/// Ends what is due in an org.
pub async fn settle(app: &App, scope: OrgScope) -> Answer<()> {
    let mut tx = app.db.begin(scope).await?;
    let (open, policy, now) = (store::open(&mut tx).await?, store::policy(&mut tx).await?, app.now());
    drop(tx);
    for mut found in open {
        if due(&mut found, policy, now).is_none() {
            continue;
        }
        // One transaction each: nobody holds two workspaces at once. It was found without the lock; look again with it.
        let mut tx = app.db.begin(scope).await?;
        let (mut row, workspace) = lock(&mut tx, found.id).await?;
        let before = row.rules.state;
        let Some(step) = due(&mut row, store::policy(&mut tx).await?, now) else { continue };
        row.ended_at = Some(now);
        took(app, &mut tx, (before, &row), workspace.as_ref(), step, SYSTEM).await?;
        tx.commit().await?;
    }
    Ok(())
}
