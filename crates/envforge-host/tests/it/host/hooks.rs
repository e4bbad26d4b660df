//! What a repository runs around sleep.

use super::machine::{Machine, Ws};
use crate::support::{is_root, wait_until};
use envforge_api::host::{Order, Outcome};
use envforge_core::runtime::ObservedPhase;
use envforge_host::sys::cgroup::Layer;

/// A manifest with these hooks.
fn manifest(before_sleep: &str, after_wake: &str) -> String {
    format!(
        "services:\n  web:\n    command: python3 serve.py web\n    port: 3000\nhooks:\n  before_sleep: {before_sleep}\n  after_wake: {after_wake}\n"
    )
}

const ASK: &str = "python3 -c \"import os, urllib.request; print(urllib.request.urlopen(os.environ['WEB_URL']).read())\" >> slept && echo quiet";

/// How often something was noted in a file of the checkout.
fn lines(machine: &Machine, ws: Ws, name: &str) -> usize {
    std::fs::read_to_string(machine.place(ws).join("checkout").join(name)).map_or(0, |text| text.lines().count())
}

/// Programs of the runtime that were started as this.
fn running(machine: &Machine, ws: Ws, line: &str) -> usize {
    let pids = machine.group(&ws.id.to_string(), Layer::Runtime).pids().unwrap_or_default();
    let is_it = |pid: &i32| {
        let read = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&read).replace('\0', " ").trim() == line
    };
    pids.iter().filter(|pid| is_it(pid)).count()
}

async fn awake(machine: &Machine, ws: Ws) {
    assert_eq!(machine.wake(ws, 2).await, Outcome::Done);
    machine.phase(ws, ObservedPhase::Up).await;
}

// proves RUN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_run_around_a_pause_and_not_before_a_start() {
    if !is_root() {
        return;
    }
    let hooks = manifest(&format!("'{}'", ASK.replace('\'', "''")), "echo woke >> woke; sleep 1234");
    let machine = Machine::new(&hooks, &[]).await;
    let ws = machine.workspace().await;
    awake(&machine, ws).await;
    assert_eq!(machine.order(ws, 3, Order::FreezeRuntime).await, Outcome::Done);
    machine.phase(ws, ObservedPhase::Frozen).await;
    assert_eq!(machine.read(ws, "checkout/slept"), "b'web'\n", "while services still answer, and before the sleep");
    // The services answer whatever becomes of the second hook.
    assert_eq!(machine.wake(ws, 4).await, Outcome::Done);
    assert_eq!(machine.server.get(ws.id, "web", "/").await, "web");
    wait_until("the second hook", async || lines(&machine, ws, "woke") == 1).await;
    wait_until("it goes on", async || running(&machine, ws, "sleep 1234") == 1).await;
    wait_until("its words", async || machine.server.log(ws.id, "before_sleep", 5).await.contains(" quiet")).await;
    // What still runs of it ends before the first runs again, and a stop is a sleep too.
    assert_eq!(machine.order(ws, 5, Order::FreezeRuntime).await, Outcome::Done);
    assert_eq!((lines(&machine, ws, "slept"), running(&machine, ws, "sleep 1234")), (2, 0));
    assert_eq!(machine.order(ws, 6, Order::StopRuntime).await, Outcome::Done);
    assert_eq!(lines(&machine, ws, "slept"), 2, "what sleeps is not put to sleep again");
    assert_eq!(machine.wake(ws, 7).await, Outcome::Done);
    machine.server.report(ws.id, "a start", |report| report.generation == 7 && report.phase == ObservedPhase::Up).await;
    assert_eq!(machine.order(ws, 8, Order::StopRuntime).await, Outcome::Done);
    assert_eq!((lines(&machine, ws, "slept"), lines(&machine, ws, "woke")), (3, 1), "a start from nothing is no wake");
}

