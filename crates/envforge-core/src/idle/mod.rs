//! When a runtime sleeps by itself, and why it is still awake.
//!
//! A pure function of observed facts and policy that returns its reason; `why awake` prints exactly that value. What counts is
//! work, not connections: requests in flight, jobs and tests running, and what was done in the minute by processors, disk, network
//! and realtime connections. A browser tab left open with an idle socket keeps nothing awake, and neither does a service that does a
//! little all the time.
//!
//! `docs/sleep.md` has the table of cases that people read; the tests here run exactly these.
//!
//! Work is added up by minutes of the clock, so that one busy moment is not taken for work, and so that what was decided can be
//! decided again with another policy ([`replay`]).

mod limit;
mod replay;

pub use limit::{IdleLimits, IdleSource, check_idle};
pub use replay::{Replay, replay};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a sleep by the idle rule is told; windows that ended so are those another policy would have ended otherwise.
const IDLE_FOR: &str = "idle for ";

/// When to sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IdlePolicy {
    /// Seconds without work before the runtime is frozen.
    pub freeze_after: u32,
    /// Seconds frozen before it is stopped.
    pub stop_after: u32,
    /// Processor time in a minute, in milliseconds, up to which its services do nothing.
    pub cpu: u32,
    /// Bytes read from and written to disks in a minute, up to which they do nothing.
    pub disk: u64,
    /// Bytes over the workspace's network in a minute, up to which they do nothing.
    pub network: u64,
    /// Bytes over realtime connections in a minute, up to which those are silent: pings are.
    pub realtime: u64,
}

impl Default for IdlePolicy {
    /// A twentieth of a core; what logs, pings and a look at the queue every second need is far below the rest.
    fn default() -> Self {
        Self {
            freeze_after: 600,
            stop_after: 30 * 60,
            cpu: 3_000,
            disk: 16 * 1024 * 1024,
            network: 4 * 1024 * 1024,
            realtime: 8 * 1024,
        }
    }
}

/// What a runtime did in one minute of the clock (UTC), as far as was seen. Numbers only grow, so what is seen twice or late
/// makes a minute busier, never idler.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Activity {
    /// Processor time of its services, in milliseconds.
    pub cpu: u64,
    /// Bytes read from and written to disks.
    pub disk: u64,
    /// Bytes over the workspace's network, its shell's included.
    pub network: u64,
    /// Bytes over realtime connections.
    pub realtime: u64,
    /// Requests begun or ended.
    pub requests: u64,
    /// Jobs and tests, the most there were at a time.
    pub jobs: u32,
}

impl Activity {
    /// Both together.
    #[must_use]
    pub fn plus(&self, more: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_add(more.cpu),
            disk: self.disk.saturating_add(more.disk),
            network: self.network.saturating_add(more.network),
            realtime: self.realtime.saturating_add(more.realtime),
            requests: self.requests.saturating_add(more.requests),
            jobs: self.jobs.max(more.jobs),
        }
    }

    /// What of it is work, most telling first.
    pub fn holders(&self, policy: &IdlePolicy) -> Vec<Holder> {
        let found = [
            (self.jobs > 0).then_some(Holder::Jobs { running: self.jobs, names: Vec::new() }),
            (self.requests > 0).then_some(Holder::Requests { count: self.requests }),
            (self.realtime > policy.realtime).then_some(Holder::Realtime { bytes: self.realtime }),
            (self.cpu > policy.cpu.into()).then_some(Holder::Cpu { milliseconds: self.cpu }),
            (self.disk > policy.disk).then_some(Holder::Disk { bytes: self.disk }),
            (self.network > policy.network).then_some(Holder::Network { bytes: self.network }),
        ];
        found.into_iter().flatten().collect()
    }
}

/// What keeps a runtime awake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Holder {
    /// Jobs and tests run.
    Jobs {
        /// So many.
        running: u32,
        /// What they were asked for, where that is told: the first of them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        names: Vec<String>,
    },
    /// Requests are open, or came.
    Requests {
        /// So many.
        count: u64,
    },
    /// Something happens on realtime connections.
    Realtime {
        /// Bytes in the minute.
        bytes: u64,
    },
    /// Services compute.
    Cpu {
        /// Processor time in the minute, in milliseconds.
        milliseconds: u64,
    },
    /// Services read or write files.
    Disk {
        /// Bytes in the minute.
        bytes: u64,
    },
    /// Services talk to the world.
    Network {
        /// Bytes in the minute.
        bytes: u64,
    },
}

