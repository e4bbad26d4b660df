//! Reading captured logs: the last lines, what is new, also across a rotation and while everything sleeps.
//!
//! A log is `<name>.log`, older pieces `<name>.log.1`, `.2`, …; a line is `<time> <stream> <text>`. The directory belongs to
//! the workspace's user, so files in it are opened like any file of others: no links, no waiting.

use crate::files;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Rotated pieces looked at.
const PIECES: u32 = 9;
/// Read at once.
const CHUNK: u64 = 64 * 1024;

fn piece(name: &str, number: u32) -> PathBuf {
    match number {
        0 => PathBuf::from(format!("{name}.log")),
        _ => PathBuf::from(format!("{name}.log.{number}")),
    }
}

fn open(dir: &Path, name: &str, number: u32) -> io::Result<Option<std::fs::File>> {
    match files::open_beneath(dir, &piece(name, number)) {
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a log of this name exists.
pub(crate) fn exists(dir: &Path, name: &str) -> bool {
    matches!(open(dir, name, 0), Ok(Some(_))) || matches!(open(dir, name, 1), Ok(Some(_)))
}

/// The last `lines` lines as they stand in the file, oldest first, and where the log goes on.
pub(crate) fn tail(dir: &Path, name: &str, lines: usize) -> io::Result<(Vec<u8>, Cursor)> {
    let mut text = Vec::new();
    let mut cursor = Cursor::start(dir, name);
    let mut missing = lines;
    for number in 0..=PIECES {
        let Some(mut file) = open(dir, name, number)? else { break };
        let metadata = file.metadata()?;
        if number == 0 {
            cursor.position = Some((metadata.ino(), metadata.len()));
        }
        let (found, count) = last_lines(&mut file, metadata.len(), missing)?;
        text.splice(0..0, found);
        missing -= count;
        if missing == 0 {
            break;
        }
    }
    Ok((text, cursor))
}

/// The last lines of one file, and how many they are.
fn last_lines(file: &mut std::fs::File, size: u64, lines: usize) -> io::Result<(Vec<u8>, usize)> {
    let mut text: Vec<u8> = Vec::new();
    let mut from = size;
    loop {
        let ends = newlines(&text);
        // One more line end than lines: the one before the first of them. An unended last line counts too.
        let complete = ends - usize::from(text.ends_with(b"\n")) >= lines;
        if complete || from == 0 {
            break;
        }
        let step = CHUNK.min(from);
        from -= step;
        file.seek(SeekFrom::Start(from))?;
        let mut chunk = Vec::with_capacity(step as usize);
        file.by_ref().take(step).read_to_end(&mut chunk)?;
        chunk.append(&mut text);
        text = chunk;
    }
    let starts: Vec<usize> = std::iter::once(0)
        .chain(text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1))
        .filter(|start| *start < text.len())
        .collect();
    let count = starts.len().min(lines);
    let first = if count == 0 { text.len() } else { starts[starts.len() - count] };
    Ok((text.split_off(first), count))
}

fn newlines(text: &[u8]) -> usize {
    text.split(|byte| *byte == b'\n').count() - 1
}

/// Removes a log with all its pieces; what can't be removed stays.
pub(crate) fn remove(dir: &Path, name: &str) {
    let mut number = 0;
    while fs_err::remove_file(dir.join(piece(name, number))).is_ok() {
        number += 1;
    }
}

/// What is quoted of a log at most, in bytes.
const WORDS_MAX: usize = 4 * 1024;

/// The last lines for a person: without time and stream, at most this many and [`WORDS_MAX`] bytes of them, and nothing
/// that would move a cursor or end a string: a service may write what it likes, and this travels far.
pub(crate) fn last_words(dir: &Path, name: &str, lines: usize) -> String {
    let text = tail(dir, name, lines).map(|(text, _)| text).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let words: Vec<String> = text.lines().map(|line| plain(message(line))).collect();
    let words = words.join("\n");
    match words.len().checked_sub(WORDS_MAX) {
        None | Some(0) => words,
        Some(more) => format!("…{}", &words[words.ceil_char_boundary(more)..]),
    }
}

/// Without escape sequences and other control characters.
fn plain(line: &str) -> String {
    let mut rest = line.chars().peekable();
    let mut plain = String::with_capacity(line.len());
    while let Some(c) = rest.next() {
        if c == '\u{1b}' && rest.next_if_eq(&'[').is_some() {
            // Parameters, then one letter (ECMA-48, section 5.4).
            while rest.next_if(|c| !('@'..='~').contains(c)).is_some() {}
            rest.next();
        } else if c == '\t' || !c.is_control() {
            plain.push(c);
        }
    }
    plain
}

/// A line without time and stream.
fn message(line: &str) -> &str {
    line.splitn(3, ' ').nth(2).unwrap_or(line)
}

/// A place in a log that moves on as the log does.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    dir: PathBuf,
    name: String,
    /// Inode and offset of the next byte; `None` before there is a file.
    position: Option<(u64, u64)>,
}

impl Cursor {
    /// The start of a log that may not exist yet.
    pub(crate) fn start(dir: &Path, name: &str) -> Self {
        Self { dir: dir.to_owned(), name: name.to_owned(), position: None }
    }

