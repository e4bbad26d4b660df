//! Invite, list, revoke, accept.

use super::jobs::SendInvitation;
use super::store::{self, Row};
use crate::accounts::store::NewKey;
use crate::accounts::{self, Identity};
use crate::app::App;
use crate::groups;
use crate::ledger::{self, Entry, Refused};
use crate::orgs;
use crate::platform::bus::Nudge;
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::{Answer, Fault};
use crate::platform::http::auth::Permit;
use crate::platform::jobs::{self, Options};
use crate::providers::mail::{Mail, Mailer as _};
use crate::vault;
use envforge_api::ambient::opaque_token;
use envforge_api::http::orgs::{
    AcceptInvitation, AcceptedInvitation, CreateInvitation, CreatedInvitation, FirstKey, Invitation, InvitationState,
    Invitations,
};
use envforge_core::access::{Role, Scopes};
use envforge_core::email::EmailAddress;
use envforge_core::id::{ApiKeyId, InvitationId, OrgId, UserId};
use envforge_core::member::{Actor, INVITATION_DAYS, is_addressee};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::Secret;
use envforge_core::token::digest;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// Prefix of invitation tokens.
const TOKEN_PREFIX: &str = "efi_";
/// Most invitations of one org that can be accepted.
const OPEN_MAX: i64 = 500;
/// Most groups of one invitation.
const GROUPS_MAX: usize = 20;
/// Most members of one org.
const MEMBERS_MAX: i64 = 20_000;

/// Unknown, used, revoked and expired look the same from outside.
const NOT_VALID: &str = "invitation.not_valid";

fn not_valid() -> Fault {
    Refusal::not_found(NOT_VALID, "this invitation is not valid, or not any more")
        .hint("ask whoever sent it for a new one")
        .into()
}

fn not_found() -> Fault {
    Refusal::not_found("invitation.not_found", "there is no such open invitation")
        .hint("`envforge invite list` shows them")
        .into()
}

/// Whether an inviter of this role may still give that one.
fn may_give(inviter: Role, role: Role) -> bool {
    Actor { role: inviter, scopes: &Scopes::Unlimited }.gives(role).is_ok()
}

/// What an invitation is worth now.
fn state(row: &Row, now: Timestamp) -> InvitationState {
    if row.is_used {
        InvitationState::Accepted
    } else if row.is_revoked || !row.inviter.is_some_and(|inviter| may_give(inviter, row.role)) {
        InvitationState::Revoked
    } else if row.expires_at <= now {
        InvitationState::Expired
    } else {
        InvitationState::Open
    }
}

fn shown(row: Row, now: Timestamp) -> Invitation {
    Invitation {
        id: row.id,
        state: state(&row, now),
        role: row.role,
        groups: row.group_names,
        address: row.address,
        created_by: row.created_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
    }
}

/// Invites somebody.
pub async fn create(app: &App, permit: &Permit, request: &CreateInvitation) -> Answer<CreatedInvitation> {
    if request.groups.len() > GROUPS_MAX {
        return Err(Refusal::invalid("invitation.groups", format!("at most {GROUPS_MAX} groups")).into());
    }
    let address = request.address.as_deref().map(|address| check_address(app, address)).transpose()?;
    let now = app.now();
    let mut tx = app.db.begin(permit.scope).await?;
    let role = accounts::ops::lock_members(&mut tx, permit).await?;
    Actor { role, scopes: permit.scopes() }.gives(request.role).map_err(Refusal::from)?;
    if store::count_open(&mut tx, now).await? >= OPEN_MAX {
        let message = format!("{OPEN_MAX} invitations are open already");
        return Err(Refusal::new(RefusalKind::Limit, "invitation.too_many", message).hint("revoke some").into());
    }
    let groups = groups::ops::ids(&mut tx, &request.groups).await?;
    let token = opaque_token(TOKEN_PREFIX, &*app.entropy);
    let row = Row {
        id: app.mint(),
        role: request.role,
        groups,
        group_names: request.groups.clone(),
        address,
        created_by: permit.user,
        inviter: Some(role),
        created_at: now,
        expires_at: now.saturating_add(SignedDuration::from_hours(24 * INVITATION_DAYS)).unwrap_or(Timestamp::MAX),
        is_used: false,
        is_revoked: false,
    };
    store::insert(&mut tx, &row, &digest(&token)).await?;
    let details = json!({ "role": row.role, "is_addressed": row.address.is_some() });
    let mailed = row.address.is_some() && app.mailer.is_configured();
    if mailed {
        let sealed = vault::ops::seal(app, &mut tx, &place(row.id), &Secret::new(token.clone())).await?;
        store::set_sealed_token(&mut tx, row.id, Some(&sealed)).await?;
        jobs::enqueue(app, &mut tx, &SendInvitation { invitation: row.id }, Options::default()).await?;
    }
    let actor = permit.actor();
    let entry = Entry::new(&actor, "invitation.created", row.id, "asked").details(details);
    ledger::record(app, &mut tx, entry).await?;
    tx.commit().await?;
    Ok(CreatedInvitation { invitation: shown(row, now), token, mailed })
}

