//! Ports of the workspace's network that lead to Unix sockets: how a service reaches its database at `localhost:5432` though
//! the database runs outside. Served by the init, so that the connections survive a restart of the daemon.
//!
//! A socket in a directory that the init alone has can be reached through its forward and in no other way, so a limit of
//! the forward holds.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::protocol::{ForwardRecord, Refusal, RefusalCode};

/// The forwards that listen.
pub(super) struct Forwards {
    /// Directories that this process alone has, by where a target says they are.
    init_only: BTreeMap<PathBuf, OwnedFd>,
    open: RefCell<BTreeMap<SocketAddr, (PathBuf, JoinHandle<()>)>>,
}

impl Forwards {
    pub(super) fn new(init_only: BTreeMap<PathBuf, OwnedFd>) -> Self {
        Self { init_only, open: RefCell::default() }
    }

    /// Listens; asking again for the same is fine, for another target is refused.
    pub(super) fn open(&self, listen: SocketAddr, to: PathBuf, limit: Option<u32>) -> Result<(), Refusal> {
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
        let room = limit.map_or(Semaphore::MAX_PERMITS, |limit| limit as usize);
        let serving = tokio::task::spawn_local(accept(listener, self.here(&to), Arc::new(Semaphore::new(room))));
        self.open.borrow_mut().insert(listen, (to, serving));
        Ok(())
    }

    /// A target's path for this process.
    fn here(&self, to: &Path) -> PathBuf {
        let below = |(at, directory): (&PathBuf, &OwnedFd)| {
            let rest = to.strip_prefix(at).ok()?;
            Some(Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(rest))
        };
        self.init_only.iter().find_map(below).unwrap_or_else(|| to.to_owned())
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

/// Who comes when there is no room waits in the kernel's queue.
async fn accept(listener: TcpListener, to: PathBuf, room: Arc<Semaphore>) {
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        match listener.accept().await {
            Ok((client, _)) => {
                let _ = client.set_nodelay(true);
                let to = to.clone();
                tokio::task::spawn_local(async move {
                    carry(client, &to).await;
                    drop(place);
                });
            }
            // Out of descriptors: the backlog keeps who is waiting.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

/// A target that is not there ends the connection, as a closed port would. So does the target's end: a client that keeps its own
/// open holds nothing of the target.
async fn carry(mut client: TcpStream, to: &Path) {
    let Ok(mut target) = UnixStream::connect(to).await else { return };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_target, mut to_target) = target.split();
    let asking = async {
        tokio::io::copy(&mut from_client, &mut to_target).await?;
        to_target.shutdown().await
    };
    let answering = tokio::io::copy(&mut from_target, &mut to_client);
    tokio::select! {
        Err(_) = asking => {}
        _ = answering => {}
    }
}
