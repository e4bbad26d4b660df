//! A real daemon, killed at every point between two steps of every command, and what the next daemon makes of it.
//!
//! For each deed a run without a fault says which points a daemon passes; then the deed is done once for each of them by a
//! daemon that dies there ([`envforge_host::faults`]). Each time a further daemon is started on the same data, the server asks
//! again, and [`rig::Rig`] looks: nothing runs that nobody knows, no byte of the checkout is lost, no service or job was started twice,
//! the command got one outcome however often it was asked, and the meter's windows are as many as there were wakes.
//!
//! `./dev soak --host` does the same at each *pass* of a point, lets the next daemon die too while it takes up what it finds, and
//! kills at random moments for as long as it is told to.

mod rig;

use super::resources::has_programs;
use crate::support::is_root;
use envforge_api::client::Address;
use envforge_core::clock::Entropy as _;
use envforge_host::{Host, HostConfig};
use rig::{Deed, Fault, Rig};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Is a host daemon until it is killed. `config` is what [`Rig`] made.
pub(crate) fn daemon(config: &str) {
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let given: serde_json::Value = serde_json::from_str(config).expect("a configuration");
    let server = Address::Socket(text(&given["server"]).into());
    let mut config = HostConfig::new(text(&given["data_dir"]), server, "/proc/self/exe");
    config.registration_token = Some(text(&given["token"]).into());
    config.instance = text(&given["instance"]);
    config.claims = text(&given["claims"]).into();
    config.uid_base = given["uid_base"].as_u64().expect("a number") as u32;
    config.network_pool = [10, given["network"].as_u64().expect("a number") as u8];
    if let Some(milliseconds) = given["shell_rest_after"].as_u64() {
        config.shell_rest_after = Duration::from_millis(milliseconds);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let running = Host::start(config, CancellationToken::new()).await.expect("the daemon starts");
        running.wait().await;
    });
}

/// What a daemon must pass for each deed; together these are all points there are.
const PASSED: [(Deed, &[&str]); 10] = [
    (
        Deed::Prepare,
        &[
            "command.taken",
            "journal.before",
            "file.beside",
            "journal.after",
            "git.started",
            "checkout.bundled",
            "checkout.made",
            "checkout.there",
            "network.made",
            "network.open",
            "layer.grouped",
            "layer.forked",
            "layer.started",
            "answer.before",
            "answer.sent",
            "report.sent",
        ],
    ),
    (
        Deed::Start,
        &[
            "command.taken",
            "journal.before",
            "journal.after",
            "network.made",
            "network.open",
            "layer.grouped",
            "layer.forked",
            "layer.started",
            "answer.before",
            "answer.sent",
            "service.started",
            "report.sent",
        ],
    ),
    (
        Deed::Freeze,
        &[
            "hook.started",
            "hook.ended",
            "layer.frozen",
            "journal.before",
            "journal.after",
            "answer.before",
            "answer.sent",
            "report.sent",
        ],
    ),
    (Deed::Thaw, &["layer.thawed", "journal.before", "journal.after", "answer.before", "answer.sent", "report.sent"]),
    (Deed::Job, &["journal.before", "journal.after", "job.started", "answer.before", "answer.sent", "report.sent"]),
    (
        Deed::Stop,
        &[
            "journal.after",
            "hook.started",
            "hook.ended",
            "services.ended",
            "layer.ended",
            "answer.before",
            "answer.sent",
            "report.sent",
        ],
    ),
    (
        Deed::StopFrozen,
        &["layer.thawed", "services.ended", "layer.killed", "layer.ended", "answer.before", "answer.sent"],
    ),
    (
        Deed::RotatePassword,
        &[
            "command.taken",
            "journal.before",
            "file.beside",
            "journal.after",
            "secret.next",
            "password.changed",
            "secret.kept",
            "users.ended",
            "service.started",
            "answer.before",
            "answer.sent",
            "report.sent",
        ],
    ),
    (
        Deed::RotateKey,
        &[
            "command.taken",
            "journal.before",
            "file.beside",
            "journal.after",
            "secret.next",
            "secret.kept",
            "users.ended",
            "service.started",
            "answer.before",
            "answer.sent",
            "report.sent",
        ],
    ),
    (
        Deed::Destroy,
        &[
            "journal.after",
            "layer.killed",
            "layer.ended",
            "network.closed",
            "network.gone",
            "files.removed",
            "stone.written",
            "journal.removed",
            "answer.before",
            "answer.sent",
            "report.sent",
        ],
    ),
];

#[test]
fn every_point_is_passed_by_some_deed() {
    let passed: Vec<&str> = PASSED.iter().flat_map(|(_, points)| points.iter().copied()).collect();
    for point in envforge_host::faults::POINTS {
        assert!(passed.contains(&point), "no deed passes {point}");
    }
}