// proves RUN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_hangs_or_fails_holds_up_neither_sleep_nor_wake() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(&manifest("sleep 1234", "echo oh no; exit 3"), &[]).await;
    let ws = machine.workspace().await;
    awake(&machine, ws).await;
    let freeze = machine.server.command(ws.id, 3, Order::FreezeRuntime);
    machine.server.send(&freeze).await;
    wait_until("the hook", async || running(&machine, ws, "sleep 1234") == 1).await;
    // The runtime works on until it sleeps.
    assert_eq!(machine.server.get(ws.id, "web", "/").await, "web");
    assert_eq!(machine.server.answer(freeze.id).await, Outcome::Done);
    machine.phase(ws, ObservedPhase::Frozen).await;
    assert_eq!(running(&machine, ws, "sleep 1234"), 0, "it was killed");
    assert_eq!(machine.wake(ws, 4).await, Outcome::Done);
    assert_eq!(machine.server.get(ws.id, "web", "/").await, "web");
    let says = async |hook: &str, words: &str| {
        wait_until(words, async || machine.server.log(ws.id, hook, 5).await.contains(words)).await;
    };
    says("before_sleep", "envforge: before_sleep did not end within 10 s and was killed").await;
    says("after_wake", " oh no").await;
    says("after_wake", "envforge: after_wake exited with code 3").await;
}

// proves RUN-3, RUN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wake_calls_off_a_sleep_whose_hook_still_runs() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(&manifest("echo begun >> slept; sleep 1234", "echo woke >> woke"), &[]).await;
    let ws = machine.workspace().await;
    awake(&machine, ws).await;
    let freeze = machine.server.command(ws.id, 3, Order::FreezeRuntime);
    machine.server.send(&freeze).await;
    wait_until("the first hook", async || running(&machine, ws, "sleep 1234") == 1).await;
    assert_eq!(machine.wake(ws, 4).await, Outcome::Done);
    assert_eq!(machine.server.answer(freeze.id).await, Outcome::Stale);
    let up = |report: &envforge_api::host::Report| report.generation == 4 && report.phase == ObservedPhase::Up;
    machine.server.report(ws.id, "up", up).await;
    wait_until("the second hook", async || lines(&machine, ws, "woke") == 1).await;
    assert_eq!(running(&machine, ws, "sleep 1234"), 0);
    assert!(machine.server.reports(ws.id).iter().all(|report| report.phase != ObservedPhase::Frozen));
    assert_eq!(machine.server.get(ws.id, "web", "/").await, "web");
}

// proves RUN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_comes_back_before_a_sleep_ends_no_hook_of_it() {
    if !is_root() {
        return;
    }
    let before = "echo begun >> slept; while [ ! -e go ]; do sleep 0.01; done; echo ended >> slept";
    let mut machine = Machine::new(&manifest(before, "echo woke >> woke"), &[]).await;
    let ws = machine.workspace().await;
    machine.edit(ws, "go", "");
    awake(&machine, ws).await;
    assert_eq!(machine.order(ws, 3, Order::FreezeRuntime).await, Outcome::Done);
    assert_eq!(machine.wake(ws, 4).await, Outcome::Done);
    wait_until("the second hook", async || lines(&machine, ws, "woke") == 1).await;
    std::fs::remove_file(machine.place(ws).join("checkout/go")).expect("removed");
    let freeze = machine.server.command(ws.id, 5, Order::FreezeRuntime);
    machine.server.send(&freeze).await;
    wait_until("the first hook", async || lines(&machine, ws, "slept") == 3).await;
    // Twice: with the order known when the services are looked for, and not.
    for is_sent_early in [false, true] {
        machine.stop().await;
        machine.start().await;
        if is_sent_early {
            machine.server.send(&freeze).await;
        }
        assert_eq!(machine.server.get(ws.id, "web", "/").await, "web");
        // Once round by the runtime's init: whatever the new daemon began there by itself was begun before.
        machine.server.send(&freeze).await;
        assert_eq!(machine.server.get(ws.id, "web", "/").await, "web");
    }
    machine.edit(ws, "go", "");
    assert_eq!(machine.server.answer(freeze.id).await, Outcome::Done);
    assert_eq!(machine.read(ws, "checkout/slept"), "begun\nended\nbegun\nended\n");
    assert_eq!(lines(&machine, ws, "woke"), 1);
}
