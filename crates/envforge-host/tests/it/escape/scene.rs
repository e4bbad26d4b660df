//! A machine with a daemon, a hostile workspace and its neighbour.

use super::attempt::{Control, Who};
use crate::entry::INSIDE;
use crate::host::machine::{Machine, Ws, open};
use crate::host::server::mint;
use crate::support::{LIMIT, Ran, Running, shell, wait_until};
use envforge_api::host::Outcome;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;
use envforge_host::init::client::InitClient;
use envforge_host::init::protocol::{Program, Spawn};
use envforge_host::sys::cgroup::Layer;
use envforge_host::sys::command::{run, std_command};
use envforge_host::sys::process::ProcessIdentity;
use envforge_host::sys::sandbox::{Bind, Protection, Sandbox, SandboxSpec, Starter};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

/// Where an attempt comes from, all of them in the hostile workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standpoint {
    Shell,
    Runtime,
    RootTerminal,
}

/// A service that listens on its loopback, and what is added to it for resources.
const SERVICE: &str = "services:\n  web:\n    command: exec python3 serve.py web\n    port: 3000\n";
const STORES: &str = "    inputs: { database_url: required, redis_url: required }\n    environment: { DATABASE_URL: input.database_url, REDIS_URL: input.redis_url }\nresources:\n  postgres: branch_scoped\n  redis: branch_scoped\n";

/// Where the neighbour listens on all addresses.
pub(super) const OPEN_PORT: u16 = 4712;
/// The secret of everything that is the neighbour's.
pub(super) const SECRET: &str = "of-the-neighbour";

pub(super) struct Scene {
    pub(super) machine: Machine,
    pub(super) one: Ws,
    pub(super) two: Ws,
    own: Layers,
    neighbour: Layers,
    root: Running,
    /// What lines find in their environment: everywhere, in a sandbox only, and on the machine only.
    common: BTreeMap<&'static str, String>,
    inside: BTreeMap<&'static str, String>,
    outside: BTreeMap<&'static str, String>,
    /// Read by everybody, and of the machine: somebody left it open.
    left: std::fs::File,
}

struct Layers {
    shell: Running,
    runtime: Running,
    uid: u32,
}

impl Scene {
    /// Two workspaces with all that a neighbour can have.
    pub(super) async fn new() -> Self {
        Self::with(SERVICE).await
    }

    /// The same with a database and a cache for each; `None` where their programs are not installed.
    pub(super) async fn with_stores() -> Option<Self> {
        let has_programs = ["/usr/lib/postgresql", "/usr/bin/redis-server"].iter().all(|path| Path::new(path).exists());
        if has_programs { Some(Self::with(&format!("{SERVICE}{STORES}")).await) } else { None }
    }

    async fn with(manifest: &str) -> Self {
        let machine = Machine::new(manifest, &[]).await;
        let (one, two) = (machine.workspace().await, Ws { id: mint() });
        let command = machine.server.command(two.id, 1, machine.prepare_order("other"));
        assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
        for ws in [one, two] {
            machine.wake(ws, 2).await;
            machine.phase(ws, ObservedPhase::Up).await;
            machine.part(ws, "web", ReadinessState::Ready).await;
        }
        let (own, neighbour) = (Layers::of(&machine, one).await, Layers::of(&machine, two).await);
        let root = start(&machine, one, &own, "root", |spec| spec.elevated = Some(spec.uid * 100)).await;
        let left = left_open(&machine);
        let (common, inside, outside) = Default::default();
        let mut scene = Self { machine, one, two, own, neighbour, root, common, inside, outside, left };
        scene.plant();
        scene.name_everything().await;
        scene
    }

    /// Files that are there for attempts.
    fn plant(&self) {
        let (one, two) = (self.machine.place(self.one), self.machine.place(self.two));
        for secret in [two.join("checkout/secret"), two.join("home/secret")] {
            std::fs::write(secret, SECRET).expect("written");
        }
        let checkout = one.join("checkout");
        let id = checkout.join("planted-id");
        std::fs::copy("/usr/bin/id", &id).expect("copied");
        std::fs::set_permissions(&id, std::fs::Permissions::from_mode(0o4755)).expect("mode");
        let null = checkout.join("planted-null");
        run("mknod", &["-m", "666", &null.to_string_lossy(), "c", "1", "3"], "").expect("a device");
        let mine = checkout.join("mine");
        std::fs::write(&mine, "").expect("written");
        std::os::unix::fs::chown(&mine, Some(self.own.uid), Some(self.own.uid)).expect("owner");
        for ws in [self.one, self.two] {
            give_probe(&self.machine, ws);
        }
        std::fs::create_dir(self.machine.path("tmp")).expect("made");
    }

