//! Between a recorded terminal and whoever sees it: a PTY of the daemon's own, so that every byte passes here.
//!
//! The other end is given the master of a raw PTY, like any terminal, and sets its size there; the size is carried on by
//! looking, because a PTY tells nobody but its session.

use super::recording::{Recording, RecordingError};
use crate::init::protocol::TerminalSize;
use crate::sys::watch::{watch, write_all};
use jiff::Timestamp;
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Winsize};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How often the other end's size is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Why a recorded terminal is over.
#[derive(Debug)]
pub(crate) enum Over {
    /// What ran in it ended, a shell or a client that detached.
    Shell,
    /// The other end hung up.
    Detached,
    /// The time box is over.
    Expired,
    /// The elevation was ended.
    Ended,
    /// This daemon ends.
    Daemon,
    /// What it prints can't be written down any more.
    Unrecorded(RecordingError),
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell => f.write_str("what ran in it ended"),
            Self::Detached => f.write_str("the client hung up"),
            Self::Expired => f.write_str("the time box is over"),
            Self::Ended => f.write_str("the elevation was ended"),
            Self::Daemon => f.write_str("the host daemon stopped"),
            Self::Unrecorded(error) => write!(f, "{error}"),
        }
    }
}

/// A raw PTY: the master for the other end, the slave for us.
pub(crate) fn own_pty(size: TerminalSize) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    let mut raw = rustix::termios::tcgetattr(&slave)?;
    raw.make_raw();
    rustix::termios::tcsetattr(&slave, OptionalActions::Now, &raw)?;
    rustix::termios::tcsetwinsize(&master, winsize(size))?;
    Ok((master, slave))
}

fn winsize(size: TerminalSize) -> Winsize {
    Winsize { ws_col: size.cols, ws_row: size.rows, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Both sides.
pub(crate) struct Terminal {
    inside: AsyncFd<OwnedFd>,
    outside: AsyncFd<OwnedFd>,
    size: TerminalSize,
}

impl Terminal {
    pub(crate) fn new(inside: OwnedFd, outside: OwnedFd, size: TerminalSize) -> io::Result<Self> {
        for fd in [&inside, &outside] {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        let both = Interest::READABLE | Interest::WRITABLE;
        Ok(Self { inside: watch(inside, both)?, outside: watch(outside, both)?, size })
    }

    /// Carries bytes until one side is done, or they can't be written down.
    pub(crate) async fn relay(&self, recording: &Mutex<Recording>, now: impl Fn() -> Timestamp) -> Over {
        let record = |what: &mut dyn FnMut(&mut Recording) -> Result<(), RecordingError>| {
            what(&mut recording.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let down = async {
            let mut buffer = vec![0; 16 * 1024];
            loop {
                let Ok(length @ 1..) = read(&self.inside, &mut buffer).await else { return Over::Shell };
                let bytes = &buffer[..length];
                if let Err(error) = record(&mut |recording| recording.output(bytes, now())) {
                    return Over::Unrecorded(error);
                }
                if write_all(&self.outside, bytes).await.is_err() {
                    return Over::Detached;
                }
            }
        };
        let up = async {
            let mut buffer = vec![0; 16 * 1024];
            loop {
                let Ok(length @ 1..) = read(&self.outside, &mut buffer).await else { return Over::Detached };
                if write_all(&self.inside, &buffer[..length]).await.is_err() {
                    return Over::Shell;
                }
            }
        };
        let resize = async {
            let (mut last, mut last_width) = (self.size, 0);
            loop {
                tokio::time::sleep(LOOK).await;
                let Ok(window) = rustix::termios::tcgetwinsize(self.outside.get_ref()) else { continue };
                let size = TerminalSize { cols: window.ws_col, rows: window.ws_row };
                if (size, window.ws_xpixel) == (last, last_width) {
                    continue;
                }
                // Another width in pixels alone asks what runs there to draw its window again.
                last_width = window.ws_xpixel;
                let _ = rustix::termios::tcsetwinsize(self.inside.get_ref(), window);
                if std::mem::replace(&mut last, size) == size {
                    continue;
                }
                if let Err(error) = record(&mut |recording| recording.resized(size, now())) {
                    return Over::Unrecorded(error);
                }
            }
        };
        tokio::select! {
            biased;
            why = down => why,
            why = up => why,
            why = resize => why,
        }
    }

    /// Tells the other end what is over and why, as far as it listens, and hangs up.
    pub(crate) fn say(self, what: &str, why: &Over) {
        if !matches!(why, Over::Shell | Over::Detached) {
            let _ = rustix::io::write(self.outside.get_ref(), format!("\r\n[{what}: {why}]\r\n").as_bytes());
        }
    }
}

/// Reads what is there; 0 is the end. A PTY whose other side is gone answers `EIO`, which is its end.
async fn read(fd: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let mut guard = fd.readable().await?;
        match guard.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut *buffer)?)) {
            Ok(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => return Ok(0),
            Ok(result) => return result,
            Err(_would_block) => {}
        }
    }
}
