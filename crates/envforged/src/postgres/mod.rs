//! The one box's own PostgreSQL: made once, started detached, adopted, stopped.
//!
//! The cluster is the control plane's alone; workspaces' databases live in another one, which the host daemon runs.
//! It listens on a Unix socket only, in a directory that the server's group may enter and nobody else; passwords are
//! asked even there. It runs as an unprivileged user and is nobody's child (`pg_ctl` gives it a session of its own):
//! a killed supervisor leaves it running and the next one adopts it.
//!
//! ```text
//!   no data ──initialize──► data, nothing runs ──start──► runs ──stop──► …
//!                              ▲                            │
//!                              └──────── died, killed ◄─────┘   looked at four times a second, started again
//! ```
//!
//! Every step may be killed half-way: a cluster is made beside its place and renamed into it when whole, and a
//! `postmaster.pid` is believed only when its process works in our data directory.

mod binaries;
mod initialize;
mod running;
#[cfg(test)]
mod tests;

pub(crate) use binaries::Binaries;
pub(crate) use running::Postmaster;

use crate::account::{Account, give};
use crate::advice::advised;
use anyhow::{Context as _, bail};
use envforge_core::secret::Secret;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};

/// The database of the control plane.
pub(crate) const DATABASE: &str = "envforge";
/// Its owner: may create roles, is no superuser; only `migrate` and `admin psql` use it.
pub(crate) const OWNER: &str = "envforge_owner";
/// The role of the server.
pub(crate) const APP: &str = "envforge_app";
/// Only a part of the socket's name: nothing listens on TCP.
pub(crate) const PORT: u16 = 5432;

/// How long a start may take; recovery after a power cut reads the log.
const START: Duration = Duration::from_mins(1);
/// How often it is started before its failure is told.
const ATTEMPTS: u32 = 3;
/// A log longer than this is set aside at the next start.
const LOG_MAX: u64 = 8 * 1024 * 1024;

/// What the cluster must do alike on every box. Rewritten at each start, read after PostgreSQL's own defaults; an
/// operator's `ALTER SYSTEM` comes later and wins.
const SETTINGS: &str = "\
# Written by envforged at each start; change settings with ALTER SYSTEM.
listen_addresses = ''
port = 5432
max_connections = 50
shared_buffers = 32MB
maintenance_work_mem = 32MB
max_wal_size = 256MB
min_wal_size = 32MB
autovacuum_max_workers = 2
max_parallel_workers = 2
huge_pages = off
jit = off
password_encryption = scram-sha-256
timezone = 'UTC'
log_timezone = 'UTC'
";

/// The passwords a new cluster is given.
#[derive(Debug)]
pub(crate) struct Passwords {
    /// Of the superuser `postgres`, which nothing of the product uses.
    pub(crate) superuser: Secret,
    /// Of [`OWNER`].
    pub(crate) owner: Secret,
}

/// A cluster and who runs it.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Holds data and log; belongs to `account`.
    pub(crate) home: PathBuf,
    /// Where the socket is.
    pub(crate) sockets: PathBuf,
    /// Who runs it; `None` is this process's own user.
    pub(crate) account: Option<Account>,
    /// The programs.
    pub(crate) binaries: Binaries,
}

/// How a cluster came to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It ran already.
    Adopted,
    /// It was started.
    Started,
    /// It was made and started.
    Made,
}

impl How {
    /// For the line that tells of it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::Started => "started",
            Self::Made => "made and started",
        }
    }
}

