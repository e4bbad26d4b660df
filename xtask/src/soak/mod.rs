//! Work and faults at random, for as long as asked: what was promised must hold whatever is killed when.
//!
//! Each round does one thing a member or a visitor does (writes, reads, types, echoes, puts to sleep) and, half of the time,
//! kills one process with `kill -9` at a random moment around it. What was interrupted is tried again, as people do. Some
//! rounds are another kind: [`crowd`] sends many visitors at once, [`fuzz`] hands hostile input to everything that reads
//! what strangers wrote. Then the promises are checked:
//!
//! - a row that was confirmed is there;
//! - the shell is the same one: a variable set at the beginning still has its value;
//! - the box is healthy again within half a minute;
//! - at the end the ledger verifies, windows do not overlap, and no second was billed that did not pass.
//!
//! The seed is printed; the same seed makes the same choices.

mod crowd;
mod fuzz;

use crate::bench::world::World;
use crate::installation::Which;
use crate::say;
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use envforge_api::ambient::SystemEntropy;
use envforge_core::clock::Entropy as _;
use envforge_core::runtime::SleepTier;
use envforge_testkit::Browser;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long anything may take to be well again.
const RECOVERY: Duration = Duration::from_secs(30);
const VICTIMS: [&str; 5] = ["server", "gateway", "host", "postgres", "supervisor"];

/// `xtask soak`.
#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// Makes the same choices as an earlier run; random when absent
    #[arg(long)]
    seed: Option<u64>,
    /// How long
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Only hostile input, and only for this; needs no box
    #[arg(long, value_name = "TARGET")]
    fuzz: Option<fuzz::Target>,
    #[command(flatten)]
    which: Which,
}

/// What a round does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Write,
    Read,
    Type,
    Echo,
    Freeze,
    Stop,
}

/// Soaks.
pub(crate) async fn run(soak: &Soak) -> anyhow::Result<()> {
    let seed = soak.seed.unwrap_or_else(random_seed);
    say(&format!("seed {seed}, {} minutes", soak.minutes));
    if let Some(target) = soak.fuzz {
        let time = Duration::from_secs_f64(soak.minutes * 60.0);
        return fuzz::run(target, &mut Random(seed | 1), time).with_context(|| format!("--seed {seed}"));
    }
    let mut state = State::begin(&soak.which, seed).await?;
    let end = Instant::now() + Duration::from_secs_f64(soak.minutes * 60.0);
    let mut outcome = Ok(());
    while outcome.is_ok() && Instant::now() < end {
        outcome = state.round().await;
    }
    if outcome.is_ok() {
        outcome = state.settle().await;
    }
    let counts: Vec<String> = state.counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    say(&format!("{} rounds: {}", state.rounds, counts.join(", ")));
    outcome.with_context(|| {
        let words = state.world.installation.last_words();
        format!("round {} with --seed {seed}; the box's last words:\n{words}\n", state.rounds)
    })?;
    state.world.end().await
}

struct State {
    world: World,
    random: Random,
    rounds: u32,
    confirmed: Vec<String>,
    mark: String,
    counts: BTreeMap<String, u32>,
}

impl State {
    async fn begin(which: &Which, seed: u64) -> anyhow::Result<Self> {
        let app = crate::tidy::repository().join("crates/envforged/tests/it/stories/app");
        let world = World::begin_with(which, &app, "/api/notes").await.context("the box to soak")?;
        let mark = format!("mark{seed}");
        let mut shell = world.shell(world.workspace.slug.as_str()).await?;
        shell.answers().await?;
        shell.send(&format!("MARK={mark}; echo set-$((40+2))\r")).await?;
        shell.expect("set-42").await?;
        Ok(Self { world, random: Random(seed | 1), rounds: 0, confirmed: Vec::new(), mark, counts: BTreeMap::new() })
    }

    async fn round(&mut self) -> anyhow::Result<()> {
        self.rounds += 1;
        match self.random.below(12) {
            0 => self.crowd().await,
            1 => {
                *self.counts.entry("fuzz".to_owned()).or_default() += 1;
                fuzz::round(&mut self.random)
            }
            _ => self.deed().await,
        }
    }

    async fn crowd(&mut self) -> anyhow::Result<()> {
        *self.counts.entry("crowd".to_owned()).or_default() += 1;
        let killed = crowd::round(&self.world, &mut self.random).await?;
        for (victim, pid) in killed {
            *self.counts.entry(format!("{victim} killed")).or_default() += 1;
            self.healthy(victim, Some(pid))
                .await
                .with_context(|| format!("after a crowd and `kill -9` of the {victim}"))?;
        }
        self.eventually(Deed::Read, "").await.context("after a crowd")
    }

    async fn deed(&mut self) -> anyhow::Result<()> {
        use Deed::{Echo, Freeze, Read, Stop, Type, Write};
        let deed = self.random.pick(&[Write, Write, Write, Read, Type, Type, Echo, Freeze, Freeze, Stop]);
        let victim = (self.random.below(2) == 0).then(|| self.random.pick(&VICTIMS));
        let delay = Duration::from_millis(self.random.below(400));
        *self.counts.entry(format!("{deed:?}").to_lowercase()).or_default() += 1;
        let text = format!("note-{}-{}", self.rounds, self.random.below(1_000_000));
        let killing = async {
            sleep(delay).await;
            victim.filter(|victim| *victim != "supervisor").and_then(|victim| kill(&self.world, victim))
        };
        let (done, killed) = tokio::join!(self.attempt(deed, &text), killing);
        if let Some(victim) = victim {
            *self.counts.entry(format!("{victim} killed")).or_default() += 1;
            if victim == "supervisor" {
                self.kill_supervisor().await?;
            }
            self.healthy(victim, killed).await.with_context(|| format!("after `kill -9` of the {victim}"))?;
        } else if let Err(error) = &done {
            bail!("{deed:?} failed although nothing was killed: {error:#}");
        }
        if done.is_err() {
            self.eventually(deed, &text).await?;
        }
        if deed == Write {
            self.confirmed.push(text);
        }
        Ok(())
    }