    /// The end of a log as it is now.
    pub(crate) fn end(dir: &Path, name: &str) -> Self {
        let position = open(dir, name, 0).ok().flatten().and_then(|file| file.metadata().ok());
        Self { position: position.map(|metadata| (metadata.ino(), metadata.len())), ..Self::start(dir, name) }
    }

    /// What was appended since; empty when nothing was. At most a chunk of each piece at a time.
    pub(crate) fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let Some(mut current) = open(&self.dir, &self.name, 0)? else { return Ok(text) };
        let metadata = current.metadata()?;
        let (inode, mut offset) = self.position.unwrap_or((metadata.ino(), 0));
        if inode != metadata.ino() {
            // It was moved aside; its rest comes first.
            if let Some(rest) = self.rest_of(inode, offset)? {
                let (bytes, more) = rest;
                offset += bytes.len() as u64;
                text.extend(bytes);
                if more {
                    self.position = Some((inode, offset));
                    return Ok(text);
                }
            }
            offset = 0;
        }
        if metadata.len() < offset {
            offset = 0;
        }
        current.seek(SeekFrom::Start(offset))?;
        let read = current.take(CHUNK).read_to_end(&mut text)?;
        self.position = Some((metadata.ino(), offset + read as u64));
        Ok(text)
    }

    /// A chunk of a piece that was moved aside, and whether there is more.
    fn rest_of(&self, inode: u64, offset: u64) -> io::Result<Option<(Vec<u8>, bool)>> {
        for number in 1..=PIECES {
            let Some(mut file) = open(&self.dir, &self.name, number)? else { continue };
            let metadata = file.metadata()?;
            if metadata.ino() != inode {
                continue;
            }
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            file.take(CHUNK).read_to_end(&mut bytes)?;
            let more = offset + (bytes.len() as u64) < metadata.len();
            return Ok(Some((bytes, more)));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(from: usize, to: usize) -> String {
        (from..to).map(|n| format!("2026-01-01T00:00:00.000Z stdout line {n}\n")).collect::<Vec<_>>().concat()
    }

    #[test]
    fn what_a_service_writes_is_quoted_plainly() {
        let dir = tempfile::tempdir().expect("a directory");
        let line = |text: &str| format!("2026-01-01T00:00:00.000Z stderr {text}\n");
        let odd = line("\u{1b}[31;1mred\u{1b}[0m a\0b\u{7}\tc\u{9b}");
        fs_err::write(dir.path().join("web.log"), odd).expect("written");
        assert_eq!(last_words(dir.path(), "web", 5), "red ab\tc");
        fs_err::write(dir.path().join("api.log"), line(&"ä".repeat(9_000))).expect("written");
        let words = last_words(dir.path(), "api", 5);
        assert!(words.starts_with('…') && words.ends_with('ä') && words.len() <= WORDS_MAX + '…'.len_utf8());
    }

    #[test]
    fn the_tail_reaches_into_rotated_pieces() {
        let dir = tempfile::tempdir().expect("a directory");
        fs_err::write(dir.path().join("web.log.1"), lines(0, 5)).expect("written");
        fs_err::write(dir.path().join("web.log"), lines(5, 8)).expect("written");
        let (text, _) = tail(dir.path(), "web", 4).expect("reads");
        assert_eq!(String::from_utf8_lossy(&text), lines(4, 8));
        assert_eq!(last_words(dir.path(), "web", 2), "line 6\nline 7");
        assert_eq!(tail(dir.path(), "web", 100).expect("reads").0, lines(0, 8).into_bytes());
        assert!(tail(dir.path(), "web", 0).expect("reads").0.is_empty());
        assert!(tail(dir.path(), "other", 3).expect("reads").0.is_empty());
    }

    #[test]
    fn following_loses_nothing_across_a_rotation() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("web.log");
        let mut cursor = Cursor::end(dir.path(), "web");
        assert!(cursor.read().expect("reads").is_empty());
        fs_err::write(&path, lines(0, 2)).expect("written");
        assert_eq!(cursor.read().expect("reads"), lines(0, 2).into_bytes());
        fs_err::write(&path, lines(0, 4)).expect("written");
        fs_err::rename(&path, dir.path().join("web.log.1")).expect("rotated");
        fs_err::write(&path, lines(4, 6)).expect("written");
        let mut all = Vec::new();
        for _ in 0..3 {
            all.extend(cursor.read().expect("reads"));
        }
        assert_eq!(String::from_utf8_lossy(&all), lines(2, 6));
    }

    #[test]
    fn a_link_is_no_log() {
        let dir = tempfile::tempdir().expect("a directory");
        fs_err::os::unix::fs::symlink("/etc/passwd", dir.path().join("web.log")).expect("linked");
        assert!(!exists(dir.path(), "web"));
    }

    proptest! {
        #[test]
        fn a_tail_is_the_last_lines(texts in prop::collection::vec("[a-z ]{0,30}", 0..60), wanted in 0_usize..70) {
            let dir = tempfile::tempdir().expect("a directory");
            let all: Vec<String> = texts.iter().map(|text| format!("{text}\n")).collect();
            fs_err::write(dir.path().join("a.log"), all.concat()).expect("written");
            let (text, _) = tail(dir.path(), "a", wanted).expect("reads");
            let expected = all[all.len().saturating_sub(wanted)..].concat();
            prop_assert_eq!(String::from_utf8_lossy(&text), expected);
        }
    }
}
