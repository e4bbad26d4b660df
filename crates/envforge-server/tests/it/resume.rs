//! Terminals that outlive their connections: what passes, who may resume one, and when it is over.

use crate::support::{FakeHost, TestServer};
use crate::terminals::uplink;
use envforge_api::http::accounts::CreatedApiKey;
use envforge_api::http::terminal::{SESSION_OFFSET, SESSION_UNKNOWN, TerminalControl, TerminalNotice};
use envforge_api::uplink::Open;
use envforge_core::access::Role;
use envforge_core::refusal::Refusal;
use envforge_core::resume::{INPUT_MAX, Received, Sent};
use envforge_server::terminals::ops::{DETACHED_PER_USER, OUTPUT_MAX};
use envforge_testkit::{LIMIT, wait_until};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

const MAIN: &str = "/v1/orgs/acme/workspaces/main/terminal?cols=80&rows=24";

/// One connection of a terminal's client.
struct Line(WebSocketStream<TcpStream>);

impl Line {
    /// Opens one; a refusal's code if it is not let in.
    async fn open(server: &TestServer, key: &str, path: &str) -> Result<Self, String> {
        let address = server.server.local_addr;
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        let stream = TcpStream::connect(address).await.unwrap();
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => {
                let body: Value = serde_json::from_slice(response.body().as_ref().unwrap()).unwrap();
                Err(body["error"]["code"].as_str().unwrap().to_owned())
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Attaches; what the terminal is resumed with.
    async fn attach(server: &TestServer, key: &str) -> (Self, String) {
        let mut line = Self::open(server, key, &format!("{MAIN}&resumable=true")).await.unwrap();
        match line.notice().await {
            TerminalNotice::Session { token } => (line, token.0.expose().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    /// Resumes a terminal of which so much output came; how much input the server has.
    async fn resume(server: &TestServer, key: &str, token: &str, received: u64) -> Result<(Self, u64), String> {
        let mut line = Self::open(server, key, &format!("{MAIN}&resume={token}&received={received}")).await?;
        match line.notice().await {
            TerminalNotice::Resumed { received } => Ok((line, received)),
            other => panic!("{other:?}"),
        }
    }

    async fn say(&mut self, control: TerminalControl) {
        self.0.send(Message::Text(serde_json::to_string(&control).unwrap().into())).await.unwrap();
    }

    async fn type_bytes(&mut self, bytes: &[u8]) {
        self.0.send(Message::Binary(bytes.to_vec().into())).await.unwrap();
    }

    /// The next frame; nothing when the connection is over.
    async fn next(&mut self) -> Option<Message> {
        loop {
            match tokio::time::timeout(LIMIT, self.0.next()).await.expect("in time") {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message @ (Message::Binary(_) | Message::Text(_)))) => return Some(message),
                _ => return None,
            }
        }
    }

    async fn notice(&mut self) -> TerminalNotice {
        match self.next().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Reads so many bytes of output; what else is said is passed over.
    async fn read(&mut self, length: usize) -> Vec<u8> {
        let mut output = Vec::new();
        while output.len() < length {
            if let Message::Binary(bytes) = self.next().await.expect("more output") {
                output.extend_from_slice(&bytes);
            }
        }
        output
    }
}

/// The terminals a host was asked for.
struct Host(mpsc::UnboundedReceiver<std::os::unix::net::UnixStream>);

impl Host {
    async fn terminal(&mut self) -> UnixStream {
        let terminal = tokio::time::timeout(LIMIT, self.0.recv()).await.expect("in time").expect("a host");
        terminal.set_nonblocking(true).unwrap();
        UnixStream::from_std(terminal).unwrap()
    }
}

async fn started() -> (TestServer, FakeHost, Host, String) {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let (asked, terminals) = mpsc::unbounded_channel();
    uplink(&server, &host, move |_, open| {
        assert!(matches!(open, Open::Terminal { .. }), "{open:?}");
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        asked.send(ours).map_err(|_| Refusal::unavailable("test.over", "the test is over"))?;
        Ok(theirs.into())
    });
    let key = key(&server.owner);
    (server, host, Host(terminals), key)
}

fn key(client: &envforge_api::client::Client) -> String {
    client.key().unwrap().expose().to_owned()
}

/// Bytes that don't repeat where one could be missing or doubled.
fn numbered(length: u32) -> Vec<u8> {
    (0..length).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Waits until the server has hung up on a host.
async fn is_over(terminal: &mut UnixStream) {
    let mut rest = Vec::new();
    drop(tokio::time::timeout(LIMIT, terminal.read_to_end(&mut rest)).await.expect("the server hangs up"));
}

/// Waits until the server has noticed that so many connections are lost.
async fn detached(server: &TestServer, count: usize) {
    let terminals = &server.server.app().terminals;
    wait_until("the server notices", async || terminals.detached() == count).await;
}

// proves UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_is_missing_or_there_twice_however_often_the_connection_is_cut() {
    let (server, _host, mut host, key) = started().await;
    // More than is kept, so that both sides have to wait for each other too.
    let (output, input) = (numbered(3 << 20), numbered(2 * INPUT_MAX as u32));
    let (mut line, token) = Line::attach(&server, &key).await;
    let terminal = host.terminal().await;
    let (mut reads, mut writes) = terminal.into_split();
    let (shown, wanted) = (output.clone(), input.len());
    let writing = tokio::spawn(async move {
        writes.write_all(&shown).await.unwrap();
        writes
    });
    let reading = tokio::spawn(async move {
        let mut typed = vec![0; wanted];
        reads.read_exact(&mut typed).await.unwrap();
        (typed, reads)
    });
    let (mut sent, mut received, mut seen, mut typed) = (Sent::new(INPUT_MAX), Received::default(), Vec::new(), 0);
    for cut in 1_u32.. {
        // Anywhere, also before anything came.
        let until = seen.len() + (cut.wrapping_mul(2_654_435_761) % 250_000) as usize;
        while seen.len() < until && (seen.len() < output.len() || typed < input.len() || sent.unacknowledged() > 0) {
            let length = sent.push(&input[typed..(typed + 5000).min(input.len())]);
            if length > 0 {
                line.type_bytes(&input[typed..typed + length]).await;
                typed += length;
            }
            match line.next().await.expect("more") {
                Message::Binary(bytes) => {
                    received.take(bytes.len());
                    seen.extend_from_slice(&bytes);
                }
                Message::Text(text) => match serde_json::from_str(&text).unwrap() {
                    TerminalNotice::Received { bytes } => sent.acknowledge(bytes).unwrap(),
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
            if received.is_due() {
                line.say(TerminalControl::Received { bytes: received.tell() }).await;
            }
            assert!(output.starts_with(&seen), "wrong within {} bytes", seen.len());
        }
        if (seen.len(), typed, sent.unacknowledged()) == (output.len(), input.len(), 0) {
            break;
        }
        // With all that is under way on it.
        drop(line);
        let taken;
        (line, taken) = Line::resume(&server, &key, &token, received.tell()).await.unwrap();
        let again = sent.resume(taken).unwrap();
        if !again.is_empty() {
            line.type_bytes(&again).await;
        }
    }
    assert!(seen == output, "{} of {} bytes", seen.len(), output.len());
    let (typed, reads) = reading.await.unwrap();
    assert!(typed == input, "what was typed is not what was read");
    drop((reads, writing.await.unwrap()));
    assert_eq!(line.notice().await, TerminalNotice::Ended { reason: "the terminal was closed".to_owned() });
}

// proves UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_flows_on_while_nobody_is_connected_as_far_as_there_is_room() {
    let (server, _host, mut host, key) = started().await;
    let (line, token) = Line::attach(&server, &key).await;
    let mut terminal = host.terminal().await;
    drop(line);
    // Far more than a socket holds: the server has to take it, and no more than it may.
    let output = numbered(OUTPUT_MAX as u32);
    tokio::time::timeout(LIMIT, terminal.write_all(&output)).await.expect("there is room").unwrap();
    let shown = output.clone();
    let writing = tokio::spawn(async move {
        terminal.write_all(&shown).await.unwrap();
        terminal.write_all(b"last words").await.unwrap();
        terminal.shutdown().await.unwrap();
        terminal
    });
    let (mut line, taken) = Line::resume(&server, &key, &token, 0).await.unwrap();
    assert_eq!(taken, 0);
    let first = line.read(OUTPUT_MAX).await;
    assert!(first == output, "{} bytes", first.len());
    // What was not acknowledged keeps the rest away, however long; the terminal waits.
    assert!(!writing.is_finished());
    line.say(TerminalControl::Received { bytes: OUTPUT_MAX as u64 }).await;
    let rest = line.read(OUTPUT_MAX).await;
    assert!(rest == output, "{} bytes", rest.len());
    line.say(TerminalControl::Received { bytes: 2 * OUTPUT_MAX as u64 }).await;
    let mut terminal = writing.await.unwrap();
    // A terminal that ends is not over before its client knows.
    assert_eq!(line.read(1).await, b"last words");
    assert!(matches!(line.notice().await, TerminalNotice::Ended { .. }));
    drop(line);
    let (mut line, _) = Line::resume(&server, &key, &token, 2 * OUTPUT_MAX as u64 + 5).await.unwrap();
    assert_eq!(line.read(1).await, b"words");
    assert!(matches!(line.notice().await, TerminalNotice::Ended { .. }));
    line.0.close(None).await.unwrap();
    is_over(&mut terminal).await;
    let code = Line::resume(&server, &key, &token, 2 * OUTPUT_MAX as u64 + 5).await.err();
    assert_eq!(code.as_deref(), Some(SESSION_UNKNOWN), "it is over once its client knows");
}

// proves UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_still_looks_alive_is_taken_over() {
    let (server, _host, mut host, key) = started().await;
    let (mut half_open, token) = Line::attach(&server, &key).await;
    let mut terminal = host.terminal().await;
    half_open.type_bytes(b"one ").await;
    let mut typed = [0; 4];
    terminal.read_exact(&mut typed).await.unwrap();
    let (mut line, taken) = Line::resume(&server, &key, &token, 0).await.unwrap();
    assert_eq!(taken, 4);
    assert_eq!(half_open.next().await, None, "the one before is closed");
    terminal.write_all(b"output").await.unwrap();
    assert_eq!(line.read(6).await, b"output");
    line.type_bytes(b"two ").await;
    terminal.read_exact(&mut typed).await.unwrap();
    assert_eq!(&typed, b"two ");
    // Who leaves with a word leaves for good.
    line.0.close(None).await.unwrap();
    is_over(&mut terminal).await;
    assert_eq!(Line::resume(&server, &key, &token, 0).await.err().unwrap(), SESSION_UNKNOWN);
}

// proves UP-3 ORG-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_is_resumed_by_who_opened_it_and_where_it_was() {
    let (server, mut fake, mut host, key) = started().await;
    server.named_workspace_of(&mut fake, "planner", "other").await;
    let (mut line, token) = Line::attach(&server, &key).await;
    let mut terminal = host.terminal().await;
    terminal.write_all(b"0123456789").await.unwrap();
    line.read(10).await;
    line.say(TerminalControl::Received { bytes: 4 }).await;
    line.type_bytes(b"x").await;
    let mut typed = [0];
    terminal.read_exact(&mut typed).await.unwrap();
    drop(line);
    let code = async |key: &str, path: String| Line::open(&server, key, &path).await.err().unwrap();
    let developer = self::key(&server.member("acme", Role::Developer).await);
    let query = format!("resume={token}&received=10");
    assert_eq!(code(&developer, format!("{MAIN}&{query}")).await, SESSION_UNKNOWN, "not another's");
    assert_eq!(code(&key, format!("{MAIN}&terminal=build&{query}")).await, SESSION_UNKNOWN, "not as another");
    let other = format!("/v1/orgs/acme/workspaces/other/terminal?{query}");
    assert_eq!(code(&key, other).await, SESSION_UNKNOWN, "not elsewhere");
    assert_eq!(code(&key, format!("{MAIN}&resume={}&received=10", "0".repeat(64))).await, SESSION_UNKNOWN);
    // The right to it ends with the key that it was opened with: another of the same member has a right of its own.
    let made: CreatedApiKey = server.owner.post("/v1/api-keys", &json!({ "name": "laptop" })).await.unwrap();
    assert_eq!(code(&made.value, format!("{MAIN}&{query}")).await, SESSION_UNKNOWN, "not with another key");
    let reviewer = self::key(&server.member("acme", Role::Reviewer).await);
    assert_eq!(code(&reviewer, format!("{MAIN}&{query}")).await, "access.denied");
    for offset in [3, 11, u64::MAX] {
        assert_eq!(Line::resume(&server, &key, &token, offset).await.err().unwrap(), SESSION_OFFSET, "{offset}");
    }
    let (mut line, taken) = Line::resume(&server, &key, &token, 4).await.unwrap();
    assert_eq!((taken, line.read(6).await.as_slice()), (1, &b"456789"[..]));
    assert_eq!(server.events("shell.attached").await, 1, "it is the same terminal, not another");
    // A client that counts what was never sent is not believed in anything.
    line.say(TerminalControl::Received { bytes: 11 }).await;
    is_over(&mut terminal).await;
    assert_eq!(Line::resume(&server, &key, &token, 10).await.err().unwrap(), SESSION_UNKNOWN);
}

// proves UP-3 ORG-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_without_a_connection_ends_with_the_right_to_it() {
    let (server, _host, mut host, _) = started().await;
    let member = server.member("acme", Role::Developer).await;
    let (line, token) = Line::attach(&server, &key(&member)).await;
    let mut terminal = host.terminal().await;
    drop(line);
    // It goes on without one.
    let (line, _) = Line::resume(&server, &key(&member), &token, 0).await.unwrap();
    drop(line);
    let user = TestServer::user(&member).await;
    server.owner.delete::<Value>(&format!("/v1/orgs/acme/members/{user}")).await.unwrap();
    is_over(&mut terminal).await;
    assert_eq!(Line::resume(&server, &key(&member), &token, 0).await.err().unwrap(), "org.not_found");
}

// proves UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_is_kept_for_a_minute_and_then_attached_to_anew() {
    let (server, _host, mut host, key) = started().await;
    let (line, token) = Line::attach(&server, &key).await;
    let mut terminal = host.terminal().await;
    drop(line);
    let (line, _) = Line::resume(&server, &key, &token, 0).await.unwrap();
    // While somebody is connected no time passes for it.
    server.advance(600);
    drop(line);
    let (mut line, _) = Line::resume(&server, &key, &token, 0).await.unwrap();
    terminal.write_all(b"still").await.unwrap();
    assert_eq!(line.read(5).await, b"still");
    drop(line);
    detached(&server, 1).await;
    server.advance(59);
    let (line, _) = Line::resume(&server, &key, &token, 5).await.unwrap();
    drop(line);
    detached(&server, 1).await;
    server.advance(60);
    assert_eq!(Line::resume(&server, &key, &token, 5).await.err().unwrap(), SESSION_UNKNOWN);
    is_over(&mut terminal).await;
    let (mut line, another) = Line::attach(&server, &key).await;
    assert_ne!(token, another);
    host.terminal().await.write_all(b"anew").await.unwrap();
    assert_eq!(line.read(4).await, b"anew");
}

// proves UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_has_more_than_a_few_terminals_kept() {
    let (server, _host, mut host, owner) = started().await;
    let developer = key(&server.member("acme", Role::Developer).await);
    let (line, bystander) = Line::attach(&server, &developer).await;
    let _theirs = host.terminal().await;
    drop(line);
    detached(&server, 1).await;
    let (mut tokens, mut terminals) = (Vec::new(), Vec::new());
    for number in 1..=DETACHED_PER_USER {
        let (line, token) = Line::attach(&server, &owner).await;
        tokens.push(token);
        terminals.push(host.terminal().await);
        drop(line);
        detached(&server, 1 + number).await;
    }
    let (line, token) = Line::attach(&server, &owner).await;
    tokens.push(token);
    drop(line);
    is_over(&mut terminals[0]).await;
    for (number, token) in tokens.iter().enumerate() {
        let resumed = Line::resume(&server, &owner, token, 0).await;
        let wanted = (number == 0).then_some(SESSION_UNKNOWN);
        assert_eq!(resumed.err().as_deref(), wanted, "the oldest alone is over, not number {number}");
    }
    Line::resume(&server, &developer, &bystander, 0).await.expect("somebody else's is not counted");
}

