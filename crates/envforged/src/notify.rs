//! What a service manager is told: ready, stopping.
//!
//! A datagram to the socket named by `NOTIFY_SOCKET`, as in `sd_notify(3)`; nothing happens without one. Only the
//! process that the service manager started speaks: under `all` the variable is taken from the children.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Everything answers.
pub(crate) const READY: &str = "READY=1";
/// Draining.
pub(crate) const STOPPING: &str = "STOPPING=1";

/// Tells the service manager, if there is one.
pub(crate) fn tell(state: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&name, state) {
        tracing::warn!(%error, socket = ?name, "the service manager was not told `{state}`");
    }
}

fn send(name: &std::ffi::OsStr, state: &str) -> std::io::Result<()> {
    let address = match name.as_encoded_bytes().strip_prefix(b"@") {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::{READY, send};
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn the_service_manager_hears_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), READY).unwrap();
        let mut buffer = [0_u8; 32];
        let length = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
    }
}
