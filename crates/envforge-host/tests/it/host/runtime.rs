//! Start, freeze, thaw, stop: and what each looks like from outside.

use super::machine::Machine;
use super::shell::PLAIN;
use crate::support::{LIMIT, has_swap, is_root, wait_until};
use envforge_api::host::{ManifestReport, NameDevHosts, Order, Outcome, StartRuntime};
use envforge_api::uplink::OpenError;
use envforge_core::pressure::MemoryReading;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;
use envforge_core::size::Size;
use envforge_host::sys::cgroup::Layer;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

pub(super) const TWO: &str = "services:\n\
    \x20 web:\n    command: python3 serve.py web\n    routes: [/]\n    inputs: { api_url: required, web_public_url: optional }\n    environment: { API_URL: input.api_url, PUBLIC: input.web_public_url }\n    health: { http: / }\n\
    \x20 api:\n    command: python3 serve.py api\n    port: 4000\n\
    checks:\n  page: { service: web, path: /, status: 200 }\n  wrong: { service: web, path: /broken, status: 200 }\n";

// proves RUN-1, REPO-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_brings_everything_up_and_its_ports_are_reached_by_ticket() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(TWO, &[]).await;
    let ws = machine.workspace().await;
    assert_eq!(machine.wake(ws, 2).await, Outcome::Done);
    let up = machine.phase(ws, ObservedPhase::Up).await;
    assert_eq!((up.generation, up.process_runs), (2, true));
    assert_eq!(machine.part(ws, "api", ReadinessState::Ready).await.port, Some(4000));
    assert_eq!(machine.part(ws, "web", ReadinessState::Ready).await.port, Some(3000), "found when it bound");
    machine.part(ws, "page", ReadinessState::Ready).await;
    let wrong = machine.part(ws, "wrong", ReadinessState::Blocked).await;
    assert!(wrong.cause.is_some_and(|cause| cause.contains("500")));
    assert_eq!(machine.server.get(ws.id, "web", "/").await, "web");
    assert_eq!(machine.server.get(ws.id, "web", "/env/API_URL").await, "http://127.0.0.1:4000");
    assert_eq!(machine.server.get(ws.id, "web", "/env/PUBLIC").await, "http://web.test");
    assert!(machine.server.log(ws.id, "api", 10).await.contains("listening"));
    let first_running = machine.server.reports(ws.id).into_iter().find(|report| report.process_runs).expect("one");
    assert_eq!(
        first_running.phase,
        ObservedPhase::Starting,
        "the meter opens when a process runs, not when all is ready"
    );
    let env = format!(
        "/proc/{}/root/run/user/{}/envforge/env/web.env",
        machine.init_pid(ws, Layer::Runtime).expect("init"),
        machine.config.uid_base
    );
    wait_until("the env file", async || {
        std::fs::read_to_string(&env).is_ok_and(|text| text.contains("API_URL='http://127.0.0.1:4000'"))
    })
    .await;
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&env).expect("there"));
    assert_eq!(mode & 0o777, 0o600);
}

// proves RUN-1, REPO-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_woken_before_its_dev_hosts_are_known_starts_once_they_are() {
    if !is_root() {
        return;
    }
    let manifest = TWO.replace("web_public_url: optional", "web_public_url: required");
    let mut machine = Machine::new(&manifest, &[]).await;
    let ws = machine.workspace().await;
    let Order::StartRuntime(order) = Machine::start_order(Size::Small) else { unreachable!("a start") };
    let unnamed = StartRuntime { public_urls: BTreeMap::new(), dev_hosts_known: false, ..order.clone() };
    assert_eq!(machine.order(ws, 2, Order::StartRuntime(unnamed)).await, Outcome::Done);
    let waits = machine.part(ws, "web", ReadinessState::Waking).await;
    assert_eq!(waits.cause.as_deref(), Some("waits for the server to name its dev hosts"));
    // A daemon that comes later waits on.
    machine.stop().await;
    machine.start().await;
    let named = Order::NameDevHosts(NameDevHosts { public_urls: order.public_urls });
    assert_eq!(machine.order(ws, 2, named.clone()).await, Outcome::Done);
    machine.part(ws, "web", ReadinessState::Ready).await;
    assert_eq!(machine.server.get(ws.id, "web", "/env/PUBLIC").await, "http://web.test");
    // Told again, and to one that sleeps.
    assert_eq!(machine.order(ws, 2, named.clone()).await, Outcome::Done);
    assert_eq!(machine.order(ws, 3, Order::StopRuntime).await, Outcome::Done);
    assert_eq!(machine.order(ws, 3, named).await, Outcome::Done);
    machine.phase(ws, ObservedPhase::Absent).await;
}

