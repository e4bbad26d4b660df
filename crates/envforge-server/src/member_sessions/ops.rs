//! Give a code, spend it, ask whether a session holds.

use super::store::{self, NewCode};
use crate::accounts::{CredentialId, Identity};
use crate::app::App;
use crate::ledger::{self, Entry, Refused};
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::{Answer, Fault};
use crate::sessions;
use crate::workspaces;
use envforge_api::gateway::{Enter, Exchanged};
use envforge_core::access::{Action, Role, allows};
use envforge_core::entry::{CODE_LIFE, EntryClaims, session_end};
use envforge_core::id::{LinkSessionId, LoginSessionId, OrgId, UserId, WorkspaceId};
use envforge_core::link::{Holder, SessionClaims};
use envforge_core::login::later;
use envforge_core::refusal::{Refusal, RefusalKind};
use jiff::Timestamp;
use serde_json::json;
use std::collections::HashSet;

/// Most codes of one member that wait to be spent: a page from elsewhere can make a browser ask for them.
const CODES_MAX: i64 = 20;

/// The answer for a dev host that does not exist, and for one that is not this member's to open.
fn no_dev_host() -> Fault {
    Refusal::not_found("dev_host.not_found", "there is no preview at this address for you")
        .hint("ask an owner or admin of its organization, or whoever sent it for a link")
        .into()
}

fn denied(code: &str, message: &str) -> Fault {
    Refusal::new(RefusalKind::Forbidden, code, message).hint("sign in again from the preview").into()
}

/// A refusal of somebody who is known: signed in, or with a code that is genuine.
fn noted(app: &App, org: OrgId, user: UserId, workspace: WorkspaceId, fault: Fault) -> Fault {
    if let Fault::Refused(refusal) = &fault
        && !fault.is_transient()
    {
        let (actor, cause) = (format!("user:{user}"), refusal.code.clone());
        let subject = workspace.to_string();
        ledger::refused(app, Refused { org: Some(org), actor, verb: "dev_host.refused", subject, cause });
    }
    fault
}

/// A code with which somebody enters the dev host `label`, in the browser whose nonce has the digest `state`.
pub async fn code(app: &App, identity: &Identity, label: &str, state: &str) -> Answer<String> {
    let CredentialId::Session(login) = identity.credential.id() else { return Err(no_dev_host()) };
    let found = workspaces::store::system_resolve_label(&app.db, label).await?;
    let Some((org, workspace, service)) = found else { return Err(no_dev_host()) };
    // Told the same as of a label that does not exist; whose it is learns who asked.
    let refused = || noted(app, org, identity.user, workspace, no_dev_host());
    let member = identity.orgs.iter().find(|(scope, _, role)| scope.org() == org && allows(*role, Action::OpenDevHost));
    let Some((scope, _, _)) = member else { return Err(refused()) };
    let mut tx = app.db.begin(*scope).await?;
    let row = workspaces::store::find_by_id(&mut tx, workspace).await?;
    if row.is_none_or(|row| row.deleting) {
        return Err(refused());
    }
    let (now, session): (_, LinkSessionId) = (app.now(), app.mint());
    if store::waiting(&mut tx, identity.user, now).await? >= CODES_MAX {
        let message = "too many sign-ins of yours wait to be finished";
        return Err(Refusal::new(RefusalKind::Limit, "dev_host.too_many", message).retry_after(60).into());
    }
    let expires_at = later(now, CODE_LIFE);
    let new = NewCode { id: session, workspace, user: identity.user, login, service: &service, label, now, expires_at };
    store::insert(&mut tx, &new).await?;
    tx.commit().await?;
    let claims = EntryClaims {
        session,
        user: identity.user,
        login,
        org,
        workspace,
        label: label.to_owned(),
        state: state.to_owned(),
        expires: expires_at.as_second(),
    };
    app.signing_keys.sign(&claims, now)
}