    /// The names by which lines speak of things.
    async fn name_everything(&mut self) {
        let (own, neighbour) = (self.machine.place(self.one), self.machine.place(self.two));
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut victim = shell("exec sleep 10000");
        victim.env = BTreeMap::from([("PLANTED".to_owned(), SECRET.to_owned())]);
        let victim = self.neighbour.runtime.client.spawn(victim).await.expect("spawn").host_pid.expect("pid");
        let service =
            self.own.runtime.client.spawn(shell("exec sleep 10000")).await.expect("spawn").host_pid.expect("pid");
        self.common = BTreeMap::from([
            ("NEIGHBOUR", text(neighbour.clone())),
            ("OWN", text(own.clone())),
            ("DATA", text(self.machine.config.data_dir.clone())),
            ("SERVER", text(self.machine.server.socket.clone())),
            ("VICTIM", victim.to_string()),
            ("SERVICE", service.to_string()),
            ("DAEMON", std::process::id().to_string()),
            ("HANDLE", super::probes::handle_of(&neighbour.join("checkout/secret"))),
        ]);
        self.inside = BTreeMap::from([
            ("PROBE", format!("/workspace/probe {INSIDE} probe")),
            ("CHECKOUT", "/workspace".to_owned()),
            ("HOME_DIR", "/home/dev".to_owned()),
            ("LOGS", "/var/log/envforge".to_owned()),
            ("TMP", "/tmp".to_owned()),
            ("FOREIGN", "/usr/bin/env".to_owned()),
            ("INIT", "1".to_owned()),
            ("ENTER", String::new()),
        ]);
        self.outside = BTreeMap::from([
            ("PROBE", format!("{} {INSIDE} probe", own.join("checkout/probe").display())),
            ("CHECKOUT", text(own.join("checkout"))),
            ("HOME_DIR", text(own.join("home"))),
            ("LOGS", text(own.join("logs"))),
            ("TMP", text(self.machine.path("tmp"))),
            ("FOREIGN", text(own.join("state.json"))),
            ("INIT", self.own.shell.sandbox.pid().to_string()),
            ("ENTER", format!("nsenter --net={}", own.join("run/net").display())),
        ]);
    }

    /// A further name, the same everywhere.
    pub(super) fn name(&mut self, name: &'static str, value: impl Into<String>) {
        self.common.insert(name, value.into());
    }

    /// A name that means one thing in the hostile workspace and another in the neighbour's and on the machine.
    pub(super) fn name_apart(&mut self, name: &'static str, inside: impl Into<String>, outside: impl Into<String>) {
        self.inside.insert(name, inside.into());
        self.outside.insert(name, outside.into());
    }

    /// A workspace's own address, and the machine's end of its cable; `None` without a way out.
    pub(super) fn addresses(&self, ws: Ws) -> Option<(String, String)> {
        let net = format!("--net={}", self.machine.place(ws).join("run/net").display());
        let text = run("nsenter", &[&net, "ip", "-4", "-o", "addr", "show", "dev", "eth0"], "").ok()?;
        let own = text.split_whitespace().find_map(|word| word.strip_suffix("/30"))?.to_owned();
        let text = run("nsenter", &[&net, "ip", "-4", "route", "show", "default"], "").ok()?;
        let gateway = text.split_whitespace().nth(2)?.to_owned();
        Some((own, gateway))
    }

    /// The runtime of the neighbour.
    pub(super) fn neighbours_runtime(&self) -> &Running {
        &self.neighbour.runtime
    }

    /// The runtime of the hostile workspace.
    pub(super) fn own_runtime(&self) -> &Running {
        &self.own.runtime
    }

    /// Tries a line in the hostile workspace.
    pub(super) async fn run(&self, from: Standpoint, line: &str) -> Ran {
        let running = match from {
            Standpoint::Shell => &self.own.shell,
            Standpoint::Runtime => &self.own.runtime,
            Standpoint::RootTerminal => &self.root,
        };
        self.run_in(running, line, &self.inside).await
    }

    async fn run_in(&self, running: &Running, line: &str, names: &BTreeMap<&'static str, String>) -> Ran {
        let mut spawn = shell(line);
        let all = self.common.iter().chain(names);
        spawn.env = all.map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        run_with_left(running, spawn, &self.left).await
    }

    /// Tries a line where it is to succeed.
    pub(super) async fn control(&self, control: Control, line: &str) -> Ran {
        match control {
            Control::Host => self.run_outside(line, None).await,
            Control::As(Who::Own) => self.run_outside(line, Some((self.own.uid, self.own.uid))).await,
            Control::As(Who::Postgres) => {
                let user = nix::unistd::User::from_name("postgres").expect("users").expect("PostgreSQL's");
                self.run_outside(line, Some((user.uid.as_raw(), user.gid.as_raw()))).await
            }
            Control::RootTerminal => self.run(Standpoint::RootTerminal, line).await,
            Control::Neighbour => {
                let mut names = self.outside.clone();
                names.extend(["PROBE", "CHECKOUT"].map(|name| (name, self.inside[name].clone())));
                self.run_in(&self.neighbour.runtime, line, &names).await
            }
            Control::Without(protection) => {
                let weak = start(&self.machine, self.one, &self.own, "weak", |spec| {
                    *spec = spec.clone().without(protection);
                })
                .await;
                let ran = self.run_in(&weak, line, &self.inside).await;
                weak.sandbox.kill().expect("ended");
                ran
            }
        }
    }

