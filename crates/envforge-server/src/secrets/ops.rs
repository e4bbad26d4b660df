//! Set, list, restore, remove; and give to a host.

use super::jobs::{ForgetValues, UNDER_WAY};
use super::store::{self, Held, NewVersion, Place, Stored};
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::{Answer, Fault};
use crate::platform::http::auth::Permit;
use crate::platform::jobs;
use crate::platform::secret_stores::{check_length, unusable};
use crate::vault;
use envforge_api::host::{AskEgress, AskSecrets, GivenEgress, GivenSecrets, Lent};
use envforge_api::http::secrets::{SecretInfo, SecretScope, SecretVersions, Secrets, SetSecret};
use envforge_api::sensitive::Sensitive;
use envforge_api::values::{SecretValues, ValuePlace};
use envforge_core::access::Action;
use envforge_core::egress::EgressRule;
use envforge_core::id::{HostId, OrgId, SecretId, WorkspaceId};
use envforge_core::name::Slug;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::{Secret, SecretName, VALUE_MAX};
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Most secrets of one org.
const SECRETS_MAX: i64 = 1_000;
/// Most services, and most names over all of them, that a host asks for at once.
const ASKED_MAX: (usize, usize) = (200, 1_000);
/// Values read from a store outside the database at a time, for one host that asks.
const READS: usize = 8;

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
    let outside = match app.config.secret_stores.for_new() {
        Some(store) => {
            let mut tx = app.db.begin(permit.scope).await?;
            let place = place(&mut tx, target).await?;
            let known = store::lock_named(&mut tx, &request.name, place).await?;
            let id = match known {
                Some((id, _)) => id,
                None => room(&mut tx).await.map(|()| app.mint())?,
            };
            Some(put(app, tx, store, (id, known.is_none()), value).await?)
        }
        None => None,
    };
    let mut tx = app.db.begin(permit.scope).await?;
    let place = place(&mut tx, target).await?;
    let (id, version) = match store::lock_named(&mut tx, &request.name, place).await? {
        Some((id, version)) => (id, version + 1),
        None => {
            (add(&mut tx, outside.as_ref().map_or_else(|| app.mint(), |put| put.id), &request.name, place).await?, 1)
        }
    };
    let held = match outside {
        Some(put) => put.arrived(app, id, version)?,
        None => seal(app, &mut tx, id, version, value).await?,
    };
    let draft = Draft { version, held: &held, egress: request.egress.as_ref(), restored_from: None };
    let info = add_version(app, &mut tx, permit, id, draft).await?;
    let verb = if version == 1 { "secret.created" } else { "secret.updated" };
    record(app, &mut tx, permit, verb, &info).await?;
    tx.commit().await?;
    Ok(info)
}

async fn place(tx: &mut Tx, target: Target<'_>) -> Answer<Place> {
    Ok(match target {
        Target::Org => Place::Org,
        Target::Project(slug) => Place::Project(
            store::project(tx, slug)
                .await?
                .ok_or_else(|| Refusal::not_found("project.not_found", format!("there is no project `{slug}`")))?,
        ),
        Target::Workspace(slug) => Place::Workspace(
            store::workspace(tx, slug)
                .await?
                .ok_or_else(|| Refusal::not_found("workspace.not_found", format!("there is no workspace `{slug}`")))?,
        ),
    })
}

/// That the org may have one more.
async fn room(tx: &mut Tx) -> Answer<()> {
    if store::count(tx).await? >= SECRETS_MAX {
        return Err(Refusal::conflict("secret.too_many", format!("the organization has {SECRETS_MAX} secrets"))
            .hint("remove some that are not used")
            .into());
    }
    Ok(())
}

async fn add(tx: &mut Tx, id: SecretId, name: &SecretName, place: Place) -> Answer<SecretId> {
    room(tx).await?;
    if store::insert(tx, id, name, place).await? {
        return Ok(id);
    }
    Err(changing())
}

fn changing() -> Fault {
    Refusal::unavailable("secret.changing", "somebody is just setting this secret").into()
}

/// A value that lies in a store outside the database, and that no row refers to yet.
struct Put {
    id: SecretId,
    is_first: bool,
    held: Held,
    until: Timestamp,
}

