//! Captured logs as a stream: the last lines, then what comes, through a pipe.
//!
//! Works while everything sleeps: files are read, no process is asked.

use crate::ctx::HostContext;
use crate::init::protocol::is_valid_name;
use crate::services::log_file::{self, Cursor};
use crate::workspace::view::View;
use envforge_core::refusal::{Refusal, RefusalKind};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;

/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// The most lines given from the past.
const TAIL_MAX: u32 = 100_000;

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

/// Opens a pipe of log lines.
pub(super) fn open(ctx: &HostContext, view: &View, subject: &str, tail: u32, follow: bool) -> Result<OwnedFd, Refusal> {
    let (dir, known) = {
        let now = view.get();
        (now.place.logs(), now.services.contains(subject) || now.jobs.contains(subject))
    };
    let name = match name_of(&dir, subject) {
        Some(name) => name,
        // It has written nothing yet.
        None if known && now_is_job(subject) => job_log(subject),
        None if known => subject.to_owned(),
        None => {
            return Err(Refusal::not_found("logs.unknown", format!("there is no log `{}`", subject.escape_default())));
        }
    };
    let (sender, receiver) = make_pipe()
        .map_err(|error| Refusal::new(RefusalKind::Internal, "logs.pipe", format!("no pipe for the log: {error}")))?;
    ctx.tasks.spawn_loose("logs", async move {
        if let Err(error) = feed(dir, name, sender, tail.min(TAIL_MAX), follow).await
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

async fn feed(dir: PathBuf, name: String, mut into: pipe::Sender, tail: u32, follow: bool) -> io::Result<()> {
    let (text, mut cursor): (Vec<u8>, Cursor) = log_file::tail(&dir, &name, tail as usize)?;
    into.write_all(&text).await?;
    if !follow {
        return Ok(());
    }
    loop {
        let text = cursor.read()?;
        if !text.is_empty() {
            into.write_all(&text).await?;
        } else if is_abandoned(&into) {
            return Ok(());
        } else {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Whether nobody reads any more.
fn is_abandoned(into: &pipe::Sender) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(into, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents().contains(PollFlags::ERR)
}
