//! Whether an address can be listened on, asked before anything is started.

use crate::advice::advised;
use crate::process;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

/// Fails with who has the port, if known, and the flag that changes it.
pub(crate) fn check_free(address: SocketAddr, flag: &str) -> anyhow::Result<()> {
    // Bound and let go: the role that listens there is another process, with another user.
    let Err(error) = TcpListener::bind(address) else { return Ok(()) };
    Err(match error.kind() {
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

#[cfg(test)]
mod tests {
    use super::check_free;
    use crate::advice::render;
    use std::net::TcpListener;

    #[test]
    fn a_port_in_use_names_its_holder_and_the_flag() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let text = render(&check_free(address, "--listen").unwrap_err());
        let wanted = format!("error: port {} of 127.0.0.1 is in use by `", address.port());
        assert!(text.starts_with(&wanted) && text.ends_with("or give another address with --listen"), "{text}");
        drop(socket);
        check_free(address, "--listen").unwrap();
    }
}
