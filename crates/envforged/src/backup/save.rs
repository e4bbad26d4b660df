//! `envforged backup`: everything of a box, in the order in which it can be believed.

use super::archive::Writer;
use super::programs::{Running, command};
use super::{CONTROL_PLANE, DATABASES, FORMAT, HOST, Manifest, SECRETS, WORKSPACES};
use crate::account::{Account, is_root};
use crate::advice::advised;
use crate::args::BackupArguments;
use crate::postgres::{Cluster, DATABASE, How, OWNER, PORT, Passwords, data_version};
use crate::private;
use crate::roles::all::layout::Layout;
use crate::roles::all::lock;
use anyhow::Context as _;
use envforge_api::ambient::SystemClock;
use envforge_api::client::Address;
use envforge_core::clock::Clock as _;
use envforge_host::{Databases, HostConfig};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// How often the journals and the snapshot are taken again while workspaces change; then what is there is taken.
const MOMENTS: u32 = 50;
const BETWEEN_MOMENTS: Duration = Duration::from_millis(100);
/// Written at every heartbeat, and of no matter to whether two moments are one.
const RESTLESS: &str = "proof";

/// Saves the box.
pub(crate) fn run(arguments: &BackupArguments) -> anyhow::Result<ExitCode> {
    crate::telemetry::start();
    let layout = Layout::of(&arguments.place)?;
    if data_version(&layout.database_home().join("data"))?.is_none() {
        let root = layout.root().display();
        return Err(advised(
            format!("there is no box with a database of its own in {root}"),
            "name the box's directory with --data-dir; a database of your own is saved with its own tools",
        ));
    }
    // A box that does not run is not started meanwhile.
    let _lock = if lock::holder(&layout).is_none() { Some(lock::take(&layout)?) } else { None };
    let account = if is_root() { Some(Account::resolve(&arguments.postgres_user, "--postgres-user")?) } else { None };
    let bin = arguments.postgres_bin.as_deref();
    let cluster = Cluster::find(layout.database_home(), layout.database_sockets(), account, bin)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let writer = Writer::create(&arguments.file)?;
    let (how, _) = runtime.block_on(cluster.ensure(&passwords(&layout)?))?;
    let saved = Save { arguments, layout: &layout, cluster: &cluster, runtime: &runtime }.everything(writer);
    if how == How::Started {
        runtime.block_on(cluster.stop()).context("stopping PostgreSQL")?;
    }
    let manifest = saved?;
    let bytes = fs_err::metadata(&arguments.file)?.len();
    note(&layout, arguments, &manifest, bytes)?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        let report = serde_json::json!({ "file": arguments.file, "bytes": bytes, "manifest": manifest });
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        let what = if manifest.with_workspaces { "the whole box" } else { "the box without its workspaces" };
        let megabytes = bytes as f64 / 1e6;
        writeln!(out, "saved {what} to {}: {megabytes:.1} MB, schema {}", arguments.file.display(), manifest.schema)?;
        writeln!(out, "it holds every secret of the box; keep it where nobody else reads")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The passwords of a cluster that exists.
fn passwords(layout: &Layout) -> anyhow::Result<Passwords> {
    Ok(Passwords {
        superuser: private::read(&layout.database_secret("superuser.password"))?,
        owner: private::read(&layout.database_owner_password())?,
    })
}

/// One of PostgreSQL's client programs, on the control plane's database as its owner.
pub(super) fn as_owner(cluster: &Cluster, passwords: &Passwords, program: &str) -> Command {
    let mut command = command(&cluster.binaries.dir.join(program));
    command.env("PGPASSWORD", passwords.owner.expose());
    command.args(["-U", OWNER, "-d", DATABASE, "-p", &PORT.to_string(), "-h"]).arg(&cluster.sockets);
    command
}

/// What doctor tells of the last one.
fn note(layout: &Layout, arguments: &BackupArguments, manifest: &Manifest, bytes: u64) -> anyhow::Result<()> {
    let file = std::path::absolute(&arguments.file)?;
    let last = serde_json::json!({ "file": file, "made_at": manifest.made_at, "bytes": bytes });
    let partial = layout.last_backup().with_extension("partial");
    fs_err::write(&partial, serde_json::to_vec(&last)?)?;
    Ok(fs_err::rename(partial, layout.last_backup())?)
}

struct Save<'a> {
    arguments: &'a BackupArguments,
    layout: &'a Layout,
    cluster: &'a Cluster,
    runtime: &'a tokio::runtime::Runtime,
}

