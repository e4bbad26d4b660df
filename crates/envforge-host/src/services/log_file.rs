//! Reading captured logs: the last lines, what is new, also across a rotation and while everything sleeps.
//!
//! A log is `<name>.log`, older pieces `<name>.log.1`, `.2`, …; a line is `<time> <stream> <text>`. The directory belongs to
//! the workspace's user, so files in it are opened like any file of others: no links, no waiting.

use super::log_filter::{Filter, Verdict};
use crate::files;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Rotated pieces looked at.
const PIECES: u32 = 9;
/// Read at once.
const CHUNK: u64 = 64 * 1024;
/// What is longer is taken apart like lines: we write none that long, but others may.
const LINE_MAX: usize = 128 * 1024;

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

/// What a log holds at one moment. Its pieces stay open, so that nothing is missed or told twice when it is rotated while it
/// is read; no more than a chunk of it is in memory.
pub(crate) struct Past {
    /// Newest first.
    pieces: Vec<Piece>,
    /// How many lines are still looked for.
    missing: usize,
    /// Where they are still looked for: before this, in this piece.
    unseen: (usize, u64),
    /// Where looking ends: nothing before this, in this piece.
    floor: (usize, u64),
    /// The start of the text after it, whose line begins before it.
    rest: Vec<u8>,
    /// Where reading goes on: in this piece, at this byte.
    next: (usize, u64),
}

struct Piece {
    file: std::fs::File,
    inode: u64,
    size: u64,
}

impl Past {
    /// Opens a log to read its last `lines` lines, and says where it goes on.
    pub(crate) fn open(dir: &Path, name: &str, lines: usize) -> io::Result<(Self, Cursor)> {
        let (mut pieces, mut known) = (Vec::new(), Vec::new());
        let mut cursor = Cursor::start(dir, name);
        for number in 0..=PIECES {
            let Some(file) = open(dir, name, number)? else { break };
            let metadata = file.metadata()?;
            if number == 0 {
                cursor.position = Some((metadata.ino(), metadata.len()));
            }
            // Moved aside since it was opened.
            if known.contains(&metadata.ino()) {
                continue;
            }
            known.push(metadata.ino());
            pieces.push(Piece { file, inode: metadata.ino(), size: metadata.len() });
        }
        let end = (0, pieces.first().map_or(0, |piece| piece.size));
        let floor = (pieces.len().saturating_sub(1), 0);
        Ok((Self { pieces, missing: lines, unseen: end, floor, rest: Vec::new(), next: end }, cursor))
    }

    /// Looks at nothing that was there before this place. One that was rotated away has nothing before it any more.
    fn not_before(&mut self, cursor: &Cursor) {
        let Some((inode, offset)) = cursor.position else { return };
        if let Some(at) = self.pieces.iter().position(|piece| piece.inode == inode) {
            self.floor = (at, offset.min(self.pieces[at].size));
        }
    }

    /// Looks at a chunk more, from the end backwards, for the lines to begin with; whether they are found.
    pub(crate) fn look_back(&mut self, mut judge: impl FnMut(&[u8]) -> Verdict) -> io::Result<bool> {
        let (at, before) = self.unseen;
        if self.missing == 0 || at >= self.pieces.len() {
            return Ok(true);
        }
        let floor = if at == self.floor.0 { self.floor.1 } else { 0 };
        let step = CHUNK.min(before.saturating_sub(floor));
        let from = before.saturating_sub(step);
        let mut text = self.pieces[at].read_at(from, step)?;
        text.append(&mut self.rest);
        // What is before the first line's end may begin in the chunk before.
        let first = if from <= floor || text.len() > LINE_MAX {
            0
        } else {
            memchr::memchr(b'\n', &text).map_or(text.len(), |end| end + 1)
        };
        let mut end = text.len();
        while end > first {
            let start = memchr::memrchr(b'\n', &text[first..end - 1]).map_or(first, |before| first + before + 1);
            match judge(&text[start..end]) {
                Verdict::Wanted => {
                    self.next = (at, from + start as u64);
                    self.missing -= 1;
                }
                Verdict::Unwanted => {}
                Verdict::TooOld => self.missing = 0,
            }
            if self.missing == 0 {
                return Ok(true);
            }
            end = start;
        }
        text.truncate(first);
        self.rest = text;
        self.unseen = if from > floor {
            (at, from)
        } else if at >= self.floor.0 {
            return Ok(true);
        } else {
            (at + 1, self.pieces.get(at + 1).map_or(0, |piece| piece.size))
        };
        Ok(false)
    }

