//! When a runtime sleeps by itself, and why it is still awake.
//!
//! A pure function of observed facts and policy that returns its reason; `why awake` prints exactly that value.
//! What counts is work, not connections: requests in flight, realtime bytes, jobs, service CPU. A browser tab
//! left open with an idle socket keeps nothing awake.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// CPU share of one core, in thousandths, below which services count as idle.
pub const IDLE_MILLI_CPU: u64 = 50;

/// When to sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdlePolicy {
    /// Idle time before the runtime is frozen.
    pub freeze_after: SignedDuration,
    /// Frozen time before it is stopped.
    pub stop_after: SignedDuration,
}

/// What was observed of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleFacts {
    /// Requests the gateways have open, realtime excluded.
    pub requests_in_flight: u32,
    /// Jobs and tests running.
    pub jobs_running: u32,
    /// CPU the services use now, in thousandths of a core.
    pub service_milli_cpu: u64,
    /// Last time any of the above, a request's end or realtime bytes were seen.
    pub last_activity: Timestamp,
}

/// Why it stays awake, or how long still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum IdleVerdict {
    /// Something works.
    Busy {
        /// What holds it, in words.
        reason: String,
    },
    /// Nothing works; it sleeps at the instant given unless something starts.
    Idle {
        /// When it will sleep.
        #[schema(value_type = String)]
        sleeps_at: Timestamp,
    },
    /// It should sleep now.
    Sleep {
        /// Why, in words.
        reason: String,
    },
}

/// Decides about an awake runtime.
pub fn decide(facts: &IdleFacts, policy: &IdlePolicy, now: Timestamp) -> IdleVerdict {
    if facts.jobs_running > 0 {
        return IdleVerdict::Busy { reason: format!("{} running", count(facts.jobs_running, "job")) };
    }
    if facts.requests_in_flight > 0 {
        return IdleVerdict::Busy { reason: format!("{} in flight", count(facts.requests_in_flight, "request")) };
    }
    if facts.service_milli_cpu > IDLE_MILLI_CPU {
        return IdleVerdict::Busy { reason: format!("services use {} % of a core", facts.service_milli_cpu / 10) };
    }
    let sleeps_at = facts.last_activity.saturating_add(policy.freeze_after).unwrap_or(Timestamp::MAX);
    if sleeps_at > now {
        return IdleVerdict::Idle { sleeps_at };
    }
    IdleVerdict::Sleep { reason: format!("idle for {} s", now.duration_since(facts.last_activity).as_secs()) }
}

fn count(n: u32, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    // proves RUN-4
    #[test]
    fn work_holds_it_awake_and_silence_lets_it_sleep() {
        let policy =
            IdlePolicy { freeze_after: SignedDuration::from_secs(60), stop_after: SignedDuration::from_secs(600) };
        let quiet = IdleFacts { requests_in_flight: 0, jobs_running: 0, service_milli_cpu: 3, last_activity: at(100) };
        assert_eq!(decide(&quiet, &policy, at(159)), IdleVerdict::Idle { sleeps_at: at(160) });
        assert_eq!(decide(&quiet, &policy, at(160)), IdleVerdict::Sleep { reason: "idle for 60 s".to_owned() });
        let job = IdleFacts { jobs_running: 1, ..quiet };
        assert_eq!(decide(&job, &policy, at(999)), IdleVerdict::Busy { reason: "1 job running".to_owned() });
    }
}
