//! Hostile input for everything that reads what strangers wrote: `envforge.yml`, dev hosts, tokens.
//!
//! What is read starts as something good and is then damaged, so that it gets past the first check. Whatever comes: no
//! panic, an answer in bounded time, and no damaged token is believed.

use super::Random;
use anyhow::{Context as _, bail, ensure};
use envforge_core::hostname::label_of_host;
use envforge_core::link::{LinkClaims, SessionClaims};
use envforge_core::manifest::{self, Wiring};
use envforge_core::name::Slug;
use envforge_core::token::{Keyring, Signer};
use jiff::Timestamp;
use serde_json::json;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::time::Instant;

/// Inputs of each kind in a round; a file takes far longer than a host or a token.
const FILES: u32 = 1_000;
const TEXTS: u32 = 5_000;
/// Far more than any takes, even here and with a debug build.
const LIMIT: Duration = Duration::from_secs(5);

const MANIFEST: &str = include_str!("../../../examples/scheduler/envforge.yml");
const HOST: &str = "web--fix-login--acme.envforge.dev:7081";
/// What parsers of YAML, hosts and tokens stumble over.
const PIECES: [&str; 24] = [
    "&a [*a, *a]",
    "*a",
    "<<: *a\n",
    "- ",
    "[",
    "{",
    "]",
    "}",
    ": ",
    "? ",
    "\t",
    "\0",
    "\r",
    "\u{202e}",
    "\u{feff}",
    "!!binary ",
    "|+9\n",
    "---\n",
    "...",
    "%YAML 1.2\n",
    "\"",
    "'",
    ".",
    "--",
];

/// One round of each kind.
pub(super) fn round(random: &mut Random) -> anyhow::Result<()> {
    for _ in 0..FILES {
        let bytes = damaged(random, MANIFEST.as_bytes());
        bounded("envforge.yml", &bytes, || read_manifest(&bytes))?;
    }
    for _ in 0..TEXTS {
        let bytes = damaged(random, HOST.as_bytes());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        bounded("a dev host", &bytes, || read_host(&text))?;
    }
    let signer = Signer::from_seed(&[7; 32]);
    let token = signer.sign(&claims()?);
    let keyring = Keyring::new(&[signer.public_key()]);
    ensure!(keyring.verify::<LinkClaims>(&token, Timestamp::UNIX_EPOCH).is_ok(), "the token is good to begin with");
    for _ in 0..TEXTS {
        let bytes = damaged(random, token.as_bytes());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        bounded("a token", &bytes, || {
            let believed = keyring.verify::<LinkClaims>(&text, Timestamp::UNIX_EPOCH).is_ok();
            ensure!(!believed || text == token, "a damaged token is believed");
            ensure!(keyring.verify::<SessionClaims>(&text, Timestamp::UNIX_EPOCH).is_err(), "a link is a session");
            Ok(())
        })?;
    }
    Ok(())
}

fn read_manifest(bytes: &[u8]) -> anyhow::Result<()> {
    match manifest::parse(bytes, manifest::FILE_NAME) {
        Ok(good) => drop(manifest::explain(&good, &Wiring::new(&good))),
        Err(mistakes) => {
            ensure!(!mistakes.is_empty(), "refused without a mistake");
            for mistake in mistakes {
                drop(mistake.render_snippet(bytes));
            }
        }
    }
    Ok(())
}

fn read_host(text: &str) -> anyhow::Result<()> {
    if let Some(label) = label_of_host(text, "envforge.dev") {
        ensure!(label.len() <= 63 && !label.contains('.'), "{label:?} is no label");
    }
    let near = Slug::from_text(text);
    ensure!(near.as_str().parse::<Slug>().is_ok(), "{near:?} is made and not read");
    Ok(())
}

fn claims() -> anyhow::Result<LinkClaims> {
    let id = |kind: &str| format!("{kind}_01a217cf96eb71358ae0137d1f3adca2");
    let claims = json!({
        "lnk": id("link"), "org": id("org"), "ws": id("ws"), "svc": "web", "lbl": "web--fix-login--acme", "exp": 4_000_000_000_i64,
    });
    serde_json::from_value(claims).context("the claims of a link")
}

/// Runs it; a panic, a failure or slowness names the input.
fn bounded(what: &str, input: &[u8], work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let begun = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(work));
    let named = || format!("{what}: {}", input.escape_ascii());
    match outcome {
        Err(_) => bail!("a panic on {}", named()),
        Ok(outcome) => outcome.with_context(named)?,
    }
    ensure!(begun.elapsed() < LIMIT, "{:?} for {}", begun.elapsed(), named());
    Ok(())
}

/// One to eight damages, anywhere.
fn damaged(random: &mut Random, good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let length = random.below(40).min((bytes.len() - at) as u64) as usize;
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..at + length)),
            2 => {
                let piece = bytes[at..at + length].to_vec();
                let to = random.below(bytes.len() as u64 + 1) as usize;
                bytes.splice(to..to, piece);
            }
            3 => {
                let piece = random.pick(&PIECES).repeat(1 + random.below(4) as usize * random.below(300) as usize);
                bytes.splice(at..at, piece.into_bytes());
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.below(256) as u8;
                }
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Random, bounded, damaged, round};

    #[test]
    fn hostile_input_is_read_or_refused() {
        for seed in [1, 3, 5] {
            round(&mut Random(seed)).unwrap();
        }
    }

    #[test]
    fn a_panic_names_its_input_and_the_same_seed_does_the_same_damage() {
        let error = bounded("it", b"\x00boo", || panic!("on purpose")).unwrap_err().to_string();
        assert_eq!(error, "a panic on it: \\x00boo");
        assert_eq!(damaged(&mut Random(9), b"something good"), damaged(&mut Random(9), b"something good"));
    }
}
