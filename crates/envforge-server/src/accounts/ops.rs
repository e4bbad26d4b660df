//! Signing in, API keys, and the first start.

use super::store::NewKey;
use super::{Credential, Identity, store};
use crate::app::App;
use crate::hosts;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::config::Bootstrap;
use crate::platform::db::Tx;
use crate::platform::fault::{Answer, Fault};
use crate::platform::http::auth::{Permit, no_org};
use anyhow::Context as _;
use envforge_api::ambient::opaque_token;
use envforge_api::http::accounts::{ApiKeys, CreateApiKey, CreatedApiKey, Me, Membership};
use envforge_core::access::{Role, Scopes};
use envforge_core::id::{ApiKeyId, Id as _, OrgId, UserId};
use envforge_core::name::Slug;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::token::digest;
use fs_err as fs;
use jiff::Timestamp;
use std::io::Write as _;
use std::path::Path;

/// Prefix of API keys.
pub const KEY_PREFIX: &str = "efk_";
/// Most API keys of one user.
const KEYS_MAX: usize = 100;

/// Who holds this key, if anyone. One that has expired is refused as such: whoever shows it did hold it.
pub async fn authenticate(app: &App, key: &str) -> Answer<Option<Identity>> {
    if !key.starts_with(KEY_PREFIX) || key.len() > 200 {
        return Ok(None);
    }
    let now = app.now();
    let Some(identity) = store::system_authenticate(&app.db, &digest(key), now).await? else { return Ok(None) };
    if let Credential::Key { expires_at: Some(end), .. } = &identity.credential
        && *end <= now
    {
        return Err(Refusal::new(RefusalKind::Unauthenticated, "access.expired", "this API key has expired")
            .hint("make another one, or sign in again")
            .into());
    }
    Ok(Some(identity))
}

/// Puts what people are called now where causes name them by reference: what is kept, in the ledger and beside it,
/// holds the reference only.
pub async fn say_names(tx: &mut Tx, causes: Vec<&mut String>) -> Answer<()> {
    let mut referring = Vec::new();
    for cause in causes {
        if let Some(user) = user_in(cause) {
            referring.push((user, cause));
        }
    }
    if referring.is_empty() {
        return Ok(());
    }
    let users: Vec<_> = referring.iter().map(|(user, _)| *user).collect();
    let names = store::names(tx, &users).await?;
    for (user, cause) in referring {
        if let Some(name) = names.get(&user) {
            *cause = cause.replace(&format!("user:{user}"), name);
        }
    }
    Ok(())
}

/// Whom a cause names.
fn user_in(cause: &str) -> Option<UserId> {
    cause.split(' ').find_map(|word| word.strip_prefix("user:")?.parse().ok())
}

/// The caller, as shown.
pub fn me(identity: &Identity) -> Me {
    let orgs = identity.orgs.iter().map(|(scope, slug, role)| Membership {
        org: scope.org(),
        slug: slug.clone(),
        role: *role,
    });
    Me {
        user: identity.user,
        name: identity.name.clone(),
        is_operator: identity.is_operator,
        scopes: identity.credential.scopes().names(),
        credential: identity.credential.id().to_string(),
        orgs: orgs.collect(),
    }
}

/// Holds the org's memberships for a change, and tells the caller's role as it is now: what the request began with may
/// have been taken back meanwhile.
pub async fn lock_members(tx: &mut Tx, permit: &Permit) -> Answer<Role> {
    store::lock_members(tx).await?;
    match store::role(tx, permit.user).await? {
        Some(role) if permit.holds(role) => Ok(role),
        Some(role) => Err(permit.denied(role)),
        None => Err(no_org(permit.org.as_str())),
    }
}

/// The refusal for somebody who is no member.
pub fn no_member() -> Fault {
    Refusal::not_found("member.not_found", "the organization has no such member")
        .hint("`envforge member list` shows who is")
        .into()
}

/// What people call somebody or something: 1 to 100 characters on one line.
pub fn check_name<'a>(code: &str, name: &'a str) -> Answer<&'a str> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(Refusal::invalid(code, "a name has 1 to 100 characters on one line").into());
    }
    Ok(name)
}

/// A new API key for oneself.
pub async fn create_key(app: &App, identity: &Identity, request: &CreateApiKey) -> Answer<CreatedApiKey> {
    let name = request.name.trim();
    if name.is_empty() || name.len() > 100 {
        return Err(Refusal::invalid("api_key.name", "the name of a key has 1 to 100 characters").into());
    }
    let scopes = Scopes::parse(&request.scopes).map_err(|error| {
        Refusal::invalid("api_key.scope", error)
            .hint("`read`, or codes of docs/reference/permissions.md; none at all makes an unlimited key")
    })?;
    if *identity.credential.scopes() != Scopes::Unlimited {
        return Err(Refusal::new(RefusalKind::Forbidden, "access.scope", "a limited key can't make other keys")
            .hint("sign in, or use a key without scopes")
            .into());
    }
    let now = app.now();
    if request.expires_at.is_some_and(|end| end <= now) {
        return Err(Refusal::invalid("api_key.expiry", "a key can't expire in the past").into());
    }
    check_room(app, identity.user).await?;
    let value = opaque_token(KEY_PREFIX, &*app.entropy);
    let id: ApiKeyId = app.mint();
    let mut tx = app.db.begin_installation().await?;
    let new = NewKey { name, value: &value, scopes: &scopes, expires_at: request.expires_at };
    store::insert_key(&mut tx, id, identity.user, &new, now).await?;
    let actor = format!("user:{}", identity.user);
    ledger::record(app, &mut tx, Entry::new(&actor, "api_key.created", id, name)).await?;
    tx.commit().await?;
    Ok(CreatedApiKey { id, value })
}

