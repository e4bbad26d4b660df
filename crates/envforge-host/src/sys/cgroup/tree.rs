//! What stands in for a group where the machine gives none: every process below a sandbox's init.
//!
//! The init is the first process of its PID namespace, so whatever is started in the sandbox stays below it, and ends
//! with it; who is below whom anybody may read in `/proc`. `SIGSTOP` can't be caught and a stopped process starts nothing,
//! so looking until nobody new is found comes to an end. The init itself goes on. Limits there are none.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::Stats;
use super::fs::wait_until;
use crate::sys::process::{ProcessIdentity, Stat, all_pids, is_stop_pending};

/// The processes below an init.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    init: ProcessIdentity,
}

impl Tree {
    /// Below this init; `None` when it is gone.
    pub(super) fn below(init: i32) -> Option<Self> {
        ProcessIdentity::of(init).ok().map(|init| Self { init })
    }

    pub(super) fn exists(&self) -> bool {
        self.init.is_running()
    }

    /// All of them, those that ended and were not reaped left out.
    fn processes(&self) -> Vec<(i32, Stat)> {
        let mut below: HashMap<i32, Vec<(i32, Stat)>> = HashMap::new();
        for pid in all_pids() {
            if let Ok(stat) = Stat::read(pid) {
                below.entry(stat.parent).or_default().push((pid, stat));
            }
        }
        if !self.exists() {
            return Vec::new();
        }
        let mut found = below.remove(&self.init.pid).unwrap_or_default();
        let mut at = 0;
        while let Some((pid, _)) = found.get(at) {
            found.extend(below.remove(pid).into_iter().flatten());
            at += 1;
        }
        found.retain(|(_, stat)| !stat.ended);
        found
    }

    pub(super) fn pids(&self) -> Vec<i32> {
        self.processes().into_iter().map(|(pid, _)| pid).collect()
    }

    fn signal(pid: i32, signal: Signal) {
        // One that ended meanwhile needs none.
        let _ = Pid::from_raw(pid).map(|pid| rustix::process::kill_process(pid, signal));
    }

    pub(super) fn freeze(&self, deadline: Duration) -> io::Result<()> {
        wait_until("freeze", deadline, || {
            let running: Vec<i32> = self
                .processes()
                .into_iter()
                .filter(|(pid, stat)| !stands_still(*pid, stat))
                .map(|(pid, _)| pid)
                .collect();
            for pid in &running {
                Self::signal(*pid, Signal::STOP);
            }
            Ok(running.is_empty())
        })
    }

    pub(super) fn thaw(&self) {
        for pid in self.pids() {
            Self::signal(pid, Signal::CONT);
        }
    }

    /// Unknown where nothing runs.
    pub(super) fn is_frozen(&self) -> io::Result<bool> {
        let processes = self.processes();
        if processes.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(processes.iter().all(|(pid, stat)| stands_still(*pid, stat)))
    }

    /// Ends the init; the kernel ends everything below it.
    pub(super) fn kill(&self, deadline: Duration) -> io::Result<()> {
        if let Ok(init) = self.init.open() {
            rustix::process::pidfd_send_signal(&init, Signal::KILL)?;
        }
        wait_until("kill", deadline, || Ok(!self.exists()))
    }

    /// Of the processes that run now; what ended ones used is not known any more.
    pub(super) fn stats(&self) -> Stats {
        let processes = self.processes();
        let ticks: u64 = processes.iter().map(|(_, stat)| stat.cpu_ticks).sum();
        let pages: u64 = processes.iter().map(|(_, stat)| stat.resident_pages).sum();
        Stats {
            cpu_usage_us: ticks * 1_000_000 / rustix::param::clock_ticks_per_second().max(1),
            memory_bytes: pages * rustix::param::page_size() as u64,
            oom_kills: 0,
            limit_hits: 0,
            pids: processes.len() as u64,
            disk_bytes: 0,
        }
    }
}

/// Whether it runs nothing until it is continued: stopped, or on its way to that out of a wait no signal interrupts.
///
/// Whoever called `vfork` waits so until its child calls `exec`, and waits for ever when the child was stopped before.
fn stands_still(pid: i32, stat: &Stat) -> bool {
    stat.stopped || (stat.uninterruptible && is_stop_pending(pid))
}
