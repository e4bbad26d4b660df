//! One supervisor per box.
//!
//! The lock is the kernel's, on `run/lock`, and ends with the process however it ends; the number in the file is for the
//! message only. The file is never removed: two processes that lock two files of one name would both have it.

use super::layout::Layout;
use crate::advice::advised;
use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

/// The lock, held as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Takes the box's lock, or says who has it.
pub(crate) fn take(layout: &Layout) -> anyhow::Result<Lock> {
    let path = layout.lock();
    let mut file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())?;
            Ok(Lock { _file: file })
        }
        Err(TryLockError::WouldBlock) => {
            let root = layout.root().display();
            let by = read_pid(&mut file).map_or_else(String::new, |pid| format!(" (process {pid})"));
            Err(advised(
                format!("another `envforged all` runs on {root}{by}"),
                format!("use it, stop it with `envforged admin stop --data-dir {root}`, or give another --data-dir"),
            ))
        }
        Err(TryLockError::Error(error)) => {
            Err(anyhow::Error::new(error).context(format!("locking {}", path.display())))
        }
    }
}

/// The supervisor of a box, if one runs.
pub(crate) fn holder(layout: &Layout) -> Option<i32> {
    let mut file = File::open(layout.lock()).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => read_pid(&mut file),
        _ => None,
    }
}

fn read_pid(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