/// The control plane and the host at one moment.
struct Moment {
    journals: Journals,
    /// Holds the snapshot.
    _session: Running,
    snapshot: String,
    schema: i64,
}

impl Save<'_> {
    fn everything(&self, mut writer: Writer) -> anyhow::Result<Manifest> {
        let made_at = SystemClock.now();
        let moment = self.moment()?;
        let mut dump = as_owner(self.cluster, &passwords(self.layout)?, "pg_dump");
        dump.args(["--format=custom", "--snapshot", &moment.snapshot]);
        add(&mut writer, CONTROL_PLANE, dump, &[0])?;
        add(&mut writer, SECRETS, self.tar(&["secrets", "owner.key"]), &[0])?;
        writer.add(HOST, &mut moment.journals.tar()?.as_slice())?;
        if !self.arguments.without_workspaces {
            let mut tar = self.tar(&[]);
            tar.args(["--one-file-system", "--sparse", "--ignore-failed-read"]);
            tar.args(["--warning=no-file-changed", "--warning=no-file-removed", "--warning=no-file-ignored"]);
            tar.args([
                "--anchored",
                "--no-wildcards-match-slash",
                "--exclude=host/workspaces/*/run",
                "host/workspaces",
            ]);
            // 1: files changed while they were read, as files of people at work do.
            add(&mut writer, WORKSPACES, tar, &[0, 1])?;
            self.databases(&mut writer)?;
        }
        writer.finish(Manifest {
            format: FORMAT,
            made_at,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema: moment.schema,
            with_workspaces: !self.arguments.without_workspaces,
            members: Vec::new(),
        })
    }

    fn tar(&self, names: &[&str]) -> Command {
        let mut tar = command(Path::new("tar"));
        tar.args(["--create", "--zstd", "--file=-", "--directory"]).arg(self.layout.root());
        tar.args(names.iter().filter(|name| self.layout.root().join(name).exists()));
        tar
    }

    /// Takes both until nothing changed in between.
    fn moment(&self) -> anyhow::Result<Moment> {
        let with_workspaces = !self.arguments.without_workspaces;
        let host = self.layout.host_data();
        let mut tries = 0;
        loop {
            tries += 1;
            let before = Journals::read(&host, with_workspaces)?;
            let (session, snapshot, schema) = self.snapshot()?;
            let journals = Journals::read(&host, with_workspaces)?;
            let is_one = before.is_same(&journals);
            if is_one || tries == MOMENTS {
                if !is_one {
                    tracing::warn!(
                        "workspaces changed all the time; what a restore brings of them may be a moment apart"
                    );
                }
                return Ok(Moment { journals, _session: session, snapshot, schema });
            }
            std::thread::sleep(BETWEEN_MOMENTS);
        }
    }

    /// A snapshot of the control plane's database, for as long as the session lives, and the schema's version in it.
    fn snapshot(&self) -> anyhow::Result<(Running, String, i64)> {
        let mut psql = as_owner(self.cluster, &passwords(self.layout)?, "psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]);
        let mut session = Running::start(psql, Stdio::piped())?;
        let statements = "BEGIN ISOLATION LEVEL REPEATABLE READ;\n\
             SELECT pg_export_snapshot();\n\
             SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success;\n";
        session.input.as_mut().context("a pipe that was asked for")?.write_all(statements.as_bytes())?;
        let mut output = BufReader::new(session.output.as_mut().context("a pipe that was asked for")?);
        let (mut snapshot, mut schema) = (String::new(), String::new());
        output.read_line(&mut snapshot)?;
        output.read_line(&mut schema)?;
        match schema.trim().parse() {
            Ok(schema) => Ok((session, snapshot.trim().to_owned(), schema)),
            Err(_) => {
                Err(session.end(&[]).expect_err("no ending is good here").context("the control plane's database"))
            }
        }
    }

    /// Workspaces' databases, if there ever were any.
    fn databases(&self, writer: &mut Writer) -> anyhow::Result<()> {
        let databases = Databases::of(&host_config(
            self.layout,
            self.arguments.postgres_bin.clone(),
            &self.arguments.postgres_user,
        ));
        if !databases.exist() {
            return Ok(());
        }
        let (dump, output) = self.runtime.block_on(async {
            let mut dump = databases.dump().await.map_err(|error| advised(error.cause, error.fix))?;
            let output: Stdio = dump.stdout.take().context("a pipe that was asked for")?.try_into()?;
            anyhow::Ok((dump, output))
        })?;
        let mut zstd = command(Path::new("zstd"));
        zstd.args(["--quiet", "--stdout"]);
        let mut zstd = Running::start(zstd, output)?;
        writer.add(DATABASES, zstd.output.as_mut().context("a pipe that was asked for")?)?;
        zstd.end(&[0])?;
        let ended = self.runtime.block_on(dump.wait_with_output())?;
        let said = String::from_utf8_lossy(&ended.stderr);
        anyhow::ensure!(ended.status.success(), "pg_dumpall: {}", said.trim());
        Ok(())
    }
}