// proves RUN-1, REPO-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_dev_host_becomes_known_after_an_edit_starts_by_itself() {
    if !is_root() {
        return;
    }
    let manifest = TWO.replace("web_public_url: optional", "web_public_url: required");
    let machine = Machine::new(&manifest, &[]).await;
    let ws = machine.workspace().await;
    let Order::StartRuntime(order) = Machine::start_order(Size::Small) else { unreachable!("a start") };
    let before = StartRuntime { public_urls: BTreeMap::new(), ..order.clone() };
    assert_eq!(machine.order(ws, 2, Order::StartRuntime(before)).await, Outcome::Done);
    machine.part(ws, "web", ReadinessState::Blocked).await;
    let named = Order::NameDevHosts(NameDevHosts { public_urls: order.public_urls });
    assert_eq!(machine.order(ws, 2, named).await, Outcome::Done);
    machine.part(ws, "web", ReadinessState::Ready).await;
}

// proves RUN-4, RUN-5, COST-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_runtime_keeps_its_connections_and_a_thaw_goes_on() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    wait_until("its first line", async || machine.server.log(ws.id, "web", 5).await.contains("listening")).await;
    let mut before = machine.server.service(ws.id, "web").await.expect("a connection");
    assert_eq!(machine.order(ws, 3, Order::FreezeRuntime).await, Outcome::Done);
    let frozen = machine.phase(ws, ObservedPhase::Frozen).await;
    assert_eq!((frozen.generation, frozen.process_runs), (3, true));
    assert!(frozen.parts.iter().filter(|part| part.name == "web").all(|part| part.state == ReadinessState::Asleep));
    assert!(machine.server.log(ws.id, "web", 5).await.contains("listening"), "logs are read asleep");

    // The kernel accepts for the paused service; the request waits there.
    let mut during = machine.server.service(ws.id, "web").await.expect("accepted while frozen");
    for stream in [&mut before, &mut during] {
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
    }
    during.set_read_timeout(Some(std::time::Duration::from_millis(100))).expect("limit");
    let mut byte = [0; 1];
    assert!(during.read(&mut byte).is_err(), "nothing answers while frozen");
    during.set_read_timeout(Some(LIMIT)).expect("limit");

    assert_eq!(machine.wake(ws, 4).await, Outcome::Done);
    let up = machine.phase(ws, ObservedPhase::Up).await;
    assert_eq!((up.generation, up.process_runs), (4, true));
    for mut stream in [before, during] {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answered");
        assert!(text.ends_with("web"), "{text}");
    }
    machine.part(ws, "web", ReadinessState::Ready).await;
}

// proves RUN-5, COST-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_services_in_order_and_keeps_files() {
    if !is_root() {
        return;
    }
    let graceful = "services:\n  web:\n    command: python3 stop.py\n    port: 3000\n";
    let program = "import signal, socket, sys, time\n\
        s = socket.create_server(('127.0.0.1', 3000))\n\
        def bye(*a):\n    open('said-goodbye', 'w').write('yes'); sys.exit(0)\n\
        signal.signal(signal.SIGTERM, bye)\nprint('up', flush=True)\nwhile True: time.sleep(1)\n";
    let machine = Machine::new(graceful, &[("stop.py", program)]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    let stop = machine.server.command(ws.id, 3, Order::StopRuntime);
    assert_eq!(machine.server.obeyed(&stop).await, Outcome::Done);
    let gone = machine.server.reports(ws.id).pop().expect("a report");
    assert_eq!(
        (gone.phase, gone.process_runs, gone.generation, gone.last_proof),
        (ObservedPhase::Absent, false, 3, None)
    );
    assert_eq!(machine.read(ws, "checkout/said-goodbye"), "yes");
    assert!(machine.init_pid(ws, Layer::Runtime).is_none());
    assert!(machine.init_pid(ws, Layer::Shell).is_some());
    // Asleep, logs and wake still work; a stop of what is stopped is done.
    assert!(machine.server.log(ws.id, "web", 5).await.contains("up"));
    assert_eq!(machine.order(ws, 4, Order::StopRuntime).await, Outcome::Done);
    assert_eq!(machine.order(ws, 5, Order::FreezeRuntime).await, Outcome::Done);
    assert_eq!(machine.wake(ws, 6).await, Outcome::Done);
    machine.phase(ws, ObservedPhase::Up).await;
    // From frozen too, and that moment is not told as awake.
    machine.order(ws, 7, Order::FreezeRuntime).await;
    std::fs::remove_file(machine.place(ws).join("checkout/said-goodbye")).expect("there");
    let told = machine.server.reports(ws.id).len();
    assert_eq!(machine.order(ws, 8, Order::StopRuntime).await, Outcome::Done);
    assert_eq!(machine.read(ws, "checkout/said-goodbye"), "yes");
    assert!(
        machine.server.reports(ws.id)[told..].iter().all(|report| !(report.phase.is_metered() && report.process_runs))
    );
}

