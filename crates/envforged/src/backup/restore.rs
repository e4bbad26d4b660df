//! `envforged restore`: a box from a backup, in a directory of its own.
//!
//! Everything that can be known before is checked before: the file is whole, this program knows its schema, the directory is
//! empty. While the directory is filled it is marked, so that a box whose restore was killed does not start; one that failed
//! leaves nothing.

use super::programs::{Running, command};
use super::save::{as_owner, host_config};
use super::{CONTROL_PLANE, DATABASES, FORMAT, HOST, Manifest, SECRETS, WORKSPACES, archive};
use crate::account::{Account, give, is_root};
use crate::advice::advised;
use crate::args::{BoxDirectory, RestoreArguments};
use crate::postgres::{APP, Cluster, Passwords};
use crate::private;
use crate::roles::all::layout::Layout;
use anyhow::Context as _;
use envforge_host::Databases;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{ExitCode, Stdio};

/// Restores, or only checks.
pub(crate) fn run(arguments: &RestoreArguments) -> anyhow::Result<ExitCode> {
    crate::telemetry::start();
    let manifest = archive::verify(&arguments.file)?;
    check(&manifest)?;
    let layout = Layout::of(&BoxDirectory { data_dir: Some(arguments.data_dir.clone()) })?;
    let was_there = check_empty(&layout)?;
    if !arguments.check {
        let restore = Restore { arguments, layout: &layout };
        if let Err(error) = restore.everything() {
            restore.undo(was_there);
            return Err(error.context("restoring; nothing of it was left"));
        }
    }
    let mut out = io::stdout().lock();
    if arguments.json {
        let report =
            serde_json::json!({ "data_dir": layout.root(), "restored": !arguments.check, "manifest": manifest });
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let made = format!("made {} by version {}", manifest.made_at, manifest.version);
    if arguments.check {
        writeln!(out, "{} is whole: {made}, schema {}", arguments.file.display(), manifest.schema)?;
    } else {
        writeln!(out, "restored into {}: {made}", layout.root().display())?;
        writeln!(out, "start it with the flags of before: `envforged all --data-dir {}`", layout.root().display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether this program can restore it.
fn check(manifest: &Manifest) -> anyhow::Result<()> {
    let newest = envforge_server::schema::newest();
    if manifest.format > FORMAT || manifest.schema > newest {
        let cause = format!(
            "the backup was made by version {} with schema {} (format {}); this program knows schema {newest} (format {FORMAT})",
            manifest.version, manifest.schema, manifest.format
        );
        return Err(advised(cause, format!("restore it with envforged {} or a later one", manifest.version)));
    }
    Ok(())
}

/// Whether the directory is there already.
fn check_empty(layout: &Layout) -> anyhow::Result<bool> {
    let root = layout.root();
    match fs_err::read_dir(root).map(Iterator::count) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            layout.check_reachable()?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
        Ok(0) => {
            layout.check_reachable()?;
            Ok(true)
        }
        Ok(_) if layout.unfinished_restore().exists() => Err(advised(
            format!("{} holds a restore that did not come to its end", root.display()),
            format!("remove {} and restore again", root.display()),
        )),
        Ok(_) => Err(advised(
            format!("{} is not empty", root.display()),
            "give another directory with --data-dir; a restore overwrites nothing",
        )),
    }
}

struct Restore<'a> {
    arguments: &'a RestoreArguments,
    layout: &'a Layout,
}

impl Restore<'_> {
    fn everything(&self) -> anyhow::Result<()> {
        let layout = self.layout;
        let name = &self.arguments.postgres_user;
        let account = if is_root() { Some(Account::resolve(name, "--postgres-user")?) } else { None };
        fs_err::create_dir_all(layout.root())?;
        fs_err::set_permissions(layout.root(), std::fs::Permissions::from_mode(0o711))?;
        let marked =
            fs_err::OpenOptions::new().write(true).create_new(true).mode(0o600).open(layout.unfinished_restore());
        marked?.sync_all()?;
        // Journals last of the files: what tar saw of them beside checkouts is of a later moment.
        self.unpack(SECRETS, true)?;
        self.unpack(WORKSPACES, true)?;
        self.unpack(HOST, false)?;
        for (path, mode, owner) in [
            (layout.root().join("run"), 0o711, None),
            (layout.database_sockets(), 0o710, account),
            (layout.database_home(), 0o700, account),
        ] {
            fs_err::create_dir(&path)?;
            give(&path, owner)?;
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let cluster = self.cluster(account)?;
        self.control_plane(&runtime, &cluster)?;
        self.databases(&runtime)?;
        Ok(fs_err::remove_file(layout.unfinished_restore())?)
    }

    fn cluster(&self, account: Option<Account>) -> anyhow::Result<Cluster> {
        let (home, sockets) = (self.layout.database_home(), self.layout.database_sockets());
        Cluster::find(home, sockets, account, self.arguments.postgres_bin.as_deref())
    }

    fn unpack(&self, member: &str, is_compressed: bool) -> anyhow::Result<()> {
        let mut tar = command(Path::new("tar"));
        tar.args(["--extract", "--file=-", "--preserve-permissions", "--delay-directory-restore"]);
        tar.args(is_compressed.then_some("--zstd")).arg("--directory").arg(self.layout.root());
        if is_root() {
            tar.arg("--same-owner");
        }
        let took = archive::with_member(&self.arguments.file, member, |source| {
            let mut tar = Running::start(tar, Stdio::piped())?;
            tar.feed(source)?;
            tar.end(&[0]).map(drop)
        });
        took.map(drop).with_context(|| format!("unpacking {member}"))
    }

    /// Makes the cluster, and fills the control plane's database as its owner.
    fn control_plane(&self, runtime: &tokio::runtime::Runtime, cluster: &Cluster) -> anyhow::Result<()> {
        let passwords = Passwords {
            superuser: private::read(&self.layout.database_secret("superuser.password"))?,
            owner: private::read(&self.layout.database_owner_password())?,
        };
        let app = private::read(&self.layout.database_secret("app.password"))?;
        runtime.block_on(cluster.ensure(&passwords))?;
        let fill = || {
            let mut psql = as_owner(cluster, &passwords, "psql");
            psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"]);
            let mut psql = Running::start(psql, Stdio::piped())?;
            // Passwords of the box are hexadecimal.
            psql.feed(&mut format!("CREATE ROLE {APP} LOGIN PASSWORD '{}';\n", app.expose()).as_bytes())?;
            psql.end(&[0])?;
            let mut restore = as_owner(cluster, &passwords, "pg_restore");
            restore.args(["--exit-on-error", "--single-transaction"]);
            let found = archive::with_member(&self.arguments.file, CONTROL_PLANE, |source| {
                let mut restore = Running::start(restore, Stdio::piped())?;
                restore.feed(source)?;
                restore.end(&[0]).map(drop)
            })?;
            anyhow::ensure!(found, "the backup holds no control plane");
            Ok(())
        };
        let filled = fill().context("the control plane's database");
        runtime.block_on(cluster.stop()).context("stopping PostgreSQL")?;
        filled
    }

    /// Makes the host's cluster, and fills it, if there was one.
    fn databases(&self, runtime: &tokio::runtime::Runtime) -> anyhow::Result<()> {
        let databases = self.host_databases();
        let load = |source: &mut dyn io::Read| {
            let mut zstd = command(Path::new("zstd"));
            zstd.args(["--quiet", "--decompress", "--stdout"]);
            let mut zstd = Running::start(zstd, Stdio::piped())?;
            let sql = zstd.output.take().context("a pipe that was asked for")?;
            let load = runtime.block_on(databases.load(sql.into()));
            let load = load.map_err(|error| advised(error.cause, error.fix))?;
            zstd.feed(source)?;
            zstd.end(&[0])?;
            let ended = runtime.block_on(load.wait_with_output())?;
            let said = String::from_utf8_lossy(&ended.stderr);
            // The administrator's own role is in the dump, and was made with the cluster.
            let wrong =
                said.lines().find(|line| line.contains("ERROR:") && !line.contains("role \"envforge\" already exists"));
            anyhow::ensure!(wrong.is_none() && ended.status.success(), "psql: {}", wrong.unwrap_or(&said));
            Ok(())
        };
        let loaded = archive::with_member(&self.arguments.file, DATABASES, load).context("workspaces' databases");
        let stopped = runtime.block_on(databases.stop()).map_err(|error| advised(error.cause, error.fix));
        loaded.and(stopped)
    }

    fn host_databases(&self) -> Databases {
        let arguments = self.arguments;
        Databases::of(&host_config(self.layout, arguments.postgres_bin.clone(), &arguments.postgres_user))
    }

    /// Leaves nothing.
    fn undo(&self, was_there: bool) {
        let root = self.layout.root();
        let removed =
            fs_err::remove_dir_all(root).and_then(|()| if was_there { fs_err::create_dir(root) } else { Ok(()) });
        if let Err(error) = removed {
            tracing::warn!(%error, "what the restore had made could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FORMAT, Manifest, check};
    use crate::advice::render;

    // proves OPS-4
    #[test]
    fn what_a_newer_program_made_is_refused() {
        let made = |format, schema| Manifest {
            format,
            made_at: jiff::Timestamp::UNIX_EPOCH,
            version: "7.0.0".to_owned(),
            schema,
            with_workspaces: true,
            members: Vec::new(),
        };
        let newest = envforge_server::schema::newest();
        assert!(check(&made(FORMAT, newest)).is_ok() && check(&made(FORMAT, 1)).is_ok());
        for manifest in [made(FORMAT, newest + 1), made(FORMAT + 1, newest)] {
            let refusal = render(&check(&manifest).unwrap_err());
            assert!(refusal.ends_with("fix: restore it with envforged 7.0.0 or a later one"), "{refusal}");
        }
    }
}
