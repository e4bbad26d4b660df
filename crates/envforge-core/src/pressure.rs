//! When a machine is short of memory, and which sleeping runtime makes room.
//!
//! A frozen runtime costs nothing but memory, and without swap it keeps nearly all of it. When a host's machine runs short, the
//! runtime that has been frozen longest is stopped: one at a time, with time in between for the machine to feel it. What is awake
//! is never stopped for it. Whether memory is short is told apart by two marks, so that a machine between them stays what it was.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a machine says of its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryReading {
    /// In all, in bytes.
    pub total: u64,
    /// What can be had without swapping, in bytes.
    pub available: u64,
    /// The share of the last ten seconds in which some process waited for memory, in thousandths (PSI's `some avg10`);
    /// none where the kernel does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled: Option<u16>,
}

/// From this share of waiting on, in thousandths, memory is short.
const STALLED: u16 = 100;
/// Below this share it is not any more.
const AT_EASE: u16 = 20;
/// With more of its memory available, in percent, a machine is not short, however long somebody waits: it is one runtime at its
/// own limit then, which no other's end helps.
const PLENTY: u64 = 25;
/// Without word of waiting, memory is short below this percentage, and not any more from the second on.
const LOW: (u64, u64) = (10, 15);
/// Between two stops: what is measured is the average of ten seconds.
const SETTLE: SignedDuration = SignedDuration::from_secs(20);

impl MemoryReading {
    /// Whether memory is short now, for a machine of which that was so before, or not.
    pub const fn is_short(&self, was_short: bool) -> bool {
        match self.stalled {
            Some(stalled) => self.has_less_than(PLENTY) && stalled >= if was_short { AT_EASE } else { STALLED },
            None => self.has_less_than(if was_short { LOW.1 } else { LOW.0 }),
        }
    }

    const fn has_less_than(&self, percent: u64) -> bool {
        (self.available as u128) * 100 < (self.total as u128) * (percent as u128)
    }

    /// In words: "1.2 of 24.0 GiB are available, and processes waited for memory 23 % of the time".
    pub fn words(&self) -> String {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        let waited = self.stalled.map_or_else(String::new, |stalled| {
            format!(", and processes waited for memory {} % of the time", stalled / 10)
        });
        format!("{:.1} of {:.1} GiB are available{waited}", gib(self.available), gib(self.total))
    }
}

/// Which of the frozen runtimes of a machine that is short of memory is stopped now: the one frozen longest, unless another
/// was stopped for it just before. Each comes with the instant since when it is frozen.
pub fn make_room<T: Copy + Ord>(
    frozen: impl IntoIterator<Item = (T, Timestamp)>,
    relieved_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<T> {
    if relieved_at.is_some_and(|before| now.duration_since(before) < SETTLE) {
        return None;
    }
    frozen.into_iter().min_by_key(|(runtime, since)| (*since, *runtime)).map(|(runtime, _)| runtime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn reading(percent: u64, stalled: Option<u16>) -> MemoryReading {
        MemoryReading { total: 1_000, available: percent * 10, stalled }
    }

    // proves RUN-5
    #[test]
    fn between_the_marks_a_machine_stays_what_it_was() {
        for (reading, from_ease, from_short) in [
            (reading(5, Some(99)), false, true),
            (reading(5, Some(100)), true, true),
            (reading(5, Some(19)), false, false),
            (reading(24, Some(900)), true, true),
            // Somebody waits at a limit of their own.
            (reading(25, Some(900)), false, false),
            (reading(9, None), true, true),
            (reading(10, None), false, true),
            (reading(15, None), false, false),
        ] {
            assert_eq!((reading.is_short(false), reading.is_short(true)), (from_ease, from_short), "{reading:?}");
        }
        let words = MemoryReading { total: 24 << 30, available: 6 << 29, stalled: Some(239) }.words();
        assert_eq!(words, "3.0 of 24.0 GiB are available, and processes waited for memory 23 % of the time");
    }

    proptest! {
        // proves RUN-5
        #[test]
        fn the_longest_frozen_go_first_and_one_at_a_time(
            since in prop::collection::vec(0_i64..100, 0..8),
            seconds in prop::collection::vec(0_i64..15, 1..60),
        ) {
            let mut frozen: Vec<(usize, Timestamp)> = since.iter().map(|second| at(*second)).enumerate().collect();
            let (mut now, mut relieved_at, mut stopped) = (1_000, None, Vec::new());
            for second in seconds {
                now += second;
                let Some(chosen) = make_room(frozen.iter().copied(), relieved_at, at(now)) else {
                    prop_assert!(frozen.is_empty() || relieved_at.is_some_and(|before| at(now).duration_since(before) < SETTLE));
                    continue;
                };
                prop_assert!(relieved_at.is_none_or(|before| at(now).duration_since(before) >= SETTLE));
                let gone = frozen.iter().position(|(runtime, _)| *runtime == chosen).expect("one of them");
                stopped.push(frozen.remove(gone).1);
                relieved_at = Some(at(now));
            }
            prop_assert!(stopped.is_sorted());
            prop_assert!(frozen.iter().all(|(_, since)| stopped.iter().all(|before| before <= since)));
        }

        #[test]
        fn more_memory_never_makes_it_short(percent in 0_u64..=100, more in 0_u64..=100, stalled in prop::option::of(0_u16..=1_000), was in any::<bool>()) {
            let (less, more) = (reading(percent, stalled), reading((percent + more).min(100), stalled));
            prop_assert!(!more.is_short(was) || less.is_short(was));
            prop_assert!(!less.is_short(false) || less.is_short(true), "what is short from ease is short from short");
        }
    }
}
