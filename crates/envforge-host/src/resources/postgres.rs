//! PostgreSQL: one cluster per host, one database and role per workspace.
//!
//! The cluster is this host's own, with its own files and socket; it is started at the first need, outlives the daemon
//! and is taken up again by the next one. It listens on a Unix socket only. Who may connect where is one rule: a role
//! named like the database, with its password; the administrator is whoever runs as the cluster's Linux user, which is
//! how the daemon speaks to it. A workspace's services reach it at `127.0.0.1:5432`, carried to the socket by the runtime's init.
//!
//! SQL goes through `psql`, by standard input, so that no password is seen in a process list.

use crate::config::HostConfig;
use crate::files;
use crate::place::{DataDir, Place};
use crate::sys::command::tokio_command;
use crate::sys::process::all_pids;
use crate::trouble::{Blocked, blocked};
use envforge_core::clock::Entropy;
use envforge_core::id::WorkspaceId;
use envforge_core::secret::Secret;
use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;

/// The port in the socket's name, and inside a workspace with a network of its own.
pub(crate) const PORT: u16 = 5432;
/// How long the cluster may take to start; after a crash it replays its log.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long one statement may take.
const SQL_LIMIT: Duration = Duration::from_secs(30);
/// How long the children of a killed cluster may take to notice.
const ORPHANS: Duration = Duration::from_secs(10);
/// How often a cluster in use is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// A cluster on its way begins so.
const UNFINISHED: &str = "data.unfinished.";
/// The class of the advisory locks that changes of one workspace's database take, in the cluster itself: a statement
/// outlives the client that was killed, and whoever comes next must not see it half done.
const LOCK_CLASS: i32 = 0x0e0f;
const INSTALL: &str = "install PostgreSQL on the host: apt-get install postgresql";

/// The host's cluster.
pub(crate) struct Cluster {
    base: PathBuf,
    configured_bin: Option<PathBuf>,
    user: String,
    /// Held while the cluster is made or started: one at a time.
    starting: Mutex<()>,
    /// Held while a workspace's database is made or dropped, so that no two do it to the same one; the workspaces whose
    /// databases were dropped, and are not to be made again by whoever was late.
    changing: Mutex<BTreeSet<WorkspaceId>>,
    /// A workspace was given a database since the daemon started.
    is_needed: AtomicBool,
}

/// The Linux user the cluster runs as.
#[derive(Debug, Clone)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
}

impl User {
    /// The one of this name; whoever runs the daemon, if that is not root.
    fn named(name: &str) -> Result<Self, Blocked> {
        let own = nix::unistd::Uid::effective();
        let (found, name) = if own.is_root() {
            (nix::unistd::User::from_name(name), name.to_owned())
        } else {
            (nix::unistd::User::from_uid(own), own.to_string())
        };
        let missing = format!("the Linux user `{name}`, which the resource cluster runs as, does not exist");
        let found = found.ok().flatten().ok_or_else(|| blocked("resource.postgres_missing", missing, INSTALL))?;
        Ok(Self { name: found.name, uid: found.uid.as_raw(), gid: found.gid.as_raw() })
    }
}

impl Cluster {
    pub(crate) fn new(config: &HostConfig, data: &DataDir) -> Self {
        Self {
            base: data.resources().join("postgres"),
            configured_bin: config.postgres_bin.clone(),
            user: config.resource_user.clone(),
            starting: Mutex::default(),
            changing: Mutex::default(),
            is_needed: AtomicBool::new(false),
        }
    }

    /// The directory of the socket; there before the cluster is, so that a sandbox can be given it at any time.
    pub(crate) fn socket_dir(&self) -> PathBuf {
        self.base.join("socket")
    }

    fn data_dir(&self) -> PathBuf {
        self.base.join("data")
    }

