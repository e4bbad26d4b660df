//! Where everything of one box is, and who may reach it.
//!
//! ```text
//! DIR/                        0711  starter   everybody may pass, nobody may look
//!   owner.key                 0600  starter   the owner's API key, for `envforge`
//!   run/                      0711  root
//!     lock                    0600  root      held by the one supervisor of this box
//!     children.json           0600  root      the children of that supervisor, for the next one
//!     server.url              0644  root      where the server answers, while it does
//!     internal/server.sock    2710  server:gateway   the directory hands its group down to the socket
//!     server/uplink.sock      0700  server    dialled by the host, which is root
//!     gateway/uplink.sock     0700  gateway   dialled by the host
//!     {server,gateway,host}/operator.sock     metrics and readiness, asked by the supervisor
//!     postgres/.s.PGSQL.5432  0710  postgres:server
//!   secrets/                  0711  root
//!     server/                 0700  server    database URL, signing seed, gateway key
//!     gateway/                0700  gateway   gateway key
//!     host/                   0700  root      registration token
//!     database/               0700  postgres  owner's URL, passwords
//!   postgres/                 0700  postgres  data and log of the control plane's cluster
//!   host/                     0711  root      the host daemon's own; it closes what is inside
//! ```
//!
//! So the gateway reads neither the signing seed nor a database password, the server no owner's password and no host
//! data. Started by an ordinary user, every account above is that user and the walls are only as good as the programs.

use crate::account::{Account, give, is_root};
use crate::advice::advised;
use crate::args::{AllArguments, BoxDirectory};
use anyhow::Context as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A Unix socket's path holds 107 bytes; this is what ours need behind the box's directory, with some room.
const BEHIND: usize = "/run/postgres/.s.PGSQL.5432".len();
const SOCKET_PATH_MAX: usize = 107;

/// The users of the roles; `None` is whoever we are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accounts {
    pub(crate) server: Option<Account>,
    pub(crate) gateway: Option<Account>,
    pub(crate) postgres: Option<Account>,
    /// Who started us, and gets the owner's key.
    pub(crate) starter: Option<Account>,
}

impl Accounts {
    /// As the flags say; ourselves, unless we are root.
    pub(crate) fn resolve(arguments: &AllArguments) -> anyhow::Result<Self> {
        if !is_root() {
            return Ok(Self { server: None, gateway: None, postgres: None, starter: None });
        }
        let postgres = if arguments.database_url.is_some() {
            None
        } else {
            Some(Account::resolve(&arguments.postgres_user, "--postgres-user").with_context(
                || "PostgreSQL does not run as root and needs a user (the package `postgresql` makes one)",
            )?)
        };
        Ok(Self {
            server: Some(Account::resolve(&arguments.server_user, "--server-user")?),
            gateway: Some(Account::resolve(&arguments.gateway_user, "--gateway-user")?),
            postgres,
            starter: Some(Account::starter()),
        })
    }
}

