//! What is meant to outlive a box, and must not outlive a test.
//!
//! Shells and services survive the death of every daemon: that is the product. A test that starts a whole box therefore
//! ends by looking for whatever still belongs to its directory: processes that name it on their command line, work in
//! it, or live in a mount namespace of their own into which parts of it are mounted; then mounts inside it.

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Ends every process that belongs to `directory`, and undoes mounts inside it. Returns how many processes there were.
pub fn end_leftovers(directory: &Path) -> usize {
    let mut ended = 0;
    // Ending one can start another: a supervisor inside restarts what died.
    for _ in 0..50 {
        let found = belonging_to(directory);
        if found.is_empty() {
            break;
        }
        ended += found.len();
        for pid in found {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for place in mounts_in(directory) {
        let _ = unmount(&place, UnmountFlags::DETACH);
    }
    ended
}

fn belonging_to(directory: &Path) -> Vec<Pid> {
    let mark = directory.to_string_lossy();
    let own_mounts = std::fs::read_link("/proc/self/ns/mnt").ok();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let others = pids.filter(|pid| *pid != std::process::id().cast_signed());
    let belongs = |pid: &i32| {
        let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let link = |name: &str| std::fs::read_link(format!("/proc/{pid}/{name}")).ok();
        let names_it = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(&*mark);
        let is_zombie = read("cmdline").is_empty();
        let is_apart = link("ns/mnt").is_some_and(|mounts| Some(mounts) != own_mounts);
        !is_zombie
            && (names_it(&read("cmdline"))
                || link("cwd").is_some_and(|cwd| cwd.starts_with(directory))
                || (is_apart && names_it(&read("mountinfo"))))
    };
    others.filter(belongs).filter_map(Pid::from_raw).collect()
}

/// Deepest first.
fn mounts_in(directory: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let places = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut inside: Vec<PathBuf> = places.filter(|place| place.starts_with(directory)).collect();
    inside.sort_by_key(|place| std::cmp::Reverse(place.components().count()));
    inside
}

#[cfg(test)]
mod tests {
    use super::end_leftovers;
    use crate::temp_dir;
    use std::process::Command;

    #[test]
    fn a_process_that_works_inside_is_found() {
        let dir = temp_dir("left");
        #[expect(clippy::disallowed_methods, reason = "a process to be found")]
        let mut child = Command::new("sleep").arg("600").current_dir(dir.path()).spawn().unwrap();
        assert_eq!(end_leftovers(dir.path()), 1);
        assert!(!child.wait().unwrap().success());
        assert_eq!(end_leftovers(dir.path()), 0);
    }
}
