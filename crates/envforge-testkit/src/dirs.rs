//! Temporary directories and free ports.
//!
//! A Unix socket's path holds 107 bytes, and roles that drop to unprivileged users must be able to walk into a
//! directory root made: so directories are made right under `/tmp`, with short names and mode 0711.

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
