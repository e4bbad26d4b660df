//! Set, list, restore, remove; and give to a host.

use super::store::{self, NewVersion, Place, Stored};
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::db::Tx;
use crate::platform::fault::{Answer, Fault};
use crate::platform::http::auth::Permit;
use crate::vault;
use envforge_api::host::{AskEgress, AskSecrets, GivenEgress, GivenSecrets, Lent};
use envforge_api::http::secrets::{SecretInfo, SecretScope, SecretVersions, Secrets, SetSecret};
use envforge_api::sensitive::Sensitive;
use envforge_core::access::Action;
use envforge_core::egress::EgressRule;
use envforge_core::id::{HostId, SecretId, WorkspaceId};
use envforge_core::name::Slug;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::{Secret, SecretName, VALUE_MAX};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Most secrets of one org.
const SECRETS_MAX: i64 = 1_000;
/// Most services, and most names over all of them, that a host asks for at once.
const ASKED_MAX: (usize, usize) = (200, 1_000);

/// Where a secret is to be set.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// In the whole org.
    Org,
    /// In one project.
    Project(&'a Slug),
    /// In one workspace.
    Workspace(&'a Slug),
}

/// What a value is bound to when it is sealed.
fn context(id: SecretId, version: u32) -> String {
    format!("secret/{id}/{version}")
}

fn not_found() -> Fault {
    Refusal::not_found("secret.not_found", "there is no such secret").hint("`envforge secret list` shows them").into()
}

fn check_value(value: &Secret) -> Answer<()> {
    let text = value.expose();
    if text.is_empty() || text.len() > VALUE_MAX {
        return Err(
            Refusal::invalid("secret.value_size", format!("a secret's value has 1 to {VALUE_MAX} bytes")).into()
        );
    }
    if text.contains('\0') {
        return Err(Refusal::invalid("secret.value", "a secret's value can't hold the character U+0000")
            .hint("an environment variable can't; encode binary values, with base64 for example")
            .into());
    }
    Ok(())
}

/// What the ledger tells of a secret.
fn details(info: &SecretInfo) -> Value {
    let (scope, of) = match &info.scope {
        SecretScope::Org => ("org", None),
        SecretScope::Project { project } => ("project", Some(project)),
        SecretScope::Workspace { workspace } => ("workspace", Some(workspace)),
    };
    let mut details = json!({ "name": info.name, "scope": scope, "version": info.version });
    if let Some(rule) = &info.egress {
        details["egress"] = json!(rule.host);
    }
    if let Some(of) = of {
        details["of"] = json!(of);
    }
    details
}

/// Sets a secret.
pub async fn set(app: &App, permit: &Permit, target: Target<'_>, request: &SetSecret) -> Answer<SecretInfo> {
    let Sensitive(value) = &request.value;
    check_value(value)?;
    if let Some(rule) = &request.egress {
        rule.check().map_err(|error| Refusal::invalid("secret.egress", error.to_string()))?;
        if value.expose().chars().any(char::is_control) {
            return Err(Refusal::invalid("secret.value", "what is sent in a header is one line").into());
        }
    }
    let mut tx = app.db.begin(permit.scope).await?;
    let place = match target {
        Target::Org => Place::Org,
        Target::Project(slug) => Place::Project(
            store::project(&mut tx, slug)
                .await?
                .ok_or_else(|| Refusal::not_found("project.not_found", format!("there is no project `{slug}`")))?,
        ),
        Target::Workspace(slug) => Place::Workspace(
            store::workspace(&mut tx, slug)
                .await?
                .ok_or_else(|| Refusal::not_found("workspace.not_found", format!("there is no workspace `{slug}`")))?,
        ),
    };
    let (id, version) = match store::lock_named(&mut tx, &request.name, place).await? {
        Some((id, version)) => (id, version + 1),
        None => (add(app, &mut tx, &request.name, place).await?, 1),
    };
    let draft = Draft { version, value, egress: request.egress.as_ref(), restored_from: None };
    let info = add_version(app, &mut tx, permit, id, draft).await?;
    let verb = if version == 1 { "secret.created" } else { "secret.updated" };
    record(app, &mut tx, permit, verb, &info).await?;
    tx.commit().await?;
    Ok(info)
}

async fn add(app: &App, tx: &mut Tx, name: &SecretName, place: Place) -> Answer<SecretId> {
    if store::count(tx).await? >= SECRETS_MAX {
        return Err(Refusal::conflict("secret.too_many", format!("the organization has {SECRETS_MAX} secrets"))
            .hint("remove some that are not used")
            .into());
    }
    let id: SecretId = app.mint();
    if store::insert(tx, id, name, place).await? {
        return Ok(id);
    }
    Err(Refusal::unavailable("secret.changing", "somebody is just setting this secret").into())
}

/// A version to be.
#[derive(Clone, Copy)]
struct Draft<'a> {
    version: u32,
    value: &'a Secret,
    egress: Option<&'a EgressRule>,
    restored_from: Option<u32>,
}

