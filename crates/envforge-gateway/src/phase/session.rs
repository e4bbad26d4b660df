//! Phase 2: who asks.
//!
//! A browser shows the session cookie, of a link or of a member; agents and CI show a link token in a header, which is exchanged once and then
//! known by its digest. Everything is verified offline, and a good signature is remembered, so the server hears
//! nothing of strangers and once of each link. A session is worth something only on the label it was made for.
//!
//! A browser may send several cookies of our name: without TLS another dev host's script can plant one for the whole
//! domain. Each is tried, so a planted one neither admits nor shuts out.

use crate::local::Held;
use crate::phase::refused::Refused;
use crate::serve::Client;
use crate::sessions::{Admitted, Digest, Unverified};
use crate::shared::Shared;
use crate::stats::Phase;
use envforge_api::client::CallError;
use envforge_api::gateway::{ENTER_PATH, EXCHANGE_PATH, Enter, Exchange, Exchanged};
use envforge_core::entry::EntryClaims;
use envforge_core::id::WorkspaceId;
use envforge_core::link::{COOKIE, COOKIE_PLAIN, HEADER, Holder, LinkClaims, SessionClaims};
use envforge_core::token::TokenError;
use http::header::{COOKIE as COOKIE_HEADER, USER_AGENT};
use http::{HeaderMap, HeaderValue};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::Instant;

/// Cookies of our name that are tried.
const COOKIES_TRIED: usize = 4;

/// How the session was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// By a browser, which sends it by itself.
    Cookie,
    /// By a program, on purpose.
    Header,
}

/// The cookie's name for the way browsers reach the gateway.
const fn cookie_name(is_https: bool) -> &'static str {
    if is_https { COOKIE } else { COOKIE_PLAIN }
}

/// What a browser sent as this cookie of ours, as many as are tried. An app's own cookies beside it may be any bytes.
pub(crate) fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(COOKIE_HEADER).iter().map(HeaderValue::as_bytes);
    let ours = lines.flat_map(|line| line.split(|byte| *byte == b';')).filter_map(move |pair| {
        let (found, value) = std::str::from_utf8(pair.trim_ascii()).ok()?.split_once('=')?;
        (found == name).then_some(value)
    });
    ours.take(COOKIES_TRIED)
}

/// A `Set-Cookie` for this host alone; an empty value takes it away.
pub(crate) fn set_cookie(shared: &Shared, name: &str, value: &str, seconds: i64) -> Result<HeaderValue, Refused> {
    let secure = if shared.is_https() { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    let mut cookie = HeaderValue::from_str(&cookie).map_err(|_| Refused::Fault)?;
    cookie.set_sensitive(true);
    Ok(cookie)
}

/// The `Set-Cookie` of a fresh session.
pub(crate) fn session_cookie(shared: &Shared, made: &Exchanged) -> Result<HeaderValue, Refused> {
    let seconds = made.expires_at.duration_since(shared.now()).as_secs().max(0);
    set_cookie(shared, cookie_name(shared.is_https()), &made.session, seconds)
}

/// Admits a request to a label, or says why not.
pub(crate) async fn admit(
    shared: &Arc<Shared>,
    client: &Client,
    address: IpAddr,
    label: &Arc<str>,
    headers: &HeaderMap,
) -> Result<(Held<Admitted>, Via), Refused> {
    if let Some(token) = headers.get(HEADER) {
        let token = token.to_str().map_err(|_| Refused::Unverified(Unverified::Forged))?;
        let admitted = by_link(shared, address, label, token.trim(), headers).await?;
        return Ok((Held::new(admitted), Via::Header));
    }
    if let Some(admitted) = client.memo.session(label, headers, shared.now()) {
        return Ok((admitted, Via::Cookie));
    }
    let mut refused = Unverified::NoSession;
    for token in cookies(headers, cookie_name(shared.is_https())) {
        let digest = Digest::of_session(token);
        if !shared.sessions.knows(&digest) {
            shared.forgers.look(address).map_err(Refused::TooMany)?;
        }
        match by_cookie(shared, label, token, digest) {
            Ok(admitted) => {
                return Ok((client.memo.keep_session(label, headers, admitted), Via::Cookie));
            }
            Err(why) => {
                if why == Unverified::Forged {
                    let _ = shared.forgers.take(address);
                }
                // What was good once says more than what never was.
                if why != Unverified::Forged || refused == Unverified::NoSession {
                    refused = why;
                }
            }
        }
    }
    Err(Refused::Unverified(refused))
}

/// What a token's fault counts as.
pub(crate) fn fault(error: TokenError) -> Unverified {
    match error {
        TokenError::Expired => Unverified::Expired,
        TokenError::Malformed | TokenError::UnknownKey | TokenError::Forged => Unverified::Forged,
    }
}

fn by_cookie(shared: &Shared, label: &str, token: &str, digest: Digest) -> Result<Arc<Admitted>, Unverified> {
    let now = shared.now();
    let admitted = if let Some(admitted) = shared.sessions.find(&digest) {
        admitted
    } else {
        let keys = shared.sessions.keyring();
        let claims: SessionClaims = keys.verify(token, now).map_err(fault)?;
        shared.stats.verified.add();
        let admitted = shared.sessions.admit(digest, claims, token.to_owned())?;
        // Keys that were replaced in between ended what was known then.
        let keys_after = shared.sessions.keyring();
        if !Arc::ptr_eq(&keys, &keys_after)
            && let Err(error) = keys_after.verify::<SessionClaims>(token, now)
        {
            admitted.end();
            return Err(fault(error));
        }
        admitted
    };
    if admitted.claims.label != label {
        return Err(Unverified::WrongHost);
    }
    admitted.check(now)?;
    Ok(admitted)
}

/// Where a fresh session begins: at the app's front, or where its link leads.
pub(crate) fn start_of(shared: &Shared, label: &str, session: &str) -> String {
    let admitted = by_cookie(shared, label, session, Digest::of_session(session));
    let route = admitted.ok().and_then(|admitted| admitted.claims.routes.first().cloned());
    route.unwrap_or_else(|| "/".to_owned())
}

/// Verifies a link token for a label, offline.
pub(crate) fn verify_link(shared: &Shared, label: &str, token: &str) -> Result<LinkClaims, Unverified> {
    let claims: LinkClaims = shared.sessions.keyring().verify(token, shared.now()).map_err(fault)?;
    if claims.label != label {
        return Err(Unverified::WrongHost);
    }
    if shared.sessions.is_revoked(claims.link) {
        return Err(Unverified::Revoked);
    }
    Ok(claims)
}

async fn by_link(
    shared: &Arc<Shared>,
    address: IpAddr,
    label: &str,
    token: &str,
    headers: &HeaderMap,
) -> Result<Arc<Admitted>, Refused> {
    let digest = Digest::of_link(token);
    if let Some(admitted) = shared.sessions.find(&digest) {
        if admitted.claims.label != label {
            return Err(Refused::Unverified(Unverified::WrongHost));
        }
        admitted.check(shared.now()).map_err(Refused::Unverified)?;
        return Ok(admitted);
    }
    shared.forgers.look(address).map_err(Refused::TooMany)?;
    let claims = verify_link(shared, label, token).map_err(|why| {
        let _ = shared.forgers.take(address);
        Refused::Unverified(why)
    })?;
    shared.stats.verified.add();
    if let Some(refusal) = shared.sessions.refused_link(&digest) {
        return Err(Refused::Server(refusal));
    }
    let flight = shared.exchange_flights.join(&shared.tasks, &digest, || {
        let (shared, token) = (Arc::clone(shared), token.to_owned());
        let user_agent = user_agent(headers);
        async move {
            let (session, made) = exchange(&shared, &claims, &token, user_agent).await.inspect_err(|refused| {
                if let Refused::Server(refusal) = refused {
                    shared.sessions.refuse_link(digest, refusal.clone());
                }
            })?;
            shared.sessions.admit(digest, made, session.session).map_err(Refused::Unverified)
        }
    });
    flight.await.unwrap_or(Err(Refused::Fault))
}

/// `User-Agent` for the visit log, cut to its limit.
pub(crate) fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(200).collect())
}

