//! A box for a test: the real programs, on free ports, in a directory that is gone afterwards.
//!
//! [`TestBox`] starts `envforged all` as an operator would and waits as the CLI does: for `run/server.url`, `owner.key`
//! and a healthy answer. Dropping it looks through its logs and recordings for planted secrets, kills the supervisor and whatever belongs to its directory, the sandboxes that are
//! meant to outlive it included, so a failed test leaves nothing either.
#![allow(dead_code, reason = "a test kit: not every method has a test at every moment")]

use envforge_api::client::{Address, Client};
use envforge_api::http::Ready;
use envforge_core::secret::Secret;
use envforge_testkit::{Planted, Slot, end_leftovers, free_port, processes_of, temp_dir, wait_until_within};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;
use tokio::process::Child;

/// The first start makes a database cluster.
const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_secs(40);

/// Where a box, its services and its terminals write down what happens.
const WRITTEN: [&str; 4] = ["words", "*.log", "*.log.*", "*.cast"];

/// A box for a test; see the module.
pub(crate) struct TestBox {
    dir: tempfile::TempDir,
    /// The name of its directory in there.
    name: &'static str,
    pub(crate) listen: SocketAddr,
    pub(crate) gateway: SocketAddr,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    /// Who runs it, when that is not whoever runs the tests.
    user: Option<u32>,
    supervisor: Option<Child>,
    /// Its users and networks are nobody else's while it lives.
    _slot: Slot,
}

impl TestBox {
    /// A box that does not run yet.
    pub(crate) fn new() -> Self {
        let address = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let slot = Slot::take(40);
        let number = slot.number;
        let arguments = ["--instance", &format!("t{number}"), "--uid-base", &(400_000 + number * 20_000).to_string()];
        let mut arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        arguments.extend(["--network-pool".to_owned(), format!("10.{}", 214 + number)]);
        let (listen, gateway) = (address(), address());
        let dir = temp_dir("box");
        slot.keeps(dir.path());
        Self {
            dir,
            name: "box",
            listen,
            gateway,
            arguments,
            environment: Vec::new(),
            user: None,
            supervisor: None,
            _slot: slot,
        }
    }

    /// A box that an ordinary user will run: with programs that user can reach.
    pub(crate) fn of_user(user: u32) -> Self {
        let mut it = Self::new();
        it.user = Some(user);
        let program = Path::new(env!("CARGO_BIN_EXE_envforged"));
        for name in ["envforged", "envforge"] {
            fs_err::copy(program.with_file_name(name), it.scratch("bin").join(name)).unwrap();
        }
        it.give(&it.scratch("box"));
        it.give(&it.scratch("home"));
        it
    }

    /// The same box with further flags.
    pub(crate) fn with(mut self, flags: &[&str]) -> Self {
        self.arguments.extend(flags.iter().map(ToString::to_string));
        self
    }

    /// The same box with a variable in its environment.
    pub(crate) fn with_env(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Gives a file or folder, with all in it, to who runs the box.
    pub(crate) fn give(&self, path: &Path) {
        let Some(user) = self.user else { return };
        std::os::unix::fs::lchown(path, Some(user), Some(user)).unwrap();
        if path.is_dir() && !path.is_symlink() {
            for entry in fs_err::read_dir(path).unwrap() {
                self.give(&entry.unwrap().path());
            }
        }
    }

    /// One of the programs under test, run as who runs the box.
    fn program(&self, name: &str) -> Command {
        let built = Path::new(env!("CARGO_BIN_EXE_envforged")).with_file_name(name);
        assert!(built.exists(), "{} is not built: `cargo build --workspace`", built.display());
        let path = if self.user.is_some() { self.scratch("bin").join(name) } else { built };
        #[expect(clippy::disallowed_methods, reason = "the program under test")]
        let mut command = Command::new(path);
        if let Some(user) = self.user {
            use std::os::unix::process::CommandExt as _;
            command.uid(user).gid(user).env("HOME", self.scratch("home"));
        }
        command
    }

    /// A box that answers.
    pub(crate) async fn started() -> Self {
        let mut it = Self::new();
        it.start().await;
        it
    }

    /// The box's directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join(self.name)
    }

