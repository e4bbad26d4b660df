//! Secrets that are used without being read: lent to requests on their way out.
//!
//! A secret with an [`EgressRule`] is given to no service. The host adds it to requests that a workspace sends through its
//! egress proxy, for the one destination the rule names, so the value never enters the workspace. The rule belongs to the
//! version of the secret, and not to the repository: whoever can change a branch can't choose where the value goes.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// Where a workspace finds its egress proxy, on its own loopback.
pub const PROXY_PORT: u16 = 7079;

/// Longest name of a destination (RFC 1035, section 2.3.4).
const HOST_MAX: usize = 253;
/// Longest header name and prefix.
const TEXT_MAX: usize = 64;
/// Headers that say how a message travels and not who sends it.
const CLOSED: [&str; 10] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-connection",
    "keep-alive",
];

/// Where a secret is added, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EgressRule {
    /// The destination, such as `api.anthropic.com`; with `:port` when that is not 443. Always reached by TLS.
    #[schema(example = "api.example.org")]
    pub host: String,
    /// The header it is sent in, such as `x-api-key`; `authorization` when absent.
    #[serde(default = "authorization")]
    pub header: String,
    /// What stands before it in the header, such as `Bearer `.
    #[serde(default)]
    pub prefix: String,
}

fn authorization() -> String {
    "authorization".to_owned()
}

/// Why a rule is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The destination is not a name.
    #[error(
        "`{0}` is not the name of a host on the internet: give one such as `api.anthropic.com`, lower case, no address"
    )]
    Host(String),
    /// The header is not one that can carry a credential.
    #[error("`{0}` is not a header that can carry a credential")]
    Header(String),
    /// The prefix is not printable.
    #[error("the prefix has at most {TEXT_MAX} printable ASCII characters")]
    Prefix,
}

impl EgressRule {
    /// Whether it can be obeyed.
    pub fn check(&self) -> Result<(), EgressError> {
        let shown = |text: &str| text.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect::<String>();
        if destination(&self.host).is_none() {
            return Err(EgressError::Host(shown(&self.host)));
        }
        let is_token = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
        let fits = (1..=TEXT_MAX).contains(&self.header.len()) && self.header.bytes().all(is_token);
        if !fits || CLOSED.contains(&self.header.as_str()) {
            return Err(EgressError::Header(shown(&self.header)));
        }
        if self.prefix.len() > TEXT_MAX || !self.prefix.bytes().all(|c| (b' '..=b'~').contains(&c)) {
            return Err(EgressError::Prefix);
        }
        Ok(())
    }
}

impl fmt::Display for EgressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.host, self.header)
    }
}

/// Name and port of a destination; `None` when it is not a name in lower case with at least one dot. An address is
/// none: what is reached by address has no certificate that says who it is.
pub fn destination(text: &str) -> Option<(&str, u16)> {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => {
            let is_plain = port.bytes().all(|c| c.is_ascii_digit()) && !port.starts_with('0');
            (name, port.parse().ok().filter(|_| is_plain)?)
        }
        None => (text, 443),
    };
    let is_label = |label: &str| {
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_name = name.len() <= HOST_MAX && name.contains('.') && name.split('.').all(is_label);
    // The last label of an address is a number (WHATWG URL, "ends in a number").
    let is_address = last.bytes().all(|c| c.is_ascii_digit()) || last.starts_with("0x");
    (is_name && !is_address).then_some((name, port))
}

/// A request's target as the proxy gets it, `/<destination>/<path>`: destination, and the rest with its slash.
pub fn split_target(target: &str) -> Option<(&str, &str)> {
    let rest = target.strip_prefix('/')?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    destination(host)?;
    Some((host, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(host: &str, header: &str, prefix: &str) -> EgressRule {
        EgressRule { host: host.to_owned(), header: header.to_owned(), prefix: prefix.to_owned() }
    }

    // proves ORG-5
    #[test]
    fn a_rule_names_a_host_by_name_and_a_header_of_its_own() {
        for host in ["api.anthropic.com", "llm.corp.example:8443", "xn--bcher-kva.example"] {
            assert_eq!(rule(host, "x-api-key", "").check(), Ok(()), "{host}");
        }
        for host in [
            "",
            "localhost",
            "127.0.0.1",
            "10.0.0.1:80",
            "[::1]",
            "API.example.org",
            "a..b",
            "-a.b",
            "a.b/c",
            "u@a.b",
            "a.b:",
            "a.b:0",
            "a.b:99999",
            "a.b:4 4",
            "169.254.169.254",
            "0x7f.1",
            "a.0x7f",
            "a.b.",
            "*.example.org",
        ] {
            assert!(matches!(rule(host, "x-api-key", "").check(), Err(EgressError::Host(_))), "{host}");
        }
        for header in ["", "host", "Authorization", "x y", "x:y", "content-length", "connection"] {
            assert!(matches!(rule("a.b", header, "").check(), Err(EgressError::Header(_))), "{header}");
        }
        assert_eq!(rule("a.b", "authorization", "Bearer ").check(), Ok(()));
        assert_eq!(rule("a.b", "authorization", "a\r\nb").check(), Err(EgressError::Prefix));
    }

    #[test]
    fn a_target_names_its_destination_first() {
        assert_eq!(split_target("/a.b/v1/x?y=1"), Some(("a.b", "/v1/x?y=1")));
        assert_eq!(split_target("/a.b"), Some(("a.b", "")));
        assert_eq!(split_target("/a.b?x"), Some(("a.b", "?x")));
        for target in ["", "/", "//a.b/", "a.b/", "/127.0.0.1/", "/a.b@c.d/", "/a.b%2f/", "*"] {
            assert_eq!(split_target(target), None, "{target}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_the_destination_is_a_plain_name(target in ".{0,60}") {
            if let Some((host, path)) = split_target(&target) {
                prop_assert_eq!(format!("/{host}{path}"), target.clone());
                prop_assert!(host.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-.:".contains(&c)));
                prop_assert!(host.contains(char::is_alphabetic));
            }
        }
    }
}
