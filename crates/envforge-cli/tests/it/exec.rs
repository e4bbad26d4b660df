//! A command in the shell layer, against a server that speaks its frames.

use crate::attach::Window;
use crate::support::{Server, envforge, refused};
use envforge_api::exec::{DATA_MAX, End, FromCommand, Signal, Size, Start, ToCommand};
use envforge_core::refusal::Refusal;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// The other side of one command.
struct Host {
    socket: WebSocketStream<tokio::net::TcpStream>,
}

impl Host {
    async fn hear(&mut self) -> ToCommand {
        loop {
            match self.socket.next().await.expect("open").expect("heard") {
                Message::Binary(frame) => return ToCommand::decode(&frame).expect("a frame"),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn say(&mut self, frame: FromCommand) {
        self.socket.send(Message::Binary(frame.encode().into())).await.expect("said");
    }

    async fn start(&mut self) -> Start {
        match self.hear().await {
            ToCommand::Start(start) => start,
            other => panic!("{other:?}"),
        }
    }
}

/// Serves one command, and returns the server's URL.
fn serve<F: Future<Output = ()>>(act: impl FnOnce(Host) -> F + Send + 'static) -> (String, mpsc::Receiver<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        stream.set_nonblocking(true).expect("non-blocking");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::from_std(stream).expect("registered");
            act(Host { socket: tokio_tungstenite::accept_async(stream).await.expect("a WebSocket") }).await;
        });
        let _ = done.send(());
    });
    (url, ended)
}

fn exec(home: &Path, url: &str, args: &[&str]) -> Command {
    let mut command = envforge(home, args);
    command.env("ENVFORGE_SERVER", url).env("ENVFORGE_KEY", "efk_test").env("ENVFORGE_ORG", "acme");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::piped());
    command
}

