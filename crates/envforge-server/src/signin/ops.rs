//! Leaving for a provider and coming back, links in mails, and signing out.

use super::jobs::SendLink;
use super::store::{self, Attempt, MagicLink};
use crate::accounts::{self, Credential, Identity};
use crate::app::App;
use crate::invitations;
use crate::ledger::{self, Entry};
use crate::platform::db::Tx;
use crate::platform::fault::{Answer, Fault};
use crate::platform::jobs::{self, Options};
use crate::providers::identity::{IdentityError, IdentityProvider, Person, Proof, Returned, unreachable};
use crate::providers::mail::{Mail, Mailer as _};
use crate::sessions::{self, Method};
use crate::vault;
use envforge_api::ambient::opaque_token;
use envforge_api::http::sign_in::{SignInProvider, SignInProviders};
use envforge_core::access::Scopes;
use envforge_core::email::EmailAddress;
use envforge_core::id::{MagicLinkId, UserId};
use envforge_core::login::{ATTEMPT, MAGIC_LINK, SignUp, later, return_path};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::Secret;
use envforge_core::token::digest;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most sign-ins of one source under way: people behind one address share it.
const ATTEMPTS_MAX: i64 = 30;
/// Most links one source may ask for within their life.
const LINKS_MAX: i64 = 20;
/// Most links to one address within their life.
const LINKS_TO_ONE_MAX: i64 = 3;
/// Longest value taken from a query, in bytes.
const VALUE_MAX: usize = 2_000;

/// What waits, sealed, for somebody to come back.
#[derive(Serialize, Deserialize)]
struct Waiting {
    nonce: String,
    verifier: String,
    return_to: String,
    /// Who adds this identity to their account.
    #[serde(default)]
    adds_to: Option<UserId>,
}

/// Where a browser goes, and what it brings back.
#[derive(Debug)]
pub struct Leaving {
    /// The provider's page.
    pub url: String,
    /// The cookie that binds the attempt to the browser.
    pub browser: Secret,
}

/// What a provider's redirect brings.
#[derive(Debug, Default, Deserialize)]
pub struct Callback {
    /// Names the attempt.
    pub state: Option<String>,
    /// The authorization code.
    pub code: Option<String>,
    /// The issuer (RFC 9207).
    pub iss: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
}

/// Somebody is signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// The session's token.
    pub token: Secret,
    /// Where to go.
    pub return_to: String,
}

fn refused(message: &str) -> Fault {
    Refusal::new(RefusalKind::Forbidden, "sign_in.refused", message).hint("sign in again").into()
}

fn provider(app: &App, name: &str) -> Answer<Arc<dyn IdentityProvider>> {
    let found = app.identity.named(name);
    Ok(found.ok_or_else(|| Refusal::not_found("sign_in.no_provider", "there is no such identity provider"))?)
}

/// How one may sign in here.
pub fn providers(app: &App) -> SignInProviders {
    let providers = app.identity.all();
    let providers = providers.iter().map(|provider| {
        let config = provider.config();
        let start = format!("/sign-in/{}/start", config.name);
        SignInProvider { name: config.name.to_string(), title: config.title.clone(), start }
    });
    SignInProviders { providers: providers.collect(), mail: app.mailer.is_configured() }
}

/// Leaves for a provider. `adds_to` adds the identity to an account instead of signing in.
pub async fn leave(
    app: &App,
    name: &str,
    return_to: Option<&str>,
    adds_to: Option<UserId>,
    source: &str,
) -> Answer<Leaving> {
    let provider = provider(app, name)?;
    let fresh = || Secret::new(opaque_token("", &*app.entropy));
    let (state, browser, proof) = (fresh(), fresh(), Proof { nonce: fresh(), verifier: fresh() });
    let waiting = Waiting {
        nonce: proof.nonce.expose().to_owned(),
        verifier: proof.verifier.expose().to_owned(),
        return_to: return_path(return_to).to_owned(),
        adds_to,
    };
    let waiting = Secret::new(serde_json::to_string(&waiting)?);
    let now = app.now();
    let state_digest = digest(state.expose());
    let mut tx = app.db.begin_installation().await?;
    if store::attempts_of(&mut tx, source).await? >= ATTEMPTS_MAX {
        return Err(too_many().into());
    }
    let sealed = vault::ops::seal(app, &mut tx, &format!("sign-in/{state_digest}"), &waiting).await?;
    let attempt = Attempt {
        browser_digest: digest(browser.expose()),
        provider: provider.config().name.to_string(),
        sealed,
        expires_at: later(now, ATTEMPT),
        state_digest,
    };
    store::insert_attempt(&mut tx, &attempt, source).await?;
    tx.commit().await?;
    match provider.leave(now, &state, &proof).await {
        Ok(url) => Ok(Leaving { url, browser }),
        Err(error) => unreachable(&error).map(|never| match never {}),
    }
}

