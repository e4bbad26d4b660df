//! `PREPARE_SHELL` and terminals.

use super::machine::{Machine, Ws, git, open, slug};
use super::server::mint;
use crate::support::{LIMIT, is_root, wait_until};
use envforge_api::host::{ManifestReport, Order, Outcome, PrepareShell, WorkspaceNames};
use envforge_api::uplink::{LogFilter, Open, OpenError};
use envforge_core::readiness::ReadinessState;
use envforge_core::ticket::TicketKind;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(super) const PLAIN: &str = "services:\n  web:\n    command: python3 serve.py web\n    routes: [/]\n";

/// A terminal, its screen collected.
pub(super) struct Terminal {
    input: std::fs::File,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    pub(super) async fn attach(machine: &Machine, ws: Ws) -> Self {
        Self::attach_with(machine, &machine.server.ticket(ws.id, TicketKind::Terminal, "")).await
    }

    pub(super) async fn attach_with(machine: &Machine, ticket: &str) -> Self {
        Self::attach_sized(machine, ticket, 100, 30).await
    }

    pub(super) async fn attach_sized(machine: &Machine, ticket: &str, cols: u16, rows: u16) -> Self {
        let fd: OwnedFd = machine.server.open(ticket, Open::Terminal { cols, rows }).await.expect("a terminal");
        let input = std::fs::File::from(fd);
        let mut output = input.try_clone().expect("clone");
        let screen = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count) = output.read(&mut chunk) {
                if count == 0 {
                    break;
                }
                into.lock().expect("screen").push_str(&String::from_utf8_lossy(&chunk[..count]));
            }
        });
        Self { input, screen }
    }

    pub(super) fn text(&self) -> String {
        self.screen.lock().expect("screen").clone()
    }

    pub(super) async fn shows(&self, text: &str) {
        let end = tokio::time::Instant::now() + LIMIT;
        while !self.text().contains(text) {
            assert!(tokio::time::Instant::now() < end, "no {text:?} on the screen, which has {:?}", self.text());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) fn types(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).expect("typed");
    }

    pub(super) fn resize(&self, cols: u16, rows: u16) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.input, size).expect("resized");
    }
}

// proves UP-2, UP-3, UP-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_shell_can_be_attached_shared_and_left() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    let report =
        machine.server.report(ws.id, "the manifest", |report| report.parts.iter().any(|part| part.name == "web")).await;
    assert_eq!(report.parts[0].state, ReadinessState::Ready, "the shell is ready: {report:?}");
    let sent = machine
        .server
        .reports(ws.id)
        .into_iter()
        .any(|report| matches!(report.manifest, Some(ManifestReport::Valid { .. })));
    assert!(sent, "the manifest is reported");

    let mut first = Terminal::attach(&machine, ws).await;
    first.shows("login").await;
    first.types("echo $((40+2))-$USER-$(git rev-parse --abbrev-ref HEAD)\r");
    first.shows("42-dev-feature/login").await;
    let mut second = Terminal::attach(&machine, ws).await;
    second.shows("42-dev-feature/login").await;
    second.types("echo shared-$((1+1))\r");
    first.shows("shared-2").await;
    drop((first, second));
    let third = Terminal::attach(&machine, ws).await;
    third.shows("shared-2").await;
}

