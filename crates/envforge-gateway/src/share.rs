//! `/share/<token>`: where a link becomes a session.
//!
//! Unfurlers and mail scanners follow links too, so `GET` has no effect: it shows a card with one button, the same for
//! whoever looks. The button's `POST` asks the server, which counts the visit; the answer is a cookie for this host
//! alone and a redirect, so the token leaves the address bar. The token is in no log, no page and no `Referer`.
//!
//! Only what looks like a token is taken from the app; `/share/anything-else` is the app's own.

use crate::body::{AnswerBody, ClientBody};
use crate::entry;
use crate::pages;
use crate::phase::refused::Refused;
use crate::phase::{answer, policy, session};
use crate::sessions::Unverified;
use crate::shared::Shared;
use envforge_core::link::LinkClaims;
use envforge_core::token::Claims as _;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use std::time::Duration;

/// What the path of a share link begins with.
pub(crate) const PREFIX: &str = "/share/";
/// The card's form is empty; a little more is tolerated, and not for long.
const BODY_MAX: usize = 4096;
const BODY_TIME: Duration = Duration::from_secs(5);

/// The token of a share path.
pub(crate) fn token_of(path: &str) -> Option<&str> {
    let token = path.strip_prefix(PREFIX)?;
    let rest = token.strip_prefix(LinkClaims::PREFIX)?.strip_prefix('.')?;
    (!rest.contains('/')).then_some(token)
}

/// Answers a share path.
pub(crate) async fn answer(
    shared: &Shared,
    label: &str,
    token: &str,
    request: Request<ClientBody>,
) -> Result<Response<AnswerBody>, Refused> {
    let verified = session::verify_link(shared, label, token);
    match *request.method() {
        Method::GET | Method::HEAD => {
            // Holding a link is not yet a session: its card is shown to crawlers as well, and counted with them.
            let reason = verified.as_ref().err().copied().unwrap_or(Unverified::NoSession);
            shared.unverified.count(label, reason);
            verified.map_err(dead)?;
            Ok(answer::page(StatusCode::OK, pages::share()))
        }
        Method::POST => {
            let claims = verified.map_err(|reason| {
                shared.unverified.count(label, reason);
                dead(reason)
            })?;
            if is_from_elsewhere(&request) {
                return Err(Refused::CrossOrigin);
            }
            let user_agent = session::user_agent(request.headers());
            let body = request.into_body().skip(BODY_MAX);
            if !tokio::time::timeout(BODY_TIME, body).await.unwrap_or(false) {
                return Err(Refused::BodyTooLarge);
            }
            let (made, _) = session::exchange(shared, &claims, token, user_agent).await?;
            let start = session::start_of(shared, label, &made.session);
            entry::see_other(&start, &[session::session_cookie(shared, &made)?])
        }
        _ => Err(Refused::Method),
    }
}

fn dead(reason: Unverified) -> Refused {
    Refused::DeadLink { was_good: matches!(reason, Unverified::Expired | Unverified::Revoked) }
}

/// Whether another site's page sent the form. With `no-referrer`, our own card's `Origin` is `null`.
fn is_from_elsewhere(request: &Request<ClientBody>) -> bool {
    let headers = request.headers();
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        Some(site) => !matches!(site, b"same-origin" | b"none"),
        None => {
            headers.get("origin").is_some_and(|origin| origin != "null")
                && policy::is_own_origin(headers) == Some(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves LINK-2
    #[test]
    fn only_tokens_are_taken_from_the_app() {
        assert_eq!(token_of("/share/efl1.a.b"), Some("efl1.a.b"));
        for own in [
            "/share",
            "/share/",
            "/share/efl1",
            "/share/efl1.a/b",
            "/share/photo",
            "/x/share/efl1.a.b",
            "/share/efl2.a.b",
        ] {
            assert_eq!(token_of(own), None, "{own}");
        }
    }
}