impl Put {
    /// What the row of this version refers to; refused when meanwhile the value no longer belongs there, or may have been
    /// taken for left behind.
    fn arrived(self, app: &App, id: SecretId, version: u32) -> Answer<Held> {
        if self.id != id || self.is_first != (version == 1) || app.now() >= self.until {
            return Err(changing());
        }
        Ok(self.held)
    }
}

/// Puts a value outside before the transaction that refers to it, so that there is never a row without a value. What a
/// crash or a refusal leaves behind is deleted by a job that is written first. No lock is held meanwhile.
async fn put(
    app: &App,
    mut tx: Tx,
    store: &dyn SecretValues,
    (id, is_first): (SecretId, bool),
    value: &Secret,
) -> Answer<Put> {
    check_length(store, value)?;
    let org = tx.org().ok_or_else(|| anyhow::anyhow!("secrets are an org's"))?;
    let until = app.now().saturating_add(UNDER_WAY).unwrap_or(Timestamp::MAX);
    let name = store.name().to_owned();
    let job = ForgetValues { store: name.clone(), secret: id };
    jobs::enqueue(app, &mut tx, &job, jobs::Options::default().at(until)).await?;
    tx.commit().await?;
    let version = store.put(ValuePlace { org, secret: id }, value).await.map_err(|error| unusable(store, error))?;
    Ok(Put { id, is_first, held: Held::Outside { store: name, version }, until })
}

async fn seal(app: &App, tx: &mut Tx, id: SecretId, version: u32, value: &Secret) -> Answer<Held> {
    Ok(Held::Sealed(vault::ops::seal(app, tx, &context(id, version), value).await?))
}

/// Values read from a store outside the database.
pub(crate) type Fetched = BTreeMap<(SecretId, u32), Secret>;

/// Reads what lies outside. Not in a transaction: it takes its time.
pub(crate) async fn fetch(app: &App, org: OrgId, wanted: Vec<Stored>) -> Answer<Fetched> {
    let reads = wanted.into_iter().map(|Stored { id, version, held, .. }| async move {
        let Held::Outside { store, version: at } = held else {
            return Err(Fault::Broken(anyhow::anyhow!("a sealed value is not to be fetched")));
        };
        let store = app.config.secret_stores.named(&store)?;
        let value = store.get(ValuePlace { org, secret: id }, at).await.map_err(|error| unusable(store, error))?;
        Ok(((id, version), value))
    });
    futures_util::stream::iter(reads).buffer_unordered(READS).try_collect().await
}

/// A version to be.
#[derive(Clone, Copy)]
struct Draft<'a> {
    version: u32,
    held: &'a Held,
    egress: Option<&'a EgressRule>,
    restored_from: Option<u32>,
}

async fn add_version(app: &App, tx: &mut Tx, permit: &Permit, id: SecretId, draft: Draft<'_>) -> Answer<SecretInfo> {
    let Draft { version, held, egress, restored_from } = draft;
    let new = NewVersion { version, held, restored_from, egress, set_by: permit.user, set_at: app.now() };
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
    // A value that was only lent stays so: its rule comes back with it.
    let egress = kept.egress.clone();
    // Versions never change, so what is read here still holds in the transaction that makes it the newest.
    let value = match &kept.held {
        Held::Sealed(sealed) => vault::ops::open(app, &mut tx, &context(id, older), sealed).await?,
        Held::Outside { .. } => {
            drop(tx);
            let mut fetched = fetch(app, permit.scope.org(), vec![kept]).await?;
            tx = app.db.begin(permit.scope).await?;
            fetched.remove(&(id, older)).ok_or_else(changing)?
        }
    };
    let outside = match app.config.secret_stores.for_new() {
        Some(store) => {
            let outside = put(app, tx, store, (id, false), &value).await?;
            tx = app.db.begin(permit.scope).await?;
            Some(outside)
        }
        None => None,
    };
    let version = lock(&mut tx, permit, id).await?.version + 1;
    let held = match outside {
        Some(put) => put.arrived(app, id, version)?,
        None => seal(app, &mut tx, id, version, &value).await?,
    };
    let draft = Draft { version, held: &held, egress: egress.as_ref(), restored_from: Some(older) };
    let info = add_version(app, &mut tx, permit, id, draft).await?;
    record(app, &mut tx, permit, "secret.restored", &info).await?;
    tx.commit().await?;
    Ok(info)
}