async fn add_version(app: &App, tx: &mut Tx, permit: &Permit, id: SecretId, draft: Draft<'_>) -> Answer<SecretInfo> {
    let Draft { version, value, egress, restored_from } = draft;
    let sealed = vault::ops::seal(app, tx, &context(id, version), value).await?;
    let new = NewVersion { version, sealed: &sealed, restored_from, egress, set_by: permit.user, set_at: app.now() };
    store::add_version(tx, id, &new).await?;
    store::find(tx, id).await?.ok_or_else(not_found)
}

async fn record(app: &App, tx: &mut Tx, permit: &Permit, verb: &'static str, info: &SecretInfo) -> Answer<()> {
    ledger::record(app, tx, Entry::new(&permit.actor(), verb, info.id, "asked").details(details(info))).await
}

/// All secrets of the org, without their values.
pub async fn list(app: &App, permit: &Permit) -> Answer<Secrets> {
    let mut tx = app.db.begin(permit.scope).await?;
    Ok(Secrets { secrets: store::list(&mut tx).await? })
}

/// The versions of a secret, without their values.
pub async fn versions(app: &App, permit: &Permit, id: SecretId) -> Answer<SecretVersions> {
    let mut tx = app.db.begin(permit.scope).await?;
    let versions = store::versions(&mut tx, id).await?;
    if versions.is_empty() {
        return Err(not_found());
    }
    Ok(SecretVersions { versions })
}

/// A secret that is to be changed, locked. Whoever may change secrets of workspaces only is refused another's.
async fn lock(tx: &mut Tx, permit: &Permit, id: SecretId) -> Answer<SecretInfo> {
    let info = if store::lock(tx, id).await? { store::find(tx, id).await? } else { None };
    let info = info.ok_or_else(not_found)?;
    let own = matches!(info.scope, SecretScope::Workspace { .. });
    if own || permit.also(Action::ManageSecrets) {
        return Ok(info);
    }
    let message = format!("you can't {}", Action::ManageSecrets.as_str());
    Err(Refusal::new(RefusalKind::Forbidden, "access.denied", message)
        .hint("set one of that name for your workspace, or ask an owner or admin of the organization")
        .into())
}

/// Makes an older version's value the newest version.
pub async fn restore(app: &App, permit: &Permit, id: SecretId, older: u32) -> Answer<SecretInfo> {
    let mut tx = app.db.begin(permit.scope).await?;
    let info = lock(&mut tx, permit, id).await?;
    let Some(kept) = store::version(&mut tx, id, older).await? else {
        return Err(Refusal::not_found("secret.version_not_found", format!("version {older} is not kept"))
            .hint("`envforge secret versions` shows those that are")
            .into());
    };
    if older == info.version {
        return Ok(info);
    }
    let value = vault::ops::open(app, &mut tx, &context(id, older), &kept.sealed).await?;
    // A value that was only lent stays so: its rule comes back with it.
    let egress = kept.egress.as_ref();
    let draft = Draft { version: info.version + 1, value: &value, egress, restored_from: Some(older) };
    let info = add_version(app, &mut tx, permit, id, draft).await?;
    record(app, &mut tx, permit, "secret.restored", &info).await?;
    tx.commit().await?;
    Ok(info)
}

/// Removes a secret with all its versions.
pub async fn remove(app: &App, permit: &Permit, id: SecretId) -> Answer<SecretInfo> {
    let mut tx = app.db.begin(permit.scope).await?;
    let info = lock(&mut tx, permit, id).await?;
    store::delete(&mut tx, id).await?;
    record(app, &mut tx, permit, "secret.deleted", &info).await?;
    tx.commit().await?;
    Ok(info)
}

