//! Daemons that end and come back, servers that do, and commands that come again.

use super::machine::{Machine, Ws};
use super::runtime::TWO;
use super::shell::PLAIN;
use crate::support::{LIMIT, is_root, wait_until};
use envforge_api::host::{Order, Outcome, Report};
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;
use envforge_host::sys::cgroup::{Group, Layer};
use envforge_host::{Host, StartError};
use tokio_util::sync::CancellationToken;

// proves OPS-2, UP-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_daemon_finds_everything_and_answers_the_same() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(TWO, &[]).await;
    let ws = machine.workspace().await;
    let wake = machine.server.command(ws.id, 2, Machine::start_order(envforge_core::size::Size::Small));
    assert_eq!(machine.server.obeyed(&wake).await, Outcome::Done);
    machine.phase(ws, ObservedPhase::Up).await;
    let inits = [Layer::Shell, Layer::Runtime].map(|layer| machine.init_pid(ws, layer));
    let before = machine.server.reports(ws.id).pop().expect("a report");
    let services = ["web", "api"].map(|name| service_pid(&machine, ws, name));
    let connection = machine.server.service(ws.id, "web").await.expect("a connection");

    machine.stop().await;
    let answer = tokio::task::spawn_blocking(move || super::server::request(connection, "/")).await.expect("asked");
    assert_eq!(answer.expect("answered"), "web", "services do not notice that the daemon is gone");
    machine.start().await;
    assert_eq!([Layer::Shell, Layer::Runtime].map(|layer| machine.init_pid(ws, layer)), inits);
    assert_eq!(machine.server.get(ws.id, "web", "/").await, "web");
    machine.phase(ws, ObservedPhase::Up).await;
    assert_eq!(["web", "api"].map(|name| service_pid(&machine, ws, name)), services, "the same processes");
    machine.server.forget_answers();
    assert_eq!(machine.server.obeyed(&wake).await, Outcome::Done, "the same answer");
    assert_eq!(machine.order(ws, 1, Order::StopRuntime).await, Outcome::Stale);
    machine.part(ws, "web", ReadinessState::Ready).await;
    machine.phase(ws, ObservedPhase::Up).await;
    // A crash is still noticed by the new daemon.
    let restarts = before.parts.iter().map(|part| part.restarts).sum::<u32>();
    assert_eq!(restarts, 0);
    kill_service(&machine, ws, "api");
    machine
        .server
        .report(ws.id, "a restart", |report| report.parts.iter().any(|part| part.name == "api" && part.restarts == 1))
        .await;
    machine.part(ws, "api", ReadinessState::Ready).await;
    let sequences: Vec<u64> = machine.server.reports(ws.id).iter().map(|report| report.sequence).collect();
    assert!(sequences.is_sorted(), "sequences rise across restarts: {sequences:?}");
}

fn kill_service(machine: &Machine, ws: super::machine::Ws, name: &str) {
    let pid = rustix::process::Pid::from_raw(service_pid(machine, ws, name)).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
}

/// A service's process on the host.
fn service_pid(machine: &Machine, ws: super::machine::Ws, name: &str) -> i32 {
    let pids = machine.group(&ws.id.to_string(), Layer::Runtime).pids().expect("pids");
    let wanted = format!("serve.py {name}");
    let pid = pids.into_iter().find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(&wanted)
    });
    pid.expect("it runs")
}

// proves OPS-2, RUN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_runtime_is_taken_up_frozen_and_thaws() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    machine.order(ws, 3, Order::FreezeRuntime).await;
    machine.stop().await;
    machine.start().await;
    assert_eq!(machine.phase(ws, ObservedPhase::Frozen).await.generation, 3);
    assert_eq!(machine.wake(ws, 4).await, Outcome::Done);
    machine.phase(ws, ObservedPhase::Up).await;
    assert_eq!(machine.server.get(ws.id, "web", "/").await, "web");
    // Also when the daemon died between the thaw and its journal.
    machine.order(ws, 5, Order::FreezeRuntime).await;
    machine.stop().await;
    machine.group(&ws.id.to_string(), Layer::Runtime).thaw().expect("thawed");
    machine.start().await;
    machine.phase(ws, ObservedPhase::Up).await;
}