impl Holder {
    /// In words, as the end of "it stays awake:".
    pub fn say(&self) -> String {
        match self {
            Self::Jobs { running, names } if names.is_empty() => {
                format!("{} running", count((*running).into(), "job"))
            }
            Self::Jobs { running, names } => {
                let others = u64::from(*running).saturating_sub(names.len() as u64);
                let others = (others > 0).then(|| format!("{} more", count(others, "job")));
                format!("{} running", names.iter().cloned().chain(others).collect::<Vec<_>>().join(", "))
            }
            Self::Requests { count: open } => format!("{} in flight", count(*open, "request")),
            Self::Realtime { bytes } => format!("{} over realtime connections this minute", size(*bytes)),
            Self::Cpu { milliseconds } => {
                let (seconds, tenths) = (milliseconds / 1000, milliseconds % 1000 / 100);
                format!("services computed {seconds}.{tenths} s this minute")
            }
            Self::Disk { bytes } => format!("services read and wrote {} this minute", size(*bytes)),
            Self::Network { bytes } => format!("{} over the network this minute", size(*bytes)),
        }
    }
}

/// What was observed of a runtime that is awake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleFacts {
    /// Requests the gateways have open, realtime excluded.
    pub requests_in_flight: u32,
    /// Jobs and tests running.
    pub jobs_running: u32,
    /// What was done in the minute that began at the instant beside it, and is not in `last_work` yet.
    pub minute: (Timestamp, Activity),
    /// Last time work was seen, or when it woke.
    pub last_work: Timestamp,
}

/// Why it stays awake, or how long still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum IdleVerdict {
    /// Something works.
    Busy {
        /// What holds it, in words.
        reason: String,
        /// All that holds it, most telling first. Empty from a server that does not tell.
        #[serde(default)]
        holders: Vec<Holder>,
        /// When it will sleep at the earliest: if all of it ends now. Absent from a server that does not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        earliest: Option<Timestamp>,
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
    let (begun, minute) = &facts.minute;
    let is_of_now = now.duration_since(*begun) < MINUTE;
    let open = Activity { jobs: facts.jobs_running, requests: facts.requests_in_flight.into(), ..Activity::default() };
    // Requests that ended are in `last_work`, to the second.
    let done = Activity { requests: 0, jobs: 0, ..*minute };
    let now_done = if is_of_now { open.plus(&done) } else { open };
    let holders = now_done.holders(policy);
    let worked = worked_until(facts, policy).map_or(facts.last_work, |until| until.max(facts.last_work));
    let after = SignedDuration::from_secs(policy.freeze_after.into());
    let sleeps_after = |worked: Timestamp| worked.saturating_add(after).unwrap_or(Timestamp::MAX);
    if !holders.is_empty() {
        let is_open = facts.jobs_running > 0 || facts.requests_in_flight > 0;
        let earliest = Some(sleeps_after(if is_open { worked.max(now) } else { worked }));
        return IdleVerdict::Busy { reason: say(&holders), holders, earliest };
    }
    let sleeps_at = sleeps_after(worked);
    if sleeps_at > now {
        return IdleVerdict::Idle { sleeps_at };
    }
    IdleVerdict::Sleep { reason: format!("{IDLE_FOR}{} s", now.duration_since(worked).as_secs()) }
}

impl IdleVerdict {
    /// The same with the jobs that run named, as they were asked for.
    #[must_use]
    pub fn with_jobs(self, jobs: &[String]) -> Self {
        let Self::Busy { mut holders, earliest, .. } = self else { return self };
        for holder in &mut holders {
            if let Holder::Jobs { names, .. } = holder {
                jobs.clone_into(names);
            }
        }
        Self::Busy { reason: say(&holders), holders, earliest }
    }
}

fn say(holders: &[Holder]) -> String {
    holders.iter().map(Holder::say).collect::<Vec<_>>().join(", ")
}

/// Until when the minute that was seen last counts as work; none if it had none.
pub fn worked_until(facts: &IdleFacts, policy: &IdlePolicy) -> Option<Timestamp> {
    let (begun, minute) = &facts.minute;
    let done = Activity { requests: 0, jobs: 0, ..*minute };
    (!done.holders(policy).is_empty()).then(|| end_of(*begun))
}

/// Whether a sleep that was told so was the idle rule's.
pub fn is_idle_sleep(reason: &str) -> bool {
    reason.starts_with(IDLE_FOR)
}

/// The minute of the clock an instant is in.
pub fn minute_of(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second().div_euclid(60) * 60).unwrap_or(at)
}

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn end_of(minute: Timestamp) -> Timestamp {
    minute.saturating_add(MINUTE).unwrap_or(Timestamp::MAX)
}

fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Bytes as people read them, in powers of 1024, rounded down to a tenth.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scale = 1_u64;
    while unit + 1 < units.len() && bytes / scale >= 1024 {
        (unit, scale) = (unit + 1, scale * 1024);
    }
    let tenths = (bytes % scale) * 10 / scale;
    if unit == 0 { format!("{bytes} B") } else { format!("{}.{tenths} {}", bytes / scale, units[unit]) }
}

#[cfg(test)]
mod tests;