/// Removes a secret with all its versions.
pub async fn remove(app: &App, permit: &Permit, id: SecretId) -> Answer<SecretInfo> {
    let mut tx = app.db.begin(permit.scope).await?;
    let info = lock(&mut tx, permit, id).await?;
    delete(app, &mut tx, id).await?;
    record(app, &mut tx, permit, "secret.deleted", &info).await?;
    tx.commit().await?;
    Ok(info)
}

/// Deletes the rows; what lies outside goes after them.
async fn delete(app: &App, tx: &mut Tx, id: SecretId) -> Answer<()> {
    let mut stores = store::stores(tx, id).await?;
    // Versions that are not kept any more may still lie there.
    stores.extend(app.config.secret_stores.known().map(|store| store.name().to_owned()));
    store::delete(tx, id).await?;
    for store in stores {
        jobs::enqueue(app, tx, &ForgetValues { store, secret: id }, jobs::Options::default()).await?;
    }
    Ok(())
}

/// A secret of a workspace alone, to be copied for another one.
pub(crate) struct Own {
    name: SecretName,
    egress: Option<EgressRule>,
    value: Secret,
}

/// A copy of one, on its way into another workspace.
pub(crate) struct Copy {
    name: SecretName,
    egress: Option<EgressRule>,
    /// Sealed in the transaction that adds it, or lying outside already.
    value: CopiedValue,
}

enum CopiedValue {
    Here(Secret),
    Outside(Put),
}

/// The secrets that are a workspace's alone, with their values.
pub(crate) async fn values_of_workspace(
    app: &App,
    mut tx: Tx,
    scope: OrgScope,
    workspace: WorkspaceId,
) -> Answer<Vec<Own>> {
    let found = store::in_use_of_workspace(&mut tx, workspace).await?;
    let (here, outside): (Vec<Stored>, Vec<Stored>) =
        found.into_iter().partition(|secret| matches!(secret.held, Held::Sealed(_)));
    let mut own = Vec::new();
    for Stored { id, name, version, held, egress } in here {
        let value = open(app, &mut tx, (id, version), held, &mut Fetched::new()).await?;
        own.push(Own { name, egress, value });
    }
    drop(tx);
    let named: Vec<_> =
        outside.iter().map(|secret| (secret.id, secret.version, secret.name.clone(), secret.egress.clone())).collect();
    let mut fetched = fetch(app, scope.org(), outside).await?;
    for (id, version, name, egress) in named {
        let value = fetched.remove(&(id, version)).ok_or_else(changing)?;
        own.push(Own { name, egress, value });
    }
    Ok(own)
}

/// Copies for one workspace, added by [`add_copies`].
pub(crate) async fn copies(app: &App, scope: OrgScope, own: &[Own]) -> Answer<Vec<Copy>> {
    let mut copies = Vec::new();
    for Own { name, egress, value } in own {
        let value = match app.config.secret_stores.for_new() {
            Some(store) => {
                let tx = app.db.begin(scope).await?;
                CopiedValue::Outside(put(app, tx, store, (app.mint(), true), value).await?)
            }
            None => CopiedValue::Here(Secret::new(value.expose().to_owned())),
        };
        copies.push(Copy { name: name.clone(), egress: egress.clone(), value });
    }
    Ok(copies)
}

/// Adds copies to a workspace that has none yet.
pub(crate) async fn add_copies(
    app: &App,
    tx: &mut Tx,
    permit: &Permit,
    workspace: WorkspaceId,
    copies: Vec<Copy>,
) -> Answer<()> {
    for Copy { name, egress, value } in copies {
        let minted = match &value {
            CopiedValue::Outside(put) => put.id,
            CopiedValue::Here(_) => app.mint(),
        };
        let id = add(tx, minted, &name, Place::Workspace(workspace)).await?;
        let held = match value {
            CopiedValue::Outside(put) => put.arrived(app, id, 1)?,
            CopiedValue::Here(value) => seal(app, tx, id, 1, &value).await?,
        };
        let draft = Draft { version: 1, held: &held, egress: egress.as_ref(), restored_from: None };
        let info = add_version(app, tx, permit, id, draft).await?;
        record(app, tx, permit, "secret.created", &info).await?;
    }
    Ok(())
}

