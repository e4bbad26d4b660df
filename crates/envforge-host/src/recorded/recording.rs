//! What a terminal printed, in the asciicast v2 format (<https://docs.asciinema.org/manual/asciicast/v2/>).
//!
//! One file for each elevation, in which a second terminal goes on with a marker, and one for each client of a recorded
//! terminal. The directory is the daemon's user's and no sandbox sees it. What is typed is not recorded, because passwords are;
//! what is echoed is. A recording that is full, or a disk that is, ends the terminal: nothing is seen that is not written
//! down, and the last marker says where it was cut. A recording is kept for [`KEPT`], and goes with its workspace.
//!
//! Secrets that the workspace's services were given are marked out of it ([`crate::redact`]). What may be the beginning of one
//! is written down with what follows it or at the end, so a few characters at most may have been seen and are lost should
//! the daemon be killed. What an editor or a line's wrapping cuts a value into on its way to the screen is not found.

use super::relay::Over;
use crate::ctx::HostContext;
use crate::files;
use crate::init::protocol::TerminalSize;
use crate::place::Place;
use crate::redact::{Known, Redaction};
use crate::uplink::logs::make_pipe;
use envforge_api::http::recordings::{RECORDINGS_LISTED, TerminalRecording, TerminalRecordings};
use envforge_core::id::{ElevationId, IdError, RecordingId};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::terminal::TerminalName;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::io::AsyncWriteExt as _;

/// How long recordings are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The most of a first line that is read, in bytes.
const HEADER_MAX: u64 = 16 * 1024;

/// Nothing more can be written down.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordingError {
    /// It has as many bytes as it may.
    #[error("its recording is full")]
    Full,
    /// The disk does not take it.
    #[error("its recording can't be written: {0}")]
    Io(#[from] io::Error),
}

/// A recording that is being written.
pub(crate) struct Recording {
    file: std::fs::File,
    /// Events tell their time from here.
    began: Timestamp,
    bytes: u64,
    max: u64,
    /// The beginning of a character whose end was not printed yet.
    partial: Vec<u8>,
    /// What is marked out.
    secrets: Arc<Known>,
    redaction: Redaction,
}

/// Where a recording is; ids as names, so that nothing else of the machine can be meant.
fn path(place: &Place, of: Recorded) -> PathBuf {
    place.recordings().join(format!("{of}.cast"))
}

/// What a recording is of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Recorded {
    /// Root's terminals.
    Elevation(ElevationId),
    /// A client of a terminal.
    Terminal(RecordingId),
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elevation(id) => id.fmt(f),
            Self::Terminal(id) => id.fmt(f),
        }
    }
}

impl FromStr for Recorded {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self::Terminal).or_else(|_| text.parse().map(Self::Elevation))
    }
}

/// What the first line says beside what the format wants; a list of recordings tells it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct About {
    /// The terminal's name.
    pub(crate) terminal: TerminalName,
    /// Who saw it.
    pub(crate) person: String,
}

impl Recording {
    /// Begins the recording of a terminal, after those of the same elevation before it.
    pub(crate) fn begin(
        place: &Place,
        of: Recorded,
        about: Option<&About>,
        size: TerminalSize,
        max: u64,
        secrets: Arc<Known>,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let unwritable = |error: &dyn std::fmt::Display| {
            Refusal::unavailable("recording.unwritable", format!("the terminal can't be recorded: {error}"))
                .hint("without a recording it does not open; is the host's disk full?")
        };
        let made = files::directory(&place.recordings(), 0o700, None).and_then(|()| prune(place, now));
        made.map_err(|error| unwritable(&error))?;
        let opened = Self::open(&path(place, of), max, secrets, now);
        let mut recording = opened.map_err(|error| unwritable(&error))?;
        let begun = if recording.bytes == 0 {
            let header = json!({
                "version": 2, "width": size.cols, "height": size.rows,
                "timestamp": recording.began.as_second(), "title": of.to_string(), "envforge": about,
            });
            recording.line(&header)
        } else {
            recording.resized(size, now).and_then(|()| recording.event("m", "another terminal", now))
        };
        match begun {
            Ok(()) => Ok(recording),
            Err(RecordingError::Full) => {
                Err(Refusal::new(RefusalKind::Limit, "recording.full", "the recording is full")
                    .hint("ask for another elevation"))
            }
            Err(error) => Err(unwritable(&error)),
        }
    }

