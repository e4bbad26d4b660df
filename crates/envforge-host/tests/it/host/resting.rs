//! Shells that nobody uses: put away if nothing of anybody's is in them, and there again for the next who needs one.

use super::exec::{Client, EXITED};
use super::machine::{Machine, Ws};
use super::shell::{PLAIN, Terminal};
use crate::support::{is_root, wait_until};
use envforge_api::host::Outcome;
use envforge_core::readiness::ReadinessState;
use envforge_host::sys::cgroup::Layer;
use std::time::Duration;

/// A machine on which shells are put away as soon as they can be.
async fn restless(manifest: &str, files: &[(&str, &str)]) -> Machine {
    let mut machine = Machine::without_daemon(manifest, files);
    machine.config.shell_rest_after = Duration::ZERO;
    machine.start().await;
    machine
}

fn rests(machine: &Machine, ws: Ws) -> bool {
    !machine.group(&ws.id.to_string(), Layer::Shell).exists()
}

async fn until_rest(machine: &Machine, ws: Ws) {
    wait_until("the shell rests", async || rests(machine, ws)).await;
}

async fn runs(machine: &Machine, ws: Ws, script: &str) {
    let mut client = Client::start(machine, ws, &["sh", "-c", script], None).await;
    assert_eq!(client.end().await, EXITED, "{script}");
}

// proves UP-3, OPS-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_nobody_saw_is_put_away_and_there_when_it_is_needed() {
    if !is_root() {
        return;
    }
    let mut machine = restless(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    until_rest(&machine, ws).await;
    let shell = machine.part(ws, "shell", ReadinessState::Ready).await;
    assert_eq!(shell.cause, None, "to others it is ready");
    let mut terminal = Terminal::attach(&machine, ws).await;
    terminal.shows("login").await;
    terminal.types("\x02d");
    terminal.shows("[detached").await;
    // Somebody saw it: it is theirs, also for the next daemon.
    let init = machine.init_pid(ws, Layer::Shell);
    machine.stop().await;
    machine.start().await;
    let other = machine.workspace().await;
    until_rest(&machine, other).await;
    assert_eq!(machine.init_pid(ws, Layer::Shell), init);

    // A rest outlives the daemon, and so does what comes after it.
    machine.stop().await;
    machine.start().await;
    machine.part(other, "shell", ReadinessState::Ready).await;
    runs(&machine, other, "test $ENVFORGE_WORKSPACE = login && test -e serve.py").await;
    until_rest(&machine, other).await;
    let all = (0..8).map(|_| runs(&machine, other, "test -e serve.py"));
    futures_util::future::join_all(all).await;
}

// proves UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_with_something_in_it_stays() {
    if !is_root() {
        return;
    }
    let machine = restless(PLAIN, &[]).await;
    let tmux = "tmux -S /run/user/$(id -u)/tmux";
    let things = [
        // What is left there, and what takes it away.
        ("sleep 1000 & echo $! > left".to_owned(), "kill $(cat left)".to_owned()),
        ("echo mine > /tmp/mine".to_owned(), "rm /tmp/mine".to_owned()),
        ("echo mine > /dev/shm/.mine".to_owned(), "rm /dev/shm/.mine".to_owned()),
        ("mkfifo /run/user/$(id -u)/mine".to_owned(), "rm /run/user/$(id -u)/mine".to_owned()),
        (format!("{tmux} new-session -d -s mine"), format!("{tmux} kill-session -t mine")),
        (format!("{tmux} kill-server; sleep 1000 & echo $! > left"), "kill $(cat left)".to_owned()),
    ];
    let mut workspaces = Vec::new();
    for (leave, _) in &things {
        let ws = machine.workspace().await;
        runs(&machine, ws, leave).await;
        workspaces.push(ws);
    }
    let seen = machine.workspace().await;
    let mut terminal = Terminal::attach(&machine, seen).await;
    terminal.shows("login").await;
    // Whoever comes last is looked at last.
    let empty = machine.workspace().await;
    until_rest(&machine, empty).await;
    for (ws, (leave, _)) in workspaces.iter().zip(&things) {
        assert!(!rests(&machine, *ws), "{leave}");
    }
    assert!(!rests(&machine, seen), "somebody is there");
    for (ws, (_, take)) in workspaces.iter().zip(&things) {
        runs(&machine, *ws, take).await;
    }
    terminal.types("exit\r");
    for ws in workspaces.into_iter().chain([seen]) {
        until_rest(&machine, ws).await;
    }
}

// proves RUN-1, UP-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wake_sets_up_what_changed_while_the_shell_rested() {
    if !is_root() {
        return;
    }
    let manifest = format!("{PLAIN}hooks:\n  setup: cat Gemfile >> installed\n");
    let machine = restless(&manifest, &[("Gemfile", "one\n")]).await;
    let ws = machine.workspace().await;
    let installed = || machine.read(ws, "checkout/installed");
    machine.part(ws, "setup", ReadinessState::Ready).await;
    until_rest(&machine, ws).await;
    machine.edit(ws, "Gemfile", "two\n");
    assert_eq!(machine.wake(ws, 2).await, Outcome::Done);
    machine.part(ws, "web", ReadinessState::Ready).await;
    assert_eq!(installed(), "one\ntwo\n");
    // What a shell is told of its workspace is as it is now.
    let context = || machine.read(ws, "checkout/.envforge/context.json");
    wait_until("the address of the service", async || context().contains("http://web.test")).await;
}
