//! The one place where the real clock and the real random source are read.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use envforge_core::clock::{Clock, Entropy};
use jiff::Timestamp;

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        // Whole microseconds: what PostgreSQL keeps, so a value read back equals the value written.
        Timestamp::from_microsecond(Timestamp::now().as_microsecond()).expect("now is in range")
    }
}

/// The operating system's random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        SystemRandom::new().fill(buffer).expect("the operating system gives random bytes");
    }
}

/// A fresh opaque token: `prefix` and 256 random bits in hexadecimal.
pub fn opaque_token(prefix: &str, entropy: &dyn Entropy) -> String {
    let mut bytes = [0_u8; 32];
    entropy.fill(&mut bytes);
    format!("{prefix}{}", hex::encode(bytes))
}
