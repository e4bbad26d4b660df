//! Services that do not behave, and the setup hook.

use super::machine::Machine;
use crate::support::{is_root, wait_until};
use envforge_api::host::{ChangeService, Order, Outcome, StartRuntime};
use envforge_api::http::workspaces::ServiceAction;
use envforge_core::readiness::{Part, PartKind, ReadinessState};
use envforge_core::runtime::ObservedPhase;
use envforge_core::size::Size;
use envforge_host::sys::cgroup::{Layer, Limits};

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

// proves RUN-3 RUN-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrected_file_is_read_by_another_start_and_what_runs_is_left_alone() {
    if !is_root() {
        return;
    }
    let manifest = |bad: &str| {
        format!(
            "services:\n  web:\n    command: echo $$ >> pids; exec python3 serve.py web\n    port: 3000\n  idle:\n    command: exec sleep 1000\n  once:\n    command: echo ran >> runs\n  tool:\n    command: test -f tool && exec sleep 1000; exit 127\n  bad:\n    command: {bad}\n    port: 4000\n"
        )
    };
    let machine = Machine::new(&manifest("no-such-program"), &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.part(ws, "web", ReadinessState::Ready).await;
    machine.part(ws, "once", ReadinessState::Asleep).await;
    let bad = machine.blocked(ws, "bad", "service.command_not_found").await;
    assert!(bad.fix.is_some_and(|fix| fix.contains("`envforge wake`")));
    machine.blocked(ws, "tool", "service.command_not_found").await;
    let stop = ChangeService { service: "idle".to_owned(), action: ServiceAction::Stop };
    assert_eq!(machine.order(ws, 2, Order::ChangeService(stop)).await, Outcome::Done);

    let Order::StartRuntime(order) = Machine::start_order(Size::Small) else { unreachable!("a start") };
    let again = || Order::StartRuntime(StartRuntime { again: true, ..order.clone() });
    machine.edit(ws, "tool", "installed meanwhile");
    machine.edit(ws, "envforge.yml", &manifest("python3 serve.py mended"));
    assert_eq!(machine.order(ws, 2, again()).await, Outcome::Done);
    machine.part(ws, "bad", ReadinessState::Ready).await;
    assert_eq!(machine.server.get(ws.id, "bad", "/").await, "mended");
    machine.part(ws, "tool", ReadinessState::Ready).await;
    machine.part(ws, "idle", ReadinessState::Asleep).await;
    machine.part(ws, "once", ReadinessState::Asleep).await;

    // One that can't be read changes nothing.
    machine.edit(ws, "envforge.yml", "services: {");
    let Outcome::Failed(trouble) = machine.order(ws, 2, again()).await else { panic!("read what can't be") };
    assert_eq!(trouble.code, "manifest.broken");
    assert_eq!(machine.phase(ws, ObservedPhase::Up).await.generation, 2);
    for service in ["web", "bad"] {
        machine.part(ws, service, ReadinessState::Ready).await;
    }
    for file in ["pids", "runs"] {
        assert_eq!(machine.read(ws, &format!("checkout/{file}")).lines().count(), 1, "{file}: started once");
    }
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

// proves RUN-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_not_ready_when_nobody_listens_for_it_any_more() {
    if !is_root() {
        return;
    }
    // What was started outlives what listened, as that which starts a program again when its files change does.
    let service = |name: &str, port: u16, health: &str| {
        format!("  {name}:\n    command: python3 serve.py {name} & wait; exec sleep 1000\n    port: {port}\n{health}")
    };
    let all = [("plain", ""), ("asked", "    health: { http: / }\n"), ("tried", "    health: { tcp: true }\n")];
    let services: String = (3000..).zip(all).map(|(port, (name, health))| service(name, port, health)).collect();
    let machine = Machine::new(&format!("services:\n{services}"), &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    for (name, _) in all {
        machine.part(ws, name, ReadinessState::Ready).await;
        let listens = wait_for_process(&format!("python3 serve.py {name}"), machine.config.uid_base).await;
        let listens = rustix::process::Pid::from_raw(listens).expect("pid");
        rustix::process::kill_process(listens, rustix::process::Signal::KILL).expect("killed");
        let part = machine.part(ws, name, ReadinessState::Waking).await;
        assert!(part.cause.is_some_and(|cause| cause.contains("no longer listens")), "{name}");
    }
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
        \x20 command:\n    command: python3 ../serve.py command\n    directory: .envforge\n    port: 3003\n    environment: { WANTED: context.json }\n    health: { command: test -f $WANTED }\n\
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
    machine.server.report(ws.id, "where it listens", told("else", "it listens on 5555")).await;
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
    assert_eq!(machine.server.log(ws.id, "setup", 10).await, "", "it has said nothing yet");
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
    machine.edit(ws, "pyproject.toml", "three");
    machine.edit(ws, "fail", "");
    machine.wake(ws, 8).await;
    let report = machine.phase(ws, ObservedPhase::Blocked).await;
    let trouble = report.trouble.expect("trouble");
    assert_eq!(trouble.code, "setup.failed");
    // What it said is quoted once, by the hook itself.
    let cause = |name: &str| report.parts.iter().find(|part| part.name == name).and_then(|part| part.cause.clone());
    assert!(cause("setup").is_some_and(|cause| cause.contains("last lines") && cause.contains("setting up")));
    for cause in [Some(trouble.cause), cause("web")] {
        assert!(cause.is_some_and(|cause| cause.contains("exited with code 1") && !cause.contains("last lines")));
    }
    std::fs::remove_file(machine.place(ws).join("checkout/fail")).expect("there");
    machine.wake(ws, 9).await;
    machine.phase(ws, ObservedPhase::Up).await;
    assert_eq!(machine.read(ws, "checkout/runs").lines().count(), 4);
    assert!(machine.server.log(ws.id, "setup", 5).await.contains("setting up"));
}

// proves RUN-3 RUN-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_stopped_started_and_restarted_by_itself() {
    if !is_root() {
        return;
    }
    let manifest = "services:\n  web:\n    command: echo $$ > pid; exec python3 serve.py web\n    port: 3000\n  api:\n    command: python3 serve.py api\n    port: 4000\n";
    let machine = Machine::new(manifest, &[]).await;
    let ws = machine.workspace().await;
    let change = |service: &str, action| Order::ChangeService(ChangeService { service: service.to_owned(), action });
    let Outcome::Failed(trouble) = machine.order(ws, 1, change("web", ServiceAction::Start)).await else {
        panic!("changed in a runtime that sleeps")
    };
    assert_eq!(trouble.code, "runtime.not_awake");
    machine.wake(ws, 2).await;
    machine.part(ws, "web", ReadinessState::Ready).await;
    machine.part(ws, "api", ReadinessState::Ready).await;
    let first = machine.read(ws, "checkout/pid");
    let stop = machine.server.command(ws.id, 2, change("web", ServiceAction::Stop));
    assert_eq!(machine.server.obeyed(&stop).await, Outcome::Done);
    machine.part(ws, "web", ReadinessState::Asleep).await;
    assert_eq!(machine.server.get(ws.id, "api", "/").await, "api", "the others go on");
    // It stays stopped through a sleep that keeps the rest.
    assert_eq!(machine.order(ws, 3, Order::FreezeRuntime).await, Outcome::Done);
    assert_eq!(machine.wake(ws, 4).await, Outcome::Done);
    machine.part(ws, "web", ReadinessState::Asleep).await;
    assert_eq!(machine.order(ws, 4, change("web", ServiceAction::Start)).await, Outcome::Done);
    machine.part(ws, "web", ReadinessState::Ready).await;
    let second = machine.read(ws, "checkout/pid");
    assert_ne!(first, second);
    // One that runs is left alone by a start, and not by a restart; nor does the same order come twice.
    assert_eq!(machine.order(ws, 4, change("web", ServiceAction::Start)).await, Outcome::Done);
    assert_eq!(machine.server.obeyed(&stop).await, Outcome::Done);
    assert_eq!(machine.read(ws, "checkout/pid"), second);
    assert_eq!(machine.order(ws, 4, change("web", ServiceAction::Restart)).await, Outcome::Done);
    wait_until("another process", async || machine.read(ws, "checkout/pid") != second).await;
    machine.part(ws, "web", ReadinessState::Ready).await;
    let Outcome::Failed(trouble) = machine.order(ws, 4, change("none", ServiceAction::Stop)).await else {
        panic!("a service nobody declared")
    };
    assert_eq!(trouble.code, "service.unknown");
    assert!(trouble.fix.contains("api, web"), "{}", trouble.fix);
}

