//! How long the host's own share takes. The limits are generous: they catch a lost order of magnitude, and print the rest.

use super::machine::{Machine, Ws};
use super::server::mint;
use super::shell::PLAIN;
use crate::support::is_root;
use envforge_api::host::{Order, Outcome};
use envforge_core::runtime::ObservedPhase;
use std::time::Duration;
use tokio::time::Instant;

#[expect(clippy::print_stderr, reason = "the harness shows it with --nocapture")]
fn show(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let median = times[times.len() / 2];
    eprintln!("{what}: median {median:?}, min {:?}, max {:?}, n {}", times[0], times[times.len() - 1], times.len());
    median
}

// proves RUN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepare_start_thaw() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let mut prepared = Vec::new();
    let mut last = None;
    for _ in 0..5 {
        let ws = Ws { id: mint() };
        let command = machine.server.command(ws.id, 1, machine.prepare_order("feature/login"));
        let began = Instant::now();
        assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
        prepared.push(machine.server.answered_at(command.id) - began);
        last = Some(ws);
    }
    let ws = last.expect("one");
    let (mut answered, mut up, mut stopped) = (Vec::new(), Vec::new(), Vec::new());
    let mut generation = 1;
    for _ in 0..5 {
        generation += 1;
        let began = Instant::now();
        machine.wake(ws, generation).await;
        answered.push(began.elapsed());
        machine.phase(ws, ObservedPhase::Up).await;
        up.push(began.elapsed());
        generation += 1;
        let began = Instant::now();
        machine.order(ws, generation, Order::StopRuntime).await;
        stopped.push(began.elapsed());
    }
    generation += 1;
    machine.wake(ws, generation).await;
    machine.phase(ws, ObservedPhase::Up).await;
    let (mut frozen, mut thawed, mut first_byte) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..50 {
        generation += 1;
        let freeze = machine.server.command(ws.id, generation, Order::FreezeRuntime);
        let began = Instant::now();
        machine.server.obeyed(&freeze).await;
        frozen.push(machine.server.answered_at(freeze.id) - began);
        generation += 1;
        let wake = machine.server.command(ws.id, generation, Machine::start_order(envforge_core::size::Size::Small));
        let began = Instant::now();
        machine.server.send(&wake).await;
        machine.server.answer(wake.id).await;
        let thaw =
            machine.server.reports(ws.id).into_iter().find(|report| report.generation == generation).expect("a report");
        assert_eq!(thaw.phase, ObservedPhase::Up);
        thawed.push(machine.server.reported_at(ws.id, thaw.sequence) - began);
        let began = Instant::now();
        machine.server.get(ws.id, "web", "/").await;
        first_byte.push(began.elapsed());
    }
    show("prepare (local repository), to Done", prepared);
    show("start from stopped, to Done", answered);
    show("start from stopped, to Up (python)", up);
    show("stop, to Done", stopped);
    show("freeze, to Done", frozen);
    let thawed = show("thaw, command sent to report received", thawed);
    show("a GET by ticket after a thaw", first_byte);
    assert!(thawed < Duration::from_millis(20), "{thawed:?}");
}

/// A listener that takes next to nothing to start: what is left is the host's own share of a wake.
const BARE: &str = "services:\n  web:\n    command: exec perl listen.pl\n    port: 3000\n";
const LISTEN: &str = "use Socket; socket(S, PF_INET, SOCK_STREAM, 0); bind(S, sockaddr_in(3000, INADDR_LOOPBACK)) or die; listen(S, 5); sleep 1000;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wake_from_stopped() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(BARE, &[("listen.pl", LISTEN)]).await;
    let ws = machine.workspace().await;
    let (mut answered, mut up) = (Vec::new(), Vec::new());
    let mut generation = 1;
    for _ in 0..15 {
        generation += 1;
        let wake = machine.server.command(ws.id, generation, Machine::start_order(envforge_core::size::Size::Small));
        let began = Instant::now();
        machine.server.obeyed(&wake).await;
        answered.push(machine.server.answered_at(wake.id) - began);
        let report = machine.phase(ws, ObservedPhase::Up).await;
        up.push(machine.server.reported_at(ws.id, report.sequence) - began);
        let web = report.parts.iter().find(|part| part.name == "web").expect("the service");
        assert_eq!(web.restarts, 0, "what an earlier runtime's processes did is not this one's");
        generation += 1;
        machine.order(ws, generation, Order::StopRuntime).await;
    }
    show("start from stopped, to Done (bare listener)", answered);
    let up = show("start from stopped, to Up (bare listener)", up);
    assert!(up < Duration::from_secs(2), "{up:?}");
}
