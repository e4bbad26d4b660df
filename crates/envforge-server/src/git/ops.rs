//! Setting, listing and removing one's credentials; giving one to Git in a workspace.

use super::store::{self, Asking, Stored};
use crate::accounts::{self, Identity};
use crate::app::App;
use crate::hosts;
use crate::ledger::{self, Entry};
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::{Answer, Fault};
use crate::platform::http::auth::Operator;
use crate::providers::git_host::GitApp;
use crate::vault;
use envforge_api::host;
use envforge_api::http::git::{GitCredential, GitCredentials, SetGitCredential, SetGitInstallation};
use envforge_core::access::{Action, Scopes, allows};
use envforge_core::git::{GitHost, Repository};
use envforge_core::id::{GitCredentialId, HostId, UserId, WorkspaceId};
use envforge_core::name::Slug;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::Secret;
use envforge_core::ticket::Person;
use jiff::SignedDuration;
use serde_json::json;

/// Most credentials of one person.
const CREDENTIALS_MAX: usize = 50;
/// Longest token, in bytes.
const TOKEN_MAX: usize = 4096;
/// Longest address asked for, in bytes.
const URL_MAX: usize = 2048;
/// The user name hosts take with any token, unless one's own is given.
const ANY_USER: &str = "x-access-token";
/// The code for an address elsewhere.
const OTHER_HOST: &str = "git.other_host";
/// That one's credential was given to a workspace is in the ledger once in this time.
const NOTED_ONCE_IN: SignedDuration = SignedDuration::from_mins(1);

/// One's credentials.
pub async fn list(app: &App, identity: &Identity) -> Answer<GitCredentials> {
    let mut tx = app.db.begin_installation().await?;
    Ok(GitCredentials { git_credentials: store::list(&mut tx, identity.user).await? })
}

/// Sets one's token for a host, in place of the one that may be there.
pub async fn set(app: &App, identity: &Identity, request: SetGitCredential) -> Answer<GitCredential> {
    with_full_rights(identity)?;
    let SetGitCredential { host, username, token, expires_at } = request;
    let token = Secret::new(token);
    let host = host_of(&host)?;
    let username = username.unwrap_or_else(|| ANY_USER.to_owned());
    // A line of Git's credential protocol holds each of them.
    let is_line = |text: &str, max: usize| {
        !text.is_empty() && text.len() <= max && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if !is_line(token.expose(), TOKEN_MAX) {
        return Err(Refusal::invalid("git_credential.token", "a token is a single word of at most 4096 characters")
            .hint("give the token alone, without quotes or line breaks")
            .into());
    }
    if !is_line(&username, 200) || username.contains(':') {
        return Err(Refusal::invalid(
            "git_credential.username",
            "a user name is a single word without `:` of at most 200 characters",
        )
        .into());
    }
    let now = app.now();
    if expires_at.is_some_and(|end| end <= now) {
        return Err(Refusal::invalid("git_credential.expired", "this token has expired already").into());
    }
    let id: GitCredentialId = app.mint();
    let mut tx = app.db.begin_installation().await?;
    store::lock(&mut tx, identity.user).await?;
    store::delete(&mut tx, identity.user, host.as_str()).await?;
    if store::list(&mut tx, identity.user).await?.len() >= CREDENTIALS_MAX {
        return Err(Refusal::conflict(
            "git_credential.too_many",
            format!("you have credentials for {CREDENTIALS_MAX} hosts already"),
        )
        .hint("remove one that is not used")
        .into());
    }
    let sealed = vault::ops::seal(app, &mut tx, &context(id), &token).await?;
    let shown = GitCredential { id, host: host.to_string(), username, created_at: now, expires_at, last_used_at: None };
    let stored = Stored { shown, sealed };
    store::insert(&mut tx, identity.user, &stored).await?;
    let actor = format!("user:{}", identity.user);
    ledger::record(app, &mut tx, Entry::new(&actor, "git_credential.set", id, host.as_str())).await?;
    tx.commit().await?;
    Ok(stored.shown)
}

/// Removes one's token for a host.
pub async fn remove(app: &App, identity: &Identity, host: &str) -> Answer<()> {
    with_full_rights(identity)?;
    let host = host_of(host)?;
    let mut tx = app.db.begin_installation().await?;
    let Some(id) = store::delete(&mut tx, identity.user, host.as_str()).await? else {
        return Err(Refusal::not_found("git_credential.not_found", format!("you have no credential for {host}"))
            .hint("`envforge git-credential list` shows yours")
            .into());
    };
    let actor = format!("user:{}", identity.user);
    ledger::record(app, &mut tx, Entry::new(&actor, "git_credential.removed", id, host.as_str())).await?;
    tx.commit().await
}

/// A limited key must not decide with whose rights its person's workspaces reach their repositories.
pub(crate) fn with_full_rights(identity: &Identity) -> Answer<()> {
    if *identity.credential.scopes() == Scopes::Unlimited {
        return Ok(());
    }
    Err(Refusal::new(RefusalKind::Forbidden, "access.scope", "a limited API key can't change Git credentials")
        .hint("sign in, or use a key without scopes")
        .into())
}

fn host_of(text: &str) -> Answer<GitHost> {
    let read = text.parse::<GitHost>().map_err(|problem| Refusal::invalid("git_credential.host", problem))?;
    // As it stands in a repository's address, where the port of HTTPS is left out.
    let plain = read.as_str().strip_suffix(":443").map(str::parse).transpose();
    Ok(plain.ok().flatten().unwrap_or(read))
}

/// The place a token is sealed for.
fn context(id: GitCredentialId) -> String {
    format!("git/{id}")
}

/// Somebody attached to the shell: Git acts for them from now on.
pub async fn attached(tx: &mut Tx, workspace: WorkspaceId, user: UserId) -> Answer<()> {
    store::acts_for(tx, workspace, user).await
}

/// Whom commits are by: a person of this installation, at their primary verified address, else at one that reaches nobody
/// by mistake.
pub async fn person(app: &App, tx: &mut Tx, user: UserId, name: &str) -> Answer<Person> {
    let name: String = name.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).take(100).collect();
    if let Some(primary) = accounts::store::verified_addresses(tx, user).await?.first() {
        return Ok(Person { name, email: primary.to_string() });
    }
    let url = app.config.public_url.split("://").nth(1).unwrap_or_default();
    let domain = url.split(['/', ':']).next().unwrap_or_default();
    Ok(Person { name, email: format!("{user}@users.noreply.{domain}") })
}

