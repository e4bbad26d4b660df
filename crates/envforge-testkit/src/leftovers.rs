//! What is meant to outlive a box, and must not outlive a test.
//!
//! Shells and services survive the death of every daemon: that is the product. A test that starts a whole box therefore
//! ends by looking for what still belongs to its directory, and ends it, each process by its number.
//!
//! Tests run as root beside everything else a machine does, so a process is ended only on proof that it is the box's,
//! and what can't be read proves nothing:
//!
//! - one of the programs a box runs, with a path inside the directory among its arguments;
//! - a PostgreSQL that works inside the directory;
//! - a process in a readable PID namespace that is not ours, into whose mounts parts of the directory are *bound*. That a
//!   mount point inside the directory is visible proves nothing: mounts propagate to every service of a machine.
//!
//! Never the first process, never this one or whoever started it.

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every process that belongs to `directory`, on the same proof, with its command line.
pub fn processes_of(directory: &Path) -> Vec<(i32, String)> {
    let found = belonging_to(directory).into_iter().map(|pid| pid.as_raw_nonzero().get());
    found.map(|pid| (pid, words_of(pid).join(" "))).collect()
}

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

/// Programs that a box starts outside of sandboxes; a sandbox's end with its init.
const PROGRAMS: [&str; 4] = ["envforged", "initdb", "pg_ctl", "postgres"];

fn belonging_to(directory: &Path) -> Vec<Pid> {
    let spared = ourselves();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let found = pids.filter(|pid| *pid > 1 && !spared.contains(pid));
    found.filter(|pid| is_of_box(*pid, directory)).filter_map(Pid::from_raw).collect()
}

/// This process and everybody above it.
fn ourselves() -> Vec<i32> {
    let mut line = vec![std::process::id().cast_signed()];
    while let Some(above) = line.last().and_then(|pid| parent(*pid)).filter(|above| *above > 1) {
        line.push(above);
    }
    line
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn is_of_box(pid: i32, directory: &Path) -> bool {
    let link = |name: &str| std::fs::read_link(format!("/proc/{pid}/{name}")).ok();
    let words = words_of(pid);
    // Of one that ended and was not waited for there are no words; PostgreSQL's children write `postgres: writer`.
    let Some(first) = words.first().filter(|first| !first.is_empty()) else { return false };
    let program = first.split([' ', ':']).next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    if PROGRAMS.contains(&program) && words[1..].iter().any(|word| Path::new(word).starts_with(directory)) {
        return true;
    }
    if program == "postgres" && link("cwd").is_some_and(|cwd| cwd.starts_with(directory)) {
        return true;
    }
    let (Some(theirs), Ok(own)) = (link("ns/pid"), std::fs::read_link("/proc/self/ns/pid")) else { return false };
    theirs != own && binds(pid, directory)
}

/// A process's arguments, its program first.
fn words_of(pid: i32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = line.strip_suffix(&[0]).unwrap_or(&line);
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Whether something in a process's mounts is a part of the directory, wherever it is mounted.
fn binds(pid: i32, directory: &Path) -> bool {
    let table = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    // Roots are told from the file system's own root; a directory of ours has a random name right under `/tmp`.
    let below_mount = directory.strip_prefix("/tmp").map(|rest| Path::new("/").join(rest));
    let is_ours =
        |root: &Path| root.starts_with(directory) || below_mount.as_ref().is_ok_and(|rest| root.starts_with(rest));
    table.lines().filter_map(|line| line.split(' ').nth(3)).any(|root| is_ours(Path::new(root)))
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
    use super::{belonging_to, end_leftovers, ourselves};
    use crate::{temp_dir, wait_until};
    use std::process::{Child, Command};

    #[expect(clippy::disallowed_methods, reason = "a process to be found, or not")]
    fn start(program: &str, arguments: &[&str], folder: &std::path::Path) -> Child {
        Command::new(program).args(arguments).current_dir(folder).spawn().unwrap()
    }

    #[test]
    fn bystanders_are_spared() {
        let dir = temp_dir("left");
        // Somebody who stands in the directory, and somebody who only names it.
        let mut standing = start("sleep", &["600"], dir.path());
        let file = dir.path().join("log");
        fs_err::write(&file, "").unwrap();
        let mut naming = start("tail", &["-f", file.to_str().unwrap()], std::path::Path::new("/"));
        assert_eq!(end_leftovers(dir.path()), 0);
        for bystander in [&mut standing, &mut naming] {
            assert!(bystander.try_wait().unwrap().is_none(), "a bystander was ended");
            bystander.kill().unwrap();
            bystander.wait().unwrap();
        }
        assert!(!ourselves().contains(&1) && belonging_to(std::path::Path::new("/")).iter().all(|pid| !pid.is_init()));
    }

    #[tokio::test]
    async fn a_sandbox_with_a_part_of_the_directory_is_ended() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = temp_dir("left");
        let inside = dir.path().join("inside");
        fs_err::create_dir(&inside).unwrap();
        let mounted = dir.path().join("mounted");
        let script = format!("mount --bind {} /mnt && touch {} && sleep 600; :", inside.display(), mounted.display());
        let arguments = ["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", &script];
        let mut sandbox = start("unshare", &arguments, std::path::Path::new("/"));
        wait_until("the sandbox has its mount", async || mounted.exists()).await;
        assert!(end_leftovers(dir.path()) >= 1);
        wait_until("the sandbox is gone", async || sandbox.try_wait().unwrap().is_some()).await;
    }
}