    /// Makes the directories.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        let owner = self.user().ok().map(|user| (user.uid, user.gid));
        files::directory(&self.base, 0o711, None)?;
        files::directory(&self.socket_dir(), 0o755, owner)
    }

    /// Starts the cluster if it does not run; makes it if there is none.
    pub(crate) async fn ensure_running(&self, entropy: &dyn Entropy) -> Result<(), Blocked> {
        let _one = self.starting.lock().await;
        if self.answers().await {
            return Ok(());
        }
        let (bin, user) = (self.bin()?, self.user()?);
        self.prepare().map_err(|error| disk(&error))?;
        self.initialize(&bin, &user, entropy).await?;
        self.forget_killed().await;
        self.start(&bin, &user).await
    }

    /// Removes what a killed cluster left: PostgreSQL believes it while *any* process has the number in it. The killed
    /// one's children work in the directory too, and are waited for.
    async fn forget_killed(&self) {
        let data = self.data_dir();
        let works_here = |pid: i32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder == data);
        let end = tokio::time::Instant::now() + ORPHANS;
        let pid_file = data.join("postmaster.pid");
        loop {
            let named =
                std::fs::read_to_string(&pid_file).ok().and_then(|text| text.lines().next()?.trim().parse().ok());
            // One that runs, or is just starting, is `pg_ctl`'s to judge.
            if named.is_none_or(works_here) {
                return;
            }
            if !all_pids().into_iter().any(works_here) {
                break;
            }
            if tokio::time::Instant::now() > end {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for path in [pid_file, self.socket_dir().join(format!(".s.PGSQL.{PORT}.lock"))] {
            if fs_err::remove_file(&path).is_ok() {
                tracing::warn!(path = %path.display(), "postgres: removed what a killed cluster left behind");
            }
        }
    }

    /// Whether the cluster was ever made on this host.
    pub(crate) fn exists(&self) -> bool {
        self.data_dir().join("PG_VERSION").exists()
    }

    /// Whether something accepts at the socket.
    async fn answers(&self) -> bool {
        let socket = self.socket_dir().join(format!(".s.PGSQL.{PORT}"));
        tokio::net::UnixStream::connect(socket).await.is_ok()
    }

    async fn initialize(&self, bin: &Path, user: &User, entropy: &dyn Entropy) -> Result<(), Blocked> {
        if self.exists() {
            return Ok(());
        }
        self.clear_unfinished();
        // A name of its own: the programs of an attempt that was cut off may write into theirs for a moment longer.
        let mut mark = [0_u8; 8];
        entropy.fill(&mut mark);
        let unfinished = self.base.join(format!("{UNFINISHED}{}", hex::encode(mark)));
        files::directory(&unfinished, 0o700, Some((user.uid, user.gid))).map_err(|error| disk(&error))?;
        let target = unfinished.to_string_lossy().into_owned();
        let arguments = [
            "--pgdata",
            &target,
            "--username",
            "envforge",
            "--auth",
            "reject",
            "--encoding",
            "UTF8",
            "--locale",
            "C.UTF-8",
            "--no-sync",
        ];
        self.program(bin, user, "initdb", &arguments, "").await?;
        let configure = || -> io::Result<()> {
            let mut conf = std::fs::OpenOptions::new().append(true).open(unfinished.join("postgresql.conf"))?;
            conf.write_all(self.settings().as_bytes())?;
            let rules = "local all envforge peer map=admin\nlocal sameuser all scram-sha-256\n";
            std::fs::write(unfinished.join("pg_hba.conf"), rules)?;
            std::fs::write(unfinished.join("pg_ident.conf"), format!("admin {} envforge\n", user.name))?;
            fs_err::rename(&unfinished, self.data_dir())
        };
        configure().map_err(|error| disk(&error))
    }

    /// What interrupted attempts left is no cluster. What can't be removed yet is removed by a later attempt.
    fn clear_unfinished(&self) {
        for entry in fs_err::read_dir(&self.base).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED)
                && let Err(error) = files::remove_tree(&entry.path())
            {
                tracing::debug!(%error, "postgres: an unfinished cluster is still being written to");
            }
        }
    }

    fn settings(&self) -> String {
        format!(
            "\n# EnvForge: one cluster for all workspaces of this host.\n\
             listen_addresses = ''\nport = {PORT}\nunix_socket_directories = '{}'\nunix_socket_permissions = 0777\n\
             password_encryption = 'scram-sha-256'\nmax_connections = 400\nshared_buffers = '64MB'\n\
             wal_level = 'minimal'\nmax_wal_senders = 0\nmax_wal_size = '256MB'\njit = off\n\
             log_destination = 'stderr'\nlogging_collector = off\ncluster_name = 'envforge'\n",
            self.socket_dir().display()
        )
    }

    async fn start(&self, bin: &Path, user: &User) -> Result<(), Blocked> {
        let data = self.data_dir().to_string_lossy().into_owned();
        let log = self.base.join("postgres.log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).map_err(|error| disk(&error))?;
        rustix::fs::fchown(&file, Some(rustix::fs::Uid::from_raw(user.uid)), None)
            .map_err(|error| disk(&error.into()))?;
        let wait = START_LIMIT.as_secs().to_string();
        let log = log.to_string_lossy().into_owned();
        self.program(
            bin,
            user,
            "pg_ctl",
            &["start", "--silent", "--wait", "--timeout", &wait, "--pgdata", &data, "--log", &log],
            "",
        )
        .await
        .map(drop)
    }

    /// Stops the cluster, if it runs. Its data stay.
    pub(crate) async fn stop(&self) -> Result<(), Blocked> {
        if !self.exists() || !self.answers().await {
            return Ok(());
        }
        let (bin, user) = (self.bin()?, self.user()?);
        let data = self.data_dir().to_string_lossy().into_owned();
        self.program(&bin, &user, "pg_ctl", &["stop", "--silent", "--mode", "fast", "--pgdata", &data], "")
            .await
            .map(drop)
    }

    /// Starts the cluster again if it ends while somebody needs it.
    pub(crate) async fn watch(&self, entropy: &dyn Entropy) {
        loop {
            tokio::time::sleep(LOOK).await;
            if self.is_needed.load(Ordering::Relaxed)
                && !self.answers().await
                && let Err(block) = self.ensure_running(entropy).await
            {
                tracing::warn!(cause = block.cause, "postgres: the resource cluster is down and does not start");
            }
        }
    }

    /// The workspace's database and role, made if they are missing; the address services use. `known` says that the journal
    /// remembers them.
    pub(crate) async fn provision(&self, place: &Place, known: bool, entropy: &dyn Entropy) -> Result<Secret, Blocked> {
        self.ensure_running(entropy).await?;
        self.is_needed.store(true, Ordering::Relaxed);
        let dropped = self.changing.lock().await;
        if dropped.contains(&place.workspace) {
            return Err(blocked("workspace.deleting", "the workspace is being deleted", "nothing is to be done"));
        }
        let name = name_of(place.workspace);
        let saved = password(place, entropy).map_err(|error| disk(&error))?;
        if !(known && saved.was_there) {
            let password = saved.password.expose();
            // Names and passwords are ours: lower-case hexadecimal and `ws_`.
            let sql = format!(
                "{UNLOGGED}{lock}\
                 SELECT 'CREATE ROLE {name} LOGIN CONNECTION LIMIT 60' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') \\gexec\n\
                 ALTER ROLE {name} PASSWORD '{password}';\n\
                 SELECT 'CREATE DATABASE {name} OWNER {name}' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{name}') \\gexec\n\
                 REVOKE ALL ON DATABASE {name} FROM PUBLIC;\n",
                lock = lock(&name),
            );
            self.sql(&sql).await?;
        }
        let port = place.resource_port(PORT);
        Ok(Secret::new(format!("postgres://{name}:{}@127.0.0.1:{port}/{name}", saved.password.expose())))
    }

    /// Drops the workspace's database and role, for good; what never existed is no error.
    pub(crate) async fn remove(&self, place: &Place, entropy: &dyn Entropy) -> Result<(), Blocked> {
        let mut dropped = self.changing.lock().await;
        dropped.insert(place.workspace);
        // The password is saved before anything is made.
        if !place.postgres_password().exists() || !self.exists() {
            return Ok(());
        }
        self.ensure_running(entropy).await?;
        let name = name_of(place.workspace);
        let sql = format!("{}DROP DATABASE IF EXISTS {name} WITH (FORCE);\nDROP ROLE IF EXISTS {name};\n", lock(&name));
        self.sql(&sql).await.map(drop)
    }

    /// Runs SQL as the administrator; a cluster that is just starting is waited for.
    async fn sql(&self, sql: &str) -> Result<String, Blocked> {
        let (bin, user) = (self.bin()?, self.user()?);
        let socket = self.socket_dir().to_string_lossy().into_owned();
        let port = PORT.to_string();
        let arguments = [
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set",
            "ON_ERROR_STOP=1",
            "--host",
            &socket,
            "--port",
            &port,
            "--username",
            "envforge",
            "--dbname",
            "postgres",
            "--file",
            "-",
        ];
        let mut tries = 0;
        loop {
            match self.program(&bin, &user, "psql", &arguments, sql).await {
                // Just starting, or just killed: [`Self::watch`] starts it again.
                Err(error) if is_passing(&error.cause) && tries < 200 => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                other => return other,
            }
        }
    }

    /// Starts one of PostgreSQL's programs as the administrator; what it says of errors is kept for whoever waits for it.
    pub(crate) fn admin(
        &self,
        program: &str,
        arguments: &[&str],
        input: Stdio,
        output: Stdio,
    ) -> Result<tokio::process::Child, Blocked> {
        let (bin, user) = (self.bin()?, self.user()?);
        let mut command = tokio_command(bin.join(program));
        command.arg("--host").arg(self.socket_dir()).args(["--port", &PORT.to_string(), "--username", "envforge"]);
        command.args(arguments).current_dir("/").uid(user.uid).gid(user.gid).process_group(0);
        command.stdin(input).stdout(output).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().map_err(|error| blocked("resource.postgres_failed", format!("{program}: {error}"), INSTALL))
    }

    /// Runs one of PostgreSQL's programs as the cluster's user.
    async fn program(
        &self,
        bin: &Path,
        user: &User,
        program: &str,
        arguments: &[&str],
        input: &str,
    ) -> Result<String, Blocked> {
        let failed = |cause: String| {
            blocked(
                "resource.postgres_failed",
                format!("{program}: {cause}"),
                "see resources/postgres/postgres.log in the host's data directory",
            )
        };
        let mut command = tokio_command(bin.join(program));
        command
            .args(arguments)
            .current_dir("/")
            .uid(user.uid)
            .gid(user.gid)
            .process_group(0)
            .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(program != "pg_ctl");
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that fails early closes its end; its own message is worth more than ours.
            drop(stdin.write_all(input.as_bytes()).await);
        }
        let limit = START_LIMIT + SQL_LIMIT;
        let output = tokio::time::timeout(limit, child.wait_with_output())
            .await
            .map_err(|_| failed(format!("did not end within {} s", limit.as_secs())))?
            .map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(failed(if said.trim().is_empty() { output.status.to_string() } else { said.trim().to_owned() }))
    }

    /// Where the programs are: as configured, or the newest of Debian's.
    fn bin(&self) -> Result<PathBuf, Blocked> {
        let has_all =
            |dir: &Path| ["initdb", "pg_ctl", "postgres", "psql"].iter().all(|program| dir.join(program).exists());
        if let Some(bin) = &self.configured_bin {
            return if has_all(bin) {
                Ok(bin.clone())
            } else {
                Err(blocked("resource.postgres_missing", format!("PostgreSQL is not in {}", bin.display()), INSTALL))
            };
        }
        let mut versions: Vec<(u32, PathBuf)> = fs_err::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
            .collect();
        versions.push((0, PathBuf::from("/usr/bin")));
        versions.sort();
        let newest = versions.into_iter().rev().map(|(_, bin)| bin).find(|bin| has_all(bin));
        newest.ok_or_else(|| blocked("resource.postgres_missing", "PostgreSQL is not installed on the host", INSTALL))
    }

    /// Looked up at each use: installing PostgreSQL makes it.
    fn user(&self) -> Result<User, Blocked> {
        User::named(&self.user)
    }
}