// proves UP-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checkout_is_the_users_and_tells_about_itself() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    let place = machine.place(ws);
    let uid = machine.config.uid_base;
    assert_eq!(std::fs::metadata(place.join("checkout/serve.py")).expect("there").uid(), uid);
    assert_eq!(std::fs::metadata(&place).expect("there").uid(), 0);
    wait_until("the context", async || {
        std::fs::read_to_string(place.join("checkout/.envforge/context.json"))
            .is_ok_and(|text| text.contains("\"web\""))
    })
    .await;
    let context: serde_json::Value =
        serde_json::from_str(&machine.read(ws, "checkout/.envforge/context.json")).expect("json");
    assert_eq!((&context["workspace"], &context["branch"]), (&"login".into(), &"feature/login".into()));
    assert_eq!(context["services"]["web"]["command"], "python3 serve.py web");
    assert!(machine.read(ws, "checkout/.envforge/README.md").contains("# login"));
    assert!(machine.read(ws, "checkout/.git/info/exclude").contains("/.envforge/"));
    let repository = machine.repository.to_string_lossy().into_owned();
    assert!(machine.read(ws, "checkout/.git/config").contains(&repository), "origin is the repository");
    // Again, by another command: nothing changes.
    machine.edit(ws, "mine.txt", "kept");
    assert_eq!(machine.order(ws, 1, machine.prepare_order("feature/login")).await, Outcome::Done);
    assert_eq!(machine.read(ws, "checkout/mine.txt"), "kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_cloned_says_why() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let empty = machine.path("empty");
    std::fs::create_dir(&empty).expect("directory");
    git(&empty, &["init", "--quiet"]);
    let plain = machine.path("plain");
    std::fs::create_dir(&plain).expect("directory");
    let own = machine.config.data_dir.join("workspaces");
    let refused = async |repository: &str, branch: &str| {
        let order = Order::PrepareShell(PrepareShell {
            names: WorkspaceNames { org: slug("acme"), project: slug("planner"), workspace: slug("x") },
            repository: repository.to_owned(),
            branch: branch.to_owned(),
            fork_of: None,
        });
        let ws = Ws { id: mint() };
        let Outcome::Failed(trouble) = machine.order(ws, 1, order).await else { panic!("{repository} was cloned") };
        assert!(!trouble.cause.is_empty() && !trouble.fix.is_empty());
        let part = machine.part(ws, "shell", ReadinessState::Blocked).await;
        assert_eq!(part.code.as_ref(), Some(&trouble.code), "the report says the same");
        trouble.code
    };
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    assert_eq!(refused(&path(&machine.path("nowhere")), "main").await, "shell.repository_unreachable");
    assert_eq!(refused(&path(&plain), "main").await, "shell.not_a_repository");
    assert_eq!(refused(&path(&empty), "main").await, "shell.no_commits");
    assert_eq!(refused(&path(&own), "main").await, "shell.not_a_repository");
    assert_eq!(refused(&path(&machine.repository), "a..b").await, "shell.branch_invalid");
    assert_eq!(refused("ext::sh -c id", "main").await, "shell.repository_invalid");
    assert_eq!(refused("--upload-pack=id", "main").await, "shell.repository_invalid");
    assert_eq!(refused("https://127.0.0.1:1/x.git", "main").await, "shell.repository_unreachable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_of_another_user_is_read_as_that_user() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let owner = machine.config.uid_base + 77;
    open(&machine.repository);
    chown_all(&machine.repository, owner);
    // Git runs what a repository's configuration names: it must never be root that runs it.
    let (witness, program) = (machine.path("witness"), machine.path("program"));
    std::fs::write(&program, format!("#!/bin/sh\nid -u >>{}/uids\n", witness.display())).expect("program");
    open(&program);
    std::fs::create_dir(&witness).expect("directory");
    std::os::unix::fs::chown(&witness, Some(owner), Some(owner)).expect("owner");
    let config = machine.repository.join(".git/config");
    let text = std::fs::read_to_string(&config).expect("config");
    std::fs::write(&config, format!("{text}[core]\n\tfsmonitor = {}\n", program.display())).expect("config");
    let ws = machine.workspace().await;
    assert_eq!(
        std::fs::metadata(machine.place(ws).join("checkout/serve.py")).expect("there").uid(),
        machine.config.uid_base
    );
    let ran_as = std::fs::read_to_string(witness.join("uids")).unwrap_or_default();
    assert!(ran_as.lines().all(|uid| uid == owner.to_string()), "{ran_as}");
}

fn chown_all(path: &std::path::Path, uid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(uid)).expect("owner");
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("entries") {
            chown_all(&entry.expect("entry").path(), uid);
        }
    }
}

