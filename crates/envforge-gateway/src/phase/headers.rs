//! What is changed in the headers of what passes through.
//!
//! Hop-by-hop headers end here (RFC 9110, section 7.6.1), and so does everything that is the gateway's own business. They
//! are left out as the head is written, which costs less than taking them out of a map first. `Host` stays as the
//! client sent it: services make absolute links from it.

use crate::config::Scheme;
use crate::http1::head::{has_token, put_header};
use crate::phase::rewrite::ForClient;
use bytes::{BufMut as _, Bytes, BytesMut};
use envforge_core::entry::{STATE_COOKIE, STATE_COOKIE_PLAIN};
use envforge_core::link::{COOKIE as OURS, COOKIE_PLAIN as OURS_PLAIN, HEADER};
use http::header::{CONNECTION, HeaderName, TE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use std::borrow::Cow;

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

/// Whether a field may come behind a body: not what says how a message is read, by whom, or for whom (RFC 9110, section
/// 6.5.1), which was looked at in its head.
pub(crate) fn may_trail(name: &str) -> bool {
    let is_for_heads = matches!(
        name,
        HEADER
            | "alt-svc"
            | "authorization"
            | "cache-control"
            | "clear-site-data"
            | "content-encoding"
            | "content-length"
            | "content-range"
            | "content-type"
            | "cookie"
            | "forwarded"
            | "host"
            | "location"
            | "max-forwards"
            | "range"
            | "set-cookie"
            | "strict-transport-security"
            | "trailer"
            | "x-real-ip"
    );
    !(is_for_heads || is_of_one_hop(name) || name.starts_with("x-forwarded-") || name.starts_with("content-security-"))
}

/// Of trailers, those that may be.
pub(crate) fn trailers_of(trailers: &HeaderMap) -> HeaderMap {
    trailers
        .iter()
        .filter(|(name, _)| may_trail(name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
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
    /// It comes from a load balancer of ours, whose word on the way is passed on.
    pub(crate) is_trusted: bool,
    /// What it is told of the way, but for the addresses before ours; [`way`] makes it.
    pub(crate) way: &'a Bytes,
}

impl ForService<'_> {
    /// Writes the headers, all but those that tell the body's length.
    pub(crate) fn put(&self, out: &mut BytesMut) {
        let headers = &self.head.headers;
        let named = if headers.contains_key(CONNECTION) { named_by_connection(headers) } else { Vec::new() };
        let mut takes_trailers = false;
        for (name, value) in headers {
            match name.as_str() {
                "content-length" | HEADER | "forwarded" | "x-forwarded-host" | "x-forwarded-port"
                | "x-forwarded-proto" | "x-forwarded-for" => {}
                "cookie" => put_cookie(out, value),
                "te" => takes_trailers |= has_token(headers, &TE, "trailers"),
                one if is_of_one_hop(one) || named.contains(name) => {}
                one => put_header(out, one, value.as_bytes()),
            }
        }
        if self.websocket {
            out.put_slice(b"connection: Upgrade\r\nupgrade: websocket\r\n");
        } else if takes_trailers {
            out.put_slice(b"te: trailers\r\n");
        }
        out.put_slice(b"x-forwarded-for: ");
        if self.is_trusted {
            // Some load balancers add to the line they were given, others write another one below.
            for before in headers.get_all("x-forwarded-for") {
                out.put_slice(before.as_bytes());
                out.put_slice(b", ");
            }
        }
        out.put_slice(self.way);
    }
}

/// The way a request came, in both customary forms, after `X-Forwarded-For: `: from this address, asking for this host.
pub(crate) fn way(address: &str, host: &HeaderValue, scheme: Scheme, port: u16) -> Bytes {
    let (scheme, host) = (scheme.as_str(), host.as_bytes());
    let node = if address.contains(':') { format!("\"[{address}]\"") } else { address.to_owned() };
    let mut way = BytesMut::with_capacity(256);
    way.put_slice(format!("{address}\r\nx-forwarded-host: ").as_bytes());
    way.put_slice(host);
    way.put_slice(format!("\r\nx-forwarded-port: {port}\r\nx-forwarded-proto: {scheme}\r\n").as_bytes());
    way.put_slice(format!("forwarded: for={node};host=\"").as_bytes());
    way.put_slice(host);
    way.put_slice(format!("\";proto={scheme}\r\n").as_bytes());
    way.freeze()
}

/// Longest name that anything here looks for; longer ones are nobody's business.
pub(crate) const LONGEST: usize = 64;

/// A header's name in lower case, if it is not longer than what is looked for.
pub(crate) fn lower_case<'a>(name: &'a str, buffer: &'a mut [u8; LONGEST]) -> &'a str {
    let Some(room) = buffer.get_mut(..name.len()) else { return name };
    room.copy_from_slice(name.as_bytes());
    room.make_ascii_lowercase();
    std::str::from_utf8(room).unwrap_or(name)
}

/// Writes what a client gets to see of one header of a service's response. `name` is in lower case.
pub(crate) fn put_for_client(out: &mut BytesMut, name: &str, value: &[u8], rules: ForClient<'_>) {
    match name {
        // Alternative services would let the app lead the browser away from the gateway; how long a browser holds to TLS
        // is said by whoever ends it.
        "alt-svc" | "strict-transport-security" => {}
        // A browser takes it to be about the whole site, sessions of other dev hosts included.
        "clear-site-data"
            if value.contains(&b'*') || value.windows(7).any(|part| part.eq_ignore_ascii_case(b"cookies")) => {}
        "set-cookie" => {
            if let Some(value) = clean_set_cookie(value, rules) {
                put_header(out, name, &value);
            }
        }
        "location" | "content-location" => put_header(out, name, &rules.reference(value)),
        "refresh" => put_header(out, name, &rules.refresh(value)),
        _ if is_of_one_hop(name) => {}
        _ => put_header(out, name, value),
    }
}

fn is_ours(name: &[u8]) -> bool {
    [OURS, OURS_PLAIN, STATE_COOKIE, STATE_COOKIE_PLAIN].iter().any(|ours| name.eq_ignore_ascii_case(ours.as_bytes()))
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
fn clean_set_cookie<'v>(bytes: &'v [u8], rules: ForClient<'_>) -> Option<Cow<'v, [u8]>> {
    let mut parts = bytes.split(|byte| *byte == b';');
    let pair = parts.next().unwrap_or_default().trim_ascii();
    let bare = pair.strip_prefix(b"=").unwrap_or(pair).trim_ascii();
    if is_ours(name_of(pair)) || is_ours(name_of(bare)) {
        return None;
    }
    let is_secure = parts.clone().any(|part| name_of(part).eq_ignore_ascii_case(b"secure"));
    let keep = |part: &'v [u8]| {
        if name_of(part).eq_ignore_ascii_case(b"domain") { None } else { rules.attribute(part, is_secure) }
    };
    if parts.clone().all(|part| keep(part) == Some(part)) {
        return Some(Cow::Borrowed(bytes));
    }
    let mut kept = pair.to_vec();
    for part in parts.filter_map(keep) {
        kept.push(b';');
        kept.extend_from_slice(part);
    }
    Some(Cow::Owned(kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::body::Framing;
    use crate::http1::head::{put_request, take_request};
    use crate::http1::response::take_response;
    use crate::phase::rewrite::Rewriting;
    use envforge_core::manifest::Rewrite;
    use http::header::{COOKIE, HOST};

    // proves LINK-3 LINK-10
    #[test]
    fn nothing_that_is_looked_at_in_a_head_comes_behind_a_body() {
        let told = map(&[
            ("grpc-status", "0"),
            ("x-checksum", "1"),
            ("envforge-link", "x"),
            ("x-forwarded-for", "6.6.6.6"),
            ("content-length", "5"),
            ("host", "other"),
            ("cookie", "a=b"),
            ("set-cookie", "a=b; Domain=localhost"),
            ("connection", "x"),
            ("transfer-encoding", "chunked"),
        ]);
        let kept = trailers_of(&told);
        assert_eq!(kept.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["grpc-status", "x-checksum"]);
    }

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
        let (head, ()) = request.into_parts();
        let host = head.headers.get(HOST).cloned().unwrap_or(HeaderValue::from_static("a"));
        let way = way("10.0.0.9", &host, Scheme::Https, 443);
        let request = ForService { head: &head, websocket: false, is_trusted: true, way: &way };
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
        let mut input = BytesMut::from(
            "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Domain=.localhost; Path=/\r\n\
             set-cookie: b=2; HttpOnly; domain = localhost\r\nset-cookie: c=3; Secure\r\n\
             set-cookie: envforge-session=stolen\r\nset-cookie:  __host-envforge = stolen; Path=/\r\n\
             set-cookie: =__Host-envforge=stolen; Path=/\r\nAlt-Svc: h2=\":8443\"\r\n\
             Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-End: 1\r\n\r\n",
        );
        let length = input.len();
        let head = take_response(&mut input, length, &http::Method::GET, ForClient::default()).expect("readable");
        let headers = head.fields.to_map();
        assert_eq!(all(&headers, "set-cookie"), ["a=1; Path=/", "b=2; HttpOnly", "c=3; Secure"]);
        assert_eq!((headers.keys_len(), headers["x-end"].as_bytes()), (2, &b"1"[..]));
    }

    // proves LINK-3
    #[test]
    fn cookies_a_browser_would_refuse_are_made_fit_where_the_manifest_asks() {
        let asked = Rewriting::new(&[Rewrite::Cookies].into(), "web", None).expect("something is asked for");
        let clean = |is_plain, asked, cookie: &str| {
            let rules = ForClient { is_plain, rewriting: asked };
            let clean = clean_set_cookie(cookie.as_bytes(), rules).expect("not ours");
            String::from_utf8(clean.into_owned()).expect("text")
        };
        for (cookie, plain, secure) in [
            ("a=1; Path=/x; Secure; HttpOnly", "a=1; Path=/x; HttpOnly", "a=1; Path=/x; Secure; HttpOnly"),
            ("a=1; SameSite=None; Secure", "a=1; SameSite=Lax", "a=1; SameSite=None; Secure"),
            ("a=1; samesite = none", "a=1; SameSite=Lax", "a=1; SameSite=Lax"),
            ("a=1; SameSite=Strict; secure", "a=1; SameSite=Strict", "a=1; SameSite=Strict; secure"),
            (
                "a=1; SameSite=None; Secure; Partitioned; Domain=x",
                "a=1; SameSite=Lax",
                "a=1; SameSite=None; Secure; Partitioned",
            ),
            ("Secure=None; Path=/", "Secure=None; Path=/", "Secure=None; Path=/"),
        ] {
            assert_eq!(clean(true, Some(&asked), cookie), plain);
            assert_eq!(clean(false, Some(&asked), cookie), secure);
            if !cookie.contains("Domain") {
                assert_eq!(clean(true, None, cookie), cookie, "nothing of it is asked for");
            }
        }
    }
}
