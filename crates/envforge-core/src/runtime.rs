//! The life of a runtime: events in, effects out.
//!
//! ```text
//!              wake                    host: answers
//!   asleep ───────────► waking ─────────────────────► awake ──┐
//!     ▲  ▲                │  ▲                          │  ▲   │ host: frozen
//!     │  │   host: gone   │  │ wake                     │  │   ▼
//!     │  └────────────────┘  └── frozen ◄───────────────┘  └─ frozen ── wake ─► waking
//!     │                            │ stop
//!     └───────── stopping ◄────────┘        any ──► blocked(cause, fix) ── wake ─► waking
//!
//!   waking, awake or frozen ── host: gone, its command carried out ─► asleep
//! ```
//!
//! Intent and observation are separate. [`Runtime::wake`] and [`Runtime::sleep`] change the *intent*, raise the
//! generation and return the command to send; [`Runtime::observe`] takes what the host reports and returns what the
//! meter must do. A report of an older generation changes nothing but the meter's evidence. What ends by itself (its
//! init died, the machine was restarted) is asleep and meant to be: only a new wake starts it again. Only the server
//! calls these, in the transaction that writes the result.
//!
//! Public names are `asleep`, `waking`, `awake`, `blocked`; frozen counts as asleep, stopping as awake until the
//! host says otherwise.

use crate::readiness::ReadinessState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeIntent {
    /// Processes run.
    Awake,
    /// Processes are paused, connections stay.
    Frozen,
    /// Nothing runs.
    Asleep,
}

/// What is, as far as the server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeState {
    /// Nothing runs.
    Asleep,
    /// On its way up.
    Waking,
    /// Services answer.
    Awake,
    /// Paused; a wake is a thaw.
    Frozen,
    /// On its way down.
    Stopping,
    /// Can't run; the cause and fix are beside it.
    Blocked,
}

impl RuntimeState {
    /// The name in storage and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asleep => "asleep",
            Self::Waking => "waking",
            Self::Awake => "awake",
            Self::Frozen => "frozen",
            Self::Stopping => "stopping",
            Self::Blocked => "blocked",
        }
    }

    /// Reads the storage name back.
    pub fn from_storage(text: &str) -> Option<Self> {
        [Self::Asleep, Self::Waking, Self::Awake, Self::Frozen, Self::Stopping, Self::Blocked]
            .into_iter()
            .find(|state| state.as_str() == text)
    }

    /// The public word for it.
    pub const fn readiness(self) -> ReadinessState {
        match self {
            Self::Asleep | Self::Frozen | Self::Stopping => ReadinessState::Asleep,
            Self::Waking => ReadinessState::Waking,
            Self::Awake => ReadinessState::Ready,
            Self::Blocked => ReadinessState::Blocked,
        }
    }
}

impl RuntimeIntent {
    /// The name in storage and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Awake => "awake",
            Self::Frozen => "frozen",
            Self::Asleep => "asleep",
        }
    }

    /// Reads the storage name back.
    pub fn from_storage(text: &str) -> Option<Self> {
        [Self::Awake, Self::Frozen, Self::Asleep].into_iter().find(|intent| intent.as_str() == text)
    }
}

/// What a host reports of a runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ObservedPhase {
    /// Nothing runs.
    Absent,
    /// Processes run, not every service has settled.
    Starting,
    /// Every service is ready or blocked, at least one is ready.
    Up,
    /// Paused.
    Frozen,
    /// Ending.
    Stopping,
    /// No service can run: all are blocked, or the runtime could not start.
    Blocked,
}

impl ObservedPhase {
    /// Whether a second in this phase is metered, given that at least one runtime process runs.
    pub const fn is_metered(self) -> bool {
        matches!(self, Self::Starting | Self::Up | Self::Stopping)
    }
}

/// A runtime as the server stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runtime {
    /// What should be.
    pub intent: RuntimeIntent,
    /// What is.
    pub state: RuntimeState,
    /// Raised by every change of intent; commands and reports carry it.
    pub generation: u64,
    /// Whether an awake window is open.
    pub window_open: bool,
    /// Whether a usage session is open.
    pub session_open: bool,
}

/// The command a change of intent sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeOrder {
    /// `START_RUNTIME`, which thaws what is frozen.
    Start,
    /// `FREEZE_RUNTIME`.
    Freeze,
    /// `STOP_RUNTIME`.
    Stop,
}

/// How deep to sleep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SleepTier {
    /// Pause the processes; connections survive, a wake takes milliseconds.
    #[default]
    Frozen,
    /// End the processes; frees all memory.
    Stopped,
}

/// What a wake leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeOutcome {
    /// It is awake or on its way; one wake serves many waiters.
    Already,
    /// Send `START_RUNTIME` with the new generation.
    Start {
        /// The runtime was frozen, so this is a thaw.
        thaw: bool,
        /// A new usage session begins.
        new_session: bool,
    },
}

/// What the meter must do after a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeterEffect {
    /// Nothing changes.
    None,
    /// Open a window.
    OpenWindow,
    /// Close the open window.
    CloseWindow,
}