fn too_many() -> Refusal {
    Refusal::new(RefusalKind::Limit, "sign_in.too_many", "too many sign-ins from your network are under way")
        .hint("wait some minutes")
        .retry_after(600)
}

/// Somebody comes back from a provider. Whatever happens, the attempt is used up.
pub async fn come_back(
    app: &App,
    name: &str,
    callback: &Callback,
    browser: Option<&str>,
    user_agent: &str,
) -> Answer<SignedIn> {
    let provider = provider(app, name)?;
    let refuse = |cause| {
        app.refusals.count(name, cause);
        refused(match cause {
            "state" => "this sign-in is not under way any more: it took too long, or was finished before",
            "other_browser" => "this sign-in was begun in another browser",
            "declined" => "the identity provider did not sign you in",
            _ => "what the identity provider sent does not hold",
        })
    };
    let values = [&callback.state, &callback.code, &callback.iss, &callback.error];
    if values.into_iter().flatten().any(|value| value.len() > VALUE_MAX) {
        return Err(refuse("state"));
    }
    let (waiting, proof) = match take(app, name, callback.state.as_deref(), browser).await? {
        Ok(taken) => taken,
        Err(cause) => return Err(refuse(cause)),
    };
    let Some(code) = callback.code.as_deref().filter(|_| callback.error.is_none()) else {
        return Err(refuse("declined"));
    };
    let returned = Returned { code, issuer: callback.iss.as_deref() };
    let person = match provider.verify(app.now(), returned, &proof).await {
        Ok(person) => person,
        Err(IdentityError::Rejected(cause)) => {
            tracing::warn!(provider = name, cause, "a sign-in was refused: what the provider sent does not hold");
            return Err(refuse(cause));
        }
        Err(error) => return unreachable(&error).map(|never| match never {}),
    };
    let mut tx = app.db.begin_installation().await?;
    let (user, is_new) = match who(app, &mut tx, &person, &provider.config().sign_up, waiting.adds_to).await? {
        Ok(who) => who,
        Err(refusal) => {
            app.refusals.count(name, "not_admitted");
            return Err(refusal.into());
        }
    };
    let method = Method::Provider {
        name,
        issuer: &person.issuer,
        subject: &person.subject,
        session: person.session.as_deref(),
        standing: person.standing.as_ref(),
    };
    let token = sessions::ops::open(app, &mut tx, user, method, user_agent, None).await?;
    if let Some(address) = person.verified_address.as_ref().filter(|_| is_new) {
        invitations::ops::welcome(app, &mut tx, user, address).await?;
    }
    join(app, &mut tx, provider.as_ref(), &person, user).await?;
    tx.commit().await?;
    Ok(SignedIn { token, return_to: waiting.return_to })
}

/// Uses an attempt up; the cause when it is not this browser's to use.
async fn take(
    app: &App,
    name: &str,
    state: Option<&str>,
    browser: Option<&str>,
) -> Answer<Result<(Waiting, Proof), &'static str>> {
    let Some(state) = state else { return Ok(Err("state")) };
    let mut tx = app.db.begin_installation().await?;
    let Some(attempt) = store::take_attempt(&mut tx, &digest(state)).await? else { return Ok(Err("state")) };
    if attempt.expires_at <= app.now() || attempt.provider != name {
        tx.commit().await?;
        return Ok(Err("state"));
    }
    if browser.map(digest).as_deref() != Some(&attempt.browser_digest) {
        tx.commit().await?;
        return Ok(Err("other_browser"));
    }
    let place = format!("sign-in/{}", attempt.state_digest);
    let waiting: Waiting =
        serde_json::from_str(vault::ops::open(app, &mut tx, &place, &attempt.sealed).await?.expose())?;
    tx.commit().await?;
    let proof = Proof { nonce: waiting.nonce.clone().into(), verifier: waiting.verifier.clone().into() };
    Ok(Ok((waiting, proof)))
}

