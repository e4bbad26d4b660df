//! Background jobs: their queues, their states, and what follows from how an attempt ended.
//!
//! ```text
//!            claimed                done
//!  waiting ───────────► running ───────────► done
//!    ▲  │                 │ │ gave up
//!    │  │ cancelled       │ └──────────────► failed
//!    │  ▼                 │ cancelled
//!    │ cancelled ◄────────┤
//!    │                    │ attempts used up
//!    │ later, lost,       ├────────────────► dead
//!    └────────────────────┘
//!      released
//! ```
//!
//! An attempt that fails is made again after a random part of a span that doubles every time (exponential back-off
//! with full jitter), so that what failed together does not come back together. `failed` is a handler's own word that
//! trying again can't help; `dead` is the dead letter: it was tried as often as it may be. Both, and what was
//! cancelled, stay to be looked at and can be retried by a person.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// The span of the first back-off.
const BACKOFF_FIRST: SignedDuration = SignedDuration::from_secs(5);
/// The longest span.
const BACKOFF_MAX: SignedDuration = SignedDuration::from_hours(1);

/// Where jobs wait, by what they wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Queue {
    /// Everything else.
    Default,
    /// Language models.
    Ai,
    /// Sandboxes of hosts.
    Sandbox,
    /// GitHub's API.
    Github,
    /// Deployments.
    Deployments,
}

impl Queue {
    /// All queues.
    pub const ALL: [Self; 5] = [Self::Default, Self::Ai, Self::Sandbox, Self::Github, Self::Deployments];

    /// The name in JSON and storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Ai => "ai",
            Self::Sandbox => "sandbox",
            Self::Github => "github",
            Self::Deployments => "deployments",
        }
    }

    /// How many jobs of it one server runs at a time, when nothing else is configured.
    pub const fn concurrency(self) -> usize {
        match self {
            Self::Default => 10,
            Self::Ai => 5,
            Self::Sandbox | Self::Github | Self::Deployments => 3,
        }
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Queue {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|queue| queue.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a queue; there are {}", names()))
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It will run when it is due and a place is free.
    Waiting,
    /// A server runs it.
    Running,
    /// It succeeded.
    Done,
    /// Its handler said that trying again can't help.
    Failed,
    /// A person ended it.
    Cancelled,
    /// It was tried as often as it may be: the dead letter.
    Dead,
}

impl JobState {
    /// All states.
    pub const ALL: [Self; 6] = [Self::Waiting, Self::Running, Self::Done, Self::Failed, Self::Cancelled, Self::Dead];

    /// The name in JSON and storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }

    /// Whether a person may have it tried again.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Waiting | Self::Failed | Self::Cancelled | Self::Dead)
    }

    /// Whether nothing more happens to it by itself.
    pub const fn is_finished(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a state; there are {}", names()))
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It succeeded.
    Done,
    /// It failed and may be tried again: after this long, or after a back-off.
    Later(Option<SignedDuration>),
    /// It failed, and trying again can't help.
    GaveUp,
    /// Its server was not heard of for as long as the lease lasts.
    Lost,
    /// Its server stops and gives it back unfinished.
    Released,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It waits again.
    Again {
        /// For so long.
        after: SignedDuration,
        /// Whether the attempt counts.
        counts: bool,
    },
    /// It is finished.
    Finished(JobState),
}

/// What follows from the end of the `attempt`th attempt (from 1) of at most `max_attempts`. `random` is one draw of 64
/// bits.
pub fn next(ended: Ended, attempt: u32, max_attempts: u32, is_cancelled: bool, random: u64) -> Next {
    match ended {
        Ended::Done => Next::Finished(JobState::Done),
        _ if is_cancelled => Next::Finished(JobState::Cancelled),
        Ended::GaveUp => Next::Finished(JobState::Failed),
        Ended::Released => Next::Again { after: SignedDuration::ZERO, counts: false },
        Ended::Later(_) | Ended::Lost if attempt >= max_attempts => Next::Finished(JobState::Dead),
        Ended::Later(after) => {
            let after = after.unwrap_or_else(|| backoff(attempt, random)).clamp(SignedDuration::ZERO, BACKOFF_MAX);
            Next::Again { after, counts: true }
        }
        Ended::Lost => Next::Again { after: SignedDuration::ZERO, counts: true },
    }
}

/// The pause after the `attempt`th failure: uniform between nothing and a span that doubles with every attempt, in whole
/// milliseconds ("full jitter": M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015).
pub fn backoff(attempt: u32, random: u64) -> SignedDuration {
    let millis = backoff_span(attempt).as_millis().unsigned_abs();
    let drawn = ((millis + 1) * u128::from(random)) >> 64;
    SignedDuration::from_millis(i64::try_from(drawn).expect("at most the longest span"))
}

fn backoff_span(attempt: u32) -> SignedDuration {
    BACKOFF_FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ended() -> impl Strategy<Value = Ended> {
        prop_oneof![
            Just(Ended::Done),
            Just(Ended::Later(None)),
            (-10_i64..100_000).prop_map(|seconds| Ended::Later(Some(SignedDuration::from_secs(seconds)))),
            Just(Ended::GaveUp),
            Just(Ended::Lost),
            Just(Ended::Released),
        ]
    }

    #[test]
    fn names_round_trip() {
        for queue in Queue::ALL {
            assert_eq!(queue.as_str().parse(), Ok(queue));
        }
        for state in JobState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("nothing".parse::<Queue>().unwrap_err().contains("default, ai"));
    }

    // proves OPS-3
    #[test]
    fn the_span_doubles_up_to_an_hour() {
        let spans: Vec<_> = [1, 2, 3, 10, 11, 40].map(|attempt| backoff(attempt, u64::MAX).as_secs()).into();
        assert_eq!(spans, [5, 10, 20, 2_560, 3_600, 3_600]);
    }

    proptest! {
        // proves OPS-3
        #[test]
        fn a_pause_is_any_part_of_its_span(attempt in 0_u32..200, random: u64) {
            let pause = backoff(attempt, random);
            prop_assert!(pause >= SignedDuration::ZERO && pause <= backoff_span(attempt));
            prop_assert_eq!(backoff(attempt, 0), SignedDuration::ZERO);
            prop_assert_eq!(backoff(attempt, u64::MAX), backoff_span(attempt));
            // A larger draw is never a shorter pause: the whole span is reached, evenly.
            prop_assert!(backoff(attempt, random / 2) <= pause);
        }

        // proves OPS-3
        #[test]
        fn a_job_that_keeps_failing_ends(ends in proptest::collection::vec(ended(), 1..60), max in 1_u32..20, random: u64) {
            let mut attempt = 0;
            for end in ends {
                attempt += 1;
                match next(end, attempt, max, false, random) {
                    Next::Again { after, counts } => {
                        prop_assert!(after >= SignedDuration::ZERO && after <= BACKOFF_MAX);
                        prop_assert!(attempt < max || !counts, "no more attempts than allowed");
                        attempt -= u32::from(!counts);
                    }
                    Next::Finished(state) => {
                        prop_assert!(state.is_finished());
                        return Ok(());
                    }
                }
            }
        }

        // proves OPS-3
        #[test]
        fn what_was_cancelled_never_comes_back(end in ended(), attempt in 1_u32..20, max in 1_u32..20, random: u64) {
            let expected = if end == Ended::Done { JobState::Done } else { JobState::Cancelled };
            prop_assert_eq!(next(end, attempt, max, true, random), Next::Finished(expected));
        }
    }
}
