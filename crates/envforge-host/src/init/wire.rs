//! Packets with descriptors over a Unix SEQPACKET socket, for tokio.
//!
//! SEQPACKET keeps message borders and tells when the peer is gone, so there is no framing to get wrong and a
//! descriptor can't be attached to the wrong message. Every descriptor that arrives is closed on exec.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

use super::protocol::MAX_MESSAGE;
use crate::sys::watch::watch;

/// More descriptors than any message carries.
const MAX_DESCRIPTORS: usize = 4;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    fd: AsyncFd<OwnedFd>,
}

/// One message as it came.
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

impl PacketSocket {
    /// Takes a connected, non-blocking socket.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: watch(fd, Interest::READABLE | Interest::WRITABLE)? })
    }

    /// Connects to a listener. A Unix socket connects at once or not at all.
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        let fd = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        rustix::net::connect(&fd, &SocketAddrUnix::new(path)?)?;
        Self::new(fd)
    }

    /// Sends one message.
    pub(crate) async fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if bytes.len() > MAX_MESSAGE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a message of {} bytes is over the limit of {MAX_MESSAGE}", bytes.len()),
            ));
        }
        loop {
            let mut guard = self.fd.writable().await?;
            match send_now(guard.get_inner().as_fd(), bytes, fds) {
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready_matching(Ready::WRITABLE),
                Err(rustix::io::Errno::INTR) => {}
                other => return other.map_err(Into::into),
            }
        }
    }

    /// The next message, or `None` when the peer is gone.
    pub(crate) async fn receive(&self) -> io::Result<Option<Packet>> {
        loop {
            let mut guard = self.fd.readable().await?;
            match receive_now(guard.get_inner().as_fd()) {
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready_matching(Ready::READABLE),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                Ok((packet, truncated)) if truncated => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("a message was cut off after {} bytes", packet.bytes.len()),
                    ));
                }
                Ok((packet, _)) if packet.bytes.is_empty() && packet.fds.is_empty() => {
                    return Ok(None);
                }
                Ok((packet, _)) => return Ok(Some(packet)),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Sends one message, or says that there is no room for it now.
pub(crate) fn send_now(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(rustix::io::Errno::TOOBIG);
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

/// The message that is there, and whether a part of it did not fit.
pub(crate) fn receive_now(socket: BorrowedFd<'_>) -> rustix::io::Result<(Packet, bool)> {
    // Room for what is there, not for the largest message there could be.
    let peek = RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::DONTWAIT;
    let (_, length) = rustix::net::recv(socket, &mut [0_u8; 1][..], peek)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; length.min(MAX_MESSAGE)];
    let message = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    )?;
    let mut fds = Vec::new();
    for entry in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = entry {
            fds.extend(rights);
        }
    }
    bytes.truncate(message.bytes);
    let cut = message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    Ok((Packet { bytes, fds }, cut))
}

/// A listening socket, accepted from without blocking.
pub(crate) struct PacketListener {
    fd: AsyncFd<OwnedFd>,
}

impl PacketListener {
    /// Takes a listening, non-blocking socket.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: watch(fd, Interest::READABLE)? })
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<PacketSocket> {
        loop {
            let mut guard = self.fd.readable().await?;
            match rustix::net::accept_with(guard.get_inner(), SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => {}
                Err(error) => return Err(error.into()),
                Ok(fd) => return PacketSocket::new(fd),
            }
        }
    }
}

/// A listening SEQPACKET socket at `path`, replacing what a dead init left there; only its owner may connect.
pub(crate) fn listen(path: &Path) -> io::Result<OwnedFd> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let fd = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = rustix::net::bind(&fd, &SocketAddrUnix::new(path)?);
    rustix::process::umask(before);
    bound?;
    rustix::net::listen(&fd, 64)?;
    Ok(fd)
}
