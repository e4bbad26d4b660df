//! The host: what runs there, and what its daemon tells of it.

use super::*;

impl Story {
    pub(super) fn host_now(&self) -> i64 {
        self.now + self.host.ahead
    }

    pub(super) fn is_metered(&self) -> bool {
        self.host.runs && self.host.phase.is_metered()
    }

    /// What runs changed: the truth is written down, and reported if somebody is there to.
    pub(super) fn becomes(&mut self, phase: ObservedPhase, runs: bool, answers_start: bool) {
        self.host.phase = phase;
        self.host.runs = runs;
        match (self.since, self.is_metered()) {
            (None, true) => self.since = Some(self.now),
            (Some(from), false) => {
                self.truth.push((from, self.now));
                self.since = None;
            }
            _ => {}
        }
        if self.host.daemon {
            self.tell(None, answers_start);
        }
    }

    pub(super) fn tell(&mut self, proof: Option<(i64, i64)>, answers_start: bool) {
        self.host.sequence += 1;
        let told = Told {
            sequence: self.host.sequence,
            generation: self.host.generation,
            phase: self.host.phase,
            runs: self.host.runs,
            at: self.host_now(),
            last_proof: proof.map(|(at, _)| at),
            made: self.now,
            ahead: self.host.ahead,
            proof_ahead: proof.map_or(0, |(_, ahead)| ahead),
            answers_start,
        };
        say!(self, "host: {told:?}");
        self.host.last = Some(told);
        self.host.waiting.push_back(told);
    }

    pub(super) fn obey(&mut self) {
        let Some((generation, order)) = self.host.order.take() else { return };
        self.host.generation = generation;
        let exists = self.host.phase != ObservedPhase::Absent;
        match order {
            Order::Start if self.host.phase == ObservedPhase::Frozen => {
                self.host.gone_at = None;
                self.becomes(ObservedPhase::Up, self.host.runs, true);
            }
            Order::Start if exists && self.host.gone_at.is_none() => self.tell(None, true),
            Order::Start => {
                if exists {
                    self.becomes(ObservedPhase::Absent, false, false);
                }
                self.host.gone_at = None;
                self.host.ready_at = Some(self.now + 50 + self.random.below(3_000));
                self.becomes(ObservedPhase::Starting, false, true);
            }
            Order::Freeze if exists => {
                self.host.ready_at = None;
                self.becomes(ObservedPhase::Frozen, self.host.runs, false);
            }
            Order::Stop if exists => {
                self.host.ready_at = None;
                self.host.gone_at = Some(self.now + self.random.below(4_000));
                self.becomes(ObservedPhase::Stopping, self.host.runs, false);
            }
            Order::Freeze | Order::Stop => self.becomes(ObservedPhase::Absent, false, false),
        }
    }

    /// Passes of the processes themselves.
    pub(super) fn run_host(&mut self) {
        if !self.host.up {
            return;
        }
        if self.host.gone_at.is_some_and(|at| at <= self.now) {
            self.host.gone_at = None;
            self.becomes(ObservedPhase::Absent, false, false);
        }
        if self.host.ready_at.is_some_and(|at| at <= self.now) && self.host.daemon {
            if self.host.runs {
                self.host.ready_at = None;
                let phase = if self.random.one_in(12) { ObservedPhase::Blocked } else { ObservedPhase::Up };
                self.becomes(phase, true, false);
            } else {
                self.host.ready_at = Some(self.now + self.random.below(2_000));
                self.becomes(ObservedPhase::Starting, true, false);
            }
        }
    }

    /// What a daemon that comes back finds.
    pub(super) fn take_up(&mut self) {
        self.host.daemon = true;
        let last = self.host.last;
        let told_metered = last.is_some_and(|last| last.runs && last.phase.is_metered());
        if self.host.phase == ObservedPhase::Absent {
            if last.is_some_and(|last| last.phase != ObservedPhase::Absent) {
                let told = last.map(|last| (last.at, last.ahead));
                let proof = if told_metered { self.host.proof.max(told) } else { None };
                self.tell(proof, false);
            }
        } else {
            self.tell(None, false);
        }
    }

    pub(super) fn beat(&mut self) {
        if !self.host.daemon {
            return;
        }
        if self.is_metered() || self.host.runs && self.host.phase == ObservedPhase::Blocked {
            self.host.proof = Some((self.host_now(), self.host.ahead));
            // The stream tells in order: what waits comes first.
            self.deliver();
            if self.reaches() {
                self.meter.last_proof = Some(instant(self.now));
                let state = self.meter.runtime.state;
                if self.open.is_none() && matches!(state, RuntimeState::Awake | RuntimeState::Waking) {
                    let phase = if state == RuntimeState::Awake { ObservedPhase::Up } else { ObservedPhase::Starting };
                    let generation = self.host.generation;
                    self.observe(generation, phase, true, Witness::Server, 0);
                }
            }
        }
    }
}
