//! What the kernel says about processes that are not our children.
//!
//! A number alone is no identity: numbers are given out again. With the tick at which the process began it is one.

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One process, and no later one with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Its number.
    pub(crate) pid: i32,
    /// When it began, in ticks since the machine started.
    pub(crate) began: u64,
}

impl Identity {
    /// The process that has this number now, if one lives.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything, parentheses included: fields are counted from the last one.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let began = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Self { pid, began })
    }

    /// Whether it still lives.
    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends it a signal; a process that is gone takes none.
    pub(crate) fn signal(self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            let _ = kill_process(pid, signal);
        }
    }
}

/// Every process number of the machine.
pub(crate) fn pids() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The directory a process works in, as far as we may know.
pub(crate) fn working_directory(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

/// The name of a process's program.
pub(crate) fn name(pid: i32) -> Option<String> {
    Some(std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())
}

/// Who works in a directory.
pub(crate) fn working_in(directory: &Path) -> Vec<i32> {
    let Ok(directory) = fs_err::canonicalize(directory) else { return Vec::new() };
    pids().into_iter().filter(|pid| working_directory(*pid).as_deref() == Some(&directory)).collect()
}

/// Who listens on a TCP port, as far as we may know: name and number.
pub(crate) fn listener(port: u16) -> Option<(String, i32)> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| std::fs::read_to_string(table).unwrap_or_default());
    let inodes: Vec<String> =
        tables.iter().flat_map(|table| table.lines()).filter_map(|line| listening_inode(line, port)).collect();
    let links: Vec<PathBuf> = inodes.iter().map(|inode| PathBuf::from(format!("socket:[{inode}]"))).collect();
    let holds = |pid: &i32| {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|link| links.contains(&link))
    };
    let pid = pids().into_iter().find(holds)?;
    Some((name(pid).unwrap_or_default(), pid))
}

/// The inode of a line of `/proc/net/tcp` that listens on `port`.
fn listening_inode(line: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let local = fields.get(1)?.rsplit_once(':')?.1;
    let is_it = u16::from_str_radix(local, 16) == Ok(port) && *fields.get(3)? == LISTEN;
    is_it.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
}

#[cfg(test)]
mod tests {
    use super::{Identity, listener, working_in};
    use std::net::TcpListener;

    #[test]
    fn we_are_who_we_are() {
        let me = std::process::id().cast_signed();
        let identity = Identity::of(me).unwrap();
        assert!(identity.is_alive());
        assert!(!Identity { began: identity.began + 1, ..identity }.is_alive());
        assert!(working_in(&std::env::current_dir().unwrap()).contains(&me));
    }

    #[test]
    fn a_listener_is_found_by_its_port() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let (_, pid) = listener(socket.local_addr().unwrap().port()).unwrap();
        assert_eq!(pid, std::process::id().cast_signed());
    }
}
