//! Captured logs as a stream: the last lines, then what comes, through a pipe.
//!
//! Works while everything sleeps: files are read, no process is asked. A log that is searched may be long and the pattern
//! slow, so it is read a slice at a time on a thread of its own, one search of the whole host at once, each in its turn.

use crate::ctx::HostContext;
use crate::init::protocol::is_valid_name;
use crate::services::log_file::{self, Cursor, Past, Sieve};
use crate::services::log_filter::{Filter, Verdict};
use crate::workspace::view::View;
use envforge_api::uplink::LogFilter;
use envforge_core::manifest::HOOK_KEYS;
use envforge_core::refusal::{Refusal, RefusalKind};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::sync::Semaphore;

/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Chunks read at a time; between two of these, others get their turn, and it is looked whether anybody still reads.
const SLICE: usize = 4;

/// The log a subject names: a service's, a job's by its id, or one of ours.
pub(crate) fn name_of(dir: &Path, subject: &str) -> Option<String> {
    let names = [subject.to_owned(), job_log(subject), own_log(subject)];
    names.into_iter().find(|name| is_valid_name(name) && log_file::exists(dir, name))
}

/// The name of a job's log.
pub(crate) fn job_log(job: &str) -> String {
    format!("job-{job}")
}

/// The name of a log of what the host itself runs; no service can have it.
pub(crate) fn own_log(what: &str) -> String {
    format!("_{what}")
}

/// What somebody wants of a log.
pub(super) struct Lines {
    /// From the end to begin with, of those the filter wants.
    pub(super) tail: u32,
    /// Whether what is appended comes too.
    pub(super) follow: bool,
    /// Which are wanted.
    pub(super) filter: LogFilter,
}

/// Searches take turns here.
pub(super) type Turns = Arc<Semaphore>;

/// As many as search at the same moment: one core is left to everybody else.
pub(super) fn turns() -> Turns {
    Arc::new(Semaphore::new(1))
}

/// Opens a pipe of log lines.
pub(super) fn open(
    ctx: &HostContext,
    view: &View,
    subject: &str,
    lines: &Lines,
    turns: &Turns,
) -> Result<OwnedFd, Refusal> {
    let (dir, known) = {
        let now = view.get();
        (now.place.logs(), now.services.contains(subject) || now.jobs.contains(subject))
    };
    let name = match name_of(&dir, subject) {
        Some(name) => name,
        // It has written nothing yet.
        None if known && now_is_job(subject) => job_log(subject),
        None if known => subject.to_owned(),
        None if HOOK_KEYS.contains(&subject) => own_log(subject),
        None => {
            return Err(Refusal::not_found("logs.unknown", format!("there is no log `{}`", subject.escape_default())));
        }
    };
    let sieve = Filter::new(&lines.filter)?.map(Sieve::new);
    let (sender, receiver) = make_pipe()
        .map_err(|error| Refusal::new(RefusalKind::Internal, "logs.pipe", format!("no pipe for the log: {error}")))?;
    let (past, cursor) = Past::open(&dir, &name, lines.tail as usize).map_err(|error| unreadable(&error))?;
    let (follow, turns, reading) = (lines.follow, Arc::clone(turns), Reading { past, sieve });
    ctx.tasks.spawn_loose("logs", async move {
        let fed = feed(reading, follow.then_some(cursor), &turns, sender).await;
        if let Err(error) = fed
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            tracing::debug!(%error, "logs: a stream ended early");
        }
    });
    Ok(receiver)
}

fn now_is_job(subject: &str) -> bool {
    subject.parse::<envforge_core::id::JobId>().is_ok()
}

/// A pipe whose writing end is ours and does not block.
pub(crate) fn make_pipe() -> io::Result<(pipe::Sender, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&writer, true)?;
    Ok((pipe::Sender::from_owned_fd(writer)?, reader))
}

/// What is read, while what was found of it is written.
struct Reading {
    past: Past,
    sieve: Option<Sieve>,
}

