//! PostgreSQL's own programs, and SQL through them.
//!
//! SQL goes through `psql`, by standard input, so that no password is seen in a process list.

use super::{Cluster, INSTALL, PORT};
use crate::sys::command::tokio_command;
use crate::trouble::{Blocked, blocked};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// How long a program that changes nothing big may take; a cluster on its way up has this long too.
pub(super) const LIMIT: Duration = Duration::from_secs(90);
/// The database where the administrator works on others.
pub(super) const MAINTENANCE: &str = "postgres";

/// The Linux user the cluster runs as.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
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
    /// Runs SQL as the administrator; a cluster that is just starting is waited for.
    pub(super) async fn sql(&self, sql: &str) -> Result<String, Blocked> {
        let mut tries = 0;
        loop {
            match self.sql_in(MAINTENANCE, sql, LIMIT).await {
                // Just starting, or just killed: [`Self::watch`] starts it again.
                Err(error) if is_passing(&error) && tries < 200 => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                other => return other,
            }
        }
    }

    /// Runs SQL as the administrator in this database, up to the first mistake.
    pub(super) async fn sql_in(&self, database: &str, sql: &str, limit: Duration) -> Result<String, Blocked> {
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
            database,
            "--file",
            "-",
        ];
        self.program("psql", &arguments, sql, limit).await
    }

    /// Starts one of PostgreSQL's programs as the administrator; what it says of errors is kept for whoever waits for it.
    pub(crate) fn admin(
        &self,
        program: &str,
        arguments: &[&str],
        input: Stdio,
        output: Stdio,
    ) -> Result<Child, Blocked> {
        let mut command = self.client(program, "envforge")?;
        command.args(arguments).stdin(input).stdout(output);
        command.spawn().map_err(|error| blocked("resource.postgres_failed", format!("{program}: {error}"), INSTALL))
    }

    /// One of PostgreSQL's programs, about to connect as this role.
    pub(super) fn client(&self, program: &str, role: &str) -> Result<Command, Blocked> {
        let mut command = self.command(program)?;
        command.arg("--host").arg(self.socket_dir()).args(["--port", &PORT.to_string(), "--username", role]);
        command.stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }

    /// One of PostgreSQL's programs, as the cluster's user.
    fn command(&self, program: &str) -> Result<Command, Blocked> {
        let (bin, user) = (self.bin()?, self.user()?);
        let mut command = tokio_command(bin.join(program));
        command.current_dir("/").uid(user.uid).gid(user.gid).process_group(0);
        Ok(command)
    }

    /// Runs one of PostgreSQL's programs as the cluster's user, to its end or to the limit.
    pub(super) async fn program(
        &self,
        program: &str,
        arguments: &[&str],
        input: &str,
        limit: Duration,
    ) -> Result<String, Blocked> {
        let mut command = self.command(program)?;
        command
            .args(arguments)
            .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(program != "pg_ctl");
        let mut child = command.spawn().map_err(|error| failed(program, &error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that fails early closes its end; its own message is worth more than ours.
            drop(stdin.write_all(input.as_bytes()).await);
        }
        let output = tokio::time::timeout(limit, child.wait_with_output())
            .await
            .map_err(|_| failed(program, &format!("did not end within {} s", limit.as_secs())))?
            .map_err(|error| failed(program, &error.to_string()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(failed(program, if said.trim().is_empty() { output.status.to_string() } else { said.into_owned() }.trim()))
    }

    /// Where one of the programs is.
    pub(crate) fn program_path(&self, program: &str) -> Result<PathBuf, Blocked> {
        Ok(self.bin()?.join(program))
    }

    /// Where the programs are: as configured, or the newest of Debian's.
    pub(super) fn bin(&self) -> Result<PathBuf, Blocked> {
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
    pub(super) fn user(&self) -> Result<User, Blocked> {
        User::named(&self.user)
    }
}

/// A program did not do what it should.
pub(super) fn failed(program: &str, cause: &str) -> Blocked {
    blocked(
        "resource.postgres_failed",
        format!("{program}: {cause}"),
        "see resources/postgres/postgres.log in the host's data directory",
    )
}

/// Whether a program met a cluster on its way up or down.
pub(super) fn is_passing(block: &Blocked) -> bool {
    block.cause.contains("connection to server") || block.cause.contains("closed the connection")
}
