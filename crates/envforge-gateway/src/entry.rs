//! `/.envforge/sign-in` and `/.envforge/enter`: where a member's account becomes a session.
//!
//! No cookie of the product reaches a dev host, so a browser goes there and comes back ([`envforge_core::entry`]). Leaving
//! asks nothing of the server: it sets a nonce in a cookie of this host and names its digest to the product. What comes
//! back is verified offline, code and cookie together; only then is the server asked, which spends the code. Whatever does
//! not fit is a card, and counted with other unverified requests.

use crate::body::AnswerBody;
use crate::own;
use crate::phase::refused::Refused;
use crate::phase::{policy, session};
use crate::sessions::Unverified;
use crate::share;
use crate::shared::Shared;
use envforge_api::ambient::{SystemEntropy, opaque_token};
use envforge_core::entry::{
    EntryClaims, Misplaced, OPEN_PATH, STATE_COOKIE, STATE_COOKIE_PLAIN, STATE_LIFE, destination, state_of,
};
use envforge_core::login::in_query;
use envforge_core::refusal::RefusalKind;
use http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY, SET_COOKIE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};

const SIGN_IN: &str = "/.envforge/sign-in";
const ENTER: &str = "/.envforge/enter";

/// Whether a path leads to the product or comes from there; none does on a gateway that knows no product.
pub(crate) fn is_entry(shared: &Shared, path: &str) -> bool {
    shared.config.product_url.is_some() && matches!(path, SIGN_IN | ENTER)
}

/// Where a member signs in who was refused at `uri`, to come back to it.
pub(crate) fn sign_in_at(shared: &Shared, uri: &Uri) -> Option<String> {
    shared.config.product_url.as_ref()?;
    let path = uri.path();
    // A share path is a token, or one that was copied badly; and ours are nobody's place to be.
    if own::is_own(path) || path.starts_with(share::PREFIX) {
        return Some(SIGN_IN.to_owned());
    }
    match destination(uri.path_and_query().map(http::uri::PathAndQuery::as_str)) {
        "/" => Some(SIGN_IN.to_owned()),
        to => Some(format!("{SIGN_IN}?to={}", in_query(to))),
    }
}

/// Answers either path.
pub(crate) async fn answer<B>(
    shared: &Shared,
    label: &str,
    request: &Request<B>,
) -> Result<Response<AnswerBody>, Refused> {
    if *request.method() != Method::GET {
        return Err(Refused::Method);
    }
    if !policy::is_navigation(request.headers()) {
        return Err(Refused::CrossOrigin);
    }
    let to = own::parameter(request.uri(), "to");
    let to = destination(to.as_deref());
    match (request.uri().path(), &shared.config.product_url) {
        (SIGN_IN, Some(product)) => leave(shared, product, label, to),
        _ => enter(shared, label, to, request).await,
    }
}

fn state_cookie(is_https: bool) -> &'static str {
    if is_https { STATE_COOKIE } else { STATE_COOKIE_PLAIN }
}

fn leave(shared: &Shared, product: &str, label: &str, to: &str) -> Result<Response<AnswerBody>, Refused> {
    // Whoever leaves has no session here: crawlers come by as well.
    shared.unverified.count(label, Unverified::NoSession);
    let nonce = opaque_token("", &SystemEntropy);
    let place = format!("{product}{OPEN_PATH}{label}?state={}&to={}", state_of(&nonce), in_query(to));
    let name = state_cookie(shared.is_https());
    see_other(&place, &[session::set_cookie(shared, name, &nonce, STATE_LIFE.as_secs())?])
}

async fn enter<B>(
    shared: &Shared,
    label: &str,
    to: &str,
    request: &Request<B>,
) -> Result<Response<AnswerBody>, Refused> {
    let name = state_cookie(shared.is_https());
    let code = own::parameter(request.uri(), "code").unwrap_or_default();
    let claims: EntryClaims = shared
        .sessions
        .keyring()
        .verify(&code, shared.now())
        .map_err(|error| Refused::NoEntry(session::fault(error)))?;
    claims.opens(label, session::cookies(request.headers(), name)).map_err(|why| {
        Refused::NoEntry(match why {
            Misplaced::OtherHost => Unverified::WrongHost,
            Misplaced::OtherBrowser => Unverified::OtherBrowser,
        })
    })?;
    shared.stats.verified.add();
    let made = session::enter(shared, &claims, code, session::user_agent(request.headers())).await;
    if matches!(&made, Err(Refused::Server(refusal)) if refusal.kind == RefusalKind::Forbidden) {
        // Spent before, or its member lost the right to it on the way.
        shared.unverified.count(label, Unverified::SignedOut);
    }
    let cookies = [session::session_cookie(shared, &made?)?, session::set_cookie(shared, name, "", 0)?];
    see_other(to, &cookies)
}

/// Leads on, with cookies.
pub(crate) fn see_other(place: &str, cookies: &[HeaderValue]) -> Result<Response<AnswerBody>, Refused> {
    let mut response = Response::new(AnswerBody::own(""));
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_str(place).map_err(|_| Refused::Fault)?);
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie.clone());
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}
