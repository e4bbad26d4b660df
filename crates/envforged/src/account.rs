//! The Linux users that roles run as.
//!
//! Started as root, each role that reads the network gets a user of its own; a number needs no entry in
//! `/etc/passwd`. Started by anybody else there is only one user, and an [`Account`] is never chosen: code below
//! says `Option<Account>`, where `None` is *whoever we are*.

use crate::advice::advised;
use std::os::unix::fs::chown;
use std::path::Path;

/// A user and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    /// User id.
    pub(crate) uid: u32,
    /// Group id.
    pub(crate) gid: u32,
}

impl Account {
    /// A number (its group has the same one, unless `/etc/passwd` knows better) or a name.
    pub(crate) fn resolve(text: &str, flag: &str) -> anyhow::Result<Self> {
        use nix::unistd::{Uid, User};
        if let Ok(uid) = text.parse::<u32>() {
            let known = User::from_uid(Uid::from_raw(uid)).ok().flatten();
            return Ok(Self { uid, gid: known.map_or(uid, |user| user.gid.as_raw()) });
        }
        let user = User::from_name(text).ok().flatten();
        let user = user.ok_or_else(|| {
            advised(format!("there is no user `{text}`"), format!("make it, or name another with {flag}"))
        })?;
        Ok(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
    }

    /// This process's own.
    pub(crate) fn own() -> Self {
        Self { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }

    /// Who started us: behind `sudo` the person, else this process's own.
    pub(crate) fn starter() -> Self {
        let own = Self::own();
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
        match (own.uid, number("SUDO_UID"), number("SUDO_GID")) {
            (0, Some(uid), Some(gid)) => Self { uid, gid },
            _ => own,
        }
    }
}

/// Gives a file to an account; nothing for `None`.
pub(crate) fn give(path: &Path, account: Option<Account>) -> std::io::Result<()> {
    match account {
        Some(account) => chown(path, Some(account.uid), Some(account.gid))
            .map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        None => Ok(()),
    }
}

/// Whether we may give files away and become others.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::Account;

    #[test]
    fn a_number_needs_no_entry() {
        assert_eq!(Account::resolve("61190", "--server-user").unwrap(), Account { uid: 61190, gid: 61190 });
        assert_eq!(Account::resolve("root", "--server-user").unwrap(), Account { uid: 0, gid: 0 });
        let error = Account::resolve("nobody-of-that-name", "--server-user").unwrap_err();
        assert_eq!(error.to_string(), "there is no user `nobody-of-that-name`");
    }
}
