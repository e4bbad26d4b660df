//! Where a checkout is, and which commits were made in it lately: read from Git's own files, without a process.
//!
//! The files are the workspace's, so what they say is the workspace's word: ids are taken for no more than ids.

use crate::files::{self, Foreign};
use crate::place::Place;
use envforge_api::host::{CheckoutReport, CommitReport};
use jiff::Timestamp;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Commits told at most, the newest.
const COMMITS_MAX: usize = 50;
/// How much of the log's end is read, in bytes.
const LOG_MAX: u64 = 64 * 1024;
/// Longest file with a reference, and with packed ones.
const REFERENCE_MAX: u64 = 4 * 1024;
const PACKED_MAX: u64 = 4 * 1024 * 1024;

/// What the checkout says; nothing while it is at no commit.
pub(crate) fn read(place: &Place) -> Option<CheckoutReport> {
    let root = place.checkout();
    let head = head(&root)?;
    Some(CheckoutReport { head, commits: commits(&root).unwrap_or_default() })
}

fn text(root: &Path, relative: &str, max: u64) -> Option<String> {
    match files::read_beneath(root, Path::new(relative), max) {
        Ok(Foreign::Bytes(bytes)) => String::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn head(root: &Path) -> Option<String> {
    let head = text(root, ".git/HEAD", REFERENCE_MAX)?;
    let Some(name) = head.trim_end().strip_prefix("ref: ") else { return id(head.trim_end()) };
    if let Some(found) = text(root, &format!(".git/{name}"), REFERENCE_MAX) {
        return id(found.trim_end());
    }
    let packed = text(root, ".git/packed-refs", PACKED_MAX)?;
    packed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(_, packed)| *packed == name)
        .and_then(|(found, _)| id(found))
}

/// A commit's id, SHA-1 or SHA-256.
fn id(text: &str) -> Option<String> {
    let is_id = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| text.to_ascii_lowercase())
}

fn commits(root: &Path) -> Option<Vec<CommitReport>> {
    let mut file = files::open_beneath(root, Path::new(".git/logs/HEAD")).ok()?;
    let length = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_MAX))).ok()?;
    let mut bytes = Vec::new();
    file.take(LOG_MAX).read_to_end(&mut bytes).ok()?;
    let log = String::from_utf8_lossy(&bytes);
    let mut commits: Vec<_> = log.lines().filter_map(commit).collect();
    commits.drain(..commits.len().saturating_sub(COMMITS_MAX));
    Some(commits)
}

/// A line `<before> <after> <name> <<mail>> <second> <zone>\tcommit…: <subject>` that tells of a commit.
fn commit(line: &str) -> Option<CommitReport> {
    let (who, what) = line.split_once('\t')?;
    let is_commit = what.starts_with("commit:") || what.starts_with("commit (");
    let mut words = who.split(' ');
    let id = id(words.nth(1)?)?;
    let second = who.rsplit(' ').nth(1)?.parse().ok()?;
    let at = Timestamp::from_second(second).ok()?;
    is_commit.then_some(CommitReport { id, at })
}

#[cfg(test)]
mod tests {
    use super::commit;

    // proves COST-2
    #[test]
    fn lines_of_git_are_read_and_others_are_none() {
        let (old, new) = ("0".repeat(40), "A1".repeat(20));
        let line = |what: &str| format!("{old} {new} Ada L. <ada@example.org> 1760000000 +0200\t{what}");
        let found = commit(&line("commit (initial): a\tb")).expect("a commit");
        assert_eq!((found.id, found.at.as_second()), ("a1".repeat(20), 1_760_000_000));
        assert!(commit(&line("commit (amend): x")).is_some());
        for other in [
            line("checkout: moving from a to b"),
            line("reset: x"),
            String::new(),
            format!("{old} {old}"),
            "\tcommit: x".to_owned(),
        ] {
            assert_eq!(commit(&other), None, "{other}");
        }
    }
}