    /// A chunk of what follows from there; empty at the end.
    pub(crate) fn read(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let (at, from) = self.next;
            let Some(piece) = self.pieces.get(at) else { return Ok(Vec::new()) };
            let text = piece.read_at(from, CHUNK.min(piece.size.saturating_sub(from)))?;
            match (text.len() as u64, at.checked_sub(1)) {
                (0, None) => return Ok(text),
                (0, Some(newer)) => self.next = (newer, 0),
                (length, _) => {
                    self.next = (at, from + length);
                    return Ok(text);
                }
            }
        }
    }
}

impl Piece {
    fn read_at(&self, from: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut text = Vec::with_capacity(length as usize);
        let mut file = &self.file;
        file.seek(SeekFrom::Start(from))?;
        file.take(length).read_to_end(&mut text)?;
        Ok(text)
    }
}

/// Takes out of chunks the lines that are wanted.
pub(crate) struct Sieve {
    filter: Filter,
    /// A line without its end.
    rest: Vec<u8>,
}

impl Sieve {
    pub(crate) fn new(filter: Filter) -> Self {
        Self { filter, rest: Vec::new() }
    }

    /// What is wanted of it; a line that has not ended waits for its end.
    pub(crate) fn push(&mut self, text: &[u8]) -> Vec<u8> {
        let mut wanted = Vec::new();
        for part in text.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(part);
            if part.ends_with(b"\n") || self.rest.len() > LINE_MAX {
                self.put(&mut wanted);
            }
        }
        wanted
    }

    /// The line that has not ended, if it is wanted.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut wanted = Vec::new();
        self.put(&mut wanted);
        wanted
    }

    fn put(&mut self, wanted: &mut Vec<u8>) {
        if !self.rest.is_empty() && self.judge(&self.rest) == Verdict::Wanted {
            wanted.append(&mut self.rest);
        }
        self.rest.clear();
    }

    /// What is made of a line.
    pub(crate) fn judge(&self, line: &[u8]) -> Verdict {
        self.filter.judge(line)
    }
}

/// The last `lines` lines as they stand in the files, oldest first, of those after a place.
fn tail(dir: &Path, name: &str, lines: usize, since: Option<&Cursor>) -> io::Result<Vec<u8>> {
    let (mut past, _) = Past::open(dir, name, lines)?;
    if let Some(since) = since {
        past.not_before(since);
    }
    while !past.look_back(|_| Verdict::Wanted)? {}
    let mut text = Vec::new();
    loop {
        let mut chunk = past.read()?;
        if chunk.is_empty() {
            return Ok(text);
        }
        text.append(&mut chunk);
    }
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

/// The last lines after a place, if there is one, for a person: without time and stream, at most this many and [`WORDS_MAX`] bytes of them, and nothing
/// that would move a cursor or end a string: a service may write what it likes, and this travels far.
pub(crate) fn last_words(dir: &Path, name: &str, lines: usize, since: Option<&Cursor>) -> String {
    let text = tail(dir, name, lines, since).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let words: Vec<String> = text.lines().map(|line| plain(message(line))).collect();
    let words = words.join("\n");
    match words.len().checked_sub(WORDS_MAX) {
        None | Some(0) => words,
        Some(more) => format!("…{}", &words[words.ceil_char_boundary(more)..]),
    }
}

/// Without escape sequences and other control characters.
pub(crate) fn plain(line: &str) -> String {
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

    /// A place as [`Cursor::position`] told it.
    pub(crate) fn at(dir: &Path, name: &str, position: (u64, u64)) -> Self {
        Self { position: Some(position), ..Self::start(dir, name) }
    }

    /// The inode of the file it is in, and the byte; `None` before there is a file.
    pub(crate) fn position(&self) -> Option<(u64, u64)> {
        self.position
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
#[path = "log_file_tests.rs"]
mod tests;
