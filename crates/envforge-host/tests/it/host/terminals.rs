//! Several named terminals: made, shared, listed, ended, and what passes through one.

use super::machine::{Machine, Ws};
use super::shell::{PLAIN, Terminal};
use crate::support::{is_root, wait_until};
use envforge_api::http::recordings::TerminalRecordings;
use envforge_api::http::terminal::Terminals;
use envforge_api::uplink::{Open, OpenError};
use envforge_core::id::{Id as _, RecordingId};
use envforge_core::terminal::TERMINALS_MAX;
use envforge_core::ticket::{Person, TicketKind};
use std::io::Read as _;
use std::os::fd::OwnedFd;

async fn attach(machine: &Machine, ws: Ws, name: &str) -> Terminal {
    sized(machine, ws, name, 100, 30).await
}

async fn sized(machine: &Machine, ws: Ws, name: &str, cols: u16, rows: u16) -> Terminal {
    Terminal::attach_sized(machine, &machine.server.ticket(ws.id, TicketKind::Terminal, name), cols, rows).await
}

async fn told(pipe: OwnedFd) -> Terminals {
    serde_json::from_str(&all(pipe).await).expect("terminals")
}

async fn all(pipe: OwnedFd) -> String {
    let text = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        std::fs::File::from(pipe).read_to_string(&mut text).expect("text");
        text
    });
    text.await.expect("read")
}

async fn list(machine: &Machine, ws: Ws) -> Terminals {
    let ticket = machine.server.ticket(ws.id, TicketKind::Terminal, "");
    told(machine.server.open(&ticket, Open::Terminals).await.expect("a list")).await
}

async fn end(machine: &Machine, ws: Ws, name: &str) -> Result<Terminals, String> {
    let ticket = machine.server.ticket(ws.id, TicketKind::Terminal, name);
    match machine.server.open(&ticket, Open::EndTerminal).await {
        Ok(pipe) => Ok(told(pipe).await),
        Err(OpenError::Refused(refusal)) => Err(refusal.code),
        Err(error) => panic!("{error}"),
    }
}

fn names(terminals: &Terminals) -> Vec<&str> {
    terminals.terminals.iter().map(|terminal| terminal.name.as_str()).collect()
}

// proves UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_has_a_name_is_listed_and_ends() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    assert_eq!(names(&list(&machine, ws).await), ["main"]);
    let mut build = attach(&machine, ws, "build").await;
    build.types("echo in-build-$((1+1)); exec sleep 1000\r");
    build.shows("in-build-2").await;
    let beside = attach(&machine, ws, "build").await;
    beside.shows("in-build-2").await;
    let mut main = attach(&machine, ws, "").await;
    main.types("echo in-main-$((1+2))\r");
    main.shows("in-main-3").await;
    assert!(!main.text().contains("in-build-2") && !build.text().contains("in-main-3"), "they are two");
    wait_until("its program and clients", async || {
        let seen = list(&machine, ws).await;
        names(&seen) == ["build", "main"] && {
            let build = &seen.terminals[0];
            (build.clients, build.cols, build.rows, build.command.as_str()) == (2, 100, 30, "sleep")
        }
    })
    .await;
    // A name is not the beginning of another, and no pattern.
    for other in ["buil", "b"] {
        assert_eq!(end(&machine, ws, other).await, Err("terminal.not_found".to_owned()));
    }
    for bad in ["build*", "=build", "../x", "-t", "a.0", &"x".repeat(33)] {
        assert_eq!(end(&machine, ws, bad).await, Err("terminal.bad_name".to_owned()));
        let ticket = machine.server.ticket(ws.id, TicketKind::Terminal, bad);
        let wanted = Open::Terminal { cols: 80, rows: 24 };
        assert_eq!(machine.server.refused(&ticket, wanted).await, "terminal.bad_name");
    }
    let left = end(&machine, ws, "build").await.expect("ended");
    assert_eq!(names(&left), ["main"]);
    wait_until("its clients are told", async || {
        build.text().contains("[exited]") && beside.text().contains("[exited]")
    })
    .await;
    main.types("echo main-goes-on-$((2+2))\r");
    main.shows("main-goes-on-4").await;
}