/// What a token is sealed for.
fn place(id: InvitationId) -> String {
    format!("invitation/{id}")
}

/// Whether people can sign in, and so prove an address.
fn has_sign_in(app: &App) -> bool {
    app.mailer.is_configured() || !app.identity.all().is_empty()
}

fn check_address(app: &App, address: &str) -> Answer<String> {
    let address: EmailAddress = address
        .parse()
        .map_err(|_| Refusal::invalid("invitation.address", "this is not a mail address such as `ada@example.org`"))?;
    if !has_sign_in(app) {
        let message = "nobody can prove an address here: there is neither mail nor an identity provider";
        return Err(Refusal::conflict("invitation.no_proof", message)
            .hint("invite without an address, and hand the code over")
            .into());
    }
    Ok(address.to_string())
}

/// Mails an invitation, unless that was done or it can't be accepted any more.
pub(super) async fn send(app: &App, scope: OrgScope, id: InvitationId) -> Answer<()> {
    let mut tx = app.db.begin(scope).await?;
    let Some(row) = store::find(&mut tx, id).await?.filter(|row| state(row, app.now()) == InvitationState::Open) else {
        return Ok(());
    };
    let (Some(address), Some(sealed)) = (row.address, store::sealed_token(&mut tx, id).await?) else { return Ok(()) };
    let token = vault::ops::open(app, &mut tx, &place(id), &sealed).await?;
    let org = orgs::store::show(&mut tx).await?.name;
    // A mail server takes its time, and nobody waits for a connection meanwhile.
    tx.commit().await?;
    let to = address.parse().map_err(|_| anyhow::anyhow!("a stored address is none"))?;
    app.mailer.send(invitation_mail(app, to, &org, row.role, &token)).await?;
    let mut tx = app.db.begin(scope).await?;
    store::set_sealed_token(&mut tx, id, None).await?;
    ledger::record(app, &mut tx, Entry::new("system:invitations", "invitation.mailed", id, "invited")).await?;
    tx.commit().await
}

fn invitation_mail(app: &App, to: EmailAddress, org: &str, role: Role, token: &Secret) -> Mail {
    let url = format!("{}/sign-in", app.config.public_url);
    let token = token.expose();
    let text = format!(
        "You are invited to {org} on EnvForge, as {role}. Sign in with this address:\n\n{url}\n\n\
         A new account is a member at once. With an account you have already, accept with `envforge invite accept` \
         and this code:\n\n{token}\n\nIt works once, for {INVITATION_DAYS} days. If you don't know who invites you, do nothing.\n"
    );
    Mail { to, subject: "An invitation to EnvForge".to_owned(), text, html: None }
}

/// Invitations of the org.
pub async fn list(app: &App, permit: &Permit) -> Answer<Invitations> {
    let mut tx = app.db.begin(permit.scope).await?;
    let now = app.now();
    Ok(Invitations { invitations: store::list(&mut tx).await?.into_iter().map(|row| shown(row, now)).collect() })
}

/// Revokes an invitation that was not accepted yet.
pub async fn revoke(app: &App, permit: &Permit, id: InvitationId) -> Answer<()> {
    let mut tx = app.db.begin(permit.scope).await?;
    accounts::ops::lock_members(&mut tx, permit).await?;
    let row = store::find(&mut tx, id).await?.filter(|row| !row.is_used).ok_or_else(not_found)?;
    if !row.is_revoked {
        store::revoke(&mut tx, id, app.now()).await?;
        ledger::record(app, &mut tx, Entry::new(&permit.actor(), "invitation.revoked", id, "asked")).await?;
    }
    tx.commit().await
}

/// Accepts an invitation, as oneself or as a user who is made for it; whoever tries tokens is noted.
pub async fn accept(app: &App, identity: Option<&Identity>, request: &AcceptInvitation) -> Answer<AcceptedInvitation> {
    let accepted = try_accept(app, identity, request).await;
    if let Err(Fault::Refused(refusal)) = &accepted
        && refusal.code == NOT_VALID
    {
        let actor = identity.map_or_else(|| "stranger".to_owned(), |identity| format!("user:{}", identity.user));
        let (subject, cause) = ("installation".to_owned(), NOT_VALID.to_owned());
        ledger::refused(app, Refused { org: None, actor, verb: "access.denied", subject, cause });
    }
    accepted
}

