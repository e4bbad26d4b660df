//! Limits, freezing and killing, on whatever cgroups this machine has.

use std::io::ErrorKind;
use std::time::Duration;

use envforge_host::sys::cgroup::{self, Backend, GroupName, Layer, Limits};
use envforge_host::sys::netns;

use super::support::{LIMIT, Workspace, ask, inside, is_root, shell, wait_until};
use super::vm;

fn has_cgroups() -> bool {
    let found = cgroup::detect();
    if is_in_vm() {
        assert_eq!((found.backend(), found.missing_limits()), (Backend::V2, Vec::new()));
    }
    is_root() && !matches!(found.backend(), Backend::None { .. })
}

/// In the machine that was made for these tests, see `vm`.
fn is_in_vm() -> bool {
    std::env::var_os(vm::INSIDE).is_some()
}

/// Whether memory of this size can be given back although no file has it.
fn has_swap(bytes: u64) -> bool {
    let memory = std::fs::read_to_string("/proc/meminfo").expect("meminfo");
    let free = memory.lines().find_map(|line| line.strip_prefix("SwapFree:")?.trim().strip_suffix(" kB"));
    let has = free.and_then(|free| free.trim().parse::<u64>().ok()).is_some_and(|kilobytes| kilobytes * 1_024 >= bytes);
    assert!(has || !is_in_vm(), "no swap:\n{memory}");
    has
}

// proves RUN-5
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_service_accepts_and_answers_after_the_thaw() {
    if !has_cgroups() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    running.serve(&ws, 3000, "awake").await;
    let before = netns::connect_tcp(&ws.netns, 3000).expect("connect");
    assert_eq!(ask(&before, "1").expect("answer"), "awake 1");
    running.group.freeze(LIMIT).expect("freeze");
    running.group.freeze(LIMIT).expect("twice");
    assert!(running.group.is_frozen().expect("state"));

    let during = netns::connect_tcp(&ws.netns, 3000).expect("the kernel accepts");
    std::io::Write::write_all(&mut &during, b"2\n").expect("send");
    during.set_read_timeout(Some(Duration::from_millis(100))).expect("timeout");
    let silence = std::io::Read::read(&mut &during, &mut [0; 8]).expect_err("no answer");
    assert!(matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence}");
    running.group.reclaim().expect("reclaim");

    running.group.thaw().expect("thaw");
    running.group.thaw().expect("twice");
    assert!(!running.group.is_frozen().expect("state"));
    assert_eq!(ask(&during, "").expect("answer"), "awake 2");
    assert_eq!(ask(&before, "3").expect("the old connection lives"), "awake 3");
}

