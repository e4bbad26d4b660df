//! From a thaw to the first byte a service answers, with its memory kept and with its memory given back.

use super::super::report::{Better, Record, Target};
use super::super::world::timed;
use super::memory::Swap;
use super::{LIMIT, Place, Running, process};
use anyhow::Context as _;
use envforge_host::sys::netns;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const THAWS: usize = 60;
const SLEEPS: usize = 20;
const PORT: u16 = 3_000;
/// A service with a hundred thousand objects on its heap, that answers whatever it is sent with one byte.
const SERVICE: &str = "
const kept = Array.from({ length: 100_000 }, (_, i) => ({ i, name: `object ${i}`, tags: [i, i + 1, `${i}`] }));
require('node:net').createServer((socket) => {
    socket.setNoDelay(true);
    socket.on('data', (data) => socket.write(kept[data[0] * 390].name.slice(0, 1)));
}).listen(3000, '127.0.0.1');";

/// A frozen service asked by a connection that was there before.
pub(in super::super) async fn sleep(program: &Path) -> anyhow::Result<Vec<Record>> {
    let kept = Target { p50: Some(3.0), p99: None, text: "p50 < 3" };
    let given_back = Target { p50: Some(15.0), p99: None, text: "p50 < 15" };
    let freed = Target { p50: Some(80.0), p99: None, text: "> 80" };
    let place = Place::new(program)?;
    if let Err(why) = place.has_cgroups() {
        return Ok(vec![
            Record::not_run("sleep", "ms", kept, &why),
            Record::not_run("sleep_zram", "ms", given_back, &why),
            Record::not_run("sleep_freed", "%", freed, &why),
        ]);
    }
    let running = place.start(0).await?;
    running.client.spawn(process("service", &["node", "-e", SERVICE])).await?;
    let mut stream = connect(&running).await?;
    for _ in 0..THAWS {
        ask(&mut stream).await?;
    }
    let mut samples = Vec::new();
    for _ in 0..THAWS {
        running.group.freeze(LIMIT)?;
        samples.push(wake(&running, &mut stream).await?);
    }
    let mut records = vec![Record::of("sleep", "ms", Better::Less, &samples, kept)];
    let swap = match Swap::ensure() {
        Ok(swap) => swap,
        Err(why) => {
            let why = format!("{why:#}");
            records.push(Record::not_run("sleep_zram", "ms", given_back, &why));
            records.push(Record::not_run("sleep_freed", "%", freed, &why));
            return Ok(records);
        }
    };
    // What it holds when all of it is there: later, what it does not touch stays given back.
    let awake = running.group.stats()?.memory_bytes;
    let (mut samples, mut shares) = (Vec::new(), Vec::new());
    for _ in 0..SLEEPS {
        running.group.freeze(LIMIT)?;
        running.group.reclaim()?;
        let kept = running.group.stats()?.memory_bytes;
        shares.push((1.0 - kept as f64 / awake as f64) * 100.0);
        samples.push(wake(&running, &mut stream).await?);
        // Awake for a while, as a service is between two sleeps: what it needs comes back.
        for _ in 0..THAWS {
            ask(&mut stream).await?;
        }
    }
    if swap.kind == "zram" {
        records.push(Record::of("sleep_zram", "ms", Better::Less, &samples, given_back));
    } else {
        let why = "this machine swaps to a disk";
        records.push(Record::not_run("sleep_zram", "ms", given_back, why));
    }
    records.push(Record::of("sleep_freed", "%", Better::More, &shares, freed));
    Ok(records)
}

/// Sends a byte to what is frozen, thaws it, and waits for the answer.
async fn wake(running: &Running<'_>, stream: &mut TcpStream) -> anyhow::Result<f64> {
    stream.write_all(&[7]).await?;
    let (milliseconds, ()) = timed(async {
        running.group.thaw()?;
        answer(stream).await
    })
    .await?;
    Ok(milliseconds)
}

async fn ask(stream: &mut TcpStream) -> anyhow::Result<()> {
    stream.write_all(&[9]).await?;
    answer(stream).await
}

async fn answer(stream: &mut TcpStream) -> anyhow::Result<()> {
    timeout(LIMIT, stream.read_exact(&mut [0])).await.context("no answer in time")??;
    Ok(())
}

/// A connection to the service, as soon as it listens.
async fn connect(running: &Running<'_>) -> anyhow::Result<TcpStream> {
    let end = Instant::now() + LIMIT;
    loop {
        match netns::connect(&running.netns, PORT).await {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > end => return Err(error).context("the service does not listen"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