/// What Git in a workspace needs to reach an address, on behalf of who acts there.
pub async fn issue(
    app: &App,
    host: HostId,
    scope: OrgScope,
    ask: &host::AskGitCredential,
) -> Answer<host::GitCredential> {
    let (asking, wanted) = asked(app, host, scope, ask).await?;
    let person = asking.role.filter(|role| allows(*role, Action::Attach)).map(|_| asking.person);
    let Some(person) = person else { return Err(nothing(&asking, &wanted).into()) };
    let (credential, kind, id) = match by_app(app, &asking, &wanted).await {
        Ok(Some(credential)) => (credential, "github_app", None),
        without => match (own(app, person, &wanted).await?, without) {
            (Some((credential, id)), _) => (credential, "own_token", Some(id)),
            // With nothing else to give, what keeps the app from it is what to mend.
            (None, Err(fault)) => return Err(fault),
            (None, Ok(_)) => return Err(nothing(&asking, &wanted).into()),
        },
    };
    let details = json!({
        "git_host": wanted.host.as_str(), "repository": wanted.path, "kind": kind, "credential": id, "host": host,
    });
    let actor = format!("user:{}", asking.person);
    let entry = Entry::new(&actor, "git.credential_issued", ask.workspace, "git asked").details(details);
    let mut tx = app.db.begin(scope).await?;
    ledger::ops::record_once_in(app, &mut tx, entry, NOTED_ONCE_IN).await?;
    tx.commit().await?;
    Ok(credential)
}

/// Git told that what it was given for an address does not open it.
pub async fn rejected(app: &App, host: HostId, scope: OrgScope, ask: &host::AskGitCredential) -> Answer<()> {
    let (asking, wanted) = asked(app, host, scope, ask).await?;
    if let Some((git_app, installation)) = installed(app, &asking, &wanted) {
        git_app.rejected(installation, &wanted.path, app.now());
    }
    Ok(())
}

/// The workspace that asks and what for, if this daemon may ask for it.
async fn asked(app: &App, host: HostId, scope: OrgScope, ask: &host::AskGitCredential) -> Answer<(Asking, Repository)> {
    let asking = asking(app, host, scope, ask.workspace, ask.host_generation).await?;
    let wanted = wanted(&asking, &ask.url).inspect_err(|fault| {
        if let Fault::Refused(refusal) = fault
            && refusal.code == OTHER_HOST
        {
            hosts::ops::refused(app, host, scope, "git.credential_refused", OTHER_HOST);
        }
    })?;
    Ok((asking, wanted))
}

/// The workspace that asks, if this daemon may ask for it.
pub(crate) async fn asking(
    app: &App,
    host: HostId,
    scope: OrgScope,
    workspace: WorkspaceId,
    host_generation: u64,
) -> Answer<Asking> {
    let mut tx = app.db.begin(scope).await?;
    let Some(asking) = store::asking(&mut tx, host, workspace).await? else {
        hosts::ops::refused(app, host, scope, "git.credential_refused", hosts::ops::NOT_ON_HOST);
        return Err(Refusal::not_found("workspace.not_found", "this host has no such workspace").into());
    };
    if asking.host_generation != host_generation {
        return Err(Refusal::conflict("host.stale", "another daemon of this host has come since").into());
    }
    Ok(asking)
}

/// The app, and where it is installed, if the address is that of the workspace's own repository.
fn installed<'a>(app: &'a App, asking: &Asking, wanted: &Repository) -> Option<(&'a dyn GitApp, u64)> {
    let git_app = app.git_app.as_deref().filter(|git_app| *git_app.host() == wanted.host)?;
    let (account, installation) = asking.installation.as_ref()?;
    let (owner, name) = wanted.path.split_once('/')?;
    let is_own = Repository::parse(&asking.repository).is_some_and(|own| own.path.eq_ignore_ascii_case(&wanted.path));
    (is_own && !name.contains('/') && owner.eq_ignore_ascii_case(account)).then_some((git_app, *installation))
}

