//! The last proof that a runtime ran: a file's time, set at every heartbeat.
//!
//! When a runtime's end was not seen, nothing after this instant is billed. Setting a time is one system call that
//! cannot be torn; the disk need not have it, because a machine that lost it lost the runtime's whole uptime with it or
//! kept an earlier, smaller proof.

use jiff::Timestamp;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Notes that the runtime ran at this instant.
pub(crate) fn touch(path: &Path, at: Timestamp) -> io::Result<()> {
    let time = Timespec { tv_sec: at.as_second(), tv_nsec: i64::from(at.subsec_nanosecond()) };
    let times = Timestamps { last_access: time, last_modification: time };
    match rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => {
            drop(fs_err::File::create(path)?);
            Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
        }
        other => Ok(other?),
    }
}

/// The last proof, if there is one.
pub(crate) fn read(path: &Path) -> Option<Timestamp> {
    let metadata = fs_err::symlink_metadata(path).ok()?;
    let nanoseconds = i32::try_from(metadata.mtime_nsec()).ok()?;
    Timestamp::new(metadata.mtime(), nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instant_is_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("proof");
        assert_eq!(read(&path), None);
        for microsecond in [1_700_000_000_123_456, 1_700_000_002_000_001] {
            let at = Timestamp::from_microsecond(microsecond).expect("in range");
            touch(&path, at).expect("touched");
            assert_eq!(read(&path), Some(at));
        }
    }
}