// proves COST-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_nobody_saw_comes_with_the_last_proof() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    wait_until("a pulse", async || !machine.server.pulses().is_empty()).await;
    machine.stop().await;
    machine.group(&ws.id.to_string(), Layer::Runtime).kill(LIMIT).expect("killed");
    machine.start().await;
    let gone = machine.phase(ws, ObservedPhase::Absent).await;
    let proof = gone.last_proof.expect("the last proof");
    assert!(proof < gone.at && !gone.process_runs);
    assert!(proof > machine.server.reports(ws.id)[0].at);
}

// proves COST-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_before_the_first_heartbeat_is_put_at_what_was_told_last() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    let up = machine.phase(ws, ObservedPhase::Up).await;
    machine.stop().await;
    machine.group(&ws.id.to_string(), Layer::Runtime).kill(LIMIT).expect("killed");
    // As if no heartbeat had noted it.
    drop(fs_err::remove_file(machine.place(ws).join("proof")));
    machine.start().await;
    let gone = machine.phase(ws, ObservedPhase::Absent).await;
    let proof = gone.last_proof.expect("its end was not seen");
    assert!(proof >= up.at && proof < gone.at, "{proof} of {} to {}", up.at, gone.at);
}

// proves COST-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_wait_for_a_server_that_is_away() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    machine.server.acknowledge(false);
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    machine.order(ws, 3, Order::FreezeRuntime).await;
    let frozen = machine.phase(ws, ObservedPhase::Frozen).await;
    let told = machine.server.reports(ws.id).len();
    // A new daemon and a new stream: what was not acknowledged comes again, in order, with its old number and time.
    machine.stop().await;
    machine.server.acknowledge(true);
    machine.start().await;
    let again = |reports: &[Report]| reports.iter().skip(told).any(|report| report.sequence == frozen.sequence);
    wait_until("the reports again", async || again(&machine.server.reports(ws.id))).await;
    let repeated: Vec<Report> = machine.server.reports(ws.id).split_off(told);
    let metered: Vec<bool> = repeated.iter().map(|report| report.phase.is_metered() && report.process_runs).collect();
    assert!(metered.windows(2).any(|pair| pair == [true, false]), "the meter sees it open and close: {repeated:#?}");
    assert_eq!(repeated.iter().find(|report| report.sequence == frozen.sequence), Some(&frozen));
}

// proves OPS-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_comes_again_after_a_death_half_way() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(PLAIN, &[]).await;
    let ws = super::machine::Ws { id: super::server::mint() };
    let prepare = machine.server.command(ws.id, 1, machine.prepare_order("feature/login"));
    machine.server.send(&prepare).await;
    wait_until("it began", async || machine.place(ws).join("state.json").exists()).await;
    machine.stop().await;
    let half = machine.server.has_answered(prepare.id);
    machine.start().await;
    assert_eq!(machine.server.obeyed(&prepare).await, Outcome::Done, "answered before: {half}");
    machine.part(ws, "shell", ReadinessState::Ready).await;

    // A start that was never answered.
    let wake = machine.server.command(ws.id, 2, Machine::start_order(envforge_core::size::Size::Small));
    machine.server.send(&wake).await;
    wait_until("a runtime", async || machine.init_pid(ws, Layer::Runtime).is_some()).await;
    machine.stop().await;
    machine.start().await;
    assert_eq!(machine.server.obeyed(&wake).await, Outcome::Done);
    machine.phase(ws, ObservedPhase::Up).await;
    assert_eq!(machine.server.get(ws.id, "web", "/").await, "web");

    // A stop and a deletion.
    for (generation, order) in [(3, Order::StopRuntime), (4, Order::DestroyWorkspace)] {
        let command = machine.server.command(ws.id, generation, order);
        machine.server.send(&command).await;
        tokio::task::yield_now().await;
        machine.stop().await;
        machine.start().await;
        assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    }
    assert!(!machine.place(ws).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_generation_is_stale_and_a_known_command_is_not_carried_out_twice() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    let wake = machine.server.command(ws.id, 5, Machine::start_order(envforge_core::size::Size::Small));
    assert_eq!(machine.server.obeyed(&wake).await, Outcome::Done);
    machine.phase(ws, ObservedPhase::Up).await;
    assert_eq!(machine.order(ws, 4, Order::StopRuntime).await, Outcome::Stale);
    assert_eq!(machine.order(ws, 6, Order::StopRuntime).await, Outcome::Done);
    machine.server.forget_answers();
    assert_eq!(machine.server.obeyed(&wake).await, Outcome::Done, "as before");
    assert_eq!(machine.phase(ws, ObservedPhase::Absent).await.generation, 6, "and nothing woke");
}

