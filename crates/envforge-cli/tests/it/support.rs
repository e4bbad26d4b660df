//! A scripted server and a way to run the program against it.
//!
//! The server speaks just enough HTTP/1.1: routes answer with a status and a body, or a list of chunks with a
//! pause or a cut between them; a terminal route speaks WebSocket. Everything asked is written down, so a test can
//! also say what was not asked. `envforge` runs with an empty home and only the environment given.

use envforge_api::http::terminal::TerminalNotice;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

/// What a route answers.
#[derive(Clone)]
pub(crate) enum Answer {
    /// A body with its status.
    Body(u16, String),
    /// A stream: chunks, then the end, or a cut connection.
    Chunks(Vec<String>, End),
}

/// How a stream ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// As it should.
    Clean,
    /// The connection breaks.
    Cut,
    /// It stays open.
    Open,
}

/// A JSON answer.
pub(crate) fn ok(body: &Value) -> Answer {
    Answer::Body(200, body.to_string())
}

/// A refusal.
pub(crate) fn refused(status: u16, kind: &str, code: &str, message: &str, hint: Option<&str>) -> Answer {
    let mut error = json!({ "kind": kind, "code": code, "message": message });
    if let Some(hint) = hint {
        error["hint"] = json!(hint);
    }
    Answer::Body(status, json!({ "error": error }).to_string())
}

/// Server-sent events, each a whole workspace.
pub(crate) fn events(workspaces: &[Value], end: End) -> Answer {
    let chunk = |workspace: &Value| format!("data: {}\n\n", json!({ "workspace": workspace }));
    Answer::Chunks(workspaces.iter().map(chunk).collect(), end)
}

