//! The one PostgreSQL cluster all tests of a user share.
//!
//! It lives in `/dev/shm/envforge-testkit-<uid>` (`/tmp` where that is missing: cloning a database makes some 300
//! files, 7 ms in memory and 100 ms on a disk) and is started on demand, under a file lock, by whichever test
//! process comes first; the others find it running. It is *left running* between test runs, and the next run reuses
//! it: a start costs a second, an idle cluster some 100 MB. It is detached (a session of its own, no inherited
//! descriptors), so no test runner waits for it or reports it as leaked. To stop it:
//! `pg_ctl stop -D /dev/shm/envforge-testkit-<uid>/pg<version>/data`; deleting the directory after that is safe.
//!
//! It trades durability for speed (no fsync, trust authentication over a private Unix socket): nothing in it is
//! worth keeping. PostgreSQL refuses to run as root, so under root it runs as `postgres`, else `nobody`.

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, PgConnection};
use std::fs::{File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const SETTINGS: &str = "\
listen_addresses = ''
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_wal_size = 64MB
shared_buffers = 64MB
max_connections = 200
autovacuum = off
jit = off
";

/// The running cluster.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    /// Where its socket is.
    pub(crate) sockets: PathBuf,
    /// Where locks of the kit are.
    base: PathBuf,
    /// Major version.
    pub(crate) version: u32,
}

impl Cluster {
    /// The shared cluster, started if it does not run.
    pub(crate) async fn running() -> Self {
        let binaries = binaries();
        let version = binaries.version;
        let runner = Runner::find();
        let name = format!("envforge-testkit-{}", rustix::process::geteuid().as_raw());
        let base = Path::new(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" }).join(name);
        let home = base.join(format!("pg{version}"));
        let cluster = Self { sockets: home.join("run"), base, version };
        if cluster.connect("postgres").await.is_ok() {
            return cluster;
        }
        make_dir(&cluster.base, 0o711);
        let _lock = cluster.lock("cluster").await;
        if cluster.connect("postgres").await.is_ok() {
            return cluster;
        }
        make_dir(&home, 0o700);
        make_dir(&cluster.sockets, 0o700);
        runner.own(&home);
        runner.own(&cluster.sockets);
        let data = home.join("data");
        if !data.join("PG_VERSION").exists() {
            initialize(&binaries, &runner, &home, &data);
        }
        start(&binaries, &runner, &home, &data, &cluster.sockets);
        cluster.connect("postgres").await.unwrap_or_else(|error| {
            panic!("the test cluster started but does not answer: {error}; see {}", home.join("log").display())
        });
        cluster
    }

    /// Connects to one of its databases as its superuser.
    pub(crate) async fn connect(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.sockets)
            .port(5432)
            .username("postgres")
            .password("unused")
            .database(database)
            .ssl_mode(PgSslMode::Disable)
            .disable_statement_logging()
            .connect()
            .await
    }

    /// Takes a lock all test processes of this user share; held until dropped.
    pub(crate) async fn lock(&self, name: &str) -> File {
        let file = self.open_lock(name);
        loop {
            // Not a blocking lock: another task of this very thread may hold it.
            match file.try_lock() {
                Ok(()) => return file,
                Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(TryLockError::Error(error)) => panic!("{name}.lock: {error}"),
            }
        }
    }

    /// Takes the lock if nobody has it.
    pub(crate) fn try_lock(&self, name: &str) -> Option<File> {
        let file = self.open_lock(name);
        file.try_lock().is_ok().then_some(file)
    }

