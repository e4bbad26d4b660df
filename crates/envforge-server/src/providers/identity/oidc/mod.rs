//! OpenID Connect: authorization code with PKCE (S256, always), discovery, keys.
//!
//! The library does the protocol; what it leaves open is decided here. Allowed algorithms are those the provider announces
//! and [`ALGORITHMS`] names, so neither `none` nor a MAC under our own secret passes. Clocks may differ by [`SKEW`]. The
//! `iss` of the answer is checked whenever it is there, and must be there when the provider announces it (RFC 9207). A
//! refresh token is asked for only where the provider is to be asked again; it reads nothing but whether somebody may stay.

#[cfg(test)]
mod tests;

use super::cache::Cache;
use super::{
    ClientAuth, IdentityError, IdentityProvider, Person, Proof, ProviderConfig, Returned, SignedOut, Standing,
};
use anyhow::Context as _;
use chrono::{DateTime, Utc};
use envforge_core::secret::Secret;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreClaimName, CoreClaimType, CoreClientAuthMethod,
    CoreErrorResponseType, CoreGenderClaim, CoreGrantType, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType, CoreRevocableToken,
    CoreRevocationErrorResponse, CoreSubjectIdentifierType, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AdditionalProviderMetadata, AsyncHttpClient, AuthType, AuthorizationCode,
    ClaimsVerificationError, Client, ClientId, ClientSecret, CsrfToken, EmptyAdditionalClaims, EmptyExtraTokenFields,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IdToken, IdTokenClaims, IdTokenFields,
    IdTokenVerifier, IssuerUrl, JsonWebKeySet, JsonWebTokenType, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge,
    PkceCodeVerifier, ProviderMetadata, RedirectUrl, RefreshToken, RequestTokenError, Scope,
    SignatureVerificationError, StandardErrorResponse, StandardTokenResponse, TokenResponse as _, UserInfoClaims,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

/// Signatures that are accepted, when the provider announces them too.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 4] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::EdDsa,
];
/// How far the provider's clock and ours may be apart, in seconds.
const SKEW: i64 = 60;
/// How long the provider may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer read, in bytes.
const ANSWER_MAX: usize = 1 << 20;
/// Longest token that is looked at, in bytes.
const TOKEN_MAX: usize = 32 << 10;
/// Longest subject, session or claim kept, in bytes.
const CLAIM_MAX: usize = 255;
/// The event of a logout token (OpenID Connect Back-Channel Logout, 2.4).
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// The scope of a refresh token (OpenID Connect Core, 11).
const OFFLINE: &str = "offline_access";

/// Which nonce a token must name.
#[derive(Clone, Copy)]
enum Expected<'a> {
    This(&'a Secret),
    ThisOrNone(&'a Secret),
    None,
}

impl Expected<'_> {
    fn check(self, found: Option<&Nonce>) -> Result<(), String> {
        let is_fine = match (self, found) {
            (Self::This(wanted) | Self::ThisOrNone(wanted), Some(found)) => found.secret() == wanted.expose(),
            (Self::This(_), None) | (Self::None, Some(_)) => false,
            (Self::ThisOrNone(_) | Self::None, None) => true,
        };
        if is_fine { Ok(()) } else { Err("another nonce".to_owned()) }
    }
}

/// Further fields of the discovery document.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
struct Further {
    end_session_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}
impl AdditionalProviderMetadata for Further {}

/// Claims that are not standard ones.
#[derive(Debug, Clone, Deserialize, Serialize)]
struct Others {
    #[serde(flatten)]
    all: Map<String, Value>,
}
impl AdditionalClaims for Others {}

type Metadata = ProviderMetadata<
    Further,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;
type Token = IdToken<Others, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
type Claims = IdTokenClaims<Others, CoreGenderClaim>;
type Tokens = StandardTokenResponse<
    IdTokenFields<
        Others,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;
type OurClient = Client<
    Others,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// A provider.
pub(super) struct Oidc {
    config: ProviderConfig,
    issuer: IssuerUrl,
    redirect: RedirectUrl,
    wire: Wire,
    known: Cache<Metadata>,
}

