//! When to renew, and how long to leave a CA alone: arithmetic, with the dice as a parameter.
//!
//! A certificate is renewed once two thirds of its life are over, which leaves the last third for whatever goes wrong: 30 days
//! of 90, two of six. All of it is spread out, so that not everybody who began on the same day comes back on the same second.

use envforge_core::clock::Entropy;
use envforge_gateway::tls::Lifetime;
use jiff::Timestamp;
use std::time::Duration;

/// The first pause after a failure. Let's Encrypt takes five failed validations of a name in an hour.
const PAUSE_MIN: Duration = Duration::from_mins(5);
const PAUSE_MAX: Duration = Duration::from_hours(6);
/// The shortest pause after a CA has said that it is too much.
const LIMIT_PAUSE: Duration = Duration::from_hours(1);

/// Where between 0 and 1 the dice fell, in 65536ths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Roll(u16);

impl Roll {
    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 2];
        entropy.fill(&mut bytes);
        Self(u16::from_le_bytes(bytes))
    }

    /// That part of a time.
    fn of(self, time: Duration) -> Duration {
        time * u32::from(self.0) / (1 << 16)
    }
}

/// When a certificate is renewed: in the first twenty-fourth of the last third of its life.
pub(super) fn renewal(lifetime: Lifetime, roll: Roll) -> Timestamp {
    let whole = lifetime.not_after.duration_since(lifetime.not_before);
    let whole = Duration::try_from(whole).unwrap_or_default();
    let after = whole * 2 / 3 + roll.of(whole / 3 / 24);
    lifetime.not_before.saturating_add(after).unwrap_or(lifetime.not_after)
}

/// How long to wait after so many failures in a row.
pub(super) fn pause(failures: u32, is_limit: bool, roll: Roll) -> Duration {
    let doubled = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(PAUSE_MAX);
    let pause = if is_limit { doubled.max(LIMIT_PAUSE) } else { doubled };
    pause + roll.of(pause / 4)
}

#[cfg(test)]
mod tests {
    use super::{Lifetime, Roll, pause, renewal};
    use jiff::Timestamp;
    use proptest::prelude::*;
    use std::time::Duration;

    fn lifetime(begins: i64, seconds: i64) -> Lifetime {
        let at = |second| Timestamp::from_second(second).unwrap();
        Lifetime { not_before: at(begins), not_after: at(begins + seconds) }
    }

    // proves LINK-9
    #[test]
    fn ninety_days_are_renewed_after_sixty() {
        let day = 86_400;
        assert_eq!(renewal(lifetime(0, 90 * day), Roll(0)).as_second(), 60 * day);
        let latest = renewal(lifetime(0, 90 * day), Roll(u16::MAX)).as_second();
        assert!((61 * day..61 * day + day / 4).contains(&latest), "{latest}");
    }

    #[test]
    fn pauses_grow_and_end() {
        let minutes = |failures, is_limit| pause(failures, is_limit, Roll(0)).as_secs() / 60;
        assert_eq!([1, 2, 3, 7, 100].map(|failures| minutes(failures, false)), [5, 10, 20, 320, 360]);
        assert_eq!(minutes(1, true), 60);
    }

    proptest! {
        #[test]
        fn it_is_renewed_within_the_last_third_with_most_of_it_left(
            begins in -2_000_000_000_i64..4_000_000_000,
            seconds in 60_i64..4_000_000_000,
            roll: u16,
            failures: u32,
        ) {
            let lifetime = lifetime(begins, seconds);
            let at = renewal(lifetime, Roll(roll)).as_second() - begins;
            prop_assert!(at >= seconds * 2 / 3 && at <= seconds * 3 / 4, "{at} of {seconds}");
            let pause = pause(failures, false, Roll(roll));
            prop_assert!(pause >= Duration::from_mins(5) && pause <= Duration::from_mins(450));
        }
    }
}