/// Who somebody is here, and whether they are new: known by issuer and subject, else by a verified address, else new if
/// that is allowed.
async fn who(
    app: &App,
    tx: &mut Tx,
    person: &Person,
    sign_up: &SignUp,
    adds_to: Option<UserId>,
) -> Answer<Result<(UserId, bool), Refusal>> {
    let now = app.now();
    let known = store::lock_user_of_identity(tx, &person.issuer, &person.subject, now).await?;
    let address = person.verified_address.as_ref();
    let of_address = match address {
        Some(address) => store::lock_user_of_address(tx, address).await?,
        None => None,
    };
    let is_new = known.or(adds_to).or(of_address).is_none();
    let user = match (known, adds_to) {
        (Some(known), Some(wanted)) if known != wanted => {
            let message = "this identity belongs to another account";
            return Ok(Err(Refusal::conflict("sign_in.identity_taken", message).hint("sign in with it instead")));
        }
        (Some(known), _) => known,
        (None, adds_to) => match adds_to.or(of_address) {
            Some(user) => user,
            None if is_admitted(app, tx, sign_up, address).await? => {
                make_user(app, tx, person.name.as_deref(), address, "identity provider").await?
            }
            None => return Ok(Err(not_admitted())),
        },
    };
    let actor = format!("user:{user}");
    if known.is_none() {
        store::insert_identity(tx, user, &person.issuer, &person.subject, now).await?;
        let cause = if adds_to.is_some() { "added" } else { "first sign-in" };
        ledger::record(app, tx, Entry::new(&actor, "identity.linked", user, cause)).await?;
    }
    if let Some(address) = address.filter(|_| of_address.is_none()) {
        add_address(app, tx, user, address).await?;
    }
    Ok(Ok((user, is_new)))
}

/// Whether somebody with this verified address may make an account.
async fn is_admitted(app: &App, tx: &mut Tx, sign_up: &SignUp, address: Option<&EmailAddress>) -> Answer<bool> {
    let is_invited = match address {
        Some(address) => !invitations::ops::open_for(app, tx, address).await?.is_empty(),
        None => false,
    };
    Ok(sign_up.admits(address, is_invited))
}

fn not_admitted() -> Refusal {
    Refusal::new(RefusalKind::Forbidden, "sign_in.not_admitted", "there is no account for you here")
        .hint("ask whoever runs this installation for one")
}

/// A new account.
async fn make_user(
    app: &App,
    tx: &mut Tx,
    name: Option<&str>,
    address: Option<&EmailAddress>,
    cause: &str,
) -> Answer<UserId> {
    let user: UserId = app.mint();
    let said: String = name.unwrap_or_default().chars().filter(|c| !c.is_control()).take(100).collect();
    let local = address.and_then(|address| address.as_str().split('@').next());
    let name = Some(said.trim()).filter(|name| !name.is_empty()).or(local).unwrap_or("new user");
    accounts::store::insert_user(tx, user, name, false, app.now()).await?;
    ledger::record(app, tx, Entry::new(&format!("user:{user}"), "user.created", user, cause)).await?;
    Ok(user)
}

async fn add_address(app: &App, tx: &mut Tx, user: UserId, address: &EmailAddress) -> Answer<()> {
    if store::insert_address(tx, user, address, app.now()).await? {
        // Never the address itself: the ledger can't forget.
        ledger::record(app, tx, Entry::new(&format!("user:{user}"), "address.verified", user, "signed in")).await?;
    }
    Ok(())
}

