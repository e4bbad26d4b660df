//! Create, rename, delete, and who is in them.

use super::store;
use crate::accounts;
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::db::Tx;
use crate::platform::fault::{Answer, Fault};
use crate::platform::http::auth::Permit;
use envforge_api::http::orgs::Groups;
use envforge_core::id::{GroupId, UserId};
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use serde_json::json;

/// Most groups of one org.
const GROUPS_MAX: i64 = 200;

fn not_found(name: &Slug) -> Fault {
    Refusal::not_found("group.not_found", format!("there is no group `{name}`"))
        .hint("`envforge group list` shows what there is")
        .into()
}

/// The groups of these names; one that does not exist is refused by name.
pub async fn ids(tx: &mut Tx, names: &[Slug]) -> Answer<Vec<GroupId>> {
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let id = store::find(tx, name).await?.ok_or_else(|| not_found(name))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Groups of the org.
pub async fn list(app: &App, permit: &Permit) -> Answer<Groups> {
    let mut tx = app.db.begin(permit.scope).await?;
    Ok(Groups { groups: store::list(&mut tx).await? })
}

/// Makes a group; one of that name that exists is as good.
pub async fn create(app: &App, permit: &Permit, name: &Slug) -> Answer<Groups> {
    let mut tx = app.db.begin(permit.scope).await?;
    accounts::ops::lock_members(&mut tx, permit).await?;
    if store::find(&mut tx, name).await?.is_none() {
        if store::count(&mut tx).await? >= GROUPS_MAX {
            let message = format!("the organization has {GROUPS_MAX} groups already");
            return Err(Refusal::conflict("group.too_many", message).hint("delete one that is not used").into());
        }
        let id: GroupId = app.mint();
        store::insert(&mut tx, id, name, app.now()).await?;
        ledger::record(app, &mut tx, Entry::new(&permit.actor(), "group.created", id, "asked")).await?;
    }
    let groups = store::list(&mut tx).await?;
    tx.commit().await?;
    Ok(Groups { groups })
}

/// Renames a group.
pub async fn rename(app: &App, permit: &Permit, from: &Slug, to: &Slug) -> Answer<Groups> {
    let mut tx = app.db.begin(permit.scope).await?;
    accounts::ops::lock_members(&mut tx, permit).await?;
    let id = store::find(&mut tx, from).await?.ok_or_else(|| not_found(from))?;
    match store::find(&mut tx, to).await? {
        Some(other) if other == id => {}
        Some(_) => return Err(Refusal::conflict("group.exists", format!("there is a group `{to}` already")).into()),
        None => {
            store::rename(&mut tx, id, to).await?;
            ledger::record(app, &mut tx, Entry::new(&permit.actor(), "group.renamed", id, "asked")).await?;
        }
    }
    let groups = store::list(&mut tx).await?;
    tx.commit().await?;
    Ok(Groups { groups })
}

/// Deletes a group. A project that was restricted to it alone is then seen by owners and admins only.
pub async fn delete(app: &App, permit: &Permit, name: &Slug) -> Answer<()> {
    let mut tx = app.db.begin(permit.scope).await?;
    accounts::ops::lock_members(&mut tx, permit).await?;
    let id = store::find(&mut tx, name).await?.ok_or_else(|| not_found(name))?;
    store::delete(&mut tx, id).await?;
    ledger::record(app, &mut tx, Entry::new(&permit.actor(), "group.deleted", id, "asked")).await?;
    tx.nudge(Nudge::Membership { org: permit.scope.org(), user: None });
    tx.commit().await
}

/// Puts a member into a group.
pub async fn add_member(app: &App, permit: &Permit, name: &Slug, user: UserId) -> Answer<()> {
    let mut tx = app.db.begin(permit.scope).await?;
    accounts::ops::lock_members(&mut tx, permit).await?;
    let id = store::find(&mut tx, name).await?.ok_or_else(|| not_found(name))?;
    if accounts::store::role(&mut tx, user).await?.is_none() {
        return Err(accounts::ops::no_member());
    }
    if store::add_member(&mut tx, &[id], user).await? > 0 {
        changed(app, &mut tx, permit, "group.member_added", id, user).await?;
    }
    tx.commit().await
}

/// Takes a member out of a group; what is open to them through it ends.
pub async fn remove_member(app: &App, permit: &Permit, name: &Slug, user: UserId) -> Answer<()> {
    let mut tx = app.db.begin(permit.scope).await?;
    accounts::ops::lock_members(&mut tx, permit).await?;
    let id = store::find(&mut tx, name).await?.ok_or_else(|| not_found(name))?;
    if store::remove_member(&mut tx, id, user).await? {
        changed(app, &mut tx, permit, "group.member_removed", id, user).await?;
    }
    tx.commit().await
}

async fn changed(
    app: &App,
    tx: &mut Tx,
    permit: &Permit,
    verb: &'static str,
    group: GroupId,
    user: UserId,
) -> Answer<()> {
    let actor = permit.actor();
    let entry = Entry::new(&actor, verb, group, "asked").details(json!({ "user": user }));
    ledger::record(app, tx, entry).await?;
    tx.nudge(Nudge::Membership { org: permit.scope.org(), user: Some(user) });
    Ok(())
}
