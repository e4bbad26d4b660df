//! What threads share without getting in each other's way.
//!
//! Two threads that write the same word of memory pass its cache line back and forth, which costs more than most of what is
//! done for a request; counting a reference is such a write. So a connection counts references to what all share in a
//! place of its own ([`Held`]), and a number that every request raises has a cell per worker ([`Cells`]).

use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Cells of a number; workers beyond share them.
const CELLS: usize = 8;

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(0) };
}

/// This thread is that worker.
pub(crate) fn set_worker(number: usize) {
    WORKER.set(number % CELLS);
}

/// A shared thing whose references one connection counts by itself.
#[expect(clippy::redundant_allocation, reason = "the outer count is the connection's own")]
pub(crate) struct Held<T>(Arc<Arc<T>>);

impl<T> Held<T> {
    pub(crate) fn new(shared: Arc<T>) -> Self {
        Self(Arc::new(shared))
    }

    /// Whether it is the same reference.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The shared thing, for whoever keeps it beyond the connection.
    pub(crate) fn shared(&self) -> &Arc<T> {
        &self.0
    }
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A cell on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicI64);

/// A number that threads change in cells of their own.
#[derive(Debug, Default)]
pub(crate) struct Cells([Line; CELLS]);

impl Cells {
    fn own(&self) -> &AtomicI64 {
        &self.0[WORKER.get()].0
    }

    /// Changes it by so much.
    pub(crate) fn add(&self, by: i64) {
        self.own().fetch_add(by, Ordering::Relaxed);
    }

    /// Raises it to at least that, when it is read by [`Self::max`].
    pub(crate) fn raise(&self, to: i64) {
        self.own().store(to, Ordering::Relaxed);
    }

    /// The sum of what was added.
    pub(crate) fn sum(&self) -> i64 {
        self.0.iter().map(|line| line.0.load(Ordering::Relaxed)).sum()
    }

    /// The highest it was raised to.
    pub(crate) fn max(&self) -> i64 {
        self.0.iter().map(|line| line.0.load(Ordering::Relaxed)).max().unwrap_or(0)
    }
}