/// Membership by the provider's organization. The transaction is the org's afterwards.
async fn join(app: &App, tx: &mut Tx, provider: &dyn IdentityProvider, person: &Person, user: UserId) -> Answer<()> {
    let Some((mapping, theirs)) = provider.config().orgs.as_ref().zip(person.organization.as_ref()) else {
        return Ok(());
    };
    let Some(slug) = mapping.orgs.get(theirs) else { return Ok(()) };
    let Some(org) = store::system_org(tx, slug).await? else {
        tracing::warn!(provider = %provider.config().name, %slug, "a provider's organization is mapped to an org that is not there");
        return Ok(());
    };
    tx.enter(org).await?;
    if store::join(tx, user, mapping.role).await? {
        let actor = format!("provider:{}", provider.config().name);
        ledger::record(app, tx, Entry::new(&actor, "member.joined", user, "identity provider")).await?;
    }
    Ok(())
}

/// Has a link sent by mail, if the address may sign in. Nobody can tell from the answer, nor from how long it takes:
/// whose address it is, is looked up by the job.
pub async fn ask_for_link(app: &App, address: &EmailAddress, return_to: Option<&str>, source: &str) -> Answer<()> {
    if !app.mailer.is_configured() {
        return Err(Refusal::conflict("mail.not_configured", "this installation sends no mail")
            .hint("sign in by an identity provider, or with an API key")
            .into());
    }
    let mut tx = app.db.begin_installation().await?;
    if store::links_of(&mut tx, source).await? >= LINKS_MAX {
        return Err(too_many().into());
    }
    let is_one_too_many = store::links_to(&mut tx, address).await? >= LINKS_TO_ONE_MAX;
    let token = Secret::new(opaque_token("", &*app.entropy));
    let link = MagicLink {
        id: app.mint(),
        digest: digest(token.expose()),
        address: address.clone(),
        return_to: return_path(return_to).to_owned(),
        expires_at: later(app.now(), MAGIC_LINK),
    };
    let sealed = vault::ops::seal(app, &mut tx, &place(link.id), &token).await?;
    store::insert_link(&mut tx, &link, Some(&sealed).filter(|_| !is_one_too_many).map(Vec::as_slice), source).await?;
    jobs::enqueue(app, &mut tx, &SendLink { link: link.id }, Options::default()).await?;
    tx.commit().await?;
    if is_one_too_many {
        app.refusals.count("mail", "too_many");
    }
    Ok(())
}

/// What a link's token is sealed for.
fn place(id: MagicLinkId) -> String {
    format!("magic-link/{id}")
}

/// Mails a link if its address may sign in, unless that was done or it works no more.
pub(super) async fn send_link(app: &App, id: MagicLinkId) -> Answer<()> {
    let mut tx = app.db.begin_installation().await?;
    let Some(link) = store::unsent(&mut tx, id, app.now()).await? else { return Ok(()) };
    let may = store::user_of_address(&mut tx, &link.address).await?.is_some()
        || is_admitted(app, &mut tx, &app.config.sign_up, Some(&link.address)).await?;
    if !may {
        store::forget_token(&mut tx, id).await?;
        tx.commit().await?;
        app.refusals.count("mail", "not_admitted");
        return Ok(());
    }
    let token = vault::ops::open(app, &mut tx, &place(id), &link.sealed_token).await?;
    // A mail server takes its time, and nobody waits for a connection meanwhile.
    tx.commit().await?;
    let minutes = (link.expires_at.duration_since(app.now()).as_secs() / 60).max(1);
    app.mailer.send(link_mail(app, link.address, &token, minutes)).await?;
    let mut tx = app.db.begin_installation().await?;
    store::forget_token(&mut tx, id).await?;
    tx.commit().await
}

fn link_mail(app: &App, to: EmailAddress, token: &Secret, minutes: i64) -> Mail {
    let url = format!("{}/sign-in/mail?token={}", app.config.public_url, token.expose());
    let text = format!(
        "Somebody, probably you, wants to sign in to EnvForge with this address.\n\n{url}\n\n\
         The link works once, for {minutes} minutes. If it was not you, do nothing.\n"
    );
    let html = maud::html! {
        p { "Somebody, probably you, wants to sign in to EnvForge with this address." }
        p { a href=(url) { "Sign in" } }
        p { "The link works once, for " (minutes) " minutes. If it was not you, do nothing." }
    };
    let subject = "Sign in to EnvForge".to_owned();
    Mail { to, subject, text, html: Some(html.into_string()) }
}

