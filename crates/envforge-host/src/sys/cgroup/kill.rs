//! Ending everything in a group, also what forks while it is being ended.
//!
//! The kernel's own switch does it in one go. Without it the group is frozen first, so that nothing can fork between the
//! list and the signals; a v1-frozen process dies only once it is thawed.

use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::fs::{pids, wait_until};
use super::{v1, v2};
use crate::sys::deadline::Deadline;

pub(super) fn by_switch(dir: &v2::Dir, deadline: Duration) -> io::Result<()> {
    if !dir.path().exists() {
        return Ok(());
    }
    if !dir.has_kill() {
        return by_signals(deadline, || dir.freeze(Duration::from_millis(200)), || dir.thaw(), || pids(dir.path()));
    }
    dir.kill()?;
    wait_until("kill", deadline, || Ok(!dir.is_populated()?))?;
    dir.thaw()
}

pub(super) fn v1(dirs: &v1::GroupDirs, deadline: Duration) -> io::Result<()> {
    if let Some(unified) = &dirs.unified
        && unified.path().exists()
    {
        return by_switch(unified, deadline);
    }
    let Some(first) = dirs.directories().into_iter().next().filter(|dir| dir.exists()) else {
        return Ok(());
    };
    by_signals(deadline, || dirs.freeze(Duration::from_millis(200)), || dirs.thaw(), || pids(&first))
}

fn by_signals(
    deadline: Duration,
    freeze: impl Fn() -> io::Result<()>,
    thaw: impl Fn() -> io::Result<()>,
    list: impl Fn() -> io::Result<Vec<i32>>,
) -> io::Result<()> {
    let until = Deadline::after(deadline);
    loop {
        // Killing works without it, only less surely: a process in an uninterruptible wait can't be frozen.
        let _ = freeze();
        for pid in list()?.into_iter().filter_map(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        thaw()?;
        let round = Duration::from_millis(100).min(until.left());
        if wait_until("kill", round, || Ok(list()?.is_empty())).is_ok() {
            return Ok(());
        }
        if until.is_over() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("kill: processes {:?} did not end within {deadline:?}", list()?),
            ));
        }
    }
}