/// Database and role of a workspace: its id, which is lower-case letters, digits and `_`.
fn name_of(workspace: WorkspaceId) -> String {
    workspace.to_string()
}

/// Whether `psql` met a cluster on its way up or down; every statement here may be said again.
fn is_passing(cause: &str) -> bool {
    cause.contains("connection to server") || cause.contains("closed the connection")
}

/// What is said next is in no log, whatever the cluster is told to log and whether it fails: it holds a password.
const UNLOGGED: &str =
    "SET log_statement TO none;\nSET log_min_duration_statement TO -1;\nSET log_min_error_statement TO panic;\n";

/// The statement that waits for every other change of this database; the lock ends with the session.
fn lock(name: &str) -> String {
    format!("SELECT pg_advisory_lock({LOCK_CLASS}, hashtext('{name}'));\n")
}

fn disk(error: &io::Error) -> Blocked {
    blocked("resource.postgres_failed", error.to_string(), "see that the host's disk has room")
}

struct Saved {
    password: Secret,
    was_there: bool,
}

/// The workspace's password, made and saved at the first call.
fn password(place: &Place, entropy: &dyn Entropy) -> io::Result<Saved> {
    let path = place.postgres_password();
    match fs_err::read_to_string(&path) {
        Ok(text) if text.trim().len() == 48 => {
            return Ok(Saved { password: Secret::new(text.trim().to_owned()), was_there: true });
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut bytes = [0_u8; 24];
    entropy.fill(&mut bytes);
    let password = hex::encode(bytes);
    files::replace(&path, password.as_bytes(), 0o600, files::Durability::Machine)?;
    Ok(Saved { password: Secret::new(password), was_there: false })
}
