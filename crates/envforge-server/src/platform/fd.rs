//! A descriptor from the uplink as an async byte stream: a PTY, a pipe or a socket, whatever the host handed over.

use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;

/// See the module.
#[derive(Debug)]
pub struct FdStream(AsyncFd<OwnedFd>);

impl FdStream {
    /// Takes a descriptor over and makes it non-blocking.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "sound for an `OwnedFd`, which stays open and is never swapped; the successor is unsafe to call"
        )]
        let fd = AsyncFd::new(fd)?;
        Ok(Self(fd))
    }

    /// Reads what is there; 0 is the end. A PTY whose other side is gone answers `EIO`, which is its end.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut guard = self.0.readable().await?;
            match guard.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut *buffer)?)) {
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => return Ok(0),
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    /// Writes all bytes.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            bytes = &bytes[self.write(bytes).await?..];
        }
        Ok(())
    }

    /// Writes some of the bytes; how many. If this is dropped before it is done, it wrote none.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let mut guard = self.0.writable().await?;
            if let Ok(written) = guard.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?)) {
                return written;
            }
        }
    }

    /// Tells a PTY its window's size.
    pub fn resize(&self, cols: u16, rows: u16) -> io::Result<()> {
        let before = rustix::termios::tcgetwinsize(self.0.get_ref())?;
        self.tell(cols, rows, before.ws_xpixel)
    }

    /// The same, and what runs there draws its window again. Its kernel tells it of a window that differs only; the width in
    /// pixels differs, which means nothing to what counts in characters.
    pub fn redraw(&self, cols: u16, rows: u16) -> io::Result<()> {
        let before = rustix::termios::tcgetwinsize(self.0.get_ref())?;
        self.tell(cols, rows, u16::from(before.ws_xpixel == 0))
    }

    /// Columns and rows of a PTY's window.
    pub fn size(&self) -> io::Result<(u16, u16)> {
        let size = rustix::termios::tcgetwinsize(self.0.get_ref())?;
        Ok((size.ws_col, size.ws_row))
    }

    fn tell(&self, cols: u16, rows: u16, width: u16) -> io::Result<()> {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: cols, ws_xpixel: width, ws_ypixel: 0 };
        Ok(rustix::termios::tcsetwinsize(self.0.get_ref(), size)?)
    }
}
