//! A workspace that begins as a copy of another.

use super::machine::{Machine, Ws, git, slug};
use super::resources::{STORES, has_programs, run};
use super::server::mint;
use crate::support::{is_root, wait_until};
use envforge_api::host::{Order, Outcome, PrepareShell};
use envforge_core::readiness::{PartKind, ReadinessState};
use std::os::unix::fs::MetadataExt as _;

const PLAIN: &str = "services:\n  web:\n    command: python3 serve.py web\n    port: 3000\n";
const SETUP: &str = "services:\n  web:\n    command: python3 serve.py web\n    port: 3000\nhooks:\n  setup: date +%s%N >> made; echo tool > ~/tool\n";

async fn fork(machine: &Machine, of: Ws, branch: &str) -> (Ws, Outcome) {
    let ws = Ws { id: mint() };
    let outcome = machine.order(ws, 1, machine.fork_order(of, branch)).await;
    (ws, outcome)
}

/// A new file, by the workspace's user.
fn write(machine: &Machine, ws: Ws, name: &str, text: &str) {
    machine.edit(ws, name, text);
    let checkout = machine.place(ws).join("checkout");
    let uid = std::fs::metadata(&checkout).expect("there").uid();
    std::os::unix::fs::chown(checkout.join(name), Some(uid), Some(uid)).expect("given");
}

fn head(machine: &Machine, ws: Ws) -> (String, String) {
    let branch = machine.read(ws, "checkout/.git/HEAD");
    let branch = branch.trim().trim_start_matches("ref: refs/heads/").to_owned();
    let at = machine.read(ws, &format!("checkout/.git/refs/heads/{branch}"));
    (branch, at.trim().to_owned())
}

// proves UP-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_has_the_files_as_they_are_and_goes_its_own_way() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(SETUP, &[("big", "committed")]).await;
    let source = machine.workspace().await;
    machine.wake(source, 2).await;
    machine.part(source, "web", ReadinessState::Ready).await;
    machine.edit(source, "big", "changed and not committed");
    write(&machine, source, "new", "not even added");
    write(&machine, source, ".git/index.lock", "of a git that runs there");
    let made = machine.read(source, "checkout/made");
    let (fork, outcome) = fork(&machine, source, "try-1").await;
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(machine.read(fork, "checkout/big"), "changed and not committed");
    assert_eq!(machine.read(fork, "checkout/new"), "not even added");
    assert_eq!(machine.read(fork, "home/tool"), "tool\n");
    assert!(!machine.place(fork).join("checkout/.git/index.lock").exists());
    assert_eq!(head(&machine, fork), ("try-1".to_owned(), head(&machine, source).1), "a new branch at the same commit");
    assert_eq!(head(&machine, source).0, "feature/login");
    let owner = |ws: Ws| std::fs::metadata(machine.place(ws).join("checkout/big")).expect("there").uid();
    assert_ne!(owner(fork), owner(source));
    // Awake beside each other, on the same port; what its setup made came along.
    machine.wake(fork, 2).await;
    machine.part(fork, "web", ReadinessState::Ready).await;
    assert_eq!(machine.read(fork, "checkout/made"), made, "the setup did not run again");
    machine.edit(fork, "new", "of the fork");
    assert_eq!(machine.read(source, "checkout/new"), "not even added");
    // Prepared again while its source is there: what became of its own setup is its own.
    machine.edit(fork, "package-lock.json", "{}");
    assert_eq!(machine.order(fork, 3, machine.fork_order(source, "try-1")).await, Outcome::Done);
    wait_until("its own setup ran", async || machine.read(fork, "checkout/made") != made).await;
    let again = machine.read(fork, "checkout/made");
    machine.part(fork, "setup", ReadinessState::Ready).await;
    assert_eq!(machine.order(fork, 4, machine.fork_order(source, "try-1")).await, Outcome::Done);
    assert_eq!(machine.wake(fork, 5).await, Outcome::Done);
    machine.part(fork, "web", ReadinessState::Ready).await;
    assert_eq!(machine.read(fork, "checkout/made"), again, "it did not run for the source's sake");
    // It outlives its source, and is prepared again without it.
    assert_eq!(machine.order(source, 3, Order::DestroyWorkspace).await, Outcome::Done);
    assert_eq!(machine.order(fork, 5, machine.fork_order(source, "try-1")).await, Outcome::Done);
    assert_eq!(machine.read(fork, "checkout/new"), "of the fork");
}

