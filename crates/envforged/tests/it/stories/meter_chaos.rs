//! What is billed against what the kernel saw run, while everything goes wrong.
//!
//! Three workspaces of an org whose host daemon has a clock of its own are woken, visited, put to sleep, and every part is
//! killed, at random moments that follow from a seed (`ENVFORGE_METER_SEED`). A watcher beside it reads the control groups'
//! own accounts of what is populated and what is frozen, again and again. At the end the receipts must say the same.
//! `ENVFORGE_METER_SECONDS` is how long it goes on: `./dev soak billed`.

use super::sample::{Dice, PATIENCE, commit, repository, retry};
use crate::support::{TestBox, is_alive, kill};
use envforge_api::ambient::SystemClock;
use envforge_api::client::Client;
use envforge_api::http::accounts::{CreatedHostToken, Hosts};
use envforge_api::http::links::CreatedLink;
use envforge_api::http::orgs::Org;
use envforge_api::http::usage::WorkspaceUsage;
use envforge_api::http::workspaces::Workspace;
use envforge_core::clock::Clock as _;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::RuntimeState;
use envforge_core::usage::AwakeWindow;
use envforge_testkit::{Browser, Slot, end_leftovers, wait_until_within};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::process::Child;

const BRANCHES: [&str; 3] = ["one", "two", "three"];
const FILE: &str = "services: { web: { command: python3 -m http.server $PORT, port: 3000 } }\n";
/// How often the kernel is asked.
const LOOK: Duration = Duration::from_millis(4);
/// How far a window's two ends together may be from what ran: the promise for a host that is well.
const EXACT: SignedDuration = SignedDuration::from_secs(1);
/// How much of a window may not be billed when its host died, or its clock was wrong: what a heartbeat proves lies no longer
/// back. Hosts send one every two seconds.
const HEARTBEAT: SignedDuration = SignedDuration::from_secs(2);
/// Steps of the host's clock, in seconds.
const CLOCKS: [&str; 8] = ["+0", "+0", "+0.4", "-0.4", "+7", "-7", "+3600", "-3600"];

/// One time in which the kernel had a runtime's processes and let them run.
#[derive(Debug, Clone, Copy)]
struct Ran {
    from: Timestamp,
    until: Timestamp,
}

impl Ran {
    fn length(self) -> SignedDuration {
        self.until.duration_since(self.from)
    }
}

/// What a runtime's control group said last.
#[derive(Default)]
struct Account {
    /// Something else than its init has run since the group has processes.
    has_started: bool,
    since: Option<Timestamp>,
    ran: Vec<Ran>,
}

/// Reads control groups until it is told to stop.
struct Watcher {
    stop: Arc<AtomicBool>,
    accounts: Arc<Mutex<BTreeMap<String, Account>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watcher {
    fn start(groups: PathBuf, workspaces: Vec<String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let accounts: Arc<Mutex<BTreeMap<String, Account>>> = Arc::default();
        let (told, kept) = (Arc::clone(&stop), Arc::clone(&accounts));
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                for workspace in &workspaces {
                    let group = groups.join(workspace).join("runtime");
                    let mut accounts = kept.lock().unwrap();
                    look(&group, accounts.entry(workspace.clone()).or_default());
                }
                std::thread::sleep(LOOK);
            }
        });
        Self { stop, accounts, thread: Some(thread) }
    }

    /// What ran, and nothing does any more.
    fn end(mut self) -> BTreeMap<String, Vec<Ran>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        let accounts = std::mem::take(&mut *self.accounts.lock().unwrap());
        let ran = |(workspace, account): (String, Account)| {
            assert!(account.since.is_none(), "{workspace} still runs");
            (workspace, account.ran)
        };
        accounts.into_iter().map(ran).collect()
    }
}