// proves RUN-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_takes_the_file_as_it_is_now_and_one_that_cant_be_read_ends_nothing() {
    if !is_root() {
        return;
    }
    let manifest = |word: &str| {
        format!(
            "services:\n  web:\n    command: echo $$ >> pids; exec python3 serve.py {word}\n    port: 3000\n  api:\n    command: echo $$ >> api-pids; exec python3 serve.py api\n    port: 4000\n"
        )
    };
    let machine = Machine::new(&manifest("old"), &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.part(ws, "web", ReadinessState::Ready).await;
    machine.part(ws, "api", ReadinessState::Ready).await;
    let restart = |service: &str| {
        Order::ChangeService(ChangeService { service: service.to_owned(), action: ServiceAction::Restart })
    };
    let lines = |file: &str| machine.read(ws, &format!("checkout/{file}")).lines().count();

    machine.edit(ws, "envforge.yml", "services: {");
    let Outcome::Failed(trouble) = machine.order(ws, 2, restart("web")).await else { panic!("read what can't be") };
    assert_eq!(trouble.code, "manifest.broken");
    assert_eq!((machine.server.get(ws.id, "web", "/").await.as_str(), lines("pids")), ("old", 1));

    machine.edit(ws, "envforge.yml", &manifest("new"));
    let note = machine.part(ws, "envforge.yml", ReadinessState::Ready).await;
    assert!(note.fix.is_some_and(|fix| fix.contains("`envforge service restart web`")));
    assert_eq!(machine.order(ws, 2, restart("web")).await, Outcome::Done);
    wait_until("another process", async || lines("pids") == 2).await;
    machine.part(ws, "web", ReadinessState::Ready).await;
    assert_eq!(machine.server.get(ws.id, "web", "/").await, "new");
    assert_eq!((lines("pids"), lines("api-pids")), (2, 1), "once each");
    machine.without_part(ws, "envforge.yml").await;

    // One that is not declared any more is not ended by what would start it again.
    machine.edit(ws, "envforge.yml", "services:\n  api:\n    command: exec python3 serve.py api\n    port: 4000\n");
    let Outcome::Failed(trouble) = machine.order(ws, 2, restart("web")).await else { panic!("it is not declared") };
    assert_eq!(trouble.code, "service.unknown");
    assert_eq!(machine.server.get(ws.id, "web", "/").await, "new");
}

