//! Who is calling: an API key or a session's cookie, and with a `{org}` in the path, a membership; or the installation's
//! operator.
//!
//! A browser sends the cookie by itself, whoever made it ask. So with a cookie, a change must bring the header that a page
//! from elsewhere can't send, and both a change and a WebSocket must come from a page of our own. Reading has no effect.
//!
//! [`Member`] is the only way from a request to an [`OrgScope`]. An org one is no member of answers exactly like one
//! that does not exist.

use super::answer;
use super::noted::Known;
use crate::accounts::{self, CredentialId};
use crate::app::App;
use crate::platform::db::OrgScope;
use crate::platform::fault::{Answer, Fault};
use crate::sessions;
use axum::extract::{FromRequestParts, OptionalFromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse as _, Response};
use envforge_api::http::sign_in::CSRF_HEADER;
use envforge_core::access::{Action, Role, Scopes, allows};
use envforge_core::id::UserId;
use envforge_core::name::Slug;
use envforge_core::refusal::{Refusal, RefusalKind};

/// Somebody signed in.
#[derive(Debug, Clone)]
pub struct Caller(pub accounts::Identity);

/// Somebody signed in, as a member of the org in the path.
#[derive(Debug, Clone)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// What people call them.
    pub name: String,
    /// The right to the org's rows.
    pub scope: OrgScope,
    /// The org's slug.
    pub org: Slug,
    credential: CredentialId,
    role: Role,
    scopes: Scopes,
    known: Known,
}

/// Proof that a member may do an action; operations take it instead of trusting their caller.
#[derive(Debug, Clone)]
pub struct Permit {
    /// The right to the org's rows.
    pub scope: OrgScope,
    /// The org's slug.
    pub org: Slug,
    /// Who.
    pub user: UserId,
    /// What people call them.
    pub name: String,
    action: Action,
    credential: CredentialId,
    role: Role,
    scopes: Scopes,
}

/// Proof that somebody operates the installation.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Who.
    pub user: UserId,
}

impl Operator {
    /// As the ledger names the actor.
    pub fn actor(&self) -> String {
        format!("user:{}", self.user)
    }
}

impl Permit {
    /// Whether the same member may do another action too.
    pub fn also(&self, action: Action) -> bool {
        allows(self.role, action) && self.scopes.allow(action)
    }

    /// Whether it would still be given to the same member, whose role is this now.
    pub fn holds(&self, role: Role) -> bool {
        allows(role, self.action)
    }

    /// The member's role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The refusal for a role that it would not be given to.
    pub fn denied(&self, role: Role) -> Fault {
        denied(role, &self.org, self.action)
    }

    /// What the credential is limited to.
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// As the ledger names the actor.
    pub fn actor(&self) -> String {
        format!("user:{}", self.user)
    }

    /// The key or session that was shown.
    pub fn credential(&self) -> CredentialId {
        self.credential
    }

    /// Resolves once the key or session that was shown has ended.
    pub fn ended(&self, app: &App) -> impl Future<Output = ()> + Send + use<> {
        sessions::ops::ended(app.clone(), self.credential)
    }
}

impl Member {
    /// Asks the permission table, and the credential's scopes; a no is noted in the org's ledger.
    pub fn permit(&self, action: Action) -> Answer<Permit> {
        if allows(self.role, action) {
            if !self.scopes.allow(action) {
                self.known.cause(format!("a limited API key: {}", action.code()));
                let message = format!("this API key is limited and can't {}", action.as_str());
                let hint = format!("its scopes would have to name `{}`", action.code());
                return Err(Refusal::new(RefusalKind::Forbidden, "access.scope", message).hint(hint).into());
            }
            let (org, name, scopes) = (self.org.clone(), self.name.clone(), self.scopes.clone());
            let Self { scope, user, credential, role, .. } = *self;
            return Ok(Permit { scope, org, user, name, action, credential, role, scopes });
        }
        self.known.cause(format!("as {}: {}", self.role, action.code()));
        Err(denied(self.role, &self.org, action))
    }
}

fn denied(role: Role, org: &Slug, action: Action) -> Fault {
    let message = format!("as {role} of `{org}` you can't {}", action.as_str());
    Refusal::new(RefusalKind::Forbidden, "access.denied", message)
        .hint("ask an owner or admin of the organization")
        .into()
}

/// The code of [`no_org`].
pub const NO_ORG: &str = "org.not_found";

/// The answer for an org that does not exist, or that one is no member of.
pub fn no_org(wanted: &str) -> Fault {
    Refusal::not_found(NO_ORG, format!("there is no organization `{wanted}` for you"))
        .hint("`envforge org list` lists yours; the name is the slug, not the display name")
        .into()
}

