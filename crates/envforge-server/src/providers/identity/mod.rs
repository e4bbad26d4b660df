//! Who vouches for people: identity providers, several at once.
//!
//! What a provider says is worth something only after [`oidc`] verified it: issuer, audience, signature by a key of the
//! provider's own, nonce, expiry. Here is what signing in asks of one, and the one list of those that are configured.

mod cache;
mod oidc;

use crate::platform::fault::Answer;
use envforge_core::access::Role;
use envforge_core::email::EmailAddress;
use envforge_core::login::SignUp;
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use envforge_core::setting::Values;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

/// A provider, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderConfig {
    /// Its name in paths.
    pub name: Slug,
    /// What people read on its button.
    pub title: String,
    /// Its issuer, exactly as its discovery document and its tokens spell it.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// Our secret there; public clients have none.
    pub client_secret: Option<Secret>,
    /// How the secret is shown.
    pub client_auth: ClientAuth,
    /// Where the provider sends people back, when it is not the server's own URL.
    pub redirect_uri: Option<String>,
    /// Whether it is asked again and again if it still vouches for whoever signed in by it.
    pub refresh: bool,
    /// Who may make an account through it.
    pub sign_up: SignUp,
    /// Which orgs its organizations are.
    pub orgs: Option<OrgMapping>,
}

/// How a client's secret is shown to the token endpoint (OpenID Connect Core, 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// `client_secret_basic`.
    #[default]
    Basic,
    /// `client_secret_post`.
    Post,
}

/// Which orgs a provider's organizations are: members there become members here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgMapping {
    /// The claim that names the organization: `org_id` at Auth0.
    pub claim: String,
    /// Its value, and the org of that name here.
    pub orgs: BTreeMap<String, Slug>,
    /// The role of new members.
    pub role: Role,
}

impl ProviderConfig {
    /// From the setting `oidc.<name>`, or which of its fields does not fit.
    pub fn from_setting(name: Slug, values: &Values) -> Result<Self, Refusal> {
        let wrong =
            |field: &str, what: String| Refusal::invalid("setting.value", format!("the field `{field}` {what}"));
        let text = |field: &str| values.text(field).unwrap_or_default().to_owned();
        let sign_up = text("sign_up").parse().map_err(|error| wrong("sign_up", format!("does not fit: {error}")))?;
        let orgs = match (values.text("orgs"), values.text("org_role")) {
            (Some(orgs), Some(role)) => {
                let mapped = orgs.split(',').map(|pair| {
                    let (theirs, ours) = pair.split_once('=')?;
                    Some((theirs.trim().to_owned(), ours.trim().parse().ok()?))
                });
                let mapped: Option<BTreeMap<String, Slug>> = mapped.collect();
                Some(OrgMapping {
                    claim: values.text("org_claim").unwrap_or("org_id").to_owned(),
                    orgs: mapped.ok_or_else(|| wrong("orgs", "is written as `theirs=slug,theirs=slug`".to_owned()))?,
                    role: role.parse().map_err(|error| wrong("org_role", error))?,
                })
            }
            (None, None) => None,
            _ => return Err(wrong("org_role", "and `orgs` belong together: give both or neither".to_owned())),
        };
        Ok(Self {
            name,
            title: text("title"),
            issuer: text("issuer"),
            client_id: text("client_id"),
            client_secret: values.secret("client_secret").cloned(),
            client_auth: if values.text("client_auth") == Some("post") { ClientAuth::Post } else { ClientAuth::Basic },
            redirect_uri: None,
            refresh: values.text("refresh") == Some("yes"),
            sign_up,
            orgs,
        })
    }
}

/// What is remembered between leaving for a provider and coming back.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Binds the token to this attempt.
    pub nonce: Secret,
    /// PKCE's verifier (RFC 7636).
    pub verifier: Secret,
}

/// What a provider's browser brings back.
#[derive(Debug)]
pub struct Returned<'a> {
    /// The authorization code.
    pub code: &'a str,
    /// The issuer that answered (RFC 9207).
    pub issuer: Option<&'a str>,
}

/// Somebody a provider vouches for.
#[derive(Debug, Clone)]
pub struct Person {
    /// The provider's issuer.
    pub issuer: String,
    /// The person's name there, which never changes.
    pub subject: String,
    /// The provider's own session.
    pub session: Option<String>,
    /// Their address, when the provider says that it verified it.
    pub verified_address: Option<EmailAddress>,
    /// What they are called.
    pub name: Option<String>,
    /// The value of the claim that names their organization there.
    pub organization: Option<String>,
    /// What lets it be asked again, if that is wanted and it gave it.
    pub standing: Option<Standing>,
}

