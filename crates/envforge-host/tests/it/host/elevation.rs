//! Root terminals, from the ticket to the last process.

use super::machine::{Machine, Ws};
use super::server::{Server, mint};
use super::shell::PLAIN;
use crate::support::{is_root, wait_until};
use envforge_api::host::{EndElevation, Order, Outcome};
use envforge_api::uplink::Open;
use envforge_core::id::ElevationId;
use envforge_core::readiness::ReadinessState;
use envforge_core::ticket::TicketKind;
use envforge_host::sys::cgroup::Layer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::Winsize;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

/// Somebody at a root terminal; gone when dropped.
struct Typist {
    file: Arc<File>,
    seen: Arc<Mutex<String>>,
    ended: Arc<AtomicBool>,
    gone: Arc<AtomicBool>,
}

impl Typist {
    fn new(fd: OwnedFd) -> Self {
        let file = Arc::new(File::from(fd));
        let typist = Self { file, seen: Arc::default(), ended: Arc::default(), gone: Arc::default() };
        let (file, seen) = (Arc::clone(&typist.file), Arc::clone(&typist.seen));
        let (ended, gone) = (Arc::clone(&typist.ended), Arc::clone(&typist.gone));
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while !gone.load(Ordering::Relaxed) {
                let mut fds = [PollFd::new(&*file, PollFlags::IN)];
                let pause = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
                if poll(&mut fds, Some(&pause)).is_ok_and(|ready| ready == 0) {
                    continue;
                }
                match (&*file).read(&mut chunk) {
                    Ok(count @ 1..) => seen.lock().expect("seen").push_str(&String::from_utf8_lossy(&chunk[..count])),
                    _ => break,
                }
            }
            ended.store(true, Ordering::Relaxed);
        });
        typist
    }

    fn type_line(&self, line: &str) {
        (&*self.file).write_all(format!("{line}\r").as_bytes()).expect("typed");
    }

    async fn sees(&self, text: &str) {
        let seen = || self.seen.lock().expect("seen").clone();
        wait_until(&format!("{text:?} on the screen"), async || seen().contains(text)).await;
    }

    async fn ends(&self) {
        wait_until("the terminal's end", async || self.ended.load(Ordering::Relaxed)).await;
    }

    fn resize(&self, cols: u16, rows: u16) {
        let size = Winsize { ws_col: cols, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&*self.file, size).expect("resized");
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

const TERMINAL: Open = Open::Elevation { cols: 90, rows: 30 };

async fn machine(adjust: impl FnOnce(&mut envforge_host::HostConfig)) -> Machine {
    machine_with(PLAIN, adjust).await
}

async fn machine_with(manifest: &str, adjust: impl FnOnce(&mut envforge_host::HostConfig)) -> Machine {
    let mut machine = Machine::new(manifest, &[]).await;
    machine.stop().await;
    machine.config.allow_elevation = true;
    adjust(&mut machine.config);
    machine.start().await;
    machine
}

fn ticket(server: &Server, ws: Ws, elevation: ElevationId, seconds: i64) -> String {
    let mut claims = server.claims(ws.id, TicketKind::Elevation, &elevation.to_string());
    claims.until = Some(now() + seconds);
    server.signer.sign(&claims)
}

fn now() -> i64 {
    use envforge_core::clock::Clock as _;
    envforge_api::ambient::SystemClock.now().as_second()
}

async fn open(machine: &Machine, ws: Ws, elevation: ElevationId, seconds: i64) -> Typist {
    let fd: OwnedFd =
        machine.server.open(&ticket(&machine.server, ws, elevation, seconds), TERMINAL).await.expect("a terminal");
    Typist::new(fd)
}

async fn recording(machine: &Machine, ws: Ws, elevation: ElevationId) -> String {
    let ticket = machine.server.ticket(ws.id, TicketKind::Recording, &elevation.to_string());
    let pipe = machine.server.open(&ticket, Open::Recording).await.expect("a recording");
    let read = move || std::io::read_to_string(std::fs::File::from(pipe)).expect("text");
    tokio::task::spawn_blocking(read).await.expect("read")
}

fn pids(machine: &Machine, ws: Ws) -> usize {
    machine.group(&ws.id.to_string(), Layer::Elevated).pids().map_or(0, |pids| pids.len())
}

// proves ORG-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_terminal_is_recorded_where_nobody_inside_can_reach() {
    if !is_root() {
        return;
    }
    let machine = machine(|_| {}).await;
    let ws = machine.workspace().await;
    let elevation: ElevationId = mint();
    let root = open(&machine, ws, elevation, 600).await;
    root.type_line(
        "id -u; tput cols; echo pass$((40+2)) > made; stty -echo; echo hid-$((1+1)); read -r secret; stty echo",
    );
    root.sees("0\r\n90\r\nhid-2").await;
    root.type_line("hunter2");
    root.type_line("echo é-$(stat -c %U made)");
    root.sees("é-root").await;
    let made = std::fs::metadata(machine.place(ws).join("checkout/made")).expect("there");
    assert!(made.uid() >= machine.config.uid_base && made.uid() < machine.config.uid_base + 100, "{}", made.uid());
    root.resize(70, 20);
    wait_until("the size is carried on", async || {
        recording(&machine, ws, elevation).await.contains("\"r\", \"70x20\"")
    })
    .await;
    let text = recording(&machine, ws, elevation).await;
    assert!(text.starts_with("{\"") && text.contains("\"version\":2") && text.contains("é-root"), "{text}");
    assert!(!text.contains("hunter2"), "what is typed is not recorded: {text}");
    // Neither from the terminal nor from the shell beside it.
    let dir = machine.place(ws).join("recordings");
    let file = dir.join(format!("{elevation}.cast"));
    root.type_line(&format!("ls {} && echo SEEN || echo NOT-$((1+1))", dir.display()));
    root.sees("NOT-2").await;
    let (file_of, dir_of) = (std::fs::metadata(&file).expect("there"), std::fs::metadata(&dir).expect("there"));
    assert_eq!((file_of.uid(), file_of.mode() & 0o777, dir_of.uid(), dir_of.mode() & 0o777), (0, 0o600, 0, 0o700));
    root.type_line("exit");
    root.ends().await;
    wait_until("nothing runs", async || pids(&machine, ws) == 0).await;
    assert!(recording(&machine, ws, elevation).await.trim_end().ends_with("\"over: what ran in it ended\"]"));
    // The next terminal of the same elevation goes on in the same recording.
    let root = open(&machine, ws, elevation, 600).await;
    root.type_line("echo sec$((0))ond");
    root.sees("sec0ond").await;
    let text = recording(&machine, ws, elevation).await;
    assert!(
        text.contains("\"m\", \"another terminal\"") && text.contains("sec0ond") && text.contains("é-root"),
        "{text}"
    );
}

