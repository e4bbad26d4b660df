//! Workspaces for tests: made with unique names, ended and removed when dropped, also when a test fails.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use envforge_host::init::client::{InitClient, Spawned};
use envforge_host::init::protocol::{Exit, ProcessState, Program, Spawn};
use envforge_host::sys::cgroup::{self, Group, GroupName, Layer};
use envforge_host::sys::netns;
use envforge_host::sys::sandbox::{Bind, Sandbox, SandboxSpec, Starter};

use rustix::fs::FlockOperation;
use tokio::time::Instant;

use super::entry::INSIDE;

/// Longer than anything takes on a busy machine; a test that fails waits this long.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Whether the test can run; says so if not.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln_skipped();
    }
    root
}

#[expect(clippy::print_stderr, reason = "the harness shows it with --nocapture")]
fn eprintln_skipped() {
    eprintln!("skipped: needs root");
}

/// A number that nothing else in this process has.
fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A number that no other test of this machine has at this time, below 50,000: one of the hundred that this process holds.
pub(crate) fn unique() -> u32 {
    static HUNDRED: LazyLock<(u32, File)> = LazyLock::new(|| hold("hundred", 0..500));
    static USED: AtomicU32 = AtomicU32::new(0);
    let used = USED.fetch_add(1, Ordering::Relaxed);
    assert!(used < 100, "a test makes a hundred workspaces at most");
    HUNDRED.0 * 100 + used
}

/// One of these numbers, not held by any other test of this machine under the same name, until the file is closed.
pub(crate) fn hold(name: &str, numbers: Range<u32>) -> (u32, File) {
    let count = numbers.len();
    // Not all begin with the same one.
    let from_here = numbers.clone().cycle().skip(std::process::id() as usize % count).take(count);
    for number in from_here {
        let path = std::env::temp_dir().join(format!("envforge-test-{name}-{number}"));
        let file = File::options().create(true).truncate(false).write(true).open(path).expect("a lock");
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return (number, file);
        }
    }
    panic!("all of {name} {numbers:?} are held")
}

/// Asks until it holds.
pub(crate) async fn wait_until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !holds().await {
        assert!(Instant::now() < until, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The network and files that two sandboxes share.
pub(crate) struct Workspace {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) netns: PathBuf,
}

impl Workspace {
    pub(crate) fn new() -> Self {
        let number = unique();
        let dir = tempfile::Builder::new().prefix("envforge-test-").tempdir().expect("directory");
        let uid = 100_000 + number;
        for (name, owner) in [("checkout", uid), ("home", uid), ("logs", uid), ("control", 0)] {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).expect("directory");
            std::os::unix::fs::chown(&path, Some(owner), Some(owner)).expect("owner");
        }
        let netns = dir.path().join("net");
        netns::create(&netns).expect("network namespace");
        Self { name: format!("w{number}"), uid, dir, netns }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn group(&self, layer: Layer) -> Group {
        let name = GroupName::new(&format!("test{}", std::process::id()), &self.name, layer).expect("name");
        cgroup::detect().group(&name)
    }

    /// The specification of one of its sandboxes, its group made.
    pub(crate) fn spec(&self, layer: Layer) -> SandboxSpec {
        let group = self.group(layer);
        group.create().expect("cgroup");
        let mut spec = SandboxSpec::new(&self.name, self.uid, self.uid, self.path(&format!("control/{layer}")));
        spec.netns = Some(self.netns.clone());
        spec.cgroup_procs = group.join_files();
        spec.log_dir = Some(self.path("logs"));
        spec.binds = vec![
            Bind::writable(self.path("checkout"), "/workspace"),
            Bind::writable(self.path("home"), "/home/dev"),
            Bind::read_only(std::env::current_exe().expect("own path"), "/run/envforge/inside"),
        ];
        spec
    }

    pub(crate) async fn start(&self, layer: Layer) -> Running {
        self.start_with(layer, self.spec(layer)).await
    }

    pub(crate) async fn start_with(&self, layer: Layer, spec: SandboxSpec) -> Running {
        let sandbox = Starter::new("/proc/self/exe").start(&spec, LIMIT).await.expect("sandbox");
        let client = sandbox.connect().await.expect("client");
        Running { sandbox, client, group: self.group(layer) }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        for layer in [Layer::Shell, Layer::Runtime, Layer::Elevated] {
            let group = self.group(layer);
            let _ = group.kill(LIMIT);
            let _ = group.remove(LIMIT);
        }
        let _ = netns::destroy(&self.netns);
    }
}

/// One running sandbox.
pub(crate) struct Running {
    pub(crate) sandbox: Sandbox,
    pub(crate) client: InitClient,
    pub(crate) group: Group,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

/// A line for the shell, under a unique name, in `/workspace`.
pub(crate) fn shell(line: &str) -> Spawn {
    Spawn::new(&format!("t{}", next()), Program::Shell(line.to_owned()))
}

/// The program `inside` with these arguments, under this name.
pub(crate) fn inside(name: &str, arguments: &[&str]) -> Spawn {
    let mut argv = vec!["/run/envforge/inside".to_owned(), INSIDE.to_owned()];
    argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    Spawn::new(name, Program::Argv(argv))
}

/// Runs a program in a sandbox to its end.
pub(crate) async fn run(client: &InitClient, spawn: Spawn) -> Ran {
    let name = spawn.name.clone();
    let (reader, writer) = std::io::pipe().expect("pipe");
    let null = File::open("/dev/null").expect("null");
    client.spawn_with_stdio(spawn, null.as_fd(), writer.as_fd(), writer.as_fd()).await.expect("spawn");
    drop(writer);
    let text = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        let mut reader = reader;
        reader.read_to_string(&mut text).expect("output");
        text
    })
    .await
    .expect("reader");
    let code = exit_code(client, &name).await;
    Ran { code, text }
}

