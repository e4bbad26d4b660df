//! Waking, sleeping, receipts, and what the daemon weighs.

use super::report::{Better, Record, Target};
use super::world::{World, app, resident, timed};
use anyhow::{Context as _, bail, ensure};
use envforge_core::runtime::SleepTier;
use envforge_testkit::Browser;
use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

const THAWS: usize = 40;
const WAKES: usize = 12;
const RECEIPTS: usize = 12;
/// How long a program of the peer may take until it listens.
const START: Duration = Duration::from_secs(10);

/// Memory of the daemon and of the whole control plane, at rest.
pub(super) fn daemon(world: &World) -> anyhow::Result<Vec<Record>> {
    let host = resident(world.role("host")?)?;
    let target = Target { p50: Some(20.0), p99: None, text: "< 20 at rest" };
    let record = Record::of("daemon", "MB", Better::Less, &[host], target);
    let mut all = vec![host, resident(world.role("server")?)?, resident(world.role("gateway")?)?];
    all.extend(world.installation.supervisor().map(resident).transpose()?);
    let target = Target { p50: Some(80.0), p99: None, text: "< 80 with supervisor" };
    let total = Record::of("daemon_all", "MB", Better::Less, &[all.iter().sum()], target);
    Ok(vec![record, total])
}

/// What waking from frozen adds to a request; an open WebSocket must live through all of it.
pub(super) async fn thaw(world: &World) -> anyhow::Result<Vec<Record>> {
    let mut socket = world.browser.websocket("/api/live").await?;
    Browser::echo(&mut socket, "before", "before").await?;
    let mut awake = Vec::new();
    for _ in 0..THAWS {
        let (milliseconds, _) = timed(world.browser.get("/")).await?;
        awake.push(milliseconds);
    }
    awake.sort_by(f64::total_cmp);
    let usual = awake[THAWS / 2];
    let mut samples = Vec::new();
    for _ in 0..THAWS {
        world.sleep(SleepTier::Frozen).await?;
        let (milliseconds, _) = timed(world.browser.get("/")).await?;
        samples.push((milliseconds - usual).max(0.0));
    }
    Browser::echo(&mut socket, "after", "after").await.context("the connection did not survive")?;
    let target = Target { p50: Some(5.0), p99: Some(20.0), text: "p50 < 5, p99 < 20" };
    Ok(vec![Record::of("thaw", "ms", Better::Less, &samples, target)])
}

/// Our own share of a wake from stopped: web, api and PostgreSQL to the first 200 of both, less what the same services
/// take when they are started by hand.
pub(super) async fn wake(world: &World) -> anyhow::Result<Vec<Record>> {
    let mut by_hand = Vec::new();
    for _ in 0..WAKES {
        by_hand.push(start_by_hand().await?);
    }
    by_hand.sort_by(f64::total_cmp);
    let usual = by_hand[WAKES / 2];
    let mut samples = Vec::new();
    for _ in 0..WAKES {
        world.sleep(SleepTier::Stopped).await?;
        let both = async { tokio::try_join!(world.browser.get("/"), world.browser.get("/api/health")) };
        let (milliseconds, _) = timed(both).await?;
        samples.push((milliseconds - usual).max(0.0));
    }
    let target = Target { p50: Some(100.0), p99: None, text: "our share < 100" };
    let record = Record::of("wake", "ms", Better::Less, &samples, target);
    Ok(vec![record.along("services by hand (not ours)", Better::Less, &by_hand)])
}

/// Milliseconds until node answers, started by hand.
async fn start_by_hand() -> anyhow::Result<f64> {
    let port = envforge_testkit::free_port();
    let begun = Instant::now();
    let _node = ByHand::node(port)?;
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        ensure!(begun.elapsed() < Duration::from_secs(10), "node does not start");
        sleep(Duration::from_millis(1)).await;
    }
    Ok(begun.elapsed().as_secs_f64() * 1_000.0)
}

/// A program of the peer, ended with this.
pub(super) struct ByHand {
    child: Child,
    /// What it says on stderr; a file without a name.
    words: File,
}

impl ByHand {
    /// The application's API, without a database.
    pub(super) fn node(port: u16) -> anyhow::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "the peer that is measured")]
        let mut command = Command::new("node");
        command.arg(app().join("api.mjs")).env("PORT", port.to_string()).env_remove("DATABASE_URL");
        Self::start(command)
    }

    /// Any program.
    pub(super) fn start(mut command: Command) -> anyhow::Result<Self> {
        let words = tempfile::tempfile()?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(words.try_clone()?);
        let child = command.spawn().with_context(|| format!("{} could not be started", name(&command)))?;
        Ok(Self { child, words })
    }

    /// Waits until it listens on a port; if it does not, an error with its last words.
    pub(super) fn listens(&mut self, port: u16) -> anyhow::Result<()> {
        let end = Instant::now() + START;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended at once ({status}): {}", self.last_words());
            }
            ensure!(Instant::now() < end, "nobody listens on port {port}: {}", self.last_words());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The last lines of its stderr.
    fn last_words(&self) -> String {
        let mut text = vec![0; 64 * 1024];
        // At a place of its own: the program writes where the shared one is.
        let length = self.words.read_at(&mut text, 0).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[..length]);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(4)..].join("; ")
    }
}

/// A program's name, without its folder.
fn name(command: &Command) -> Cow<'_, str> {
    Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy()
}

impl Drop for ByHand {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// From the order to sleep until the receipt is final.
pub(super) async fn receipt(world: &World) -> anyhow::Result<Vec<Record>> {
    let mut samples = Vec::new();
    for _ in 0..RECEIPTS {
        world.browser.get("/").await?;
        let last = world.usage().await?.receipts.iter().find(|receipt| receipt.is_final).map(|receipt| receipt.session);
        let begun = Instant::now();
        world.sleep(SleepTier::Stopped).await?;
        loop {
            let usage = world.usage().await?;
            let newest = usage.receipts.iter().find(|receipt| receipt.is_final).map(|receipt| receipt.session);
            if newest.is_some() && newest != last {
                break;
            }
            ensure!(begun.elapsed() < Duration::from_secs(30), "no final receipt: {usage:?}");
            sleep(Duration::from_millis(2)).await;
        }
        samples.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    let target = Target { p50: None, p99: Some(1_000.0), text: "p99 < 1,000" };
    Ok(vec![Record::of("receipt", "ms", Better::Less, &samples, target)])
}

#[cfg(test)]
mod tests {
    use super::ByHand;
    use std::process::Command;

    #[test]
    fn a_program_that_ends_before_it_listens_is_quoted() {
        #[expect(clippy::disallowed_methods, reason = "a program that does not start")]
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo no such option >&2; exit 3"]);
        let mut program = ByHand::start(command).unwrap();
        let error = program.listens(envforge_testkit::free_port()).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with(": no such option"), "{error}");
    }
}
