//! Ports of the workspace's network that lead to Unix sockets mounted into the sandbox: how a service reaches its
//! database at `localhost:5432` though the database runs outside. Served by the init, so that the connections survive a
//! restart of the daemon.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinHandle;

use super::protocol::{ForwardRecord, Refusal, RefusalCode};

/// Each way; there may be many connections, and init is to stay small.
const BUFFER: usize = 8 * 1024;

/// The forwards that listen.
#[derive(Default)]
pub(super) struct Forwards {
    open: RefCell<BTreeMap<SocketAddr, (PathBuf, JoinHandle<()>)>>,
}

impl Forwards {
    /// Listens; asking again for the same is fine, for another target is refused.
    pub(super) fn open(&self, listen: SocketAddr, to: PathBuf) -> Result<(), Refusal> {
        if !to.is_absolute() {
            return Err(Refusal::new(RefusalCode::BadRequest, format!("{} is not absolute", to.display())));
        }
        let refuse = |reason: String| Refusal::new(RefusalCode::ForwardFailed, format!("forward {listen}: {reason}"));
        if let Some((before, _)) = self.open.borrow().get(&listen) {
            return if *before == to { Ok(()) } else { Err(refuse(format!("leads to {} already", before.display()))) };
        }
        let listener = std::net::TcpListener::bind(listen)
            .and_then(|listener| {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)
            })
            .map_err(|error| refuse(error.to_string()))?;
        let serving = tokio::task::spawn_local(accept(listener, to.clone()));
        self.open.borrow_mut().insert(listen, (to, serving));
        Ok(())
    }

    /// Listens no more.
    pub(super) fn close(&self, listen: SocketAddr) {
        if let Some((_, serving)) = self.open.borrow_mut().remove(&listen) {
            serving.abort();
        }
    }

    pub(super) fn records(&self) -> Vec<ForwardRecord> {
        let open = self.open.borrow();
        open.iter().map(|(listen, (to, _))| ForwardRecord { listen: *listen, to: to.clone() }).collect()
    }
}

async fn accept(listener: TcpListener, to: PathBuf) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let _ = client.set_nodelay(true);
                tokio::task::spawn_local(carry(client, to.clone()));
            }
            // Out of descriptors: the backlog keeps who is waiting.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

/// A target that is not there ends the connection, as a closed port would.
async fn carry(mut client: tokio::net::TcpStream, to: impl AsRef<Path>) {
    if let Ok(mut target) = UnixStream::connect(to).await {
        let _ = copy_bidirectional_with_sizes(&mut client, &mut target, BUFFER, BUFFER).await;
    }
}