/// A token of the app for the workspace's own repository, if the app is installed for it.
async fn by_app(app: &App, asking: &Asking, wanted: &Repository) -> Answer<Option<host::GitCredential>> {
    let Some((git_app, installation)) = installed(app, asking, wanted) else { return Ok(None) };
    let minted = git_app.token(installation, &wanted.path, app.now()).await?;
    Ok(Some(host::GitCredential {
        username: git_app.username().to_owned(),
        password: minted.token.expose().to_owned(),
        expires_at: Some(minted.expires_at),
    }))
}

/// The operator says where the app is installed for an org, having seen that the account is that org's.
pub async fn set_installation(app: &App, operator: &Operator, slug: &Slug, request: &SetGitInstallation) -> Answer<()> {
    let scope = org_named(app, slug).await?;
    let account = &request.account;
    let is_name =
        account.len() <= 100 && account.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if account.is_empty() || !is_name || request.installation == 0 || i64::try_from(request.installation).is_err() {
        return Err(Refusal::invalid(
            "git_installation.invalid",
            "an account's name and an installation's number are needed",
        )
        .hint("the number ends the address of the installation's settings")
        .into());
    }
    let mut tx = app.db.begin(scope).await?;
    store::set_installation(&mut tx, account, request.installation, app.now()).await?;
    let details = json!({ "account": account, "installation": request.installation.to_string() });
    let actor = operator.actor();
    let entry = Entry::new(&actor, "git_installation.set", scope.org(), "asked").details(details);
    ledger::record(app, &mut tx, entry).await?;
    tx.commit().await
}

/// The app is used for this org no more.
pub async fn remove_installation(app: &App, operator: &Operator, slug: &Slug) -> Answer<()> {
    let scope = org_named(app, slug).await?;
    let mut tx = app.db.begin(scope).await?;
    if store::remove_installation(&mut tx).await? {
        let actor = operator.actor();
        ledger::record(app, &mut tx, Entry::new(&actor, "git_installation.removed", scope.org(), "asked")).await?;
    }
    tx.commit().await
}

async fn org_named(app: &App, slug: &Slug) -> Answer<OrgScope> {
    let found = store::system_find_org(&app.db, slug).await?;
    let missing = || Refusal::not_found("git_installation.no_org", format!("there is no organization `{slug}`"));
    Ok(found.ok_or_else(missing)?)
}

/// The address asked for, if it is at the host of the workspace's own repository.
fn wanted(asking: &Asking, url: &str) -> Answer<Repository> {
    let refused = |code: &str, message: String| Fault::from(Refusal::new(RefusalKind::Forbidden, code, message));
    let Some(home) = Repository::parse(&asking.repository) else {
        return Err(refused("git.no_host", "the workspace's repository is not reached over HTTPS".to_owned()));
    };
    let asked = Some(url).filter(|url| url.len() <= URL_MAX).and_then(Repository::parse);
    let Some(wanted) = asked.filter(|wanted| home.shares_host(wanted)) else {
        return Err(refused(
            OTHER_HOST,
            format!("a credential is given for {} only, the host of the workspace's repository", home.origin()),
        ));
    };
    if !wanted.keeps_secrets() {
        return Err(Refusal::new(
            RefusalKind::Forbidden,
            "git.in_clear",
            format!("no credential is sent to {} in clear", wanted.host),
        )
        .hint("make the project with the repository's https address")
        .into());
    }
    Ok(wanted)
}

/// The person's own token, if it has not ended.
async fn own(app: &App, person: UserId, wanted: &Repository) -> Answer<Option<(host::GitCredential, GitCredentialId)>> {
    let mut tx = app.db.begin_installation().await?;
    let Some(stored) = store::find(&mut tx, person, wanted.host.as_str()).await? else { return Ok(None) };
    let (id, now) = (stored.shown.id, app.now());
    if let Some(end) = stored.shown.expires_at.filter(|end| *end <= now) {
        return Err(Refusal::conflict("git.expired", format!("the token for {} ended at {end}", wanted.host))
            .hint(how_to_set(wanted))
            .into());
    }
    let token = vault::ops::open(app, &mut tx, &context(id), &stored.sealed).await?;
    store::used(&mut tx, id, now).await?;
    tx.commit().await?;
    let credential = host::GitCredential {
        username: stored.shown.username,
        password: token.expose().to_owned(),
        expires_at: stored.shown.expires_at,
    };
    Ok(Some((credential, id)))
}

fn nothing(asking: &Asking, wanted: &Repository) -> Refusal {
    let message = format!("{} has no credential for {}", asking.name, wanted.host);
    Refusal::conflict("git.no_credential", message).hint(how_to_set(wanted))
}

fn how_to_set(wanted: &Repository) -> String {
    format!("`envforge git-credential set {}` takes a token that may read and write the repository", wanted.host)
}
