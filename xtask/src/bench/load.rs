//! The sources of load: wrk for as much as goes, patient clients for what a single request takes.

use super::world::{World, installed};
use anyhow::{Context as _, ensure};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::{Instant, timeout};

pub(super) const WRK: &str = "/usr/bin/wrk";
const RUNS: usize = 5;
const SECONDS: &str = "3s";
/// Requests of the one client, and those before that only warm up, each time it is its turn.
const REQUESTS: usize = 500;
const WARM: usize = 50;
/// How often it is everybody's turn where one client waits.
pub(super) const TURNS: usize = 10;
/// Longer than the gateway holds whoever waits for a wake.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

/// What came of wrk's runs.
#[derive(Default)]
pub(super) struct Load {
    /// Requests a second.
    pub(super) rates: Vec<f64>,
    /// Milliseconds of the worst in a hundred.
    pub(super) latencies: Vec<f64>,
}

/// The visitor's host and session, as wrk takes them.
pub(super) fn visitor(world: &World) -> anyhow::Result<[String; 4]> {
    let cookie = world.browser.cookie().context("a session")?;
    Ok(["-H".to_owned(), format!("Host: {}", world.browser.host()), "-H".to_owned(), format!("Cookie: {cookie}")])
}

/// Whom wrk asks, and how.
pub(super) struct Asked {
    pub(super) url: String,
    pub(super) arguments: Vec<String>,
}

/// 64 connections from two threads to each in turn, again and again: what the machine does beside it meets all of them.
/// Everything else of this program goes on meanwhile: the visitor's kept connections are closed when they have rested.
pub(super) async fn in_turns(all: &[Asked]) -> Vec<anyhow::Result<Load>> {
    let mut loads: Vec<anyhow::Result<Load>> = all.iter().map(|_| Ok(Load::default())).collect();
    for run in 0..=RUNS {
        for (asked, load) in all.iter().zip(&mut loads) {
            let Ok(so_far) = load else { continue };
            match once(asked).await {
                // The first run warms up.
                Ok(_) if run == 0 => {}
                Ok((rate, latency)) => {
                    so_far.rates.push(rate);
                    so_far.latencies.push(latency);
                }
                Err(error) => *load = Err(error),
            }
        }
    }
    loads
}

/// The rate, and the milliseconds of the worst in a hundred.
async fn once(asked: &Asked) -> anyhow::Result<(f64, f64)> {
    ensure!(installed(WRK), "wrk is not installed: apt-get install wrk");
    #[expect(clippy::disallowed_methods, reason = "the source of load")]
    let mut command = Command::new(WRK);
    command.args(["-t2", "-c64", "-d", SECONDS, "--latency"]).args(&asked.arguments).arg(&asked.url);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(!text.contains("Non-2xx"), "not every request was answered well:\n{text}");
    let said = || format!("wrk said:\n{text}");
    let rate = after(&text, "Requests/sec:").and_then(|word| word.parse().ok()).with_context(said)?;
    Ok((rate, worst_in_a_hundred(&text).with_context(said)?))
}

/// The word after another.
pub(super) fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.split_once(word)?.1.split_whitespace().next()
}

/// Milliseconds, as wrk tells them. A `99%` may stand before: the share of threads within a standard deviation.
fn worst_in_a_hundred(text: &str) -> Option<f64> {
    after(text.split_once("Latency Distribution")?.1, "99%").and_then(milliseconds)
}

/// `812.00us`, `1.35ms`, `2.01s`.
fn milliseconds(text: &str) -> Option<f64> {
    let (number, factor) = match text {
        _ if text.ends_with("us") => (text.strip_suffix("us")?, 0.001),
        _ if text.ends_with("ms") => (text.strip_suffix("ms")?, 1.0),
        _ => (text.strip_suffix('s')?, 1_000.0),
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

/// One kept connection, one request after another: microseconds of each.
pub(super) fn one_by_one(address: SocketAddr, lines: &str) -> anyhow::Result<Vec<f64>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let head = format!("GET / HTTP/1.1\r\n{lines}\r\n");
    let mut buffer = vec![0; 64 * 1024];
    let mut samples = Vec::with_capacity(REQUESTS);
    for number in 0..WARM + REQUESTS {
        let begun = Instant::now();
        stream.write_all(head.as_bytes())?;
        let mut filled = 0;
        while !is_whole(&buffer[..filled])? {
            let length = stream.read(&mut buffer[filled..])?;
            ensure!(length > 0, "the connection was closed");
            filled += length;
        }
        if number >= WARM {
            samples.push(begun.elapsed().as_secs_f64() * 1_000_000.0);
        }
    }
    Ok(samples)
}

/// A kept connection, over which the first page is asked for again and again.
pub(super) struct Page {
    stream: tokio::net::TcpStream,
    answer: Vec<u8>,
}

impl Page {
    pub(super) fn new(stream: tokio::net::TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(4 * 1024) })
    }

    /// Asks with these lines of a head, and waits until a good answer has come.
    pub(super) async fn get(&mut self, lines: &str) -> anyhow::Result<()> {
        self.stream.write_all(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes()).await?;
        self.answer.clear();
        while !is_whole(&self.answer)? {
            let length =
                timeout(PATIENCE, self.stream.read_buf(&mut self.answer)).await.context("no answer in time")??;
            ensure!(length > 0, "the connection was closed");
        }
        Ok(())
    }
}

/// Whether a good answer has come to its end; it tells its length.
fn is_whole(answer: &[u8]) -> anyhow::Result<bool> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 200"), "it was answered {head}");
    let length = after(&head, "content-length:").and_then(|length| length.parse::<usize>().ok());
    Ok(answer.len() >= end + 4 + length.context("an answer with its length")?)
}

#[cfg(test)]
mod tests {
    use super::{after, is_whole, milliseconds, worst_in_a_hundred};

    #[test]
    fn what_wrk_says_is_understood() {
        let text = "  Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     1.20ms    0.98ms  20.41ms   86.99%\n    \
                    Req/Sec    33.10k     1.21k   36.20k    99.00%\n  Latency Distribution\n     50%    1.02ms\n     \
                    99%    1.35ms\nRequests/sec:  66123.45\n";
        assert_eq!(worst_in_a_hundred(text), Some(1.35));
        assert_eq!(after(text, "Requests/sec:"), Some("66123.45"));
        assert_eq!(milliseconds("812.00us"), Some(0.812));
        assert_eq!(milliseconds("2.00s"), Some(2_000.0));
    }

    #[test]
    fn an_answer_is_whole_with_its_body() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert!(is_whole(answer).unwrap() && !is_whole(&answer[..answer.len() - 1]).unwrap());
        assert!(is_whole(b"HTTP/1.1 503 Not now\r\nContent-Length: 0\r\n\r\n").is_err());
    }
}
