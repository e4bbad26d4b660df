//! Single flight: many who want the same answer cause one call.
//!
//! A flight belongs to nobody who waits for it: it runs as its own task, so that a browser that gives up does not
//! take the wake of everybody else with it. It leaves the table before its answer is told, so whoever comes
//! after starts a new one; results that should live longer are the caller's to keep.

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use tokio_util::task::TaskTracker;

/// The answer of a flight; `None` when its task died.
pub(crate) type Flight<V> = Shared<BoxFuture<'static, Option<V>>>;

/// Flights under way, by what they are about.
pub(crate) struct Flights<K, V>(Arc<Mutex<HashMap<K, Flight<V>>>>);

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// Takes a flight out of the table, also when it panics.
struct Landing<K: Eq + Hash, V> {
    table: Arc<Mutex<HashMap<K, Flight<V>>>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        if let Ok(mut table) = self.table.lock() {
            table.remove(&self.key);
        }
    }
}

impl<K, V> Flights<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Joins the flight about `key`, or starts it.
    pub(crate) fn join<F>(&self, tasks: &TaskTracker, key: &K, start: impl FnOnce() -> F) -> Flight<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut table = self.0.lock().expect("no panic while held");
        if let Some(flight) = table.get(key) {
            return flight.clone();
        }
        let landing = Landing { table: Arc::clone(&self.0), key: key.clone() };
        let work = start();
        // The table is locked, so the flight can't land before it is in it.
        let task = tasks.spawn(async move {
            let value = work.await;
            drop(landing);
            value
        });
        let flight = task.map(Result::ok).boxed().shared();
        table.insert(key.clone(), flight.clone());
        flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    // proves LINK-4
    #[tokio::test]
    async fn many_join_one_flight_and_the_next_one_is_new() {
        let flights: Flights<u8, u32> = Flights::default();
        let tasks = TaskTracker::new();
        let started = Arc::new(AtomicU32::new(0));
        let fly = || {
            let started = Arc::clone(&started);
            async move { started.fetch_add(1, Ordering::Relaxed) + 1 }
        };
        let (first, second) = (flights.join(&tasks, &1, fly), flights.join(&tasks, &1, fly));
        assert_eq!((first.await, second.await), (Some(1), Some(1)));
        assert_eq!(flights.join(&tasks, &1, fly).await, Some(2));
    }
}
