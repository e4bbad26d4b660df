//! Attached, in a terminal of the test's own.

use crate::support::{Act, Answer, End, Server, envforge, events, ok, workspace};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const TERMINAL: &str = "GET /v1/orgs/acme/workspaces/fix-login/terminal?cols=100&rows=30&resumable=true";

/// A terminal with the program in it.
pub(crate) struct Window {
    master: File,
    slave: OwnedFd,
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Window {
    /// Signed in to a server.
    pub(crate) fn open(home: &Path, server: &Server, args: &[&str]) -> Self {
        let mut program = envforge(home, args);
        program.env("ENVFORGE_SERVER", &server.url).env("ENVFORGE_KEY", "efk_test").env("ENVFORGE_ORG", "acme");
        Self::of(home, &program)
    }

    pub(crate) fn of(home: &Path, program: &Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let name = ptsname(&master, Vec::new()).expect("a name");
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let slave = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).expect("opened");
        tcsetwinsize(&slave, size(100, 30)).expect("set");
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        // A session of its own with this terminal, so that the program hears of its size.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program.get_program()).args(program.get_args()).env_clear().current_dir(home);
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("it runs");
        let master = File::from(master);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, sink) = (master.try_clone().expect("a descriptor"), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut buffer = [0_u8; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                sink.lock().expect("alive").extend_from_slice(&buffer[..length]);
            }
        });
        Self { master, slave, child, seen }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("alive")).into_owned()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        let begun = Instant::now();
        while !self.text().contains(text) {
            assert!(begun.elapsed() < Duration::from_secs(5), "no {text:?} in {:?}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn type_keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("typed");
    }

    pub(crate) fn resize(&self, cols: u16, rows: u16) {
        tcsetwinsize(&self.slave, size(cols, rows)).expect("set");
    }

    pub(crate) fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave).expect("a terminal").local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).expect("sent");
    }

    #[track_caller]
    pub(crate) fn ends_with(&mut self, code: i32) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            if begun.elapsed() > Duration::from_secs(5) {
                let _ = self.child.kill();
                panic!("it does not end: {:?}", self.text());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(status.code(), Some(code), "{:?}", self.text());
        assert!(!self.is_raw(), "the terminal was not given back");
    }
}

fn size(cols: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 }
}

// proves UP-1 UP-3
#[test]
fn keys_go_there_and_the_screen_comes_back() {
    let server = Server::acme();
    server.terminal(vec![
        Act::Say("\x1b[?1049h\x1b[?2004hfix-login$ "),
        Act::Expect("ls\r"),
        Act::Say("file.txt\r\n"),
        Act::ExpectSize(120, 40),
        Act::Say("resized"),
        // Control keys are the shell's, not this program's.
        Act::Expect("\x03\x02d"),
        Act::End("detached"),
    ]);
    let home = tempfile::tempdir().expect("a folder");
    let mut window = Window::open(home.path(), &server, &["attach", "fix-login"]);
    window.wait_for("fix-login$ ");
    assert!(window.is_raw());
    window.type_keys("ls\r");
    window.wait_for("file.txt");
    window.resize(120, 40);
    window.wait_for("resized");
    window.type_keys("\x03\x02d");
    window.ends_with(0);
    window.wait_for("\x1b[?2004l\x1b[r\x1b[?1049l\x1b[0m");
    window.wait_for("[detached from fix-login: detached]");
    // One connection, straight away; the events for the title come later or not at all.
    assert_eq!(server.asked()[0], TERMINAL);
}