/// Something went wrong on the wire.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WireError(String);

/// Carries the library's requests.
struct Wire(reqwest::Client);

impl Wire {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, WireError> {
        let (parts, body) = request.into_parts();
        let mut request = self.0.request(parts.method, parts.uri.to_string()).headers(parts.headers);
        if !body.is_empty() {
            request = request.body(body);
        }
        // Without the URL: a query may hold what nobody should read.
        let wire = |error: reqwest::Error| WireError(error.without_url().to_string());
        let mut response = request.send().await.map_err(wire)?;
        let mut answer = http::Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(wire)? {
            if bytes.len() + chunk.len() > ANSWER_MAX {
                return Err(WireError("the answer is too long".to_owned()));
            }
            bytes.extend_from_slice(&chunk);
        }
        answer.body(bytes).map_err(|error| WireError(error.to_string()))
    }
}

impl<'c> AsyncHttpClient<'c> for Wire {
    type Error = WireError;
    type Future = BoxFuture<'c, Result<HttpResponse, WireError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl Oidc {
    pub(super) fn new(config: ProviderConfig, public_url: &str) -> anyhow::Result<Self> {
        let issuer = IssuerUrl::new(config.issuer.clone()).context("the issuer is no URL")?;
        anyhow::ensure!(is_safe(issuer.url(), issuer.url()), "the issuer `{}` must begin with https://", config.issuer);
        let ours = format!("{public_url}/sign-in/{}/callback", config.name);
        let redirect = config.redirect_uri.clone().unwrap_or_else(|| ours.clone());
        anyhow::ensure!(
            redirect.ends_with(&format!("/sign-in/{}/callback", config.name)),
            "people come back from `{}` to {ours}: register that there, `{redirect}` is no path of this server",
            config.name
        );
        #[expect(clippy::disallowed_methods, reason = "a client of others' APIs, not of ours")]
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("envforge/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { config, issuer, redirect: RedirectUrl::new(redirect)?, wire: Wire(http), known: Cache::default() })
    }

    /// Its discovery document and its keys.
    async fn discover(&self) -> Result<Metadata, IdentityError> {
        let metadata: Metadata = Metadata::discover_async(self.issuer.clone(), &self.wire)
            .await
            .map_err(|error| IdentityError::Unreachable(describe(&error)))?;
        let further = metadata.additional_metadata();
        let end_session = further.end_session_endpoint.as_deref().map(openidconnect::url::Url::parse);
        let issuer = self.issuer.url();
        let is_safe_end = match &end_session {
            Some(Ok(url)) => is_safe(url, issuer),
            Some(Err(_)) => false,
            None => true,
        };
        let is_all_safe = is_safe_end
            && is_safe(metadata.authorization_endpoint().url(), issuer)
            && is_safe(metadata.jwks_uri().url(), issuer)
            && metadata.token_endpoint().is_none_or(|endpoint| is_safe(endpoint.url(), issuer))
            && metadata.userinfo_endpoint().is_none_or(|endpoint| is_safe(endpoint.url(), issuer));
        if !is_all_safe {
            return Err(IdentityError::Unreachable("it announces an address without TLS".to_owned()));
        }
        Ok(metadata)
    }

    async fn metadata(&self, now: Timestamp) -> Result<Arc<Metadata>, IdentityError> {
        self.known.get(now, self.discover()).await
    }

    /// The protocol's client.
    fn client(&self, metadata: &Metadata) -> OurClient {
        let secret = self.config.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose().to_owned()));
        let auth = match self.config.client_auth {
            ClientAuth::Basic => AuthType::BasicAuth,
            ClientAuth::Post => AuthType::RequestBody,
        };
        OurClient::from_provider_metadata(metadata.clone(), ClientId::new(self.config.client_id.clone()), secret)
            .set_redirect_uri(self.redirect.clone())
            .set_auth_type(auth)
    }

    /// Checks a token with the keys known; once more with fresh ones when it names one that is not.
    async fn check(
        &self,
        now: Timestamp,
        token: &Token,
        nonce: Expected<'_>,
        types: &[&str],
    ) -> Result<Claims, IdentityError> {
        let mut metadata = self.metadata(now).await?;
        match self.claims(now, &metadata, token, nonce, types) {
            Err(ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey)) => {
                metadata = self.known.look_again(&metadata, now, self.discover()).await?;
                self.claims(now, &metadata, token, nonce, types)
            }
            checked => checked,
        }
        .map_err(|error| IdentityError::Rejected(cause(&error)))
    }

    fn claims(
        &self,
        now: Timestamp,
        metadata: &Metadata,
        token: &Token,
        nonce: Expected<'_>,
        types: &[&str],
    ) -> Result<Claims, ClaimsVerificationError> {
        if token.to_string().len() > TOKEN_MAX {
            return Err(ClaimsVerificationError::Unsupported("the token is too long".to_owned()));
        }
        let announced = metadata.id_token_signing_alg_values_supported();
        let at = |seconds: i64| DateTime::<Utc>::from_timestamp(now.as_second() + seconds, 0).unwrap_or_default();
        let types = types.iter().filter_map(|name| JsonWebTokenType::new((*name).to_owned()).normalize().ok());
        // As of a public client: a MAC under our own secret is no signature of the provider.
        let keys: JsonWebKeySet<CoreJsonWebKey> = metadata.jwks().clone();
        let verifier =
            IdTokenVerifier::new_public_client(ClientId::new(self.config.client_id.clone()), self.issuer.clone(), keys)
                .set_allowed_algs(ALGORITHMS.iter().filter(|algorithm| announced.contains(algorithm)).cloned())
                .set_allowed_jose_types(types)
                .set_time_fn(move || at(-SKEW))
                .set_issue_time_verifier_fn(move |issued| {
                    if issued <= at(SKEW) { Ok(()) } else { Err("issued in the future".to_owned()) }
                });
        token.claims(&verifier, |found: Option<&Nonce>| nonce.check(found)).cloned()
    }

    /// Exchanges the code. The provider's own words of refusal are not passed on.
    async fn exchange(
        &self,
        metadata: &Metadata,
        code: &str,
        verifier: &Secret,
    ) -> Result<(OurClient, Tokens), IdentityError> {
        let client = self.client(metadata);
        let request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|_| IdentityError::Unreachable("it announces no token endpoint".to_owned()))?
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()));
        let tokens = request.request_async(&self.wire).await.map_err(|error| match error {
            RequestTokenError::ServerResponse(_) => IdentityError::Rejected("code"),
            RequestTokenError::Parse(..) => IdentityError::Rejected("token"),
            other => IdentityError::Unreachable(describe(&other)),
        })?;
        Ok((client, tokens))
    }

    /// Address and name, from the token, else from the user-info endpoint.
    async fn profile(
        &self,
        client: &OurClient,
        tokens: &Tokens,
        claims: &Claims,
    ) -> Result<(Option<String>, bool, Option<String>), IdentityError> {
        let named = |name: Option<&openidconnect::LocalizedClaim<openidconnect::EndUserName>>| {
            name.and_then(|name| name.get(None)).map(|name| name.as_str().to_owned())
        };
        if let Some(email) = claims.email() {
            let is_verified = claims.email_verified() == Some(true);
            return Ok((Some(email.as_str().to_owned()), is_verified, named(claims.name())));
        }
        let Ok(request) = client.user_info(tokens.access_token().clone(), Some(claims.subject().clone())) else {
            return Ok((None, false, named(claims.name())));
        };
        let info: UserInfoClaims<EmptyAdditionalClaims, CoreGenderClaim> =
            request.request_async(&self.wire).await.map_err(|error| match error {
                openidconnect::UserInfoError::ClaimsVerification(_) => IdentityError::Rejected("subject"),
                other => IdentityError::Unreachable(describe(&other)),
            })?;
        let email = info.email().map(|email| email.as_str().to_owned());
        Ok((email, info.email_verified() == Some(true), named(info.name().or(claims.name()))))
    }
}

