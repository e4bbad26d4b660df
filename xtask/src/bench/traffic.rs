//! Traffic through the gateway, its session checked on every request, beside nginx in front of the same services.

use super::report::{Better, Record, Target};
use super::runtimes::ByHand;
use super::world::{World, app, installed};
use anyhow::{Context as _, ensure};
use envforge_testkit::{Browser, free_port};
use futures_util::{SinkExt as _, StreamExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

const NGINX: &str = "/usr/sbin/nginx";
const WRK: &str = "/usr/bin/wrk";
const RUNS: usize = 5;
const SECONDS: &str = "3s";
const MESSAGES: usize = 3_000;

/// Requests a second, and the latency of the worst in a hundred.
pub(super) async fn gateway(world: &World) -> anyhow::Result<Vec<Record>> {
    ensure!(installed(WRK), "wrk is not installed: apt-get install wrk");
    world.browser.get("/").await?;
    let host = format!("Host: {}", world.browser.host());
    let cookie = format!("Cookie: {}", world.browser.cookie().context("a session")?);
    let ours = load(&format!("http://{}/", world.browser.gateway()), &["-H", &host, "-H", &cookie])?;
    let rate = Target { p50: None, p99: None, text: "≥ nginx" };
    let mut rates = Record::of("gateway", "req/s", Better::More, &ours.rates, rate);
    let mut latencies = Record::of("gateway_p99", "ms", Better::Less, &ours.latencies, rate);
    if installed(NGINX) {
        let peer = Nginx::start()?;
        let theirs = load(&format!("http://127.0.0.1:{}/", peer.port), &[])?;
        rates = rates.beside("nginx, no session", Better::More, &theirs.rates);
        latencies = latencies.beside("nginx, no session", Better::Less, &theirs.latencies);
        for record in [&mut rates, &mut latencies] {
            record.missed = record.ratio.is_some_and(|ratio| ratio < 1.0);
        }
    }
    Ok(vec![rates, latencies])
}

struct Load {
    rates: Vec<f64>,
    latencies: Vec<f64>,
}

fn load(url: &str, headers: &[&str]) -> anyhow::Result<Load> {
    let mut all = Load { rates: Vec::new(), latencies: Vec::new() };
    for run in 0..=RUNS {
        #[expect(clippy::disallowed_methods, reason = "the source of load")]
        let mut command = Command::new(WRK);
        command.args(["-t2", "-c64", "-d", SECONDS, "--latency"]).args(headers).arg(url).stdin(Stdio::null());
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(!text.contains("Non-2xx"), "not every request was answered well:\n{text}");
        // The first run warms up.
        if run > 0 {
            all.rates.push(
                after(&text, "Requests/sec:")
                    .and_then(|word| word.parse().ok())
                    .with_context(|| format!("wrk said:\n{text}"))?,
            );
            all.latencies
                .push(after(&text, "99%").and_then(milliseconds).with_context(|| format!("wrk said:\n{text}"))?);
        }
    }
    Ok(all)
}

fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.split_once(word)?.1.split_whitespace().next()
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

/// One message there and back.
pub(super) async fn websocket(world: &World) -> anyhow::Result<Vec<Record>> {
    let mut socket = world.browser.websocket("/api/live").await?;
    let samples = echoes(&mut socket).await?;
    let target = Target { p50: Some(55.0), p99: None, text: "p50 ≤ 55" };
    let record = Record::of("websocket", "µs", Better::Less, &samples, target);
    if !installed(NGINX) {
        return Ok(vec![record]);
    }
    let peer = Nginx::start()?;
    let stream = TcpStream::connect(("127.0.0.1", peer.port)).await?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = client_async(format!("ws://127.0.0.1:{}/api/live", peer.port), stream).await?;
    let samples = echoes(&mut socket).await?;
    Ok(vec![record.beside("nginx, no session", Better::Less, &samples)])
}

async fn echoes(socket: &mut WebSocketStream<TcpStream>) -> anyhow::Result<Vec<f64>> {
    Browser::echo(socket, "warm", "warm").await?;
    let mut samples = Vec::with_capacity(MESSAGES);
    for _ in 0..MESSAGES {
        let begun = Instant::now();
        socket.send(Message::text("0123456789abcdef")).await?;
        socket.next().await.context("the WebSocket was closed")??;
        samples.push(begun.elapsed().as_secs_f64() * 1_000_000.0);
    }
    Ok(samples)
}

/// nginx in front of the application's two services, all started by hand.
struct Nginx {
    port: u16,
    _processes: Vec<ByHand>,
    _folder: tempfile::TempDir,
}

impl Nginx {
    fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (port, api) = (free_port(), free_port());
        let template = fs_err::read_to_string(app().join("proxy.conf"))?;
        let dir = folder.path().to_string_lossy().into_owned();
        let text =
            template.replace("@dir@", &dir).replace("@api@", &api.to_string()).replace("@listen@", &port.to_string());
        let proxy = folder.path().join("proxy.conf");
        fs_err::write(&proxy, text)?;
        let text = fs_err::read_to_string(app().join("static.conf"))?.replace("/tmp/", &format!("{dir}/s"));
        let upstream = folder.path().join("static.conf");
        fs_err::write(&upstream, text)?;
        let nginx = |configuration: &Path| {
            #[expect(clippy::disallowed_methods, reason = "the peer that is measured")]
            let mut command = Command::new(NGINX);
            command.arg("-p").arg(&dir).args(["-e", "stderr", "-c"]).arg(configuration);
            ByHand::start(command)
        };
        let processes = vec![nginx(&upstream)?, ByHand::node(api)?, nginx(&proxy)?];
        let begun = Instant::now();
        for port in [8080, api, port] {
            while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
                ensure!(begun.elapsed() < Duration::from_secs(10), "the peer does not listen on port {port}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(Self { port, _processes: processes, _folder: folder })
    }
}

#[cfg(test)]
mod tests {
    use super::{after, milliseconds};

    #[test]
    fn what_wrk_says_is_understood() {
        let text = "     99%    1.35ms\nRequests/sec:  66123.45\n";
        assert_eq!(after(text, "99%").and_then(milliseconds), Some(1.35));
        assert_eq!(after(text, "Requests/sec:"), Some("66123.45"));
        assert_eq!(milliseconds("812.00us"), Some(0.812));
        assert_eq!(milliseconds("2.00s"), Some(2_000.0));
    }
}
