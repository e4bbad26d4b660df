//! The person's terminal: raw while attached, given back whatever happens.
//!
//! The terminal is opened anew instead of using the descriptors the shell passed: only then may it be made
//! non-blocking, because that flag is shared with everyone who holds the same open file. Raw mode ends when
//! [`RawMode`] is dropped, and in a panic before its message is printed.

use bytes::Bytes;
use envforge_core::refusal::Refusal;
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use tokio::io::unix::AsyncFd;

/// How the terminal was before; taken by whoever gives it back first.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

fn give_back() {
    let before = BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    if let Some(before) = before {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &before);
    }
}

/// Keys arrive one by one and unprinted while this lives.
#[derive(Debug)]
pub(crate) struct RawMode(());

impl RawMode {
    /// Makes the terminal raw.
    pub(crate) fn enter() -> io::Result<Self> {
        let before = tcgetattr(rustix::stdio::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        {
            let mut slot = BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if slot.is_none() {
                *slot = Some(before);
                let next = std::panic::take_hook();
                std::panic::set_hook(Box::new(move |panic| {
                    give_back();
                    next(panic);
                }));
            }
        }
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(()))
    }

    /// Makes it raw again: after a stop and continue the shell has given it its own settings.
    pub(crate) fn renew() {
        if let Ok(mut raw) = tcgetattr(rustix::stdio::stdin()) {
            raw.make_raw();
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw);
        }
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        give_back();
    }
}

/// The terminal, to read and write without blocking.
#[derive(Debug)]
pub(crate) struct Terminal {
    fd: AsyncFd<OwnedFd>,
}

impl Terminal {
    /// Opens the terminal this program was started in.
    pub(crate) fn open() -> Result<Self, Refusal> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = |path: &str| rustix::fs::open(path, flags, Mode::empty());
        let fd = open("/proc/self/fd/0").or_else(|_| open("/dev/tty")).or_else(|_| {
            let name = rustix::termios::ttyname(rustix::stdio::stdin(), Vec::new())?;
            rustix::fs::open(name, flags, Mode::empty())
        });
        let fd = fd.map_err(|error| {
            Refusal::conflict("attach.no_terminal", format!("the terminal can't be opened: {error}"))
        })?;
        #[expect(deprecated, reason = "unsound only for types that don't own their descriptor; this one does")]
        let fd = AsyncFd::new(fd)
            .map_err(|error| Refusal::conflict("attach.no_terminal", format!("the terminal can't be read: {error}")))?;
        Ok(Self { fd })
    }

    /// Columns and rows; 80 × 24 where the terminal does not say.
    pub(crate) fn size(&self) -> (u16, u16) {
        match tcgetwinsize(self.fd.as_fd()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
            _ => (80, 24),
        }
    }

    /// Reads what was typed; nothing means that the terminal is gone.
    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut guard = self.fd.readable().await?;
            match guard.try_io(|fd| rustix::io::read(fd.get_ref(), &mut *buffer).map_err(io::Error::from)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    /// Writes what is left of `rest`. If this is dropped before it is done, what is left is in there.
    pub(crate) async fn write_rest(&self, rest: &RefCell<Bytes>) -> io::Result<()> {
        loop {
            let written = {
                let rest = rest.borrow();
                if rest.is_empty() {
                    return Ok(());
                }
                rustix::io::write(self.fd.get_ref(), &rest)
            };
            match written {
                Ok(length) => drop(rest.borrow_mut().split_to(length)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => self.fd.writable().await?.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes everything.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // Straight away first: it nearly always fits.
            match rustix::io::write(self.fd.get_ref(), bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => self.fd.writable().await?.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