fn look(group: &Path, account: &mut Account) {
    let now = SystemClock.now();
    let events = std::fs::read_to_string(group.join("cgroup.events")).unwrap_or_default();
    let is_populated = events.lines().any(|line| line == "populated 1");
    let is_frozen = events.lines().any(|line| line == "frozen 1");
    account.has_started = is_populated && (account.has_started || processes(group) > 1);
    match (account.since, account.has_started && !is_frozen) {
        (None, true) => account.since = Some(now),
        (Some(from), false) => {
            account.ran.push(Ran { from, until: now });
            account.since = None;
        }
        _ => {}
    }
}

/// How many processes a group and those below it have.
fn processes(group: &Path) -> usize {
    let own = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines().count();
    let below = std::fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
    own + below.filter(|path| path.is_dir()).map(|path| processes(&path)).sum::<usize>()
}

/// Where this machine has the tree with the kernel's newer accounts, alone or beside the older ones.
fn tree() -> PathBuf {
    let [alone, beside] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
    if alone.join("cgroup.controllers").exists() { alone } else { beside }
}

struct Story {
    the_box: TestBox,
    dice: Dice,
    slot: Slot,
    token: String,
    clock: PathBuf,
    host: Option<Child>,
    links: Vec<String>,
    /// How often the host or its machine died, or its clock was wrong.
    faults: u32,
}

impl Story {
    async fn begin(seed: u64) -> Self {
        let the_box = TestBox::started().await;
        let client = the_box.client();
        let _: Org = client.post("/v1/orgs", &json!({ "slug": "globex" })).await.unwrap();
        let token: CreatedHostToken =
            client.post("/v1/orgs/globex/host-tokens", &json!({ "name": "theirs" })).await.unwrap();
        let clock = the_box.scratch("clock").join("offset");
        fs_err::write(&clock, "+0").unwrap();
        let (dice, slot) = (Dice(seed), Slot::take(40));
        let mut it = Self { the_box, dice, slot, token: token.token, clock, host: None, links: Vec::new(), faults: 0 };
        it.start_host();
        wait_until_within("their host is there", PATIENCE, async || {
            it.client().get::<Hosts>("/v1/orgs/globex/hosts").await.is_ok_and(|hosts| !hosts.hosts.is_empty())
        })
        .await;
        // It is on this machine, so it can read what is here.
        it.the_box.psql("UPDATE hosts SET is_local = true WHERE name = 'theirs'");
        it
    }

    fn client(&self) -> Client {
        self.the_box.client()
    }

    /// A daemon whose clock is as far off as the file says.
    fn start_host(&mut self) {
        let library = glob("/usr/lib", "faketime/libfaketimeMT.so.1");
        let yes = Path::new("1");
        let environment = [
            ("LD_PRELOAD", library.as_path()),
            ("FAKETIME_TIMESTAMP_FILE", &self.clock),
            ("FAKETIME_NO_CACHE", yes),
            ("FAKETIME_DONT_FAKE_MONOTONIC", yes),
            ("NO_FAKE_STAT", yes),
        ];
        self.host = Some(self.the_box.second_host_with(&self.token, &self.slot, &environment));
    }

