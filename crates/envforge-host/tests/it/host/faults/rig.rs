//! A daemon in a process of its own, one workspace, and what must be true of it whatever was killed.

use super::super::machine::{Machine, Ws};
use super::super::server::mint;
use crate::entry::DAEMON;
use crate::support::{LIMIT, wait_until};
use envforge_api::host::{HostCommand, JobReport, Order, Outcome, PrepareShell, Report, RotateCredential};
use envforge_api::http::runs::RunState;
use envforge_api::uplink::Open;
use envforge_core::id::{CommandId, JobId};
use envforge_core::manifest::ResourceKind;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;
use envforge_core::size::Size;
use envforge_core::ticket::TicketKind;
use envforge_host::sys::cgroup::Layer;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;
use tokio::time::Instant;

/// A service that counts its starts, and ends only when it is ended; sleeps and thaws are counted too.
const MANIFEST: &str = "services:\n  worker:\n    command: echo started | tee -a starts; exec sleep 1000\n    routes: []\n    health: { log: started }\nhooks:\n  before_sleep: echo slept >> sleeps\n  after_wake: echo woke >> thaws\n";
/// The same, given what two resources are opened with; it notes what that is at each start.
const STORES: &str = "services:\n  worker:\n    command: echo $SECRET $DATABASE_URL >> given; echo started | tee -a starts; exec sleep 1000\n    routes: []\n    health: { log: started }\n    inputs: { database_url: required, s3_secret_access_key: required }\n    environment: { DATABASE_URL: input.database_url, SECRET: input.s3_secret_access_key }\nresources:\n  postgres: branch_scoped\n  object_storage: branch_scoped\n";
/// A line of work that nobody committed.
const WORK: &str = "half a day's work\n";

/// What is done, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Prepare,
    Start,
    Freeze,
    Thaw,
    Job,
    RotatePassword,
    RotateKey,
    Stop,
    StopFrozen,
    Destroy,
}

/// How the workspace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    Nothing,
    Asleep,
    Up,
    Frozen,
}

