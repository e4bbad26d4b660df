//! Hostile input for everything that reads what strangers wrote: `envforge.yml`, dev hosts, tokens, the routes of a link.
//!
//! What is read starts as something good (a corpus that is kept in `fuzz/corpus/`, or made from a grammar) and is then damaged, so
//! that it gets past the first check. Whatever comes: no panic, an answer in bounded time, and what the answer promises. An input
//! that breaks a promise is put into the corpus, which every run begins with and the tests replay. One thread, so that as many
//! run side by side as there are cores to spare.

mod damage;
mod label;
mod manifest;
mod routes;
mod token;

use super::Random;
use crate::say;
use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use rustix::time::{ClockId, clock_gettime};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// Inputs in a round beside others; a file takes far longer than a host or a token.
const FILES: u32 = 1_000;
const TEXTS: u32 = 5_000;
/// A processor's time: far more than any takes, even with a debug build.
const LIMIT: Duration = Duration::from_secs(5);
/// Between two words on how it goes.
const TELL: Duration = Duration::from_mins(1);

/// What is handed the input. What gateways do with cookies is fuzzed from outside, by their own tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// Names of services, workspaces and orgs into a label, and a `Host` into the label it names
    Label,
    /// Tokens of links and sessions
    Token,
    /// The routes a link is limited to, against everything a service may make of a path
    Routes,
    /// `envforge.yml`
    Manifest,
}

impl Target {
    const ALL: [Self; 4] = [Self::Label, Self::Token, Self::Routes, Self::Manifest];

    fn name(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Token => "token",
            Self::Routes => "routes",
            Self::Manifest => "manifest",
        }
    }

    fn folder(self) -> PathBuf {
        crate::tidy::repository().join("fuzz/corpus").join(self.name())
    }

    /// What is kept, in the order of its names.
    fn corpus(self) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut paths =
            fs_err::read_dir(self.folder())?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
        paths.sort();
        let corpus = paths.iter().map(fs_err::read).collect::<Result<Vec<_>, _>>()?;
        ensure!(!corpus.is_empty(), "{} is empty", self.folder().display());
        Ok(corpus)
    }

    /// A new input: something kept or made, most often damaged.
    fn input(self, random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
        let kept = |random: &mut Random| corpus[random.below(corpus.len() as u64) as usize].clone();
        let good = match (random.below(4), self) {
            (1, _) => {
                let (one, other) = (kept(random), kept(random));
                damage::crossed(random, &one, &other)
            }
            (2.., Self::Label) => return label::made(random),
            (2.., Self::Routes) => return routes::made(random),
            (2.., Self::Token) => return token::made(random),
            _ => kept(random),
        };
        damage::damaged(random, &good)
    }

    fn check(self, input: &[u8]) -> anyhow::Result<()> {
        bounded(self.name(), input, LIMIT, || match self {
            Self::Label => label::check(input),
            Self::Token => token::check(input),
            Self::Routes => routes::check(input),
            Self::Manifest => manifest::check(input),
        })
    }
}

/// One round of each kind.
pub(super) fn round(random: &mut Random) -> anyhow::Result<()> {
    for target in Target::ALL {
        let corpus = target.corpus()?;
        for _ in 0..if target == Target::Manifest { FILES } else { TEXTS } {
            target.check(&target.input(random, &corpus))?;
        }
    }
    Ok(())
}

/// Fuzzes one target alone for so long.
pub(super) fn run(target: Target, random: &mut Random, time: Duration) -> anyhow::Result<()> {
    let corpus = target.corpus()?;
    for input in &corpus {
        target.check(input).context("what is kept")?;
    }
    let (begun, mut told, mut count) = (Instant::now(), Instant::now(), 0_u64);
    let tell = |count: u64| {
        let seconds = begun.elapsed().as_secs_f64();
        say(&format!("{}: {count} inputs in {seconds:.0} s, {:.0} each second", target.name(), count as f64 / seconds));
    };
    while begun.elapsed() < time {
        // The clock is asked for rarely: it takes as long as some inputs do.
        for _ in 0..100 {
            let input = target.input(random, &corpus);
            if let Err(error) = target.check(&input) {
                let path =
                    target.folder().join(format!("found-{}", &envforge_core::token::digest(&input_name(&input))[..12]));
                fs_err::write(&path, &input)?;
                return Err(error.context(format!("after {count} inputs; kept as {}", path.display())));
            }
            count += 1;
        }
        if told.elapsed() > TELL {
            tell(count);
            told = Instant::now();
        }
    }
    tell(count);
    Ok(())
}

fn input_name(input: &[u8]) -> String {
    input.escape_ascii().to_string()
}

/// Runs it; a panic, a failure or more than `limit` of work names the input.
fn bounded(what: &str, input: &[u8], limit: Duration, work: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let named = || format!("{what}: {}", input.escape_ascii());
    let mut quickest = Duration::MAX;
    // What is slow is slow each time; once may be a virtual machine that was paused, which some count as work.
    for _ in 0..3 {
        let begun = processor_time();
        match catch_unwind(AssertUnwindSafe(&work)) {
            Err(_) => bail!("a panic on {}", named()),
            Ok(outcome) => outcome.with_context(named)?,
        }
        quickest = quickest.min(processor_time().saturating_sub(begun));
        if quickest < limit {
            return Ok(());
        }
    }
    bail!("{quickest:?} of work for {}", named())
}

/// How long this thread has run on a processor: what else the machine does, and a run that is stopped, do not count.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, Random, Target, bounded, processor_time, round};
    use std::time::Duration;

    #[test]
    fn hostile_input_is_read_or_refused() {
        for seed in [1, 3, 5] {
            round(&mut Random(seed)).unwrap();
        }
    }

    #[test]
    fn what_is_kept_keeps_every_promise() {
        for target in Target::ALL {
            for input in target.corpus().unwrap() {
                target.check(&input).unwrap();
            }
        }
    }

    #[test]
    fn a_panic_names_its_input() {
        let error = bounded("it", b"\x00boo", LIMIT, || panic!("on purpose")).unwrap_err().to_string();
        assert_eq!(error, "a panic on it: \\x00boo");
    }

    #[test]
    fn work_is_bounded_and_a_pause_is_no_work() {
        let limit = Duration::from_millis(20);
        let pause = || {
            std::thread::sleep(2 * limit);
            Ok(())
        };
        bounded("it", b"boo", limit, pause).unwrap();
        let work = || {
            let end = processor_time() + limit;
            while processor_time() < end {}
            Ok(())
        };
        let error = bounded("it", b"boo", limit, work).unwrap_err().to_string();
        assert!(error.ends_with("ms of work for it: boo"), "{error}");
    }
}