// proves UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_are_made_also_at_once() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    let wanted: Vec<_> = (0..TERMINALS_MAX + 3).map(|number| format!("t{number}")).collect();
    let open = async |name: &String| {
        let ticket = machine.server.ticket(ws.id, TicketKind::Terminal, name);
        machine.server.open(&ticket, Open::Terminal { cols: 80, rows: 24 }).await
    };
    let opened = futures_util::future::join_all(wanted.iter().map(open)).await;
    let refused = opened.iter().filter(|opened| match opened {
        Ok(_) => false,
        Err(OpenError::Refused(refusal)) => {
            assert_eq!(refusal.code, "terminal.too_many");
            true
        }
        Err(error) => panic!("{error}"),
    });
    // The main one counts too, and opens whatever the others do.
    assert_eq!(refused.count(), 4);
    assert_eq!(list(&machine, ws).await.terminals.len(), TERMINALS_MAX);
    attach(&machine, ws, "main").await.shows("login").await;
    let made = opened.iter().position(Result::is_ok).expect("some");
    attach(&machine, ws, &wanted[made]).await.shows("login").await;
    end(&machine, ws, &wanted[made]).await.expect("ended");
    let missing = opened.iter().position(Result::is_err).expect("some");
    attach(&machine, ws, &wanted[missing]).await.shows("login").await;
}

// proves UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_is_as_large_as_the_window_that_typed_last() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    let is = async |cols: u16, rows: u16| {
        wait_until(&format!("{cols}x{rows}"), async || {
            let seen = list(&machine, ws).await.terminals;
            (seen[0].cols, seen[0].rows) == (cols, rows)
        })
        .await;
    };
    let mut large = sized(&machine, ws, "", 120, 40).await;
    large.types("true\r");
    is(120, 40).await;
    let mut small = sized(&machine, ws, "", 60, 15).await;
    small.types("true\r");
    is(60, 15).await;
    large.types("true\r");
    is(120, 40).await;
    large.resize(90, 25);
    is(90, 25).await;
    // The multiplexer tells programs a moment later, so that they are not told of every step.
    large.types("until [ \"$(stty size)\" = '25 90' ]; do sleep 0.01; done; echo told-$((5+5))\r");
    large.shows("told-10").await;
    small.types("true\r");
    is(60, 15).await;
    drop(small);
    large.types("true\r");
    is(90, 25).await;
}

// proves UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_scrolled_by_while_nobody_looked_is_there() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    let mut terminal = attach(&machine, ws, "long").await;
    terminal.types("until test -e go; do sleep 0.01; done; echo the-first-line-$((1+1)); seq -f 'line %.0f' 20000; echo all-$((2+2)); touch said\r");
    terminal.shows("until test").await;
    drop(terminal);
    machine.edit(ws, "go", "");
    wait_until("all is said", async || machine.place(ws).join("checkout/said").exists()).await;
    let mut again = attach(&machine, ws, "long").await;
    again.shows("all-4").await;
    assert!(!again.text().contains("the-first-line-2"), "it is far up");
    // A person scrolls up with the multiplexer's keys: copy mode, to its top. A person also takes a moment first: keys that come
    // within a millisecond of the client's arrival are a paste to tmux.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    again.types("\x02[\x1b<");
    again.shows("the-first-line-2").await;
    again.types("q");
    again.types("tmux capture-pane -p -S - >history; echo captured-$((3+3))\r");
    again.shows("captured-6").await;
    let history = machine.read(ws, "checkout/history");
    let lines: Vec<_> = history.lines().filter(|line| line.starts_with("line ")).collect();
    let wanted: Vec<_> = (1..=20_000).map(|number| format!("line {number}")).collect();
    assert!(lines == wanted, "{} lines", lines.len());
}