/// What the terminal's other side does with one connection.
#[derive(Clone)]
pub(crate) enum Act {
    /// Sends bytes.
    Say(&'static str),
    /// Waits until this was typed.
    Expect(&'static str),
    /// Waits until the client told this size.
    ExpectSize(u16, u16),
    /// Waits until exactly this was typed.
    ExpectOnly(&'static str),
    /// Sends a notice: its JSON.
    Notice(&'static str),
    /// Waits for a control frame: its JSON.
    Control(&'static str),
    /// Ends the terminal.
    End(&'static str),
    /// Waits until the client says that it leaves, and notes `left` among what was asked.
    Left,
    /// Breaks the connection.
    Cut,
    /// Answers an HTTP refusal instead of a WebSocket; only as the first act.
    Refuse(u16, &'static str),
    /// Hangs up instead of answering; only as the first act.
    HangUp,
}

#[derive(Default)]
struct Script {
    /// Answers per `METHOD path`; the last one stays.
    routes: HashMap<String, Vec<Answer>>,
    /// Acts per connection, in order.
    terminals: Vec<Vec<Act>>,
}

/// A scripted server.
pub(crate) struct Server {
    /// Its base URL.
    pub(crate) url: String,
    script: Arc<Mutex<Script>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let server = Self { url, script: Arc::default(), asked: Arc::default() };
        let (script, asked) = (Arc::clone(&server.script), Arc::clone(&server.asked));
        let terminal = Arc::new(AtomicUsize::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, asked, terminal) = (Arc::clone(&script), Arc::clone(&asked), Arc::clone(&terminal));
                std::thread::spawn(move || serve(&stream, &script, &asked, &terminal));
            }
        });
        server
    }

    /// One with an org `acme`, a member, and the usual answers for the workspace `fix-login`.
    pub(crate) fn acme() -> Self {
        let server = Self::start();
        server.route("GET /v1/health", ok(&json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })));
        server.route(
            "GET /v1/me",
            ok(&json!({ "user": "user_00000000000000000000000000000001", "name": "Ada", "is_operator": true,
                "scopes": [], "credential": "key_00000000000000000000000000000007",
                "orgs": [{ "org": ORG_ID, "slug": "acme", "role": "owner" }] })),
        );
        server
    }

    /// Adds an answer; several for one route are given in order, the last one again and again.
    pub(crate) fn route(&self, route: &str, answer: Answer) {
        self.script.lock().expect("alive").routes.entry(route.to_owned()).or_default().push(answer);
    }

    /// Answers a route otherwise from now on.
    pub(crate) fn replace(&self, route: &str, answer: Answer) {
        self.script.lock().expect("alive").routes.insert(route.to_owned(), vec![answer]);
    }

    /// Adds what the terminal does with its next connection.
    pub(crate) fn terminal(&self, acts: Vec<Act>) {
        self.script.lock().expect("alive").terminals.push(acts);
    }

    /// Waits until this was asked.
    #[track_caller]
    pub(crate) fn wait_until_asked(&self, what: &str) {
        let begun = std::time::Instant::now();
        while !self.asked().iter().any(|asked| asked == what) {
            assert!(begun.elapsed() < Duration::from_secs(5), "no {what:?} in {:?}", self.asked());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What was asked so far: `METHOD path body`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("alive").clone()
    }
}

/// The org in all answers.
pub(crate) const ORG_ID: &str = "org_00000000000000000000000000000001";

fn serve(stream: &TcpStream, script: &Mutex<Script>, asked: &Mutex<Vec<String>>, terminal: &AtomicUsize) {
    let mut first = [0_u8; 256];
    let length = stream.peek(&mut first).unwrap_or(0);
    if String::from_utf8_lossy(&first[..length]).lines().next().is_some_and(|line| line.contains("/terminal?")) {
        let number = terminal.fetch_add(1, Ordering::SeqCst);
        let line = String::from_utf8_lossy(&first[..length]).lines().next().unwrap_or_default().to_owned();
        asked.lock().expect("alive").push(line.trim_end_matches(" HTTP/1.1").to_owned());
        let acts = script.lock().expect("alive").terminals.get(number).cloned().unwrap_or_default();
        return serve_terminal(stream, &acts, asked);
    }
    let mut reader = BufReader::new(stream);
    while let Some((route, body)) = read_request(&mut reader) {
        asked.lock().expect("alive").push(format!("{route} {body}").trim_end().to_owned());
        let answer = {
            let mut script = script.lock().expect("alive");
            match script.routes.get_mut(&route) {
                Some(answers) if answers.len() > 1 => answers.remove(0),
                Some(answers) => answers[0].clone(),
                None => {
                    refused(404, "not_found", "test.no_route", &format!("the test has no answer for {route}"), None)
                }
            }
        };
        if write_answer(stream, &answer).is_none() {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<(String, String)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let route = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if header.starts_with("authorization:") {
            assert_eq!(header, "authorization: bearer efk_test");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((route, String::from_utf8_lossy(&body).into_owned()))
}

fn write_answer(mut stream: &TcpStream, answer: &Answer) -> Option<()> {
    match answer {
        Answer::Body(status, body) => {
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes()).ok()
        }
        Answer::Chunks(chunks, end) => {
            stream.write_all(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n").ok()?;
            for chunk in chunks {
                stream.write_all(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes()).ok()?;
                // Apart, so that the program sees them one after another.
                std::thread::sleep(Duration::from_millis(30));
            }
            match end {
                End::Clean => stream.write_all(b"0\r\n\r\n").ok(),
                End::Cut => {
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                    None
                }
                End::Open => {
                    let mut rest = [0_u8; 1];
                    let _ = stream.read(&mut rest);
                    None
                }
            }
        }
    }
}

fn serve_terminal(stream: &TcpStream, acts: &[Act], asked: &Mutex<Vec<String>>) {
    if let Some(Act::Refuse(status, body)) = acts.first() {
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut stream = stream;
        let mut request = [0_u8; 4096];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
        return;
    }
    if matches!(acts.first(), Some(Act::HangUp)) {
        // Read to its end: what is unread would be a reset instead.
        let _ = { stream }.read(&mut [0_u8; 4096]);
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let own = stream.try_clone().expect("a descriptor");
        own.set_nonblocking(true).expect("non-blocking");
        let own = tokio::net::TcpStream::from_std(own).expect("registered");
        let mut socket = tokio_tungstenite::accept_async(own).await.expect("a WebSocket");
        let mut typed = Vec::new();
        for act in acts {
            match act {
                Act::Say(text) => socket.send(Message::Binary(text.as_bytes().to_vec().into())).await.expect("sent"),
                Act::Expect(text) => {
                    while !typed.windows(text.len()).any(|window| window == text.as_bytes()) {
                        match socket.next().await {
                            Some(Ok(Message::Binary(bytes))) => typed.extend_from_slice(&bytes),
                            Some(Ok(_)) => {}
                            other => panic!("waiting for {text:?}, got {other:?}"),
                        }
                    }
                    typed.clear();
                }
                Act::ExpectOnly(text) => {
                    while typed.len() < text.len() {
                        match socket.next().await {
                            Some(Ok(Message::Binary(bytes))) => typed.extend_from_slice(&bytes),
                            Some(Ok(_)) => {}
                            other => panic!("waiting for {text:?}, got {other:?}"),
                        }
                    }
                    assert_eq!(String::from_utf8_lossy(&typed), *text);
                    typed.clear();
                }
                Act::Notice(json) => socket.send(Message::Text((*json).into())).await.expect("sent"),
                Act::Control(json) => loop {
                    if let Some(Ok(Message::Text(text))) = socket.next().await {
                        assert_eq!(text.as_str(), *json);
                        break;
                    }
                },
                Act::ExpectSize(cols, rows) => loop {
                    if let Some(Ok(Message::Text(text))) = socket.next().await {
                        let told: Value = serde_json::from_str(&text).expect("JSON");
                        assert_eq!(told, json!({ "type": "resize", "cols": cols, "rows": rows }));
                        break;
                    }
                },
                Act::End(reason) => {
                    let notice = TerminalNotice::Ended { reason: (*reason).to_owned() };
                    let text = serde_json::to_string(&notice).expect("plain");
                    socket.send(Message::Text(text.into())).await.expect("sent");
                    let _ = socket.close(None).await;
                }
                Act::Left => {
                    while !matches!(socket.next().await.expect("a word").expect("a word"), Message::Close(_)) {}
                    asked.lock().expect("alive").push("left".to_owned());
                }
                Act::Cut => {
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                    return;
                }
                Act::Refuse(..) | Act::HangUp => unreachable!("only as the first act"),
            }
        }
        while let Some(Ok(_)) = socket.next().await {}
    });
}

/// How a run of the program ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Everything a user sees, as one text; what differs between runs is replaced.
    pub(crate) fn text(&self, server: &Server) -> String {
        let text = format!("exit: {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr);
        text.replace(&server.url, "SERVER")
    }
}

/// The program, with an empty home and nothing inherited.
pub(crate) fn envforge(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_envforge"));
    command.args(args).env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").expect("a PATH"));
    command.env("ENVFORGE_DATA_DIR", home.join("data")).current_dir(home).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Ran {
    let output = command.output().expect("it runs");
    Ran {
        code: output.status.code().expect("not killed"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Runs the program signed in to `server`, and gives everything it said as one text.
pub(crate) fn run(server: &Server, args: &[&str]) -> String {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = envforge(home.path(), args);
    command.env("ENVFORGE_SERVER", &server.url).env("ENVFORGE_KEY", "efk_test");
    finish(&mut command).text(server)
}

/// The same with a text on stdin.
pub(crate) fn run_with_input(server: &Server, args: &[&str], input: &str) -> String {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("input");
    std::fs::write(&file, input).expect("written");
    let mut command = envforge(home.path(), args);
    command.env("ENVFORGE_SERVER", &server.url).env("ENVFORGE_KEY", "efk_test");
    command.stdin(std::fs::File::open(&file).expect("there"));
    finish(&mut command).text(server)
}

/// A workspace `fix-login` with a web and an api service in the given states.
pub(crate) fn workspace(runtime: &str, generation: u64, web: &str, api: &str) -> Value {
    let readiness = match runtime {
        "awake" => "ready",
        "frozen" | "stopping" => "asleep",
        other => other,
    };
    let part = |kind: &str, name: &str, state: &str| {
        let mut part = json!({ "kind": kind, "name": name, "state": state });
        if state == "blocked" {
            part["code"] = json!("service.command_not_found");
            part["cause"] = json!("`npm` was not found");
            part["fix"] = json!("add nodejs to the packages in envforge.yml");
        }
        if (kind, state) == ("service", "ready") {
            part["port"] = json!(if name == "web" { 3000 } else { 4000 });
        }
        part
    };
    let resource = if readiness == "ready" { "ready" } else { readiness };
    json!({
        "id": "ws_00000000000000000000000000000001", "org": ORG_ID, "org_slug": "acme", "slug": "fix-login",
        "project": "planner", "branch": "fix/login", "shell": part("shell", "shell", "ready"),
        "runtime": { "readiness": readiness, "state": runtime, "generation": generation, "size": "small",
            "wake_cause": if readiness == "asleep" { Value::Null } else { json!("Ada: envforge up") },
            "awake_since": null, "blocked_code": null, "blocked_cause": null, "blocked_fix": null, "idle": null },
        "parts": [part("service", "web", web), part("service", "api", api), part("resource", "postgres", resource)],
        "dev_hosts": [
            { "service": "web", "label": "web--fix-login--acme", "url": "http://web--fix-login--acme.localhost:7081" },
            { "service": "api", "label": "api--fix-login--acme", "url": "http://api--fix-login--acme.localhost:7081" },
        ],
        "created_at": "2026-11-21T06:00:00Z",
    })
}

/// The workspace while its host is lost.
pub(crate) fn lost(runtime: &str) -> Value {
    let mut workspace = workspace(runtime, 2, "waking", "waking");
    let (cause, fix) = ("it was last heard of 2 min ago", "start the host daemon on its machine");
    workspace["shell"] = json!({ "kind": "shell", "name": "shell", "state": "blocked", "code": "host.lost", "cause": cause, "fix": fix });
    workspace["runtime"]["readiness"] = json!("blocked");
    workspace["runtime"]["blocked_code"] = json!("host.lost");
    workspace["runtime"]["blocked_cause"] = json!(cause);
    workspace["runtime"]["blocked_fix"] = json!(fix);
    workspace
}

/// Usage of `fix-login`, with receipts given.
pub(crate) fn usage(state: &str, receipts: &Value) -> Value {
    json!({
        "state": state, "size": "small", "wake_cause": if state == "asleep" { Value::Null } else { json!("link visit") },
        "awake_since": if state == "awake" { json!("2026-11-21T06:00:00Z") } else { Value::Null },
        "awake_seconds_this_month": 432, "cap": { "mode": "warn", "minutes": 600 },
        "cap_posture": { "posture": "within", "percent": 1 }, "estimate_micros": 12_345, "currency": "USD",
        "billed_separately": ["warehouse (customer cloud)"], "receipts": receipts,
    })
}

/// A closed session's receipt.
pub(crate) fn receipt() -> Value {
    let session = "us_00000000000000000000000000000001";
    json!({
        "session": session, "awake_seconds": 432, "cost_micros": 12_345, "currency": "USD", "is_final": true, "unproven_seconds": 0,
        "windows": [{ "window": "win_00000000000000000000000000000001", "session": session, "opened_at": "2026-11-21T06:00:00Z",
            "closed_at": "2026-11-21T06:07:12Z", "size": "small", "wake_cause": "link visit", "end_cause": "asked by Ada",
            "unproven_seconds": 0 }],
    })
}
