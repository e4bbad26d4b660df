//! The v1 freezer and the kill without a switch, also on machines where the v2 tree would be used instead.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use crate::sys::command::std_command;

use super::{Dirs, Group, GroupName, Layer, Layout, detect};

const LIMIT: Duration = Duration::from_secs(10);

/// A group on v1 alone, or `None` where there is no v1, or no right to it.
fn v1_group(workspace: &str) -> Option<Group> {
    let Layout::V1(trees) = detect().layout else {
        return None;
    };
    let name = GroupName::new(&format!("unit{}", std::process::id()), workspace, Layer::Runtime).expect("name");
    let group = Group { dirs: Dirs::V1(trees.group(&name.path()).v1_only()) };
    group.create().ok().map(|()| group)
}

#[test]
fn v1_alone_freezes_thaws_and_kills() {
    let Some(group) = v1_group("freeze") else {
        return;
    };
    let mut child = std_command("/bin/sh")
        .args(["-c", "read go; sleep 1000 & sleep 1000 & echo up; wait"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    group.add(child.id() as i32).expect("add");
    child.stdin.take().expect("stdin").write_all(b"go\n").expect("go");
    let mut up = [0; 3];
    child.stdout.take().expect("stdout").read_exact(&mut up).expect("up");
    assert_eq!(group.pids().expect("pids").len(), 3);
    group.freeze(LIMIT).expect("freeze");
    assert!(group.is_frozen().expect("state"));
    group.thaw().expect("thaw");
    assert!(!group.is_frozen().expect("state"));
    group.freeze(LIMIT).expect("freeze");
    let reaper = std::thread::spawn(move || child.wait());
    group.kill(LIMIT).expect("kill");
    reaper.join().expect("thread").expect("wait");
    assert!(group.pids().expect("pids").is_empty());
    group.remove(LIMIT).expect("remove");
    assert!(!group.exists());
}