impl Cluster {
    /// A cluster in `home`. Finds the programs, preferring the version that made the data.
    pub(crate) fn find(
        home: PathBuf,
        sockets: PathBuf,
        account: Option<Account>,
        chosen: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let made_by = data_version(&home.join("data"))?;
        let binaries = Binaries::find(chosen, made_by)?;
        if let Some(made_by) = made_by
            && made_by != binaries.version
        {
            return Err(advised(
                format!(
                    "the data in {} were made by PostgreSQL {made_by}, the programs in {} are version {}",
                    home.join("data").display(),
                    binaries.dir.display(),
                    binaries.version
                ),
                format!(
                    "apt-get install postgresql-{made_by}, or move the data to version {} with pg_upgrade",
                    binaries.version
                ),
            ));
        }
        Ok(Self { home, sockets, account, binaries })
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// PostgreSQL's own log.
    pub(crate) fn log(&self) -> PathBuf {
        self.home.join("postgres.log")
    }

    /// Makes sure that the cluster runs and answers.
    pub(crate) async fn ensure(&self, passwords: &Passwords) -> anyhow::Result<(How, Postmaster)> {
        if data_version(&self.data())?.is_none() {
            initialize::initialize(self, passwords).await.context("making the database cluster")?;
            return Ok((How::Made, self.start().await?));
        }
        if let Some(postmaster) = Postmaster::find(&self.data()) {
            if postmaster.sockets != self.sockets {
                // It was started when the box's directory had another name, and listens where nobody looks.
                self.stop().await?;
            } else if self.answers(&postmaster).await? {
                return Ok((How::Adopted, postmaster));
            }
        }
        Ok((How::Started, self.start().await?))
    }

    /// Starts the cluster and waits until it answers.
    pub(crate) async fn start(&self) -> anyhow::Result<Postmaster> {
        let data = self.data();
        let settings = format!("{SETTINGS}unix_socket_directories = '\"{}\"'\n", self.sockets.display());
        self.write(&data.join("envforge.conf"), &settings)?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            // A start that a killed supervisor had begun may come to its end while we look.
            let found = match running::clear_stale(&data, &self.sockets).await? {
                Some(postmaster) => Ok(postmaster),
                None => self.launch().await,
            };
            let failure = match found {
                Ok(postmaster) if self.answers(&postmaster).await? => return Ok(postmaster),
                Ok(_) => self.failure("PostgreSQL ended right after its start"),
                Err(failure) => failure,
            };
            if attempts == ATTEMPTS {
                return Err(failure);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn launch(&self) -> anyhow::Result<Postmaster> {
        let (data, log, limit) = (self.data(), self.log(), START.as_secs().to_string());
        if fs_err::metadata(&log).is_ok_and(|log| log.len() > LOG_MAX) {
            fs_err::rename(&log, log.with_extension("log.1"))?;
        }
        let arguments = ["start", "-w", "-s", "-t", &limit, "-D", text(&data)?, "-l", text(&log)?];
        let output = self.run("pg_ctl", &arguments, "").await?;
        if output.status.success()
            && let Some(postmaster) = Postmaster::find(&data)
        {
            return Ok(postmaster);
        }
        Err(self.failure("PostgreSQL did not start"))
    }

    fn failure(&self, what: &str) -> anyhow::Error {
        let log = self.log();
        let last = last_lines(&log, 5);
        advised(format!("{what}; its log ends with:\n{last}"), format!("see {}", log.display()))
    }

    /// Stops the cluster: open transactions are rolled back, everything committed is kept.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        let data = self.data();
        let output =
            self.run("pg_ctl", &["stop", "-w", "-s", "-m", "fast", "-t", "30", "-D", text(&data)?], "").await?;
        if !output.status.success() && Postmaster::find(&data).is_some() {
            bail!("pg_ctl stop: {}", said(&output));
        }
        Ok(())
    }

    /// Waits until `postmaster` accepts connections; false when it ended instead.
    async fn answers(&self, postmaster: &Postmaster) -> anyhow::Result<bool> {
        let end = Instant::now() + START;
        let port = PORT.to_string();
        loop {
            let output =
                self.run("pg_isready", &["-q", "-h", text(&self.sockets)?, "-p", &port, "-t", "5"], "").await?;
            if output.status.success() {
                return Ok(true);
            }
            if !postmaster.identity.is_alive() {
                return Ok(false);
            }
            if Instant::now() >= end {
                let cause = format!("PostgreSQL runs and did not accept connections within {} s", START.as_secs());
                bail!(advised(cause, format!("see {}", self.log().display())));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs one of PostgreSQL's programs as the cluster's user, with `input` on its standard input.
    async fn run(&self, program: &str, arguments: &[&str], input: &str) -> anyhow::Result<Output> {
        let path = self.binaries.dir.join(program);
        #[expect(clippy::disallowed_methods, reason = "the one place that runs PostgreSQL's programs")]
        let mut command = tokio::process::Command::new(&path);
        command
            .args(arguments)
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("TZ", "UTC");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        let mut child = command.spawn().with_context(|| format!("{} could not be run", path.display()))?;
        let mut stdin = child.stdin.take().context("a pipe that was asked for")?;
        // A program that does not read its input has its reason, and tells it.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        Ok(child.wait_with_output().await?)
    }

    /// Writes a file the cluster's user reads.
    fn write(&self, path: &Path, content: &str) -> anyhow::Result<()> {
        fs_err::write(path, content)?;
        give(path, self.account)?;
        Ok(())
    }
}

/// The version that made the data; `None` when there are none.
pub(crate) fn data_version(data: &Path) -> anyhow::Result<Option<u32>> {
    let path = data.join("PG_VERSION");
    match fs_err::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().parse().with_context(|| format!("{}: not a version", path.display()))?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The URL of the managed database for a role.
pub(crate) fn url(role: &str, password: &Secret, sockets: &Path) -> Secret {
    // Passwords are hexadecimal, and the box's directory has no character that means something in a URL.
    let (password, sockets) = (password.expose(), sockets.display());
    Secret::new(format!("postgres://{role}:{password}@localhost:{PORT}/{DATABASE}?host={sockets}&sslmode=disable"))
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the box's directory was checked to be plain text")
}

fn said(output: &Output) -> String {
    let text = [&output.stderr[..], &output.stdout[..]].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

fn last_lines(path: &Path, count: usize) -> String {
    let bytes = fs_err::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
