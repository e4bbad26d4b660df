//! Addresses of Git repositories, as far as credentials depend on them.
//!
//! A credential is given for the workspace's own repository host and for nothing else, so what a program asks for is
//! read by the same rules as what the project says. Only HTTP is a matter of tokens. In clear they are sent to this
//! very machine at most.

use core::net::Ipv4Addr;
use std::fmt;
use std::str::FromStr;

/// Longest name of a host, with its port.
const HOST_MAX: usize = 255;

/// A Git host as people write it: a name, and the port when it is not HTTPS's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GitHost(String);

impl GitHost {
    /// The name in lower case, with the port if there is one.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is this very machine: what is sent there in clear is on no wire.
    pub fn is_loopback(&self) -> bool {
        let name = self.0.rsplit_once(':').map_or(self.0.as_str(), |(name, _)| name);
        name == "localhost" || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for GitHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for GitHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.to_ascii_lowercase();
        let (name, port) = text.split_once(':').map_or((text.as_str(), None), |(name, port)| (name, Some(port)));
        let name_fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && !name.contains("..");
        let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number.to_string() == port));
        if name_fits && port_fits && text.len() <= HOST_MAX {
            return Ok(Self(text));
        }
        Err("a Git host is a name such as `github.com`, with a port where it has one of its own".to_owned())
    }
}

/// Where a repository is, over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Whether the connection is encrypted.
    pub is_https: bool,
    /// Whose it is.
    pub host: GitHost,
    /// Owner and name below the host, without `.git`.
    pub path: String,
}

impl Repository {
    /// Reads an `https://` or `http://` address; any other is no matter of tokens.
    pub fn parse(address: &str) -> Option<Self> {
        let (scheme, rest) = address.split_once("://")?;
        let (is_https, default_port) = match scheme {
            "https" => (true, ":443"),
            "http" => (false, ":80"),
            _ => return None,
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = host.strip_suffix(default_port).unwrap_or(host).parse().ok()?;
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let is_plain = path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'%' | b'\\'))
            && !path.split('/').any(|part| matches!(part, "." | ".."));
        is_plain.then(|| Self { is_https, host, path: path.to_owned() })
    }

    /// Scheme and host, as Git's configuration names them.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.is_https { "https" } else { "http" }, self.host)
    }

    /// Whether `other` is at the same host, reached in the same way.
    pub fn shares_host(&self, other: &Self) -> bool {
        self.is_https == other.is_https && self.host == other.host
    }

    /// Whether a token sent there can't be read on the way.
    pub fn keeps_secrets(&self) -> bool {
        self.is_https || self.host.is_loopback()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(address: &str) -> Option<(String, String)> {
        Repository::parse(address).map(|repository| (repository.origin(), repository.path))
    }

    #[test]
    fn one_repository_has_one_spelling() {
        let planner = Some(("https://github.com".to_owned(), "acme/planner".to_owned()));
        for address in [
            "https://github.com/acme/planner.git",
            "https://GitHub.com:443/acme/planner",
            "https://ada@github.com/acme/planner/",
        ] {
            assert_eq!(parse(address), planner, "{address}");
        }
        assert_ne!(parse("https://github.com:8443/acme/planner"), planner);
        for address in [
            "git@github.com:acme/planner.git",
            "ssh://git@github.com/acme/planner",
            "/srv/planner",
            "https://",
            "https://github.com/acme/../rival/planner",
            "https://github.com/acme/%2e%2e/planner",
            "https://github.com:99999/a/b",
            "https://github.com\n/a/b",
        ] {
            assert_eq!(parse(address), None, "{address}");
        }
    }

    #[test]
    fn a_token_crosses_no_wire_in_clear() {
        let keeps = |address: &str| Repository::parse(address).unwrap().keeps_secrets();
        assert!(
            keeps("https://git.example.org/a/b") && keeps("http://127.0.0.1:8080/a/b") && keeps("http://localhost/a")
        );
        assert!(!keeps("http://git.example.org/a/b") && !keeps("http://127.0.0.1.example.org/a/b"));
        let at = |address: &str| Repository::parse(address).unwrap();
        assert!(!at("https://localhost/a").shares_host(&at("http://localhost/a")));
    }

    proptest! {
        #[test]
        fn what_was_read_is_read_the_same_again(address in "https?://([a-z]{1,5}@)?[A-Z0-9a-z.:-]{1,20}/[ -~]{0,20}") {
            if let Some(read) = Repository::parse(&address) {
                let again = format!("{}/{}.git", read.origin(), read.path);
                prop_assert_eq!(Repository::parse(&again).map(|r| r.host), Some(read.host));
            }
        }
    }
}