    fn open(path: &Path, max: u64, secrets: Arc<Known>, now: Timestamp) -> io::Result<Self> {
        let mut options = fs_err::OpenOptions::new();
        options.read(true).append(true).create(true);
        fs_err::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?.into_parts().0;
        let bytes = file.metadata()?.len();
        let mut first = String::new();
        io::BufReader::new(&file).read_line(&mut first)?;
        let max = if is_cut(&file, bytes)? { 0 } else { max };
        let header: Option<Value> = serde_json::from_str(&first).ok();
        let began = header.and_then(|header| Timestamp::from_second(header["timestamp"].as_i64()?).ok());
        // Whole seconds, as the header has them.
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let began = began.unwrap_or(now);
        Ok(Self { file, began, bytes, max, partial: Vec::new(), secrets, redaction: Redaction::default() })
    }

    /// Writes down what was printed. Everything that is recorded passes here, before it is on a disk.
    pub(crate) fn output(&mut self, bytes: &[u8], now: Timestamp) -> Result<(), RecordingError> {
        let mut clean = Vec::with_capacity(bytes.len());
        self.redaction.feed(&self.secrets.redactor(), bytes, &mut clean);
        self.printed(&clean, now)
    }

    /// Writes down what holds no secret, up to the last whole character.
    fn printed(&mut self, clean: &[u8], now: Timestamp) -> Result<(), RecordingError> {
        self.partial.extend_from_slice(clean);
        let whole = self.partial.len() - unfinished(&self.partial);
        let rest = self.partial.split_off(whole);
        let text = std::mem::replace(&mut self.partial, rest);
        if text.is_empty() {
            return Ok(());
        }
        self.event("o", &String::from_utf8_lossy(&text), now)
    }

    /// Writes down what was held back.
    fn finish(&mut self, now: Timestamp) -> Result<(), RecordingError> {
        let mut clean = Vec::new();
        self.redaction.finish(&self.secrets.redactor(), &mut clean);
        self.printed(&clean, now)
    }

    /// Writes down a new size.
    pub(crate) fn resized(&mut self, size: TerminalSize, now: Timestamp) -> Result<(), RecordingError> {
        self.event("r", &format!("{}x{}", size.cols, size.rows), now)
    }

    /// Writes down why it ends.
    pub(crate) fn close(mut self, why: &Over, now: Timestamp) {
        // The last word has its place also in a full one.
        self.max = u64::MAX;
        let closed = match why {
            Over::Unrecorded(_) => self.event("m", &format!("{CUT}{why}"), now),
            _ => self.finish(now).and_then(|()| self.event("m", &format!("over: {why}"), now)),
        };
        if let Err(error) = closed.and_then(|()| Ok(self.file.sync_all()?)) {
            tracing::warn!(%error, "recording: its end is not on the disk");
        }
    }

    fn event(&mut self, code: &str, data: &str, now: Timestamp) -> Result<(), RecordingError> {
        let micros = now.duration_since(self.began).as_micros().max(0);
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        let data = serde_json::to_string(data).map_err(io::Error::other)?;
        self.append(&format!("[{seconds}.{micros:06}, \"{code}\", {data}]\n"))
    }

    fn line(&mut self, value: &Value) -> Result<(), RecordingError> {
        self.append(&format!("{value}\n"))
    }

    fn append(&mut self, line: &str) -> Result<(), RecordingError> {
        let after = self.bytes.saturating_add(line.len() as u64);
        if after > self.max {
            return Err(RecordingError::Full);
        }
        self.file.write_all(line.as_bytes())?;
        self.bytes = after;
        Ok(())
    }
}

