//! Tickets that were spent, until they would have expired.
//!
//! One line per ticket is appended to a file before its stream opens, so that a daemon that restarts does not honour
//! a ticket a second time. A ticket lives for seconds; the file is written anew at start and whenever it has grown.

use crate::files::{self, Durability};
use jiff::Timestamp;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Lines after which the file is written anew.
const LINES: usize = 4096;

/// The spent tickets.
pub(super) struct Nonces {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    file: std::fs::File,
    lines: usize,
    spent: HashMap<u64, i64>,
}

impl Nonces {
    /// Reads what was spent before.
    pub(super) fn load(path: PathBuf, now: Timestamp) -> io::Result<Self> {
        let text = match fs_err::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other?,
        };
        let spent = text.lines().filter_map(|line| {
            let (nonce, expires) = line.split_once(' ')?;
            Some((nonce.parse().ok()?, expires.parse().ok()?))
        });
        let spent = spent.filter(|(_, expires): &(u64, i64)| *expires > now.as_second()).collect();
        let inner = rewrite(&path, spent)?;
        Ok(Self { path, inner: Mutex::new(inner) })
    }

    /// Spends a ticket; `false` when it was spent before, or can't be remembered.
    pub(super) fn spend(&self, nonce: u64, expires: i64, now: Timestamp) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.spent.contains_key(&nonce) {
            return false;
        }
        if inner.lines >= LINES {
            let mut spent = std::mem::take(&mut inner.spent);
            spent.retain(|_, expires| *expires > now.as_second());
            match rewrite(&self.path, spent) {
                Ok(fresh) => *inner = fresh,
                Err(error) => {
                    tracing::warn!(%error, "uplink: spent tickets can't be remembered; the ticket is refused");
                    return false;
                }
            }
        }
        if let Err(error) = writeln!(inner.file, "{nonce} {expires}") {
            tracing::warn!(%error, "uplink: spent tickets can't be remembered; the ticket is refused");
            return false;
        }
        inner.lines += 1;
        inner.spent.insert(nonce, expires);
        true
    }
}

fn rewrite(path: &PathBuf, spent: HashMap<u64, i64>) -> io::Result<Inner> {
    let mut text = String::new();
    for (nonce, expires) in &spent {
        let _ = writeln!(text, "{nonce} {expires}");
    }
    files::replace(path, text.as_bytes(), 0o600, Durability::Process)?;
    let file = std::fs::OpenOptions::new().append(true).open(path)?;
    Ok(Inner { file, lines: spent.len(), spent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_once_also_after_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("nonces");
        let at = |second| Timestamp::from_second(second).expect("in range");
        let nonces = Nonces::load(path.clone(), at(0)).expect("loads");
        assert!(nonces.spend(1, 60, at(0)) && nonces.spend(2, 10, at(0)));
        assert!(!nonces.spend(1, 60, at(1)));
        let again = Nonces::load(path, at(30)).expect("loads");
        assert!(!again.spend(1, 60, at(30)));
        assert_eq!(again.inner.lock().expect("lock").spent.len(), 1, "the expired one is forgotten");
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("nonces");
        let nonces = Nonces::load(path.clone(), Timestamp::UNIX_EPOCH).expect("loads");
        for nonce in 0..(LINES as u64 * 2) {
            let now = Timestamp::from_second(nonce as i64).expect("in range");
            assert!(nonces.spend(nonce, nonce as i64 + 5, now));
        }
        let lines = fs_err::read_to_string(path).expect("reads").lines().count();
        assert!(lines <= LINES + 10, "{lines}");
    }
}
