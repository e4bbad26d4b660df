//! Single commands: their streams, signals and end, and the end of those nobody waits for.

use super::machine::{Machine, Ws};
use super::shell::PLAIN;
use crate::support::{LIMIT, is_root, wait_until};
use envforge_api::exec::{DATA_MAX, End, Frames, FromCommand, INPUT_WINDOW, Signal, Size, Start, ToCommand, delimited};
use envforge_api::uplink::{Open, OpenError};
use envforge_core::ticket::TicketKind;
use envforge_host::sys::cgroup::Layer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// The client of a command.
pub(super) struct Client {
    socket: UnixStream,
    frames: Frames,
    output: Vec<u8>,
    errors: Vec<u8>,
    taken: usize,
}

impl Client {
    async fn open(machine: &Machine, ws: Ws) -> Result<Self, String> {
        let ticket = machine.server.ticket(ws.id, TicketKind::Terminal, "");
        match machine.server.open(&ticket, Open::Exec).await {
            Ok(fd) => {
                let socket = std::os::unix::net::UnixStream::from(fd);
                socket.set_nonblocking(true).expect("non-blocking");
                let socket = UnixStream::from_std(socket).expect("registered");
                Ok(Self { socket, frames: Frames::default(), output: Vec::new(), errors: Vec::new(), taken: 0 })
            }
            Err(OpenError::Refused(refusal)) => Err(refusal.code),
            Err(error) => panic!("{error}"),
        }
    }

    pub(super) async fn start(machine: &Machine, ws: Ws, argv: &[&str], terminal: Option<Size>) -> Self {
        let mut client = Self::open(machine, ws).await.expect("a socket");
        let argv = argv.iter().map(|argument| (*argument).to_owned()).collect();
        client.say(&ToCommand::Start(Start { argv, terminal })).await;
        client
    }

    async fn say(&mut self, frame: &ToCommand) {
        self.socket.write_all(&delimited(&frame.encode())).await.expect("said");
    }

    /// The next frame, what it holds kept; nothing at the end of the socket.
    async fn next(&mut self) -> Option<FromCommand> {
        loop {
            if let Some(frame) = self.frames.take().expect("a frame") {
                let frame = FromCommand::decode(&frame).expect("a frame");
                match &frame {
                    FromCommand::Output(bytes) => self.output.extend_from_slice(bytes),
                    FromCommand::Errors(bytes) => self.errors.extend_from_slice(bytes),
                    FromCommand::Taken(bytes) => self.taken += *bytes as usize,
                    FromCommand::Ended(_) => {}
                }
                return Some(frame);
            }
            let mut buffer = vec![0; 16 * 1024];
            let read = tokio::time::timeout(LIMIT, self.socket.read(&mut buffer)).await.expect("in time");
            match read.expect("read") {
                0 => return None,
                length => self.frames.push(&buffer[..length]),
            }
        }
    }

    async fn shows(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.output).contains(text) {
            assert!(self.next().await.is_some(), "no {text:?} in {:?}", String::from_utf8_lossy(&self.output));
        }
    }

    pub(super) async fn end(&mut self) -> End {
        loop {
            match self.next().await {
                Some(FromCommand::Ended(end)) => return end,
                Some(_) => {}
                None => panic!("no end after {:?}", String::from_utf8_lossy(&self.output)),
            }
        }
    }

    fn said(&self) -> (String, String) {
        (String::from_utf8_lossy(&self.output).into_owned(), String::from_utf8_lossy(&self.errors).into_owned())
    }
}

/// Whether a process with this among its arguments runs anywhere on this machine.
fn runs(mark: &str) -> bool {
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| line.split(|byte| *byte == 0).any(|argument| argument == mark.as_bytes()))
}

pub(super) const EXITED: End = End::Exited { code: 0 };

