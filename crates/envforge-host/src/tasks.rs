//! Tasks that somebody owns.
//!
//! Everything that runs beside the caller is started here, under a name, and ends when the daemon does: the tracker
//! counts what is left, the token tells everybody to stop. Nothing else in the daemon starts a task of its own.

use std::future::Future;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The daemon's tasks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
}

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Owned(JoinHandle<()>);

impl Owned {
    /// Whether it has not ended.
    pub(crate) fn is_running(&self) -> bool {
        !self.0.is_finished()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Tasks {
    pub(crate) fn new(cancel: CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), cancel }
    }

    /// Starts a task that is told by [`Tasks::cancelled`] to end, and waited for at the end.
    pub(crate) fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.start(name, work));
    }

    /// Starts a task that is dropped where it stands when the daemon ends, or when the handle is dropped.
    pub(crate) fn spawn_owned(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> Owned {
        let cancel = self.cancel.clone();
        Owned(self.start(name, async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = work => {}
            }
        }))
    }

    /// Starts a task that nobody waits for and that is dropped where it stands when the daemon ends.
    pub(crate) fn spawn_loose(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        drop(self.start(name, async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = work => {}
            }
        }));
    }

    fn start(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        use tracing::Instrument as _;
        // Of no span that is entered where it starts: it may live longer than that.
        self.tracker.spawn(work.instrument(tracing::debug_span!(parent: None, "task", task = name)))
    }

    /// Whether the daemon is to end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Resolves when the daemon is to end.
    pub(crate) async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Waits until every task has ended.
    pub(crate) async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