/// The host of a box, as far as its databases go.
pub(super) fn host_config(layout: &Layout, postgres_bin: Option<PathBuf>, postgres_user: &str) -> HostConfig {
    HostConfig {
        postgres_bin,
        resource_user: postgres_user.to_owned(),
        ..HostConfig::new(layout.host_data(), Address::Socket(layout.internal_socket()), "/proc/self/exe")
    }
}

/// Adds what a program writes.
fn add(writer: &mut Writer, name: &str, command: Command, good: &[i32]) -> anyhow::Result<()> {
    let mut running = Running::start(command, Stdio::null())?;
    let mut output = running.output.take().context("a pipe that was asked for")?;
    writer.add(name, &mut output)?;
    running.end(good).map(drop)
}

/// A file or directory of the host's own.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    mode: u32,
    owner: (u32, u32),
    /// `None` for a directory.
    bytes: Option<Vec<u8>>,
}

/// The host's own small files: who it is, what it obeyed. By their path in the box.
struct Journals(BTreeMap<PathBuf, Entry>);

impl Journals {
    fn read(host: &Path, with_workspaces: bool) -> anyhow::Result<Self> {
        let mut it = Self(BTreeMap::new());
        let base = Path::new("host");
        it.directory(host, base)?;
        it.directory(&host.join("destroyed"), &base.join("destroyed"))?;
        it.entry(&host.join("workspaces"), &base.join("workspaces"))?;
        if with_workspaces && host.join("workspaces").exists() {
            for workspace in fs_err::read_dir(host.join("workspaces"))? {
                let workspace = workspace?;
                it.directory(&workspace.path(), &base.join("workspaces").join(workspace.file_name()))?;
            }
        }
        Ok(it)
    }

    /// A directory, its files, and the one directory below it that every workspace has and no backup fills.
    fn directory(&mut self, path: &Path, name: &Path) -> anyhow::Result<()> {
        if !path.is_dir() {
            return Ok(());
        }
        self.entry(path, name)?;
        for entry in fs_err::read_dir(path)? {
            let entry = entry?;
            let is_wanted = match entry.file_type() {
                Ok(kind) if kind.is_dir() => entry.file_name() == "run",
                Ok(kind) => kind.is_file() && entry.file_name() != "lock",
                Err(_) => false,
            };
            if is_wanted {
                self.entry(&entry.path(), &name.join(entry.file_name()))?;
            }
        }
        Ok(())
    }

    /// One that is gone by now was replaced, and is found by the next look.
    fn entry(&mut self, path: &Path, name: &Path) -> anyhow::Result<()> {
        let read = || -> std::io::Result<Entry> {
            let metadata = fs_err::metadata(path)?;
            let bytes = if metadata.is_dir() { None } else { Some(fs_err::read(path)?) };
            Ok(Entry { mode: metadata.mode() & 0o7777, owner: (metadata.uid(), metadata.gid()), bytes })
        };
        match read() {
            Ok(entry) => drop(self.0.insert(name.to_owned(), entry)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn is_same(&self, other: &Self) -> bool {
        let restful = |it: &Self| -> Vec<(PathBuf, Vec<u8>)> {
            let files = it.0.iter().filter(|(name, _)| !name.ends_with(RESTLESS));
            files.filter_map(|(name, entry)| Some((name.clone(), entry.bytes.clone()?))).collect()
        };
        restful(self) == restful(other)
    }

    fn tar(&self) -> anyhow::Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, entry) in &self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_mode(entry.mode);
            header.set_uid(entry.owner.0.into());
            header.set_gid(entry.owner.1.into());
            let bytes = entry.bytes.as_deref().unwrap_or_default();
            header.set_size(bytes.len() as u64);
            header.set_entry_type(if entry.bytes.is_some() {
                tar::EntryType::Regular
            } else {
                tar::EntryType::Directory
            });
            tar.append_data(&mut header, name, bytes)?;
        }
        Ok(tar.into_inner()?)
    }
}