// proves OPS-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_can_not_be_journaled_changes_nothing() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    machine.order(ws, 3, Order::FreezeRuntime).await;
    // What a full disk does to a rename-over write, without filling one.
    let blocks = ["state.json.tmp", "state.recent.json.tmp"].map(|name| machine.place(ws).join(name));
    for block in &blocks {
        std::fs::create_dir(block).expect("in the way");
    }
    let told = machine.server.reports(ws.id).len();
    let wake = machine.server.command(ws.id, 4, Machine::start_order(envforge_core::size::Size::Small));
    assert!(
        matches!(machine.server.obeyed(&wake).await, Outcome::Failed(trouble) if trouble.code.starts_with("host."))
    );
    assert!(machine.group(&ws.id.to_string(), Layer::Runtime).is_frozen().expect("known"));
    assert_eq!(machine.server.reports(ws.id).len(), told, "nothing is told that is not journaled");
    let destroy = machine.server.command(ws.id, 5, Order::DestroyWorkspace);
    assert!(matches!(machine.server.obeyed(&destroy).await, Outcome::Failed(_)));
    for block in &blocks {
        std::fs::remove_dir(block).expect("out of the way");
    }
    machine.server.forget_answers();
    assert_eq!(machine.server.obeyed(&wake).await, Outcome::Done, "the same command, once there is room");
    machine.phase(ws, ObservedPhase::Up).await;
}

// proves OPS-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_named_and_nothing_is_lost_when_there_is_room_again() {
    if !is_root() {
        return;
    }
    // Goes last: what runs is found by what is on it.
    let _disk;
    let mut machine = Machine::new(PLAIN, &[]).await;
    machine.stop().await;
    let data = machine.config.data_dir.clone();
    let identity = std::fs::read(data.join("host.json")).expect("registered");
    _disk = SmallDisk::on(&data);
    std::fs::write(data.join("host.json"), identity).expect("written");
    machine.start().await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    machine.order(ws, 3, Order::FreezeRuntime).await;

    let filler = data.join("filler");
    let mut file = std::fs::File::create(&filler).expect("made");
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    let told = machine.server.reports(ws.id).len();
    let wake = machine.server.command(ws.id, 4, Machine::start_order(envforge_core::size::Size::Small));
    let outcome = machine.server.obeyed(&wake).await;
    let Outcome::Failed(trouble) = outcome else { panic!("woken on a full disk: {outcome:?}") };
    assert_eq!(trouble.code, "host.disk_full");
    assert!(trouble.fix.contains("free space"), "{trouble:?}");
    assert_eq!(machine.server.reports(ws.id).len(), told, "nothing is told that is not journaled");
    let other = super::machine::Ws { id: super::server::mint() };
    let outcome = machine.order(other, 1, machine.prepare_order("other")).await;
    assert!(matches!(&outcome, Outcome::Failed(trouble) if trouble.code == "host.disk_low"), "{outcome:?}");
    assert!(!machine.place(other).exists(), "nothing is left of what could not begin");

    drop(file);
    std::fs::remove_file(&filler).expect("removed");
    machine.server.forget_answers();
    assert_eq!(machine.server.obeyed(&wake).await, Outcome::Done, "the same command, once there is room");
    machine.phase(ws, ObservedPhase::Up).await;
    assert_eq!(machine.order(other, 1, machine.prepare_order("other")).await, Outcome::Done);
}

