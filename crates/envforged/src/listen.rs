//! Whether an address can be listened on, asked before anything is started, and kept until its role takes it.

use crate::advice::advised;
use crate::process;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

/// Keeps the address for a role that is started later: nobody else gets it while this lives. Fails with who has the
/// port, if known, and the flag that changes it.
pub(crate) fn reserve(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
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