impl IdentityProvider for Oidc {
    fn config(&self) -> &ProviderConfig {
        &self.config
    }

    fn leave<'a>(
        &'a self,
        now: Timestamp,
        state: &'a Secret,
        proof: &'a Proof,
    ) -> BoxFuture<'a, Result<String, IdentityError>> {
        Box::pin(async move {
            let metadata = self.metadata(now).await?;
            let verifier = PkceCodeVerifier::new(proof.verifier.expose().to_owned());
            let (state, nonce) = (state.expose().to_owned(), proof.nonce.expose().to_owned());
            let client = self.client(&metadata);
            let mut request = client
                .authorize_url(
                    CoreAuthenticationFlow::AuthorizationCode,
                    move || CsrfToken::new(state),
                    move || Nonce::new(nonce),
                )
                .add_scope(Scope::new("email".to_owned()))
                .add_scope(Scope::new("profile".to_owned()))
                .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
            let is_offered = |scopes: &Vec<Scope>| scopes.iter().any(|scope| scope.as_str() == OFFLINE);
            if self.config.refresh && metadata.scopes_supported().is_none_or(is_offered) {
                // Without the consent the scope is to be ignored (OpenID Connect Core, 11).
                request = request.add_scope(Scope::new(OFFLINE.to_owned())).add_prompt(CoreAuthPrompt::Consent);
            }
            let (url, _, _) = request.url();
            Ok(url.to_string())
        })
    }

    fn verify<'a>(
        &'a self,
        now: Timestamp,
        returned: Returned<'a>,
        proof: &'a Proof,
    ) -> BoxFuture<'a, Result<Person, IdentityError>> {
        Box::pin(async move {
            let metadata = self.metadata(now).await?;
            let is_announced = metadata.additional_metadata().authorization_response_iss_parameter_supported;
            // RFC 9207, 2.4: another issuer's answer must not bring its code to this one.
            match returned.issuer {
                Some(issuer) if issuer != self.config.issuer => return Err(IdentityError::Rejected("iss_parameter")),
                None if is_announced => return Err(IdentityError::Rejected("iss_parameter")),
                _ => {}
            }
            let (client, tokens) = self.exchange(&metadata, returned.code, &proof.verifier).await?;
            let token = tokens.id_token().ok_or(IdentityError::Rejected("token"))?;
            let claims = self.check(now, token, Expected::This(&proof.nonce), &["JWT"]).await?;
            let (email, is_verified, name) = self.profile(&client, &tokens, &claims).await?;
            let mapping = self.config.orgs.as_ref();
            let refresh_token = tokens.refresh_token().filter(|_| self.config.refresh);
            let standing = refresh_token.map(|token| Standing {
                refresh_token: Secret::new(token.secret().to_owned()),
                nonce: proof.nonce.clone(),
            });
            Ok(Person {
                issuer: self.config.issuer.clone(),
                subject: short(claims.subject().as_str())?,
                session: text(&claims, "sid"),
                verified_address: email.filter(|_| is_verified).and_then(|address| address.parse().ok()),
                name,
                organization: mapping.and_then(|mapping| text(&claims, &mapping.claim)),
                standing,
            })
        })
    }

    fn renew<'a>(
        &'a self,
        now: Timestamp,
        subject: &'a str,
        standing: &'a Standing,
    ) -> BoxFuture<'a, Result<Standing, IdentityError>> {
        Box::pin(async move {
            let client = self.client(&*self.metadata(now).await?);
            let token = RefreshToken::new(standing.refresh_token.expose().to_owned());
            let request = client
                .exchange_refresh_token(&token)
                .map_err(|_| IdentityError::Unreachable("it announces no token endpoint".to_owned()))?;
            let tokens: Tokens = request.request_async(&self.wire).await.map_err(|error| match error {
                RequestTokenError::ServerResponse(said) if *said.error() == CoreErrorResponseType::InvalidGrant => {
                    IdentityError::Withdrawn
                }
                // Our client's secret may be an old one: that is nobody's end.
                RequestTokenError::ServerResponse(_) => IdentityError::Rejected("refresh"),
                RequestTokenError::Parse(..) => IdentityError::Rejected("token"),
                other => IdentityError::Unreachable(describe(&other)),
            })?;
            if let Some(token) = tokens.id_token() {
                let claims = self.check(now, token, Expected::ThisOrNone(&standing.nonce), &["JWT"]).await?;
                if claims.subject().as_str() != subject {
                    return Err(IdentityError::Withdrawn);
                }
            }
            let next = tokens.refresh_token().map(|token| Secret::new(token.secret().to_owned()));
            Ok(Standing {
                refresh_token: next.unwrap_or_else(|| standing.refresh_token.clone()),
                nonce: standing.nonce.clone(),
            })
        })
    }

    fn signed_out<'a>(&'a self, now: Timestamp, token: &'a str) -> BoxFuture<'a, Result<SignedOut, IdentityError>> {
        Box::pin(async move {
            let token = Token::from_str(token).map_err(|_| IdentityError::Rejected("token"))?;
            let claims = self.check(now, &token, Expected::None, &["JWT", "logout+jwt"]).await?;
            let events = claims.additional_claims().all.get("events").and_then(Value::as_object);
            if !events.is_some_and(|events| events.get(LOGOUT_EVENT).is_some_and(Value::is_object)) {
                return Err(IdentityError::Rejected("event"));
            }
            let subject = short(claims.subject().as_str())?;
            Ok(SignedOut { issuer: self.config.issuer.clone(), subject, session: text(&claims, "sid") })
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), IdentityError>> {
        Box::pin(async move { self.discover().await.map(drop) })
    }

    fn end_session<'a>(&'a self, now: Timestamp, then: &'a str) -> BoxFuture<'a, Option<String>> {
        Box::pin(async move {
            let metadata = self.metadata(now).await.ok()?;
            let endpoint = metadata.additional_metadata().end_session_endpoint.as_deref()?;
            let mut url = openidconnect::url::Url::parse(endpoint).ok()?;
            // Without a hint: it would be the token itself, kept for as long as the session.
            url.query_pairs_mut()
                .append_pair("client_id", &self.config.client_id)
                .append_pair("post_logout_redirect_uri", then);
            Some(url.to_string())
        })
    }
}

/// Whether nobody between us and it can read along: TLS, or this machine when the issuer is on it too.
fn is_safe(url: &openidconnect::url::Url, issuer: &openidconnect::url::Url) -> bool {
    let is_loopback = |url: &openidconnect::url::Url| {
        url.host_str().is_some_and(|host| matches!(host, "127.0.0.1" | "localhost" | "[::1]"))
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url) && is_loopback(issuer))
}

