//! Making, bringing, listing and removing one's keys; lending them to Git in a workspace.

use super::store::{self, Stored};
use crate::accounts::Identity;
use crate::app::App;
use crate::git::ops::{asking, with_full_rights};
use crate::hosts;
use crate::ledger::{self, Entry};
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::{Answer, Fault};
use crate::vault;
use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use envforge_api::host::{AskGitIdentity, AskGitSignature, GitIdentity, GitSignature};
use envforge_api::http::git::{GenerateGitKey, GitKey, GitKeys, ImportGitKey};
use envforge_core::access::{Action, allows};
use envforge_core::git::GitHost;
use envforge_core::id::{GitKeyId, HostId, UserId, WorkspaceId};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::Secret;
use envforge_core::ssh::{LOGIN_MAX, Login, SshKey, SshKeyError, SshRepository, host_of};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Mutex;

/// Most keys of one person.
const KEYS_MAX: usize = 50;
/// Longest private key read, in bytes; an Ed25519 key has four hundred, a large one of another kind is refused as such.
const PRIVATE_KEY_MAX: usize = 16 * 1024;
/// Most signatures for one workspace in [`WINDOW`]: each is a connection to its Git host.
const SIGNATURES_MAX: u32 = 120;
/// The code for data that is no login at the workspace's repository.
const NO_LOGIN: &str = "git.no_login";
const WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// That a signature was given to a workspace is in the ledger once in this time.
const NOTED_ONCE_IN: SignedDuration = SignedDuration::from_mins(1);

/// How many signatures each workspace was given in the minute that began then.
#[derive(Debug, Default)]
pub struct Given(Mutex<HashMap<WorkspaceId, (Timestamp, u32)>>);

impl Given {
    /// Counts one more, if it is not one too many.
    fn take(&self, workspace: WorkspaceId, now: Timestamp) -> Answer<()> {
        let mut given = self.0.lock().expect("no panic while the counts are held");
        given.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
        let (_, count) = given.entry(workspace).or_insert((now, 0));
        if *count >= SIGNATURES_MAX {
            let message = format!("this workspace was given {SIGNATURES_MAX} signatures within a minute");
            return Err(Refusal::new(RefusalKind::Limit, "git.too_many_signatures", message).retry_after(60).into());
        }
        *count += 1;
        Ok(())
    }
}

/// One's keys.
pub async fn list(app: &App, identity: &Identity) -> Answer<GitKeys> {
    let mut tx = app.db.begin_installation().await?;
    Ok(GitKeys { git_keys: store::list(&mut tx, identity.user).await?.iter().map(Stored::shown).collect() })
}

/// Makes a key for a host.
pub async fn generate(app: &App, identity: &Identity, request: &GenerateGitKey) -> Answer<GitKey> {
    with_full_rights(identity)?;
    let host = host(&request.host)?;
    keep(app, identity.user, host, &SshKey::generate(&*app.entropy), "git_key.generated").await
}

/// Takes a key that one has.
pub async fn import(app: &App, identity: &Identity, request: ImportGitKey) -> Answer<GitKey> {
    with_full_rights(identity)?;
    let private_key = Secret::new(request.private_key);
    let host = host(&request.host)?;
    if private_key.expose().len() > PRIVATE_KEY_MAX {
        return Err(not_taken(&host, &SshKeyError::Unreadable).into());
    }
    let key = SshKey::import(&private_key).map_err(|error| not_taken(&host, &error))?;
    keep(app, identity.user, host, &key, "git_key.imported").await
}

fn host(text: &str) -> Answer<GitHost> {
    Ok(host_of(text).map_err(|problem| Refusal::invalid("git_key.host", problem))?)
}

fn not_taken(host: &GitHost, error: &SshKeyError) -> Refusal {
    let code = match error {
        SshKeyError::Unreadable => "git_key.unreadable",
        SshKeyError::Passphrase => "git_key.passphrase",
        SshKeyError::Kind => "git_key.kind",
    };
    let instead = format!("`envforge git-credential generate-key {host}` makes one that never leaves the server");
    Refusal::invalid(code, error.to_string()).hint(match error {
        SshKeyError::Unreadable => format!("give the private file that `ssh-keygen -t ed25519` wrote; or {instead}"),
        SshKeyError::Passphrase | SshKeyError::Kind => instead,
    })
}

async fn keep(app: &App, user: UserId, host: GitHost, key: &SshKey, verb: &'static str) -> Answer<GitKey> {
    let id: GitKeyId = app.mint();
    let mut tx = app.db.begin_installation().await?;
    store::lock(&mut tx, user).await?;
    let present = store::list(&mut tx, user).await?;
    // Replaced, the one that is registered at the host would be lost for good.
    if present.iter().any(|present| present.host == host.as_str()) {
        return Err(Refusal::conflict("git_key.exists", format!("you have an SSH key for {host} already"))
            .hint(format!("`envforge git-credential remove-key {host}` removes it"))
            .into());
    }
    if present.len() >= KEYS_MAX {
        return Err(Refusal::conflict("git_key.too_many", format!("you have keys for {KEYS_MAX} hosts already"))
            .hint("remove one that is not used")
            .into());
    }
    let sealed = vault::ops::seal(app, &mut tx, &context(id), &key.to_keep()).await?;
    let (public, created_at) = (key.public(), app.now());
    let stored = Stored { id, host: host.to_string(), public, sealed, created_at, last_used_at: None };
    store::insert(&mut tx, user, &stored).await?;
    let actor = format!("user:{user}");
    let details = json!({ "fingerprint": public.fingerprint() });
    ledger::record(app, &mut tx, Entry::new(&actor, verb, id, host.as_str()).details(details)).await?;
    tx.commit().await?;
    Ok(stored.shown())
}

