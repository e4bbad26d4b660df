//! Many at once: idle WebSockets, a crowd that meets a sleeping workspace, strangers who knock while visitors work.

use super::load::{PATIENCE, Page, after};
use super::report::{Better, Record, Target};
use super::world::{World, installed, resident, told};
use anyhow::{Context as _, ensure};
use envforge_api::http::workspaces::Workspace;
use envforge_core::runtime::SleepTier;
use envforge_testkit::Browser;
use futures_util::future::join_all;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};

const H2LOAD: &str = "/usr/bin/h2load";
/// Idle WebSockets: as many as fit an ordinary limit of descriptors, and as many as are promised.
const IDLE: u64 = 9_000;
const IDLE_MANY: u64 = 50_000;
/// Descriptors a process needs for everything else.
const SPARE: u64 = 500;
/// Connections of one source address: fewer than the gateway lets one have, and than there are ports.
const PER_SOURCE: u64 = 1_000;
const CROWD: usize = 1_000;
/// Strangers' requests: clients, each so many a second.
const STRANGERS: u32 = 40;
const STRANGER_RATE: u32 = 500;
const FLOOD_SECONDS: u32 = 10;
/// The visitors beside them: connections, and the time between two requests of each.
const VISITORS: u32 = 8;
const VISIT_EVERY: Duration = Duration::from_millis(16);

/// What an idle WebSocket costs the gateway.
pub(super) async fn idle(world: &World) -> anyhow::Result<Vec<Record>> {
    let target = Target { p50: Some(20.0), p99: None, text: "< 20 each" };
    let limit = descriptors(world.role("gateway")?)?.min(2 * own_descriptors());
    let mut records = Vec::new();
    for (name, count) in [("idle", IDLE), ("idle_50000", IDLE_MANY)] {
        // The gateway holds two ends of each, this program one.
        if limit < 2 * count + SPARE {
            let why = format!("descriptor limit: {count} need {} of them, {limit} are allowed", 2 * count + SPARE);
            records.push(Record::not_run(name, "KB", target, &why));
            continue;
        }
        let gateway = fresh_gateway(world).await?;
        let before = resident(gateway)?;
        let mut sockets = Vec::with_capacity(count as usize);
        for number in 0..count {
            sockets.push(open_socket(world, number).await.with_context(|| format!("socket {number}"))?);
        }
        // What opening them took for a moment is given back.
        sleep(Duration::from_secs(2)).await;
        let each = (resident(gateway)? - before) * 1_000.0 / count as f64;
        records.push(Record::of(name, "KB", Better::Less, &[each], target));
        drop(sockets);
        sleep(Duration::from_secs(2)).await;
    }
    Ok(records)
}

/// Ends the gateway and waits until its successor works: what earlier loads took, the system has back only then.
async fn fresh_gateway(world: &World) -> anyhow::Result<i32> {
    let last = world.role("gateway")?;
    kill_process(Pid::from_raw(last).context("a process")?, Signal::TERM)?;
    let end = Instant::now() + PATIENCE;
    loop {
        // Its first answers may be that it has not heard of the server and the host yet.
        let is_at_work = async || world.browser.get("/").await.is_ok();
        match world.role("gateway") {
            Ok(pid) if pid != last && is_at_work().await => {
                // What its start took for a moment is given back.
                sleep(Duration::from_secs(2)).await;
                return Ok(pid);
            }
            _ => ensure!(Instant::now() < end, "no other gateway came"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The soft limit of open files of a process.
fn descriptors(pid: i32) -> anyhow::Result<u64> {
    let text = fs_err::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).context("a limit of open files")?;
    Ok(line.split_whitespace().next().and_then(|limit| limit.parse().ok()).unwrap_or(u64::MAX))
}

/// As many descriptors as this program may have, from now on.
fn own_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    limit.maximum.unwrap_or(u64::MAX / 2)
}

/// A WebSocket to the service that echoes, from one of several addresses of this machine: one alone has too few ports.
async fn open_socket(world: &World, number: u64) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, 2 + (number / PER_SOURCE) as u8), 0).into())?;
    let mut stream = socket.connect(world.browser.gateway()).await?;
    let head = format!(
        "GET /api/live HTTP/1.1\r\n{}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        visitor(world)?
    );
    stream.write_all(head.as_bytes()).await?;
    let status = status(&mut stream).await?;
    ensure!(status == 101, "a WebSocket is answered {status}");
    Ok(stream)
}

/// The visitor's host and session, as lines.
fn visitor(world: &World) -> anyhow::Result<String> {
    let cookie = world.browser.cookie().context("a session")?;
    Ok(format!("Host: {}\r\nCookie: {cookie}\r\n", world.browser.host()))
}

/// Reads an answer's head, and as much of its body as came with it; its status.
async fn status(stream: &mut TcpStream) -> anyhow::Result<u16> {
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        let length = timeout(PATIENCE, stream.read(&mut buffer)).await.context("no answer in time")??;
        ensure!(length > 0, "the connection was closed");
        answer.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8_lossy(&answer).get(9..12).and_then(|status| status.parse().ok()).context("a status")
}

