//! A daemon on a machine of its own, as far as that goes: its own directory, instance, users and network.

use super::server::{Server, mint, public_urls};
use crate::support::{LIMIT, hold, unique, wait_until};
use envforge_api::client::Address;
use envforge_api::host::{HostCommand, Order, Outcome, PrepareShell, Report, RunJob, StartRuntime, WorkspaceNames};
use envforge_core::id::{JobId, WorkspaceId};
use envforge_core::name::Slug;
use envforge_core::readiness::{Part, PartKind, ReadinessState};
use envforge_core::runtime::ObservedPhase;
use envforge_core::size::Size;
use envforge_host::sys::cgroup::{self, GroupName, Layer};
use envforge_host::sys::egress::{Egress, EgressConfig};
use envforge_host::sys::{command, netns};
use envforge_host::{Host, HostConfig, RunningHost};
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// A daemon, its server and its repository.
pub(crate) struct Machine {
    pub(crate) server: Server,
    pub(crate) config: HostConfig,
    pub(crate) repository: PathBuf,
    running: Option<(RunningHost, CancellationToken)>,
    dir: tempfile::TempDir,
    /// Released when the machine is gone.
    _pool: std::fs::File,
}

/// One workspace of it.
#[derive(Clone, Copy)]
pub(crate) struct Ws {
    pub(crate) id: WorkspaceId,
}

/// What most tests run: a server written in Python that answers with its own name, directory and environment.
pub(crate) const SERVE: &str = r#"
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/env/"):
            body = os.environ.get(self.path[5:], "-")
        else:
            body = sys.argv[1]
        self.send_response(500 if self.path == "/broken" else 200)
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *a):
        print("asked", self.path, flush=True)
print("listening", flush=True)
class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

impl Machine {
    /// A daemon whose repository has this manifest and these files.
    pub(crate) async fn new(manifest: &str, files: &[(&str, &str)]) -> Self {
        let mut machine = Self::without_daemon(manifest, files);
        machine.start().await;
        machine
    }

    /// The same before its daemon is started.
    pub(crate) fn without_daemon(manifest: &str, files: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new().prefix("ef").tempdir().expect("directory");
        open(dir.path());
        let repository = dir.path().join("repository");
        std::fs::create_dir(&repository).expect("directory");
        std::fs::write(repository.join("envforge.yml"), manifest).expect("manifest");
        std::fs::write(repository.join("serve.py"), SERVE).expect("server");
        for (name, text) in files {
            std::fs::write(repository.join(name), text).expect("file");
        }
        git(&repository, &["init", "--quiet", "--initial-branch", "main"]);
        git(&repository, &["add", "--all"]);
        git(&repository, &["-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--message", "first"]);
        let server = Server::start(dir.path());
        let number = unique();
        let token = dir.path().join("token");
        std::fs::write(&token, "one-time\n").expect("token");
        let mut config =
            HostConfig::new(dir.path().join("host"), Address::Socket(server.socket.clone()), "/proc/self/exe");
        config.registration_token = Some(token);
        // The second byte of its workspaces' addresses; whole boxes in tests have those from 214 on.
        let (pool, held) = hold("pool", 1..201);
        config.network_pool = [10, pool as u8];
        // Not by `number`: cables are named by a short hash of it, and no two of these two hundred have the same.
        config.instance = format!("m{pool}");
        config.claims = dir.path().join("claims");
        config.uid_base = 2_000_000 + number * 100;
        Self { server, config, repository, running: None, dir, _pool: held }
    }

    pub(crate) async fn start(&mut self) {
        let cancel = CancellationToken::new();
        let hellos = self.server.hellos();
        let running = Host::start(self.config.clone(), cancel.clone()).await.expect("the daemon starts");
        self.running = Some((running, cancel));
        wait_until("a hello", async || self.server.hellos() > hellos).await;
    }