// proves UP-3
#[test]
fn a_lost_connection_is_made_again_and_the_screen_redrawn() {
    let server = Server::acme();
    server.terminal(vec![Act::Say("\x1b[?1049hbefore "), Act::Cut]);
    server.terminal(vec![Act::Refuse(503, r#"{"error":{"code":"host.lost","message":"gone","kind":"unavailable"}}"#)]);
    server.terminal(vec![Act::Say("\x1b[?1049hredrawn "), Act::Expect("x"), Act::End("exited")]);
    let home = tempfile::tempdir().expect("a folder");
    let mut window = Window::open(home.path(), &server, &["attach", "fix-login"]);
    window.wait_for("before ");
    window.wait_for("connection lost, reconnecting");
    window.wait_for("redrawn ");
    window.type_keys("x");
    window.ends_with(0);
}

// proves UP-3
#[test]
fn a_named_terminal_is_attached_to_and_made_again_by_its_name() {
    let server = Server::acme();
    server.terminal(vec![Act::Say("build$ "), Act::Expect("x"), Act::Cut]);
    server.terminal(vec![Act::Say("again$ "), Act::Expect("y"), Act::End("exited")]);
    let home = tempfile::tempdir().expect("a folder");
    let mut window = Window::open(home.path(), &server, &["attach", "fix-login", "--terminal", "build"]);
    window.wait_for("build$ ");
    window.type_keys("x");
    window.wait_for("again$ ");
    window.type_keys("y");
    window.ends_with(0);
    let path = "GET /v1/orgs/acme/workspaces/fix-login/terminal?terminal=build&cols=100&rows=30";
    assert_eq!(server.asked().iter().filter(|asked| asked.starts_with(path)).count(), 2, "{:?}", server.asked());
    let mut window = Window::open(home.path(), &server, &["attach", "fix-login", "-t", "a.b"]);
    window.wait_for("a name is at most 32 letters");
    window.ends_with(2);
}

// proves ORG-4
#[test]
fn a_root_terminal_is_opened_by_its_elevation_and_not_made_again() {
    let server = Server::acme();
    crate::root::granted(&server, vec![Act::Say("root@fix-login# "), Act::Expect("id\r"), Act::Cut]);
    let home = tempfile::tempdir().expect("a folder");
    let mut window = Window::open(home.path(), &server, &["root", "shell", "-w", "fix-login"]);
    window.wait_for("root@fix-login# ");
    window.type_keys("id\r");
    window.ends_with(6);
    window.wait_for("a root terminal ends with it");
    let path = "GET /v1/orgs/acme/elevations/elv_00000000000000000000000000000001/terminal?cols=100&rows=30";
    assert_eq!(server.asked().iter().filter(|asked| *asked == path).count(), 1, "{:?}", server.asked());
}

#[test]
fn reconnecting_can_be_given_up() {
    let server = Server::acme();
    server.terminal(vec![Act::Say("before"), Act::Cut]);
    let gone = Act::Refuse(503, r#"{"error":{"code":"host.lost","message":"gone","kind":"unavailable"}}"#);
    for _ in 0..50 {
        server.terminal(vec![gone.clone()]);
    }
    let home = tempfile::tempdir().expect("a folder");
    let mut window = Window::open(home.path(), &server, &["attach", "fix-login"]);
    window.wait_for("reconnecting");
    window.type_keys("\x03");
    window.ends_with(6);
    window.wait_for("gave up reconnecting");
}

#[test]
fn a_refusal_leaves_the_terminal_alone() {
    let server = Server::acme();
    let body = r#"{"error":{"code":"workspace.not_found","message":"no workspace `fix-login`","kind":"not_found"}}"#;
    server.terminal(vec![Act::Refuse(404, body)]);
    let home = tempfile::tempdir().expect("a folder");
    let mut window = Window::open(home.path(), &server, &["attach", "fix-login"]);
    window.ends_with(4);
    window.wait_for("error: no workspace `fix-login`");
}

// proves UP-3
// proves UP-4
#[test]
fn a_shell_has_no_json_form() {
    let (server, home) = (Server::acme(), tempfile::tempdir().expect("a folder"));
    let mut window = Window::open(home.path(), &server, &["attach", "fix-login", "--json"]);
    window.wait_for(r#""code":"attach.no_json""#);
    window.ends_with(2);
    assert!(server.asked().is_empty());
}

// proves UP-4
#[test]
fn what_takes_a_while_says_what_it_waits_for() {
    let (server, home) = (Server::acme(), tempfile::tempdir().expect("a folder"));
    server.route("GET /v1/orgs/acme/workspaces/fix-login", Answer::Chunks(Vec::new(), End::Open));
    let mut program = envforge(home.path(), &["status", "fix-login", "--server", &server.url, "--org", "acme"]);
    program.env("ENVFORGE_KEY", "efk_test").env("TERM", "xterm");
    let mut window = Window::of(home.path(), &program);
    window.wait_for(&format!("waiting for {}", server.url));
    window.type_keys("\x03");
    window.child.wait().expect("it ends");
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let server = Server::acme();
    server.terminal(vec![Act::Say("\x1b[?1049h\x1b[?25lready"), Act::Expect("never typed")]);
    let home = tempfile::tempdir().expect("a folder");
    let mut window = Window::open(home.path(), &server, &["attach", "fix-login"]);
    window.wait_for("ready");
    window.signal(rustix::process::Signal::TERM);
    window.ends_with(1);
    window.wait_for("\x1b[?1049l\x1b[?25h");
}

// proves UP-2
#[test]
fn up_attaches_before_the_services_are_ready() {
    let server = Server::acme();
    let path = "/v1/orgs/acme/workspaces/fix-login";
    server.route(&format!("GET {path}"), ok(&workspace("asleep", 1, "asleep", "asleep")));
    server.route(&format!("POST {path}/wake"), ok(&workspace("waking", 2, "asleep", "asleep")));
    let states = [workspace("waking", 2, "waking", "waking"), workspace("awake", 2, "ready", "waking")];
    server.route(&format!("GET {path}/events"), events(&states, End::Open));
    server.terminal(vec![Act::Say("prompt$ "), Act::Expect("exit\r"), Act::End("the shell exited")]);
    let home = tempfile::tempdir().expect("a folder");
    let mut window = Window::open(home.path(), &server, &["up", "fix-login"]);
    window.wait_for("prompt$ ");
    // How the services fare comes after, in the window's title.
    window.wait_for("\x1b]2;fix-login: web ready, api waking\x07");
    window.type_keys("exit\r");
    window.ends_with(0);
    window.wait_for("\x1b[23;2t");
}

// proves OPS-1 UP-1
#[test]
fn starting_the_one_box_is_asked_and_enter_is_no() {
    let home = tempfile::tempdir().expect("a folder");
    // Nothing answers there, and the box that may really run on this machine is not asked.
    let run = home.path().join("data/run");
    fs_err::create_dir_all(&run).expect("made");
    fs_err::write(run.join("server.url"), "http://127.0.0.1:9").expect("written");
    let mut window = Window::of(home.path(), &envforge(home.path(), &["up"]));
    window.wait_for("Start the one box here");
    window.type_keys("\r");
    window.ends_with(6);
    window.wait_for("error: no server is configured");
}
