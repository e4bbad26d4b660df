//! Invite, list, revoke, accept.

use super::store::{self, Row};
use crate::accounts::store::NewKey;
use crate::accounts::{self, Identity};
use crate::app::App;
use crate::groups;
use crate::ledger::{self, Entry};
use crate::orgs;
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::{Answer, Fault};
use crate::platform::http::auth::Permit;
use envforge_api::ambient::opaque_token;
use envforge_api::http::orgs::{
    AcceptInvitation, AcceptedInvitation, CreateInvitation, CreatedInvitation, FirstKey, Invitation, InvitationState,
    Invitations,
};
use envforge_core::access::Scopes;
use envforge_core::id::{ApiKeyId, InvitationId, UserId};
use envforge_core::member::{Actor, INVITATION_DAYS, is_addressee};
use envforge_core::refusal::{Refusal, RefusalKind};
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
fn not_valid() -> Fault {
    Refusal::not_found("invitation.not_valid", "this invitation is not valid, or not any more")
        .hint("ask whoever sent it for a new one")
        .into()
}

fn not_found() -> Fault {
    Refusal::not_found("invitation.not_found", "there is no such open invitation")
        .hint("`envforge invite list` shows them")
        .into()
}

/// What an invitation is worth now.
fn state(row: &Row, now: Timestamp) -> InvitationState {
    let given = |role| Actor { role, scopes: &Scopes::Unlimited }.gives(row.role).is_ok();
    if row.is_used {
        InvitationState::Accepted
    } else if row.is_revoked || !row.inviter.is_some_and(given) {
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
    let address = request.address.as_deref().map(check_address).transpose()?;
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
    let actor = permit.actor();
    let entry = Entry::new(&actor, "invitation.created", row.id, "asked").details(details);
    ledger::record(app, &mut tx, entry).await?;
    tx.commit().await?;
    Ok(CreatedInvitation { invitation: shown(row, now), token })
}

/// As far as it can be told without sending anything there.
fn check_address(address: &str) -> Answer<String> {
    let address = address.trim();
    let is_plain = address.len() <= 254 && address.chars().all(|c| c.is_ascii_graphic() && !"<>,;\"".contains(c));
    let is_whole = address.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !domain.contains('@') && !domain.starts_with('.')
    });
    if is_plain && is_whole {
        return Ok(address.to_owned());
    }
    Err(Refusal::invalid("invitation.address", "this is not a mail address such as `ada@example.org`").into())
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

/// Accepts an invitation, as oneself or as a user who is made for it.
pub async fn accept(app: &App, identity: Option<&Identity>, request: &AcceptInvitation) -> Answer<AcceptedInvitation> {
    let token = request.token.trim();
    if !token.starts_with(TOKEN_PREFIX) || token.len() > 200 {
        return Err(not_valid());
    }
    let mut tx = app.db.begin_installation().await?;
    let (org, id) = store::system_find(&mut tx, &digest(token)).await?.ok_or_else(not_valid)?;
    // A user belongs to the installation, so they are made before the org is entered; a refusal takes that back.
    let (user, api_key) = match identity {
        Some(identity) => (identity.user, None),
        None => newcomer(app, &mut tx, id, request.name.as_deref()).await.map(|(user, key)| (user, Some(key)))?,
    };
    tx.enter(org).await?;
    accounts::store::lock_members(&mut tx).await?;
    let row = store::find(&mut tx, id).await?.ok_or_else(not_valid)?;
    if state(&row, app.now()) != InvitationState::Open || !is_addressee(row.address.as_deref(), None) {
        return Err(not_valid());
    }
    if accounts::store::role(&mut tx, user).await?.is_some() {
        let message = "you are a member of this organization already; the invitation stays open";
        return Err(Refusal::conflict("invitation.already_member", message).into());
    }
    if orgs::store::count_members(&mut tx).await? >= MEMBERS_MAX {
        return Err(Refusal::conflict("member.too_many", format!("an organization has {MEMBERS_MAX} members")).into());
    }
    accounts::store::insert_membership(&mut tx, org, user, row.role).await?;
    groups::store::add_member(&mut tx, &row.groups, user).await?;
    store::accept(&mut tx, id, user, app.now()).await?;
    let (actor, details) = (format!("user:{user}"), json!({ "user": user, "role": row.role }));
    ledger::record(app, &mut tx, Entry::new(&actor, "invitation.accepted", id, "token").details(details)).await?;
    tx.nudge(Nudge::Membership { org, user: Some(user) });
    let slug = orgs::store::show(&mut tx).await?.slug;
    tx.commit().await?;
    Ok(AcceptedInvitation { org, slug, user, role: row.role, api_key })
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
