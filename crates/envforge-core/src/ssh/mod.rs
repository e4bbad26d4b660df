//! SSH, as far as Git's remotes depend on it: addresses, keys, logins, and the agent's protocol.
//!
//! Whoever holds a key signs one thing with it: the request by which SSH logs in somewhere (RFC 4252, section 7), under
//! the name that the repository's address says and with that very key ([`Login`]). The host that will see the signature is
//! not in there; only the session is, so it is good for one connection and for nothing that is kept.
//!
//! Keys are Ed25519 alone ([`SshKey`]): every Git host takes them, and one kind is one way to sign.

pub mod agent;
mod key;
mod wire;

pub use key::{SshKey, SshKeyError, SshPublicKey};

use crate::git::GitHost;
use wire::Reader;

/// Longest request to log in that is looked at, in bytes; one with an Ed25519 key has about two hundred.
pub const LOGIN_MAX: usize = 2048;
/// SSH's own port, which is left out of a host's name.
const PORT: &str = ":22";
/// Message number of `SSH_MSG_USERAUTH_REQUEST`.
const USERAUTH_REQUEST: u8 = 50;

/// Where a repository is, over SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshRepository {
    /// Whom one logs in as.
    pub user: String,
    /// Whose it is; with the port when it is not SSH's own.
    pub host: GitHost,
    /// The host's name as the address spells it, without a port.
    pub spelled: String,
}

impl SshRepository {
    /// Reads `ssh://user@host:port/path` or `user@host:path` (git-clone, "Git URLs"). Without a user it is nobody's: the name
    /// of whoever runs SSH says nothing to a Git host.
    pub fn parse(address: &str) -> Option<Self> {
        let (authority, path) = match address.strip_prefix("ssh://") {
            Some(rest) => rest.split_once('/')?,
            None => {
                address.split_once(':').filter(|(before, path)| !before.contains('/') && !path.starts_with("//"))?
            }
        };
        let (user, host) = authority.split_once('@')?;
        let is_name = user.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && user.starts_with(|c: char| c.is_ascii_alphanumeric());
        let host = host.strip_suffix(PORT).unwrap_or(host);
        let spelled = host.split(':').next().unwrap_or_default().to_owned();
        let host = host.parse().ok()?;
        let is_plain = !path.is_empty() && !path.chars().any(char::is_control);
        (is_name && is_plain).then(|| Self { user: user.to_owned(), host, spelled })
    }
}

/// A host's name as keys are kept by: without SSH's own port.
pub fn host_of(text: &str) -> Result<GitHost, String> {
    text.strip_suffix(PORT).unwrap_or(text).parse()
}

/// A request to log in, which is what a client asks an agent to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login<'a> {
    /// Whom it logs in as.
    pub user: &'a str,
    /// The key it logs in with.
    pub key: SshPublicKey,
}

impl<'a> Login<'a> {
    /// Reads the data to be signed: RFC 4252, section 7, or OpenSSH's form of it that also names the host's key
    /// (`PROTOCOL`, section 3.1). Anything else that a key could sign is `None`.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(data);
        // The digest of the key exchange: SHA-1 to SHA-512.
        let session = reader.string()?;
        let is_request = (20..=64).contains(&session.len()) && reader.byte()? == USERAUTH_REQUEST;
        let user = std::str::from_utf8(reader.string()?).ok()?;
        let is_for_commands = reader.string()? == b"ssh-connection";
        let method = reader.string()?;
        let is_signed = reader.byte()? == 1 && reader.string()? == key::ALGORITHM.as_bytes();
        let key = SshPublicKey::from_blob(reader.string()?)?;
        match method {
            b"publickey" => {}
            b"publickey-hostbound-v00@openssh.com" => drop(reader.string()?),
            _ => return None,
        }
        (is_request && is_for_commands && is_signed && data.len() <= LOGIN_MAX && reader.is_at_end())
            .then_some(Self { user, key })
    }
}

#[cfg(test)]
mod tests;
