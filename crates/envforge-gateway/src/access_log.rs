//! The access log: a line of JSON for each answered request, if the operator wants one.
//!
//! A line says who asked (which link, which session), for what, what came of it, and what it woke. It never holds a token, a
//! cookie or a query; the path of a share link is told as `/share/…`. Lines are written by a thread of their own; when
//! the disk can't keep up they are dropped and counted rather than waited for.

use crate::stats::Counter;
use envforge_core::id::{LinkSessionId, WorkspaceId};
use jiff::Timestamp;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tokio::time::Instant;

/// Lines that wait to be written.
const WAITING: usize = 16 * 1024;
/// Longest path that is told.
const PATH_MAX: usize = 512;
/// How much of a method is told.
pub(crate) const METHOD_MAX: usize = 32;

/// Where lines go.
#[derive(Clone)]
pub(crate) struct AccessLog {
    lines: SyncSender<String>,
    /// Lines that were not written.
    pub(crate) dropped: Arc<Counter>,
}

impl AccessLog {
    /// Appends to a file, readable by its owner alone; whoever rotates it truncates it in place.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let (lines, waiting) = sync_channel(WAITING);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || write(file, &waiting))?;
        Ok(Self { lines, dropped: Arc::default() })
    }
}

fn write(file: File, lines: &Receiver<String>) {
    let mut file = BufWriter::with_capacity(64 * 1024, file);
    while let Ok(first) = lines.recv() {
        let mut line = Ok(first);
        while let Ok(text) = line {
            if let Err(error) = file.write_all(text.as_bytes()) {
                tracing::warn!(%error, "access log: a line could not be written");
            }
            line = lines.try_recv();
        }
        // A full disk loses lines, never requests.
        if let Err(error) = file.flush() {
            tracing::warn!(%error, "access log: lines could not be written");
        }
    }
}

/// What is found out about a request on its way.
#[derive(Debug, Default, Clone)]
pub(crate) struct Notes {
    /// On whose behalf: link or member, and session.
    pub(crate) whose: Option<(String, LinkSessionId, WorkspaceId)>,
    /// The generation it woke the runtime to.
    pub(crate) woke: Option<u64>,
    /// How long it waited for a wake.
    pub(crate) waited: Option<Duration>,
}

/// One request's line, written when its answer ends.
pub(crate) struct Entry {
    log: AccessLog,
    begun: Instant,
    at: Timestamp,
    client: String,
    request: (String, String, &'static str),
    label: String,
    notes: Notes,
    status: u16,
    bytes: u64,
    is_whole: bool,
}

/// What a line says of a request before it is answered.
pub(crate) struct Asked {
    pub(crate) at: Timestamp,
    pub(crate) begun: Instant,
    pub(crate) client: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) protocol: &'static str,
}

impl Entry {
    pub(crate) fn new(log: &AccessLog, asked: Asked, label: &str, notes: Notes, status: u16) -> Self {
        let Asked { at, begun, client, method, path, protocol } = asked;
        Self {
            log: log.clone(),
            begun,
            at,
            client,
            request: (method, told(&path), protocol),
            label: label.to_owned(),
            notes,
            status,
            bytes: 0,
            is_whole: false,
        }
    }

    /// So much of the body was passed on.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// All of it was.
    pub(crate) fn is_whole(&mut self) {
        self.is_whole = true;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let whose = self.notes.whose.as_ref();
        let milliseconds = |time: Duration| (time.as_micros() as f64) / 1000.0;
        let line = json!({
            "time": self.at,
            "client": self.client,
            "label": self.label,
            "method": self.request.0,
            "path": self.request.1,
            "protocol": self.request.2,
            "status": self.status,
            "bytes": self.bytes,
            "whole": self.is_whole,
            "ms": milliseconds(self.begun.elapsed()),
            "holder": whose.map(|(holder, _, _)| holder),
            "session": whose.map(|(_, session, _)| session),
            "workspace": whose.map(|(_, _, workspace)| workspace),
            "woke": self.notes.woke,
            "waited_ms": self.notes.waited.map(milliseconds),
        });
        if self.log.lines.try_send(format!("{line}\n")).is_err() {
            self.log.dropped.add();
        }
    }
}

/// A path as it may be told.
fn told(path: &str) -> String {
    if path.starts_with("/share/") || path.starts_with("/.envforge/enter") {
        let first = path.split('/').nth(1).unwrap_or_default();
        return format!("/{first}/…");
    }
    path.chars().take(PATH_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves LINK-2
    #[test]
    fn a_share_path_is_not_told() {
        assert_eq!(told("/share/efl1.secret"), "/share/…");
        assert_eq!(told("/a/b"), "/a/b");
        assert_eq!(told(&"x".repeat(1000)).len(), PATH_MAX);
    }
}