    /// Ends the daemon as a signal would.
    pub(crate) async fn stop(&mut self) {
        if let Some((running, cancel)) = self.running.take() {
            cancel.cancel();
            tokio::time::timeout(LIMIT, running.wait()).await.expect("the daemon ends");
        }
        self.server.hang_up();
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// The workspace's directory.
    pub(crate) fn place(&self, ws: Ws) -> PathBuf {
        self.config.data_dir.join("workspaces").join(ws.id.to_string())
    }

    pub(crate) fn prepare_order(&self, branch: &str) -> Order {
        Order::PrepareShell(PrepareShell {
            names: WorkspaceNames { org: slug("acme"), project: slug("planner"), workspace: slug("login") },
            repository: self.repository.to_string_lossy().into_owned(),
            branch: branch.to_owned(),
            fork_of: None,
        })
    }

    /// Asks for a copy of a workspace, on a branch of its own.
    pub(crate) fn fork_order(&self, of: Ws, branch: &str) -> Order {
        match self.prepare_order(branch) {
            Order::PrepareShell(prepare) => Order::PrepareShell(PrepareShell { fork_of: Some(of.id), ..prepare }),
            other => other,
        }
    }

    /// A prepared workspace.
    pub(crate) async fn workspace(&self) -> Ws {
        let ws = Ws { id: mint() };
        let command = self.server.command(ws.id, 1, self.prepare_order("feature/login"));
        assert_eq!(self.server.obeyed(&command).await, Outcome::Done);
        ws
    }

    pub(crate) fn start_order(size: Size) -> Order {
        Order::StartRuntime(StartRuntime {
            size,
            cause: "a test".to_owned(),
            public_urls: public_urls(&["web"]),
            dev_hosts_known: true,
            again: false,
        })
    }

    pub(crate) async fn wake(&self, ws: Ws, generation: u64) -> Outcome {
        self.order(ws, generation, Self::start_order(Size::Small)).await
    }

    pub(crate) async fn order(&self, ws: Ws, generation: u64, order: Order) -> Outcome {
        self.server.obeyed(&self.server.command(ws.id, generation, order)).await
    }

    pub(crate) fn job(&self, ws: Ws, generation: u64, argv: &[&str]) -> (JobId, HostCommand) {
        let job = mint();
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        (job, self.server.command(ws.id, generation, Order::RunJob(RunJob { job, argv, service: None })))
    }

    /// A job like a service.
    pub(crate) fn job_like(&self, ws: Ws, generation: u64, service: &str, argv: &[&str]) -> (JobId, HostCommand) {
        let job = mint();
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        let service = Some(service.to_owned());
        (job, self.server.command(ws.id, generation, Order::RunJob(RunJob { job, argv, service })))
    }

    /// Waits for the phase.
    pub(crate) async fn phase(&self, ws: Ws, phase: ObservedPhase) -> Report {
        self.server.report(ws.id, &format!("phase {phase:?}"), |report| report.phase == phase).await
    }

    /// Waits for a part's state.
    pub(crate) async fn part(&self, ws: Ws, name: &str, state: ReadinessState) -> Part {
        let find = |report: &Report| report.parts.iter().find(|part| part.name == name && part.state == state).cloned();
        let report = self.server.report(ws.id, &format!("{name} {state:?}"), |report| find(report).is_some()).await;
        find(&report).expect("found")
    }

    /// Waits until the newest report names no such part.
    pub(crate) async fn without_part(&self, ws: Ws, name: &str) {
        let is_without = |report: &Report| report.parts.iter().all(|part| part.name != name);
        self.server.report(ws.id, &format!("no {name}"), is_without).await;
    }

    /// Waits until a service is blocked with this code.
    pub(crate) async fn blocked(&self, ws: Ws, service: &str, code: &str) -> Part {
        let fits =
            |part: &Part| part.kind == PartKind::Service && part.name == service && part.code.as_deref() == Some(code);
        let report =
            self.server.report(ws.id, &format!("{service} {code}"), |report| report.parts.iter().any(fits)).await;
        report.parts.into_iter().find(fits).expect("found")
    }

    /// Writes a file of the checkout, as whoever works in it would.
    pub(crate) fn edit(&self, ws: Ws, name: &str, text: &str) {
        std::fs::write(self.place(ws).join("checkout").join(name), text).expect("written");
    }

    pub(crate) fn read(&self, ws: Ws, name: &str) -> String {
        std::fs::read_to_string(self.place(ws).join(name)).expect("read")
    }

    /// The pid of a layer's init on the host.
    pub(crate) fn init_pid(&self, ws: Ws, layer: Layer) -> Option<i32> {
        let pids = self.group(&ws.id.to_string(), layer).pids().ok()?;
        pids.into_iter().min_by_key(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/status")).map_or(usize::MAX, |text| nesting(&text))
        })
    }

    pub(crate) fn group(&self, workspace: &str, layer: Layer) -> cgroup::Group {
        cgroup::detect().group(&GroupName::new(&self.config.instance, workspace, layer).expect("name"))
    }
}

/// Sorts inits first: a process's pid in its own namespace.
fn nesting(status: &str) -> usize {
    let line = status.lines().find(|line| line.starts_with("NSpid:")).unwrap_or_default();
    line.split_ascii_whitespace().next_back().and_then(|pid| pid.parse().ok()).unwrap_or(usize::MAX)
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some((_, cancel)) = &self.running {
            cancel.cancel();
        }
        let workspaces = std::fs::read_dir(self.config.data_dir.join("workspaces"));
        for entry in workspaces.into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            for layer in [Layer::Runtime, Layer::Shell, Layer::Elevated] {
                let group = self.group(&name, layer);
                let _ = group.kill(LIMIT);
                let _ = group.remove(LIMIT);
            }
            let _ = netns::destroy(&entry.path().join("run/net"));
        }
        stop_postgres(&self.config.data_dir.join("resources/postgres/data"));
        let egress = Egress::new(EgressConfig {
            instance: self.config.instance.clone(),
            pool: self.config.network_pool,
            resolvers: Vec::new(),
            closed: Vec::new(),
        });
        if let Ok(egress) = egress {
            for index in 0..4 {
                let _ = egress.close(index);
            }
            let _ = egress.unload();
        }
    }
}

fn stop_postgres(data: &Path) {
    let Ok(text) = std::fs::read_to_string(data.join("postmaster.pid")) else { return };
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
    }
}

/// Others may pass: a checkout is made as the workspace's own user.
pub(crate) fn open(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("mode");
}

pub(crate) fn git(at: &Path, args: &[&str]) {
    let at = at.to_string_lossy();
    let mut all = vec!["-C", &at];
    all.extend(args);
    command::run("git", &all, "").expect("git");
}

pub(crate) fn slug(text: &str) -> Slug {
    text.parse().expect("a slug")
}
