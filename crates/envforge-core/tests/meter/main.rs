//! The meter against a model of everything around it: a host that runs processes, dies and comes back, a connection
//! that breaks and repeats, a server that is away. The model knows each millisecond in which a process truly ran; what is
//! billed must be among them.
//!
//! `./dev soak --meter` runs many more of these sequences than CI; a seed that failed is told, with what happened.

use envforge_core::id::{Id, UsageSessionId, WindowId};
use envforge_core::runtime::{ObservedPhase, RuntimeIntent, RuntimeState, SleepTier, WakeOutcome};
use envforge_core::size::Size;
use envforge_core::usage::meter::{Closing, Meter, Sight, Witness};
use envforge_core::usage::{AwakeWindow, WindowFact, fold};
use jiff::Timestamp;
use std::collections::VecDeque;
use std::fmt::Write as _;
use uuid::Uuid;

const BEAT: i64 = 2_000;
const LOOK: i64 = 1_000;
const LOST_AFTER: i64 = 20_000;
/// Where the server's clock starts.
const BEGIN: i64 = 1_700_000_000_000;
const SECOND: i64 = 1_000;

fn instant(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).expect("within the calendar")
}

fn ms(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// Splitmix: the same seed is the same story.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: i64) -> i64 {
        (self.next() % end.unsigned_abs()).cast_signed()
    }

    fn one_in(&mut self, many: i64) -> bool {
        self.below(many) == 0
    }
}

#[derive(Debug, Clone, Copy)]
struct Told {
    sequence: u64,
    generation: u64,
    phase: ObservedPhase,
    runs: bool,
    at: i64,
    last_proof: Option<i64>,
    /// When it was made, and how far the host's clock was ahead: known to the model alone.
    made: i64,
    ahead: i64,
    /// The same when the last proof was noted.
    proof_ahead: i64,
    answers_start: bool,
}

/// What may go wrong in a story.
#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    connection: bool,
    server: bool,
    daemon: bool,
    machine: bool,
    clock: bool,
}

struct Host {
    /// Machine and daemon.
    up: bool,
    daemon: bool,
    ahead: i64,
    generation: u64,
    phase: ObservedPhase,
    runs: bool,
    ready_at: Option<i64>,
    gone_at: Option<i64>,
    /// The last proof, and how far the clock was ahead then.
    proof: Option<(i64, i64)>,
    last: Option<Told>,
    sequence: u64,
    waiting: VecDeque<Told>,
    order: Option<(u64, Order)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Start,
    Freeze,
    Stop,
}

/// A window as the server closed or still holds it, and what the model knows of it.
#[derive(Debug, Clone, Copy)]
struct Metered {
    id: WindowId,
    opened: i64,
    /// By how much clocks that were wrong can have made it too long.
    excuse: i64,
}

struct Story {
    now: i64,
    random: Random,
    faults: Faults,
    host: Host,
    connected: bool,
    /// Since when the server is there.
    server: Option<i64>,
    meter: Meter,
    sequence: u64,
    absent: bool,
    start_waits: bool,
    destroyed: bool,
    open: Option<Metered>,
    done: Vec<(Metered, i64, u64)>,
    facts: Vec<WindowFact>,
    /// Milliseconds that truly ran, as `[from, to)`.
    truth: Vec<(i64, i64)>,
    since: Option<i64>,
    deaths: i64,
    lost: bool,
    unhealthy: bool,
    next_id: u128,
    /// What happened, when somebody wants to know.
    log: Option<String>,
}

macro_rules! say {
    ($story:expr, $($what:tt)*) => {
        if let Some(log) = &mut $story.log {
            let _ = write!(log, "\n{:>8} ", $story.now - BEGIN);
            let _ = write!(log, $($what)*);
        }
    };
}

// They use the macro above.
mod check;
mod host;