// proves LINK-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_opens_what_it_says_once_and_nothing_else() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    let terminal = || Open::Terminal { cols: 80, rows: 24 };
    let server = &machine.server;
    let service = server.ticket(ws.id, TicketKind::Service, "web");
    assert_eq!(server.refused(&service, terminal()).await, "ticket.other_kind");
    assert_eq!(server.refused(&service, Open::Service).await, "service.asleep");
    let unknown = server.ticket(ws.id, TicketKind::Service, "nope");
    assert_eq!(server.refused(&unknown, Open::Service).await, "service.unknown");
    let ticket = server.ticket(ws.id, TicketKind::Terminal, "");
    drop(server.open(&ticket, terminal()).await.expect("the first time"));
    assert_eq!(server.refused(&ticket, terminal()).await, "ticket.spent");
    let mut claims = server.claims(ws.id, TicketKind::Terminal, "");
    claims.generation += 1;
    assert_eq!(server.refused(&server.signer.sign(&claims), terminal()).await, "ticket.other_host");
    claims = server.claims(ws.id, TicketKind::Terminal, "");
    claims.org = mint();
    assert_eq!(server.refused(&server.signer.sign(&claims), terminal()).await, "ticket.other_host");
    claims = server.claims(ws.id, TicketKind::Terminal, "");
    claims.expires = 1;
    assert_eq!(server.refused(&server.signer.sign(&claims), terminal()).await, "ticket.expired");
    assert_eq!(server.refused("eft1.x.y", terminal()).await, "ticket.invalid");
    let elsewhere = server.ticket(mint(), TicketKind::Terminal, "");
    assert_eq!(server.refused(&elsewhere, terminal()).await, "workspace.not_here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_of_another_org_is_refused() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let mut command = machine.server.command(mint(), 1, machine.prepare_order("main"));
    command.org = mint();
    let outcome = machine.server.obeyed(&command).await;
    assert!(matches!(outcome, Outcome::Failed(trouble) if trouble.code == "host.wrong_org"));
    assert!(std::fs::read_dir(machine.config.data_dir.join("workspaces")).expect("there").next().is_none());
}

// proves UP-3, OPS-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_does_not_notice_that_the_daemon_is_replaced() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    let mut terminal = Terminal::attach(&machine, ws).await;
    terminal.types("echo before-$((1+1))\r");
    terminal.shows("before-2").await;
    machine.stop().await;
    terminal.types("echo during-$((2+2))\r");
    terminal.shows("during-4").await;
    machine.start().await;
    let again = Terminal::attach(&machine, ws).await;
    again.shows("during-4").await;
    terminal.types("echo after-$((3+3))\r");
    again.shows("after-6").await;
    // What a session's own end leaves is a fresh one at the next attach.
    terminal.types("exit\r");
    wait_until("the end of the session", async || terminal.text().contains("[exited]")).await;
    let fresh = Terminal::attach(&machine, ws).await;
    fresh.shows("login").await;
}

// proves RUN-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_followed_log_goes_on_until_its_reader_leaves() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.part(ws, "web", ReadinessState::Ready).await;
    let ticket = machine.server.ticket(ws.id, TicketKind::Logs, "web");
    let pipe = machine
        .server
        .open(&ticket, Open::Logs { tail: 0, follow: true, filter: LogFilter::default() })
        .await
        .expect("a log");
    assert_eq!(
        machine.server.refused(&ticket, Open::Logs { tail: 0, follow: true, filter: LogFilter::default() }).await,
        "ticket.spent"
    );
    let text = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&text);
    let reader = std::thread::spawn(move || {
        let mut pipe = std::fs::File::from(pipe);
        let mut chunk = [0; 512];
        while let Ok(count) = pipe.read(&mut chunk) {
            let mut text = into.lock().expect("text");
            text.push_str(&String::from_utf8_lossy(&chunk[..count]));
            if count == 0 || text.contains("asked /two") {
                break;
            }
        }
    });
    for path in ["/one", "/two"] {
        machine.server.get(ws.id, "web", path).await;
    }
    wait_until("both lines", async || text.lock().expect("text").contains("asked /two")).await;
    reader.join().expect("the reader ends");
    assert!(text.lock().expect("text").contains("stdout asked /one"));
    let unknown = machine.server.ticket(ws.id, TicketKind::Logs, "../state");
    assert_eq!(
        machine.server.refused(&unknown, Open::Logs { tail: 1, follow: false, filter: LogFilter::default() }).await,
        "logs.unknown"
    );
}

