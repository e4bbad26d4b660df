//! Connections to services at rest.
//!
//! Lanes rest in an [`Upstream`] per workspace and service, last in, first out, and go when they rested too long. Each
//! worker has its own: a connection belongs to the loop that watches it.

use crate::http1::lane::Lane;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpStream;

/// Makes a stream of the descriptor a host handed over.
pub(crate) fn stream_of(fd: OwnedFd) -> std::io::Result<TcpStream> {
    let stream = std::net::TcpStream::from(fd);
    stream.set_nonblocking(true)?;
    let stream = TcpStream::from_std(stream)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The resting connections to one service of one workspace.
pub(crate) struct Upstream(Vec<Mutex<Vec<Lane>>>);

impl Upstream {
    /// For so many workers.
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Mutex::default()).collect())
    }

    fn of(&self, worker: usize) -> MutexGuard<'_, Vec<Lane>> {
        self.0[worker].lock().expect("no panic while held")
    }

    /// A resting connection that is still good.
    pub(crate) fn take(&self, worker: usize) -> Option<Lane> {
        loop {
            let mut lane = self.of(worker).pop()?;
            if lane.is_open() {
                return Some(lane);
            }
        }
    }

    /// Puts a connection to rest if it can carry another request and there is room for it.
    pub(crate) fn rest(&self, worker: usize, mut lane: Lane, room: usize) {
        if !lane.is_open() {
            return;
        }
        lane.rests();
        let mut resting = self.of(worker);
        if resting.len() < room {
            resting.push(lane);
        }
    }

    /// Closes what rested too long.
    pub(crate) fn sweep(&self, rest: Duration) {
        for worker in 0..self.0.len() {
            let gone: Vec<Lane> = {
                let mut resting = self.of(worker);
                let old = resting.partition_point(|lane| lane.rested() >= rest);
                resting.drain(..old).collect()
            };
            drop(gone);
        }
    }
}
