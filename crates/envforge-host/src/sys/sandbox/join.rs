//! Joining cgroups without waiting for the whole machine.
//!
//! Who writes to `cgroup.procs` moves a process with all its threads, and so that none is made meanwhile the kernel waits until
//! every processor has been through a quiet state: several milliseconds, most of what starting a sandbox would take. A process
//! of one thread needs none of that. Of a v1 group it writes to `tasks`, which moves the calling thread alone; in a v2 group it
//! has a child born (`CLONE_INTO_CGROUP`, clone(2), Linux 5.7).
//!
//! Kernels since 6.14 end a child born in a group that was ever killed (`cgroup.kill`) and lives on: they take its parent's
//! group for the one to look at. Such a child never runs, which is seen, and the slow way is taken.

use super::birth::{Born, born};
use super::enter::{Step, StepError};
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Signal, WaitId, WaitIdOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

/// Who goes on.
pub(super) enum Joined {
    /// This process, in the groups.
    Here,
    /// A child did, and this one was there to wait for its end.
    AsChild,
}

/// Joins the groups whose `cgroup.procs` these are. For a process of one thread.
pub(super) fn join(files: &[PathBuf]) -> Result<Joined, StepError> {
    let mut unified = None;
    for file in files {
        let tasks = file.with_file_name("tasks");
        if tasks.exists() {
            enter(&tasks)?;
        } else {
            unified = Some(file);
        }
    }
    let Some(file) = unified else {
        return Ok(Joined::Here);
    };
    match born_in(file.parent().unwrap_or(file)) {
        Ok(joined) => Ok(joined),
        // An older kernel, a filter that knows no clone3, a group that was killed: the slow way says what is wrong, if
        // anything is.
        Err(_) => enter(file).map(|()| Joined::Here),
    }
}

fn enter(file: &Path) -> Result<(), StepError> {
    std::fs::write(file, "0").step(format_args!("join cgroup {}", file.display()))
}

fn born_in(group: &Path) -> io::Result<Joined> {
    let group = std::fs::File::open(group)?;
    let lives = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    match born(Some(group.as_fd()))? {
        Born::Child => {
            // Whoever gives up on this start ends the parent, which is the one it knows.
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            rustix::io::write(&lives, &1_u64.to_ne_bytes())?;
            Ok(Joined::Here)
        }
        Born::Parent(child) => {
            rustix::process::waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED)?;
            // Nothing to read when it did not come so far.
            rustix::io::read(&lives, &mut [0; 8])?;
            Ok(Joined::AsChild)
        }
    }
}
