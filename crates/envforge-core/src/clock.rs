//! Time and randomness as parameters.
//!
//! Everything that needs "now" or random bytes takes one of these, so that expiry, back-off, metering and
//! id order are exact in tests. The real implementations live at the edge (`envforge-api::ambient`); the
//! ambient calls are forbidden elsewhere by `clippy.toml`.

use jiff::Timestamp;

/// Tells the time. Implementations must be cheap; callers may ask often.
pub trait Clock: Send + Sync + 'static {
    /// The current instant (UTC).
    fn now(&self) -> Timestamp;
}

/// Gives random bytes fit for secrets.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the whole buffer with cryptographically secure random bytes.
    fn fill(&self, buffer: &mut [u8]);
}

/// A clock that stands still until it is moved; for tests.
#[derive(Debug)]
pub struct FixedClock(std::sync::Mutex<Timestamp>);

impl FixedClock {
    /// A clock that stands at `at`.
    pub fn new(at: Timestamp) -> Self {
        Self(std::sync::Mutex::new(at))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: jiff::SignedDuration) {
        let mut now = self.0.lock().expect("no panic while the clock is held");
        *now = now.checked_add(by).expect("test time stays in range");
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no panic while the clock is held")
    }
}