    async fn workspaces(&mut self) -> BTreeMap<String, &'static str> {
        let folder = repository(&self.the_box.scratch("served"));
        fs_err::write(folder.join("envforge.yml"), FILE).unwrap();
        commit(&folder, "One service");
        let project = json!({ "slug": "served", "repository": folder });
        let _: Value = self.client().post("/v1/orgs/globex/projects", &project).await.unwrap();
        let mut found = BTreeMap::new();
        for slug in BRANCHES {
            let request = json!({ "project": "served", "branch": slug, "slug": slug });
            let workspace: Workspace = self.client().post("/v1/orgs/globex/workspaces", &request).await.unwrap();
            found.insert(workspace.id.to_string(), slug);
        }
        found
    }

    /// A link to each, which there is when its service was ready once.
    async fn links(&mut self) {
        for slug in BRANCHES {
            let wake = async || self.client().post::<_, Workspace>(&path(slug, "/wake"), &json!({})).await;
            retry("a wake", wake).await;
            let awake = async || {
                let shown = self.client().get::<Workspace>(&path(slug, "")).await;
                shown.is_ok_and(|shown| shown.parts.iter().any(|part| part.state == ReadinessState::Ready))
            };
            wait_until_within(&format!("{slug} is up"), PATIENCE, awake).await;
            let service = json!({ "service": "web" });
            let link: CreatedLink =
                retry("a link", async || self.client().post(&path(slug, "/links"), &service).await).await;
            self.links.push(link.url);
        }
    }

    async fn step(&mut self) {
        let slug = BRANCHES[self.dice.roll(3) as usize];
        match self.dice.roll(20) {
            0..6 => self.ask(slug, "/wake", json!({})).await,
            6..10 => self.ask(slug, "/sleep", json!({ "tier": "frozen" })).await,
            10..12 => self.ask(slug, "/sleep", json!({ "tier": "stopped" })).await,
            12..15 => {
                // Whoever visits wakes; a box that has just lost its gateway answers nobody.
                let link = self.links[self.dice.roll(3) as usize].clone();
                if let Ok(mut browser) = Browser::at(&link) {
                    let _ = tokio::time::timeout(Duration::from_secs(3), browser.open(&link)).await;
                }
            }
            15 => {
                let offset = CLOCKS[self.dice.roll(CLOCKS.len() as u64) as usize];
                self.set_clock(offset);
            }
            16 => self.kill_host(false).await,
            17 => self.kill_host(true).await,
            _ => self.kill_part().await,
        }
        tokio::time::sleep(Duration::from_millis(self.dice.roll(1_500))).await;
    }

    /// Asked once: whether it is heard, and whether it is answered, depends on what was just killed.
    async fn ask(&self, slug: &str, what: &str, body: Value) {
        let asked = async || self.client().post::<_, Workspace>(&path(slug, what), &body).await;
        let _ = tokio::time::timeout(Duration::from_secs(3), asked()).await;
    }

    fn set_clock(&mut self, offset: &str) {
        self.faults += 1;
        fs_err::write(&self.clock, offset).unwrap();
    }

    /// The daemon alone, or with everything that runs there, and the next one after a while.
    async fn kill_host(&mut self, with_machine: bool) {
        self.faults += 1;
        let mut host = self.host.take().unwrap();
        host.kill().await.unwrap();
        if with_machine {
            end_leftovers(&self.the_box.scratch("second-host"));
        }
        tokio::time::sleep(Duration::from_millis(self.dice.roll(3_000))).await;
        self.start_host();
    }

    async fn kill_part(&mut self) {
        match self.dice.roll(4) {
            0 => {
                self.the_box.kill_supervisor().await;
                self.the_box.start().await;
            }
            1 => {
                if let Some(pid) = self.the_box.postmaster("postgres") {
                    kill(pid);
                }
            }
            part => {
                let role = ["server", "gateway"][part as usize - 2];
                if let Some(pid) = self.the_box.children().get(role).copied().filter(|pid| is_alive(*pid)) {
                    kill(pid);
                }
            }
        }
    }

    /// Everything is well again and sleeps.
    async fn settle(&mut self) {
        self.set_clock("+0");
        if self.host.as_mut().unwrap().try_wait().unwrap().is_some() {
            self.start_host();
        }
        wait_until_within("the box is well", PATIENCE, async || self.the_box.is_healthy().await).await;
        for slug in BRANCHES {
            let body = json!({ "tier": "stopped" });
            let state = async || self.client().get::<Workspace>(&path(slug, "")).await.map(|it| it.runtime.state);
            wait_until_within(&format!("{slug} sleeps"), PATIENCE, async || {
                let asked = self.client().post::<_, Workspace>(&path(slug, "/sleep"), &body).await;
                asked.is_ok() && state().await.is_ok_and(|state| state == RuntimeState::Asleep)
            })
            .await;
        }
    }
}