// proves UP-8 RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_has_rows_and_keys_of_its_own() {
    if !has_programs() {
        return;
    }
    let machine = Machine::new(STORES, &[]).await;
    let source = machine.workspace().await;
    machine.wake(source, 2).await;
    machine.part(source, "web", ReadinessState::Ready).await;
    let fill =
        "psql -qc 'create table t (n int); insert into t values (1)' $DATABASE_URL && redis-cli -u $REDIS_URL set k 1";
    let (code, said) = run(&machine, source, 2, fill).await;
    assert_eq!(code, Some(0), "{said}");
    let (fork, outcome) = fork(&machine, source, "try-1").await;
    assert_eq!(outcome, Outcome::Done);
    machine.wake(fork, 2).await;
    machine.part(fork, "web", ReadinessState::Ready).await;
    let more = "psql -qc 'insert into t values (2)' $DATABASE_URL && redis-cli -u $REDIS_URL incr k";
    let (code, said) = run(&machine, fork, 2, more).await;
    assert_eq!(code, Some(0), "{said}");
    let look = "psql -Atc 'select sum(n) from t' $DATABASE_URL; redis-cli -u $REDIS_URL get k";
    let seen = async |ws| {
        let (_, said) = run(&machine, ws, 2, look).await;
        said.lines().map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((seen(source).await, seen(fork).await), (vec!["1".into(), "1".into()], vec!["3".into(), "2".into()]));
}

// proves UP-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_of_what_is_not_there_is_refused_with_what_helps() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let source = machine.workspace().await;
    let (nobody, outcome) = fork(&machine, Ws { id: mint() }, "try").await;
    let Outcome::Failed(trouble) = outcome else { panic!("forked from nothing") };
    assert_eq!(trouble.code, "shell.fork_source_missing");
    let part = machine.part(nobody, "shell", ReadinessState::Blocked).await;
    assert_eq!((part.kind, part.code), (PartKind::Shell, Some(trouble.code)));
    // Nor from another project, whatever the server says.
    let Order::PrepareShell(mut prepare) = machine.fork_order(source, "try") else { panic!("an order to prepare") };
    prepare.names.project = slug("other");
    let Outcome::Failed(trouble) = machine.order(Ws { id: mint() }, 1, Order::PrepareShell(prepare)).await else {
        panic!("forked from another project")
    };
    assert_eq!(trouble.code, "shell.fork_source_missing");
    let odd = Order::PrepareShell(PrepareShell { branch: "a..b".to_owned(), ..prepared(&machine, source) });
    let Outcome::Failed(trouble) = machine.order(Ws { id: mint() }, 1, odd).await else { panic!("an odd branch") };
    assert_eq!(trouble.code, "shell.branch_invalid");
}

/// Waits until files are being copied; it takes so little time that it may be over.
async fn begun(machine: &Machine, ws: Ws) {
    let is_there = |name: &str| machine.place(ws).join(name).exists();
    wait_until("it copies", async || is_there("checkout.unfinished") || is_there("checkout")).await;
}

fn prepared(machine: &Machine, of: Ws) -> PrepareShell {
    match machine.fork_order(of, "try") {
        Order::PrepareShell(prepare) => prepare,
        other => panic!("not an order to prepare: {other:?}"),
    }
}

// proves UP-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_cut_off_is_made_whole_or_deleted() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(PLAIN, &[]).await;
    let source = machine.workspace().await;
    for number in 0..3_000 {
        write(&machine, source, &format!("file{number}"), "text");
    }
    // The daemon ends while it copies; the next one is told again, and begins again.
    let fork = Ws { id: mint() };
    let command = machine.server.command(fork.id, 1, machine.fork_order(source, "try"));
    machine.server.send(&command).await;
    begun(&machine, fork).await;
    machine.stop().await;
    machine.start().await;
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    assert_eq!(machine.read(fork, "checkout/file2999"), "text");
    assert!(!machine.place(fork).join("checkout.unfinished").exists());
    // Deleted while it is being made.
    let other = Ws { id: mint() };
    let command = machine.server.command(other.id, 1, machine.fork_order(source, "other"));
    machine.server.send(&command).await;
    begun(&machine, other).await;
    assert_eq!(machine.order(other, 2, Order::DestroyWorkspace).await, Outcome::Done);
    assert!(!machine.place(other).exists());
    git(&machine.place(source).join("checkout"), &["-c", "safe.directory=*", "status"]);
    // The source is deleted while it is being copied: the fork is whole, or was refused.
    let last = Ws { id: mint() };
    let command = machine.server.command(last.id, 1, machine.fork_order(source, "last"));
    machine.server.send(&command).await;
    begun(&machine, last).await;
    assert_eq!(machine.order(source, 2, Order::DestroyWorkspace).await, Outcome::Done);
    assert_eq!(machine.server.answer(command.id).await, Outcome::Done);
    let files = std::fs::read_dir(machine.place(last).join("checkout")).expect("a checkout");
    let count =
        files.filter(|entry| entry.as_ref().is_ok_and(|it| it.file_name().to_string_lossy().starts_with("file")));
    assert_eq!(count.count(), 3_000);
}
