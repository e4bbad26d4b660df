//! What is changed in a service's answers because its manifest asks for it.
//!
//! A service that takes `localhost:3000` for its address redirects there, and one that takes HTTPS for granted sets cookies
//! that a browser refuses on a dev host without TLS. Both can often not be configured away. What a header means is changed
//! nowhere else: a redirect that leads elsewhere stays, and so does every cookie's path.

use envforge_core::manifest::Rewrite;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// What the manifest asks for, of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rewriting {
    redirects: bool,
    cookies: bool,
    service: String,
    port: Option<u16>,
}

impl Rewriting {
    /// `None` when nothing is asked for.
    pub(crate) fn new(asked: &BTreeSet<Rewrite>, service: &str, port: Option<u16>) -> Option<Self> {
        let asks = |rewrite| asked.contains(&rewrite);
        (!asked.is_empty()).then(|| Self {
            redirects: asks(Rewrite::Redirects),
            cookies: asks(Rewrite::Cookies),
            service: service.to_owned(),
            port,
        })
    }

    /// The reference that leads to the same place on whichever host it is read, if the URL leads to the service itself.
    fn own(&self, url: &[u8]) -> Option<Vec<u8>> {
        let begins = |scheme: &[u8]| url.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
        let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| begins(scheme))?;
        let rest = &url[scheme.len()..];
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        // A browser drops tabs and ends a header's value at others: what it would read is not what stands here.
        if !self.is_own(authority) || path.iter().any(|byte| byte.is_ascii_control() || *byte == b' ') {
            return None;
        }
        let begin: &[u8] = match path {
            // Two slashes, of either kind, would name another host.
            [b'/', b'/' | b'\\', ..] => b"/.",
            [b'/', ..] => b"",
            _ => b"/",
        };
        Some([begin, path].concat())
    }

    fn is_own(&self, authority: &[u8]) -> bool {
        let names = [&b"localhost"[..], b"127.0.0.1", b"[::1]", b"0.0.0.0", self.service.as_bytes()];
        names.into_iter().any(|name| {
            let Some((host, port)) = authority.split_at_checked(name.len()) else { return false };
            host.eq_ignore_ascii_case(name) && (port.is_empty() || self.is_own_port(port))
        })
    }

    fn is_own_port(&self, port: &[u8]) -> bool {
        let digits = port.strip_prefix(b":").filter(|digits| digits.iter().all(u8::is_ascii_digit));
        let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        number.is_some() && number == self.port
    }
}

/// What is done to an answer on its way to a client.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ForClient<'a> {
    /// The gateway is reached without TLS.
    pub(crate) is_plain: bool,
    /// What the manifest asks for.
    pub(crate) rewriting: Option<&'a Rewriting>,
}

