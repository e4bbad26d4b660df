//! When a window opens and closes: the one place where instants of two clocks meet.
//!
//! A host stamps its reports by its own clock; the server has its own. What they disagree about is never billed:
//!
//! - The meter opens at the host's instant, and never before the server asked for the start or before the last window
//!   ended. A host that says so has a clock that is wrong, and the server's instant counts.
//! - It closes at the host's instant. One in the server's future, or before the window opened, is of a wrong clock:
//!   then the last heartbeat is the last proof, by the server's clock.
//! - An end that nobody saw is put at the last proof; what lies between it and the instant at which that was found is
//!   said to be unproven.
//!
//! [`Meter`] decides, in the transaction of whoever calls; the server writes down what it answers.

use crate::runtime::{MeterEffect, Observed, ObservedPhase, Runtime, RuntimeState, WakeOutcome};
use jiff::{SignedDuration, Timestamp};

/// What two clocks that are kept right may differ by.
pub const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(1);

/// A runtime and what is known about its windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meter {
    /// The runtime; it says whether a window is open.
    pub runtime: Runtime,
    /// When the open window opened.
    pub opened_at: Option<Timestamp>,
    /// The last heartbeat that proved a process of it to run, by the server's clock.
    pub last_proof: Option<Timestamp>,
    /// When the start was asked for before which nothing of it can have run, by the server's clock.
    pub start_asked: Option<Timestamp>,
    /// When the last window closed.
    pub metered_until: Option<Timestamp>,
}

/// Who knows what is seen, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// The host that runs it, by its own clock.
    Host {
        /// When it saw it.
        at: Timestamp,
        /// When it did not see the end: its last proof that it ran.
        last_proof: Option<Timestamp>,
    },
    /// Nobody but the server, which concludes it now.
    Server,
}

/// What is seen of a runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// The generation obeyed.
    pub generation: u64,
    /// The phase.
    pub phase: ObservedPhase,
    /// Whether a runtime process exists.
    pub process_runs: bool,
    /// Whether the start of this generation was not answered yet.
    pub start_waits: bool,
    /// Who saw it.
    pub witness: Witness,
}

/// The end of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// When it opened.
    pub opened_at: Timestamp,
    /// When it ends; never before.
    pub at: Timestamp,
    /// Seconds that could not be proven and are not billed.
    pub unproven_seconds: u64,
}

/// What a sight leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What it changes of the runtime.
    pub observed: Observed,
    /// A window opens then.
    pub opens: Option<Timestamp>,
    /// The open window ends.
    pub closes: Option<Closing>,
}

impl Meter {
    /// [`Runtime::wake`], at an instant of the server's.
    pub fn wake(&mut self, now: Timestamp) -> WakeOutcome {
        // What sleeps for certain runs nothing from before this wake. Of what is on its way down, or up, an earlier start
        // may still be reported; what is blocked may have gone on by itself.
        let sleeps = matches!(self.runtime.state, RuntimeState::Asleep | RuntimeState::Frozen);
        let outcome = self.runtime.wake();
        if outcome != WakeOutcome::Already && sleeps && self.opened_at.is_none() {
            self.start_asked = Some(now);
        }
        outcome
    }

    /// [`Runtime::observe`], and when a window opens or closes for it.
    pub fn observe(&mut self, sight: &Sight, now: Timestamp) -> Step {
        let observed = self.runtime.observe(sight.generation, sight.phase, sight.process_runs, sight.start_waits);
        let (mut opens, mut closes) = (None, None);
        match observed.meter {
            MeterEffect::None => {}
            MeterEffect::OpenWindow => {
                let at = self.opening(sight.witness, now);
                self.opened_at = Some(at);
                self.runtime.session_open = true;
                opens = Some(at);
            }
            MeterEffect::CloseWindow => {
                closes = self.opened_at.map(|opened| self.closing(opened, sight.witness, now));
                self.close(closes);
            }
        }
        Step { observed, opens, closes }
    }

    /// The last instant at which the open window is proven to have run.
    pub fn proven_until(&self) -> Option<Timestamp> {
        self.opened_at.map(|opened| self.last_proof.map_or(opened, |proof| proof.max(opened)))
    }

    /// Closes the window of a runtime whose host is lost: nobody has proven it to run since.
    pub fn lose(&mut self, now: Timestamp) -> Option<Closing> {
        let closing = self.opened_at.map(|opened| self.closing(opened, Witness::Server, now));
        self.runtime.window_open = false;
        self.close(closing);
        closing
    }

    fn close(&mut self, closing: Option<Closing>) {
        if let Some(closing) = closing {
            self.metered_until = self.metered_until.max(Some(closing.at));
        }
        self.opened_at = None;
    }

    fn opening(&self, witness: Witness, now: Timestamp) -> Timestamp {
        let earliest = self.start_asked.max(self.metered_until).unwrap_or(Timestamp::MIN);
        let at = match witness {
            Witness::Host { at, .. } if at >= earliest => at.min(now),
            Witness::Host { at, .. } if may_be_same(earliest, at) => earliest.min(now),
            Witness::Host { .. } | Witness::Server => now,
        };
        self.metered_until.map_or(at, |until| at.max(until))
    }

    fn closing(&self, opened: Timestamp, witness: Witness, now: Timestamp) -> Closing {
        let heartbeat = self.last_proof.map_or(opened, |proof| proof.max(opened));
        let (end, until) = match witness {
            Witness::Server => (heartbeat, now),
            Witness::Host { at, .. } if at > now && !may_be_same(at, now) => (heartbeat, now),
            Witness::Host { at, .. } if at < opened && !may_be_same(opened, at) => (heartbeat, now),
            // The end was seen. A heartbeat after it tells of a clock that was put back: so much is not billed.
            Witness::Host { at, last_proof: None } => {
                (at, self.last_proof.filter(|proof| *proof > at && !may_be_same(*proof, at)).unwrap_or(at))
            }
            Witness::Host { at, last_proof: Some(proof) } if proof >= opened && proof <= at => (proof, at),
            // It ended before the host noted that it ran, or the host noted it by a clock that was wrong then.
            Witness::Host { at, last_proof: Some(_) } => (heartbeat.min(at), at),
        };
        let end = end.min(now).max(opened);
        Closing { opened_at: opened, at: end, unproven_seconds: seconds(end, until.min(now)) }
    }
}

/// Whether two instants of different clocks may be the same.
fn may_be_same(later: Timestamp, earlier: Timestamp) -> bool {
    later.duration_since(earlier) <= CLOCKS_DIFFER
}

fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0)
}

// The rest is proven by `tests/meter.rs`.
#[cfg(test)]
mod tests {
    use super::*;

    fn instant(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("within the calendar")
    }

    // proves COST-4
    #[test]
    fn a_proof_that_can_not_be_is_none() {
        let [opened, heartbeat, at, now] = [0, 10, 60, 61].map(instant);
        let running = Meter { opened_at: Some(opened), last_proof: Some(heartbeat), ..Meter::default() };
        let closed = |last_proof: Option<i64>| {
            let last_proof = last_proof.map(instant);
            let closing = running.closing(opened, Witness::Host { at, last_proof }, now);
            (closing.at.as_second(), closing.unproven_seconds)
        };
        assert_eq!(closed(None), (60, 0), "it was seen");
        assert_eq!(closed(Some(40)), (40, 20));
        assert_eq!(closed(Some(3_600)), (10, 50), "no proof is of after its own report");
        assert_eq!(closed(Some(-3_600)), (10, 50), "nor of before the window opened");
    }
}