// proves REPO-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_manifest_blocks_the_start_and_its_repair_is_seen() {
    if !is_root() {
        return;
    }
    let machine = Machine::new("services:\n  web:\n    comand: x\n", &[]).await;
    let ws = machine.workspace().await;
    let Outcome::Failed(trouble) = machine.wake(ws, 2).await else { panic!("started") };
    assert_eq!(trouble.code, "manifest.broken");
    let report = machine.phase(ws, ObservedPhase::Blocked).await;
    assert!(!report.process_runs && report.generation == 2);
    let cause = report.trouble.expect("trouble").cause;
    assert!(cause.contains("envforge.yml:3:5") && cause.contains("command"), "{cause}");
    machine.edit(ws, "envforge.yml", PLAIN);
    machine.server.report(ws.id, "the repair", |report| report.parts.iter().any(|part| part.name == "web")).await;
    assert_eq!(machine.wake(ws, 3).await, Outcome::Done);
    machine.phase(ws, ObservedPhase::Up).await;

    // Broken again while it runs: what runs goes on.
    machine.edit(ws, "envforge.yml", "services: 3\n");
    let broken = |report: &envforge_api::host::Report| matches!(report.manifest, Some(ManifestReport::Broken { .. }));
    wait_until("the damage is reported", async || machine.server.reports(ws.id).iter().rev().take(3).any(broken)).await;
    assert!(matches!(machine.wake(ws, 4).await, Outcome::Failed(_)));
    assert_eq!(machine.phase(ws, ObservedPhase::Up).await.generation, 4);
    assert_eq!(machine.server.get(ws.id, "web", "/").await, "web");
    // A link out of the checkout is not read.
    std::fs::remove_file(machine.place(ws).join("checkout/envforge.yml")).expect("there");
    std::os::unix::fs::symlink("/etc/shadow", machine.place(ws).join("checkout/envforge.yml")).expect("linked");
    let leads_out = |report: &envforge_api::host::Report| match &report.manifest {
        Some(ManifestReport::Broken { diagnostics }) => diagnostics.iter().any(|text| text.contains("link")),
        _ => false,
    };
    wait_until("the link is reported", async || machine.server.reports(ws.id).iter().any(leads_out)).await;
}

// proves RUN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_says_how_short_its_memory_is_and_whether_there_is_swap() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::without_daemon(PLAIN, &[]);
    let proc = machine.path("proc");
    machine.config.proc = proc.clone();
    std::fs::create_dir_all(proc.join("pressure")).expect("directory");
    let say = |swap: u64, available: u64, stalled: &str| {
        let meminfo = format!("MemTotal: 4096 kB\nMemAvailable: {available} kB\nSwapTotal: {swap} kB\n");
        std::fs::write(proc.join("meminfo"), meminfo).expect("written");
        let pressure = format!(
            "some avg10={stalled} avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
        );
        std::fs::write(proc.join("pressure/memory"), pressure).expect("written");
    };
    say(0, 3072, "0.00");
    machine.start().await;
    assert!(machine.server.hello().contains("\"swap\":0"), "{}", machine.server.hello());
    let says = |available: u64, stalled: u16| {
        Some(MemoryReading { total: 4096 * 1024, available: available * 1024, stalled: Some(stalled) })
    };
    wait_until("the first reading", async || machine.server.memory() == says(3072, 0)).await;
    say(512, 100, "43.21");
    wait_until("the next reading", async || machine.server.memory() == says(100, 432)).await;
    // Swap that was added is told with the next stream.
    let hellos = machine.server.hellos();
    machine.server.hang_up();
    wait_until("another stream", async || machine.server.hellos() > hellos).await;
    assert!(machine.server.hello().contains("\"swap\":524288"), "{}", machine.server.hello());
}

