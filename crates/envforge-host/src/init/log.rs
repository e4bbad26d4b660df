//! What services write, line by line into files that are readable while everything sleeps.
//!
//! A line is `2025-11-21T06:30:00.123Z stdout text`. Output is read as fast as it comes and written with one call a
//! chunk, so a service waits for its log only as long as the kernel takes to copy it. A file that would pass its limit is moved
//! aside first. A disk that is full, or has less left than others are to find, costs lines, which are counted and owned up to in the file itself when there is room
//! again; it never stops a service. Secrets that were given to processes of the sandbox are marked out of it first
//! ([`crate::redact`]).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};

use envforge_api::ambient::SystemClock;
use envforge_core::clock::Clock as _;
use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use crate::redact::{Known, Redaction};
use crate::sys::sandbox::SandboxSpec;

/// A longer line is split, so that one without an end can't fill memory.
const LINE_MAX: usize = 16 * 1024;
/// What is kept in memory for the next one.
const SHORT_LINE: usize = 8 * 1024;

/// As much as a pipe holds.
const CHUNK: usize = 64 * 1024;

/// What is written with one call, and a line at most.
const WRITE: usize = 32 * 1024;

/// After so many bytes, what is free is looked at again.
const LOOK_EVERY: u64 = 1024 * 1024;

/// The wall clock of everything the init notes.
pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

/// Which stream a line came from.
#[derive(Clone, Copy)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// All logs of the sandbox.
pub(super) struct Logs {
    place: Rc<Place>,
    open: RefCell<HashMap<String, Weak<LogFile>>>,
}

struct Place {
    dir: Option<OwnedFd>,
    max_bytes: u64,
    keep: u8,
    /// Bytes of the filesystem that others are to find.
    leaves_free: u64,
    dropped: Cell<u64>,
    /// The secrets that are somewhere in the sandbox.
    secrets: Known,
}

impl Logs {
    /// Kept in this directory as the specification says.
    pub(super) fn new(dir: Option<OwnedFd>, spec: &SandboxSpec) -> Self {
        let place = Place {
            dir,
            max_bytes: spec.log_max_bytes,
            keep: spec.log_keep,
            leaves_free: spec.log_leaves_free,
            dropped: Cell::new(0),
            secrets: Known::default(),
        };
        Self { place: Rc::new(place), open: RefCell::default() }
    }

    /// Marks these secrets out from now on: name and value.
    pub(super) fn know<'a>(&self, new: impl Iterator<Item = (&'a str, &'a str)>) {
        self.place.secrets.add(new);
    }

    /// Whether there is a place for them.
    pub(super) fn are_kept(&self) -> bool {
        self.place.dir.is_some()
    }

    /// The log of this name; all who write it share it.
    pub(super) fn file(&self, name: &str) -> Rc<LogFile> {
        let mut open = self.open.borrow_mut();
        open.retain(|_, file| file.strong_count() > 0);
        if let Some(file) = open.get(name).and_then(Weak::upgrade) {
            return file;
        }
        let file =
            Rc::new(LogFile { place: Rc::clone(&self.place), name: format!("{name}.log"), state: RefCell::default() });
        open.insert(name.to_owned(), Rc::downgrade(&file));
        file
    }

    /// Lines lost, over all logs.
    pub(super) fn dropped(&self) -> u64 {
        self.place.dropped.get()
    }

    /// Where the init's own last words go.
    pub(super) fn open_own(&self) -> Option<OwnedFd> {
        self.place.open(".init.log").ok().map(OwnedFd::from)
    }
}

impl Place {
    /// Whether what is free is more than what others are to find.
    fn has_room(&self) -> bool {
        let free = |dir| rustix::fs::fstatvfs(dir).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        self.leaves_free == 0
            || self.dir.as_ref().is_none_or(|dir| free(dir).is_ok_and(|free| free >= self.leaves_free))
    }

    /// Whatever else has the name, a pipe say, is no place for lines and nothing to wait for.
    fn open(&self, name: &str) -> std::io::Result<std::fs::File> {
        const FLAGS: OFlags =
            OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::APPEND).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK);
        let dir = self.dir.as_ref().ok_or(std::io::ErrorKind::NotFound)?;
        let file: std::fs::File =
            rustix::fs::openat(dir, name, FLAGS | OFlags::CLOEXEC, Mode::from_raw_mode(0o640))?.into();
        if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::ErrorKind::InvalidInput.into()) }
    }
}

/// One log.
pub(super) struct LogFile {
    place: Rc<Place>,
    name: String,
    state: RefCell<FileState>,
}

#[derive(Default)]
struct FileState {
    file: Option<std::fs::File>,
    size: u64,
    /// Bytes that may be written before what is free is looked at again.
    credit: u64,
    dropped: u64,
    /// The disk filled up within a line.
    torn: bool,
}

impl LogFile {
    /// Appends whole lines, or counts them as lost.
    fn append(&self, mut text: Vec<u8>, lines: u64) {
        let mut state = self.state.borrow_mut();
        if state.dropped > 0 || state.torn {
            let mut note = Vec::new();
            if state.torn {
                note.push(b'\n');
            }
            if state.dropped > 0 {
                let text = format!("{} lines were lost: the disk was full", state.dropped);
                put_line(&mut note, &stamp(), "stderr", text.as_bytes());
            }
            note.append(&mut text);
            text = note;
        }
        match self.write(&mut state, &text) {
            Ok(()) => {
                state.dropped = 0;
                state.torn = false;
            }
            Err(written) => {
                // Something of it may be there; what is not is counted as a whole.
                state.torn = state.torn && written == 0 || written > 0;
                state.dropped += lines;
                state.file = None;
                self.place.dropped.set(self.place.dropped.get() + lines);
            }
        }
    }