/// Where everything is.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The box that the flags name, whether it exists or not.
    pub(crate) fn of(place: &BoxDirectory) -> anyhow::Result<Self> {
        let path = place.data_dir.clone().unwrap_or_else(default_directory);
        let root = std::path::absolute(&path).with_context(|| format!("{}: not a path", path.display()))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '@');
        let fix = "give another directory with --data-dir";
        let Some(text) = root.to_str().filter(|text| text.chars().all(plain)) else {
            let cause =
                format!("the path {} has characters other than letters, digits and / . _ - + @", root.display());
            return Err(advised(cause, fix));
        };
        if text.len() + BEHIND > SOCKET_PATH_MAX {
            let cause =
                format!("the path {text} is too long: sockets in it allow {} characters", SOCKET_PATH_MAX - BEHIND);
            return Err(advised(cause, fix));
        }
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(crate) fn owner_key(&self) -> PathBuf {
        self.at("owner.key")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.at("run/lock")
    }

    pub(crate) fn children(&self) -> PathBuf {
        self.at("run/children.json")
    }

    /// There while a restore fills the directory.
    pub(crate) fn unfinished_restore(&self) -> PathBuf {
        self.at("restore.unfinished")
    }

    /// What the last backup was.
    pub(crate) fn last_backup(&self) -> PathBuf {
        self.at("last-backup.json")
    }

    pub(crate) fn server_url(&self) -> PathBuf {
        self.at("run/server.url")
    }

    pub(crate) fn internal_socket(&self) -> PathBuf {
        self.at("run/internal/server.sock")
    }

    pub(crate) fn server_uplink(&self) -> PathBuf {
        self.at("run/server/uplink.sock")
    }

    pub(crate) fn gateway_uplink(&self) -> PathBuf {
        self.at("run/gateway/uplink.sock")
    }

    /// Where a role speaks with its operator.
    pub(crate) fn operator_socket(&self, role: &str) -> PathBuf {
        self.at("run").join(role).join("operator.sock")
    }

    pub(crate) fn database_sockets(&self) -> PathBuf {
        self.at("run/postgres")
    }

    pub(crate) fn database_home(&self) -> PathBuf {
        self.at("postgres")
    }

    pub(crate) fn host_data(&self) -> PathBuf {
        self.at("host")
    }

    /// A file only the server reads.
    pub(crate) fn server_secret(&self, name: &str) -> PathBuf {
        self.at("secrets/server").join(name)
    }

    /// The gateway's one secret.
    pub(crate) fn gateway_key(&self) -> PathBuf {
        self.at("secrets/gateway/key")
    }

    /// The host's registration token.
    pub(crate) fn host_token(&self) -> PathBuf {
        self.at("secrets/host/registration-token")
    }

    /// A file only migrations read.
    pub(crate) fn database_secret(&self, name: &str) -> PathBuf {
        self.at("secrets/database").join(name)
    }

    /// The password of the managed database's owner.
    pub(crate) fn database_owner_password(&self) -> PathBuf {
        self.database_secret("owner.password")
    }

    /// Makes what is missing, and sets owner and mode of what is there.
    pub(crate) fn prepare(&self, accounts: &Accounts) -> anyhow::Result<()> {
        if self.unfinished_restore().exists() {
            return Err(advised(
                format!("a restore into {} did not come to its end", self.root.display()),
                format!("remove {} and restore again", self.root.display()),
            ));
        }
        fs_err::create_dir_all(&self.root).map_err(|error| {
            advised(
                format!("the box's directory can't be made: {error}"),
                "run as root, or give another with --data-dir",
            )
        })?;
        self.check_reachable()?;
        let group = |owner: Option<Account>, group: Option<Account>| {
            owner.map(|owner| Account { gid: group.map_or(owner.gid, |group| group.gid), ..owner })
        };
        let root = is_root().then(Account::own);
        let directories = [
            ("", 0o711, accounts.starter),
            ("run", 0o711, root),
            ("run/internal", 0o2710, group(accounts.server, accounts.gateway)),
            ("run/server", 0o700, accounts.server),
            ("run/gateway", 0o700, accounts.gateway),
            ("run/host", 0o700, root),
            ("run/postgres", 0o710, group(accounts.postgres, accounts.server)),
            ("secrets", 0o711, root),
            ("secrets/server", 0o700, accounts.server),
            ("secrets/gateway", 0o700, accounts.gateway),
            ("secrets/host", 0o700, root),
            ("secrets/database", 0o700, accounts.postgres),
            ("postgres", 0o700, accounts.postgres),
            ("host", 0o711, root),
        ];
        for (name, mode, owner) in directories {
            let path = self.at(name);
            if !path.exists() {
                fs_err::create_dir(&path)?;
            }
            // The owner first: giving a directory away takes its special bits.
            give(&path, owner)?;
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    /// Server, gateway and workspaces run as users of their own, and must be able to walk here.
    pub(crate) fn check_reachable(&self) -> anyhow::Result<()> {
        if !is_root() {
            return Ok(());
        }
        for above in self.root.ancestors().skip(1).filter(|above| above.exists()) {
            if fs_err::metadata(above)?.permissions().mode() & 0o001 == 0 {
                return Err(advised(
                    format!(
                        "{} is closed to other users: server, gateway and workspaces, which run as users of their own, \
                         could not reach {}",
                        above.display(),
                        self.root.display()
                    ),
                    "give another directory with --data-dir, such as /var/lib/envforge",
                ));
            }
        }
        Ok(())
    }
}

fn default_directory() -> PathBuf {
    if is_root() {
        return PathBuf::from("/var/lib/envforge");
    }
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into()));
    match std::env::var_os("XDG_DATA_HOME").map(PathBuf::from) {
        Some(folder) if folder.is_absolute() => folder.join("envforge"),
        _ => home().join(".local/share/envforge"),
    }
}

#[cfg(test)]
mod tests {
    use super::Layout;
    use crate::advice::render;
    use crate::args::BoxDirectory;

    fn refusal(path: &str) -> String {
        render(&Layout::of(&BoxDirectory { data_dir: Some(path.into()) }).unwrap_err())
    }

    #[test]
    fn paths_that_sockets_or_urls_can_not_hold_are_refused() {
        let long = format!("/tmp/{}", "x".repeat(90));
        assert!(refusal(&long).contains("is too long: sockets in it allow 80 characters"));
        assert!(refusal("/tmp/a b").contains("has characters other than"));
        assert!(refusal("/tmp/$(id)").ends_with("fix: give another directory with --data-dir"));
        let layout = Layout::of(&BoxDirectory { data_dir: Some("/var/lib/envforge".into()) }).unwrap();
        assert_eq!(layout.internal_socket().to_str(), Some("/var/lib/envforge/run/internal/server.sock"));
    }
}
