//! The lease: how long the gateway may act on what it was told.
//!
//! Each line of the feed renews it. When it ends, nothing is forwarded and open streams are cut, because a
//! revocation may have been missed. It is measured in monotonic time: a corrected wall clock neither ends nor
//! prolongs it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// The lease on the feed.
#[derive(Debug)]
pub(crate) struct Lease {
    origin: Instant,
    length: Duration,
    /// Milliseconds from the origin to its end; 0 before the first snapshot.
    ends: AtomicU64,
}

impl Lease {
    /// A lease not yet given.
    pub(crate) fn new(length: Duration) -> Self {
        Self { origin: Instant::now(), length, ends: AtomicU64::new(0) }
    }

    /// Renews it from now on.
    pub(crate) fn renew(&self) {
        let ends = self.origin.elapsed() + self.length;
        self.ends.store(ends.as_millis() as u64, Ordering::Release);
    }

    /// Whether it holds now.
    pub(crate) fn holds(&self) -> bool {
        (self.origin.elapsed().as_millis() as u64) < self.ends.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves LINK-2
    #[tokio::test(start_paused = true)]
    async fn it_ends_without_a_beat() {
        let lease = Lease::new(Duration::from_secs(10));
        assert!(!lease.holds(), "nothing was heard yet");
        lease.renew();
        tokio::time::advance(Duration::from_millis(9_900)).await;
        assert!(lease.holds());
        lease.renew();
        tokio::time::advance(Duration::from_millis(9_900)).await;
        assert!(lease.holds());
        tokio::time::advance(Duration::from_millis(200)).await;
        assert!(!lease.holds());
    }
}