    async fn attempt(&self, deed: Deed, text: &str) -> anyhow::Result<()> {
        let world = &self.world;
        match deed {
            Deed::Write => {
                let answer = world.browser.post("/api/notes", &json!({ "text": text })).await?;
                ensure!(answer.contains(text), "the answer to a write is {answer}");
                Ok(())
            }
            Deed::Read => self.reads_everything().await,
            Deed::Type => {
                let mut shell = world.shell(world.workspace.slug.as_str()).await?;
                // In two pieces, so that the echo of the line is not the answer.
                shell.send("echo \"<$MARK\"'>'\r").await?;
                shell.expect(&format!("<{}>", self.mark)).await
            }
            Deed::Echo => {
                let mut socket = world.browser.websocket("/api/live").await?;
                Browser::echo(&mut socket, text, text).await
            }
            Deed::Freeze => world.sleep(SleepTier::Frozen).await,
            Deed::Stop => world.sleep(SleepTier::Stopped).await,
        }
    }

    async fn reads_everything(&self) -> anyhow::Result<()> {
        let notes = self.world.browser.get("/api/notes").await?;
        let lost: Vec<&String> = self.confirmed.iter().filter(|text| !notes.contains(*text)).collect();
        ensure!(lost.is_empty(), "confirmed rows are gone: {lost:?}");
        Ok(())
    }

    async fn eventually(&self, deed: Deed, text: &str) -> anyhow::Result<()> {
        let end = Instant::now() + RECOVERY;
        loop {
            match self.attempt(deed, text).await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > end => {
                    return Err(error.context(format!("{deed:?} does not work again")));
                }
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Waits until every part is back: the server with its database, and the host as the server sees it.
    async fn healthy(&self, victim: &str, killed: Option<i32>) -> anyhow::Result<()> {
        let end = Instant::now() + RECOVERY;
        loop {
            // Until the successor is there, everybody still believes in the dead one.
            let is_successor = killed.is_none() || pid_of(&self.world, victim).is_some_and(|pid| Some(pid) != killed);
            match self.world.is_whole().await {
                Ok(()) if is_successor => return Ok(()),
                Ok(()) if Instant::now() > end => bail!("no other {victim} came"),
                Err(error) if Instant::now() > end => return Err(error.context("the box is not whole again")),
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Only a supervisor that was started here can be started again here.
    async fn kill_supervisor(&mut self) -> anyhow::Result<()> {
        let installation = &mut self.world.installation;
        let Some(pid) = installation.supervisor() else { return Ok(()) };
        kill_process(pid);
        installation.reap().await;
        installation.start().await
    }

    /// Everything awake once more, everything asleep, and the books.
    async fn settle(&mut self) -> anyhow::Result<()> {
        self.eventually(Deed::Read, "").await?;
        self.eventually(Deed::Type, "").await?;
        self.eventually(Deed::Stop, "").await?;
        let folder = self.world.repository.clone();
        let export: PathBuf = self.world.installation.data_dir.join("ledger.jsonl");
        let path = export.to_string_lossy().into_owned();
        let verify = ["ledger", "verify", "--trust-its-key", &path];
        for arguments in [["ledger", "export", &path].as_slice(), verify.as_slice()] {
            let output = self.world.installation.envforge(&folder, arguments).await?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success(), "`envforge {}`: {}", arguments.join(" "), said.trim());
        }
        let usage = self.world.usage().await?;
        ensure!(usage.awake_since.is_none(), "a window is still open: {usage:?}");
        let mut windows: Vec<_> = usage.receipts.iter().flat_map(|receipt| &receipt.windows).collect();
        windows.sort_by_key(|window| window.opened_at);
        for pair in windows.windows(2) {
            let closed = pair[0].closed_at.context("a window that never closed")?;
            ensure!(closed <= pair[1].opened_at, "windows overlap: {pair:?}");
        }
        Ok(())
    }
}

/// Kills a part, unless it is dead already; the process that was killed.
fn kill(world: &World, victim: &str) -> Option<i32> {
    let pid = pid_of(world, victim)?;
    kill_process(pid);
    Some(pid)
}

fn pid_of(world: &World, part: &str) -> Option<i32> {
    if part != "postgres" {
        return world.role(part).ok();
    }
    let path = world.installation.data_dir.join("postgres/data/postmaster.pid");
    fs_err::read_to_string(path).ok()?.lines().next()?.trim().parse().ok()
}

fn kill_process(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Enough randomness for choices, the same for the same seed (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

fn random_seed() -> u64 {
    let mut bytes = [0_u8; 8];
    SystemEntropy.fill(&mut bytes);
    u64::from_le_bytes(bytes) % 1_000_000
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_same_seed_makes_the_same_choices() {
        let choices = |seed| {
            let mut random = Random(seed);
            (0..32).map(|_| random.below(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
    }
}
