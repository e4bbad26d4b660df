//! Which process is meant, over time: a pid alone is not a name, because the kernel uses it again.
//!
//! The daemon keeps (pid, start time) of every init in its journal. A process with the same pid and another start
//! time is a stranger and must never be signalled or adopted.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};

/// A process, told apart from a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Its id on the host.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
    /// The boot it belongs to: ticks start again with the machine.
    pub boot_id: BootId,
}

/// One boot of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub uuid::Uuid);

impl BootId {
    /// The current boot.
    pub fn current() -> io::Result<Self> {
        static CURRENT: OnceLock<BootId> = OnceLock::new();
        if let Some(known) = CURRENT.get() {
            return Ok(*known);
        }
        let text = fs_err::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let read = uuid::Uuid::parse_str(text.trim()).map(Self);
        let read = read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(*CURRENT.get_or_init(|| read))
    }
}

impl ProcessIdentity {
    /// The identity of the process that has this pid now.
    pub fn of(pid: i32) -> io::Result<Self> {
        Ok(Self { pid, start_ticks: Stat::read(pid)?.start_ticks, boot_id: BootId::current()? })
    }

    /// A descriptor for exactly this process, if it still runs; readable when it has ended.
    pub fn open(&self) -> io::Result<OwnedFd> {
        let pid = Pid::from_raw(self.pid).ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        // Asked after the descriptor is held: from here on the pid can't pass to another process unnoticed.
        if self.is_running() {
            Ok(pidfd)
        } else {
            Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()))
        }
    }

    /// Whether exactly this process runs (one that ended and was not reaped does not).
    pub fn is_running(&self) -> bool {
        let same_boot = BootId::current().is_ok_and(|boot| boot == self.boot_id);
        same_boot && Stat::read(self.pid).is_ok_and(|stat| stat.start_ticks == self.start_ticks && !stat.ended)
    }
}

/// What `/proc/<pid>/stat` says of a process.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Its parent.
    pub parent: i32,
    /// Its session: the pid of the leader it was started by.
    pub session: i32,
    /// When it started.
    pub start_ticks: u64,
    /// It ended and waits to be reaped.
    pub ended: bool,
    /// A signal stopped it.
    pub stopped: bool,
    /// It waits inside the kernel and no signal interrupts that.
    pub uninterruptible: bool,
    /// CPU time it used, in clock ticks.
    pub cpu_ticks: u64,
    /// Memory it has, in pages.
    pub resident_pages: u64,
}

impl Stat {
    /// Reads it; pids are those of the mounted `/proc`.
    pub fn read(pid: i32) -> io::Result<Self> {
        let text = std::fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(&String::from_utf8_lossy(&text))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat")))
    }

    /// The second field is a name in parentheses and may hold anything, parentheses included: count from the last one.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            ended: matches!(*fields.first()?, "Z" | "X"),
            stopped: matches!(*fields.first()?, "T" | "t"),
            uninterruptible: *fields.first()? == "D",
            cpu_ticks: number(11)? + number(12)?,
            // Negative for none, in some kernels.
            resident_pages: number(21).unwrap_or(0),
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            start_ticks: fields.get(19)?.parse().ok()?,
        })
    }
}

/// Whether a `SIGSTOP` was sent to the process and waits to be taken.
pub fn is_stop_pending(pid: i32) -> bool {
    let pending = std::fs::read_to_string(format!("/proc/{pid}/status")).ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    pending.is_some_and(|signals| signals & (1 << (rustix::process::Signal::STOP.as_raw() - 1)) != 0)
}

/// The host's pid behind a pidfd, also one that came from inside a pid namespace; `None` when the process is gone.
pub fn pid_of_pidfd(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    line.trim().parse().ok().filter(|pid| *pid > 0)
}

/// Every pid of the mounted `/proc`.
pub fn all_pids() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_does_not_shift_the_fields() {
        let stat = Stat::parse("7 (a) S (b) 9) Z 1 2 3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 4242 0").expect("parses");
        assert_eq!((stat.parent, stat.session, stat.start_ticks, stat.ended), (1, 3, 4242, true));
        assert_eq!((stat.cpu_ticks, stat.resident_pages, stat.stopped), (0, 0, false));
    }

    #[test]
    fn a_process_started_at_another_time_is_a_stranger() {
        let me = ProcessIdentity::of(std::process::id() as i32).expect("own stat");
        assert!(me.is_running() && me.open().is_ok());
        let stranger = ProcessIdentity { start_ticks: me.start_ticks + 1, ..me };
        assert!(!stranger.is_running() && stranger.open().is_err());
        let other_boot = ProcessIdentity { boot_id: BootId(uuid::Uuid::nil()), ..me };
        assert!(!other_boot.is_running());
    }
}