fn finish(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

// proves UP-11
#[test]
fn streams_and_exit_code_are_those_of_the_command() {
    let home = tempfile::tempdir().expect("a folder");
    let (url, _ended) = serve(async |mut host| {
        let start = host.start().await;
        assert_eq!((start.argv, start.terminal), (vec!["grep".to_owned(), "-v".to_owned(), "a b".to_owned()], None));
        let mut input = Vec::new();
        loop {
            match host.hear().await {
                ToCommand::Input(bytes) => {
                    host.say(FromCommand::Taken(bytes.len() as u32)).await;
                    input.extend_from_slice(&bytes);
                }
                ToCommand::InputEnded => break,
                other => panic!("{other:?}"),
            }
        }
        host.say(FromCommand::Errors(b"told\n".to_vec())).await;
        for piece in input.chunks(DATA_MAX) {
            host.say(FromCommand::Output(piece.to_vec())).await;
        }
        host.say(FromCommand::Ended(End::Exited { code: 7 })).await;
    });
    let mut child =
        exec(home.path(), &url, &["exec", "-w", "main", "--", "grep", "-v", "a b"]).spawn().expect("it runs");
    // More than the window, so that it has to be opened again and again.
    let input: Vec<u8> = (0..4_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (mut stdin, bytes) = (child.stdin.take().expect("piped"), input.clone());
    let typing = std::thread::spawn(move || stdin.write_all(&bytes).expect("typed"));
    let ended = child.wait_with_output().expect("it ends");
    typing.join().expect("typed");
    let (code, output, errors) = (ended.status.code(), ended.stdout, String::from_utf8_lossy(&ended.stderr));
    assert_eq!((code, &*errors), (Some(7), "told\n"));
    assert!(output == input, "{} of {} bytes", output.len(), input.len());
}

// proves UP-11
#[test]
fn a_signal_is_passed_on_and_an_end_by_one_is_said_as_a_shell_would() {
    let home = tempfile::tempdir().expect("a folder");
    let (url, _ended) = serve(async |mut host| {
        host.start().await;
        host.say(FromCommand::Output(b"ready\n".to_vec())).await;
        let heard = host.hear().await;
        assert_eq!(heard, ToCommand::Signal(Signal::Interrupt));
        host.say(FromCommand::Ended(End::Killed { signal: 2 })).await;
    });
    let mut child = exec(home.path(), &url, &["exec", "-w", "main", "--", "sleep", "9"]).spawn().expect("it runs");
    let stdin = child.stdin.take();
    let mut ready = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut ready).expect("ready");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .expect("sent");
    assert_eq!(finish(child).0, Some(130));
    drop(stdin);
}

// proves UP-11
#[test]
fn a_lost_connection_and_a_reader_that_left_end_it() {
    let home = tempfile::tempdir().expect("a folder");
    let (url, _ended) = serve(async |mut host| drop(host.start().await));
    let child = exec(home.path(), &url, &["exec", "-w", "main", "--", "sleep", "9"]).spawn().expect("it runs");
    let (code, _, errors) = finish(child);
    assert!(code == Some(6) && errors.contains("the connection was lost, which ends the command"), "{code:?} {errors}");

    let (url, ended) = serve(async |mut host| {
        host.start().await;
        // Until it hangs up.
        loop {
            let frame = FromCommand::Output(vec![b'y'; 1024]).encode();
            if host.socket.send(Message::Binary(frame.into())).await.is_err() {
                return;
            }
        }
    });
    let mut child = exec(home.path(), &url, &["exec", "-w", "main", "--", "yes"]).spawn().expect("it runs");
    drop(child.stdout.take());
    assert_eq!(finish(child).0, Some(141));
    ended.recv_timeout(Duration::from_secs(10)).expect("the other side sees it");
}

// proves UP-4 UP-11
#[test]
fn lines_and_the_end_have_a_json_form() {
    let home = tempfile::tempdir().expect("a folder");
    let (url, _ended) = serve(async |mut host| {
        host.start().await;
        host.say(FromCommand::Output(b"one\ntw".to_vec())).await;
        host.say(FromCommand::Errors(b"oh".to_vec())).await;
        host.say(FromCommand::Output(b"o\n".to_vec())).await;
        host.say(FromCommand::Ended(End::Exited { code: 0 })).await;
    });
    let child = exec(home.path(), &url, &["exec", "--json", "-w", "main", "--", "x"]).spawn().expect("it runs");
    let (code, output, _) = finish(child);
    let said: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let line = |stream, text| json!({ "type": "line", "stream": stream, "text": text });
    let end = json!({ "type": "exec", "end": { "end": "exited", "code": 0 } });
    assert_eq!(said, [line("stdout", "one"), line("stdout", "two"), line("stderr", "oh"), end]);
    assert_eq!(code, Some(0));
}

// proves UP-11
#[test]
fn what_could_not_run_says_why() {
    let home = tempfile::tempdir().expect("a folder");
    let server = Server::acme();
    let gone = refused(404, "not_found", "workspace.not_found", "no workspace `gone`", None);
    server.route("GET /v1/orgs/acme/workspaces/gone/exec", gone);
    let child = exec(home.path(), &server.url, &["exec", "-w", "gone", "--", "ls"]).spawn().expect("it runs");
    let (code, _, errors) = finish(child);
    assert!(code == Some(4) && errors.contains("no workspace `gone`"), "{code:?} {errors}");

    let (url, _ended) = serve(async |mut host| {
        host.start().await;
        let refusal = Refusal::not_found("exec.not_started", "the command could not be started: no lss");
        host.say(FromCommand::Ended(End::Refused { refusal })).await;
    });
    let child = exec(home.path(), &url, &["exec", "--json", "-w", "main", "--", "lss"]).spawn().expect("it runs");
    let (code, output, _) = finish(child);
    assert!(code == Some(4) && output.contains(r#""code":"exec.not_started""#), "{code:?} {output}");

    // It says nothing to a server when there is nothing to say, or no terminal where one is wanted.
    for (args, wanted) in [(&["exec", "-w", "main"][..], "COMMAND"), (&["exec", "-tw", "main", "--", "vi"], "terminal")]
    {
        let (code, _, errors) = finish(exec(home.path(), &server.url, args).spawn().expect("it runs"));
        assert!(code == Some(2) && errors.contains(wanted), "{code:?} {errors}");
    }
    assert_eq!(server.asked().len(), 1, "{:?}", server.asked());
}

// proves UP-11
#[test]
fn a_terminal_is_the_commands_while_it_runs() {
    let home = tempfile::tempdir().expect("a folder");
    let (url, _ended) = serve(async |mut host| {
        assert_eq!(host.start().await.terminal, Some(Size { cols: 100, rows: 30 }));
        host.say(FromCommand::Output(b"\x1b[?1049hup ".to_vec())).await;
        // A key, not a signal.
        assert_eq!(host.hear().await, ToCommand::Input(b"\x03".to_vec()));
        host.say(FromCommand::Output(b"heard ".to_vec())).await;
        assert_eq!(host.hear().await, ToCommand::Resize(Size { cols: 120, rows: 40 }));
        host.say(FromCommand::Ended(End::Exited { code: 5 })).await;
    });
    let mut window = Window::of(home.path(), &exec(home.path(), &url, &["exec", "-t", "-w", "main", "--", "vi"]));
    window.wait_for("up ");
    assert!(window.is_raw());
    window.type_keys("\x03");
    window.wait_for("heard ");
    window.resize(120, 40);
    window.ends_with(5);
    window.wait_for("\x1b[?1049l");
}