/// Exchanges a verified link token at the server and checks that what came back is for the same link and label.
pub(crate) async fn exchange(
    shared: &Shared,
    claims: &LinkClaims,
    token: &str,
    user_agent: Option<String>,
) -> Result<(Exchanged, SessionClaims), Refused> {
    let ask = Exchange { label: claims.label.clone(), token: token.to_owned(), user_agent };
    shared.stats.exchanges.add();
    let begun = Instant::now();
    let made = shared.server.post(EXCHANGE_PATH, &ask).await;
    shared.stats.time(Phase::Session, begun.elapsed());
    check_made(shared, &claims.label, claims.workspace, Holder::Link(claims.link), made)
}

/// Exchanges a verified entry code at the server, which spends it, and checks what came back in the same way.
pub(crate) async fn enter(
    shared: &Shared,
    claims: &EntryClaims,
    code: String,
    user_agent: Option<String>,
) -> Result<Exchanged, Refused> {
    let ask = Enter { label: claims.label.clone(), code, user_agent };
    shared.stats.exchanges.add();
    let begun = Instant::now();
    let made = shared.server.post(ENTER_PATH, &ask).await;
    shared.stats.time(Phase::Session, begun.elapsed());
    let holder = Holder::Member { user: claims.user, login: claims.login };
    check_made(shared, &claims.label, claims.workspace, holder, made).map(|(made, _)| made)
}

fn check_made(
    shared: &Shared,
    label: &str,
    workspace: WorkspaceId,
    holder: Holder,
    made: Result<Exchanged, CallError>,
) -> Result<(Exchanged, SessionClaims), Refused> {
    let made = made.map_err(|error| match error {
        CallError::Refused(refusal) => Refused::Server(refusal),
        CallError::Transport { message, .. } => {
            tracing::warn!(%message, "session: the server could not be asked for a session");
            Refused::LeaseOver
        }
    })?;
    let session: Result<SessionClaims, _> = shared.sessions.keyring().verify(&made.session, shared.now());
    match session {
        Ok(session) if session.label == label && session.holder == holder && session.workspace == workspace => {
            Ok((made, session))
        }
        Ok(_) => {
            tracing::error!(%label, "session: the server made a session for something else");
            Err(Refused::Fault)
        }
        Err(error) => {
            tracing::error!(%label, %error, "session: the server made a session that does not verify");
            Err(Refused::Fault)
        }
    }
}