    fn open_lock(&self, name: &str) -> File {
        let path = self.base.join(format!("{name}.lock"));
        File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

struct Binaries {
    dir: PathBuf,
    version: u32,
}

fn binaries() -> Binaries {
    let installed = fs_err::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().filter_map(|entry| {
        let version = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let dir = entry.path().join("bin");
        (version >= 13 && dir.join("initdb").exists()).then_some(Binaries { dir, version })
    });
    installed
        .max_by_key(|binaries| binaries.version)
        .expect("tests need PostgreSQL 13 or newer in /usr/lib/postgresql: apt-get install postgresql")
}

/// Everything in the database behind `url`, as `pg_dump` writes it: to look for what must lie nowhere.
pub fn dump(url: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "PostgreSQL's own program")]
    let output = Command::new(binaries().dir.join("pg_dump")).arg(url).output().expect("pg_dump runs");
    assert!(output.status.success(), "pg_dump: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the runner of the tests has open, a lock or a pipe say, would be held by a cluster that stays.
const WITHOUT_DESCRIPTORS: &str = r#"
for fd in /proc/self/fd/*; do fd=${fd##*/}; if ((fd > 2)); then exec {fd}>&-; fi; done
exec "$0" "$@"
"#;

/// The user the cluster runs as: PostgreSQL refuses root.
struct Runner {
    switch_to: Option<(u32, u32)>,
}

impl Runner {
    fn find() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self { switch_to: None };
        }
        let user =
            ["postgres", "nobody"].into_iter().find_map(|name| nix::unistd::User::from_name(name).ok().flatten());
        let user = user.expect("a user `postgres` or `nobody` to run PostgreSQL as");
        Self { switch_to: Some((user.uid.as_raw(), user.gid.as_raw())) }
    }

    fn own(&self, path: &Path) {
        if let Some((uid, gid)) = self.switch_to {
            chown(path, Some(uid), Some(gid)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the kit starts PostgreSQL itself")]
    fn run(&self, program: &Path, arguments: &[&str]) {
        let mut command = Command::new("bash");
        command.args(["-c", WITHOUT_DESCRIPTORS]).arg(program).args(arguments);
        command.current_dir("/").env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = self.switch_to {
            command.uid(uid).gid(gid);
        }
        let status = command.status().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        assert!(status.success(), "{} {}: {status}", program.display(), arguments.join(" "));
    }
}

fn make_dir(path: &Path, mode: u32) {
    let made = std::fs::DirBuilder::new().mode(mode).create(path);
    if let Err(error) = made
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        panic!("{}: {error}", path.display());
    }
    // /tmp is everybody's: a directory somebody else put there is not ours to use.
    let owner = fs_err::symlink_metadata(path).expect("just made");
    let me = rustix::process::geteuid().as_raw();
    assert!(owner.is_dir() && (owner.uid() == me || me == 0), "{} belongs to somebody else", path.display());
}

fn initialize(binaries: &Binaries, runner: &Runner, home: &Path, data: &Path) {
    let fresh = home.join("data.new");
    let _ = fs_err::remove_dir_all(&fresh);
    let text = fresh.to_str().expect("a path of this module");
    let arguments = ["-D", text, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"];
    runner.run(&binaries.dir.join("initdb"), &arguments);
    let configuration = fresh.join("postgresql.conf");
    let settings = fs_err::read_to_string(&configuration).expect("written by initdb") + SETTINGS;
    fs_err::write(&configuration, settings).expect("own directory");
    fs_err::rename(&fresh, data).expect("own directory");
}

fn start(binaries: &Binaries, runner: &Runner, home: &Path, data: &Path, sockets: &Path) {
    // A postmaster.pid left behind by a crash or a reboot keeps PostgreSQL from starting when its number was
    // given to another process meanwhile. Nobody answers on the socket and the lock is ours: it is stale unless
    // that process really is this cluster's.
    let pid_file = data.join("postmaster.pid");
    if let Ok(text) = fs_err::read_to_string(&pid_file)
        && let Some(pid) = text.lines().next()
        && !std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(data.to_str().expect("own path")))
    {
        let _ = fs_err::remove_file(&pid_file);
    }
    let log = home.join("log");
    let options = format!("-k {}", sockets.display());
    let [data, log] = [data, &log].map(|path| path.to_str().expect("a path of this module"));
    runner.run(&binaries.dir.join("pg_ctl"), &["start", "-w", "-s", "-t", "30", "-D", data, "-l", log, "-o", &options]);
}
