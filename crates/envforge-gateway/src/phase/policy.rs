//! Phase 3: what nobody may do on a dev host, session or not.
//!
//! A dev host answers with what its services answer and nothing else: there is no path here to shells, logs, secrets
//! or consoles, and the only tickets a gateway can hold are for services. What is refused here is what
//! would turn the browser's own habits against the reviewer: methods that reflect requests, and requests
//! another site makes with this site's cookie. Sibling dev hosts are another site in this sense, although browsers
//! send `SameSite` cookies among them.

use crate::own;
use crate::phase::refused::Refused;
use crate::phase::session::Via;
use envforge_core::link;
use http::header::{ACCEPT, CONNECTION, HOST, ORIGIN, UPGRADE};
use http::{HeaderMap, Method, Request, Version};

/// What the request may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permit {
    /// It asks to become a WebSocket.
    pub(crate) websocket: bool,
    /// It may wake a runtime whose processes have ended.
    pub(crate) may_start: bool,
}

/// Checks a verified request of a session that is limited to these routes, or to none.
pub(crate) fn check<B>(request: &Request<B>, via: Via, routes: &[String]) -> Result<Permit, Refused> {
    let path = request.uri().path();
    if !own::is_own(path) && !link::is_allowed(routes, path) {
        return Err(Refused::NoPath);
    }
    if matches!(*request.method(), Method::TRACE | Method::CONNECT) {
        return Err(Refused::Method);
    }
    if !request.uri().path().starts_with('/') {
        return Err(Refused::BadRequest("the target is no path"));
    }
    let websocket = is_websocket(request);
    if via == Via::Cookie && is_foreign(request, websocket) {
        return Err(Refused::CrossOrigin);
    }
    Ok(Permit { websocket, may_start: !is_reconnect(request, websocket) })
}

/// Whether a browser goes somewhere, rather than a page loading something; one that does not say may.
pub(crate) fn is_navigation(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-mode").is_none_or(|mode| mode == "navigate")
}

/// Whether a request asks to become a WebSocket (RFC 6455, section 4.1). Other upgrades are not passed on.
pub(crate) fn is_websocket<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET
        && request.version() != Version::HTTP_10
        && has_token(request.headers(), &CONNECTION, "upgrade")
        && has_token(request.headers(), &UPGRADE, "websocket")
}

/// Whether an open page sent this by itself: a browser's script connects its WebSocket or event stream again and
/// again after it ended, for as long as the tab is open (hot reload does). A forgotten tab must not run a meter all night;
/// whoever looks at it reloads it or clicks something, and that wakes. Programs send no `Origin`.
fn is_reconnect<B>(request: &Request<B>, websocket: bool) -> bool {
    let headers = request.headers();
    let is_script = |mode: &str| headers.get("sec-fetch-mode").is_some_and(|value| value.as_bytes() == mode.as_bytes());
    let is_event_stream = || headers.get(ACCEPT).is_some_and(|value| value.as_bytes() == b"text/event-stream");
    if websocket {
        headers.contains_key(ORIGIN) || is_script("websocket")
    } else {
        is_event_stream() && (is_script("cors") || is_script("same-origin") || is_script("no-cors"))
    }
}

fn has_token(headers: &HeaderMap, name: &http::HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        value.to_str().is_ok_and(|value| value.split(',').any(|one| one.trim().eq_ignore_ascii_case(token)))
    })
}

/// Whether another origin's page made the browser send this. Following a link here is fine; loading, posting or
/// connecting from elsewhere is not.
fn is_foreign<B>(request: &Request<B>, websocket: bool) -> bool {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD) && !websocket;
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    match text("sec-fetch-site") {
        Some("same-origin" | "none") => false,
        Some(_) => !(is_safe && text("sec-fetch-mode") == Some("navigate")),
        None => !is_safe && !is_own_origin(request.headers()).unwrap_or(true),
    }
}

/// Whether `Origin` names the host asked; `None` when the browser did not say.
pub(crate) fn is_own_origin(headers: &HeaderMap) -> Option<bool> {
    let origin = headers.get(ORIGIN)?.as_bytes();
    let host = headers.get(HOST)?.as_bytes();
    let begin = memchr::memmem::find(origin, b"://").map_or(0, |at| at + 3);
    Some(origin[begin..].eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_with(method: &str, headers: &[(&str, &str)], via: Via) -> Result<Permit, u16> {
        let mut request = Request::builder().method(method).uri("/x").header(HOST, "web--a--b.localhost:7081");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).expect("a request"), via, &[]).map_err(|refused| refused.status())
    }

    const UPGRADES: [(&str, &str); 2] = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];

    // proves LINK-6
    #[test]
    fn reflecting_methods_are_closed() {
        assert_eq!(check_with("TRACE", &[], Via::Header), Err(405));
        assert_eq!(check_with("CONNECT", &[], Via::Header), Err(405));
        assert!(!check_with("PROPFIND", &[], Via::Header).expect("allowed").websocket);
        assert!(check_with("GET", &UPGRADES, Via::Cookie).expect("allowed").websocket);
        assert!(!check_with("POST", &UPGRADES, Via::Cookie).expect("allowed").websocket);
    }

    // proves LINK-4 RUN-4
    #[test]
    fn what_a_page_sends_by_itself_starts_nothing() {
        let may_start = |headers: &[(&str, &str)]| check_with("GET", headers, Via::Cookie).expect("allowed").may_start;
        let origin = ("origin", "http://web--a--b.localhost:7081");
        let stream = ("accept", "text/event-stream");
        assert!(!may_start(&[UPGRADES[0], UPGRADES[1], origin]), "hot reload connects again");
        assert!(may_start(&UPGRADES), "a program has no origin");
        assert!(!may_start(&[stream, ("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin")]));
        assert!(may_start(&[stream]), "curl may listen to events");
        assert!(
            may_start(&[("accept", "*/*"), ("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin")]),
            "a click"
        );
        assert!(may_start(&[("accept", "text/html"), ("sec-fetch-mode", "navigate")]));
    }

    // proves LINK-10
    #[test]
    fn another_site_may_not_use_the_cookie() {
        let ours = ("origin", "http://web--a--b.localhost:7081");
        let sibling = ("origin", "http://evil--x--y.localhost:7081");
        let same_site = ("sec-fetch-site", "same-site");
        let navigate = ("sec-fetch-mode", "navigate");
        assert!(check_with("POST", &[ours], Via::Cookie).is_ok());
        assert!(check_with("POST", &[ours, ("sec-fetch-site", "same-origin")], Via::Cookie).is_ok());
        assert_eq!(check_with("POST", &[sibling], Via::Cookie), Err(403));
        assert_eq!(check_with("GET", &[same_site, ("sec-fetch-mode", "no-cors")], Via::Cookie), Err(403));
        assert!(check_with("GET", &[same_site, navigate], Via::Cookie).is_ok(), "a link to here is fine");
        assert_eq!(check_with("POST", &[same_site, navigate], Via::Cookie), Err(403));
        assert_eq!(check_with("GET", &[UPGRADES[0], UPGRADES[1], sibling], Via::Cookie), Err(403));
        assert!(check_with("POST", &[sibling], Via::Header).is_ok(), "a header is never sent by itself");
    }
}
