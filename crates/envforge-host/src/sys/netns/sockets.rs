//! The thread that opens sockets in other namespaces.
//!
//! One is enough: an order is two system calls of about a microsecond, and it never waits for a connection. It moves
//! to the namespace it is asked for and stays there until the next order; nothing else ever runs on it.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, mpsc};

use nix::sched::{CloneFlags, setns};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::sync::oneshot;

struct Order {
    ns_path: PathBuf,
    ipv6: bool,
    reply: oneshot::Sender<io::Result<OwnedFd>>,
}

static ORDERS: OnceLock<mpsc::Sender<Order>> = OnceLock::new();

fn order(ns_path: &Path, ipv6: bool) -> io::Result<oneshot::Receiver<io::Result<OwnedFd>>> {
    let orders = if let Some(orders) = ORDERS.get() {
        orders
    } else {
        let (sender, receiver) = mpsc::channel();
        std::thread::Builder::new().name("netns-sockets".to_owned()).spawn(move || work(&receiver))?;
        // A second thread started at the same instant ends when its sender is dropped here.
        ORDERS.get_or_init(|| sender)
    };
    let (reply, answer) = oneshot::channel();
    let order = Order { ns_path: ns_path.to_owned(), ipv6, reply };
    orders.send(order).map_err(|_| gone())?;
    Ok(answer)
}

/// A non-blocking TCP socket of that namespace.
pub(super) async fn open(ns_path: &Path, ipv6: bool) -> io::Result<OwnedFd> {
    order(ns_path, ipv6)?.await.map_err(|_| gone())?
}

/// The same for threads that may wait, also when they belong to an async runtime.
pub(super) fn open_blocking(ns_path: &Path, ipv6: bool) -> io::Result<TcpStream> {
    let mut answer = order(ns_path, ipv6)?;
    loop {
        match answer.try_recv() {
            Ok(socket) => return socket.map(TcpStream::from),
            Err(oneshot::error::TryRecvError::Closed) => return Err(gone()),
            // The answer is a few microseconds away.
            Err(oneshot::error::TryRecvError::Empty) => std::thread::yield_now(),
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that opens sockets in namespaces is gone")
}

fn work(orders: &mpsc::Receiver<Order>) {
    for order in orders {
        let _ = order.reply.send(open_in(&order.ns_path, order.ipv6));
    }
}

fn open_in(ns_path: &Path, ipv6: bool) -> io::Result<OwnedFd> {
    let namespace = std::fs::File::open(ns_path)
        .map_err(|error| io::Error::new(error.kind(), format!("network namespace {}: {error}", ns_path.display())))?;
    setns(&namespace, CloneFlags::CLONE_NEWNET)?;
    let family = if ipv6 { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?)
}