    /// A folder for the test itself; everybody may read it.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs_err::create_dir_all(&path).unwrap();
        path
    }

    /// Its name among the hosts of this machine.
    pub(crate) fn instance(&self) -> &str {
        &self.arguments[1]
    }

    /// From now on, the box with the same flags in another directory.
    pub(crate) fn moves_to(&mut self, name: &'static str) {
        self.name = name;
    }

    /// `envforged …`, run to its end.
    pub(crate) async fn envforged<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Output {
        let mut command = tokio::process::Command::from(self.program("envforged"));
        command.args(arguments).stdin(Stdio::null()).env_remove("DATABASE_URL").kill_on_drop(true);
        command.output().await.unwrap()
    }

    /// The same box with this name.
    pub(crate) fn named(mut self, instance: &str) -> Self {
        instance.clone_into(&mut self.arguments[1]);
        self
    }

    /// `envforged admin VERB` for this box, run to its end.
    pub(crate) fn admin(&self, verb: &str) -> Output {
        let mut command = self.program("envforged");
        command.args(["admin", verb, "--data-dir"]).arg(self.path()).stdin(Stdio::null()).output().unwrap()
    }

    /// A statement in the box's own database, as its owner.
    pub(crate) fn psql(&self, statement: &str) {
        let mut command = self.program("envforged");
        command.args(["admin", "psql", "--data-dir"]).arg(self.path()).args([
            "--",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            statement,
        ]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A further host daemon for whoever has a registration token, in a network namespace with nothing but a loopback.
    pub(crate) fn second_host(&self, token: &str, slot: &Slot) -> Child {
        self.second_host_with(token, slot, &[])
    }

    /// The same with variables in its environment.
    pub(crate) fn second_host_with(&self, token: &str, slot: &Slot, environment: &[(&str, &Path)]) -> Child {
        slot.keeps(self.dir.path());
        let (folder, number) = (self.scratch("second-host"), slot.number);
        let token_file = folder.join("token");
        fs_err::write(&token_file, token).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a network of its own for the program under test")]
        let mut command = Command::new("unshare");
        // No variable is for the shell.
        command.args(["--net", "sh", "-c", "ip link set lo up && exec env \"$@\"", "sh"]);
        command.args(environment.iter().map(|(name, value)| format!("{name}={}", value.display())));
        command.arg(env!("CARGO_BIN_EXE_envforged")).args(["host", "--data-dir"]).arg(folder.join("host"));
        command.arg("--server-socket").arg(self.path().join("run/internal/server.sock"));
        command.arg("--token-file").arg(token_file);
        command.args(["--instance", &format!("t{number}")]);
        command.args(["--uid-base", &(400_000 + number * 20_000).to_string()]);
        command.args(["--network-pool", &format!("10.{}", 214 + number)]).stdin(Stdio::null());
        let words = fs_err::OpenOptions::new().create(true).append(true).open(self.dir.path().join("words")).unwrap();
        let words = words.into_parts().0;
        let mut command = tokio::process::Command::from(command);
        command.stdout(words.try_clone().unwrap()).stderr(words).kill_on_drop(true).spawn().unwrap()
    }

    /// A further gateway of the box, as if one balanced load between the two: it has a port of its own, and a socket of its
    /// own that the box was told of.
    pub(crate) fn second_gateway(&self, listen: SocketAddr, uplink: &Path) -> Child {
        let mut command = self.program("envforged");
        command.args(["gateway", "--listen", &listen.to_string(), "--port", &self.gateway.port().to_string()]);
        command.arg("--server-socket").arg(self.path().join("run/internal/server.sock"));
        command.arg("--uplink").arg(uplink).arg("--key-file").arg(self.path().join("secrets/gateway/key"));
        let words = fs_err::OpenOptions::new().create(true).append(true).open(self.dir.path().join("words")).unwrap();
        let words = words.into_parts().0;
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::null()).stdout(words.try_clone().unwrap()).stderr(words);
        command.kill_on_drop(true).spawn().unwrap()
    }

    /// What the supervisor and its children said so far.
    pub(crate) fn words(&self) -> String {
        fs_err::read_to_string(self.dir.path().join("words")).unwrap_or_default()
    }

    /// The command that runs this box.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.program("envforged");
        command.args(["all", "--data-dir"]).arg(self.path());
        command.args(["--listen", &self.listen.to_string(), "--gateway-listen", &self.gateway.to_string()]);
        command.args(&self.arguments).stdin(Stdio::null());
        command.env_remove("NOTIFY_SOCKET").env_remove("DATABASE_URL").env("RUST_BACKTRACE", "1");
        command.envs(self.environment.iter().cloned());
        command
    }

    /// Starts the supervisor, and waits for nothing.
    pub(crate) fn launch(&mut self) {
        let words = fs_err::OpenOptions::new().create(true).append(true).open(self.dir.path().join("words")).unwrap();
        let words = words.into_parts().0;
        let mut command = tokio::process::Command::from(self.command());
        self.supervisor = Some(command.stdout(words.try_clone().unwrap()).stderr(words).spawn().unwrap());
    }

    /// Starts the supervisor and waits until the box says that it is up.
    pub(crate) async fn start(&mut self) {
        let said_before = self.words().matches("EnvForge is up").count();
        self.launch();
        let end = tokio::time::Instant::now() + START;
        loop {
            if self.words().matches("EnvForge is up").count() > said_before && self.is_healthy().await {
                return;
            }
            let supervisor = self.supervisor.as_mut().expect("just launched");
            let ended = supervisor.try_wait().expect("our own child");
            assert!(ended.is_none(), "the supervisor ended with {ended:?}; its words:\n{}", self.words());
            assert!(tokio::time::Instant::now() < end, "not up within {START:?}; its words:\n{}", self.words());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether the server and its database answer.
    pub(crate) async fn is_healthy(&self) -> bool {
        let client = Client::new(&Address::Url(format!("http://{}", self.listen)), None).expect("a client");
        client.get::<Ready>("/v1/ready").await.is_ok()
    }

    /// The owner's key.
    pub(crate) fn key(&self) -> Secret {
        Secret::new(fs_err::read_to_string(self.path().join("owner.key")).unwrap().trim().to_owned())
    }

    /// A client of the API, as the owner.
    pub(crate) fn client(&self) -> Client {
        Client::new(&Address::Url(format!("http://{}", self.listen)), Some(self.key())).expect("a client")
    }

    /// `envforge …` in `folder`, as the owner; its output, whatever its exit code.
    pub(crate) async fn envforge<A: AsRef<OsStr>>(&self, folder: &Path, arguments: &[A]) -> Output {
        let mut command = tokio::process::Command::from(self.envforge_command(folder, arguments));
        command.kill_on_drop(true).output().await.unwrap()
    }

    /// `envforge …` in `folder`, as the owner.
    pub(crate) fn envforge_command<A: AsRef<OsStr>>(&self, folder: &Path, arguments: &[A]) -> Command {
        let mut command = self.program("envforge");
        command.args(arguments).current_dir(folder).stdin(Stdio::null());
        command.env("XDG_CONFIG_HOME", self.scratch("config")).env("ENVFORGE_DATA_DIR", self.path());
        for name in ["ENVFORGE_SERVER", "ENVFORGE_KEY", "ENVFORGE_ORG", "ENVFORGE_WORKSPACE"] {
            command.env_remove(name);
        }
        command
    }

    /// `envforge … --json`, which must end well, and what it answered.
    pub(crate) async fn json(&self, folder: &Path, arguments: &[&str]) -> serde_json::Value {
        let output = self.envforge(folder, &[arguments, &["--json"]].concat()).await;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(
            output.status.success(),
            "`envforge {}`: {}\n{said}\n{}",
            arguments.join(" "),
            output.status,
            self.words()
        );
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// The supervisor's process.
    pub(crate) fn supervisor(&self) -> i32 {
        self.supervisor.as_ref().and_then(Child::id).expect("a supervisor that runs").cast_signed()
    }

    /// The role processes that run now, by name.
    pub(crate) fn children(&self) -> BTreeMap<String, i32> {
        let text = fs_err::read(self.path().join("run/children.json")).unwrap();
        let roster: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let children = roster["children"].as_object().unwrap();
        children.iter().map(|(role, child)| (role.clone(), child["pid"].as_i64().unwrap() as i32)).collect()
    }

    /// The process of a role that is not `before`, once there is one.
    pub(crate) async fn successor(&self, role: &str, before: i32) -> i32 {
        let other = || self.children().get(role).copied().filter(|pid| *pid != before && is_alive(*pid));
        // After several deaths in a row the supervisor pauses for up to five seconds.
        let limit = Duration::from_secs(20);
        wait_until_within(&format!("another {role} than process {before}"), limit, async || other().is_some()).await;
        other().expect("it was there a moment ago")
    }

    /// PostgreSQL's process.
    pub(crate) fn postgres(&self) -> i32 {
        self.postmaster("postgres").expect("a PostgreSQL that runs")
    }

    /// The process of the cluster in a folder of the box, if it runs.
    pub(crate) fn postmaster(&self, folder: &str) -> Option<i32> {
        let text = fs_err::read_to_string(self.path().join(folder).join("data/postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// The process of a service or resource of a runtime, by how its command line begins.
    pub(crate) fn in_runtime(&self, command: &str) -> Option<i32> {
        let found = processes_of(self.dir.path()).into_iter().find(|(_, line)| line.starts_with(command));
        found.map(|(pid, _)| pid)
    }

    /// What the end of the machine ends: every process of the box, sandboxes and databases included, at once.
    pub(crate) async fn lose_power(&mut self) {
        end_leftovers(self.dir.path());
        self.kill_supervisor().await;
    }

    /// `kill -9` of the supervisor, and its end.
    pub(crate) async fn kill_supervisor(&mut self) {
        let mut supervisor = self.supervisor.take().expect("a supervisor that runs");
        supervisor.kill().await.unwrap();
    }

    /// `SIGTERM` to the supervisor, and how it ended.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        signal(self.supervisor(), rustix::process::Signal::TERM);
        let mut supervisor = self.supervisor.take().expect("a supervisor that runs");
        let ended = tokio::time::timeout(STOP, supervisor.wait()).await;
        ended.unwrap_or_else(|_| panic!("it did not end within {STOP:?}; its words:\n{}", self.words())).unwrap()
    }
}

impl Drop for TestBox {
    fn drop(&mut self) {
        if let Some(supervisor) = &mut self.supervisor {
            let _ = supervisor.start_kill();
        }
        end_leftovers(self.dir.path());
        if std::thread::panicking() {
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("the box said:\n{}\n", self.words()).as_bytes(),
            );
        } else {
            let leaks = Planted::marked().find_in_files_named(&WRITTEN, self.dir.path());
            let leaks: Vec<String> = leaks.iter().map(ToString::to_string).collect();
            assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
        }
    }
}

/// Sends a signal; to nobody, if the process is gone.
pub(crate) fn signal(pid: i32, signal: rustix::process::Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// `kill -9`.
pub(crate) fn kill(pid: i32) {
    signal(pid, rustix::process::Signal::KILL);
}

/// Whether a process runs; one that ended and was not waited for does not.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Waits until a process is gone.
pub(crate) async fn gone(what: &str, pid: i32) {
    wait_until_within(&format!("{what} (process {pid}) is gone"), Duration::from_secs(15), async || !is_alive(pid))
        .await;
}

#[test]
fn a_planted_secret_in_the_log_of_a_box_is_told_when_it_ends() {
    let it = TestBox::new();
    fs_err::write(it.scratch("logs").join("web.log"), format!("with {}4711\n", envforge_testkit::MARKER)).unwrap();
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(it))).unwrap_err();
    let told = told.downcast_ref::<String>().unwrap();
    assert!(told.contains("1 leaks:\n") && told.contains("logs/web.log at byte 5: …with planted-secret-"), "{told}");
}