/// What a report leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// Open or close a window.
    pub meter: MeterEffect,
    /// The usage session ends: the runtime is fully asleep.
    pub session_ends: bool,
    /// The state changed.
    pub changed: bool,
}

impl Runtime {
    /// A runtime that never ran.
    pub const fn new() -> Self {
        Self {
            intent: RuntimeIntent::Asleep,
            state: RuntimeState::Asleep,
            generation: 0,
            window_open: false,
            session_open: false,
        }
    }

    /// Somebody allowed to wakes it. Caps and capacity are checked by the caller in the same transaction, only
    /// when this answers [`WakeOutcome::Start`].
    pub fn wake(&mut self) -> WakeOutcome {
        if self.intent == RuntimeIntent::Awake && matches!(self.state, RuntimeState::Waking | RuntimeState::Awake) {
            return WakeOutcome::Already;
        }
        let thaw = self.state == RuntimeState::Frozen;
        let new_session = !self.session_open;
        self.intent = RuntimeIntent::Awake;
        self.state = RuntimeState::Waking;
        self.generation += 1;
        self.session_open = true;
        WakeOutcome::Start { thaw, new_session }
    }

    /// Somebody, or the idle rule, puts it to sleep. `None` when it sleeps at least that deep already.
    pub fn sleep(&mut self, tier: SleepTier) -> Option<RuntimeOrder> {
        let (intent, order) = match tier {
            SleepTier::Frozen => (RuntimeIntent::Frozen, RuntimeOrder::Freeze),
            SleepTier::Stopped => (RuntimeIntent::Asleep, RuntimeOrder::Stop),
        };
        if self.intent == RuntimeIntent::Asleep || self.intent == intent {
            return None;
        }
        self.intent = intent;
        self.generation += 1;
        self.state = RuntimeState::Stopping;
        Some(order)
    }