const SECRET: &str = "planted-4711+äöü";
const WITH_SECRET: &str = "services:
  web:
    command: exec python3 serve.py web
    port: 3000
    inputs: { api_key: required }
    environment: { API_KEY: input.api_key }
";

// proves ORG-4, ORG-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_of_a_service_is_marked_out_of_the_recording() {
    if !is_root() {
        return;
    }
    let machine = machine_with(WITH_SECRET, |_| {}).await;
    machine.server.keep_secret("API_KEY", SECRET);
    let ws = machine.workspace().await;
    let elevation: ElevationId = mint();
    let root = open(&machine, ws, elevation, 600).await;
    // Known from the moment it is given, also to a terminal that is open then.
    assert_eq!(machine.wake(ws, 2).await, Outcome::Done);
    machine.part(ws, "web", ReadinessState::Ready).await;
    root.type_line(&format!("x='{SECRET}'; echo \"<$x>\"; echo \"u:$x\" | base64"));
    root.sees(&format!("<{SECRET}>")).await;
    root.type_line("echo seen-$((1+1))");
    root.sees("seen-2").await;
    // And after the service that had it is gone.
    assert_eq!(machine.order(ws, 3, Order::StopRuntime).await, Outcome::Done);
    root.type_line("echo \"again <$x>\"; exit");
    root.ends().await;
    wait_until("its end is recorded", async || recording(&machine, ws, elevation).await.contains("over: ")).await;
    let text = recording(&machine, ws, elevation).await;
    assert!(text.contains("seen-2") && text.contains("again <[secret API_KEY]>"), "{text}");
    assert!(text.matches("[secret API_KEY]").count() >= 4 && !text.contains("planted"), "{text}");
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