// proves RUN-5 RUN-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_searched_awake_and_asleep() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    machine.wake(ws, 2).await;
    machine.part(ws, "web", ReadinessState::Ready).await;
    let open = async |tail, follow, pattern: &str| {
        let ticket = machine.server.ticket(ws.id, TicketKind::Logs, "web");
        let filter = LogFilter { grep: Some(pattern.to_owned()), since: None };
        machine.server.open(&ticket, Open::Logs { tail, follow, filter }).await
    };
    let followed = open(0, true, "asked /t").await.expect("a log");
    for path in ["/one", "/two", "/three"] {
        machine.server.get(ws.id, "web", path).await;
    }
    let reader = tokio::task::spawn_blocking(move || {
        let mut lines = BufReader::new(std::fs::File::from(followed)).lines();
        [lines.next(), lines.next()].map(|line| line.expect("a line").expect("text"))
    });
    let [two, three] = tokio::time::timeout(LIMIT, reader).await.expect("in time").expect("two lines");
    assert!(two.ends_with("stdout asked /two") && three.ends_with("stdout asked /three"), "{two} {three}");
    assert_eq!(machine.order(ws, 3, Order::FreezeRuntime).await, Outcome::Done);
    let found = open(1, false, "^asked /(one|two)$").await.expect("a log");
    let text = tokio::task::spawn_blocking(move || std::io::read_to_string(std::fs::File::from(found)));
    let text = text.await.expect("a reader").expect("text");
    assert!(text.ends_with("stdout asked /two\n") && text.lines().count() == 1, "{text}");
    let Err(OpenError::Refused(refusal)) = open(1, false, "a(b").await else { panic!("that is no pattern") };
    assert_eq!(refusal.code, "logs.pattern_invalid");
    assert!(refusal.message.contains("character 2") && refusal.hint.is_some(), "{refusal:?}");
}

// proves UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_without_tmux_is_blocked_and_says_what_to_install() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(PLAIN, &[]).await;
    machine.stop().await;
    "/nowhere/tmux".clone_into(&mut machine.config.tmux);
    machine.start().await;
    let ws = Ws { id: mint() };
    let outcome = machine.order(ws, 1, machine.prepare_order("main")).await;
    let Outcome::Failed(trouble) = outcome else { panic!("prepared: {outcome:?}") };
    assert_eq!(trouble.code, "shell.tmux_missing");
    assert!(trouble.cause.contains("/nowhere/tmux") && trouble.fix.contains("apt-get install tmux"), "{trouble:?}");
    let part = machine.part(ws, "shell", ReadinessState::Blocked).await;
    assert_eq!(part.code.as_deref(), Some("shell.tmux_missing"));
    assert!(!machine.group(&ws.id.to_string(), envforge_host::sys::cgroup::Layer::Shell).exists(), "nothing is left");
    // Once it is there, the next daemon needs nobody to tell it.
    machine.stop().await;
    "tmux".clone_into(&mut machine.config.tmux);
    machine.start().await;
    machine.part(ws, "shell", ReadinessState::Ready).await;
}

// proves REPO-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_file_is_told_like_any_other_mistake() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(&format!("{PLAIN}# {}\n", "x".repeat(1 << 20)), &[]).await;
    let ws = machine.workspace().await;
    let reports = machine.server.reports(ws.id);
    let told = reports.iter().rev().find_map(|report| report.manifest.clone()).expect("told");
    let ManifestReport::Broken { diagnostics } = told else { panic!("{told:?}") };
    assert!(
        diagnostics[0].starts_with("envforge.yml:1:1: the file has 1025 KiB, more than the 256 KiB read"),
        "{diagnostics:?}"
    );
}
