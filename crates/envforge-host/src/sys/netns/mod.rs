//! A network of its own for each workspace, so that every branch can use the same ports.
//!
//! A namespace is kept by a file: the kernel's namespace object bind-mounted at a path of the daemon's choosing. It lives as
//! long as the file is mounted or a process is in it, so it outlasts the daemon. Both sandboxes of a workspace join it.
//!
//! The daemon reaches a service by opening a socket *inside*: a socket belongs for ever to the namespace its maker was
//! in. Only that one system call needs to happen there, and it happens on one dedicated thread ([`sockets`]); the threads
//! of the async runtime never change their namespace. That also reaches a service that listens on 127.0.0.1 only.
//!
//! Two settings make the inside comfortable: any port may be bound without privilege (nothing there is privileged), and
//! ping works.

mod link;
mod sockets;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use rustix::mount::UnmountFlags;
use tokio::net::TcpSocket;

pub(crate) use link::loopback_up;

/// How long a connection within one machine may take: it is immediate, unless the service's backlog is full.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// `NSFS_MAGIC`: the file system of namespace files.
const NSFS: i64 = 0x6e73_6673;

/// Makes the namespace and pins it at `path`, with loopback up; does nothing if it is there already.
pub fn create(path: &Path) -> io::Result<()> {
    if exists(path) {
        return Ok(());
    }
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| in_words("pin file", path, &error))?;
    drop(file);
    let target = path.to_owned();
    // A thread that ends afterwards, so that its changed namespace is nobody's surprise.
    let made = std::thread::Builder::new().name("netns-create".to_owned()).spawn(move || create_here(&target))?.join();
    let made = made.unwrap_or_else(|_| Err(io::Error::other("the thread that makes it panicked")));
    if made.is_err() {
        let _ = std::fs::remove_file(path);
    }
    made.map_err(|error| in_words("network namespace", path, &error))
}

fn create_here(path: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    prepare_inside()?;
    rustix::mount::mount_bind("/proc/thread-self/ns/net", path)?;
    Ok(())
}

/// What every namespace gets, called from within it.
pub(crate) fn prepare_inside() -> io::Result<()> {
    loopback_up()?;
    // Comforts: without them everything but low ports and ping works.
    let _ = std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    let _ = std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    Ok(())
}

/// Whether a namespace is pinned at `path`.
pub fn exists(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type == NSFS)
}

/// Removes the pin; the namespace ends when its last process does. Does nothing if it is gone.
pub fn destroy(path: &Path) -> io::Result<()> {
    while exists(path) {
        rustix::mount::unmount(path, UnmountFlags::DETACH).map_err(|error| in_words("unpin", path, &error.into()))?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(in_words("unpin", path, &error)),
        _ => Ok(()),
    }
}

/// Connects to a port inside the namespace, on 127.0.0.1 or else on ::1. Blocks, as a rule for some 30 µs.
pub fn connect_tcp(ns_path: &Path, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::ConnectionRefused);
    for address in loopback(port) {
        let socket = sockets::open_blocking(ns_path, address.is_ipv6())?;
        match connect_by(&socket, address) {
            Ok(()) => {
                rustix::io::ioctl_fionbio(&socket, false)?;
                return Ok(socket);
            }
            Err(error) => last = prefer(last, error),
        }
    }
    Err(last)
}

/// The same for async callers: no thread waits for the connection.
pub async fn connect(ns_path: &Path, port: u16) -> io::Result<tokio::net::TcpStream> {
    connect_to(Some(ns_path), &loopback(port)).await
}

/// Connects to the first of these addresses that accepts, inside the namespace, or in the network this process is in.
pub async fn connect_to(ns_path: Option<&Path>, addresses: &[SocketAddr]) -> io::Result<tokio::net::TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::ConnectionRefused);
    for address in addresses.iter().copied() {
        let socket = match ns_path {
            Some(path) => TcpSocket::from_std_stream(sockets::open(path, address.is_ipv6()).await?.into()),
            None if address.is_ipv4() => TcpSocket::new_v4()?,
            None => TcpSocket::new_v6()?,
        };
        match tokio::time::timeout(CONNECT_LIMIT, socket.connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = prefer(last, error),
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// Listens inside the namespace, on 127.0.0.1.
pub async fn listen(ns_path: &Path, port: u16) -> io::Result<tokio::net::TcpListener> {
    let socket = TcpSocket::from_std_stream(sockets::open(ns_path, false).await?.into());
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    socket.listen(64)
}

/// Where services listen as a rule.
pub fn loopback(port: u16) -> [SocketAddr; 2] {
    [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
}

/// A refusal says least: keep what says more.
fn prefer(last: io::Error, error: io::Error) -> io::Error {
    if last.kind() == io::ErrorKind::ConnectionRefused { error } else { last }
}

fn connect_by(socket: &TcpStream, address: SocketAddr) -> io::Result<()> {
    match rustix::net::connect(socket, &address) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let mut wait = [rustix::event::PollFd::new(socket, rustix::event::PollFlags::OUT)];
    let limit = rustix::event::Timespec { tv_sec: CONNECT_LIMIT.as_secs() as i64, tv_nsec: 0 };
    if rustix::event::poll(&mut wait, Some(&limit))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    match socket.take_error()? {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn in_words(what: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

/// Whether this process may make network namespaces at all.
pub fn is_permitted() -> bool {
    let tried = std::thread::Builder::new().spawn(|| unshare(CloneFlags::CLONE_NEWNET).is_ok());
    tried.is_ok_and(|thread| thread.join().unwrap_or(false))
}