// proves RUN-5
#[tokio::test(flavor = "multi_thread")]
async fn what_a_frozen_service_holds_is_given_back_and_comes_again() {
    const MEGABYTES: u64 = 64;
    if !has_cgroups() || !has_swap((4 * MEGABYTES) << 20) {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    running.client.spawn(inside("keeper", &["keep", "64", "127.0.0.1:3000"])).await.expect("spawn");
    wait_until("server", async || netns::connect(&ws.netns, 3000).await.is_ok()).await;
    let stream = netns::connect_tcp(&ws.netns, 3000).expect("connect");
    assert_eq!(ask(&stream, "").expect("answer"), "64");
    running.group.freeze(LIMIT).expect("freeze");
    let before = running.group.stats().expect("stats").memory_bytes;
    assert!(before > MEGABYTES << 20, "{before}");
    let given = running.group.reclaim().expect("reclaim");
    assert!(given * 10 > before * 8, "{given} bytes of {before} were given back");
    running.group.thaw().expect("thaw");
    assert_eq!(ask(&stream, "").expect("answer"), "64");
}

// proves RUN-4
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_leaves_nothing_frozen_or_not() {
    if !has_cgroups() {
        return;
    }
    for frozen in [false, true] {
        let ws = Workspace::new();
        let running = ws.start(Layer::Runtime).await;
        running.run("for i in 1 2 3; do (setsid setsid sleep 1000 > /dev/null 2>&1 &); done").await;
        wait_until("all there", async || running.group.pids().expect("pids").len() == 4).await;
        if frozen {
            running.group.freeze(LIMIT).expect("freeze");
        }
        running.group.kill(LIMIT).expect("kill");
        assert_eq!(running.group.pids().expect("pids"), Vec::<i32>::new());
        tokio::time::timeout(LIMIT, running.sandbox.ended()).await.expect("in time").expect("ended");
        assert!(!running.sandbox.is_running());
        running.group.kill(LIMIT).expect("twice");
        running.group.remove(LIMIT).expect("remove");
        running.group.remove(LIMIT).expect("twice");
        running.group.kill(LIMIT).expect("also when it is gone");
        assert!(!running.group.exists());
    }
}

// proves RUN-2
#[tokio::test(flavor = "multi_thread")]
async fn memory_has_a_limit_and_its_breach_is_reported() {
    if !has_cgroups() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    let limits = Limits { memory_max_bytes: Some(64 * 1024 * 1024), ..Limits::default() };
    running.group.apply(&limits).expect("apply");
    let small = running.run_spawn(inside("small", &["eat", "16"])).await;
    assert_eq!(small.text, "ate 16\n");
    assert_eq!(running.group.stats().expect("stats").oom_kills, 0);
    running.client.spawn(inside("big", &["eat", "200"])).await.expect("spawn");
    wait_until("killed", async || running.exit("big").await.is_some_and(|exit| exit.signal == Some(9))).await;
    assert_eq!(running.group.stats().expect("stats").oom_kills, 1);
    running.client.ping().await.expect("the init lives");
    // The limit can be lifted while it runs.
    running.group.apply(&Limits::default()).expect("apply");
    assert_eq!(running.run_spawn(inside("more", &["eat", "100"])).await.text, "ate 100\n");
}

// proves RUN-2
#[tokio::test(flavor = "multi_thread")]
async fn processes_have_a_limit() {
    if !has_cgroups() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    let limits = Limits { pids_max: Some(12), ..Limits::default() };
    running.group.apply(&limits).expect("apply");
    let ran = running.run("for i in $(seq 1 40); do sleep 1000 > /dev/null 2>&1 & done").await;
    assert!(ran.text.contains("Cannot fork") || ran.text.contains("fork"), "{ran:?}");
    assert!(running.group.stats().expect("stats").pids <= 12);
}

// proves RUN-2
#[tokio::test(flavor = "multi_thread")]
async fn cpu_has_a_limit_and_is_measured() {
    if !has_cgroups() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    let limits = Limits { cpu_max_milli: Some(200), cpu_weight: Some(50), ..Limits::default() };
    running.group.apply(&limits).expect("apply");
    let before = running.group.stats().expect("stats").cpu_usage_us;
    let start = tokio::time::Instant::now();
    running.client.spawn(shell("while :; do :; done")).await.expect("spawn");
    wait_until("busy", async || running.group.stats().expect("stats").cpu_usage_us - before > 200_000).await;
    let share = 200_000.0 / start.elapsed().as_micros() as f64;
    assert!(share < 0.35, "used {share} of a CPU where 0.2 is allowed");
}

// proves OPS-2
#[tokio::test(flavor = "multi_thread")]
async fn the_group_of_an_adopted_sandbox_is_found_where_it_is() {
    if !has_cgroups() {
        return;
    }
    let ws = Workspace::new();
    let running = ws.start(Layer::Runtime).await;
    let name = GroupName::new(&format!("test{}", std::process::id()), &ws.name, Layer::Runtime).expect("name");
    let found = cgroup::detect().group_of(&name, running.sandbox.pid());
    assert_eq!(found.join_files(), running.group.join_files());
    assert_eq!(found.pids().expect("pids"), [running.sandbox.pid()]);
    // A process that is in no such group: the place where it would be made.
    let elsewhere = cgroup::detect().group_of(&name, std::process::id() as i32);
    assert_eq!(elsewhere.join_files(), running.group.join_files());
}

#[test]
fn odd_names_are_refused() {
    for odd in ["", "a/b", "..", "a b"] {
        GroupName::new(odd, "w", Layer::Shell).expect_err("refused");
        GroupName::new("i", odd, Layer::Shell).expect_err("refused");
    }
}