// proves UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_recorded_terminal_shows_is_kept() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    let recorded = |machine: &Machine, id: RecordingId| {
        let mut claims = machine.server.claims(ws.id, TicketKind::Terminal, "");
        claims.recording = Some(id);
        claims.person = Some(Person { name: "Ada".to_owned(), email: "ada@acme.example".to_owned() });
        machine.server.signer.sign(&claims)
    };
    let id = |number: u128| RecordingId::from_uuid(uuid::Uuid::from_u128(number));
    let mut terminal = Terminal::attach_with(&machine, &recorded(&machine, id(1))).await;
    terminal.shows("This terminal is recorded").await;
    terminal.types("echo seen-$((1+2)); stty size\r");
    terminal.shows("seen-3").await;
    // Its size goes through.
    terminal.shows("30 100").await;
    // A second client that comes between the two keys would undo the first.
    terminal.types("\x02d");
    terminal.shows("[detached").await;
    // Who is not to be recorded is not.
    let mut other = attach(&machine, ws, "").await;
    other.shows("seen-3").await;
    other.types("echo also-$((2+2))\r");
    other.shows("also-4").await;
    drop(other);
    let list = async |machine: &Machine| {
        let ticket = machine.server.ticket(ws.id, TicketKind::Recording, "");
        let pipe = machine.server.open(&ticket, Open::Recordings).await.expect("a list");
        serde_json::from_str::<TerminalRecordings>(&all(pipe).await).expect("recordings").recordings
    };
    let found = list(&machine).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].id, found[0].terminal.as_str(), found[0].person.as_str()), (id(1), "main", "Ada"));
    let read = async |machine: &Machine, id: RecordingId| {
        let ticket = machine.server.ticket(ws.id, TicketKind::Recording, &id.to_string());
        all(machine.server.open(&ticket, Open::Recording).await.expect("a recording")).await
    };
    wait_until("its end", async || read(&machine, id(1)).await.contains("over: what ran in it ended")).await;
    let text = read(&machine, id(1)).await;
    assert!(text.contains("seen-3") && !text.contains("also-4"), "{text}");

    // A full one ends the terminal, and the shell goes on; so does a daemon that ends.
    machine.stop().await;
    machine.config.recording_max = 4 * 1024;
    machine.start().await;
    let mut terminal = Terminal::attach_with(&machine, &recorded(&machine, id(2))).await;
    terminal.shows("This terminal is recorded").await;
    terminal.types("seq 100000; echo all-$((3+3))\r");
    terminal.shows("[terminal: its recording is full]").await;
    // What scrolls by would fill the next one too.
    attach(&machine, ws, "").await.shows("all-6").await;
    let again = Terminal::attach_with(&machine, &recorded(&machine, id(3))).await;
    again.shows("all-6").await;
    machine.stop().await;
    again.shows("[terminal: the host daemon stopped]").await;
    machine.start().await;
    let ids: Vec<_> = list(&machine).await.into_iter().map(|recording| recording.id).collect();
    assert_eq!(ids, [3, 2, 1].map(id), "the newest first");
}

/// Switches everything on that a full-screen program does, says in colour that it is ready, and writes down what it is sent.
const PROGRAM: &str = r#"
import os, sys, tty
tty.setraw(0)
os.write(1, b"\x1b[?2004h\x1b[?1000h\x1b[?1006h\x1b[38;2;1;22;203mready\x1b[0m\x1b[3mslanted\x1b[0m")
got = b""
while not got.endswith(b"."):
    got += os.read(0, 65536)
open("got", "wb").write(got)
os.write(1, b"\x1b[?2004l\x1b[?1000l\x1b[?1006l done-%d" % len(got))
"#;

// proves UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pastes_mouse_and_colours_pass_through() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[("program.py", PROGRAM)]).await;
    let ws = machine.workspace().await;
    let mut terminal = attach(&machine, ws, "").await;
    terminal.types("python3 program.py\r");
    for sequence in ["\x1b[38;2;1;22;203m", "ready", "\x1b[3m", "slanted", "\x1b[?2004h", "\x1b[?1006h"] {
        terminal.shows(sequence).await;
    }
    let paste = "a line \u{e9}\u{1f600}\ttab 'quoted' $(not run)\r".repeat(2_000);
    let sent = format!("\x1b[200~{paste}\x1b[201~\x1b[<0;7;9M\x1b[<0;7;9mkeys\x03\x1a\x1b[A\u{20ac}.");
    terminal.types(&sent);
    terminal.shows(&format!(" done-{}", sent.len())).await;
    assert_eq!(machine.read(ws, "checkout/got"), sent);
}