/// Removes one's key for a host.
pub async fn remove(app: &App, identity: &Identity, text: &str) -> Answer<()> {
    with_full_rights(identity)?;
    let host = host(text)?;
    let mut tx = app.db.begin_installation().await?;
    let Some(id) = store::delete(&mut tx, identity.user, host.as_str()).await? else {
        return Err(Refusal::not_found("git_key.not_found", format!("you have no SSH key for {host}"))
            .hint("`envforge git-credential list` shows yours")
            .into());
    };
    let actor = format!("user:{}", identity.user);
    ledger::record(app, &mut tx, Entry::new(&actor, "git_key.removed", id, host.as_str())).await?;
    tx.commit().await
}

/// The place a key is sealed for.
fn context(id: GitKeyId) -> String {
    format!("git-key/{id}")
}

/// The key that SSH in a workspace may log in with.
pub async fn identity(app: &App, host: HostId, scope: OrgScope, ask: &AskGitIdentity) -> Answer<GitIdentity> {
    let (_, lent) = lent(app, host, scope, ask.workspace, ask.host_generation).await?;
    Ok(GitIdentity { public_key: lent.key.public, comment: format!("envforge {}", lent.home.host) })
}

/// What logs SSH in a workspace in at the host of its repository.
pub async fn sign(app: &App, host: HostId, scope: OrgScope, ask: &AskGitSignature) -> Answer<GitSignature> {
    let (mut tx, lent) = lent(app, host, scope, ask.workspace, ask.host_generation).await?;
    let Lent { person, home, key, .. } = &lent;
    let data = if ask.data.len() <= 2 * LOGIN_MAX { BASE64_STANDARD.decode(&ask.data).ok() } else { None };
    let login = data.as_deref().and_then(Login::parse);
    let is_expected = |login: &Login<'_>| login.user == home.user && login.key == key.public;
    let (Some(data), true) = (&data, ask.public_key == key.public && login.as_ref().is_some_and(is_expected)) else {
        hosts::ops::refused(app, host, scope, "git.signature_refused", NO_LOGIN);
        let message = format!("only a login as {} with the key for {} is signed", home.user, home.host);
        return Err(Refusal::new(RefusalKind::Forbidden, NO_LOGIN, message).into());
    };
    app.signatures.take(ask.workspace, app.now())?;
    let kept = vault::ops::open(app, &mut tx, &context(key.id), &key.sealed).await?;
    let private = SshKey::kept(&kept).context("a kept SSH key")?;
    store::used(&mut tx, key.id, app.now()).await?;
    tx.commit().await?;
    let details = json!({
        "git_host": home.host.as_str(), "key": key.id, "fingerprint": key.public.fingerprint(), "host": host,
    });
    let actor = format!("user:{person}");
    let entry = Entry::new(&actor, "git.signature_given", ask.workspace, "ssh asked").details(details);
    let mut tx = app.db.begin(scope).await?;
    ledger::ops::record_once_in(app, &mut tx, entry, NOTED_ONCE_IN).await?;
    tx.commit().await?;
    Ok(GitSignature { signature: BASE64_STANDARD.encode(private.sign(data)) })
}

/// Whose key is lent, and where it logs in.
struct Lent {
    person: UserId,
    home: SshRepository,
    key: Stored,
}

/// The key of who acts in a workspace, with the installation's transaction it was found in.
async fn lent(
    app: &App,
    host: HostId,
    scope: OrgScope,
    workspace: WorkspaceId,
    host_generation: u64,
) -> Answer<(Tx, Lent)> {
    let asking = asking(app, host, scope, workspace, host_generation).await?;
    let home = SshRepository::parse(&asking.repository).ok_or_else(|| {
        let message = "the workspace's repository is not reached over SSH";
        Fault::from(Refusal::new(RefusalKind::Forbidden, "git.no_ssh", message))
    })?;
    let mut tx = app.db.begin_installation().await?;
    let may = asking.role.is_some_and(|role| allows(role, Action::Attach));
    let found = if may { store::find(&mut tx, asking.person, home.host.as_str()).await? } else { None };
    let Some(key) = found else {
        let host = &home.host;
        return Err(Refusal::conflict("git.no_key", format!("{} has no SSH key for {host}", asking.name))
            .hint(format!(
                "`envforge git-credential generate-key {host}` makes one, whose public half is to be registered there"
            ))
            .into());
    };
    Ok((tx, Lent { person: asking.person, home, key }))
}