// proves UP-11 RUN-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_runs_in_the_shell_with_its_streams_apart() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    let script =
        "printf '<%s>' \"$@\"; echo told >&2; echo; echo $USER $(pwd) $ENVFORGE_WORKSPACE ${TERM-none}; exit 7";
    let argv = ["sh", "-c", script, "sh", "a b", "$(id)", "'", "", "é\n;"];
    let mut client = Client::start(&machine, ws, &argv, None).await;
    assert_eq!(client.end().await, End::Exited { code: 7 });
    assert_eq!(client.next().await, None, "the end is the last");
    let (output, errors) = client.said();
    assert_eq!(output, "<a b><$(id)><'><><é\n;>\ndev /workspace login none\n");
    assert_eq!(errors, "told\n");
    let mut client = Client::start(&machine, ws, &["sh", "-c", "kill -9 $$"], None).await;
    assert_eq!(client.end().await, End::Killed { signal: 9 });
    let mut client = Client::start(&machine, ws, &["no-such-program"], None).await;
    let End::Refused { refusal } = client.end().await else { panic!("it ran") };
    assert_eq!(refusal.code, "exec.not_started");
    assert!(refusal.message.contains("no-such-program") && !refusal.message.contains("exec."), "{refusal:?}");
    let mut client = Client::start(&machine, ws, &[], None).await;
    assert!(matches!(client.end().await, End::Refused { refusal } if refusal.code == "exec.argv"));
    // What is left in the background is not waited for.
    let mut client = Client::start(&machine, ws, &["sh", "-c", "sleep 1000 & echo left"], None).await;
    assert_eq!(client.end().await, EXITED);
    assert_eq!(client.said().0, "left\n");
    assert!(machine.init_pid(ws, Layer::Runtime).is_none(), "nothing woke");
}

// proves UP-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_passes_both_ways_and_is_held_back_by_its_reader() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    let sent: Vec<u8> = (0..8_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut client = Client::start(&machine, ws, &["cat"], None).await;
    let mut at = 0;
    while at < sent.len() {
        if at - client.taken + DATA_MAX > INPUT_WINDOW {
            client.next().await.expect("more");
            continue;
        }
        let piece = &sent[at..sent.len().min(at + DATA_MAX)];
        client.say(&ToCommand::Input(piece.to_vec())).await;
        at += piece.len();
    }
    client.say(&ToCommand::InputEnded).await;
    assert_eq!(client.end().await, EXITED);
    assert!(client.output == sent, "{} of {} bytes", client.output.len(), sent.len());

    // Nobody reads: the writer waits, and its whole output is there afterwards.
    let writer = "head -c 30000000 /dev/zero; touch written; echo end >&2";
    let mut client = Client::start(&machine, ws, &["sh", "-c", writer], None).await;
    assert!(matches!(client.next().await, Some(FromCommand::Output(_))));
    let mut other = Client::start(&machine, ws, &["test", "-e", "written"], None).await;
    assert_eq!(other.end().await, End::Exited { code: 1 }, "it is held back");
    assert_eq!(client.end().await, EXITED);
    assert_eq!((client.output.len(), client.said().1.as_str()), (30_000_000, "end\n"));

    // A command that reads no input still hears a signal.
    let deaf = "trap 'echo heard; exit 3' INT; echo ready; while :; do sleep 0.05; done";
    let mut client = Client::start(&machine, ws, &["sh", "-c", deaf], None).await;
    client.shows("ready").await;
    for _ in 0..INPUT_WINDOW / DATA_MAX {
        client.say(&ToCommand::Input(vec![b'x'; DATA_MAX])).await;
    }
    client.say(&ToCommand::Signal(Signal::Interrupt)).await;
    assert_eq!(client.end().await, End::Exited { code: 3 });
    assert!(client.said().0.contains("heard"));
}

