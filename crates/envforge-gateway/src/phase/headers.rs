//! What is changed in the headers of what passes through.
//!
//! Hop-by-hop headers end here (RFC 9110, section 7.6.1), and so does everything that is the gateway's own business. They
//! are left out as the head is written, which costs less than taking them out of a map first. `Host` stays as the
//! client sent it: services make absolute links from it.

use crate::config::Scheme;
use crate::http1::head::{has_token, put_header};
use bytes::{BufMut as _, BytesMut};
use envforge_core::link::{COOKIE as OURS, COOKIE_PLAIN as OURS_PLAIN, HEADER};
use http::header::{ALT_SVC, CONNECTION, HOST, HeaderName, SET_COOKIE, TE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

/// Whether a header stays on its hop, whatever `Connection` says.
fn is_of_one_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "expect"
            | "http2-settings"
    )
}

/// The headers that `Connection` names beside the customary ones. `Host` is nobody's to name.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let customary = |name: &[u8]| {
        [&b"close"[..], b"keep-alive", b"upgrade", b"host"].iter().any(|one| name.eq_ignore_ascii_case(one))
    };
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !customary(name))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect()
}

/// A request's head as its service gets to see it.
pub(crate) struct ForService<'a> {
    pub(crate) head: &'a Parts,
    /// It asks to become a WebSocket.
    pub(crate) websocket: bool,
    /// Whom it comes from.
    pub(crate) address: &'a HeaderValue,
    /// How browsers reach the gateway.
    pub(crate) scheme: Scheme,
    pub(crate) port: &'a HeaderValue,
}

impl ForService<'_> {
    /// Writes the headers, all but those that tell the body's length.
    pub(crate) fn put(&self, out: &mut BytesMut) {
        let headers = &self.head.headers;
        let named = named_by_connection(headers);
        let mut before: Option<&HeaderValue> = None;
        for (name, value) in headers {
            match name.as_str() {
                "content-length" | HEADER | "forwarded" | "x-forwarded-host" | "x-forwarded-port"
                | "x-forwarded-proto" => {}
                "x-forwarded-for" => before = before.or(Some(value)),
                "cookie" => put_cookie(out, value),
                one if is_of_one_hop(one) || named.contains(name) => {}
                one => put_header(out, one, value.as_bytes()),
            }
        }
        if self.websocket {
            out.put_slice(b"connection: Upgrade\r\nupgrade: websocket\r\n");
        } else if has_token(headers, &TE, "trailers") {
            out.put_slice(b"te: trailers\r\n");
        }
        let host = headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
        self.put_way(out, before, host);
    }

    /// Tells the way it came, in both customary forms.
    fn put_way(&self, out: &mut BytesMut, before: Option<&HeaderValue>, host: &[u8]) {
        let (address, scheme) = (self.address.as_bytes(), self.scheme.as_str().as_bytes());
        out.reserve(256 + 2 * host.len());
        out.put_slice(b"x-forwarded-for: ");
        if let Some(before) = before {
            out.put_slice(before.as_bytes());
            out.put_slice(b", ");
        }
        out.put_slice(address);
        out.put_slice(b"\r\nx-forwarded-host: ");
        out.put_slice(host);
        out.put_slice(b"\r\nx-forwarded-port: ");
        out.put_slice(self.port.as_bytes());
        out.put_slice(b"\r\nx-forwarded-proto: ");
        out.put_slice(scheme);
        let (open, close) = if address.contains(&b':') { ("\"[", "]\"") } else { ("", "") };
        out.put_slice(b"\r\nforwarded: for=");
        out.put_slice(open.as_bytes());
        out.put_slice(address);
        out.put_slice(close.as_bytes());
        out.put_slice(b";host=\"");
        out.put_slice(host);
        out.put_slice(b"\";proto=");
        out.put_slice(scheme);
        out.put_slice(b"\r\n");
    }
}

/// Writes what a client gets to see of a response's headers, all but those that tell the body's length.
pub(crate) fn put_for_client(out: &mut BytesMut, headers: &HeaderMap) {
    let named = named_by_connection(headers);
    for (name, value) in headers {
        match name.as_str() {
            // Alternative services would let the app lead the browser away from the gateway.
            "content-length" | "alt-svc" => {}
            "set-cookie" => {
                if let Some(value) = clean_set_cookie(value) {
                    put_header(out, "set-cookie", value.as_bytes());
                }
            }
            one if is_of_one_hop(one) || named.contains(name) => {}
            one => put_header(out, one, value.as_bytes()),
        }
    }
}

/// The same for a response that leaves as a map.
pub(crate) fn clean_response(headers: &mut HeaderMap) {
    let named = named_by_connection(headers);
    let hop = headers.keys().filter(|name| is_of_one_hop(name.as_str()) || **name == ALT_SVC).cloned();
    for name in hop.chain(named).collect::<Vec<_>>() {
        headers.remove(name);
    }
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

/// Writes a `Cookie` header without ours, the others as they are.
fn put_cookie(out: &mut BytesMut, value: &HeaderValue) {
    let pairs = || value.as_bytes().split(|byte| *byte == b';');
    if !pairs().any(|pair| is_ours(name_of(pair))) {
        return put_header(out, "cookie", value.as_bytes());
    }
    let mut kept = pairs().map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty() && !is_ours(name_of(pair)));
    let Some(first) = kept.next() else { return };
    out.reserve(value.len() + 16);
    out.put_slice(b"cookie: ");
    out.put_slice(first);
    for pair in kept {
        out.put_slice(b"; ");
        out.put_slice(pair);
    }
    out.put_slice(b"\r\n");
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
    use crate::http1::body::Framing;
    use crate::http1::head::{put_request, take_request};
    use http::header::COOKIE;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).expect("a name");
        pairs.iter().map(|(key, value)| (name(key), HeaderValue::from_str(value).expect("a value"))).collect()
    }

    fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
        headers.get_all(name).iter().map(|value| value.to_str().expect("text").to_owned()).collect()
    }

    /// What a service reads.
    fn cleaned(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut request = http::Request::new(());
        *request.headers_mut() = map(pairs);
        let (address, port) = (HeaderValue::from_static("10.0.0.9"), HeaderValue::from_static("443"));
        let (head, ()) = request.into_parts();
        let request =
            ForService { head: &head, websocket: false, address: &address, scheme: Scheme::Https, port: &port };
        let mut out = BytesMut::new();
        put_request(&mut out, &request, Framing::Empty);
        let length = out.len();
        take_request(&mut out, length, 100).expect("readable").request.headers().clone()
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
        assert_eq!(all(&headers, "cookie"), ["a=1; b=2", "c=envforge-session"]);
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
        assert_eq!(headers.len(), 7, "{headers:?}");
        assert_eq!(all(&headers, "te"), ["trailers"]);
        let way = r#"for=10.0.0.9;host="web--a--b.localhost:7081";proto=https"#;
        assert_eq!(all(&headers, "forwarded"), [way]);
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