impl ForClient<'_> {
    /// A reference, as in `Location`.
    pub(crate) fn reference<'v>(&self, value: &'v [u8]) -> Cow<'v, [u8]> {
        let rewriting = self.rewriting.filter(|rewriting| rewriting.redirects);
        rewriting.and_then(|rewriting| rewriting.own(value)).map_or(Cow::Borrowed(value), Cow::Owned)
    }

    /// A `Refresh`: seconds, and after `url=` a reference, in quotes or not.
    pub(crate) fn refresh<'v>(&self, value: &'v [u8]) -> Cow<'v, [u8]> {
        let Some(at) = value.windows(4).position(|word| word.eq_ignore_ascii_case(b"url=")) else {
            return Cow::Borrowed(value);
        };
        let (before, url) = value.split_at(at + 4);
        let quoted = |quote: &'static [u8]| Some((quote, url.strip_prefix(quote)?.strip_suffix(quote)?));
        let (quote, url) = quoted(b"\"").or_else(|| quoted(b"'")).unwrap_or((b"", url));
        match self.reference(url) {
            Cow::Borrowed(_) => Cow::Borrowed(value),
            Cow::Owned(own) => Cow::Owned([before, quote, &own, quote].concat()),
        }
    }

    /// What becomes of an attribute of a cookie; `None` is its end. `is_secure` tells whether the cookie has `Secure`.
    pub(crate) fn attribute<'v>(&self, part: &'v [u8], is_secure: bool) -> Option<&'v [u8]> {
        if !self.rewriting.is_some_and(|rewriting| rewriting.cookies) {
            return Some(part);
        }
        let mut pair = part.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
        let (name, value) = (pair.next().unwrap_or_default(), pair.next().unwrap_or_default());
        // A partitioned cookie without `Secure` is refused too.
        if self.is_plain && (name.eq_ignore_ascii_case(b"secure") || name.eq_ignore_ascii_case(b"partitioned")) {
            return None;
        }
        let is_none = name.eq_ignore_ascii_case(b"samesite") && value.eq_ignore_ascii_case(b"none");
        if is_none && (self.is_plain || !is_secure) { Some(b" SameSite=Lax") } else { Some(part) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewriting() -> Rewriting {
        Rewriting::new(&Rewrite::ALL.into(), "web", Some(3000)).expect("something is asked for")
    }

    fn reference(value: &str) -> String {
        let rewriting = rewriting();
        let rules = ForClient { is_plain: true, rewriting: Some(&rewriting) };
        String::from_utf8(rules.reference(value.as_bytes()).into_owned()).expect("text")
    }

    // proves LINK-3
    #[test]
    fn what_leads_to_the_service_itself_leads_to_the_dev_host() {
        for (from, to) in [
            ("http://localhost:3000/a?b#c", "/a?b#c"),
            ("HTTPS://LocalHost/a", "/a"),
            ("http://127.0.0.1:3000", "/"),
            ("http://[::1]:3000?a", "/?a"),
            ("http://0.0.0.0:3000#a", "/#a"),
            ("http://web:3000/a", "/a"),
            ("http://web/a", "/a"),
            ("http://localhost:3000//evil.example/a", "/.//evil.example/a"),
            ("http://localhost:3000/\\evil.example/a", "/./\\evil.example/a"),
        ] {
            assert_eq!(reference(from), to, "{from}");
        }
    }

    // proves LINK-10
    #[test]
    fn what_leads_elsewhere_stays() {
        for stays in [
            "/a",
            "//localhost:3000/a",
            "ftp://localhost/a",
            "http:/localhost/a",
            "http://localhost:3001/a",
            "http://localhost:+3000/a",
            "http://localhost:/a",
            "http://localhost.evil.example/a",
            "http://localhost@evil.example/a",
            "http://localhost:3000@evil.example/a",
            "http://evil.example/http://localhost:3000/",
            "http://localhost\\@evil.example/",
            "http://localhost/\t/evil.example",
            "http://api:3000/a",
            "http://webs/a",
            "http://",
            "",
        ] {
            assert_eq!(reference(stays), stays);
        }
        let unasked = ForClient { is_plain: true, rewriting: None };
        assert_eq!(*unasked.reference(b"http://localhost/a"), *b"http://localhost/a");
    }

    #[test]
    fn a_refresh_is_rewritten_like_a_redirect() {
        let rewriting = rewriting();
        let rules = ForClient { is_plain: true, rewriting: Some(&rewriting) };
        for (from, to) in [
            ("5; url=http://localhost:3000/a", "5; url=/a"),
            ("0;URL='http://web/a'", "0;URL='/a'"),
            ("5", "5"),
            ("5; url=https://other.example/", "5; url=https://other.example/"),
        ] {
            assert_eq!(
                rules.refresh(from.as_bytes()).escape_ascii().to_string(),
                to.as_bytes().escape_ascii().to_string()
            );
        }
    }

    proptest! {
        #[test]
        fn a_rewritten_redirect_never_leaves_the_dev_host(
            host in "(localhost|127\\.0\\.0\\.1|\\[::1\\]|0\\.0\\.0\\.0|web)(:3000)?", rest in "[/?#\\\\@:.a-z\t ]{0,12}"
        ) {
            let url = format!("http://{host}{rest}");
            let to = reference(&url);
            if to != url {
                prop_assert!(to.starts_with('/') && !to.starts_with("//") && !to.starts_with("/\\"), "{to:?}");
                prop_assert!(!to.contains(['\t', ' ']));
                prop_assert!(to.ends_with(&rest));
            }
        }
    }
}