async fn exit_code(client: &InitClient, name: &str) -> Option<i32> {
    let mut code = None;
    wait_until("exit", async || match exit(client, name).await {
        Some(exit) => {
            code = exit.code;
            true
        }
        None => false,
    })
    .await;
    code
}

async fn exit(client: &InitClient, name: &str) -> Option<Exit> {
    let state = client.list().await.expect("list");
    let record = state.processes.into_iter().find(|record| record.name == name)?;
    match record.state {
        ProcessState::Exited(exit) => Some(exit),
        ProcessState::Running => None,
    }
}

impl Running {
    /// Runs a line to its end.
    pub(crate) async fn run(&self, line: &str) -> Ran {
        self.run_spawn(shell(line)).await
    }

    pub(crate) async fn run_spawn(&self, spawn: Spawn) -> Ran {
        run(&self.client, spawn).await
    }

    /// Waits for the end of a named process.
    pub(crate) async fn exit_code(&self, name: &str) -> Option<i32> {
        exit_code(&self.client, name).await
    }

    pub(crate) async fn exit(&self, name: &str) -> Option<Exit> {
        exit(&self.client, name).await
    }

    /// Starts a server that answers lines with `text`, and waits until it listens.
    pub(crate) async fn serve(&self, ws: &Workspace, port: u16, text: &str) -> Spawned {
        let spawn = inside(&format!("serve-{port}"), &["serve", &format!("127.0.0.1:{port}"), text]);
        let spawned = self.client.spawn(spawn).await.expect("spawn");
        wait_until("server", async || netns::connect(&ws.netns, port).await.is_ok()).await;
        spawned
    }
}

/// Sends a line and returns the answer.
pub(crate) fn ask(mut stream: &TcpStream, line: &str) -> std::io::Result<String> {
    stream.set_read_timeout(Some(LIMIT))?;
    writeln!(stream, "{line}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}

/// Whether the machine has swap that a test may fill a little of. None adds any: what others do when memory runs out would
/// not happen then.
pub(crate) fn has_swap() -> bool {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = text.lines().find_map(|line| line.strip_prefix("SwapFree:")?.trim().strip_suffix(" kB")?.parse().ok());
    free.is_some_and(|kib: u64| kib > 200 * 1024)
}