impl Story {
    fn new(seed: u64, told: bool) -> Self {
        let mut random = Random(seed);
        // A third of the stories have no fault but late and repeated reports: there the meter is exact.
        let kind = random.below(6);
        let faults = Faults {
            connection: kind != 0,
            server: kind >= 2,
            daemon: kind >= 3,
            machine: kind == 2 || kind >= 4,
            clock: kind == 5,
        };
        let host = Host {
            up: true,
            daemon: true,
            ahead: 0,
            generation: 0,
            phase: ObservedPhase::Absent,
            runs: false,
            ready_at: None,
            gone_at: None,
            proof: None,
            last: None,
            sequence: 0,
            waiting: VecDeque::new(),
            order: None,
        };
        Self {
            now: BEGIN + random.below(SECOND),
            random,
            faults,
            host,
            connected: true,
            server: Some(BEGIN),
            meter: Meter::default(),
            sequence: 0,
            absent: false,
            start_waits: false,
            destroyed: false,
            open: None,
            done: Vec::new(),
            facts: Vec::new(),
            truth: Vec::new(),
            since: None,
            deaths: 0,
            lost: false,
            unhealthy: false,
            next_id: 1,
            log: told.then(String::new),
        }
    }

    fn id<T: Id>(&mut self) -> T {
        self.next_id += 1;
        T::from_uuid(Uuid::from_u128(self.next_id))
    }

    // ---- between them

    fn reaches(&self) -> bool {
        self.connected && self.server.is_some() && self.host.up && self.host.daemon
    }

    /// Everything that waits arrives, some of it twice.
    fn deliver(&mut self) {
        if !self.reaches() {
            return;
        }
        let waiting: Vec<Told> = self.host.waiting.iter().copied().collect();
        for (index, told) in waiting.iter().enumerate() {
            self.take_in(*told);
            if self.faults.connection && self.random.one_in(8) {
                // An older connection's copy, or one whose answer was lost.
                let again = waiting[self.random.below(1 + index as i64) as usize];
                self.take_in(again);
            }
        }
        // An answer may be lost; then it all comes again.
        if !(self.faults.connection && self.random.one_in(6)) {
            self.host.waiting.clear();
        }
    }

    fn take_in(&mut self, told: Told) {
        if told.sequence > self.sequence {
            self.sequence = told.sequence;
            let witness = Witness::Host { at: instant(told.at), last_proof: told.last_proof.map(instant) };
            let late = self.now - told.made;
            // A clock that was behind can't make a window open before the start was asked for, and one that is ahead
            // can't end it after it was heard of: then it is seen to be wrong.
            let excuse = match told.ahead {
                ahead if ahead > late + SECOND => 0,
                ahead if ahead > 0 => ahead.min(late),
                behind => {
                    let earliest = self.meter.start_asked.max(self.meter.metered_until).map_or(0, ms);
                    (-behind).min((told.made - earliest).max(0) + SECOND)
                }
            };
            let is_proof = told.last_proof.is_some_and(|proof| proof <= told.at);
            let excuse = excuse.max(if is_proof { told.proof_ahead } else { 0 });
            self.observe(told.generation, told.phase, told.runs, witness, excuse);
        }
        if told.answers_start && told.generation == self.meter.runtime.generation && self.start_waits {
            self.start_waits = false;
            if self.absent {
                self.observe(told.generation, ObservedPhase::Absent, false, Witness::Server, 0);
            }
        }
    }

    // ---- the server

    fn observe(&mut self, generation: u64, phase: ObservedPhase, process_runs: bool, witness: Witness, excuse: i64) {
        let current = generation == self.meter.runtime.generation;
        self.absent = phase == ObservedPhase::Absent && current;
        let start_waits = self.absent && self.start_waits;
        let sight = Sight { generation, phase, process_runs, start_waits, witness };
        let step = self.meter.observe(&sight, instant(self.now));
        if let Some(at) = step.opens {
            let id: WindowId = self.id();
            let session: UsageSessionId = self.id();
            self.facts.push(WindowFact::Opened { window: id, session, at, size: Size::Small, cause: String::new() });
            self.open = Some(Metered { id, opened: ms(at), excuse });
            say!(self, "server: opens at {}", ms(at) - BEGIN);
        }
        if let Some(closing) = step.closes {
            self.closes(closing, excuse);
        }
    }

