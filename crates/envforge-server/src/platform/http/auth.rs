//! Who is calling: an API key, and with a `{org}` in the path, a membership; or the installation's operator.
//!
//! [`Member`] is the only way from a request to an [`OrgScope`]. An org one is no member of answers exactly like one
//! that does not exist.

use super::answer;
use crate::accounts;
use crate::app::App;
use crate::ledger::{self, Refused};
use crate::platform::db::OrgScope;
use crate::platform::fault::{Answer, Fault};
use axum::extract::{FromRequestParts, OptionalFromRequestParts, RawPathParams};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
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
    role: Role,
    scopes: Scopes,
    app: App,
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
}

impl Member {
    /// Asks the permission table, and the credential's scopes; a no is recorded in the org's ledger.
    pub fn permit(&self, action: Action) -> Answer<Permit> {
        if allows(self.role, action) {
            if !self.scopes.allow(action) {
                self.denied(format!("a limited API key: {}", action.code()));
                let message = format!("this API key is limited and can't {}", action.as_str());
                let hint = format!("its scopes would have to name `{}`", action.code());
                return Err(Refusal::new(RefusalKind::Forbidden, "access.scope", message).hint(hint).into());
            }
            let (org, name, scopes) = (self.org.clone(), self.name.clone(), self.scopes.clone());
            return Ok(Permit { scope: self.scope, org, user: self.user, name, action, role: self.role, scopes });
        }
        self.denied(format!("as {}: {}", self.role, action.code()));
        Err(denied(self.role, &self.org, action))
    }

    fn denied(&self, cause: String) {
        let (org, actor) = (self.scope.org(), format!("user:{}", self.user));
        let refused = Refused { org: Some(org), actor, verb: "access.denied", subject: org.to_string(), cause };
        ledger::refused(&self.app, refused);
    }
}

fn denied(role: Role, org: &Slug, action: Action) -> Fault {
    let message = format!("as {role} of `{org}` you can't {}", action.as_str());
    Refusal::new(RefusalKind::Forbidden, "access.denied", message)
        .hint("ask an owner or admin of the organization")
        .into()
}

/// The answer for an org that does not exist, or that one is no member of.
pub fn no_org(wanted: &str) -> Fault {
    Refusal::not_found("org.not_found", format!("there is no organization `{wanted}` for you"))
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

impl FromRequestParts<App> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let Some(key) = bearer(parts) else {
            return Err(unauthenticated("no API key was sent"));
        };
        match accounts::ops::authenticate(app, key).await {
            Ok(Some(identity)) => Ok(Self(identity)),
            Ok(None) => Err(unauthenticated("this API key is not valid")),
            Err(fault) => Err(fault.into_response()),
        }
    }
}

/// Where one may be signed in or not; a credential that was sent must be valid.
impl OptionalFromRequestParts<App> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Self>, Response> {
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            return Ok(None);
        }
        <Self as FromRequestParts<App>>::from_request_parts(parts, app).await.map(Some)
    }
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
        let refused = Refused {
            org: None,
            actor: format!("user:{}", identity.user),
            verb: "access.denied",
            subject: "installation".to_owned(),
            cause: refusal.code.clone(),
        };
        ledger::refused(app, refused);
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
                let scopes = credential.scopes().clone();
                Self { user, name, scope, org, role, scopes, app: app.clone() }
            })
            .ok_or_else(|| no_org(wanted).into_response())
    }
}
