//! Who needs the cluster: it is kept running for them, and stopped when nobody does.
//!
//! Runtimes do, awake or paused: the pool of a paused one stays connected. So does whatever works on databases (one is made,
//! copied, dropped, saved) and backups, which are processes of their own. All these hold a lock on a file together, and
//! who stops the cluster holds it alone; the kernel releases what a killed process held.

use super::{Cluster, disk};
use crate::files;
use crate::trouble::Blocked;
use envforge_core::clock::Entropy;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// How often the cluster is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long nobody needs the cluster before it is stopped: a workspace that was just prepared is about to be woken.
const GRACE: Duration = Duration::from_secs(5);
/// Between two tries to use a cluster that is being stopped.
const AGAIN: Duration = Duration::from_millis(20);

/// The cluster is not stopped as long as this is held.
#[derive(Debug)]
pub(crate) struct InUse {
    _shared: File,
}

impl Cluster {
    /// Keeps the cluster from being stopped; one that is just being stopped is waited for. It need not run.
    pub(crate) async fn in_use(&self) -> Result<InUse, Blocked> {
        self.uses.fetch_add(1, Ordering::Relaxed);
        let file = self.use_file().map_err(|error| disk(&error))?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
                Ok(()) => return Ok(InUse { _shared: file }),
                Err(Errno::WOULDBLOCK) => tokio::time::sleep(AGAIN).await,
                Err(error) => return Err(disk(&error.into())),
            }
        }
    }

    fn use_file(&self) -> io::Result<File> {
        files::directory(&self.base, 0o711, None)?;
        let path = self.base.join("in-use");
        File::options().create(true).truncate(false).write(true).mode(0o600).open(path)
    }

    /// Starts the cluster again if it ends while somebody needs it, and stops it once nobody has for [`GRACE`]: neither
    /// `has_runtimes`, nor was it used. One that an earlier daemon started is no different.
    pub(crate) async fn watch(&self, has_runtimes: impl Fn() -> bool + Send + Sync, entropy: &dyn Entropy) {
        let mut idle = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let answers = self.answers().await;
            if !answers
                && self.is_needed.load(Ordering::Relaxed)
                && let Err(block) = self.ensure_running(entropy).await
            {
                tracing::warn!(cause = block.cause, "postgres: the resource cluster is down and does not start");
            }
            let uses = self.uses.load(Ordering::Relaxed);
            idle = match idle {
                _ if !answers || has_runtimes() => None,
                Some((since, before)) if before == uses => Some((since, before)),
                _ => Some((Instant::now(), uses)),
            };
            if idle.is_some_and(|(since, _)| since.elapsed() >= GRACE) {
                idle = None;
                if let Err(block) = self.stop_unneeded(&has_runtimes).await {
                    tracing::warn!(
                        cause = block.cause,
                        "postgres: nobody needs the resource cluster, and it does not stop"
                    );
                }
            }
        }
    }

    /// Stops the cluster, unless somebody needs it; whether it was stopped.
    pub(super) async fn stop_unneeded(&self, has_runtimes: impl Fn() -> bool) -> Result<bool, Blocked> {
        let file = self.use_file().map_err(|error| disk(&error))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(error) => return Err(disk(&error.into())),
        }
        // A runtime that is there from now on waits in `in_use`, and starts it again.
        if has_runtimes() {
            return Ok(false);
        }
        self.is_needed.store(false, Ordering::Relaxed);
        self.stop().await?;
        tracing::debug!("postgres: stopped, nobody needs it");
        Ok(true)
    }
}
