//! Files that hold a secret: mode 0600, owned by the one user that needs it, there whole or not at all.
//!
//! Secrets travel between the processes of one box by such files only, never by an argument or a variable: both
//! can be read by others of the machine.

use crate::account::{Account, give};
use anyhow::Context as _;
use envforge_api::ambient::{SystemEntropy, opaque_token};
use envforge_core::secret::Secret;
use std::io::Write as _;
use std::path::Path;

/// Writes `value` for `account` alone.
pub(crate) fn write(path: &Path, value: &Secret, account: Option<Account>) -> anyhow::Result<()> {
    use fs_err::os::unix::fs::OpenOptionsExt as _;
    let partial = path.with_extension("partial");
    let mut file = fs_err::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    give(&partial, account)?;
    writeln!(file, "{}", value.expose())?;
    file.sync_all()?;
    fs_err::rename(&partial, path)?;
    Ok(())
}

/// The secret in a file, without the newline around it.
pub(crate) fn read(path: &Path) -> anyhow::Result<Secret> {
    let text = fs_err::read_to_string(path)?;
    let value = text.trim();
    anyhow::ensure!(!value.is_empty(), "{} is empty", path.display());
    Ok(Secret::new(value.to_owned()))
}

/// The secret in a file; 32 random bytes in hexadecimal the first time.
pub(crate) fn kept(path: &Path, account: Option<Account>) -> anyhow::Result<Secret> {
    if path.exists() {
        return read(path);
    }
    let value = Secret::new(opaque_token("", &SystemEntropy));
    write(path, &value, account).context("making a secret")?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::kept;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_secret_is_made_once_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        let first = kept(&path, None).unwrap();
        assert_eq!(first.expose().len(), 64);
        assert_eq!(kept(&path, None).unwrap(), first);
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
