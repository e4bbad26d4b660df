//! Phase 7: what a refusal looks like, by who asked.
//!
//! A browser gets a card, a program the refusal as JSON in the same shape as the product's API, and a crawler a card
//! that says nothing about what is behind it. Everything here is the gateway's own page, so it is never stored,
//! never framed, never indexed and runs nothing but its own script; a service's responses are left as they are.

use crate::body::AnswerBody;
use crate::pages;
use crate::phase::refused::Refused;
use crate::sessions::Unverified;
use envforge_api::http::ErrorBody;
use envforge_core::link::HEADER;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, UPGRADE,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use std::sync::LazyLock;

/// Who asked, as far as the shape of the answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// A browser that goes somewhere.
    Navigation,
    /// A browser that goes somewhere with a form.
    Form,
    /// Something that reads pages: a crawler, an unfurler, a bare `curl`.
    Reader,
    /// A program, or a page's script.
    Program,
}

impl Audience {
    /// Reads it from a request.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        let accept = text(ACCEPT).unwrap_or("*/*");
        let mode = text(HeaderName::from_static("sec-fetch-mode"));
        let headers = request.headers();
        if headers.contains_key(HEADER) || headers.contains_key(UPGRADE) || mode.is_some_and(|mode| mode != "navigate")
        {
            return Self::Program;
        }
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        match (is_get, accept.contains("text/html")) {
            (true, true) => Self::Navigation,
            (false, true) => Self::Form,
            (true, false) if !accept.contains("json") => Self::Reader,
            _ => Self::Program,
        }
    }
}

/// Everything a card of ours may load or run: its own style and script, named by their digests.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let (style, script) = pages::digests();
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("digests are plain text")
});

/// One of our pages.
pub(crate) fn page(status: StatusCode, html: String) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::own(html));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex, nofollow"));
    guard(headers);
    response
}

fn guard(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Answers a refusal.
pub(crate) fn refuse(audience: Audience, refused: &Refused) -> Response<AnswerBody> {
    refuse_or_sign_in(audience, refused, None)
}

/// Answers a refusal on a dev host, whose members sign in at `sign_in`, if they can.
pub(crate) fn refuse_or_sign_in(audience: Audience, refused: &Refused, sign_in: Option<&str>) -> Response<AnswerBody> {
    let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let refusal = refused.refusal();
    // Strangers get the same card whatever is wrong with what they showed. Whoever has a session and does not say
    // what it reads is taken for a program.
    let is_for_strangers =
        matches!(refused, Refused::Unverified(_) | Refused::NoEntry(_) | Refused::DeadLink { .. } | Refused::LeaseOver);
    let is_page = match audience {
        Audience::Navigation | Audience::Form => true,
        Audience::Reader => is_for_strangers,
        Audience::Program => false,
    };
    let mut response = if is_page {
        page(status, pages::of(refused, &refusal, sign_in))
    } else {
        let json = serde_json::to_string(&ErrorBody { error: refusal.clone() }).expect("a refusal is plain data");
        let mut response = Response::new(AnswerBody::own(json));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        guard(response.headers_mut());
        response
    };
    let headers = response.headers_mut();
    if let Some(seconds) = refusal.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    match refused {
        Refused::Unverified(reason) if *reason != Unverified::UnknownLabel => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("EnvForge realm=\"preview\""));
        }
        Refused::Method => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        _ => {}
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audience(method: &str, headers: &[(&str, &str)]) -> Audience {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Audience::of(&request.body(()).expect("a request"))
    }

    // proves LINK-5
    #[test]
    fn browsers_programs_and_crawlers_are_told_apart() {
        let html = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        assert_eq!(audience("GET", &[html]), Audience::Navigation);
        assert_eq!(audience("GET", &[html, ("sec-fetch-mode", "navigate")]), Audience::Navigation);
        assert_eq!(audience("POST", &[html, ("sec-fetch-mode", "navigate")]), Audience::Form);
        assert_eq!(audience("GET", &[html, ("sec-fetch-mode", "cors")]), Audience::Program);
        assert_eq!(audience("GET", &[]), Audience::Reader);
        assert_eq!(audience("GET", &[("accept", "application/json")]), Audience::Program);
        assert_eq!(audience("GET", &[html, ("envforge-link", "x")]), Audience::Program);
        assert_eq!(audience("POST", &[]), Audience::Program);
        assert_eq!(audience("GET", &[("upgrade", "websocket")]), Audience::Program);
    }
}