// proves ORG-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_ends_everything_at_once_and_for_good() {
    if !is_root() {
        return;
    }
    let mut machine = machine(|_| {}).await;
    let ws = machine.workspace().await;
    let (elevation, other): (ElevationId, ElevationId) = (mint(), mint());
    let root = open(&machine, ws, elevation, 600).await;
    // Nothing is asked to end: whoever ends elevations is done with patience.
    root.type_line("trap 'touch /workspace/asked' TERM HUP; setsid -f sleep 4321; sleep 4321 & echo up-$((1+1))");
    root.sees("up-2").await;
    assert!(pids(&machine, ws) >= 4);
    assert_eq!(machine.server.refused(&ticket(&machine.server, ws, other, 60), TERMINAL).await, "elevation.in_use");
    let before = ticket(&machine.server, ws, elevation, 600);
    // Whatever the workspace has obeyed since.
    machine.wake(ws, 7).await;
    let end = |elevation| Order::EndElevation(EndElevation { elevation });
    assert_eq!(machine.order(ws, 2, end(other)).await, Outcome::Done);
    assert!(pids(&machine, ws) >= 4, "another elevation's end is not this one's");
    assert_eq!(machine.order(ws, 2, end(elevation)).await, Outcome::Done);
    assert_eq!(pids(&machine, ws), 0);
    assert!(!machine.place(ws).join("checkout/asked").exists());
    root.sees("[root: the elevation was ended]").await;
    root.ends().await;
    assert_eq!(machine.order(ws, 2, end(elevation)).await, Outcome::Done, "again");
    assert_eq!(machine.server.refused(&before, TERMINAL).await, "elevation.over");
    machine.stop().await;
    machine.start().await;
    let again = ticket(&machine.server, ws, elevation, 600);
    assert_eq!(machine.server.refused(&again, TERMINAL).await, "elevation.over", "also after a restart");
}

// proves ORG-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_box_ends_it_while_the_server_is_away() {
    if !is_root() {
        return;
    }
    let machine = machine(|_| {}).await;
    let ws = machine.workspace().await;
    let elevation: ElevationId = mint();
    // Twice the time it takes here to get as far as its prompt.
    let began = Instant::now();
    let first = open(&machine, ws, mint(), 600).await;
    first.type_line("echo up-$((1+1))");
    first.sees("up-2").await;
    first.type_line("exit");
    first.ends().await;
    let root = open(&machine, ws, elevation, 2 * began.elapsed().as_secs().cast_signed() + 3).await;
    root.type_line("sleep 4321 & echo up-$((1+1))");
    root.sees("up-2").await;
    machine.server.hang_up();
    root.sees("[root: the time box is over]").await;
    root.ends().await;
    assert_eq!(pids(&machine, ws), 0);
    let late = ticket(&machine.server, ws, elevation, 0);
    assert_eq!(machine.server.refused(&late, TERMINAL).await, "elevation.over");
}