// proves RUN-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_ends_well_is_blocked_with_the_last_words_of_its_last_process() {
    if !is_root() {
        return;
    }
    let manifest =
        "services:\n  web:\n    command: echo run >> runs; echo this is run $(wc -l < runs)\n    port: 3000\n";
    let machine = Machine::new(manifest, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    let part = machine.blocked(ws, "web", "service.crash_loop").await;
    let cause = part.cause.expect("a cause");
    assert!(cause.starts_with("it ended by itself with code 0, and a service is expected to go on running"), "{cause}");
    assert!(cause.contains("this is run 5") && !cause.contains("this is run 4"), "{cause}");
}

/// Waits for a file, then wants 300 MiB.
const HOG: &str = "
import os, sys, time
print('waiting', flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
full = b'x' * (300 << 20)
print('full', len(full), flush=True)
";

// proves RUN-2 RUN-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_ran_out_is_said_and_a_mere_kill_is_not() {
    if !is_root() {
        return;
    }
    let manifest = "services:\n\
        \x20 web:\n    command: python3 serve.py web\n    port: 3000\n\
        \x20 hog:\n    command: exec python3 hog.py first\n    restart: never\n\
        \x20 below:\n    command: python3 hog.py second; sleep 1001\n\
        \x20 victim:\n    command: exec sleep 1002\n    restart: never\n";
    let machine = Machine::new(manifest, &[("hog.py", HOG)]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    let limits = Limits { memory_max_bytes: Some(120 << 20), ..Limits::default() };
    machine.group(&ws.id.to_string(), Layer::Runtime).apply(&limits).expect("limited");
    for name in ["hog", "below"] {
        wait_until("it waits", async || machine.server.log(ws.id, name, 5).await.contains("waiting")).await;
    }

    machine.edit(ws, "first", "");
    let hog = machine.blocked(ws, "hog", "service.out_of_memory").await;
    let (cause, fix) = (hog.cause.expect("a cause"), hog.fix.expect("a fix"));
    assert!(cause.contains("memory ran out: the runtime reached its limit of 8 GiB (size small)"), "{cause}");
    assert!(fix.contains("--size medium"), "{fix}");

    // Killed by somebody: not for memory, however recently that ran out.
    let victim = wait_for_process("sleep 1002", machine.config.uid_base).await;
    rustix::process::kill_process(rustix::process::Pid::from_raw(victim).expect("pid"), rustix::process::Signal::KILL)
        .expect("killed");
    let victim = machine.blocked(ws, "victim", "service.failed").await;
    assert!(victim.cause.is_some_and(|cause| cause.contains("(signal 9)") && !cause.contains("memory")));

    // The process a service had started is its, though the service goes on.
    machine.edit(ws, "second", "");
    wait_for_process("sleep 1001", machine.config.uid_base).await;
    let told = |part: &Part| {
        part.name == "below" && part.cause.as_ref().is_some_and(|cause| cause.contains("a process it had started"))
    };
    let report = machine.server.report(ws.id, "whose it was", |report| report.parts.iter().any(told)).await;
    let below = report.parts.iter().find(|part| told(part)).expect("found");
    assert_eq!(below.state, ReadinessState::Ready);
    assert!(below.fix.as_ref().is_some_and(|fix| fix.contains("--size medium")));
    assert!(report.parts.iter().all(|part| part.kind != PartKind::Runtime), "told once: {:?}", report.parts);

    // A larger size is another try.
    machine.order(ws, 3, Order::FreezeRuntime).await;
    machine.order(ws, 4, Machine::start_order(Size::Medium)).await;
    wait_until("it got its memory", async || machine.server.log(ws.id, "hog", 5).await.contains("full")).await;
}

// proves RUN-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_ran_out_for_nobody_known_is_the_runtimes() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(super::shell::PLAIN, &[("hog.py", HOG)]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    let limits = Limits { memory_max_bytes: Some(120 << 20), ..Limits::default() };
    machine.group(&ws.id.to_string(), Layer::Runtime).apply(&limits).expect("limited");
    let (_, job) = machine.job(ws, 3, &["python3", "hog.py", "envforge.yml"]);
    assert_eq!(machine.server.obeyed(&job).await, Outcome::Done);
    let note = machine.part(ws, "memory", ReadinessState::Ready).await;
    assert_eq!(note.kind, PartKind::Runtime);
    assert!(note.cause.is_some_and(|cause| cause.contains("memory ran out")) && note.fix.is_some());
    machine.part(ws, "web", ReadinessState::Ready).await;
}