// proves RUN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_given_back_once_a_pause_has_lasted_also_with_another_daemon() {
    if !is_root() || !has_swap() {
        return;
    }
    let hoard = "services:\n  web:\n    command: python3 hoard.py\n    port: 3000\nruntime: { reclaim_after: 10s }\n";
    let program = "import os\nheld = [bytes([n % 251]) * 4096 for n in range(12288)]\n\
        def whole(): return all(page[0] == n % 251 and page[-1] == n % 251 for n, page in enumerate(held))\n\
        import http.server\nclass H(http.server.BaseHTTPRequestHandler):\n\x20 def do_GET(self):\n\x20   self.send_response(200); self.end_headers(); self.wfile.write(b'whole' if whole() else b'torn')\n\
        http.server.HTTPServer(('127.0.0.1', 3000), H).serve_forever()\n";
    let mut machine = Machine::new(hoard, &[("hoard.py", program)]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    let before = machine_memory(&machine.group(&ws.id.to_string(), Layer::Runtime));
    assert!(before > 48 << 20, "{before}");
    assert_eq!(machine.order(ws, 3, Order::FreezeRuntime).await, Outcome::Done);
    let frozen_at = tokio::time::Instant::now();
    // Whoever takes the pause up goes on counting.
    machine.stop().await;
    machine.start().await;
    machine.phase(ws, ObservedPhase::Frozen).await;
    let group = machine.group(&ws.id.to_string(), Layer::Runtime);
    wait_until("memory given back", async || machine_memory(&group) < before / 2).await;
    let waited = frozen_at.elapsed();
    assert!(waited >= std::time::Duration::from_secs(9), "a short pause keeps it: {waited:?}");
    assert_eq!(machine.wake(ws, 4).await, Outcome::Done);
    assert_eq!(machine.server.get(ws.id, "web", "/").await, "whole");
}

fn machine_memory(group: &envforge_host::sys::cgroup::Group) -> u64 {
    group.stats().expect("stats").memory_bytes
}

// proves RUN-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workspaces_use_the_same_ports() {
    if !is_root() {
        return;
    }
    let machine =
        Machine::new("services:\n  web:\n    command: python3 serve.py $ENVFORGE_BRANCH\n    port: 3000\n", &[]).await;
    let (one, two) = (machine.workspace().await, super::machine::Ws { id: super::server::mint() });
    let command = machine.server.command(two.id, 1, machine.prepare_order("other"));
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    machine.wake(one, 2).await;
    machine.wake(two, 2).await;
    machine.phase(one, ObservedPhase::Up).await;
    machine.phase(two, ObservedPhase::Up).await;
    assert_eq!(machine.server.get(one.id, "web", "/").await, "feature/login");
    assert_eq!(machine.server.get(two.id, "web", "/").await, "other");
}

// proves RUN-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_size_is_a_limit_of_the_kernel_and_changes_while_awake() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    let limit = || {
        let files = machine.group(&ws.id.to_string(), Layer::Runtime).join_files();
        let read = |name: &str| files.iter().find_map(|file| std::fs::read_to_string(file.with_file_name(name)).ok());
        read("memory.limit_in_bytes").or_else(|| read("memory.max")).and_then(|text| text.trim().parse::<u64>().ok())
    };
    assert_eq!(limit(), Some(Size::Small.burst_memory()));
    assert_eq!(machine.order(ws, 3, Machine::start_order(Size::Medium)).await, Outcome::Done);
    assert_eq!(limit(), Some(Size::Medium.burst_memory()));
    assert_eq!(machine.phase(ws, ObservedPhase::Up).await.generation, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_that_dies_is_reported_gone() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    // The daemon clears away what is dead, perhaps while this still waits for it.
    drop(machine.group(&ws.id.to_string(), Layer::Runtime).kill(LIMIT));
    let gone = machine.phase(ws, ObservedPhase::Absent).await;
    assert_eq!((gone.process_runs, gone.last_proof), (false, None), "it was seen");
    assert!(
        matches!(machine.server.service(ws.id, "web").await, Err(OpenError::Refused(refusal)) if refusal.code == "service.asleep")
    );
    assert_eq!(machine.wake(ws, 3).await, Outcome::Done);
    machine.phase(ws, ObservedPhase::Up).await;
    // A shell that dies is there again by itself.
    let before = machine.init_pid(ws, Layer::Shell);
    drop(machine.group(&ws.id.to_string(), Layer::Shell).kill(LIMIT));
    wait_until("another shell", async || machine.init_pid(ws, Layer::Shell).is_some_and(|pid| Some(pid) != before))
        .await;
}

// proves COST-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pulse_is_given_only_while_a_process_runs() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    assert!(machine.server.pulses().is_empty());
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    wait_until("a pulse", async || {
        machine.server.pulses().iter().any(|pulse| pulse.workspace == ws.id && pulse.process_runs && pulse.memory > 0)
    })
    .await;
    machine.order(ws, 3, Order::FreezeRuntime).await;
    wait_until("no pulse", async || machine.server.pulses().is_empty()).await;
}
