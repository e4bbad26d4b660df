//! Waiting for what a test needs.
//!
//! The condition is asked again every few milliseconds, so a test goes on the moment it holds, and a test that
//! fails says what it waited for instead of failing later in some other assertion.

use std::panic::Location;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long [`wait_until`] and [`wait_for`] wait.
pub const LIMIT: Duration = Duration::from_secs(5);

const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Waits up to five seconds until `condition` holds; panics with `what` otherwise.
#[track_caller]
pub fn wait_until<F>(what: &str, condition: F) -> impl Future<Output = ()>
where
    F: AsyncFnMut() -> bool,
{
    wait_until_within(what, LIMIT, condition)
}

/// Waits up to `limit` until `condition` holds; panics with `what` otherwise.
#[track_caller]
pub fn wait_until_within<F>(what: &str, limit: Duration, mut condition: F) -> impl Future<Output = ()>
where
    F: AsyncFnMut() -> bool,
{
    let place = Location::caller();
    async move {
        let held = poll(limit, async || condition().await.then_some(())).await.is_some();
        assert!(held, "{place}: waited {limit:?} in vain until {what}");
    }
}

/// Waits up to five seconds until `attempt` gives a value; panics with `what` otherwise.
#[track_caller]
pub fn wait_for<T, F>(what: &str, mut attempt: F) -> impl Future<Output = T>
where
    F: AsyncFnMut() -> Option<T>,
{
    let place = Location::caller();
    async move {
        match poll(LIMIT, async || attempt().await).await {
            Some(value) => value,
            None => panic!("{place}: waited {LIMIT:?} in vain for {what}"),
        }
    }
}

async fn poll<T>(limit: Duration, mut attempt: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    let mut pause = PAUSE_MIN;
    loop {
        if let Some(value) = attempt().await {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::{wait_for, wait_until, wait_until_within};
    use std::time::Duration;

    #[tokio::test]
    async fn goes_on_when_the_condition_holds() {
        let mut asked = 0;
        wait_until("asked three times", async || {
            asked += 1;
            asked == 3
        })
        .await;
        assert_eq!(wait_for("a value", async || Some(7)).await, 7);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "in vain until the moon is blue")]
    async fn says_what_it_waited_for() {
        wait_until_within("the moon is blue", Duration::from_millis(20), async || false).await;
    }
}