// proves UP-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_ends_with_its_client_and_with_the_daemon() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(PLAIN, &[]).await;
    let ws = machine.workspace().await;
    // Two that would not end by themselves, one of which does not heed TERM.
    let stubborn = |mark: &str| format!("trap '' TERM HUP; echo ready; sleep {mark} & wait; sleep {mark}");
    let (first, second, third) = ("7770001", "7770002", "7770003");
    let mut client = Client::start(&machine, ws, &["sh", "-c", &stubborn(first)], None).await;
    client.shows("ready").await;
    wait_until("it runs", async || runs(first)).await;
    drop(client);
    wait_until("all of it is ended", async || !runs(first)).await;
    // So does one whose client says what is none, or too much.
    let too_much = 2 * INPUT_WINDOW / DATA_MAX;
    let bad: [Vec<u8>; 2] =
        [b"\xff\xff\xff\xff".to_vec(), delimited(&ToCommand::Input(vec![0; DATA_MAX]).encode()).repeat(too_much)];
    for bad in bad {
        let mut client = Client::start(&machine, ws, &["sh", "-c", &stubborn(second)], None).await;
        client.shows("ready").await;
        wait_until("it runs", async || runs(second)).await;
        // Nobody may be left to hear the rest of it.
        drop(client.socket.write_all(&bad).await);
        wait_until("all of it is ended", async || !runs(second)).await;
    }
    let mut client = Client::start(&machine, ws, &["sh", "-c", &stubborn(third)], None).await;
    client.shows("ready").await;
    wait_until("it runs", async || runs(third)).await;
    // One that reads nothing does not hold up the daemon's end.
    let mut flooded = Client::start(&machine, ws, &["yes"], None).await;
    flooded.shows("y\n").await;
    tokio::time::timeout(LIMIT, machine.stop()).await.expect("the daemon ends");
    machine.start().await;
    wait_until("all of it is ended", async || !runs(third)).await;
    let mut client = Client::start(&machine, ws, &["echo", "again"], None).await;
    assert_eq!((client.end().await, client.said().0.as_str()), (EXITED, "again\n"));
    // Their number is limited, and a place comes free with its client.
    let mut clients = Vec::new();
    let refused = loop {
        match Client::open(&machine, ws).await {
            Ok(client) => clients.push(client),
            Err(code) => break code,
        }
    };
    assert_eq!((refused.as_str(), clients.len()), ("exec.too_many", 32));
    clients.pop();
    wait_until("a free place", async || Client::open(&machine, ws).await.is_ok()).await;
}

/// A program that has the terminal for itself, byte for byte.
const RAW: &str = r#"
import os, sys, tty
tty.setraw(0)
every = bytes(range(256))
os.write(1, b"begin" + every * 16 + b"\x1b[38;2;1;22;203m\x1b[?2004h" + b"ready")
got = b""
while len(got) < 8192 + 12:
    got += os.read(0, 65536)
os.write(1, got)
sys.exit(5)
"#;

// proves UP-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_in_a_terminal_has_every_byte_of_it() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(PLAIN, &[("raw.py", RAW)]).await;
    let ws = machine.workspace().await;
    let size = |cols, rows| Some(Size { cols, rows });
    let mut client = Client::start(&machine, ws, &["python3", "raw.py"], size(80, 24)).await;
    client.shows("ready").await;
    let every: Vec<u8> = (0..=255).collect();
    let sent = [every.repeat(32), b"\x1b[200~\x1b[201~".to_vec()].concat();
    client.say(&ToCommand::Input(sent.clone())).await;
    assert_eq!(client.end().await, End::Exited { code: 5 });
    let wanted = [b"begin".to_vec(), every.repeat(16), b"\x1b[38;2;1;22;203m\x1b[?2004hready".to_vec(), sent].concat();
    assert!(client.output == wanted, "{} of {} bytes", client.output.len(), wanted.len());
    // Its size, also a new one; Ctrl-C as a key; the end of input.
    let script = "stty size; trap 'stty size; exec cat' WINCH; echo $TERM; while :; do sleep 0.05; done";
    let mut client = Client::start(&machine, ws, &["sh", "-c", script], size(100, 30)).await;
    client.shows("30 100").await;
    client.shows("xterm-256color").await;
    client.say(&ToCommand::Resize(Size { cols: 90, rows: 20 })).await;
    client.shows("20 90").await;
    client.say(&ToCommand::Input(b"typed\r".to_vec())).await;
    client.shows("typed\r\ntyped").await;
    client.say(&ToCommand::InputEnded).await;
    assert_eq!(client.end().await, EXITED);
    let mut client = Client::start(&machine, ws, &["sh", "-c", "echo up; exec sleep 1000"], size(80, 24)).await;
    client.shows("up").await;
    client.say(&ToCommand::Input(b"\x03".to_vec())).await;
    assert_eq!(client.end().await, End::Killed { signal: 2 });
}