fn path(slug: &str, rest: &str) -> String {
    format!("/v1/orgs/globex/workspaces/{slug}{rest}")
}

/// A file of that name in a folder for this machine's architecture.
fn glob(folder: &str, name: &str) -> PathBuf {
    let folders = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    folders.map(|path| path.join(name)).find(|path| path.exists()).expect("Debian's `libfaketime` is installed")
}

/// What the meter says, before it is rounded.
fn length(window: &AwakeWindow) -> SignedDuration {
    window.closed_at.unwrap().duration_since(window.opened_at)
}

/// How much of a window nothing ran in.
fn beyond(window: &AwakeWindow, ran: &[Ran]) -> SignedDuration {
    let closed = window.closed_at.unwrap();
    let shared = ran.iter().map(|ran| {
        let shared = ran.until.min(closed).duration_since(ran.from.max(window.opened_at));
        shared.max(SignedDuration::ZERO)
    });
    length(window) - shared.fold(SignedDuration::ZERO, |sum, shared| sum + shared)
}

// proves COST-1 COST-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_receipts_say_is_what_the_kernel_saw_run() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect(name));
    let (seed, seconds): (u64, u64) = (number("ENVFORGE_METER_SEED", 6), number("ENVFORGE_METER_SECONDS", 30));
    println!("ENVFORGE_METER_SEED={seed} for {seconds} s");
    let mut story = Story::begin(seed).await;
    let workspaces = story.workspaces().await;
    let groups = tree().join("envforge").join(format!("t{}", story.slot.number));
    let watcher = Watcher::start(groups, workspaces.keys().cloned().collect());
    story.links().await;
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
    while tokio::time::Instant::now() < end {
        story.step().await;
    }
    story.settle().await;
    let ran = watcher.end();
    let (mut billed_seconds, mut ran_in_all, mut count) = (0, SignedDuration::ZERO, 0);
    for (workspace, slug) in workspaces {
        let (ran, at) = (&ran[&workspace], path(slug, "/usage"));
        let usage: WorkspaceUsage = retry("usage", async || story.client().get(&at).await).await;
        let mut windows: Vec<_> = usage.receipts.iter().flat_map(|receipt| receipt.windows.clone()).collect();
        windows.sort_by_key(|window| window.opened_at);
        let told = || format!("seed {seed}, {slug}: billed {windows:#?}\nran {ran:#?}");
        for pair in windows.windows(2) {
            assert!(pair[0].closed_at.unwrap() <= pair[1].opened_at, "windows overlap; {}", told());
        }
        for window in &windows {
            let beyond = beyond(window, ran);
            assert!(beyond <= EXACT, "{beyond:#} of {} were billed and nothing ran; {}", window.window, told());
        }
        let billed: u64 = usage.receipts.iter().map(|receipt| receipt.awake_seconds).sum();
        let whole = windows.iter().map(|window| length(window).as_secs().unsigned_abs()).sum::<u64>();
        assert_eq!(billed, whole, "each window is rounded down to whole seconds; {}", told());
        let metered = windows.iter().map(length).fold(SignedDuration::ZERO, |sum, length| sum + length);
        let truth = ran.iter().map(|ran| ran.length()).fold(SignedDuration::ZERO, |sum, length| sum + length);
        let many = i32::try_from(windows.len().max(ran.len())).unwrap();
        println!("{slug}: {metered:#} metered in {} windows, {truth:#} ran in {}", windows.len(), ran.len());
        let (lost, may_be) = (truth - metered, EXACT * many + HEARTBEAT * i32::try_from(story.faults).unwrap());
        assert!(lost <= may_be, "{lost:#} ran and were not metered, {may_be:#} may be; {}", told());
        billed_seconds += billed;
        ran_in_all += truth;
        count += many;
    }
    println!(
        "{billed_seconds} s billed, {ran_in_all:#} ran, in {count} windows with {} faults of the host",
        story.faults
    );
    assert!(count > 0, "something ran");
}
