//! Deadlines that are moved far more often than they are reached.
//!
//! A connection has one timer for all of its requests. Giving more time writes a number; the timer looks at it when it
//! fires, and sleeps again if there is time left.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A deadline.
pub(crate) struct Deadline {
    at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    /// So much time from now.
    pub(crate) fn new(time: Duration) -> Self {
        let at = Instant::now() + time;
        Self { at, timer: Box::pin(tokio::time::sleep_until(at)) }
    }

    /// From now on so much time.
    pub(crate) fn give(&mut self, time: Duration) {
        self.at = Instant::now() + time;
        if self.at < self.timer.deadline() {
            self.timer.as_mut().reset(self.at);
        }
    }

    /// Ready whenever the timer fires; whether the time is over. If it is not, it is to be polled again.
    pub(crate) fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        ready!(self.timer.as_mut().poll(cx));
        if Instant::now() >= self.at {
            return Poll::Ready(true);
        }
        self.timer.as_mut().reset(self.at);
        Poll::Ready(false)
    }

    /// Ready once the time is over.
    pub(crate) fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !ready!(self.poll_fired(cx)) {}
        Poll::Ready(())
    }
}
