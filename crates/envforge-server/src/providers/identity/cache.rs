//! What is known of a provider: its discovery document and its keys, fetched when needed, by one task at a time.
//!
//! They are fetched again by age, and the keys when a token names one that is not known (the provider changed them),
//! but for that reason at most every [`UNKNOWN_KEY`]: a token with a made-up key must not make us hammer the provider.

use super::IdentityError;
use envforge_core::login::later;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tokio::sync::Mutex;

/// How long what was fetched is used without asking again.
const AGE: SignedDuration = SignedDuration::from_hours(1);
/// How often a key that is not known is looked for.
const UNKNOWN_KEY: SignedDuration = SignedDuration::from_secs(30);
/// How long a provider that did not answer is left alone.
const FAILED: SignedDuration = SignedDuration::from_secs(2);

/// Something fetched.
pub(super) struct Cache<T>(Mutex<State<T>>);

struct State<T> {
    value: Option<(Arc<T>, Timestamp)>,
    looked_at: Option<Timestamp>,
    failed: Option<(IdentityError, Timestamp)>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Mutex::new(State { value: None, looked_at: None, failed: None }))
    }
}

impl<T> Cache<T> {
    /// What is known, fetched if there is nothing or it is old. What is old is still used when the provider does not
    /// answer: its keys did not become worse.
    pub(super) async fn get(
        &self,
        now: Timestamp,
        fetch: impl Future<Output = Result<T, IdentityError>>,
    ) -> Result<Arc<T>, IdentityError> {
        let mut state = self.0.lock().await;
        match &state.value {
            Some((value, at)) if now < later(*at, AGE) => return Ok(Arc::clone(value)),
            _ => {}
        }
        let old = state.value.as_ref().map(|(value, _)| Arc::clone(value));
        match state.fetch(now, fetch).await {
            Ok(value) => Ok(value),
            Err(error) => old.ok_or(error),
        }
    }

    /// Fetches again because `known` lacked a key; what is there already when that was just done.
    pub(super) async fn look_again(
        &self,
        known: &Arc<T>,
        now: Timestamp,
        fetch: impl Future<Output = Result<T, IdentityError>>,
    ) -> Result<Arc<T>, IdentityError> {
        let mut state = self.0.lock().await;
        match &state.value {
            // Another task fetched while this one waited.
            Some((value, _)) if !Arc::ptr_eq(value, known) => return Ok(Arc::clone(value)),
            _ => {}
        }
        if state.looked_at.is_some_and(|at| now < later(at, UNKNOWN_KEY)) {
            return Ok(Arc::clone(known));
        }
        state.looked_at = Some(now);
        state.fetch(now, fetch).await
    }
}

impl<T> State<T> {
    async fn fetch(
        &mut self,
        now: Timestamp,
        fetch: impl Future<Output = Result<T, IdentityError>>,
    ) -> Result<Arc<T>, IdentityError> {
        match &self.failed {
            Some((error, at)) if now < later(*at, FAILED) => return Err(error.clone()),
            _ => {}
        }
        match fetch.await {
            Ok(value) => {
                let value = Arc::new(value);
                self.value = Some((Arc::clone(&value), now));
                self.failed = None;
                Ok(value)
            }
            Err(error) => {
                self.failed = Some((error.clone(), now));
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    // proves ORG-1
    #[tokio::test]
    async fn a_provider_is_asked_by_age_and_not_by_strangers() {
        let (cache, asked) = (Cache::default(), AtomicU32::new(0));
        let fetch = || async { Ok(asked.fetch_add(1, Ordering::Relaxed)) };
        let at = |second: i64| Timestamp::from_second(1_760_000_000 + second).unwrap();
        let first = cache.get(at(0), fetch()).await.unwrap();
        cache.get(at(3_599), fetch()).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        for second in 0..30 {
            let known = cache.get(at(second), fetch()).await.unwrap();
            cache.look_again(&known, at(second), fetch()).await.unwrap();
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2, "thirty unknown keys, one look");
        let now = cache.look_again(&first, at(31), fetch()).await.unwrap();
        assert_eq!((*now, asked.load(Ordering::Relaxed)), (1, 2), "it had been fetched meanwhile");
        cache.look_again(&now, at(31), fetch()).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        cache.get(at(31 + 3_600), fetch()).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 4);
        let down = async { Err(IdentityError::Unreachable("down".to_owned())) };
        assert_eq!(*cache.get(at(20_000), down).await.unwrap(), 3, "old keys rather than none");
    }
}
