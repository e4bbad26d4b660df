//! Listening sockets that a role does not make itself: an address reserved before anything is started and handed to its
//! role, and what a role is handed.
//!
//! The protocol is that of `sd_listen_fds(3)`, so a service manager can take the supervisor's place. A socket that its maker
//! keeps open outlives the role: while that is started again, connections wait in the kernel's queue.

use crate::advice::advised;
use crate::process;
use anyhow::Context as _;
use envforge_gateway::Sockets;
use listenfd::ListenFd;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

/// The name of the socket whose requests are redirected to HTTPS.
pub(crate) const REDIRECT: &str = "redirect";
/// How many connections wait for a role that does not accept; the kernel has a limit of its own (`net.core.somaxconn`).
const QUEUE: i32 = 4096;

/// The sockets this process was started with; to be asked before there is a second thread. The one named `redirect`
/// (`FileDescriptorName=`) is for redirects, the other one is the front, whatever its name.
pub(crate) fn inherited() -> anyhow::Result<Sockets> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut given = ListenFd::from_env();
    let mut sockets = Sockets::default();
    for index in 0..given.len() {
        let name = names.next().unwrap_or_default();
        let socket = given.take_tcp_listener(index).context("a socket this process was started with")?;
        let place = if name == REDIRECT { &mut sockets.redirect } else { &mut sockets.front };
        if place.is_some() {
            return Err(advised(
                "the gateway was started with more sockets than it has use for",
                "give it one to listen on, and one with FileDescriptorName=redirect if plain HTTP is to be redirected",
            ));
        }
        *place = socket;
    }
    Ok(sockets)
}

/// Keeps the address for a role that is started later: nobody else gets it while this lives. Fails with who has the
/// port, if known, and the flag that changes it.
pub(crate) fn reserve(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).and_then(|socket| {
        rustix::net::listen(&socket, QUEUE)?;
        Ok(socket)
    });
    bound.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            let holder = process::listener(address.port());
            let by = holder.as_ref().map_or_else(String::new, |(name, pid)| format!(" by `{name}` (process {pid})"));
            let fix = match holder {
                Some(_) => format!("stop that process, or give another address with {flag}"),
                None => format!("give another address with {flag}; as root, this also tells who has the port"),
            };
            advised(format!("port {} of {} is in use{by}", address.port(), address.ip()), fix)
        }
        ErrorKind::PermissionDenied => advised(
            format!("port {} needs a privilege this user does not have", address.port()),
            format!("run as root, or give a port above 1023 with {flag}"),
        ),
        ErrorKind::AddrNotAvailable => {
            advised(format!("{} is not an address of this machine", address.ip()), format!("give another with {flag}"))
        }
        _ => anyhow::Error::new(error).context(format!("listening on {address}")),
    })
}

/// Whether a process listens on a port; true when nobody can tell.
pub(crate) fn is_listener(pid: i32, port: u16) -> bool {
    process::listener(port).is_none_or(|(_, listener)| listener == pid)
}

#[cfg(test)]
mod tests {
    use super::{is_listener, reserve};
    use crate::advice::render;
    use std::net::TcpListener;

    #[test]
    fn a_port_in_use_names_its_holder_and_the_flag() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let text = render(&reserve(address, "--listen").unwrap_err());
        let wanted = format!("error: port {} of 127.0.0.1 is in use by `", address.port());
        assert!(text.starts_with(&wanted) && text.ends_with("or give another address with --listen"), "{text}");
        drop(socket);
        let reserved = reserve(address, "--listen").unwrap();
        assert!(reserve(address, "--listen").is_err());
        assert!(is_listener(std::process::id().cast_signed(), address.port()));
        assert!(!is_listener(1, address.port()));
        drop(reserved);
    }
}
