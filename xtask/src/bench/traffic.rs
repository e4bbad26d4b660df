//! Traffic through the gateway, its session checked on every request, beside others' proxies in front of the same services.

use super::load::{Asked, TURNS, in_turns, one_by_one, visitor};
use super::peers::{KINDS, Kind, Peer, Services};
use super::report::{Better, Record, Target};
use super::world::World;
use anyhow::Context as _;
use envforge_testkit::Browser;
use futures_util::{SinkExt as _, StreamExt as _};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Each time it is a socket's turn.
const MESSAGES: usize = 500;

/// Requests a second, and the latency of the worst in a hundred.
pub(super) async fn gateway(world: &World) -> anyhow::Result<Vec<Record>> {
    world.browser.get("/").await?;
    let names = [
        ("gateway", "gateway_p99"),
        ("gateway_haproxy", "gateway_haproxy_p99"),
        ("gateway_caddy", "gateway_caddy_p99"),
    ];
    let services = Services::start().map_err(|error| format!("{error:#}"));
    let start =
        |kind| Peer::start(kind, services.as_ref().map_err(Clone::clone)?).map_err(|error| format!("{error:#}"));
    let peers: Vec<Result<Peer, String>> = KINDS.iter().map(start).collect();
    let (url, arguments) = (format!("http://{}/", world.browser.gateway()), visitor(world)?.to_vec());
    let mut all = vec![Asked { url, arguments }];
    let url = |peer: &Peer| format!("http://127.0.0.1:{}/", peer.port);
    all.extend(peers.iter().flatten().map(|peer| Asked { url: url(peer), arguments: Vec::new() }));
    let mut loads = in_turns(&all).await.into_iter();
    let ours = loads.next().context("ours")??;
    let mut records = Vec::new();
    for ((kind, peer), (rate, latency)) in KINDS.iter().zip(&peers).zip(names) {
        let is_first = kind.name == "nginx";
        let target = Target { p50: None, p99: None, text: if is_first { "≥ nginx" } else { "-" } };
        let theirs = match peer {
            Ok(_) => loads.next().context("a load for each peer")?.map_err(|error| format!("{error:#}")),
            Err(why) => Err(why.clone()),
        };
        // A peer that does not start costs its own rows and no others; ours stand in the first ones.
        let mut both = match &theirs {
            Err(why) if !is_first => {
                let rows = [(rate, "req/s"), (latency, "ms")];
                rows.map(|(name, unit)| Record::not_run(name, unit, target, why))
            }
            _ => [
                Record::of(rate, "req/s", Better::More, &ours.rates, target),
                Record::of(latency, "ms", Better::Less, &ours.latencies, target),
            ],
        };
        match theirs {
            Ok(theirs) => {
                let [rate, latency] = both;
                both = [
                    rate.beside(&kind.peer(), Better::More, &theirs.rates),
                    latency.beside(&kind.peer(), Better::Less, &theirs.latencies),
                ];
                for record in &mut both {
                    record.missed = is_first && record.ratio.is_some_and(|ratio| ratio < 1.0);
                }
            }
            Err(why) => both.iter_mut().for_each(|record| record.not_run = Some(why.clone())),
        }
        records.extend(both);
    }
    Ok(records)
}

/// What a request takes longer than through nginx, with one client that waits for each answer.
pub(super) async fn latency(world: &World) -> anyhow::Result<Vec<Record>> {
    world.browser.get("/").await?;
    let target = Target { p50: Some(30.0), p99: None, text: "≤ 30 more than nginx" };
    let nginx = &KINDS[0];
    if !nginx.is_installed() {
        return Ok(vec![Record::not_run("gateway_latency", "µs", target, "nginx is not installed")]);
    }
    let cookie = world.browser.cookie().context("a session")?;
    let services = Services::start()?;
    let peer = Peer::start(nginx, &services)?;
    let (address, lines) = (world.browser.gateway(), format!("Host: {}\r\nCookie: {cookie}\r\n", world.browser.host()));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        ours.extend(one_by_one(address, &lines)?);
        theirs.extend(one_by_one(SocketAddr::from((Ipv4Addr::LOCALHOST, peer.port)), "Host: 127.0.0.1\r\n")?);
    }
    let mut sorted = theirs.clone();
    sorted.sort_by(f64::total_cmp);
    let usual = sorted[sorted.len() / 2];
    let added: Vec<f64> = ours.iter().map(|sample| sample - usual).collect();
    // What is added and what a whole request takes are no two of a kind.
    let record = Record::of("gateway_latency", "µs", Better::Less, &added, target);
    Ok(vec![record.along(&format!("whole request, {}", nginx.name), Better::Less, &theirs)])
}

/// One message there and back.
pub(super) async fn websocket(world: &World) -> anyhow::Result<Vec<Record>> {
    let mut socket = world.browser.websocket("/api/live").await?;
    let mut ours = echoes(&mut socket).await?;
    let target = Target { p50: Some(55.0), p99: None, text: "p50 ≤ 55" };
    let nginx: &Kind = &KINDS[0];
    if !nginx.is_installed() {
        return Ok(vec![Record::of("websocket", "µs", Better::Less, &ours, target)]);
    }
    let services = Services::start()?;
    let peer = Peer::start(nginx, &services)?;
    let stream = TcpStream::connect(("127.0.0.1", peer.port)).await?;
    stream.set_nodelay(true)?;
    let (mut beside, _) = client_async(format!("ws://127.0.0.1:{}/api/live", peer.port), stream).await?;
    let mut theirs = echoes(&mut beside).await?;
    for _ in 1..TURNS {
        ours.extend(echoes(&mut socket).await?);
        theirs.extend(echoes(&mut beside).await?);
    }
    let record = Record::of("websocket", "µs", Better::Less, &ours, target);
    Ok(vec![record.beside(&nginx.peer(), Better::Less, &theirs)])
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
