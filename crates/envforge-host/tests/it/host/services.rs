//! Services that do not behave, and the setup hook.

use super::machine::Machine;
use crate::support::{is_root, wait_until};
use envforge_api::host::Outcome;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;

// proves RUN-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_not_there_is_said_at_once() {
    if !is_root() {
        return;
    }
    let machine = Machine::new("services:\n  web:\n    command: no-such-program --port 1\n    port: 3000\n", &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    let part = machine.blocked(ws, "web", "service.command_not_found").await;
    assert!(part.cause.is_some_and(|cause| cause.contains("no-such-program")) && part.fix.is_some());
    let report = machine.phase(ws, ObservedPhase::Blocked).await;
    assert_eq!(report.trouble.expect("trouble").code, "service.command_not_found");
    // A start is another try.
    machine.edit(ws, "envforge.yml", super::shell::PLAIN);
    assert_eq!(machine.wake(ws, 3).await, Outcome::Done);
    machine.phase(ws, ObservedPhase::Up).await;
}

// proves RUN-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_ends_blocked_with_its_last_words_while_the_others_run() {
    if !is_root() {
        return;
    }
    let manifest = "services:\n  web:\n    command: python3 serve.py web\n    port: 3000\n  bad:\n    command: echo \"try $$\"; echo out of luck >&2; exit 3\n    port: 4000\n  next:\n    command: python3 serve.py next\n    inputs: { flaky_url: required }\n    environment: { URL: input.flaky_url }\n  flaky:\n    command: exit 4\n    routes: [/flaky]\n";
    let machine = Machine::new(manifest, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine
        .server
        .report(ws.id, "a restart", |report| report.parts.iter().any(|part| part.name == "bad" && part.restarts > 0))
        .await;
    let part = machine.blocked(ws, "bad", "service.crash_loop").await;
    let cause = part.cause.expect("a cause");
    assert!(cause.contains("exited with code 3") && cause.contains("out of luck"), "{cause}");
    assert_eq!(part.restarts, 4);
    let next = machine.blocked(ws, "next", "service.input_blocked").await;
    assert!(next.cause.is_some_and(|cause| cause.contains("flaky_url") && cause.contains("service flaky")));
    machine.phase(ws, ObservedPhase::Up).await;
    assert_eq!(machine.server.get(ws.id, "web", "/").await, "web");
}

// proves RUN-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_dies_is_restarted_and_takes_its_children_along() {
    if !is_root() {
        return;
    }
    // The port is held by a child that outlives its parent.
    let machine =
        Machine::new("services:\n  web:\n    command: setsid python3 serve.py web & sleep 1000\n    port: 3000\n", &[])
            .await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    let sleeper = wait_for_process("sleep 1000", machine.config.uid_base).await;
    rustix::process::kill_process(rustix::process::Pid::from_raw(sleeper).expect("pid"), rustix::process::Signal::KILL)
        .expect("killed");
    machine
        .server
        .report(ws.id, "a restart", |report| report.parts.iter().any(|part| part.name == "web" && part.restarts == 1))
        .await;
    machine.part(ws, "web", ReadinessState::Ready).await;
    assert_eq!(machine.server.get(ws.id, "web", "/").await, "web");
}