/// Signs in with the link of a mail.
pub async fn open_link(app: &App, token: &str, user_agent: &str) -> Answer<SignedIn> {
    let mut tx = app.db.begin_installation().await?;
    let link = store::take_link(&mut tx, &digest(token)).await?.filter(|link| app.now() < link.expires_at);
    let Some(link) = link else {
        tx.commit().await?;
        app.refusals.count("mail", "token");
        return Err(refused("this link does not work any more: it was used, or is too old"));
    };
    let known = store::lock_user_of_address(&mut tx, &link.address).await?;
    let user = match known {
        Some(user) => user,
        None if is_admitted(app, &mut tx, &app.config.sign_up, Some(&link.address)).await? => {
            let user = make_user(app, &mut tx, None, Some(&link.address), "mail").await?;
            add_address(app, &mut tx, user, &link.address).await?;
            user
        }
        None => {
            app.refusals.count("mail", "not_admitted");
            return Err(not_admitted().into());
        }
    };
    let token = sessions::ops::open(app, &mut tx, user, Method::Mail, user_agent, None).await?;
    if known.is_none() {
        invitations::ops::welcome(app, &mut tx, user, &link.address).await?;
    }
    tx.commit().await?;
    Ok(SignedIn { token, return_to: link.return_to })
}

/// Signs a browser in with an API key: the one box's owner has nothing else.
pub async fn with_key(app: &App, key: &str, return_to: Option<&str>, user_agent: &str) -> Answer<SignedIn> {
    let found: Option<Identity> = accounts::ops::authenticate(app, key.trim()).await?;
    let Some(Identity { credential: Credential::Key { id, scopes, expires_at }, user, .. }) = found else {
        app.refusals.count("key", "unknown");
        return Err(refused("this API key is not valid"));
    };
    if scopes != Scopes::Unlimited {
        return Err(
            Refusal::new(RefusalKind::Forbidden, "access.scope", "a limited API key can't open a session").into()
        );
    }
    let mut tx = app.db.begin_installation().await?;
    let token = sessions::ops::open(app, &mut tx, user, Method::Key(id), user_agent, expires_at).await?;
    tx.commit().await?;
    Ok(SignedIn { token, return_to: return_path(return_to).to_owned() })
}

/// Signs out. Where to sign out of the provider too, if it was one and offers that.
pub async fn sign_out(app: &App, token: &str) -> Answer<Option<String>> {
    let Some(name) = sessions::ops::sign_out(app, token).await? else { return Ok(None) };
    Ok(match app.identity.named(&name) {
        Some(provider) => provider.end_session(app.now(), &format!("{}/sign-in", app.config.public_url)).await,
        None => None,
    })
}

/// Origins of pages where providers sign people out.
pub async fn sign_out_origins(app: &App) -> Vec<String> {
    let mut origins = Vec::new();
    for provider in app.identity.all() {
        let url = provider.end_session(app.now(), &app.config.public_url).await;
        origins.extend(url.and_then(|url| {
            let (scheme, rest) = url.split_once("://")?;
            Some(format!("{scheme}://{}", rest.split(['/', '?']).next()?))
        }));
    }
    origins
}

/// A provider says that somebody signed out there (OpenID Connect Back-Channel Logout).
pub async fn signed_out_elsewhere(app: &App, name: &str, token: &str) -> Answer<()> {
    let provider = provider(app, name)?;
    let verified = if token.len() > 16 * 1024 {
        Err(IdentityError::Rejected("token"))
    } else {
        provider.signed_out(app.now(), token).await
    };
    match verified {
        Ok(who) => sessions::ops::end_by_provider(app, name, &who).await,
        Err(IdentityError::Rejected(cause)) => {
            app.refusals.count(name, cause);
            Err(Refusal::invalid("sign_in.logout_token", "this logout token does not hold").into())
        }
        Err(error) => unreachable(&error).map(|never| match never {}),
    }
}