async fn try_accept(app: &App, identity: Option<&Identity>, request: &AcceptInvitation) -> Answer<AcceptedInvitation> {
    let token = request.token.trim();
    if !token.starts_with(TOKEN_PREFIX) || token.len() > 200 {
        return Err(not_valid());
    }
    if identity.is_none() && has_sign_in(app) {
        let message = "sign in to accept an invitation";
        return Err(Refusal::new(RefusalKind::Unauthenticated, "invitation.sign_in", message)
            .hint("`envforge login` signs you in")
            .into());
    }
    let mut tx = app.db.begin_installation().await?;
    let (org, id) = store::system_find(&mut tx, &digest(token)).await?.ok_or_else(not_valid)?;
    // A user belongs to the installation, so they are made before the org is entered; a refusal takes that back.
    let (user, api_key) = match identity {
        Some(identity) => (identity.user, None),
        None => newcomer(app, &mut tx, id, request.name.as_deref()).await.map(|(user, key)| (user, Some(key)))?,
    };
    let addresses = accounts::store::verified_addresses(&mut tx, user).await?;
    let role = join(app, &mut tx, org, id, user, &addresses, "token").await?;
    let slug = orgs::store::show(&mut tx).await?.slug;
    tx.commit().await?;
    Ok(AcceptedInvitation { org, slug, user, role, api_key })
}

/// Makes somebody with these verified addresses a member by an invitation; the transaction is the org's afterwards.
async fn join(
    app: &App,
    tx: &mut Tx,
    org: OrgId,
    id: InvitationId,
    user: UserId,
    addresses: &[EmailAddress],
    cause: &str,
) -> Answer<Role> {
    tx.enter(org).await?;
    accounts::store::lock_members(tx).await?;
    let row = store::find(tx, id).await?.ok_or_else(not_valid)?;
    if state(&row, app.now()) != InvitationState::Open || !is_addressee(row.address.as_deref(), addresses) {
        return Err(not_valid());
    }
    if accounts::store::role(tx, user).await?.is_some() {
        let message = "you are a member of this organization already; the invitation stays open";
        return Err(Refusal::conflict("invitation.already_member", message).into());
    }
    if orgs::store::count_members(tx).await? >= MEMBERS_MAX {
        return Err(Refusal::conflict("member.too_many", format!("an organization has {MEMBERS_MAX} members")).into());
    }
    accounts::store::insert_membership(tx, org, user, row.role).await?;
    groups::store::add_member(tx, &row.groups, user).await?;
    store::accept(tx, id, user, app.now()).await?;
    let (actor, details) = (format!("user:{user}"), json!({ "user": user, "role": row.role }));
    ledger::record(app, tx, Entry::new(&actor, "invitation.accepted", id, cause).details(details)).await?;
    tx.nudge(Nudge::Membership { org, user: Some(user) });
    Ok(row.role)
}

/// Invitations for an address that can be accepted now.
pub async fn open_for(app: &App, tx: &mut Tx, address: &EmailAddress) -> Answer<Vec<(OrgId, InvitationId)>> {
    let found = store::system_find_addressed(tx, address).await?;
    let open = found.into_iter().filter(|it| may_give(it.inviter, it.role) && app.now() < it.expires_at);
    Ok(open.map(|it| (it.org, it.id)).collect())
}

/// Makes the user who was just made for this address, which they proved, a member wherever it is invited, by the
/// first invitation of each org. The transaction is an org's afterwards.
pub async fn welcome(app: &App, tx: &mut Tx, user: UserId, address: &EmailAddress) -> Answer<()> {
    let mut invitations = open_for(app, tx, address).await?;
    invitations.dedup_by_key(|(org, _)| *org);
    for (org, id) in invitations {
        join(app, tx, org, id, user, std::slice::from_ref(address), "first sign-in").await?;
    }
    Ok(())
}

/// A user for whoever holds the token, and their first key.
async fn newcomer(app: &App, tx: &mut Tx, id: InvitationId, name: Option<&str>) -> Answer<(UserId, FirstKey)> {
    let Some(name) = name else {
        let message = "sign in, or give the name of the user to be made";
        return Err(Refusal::invalid("invitation.name_missing", message).into());
    };
    let name = accounts::ops::check_name("user.name", name)?;
    let (user, key): (UserId, ApiKeyId) = (app.mint(), app.mint());
    let value = opaque_token(accounts::ops::KEY_PREFIX, &*app.entropy);
    accounts::store::insert_user(tx, user, name, false, app.now()).await?;
    let new = NewKey { name: "invitation", value: &value, scopes: &Scopes::Unlimited, expires_at: None };
    accounts::store::insert_key(tx, key, user, &new, app.now()).await?;
    let details = json!({ "invitation": id, "key": key });
    let actor = format!("invitation:{id}");
    ledger::record(app, tx, Entry::new(&actor, "user.created", user, "invitation").details(details)).await?;
    Ok((user, FirstKey { id: key, value }))
}