async fn wait_for_process(line: &str, uid: u32) -> i32 {
    let mut found = None;
    wait_until("a process", async || {
        found = envforge_host::sys::process::all_pids().into_iter().find(|pid| {
            let text = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let owner = std::fs::metadata(format!("/proc/{pid}"))
                .map_or(0, |metadata| std::os::unix::fs::MetadataExt::uid(&metadata));
            owner == uid && String::from_utf8_lossy(&text).replace('\0', " ").trim() == line
        });
        found.is_some()
    })
    .await;
    found.expect("found")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_bound_elsewhere_and_every_kind_of_health() {
    if !is_root() {
        return;
    }
    let manifest = "services:\n\
        \x20 else:\n    command: PORT=5555 python3 serve.py else\n    port: 3001\n\
        \x20 tcp:\n    command: python3 serve.py tcp\n    port: 3002\n    health: { tcp: true }\n\
        \x20 command:\n    command: python3 serve.py command\n    port: 3003\n    environment: { WANTED: serve.py }\n    health: { command: test -f $WANTED }\n\
        \x20 log:\n    command: python3 serve.py log\n    port: 3004\n    health: { log: listening }\n\
        \x20 worker:\n    command: sleep 1000\n\
        \x20 sick:\n    command: python3 serve.py sick\n    port: 3005\n    health: { http: /broken }\n\
        \x20 once:\n    command: echo done\n";
    let machine = Machine::new(manifest, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    for name in ["tcp", "command", "log", "worker"] {
        machine.part(ws, name, ReadinessState::Ready).await;
    }
    let told = |name: &'static str, words: &'static str| {
        move |report: &envforge_api::host::Report| {
            report
                .parts
                .iter()
                .any(|part| part.name == name && part.cause.as_ref().is_some_and(|cause| cause.contains(words)))
        }
    };
    machine.server.report(ws.id, "where it listens", told("else", "listens on 5555")).await;
    machine.server.report(ws.id, "what it answers", told("sick", "answered 500")).await;
    machine.server.report(ws.id, "that it ended", told("once", "exited with code 0")).await;
}

// proves RUN-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_wait_for_the_setup_hook_and_a_shell_does_not() {
    if !is_root() {
        return;
    }
    let manifest = "services:\n  web:\n    command: python3 serve.py $(cat made)\n    port: 3000\nhooks:\n  setup: while [ ! -f go ]; do sleep 0.02; done; echo setting up; cat package-lock.json > made; echo run >> runs; test ! -f fail\n";
    let machine = Machine::new(manifest, &[("package-lock.json", "one")]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    let waits = |report: &envforge_api::host::Report| {
        let part = report.parts.iter().find(|part| part.name == "web");
        part.is_some_and(|part| {
            part.state == ReadinessState::Waking && part.cause.as_ref().is_some_and(|cause| cause.contains("setup: "))
        })
    };
    let waiting = machine.server.report(ws.id, "the service waits", waits).await;
    assert!(!waiting.process_runs, "waking before a process runs is free");
    machine.part(ws, "setup", ReadinessState::Waking).await;
    machine.edit(ws, "go", "");
    machine.phase(ws, ObservedPhase::Up).await;
    assert_eq!(machine.server.get(ws.id, "web", "/").await, "one");
    // Nothing changed: not again. The lock file changed: again.
    machine.order(ws, 3, envforge_api::host::Order::StopRuntime).await;
    machine.wake(ws, 4).await;
    machine.phase(ws, ObservedPhase::Up).await;
    assert_eq!(machine.read(ws, "checkout/runs").lines().count(), 1);
    machine.order(ws, 5, envforge_api::host::Order::StopRuntime).await;
    machine.edit(ws, "package-lock.json", "two");
    machine.wake(ws, 6).await;
    machine.phase(ws, ObservedPhase::Up).await;
    assert_eq!(machine.server.get(ws.id, "web", "/").await, "two");
    // A failure blocks, with what it said; the next start tries again.
    machine.order(ws, 7, envforge_api::host::Order::StopRuntime).await;
    machine.edit(ws, "package-lock.json", "three");
    machine.edit(ws, "fail", "");
    machine.wake(ws, 8).await;
    let report = machine.phase(ws, ObservedPhase::Blocked).await;
    assert_eq!(report.trouble.expect("trouble").code, "setup.failed");
    std::fs::remove_file(machine.place(ws).join("checkout/fail")).expect("there");
    machine.wake(ws, 9).await;
    machine.phase(ws, ObservedPhase::Up).await;
    assert_eq!(machine.read(ws, "checkout/runs").lines().count(), 4);
    assert!(machine.server.log(ws.id, "setup", 5).await.contains("setting up"));
}