/// Refuses one key more than anybody needs.
async fn check_room(app: &App, user: UserId) -> Answer<()> {
    let (keys, now) = (store::keys(&app.db, user).await?, app.now());
    if keys.iter().filter(|key| key.expires_at.is_none_or(|end| end > now)).count() >= KEYS_MAX {
        return Err(Refusal::conflict("api_key.too_many", format!("you have {KEYS_MAX} keys already"))
            .hint("revoke one that is not used")
            .into());
    }
    Ok(())
}

/// A new key without limits for somebody who asked for it elsewhere: the machine they signed in.
pub async fn insert_key(
    app: &App,
    tx: &mut Tx,
    user: UserId,
    name: &str,
    expires_at: Option<Timestamp>,
    cause: &str,
) -> Answer<CreatedApiKey> {
    check_room(app, user).await?;
    let value = opaque_token(KEY_PREFIX, &*app.entropy);
    let id: ApiKeyId = app.mint();
    let new = NewKey { name, value: &value, scopes: &Scopes::Unlimited, expires_at };
    store::insert_key(tx, id, user, &new, app.now()).await?;
    ledger::record(app, tx, Entry::new(&format!("user:{user}"), "api_key.created", id, cause)).await?;
    Ok(CreatedApiKey { id, value })
}

/// One's API keys.
pub async fn list_keys(app: &App, identity: &Identity) -> Answer<ApiKeys> {
    Ok(ApiKeys { api_keys: store::keys(&app.db, identity.user).await? })
}

/// Revokes one of one's own keys; it is refused from the next request on.
pub async fn revoke_key(app: &App, identity: &Identity, id: ApiKeyId) -> Answer<()> {
    let mut tx = app.db.begin_installation().await?;
    if !store::revoke_key(&mut tx, id, identity.user, app.now()).await? {
        return Err(Refusal::not_found("api_key.not_found", "you have no such key").into());
    }
    let actor = format!("user:{}", identity.user);
    ledger::record(app, &mut tx, Entry::new(&actor, "api_key.revoked", id, "asked")).await?;
    tx.nudge(Nudge::CredentialEnded { id: id.uuid() });
    tx.commit().await
}

/// The first start of a one-box installation: local owner, org, this box as its host. Does nothing once an org
/// exists. The key and the token are on disk before the commit, so a crash can't leave an org nobody can enter.
pub async fn bootstrap(app: &App, wanted: &Bootstrap) -> Answer<()> {
    let slug: Slug = wanted.org.parse().map_err(|error| anyhow::anyhow!("the org's name `{}`: {error}", wanted.org))?;
    let mut tx = app.db.begin_installation().await?;
    store::lock_bootstrap(&mut tx).await?;
    if store::system_any_org(&mut tx).await? {
        return Ok(());
    }
    let (org, user, key): (OrgId, UserId, ApiKeyId) = (app.mint(), app.mint(), app.mint());
    let value = opaque_token(KEY_PREFIX, &*app.entropy);
    let now = app.now();
    store::insert_user(&mut tx, user, "local owner", true, now).await?;
    let new = NewKey { name: "first start", value: &value, scopes: &Scopes::Unlimited, expires_at: None };
    store::insert_key(&mut tx, key, user, &new, now).await?;
    ledger::record(app, &mut tx, Entry::new("system:bootstrap", "installation.started", org, "first start")).await?;
    tx.enter(org).await?;
    store::insert_org(&mut tx, org, &slug, slug.as_str(), now).await?;
    store::insert_membership(&mut tx, org, user, Role::Owner).await?;
    ledger::record(app, &mut tx, Entry::new("system:bootstrap", "org.created", org, "first start")).await?;
    let token = hosts::ops::add(app, &mut tx, "this-box", true, "system:bootstrap").await?.token;
    write_private(&wanted.owner_key_file, &value)?;
    write_private(&wanted.host_token_file, &token)?;
    tx.commit().await?;
    tracing::info!(org = %slug, "first start: the organization and its owner were made");
    Ok(())
}

/// Writes a secret to a file only its owner can read, whole or not at all.
fn write_private(path: &Path, value: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let partial = path.with_extension("partial");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).options_mut().mode(0o600);
    let mut file = options.open(&partial).context("writing a credential of the first start")?;
    writeln!(file, "{value}").context("writing a credential of the first start")?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    Ok(())
}