    /// Writes all of it, or says how much.
    fn write(&self, state: &mut FileState, text: &[u8]) -> Result<(), usize> {
        let length = text.len() as u64;
        if state.credit < length {
            if !self.place.has_room() {
                return Err(0);
            }
            state.credit = LOOK_EVERY;
        }
        state.credit = state.credit.saturating_sub(length);
        if state.file.is_some() && state.size > 0 && state.size + length > self.place.max_bytes {
            state.file = None;
        }
        if state.file.is_none() {
            let mut file = self.place.open(&self.name).map_err(|_| 0usize)?;
            state.size = file.metadata().map_or(0, |metadata| metadata.len());
            if state.size > 0 && state.size + length > self.place.max_bytes {
                self.rotate();
                file = self.place.open(&self.name).map_err(|_| 0usize)?;
                state.size = 0;
            }
            state.file = Some(file);
        }
        let Some(file) = state.file.as_mut() else {
            return Err(0);
        };
        let mut done = 0;
        while done < text.len() {
            match file.write(&text[done..]) {
                Ok(0) => return Err(done),
                Ok(count) => {
                    done += count;
                    state.size += count as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return Err(done),
            }
        }
        Ok(())
    }

    /// `web.log` becomes `web.log.1`, that `web.log.2`; the last goes.
    fn rotate(&self) {
        let Some(dir) = self.place.dir.as_ref() else {
            return;
        };
        let numbered = |number: u8| match number {
            0 => self.name.clone(),
            _ => format!("{}.{number}", self.name),
        };
        if self.place.keep == 0 {
            let _ = rustix::fs::unlinkat(dir, &self.name, rustix::fs::AtFlags::empty());
        }
        for number in (0..self.place.keep).rev() {
            let _ = rustix::fs::renameat(dir, numbered(number), dir, numbered(number + 1));
        }
    }
}

/// Reads a stream to its end and logs it.
pub(super) async fn capture(log: Rc<LogFile>, stream: Stream, mut from: pipe::Receiver) {
    let mut chunk = vec![0; CHUNK];
    let mut splitter = LineSplitter::default();
    let mut redaction = Redaction::default();
    let mut clean = Vec::new();
    loop {
        let count = from.read(&mut chunk).await.unwrap_or(0);
        let redactor = log.place.secrets.redactor();
        clean.clear();
        if count == 0 {
            redaction.finish(&redactor, &mut clean);
        } else {
            redaction.feed(&redactor, &chunk[..count], &mut clean);
        }
        let stamp = stamp();
        let mut text = Vec::with_capacity(WRITE.min(count * 2));
        let mut lines = 0;
        let mut put = |line: &[u8]| {
            put_line(&mut text, &stamp, stream.name(), line);
            lines += 1;
            if text.len() >= WRITE {
                log.append(std::mem::take(&mut text), std::mem::take(&mut lines));
            }
        };
        splitter.feed(&clean, &mut put);
        if count == 0 {
            splitter.finish(&mut put);
        }
        if lines > 0 {
            log.append(text, lines);
        }
        if count == 0 {
            return;
        }
    }
}

fn stamp() -> String {
    format!("{:.3}", now())
}

fn put_line(text: &mut Vec<u8>, stamp: &str, stream: &str, line: &[u8]) {
    for part in [stamp.as_bytes(), b" ", stream.as_bytes(), b" ", line, b"\n"] {
        text.extend_from_slice(part);
    }
}

/// Cuts a stream into lines, and lines that are too long into pieces.
#[derive(Default)]
struct LineSplitter {
    rest: Vec<u8>,
}

impl LineSplitter {
    fn feed(&mut self, mut bytes: &[u8], put: &mut impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let room = LINE_MAX - self.rest.len();
            let within = &bytes[..bytes.len().min(room)];
            if let Some(end) = memchr::memchr(b'\n', within) {
                if self.rest.is_empty() {
                    put(without_return(&bytes[..end]));
                } else {
                    self.rest.extend_from_slice(&bytes[..end]);
                    self.emit(put);
                }
                bytes = &bytes[end + 1..];
            } else {
                self.rest.extend_from_slice(within);
                bytes = &bytes[within.len()..];
                if self.rest.len() == LINE_MAX {
                    self.emit(put);
                    // The line ended exactly there.
                    bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
                }
            }
        }
    }

    fn finish(&mut self, put: &mut impl FnMut(&[u8])) {
        if !self.rest.is_empty() {
            self.emit(put);
        }
    }

    fn emit(&mut self, put: &mut impl FnMut(&[u8])) {
        put(without_return(&self.rest));
        self.rest.clear();
        self.rest.shrink_to(SHORT_LINE);
    }
}

/// The end of a line as terminals write it.
fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        let mut splitter = LineSplitter::default();
        for chunk in chunks {
            splitter.feed(chunk, &mut |line| lines.push(line.to_vec()));
        }
        splitter.finish(&mut |line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        assert_eq!(split(&[b"one\ntw", b"o\r\n\nlast"]), [&b"one"[..], b"two", b"", b"last"]);
    }

    #[test]
    fn a_line_without_end_is_split_and_nothing_is_lost() {
        let long = vec![b'x'; LINE_MAX * 2 + 5];
        let lines = split(&[&long]);
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [LINE_MAX, LINE_MAX, 5]);
        let mut exact = vec![b'x'; LINE_MAX];
        exact.push(b'\n');
        assert_eq!(split(&[&exact]).len(), 1);
    }
}