/// A workspace is deleted: its own secrets go with it.
pub async fn workspace_deleted(app: &App, tx: &mut Tx, workspace: WorkspaceId) -> Answer<()> {
    for (id, name) in store::of_workspace(tx, workspace).await? {
        delete(app, tx, id).await?;
        let entry = Entry::new("system:host", "secret.deleted", id, "its workspace was deleted");
        ledger::record(app, tx, entry.details(json!({ "name": name, "scope": "workspace" }))).await?;
    }
    Ok(())
}

/// Those whose values are at hand, and those that have to be [fetched](fetch) first.
fn readable(found: Vec<Stored>, fetched: &Fetched) -> (Vec<Stored>, Vec<Stored>) {
    found.into_iter().partition(|secret| {
        matches!(secret.held, Held::Sealed(_)) || fetched.contains_key(&(secret.id, secret.version))
    })
}

async fn open(
    app: &App,
    tx: &mut Tx,
    (id, version): (SecretId, u32),
    held: Held,
    fetched: &mut Fetched,
) -> Answer<Secret> {
    match held {
        Held::Sealed(sealed) => vault::ops::open(app, tx, &context(id, version), &sealed).await,
        Held::Outside { .. } => fetched.remove(&(id, version)).ok_or_else(changing),
    }
}

/// What a host is given, or what has to be read outside first.
pub(crate) enum Give<T> {
    /// What it asked for.
    Given(T),
    /// To be [fetched](fetch), and given in another transaction.
    Fetch(Vec<Stored>),
}

/// Opens what services of a workspace declare, for the host it is placed on, and notes each use. That the host may ask
/// was checked.
pub(crate) async fn give(
    app: &App,
    tx: &mut Tx,
    host: HostId,
    asked: &AskSecrets,
    fetched: &mut Fetched,
) -> Answer<Give<GivenSecrets>> {
    let names: BTreeSet<&SecretName> = asked.services.values().flatten().collect();
    if asked.services.len() > ASKED_MAX.0 || names.len() > ASKED_MAX.1 {
        return Err(Refusal::invalid("secret.too_many", "so many secrets can't be asked for at once").into());
    }
    let names: Vec<String> = names.into_iter().map(ToString::to_string).collect();
    let mut found = store::in_force(tx, asked.workspace, &names).await?;
    // What is lent to a destination is given to no service.
    found.retain(|secret| secret.egress.is_none());
    let (found, missing) = readable(found, fetched);
    if !missing.is_empty() {
        return Ok(Give::Fetch(missing));
    }
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
    for Stored { id, name, version, held, .. } in found {
        let value = open(app, tx, (id, version), held, fetched).await?;
        secrets.insert(name, Sensitive(value));
    }
    Ok(Give::Given(GivenSecrets { secrets }))
}

/// What a host adds to a workspace's requests for one destination; each use is told.
pub(crate) async fn lend(
    app: &App,
    tx: &mut Tx,
    host: HostId,
    asked: &AskEgress,
    fetched: &mut Fetched,
) -> Answer<Give<GivenEgress>> {
    let found = store::lent(tx, asked.workspace, &asked.host).await?;
    let (found, missing) = readable(found, fetched);
    if !missing.is_empty() {
        return Ok(Give::Fetch(missing));
    }
    store::used(tx, &found.iter().map(|secret| secret.id).collect::<Vec<_>>(), app.now()).await?;
    let actor = format!("host:{host}");
    let mut lent = Vec::new();
    for Stored { id, name, version, held, egress } in found {
        let Some(rule) = egress else { continue };
        let details = json!({ "name": name, "version": version, "egress": rule.host, "workspace": asked.workspace });
        let entry = Entry::new(&actor, "secret.used", id, "a request for its destination").details(details);
        ledger::record(app, tx, entry).await?;
        let value = Sensitive(open(app, tx, (id, version), held, fetched).await?);
        lent.push(Lent { name, rule, value });
    }
    Ok(Give::Given(GivenEgress { lent }))
}

/// Seals some values of this transaction's org anew that lie under a retired data key; how many there were.
pub(super) async fn reseal(app: &App, tx: &mut Tx, most: i64) -> Answer<usize> {
    let found = store::to_reseal(tx, most).await?;
    for version in &found {
        let Held::Sealed(sealed) = &version.held else { continue };
        let place = context(version.id, version.version);
        let value = vault::ops::open(app, tx, &place, sealed).await?;
        let sealed = vault::ops::seal(app, tx, &place, &value).await?;
        store::reseal(tx, version, &sealed).await?;
    }
    Ok(found.len())
}