    /// The host reported `phase` while obeying `generation`; `process_runs` says that a runtime process exists, and
    /// `start_waits` that the `START_RUNTIME` of this generation was not answered yet.
    ///
    /// A report of an older generation tells the truth about processes, so the meter listens to it, but it does not
    /// move the state: the newer command is still on its way.
    pub fn observe(
        &mut self,
        generation: u64,
        phase: ObservedPhase,
        process_runs: bool,
        start_waits: bool,
    ) -> Observed {
        let metered = phase.is_metered() && process_runs;
        let meter = match (metered, self.window_open) {
            (true, false) => MeterEffect::OpenWindow,
            (false, true) => MeterEffect::CloseWindow,
            _ => MeterEffect::None,
        };
        self.window_open = metered;
        let before = self.state;
        if generation == self.generation {
            // Gone although it was started, or frozen: it ended by itself, and nobody has asked for it since.
            if phase == ObservedPhase::Absent && !(self.intent == RuntimeIntent::Awake && start_waits) {
                self.intent = RuntimeIntent::Asleep;
            }
            self.state = match (self.intent, phase) {
                (_, ObservedPhase::Blocked) => RuntimeState::Blocked,
                (RuntimeIntent::Awake, ObservedPhase::Starting) => {
                    if before == RuntimeState::Awake {
                        RuntimeState::Awake
                    } else {
                        RuntimeState::Waking
                    }
                }
                (RuntimeIntent::Awake, ObservedPhase::Up) => RuntimeState::Awake,
                // Seen absent, frozen or ending: the command is not carried out yet.
                (RuntimeIntent::Awake, _) => RuntimeState::Waking,
                (_, ObservedPhase::Frozen) => RuntimeState::Frozen,
                (_, ObservedPhase::Absent) => RuntimeState::Asleep,
                (_, ObservedPhase::Starting | ObservedPhase::Up | ObservedPhase::Stopping) => RuntimeState::Stopping,
            };
        }
        let session_ends = self.session_open
            && !self.window_open
            && generation == self.generation
            && self.intent == RuntimeIntent::Asleep
            && self.state == RuntimeState::Asleep;
        if session_ends {
            self.session_open = false;
        }
        Observed { meter, session_ends, changed: before != self.state }
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // proves RUN-3
    #[test]
    fn many_wakes_are_one() {
        let mut runtime = Runtime::new();
        assert_eq!(runtime.wake(), WakeOutcome::Start { thaw: false, new_session: true });
        assert_eq!(runtime.wake(), WakeOutcome::Already);
        runtime.observe(1, ObservedPhase::Up, true, false);
        assert_eq!(runtime.wake(), WakeOutcome::Already);
        assert_eq!(runtime.generation, 1);
    }

    // proves COST-1
    #[test]
    fn a_freeze_and_thaw_makes_a_new_window_and_keeps_the_session() {
        let mut runtime = Runtime::new();
        runtime.wake();
        assert_eq!(
            runtime.observe(1, ObservedPhase::Starting, false, false).meter,
            MeterEffect::None,
            "waking before a process runs is free"
        );
        assert_eq!(runtime.observe(1, ObservedPhase::Starting, true, false).meter, MeterEffect::OpenWindow);
        assert_eq!(runtime.observe(1, ObservedPhase::Up, true, false).meter, MeterEffect::None);
        assert_eq!(runtime.sleep(SleepTier::Frozen), Some(RuntimeOrder::Freeze));
        let frozen = runtime.observe(2, ObservedPhase::Frozen, true, false);
        assert_eq!((frozen.meter, frozen.session_ends), (MeterEffect::CloseWindow, false));
        assert_eq!(runtime.wake(), WakeOutcome::Start { thaw: true, new_session: false });
        assert_eq!(runtime.observe(3, ObservedPhase::Up, true, false).meter, MeterEffect::OpenWindow);
        runtime.sleep(SleepTier::Stopped);
        let gone = runtime.observe(4, ObservedPhase::Absent, false, false);
        assert_eq!((gone.meter, gone.session_ends), (MeterEffect::CloseWindow, true));
    }

    #[test]
    fn an_older_report_moves_the_meter_but_not_the_state() {
        let mut runtime = Runtime::new();
        runtime.wake();
        runtime.observe(1, ObservedPhase::Up, true, false);
        runtime.sleep(SleepTier::Frozen);
        let late = runtime.observe(1, ObservedPhase::Up, true, false);
        assert_eq!((late.changed, late.meter), (false, MeterEffect::None));
        assert_eq!(runtime.state, RuntimeState::Stopping);
    }

    // proves RUN-3 COST-1
    #[test]
    fn what_ends_by_itself_is_asleep_and_can_be_woken_again() {
        for frozen in [false, true] {
            let mut runtime = Runtime::new();
            runtime.wake();
            runtime.observe(1, ObservedPhase::Up, true, false);
            if frozen {
                runtime.sleep(SleepTier::Frozen);
                runtime.observe(2, ObservedPhase::Frozen, true, false);
            }
            let gone = runtime.observe(runtime.generation, ObservedPhase::Absent, false, false);
            assert!(gone.session_ends, "frozen: {frozen}");
            assert_eq!((runtime.intent, runtime.state), (RuntimeIntent::Asleep, RuntimeState::Asleep));
            assert_eq!(runtime.wake(), WakeOutcome::Start { thaw: false, new_session: true });
        }
    }

    #[test]
    fn a_start_on_its_way_is_not_an_end() {
        let mut runtime = Runtime::new();
        runtime.wake();
        let early = runtime.observe(1, ObservedPhase::Absent, false, true);
        assert!(!early.session_ends);
        assert_eq!((runtime.intent, runtime.state), (RuntimeIntent::Awake, RuntimeState::Waking));
        runtime.observe(1, ObservedPhase::Absent, false, false);
        assert_eq!(runtime.state, RuntimeState::Asleep, "it was begun, and ended before it was up");
    }

    #[test]
    fn frozen_can_still_be_stopped_and_asleep_needs_nothing() {
        let mut runtime = Runtime::new();
        assert_eq!(runtime.sleep(SleepTier::Stopped), None);
        runtime.wake();
        runtime.sleep(SleepTier::Frozen);
        runtime.observe(2, ObservedPhase::Frozen, true, false);
        assert_eq!(runtime.sleep(SleepTier::Frozen), None);
        assert_eq!(runtime.sleep(SleepTier::Stopped), Some(RuntimeOrder::Stop));
    }

    fn phase() -> impl Strategy<Value = ObservedPhase> {
        prop_oneof![
            Just(ObservedPhase::Absent),
            Just(ObservedPhase::Starting),
            Just(ObservedPhase::Up),
            Just(ObservedPhase::Frozen),
            Just(ObservedPhase::Stopping),
            Just(ObservedPhase::Blocked),
        ]
    }

    proptest! {
        // proves COST-1
        #[test]
        fn windows_open_and_close_in_turn(steps in prop::collection::vec((0_u8..4, phase(), any::<bool>(), any::<bool>(), 0_u64..3), 0..60)) {
            let mut runtime = Runtime::new();
            let mut open = false;
            for (what, phase, runs, waits, behind) in steps {
                match what {
                    0 => { runtime.wake(); }
                    1 => { runtime.sleep(SleepTier::Frozen); }
                    2 => { runtime.sleep(SleepTier::Stopped); }
                    _ => {
                        let generation = runtime.generation.saturating_sub(behind);
                        let seen = runtime.observe(generation, phase, runs, waits);
                        match seen.meter {
                            MeterEffect::OpenWindow => { prop_assert!(!open); open = true; }
                            MeterEffect::CloseWindow => { prop_assert!(open); open = false; }
                            MeterEffect::None => {}
                        }
                        if seen.session_ends { prop_assert!(!open, "a session never ends under an open window"); }
                        if generation == runtime.generation && phase == ObservedPhase::Absent && !waits {
                            prop_assert_eq!((runtime.intent, runtime.state), (RuntimeIntent::Asleep, RuntimeState::Asleep));
                            prop_assert!(!runtime.session_open, "what is gone has no session left");
                            let mut woken = runtime;
                            prop_assert_ne!(woken.wake(), WakeOutcome::Already);
                        }
                    }
                }
                prop_assert_eq!(open, runtime.window_open);
            }
        }
    }
}