fn unauthenticated(message: &str) -> Response {
    answer(
        Refusal::new(RefusalKind::Unauthenticated, "access.unauthenticated", message)
            .hint("sign in with `envforge login`, or send `Authorization: Bearer <API key>`"),
    )
}

/// The bearer key of a request.
pub fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn known(parts: &Parts) -> Known {
    parts.extensions.get().cloned().unwrap_or_default()
}

impl FromRequestParts<App> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let (found, otherwise) = if let Some(key) = bearer(parts) {
            (accounts::ops::authenticate(app, key).await, "this API key is not valid")
        } else if let Some(token) = session_token(&parts.headers, app) {
            (sessions::ops::authenticate(app, token).await, "this session has ended")
        } else {
            return Err(unauthenticated("nobody is signed in"));
        };
        match found {
            Ok(Some(identity)) => {
                known(parts).user(identity.user);
                // Whose browser a foreign page uses is known, and noted.
                if bearer(parts).is_none() {
                    check_page(parts, app).map_err(answer)?;
                }
                Ok(Self(identity))
            }
            Ok(None) => Err(unauthenticated(otherwise)),
            Err(fault) => Err(fault.into_response()),
        }
    }
}

/// Where one may be signed in or not; a credential that was sent must be valid.
impl OptionalFromRequestParts<App> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Self>, Response> {
        if !parts.headers.contains_key(header::AUTHORIZATION) && session_token(&parts.headers, app).is_none() {
            return Ok(None);
        }
        <Self as FromRequestParts<App>>::from_request_parts(parts, app).await.map(Some)
    }
}

/// A cookie of a request.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| {
        let (found, value) = pair.trim().split_once('=')?;
        (found == name).then_some(value)
    })
}

/// The session's token that a browser sent.
pub fn session_token<'a>(headers: &'a HeaderMap, app: &App) -> Option<&'a str> {
    cookie(headers, sessions::cookie_name(&app.config.public_url))
}

/// Whether a browser says that a page of our own sent this. One that says nothing is too old to be trusted with a cookie.
pub fn is_own_page(headers: &HeaderMap, app: &App) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text(header::HeaderName::from_static("sec-fetch-site")) {
        Some(site) => site == "same-origin",
        None => text(header::ORIGIN)
            .is_some_and(|origin| origin == app.config.public_url || origin.split("://").nth(1) == text(header::HOST)),
    }
}

/// With a cookie, changes and WebSockets come from pages of our own.
fn check_page(parts: &Parts, app: &App) -> Result<(), Refusal> {
    let is_reading = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let is_upgrade = parts.headers.contains_key(header::UPGRADE);
    if is_reading && !is_upgrade {
        return Ok(());
    }
    if !is_own_page(&parts.headers, app) || !(is_reading || parts.headers.contains_key(CSRF_HEADER)) {
        let message = "a change with a session's cookie must come from a page of this server";
        return Err(Refusal::new(RefusalKind::Forbidden, "access.csrf", message)
            .hint(format!("send the header `{CSRF_HEADER}: 1` from there, or use an API key")));
    }
    Ok(())
}

impl FromRequestParts<App> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let Caller(identity) = <Caller as FromRequestParts<App>>::from_request_parts(parts, app).await?;
        let refusal = if !identity.is_operator {
            Refusal::new(RefusalKind::Forbidden, "access.operator_only", "this is for the installation's operator")
                .hint("the owner whom the first start made is one")
        } else if *identity.credential.scopes() != Scopes::Unlimited {
            Refusal::new(RefusalKind::Forbidden, "access.scope", "a limited API key can't operate the installation")
        } else {
            return Ok(Self { user: identity.user });
        };
        Err(answer(refusal))
    }
}

impl FromRequestParts<App> for Member {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let Caller(identity) = <Caller as FromRequestParts<App>>::from_request_parts(parts, app).await?;
        let params =
            RawPathParams::from_request_parts(parts, app).await.map_err(axum::response::IntoResponse::into_response)?;
        let wanted = params.iter().find(|(name, _)| *name == "org").map_or("", |(_, value)| value);
        let accounts::Identity { user, name, orgs, credential, .. } = identity;
        orgs.into_iter()
            .find(|(_, slug, _)| slug.as_str() == wanted)
            .map(|(scope, org, role)| {
                let (scopes, known) = (credential.scopes().clone(), known(parts));
                known.org(scope.org());
                Self { user, name, scope, org, credential: credential.id(), role, scopes, known }
            })
            .ok_or_else(|| no_org(wanted).into_response())
    }
}
