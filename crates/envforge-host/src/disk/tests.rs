//! When a disk is short of what, and a file that is replaced on one that is full.

use super::spares::SIZE;
use super::*;
use proptest::prelude::*;
use std::io::Write as _;

const MARK: LowWater = LowWater { bytes: 1_000, inodes: 100 };

fn room(free_bytes: u64, free_inodes: u64) -> Room {
    Room { bytes: 1_000_000, free_bytes, inodes: 1_000_000, free_inodes }
}

#[test]
fn either_can_be_short_and_a_host_comes_back_a_little_later() {
    assert_eq!(room(1_000, 100).shortage(MARK, false), None);
    assert_eq!(room(999, 100).shortage(MARK, false), Some(Shortage::Bytes(999)));
    assert_eq!(room(1_000, 99).shortage(MARK, false), Some(Shortage::Inodes(99)));
    assert_eq!(room(1_249, 125).shortage(MARK, true), Some(Shortage::Bytes(1_249)));
    assert_eq!(room(1_250, 125).shortage(MARK, true), None);
    // Inodes without number, and a filesystem smaller than the mark.
    assert_eq!(Room { inodes: 0, ..room(1_000, 0) }.shortage(MARK, false), None);
    assert_eq!(Room { bytes: 2_000, ..room(100, 100) }.shortage(MARK, false), None);
    assert_eq!(Room { bytes: 2_000, ..room(99, 100) }.shortage(MARK, false), Some(Shortage::Bytes(99)));
}

proptest! {
    #[test]
    fn more_room_is_never_shorter(bytes in 0_u64..3_000, inodes in 0_u64..300, more in 0_u64..3_000, was: bool) {
        let is_short = |room: Room, was| room.shortage(MARK, was).is_some();
        prop_assert!(!is_short(room(bytes + more, inodes + more), was) || is_short(room(bytes, inodes), was));
        prop_assert!(!is_short(room(bytes, inodes), false) || is_short(room(bytes, inodes), true));
    }
}

// proves OPS-2
#[test]
fn a_full_disk_takes_what_replaces_a_file_again_and_again() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("directory");
    let _mounted = Mounted::new(dir.path());
    let spares = Spares::new(dir.path().join("spare"));
    let path = dir.path().join("state.json");
    fs_err::write(&path, "[]").expect("written");
    assert_eq!(spares.replace(&path, b"[1]").expect_err("there are none").kind(), io::ErrorKind::StorageFull);
    spares.fill(SIZE * 64 * 2).expect("filled");
    let mut filler = fs_err::File::create(dir.path().join("filler")).expect("made");
    while filler.write_all(&[1; 4_096]).is_ok() {}
    let written = fs_err::write(dir.path().join("other"), "x").expect_err("it is full");
    assert_eq!(written.kind(), io::ErrorKind::StorageFull);
    for number in 0..20 {
        let json = format!("[{number}]");
        spares.replace(&path, json.as_bytes()).expect("replaced");
        let read: Vec<u32> = serde_json::from_slice(&fs_err::read(&path).expect("read")).expect("JSON");
        assert_eq!(read, [number]);
        // Whatever was freed is gone at once.
        while filler.write_all(&[1; 4_096]).is_ok() {}
    }
    let large = vec![b' '; SIZE as usize + 1];
    assert_eq!(spares.replace(&path, &large).expect_err("too large").kind(), io::ErrorKind::StorageFull);
}

/// A filesystem of 1 MiB.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(path: &'a Path) -> Self {
        use rustix::mount::{MountFlags, mount};
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), Some(c"size=1m")).expect("mount");
        Self(path)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
    }
}
