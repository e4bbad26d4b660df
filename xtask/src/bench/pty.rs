//! A program in a terminal of its own, measured from its start to what it shows.
//!
//! Blocking on purpose: what is timed is somebody else's program, and nothing else runs here meanwhile.

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(10);

/// A running program and the other side of its terminal.
#[derive(Debug)]
pub(super) struct Pty {
    child: Child,
    master: File,
    seen: String,
}

impl Pty {
    /// Starts a program in a terminal of 120 by 30.
    pub(super) fn spawn(mut command: Command) -> anyhow::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        tcsetwinsize(&master, Winsize { ws_row: 30, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 })?;
        let name = ptsname(&master, Vec::new())?;
        let slave: OwnedFd = File::options().read(true).write(true).open(name.to_str()?)?.into();
        let copy = || anyhow::Ok(Stdio::from(slave.try_clone()?));
        let child = command.stdin(copy()?).stdout(copy()?).stderr(copy()?).env("TERM", "xterm-256color").spawn()?;
        Ok(Self { child, master: master.into(), seen: String::new() })
    }

    /// Types.
    pub(super) fn send(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.master.write_all(text.as_bytes())?)
    }

    /// Reads until `wanted` was shown since the last call.
    pub(super) fn expect(&mut self, wanted: &str) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        let mut buffer = [0_u8; 16 * 1024];
        while !self.seen.contains(wanted) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("`{wanted}` was not shown; the screen had:\n{}", self.seen.escape_debug());
            }
            let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: i64::from(left.subsec_nanos()) };
            let mut waiting = [PollFd::new(&self.master, PollFlags::IN)];
            if poll(&mut waiting, Some(&timeout))? > 0 {
                let length = rustix::io::read(&self.master, &mut buffer).context("the program ended")?;
                self.seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        }
        self.seen.clear();
        Ok(())
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
