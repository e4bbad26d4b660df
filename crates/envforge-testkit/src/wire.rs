//! A line between two programs that tests can cut, delay and restore.
//!
//! A [`Wire`] listens on an address of its own and forwards every connection to the real one. Cutting it ends all
//! open connections and refuses new ones, as a network does that is gone; restoring lets new ones through. Holding it keeps all
//! connections open and carries nothing, as a network does that is gone without a word; what is held when it is cut is lost. It
//! carries byte streams over TCP or Unix sockets; descriptor passing does not survive it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    is_whole: bool,
    is_held: bool,
    delay: Duration,
}

/// A line between two programs; see the module.
#[derive(Debug)]
pub struct Wire {
    line: Arc<watch::Sender<Line>>,
    here: Place,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Wire {
    /// Forwards connections to a new port of 127.0.0.1 to `target`.
    pub async fn tcp(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port of 127.0.0.1");
        let here = Place::Tcp(listener.local_addr().expect("a bound listener has an address"));
        let line = new_line();
        let watched = line.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let line = watched.subscribe();
                connections.spawn(async move {
                    if line.borrow().is_whole
                        && let Ok(far) = TcpStream::connect(target).await
                    {
                        carry(near, far, line).await;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { line, here, task }
    }

    /// Forwards connections to a socket made at `here` to the one at `target`.
    pub fn unix(here: &Path, target: &Path) -> Self {
        let listener = UnixListener::bind(here).unwrap_or_else(|error| panic!("{}: {error}", here.display()));
        let target = target.to_owned();
        let line = new_line();
        let watched = line.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let (line, target) = (watched.subscribe(), target.clone());
                connections.spawn(async move {
                    if line.borrow().is_whole
                        && let Ok(far) = UnixStream::connect(target).await
                    {
                        carry(near, far, line).await;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { line, here: Place::Unix(here.to_owned()), task }
    }

    /// The address to give to the program on this side; panics for a wire between Unix sockets.
    pub fn address(&self) -> SocketAddr {
        match &self.here {
            Place::Tcp(address) => *address,
            Place::Unix(path) => panic!("this wire listens on {}", path.display()),
        }
    }

    /// Ends every connection and refuses new ones.
    pub fn cut(&self) {
        self.line.send_modify(|line| line.is_whole = false);
    }

    /// Carries nothing from now on, and ends nothing.
    pub fn hold(&self) {
        self.line.send_modify(|line| line.is_held = true);
    }

    /// Lets connections through again, and what is held.
    pub fn restore(&self) {
        self.line.send_modify(|line| (line.is_whole, line.is_held) = (true, false));
    }

    /// Holds every piece of data back this long, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.line.send_modify(|line| line.delay = delay);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
        if let Place::Unix(path) = &self.here {
            let _ = fs_err::remove_file(path);
        }
    }
}

fn new_line() -> Arc<watch::Sender<Line>> {
    Arc::new(watch::Sender::new(Line { is_whole: true, is_held: false, delay: Duration::ZERO }))
}

async fn carry<N, F>(near: N, far: F, mut line: watch::Receiver<Line>)
where
    N: AsyncRead + AsyncWrite,
    F: AsyncRead + AsyncWrite,
{
    let (near_read, near_write) = tokio::io::split(near);
    let (far_read, far_write) = tokio::io::split(far);
    let delays = line.clone();
    tokio::select! {
        _ = async { tokio::join!(pump(near_read, far_write, delays.clone()), pump(far_read, near_write, delays.clone())) } => {}
        _ = line.wait_for(|line| !line.is_whole) => {}
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut line: watch::Receiver<Line>) {
    let mut buffer = vec![0_u8; 16 * 1024];
    loop {
        match from.read(&mut buffer).await {
            Ok(length) if length > 0 => {
                if line.wait_for(|line| !line.is_held).await.is_err() {
                    return;
                }
                let delay = line.borrow().delay;
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                if to.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
            _ => {
                let _ = to.shutdown().await;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Wire;
    use crate::{temp_dir, wait_until};
    use std::path::PathBuf;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{UnixListener, UnixStream};

    fn echo_at(path: PathBuf) {
        let listener = UnixListener::bind(path).unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.into_split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
    }

    async fn echoes(stream: &mut UnixStream) -> bool {
        let mut byte = [0_u8; 1];
        stream.write_all(b"x").await.is_ok() && stream.read_exact(&mut byte).await.is_ok()
    }

    #[tokio::test]
    async fn carries_is_cut_and_carries_again() {
        let dir = temp_dir("wire");
        let (here, there) = (dir.path().join("here"), dir.path().join("there"));
        echo_at(there.clone());
        let wire = Wire::unix(&here, &there);
        let mut open = UnixStream::connect(&here).await.unwrap();
        assert!(echoes(&mut open).await);
        wire.hold();
        open.write_all(b"held").await.unwrap();
        let mut byte = [0_u8; 1];
        let nothing = tokio::time::timeout(std::time::Duration::from_millis(50), open.read(&mut byte)).await;
        assert!(nothing.is_err(), "{nothing:?}");
        wire.cut();
        assert_eq!(open.read(&mut byte).await.unwrap(), 0, "what was held is lost");
        assert!(!echoes(&mut open).await, "an open connection ends");
        let mut new = UnixStream::connect(&here).await.unwrap();
        assert!(!echoes(&mut new).await, "a new one does not get through");
        wire.restore();
        wait_until("the wire carries again", async || {
            let mut stream = UnixStream::connect(&here).await.unwrap();
            echoes(&mut stream).await
        })
        .await;
    }
}
