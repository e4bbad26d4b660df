//! An engine for one case, with workspaces of its own; what it started ends with it, also when a case fails.

use crate::entry::INSIDE;
use crate::host::server::mint;
use crate::support::{Ran, hold as hold_number, inside, is_root, shell, unique, wait_until};
use envforge_api::client::Address;
use envforge_host::HostConfig;
use envforge_host::engines::native::Native;
use envforge_host::engines::{Bind, Engine, Layer, LayerLimits, LayerPlan};
use envforge_host::init::client::InitClient;
use envforge_host::place::{DataDir, Place};
use envforge_host::sys::capability::{self, Isolation};
use envforge_host::sys::cgroup::{self, Backend, Cgroups};
use envforge_host::sys::command::std_command;
use envforge_host::sys::egress::{Egress, EgressConfig};
use envforge_host::sys::netns;
use envforge_host::sys::process::ProcessIdentity;
use envforge_host::sys::sandbox::Sandbox;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// Whoever runs the rootless engine.
const ORDINARY_USER: u32 = 65_000;
/// How that process says that it could not run a case.
const NOT_HERE: &str = "not here: ";
/// And that the case held.
const HELD: &str = "held\n";
/// Where the test program lies in a layer, for [`inside`].
const PROGRAM: &str = "/run/envforge/inside";

pub(super) const MIB: u64 = 1024 * 1024;

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The native one as root, with the machine's cgroups.
    Cgroups,
    /// The same on a machine that has none: inits know what is in a layer.
    Inits,
    /// The native one as an ordinary user.
    Rootless,
}

/// Runs a case with an engine; says so where that is impossible.
pub(super) fn hold(kind: Kind, case: &str) {
    if !is_root() {
        return;
    }
    if kind == Kind::Cgroups && matches!(cgroup::detect().backend(), Backend::None { .. }) {
        return not_here(kind, "this machine has no cgroups");
    }
    let dir = tempfile::Builder::new().prefix("envforge-test-").tempdir_in("/var/tmp").expect("directory");
    crate::host::machine::open(dir.path());
    let verdict = if kind == Kind::Rootless { as_ordinary_user(dir.path(), case) } else { run(kind, dir.path(), case) };
    if let Err(why) = verdict {
        not_here(kind, &why);
    }
}

#[expect(clippy::print_stderr, reason = "the harness shows it with --nocapture")]
fn not_here(kind: Kind, why: &str) {
    eprintln!("not run with {kind:?}: {why}");
}

fn run(kind: Kind, dir: &Path, case: &str) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    runtime.block_on(async {
        let rig = Rig::new(kind, dir)?;
        super::run(case, &rig).await.map_err(str::to_owned)
    })
}

