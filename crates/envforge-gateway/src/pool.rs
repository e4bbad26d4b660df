//! Connections to services at rest.
//!
//! Lanes rest in an [`Upstream`] per workspace and service, last in, first out, and go when they rested too long. Each
//! worker has its own: a connection belongs to the loop that watches it.

use crate::h2c::Trunks;
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

/// The connections to one service of one workspace that requests can be sent on.
pub(crate) struct Upstream {
    /// Those at rest, of each worker.
    lanes: Vec<Mutex<Vec<Lane>>>,
    /// Those that many share, if it speaks HTTP/2.
    pub(crate) trunks: Trunks,
}

impl Upstream {
    /// For so many workers.
    pub(crate) fn new(workers: usize) -> Self {
        Self { lanes: (0..workers).map(|_| Mutex::default()).collect(), trunks: Trunks::new(workers) }
    }

    fn of(&self, worker: usize) -> MutexGuard<'_, Vec<Lane>> {
        self.lanes[worker].lock().expect("no panic while held")
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
        for worker in 0..self.lanes.len() {
            let gone: Vec<Lane> = {
                let mut resting = self.of(worker);
                let old = resting.partition_point(|lane| lane.rested() >= rest);
                resting.drain(..old).collect()
            };
            drop(gone);
        }
        self.trunks.sweep(rest);
    }
}
