//! What is changed in the headers of what passes through.
//!
//! Hop-by-hop headers end here (RFC 9110, section 7.6.1), and so does everything that is the gateway's own business.
//! `Host` stays as the client sent it: services make absolute links from it.

use crate::config::Scheme;
use envforge_core::link::{COOKIE as OURS, COOKIE_PLAIN as OURS_PLAIN, HEADER};
use http::header::{
    ALT_SVC, CONNECTION, COOKIE, EXPECT, FORWARDED, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const LINK: HeaderName = HeaderName::from_static(HEADER);
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Of one hop only, whatever `Connection` says.
const HOP_BY_HOP: [HeaderName; 10] = [
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    EXPECT,
    HTTP2_SETTINGS,
];

fn end_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
            .filter(|name| *name != HOST)
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// What a service gets to see of a request.
pub(crate) fn clean_request(headers: &mut HeaderMap, address: &HeaderValue, scheme: Scheme, port: &HeaderValue) {
    end_hop(headers);
    headers.remove(LINK);
    headers.remove(FORWARDED);
    strip_cookie(headers);
    let chain = match headers.get(FORWARDED_FOR) {
        None => address.clone(),
        Some(before) => {
            let mut chain = before.as_bytes().to_vec();
            chain.extend_from_slice(b", ");
            chain.extend_from_slice(address.as_bytes());
            HeaderValue::from_bytes(&chain).unwrap_or_else(|_| address.clone())
        }
    };
    headers.insert(FORWARDED_FOR, chain);
    headers.insert(FORWARDED_PORT, port.clone());
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme.as_str()));
    if let Some(host) = headers.get(HOST).cloned() {
        headers.insert(FORWARDED_HOST, host);
    }
}

/// What a client gets to see of a response.
pub(crate) fn clean_response(headers: &mut HeaderMap) {
    end_hop(headers);
    // It would let the app lead the browser away from the gateway.
    headers.remove(ALT_SVC);
    if headers.contains_key(SET_COOKIE) {
        let cookies: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().filter_map(clean_set_cookie).collect();
        headers.remove(SET_COOKIE);
        for cookie in cookies {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

fn is_ours(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(OURS.as_bytes()) || name.eq_ignore_ascii_case(OURS_PLAIN.as_bytes())
}

fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii()
}

/// Takes our cookies out of `Cookie`, leaving the others as they are.
fn strip_cookie(headers: &mut HeaderMap) {
    let touched = headers
        .get_all(COOKIE)
        .iter()
        .any(|value| value.as_bytes().split(|byte| *byte == b';').any(|pair| is_ours(name_of(pair))));
    if !touched {
        return;
    }
    let mut kept: Vec<u8> = Vec::new();
    for value in headers.get_all(COOKIE) {
        for pair in value.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
            if pair.is_empty() || is_ours(name_of(pair)) {
                continue;
            }
            if !kept.is_empty() {
                kept.extend_from_slice(b"; ");
            }
            kept.extend_from_slice(pair);
        }
    }
    headers.remove(COOKIE);
    if let Ok(value) = HeaderValue::from_bytes(&kept)
        && !kept.is_empty()
    {
        headers.insert(COOKIE, value);
    }
}

/// A service's cookie for its own host only; `None` when it takes our name. A cookie without a name is sent
/// back as its bare value, so `=name=value` takes a name too.
fn clean_set_cookie(value: &HeaderValue) -> Option<HeaderValue> {
    let bytes = value.as_bytes();
    let mut parts = bytes.split(|byte| *byte == b';');
    let pair = parts.next().unwrap_or_default().trim_ascii();
    let bare = pair.strip_prefix(b"=").unwrap_or(pair).trim_ascii();
    if is_ours(name_of(pair)) || is_ours(name_of(bare)) {
        return None;
    }
    let is_domain = |part: &[u8]| name_of(part).eq_ignore_ascii_case(b"domain");
    if !parts.clone().any(is_domain) {
        return Some(value.clone());
    }
    let mut kept = pair.to_vec();
    for part in parts.filter(|part| !is_domain(part)) {
        kept.push(b';');
        kept.extend_from_slice(part);
    }
    HeaderValue::from_bytes(&kept).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).expect("a name");
        pairs.iter().map(|(key, value)| (name(key), HeaderValue::from_str(value).expect("a value"))).collect()
    }

    fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
        headers.get_all(name).iter().map(|value| value.to_str().expect("text").to_owned()).collect()
    }

    fn cleaned(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = map(pairs);
        let address = HeaderValue::from_static("10.0.0.9");
        clean_request(&mut headers, &address, Scheme::Https, &HeaderValue::from_static("443"));
        headers
    }

    // proves LINK-10
    #[test]
    fn what_is_ours_never_reaches_a_service() {
        let headers = cleaned(&[
            ("host", "web--a--b.localhost"),
            ("cookie", "a=1; envforge-session=secret; b=2"),
            ("cookie", "__Host-envforge=secret;ENVFORGE-SESSION=x; c=envforge-session"),
            ("envforge-link", "efl1.secret"),
        ]);
        assert_eq!(all(&headers, "cookie"), ["a=1; b=2; c=envforge-session"]);
        assert!(!format!("{headers:?}").contains("secret"));
        assert!(!cleaned(&[("cookie", "envforge-session=x")]).contains_key(COOKIE));
        assert_eq!(all(&cleaned(&[("cookie", "untouched=1;  x")]), "cookie"), ["untouched=1;  x"]);
    }

    #[test]
    fn one_hop_headers_end_and_the_way_is_told() {
        let headers = cleaned(&[
            ("host", "web--a--b.localhost:7081"),
            ("connection", "close, X-Secret-Hop, host"),
            ("x-secret-hop", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
            ("forwarded", "for=1.1.1.1"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "gopher"),
        ]);
        assert_eq!(headers.len(), 5, "{headers:?}");
        assert_eq!(all(&headers, "host"), ["web--a--b.localhost:7081"]);
        assert_eq!(all(&headers, "x-forwarded-for"), ["1.1.1.1, 10.0.0.9"]);
        assert_eq!(all(&headers, "x-forwarded-host"), ["web--a--b.localhost:7081"]);
        assert_eq!(all(&headers, "x-forwarded-port"), ["443"]);
        assert_eq!(all(&headers, "x-forwarded-proto"), ["https"]);
    }

    // proves LINK-10
    #[test]
    fn a_service_sets_cookies_for_its_own_host_and_never_ours() {
        let mut headers = map(&[
            ("set-cookie", "a=1; Domain=.localhost; Path=/"),
            ("set-cookie", "b=2; HttpOnly; domain = localhost"),
            ("set-cookie", "c=3; Secure"),
            ("set-cookie", "envforge-session=stolen"),
            ("set-cookie", " __host-envforge = stolen; Path=/"),
            ("set-cookie", "=__Host-envforge=stolen; Path=/"),
            ("alt-svc", "h2=\":8443\""),
        ]);
        clean_response(&mut headers);
        assert_eq!(all(&headers, "set-cookie"), ["a=1; Path=/", "b=2; HttpOnly", "c=3; Secure"]);
        assert!(!headers.contains_key(ALT_SVC));
    }
}