/// What the database with this address, as a service has it, answers on the cluster's own socket.
async fn database_answers(machine: &Machine, url: &str) -> Result<String, String> {
    let socket = machine.config.data_dir.join("resources/postgres/socket");
    let (account, _) = url.trim_start_matches("postgres://").split_once('@').expect("an address");
    let (name, password) = account.split_once(':').expect("a password");
    let mut command = envforge_host::sys::command::std_command("psql");
    command.args(["-XqAt", "-U", name, "-d", name, "-p", "5432", "-c", "SELECT 4711"]).arg("-h").arg(socket);
    command.env("PGPASSWORD", password);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("a task").expect("psql runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// What happens to the daemon meanwhile.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    None,
    /// It dies when it passes a point of the command for the n-th time; `again`: so does the one that takes up what it left, as soon
    /// as it has written its journal.
    At {
        point: String,
        nth: u32,
        again: bool,
    },
    /// It is killed so long after it got the command, and perhaps the next one so long after its start.
    After {
        first: Duration,
        second: Option<Duration>,
    },
}

impl Deed {
    pub(super) fn is_rotation(self) -> bool {
        matches!(self, Self::RotatePassword | Self::RotateKey)
    }

    fn from(self) -> Now {
        match self {
            Self::Prepare => Now::Nothing,
            Self::Start => Now::Asleep,
            Self::Thaw | Self::StopFrozen => Now::Frozen,
            Self::Freeze | Self::Job | Self::RotatePassword | Self::RotateKey | Self::Stop | Self::Destroy => Now::Up,
        }
    }

    fn to(self) -> Now {
        match self {
            Self::Destroy => Now::Nothing,
            Self::Prepare | Self::Stop | Self::StopFrozen => Now::Asleep,
            Self::Start | Self::Thaw | Self::Job | Self::RotatePassword | Self::RotateKey => Now::Up,
            Self::Freeze => Now::Frozen,
        }
    }
}

/// The daemon and its workspace.
pub(super) struct Rig {
    machine: Machine,
    daemon: Option<Child>,
    ws: Ws,
    now: Now,
    generation: u64,
    /// Of the service, of jobs, of windows of the meter: how many there must have been in this workspace.
    starts: usize,
    jobs: usize,
    sleeps: usize,
    thaws: usize,
    windows: usize,
    job: Option<JobId>,
    /// Milliseconds after which a shell that nobody uses is put away.
    rest_after: Option<u64>,
    /// Processes of a runtime that is up.
    processes: usize,
    /// Credentials there must have been of each of the two resources, if it has them.
    credentials: Option<[usize; 2]>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Rig {
    pub(super) async fn new() -> Self {
        Self::with(MANIFEST, 2, None).await
    }

    /// One whose workspace has a database and an object storage.
    pub(super) async fn with_stores() -> Self {
        Self::with(STORES, 3, Some([1, 1])).await
    }

    async fn with(manifest: &str, processes: usize, credentials: Option<[usize; 2]>) -> Self {
        let bytes: String = (0..20_000).flat_map(|line| [line.to_string(), "\n".to_owned()]).collect();
        let machine = Machine::without_daemon(manifest, &[("data.txt", &bytes)]);
        let ws = Ws { id: mint() };
        let mut rig = Self {
            machine,
            daemon: None,
            ws,
            now: Now::Nothing,
            generation: 0,
            starts: 0,
            jobs: 0,
            sleeps: 0,
            thaws: 0,
            windows: 0,
            job: None,
            rest_after: None,
            processes,
            credentials,
        };
        rig.start(&[]).await;
        rig
    }

    /// Starts a daemon and waits until it is connected.
    async fn start(&mut self, environment: &[(&str, String)]) {
        let hellos = self.machine.server.hellos();
        self.spawn(environment);
        wait_until("a hello", async || self.machine.server.hellos() > hellos).await;
    }

    fn spawn(&mut self, environment: &[(&str, String)]) {
        let config = &self.machine.config;
        let given = serde_json::json!({
            "server": self.machine.server.socket,
            "data_dir": config.data_dir,
            "token": config.registration_token,
            "instance": config.instance,
            "claims": config.claims,
            "uid_base": config.uid_base,
            "network": config.network_pool[1],
            "shell_rest_after": self.rest_after,
        });
        let words =
            std::fs::File::options().create(true).append(true).open(self.machine.path("words")).expect("a file");
        #[expect(clippy::disallowed_methods, reason = "the daemon that is killed")]
        let mut command = std::process::Command::new("/proc/self/exe");
        command.args([DAEMON, &given.to_string()]).envs(environment.iter().map(|(name, value)| (*name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(words);
        self.daemon = Some(command.spawn().expect("a daemon"));
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            drop(daemon.kill());
            drop(daemon.wait());
        }
        self.machine.server.hang_up();
    }

    /// Waits until the daemon has killed itself. Where it must not come to that, because a pass is one more than there had to be this
    /// time, the answer will do.
    async fn dies(&mut self, place: &str, or_answers: Option<CommandId>) {
        let mut daemon = self.daemon.take().expect("a daemon");
        let mut status = None;
        wait_until(&format!("the death at {place}"), async || {
            status = daemon.try_wait().expect("a status");
            status.is_some() || or_answers.is_some_and(|command| self.machine.server.has_answered(command))
        })
        .await;
        if or_answers.is_some() {
            drop(daemon.kill());
            status = Some(daemon.wait().expect("a status"));
        }
        let words = std::fs::read_to_string(self.machine.path("words")).unwrap_or_default();
        assert_eq!(status.and_then(|status| status.signal()), Some(9), "at {place}: {status:?}: {words}");
        self.machine.server.hang_up();
    }

    /// Does it, with this fault meanwhile, and looks at everything; the points passed if there was none.
    pub(super) async fn carry_out(&mut self, deed: Deed, fault: Fault) -> Vec<String> {
        let generation = self.generation + 10;
        let trace = self.machine.path("points");
        let at = |point: &str, nth: u32| vec![("ENVFORGE_DIE_AT", format!("{generation}/{point}:{nth}"))];
        self.kill();
        let environment = match &fault {
            Fault::At { point, nth, .. } => at(point, *nth),
            Fault::None => vec![("ENVFORGE_POINTS", trace.to_string_lossy().into_owned())],
            Fault::After { .. } => Vec::new(),
        };
        self.start(&environment).await;
        self.bring(deed.from()).await;
        self.generation = generation;
        let command = self.command(deed);
        if !matches!(fault, Fault::None) {
            self.machine.server.send(&command).await;
        }
        match &fault {
            Fault::None => {}
            Fault::At { point, nth, again } => {
                self.dies(&format!("{point}:{nth} of {deed:?}"), (*nth > 1).then_some(command.id)).await;
                if *again {
                    // Where there is nothing to take up, nothing is written.
                    self.spawn(&[("ENVFORGE_DIE_AT", "0/journal.after:1".to_owned())]);
                    tokio::time::sleep(Duration::from_millis(60)).await;
                    self.kill();
                }
            }
            Fault::After { first, second } => {
                tokio::time::sleep(*first).await;
                self.kill();
                if let Some(second) = second {
                    self.spawn(&[]);
                    tokio::time::sleep(*second).await;
                    self.kill();
                }
            }
        }
        if !matches!(fault, Fault::None) {
            self.start(&[]).await;
            self.knows_everything(deed).await;
        }
        self.answers(&command).await;
        self.is_done(deed).await;
        let mine = format!("{generation} ");
        let text = || std::fs::read_to_string(&trace).unwrap_or_default();
        if matches!(fault, Fault::None) {
            // An answer is here before the daemon notes that it is gone.
            let is_sent = async || text().lines().any(|line| line.strip_prefix(&mine) == Some("answer.sent"));
            wait_until("the answer is noted", is_sent).await;
        }
        let text = text();
        self.answers(&command).await;
        self.look(&format!("{deed:?} with {fault:?}")).await;
        text.lines().filter_map(|line| line.strip_prefix(&mine)).map(str::to_owned).collect()
    }

    /// A daemon dies at this point while it puts the shell away; the next one does, and the shell is there for who needs it.
    pub(super) async fn dies_while_a_shell_comes_to_rest(&mut self, point: &str) {
        self.kill();
        self.rest_after = Some(0);
        self.spawn(&[("ENVFORGE_DIE_AT", format!("0/{point}:1"))]);
        self.dies(point, None).await;
        self.start(&[]).await;
        let group = self.machine.group(&self.ws.id.to_string(), Layer::Shell);
        // That the shell is gone is not enough: so it is for a daemon that has not taken it up yet.
        wait_until("the rest", async || self.is_noted_to_rest() && !group.exists()).await;
        self.kill();
        self.rest_after = None;
        self.start(&[]).await;
        self.knows_everything(Deed::Freeze).await;
        assert!(!group.exists(), "it goes on to rest");
        let ticket = self.machine.server.ticket(self.ws.id, TicketKind::Terminal, "");
        drop(self.machine.server.open(&ticket, Open::Terminals).await.expect("terminals"));
        assert!(group.exists(), "it was needed");
        self.look(point).await;
    }

    /// Whether the journal has it that the shell rests.
    fn is_noted_to_rest(&self) -> bool {
        let place = self.machine.place(self.ws);
        let read = |name| serde_json::from_slice::<serde_json::Value>(&std::fs::read(place.join(name)).ok()?).ok();
        let newest = ["state.json", "state.recent.json"].into_iter().filter_map(read);
        let newest = newest.max_by_key(|state| state["revision"].as_u64());
        newest.is_some_and(|state| state["shell_rests"] == true)
    }

    /// Asks as a server does that has no answer yet: each time the same.
    async fn answers(&self, command: &HostCommand) {
        let before = self.machine.server.answers(command.id).len();
        self.machine.server.send(command).await;
        let answers = || self.machine.server.answers(command.id);
        wait_until(&format!("an answer to {}", command.order.verb()), async || answers().len() > before).await;
        assert!(answers().iter().all(|outcome| *outcome == Outcome::Done), "{}: {:?}", command.order.verb(), answers());
    }

    fn command(&mut self, deed: Deed) -> HostCommand {
        let order = match deed {
            Deed::Prepare => {
                self.ws = Ws { id: mint() };
                (self.starts, self.jobs, self.sleeps, self.thaws, self.windows) = (0, 0, 0, 0, 0);
                self.credentials = self.credentials.map(|_| [1, 1]);
                self.machine.prepare_order("feature/login")
            }
            Deed::Start | Deed::Thaw => Machine::start_order(Size::Small),
            Deed::Freeze => Order::FreezeRuntime,
            Deed::Stop | Deed::StopFrozen => Order::StopRuntime,
            Deed::Destroy => Order::DestroyWorkspace,
            Deed::RotatePassword => Order::RotateCredential(RotateCredential { resource: ResourceKind::Postgres }),
            Deed::RotateKey => Order::RotateCredential(RotateCredential { resource: ResourceKind::ObjectStorage }),
            Deed::Job => {
                let (job, command) = self.machine.job(self.ws, self.generation, &["sh", "-c", "echo ran >> jobs"]);
                self.job = Some(job);
                return command;
            }
        };
        HostCommand { id: mint::<CommandId>(), ..self.machine.server.command(self.ws.id, self.generation, order) }
    }

    /// Brings the workspace there without a fault.
    async fn bring(&mut self, to: Now) {
        while self.now != to {
            let deed = match (self.now, to) {
                (Now::Nothing, _) => Deed::Prepare,
                (_, Now::Nothing) => Deed::Destroy,
                (Now::Asleep, _) => Deed::Start,
                (Now::Up, Now::Frozen) => Deed::Freeze,
                (Now::Up, _) => Deed::Stop,
                (Now::Frozen, Now::Up) => Deed::Thaw,
                (Now::Frozen, _) => Deed::StopFrozen,
            };
            self.generation += 1;
            let command = self.command(deed);
            self.answers(&command).await;
            self.is_done(deed).await;
        }
    }

    /// What the deed was for is there.
    async fn is_done(&mut self, deed: Deed) {
        let (machine, ws) = (&self.machine, self.ws);
        match deed {
            Deed::Prepare => {
                machine.part(ws, "shell", ReadinessState::Ready).await;
                machine.edit(ws, "mine", WORK);
            }
            Deed::Start => (self.starts, self.windows) = (self.starts + 1, self.windows + 1),
            Deed::Thaw => (self.thaws, self.windows) = (self.thaws + 1, self.windows + 1),
            Deed::Freeze | Deed::Stop => self.sleeps += 1,
            Deed::Job => {
                self.jobs += 1;
                let job = self.job.expect("a job");
                let ended = |report: &JobReport| report.job == job && report.state == RunState::Ended;
                let reported = || machine.server.reports(ws.id).iter().any(|report| report.jobs.iter().any(ended));
                wait_until("the job's end", async || reported()).await;
            }
            Deed::RotatePassword | Deed::RotateKey => {
                self.starts += 1;
                let credentials = self.credentials.as_mut().expect("a workspace with stores");
                credentials[usize::from(deed == Deed::RotateKey)] += 1;
            }
            Deed::StopFrozen | Deed::Destroy => {}
        }
        self.now = deed.to();
        let runtime = machine.group(&ws.id.to_string(), Layer::Runtime);
        match self.now {
            Now::Nothing => {
                assert!(!machine.place(ws).exists(), "nothing is left");
                let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
                assert!(!mounts.contains(&ws.id.to_string()), "also no mount");
                assert!(
                    [Layer::Shell, Layer::Runtime]
                        .iter()
                        .all(|layer| !machine.group(&ws.id.to_string(), *layer).exists())
                );
            }
            Now::Asleep => {
                machine.phase(ws, ObservedPhase::Absent).await;
                assert!(!runtime.exists(), "nothing runs: {:?}", runtime.pids());
            }
            Now::Up => {
                machine.phase(ws, ObservedPhase::Up).await;
                assert!(!runtime.is_frozen().expect("known"));
                wait_until("the service and its init alone", async || {
                    runtime.pids().expect("pids").len() == self.processes
                })
                .await;
                wait_until("its start", async || self.lines("starts") >= self.starts).await;
                wait_until("what follows a thaw", async || self.lines("thaws") >= self.thaws).await;
            }
            Now::Frozen => {
                machine.phase(ws, ObservedPhase::Frozen).await;
                assert!(runtime.is_frozen().expect("known"));
            }
        }
    }

    fn checkout(&self, name: &str) -> PathBuf {
        self.machine.place(self.ws).join("checkout").join(name)
    }

    fn lines(&self, name: &str) -> usize {
        std::fs::read_to_string(self.checkout(name)).map_or(0, |text| text.lines().count())
    }

    /// What must be true at any time.
    async fn look(&self, when: &str) {
        if self.now != Now::Nothing {
            for name in ["envforge.yml", "serve.py", "data.txt"] {
                let original = std::fs::read(self.machine.repository.join(name)).expect("there");
                assert_eq!(std::fs::read(self.checkout(name)).expect("there"), original, "{name} is whole");
            }
            assert_eq!(std::fs::read_to_string(self.checkout("mine")).expect("there"), WORK);
            assert_eq!(
                ["starts", "jobs", "sleeps", "thaws"].map(|what| self.lines(what)),
                [self.starts, self.jobs, self.sleeps, self.thaws],
                "starts, jobs and hooks, once each: {when}"
            );
        }
        if let Some(wanted) = self.credentials.filter(|_| self.now == Now::Up) {
            self.credentials_agree(wanted, when).await;
        }
        self.no_strays().await;
        self.reports_agree();
    }

    /// What was given to the service last is what is kept and what opens the resources, and there were as many as were ordered.
    async fn credentials_agree(&self, wanted: [usize; 2], when: &str) {
        let given = std::fs::read_to_string(self.checkout("given")).expect("the service was given something");
        let given: Vec<(&str, &str)> = given.lines().filter_map(|line| line.split_once(' ')).collect();
        let (key, url) = given.last().expect("a start");
        let password = self.machine.read(self.ws, "postgres.password");
        assert!(url.contains(&format!(":{password}@")), "the database's password: {when}: {given:?}");
        assert_eq!(*key, self.machine.read(self.ws, "object_storage.secret"), "the storage's key: {when}");
        let kinds = |which: &dyn Fn(&(&str, &str)) -> String| given.iter().map(which).collect::<BTreeSet<_>>().len();
        assert_eq!(
            [kinds(&|it| it.1.to_owned()), kinds(&|it| it.0.to_owned())],
            wanted,
            "no third one: {when}: {given:?}"
        );
        for name in ["postgres.password.next", "object_storage.secret.next"] {
            assert!(!self.machine.place(self.ws).join(name).exists(), "{name} is left: {when}");
        }
        let runtime = self.machine.group(&self.ws.id.to_string(), Layer::Runtime);
        let environment = |pid: &i32| std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let environments: Vec<String> = (runtime.pids().expect("pids").iter())
            .map(|pid| String::from_utf8_lossy(&environment(pid)).into_owned())
            .collect();
        let told = format!("S3_SECRET_ACCESS_KEY={key}");
        assert!(environments.iter().any(|it| it.split('\0').any(|pair| pair == told)), "the storage's process: {when}");
        let asked = database_answers(&self.machine, url).await;
        assert_eq!(asked, Ok("4711".to_owned()), "the role: {when}");
    }

    /// A daemon that was just started holds all that runs, or has ended it.
    async fn knows_everything(&self, deed: Deed) {
        if deed != Deed::Prepare {
            self.machine.server.report(self.ws.id, "what is taken up", |_| true).await;
        }
        self.no_strays().await;
    }

    /// Nothing runs that nobody knows.
    pub(super) async fn no_strays(&self) {
        let end = Instant::now() + LIMIT;
        loop {
            let strays = self.strays();
            if strays.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "these run and nobody knows them: {strays:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Begins to prepare the workspace from another repository.
    pub(super) async fn prepare_from(&mut self, repository: &str) {
        let command = self.command(Deed::Prepare);
        let Order::PrepareShell(prepare) = command.order.clone() else { unreachable!("a preparation") };
        let order = Order::PrepareShell(PrepareShell { repository: repository.to_owned(), ..prepare });
        self.machine.server.send(&HostCommand { order, ..command }).await;
    }

    /// Processes of this host's users that are in no group of the workspace, or in one of which the server was told that nothing
    /// is there.
    fn strays(&self) -> Vec<String> {
        let users = self.machine.config.uid_base..self.machine.config.uid_base + 100;
        let group = format!("envforge/{}/{}/", self.machine.config.instance, self.ws.id);
        let absent =
            self.machine.server.reports(self.ws.id).pop().is_none_or(|last| last.phase == ObservedPhase::Absent);
        let mut strays = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("proc").flatten() {
            let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
            let status = read("status");
            let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
            let user = field("Uid:").split_whitespace().next().and_then(|uid| uid.parse::<u32>().ok());
            // One that ended and was not waited for yet is none.
            if !user.is_some_and(|user| users.contains(&user)) || field("State:").starts_with('Z') {
                continue;
            }
            let groups = read("cgroup");
            let in_group = groups.contains(&group) && !(absent && groups.contains(&format!("{group}runtime")));
            if !in_group && !groups.is_empty() {
                strays.push(format!("{} {}: {groups}", field("Name:"), entry.file_name().to_string_lossy()));
            }
        }
        strays
    }

    /// A number stands for one report, time and generation never go back, and each wake is one window.
    fn reports_agree(&self) {
        let mut all: BTreeMap<u64, Report> = BTreeMap::new();
        for report in self.machine.server.reports(self.ws.id) {
            let known = all.entry(report.sequence).or_insert_with(|| report.clone());
            assert_eq!(*known, report, "one number, two reports");
        }
        let all: Vec<Report> = all.into_values().collect();
        for pair in all.windows(2) {
            assert!(pair[0].at <= pair[1].at && pair[0].generation <= pair[1].generation, "{pair:#?}");
        }
        let is_open = |report: &Report| report.phase.is_metered() && report.process_runs;
        let opened = all.windows(2).filter(|pair| !is_open(&pair[0]) && is_open(&pair[1])).count();
        assert_eq!(opened, self.windows, "windows: {all:#?}");
    }
}