impl Reading {
    /// Looks at a slice more for the lines to begin with; whether they are found.
    fn look_back(&mut self) -> io::Result<bool> {
        for _ in 0..SLICE {
            let found = self.past.look_back(|line| match &self.sieve {
                Some(sieve) => sieve.judge(line),
                None => Verdict::Wanted,
            })?;
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is wanted of a slice more; nothing at the end.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut wanted = Vec::new();
        for number in 0..SLICE {
            let text = self.past.read()?;
            if text.is_empty() {
                return Ok((number > 0).then_some(wanted));
            }
            wanted.append(&mut self.sift(text));
        }
        Ok(Some(wanted))
    }

    fn sift(&mut self, text: Vec<u8>) -> Vec<u8> {
        match &mut self.sieve {
            Some(sieve) => sieve.push(&text),
            None => text,
        }
    }

    /// What is left when nothing more comes.
    fn finish(&mut self) -> Vec<u8> {
        self.sieve.as_mut().map(Sieve::finish).unwrap_or_default()
    }
}

/// Does a piece of reading where it holds nobody up; searches wait for their turn.
async fn aside<T: Send + 'static>(
    mut reading: Reading,
    turns: &Turns,
    work: impl FnOnce(&mut Reading) -> io::Result<T> + Send + 'static,
) -> io::Result<(Reading, T)> {
    let _turn = if reading.sieve.is_some() { turns.acquire().await.ok() } else { None };
    let done = tokio::task::spawn_blocking(move || work(&mut reading).map(|done| (reading, done)));
    done.await.map_err(io::Error::other)?
}

/// Writes what is wanted of the past, then of what comes after `cursor`.
async fn feed(
    mut reading: Reading,
    mut cursor: Option<Cursor>,
    turns: &Turns,
    mut into: pipe::Sender,
) -> io::Result<()> {
    loop {
        let found;
        (reading, found) = aside(reading, turns, Reading::look_back).await?;
        if found {
            break;
        }
        if is_abandoned(&into) {
            return Ok(());
        }
    }
    loop {
        let text;
        (reading, text) = aside(reading, turns, Reading::read).await?;
        let Some(text) = text else { break };
        into.write_all(&text).await?;
        if is_abandoned(&into) {
            return Ok(());
        }
    }
    let Some(cursor) = &mut cursor else {
        let (_, text) = aside(reading, turns, |reading| Ok(reading.finish())).await?;
        return into.write_all(&text).await;
    };
    loop {
        let text = cursor.read()?;
        if is_abandoned(&into) {
            return Ok(());
        }
        if text.is_empty() {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let wanted;
        (reading, wanted) = aside(reading, turns, move |reading| Ok(reading.sift(text))).await?;
        into.write_all(&wanted).await?;
    }
}

fn unreadable(error: &io::Error) -> Refusal {
    Refusal::new(RefusalKind::Internal, "logs.unreadable", format!("the log can't be read: {error}"))
}

/// Whether nobody reads any more.
fn is_abandoned(into: &pipe::Sender) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(into, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents().contains(PollFlags::ERR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(dir: &Path, pattern: &str) -> Reading {
        let wanted = LogFilter { grep: Some(pattern.to_owned()), since: None };
        let sieve = Filter::new(&wanted).expect("compiles").map(Sieve::new);
        let (past, _) = Past::open(dir, "web", usize::MAX).expect("opens");
        Reading { past, sieve }
    }

    // proves RUN-8
    #[tokio::test(start_paused = true)]
    async fn a_search_is_over_when_nobody_reads_any_more() {
        let dir = tempfile::tempdir().expect("a directory");
        // As long as would take hours: a hole that somebody put there.
        let file = fs_err::File::create(dir.path().join("web.log")).expect("created");
        file.set_len(1 << 40).expect("a hole");
        let (sender, receiver) = make_pipe().expect("a pipe");
        let turns = turns();
        let first = turns.acquire().await.expect("a turn");
        let waiting = feed(search(dir.path(), "x"), None, &turns, sender);
        tokio::pin!(waiting);
        drop(receiver);
        // While something is read, no time passes on this clock; all of it does at once when nothing is.
        let early = tokio::time::timeout(Duration::from_secs(30), &mut waiting).await;
        assert!(early.is_err(), "another search has its turn");
        drop(first);
        tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("it ends").expect("it is no failure");
        assert_eq!(turns.available_permits(), 1);
    }
}
