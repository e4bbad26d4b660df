//! What the program remembers: `~/.config/envforge/config.json`, readable by its owner only.
//!
//! Everything is kept per server, so a key can only ever be sent to the server that issued it: naming another
//! server with `--server` finds another key or none. The file is replaced as a whole (written beside, synced,
//! renamed) under a lock, so two `envforge up` at once lose nothing and a crash leaves the old file or the new
//! one. A file that can't be read as configuration is an error, never silently replaced.

use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The file's content.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The server used when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    /// What is known of each server, by base URL.
    #[serde(default)]
    pub(crate) servers: BTreeMap<String, Account>,
}

/// What is known of a server.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    /// The API key. The file is the one place where it is written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The org used when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) org: Option<Slug>,
    /// The workspace of a branch of a repository on this machine, by [`branch_key`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) workspaces: BTreeMap<String, Slug>,
}

impl Account {
    /// The key to show.
    pub(crate) fn key(&self) -> Option<Secret> {
        self.key.clone().map(Secret::new)
    }

    /// Forgets the key.
    pub(crate) fn forget_key(&mut self) {
        self.key = None;
    }

    /// Remembers a key.
    pub(crate) fn set_key(&mut self, key: &Secret) {
        self.key = Some(key.expose().to_owned());
    }
}

/// The name under which a branch of a repository is remembered.
pub(crate) fn branch_key(repository: &Path, branch: &str) -> String {
    format!("{}#{branch}", repository.display())
}

/// Where the file is.
pub(crate) fn path() -> PathBuf {
    let folder = match std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from) {
        Some(folder) if folder.is_absolute() => folder,
        _ => home().join(".config"),
    };
    folder.join("envforge/config.json")
}

/// The home folder; `/` for an account that has none.
pub(crate) fn home() -> PathBuf {
    std::env::home_dir().filter(|home| home.is_absolute()).unwrap_or_else(|| PathBuf::from("/"))
}

fn broken(path: &Path, cause: impl std::fmt::Display) -> Refusal {
    Refusal::invalid("config.unreadable", format!("{} can't be used: {cause}", path.display()))
        .hint("repair it, or move it away and run `envforge login`")
}

/// Reads the file; no file is an empty one.
pub(crate) fn load() -> Result<Config, Refusal> {
    read(&path())
}

fn read(path: &Path) -> Result<Config, Refusal> {
    match fs_err::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| broken(path, error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Config::default()),
        Err(error) => Err(broken(path, error)),
    }
}

/// Changes the file.
pub(crate) fn update(change: impl FnOnce(&mut Config)) -> Result<(), Refusal> {
    update_at(&path(), change)
}

fn update_at(path: &Path, change: impl FnOnce(&mut Config)) -> Result<(), Refusal> {
    let written = || -> std::io::Result<_> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs_err::create_dir_all(folder)?;
        let lock = private(&folder.join("config.lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(lock)
    };
    let _lock = written().map_err(|error| broken(path, error))?;
    let mut config = read(path)?;
    change(&mut config);
    replace(path, &config).map_err(|error| broken(path, error))
}

fn private(path: &Path) -> std::io::Result<fs_err::File> {
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    options.options_mut().mode(0o600);
    options.open(path)
}

fn replace(path: &Path, config: &Config) -> std::io::Result<()> {
    let beside = path.with_extension("json.new");
    // A leftover of a crash may have other permissions.
    match fs_err::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private(&beside)?;
    serde_json::to_writer_pretty(&mut file, config)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs_err::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_stay_with_their_server_and_the_file_with_its_owner() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/config.json");
        update_at(&path, |config| {
            config.servers.entry("https://a".to_owned()).or_default().set_key(&Secret::new("efk_a".to_owned()));
        })
        .expect("written");
        update_at(&path, |config| config.server = Some("https://b".to_owned())).expect("written");
        let config = read(&path).expect("read");
        assert_eq!(config.servers["https://a"].key().expect("a key").expose(), "efk_a");
        assert!(!config.servers.contains_key("https://b"));
        let mode = fs_err::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_broken_file_is_never_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        fs_err::write(&path, "{\"server\": 3}").expect("written");
        let refusal = update_at(&path, |config| config.server = None).expect_err("refused");
        assert_eq!(refusal.code, "config.unreadable");
        assert_eq!(fs_err::read_to_string(&path).expect("there"), "{\"server\": 3}");
    }
}
