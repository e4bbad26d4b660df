//! Against the real PostgreSQL: a cluster of its own for each test, started and ended by it.

mod copies;
mod extensions;
mod need;
mod replacing;
mod rotation;

use super::{Cluster, PORT};
use crate::config::HostConfig;
use crate::place::{DataDir, Place};
use crate::sys::command::std_command;
use envforge_api::ambient::{SystemClock, SystemEntropy};
use envforge_api::client::Address;
use envforge_core::id::{Id as _, WorkspaceId};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A cluster and places of workspaces.
struct Bench {
    cluster: Arc<Cluster>,
    data: DataDir,
    config: HostConfig,
    next: AtomicU32,
    _dir: tempfile::TempDir,
}

impl Bench {
    /// `None` where there is no PostgreSQL, or not enough rights.
    fn new() -> Option<Self> {
        let is_root = rustix::process::geteuid().is_root();
        if !is_root || !Path::new("/usr/lib/postgresql").exists() {
            return None;
        }
        let dir = tempfile::Builder::new().prefix("efpg").tempdir().expect("a directory");
        fs_err::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("mode");
        let config = HostConfig::new(dir.path().join("host"), Address::Socket("/nowhere".into()), "/proc/self/exe");
        let data = DataDir::new(&config.data_dir, true);
        data.create().expect("made");
        let cluster = Cluster::new(&config, &data);
        cluster.prepare().expect("made");
        Some(Self { cluster: Arc::new(cluster), data, config, next: AtomicU32::new(0), _dir: dir })
    }

    /// A workspace that has no database yet.
    fn place(&self) -> Place {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let place = self.data.place(WorkspaceId::mint(&SystemClock, &SystemEntropy), index, 1_900_000 + index);
        place.create().expect("made");
        place
    }

    /// A workspace with a database in which this was said.
    async fn with(&self, sql: &str) -> Place {
        let place = self.place();
        self.cluster.provision(&place, false, &SystemEntropy).await.expect("made");
        self.ok(&place, sql);
        place
    }

    /// Connects as a service of the workspace does.
    fn client(&self, place: &Place, name: &str) -> std::process::Command {
        let password = fs_err::read_to_string(place.postgres_password()).expect("a password");
        let mut command = std_command("psql");
        command.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", &place.workspace.to_string(), "-d", name]);
        command.arg("-h").arg(self.cluster.socket_dir()).args(["-p", &PORT.to_string()]);
        command.env("PGPASSWORD", password.trim());
        command
    }

    /// What SQL answers a service of the workspace.
    fn ask(&self, place: &Place, sql: &str) -> Result<String, String> {
        let mut command = self.client(place, &place.workspace.to_string());
        let output = command.args(["-c", sql]).output().expect("psql runs");
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn ok(&self, place: &Place, sql: &str) -> String {
        self.ask(place, sql).expect("SQL that works")
    }

    /// A session that stays.
    fn session(&self, place: &Place) -> Session {
        let mut command = self.client(place, &place.workspace.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("psql runs");
        let mut session = Session { input: child.stdin.take().expect("piped"), child };
        session.say("SELECT 1;");
        session
    }

    /// What the administrator sees.
    async fn admin(&self, sql: &str) -> String {
        self.cluster.sql(sql).await.expect("SQL that works").trim().to_owned()
    }

    /// The databases and roles of workspaces, with those on their way.
    async fn names(&self) -> Vec<String> {
        let sql = "SELECT datname FROM pg_database WHERE datname LIKE 'ws%' \
                   UNION ALL SELECT rolname FROM pg_roles WHERE rolname LIKE 'ws%' ORDER BY 1;";
        self.admin(sql).await.lines().map(str::to_owned).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(pid) = postmaster(&self.cluster) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        }
    }
}

fn postmaster(cluster: &Cluster) -> Option<rustix::process::Pid> {
    let text = fs_err::read_to_string(cluster.data_dir().join("postmaster.pid")).ok()?;
    rustix::process::Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
}

/// A client that is connected until it is dropped.
struct Session {
    input: ChildStdin,
    child: Child,
}

impl Session {
    /// Says one statement with one row of one column, and reads that.
    fn say(&mut self, sql: &str) -> String {
        writeln!(self.input, "{sql}").expect("it listens");
        let mut line = Vec::new();
        let output = self.child.stdout.as_mut().expect("piped");
        let mut byte = [0];
        while output.read(&mut byte).expect("read") == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).expect("text")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