// proves UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminals_last_words_are_not_lost_to_keys_on_their_way() {
    let (server, _host, mut host, key) = started().await;
    let words = numbered(150_000);
    for query in ["", "&resumable=true"] {
        let line = Line::open(&server, &key, &format!("{MAIN}{query}")).await.unwrap();
        let mut terminal = host.terminal().await;
        let (mut to, mut from) = line.0.split();
        let typing = tokio::spawn(async move {
            // Until the connection is over.
            while to.send(Message::Binary(vec![b'x'; 64].into())).await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        let mut key = [0];
        terminal.read_exact(&mut key).await.unwrap();
        terminal.write_all(&words).await.unwrap();
        drop(terminal);
        let (mut seen, mut is_told) = (Vec::new(), false);
        while let Some(Ok(message)) = tokio::time::timeout(LIMIT, from.next()).await.expect("in time") {
            match message {
                Message::Binary(bytes) => seen.extend_from_slice(&bytes),
                Message::Text(text) => {
                    is_told |= matches!(serde_json::from_str(&text).unwrap(), TerminalNotice::Ended { .. });
                }
                _ => {}
            }
        }
        assert!(seen == words, "{} of {} bytes", seen.len(), words.len());
        assert!(is_told, "and why it is over");
        typing.abort();
    }
}
