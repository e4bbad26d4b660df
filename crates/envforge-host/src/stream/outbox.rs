//! The line to the server, as the rest of the daemon sees it: there, or not.
//!
//! Nothing waits here for a connection. What is said while there is none is lost on purpose: answers are asked for
//! again, reports wait in their journals, and a heartbeat that comes late is no heartbeat. Each connection has a number,
//! so that whoever must repeat something to a new one knows that it is new.

use envforge_api::host::FromHost;
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc;

/// The line.
#[derive(Default)]
pub(crate) struct Outbox {
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    connection: u64,
    sender: Option<mpsc::UnboundedSender<FromHost>>,
}

impl Outbox {
    /// A new connection takes over.
    pub(super) fn open(&self) -> (u64, mpsc::UnboundedReceiver<FromHost>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut line = self.lock();
        line.connection += 1;
        line.sender = Some(sender);
        (line.connection, receiver)
    }

    /// A connection ended.
    pub(super) fn close(&self, connection: u64) {
        let mut line = self.lock();
        if line.connection == connection {
            line.sender = None;
        }
    }

    /// The number of the connection that is open.
    pub(crate) fn connection(&self) -> Option<u64> {
        let line = self.lock();
        line.sender.as_ref().map(|_| line.connection)
    }

    /// Says something, if anybody listens.
    pub(crate) fn send(&self, message: FromHost) {
        if let Some(sender) = &self.lock().sender {
            drop(sender.send(message));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
