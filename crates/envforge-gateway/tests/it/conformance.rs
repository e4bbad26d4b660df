//! The WebSocket cases of the Autobahn suite, through the gateway and without it: what the service does is all that is seen.
//!
//! kosoku plays the client of each case and judges what comes back; the service is an independent server, Python's
//! `websockets`, that echoes. Left out are limits and speed (9.*) and compression (12.*, 13.*), which is the service's own.

use crate::support::World;
use envforge_testkit::python_judge;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

const ECHO: &str = "
import asyncio, websockets
async def echo(socket):
    async for message in socket:
        await socket.send(message)
async def main():
    async with websockets.serve(echo, '127.0.0.1', 0, max_size=1 << 26) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()
asyncio.run(main())
";
/// How often a case that came out otherwise is played again: some race their own close.
const AGAIN: usize = 5;

/// What became of a case: how it behaved, how it closed, with which code.
type Verdict = (String, String, String);

// proves LINK-3
#[tokio::test]
async fn a_websocket_behaves_through_the_gateway_as_without_it() {
    let (Some(python), Some(kosoku)) = (python_judge("python"), python_judge("kosoku")) else { return };
    let (_echo, address) = echo(&python).await;
    let world = World::awake().await;
    world.host.place("web", address);
    // kosoku shows no session and names no dev host: both are put into the head on the way, for both runs alike.
    let (direct, through) = (relay(address, &world).await, relay(world.gateway.local_addr, &world).await);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (all, left_out) = (["*".to_owned()], ["9.*", "12.*", "13.*"]);
    let (mut expected, mut found) = tokio::join!(
        play(&kosoku, direct, &all, &left_out, folder.path()),
        play(&kosoku, through, &all, &left_out, folder.path())
    );
    assert!(expected.len() > 240 && expected.len() == found.len(), "{} and {} cases", expected.len(), found.len());
    for _ in 0..AGAIN {
        let others: Vec<String> = differing(&expected, &found).map(|(case, ..)| case.clone()).collect();
        if others.is_empty() {
            break;
        }
        add(&mut expected, play(&kosoku, direct, &others, &[], folder.path()).await);
        add(&mut found, play(&kosoku, through, &others, &[], folder.path()).await);
    }
    let others: Vec<_> = differing(&expected, &found).collect();
    assert!(others.is_empty(), "case, without the gateway, through it: {others:#?}");
}

type Verdicts = BTreeMap<String, BTreeSet<Verdict>>;

/// Cases that came out through the gateway as they never did without it.
fn differing<'a>(
    expected: &'a Verdicts,
    found: &'a Verdicts,
) -> impl Iterator<Item = (&'a String, &'a BTreeSet<Verdict>, &'a BTreeSet<Verdict>)> {
    let pairs = found.iter().map(|(case, verdicts)| (case, &expected[case], verdicts));
    pairs.filter(|(_, expected, verdicts)| !verdicts.is_subset(expected))
}

fn add(to: &mut Verdicts, more: Verdicts) {
    for (case, verdicts) in more {
        to.entry(case).or_default().extend(verdicts);
    }
}

async fn echo(python: &Path) -> (Child, SocketAddr) {
    #[expect(clippy::disallowed_methods, reason = "an independent server, for the one who judges")]
    let mut command = Command::new(python);
    command.args(["-c", ECHO]).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("Python starts");
    let mut line = String::new();
    let out = child.stdout.take().expect("its output");
    BufReader::new(out).read_line(&mut line).await.expect("its port");
    (child, SocketAddr::from(([127, 0, 0, 1], line.trim().parse().expect("a port"))))
}

/// Puts the dev host and a session into the head of each handshake, and carries what follows as it is.
async fn relay(target: SocketAddr, world: &World) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let lines = format!("\r\nHost: {}\r\nCookie: {}", crate::support::HOST, world.cookie(1));
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.expect("a connection");
            let lines = lines.clone();
            tokio::spawn(async move { drop(carry(near, target, &lines).await) });
        }
    });
    address
}

async fn carry(mut near: TcpStream, target: SocketAddr, lines: &str) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(near.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let kept = head.split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("host:"));
    let head = kept.collect::<Vec<_>>().join("\r\n").replacen("\r\n", &format!("{lines}\r\n"), 1);
    let mut far = TcpStream::connect(target).await?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
    }
    far.write_all(head.as_bytes()).await?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop)
}

/// Plays the cases, and reads the report.
async fn play(kosoku: &Path, at: SocketAddr, cases: &[String], left_out: &[&str], folder: &Path) -> Verdicts {
    let report = folder.join(at.port().to_string());
    #[expect(clippy::disallowed_methods, reason = "an independent program judges ours")]
    let mut command = Command::new(kosoku);
    command.args(["--mode", "fuzzingclient", "--parallelism", "4", "--outdir"]).arg(&report);
    for case in cases {
        command.args(["--include", case]);
    }
    for case in left_out {
        command.args(["--exclude", case]);
    }
    let output = command.arg(format!("ws://{at}")).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.expect("kosoku runs");
    let index = std::fs::read(report.join("index.json"));
    let index = index.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let index: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_slice(&index).expect("its report");
    let told = |case: &Value, name: &str| case[name].to_string();
    let verdicts = index.into_values().flatten().map(|(name, case)| {
        let verdict = (told(&case, "behavior"), told(&case, "behaviorClose"), told(&case, "remoteCloseCode"));
        (name, BTreeSet::from([verdict]))
    });
    verdicts.collect()
}
