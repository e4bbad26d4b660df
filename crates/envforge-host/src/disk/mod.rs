//! Room on the filesystem of the data directory, and what is not done any more when there is little.
//!
//! Workspaces write what they like, and what one takes is gone for all. Below the low-water mark the host takes nothing new on:
//! no workspace is prepared and none is copied, and logs stop growing. Everything that is there goes on, sleeps, wakes and
//! can be deleted, which makes room. The server is told with every heartbeat for as long as it is so, and the host goes on
//! by itself when there is room again, a little more than the mark, so that it does not change its mind all the time.
//!
//! The mark is where free bytes or inodes fall below [`LowWater`]; of a small filesystem a twentieth, if that is less. It
//! stops the host, not the workspaces' own programs: these may fill the disk to the last byte. For that the journal has
//! [`spares`].

mod spares;
#[cfg(test)]
mod tests;

pub(crate) use spares::Spares;

use crate::trouble::{Blocked, blocked};
use envforge_api::host::Trouble;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often somebody looks who was not asked.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A small filesystem's mark is this part of it.
const PART: u64 = 20;

/// What must be free for anything new to be taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LowWater {
    /// Bytes.
    pub bytes: u64,
    /// Inodes, where the filesystem has a fixed number of them.
    pub inodes: u64,
}

impl Default for LowWater {
    fn default() -> Self {
        Self { bytes: 1024 * 1024 * 1024, inodes: 20_000 }
    }
}

impl LowWater {
    /// Free bytes on the filesystem of this path below which it is short of them.
    pub(crate) fn bytes_on(self, path: &Path) -> u64 {
        Room::of(path).map_or(self.bytes, |room| self.bytes.min(room.bytes / PART))
    }
}

/// What a filesystem has, and what of it is free for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    bytes: u64,
    free_bytes: u64,
    /// 0 where they are made as they are needed.
    inodes: u64,
    free_inodes: u64,
}

impl Room {
    fn of(path: &Path) -> io::Result<Self> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Self {
            bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            inodes: stat.f_files,
            free_inodes: stat.f_favail,
        })
    }

    /// What is short; of a host that was short before, a quarter more than the mark is wanted.
    fn shortage(&self, mark: LowWater, was_short: bool) -> Option<Shortage> {
        let is_short = |free: u64, all: u64, mark: u64| {
            let mark = mark.min(all / PART);
            free < if was_short { mark.saturating_add(mark / 4) } else { mark }
        };
        if is_short(self.free_bytes, self.bytes, mark.bytes) {
            return Some(Shortage::Bytes(self.free_bytes));
        }
        (self.inodes > 0 && is_short(self.free_inodes, self.inodes, mark.inodes))
            .then_some(Shortage::Inodes(self.free_inodes))
    }
}

/// What there is too little of, and how much is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shortage {
    Bytes(u64),
    Inodes(u64),
}

impl Shortage {
    fn blocks(self) -> Blocked {
        let left = match self {
            Self::Bytes(free) => format!("{} MB", free / 1_000_000),
            Self::Inodes(free) => format!("room for {free} files"),
        };
        blocked(
            "host.disk_low",
            format!("the host's disk has only {left} left, so it takes nothing new on"),
            "delete workspaces that nobody needs, or give the host's data directory a larger disk",
        )
    }
}

/// The disk of the data directory.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    mark: LowWater,
    /// As it was when somebody last looked.
    short: Mutex<Option<Shortage>>,
    pub(crate) spares: Arc<Spares>,
}

impl Disk {
    /// Of this data directory, which exists.
    pub(crate) fn new(path: &Path, mark: LowWater) -> Self {
        let spares = Arc::new(Spares::new(path.join("spare")));
        Self { path: path.to_owned(), mark, short: Mutex::default(), spares }
    }

    /// Looks now: why nothing new is taken on, if so.
    pub(crate) fn refusal(&self) -> Option<Blocked> {
        // What can't be asked is found out by who writes.
        let room = Room::of(&self.path).ok()?;
        let mut short = self.short.lock().unwrap_or_else(PoisonError::into_inner);
        let now = room.shortage(self.mark, short.is_some());
        match (*short, now) {
            (None, Some(shortage)) => {
                let Blocked { code, cause, fix } = shortage.blocks();
                tracing::warn!(code, cause, fix, "disk: nothing new is taken on");
            }
            (Some(_), None) => tracing::info!(free_bytes = room.free_bytes, "disk: there is room again"),
            _ => {}
        }
        *short = now;
        now.map(Shortage::blocks)
    }

    /// What the server is told.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        let short = *self.short.lock().unwrap_or_else(PoisonError::into_inner);
        short.map(|shortage| shortage.blocks().into())
    }

    /// Looks every other second, and keeps spares while there is room.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let disk = Arc::clone(&self);
            // A filesystem may take its time.
            let looked = tokio::task::spawn_blocking(move || match disk.refusal() {
                Some(_) => Ok(()),
                None => disk.spares.fill(Room::of(&disk.path)?.bytes),
            });
            if let Ok(Err(error)) = looked.await {
                tracing::warn!(%error, "disk: the journal's spares could not be made");
            }
        }
    }
}