/// Kills a daemon at each point of one deed.
async fn walk(deed: Deed) {
    if !is_root() || !cfg!(debug_assertions) {
        return;
    }
    let mut rig = if deed.is_rotation() { Rig::with_stores().await } else { Rig::new().await };
    let mut passes = counted(&rig.carry_out(deed, Fault::None).await);
    let expected = PASSED.iter().find(|(of, _)| *of == deed).expect("on the list").1;
    for point in expected {
        assert!(passes.contains_key(*point), "{deed:?} does not pass {point}: {passes:?}");
    }
    let thorough = seconds().is_some();
    if thorough {
        // Of what is passed by chance only as much as always is.
        let again = counted(&rig.carry_out(deed, Fault::None).await);
        passes =
            again.into_iter().filter_map(|(point, n)| Some((point.clone(), n.min(*passes.get(&point)?)))).collect();
    }
    let mut hit = Vec::new();
    for (point, count) in passes {
        for nth in 1..=if thorough { count } else { 1 } {
            rig.carry_out(deed, Fault::At { point: point.clone(), nth, again: false }).await;
            if thorough {
                rig.carry_out(deed, Fault::At { point: point.clone(), nth, again: true }).await;
            }
        }
        hit.push(format!("{point} {}", if thorough { count } else { 1 }));
    }
    say(&format!("{deed:?}: killed at {}", hit.join(", ")));
}

/// How often each point is passed; of what comes after the answer, when the daemon is told of other things too, only whether.
fn counted(points: &[String]) -> BTreeMap<String, u32> {
    let answered = points.iter().position(|point| point == "answer.sent").unwrap_or(points.len());
    let mut counts = BTreeMap::new();
    for (at, point) in points.iter().enumerate() {
        let count: &mut u32 = counts.entry(point.clone()).or_default();
        if at <= answered || *count == 0 {
            *count += 1;
        }
    }
    counts
}

#[expect(clippy::print_stderr, reason = "what a soak did must be seen")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// How long to soak, if that was asked for.
fn seconds() -> Option<u64> {
    std::env::var("ENVFORGE_FAULT_SECONDS").ok()?.parse().ok()
}

// proves OPS-2, UP-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preparation_survives_a_death_at_every_point() {
    walk(Deed::Prepare).await;
}

// proves OPS-2, RUN-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_survives_a_death_at_every_point() {
    walk(Deed::Start).await;
}

// proves OPS-2, RUN-5, COST-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freeze_survives_a_death_at_every_point() {
    walk(Deed::Freeze).await;
}

// proves OPS-2, RUN-5, COST-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thaw_survives_a_death_at_every_point() {
    walk(Deed::Thaw).await;
}

// proves OPS-2, RUN-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_survives_a_death_at_every_point() {
    walk(Deed::Job).await;
}

// proves OPS-2, RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_survives_a_death_at_every_point() {
    if has_programs() {
        walk(Deed::RotatePassword).await;
        walk(Deed::RotateKey).await;
    }
}

// proves OPS-2, COST-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_survives_a_death_at_every_point() {
    walk(Deed::Stop).await;
    walk(Deed::StopFrozen).await;
}

// proves OPS-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_survives_a_death_at_every_point() {
    walk(Deed::Destroy).await;
}

// proves OPS-2, UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_on_its_way_to_rest_survives_a_death() {
    if !is_root() || !cfg!(debug_assertions) {
        return;
    }
    let mut rig = Rig::new().await;
    rig.carry_out(Deed::Prepare, Fault::None).await;
    for point in ["layer.killed", "layer.ended"] {
        rig.dies_while_a_shell_comes_to_rest(point).await;
    }
}

// proves OPS-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fetches_a_repository_ends_with_its_daemon() {
    if !is_root() {
        return;
    }
    let mut rig = Rig::new().await;
    // A server that accepts and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    rig.prepare_from(&format!("git://{}/x.git", silent.local_addr().expect("an address"))).await;
    let (_held, _) = silent.accept().await.expect("git came");
    rig.kill();
    rig.no_strays().await;
}

// proves OPS-2, UP-7, COST-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deeds_survive_deaths_at_random_moments() {
    if !is_root() {
        return;
    }
    let seed = std::env::var("ENVFORGE_FAULT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let mut bytes = [0; 4];
        envforge_api::ambient::SystemEntropy.fill(&mut bytes);
        u64::from(u32::from_le_bytes(bytes))
    });
    eprintln!("ENVFORGE_FAULT_SEED={seed}");
    let mut random = Random(seed | 1);
    let mut rig = Rig::new().await;
    // A rotation needs a workspace with resources, whose own deaths are walked above.
    let deeds: Vec<Deed> = PASSED.iter().map(|(deed, _)| *deed).filter(|deed| !deed.is_rotation()).collect();
    let (mut rounds, end) = (0, Instant::now() + Duration::from_secs(seconds().unwrap_or(0)));
    while rounds < 8 || Instant::now() < end {
        let deed = deeds[random.below(deeds.len() as u64) as usize];
        let first = Duration::from_micros(random.below(60_000));
        let second = (random.below(2) == 0).then(|| Duration::from_micros(random.below(60_000)));
        rounds += 1;
        eprintln!("round {rounds}: {deed:?}, killed after {first:?}, then {second:?}");
        rig.carry_out(deed, Fault::After { first, second }).await;
    }
}

/// Enough randomness for choices, the same for the same seed (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % limit
    }
}
