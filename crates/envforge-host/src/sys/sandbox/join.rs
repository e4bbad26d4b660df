//! Joining cgroups without waiting for the whole machine.
//!
//! Who writes to `cgroup.procs` moves a process with all its threads, and so that none is made meanwhile the kernel waits until
//! every processor has been through a quiet state: several milliseconds, most of what starting a sandbox would take. A process
//! of one thread needs none of that. Of a v1 group it writes to `tasks`, which moves the calling thread alone; in a v2 group it
//! is born (`CLONE_INTO_CGROUP`, clone(2), Linux 5.7).
//!
//! Kernels since 6.14 end a child born in a group that was ever killed (`cgroup.kill`) and lives on: they take its parent's
//! group for the one to look at. Such a child never runs, which is seen, and the slow way is taken.

use super::enter::{Step, StepError};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The directory of the v2 group among those whose `cgroup.procs` these are, to be born in; `None` if there is none. What is wrong
/// with it is said by who joins it.
pub(super) fn birthplace(files: &[PathBuf]) -> Option<OwnedFd> {
    let unified = files.iter().find(|file| !tasks(file).exists())?;
    Some(std::fs::File::open(unified.parent()?).ok()?.into())
}

/// Joins the groups whose `cgroup.procs` these are. For a process of one thread, which may have been born in the v2 one.
pub(super) fn join(files: &[PathBuf], is_born_there: bool) -> Result<(), StepError> {
    for file in files {
        let tasks = tasks(file);
        if tasks.exists() {
            enter(&tasks)?;
        } else if !is_born_there {
            enter(file)?;
        }
    }
    Ok(())
}

/// Where a v1 group lists threads.
fn tasks(file: &Path) -> PathBuf {
    file.with_file_name("tasks")
}

fn enter(file: &Path) -> Result<(), StepError> {
    std::fs::write(file, "0").step(format_args!("join cgroup {}", file.display()))
}
