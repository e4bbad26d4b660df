//! Single commands: who may run one, what a host is asked, what passes, and what ends it.

use crate::support::{FakeHost, TestServer};
use crate::terminals::uplink;
use envforge_api::exec::{DATA_MAX, End, Frames, FromCommand, INPUT_WINDOW, Signal, Size, Start, ToCommand, delimited};
use envforge_api::uplink::Open;
use envforge_core::access::Role;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::ticket::TicketClaims;
use envforge_testkit::{LIMIT, wait_until};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// The client of a command.
struct Client(WebSocketStream<TcpStream>);

impl Client {
    /// Opens one; a refusal's code if it is not let in.
    async fn open(server: &TestServer, key: &str, workspace: &str) -> Result<Self, String> {
        let address = server.server.local_addr;
        let url = format!("ws://{address}/v1/orgs/acme/workspaces/{workspace}/exec");
        let mut request = url.into_client_request().unwrap();
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

    async fn start(server: &TestServer, key: &str, argv: &[&str]) -> Self {
        let mut client = Self::open(server, key, "main").await.unwrap();
        let argv = argv.iter().map(|argument| (*argument).to_owned()).collect();
        client.say(&ToCommand::Start(Start { argv, terminal: None })).await;
        client
    }

    async fn say(&mut self, frame: &ToCommand) {
        self.0.send(Message::Binary(frame.encode().into())).await.unwrap();
    }

    /// The next frame; nothing when the connection is over.
    async fn next(&mut self) -> Option<FromCommand> {
        loop {
            match tokio::time::timeout(LIMIT, self.0.next()).await.expect("in time") {
                Some(Ok(Message::Binary(frame))) => return Some(FromCommand::decode(&frame).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return None,
            }
        }
    }

    async fn unseen(&mut self) -> String {
        match self.next().await {
            Some(FromCommand::Ended(End::Unseen { reason })) => reason,
            other => panic!("{other:?}"),
        }
    }

    async fn refused(&mut self) -> String {
        match self.next().await {
            Some(FromCommand::Ended(End::Refused { refusal })) => refusal.code,
            other => panic!("{other:?}"),
        }
    }
}

/// A host's side of a command.
struct Command {
    claims: TicketClaims,
    socket: tokio::net::UnixStream,
    frames: Frames,
}

impl Command {
    /// The next frame; nothing when the server has hung up.
    async fn next(&mut self) -> Option<ToCommand> {
        loop {
            if let Some(frame) = self.frames.take().unwrap() {
                return Some(ToCommand::decode(&frame).unwrap());
            }
            let mut buffer = vec![0; 16 * 1024];
            match tokio::time::timeout(LIMIT, self.socket.read(&mut buffer)).await.expect("in time") {
                Ok(length @ 1..) => self.frames.push(&buffer[..length]),
                _ => return None,
            }
        }
    }

    async fn say(&mut self, frame: &FromCommand) {
        self.socket.write_all(&delimited(&frame.encode())).await.unwrap();
    }

    async fn started(&mut self) -> Start {
        match self.next().await {
            Some(ToCommand::Start(start)) => start,
            other => panic!("{other:?}"),
        }
    }
}

/// What a server asks of a host.
struct Asked(mpsc::UnboundedReceiver<(TicketClaims, UnixStream)>);

impl Asked {
    /// A host that runs whatever it is asked.
    fn of(server: &TestServer, host: &FakeHost) -> Self {
        let (asked, commands) = mpsc::unbounded_channel();
        uplink(server, host, move |claims, open| {
            assert_eq!(open, Open::Exec);
            let (ours, theirs) = UnixStream::pair().unwrap();
            asked.send((claims, ours)).map_err(|_| Refusal::unavailable("test.over", "the test is over"))?;
            Ok(theirs.into())
        });
        Self(commands)
    }

    async fn next(&mut self) -> Command {
        let asked = tokio::time::timeout(LIMIT, self.0.recv()).await.expect("in time");
        let (claims, socket) = asked.expect("a host");
        socket.set_nonblocking(true).unwrap();
        let socket = tokio::net::UnixStream::from_std(socket).unwrap();
        Command { claims, socket, frames: Frames::default() }
    }

    fn is_over(&mut self) -> bool {
        self.0.try_recv().is_err()
    }
}

async fn started() -> (TestServer, FakeHost, Asked) {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let asked = Asked::of(&server, &host);
    (server, host, asked)
}

fn key(client: &envforge_api::client::Client) -> String {
    client.key().unwrap().expose().to_owned()
}

// proves UP-11 UP-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_pass_both_ways_byte_for_byte() {
    let (server, _host, mut asked) = started().await;
    let key = key(&server.owner);
    let mut client = Client::start(&server, &key, &["grep", "planted-secret-argument"]).await;
    let mut command = asked.next().await;
    assert_eq!(command.started().await.argv, ["grep", "planted-secret-argument"]);
    assert_eq!(command.claims.subject, "", "it is no terminal");
    assert!(command.claims.person.is_some(), "what it commits is by whom it is run");
    let mut owner = server.database_owner().await;
    let noted: Value = sqlx::query_scalar("SELECT details FROM ledger_events WHERE verb = 'exec.started'")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(noted, json!({ "program": "grep" }), "arguments are nobody's business");

    let echo = tokio::spawn(async move {
        let size = Size { cols: 90, rows: 20 };
        loop {
            match command.next().await.expect("more") {
                ToCommand::Input(bytes) => {
                    let taken = u32::try_from(bytes.len()).unwrap();
                    command.say(&FromCommand::Output(bytes)).await;
                    command.say(&FromCommand::Taken(taken)).await;
                }
                ToCommand::InputEnded => command.say(&FromCommand::Errors(b"\0told\xff".to_vec())).await,
                ToCommand::Resize(told) if told == size => {}
                ToCommand::Signal(Signal::Terminate) => break,
                other => panic!("{other:?}"),
            }
        }
        command.say(&FromCommand::Ended(End::Killed { signal: 15 })).await;
        assert_eq!(command.next().await, None);
    });
    let sent: Vec<u8> = (0..4_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (mut at, mut room, mut output, mut errors) = (0, INPUT_WINDOW, Vec::new(), Vec::new());
    while errors.is_empty() {
        let length = room.min(DATA_MAX).min(sent.len() - at);
        if length > 0 {
            client.say(&ToCommand::Input(sent[at..at + length].to_vec())).await;
            (at, room) = (at + length, room - length);
            if at == sent.len() {
                client.say(&ToCommand::InputEnded).await;
            }
            continue;
        }
        match client.next().await.expect("more") {
            FromCommand::Output(bytes) => output.extend(bytes),
            FromCommand::Errors(bytes) => errors.extend(bytes),
            FromCommand::Taken(bytes) => room += bytes as usize,
            FromCommand::Ended(end) => panic!("{end:?}"),
        }
    }
    assert!(output == sent, "{} of {} bytes", output.len(), sent.len());
    assert_eq!(errors, b"\0told\xff");
    client.say(&ToCommand::Resize(Size { cols: 90, rows: 20 })).await;
    client.say(&ToCommand::Signal(Signal::Terminate)).await;
    assert_eq!(client.next().await, Some(FromCommand::Ended(End::Killed { signal: 15 })));
    assert_eq!(client.next().await, None, "the end is the last");
    echo.await.unwrap();
}

// proves UP-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_holds_its_command_back() {
    /// More than all buffers on the way hold.
    const FAR_TOO_MUCH: usize = 64 << 20;
    let (server, _host, mut asked) = started().await;
    let mut client = Client::start(&server, &key(&server.owner), &["yes"]).await;
    let mut command = asked.next().await;
    command.started().await;
    let frame = delimited(&FromCommand::Output(vec![b'y'; DATA_MAX]).encode());
    let (mut sent, mut rest) = (0, frame.as_slice());
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(500), command.socket.write(rest)).await {
        rest = &rest[written.unwrap()..];
        if rest.is_empty() {
            (sent, rest) = (sent + DATA_MAX, frame.as_slice());
        }
        assert!(sent < FAR_TOO_MUCH, "somebody keeps all of it");
    }
    let rest = rest.to_vec();
    let telling = tokio::spawn(async move {
        command.socket.write_all(&rest).await.unwrap();
        command.say(&FromCommand::Ended(End::Exited { code: 0 })).await;
        command
    });
    let mut got = 0;
    loop {
        // It says something meanwhile, also when all is told: what it has not read must not be lost by that.
        drop(client.0.send(Message::Ping("here".into())).await);
        match client.next().await.expect("more") {
            FromCommand::Output(bytes) => got += bytes.len(),
            FromCommand::Ended(end) => break assert_eq!(end, End::Exited { code: 0 }),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, sent + DATA_MAX);
    drop(telling.await.unwrap());
}

// proves UP-11 ORG-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_ends_with_its_client_its_host_and_the_right_to_it() {
    let (server, _host, mut asked) = started().await;
    let member = server.member("acme", Role::Developer).await;
    let (owner, developer) = (key(&server.owner), key(&member));
    // The client goes away, without a word or with one; or says what is none.
    for leave in
        [None, Some(Message::Close(None)), Some(Message::Text("ls".into())), Some(Message::Binary("\u{1f}".into()))]
    {
        let mut client = Client::start(&server, &owner, &["sleep"]).await;
        let mut command = asked.next().await;
        command.started().await;
        match leave {
            Some(message) => client.0.send(message).await.unwrap(),
            None => drop(client),
        }
        assert_eq!(command.next().await, None);
    }
    // The host goes away, or makes no sense.
    for (said, wanted) in [(&b""[..], "its host went away"), (b"\xff\xff\xff\xff", "its host says what makes no sense")]
    {
        let mut client = Client::start(&server, &owner, &["sleep"]).await;
        let mut command = asked.next().await;
        command.started().await;
        command.socket.write_all(said).await.unwrap();
        drop(command);
        assert_eq!(client.unseen().await, wanted);
    }
    // The right to it goes away, and somebody else's stays.
    let mut client = Client::start(&server, &developer, &["sleep"]).await;
    let mut command = asked.next().await;
    command.started().await;
    let mut bystander = Client::start(&server, &owner, &["sleep"]).await;
    let mut other = asked.next().await;
    other.started().await;
    let user = TestServer::user(&member).await;
    server.owner.delete::<Value>(&format!("/v1/orgs/acme/members/{user}")).await.unwrap();
    assert_eq!(client.unseen().await, "you may not be in this shell any more");
    assert_eq!(command.next().await, None);
    bystander.say(&ToCommand::InputEnded).await;
    assert_eq!(other.next().await, Some(ToCommand::InputEnded));
    // The server does.
    server.stop();
    assert_eq!(bystander.unseen().await, "the server stops");
    assert_eq!(other.next().await, None);
}

