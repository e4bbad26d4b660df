//! What is put in the daemon's way before a layer starts: links, pipes and directories under the names that it, or a program
//! it starts, is going to use.

use super::scene::adopt;
use crate::host::machine::{Machine, Ws, open};
use crate::support::{LIMIT, Workspace, is_root, shell, wait_until};
use envforge_api::uplink::{LogFilter, Open};
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;
use envforge_core::ticket::TicketKind;
use envforge_host::init::protocol::Spawn;
use envforge_host::sys::cgroup::Layer;
use envforge_host::sys::command::std_command;
use rustix::fs::{CWD, FileType, Mode};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// It prints something, so that there is a log to write.
const TALKS: &str = "services:\n  web:\n    command: echo talks; exec python3 serve.py web\n    port: 3000\n";
const SECRET: &str = "planted-secret-of-the-machine";

/// What a name becomes.
#[derive(Clone, Copy)]
enum Trap {
    /// A link to the machine's file.
    ToFile,
    /// A link to the directory it is in.
    ToDirectory,
    /// The same by way of `..`.
    ByDots,
    /// A pipe that nobody ever writes to.
    Pipe,
}

use Trap::{ByDots, Pipe, ToDirectory, ToFile};

/// Which names, beneath the workspace's directory. Those of one list are there at the same time.
const TRAPS: [&[(&str, Trap)]; 4] = [
    &[
        ("home/.profile", ToFile),
        ("home/.bashrc", ToFile),
        ("home/.hushlogin", ToFile),
        ("checkout/.envforge", ToDirectory),
        ("checkout/.git/info", ToDirectory),
        ("checkout/.git/HEAD", ToFile),
        ("logs/web.log", ToFile),
        ("logs/.init.log", ToFile),
        ("data/anything", ToDirectory),
    ],
    &[("checkout/envforge.yml", ToFile), ("checkout/.git", ToDirectory), ("home/.profile", ByDots)],
    &[
        ("checkout/envforge.yml", Pipe),
        ("checkout/.envforge", Pipe),
        ("checkout/.git/HEAD", Pipe),
        ("home/.bashrc", Pipe),
    ],
    &[("logs/web.log", Pipe), ("logs/.init.log", Pipe)],
];

/// A directory of the machine with a file, both open to everybody: whoever followed a trap could write there.
fn victim(machine: &Machine) -> PathBuf {
    let dir = machine.path("victim");
    std::fs::create_dir(&dir).expect("made");
    open(&dir);
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).expect("mode");
    std::fs::write(dir.join("file"), SECRET).expect("written");
    std::fs::set_permissions(dir.join("file"), std::fs::Permissions::from_mode(0o666)).expect("mode");
    dir
}

fn is_untouched(victim: &Path) -> bool {
    let names: Vec<_> = std::fs::read_dir(victim).expect("read").flatten().map(|entry| entry.file_name()).collect();
    names == ["file"] && std::fs::read_to_string(victim.join("file")).expect("read") == SECRET
}

fn plant(place: &Path, victim: &Path, name: &str, trap: Trap) {
    let path = place.join(name);
    drop(std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path)));
    let link = |to: PathBuf| std::os::unix::fs::symlink(to, &path).expect("linked");
    match trap {
        ToFile => link(victim.join("file")),
        ToDirectory => link(victim.to_owned()),
        // From the workspace's directory up to the machine's test directory.
        ByDots => link(Path::new("../../../../victim/file").to_owned()),
        Pipe => rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).expect("made"),
    }
    // Whoever planted it owns it.
    let owner = std::fs::metadata(path.parent().expect("beneath")).expect("there");
    std::os::unix::fs::lchown(&path, Some(owner.uid()), Some(owner.gid())).expect("owner");
}

/// Control: somebody who does not look is led to the victim by this trap.
fn springs(place: &Path, victim: &Path, name: &str, trap: Trap) {
    let path = place.join(name);
    match trap {
        ToFile | ByDots => {
            let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("opened");
            file.write_all(b"x").expect("written");
        }
        ToDirectory => std::fs::write(path.join("x"), "x").expect("written"),
        Pipe => {
            let path = path.to_string_lossy();
            let waited = std_command("timeout").args(["0.2", "cat", &path]).status().expect("run");
            assert_eq!(waited.code(), Some(124), "{name}: whoever opens it waits");
            return;
        }
    }
    assert!(!is_untouched(victim), "{name} is a trap");
    std::fs::write(victim.join("file"), SECRET).expect("written");
    drop(std::fs::remove_file(victim.join("x")));
}

// proves ORG-3 UP-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_planted_before_a_layer_starts_leads_anywhere() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(TALKS, &[]).await;
    let victim = victim(&machine);
    let mut workspaces: Vec<Ws> = Vec::new();
    for _ in TRAPS {
        workspaces.push(machine.workspace().await);
    }
    machine.stop().await;
    for (ws, traps) in workspaces.iter().zip(TRAPS) {
        machine.group(&ws.id.to_string(), Layer::Shell).kill(LIMIT).expect("ended");
        for (name, trap) in traps {
            plant(&machine.place(*ws), &victim, name, *trap);
        }
    }
    // The daemon finds no shells and starts them again.
    machine.start().await;
    for ws in &workspaces {
        let pid = || machine.init_pid(*ws, Layer::Shell).is_some();
        wait_until("a shell", async || pid()).await;
        machine.wake(*ws, 2).await;
        machine
            .server
            .report(ws.id, "an end of the wake", |report| {
                matches!(report.phase, ObservedPhase::Up | ObservedPhase::Blocked)
            })
            .await;
        // No init waits for anything.
        for layer in [Layer::Shell, Layer::Runtime] {
            if machine.init_pid(*ws, layer).is_some() {
                let running = adopt(&machine, *ws, layer).await;
                tokio::time::timeout(LIMIT, running.client.ping()).await.expect("in time").expect("it answers");
            }
        }
        // Somebody reads the log, if it is one.
        let ticket = machine.server.ticket(ws.id, TicketKind::Logs, "web");
        if let Ok(pipe) =
            machine.server.open(&ticket, Open::Logs { tail: 100, follow: false, filter: LogFilter::default() }).await
        {
            let text = tokio::task::spawn_blocking(move || std::io::read_to_string(std::fs::File::from(pipe)));
            let text = tokio::time::timeout(LIMIT, text).await.expect("in time").expect("read").unwrap_or_default();
            assert!(!text.contains(SECRET), "{text}");
        }
    }
    for ws in [workspaces[0], workspaces[3]] {
        machine.phase(ws, ObservedPhase::Up).await;
        machine.part(ws, "web", ReadinessState::Ready).await;
    }
    assert!(!machine.server.heard().contains(SECRET), "nothing of it is told to the server");
    assert!(is_untouched(&victim));
    for (ws, traps) in workspaces.iter().zip(TRAPS) {
        for (name, trap) in traps {
            springs(&machine.place(*ws), &victim, name, *trap);
        }
    }
}

/// A service's output goes nowhere then; the service, and all others, go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_the_place_of_a_log_holds_nobody_up() {
    if !is_root() {
        return;
    }
    let ws = Workspace::new();
    plant(ws.dir.path(), ws.dir.path(), "logs/web.log", Pipe);
    let running = ws.start(Layer::Runtime).await;
    let spawn = Spawn { log: Some("web".to_owned()), ..shell("echo talks") };
    running.client.spawn(spawn).await.expect("spawn");
    wait_until("lost lines", async || running.client.list().await.is_ok_and(|state| state.dropped_log_lines > 0)).await;
    assert_eq!(running.run("echo here").await.text, "here\n");
}