/// Spends a code for a session, if its member still may. The browser was checked by the gateway, which has its cookie.
pub async fn enter(app: &App, request: &Enter) -> Answer<Exchanged> {
    let claims: EntryClaims = app
        .signing_keys
        .verify(&request.code, app.now())
        .map_err(|error| denied("entry.invalid", &format!("this sign-in does not hold: {error}")))?;
    let made = if claims.label == request.label {
        spend(app, request, &claims).await
    } else {
        Err(denied("entry.wrong_host", "this sign-in is for another preview"))
    };
    made.map_err(|fault| noted(app, claims.org, claims.user, claims.workspace, fault))
}

async fn spend(app: &App, request: &Enter, claims: &EntryClaims) -> Answer<Exchanged> {
    let now = app.now();
    let mut tx = app.db.begin(OrgScope::of_member(claims.org, claims.user)).await?;
    let lost = || denied("entry.denied", "you may not open this preview any more");
    let row = store::lock(&mut tx, claims.session).await?.ok_or_else(lost)?;
    let role = workspaces::store::role_at(&mut tx, row.workspace, row.user).await?;
    let workspace = workspaces::store::find_by_id(&mut tx, row.workspace).await?;
    if !role.is_some_and(|role| allows(role, Action::OpenDevHost)) || workspace.is_none_or(|found| found.deleting) {
        return Err(lost());
    }
    let login_ends = sessions::store::ends_at(&mut tx, claims.login, now).await?.ok_or_else(lost)?;
    let expires = session_end(now, login_ends).as_second();
    let expires_at = Timestamp::from_second(expires).unwrap_or(now);
    let agent: Option<String> =
        request.user_agent.as_ref().map(|agent| agent.chars().filter(|c| !c.is_control()).take(200).collect());
    if !store::open(&mut tx, row.id, agent.as_deref(), now, expires_at).await? {
        return Err(denied("entry.spent", "this sign-in was used before"));
    }
    let details = json!({ "session": row.id, "service": row.service, "login": claims.login });
    let actor = format!("user:{}", row.user);
    let entry = Entry::new(&actor, "dev_host.entered", row.workspace, "signed in").details(details);
    ledger::record(app, &mut tx, entry).await?;
    let claims = SessionClaims {
        session: row.id,
        holder: Holder::Member { user: row.user, login: claims.login },
        org: claims.org,
        workspace: row.workspace,
        service: row.service,
        label: row.label,
        expires,
        routes: Vec::new(),
    };
    // Before the code counts as spent.
    let session = app.signing_keys.sign(&claims, now)?;
    tx.commit().await?;
    Ok(Exchanged { session, expires_at })
}

/// The role of a member whose session is still good for its workspace, in a transaction that reads as that member does.
pub async fn check_visit(
    app: &App,
    tx: &mut Tx,
    claims: &SessionClaims,
    user: UserId,
    login: LoginSessionId,
) -> Answer<Role> {
    let now = app.now();
    let is_open = store::is_open(tx, claims.session, now).await?;
    let role = workspaces::store::role_at(tx, claims.workspace, user).await?;
    let lives = sessions::store::ends_at(tx, login, now).await?.is_some();
    let role = role.filter(|role| is_open && lives && allows(*role, Action::OpenDevHost));
    role.ok_or_else(|| denied("session.ended", "you may not open this preview any more"))
}

/// Whether a member in this role may wake what sleeps.
pub fn check_wake(role: Role) -> Answer<()> {
    if allows(role, Action::Wake) {
        return Ok(());
    }
    let message = format!("this preview sleeps, and as {role} you can't {}", Action::Wake.as_str());
    let refusal = Refusal::new(RefusalKind::Forbidden, "access.denied", message);
    Err(refusal.hint("ask a developer of the organization to wake it, or for a link").into())
}

/// Sessions that ended before their time and that gateways must not take any more.
pub async fn ended(app: &App) -> Answer<HashSet<LinkSessionId>> {
    let roles = Role::ALL.into_iter().filter(|role| allows(*role, Action::OpenDevHost));
    let roles: Vec<_> = roles.map(Role::as_str).collect();
    store::system_ended(&app.db, app.now(), &roles).await
}
