//! The cluster itself: made, started, stopped.

use super::programs::{LIMIT, User};
use super::{CONNECTIONS, Cluster, PORT, RESERVED, disk};
use crate::files;
use crate::sys::process::all_pids;
use crate::trouble::Blocked;
use envforge_core::clock::Entropy;
use std::io::{self, Write as _};
use std::time::Duration;

/// How long the cluster may take to start; after a crash it replays its log.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long the children of a killed cluster may take to notice.
const ORPHANS: Duration = Duration::from_secs(10);
/// A cluster on its way begins so.
const UNFINISHED: &str = "data.unfinished.";

impl Cluster {
    /// Makes the directories.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        let owner = self.user().ok().map(|user| (user.uid, user.gid));
        files::directory(&self.base, 0o711, None)?;
        files::directory(&self.socket_dir(), 0o755, owner)
    }

    /// Starts the cluster if it does not run; makes it if there is none. Whoever goes on to use it holds an [`InUse`](super::need::InUse).
    pub(crate) async fn ensure_running(&self, entropy: &dyn Entropy) -> Result<(), Blocked> {
        let _one = self.starting.lock().await;
        if self.answers().await {
            return Ok(());
        }
        let user = self.user()?;
        self.prepare().map_err(|error| disk(&error))?;
        self.initialize(&user, entropy).await?;
        self.forget_killed().await;
        self.start(&user).await
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
    pub(super) async fn answers(&self) -> bool {
        let socket = self.socket_dir().join(format!(".s.PGSQL.{PORT}"));
        tokio::net::UnixStream::connect(socket).await.is_ok()
    }

    async fn initialize(&self, user: &User, entropy: &dyn Entropy) -> Result<(), Blocked> {
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
        self.program("initdb", &arguments, "", LIMIT).await?;
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
             password_encryption = 'scram-sha-256'\nshared_buffers = '64MB'\n\
             wal_level = 'minimal'\nmax_wal_senders = 0\nmax_wal_size = '256MB'\njit = off\n\
             log_destination = 'stderr'\nlogging_collector = off\ncluster_name = 'envforge'\n",
            self.socket_dir().display()
        )
    }

    async fn start(&self, user: &User) -> Result<(), Blocked> {
        let data = self.data_dir().to_string_lossy().into_owned();
        let log = self.base.join("postgres.log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).map_err(|error| disk(&error))?;
        rustix::fs::fchown(&file, Some(rustix::fs::Uid::from_raw(user.uid)), None)
            .map_err(|error| disk(&error.into()))?;
        let wait = START_LIMIT.as_secs().to_string();
        let log = log.to_string_lossy().into_owned();
        // What the shares of workspaces are reckoned from; a cluster that an earlier version made has its own in its files.
        let options = format!("-c max_connections={CONNECTIONS} -c superuser_reserved_connections={RESERVED}");
        let arguments = [
            "start",
            "--silent",
            "--wait",
            "--timeout",
            &wait,
            "--pgdata",
            &data,
            "--log",
            &log,
            "--options",
            &options,
        ];
        self.program("pg_ctl", &arguments, "", LIMIT).await.map(drop)
    }

    /// Stops the cluster, if it runs. Its data stay.
    pub(crate) async fn stop(&self) -> Result<(), Blocked> {
        if !self.exists() || !self.answers().await {
            return Ok(());
        }
        let data = self.data_dir().to_string_lossy().into_owned();
        let arguments = ["stop", "--silent", "--mode", "fast", "--pgdata", &data];
        self.program("pg_ctl", &arguments, "", LIMIT).await.map(drop)
    }
}