    fn closes(&mut self, closing: Closing, excuse: i64) {
        let mut window = self.open.take().expect("what closes is open");
        assert_eq!(ms(closing.opened_at), window.opened);
        window.excuse += excuse;
        say!(self, "server: closes at {}, {} s unproven", ms(closing.at) - BEGIN, closing.unproven_seconds);
        self.done.push((window, ms(closing.at), closing.unproven_seconds));
        self.facts.push(WindowFact::Closed {
            window: window.id,
            at: closing.at,
            cause: String::new(),
            unproven_seconds: closing.unproven_seconds,
        });
    }

    fn look(&mut self) {
        let Some(started) = self.server else { return };
        if let Some(proof) = self.meter.proven_until()
            && self.now - ms(proof).max(started) > LOST_AFTER
        {
            self.lost = true;
            let closing = self.meter.lose(instant(self.now)).expect("it is open");
            self.closes(closing, 0);
        }
    }

    fn wake(&mut self) {
        if self.server.is_none() || self.destroyed {
            return;
        }
        if self.meter.wake(instant(self.now)) != WakeOutcome::Already {
            say!(self, "server: wake {}", self.meter.runtime.generation);
            self.start_waits = true;
            self.absent = false;
            self.host.order = Some((self.meter.runtime.generation, Order::Start));
        }
    }

    fn sleep(&mut self, tier: SleepTier) {
        if self.server.is_none() || self.destroyed {
            return;
        }
        if self.meter.runtime.sleep(tier).is_some() {
            say!(self, "server: sleep {tier:?} {}", self.meter.runtime.generation);
            self.start_waits = false;
            self.absent = false;
            let order = if tier == SleepTier::Frozen { Order::Freeze } else { Order::Stop };
            self.host.order = Some((self.meter.runtime.generation, order));
        }
    }

    fn destroy(&mut self) {
        if !self.reaches() || self.destroyed {
            return;
        }
        say!(self, "server: destroyed");
        self.destroyed = true;
        self.sleep(SleepTier::Stopped);
        (self.host.order, self.host.ready_at, self.host.gone_at) = (None, None, None);
        if self.host.phase != ObservedPhase::Absent {
            self.becomes(ObservedPhase::Absent, false, false);
        }
        // Its last report may be lost with it.
        if self.random.one_in(2) && self.faults.connection {
            self.host.waiting.clear();
            self.unhealthy = true;
        } else {
            self.deliver();
        }
        let generation = self.meter.runtime.generation;
        if self.open.is_some() || self.meter.runtime.session_open {
            self.observe(generation, ObservedPhase::Absent, false, Witness::Server, 0);
        }
        self.host.waiting.clear();
    }

    // ---- time

    fn pass(&mut self, milliseconds: i64) {
        let end = self.now + milliseconds;
        while self.now < end {
            let marks = [
                next(self.now, BEAT, 137),
                next(self.now, LOOK, 411),
                self.host.ready_at.unwrap_or(i64::MAX).max(self.now + 1),
                self.host.gone_at.unwrap_or(i64::MAX).max(self.now + 1),
                end,
            ];
            self.now = marks.into_iter().min().unwrap_or(end);
            self.run_host();
            if self.reaches() {
                self.obey();
                self.deliver();
            }
            if (self.now - 137) % BEAT == 0 {
                self.beat();
            }
            if (self.now - 411) % LOOK == 0 {
                self.look();
            }
        }
    }

    fn machine_dies(&mut self) {
        say!(self, "machine dies");
        self.deaths += 1;
        self.host.daemon = false;
        self.host.up = false;
        (self.host.ready_at, self.host.gone_at) = (None, None);
        self.becomes(ObservedPhase::Absent, false, false);
    }