/// What lets a provider be asked again about somebody it signed in (OpenID Connect Core, 12).
#[derive(Debug, Clone)]
pub struct Standing {
    /// Good for one question; its answer may bring the next one.
    pub refresh_token: Secret,
    /// Of the sign-in: a later token that names one must name this.
    pub nonce: Secret,
}

/// Whom a provider has signed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedOut {
    /// The provider's issuer.
    pub issuer: String,
    /// Who.
    pub subject: String,
    /// Of which session; of all when absent.
    pub session: Option<String>,
}

/// Why a provider's word is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It does not answer, or not in its protocol.
    #[error("the identity provider does not answer as it should: {0}")]
    Unreachable(String),
    /// What came is not good; why, as a stable word.
    #[error("what the identity provider sent is not good: {0}")]
    Rejected(&'static str),
    /// It does not vouch for somebody any more.
    #[error("the identity provider does not vouch for them any more")]
    Withdrawn,
}

/// An identity provider.
pub trait IdentityProvider: Send + Sync {
    /// How it is configured.
    fn config(&self) -> &ProviderConfig;
    /// Where to send a browser. `state` comes back with it.
    fn leave<'a>(
        &'a self,
        now: Timestamp,
        state: &'a Secret,
        proof: &'a Proof,
    ) -> BoxFuture<'a, Result<String, IdentityError>>;
    /// Who came back.
    fn verify<'a>(
        &'a self,
        now: Timestamp,
        returned: Returned<'a>,
        proof: &'a Proof,
    ) -> BoxFuture<'a, Result<Person, IdentityError>>;
    /// Whether it still vouches for whom it signed in; what to ask with the next time.
    fn renew<'a>(
        &'a self,
        now: Timestamp,
        subject: &'a str,
        standing: &'a Standing,
    ) -> BoxFuture<'a, Result<Standing, IdentityError>>;
    /// Whom a token of a back-channel logout names.
    fn signed_out<'a>(&'a self, now: Timestamp, token: &'a str) -> BoxFuture<'a, Result<SignedOut, IdentityError>>;
    /// Whether its discovery document and its keys can be fetched now, whatever was fetched before.
    fn check(&self) -> BoxFuture<'_, Result<(), IdentityError>>;
    /// Where to sign out of the provider too, if it offers that, coming back to `then`.
    fn end_session<'a>(&'a self, now: Timestamp, then: &'a str) -> BoxFuture<'a, Option<String>>;
}

/// The providers in use: the one place that knows them.
pub struct Providers {
    public_url: String,
    list: RwLock<Vec<Arc<dyn IdentityProvider>>>,
}

impl Providers {
    /// Those configured.
    pub fn new(public_url: &str, configs: &[ProviderConfig]) -> anyhow::Result<Self> {
        let providers = Self { public_url: public_url.to_owned(), list: RwLock::default() };
        providers.replace(configs)?;
        Ok(providers)
    }

    /// Puts others in their place. One that is configured as before stays, with what it knows.
    pub fn replace(&self, configs: &[ProviderConfig]) -> anyhow::Result<()> {
        let before = self.all();
        let mut list: Vec<Arc<dyn IdentityProvider>> = Vec::with_capacity(configs.len());
        for config in configs {
            anyhow::ensure!(
                list.iter().all(|other| other.config().name != config.name),
                "two identity providers are called `{}`",
                config.name
            );
            list.push(match before.iter().find(|provider| provider.config() == config) {
                Some(unchanged) => Arc::clone(unchanged),
                None => Arc::new(oidc::Oidc::new(config.clone(), &self.public_url)?),
            });
        }
        *self.list.write().expect("no panic while the providers are held") = list;
        Ok(())
    }

    /// All of them, in the order configured.
    pub fn all(&self) -> Vec<Arc<dyn IdentityProvider>> {
        self.list.read().expect("no panic while the providers are held").clone()
    }

    /// The one of this name.
    pub fn named(&self, name: &str) -> Option<Arc<dyn IdentityProvider>> {
        self.all().into_iter().find(|provider| provider.config().name.as_str() == name)
    }
}

/// A provider that can't be reached, as operations answer it.
pub(crate) fn unreachable(error: &IdentityError) -> Answer<std::convert::Infallible> {
    tracing::warn!(%error, "an identity provider can't be used");
    Err(envforge_core::refusal::Refusal::unavailable(
        "sign_in.provider_unreachable",
        "the identity provider does not answer as it should",
    )
    .hint("try again in a minute; if it stays, the server's log says more")
    .into())
}