// proves UP-11 ORG-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_run_asks_no_host() {
    let (server, _host, mut asked) = started().await;
    let owner = key(&server.owner);
    let code = async |key: &str, workspace| Client::open(&server, key, workspace).await.err().unwrap();
    assert_eq!(code(&owner, "gone").await, "workspace.not_found");
    let reviewer = key(&server.member("acme", Role::Reviewer).await);
    assert_eq!(code(&reviewer, "main").await, "access.denied");
    let stranger = key(&server.member("globex", Role::Owner).await);
    assert_eq!(code(&stranger, "main").await, "org.not_found");
    for argv in [&[][..], &[""], &["a\0b"], &[&"x".repeat(40_000)]] {
        assert_eq!(Client::start(&server, &owner, argv).await.refused().await, "exec.argv");
    }
    // What comes first says what is to run.
    let mut client = Client::open(&server, &owner, "main").await.unwrap();
    client.say(&ToCommand::InputEnded).await;
    assert_eq!(client.next().await, None);
    assert!(asked.is_over());
    assert_eq!(server.events("exec.started").await, 0);
    wait_until("one that may", async || {
        let _client = Client::start(&server, &owner, &["true"]).await;
        asked.next().await.started().await.argv == ["true"]
    })
    .await;
}

// proves OPS-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_just_started_again_is_asked_as_what_it_is_now() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let before = host.generation;
    let (refused, mut refusals) = mpsc::unbounded_channel();
    let (asked, commands) = mpsc::unbounded_channel();
    uplink(&server, &host, move |claims, _| {
        if claims.generation == before {
            let _ = refused.send(());
            return Err(Refusal::new(RefusalKind::Forbidden, "ticket.other_host", "of a registration before"));
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        asked.send((claims, ours)).map_err(|_| Refusal::unavailable("test.over", "the test is over"))?;
        Ok(theirs.into())
    });
    let owner = key(&server.owner);
    let (_client, ()) = tokio::join!(Client::start(&server, &owner, &["true"]), async {
        // It has asked as what the host was; only then is the host something else.
        refusals.recv().await.unwrap();
        host.reconnect().await;
    });
    assert!(host.generation > before);
    let mut command = Asked(commands).next().await;
    assert_eq!(command.claims.generation, host.generation);
    assert_eq!(command.started().await.argv, ["true"]);
}