// proves ORG-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_with_its_client_its_daemon_and_its_recording() {
    if !is_root() {
        return;
    }
    let mut machine = machine(|config| config.recording_max = 20_000).await;
    let ws = machine.workspace().await;
    let elevation: ElevationId = mint();
    let root = open(&machine, ws, elevation, 600).await;
    root.type_line("setsid -f sleep 4321; echo up-$((1+1))");
    root.sees("up-2").await;
    drop(root);
    wait_until("it ended with its client", async || pids(&machine, ws) == 0).await;
    wait_until("its place is free", async || {
        let ticket = ticket(&machine.server, ws, elevation, 600);
        machine.server.open(&ticket, TERMINAL).await.is_ok()
    })
    .await;
    machine.stop().await;
    assert_eq!(pids(&machine, ws), 0, "the daemon's end is its end");
    machine.start().await;
    let full: ElevationId = mint();
    let root = open(&machine, ws, full, 600).await;
    root.type_line("yes | head -c 40000");
    root.ends().await;
    wait_until("it ended", async || pids(&machine, ws) == 0).await;
    let text = recording(&machine, ws, full).await;
    assert!(text.trim_end().ends_with("\"cut: its recording is full\"]") && text.len() < 21_000, "{}", text.len());
    wait_until("no terminal without a recording", async || {
        machine.server.refused(&ticket(&machine.server, ws, full, 600), TERMINAL).await == "recording.full"
    })
    .await;
}

// proves ORG-4 LINK-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_other_ticket_opens_root() {
    if !is_root() {
        return;
    }
    let mut machine = machine(|_| {}).await;
    let ws = machine.workspace().await;
    let elevation: ElevationId = mint();
    for kind in [TicketKind::Service, TicketKind::Terminal, TicketKind::Logs, TicketKind::Recording] {
        let mut claims = machine.server.claims(ws.id, kind, &elevation.to_string());
        claims.until = Some(now() + 600);
        let ticket = machine.server.signer.sign(&claims);
        assert_eq!(machine.server.refused(&ticket, TERMINAL).await, "ticket.other_kind", "{kind:?}");
    }
    let good = machine.server.claims(ws.id, TicketKind::Elevation, &elevation.to_string());
    for (until, subject, code) in [
        (None, elevation.to_string(), "ticket.invalid"),
        (Some(now() + 600), String::new(), "ticket.invalid"),
        (Some(now() - 1), elevation.to_string(), "elevation.over"),
        (Some(now() + 9 * 3600), elevation.to_string(), "elevation.over"),
    ] {
        let mut claims = machine.server.claims(ws.id, TicketKind::Elevation, &subject);
        claims.until = until;
        assert_eq!(machine.server.refused(&machine.server.signer.sign(&claims), TERMINAL).await, code, "{until:?}");
    }
    let mut stranger = good.clone();
    stranger.org = mint();
    assert_eq!(machine.server.refused(&machine.server.signer.sign(&stranger), TERMINAL).await, "ticket.other_host");
    // It opens nothing else either, and is good once.
    let ticket = ticket(&machine.server, ws, elevation, 600);
    assert_eq!(machine.server.refused(&ticket, Open::Terminal { cols: 80, rows: 24 }).await, "ticket.other_kind");
    drop(machine.server.open(&ticket, TERMINAL).await.expect("a terminal"));
    assert_eq!(machine.server.refused(&ticket, TERMINAL).await, "ticket.spent");
    machine.stop().await;
    machine.config.allow_elevation = false;
    machine.start().await;
    assert!(machine.server.hello().contains("\"elevation\":false"));
    let refused = machine.server.refused(&self::ticket(&machine.server, ws, elevation, 600), TERMINAL).await;
    assert_eq!(refused, "elevation.host_refuses");
}

// proves UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_root_changes_while_the_shell_rests_is_noticed() {
    if !is_root() {
        return;
    }
    let machine = machine(|config| config.shell_rest_after = std::time::Duration::ZERO).await;
    let ws = machine.workspace().await;
    // On the disk: from then on the workspace is hardly looked at.
    wait_until("the rest", async || machine.read(ws, "state.json").contains("\"shell_rests\":true")).await;
    let terminal = open(&machine, ws, mint(), 60).await;
    terminal.type_line("echo 'services: {other: {command: sleep 9}}' > envforge.yml");
    machine.part(ws, "other", ReadinessState::Asleep).await;
    assert!(!machine.group(&ws.id.to_string(), Layer::Shell).exists(), "the shell rests as before");
}
