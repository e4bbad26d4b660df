//! `DESTROY_WORKSPACE`.

use super::machine::{Machine, Ws};
use super::server::mint;
use super::shell::PLAIN;
use crate::support::{is_root, wait_until};
use envforge_api::host::{Order, Outcome};
use envforge_core::readiness::PartKind;
use envforge_core::runtime::ObservedPhase;
use envforge_host::sys::cgroup::Layer;

// proves UP-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_and_it_may_be_said_twice() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.phase(ws, ObservedPhase::Up).await;
    let destroy = machine.server.command(ws.id, 3, Order::DestroyWorkspace);
    assert_eq!(machine.server.obeyed(&destroy).await, Outcome::Done);
    let last = machine.server.reports(ws.id).pop().expect("a report");
    assert_eq!((last.phase, last.process_runs), (ObservedPhase::Absent, false), "the meter is closed first");
    let shell = last.parts.iter().find(|part| part.kind == PartKind::Shell).expect("a shell");
    assert_eq!(shell.cause.as_deref(), Some("the workspace is being deleted"));
    assert!(!machine.place(ws).exists());
    for layer in [Layer::Shell, Layer::Runtime] {
        assert!(!machine.group(&ws.id.to_string(), layer).exists());
    }
    let removing = machine.config.data_dir.join("removing");
    let is_empty = || std::fs::read_dir(&removing).expect("a directory").next().is_none();
    wait_until("its files are gone", async || is_empty()).await;
    machine.server.forget_answers();
    assert_eq!(machine.server.obeyed(&destroy).await, Outcome::Done);
    machine.stop().await;
    // A daemon that ended before it had removed everything.
    std::fs::create_dir_all(removing.join("of-another.checkout/deep")).expect("a directory");
    std::fs::write(removing.join("of-another.checkout/deep/file"), "left").expect("a file");
    machine.start().await;
    wait_until("what was left is gone", async || is_empty()).await;
    machine.server.forget_answers();
    assert_eq!(machine.server.obeyed(&destroy).await, Outcome::Done);
    assert_eq!(
        machine.order(ws, 2, machine.prepare_order("main")).await,
        Outcome::Stale,
        "an old order does not bring it back"
    );
    assert_eq!(
        machine.order(Ws { id: mint() }, 1, Order::DestroyWorkspace).await,
        Outcome::Done,
        "what never was is gone"
    );
    // Its user and addresses are free again.
    let next = machine.workspace().await;
    machine.wake(next, 2).await;
    machine.phase(next, ObservedPhase::Up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_ends_a_preparation_that_hangs() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = Ws { id: mint() };
    // A server that accepts and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
    let Order::PrepareShell(mut prepare) = machine.prepare_order("main") else { unreachable!("a preparation") };
    prepare.repository = format!("git://{}/x.git", silent.local_addr().expect("address"));
    let command = machine.server.command(ws.id, 1, Order::PrepareShell(prepare));
    machine.server.send(&command).await;
    let accepted = tokio::task::spawn_blocking(move || silent.accept().map(|(stream, _)| stream))
        .await
        .expect("joined")
        .expect("git came");
    assert_eq!(machine.order(ws, 2, Order::DestroyWorkspace).await, Outcome::Done);
    assert!(!machine.place(ws).exists());
    assert!(!machine.server.has_answered(command.id));
    drop(accepted);
}
