//! What Git in a workspace is told, and that it stays there.

use super::machine::{Machine, Ws};
use super::shell::{PLAIN, Terminal};
use crate::support::{is_root, wait_until};
use envforge_core::ticket::{Person, TicketKind};
use envforge_host::sys::cgroup::Layer;
use envforge_host::sys::command::std_command;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

const TOKEN: &str = "planted-git-token";
/// As the configuration of a workspace with a repository at that host names it.
const FILL: &str = "printf 'protocol=https\\nhost=git.example.org\\npath=acme/planner.git\\n\\n' | GIT_TERMINAL_PROMPT=0 \
    git -c credential.useHttpPath=true -c credential.helper='!sh /run/envforge/git/helper /run/envforge/git/ask.sock' \
    credential fill";

async fn attach(machine: &Machine, ws: Ws, name: &str) -> Terminal {
    let person = Person { name: name.to_owned(), email: format!("{name}@example.org") };
    let mut claims = machine.server.claims(ws.id, TicketKind::Terminal, "");
    claims.person = Some(person);
    Terminal::attach_with(machine, &machine.server.signer.sign(&claims)).await
}

/// Files below a directory that hold this text.
fn holding(directory: &Path, text: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        if kind.is_dir() {
            found.extend(holding(&path, text));
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            found.extend(bytes.windows(text.len()).any(|window| window == text.as_bytes()).then_some(path));
        }
    }
    found
}

// proves UP-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn git_in_a_sandbox_is_answered_and_the_token_is_kept_nowhere() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    let other = machine.workspace().await;
    let mut terminal = attach(&machine, ws, "ada").await;

    // Nobody has one: the person is told what to do, and Git goes on without.
    terminal.types(&format!("{FILL}; echo ended-$((1+1))\r"));
    terminal.shows("envforge: nobody has a credential; `envforge git-credential set`").await;
    terminal.shows("ended-2").await;

    // The token is seen by who asked, and by nobody later: its length is enough for the screen.
    machine.server.gives(ws.id, TOKEN);
    let seen = format!("p=$({FILL} | sed -n s/^password=//p); echo length-${{#p}}; unset p\r");
    terminal.types(&seen);
    terminal.shows(&format!("length-{}", TOKEN.len())).await;
    let asked = machine.server.git_asked();
    assert!(asked.iter().all(|ask| ask.workspace == ws.id && ask.url == "https://git.example.org/acme/planner.git"));
    assert_eq!(asked.len(), 2);

    // Told to store it, the daemon does nothing; told to forget it, it tells the server.
    let told = "printf 'protocol=https\\nhost=git.example.org\\nusername=ada\\npassword=planted-%s\\n\\n' git-token";
    let helper = "git -c credential.helper='!sh /run/envforge/git/helper /run/envforge/git/ask.sock' credential";
    terminal.types(&format!("{told} | {helper} approve; {told} | {helper} reject; echo told-$((1+1))\r"));
    terminal.shows("told-2").await;
    assert_eq!((machine.server.git_asked().len(), machine.server.git_rejected()), (2, 1));
    assert_eq!(holding(machine.config.data_dir.as_path(), TOKEN), Vec::<std::path::PathBuf>::new());
    let pids = machine.group(&ws.id.to_string(), Layer::Shell).pids().expect("its processes");
    assert!(pids.len() > 1);
    for pid in pids {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&environment).contains(TOKEN), "process {pid}");
    }

    // Another workspace has a socket of its own, and its user can't use this one's.
    machine.server.gives(other.id, "the-others");
    let socket = machine.place(ws).join("git/ask.sock");
    let connect = format!("import socket; socket.socket(socket.AF_UNIX).connect({:?})", socket.to_string_lossy());
    let as_user = |uid: u32| std_command("python3").args(["-c", &connect]).uid(uid).gid(uid).output().expect("it runs");
    let (first, second) = (machine.config.uid_base, machine.config.uid_base + 1);
    assert!(as_user(first).status.success());
    let refused = as_user(second);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Permission denied"), "{refused:?}");
    let mut elsewhere = attach(&machine, other, "bob").await;
    elsewhere.types(&format!("ls /run/envforge/git; {FILL} | grep -c the-others; touch /run/envforge/git/x\r"));
    elsewhere.shows("Read-only file system").await;
    assert_eq!(machine.server.git_asked().last().expect("asked").workspace, other.id);

    // A daemon that comes again answers at the same place.
    machine.stop().await;
    machine.start().await;
    let before = machine.server.git_asked().len();
    wait_until("the new daemon answers", async || as_user(first).status.success()).await;
    terminal.types(&format!("{FILL} >/dev/null && echo again-$((1+1))\r"));
    terminal.shows("again-2").await;
    assert_eq!(machine.server.git_asked().len(), before + 1);
}

// proves UP-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_by_whoever_attached_last() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    let commit = "git commit --quiet --allow-empty -m x && git log -1 --format='by-%an-%ae-%cn'\r";
    let mut ada = attach(&machine, ws, "ada").await;
    ada.types(commit);
    ada.shows("by-ada-ada@example.org-ada").await;
    let _bob = attach(&machine, ws, "bob").await;
    ada.types(commit);
    ada.shows("by-bob-bob@example.org-bob").await;
    // Their own configuration wins, as everywhere.
    ada.types(&format!("git config --global user.name mine; {commit}"));
    ada.shows("by-mine-bob@example.org-mine").await;
    assert!(!ada.text().contains("Please tell me who you are"));
}