    /// On the machine, with mounts and a host name of its own, so that it stays as it was.
    async fn run_outside(&self, line: &str, user: Option<(u32, u32)>) -> Ran {
        let mut command = std_command(if user.is_some() { "sh" } else { "unshare" });
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        } else {
            command.args(["--mount", "--uts", "--", "sh"]);
        }
        command.args(["-c", &format!("exec 2>&1\n{line}")]).envs(&self.common).envs(&self.outside).current_dir("/");
        command.stdin(self.left.try_clone().expect("a descriptor"));
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("run").expect("started");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Ran { code: output.status.code(), text }
    }
}

impl Layers {
    async fn of(machine: &Machine, ws: Ws) -> Self {
        let shell = adopt(machine, ws, Layer::Shell).await;
        let runtime = adopt(machine, ws, Layer::Runtime).await;
        let uid = std::fs::metadata(machine.place(ws).join("home")).expect("there").uid();
        Self { shell, runtime, uid }
    }
}

/// Puts this program into a checkout.
pub(super) fn give_probe(machine: &Machine, ws: Ws) {
    let probe = machine.place(ws).join("checkout/probe");
    let program = std::env::current_exe().expect("own path");
    // Another file system takes a copy.
    if std::fs::hard_link(&program, &probe).is_err() {
        std::fs::copy(&program, &probe).expect("copied");
    }
}

/// A layer the daemon started.
pub(super) async fn adopt(machine: &Machine, ws: Ws, layer: Layer) -> Running {
    let socket = machine.place(ws).join(format!("run/{layer}.sock"));
    let pid = machine.init_pid(ws, layer).expect("it runs");
    let sandbox = Sandbox::adopt(ProcessIdentity::of(pid).expect("it runs"), &socket).expect("it runs");
    let client = InitClient::connect(&socket).await.expect("it answers");
    Running { sandbox, client, group: machine.group(&ws.id.to_string(), layer) }
}

/// A further sandbox of the workspace, as the daemon would start one but for `change`. It belongs to the group of root
/// terminals, and ends with the machine.
async fn start(
    machine: &Machine,
    ws: Ws,
    layers: &Layers,
    name: &str,
    change: impl FnOnce(&mut SandboxSpec),
) -> Running {
    let place = machine.place(ws);
    let group = machine.group(&ws.id.to_string(), Layer::Elevated);
    group.create().expect("cgroup");
    let mut spec = SandboxSpec::new("hostile", layers.uid, layers.uid, place.join(format!("run/{name}.sock")));
    spec.netns = Some(place.join("run/net"));
    spec.cgroup_procs = group.join_files();
    spec.binds =
        vec![Bind::writable(place.join("home"), "/home/dev"), Bind::writable(place.join("checkout"), "/workspace")];
    change(&mut spec);
    let sandbox = Starter::new("/proc/self/exe").start(&spec, LIMIT).await.expect("sandbox");
    let client = sandbox.connect().await.expect("client");
    Running { sandbox, client, group }
}

/// A directory of the machine, with a file to read, one to run, and a place where everybody may write.
fn left_open(machine: &Machine) -> std::fs::File {
    let dir = machine.path("left");
    std::fs::create_dir(&dir).expect("made");
    open(&dir);
    std::fs::write(dir.join("left"), "read me").expect("written");
    std::fs::copy("/bin/true", dir.join("true")).expect("copied");
    std::fs::create_dir(dir.join("open-to-all")).expect("made");
    std::fs::set_permissions(dir.join("open-to-all"), std::fs::Permissions::from_mode(0o777)).expect("mode");
    std::fs::File::open(dir).expect("opened")
}

/// Runs a line to its end, what somebody left open as its standard input.
pub(super) async fn run_with_left(running: &Running, spawn: Spawn, left: &std::fs::File) -> Ran {
    let name = spawn.name.clone();
    let (mut reader, writer) = std::io::pipe().expect("pipe");
    running.client.spawn_with_stdio(spawn, left.as_fd(), writer.as_fd(), writer.as_fd()).await.expect("spawn");
    drop(writer);
    let read = move || {
        let mut text = Vec::new();
        reader.read_to_end(&mut text).expect("output");
        String::from_utf8_lossy(&text).into_owned()
    };
    let text = tokio::task::spawn_blocking(read).await.expect("reader");
    let mut code = None;
    wait_until("the line's end", async || match running.exit(&name).await {
        Some(exit) => {
            // A signal's number would be taken for no answer.
            code = exit.code.or(exit.signal.map(|signal| 128 + signal));
            true
        }
        None => false,
    })
    .await;
    Ran { code, text }
}

/// A program that the hostile workspace starts by itself, not through a shell.
pub(super) fn program(argv: &[&str]) -> Spawn {
    let mut spawn = shell("");
    spawn.program = Program::Argv(argv.iter().map(|word| (*word).to_owned()).collect());
    spawn
}

/// The weakened sandbox of one protection, for what is no line.
pub(super) async fn weakened(scene: &Scene, protection: Protection) -> Running {
    start(&scene.machine, scene.one, &scene.own, "weak", |spec| *spec = spec.clone().without(protection)).await
}