/// A file system of a few megabytes, mounted for as long as this lives.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn on(path: &std::path::Path) -> Self {
        let options = Some(c"size=6m,mode=0711");
        rustix::mount::mount("tmpfs", path, "tmpfs", rustix::mount::MountFlags::empty(), options).expect("mounted");
        Self(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_data_directory_has_one_daemon_and_one_identity() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(PLAIN, &[]).await;
    let second = Host::start(machine.config.clone(), CancellationToken::new()).await;
    assert!(matches!(second, Err(StartError::InUse(_))));
    machine.stop().await;
    // The token is spent and gone; the identity is there.
    std::fs::remove_file(machine.path("token")).expect("there");
    machine.start().await;
    assert!(machine.server.hello().contains("reductions"));
    let mode = std::os::unix::fs::MetadataExt::mode(
        &std::fs::metadata(machine.config.data_dir.join("host.json")).expect("there"),
    );
    assert_eq!(mode & 0o777, 0o600);
    // A stream that breaks is made again.
    let hellos = machine.server.hellos();
    machine.server.hang_up();
    wait_until("another hello", async || machine.server.hellos() > hellos).await;
}

// proves OPS-2 UP-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cleared_machine_runs_nothing_and_loses_nothing() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    let refused = envforge_host::clear(machine.config.clone()).await.expect_err("its daemon runs");
    assert!(refused.to_string().contains("another host daemon uses"), "{refused}");
    machine.stop().await;
    assert!(machine.group(&ws.id.to_string(), Layer::Runtime).exists(), "a daemon's end ends nothing");
    // What it was started with is known, whatever this caller thinks.
    let mut config = machine.config.clone();
    (config.instance, config.uid_base) = ("default".to_owned(), 1);
    assert_eq!(envforge_host::clear(config.clone()).await.expect("cleared"), 1);
    for layer in [Layer::Shell, Layer::Runtime] {
        assert!(!machine.group(&ws.id.to_string(), layer).exists());
    }
    assert!(!machine.place(ws).join("run/net").exists());
    assert_eq!(envforge_host::clear(config).await.expect("again"), 1);
    machine.start().await;
    machine.wake(ws, 3).await;
    machine.phase(ws, ObservedPhase::Up).await;
}

// proves OPS-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_takes_an_uplink_over_is_dialled_beside_the_one_before() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(PLAIN, &[]).await;
    let host = machine.server.host;
    assert!(machine.server.uplinks.connected(host, LIMIT).await);
    let successor = machine.server.successor();
    assert!(successor.connected(host, LIMIT).await, "the next one has the host");
    assert!(machine.server.uplinks.is_connected(host), "and so has the one before, which finishes");
    let another = machine.server.successor();
    assert!(another.connected(host, LIMIT).await);
    assert!(successor.is_connected(host));
}

// proves OPS-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_a_workspace_that_is_gone_ends_with_the_next_daemon() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new("services:\n  web: { command: python3 serve.py web, port: 3000 }\n", &[]).await;
    let (gone, stays) = (machine.workspace().await, machine.workspace().await);
    for ws in [gone, stays] {
        assert_eq!(machine.wake(ws, 2).await, Outcome::Done);
        machine.phase(ws, ObservedPhase::Up).await;
    }
    let groups = |ws: Ws| [Layer::Shell, Layer::Runtime].map(|layer| machine.group(&ws.id.to_string(), layer));
    let (of_gone, of_other) = (groups(gone), groups(stays));
    let pids =
        |groups: &[Group; 2]| -> Vec<Vec<i32>> { groups.iter().map(|group| group.pids().expect("pids")).collect() };
    let before = pids(&of_other);
    machine.stop().await;
    // A disk that was lost, a backup from before: whichever way, nobody knows of it any more.
    let lost = machine.path("lost");
    std::fs::rename(machine.place(gone), &lost).expect("taken away");
    machine.start().await;
    assert!(of_gone.iter().all(|group| !group.exists()), "{:?}", pids(&of_gone));
    assert_eq!(machine.server.get(stays.id, "web", "/").await, "web");
    assert_eq!(pids(&of_other), before, "what is known goes on");
    // By the addresses of the machine's ends: the first workspace's and the second's.
    let addresses = envforge_host::sys::command::run("ip", &["-o", "-4", "addr"], "").expect("addresses");
    let [a, b] = machine.config.network_pool;
    assert!(!addresses.contains(&format!(" {a}.{b}.0.1/30 ")), "{addresses}");
    assert!(addresses.contains(&format!(" {a}.{b}.0.5/30 ")), "{addresses}");
    let _ = envforge_host::sys::netns::destroy(&lost.join("run/net"));
}
