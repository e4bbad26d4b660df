//! What another policy would have made of weeks that are past.
//!
//! Decided by what was observed: minutes with work, and windows as they were metered. What can't be known is how a team would have
//! worked otherwise, so two things are assumed and told. A sleep that was not the idle rule's (somebody asked, a cap, a
//! host that was lost) would have been at the same instant. And of what came while it would have slept, requests and jobs would
//! have woken it, while work that nobody asked for would have stood still: a worker does not wake the runtime it runs in.

use super::{Activity, IdlePolicy, end_of, is_idle_sleep, minute_of};
use crate::usage::AwakeWindow;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What it would have come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replay {
    /// Seconds awake, as metered.
    pub was_awake: u64,
    /// Seconds awake by the other policy.
    pub would_be_awake: u64,
    /// Wakes there were.
    pub wakes_were: u64,
    /// Wakes there would have been.
    pub wakes_would_be: u64,
    /// Minutes of work that would have waited, because nothing that wakes came with it.
    pub minutes_put_off: u64,
}

/// Replays windows, oldest first, and the minutes of the same workspace. An open window is looked at up to `now`.
pub fn replay(
    windows: &[AwakeWindow],
    minutes: &BTreeMap<Timestamp, Activity>,
    policy: &IdlePolicy,
    now: Timestamp,
) -> Replay {
    let mut told = Replay { wakes_were: windows.len() as u64, ..Replay::default() };
    // Until when it would be awake by what came so far; nothing wakes before the first window.
    let mut awake_until = Timestamp::MIN;
    for (index, window) in windows.iter().enumerate() {
        let closed = window.closed_at.unwrap_or(now).max(window.opened_at);
        told.was_awake += window.seconds(now);
        let next = windows.get(index + 1).map_or(now, |next| next.opened_at).max(closed);
        let by_idle = window.end_cause.as_deref().is_some_and(is_idle_sleep);
        // What is awake still, or was put to sleep by the rule, could have been awake longer.
        let latest = if by_idle { next } else { closed };
        let mut since = window.opened_at;
        told.wakes_would_be += u64::from(awake_until < since);
        // Who woke it would have come all the same.
        awake_until = awake_until.max(after(since, policy)).min(latest);
        for (minute, done) in minutes.range(minute_of(window.opened_at)..closed) {
            let begun = (*minute).max(window.opened_at);
            if done.holders(policy).is_empty() {
                continue;
            }
            let worked_until = end_of(*minute).min(closed);
            if awake_until < begun {
                told.would_be_awake += seconds(since, awake_until);
                since = begun;
                if done.requests == 0 && done.jobs == 0 {
                    told.minutes_put_off += 1;
                    awake_until = begun;
                    continue;
                }
                told.wakes_would_be += 1;
            }
            awake_until = awake_until.max(after(worked_until, policy)).min(latest);
        }
        told.would_be_awake += seconds(since, awake_until);
    }
    told
}

fn after(work: Timestamp, policy: &IdlePolicy) -> Timestamp {
    work.saturating_add(SignedDuration::from_secs(policy.freeze_after.into())).unwrap_or(Timestamp::MAX)
}

fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0)
}
