//! Temporary directories, free ports, and numbers that no other test has.
//!
//! A Unix socket's path holds 107 bytes, and roles that drop to unprivileged users must be able to walk into a
//! directory root made: so directories are made right under `/tmp`, with short names and mode 0711.

use crate::end_leftovers;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// A temporary directory with a short path, removed when dropped.
pub fn temp_dir(what: &str) -> tempfile::TempDir {
    let dir = tempfile::Builder::new()
        .prefix(&format!("ef-{what}-"))
        .rand_bytes(6)
        .tempdir_in("/tmp")
        .unwrap_or_else(|error| panic!("can't make a temporary directory in /tmp: {error}"));
    fs_err::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).expect("own directory");
    dir
}

/// A TCP port of 127.0.0.1 that was free a moment ago.
///
/// Only for programs that can't listen on port 0 and tell which they got; another program may take it meanwhile.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port of 127.0.0.1");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// A number that is this test's alone, on the whole machine, until it is dropped: tests in parallel processes derive user
/// ids and private networks from it.
#[derive(Debug)]
pub struct Slot {
    /// From 0 up, below the limit asked for.
    pub number: u32,
    lock: File,
}

impl Slot {
    /// The lowest free number below `limit`. A test that had it and was killed left what it made: that is ended first.
    pub fn take(limit: u32) -> Self {
        Self::take_in(Path::new("/tmp/envforge-testkit-slots"), limit)
    }

    fn take_in(folder: &Path, limit: u32) -> Self {
        fs_err::create_dir_all(folder).expect("a folder in /tmp");
        for number in 0..limit {
            let path = folder.join(number.to_string());
            let Ok(file) = fs_err::OpenOptions::new().create(true).read(true).append(true).open(&path) else {
                continue;
            };
            let lock = file.into_parts().0;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let slot = Self { number, lock };
            slot.end_what_was_left();
            return slot;
        }
        panic!("all {limit} slots are taken: {}", folder.display());
    }

    /// Says where the holder keeps what belongs to this number, for the next holder if this one can't clean up.
    pub fn keeps(&self, directory: &Path) {
        writeln!(&self.lock, "{}", directory.display()).expect("a slot's file can be written");
    }

    fn end_what_was_left(&self) {
        let mut kept = String::new();
        (&self.lock).read_to_string(&mut kept).expect("a slot's file can be read");
        for directory in kept.lines().map(Path::new).filter(|directory| is_made_here(directory) && directory.exists()) {
            end_leftovers(directory);
            // What can't be removed, another user's, is in nobody's way once nothing of it runs.
            let _ = std::fs::remove_dir_all(directory);
        }
        self.lock.set_len(0).expect("a slot's file can be emptied");
    }
}

/// Whether it looks like one of [`temp_dir`]'s: nothing else is removed on a file's word.
fn is_made_here(directory: &Path) -> bool {
    let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("ef-") && directory == Path::new("/tmp").join(name)
}

#[cfg(test)]
mod tests {
    use super::{Slot, is_made_here, temp_dir};
    use std::path::Path;

    #[test]
    fn what_a_killed_test_left_is_ended_by_who_has_its_number_next() {
        let slots = temp_dir("slots");
        let left = temp_dir("left").keep();
        let (free, taken) = (Slot::take_in(slots.path(), 2), Slot::take_in(slots.path(), 2));
        assert_eq!((free.number, taken.number), (0, 1));
        free.keeps(&left);
        drop(free);
        assert!(left.exists(), "its holder's to remove, while there is one");
        let next = Slot::take_in(slots.path(), 2);
        assert_eq!(next.number, 0);
        assert!(!left.exists(), "the next holder's");
        drop(next);
        assert_eq!(Slot::take_in(slots.path(), 2).number, 0, "of what is gone nothing is asked");
        for other in ["/home/ef-a", "/tmp/ef-a/b", "/tmp/ef-a/../b", "/tmp/other", "ef-a", "/tmp", ""] {
            assert!(!is_made_here(Path::new(other)), "{other}");
        }
    }
}