/// A crowd asks a workspace whose processes have ended: one wake, and everybody is answered.
pub(super) async fn storm(world: &World) -> anyhow::Result<Vec<Record>> {
    own_descriptors();
    world.sleep(SleepTier::Stopped).await?;
    let generation =
        async || anyhow::Ok(told::<Workspace>(world.client.get(&world.path("")).await)?.runtime.generation);
    let before = generation().await?;
    let head = format!("GET / HTTP/1.1\r\n{}Accept: */*\r\nConnection: close\r\n\r\n", visitor(world)?);
    let begun = Instant::now();
    let asked = (0..CROWD).map(|_| async {
        let mut stream = TcpStream::connect(world.browser.gateway()).await?;
        stream.write_all(head.as_bytes()).await?;
        let status = status(&mut stream).await?;
        ensure!(status == 200, "it was answered {status}");
        anyhow::Ok(begun.elapsed().as_secs_f64() * 1_000.0)
    });
    let (mut samples, mut refusals) = (Vec::new(), Vec::new());
    for answer in join_all(asked).await {
        match answer {
            Ok(took) => samples.push(took),
            Err(error) => refusals.push(error),
        }
    }
    let wakes = generation().await?.saturating_sub(before) as f64;
    if let Some(first) = refusals.first() {
        crate::say(&format!("  {} of {CROWD} were refused, the first: {first:#}", refusals.len()));
    }
    let none = Target { p50: None, p99: None, text: "-" };
    let last = samples.iter().copied().reduce(f64::max);
    let refused = Target { p50: Some(0.0), p99: None, text: "0 of 1,000" };
    let woken = Target { p50: Some(1.0), p99: None, text: "1" };
    let mut woken = Record::of("storm_wakes", "wakes", Better::Less, &[wakes], woken);
    woken.missed |= wakes < 1.0;
    Ok(vec![
        Record::of("storm", "ms", Better::Less, &samples, none),
        Record::of("storm_last", "ms", Better::Less, last.as_slice(), none),
        Record::of("storm_refused", "requests", Better::Less, &[refusals.len() as f64], refused),
        woken,
    ])
}

/// Visitors at an even rate while strangers without a session ask 20,000 times a second.
pub(super) async fn flood(world: &World) -> anyhow::Result<Vec<Record>> {
    let target = Target { p50: None, p99: Some(10.0), text: "p99 < 10 beside 20,000/s" };
    if !installed(H2LOAD) {
        return Ok(vec![Record::not_run("flood", "ms", target, "h2load is not installed")]);
    }
    world.browser.get("/").await?;
    let quiet = visits(world).await?;
    #[expect(clippy::disallowed_methods, reason = "the source of load")]
    let mut command = tokio::process::Command::new(H2LOAD);
    let (clients, rate, seconds) = (STRANGERS.to_string(), STRANGER_RATE.to_string(), (FLOOD_SECONDS + 1).to_string());
    command.args(["--h1", "-c", &clients, "--rps", &rate, "-D", &seconds, "-H"]);
    command.arg(format!(":authority: {}", world.browser.host())).arg(format!("http://{}/", world.browser.gateway()));
    let strangers = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let paced = async {
        sleep(Duration::from_secs(u64::from(FLOOD_SECONDS) / 2)).await;
        let stranger = Browser::at(&format!("http://{}", world.browser.host()))?;
        anyhow::Ok(stranger.status("/").await?.as_u16() == 429)
    };
    let (strangers, samples, paced) = tokio::join!(strangers, visits(world), paced);
    let (strangers, samples) = (strangers?, samples?);
    let text = String::from_utf8_lossy(&strangers.stdout).into_owned();
    let reached = per_second(&text).with_context(|| format!("h2load said:\n{text}"))?;
    ensure!(text.contains(" 0 2xx,"), "a stranger was let in:\n{text}");
    // A box that is not ours may turn most of them away before it looks at them: that is another measurement.
    let names = if paced? { ["flood_paced", "flood_paced_strangers"] } else { ["flood", "flood_strangers"] };
    let enough = Target { p50: Some(f64::from(STRANGERS * STRANGER_RATE) * 0.95), p99: None, text: "20,000/s" };
    let strangers = Record::of(names[1], "req/s", Better::More, &[reached], enough);
    let mut record = Record::of(names[0], "ms", Better::Less, &samples, target);
    record = record.along("no strangers", Better::Less, &quiet);
    record.missed |= strangers.missed;
    Ok(vec![record, strangers])
}

/// `finished in 10.00s, 20000.00 req/s, …`.
fn per_second(text: &str) -> Option<f64> {
    after(text.split_once("finished in")?.1, ",")?.parse().ok()
}

/// Milliseconds from when each request was due until its answer.
async fn visits(world: &World) -> anyhow::Result<Vec<f64>> {
    let lines = visitor(world)?;
    let begin = Instant::now() + Duration::from_secs(1);
    let turns = FLOOD_SECONDS * 1_000 / VISIT_EVERY.as_millis() as u32;
    let visitors = (0..VISITORS).map(|visitor| {
        let lines = &lines;
        async move {
            let mut page = Page::new(TcpStream::connect(world.browser.gateway()).await?)?;
            let mut samples = Vec::new();
            for turn in 0..turns {
                let due = begin + VISIT_EVERY * turn + VISIT_EVERY * visitor / VISITORS;
                sleep_until(due).await;
                page.get(lines).await?;
                samples.push(due.elapsed().as_secs_f64() * 1_000.0);
            }
            anyhow::Ok(samples)
        }
    });
    let all: Vec<Vec<f64>> = join_all(visitors).await.into_iter().collect::<anyhow::Result<_>>()?;
    Ok(all.concat())
}

#[cfg(test)]
mod tests {
    use super::{descriptors, per_second};

    #[test]
    fn what_h2load_says_is_understood() {
        assert_eq!(per_second("\nfinished in 1.00s, 19998.50 req/s, 3.82MB/s\n"), Some(19_998.5));
    }

    #[test]
    fn a_process_has_a_limit_of_open_files() {
        assert!(descriptors(std::process::id().cast_signed()).unwrap() > 0);
    }
}
