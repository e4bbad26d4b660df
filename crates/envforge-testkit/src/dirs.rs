//! Temporary directories, free ports, and numbers that no other test has.
//!
//! A Unix socket's path holds 107 bytes, and roles that drop to unprivileged users must be able to walk into a
//! directory root made: so directories are made right under `/tmp`, with short names and mode 0711.

use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;

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
    _lock: File,
}

impl Slot {
    /// The lowest free number below `limit`.
    pub fn take(limit: u32) -> Self {
        let folder = std::path::Path::new("/tmp/envforge-testkit-slots");
        fs_err::create_dir_all(folder).expect("a folder in /tmp");
        for number in 0..limit {
            let path = folder.join(number.to_string());
            let Ok(file) = fs_err::OpenOptions::new().create(true).append(true).open(&path) else { continue };
            let file = file.into_parts().0;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Self { number, _lock: file };
            }
        }
        panic!("all {limit} slots are taken: {}", folder.display());
    }
}