    fn act(&mut self) {
        let roll = self.random.below(24);
        match roll {
            0..=5 => self.wake(),
            6..=8 => self.sleep(SleepTier::Frozen),
            9..=10 => self.sleep(SleepTier::Stopped),
            11 if self.host.up && self.host.phase != ObservedPhase::Absent => {
                // Its init died.
                let told = self.host.daemon;
                self.unhealthy |= !told;
                (self.host.ready_at, self.host.gone_at) = (None, None);
                self.becomes(ObservedPhase::Absent, false, false);
            }
            12 if self.host.up && self.host.daemon && self.host.phase == ObservedPhase::Up => {
                self.becomes(ObservedPhase::Blocked, self.host.runs, false);
            }
            13 if self.host.up && self.host.daemon && self.host.phase == ObservedPhase::Blocked => {
                self.becomes(ObservedPhase::Up, self.host.runs, false);
            }
            // The same once more, because a part of it changed.
            14 if self.host.daemon && self.host.last.is_some() => self.tell(None, false),
            15..=16 if self.faults.connection => {
                self.connected = !self.connected;
                say!(self, "connected: {}", self.connected);
            }
            17 if self.faults.server => {
                self.server = if self.server.is_some() { None } else { Some(self.now) };
                say!(self, "server: {:?}", self.server);
            }
            18 if self.faults.daemon && self.host.up => {
                self.unhealthy = true;
                if self.host.daemon {
                    say!(self, "daemon dies");
                    self.host.daemon = false;
                } else {
                    self.take_up();
                }
            }
            19 if self.faults.machine && self.host.up => self.machine_dies(),
            19..=20 if !self.host.up => {
                say!(self, "machine is back");
                self.host.up = true;
                self.take_up();
            }
            21 if self.faults.clock => {
                let steps = [-3_600_000, -90_000, -5_000, -700, 0, 0, 700, 5_000, 90_000, 3_600_000];
                self.host.ahead = steps[self.random.below(10) as usize];
                say!(self, "clock: {}", self.host.ahead);
            }
            22 if self.random.one_in(10) => self.destroy(),
            _ => {}
        }
        // Daemons and machines come back sooner than not.
        if self.host.up && !self.host.daemon && self.random.one_in(3) {
            self.take_up();
        }
        let long = self.random.below(10);
        let time = if long == 0 { 30_000 + self.random.below(90_000) } else { 1 + self.random.below(6_000) };
        self.pass(time);
    }

    /// Everything comes back, and goes to sleep.
    fn settle(&mut self) {
        if !self.host.up || !self.host.daemon {
            self.host.up = true;
            self.take_up();
        }
        self.connected = true;
        self.server.get_or_insert(self.now);
        self.pass(5_000);
        self.sleep(SleepTier::Stopped);
        self.pass(45_000);
        self.deliver();
    }

    /// The host is gone for ever.
    fn vanish(&mut self) {
        if self.host.up {
            self.machine_dies();
        }
        // What it did not tell is never known.
        self.unhealthy |= !self.host.waiting.is_empty();
        self.server.get_or_insert(self.now);
        self.pass(45_000);
    }
}

/// The next multiple of `every` after `now`, shifted.
fn next(now: i64, every: i64, shift: i64) -> i64 {
    (now - shift).div_euclid(every) * every + every + shift
}

/// Lives through a story; answers how many windows it made.
fn live(seed: u64) -> usize {
    let (outcome, _) = lived(seed, false);
    outcome.unwrap_or_else(|error| panic!("seed {seed}: {error}{}", lived(seed, true).1.unwrap_or_default()))
}

fn lived(seed: u64, told: bool) -> (Result<usize, String>, Option<String>) {
    let mut story = Story::new(seed, told);
    let steps = 4 + story.random.below(40);
    for _ in 0..steps {
        story.act();
    }
    let vanished = story.faults.machine && story.random.one_in(4);
    if vanished {
        story.vanish();
    } else {
        story.settle();
    }
    let outcome = story.check(vanished).map(|()| story.done.len());
    (outcome, story.log)
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

// proves COST-1 COST-4
#[test]
fn what_is_billed_ran() {
    let first = setting("ENVFORGE_METER_SEED").unwrap_or(1);
    let count = setting("ENVFORGE_METER_SEQUENCES").unwrap_or(20_000);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let windows: usize = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                scope.spawn(move || {
                    (part..count).step_by(threads as usize).map(|at| live(first.wrapping_add(at))).sum::<usize>()
                })
            })
            .collect();
        parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    });
    println!("{count} sequences from {first} on made {windows} windows");
    assert!(windows as u64 > count, "the stories have windows");
}
