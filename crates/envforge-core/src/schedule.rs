//! When something is due again and again: every so many minutes, or daily at a time of day somewhere.
//!
//! A schedule answers one question, when it was due last. Whoever remembers the due time it acted on therefore acts
//! once however often it asks, and after a long silence catches up once, not once per time missed.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Due times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// Every so many minutes, counted from the epoch: every server has the same due times.
    Every {
        /// At least 1.
        minutes: u32,
    },
    /// Every day at this time of day in this time zone. A time that a day leaves out (clocks go forward) is due as much
    /// later; one that it has twice is due the first time.
    Daily {
        /// The time of day.
        at: Time,
        /// Where.
        zone: TimeZone,
    },
}

impl Schedule {
    /// The last due time not after `now`.
    pub fn latest_due(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::Every { minutes } => {
                let seconds = i64::from((*minutes).max(1)) * 60;
                Timestamp::from_second(now.as_second().div_euclid(seconds) * seconds).unwrap_or(Timestamp::MIN)
            }
            Self::Daily { at, zone } => {
                let today = zone.to_datetime(now).date();
                // Two days back, because a zone that crosses the date line leaves a whole day out.
                (0..=2)
                    .filter_map(|days| today.checked_sub(Span::new().days(days)).ok())
                    .filter_map(|date| zone.to_timestamp(date.to_datetime(*at)).ok())
                    .find(|due| *due <= now)
                    .unwrap_or(Timestamp::MIN)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a time zone")
    }

    fn daily(hour: i8, minute: i8) -> Schedule {
        Schedule::Daily { at: Time::constant(hour, minute, 0, 0), zone: berlin() }
    }

    // proves OPS-3
    #[test]
    fn every_five_minutes_and_daily_at_three() {
        let every = Schedule::Every { minutes: 5 };
        assert_eq!(every.latest_due(at("2026-03-01T10:04:59Z")), at("2026-03-01T10:00:00Z"));
        assert_eq!(every.latest_due(at("2026-03-01T10:05:00Z")), at("2026-03-01T10:05:00Z"));
        let nightly = daily(3, 0);
        assert_eq!(nightly.latest_due(at("2026-01-10T01:59:59Z")), at("2026-01-09T02:00:00Z"));
        assert_eq!(nightly.latest_due(at("2026-01-10T02:00:00Z")), at("2026-01-10T02:00:00Z"));
        assert_eq!(nightly.latest_due(at("2026-07-10T02:00:00Z")), at("2026-07-10T01:00:00Z"), "summer time");
    }

    // proves OPS-3
    #[test]
    fn a_time_left_out_is_due_later_and_one_that_comes_twice_once() {
        // On 2026-03-29 Berlin goes from 02:00 to 03:00, on 2026-10-25 from 03:00 back to 02:00.
        let half_past_two = daily(2, 30);
        assert_eq!(half_past_two.latest_due(at("2026-03-29T12:00:00Z")), at("2026-03-29T01:30:00Z"));
        assert_eq!(half_past_two.latest_due(at("2026-10-25T01:45:00Z")), at("2026-10-25T00:30:00Z"));
    }

    proptest! {
        // proves OPS-3
        #[test]
        fn the_last_due_time_is_past_recent_and_stays(second in 0_i64..4_000_000_000, minutes in 1_u32..2_000, hour in 0_i8..24, minute in 0_i8..60) {
            let now = Timestamp::from_second(second).expect("in range");
            for (schedule, longest) in [
                (Schedule::Every { minutes }, SignedDuration::from_mins(i64::from(minutes))),
                (daily(hour, minute), SignedDuration::from_hours(25)),
            ] {
                let due = schedule.latest_due(now);
                prop_assert!(due <= now && now.duration_since(due) <= longest);
                prop_assert_eq!(schedule.latest_due(due), due, "a due time is its own");
                let later = now.checked_add(SignedDuration::from_mins(7)).expect("in range");
                prop_assert!(schedule.latest_due(later) >= due, "never goes back");
            }
        }
    }
}