/// A workspace is deleted: its own secrets go with it.
pub async fn workspace_deleted(app: &App, tx: &mut Tx, workspace: WorkspaceId) -> Answer<()> {
    for (id, name) in store::of_workspace(tx, workspace).await? {
        store::delete(tx, id).await?;
        let entry = Entry::new("system:host", "secret.deleted", id, "its workspace was deleted");
        ledger::record(app, tx, entry.details(json!({ "name": name, "scope": "workspace" }))).await?;
    }
    Ok(())
}

/// Opens what services of a workspace declare, for the host it is placed on, and notes each use. That the host may ask
/// was checked.
pub async fn give(app: &App, tx: &mut Tx, host: HostId, asked: &AskSecrets) -> Answer<GivenSecrets> {
    let names: BTreeSet<&SecretName> = asked.services.values().flatten().collect();
    if asked.services.len() > ASKED_MAX.0 || names.len() > ASKED_MAX.1 {
        return Err(Refusal::invalid("secret.too_many", "so many secrets can't be asked for at once").into());
    }
    let names: Vec<String> = names.into_iter().map(ToString::to_string).collect();
    let mut found = store::in_force(tx, asked.workspace, &names).await?;
    // What is lent to a destination is given to no service.
    found.retain(|secret| secret.egress.is_none());
    let actor = format!("host:{host}");
    for (service, declared) in &asked.services {
        for secret in found.iter().filter(|secret| declared.contains(&secret.name)) {
            let details = json!({ "name": secret.name, "version": secret.version, "service": service, "workspace": asked.workspace, "generation": asked.generation });
            let entry = Entry::new(&actor, "secret.used", secret.id, "a service that declares it starts");
            ledger::record(app, tx, entry.details(details)).await?;
        }
    }
    store::used(tx, &found.iter().map(|secret| secret.id).collect::<Vec<_>>(), app.now()).await?;
    let mut secrets = BTreeMap::new();
    for Stored { id, name, version, sealed, .. } in found {
        let value = vault::ops::open(app, tx, &context(id, version), &sealed).await?;
        secrets.insert(name, Sensitive(value));
    }
    Ok(GivenSecrets { secrets })
}

/// What a host adds to a workspace's requests for one destination; each use is told.
pub async fn lend(app: &App, tx: &mut Tx, host: HostId, asked: &AskEgress) -> Answer<GivenEgress> {
    let found = store::lent(tx, asked.workspace, &asked.host).await?;
    store::used(tx, &found.iter().map(|secret| secret.id).collect::<Vec<_>>(), app.now()).await?;
    let actor = format!("host:{host}");
    let mut lent = Vec::new();
    for Stored { id, name, version, sealed, egress } in found {
        let Some(rule) = egress else { continue };
        let details = json!({ "name": name, "version": version, "egress": rule.host, "workspace": asked.workspace });
        let entry = Entry::new(&actor, "secret.used", id, "a request for its destination").details(details);
        ledger::record(app, tx, entry).await?;
        let value = Sensitive(vault::ops::open(app, tx, &context(id, version), &sealed).await?);
        lent.push(Lent { name, rule, value });
    }
    Ok(GivenEgress { lent })
}

/// A host asked for what is not its own.
pub async fn refused(app: &App, tx: &mut Tx, host: HostId, workspace: WorkspaceId) -> Answer<()> {
    let actor = format!("host:{host}");
    let entry = Entry::new(&actor, "secret.refused", workspace, "the workspace is not on this host");
    ledger::record(app, tx, entry).await
}

/// Seals some values of this transaction's org anew that lie under a retired data key; how many there were.
pub(super) async fn reseal(app: &App, tx: &mut Tx, most: i64) -> Answer<usize> {
    let found = store::to_reseal(tx, most).await?;
    for version in &found {
        let place = context(version.id, version.version);
        let value = vault::ops::open(app, tx, &place, &version.sealed).await?;
        let sealed = vault::ops::seal(app, tx, &place, &value).await?;
        store::reseal(tx, version, &sealed).await?;
    }
    Ok(found.len())
}