/// Runs a case in a process of an ordinary user.
fn as_ordinary_user(dir: &Path, case: &str) -> Result<(), String> {
    std::os::unix::fs::chown(dir, Some(ORDINARY_USER), Some(ORDINARY_USER)).expect("owner");
    // Build output may lie in a home directory that only its owner can enter.
    let (own, program) = (std::env::current_exe().expect("own path"), dir.join("program"));
    if std::fs::hard_link(&own, &program).is_err() {
        std::fs::copy(&own, &program).expect("a copy");
    }
    let output = std_command(&program)
        .args([INSIDE, "conformance", case])
        .arg(dir)
        .current_dir(dir)
        .uid(ORDINARY_USER)
        .gid(ORDINARY_USER)
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match said.strip_prefix(NOT_HERE) {
        Some(why) => Err(why.trim_end().to_owned()),
        None if said == HELD => Ok(()),
        None => panic!("{said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// What the process of an ordinary user does.
#[expect(clippy::print_stdout, reason = "a program of its own")]
pub(crate) fn inside_ordinary_user(case: &str, dir: &str) {
    match run(Kind::Rootless, Path::new(dir), case) {
        Ok(()) => print!("{HELD}"),
        Err(why) => println!("{NOT_HERE}{why}"),
    }
}

/// An engine and its machine.
pub(crate) struct Rig {
    pub(super) engine: Box<dyn Engine>,
    pub(super) kind: Kind,
    dir: PathBuf,
    data: DataDir,
    config: HostConfig,
    isolation: Isolation,
    /// The inits that were started.
    inits: Mutex<Vec<ProcessIdentity>>,
    places: Mutex<Vec<Place>>,
    next: AtomicU32,
    /// Released when the rig is gone.
    _pool: File,
}

/// A layer that runs.
pub(super) struct Live {
    pub(super) sandbox: Sandbox,
    pub(super) client: InitClient,
}

impl Rig {
    fn new(kind: Kind, dir: &Path) -> Result<Self, String> {
        let isolation = capability::probe().map_err(|error| error.to_string())?;
        assert_eq!(isolation.rootless, kind == Kind::Rootless);
        let mut config = HostConfig::new(dir.join("host"), Address::Socket(dir.join("none")), "/proc/self/exe");
        let (pool, held) = match kind {
            Kind::Rootless => (0, File::open("/dev/null").expect("opened")),
            _ => hold_number("pool", 1..201),
        };
        config.network_pool = [10, pool as u8];
        config.instance = format!("m{pool}");
        config.uid_base = if kind == Kind::Rootless { 1_000 } else { 2_000_000 + unique() * 100 };
        config.allow_elevation = true;
        let data = DataDir::new(&config.data_dir, kind != Kind::Rootless);
        data.create().expect("directories");
        let engine = Box::new(engine(kind, &config, &isolation));
        Ok(Self {
            engine,
            kind,
            dir: dir.to_owned(),
            data,
            config,
            isolation,
            inits: Mutex::default(),
            places: Mutex::default(),
            next: AtomicU32::new(0),
            _pool: held,
        })
    }

    /// The engine of the daemon that comes after: it knows of nothing.
    pub(super) fn next_engine(&self) -> Native {
        engine(self.kind, &self.config, &self.isolation)
    }

    /// Whether this machine enforces limits with this engine.
    pub(super) fn has_limits(&self) -> bool {
        self.kind == Kind::Cgroups && cgroup::detect().missing_limits().is_empty()
    }

    /// A file or directory beside the engine's own.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A port nobody listens on: in a network of its own any, else one that is free.
    pub(super) fn port(&self) -> u16 {
        if self.engine.has_own_network() {
            return 3_000;
        }
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
    }

    /// A workspace whose network is there, and no layer yet.
    pub(super) async fn place(&self) -> Place {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let place = self.data.place(mint(), index, self.config.uid_base + index);
        place.create().expect("directories");
        std::fs::create_dir(place.checkout()).expect("directory");
        let (uid, gid) = place.host_user();
        std::os::unix::fs::chown(place.checkout(), Some(uid), Some(gid)).expect("owner");
        self.places.lock().expect("no case failed").push(place.clone());
        self.engine.prepare_network(&place).await.expect("a network");
        place
    }

    /// A layer with nothing special.
    pub(super) fn plan(layer: Layer) -> LayerPlan {
        LayerPlan {
            layer,
            hostname: "conformance".to_owned(),
            limits: LayerLimits { milli_cpu: 4_000, reserved_milli_cpu: 500, memory: 512 * MIB, processes: 500 },
            binds: vec![Bind::read_only(std::env::current_exe().expect("own path"), PROGRAM)],
            init_only: Vec::new(),
            files: Vec::new(),
            environment: BTreeMap::new(),
        }
    }

    pub(super) async fn start(&self, place: &Place, layer: Layer) -> Live {
        self.start_planned(place, &Self::plan(layer)).await
    }

    pub(super) async fn start_planned(&self, place: &Place, plan: &LayerPlan) -> Live {
        let sandbox = self.engine.start(place, plan).await.expect("a layer");
        self.inits.lock().expect("no case failed").push(sandbox.identity());
        Live { client: sandbox.connect().await.expect("its init"), sandbox }
    }

    /// Has a layer answer lines on an address with a text, and waits until it does.
    pub(super) async fn serve(&self, place: &Place, live: &Live, address: &str, text: &str) -> i32 {
        let port: u16 = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let spawned =
            live.client.spawn(inside(&format!("serve-{port}"), &["serve", address, text])).await.expect("started");
        wait_until("it listens", async || self.engine.connect(place, port).await.is_ok()).await;
        spawned.host_pid.expect("a pid")
    }

    /// Asks what listens on a port.
    pub(super) async fn ask(&self, place: &Place, port: u16, line: &str) -> String {
        ask(self.engine.connect(place, port).await.expect("connected"), line).await.0
    }
}

impl Live {
    /// Runs a line to its end.
    pub(super) async fn run(&self, line: &str) -> Ran {
        crate::support::run(&self.client, shell(line)).await
    }
}

fn engine(kind: Kind, config: &HostConfig, isolation: &Isolation) -> Native {
    let cgroups: Cgroups = match kind {
        Kind::Cgroups => cgroup::detect(),
        Kind::Inits | Kind::Rootless => cgroup::none("the case wants it so"),
    };
    Native::with_cgroups(config, isolation.clone(), cgroups).expect("an engine")
}

/// Sends a line; the answer, and the connection for the next one.
pub(super) async fn ask(stream: tokio::net::TcpStream, line: &str) -> (String, tokio::net::TcpStream) {
    let (stream, line) = (stream.into_std().expect("a socket"), line.to_owned());
    let asked = move || {
        stream.set_nonblocking(false).expect("waits");
        let answer = crate::support::ask(&stream, &line).expect("an answer");
        stream.set_nonblocking(true).expect("does not wait");
        (answer, stream)
    };
    let (answer, stream) = tokio::task::spawn_blocking(asked).await.expect("asked");
    (answer, tokio::net::TcpStream::from_std(stream).expect("a socket"))
}

impl Drop for Rig {
    fn drop(&mut self) {
        for init in self.inits.lock().into_iter().flat_map(|inits| inits.clone()) {
            // All of a layer ends with its init.
            if let Ok(pidfd) = init.open() {
                let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
            }
        }
        if self.kind == Kind::Rootless {
            return;
        }
        let places = self.places.lock().map(|places| places.clone()).unwrap_or_default();
        let egress = Egress::new(EgressConfig {
            instance: self.config.instance.clone(),
            pool: self.config.network_pool,
            resolvers: Vec::new(),
            closed: Vec::new(),
        });
        for place in places {
            for layer in [Layer::Shell, Layer::Runtime, Layer::Elevated] {
                let name = cgroup::GroupName::new(&self.config.instance, &place.workspace.to_string(), layer);
                if let (Ok(name), Kind::Cgroups) = (name, self.kind) {
                    let group = cgroup::detect().group(&name);
                    let _ = group.kill(crate::support::LIMIT);
                    let _ = group.remove(crate::support::LIMIT);
                }
            }
            if let Ok(egress) = &egress {
                let _ = egress.close(place.index);
            }
            let _ = netns::destroy(&place.network());
        }
        if let Ok(egress) = egress {
            let _ = egress.unload();
        }
    }
}
