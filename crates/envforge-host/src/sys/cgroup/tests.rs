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

#[test]
fn beside_a_better_freezer_the_v1_one_is_not_used_and_what_an_earlier_daemon_made_in_it_is_removed() {
    let cgroups = detect();
    let Layout::V1(trees) = &cgroups.layout else {
        return;
    };
    let name = GroupName::new(&format!("unit{}", std::process::id()), "better", Layer::Runtime).expect("name");
    let dirs = trees.group(&name.path());
    let group = cgroups.group(&name);
    if dirs.unified.is_none() || group.create().is_err() {
        return;
    }
    let missing = |group: &Group| group.directories().iter().filter(|dir| !dir.is_dir()).count();
    // Where it is mounted by itself, as it is as a rule.
    let freezer = dirs.directories().into_iter().find(|dir| dir.to_string_lossy().contains("/freezer/"));
    assert_eq!(missing(&group), usize::from(freezer.is_some()));
    assert!(freezer.is_none_or(|dir| !dir.exists()));
    assert!(group.join_files().iter().all(|file| file.exists()));
    // It is found again by who is in it.
    let mut child = std_command("/bin/sleep").arg("1000").spawn().expect("spawn");
    group.add(child.id() as i32).expect("add");
    assert_eq!(cgroups.group_of(&name, child.id() as i32).join_files(), group.join_files());
    let reaper = std::thread::spawn(move || child.wait());
    group.kill(LIMIT).expect("kill");
    reaper.join().expect("thread").expect("wait");
    let earlier = Group { dirs: Dirs::V1(dirs.v1_only()) };
    earlier.create().expect("as an earlier daemon has it");
    assert_eq!(missing(&group), 0);
    group.remove(LIMIT).expect("remove");
    assert!(!group.exists());
}

// proves RUN-5 OPS-1
#[test]
fn without_groups_what_is_below_an_init_is_paused_and_ended() {
    let mut init = std_command("/bin/sh")
        .args(["-c", "sh -c 'while :; do /bin/true; done' & sleep 1000 & echo up; wait"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    let mut up = [0; 3];
    init.stdout.take().expect("stdout").read_exact(&mut up).expect("up");
    let group = super::none("a test").group_of(&name(), init.id() as i32);
    assert!(group.exists() && group.pids().expect("pids").len() >= 2);
    assert!(!group.is_frozen().expect("state"));
    // Often enough to also stop a child between its `vfork` and its `exec`, when its parent can't be stopped.
    for _ in 0..300 {
        group.freeze(LIMIT).expect("freeze");
        assert!(group.is_frozen().expect("state"), "also what forks all the time stands still");
        let still = group.pids().expect("pids");
        assert_eq!(group.pids().expect("pids"), still);
        group.thaw().expect("thaw");
    }
    assert!(group.stats().expect("stats").memory_bytes > 0);
    group.freeze(LIMIT).expect("freeze");
    // Outside a PID namespace the kernel does not end the rest with the first.
    let rest = group.pids().expect("pids");
    let reaper = std::thread::spawn(move || init.wait());
    group.kill(LIMIT).expect("kill");
    reaper.join().expect("thread").expect("wait");
    assert!(!group.exists());
    for pid in rest.into_iter().filter_map(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

fn name() -> GroupName {
    GroupName::new(&format!("unit{}", std::process::id()), "tree", Layer::Runtime).expect("name")
}

// proves RUN-5
#[test]
fn without_a_file_for_it_memory_is_given_back_process_by_process() {
    let mut init = std_command("/bin/sh")
        .args(["-c", "python3 -c 'held = bytearray(b\"x\" * (24 << 20)); print(\"up\", flush=True); input(); print(sum(held[::4096]))'; echo over"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    let mut up = [0; 3];
    let mut stdout = init.stdout.take().expect("stdout");
    stdout.read_exact(&mut up).expect("up");
    let group = super::none("a test").group_of(&name(), init.id() as i32);
    group.freeze(LIMIT).expect("freeze");
    let before = group.stats().expect("stats").memory_bytes;
    match group.reclaim() {
        Ok(bytes) => assert!(bytes <= before),
        // Who may not trace others, or has an older kernel, is told so.
        Err(error) => assert!(
            matches!(error.kind(), std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::Unsupported),
            "{error}"
        ),
    }
    // Where there is swap, what was held went there.
    let swap = crate::sys::memory::read(std::path::Path::new("/proc")).expect("read").swap;
    if swap > 64 << 20 && rustix::process::geteuid().is_root() {
        let after = group.stats().expect("stats").memory_bytes;
        assert!(after + (16 << 20) < before, "{after} of {before}");
    }
    group.thaw().expect("thaw");
    init.stdin.take().expect("stdin").write_all(b"go\n").expect("go");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("the rest");
    assert_eq!(rest, format!("{}\nover\n", (24 << 20) / 4096 * u32::from(b'x')), "nothing of it is lost");
    init.wait().expect("ended");
}
