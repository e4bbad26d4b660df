//! Reading and writing the cgroup file systems: small files whose every write is a system call with a meaning.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::context;
use crate::sys::deadline::Deadline;

/// A mounted hierarchy.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    pub(super) path: PathBuf,
    pub(super) v2: bool,
    /// The v1 controllers of this hierarchy.
    pub(super) controllers: Vec<String>,
    /// What of the hierarchy is mounted here; not `/` inside a container without a cgroup namespace.
    pub(super) root: PathBuf,
}

/// Every cgroup hierarchy mounted here.
pub(super) fn mounts() -> io::Result<Vec<Mount>> {
    Ok(parse_mounts(&std::fs::read_to_string("/proc/self/mountinfo")?))
}

pub(super) fn parse_mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(parse_mount).collect()
}

/// `36 35 98:0 /root /mount/point rw,… - fstype source options`
fn parse_mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let root = PathBuf::from(left.next()?);
    let path = PathBuf::from(left.next()?);
    let mut right = right.split(' ');
    let v2 = match right.next()? {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    let options = right.nth(1)?;
    Some(Mount { path, v2, controllers: options.split(',').map(str::to_owned).collect(), root })
}

/// The group a process is in: `None` for v2, else the hierarchy with this controller.
pub(super) fn group_path(pid: &str, controller: Option<&str>) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let id = parts.next()?;
        let controllers = parts.next()?;
        let path = parts.next()?;
        let wanted = match controller {
            None => id == "0" && controllers.is_empty(),
            Some(name) => controllers.split(',').any(|c| c == name),
        };
        wanted.then(|| PathBuf::from(path))
    })
}

pub(super) fn write(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|error| context(path, &error))
}

pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|mut file| file.read_to_string(&mut text))
        .map_err(|error| context(path, &error))?;
    Ok(text)
}

/// A file that holds one number; 0 if it does not exist (a controller that is not there).
pub(super) fn read_number(path: &Path) -> io::Result<u64> {
    match read(path) {
        Ok(text) => Ok(text.trim().parse().unwrap_or(u64::MAX)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// A value of a file of `key value` lines; 0 if the file or the key does not exist.
pub(super) fn read_key(path: &Path, key: &str) -> io::Result<u64> {
    match read(path) {
        Ok(text) => Ok(key_of(&text, key)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// What was read and written, of a file like `io.stat`: a line a device, `8:0 rbytes=4096 wbytes=0 …`. 0 if there is none.
pub(super) fn read_io(path: &Path) -> io::Result<u64> {
    match read(path) {
        Ok(text) => Ok(io_of(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

fn io_of(text: &str) -> u64 {
    let bytes = |word: &str| word.strip_prefix("rbytes=").or_else(|| word.strip_prefix("wbytes="))?.parse().ok();
    text.split_ascii_whitespace().filter_map(bytes).fold(0, u64::saturating_add)
}

fn key_of(text: &str, key: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok()).unwrap_or(0)
}

/// The processes in a group; none if it does not exist.
pub(super) fn pids(dir: &Path) -> io::Result<Vec<i32>> {
    match read(&dir.join("cgroup.procs")) {
        // 0 stands for a process that this pid namespace can't name.
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Makes a group and those above it.
pub(super) fn create(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir).map_err(|error| context(dir, &error))
}

/// Removes a group, waiting while it is busy, and then the empty ones above it up to `envforge`.
pub(super) fn remove(dir: &Path, deadline: Duration) -> io::Result<()> {
    let until = Deadline::after(deadline);
    loop {
        match std::fs::remove_dir(dir) {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && !until.is_over() => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(context(dir, &error)),
        }
    }
    let mut above = dir.parent();
    while let Some(parent) = above {
        // Not empty, or somebody else's: stop.
        if std::fs::remove_dir(parent).is_err() || parent.file_name().is_some_and(|name| name == "envforge") {
            break;
        }
        above = parent.parent();
    }
    Ok(())
}

/// Asks again and again until `done`, at first without a pause: what is waited for takes microseconds as a rule.
pub(super) fn wait_until(what: &str, deadline: Duration, mut done: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let until = Deadline::after(deadline);
    let mut pause = Duration::from_micros(20);
    loop {
        if done()? {
            return Ok(());
        }
        if until.is_over() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{what}: not within {deadline:?}")));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_of_all_disks_are_added_up() {
        let text = "8:0 rbytes=4096 wbytes=1 rios=3 wios=4 dbytes=99 dios=0\n259:0 rbytes=10 wbytes=200\n";
        assert_eq!(io_of(text), 4096 + 1 + 10 + 200);
        assert_eq!(io_of(""), 0);
    }

    #[test]
    fn hybrid_mounts_are_told_apart() {
        let mounts = parse_mounts(
            "30 24 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
             31 24 0:27 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n\
             32 24 0:28 / /proc rw - proc proc rw\n",
        );
        assert_eq!(mounts.len(), 2);
        assert!(!mounts[0].v2 && mounts[0].controllers.iter().any(|c| c == "cpuacct"));
        assert!(mounts[1].v2 && mounts[1].path == Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn a_key_is_not_taken_for_a_longer_one() {
        assert_eq!(key_of("oom 1\noom_kill 3\n", "oom_kill"), 3);
        assert_eq!(key_of("oom_kill_disable 1\n", "oom_kill"), 0);
    }
}
