//! Alarms: how a request that waits hears that something it depends on changed.
//!
//! A request waits for its service most of the time, and meanwhile its session may end or its runtime freeze. Asking to be
//! told of that must cost next to nothing, because every request does. So a connection has one [`Alarm`], hung up once
//! at each thing its requests depend on, and whoever changes the thing rings; the request then looks for itself.

use futures_util::task::AtomicWaker;
use std::sync::{Arc, Mutex, Weak};
use std::task::Context;

/// Wakes one task.
#[derive(Debug, Default)]
pub(crate) struct Alarm(AtomicWaker);

impl Alarm {
    /// The task that asks is the one to wake. What it then looks at it sees as it is after any ring it did not hear.
    pub(crate) fn set(&self, cx: &Context<'_>) {
        self.0.register(cx.waker());
    }
}

/// The alarms hung up at something.
#[derive(Debug, Default)]
pub(crate) struct Alarms(Mutex<Vec<Weak<Alarm>>>);

impl Alarms {
    /// Hangs one up, until it is dropped.
    pub(crate) fn add(&self, alarm: &Arc<Alarm>) {
        let mut alarms = self.0.lock().expect("no panic while held");
        if alarms.len() == alarms.capacity() {
            alarms.retain(|alarm| alarm.strong_count() > 0);
            alarms.sort_unstable_by_key(Weak::as_ptr);
            alarms.dedup_by_key(|alarm| Weak::as_ptr(alarm));
        }
        alarms.push(Arc::downgrade(alarm));
    }

    /// Rings them all.
    pub(crate) fn ring(&self) {
        // Woken outside of the lock: a task may run at once.
        let all: Vec<_> = self.0.lock().expect("no panic while held").iter().filter_map(Weak::upgrade).collect();
        for alarm in all {
            alarm.0.wake();
        }
    }
}
