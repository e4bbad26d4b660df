//! What a layer may use of the machine; and that whoever is beside it goes on when it has used all of that.

use super::attempt::{Attempt, Control, attempt, try_all};
use super::scene::{Scene, adopt, give_probe};
use crate::entry::INSIDE;
use crate::host::machine::{Machine, Ws};
use crate::support::{LIMIT, Ran, Running, is_root, shell, wait_until};
use envforge_core::runtime::ObservedPhase;
use envforge_host::ShellLimits;
use envforge_host::sys::cgroup::{self, Backend, Layer, Limits};
use std::time::Duration;
use tokio::time::Instant;

const PLAIN: &str = "services:\n  web:\n    command: exec python3 serve.py web\n    port: 3000\n";
const MIB: u64 = 1024 * 1024;
/// Takes more memory than a shell has in these tests.
const EAT: &str = "/workspace/probe inside eat 200";
/// Starts more processes than a layer has in these tests, for a moment.
const FORK: &str = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); sleep 1 & done; wait";

fn has_limits() -> bool {
    is_root()
        && !matches!(cgroup::detect().backend(), Backend::None { .. })
        && cgroup::detect().missing_limits().is_empty()
}

struct Both {
    machine: Machine,
    ws: Ws,
    shell: Running,
    runtime: Running,
}

/// A workspace that is awake, its shell with little of everything.
async fn small_shell() -> Both {
    let mut machine = Machine::new(PLAIN, &[]).await;
    machine.stop().await;
    machine.config.shell_limits = ShellLimits { milli_cpu: 100, memory: 96 * MIB, processes: 40 };
    machine.start().await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    give_probe(&machine, ws);
    let (shell, runtime) = (adopt(&machine, ws, Layer::Shell).await, adopt(&machine, ws, Layer::Runtime).await);
    Both { machine, ws, shell, runtime }
}

fn oom_kills(running: &Running) -> u64 {
    running.group.stats().expect("stats").oom_kills
}

/// How often a layer had to wait for CPU time because it had used its own.
fn throttled(running: &Running) -> u64 {
    let read = |file: std::path::PathBuf| std::fs::read_to_string(file.with_file_name("cpu.stat")).ok();
    let texts = running.group.join_files().into_iter().filter_map(read);
    texts.filter_map(|text| text.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse::<u64>().ok())).sum()
}

fn was_killed(ran: &Ran) -> bool {
    ran.code.is_none() || ran.code == Some(137)
}

// proves UP-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_has_its_baseline_and_no_more() {
    if !has_limits() {
        return;
    }
    let Both { machine, ws, shell: own, runtime } = small_shell().await;
    let started = machine.init_pid(ws, Layer::Shell);
    // Memory. Control: the runtime has more.
    assert!(was_killed(&own.run(EAT).await));
    assert!(oom_kills(&own) > 0);
    assert_eq!(runtime.run(EAT).await.text, "ate 200\n");
    assert_eq!(oom_kills(&runtime), 0);
    // Processes.
    let forked = own.run(FORK).await;
    assert!(forked.code != Some(0) && forked.text.contains("fork"), "{forked:?}");
    let forked = runtime.run(FORK).await;
    assert_eq!((forked.code, forked.text.as_str()), (Some(0), ""));
    // CPU: one busy loop is more than a tenth of a processor, and less than the runtime's two.
    for running in [&own, &runtime] {
        running.client.spawn(shell("while :; do :; done")).await.expect("spawn");
    }
    let before = throttled(&own);
    wait_until("the shell waits for its share", async || throttled(&own) > before + 3).await;
    assert_eq!(throttled(&runtime), 0);
    assert_eq!(machine.init_pid(ws, Layer::Shell), started, "the shell is the one of before");
}

// proves UP-2 UP-11 RUN-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_answers_while_its_runtime_is_out_of_everything() {
    if !has_limits() {
        return;
    }
    let Both { machine: _machine, shell: own, runtime, .. } = small_shell().await;
    let limits = Limits {
        memory_max_bytes: Some(96 * MIB),
        pids_max: Some(runtime.group.stats().expect("stats").pids + 20),
        cpu_max_milli: Some(500),
        ..Limits::default()
    };
    runtime.group.apply(&limits).expect("limits");
    runtime.client.spawn(shell(&format!("while :; do {EAT}; done"))).await.expect("spawn");
    runtime.client.spawn(shell("while :; do sleep 1000 & done 2>/dev/null")).await.expect("spawn");
    wait_until("the runtime is out of memory", async || oom_kills(&runtime) >= 3).await;
    let (of_runtime, of_shell) = (oom_kills(&runtime), oom_kills(&own));
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let began = Instant::now();
        let ran = own.run("echo here; : > /workspace/there; true & wait").await;
        assert_eq!((ran.code, ran.text.as_str()), (Some(0), "here\n"));
        slowest = slowest.max(began.elapsed());
    }
    show("a command in the shell, at most", slowest);
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    // All the while the runtime was killed again and again, and the shell never.
    wait_until("the runtime still is", async || oom_kills(&runtime) > of_runtime).await;
    assert_eq!(oom_kills(&own), of_shell);
    // Control: the same in the shell itself is the shell's to bear.
    assert!(was_killed(&own.run(EAT).await));
    assert!(oom_kills(&own) > of_shell);
    // Neither init is what was killed.
    for running in [&own, &runtime] {
        tokio::time::timeout(LIMIT, running.client.ping()).await.expect("in time").expect("it answers");
    }
}

#[expect(clippy::print_stderr, reason = "the harness shows it with --nocapture")]
fn show(what: &str, time: Duration) {
    eprintln!("{what}: {time:?}");
}

// proves ORG-3 RUN-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_goes_on_when_a_workspace_has_used_all_it_may() {
    if !is_root() {
        return;
    }
    let scene = Scene::new().await;
    let (hostile, neighbour) = (scene.own_runtime(), scene.neighbours_runtime());
    // inotify's instances are counted by user, here with all that one may have.
    let probe = format!("/workspace/probe {INSIDE} probe");
    let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").expect("a limit");
    let most: u64 = most.trim().parse().expect("a number");
    if most < 1_000 {
        let argv = ["/workspace/probe", INSIDE, "probe", "hold-watches"];
        hostile.client.spawn(super::scene::program(&argv)).await.expect("spawn");
        let line = format!("{probe} watches 1");
        wait_until("it has them all", async || hostile.run(&line).await.code != Some(0)).await;
        assert_eq!(neighbour.run(&line).await.code, Some(0));
    }
    if has_limits() {
        // Processes.
        let pids = hostile.group.stats().expect("stats").pids;
        hostile.group.apply(&Limits { pids_max: Some(pids + 20), ..Limits::default() }).expect("limits");
        let ran = hostile.run(FORK).await;
        assert!(ran.code != Some(0) && ran.text.contains("fork"), "{ran:?}");
        assert_eq!(neighbour.run(FORK).await.text, "");
    }
    try_all(&scene, &attempts()).await;
}

fn attempts() -> Vec<Attempt> {
    vec![attempt("most terminals of the machine", "$PROBE terminals 600", Control::Host)]
}