/// What the marker at the end of a recording begins with that could not go on.
const CUT: &str = "cut: ";

/// Whether a recording ended because it could not go on; then it never does.
fn is_cut(file: &std::fs::File, bytes: u64) -> io::Result<bool> {
    let mut end = [0; 256];
    let length = rustix::io::pread(file, &mut end, bytes.saturating_sub(256))?;
    let end = String::from_utf8_lossy(&end[..length]);
    Ok(end.lines().next_back().is_some_and(|line| line.contains(&format!("\"m\", \"{CUT}"))))
}

/// How many bytes at the end begin a character that more bytes could finish.
fn unfinished(bytes: &[u8]) -> usize {
    match std::str::from_utf8(&bytes[bytes.len().saturating_sub(4)..]) {
        Err(error) if error.error_len().is_none() => bytes.len().min(4) - error.valid_up_to(),
        // What is wrong may be the cut itself: look again from each place a character can begin.
        Err(_) => (1..=bytes.len().min(3))
            .rev()
            .find(|tail| {
                let end = &bytes[bytes.len() - tail..];
                std::str::from_utf8(end).is_err_and(|error| error.error_len().is_none() && error.valid_up_to() == 0)
            })
            .unwrap_or(0),
        Ok(_) => 0,
    }
}

/// Deletes what was kept long enough.
pub(crate) fn prune(place: &Place, now: Timestamp) -> io::Result<()> {
    let entries = match fs_err::read_dir(place.recordings()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let before = SystemTime::from(now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN));
    for entry in entries {
        let entry = entry?;
        if entry.metadata()?.modified()? < before {
            files::remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

/// Opens a pipe of a recording, as far as it is written.
pub(crate) fn read(ctx: &HostContext, place: &Place, subject: &str) -> Result<OwnedFd, Refusal> {
    let none = || {
        Refusal::not_found("recording.none", "there is no such recording")
            .hint("no terminal was opened, or it was kept long enough")
    };
    let of = subject.parse().map_err(|_| none())?;
    let file = fs_err::File::open(path(place, of)).map_err(|_| none())?;
    let (mut into, pipe) = make_pipe().map_err(|error| no_pipe(&error))?;
    ctx.tasks.spawn_loose("recording", async move {
        let mut file = file;
        let mut chunk = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = file.read(&mut chunk) {
            if into.write_all(&chunk[..length]).await.is_err() {
                return;
            }
        }
    });
    Ok(pipe)
}

/// Opens a pipe of a list of the recordings of terminals, as JSON.
pub(crate) fn list(ctx: &HostContext, place: &Place) -> Result<OwnedFd, Refusal> {
    let (mut into, pipe) = make_pipe().map_err(|error| no_pipe(&error))?;
    let place = place.clone();
    ctx.tasks.spawn_loose("recordings", async move {
        let found = tokio::task::spawn_blocking(move || found(&place)).await.unwrap_or_default();
        let text = serde_json::to_vec(&TerminalRecordings { recordings: found }).unwrap_or_default();
        drop(into.write_all(&text).await);
    });
    Ok(pipe)
}

/// The newest recordings of terminals, the newest first. What can't be read is none.
fn found(place: &Place) -> Vec<TerminalRecording> {
    let entries = std::fs::read_dir(place.recordings()).into_iter().flatten().flatten();
    let mut ids: Vec<RecordingId> =
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".cast")?.parse().ok()).collect();
    // The time is the first that an id tells.
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.truncate(RECORDINGS_LISTED);
    ids.into_iter().filter_map(|id| told(place, id)).collect()
}

fn told(place: &Place, id: RecordingId) -> Option<TerminalRecording> {
    let file = std::fs::File::open(path(place, Recorded::Terminal(id))).ok()?;
    let bytes = file.metadata().ok()?.len();
    let mut first = String::new();
    io::BufReader::new(file.take(HEADER_MAX)).read_line(&mut first).ok()?;
    let header: Value = serde_json::from_str(&first).ok()?;
    let about: About = serde_json::from_value(header["envforge"].clone()).ok()?;
    let begun_at = Timestamp::from_second(header["timestamp"].as_i64()?).ok()?;
    Some(TerminalRecording { id, terminal: about.terminal, person: about.person, begun_at, bytes })
}

fn no_pipe(error: &io::Error) -> Refusal {
    Refusal::new(RefusalKind::Internal, "recording.pipe", format!("no pipe: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn begin(path: &Path, max: u64) -> Recording {
        begin_with(path, max, &[])
    }

    fn begin_with(path: &Path, max: u64, secrets: &[(&str, &str)]) -> Recording {
        let known = Known::default();
        known.add(secrets.iter().copied());
        Recording::open(path, max, Arc::new(known), Timestamp::UNIX_EPOCH).expect("opened")
    }

    /// The text of all output events, each of which must be whole.
    fn printed(path: &Path) -> String {
        let text = std::fs::read_to_string(path).expect("UTF-8");
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("an event")[2].as_str().expect("text").to_owned())
            .collect()
    }

    proptest! {
        // proves ORG-4
        #[test]
        fn what_was_printed_is_recorded_wherever_it_was_cut(text in "[a-é€😀\n]{0,40}", cuts in proptest::collection::vec(0_usize..160, 0..12)) {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("r");
            let mut recording = begin(&path, u64::MAX);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            for pair in cuts.windows(2) {
                recording.output(&text.as_bytes()[pair[0]..pair[1]], Timestamp::UNIX_EPOCH).expect("recorded");
            }
            prop_assert_eq!(printed(&path), text);
        }
    }

    // proves ORG-4
    #[test]
    fn a_known_secret_is_marked_out_wherever_it_was_cut() {
        const SECRET: &str = "pässwörd-4711€";
        let text = format!("$ echo {SECRET}\r\n{SECRET}\r\n$ pässw");
        for cut in 0..=text.len() {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("r");
            let mut recording = begin_with(&path, u64::MAX, &[("PASS", SECRET)]);
            let (before, after) = text.as_bytes().split_at(cut);
            for (second, bytes) in [before, after].into_iter().enumerate() {
                recording.output(bytes, Timestamp::from_second(second as i64).expect("a time")).expect("recorded");
            }
            // Also the size in between, and what was held back when it ends.
            recording.resized(TerminalSize { cols: 80, rows: 24 }, Timestamp::UNIX_EPOCH).expect("recorded");
            recording.close(&Over::Shell, Timestamp::from_second(2).expect("a time"));
            let wanted = "$ echo [secret PASS]\r\n[secret PASS]\r\n$ 80x24pässwover: what ran in it ended";
            assert_eq!(printed(&path), wanted, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_text_is_recorded_too() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("r");
        let mut recording = begin(&path, u64::MAX);
        recording.output(b"a\xff\xfe\xe2\x82", Timestamp::UNIX_EPOCH).expect("recorded");
        recording.output(b"\xacb\x1b[0m", Timestamp::UNIX_EPOCH).expect("recorded");
        assert_eq!(printed(&path), "a\u{fffd}\u{fffd}€b\u{1b}[0m");
    }

    // proves ORG-4
    #[test]
    fn a_full_recording_takes_nothing_but_why_it_was_cut() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("r");
        let mut recording = begin(&path, 100);
        recording.output(&[b'x'; 50], Timestamp::UNIX_EPOCH).expect("recorded");
        let error = recording.output(&[b'y'; 50], Timestamp::UNIX_EPOCH).expect_err("full");
        assert!(matches!(error, RecordingError::Full));
        recording.close(&Over::Unrecorded(error), Timestamp::UNIX_EPOCH);
        assert!(
            matches!(begin(&path, 100_000).output(b"z", Timestamp::UNIX_EPOCH), Err(RecordingError::Full)),
            "for good"
        );
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.ends_with("\"m\", \"cut: its recording is full\"]\n") && !text.contains('y'), "{text}");
    }
}
