//! Make and rename an org; list, change and remove its members.

use super::store;
use crate::accounts::{self, Identity};
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Permit;
use envforge_api::http::orgs::{CreateOrg, Members, Org};
use envforge_core::access::{Role, Scopes};
use envforge_core::hostname;
use envforge_core::id::{OrgId, UserId};
use envforge_core::member::Actor;
use envforge_core::refusal::{Refusal, RefusalKind};
use serde_json::json;

/// Most orgs that somebody owns who does not operate the installation.
const OWNED_MAX: i64 = 10;

/// Makes an org that the caller owns.
pub async fn create(app: &App, identity: &Identity, request: &CreateOrg) -> Answer<Org> {
    let name = accounts::ops::check_name("org.name", request.name.as_deref().unwrap_or(request.slug.as_str()))?;
    if !identity.is_operator && !app.config.open_orgs {
        let message = "here only the installation's operator makes organizations";
        return Err(Refusal::new(RefusalKind::Forbidden, "org.closed", message)
            .hint("ask the operator, or to be invited into one")
            .into());
    }
    if *identity.credential.scopes() != Scopes::Unlimited {
        let message = "a limited API key can't make an organization";
        return Err(Refusal::new(RefusalKind::Forbidden, "access.scope", message).into());
    }
    let mut tx = app.db.begin_installation().await?;
    if !identity.is_operator && store::system_owned(&mut tx, identity.user).await? >= OWNED_MAX {
        let message = format!("you own {OWNED_MAX} organizations already");
        return Err(Refusal::new(RefusalKind::Limit, "org.too_many", message).into());
    }
    let short = hostname::short_org(&request.slug);
    if store::system_is_abbreviated(&mut tx, &request.slug, &short).await? {
        let message = format!(
            "dev hosts of `{}` would read like another organization's: labels end in `--{short}`",
            request.slug
        );
        return Err(Refusal::conflict("org.label_ambiguous", message).hint("choose another slug").into());
    }
    let org: OrgId = app.mint();
    tx.enter(org).await?;
    if !accounts::store::insert_org(&mut tx, org, &request.slug, name, app.now()).await? {
        let message = format!("the organization `{}` exists already", request.slug);
        return Err(Refusal::conflict("org.exists", message).hint("choose another slug").into());
    }
    accounts::store::insert_membership(&mut tx, org, identity.user, Role::Owner).await?;
    let actor = format!("user:{}", identity.user);
    ledger::record(app, &mut tx, Entry::new(&actor, "org.created", org, "asked")).await?;
    let made = store::show(&mut tx).await?;
    tx.commit().await?;
    Ok(made)
}

/// The org.
pub async fn show(app: &App, permit: &Permit) -> Answer<Org> {
    let mut tx = app.db.begin(permit.scope).await?;
    store::show(&mut tx).await
}

/// Changes its display name; its slug is in the labels of its dev hosts and stays.
pub async fn rename(app: &App, permit: &Permit, name: &str) -> Answer<Org> {
    let name = accounts::ops::check_name("org.name", name)?;
    let mut tx = app.db.begin(permit.scope).await?;
    store::rename(&mut tx, name).await?;
    ledger::record(app, &mut tx, Entry::new(&permit.actor(), "org.renamed", permit.scope.org(), "asked")).await?;
    let org = store::show(&mut tx).await?;
    tx.commit().await?;
    Ok(org)
}

/// Its members.
pub async fn members(app: &App, permit: &Permit) -> Answer<Members> {
    let mut tx = app.db.begin(permit.scope).await?;
    Ok(Members { members: store::members(&mut tx).await? })
}

/// Changes a member's role.
pub async fn set_role(app: &App, permit: &Permit, user: UserId, role: Role) -> Answer<()> {
    let mut tx = app.db.begin(permit.scope).await?;
    let actor = Actor { role: accounts::ops::lock_members(&mut tx, permit).await?, scopes: permit.scopes() };
    let from = member(&mut tx, user).await?;
    actor.changes(from, role, store::owners(&mut tx).await?).map_err(Refusal::from)?;
    if from == role {
        return Ok(());
    }
    store::set_role(&mut tx, user, role).await?;
    let details = json!({ "from": from, "to": role });
    changed(app, &mut tx, permit, "member.role_changed", user, details).await?;
    tx.commit().await
}

/// Removes a member; everybody may remove themselves.
pub async fn remove(app: &App, permit: &Permit, user: UserId) -> Answer<()> {
    let mut tx = app.db.begin(permit.scope).await?;
    let actor = Actor { role: accounts::ops::lock_members(&mut tx, permit).await?, scopes: permit.scopes() };
    let role = member(&mut tx, user).await?;
    actor.removes(role, user == permit.user, store::owners(&mut tx).await?).map_err(Refusal::from)?;
    store::remove(&mut tx, user).await?;
    changed(app, &mut tx, permit, "member.removed", user, json!({ "from": role })).await?;
    tx.commit().await
}

async fn member(tx: &mut Tx, user: UserId) -> Answer<Role> {
    accounts::store::role(tx, user).await?.ok_or_else(accounts::ops::no_member)
}

async fn changed(
    app: &App,
    tx: &mut Tx,
    permit: &Permit,
    verb: &'static str,
    user: UserId,
    details: serde_json::Value,
) -> Answer<()> {
    let cause = if user == permit.user { "their own wish" } else { "asked" };
    ledger::record(app, tx, Entry::new(&permit.actor(), verb, user, cause).details(details)).await?;
    tx.nudge(Nudge::Membership { org: permit.scope.org(), user: Some(user) });
    Ok(())
}