/// A claim that is a text.
fn text(claims: &Claims, name: &str) -> Option<String> {
    let value = claims.additional_claims().all.get(name)?.as_str()?;
    (value.len() <= CLAIM_MAX).then(|| value.to_owned())
}

fn short(text: &str) -> Result<String, IdentityError> {
    let is_fine = !text.is_empty() && text.len() <= CLAIM_MAX && !text.contains('\0');
    if is_fine { Ok(text.to_owned()) } else { Err(IdentityError::Rejected("subject")) }
}

/// The stable word for what is wrong with a token.
fn cause(error: &ClaimsVerificationError) -> &'static str {
    use SignatureVerificationError as Signature;
    match error {
        ClaimsVerificationError::Expired(_) => "expired",
        ClaimsVerificationError::InvalidAudience(_) => "audience",
        ClaimsVerificationError::InvalidIssuer(_) => "issuer",
        ClaimsVerificationError::InvalidNonce(_) => "nonce",
        ClaimsVerificationError::SignatureVerification(
            Signature::DisallowedAlg(_) | Signature::UnsupportedAlg(_) | Signature::NoSignature,
        ) => "algorithm",
        ClaimsVerificationError::SignatureVerification(Signature::NoMatchingKey | Signature::AmbiguousKeyId(_)) => {
            "key"
        }
        ClaimsVerificationError::SignatureVerification(_) => "signature",
        _ => "token",
    }
}

/// An error with its causes, for the log.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
