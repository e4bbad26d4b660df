//! Keeping one service running: events in, effects out.
//!
//! ```text
//!             inputs known            healthy
//!   waiting ───────────────► starting ───────► ready ◄────────► unwell
//!                              ▲   │ ended       │ ended           │ ended, or unwell for 120 s
//!                              │   ▼             ▼                 ▼
//!                              └─ back-off ◄─────┴─────────────────┘
//!                                  │
//!        any of these ──► blocked: not found │ five failures in 60 s │ not ready in time │ could not be started
//!                          (five failures of which the last is memory that ran out say that, and what helps)
//!                     ──► ended: by itself, and its policy leaves it so; one that is to answer on a port goes on, unless that is `never`
//!                     ──► stopped: on order
//! ```
//!
//! Blocked, ended and stopped are left by [`Supervisor::retry`] only. The machine knows no process: whoever drives it
//! starts one at [`Effect::Start`], ends it at [`Effect::Stop`], and tells what became of it. Instants are parameters;
//! what happens while the runtime is frozen does not count ([`Supervisor::shift`]).

use envforge_core::manifest::{DEFAULT_START_TIMEOUT, RestartPolicy, START_TIMEOUT_MAX, duration};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The first pause before a restart.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_millis(500);
/// The longest pause before a restart.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// Ready this long, a service's earlier failures are forgiven.
const FORGIVEN_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// Failures within [`LOOP_WINDOW`] that make a crash loop.
const LOOP_FAILURES: usize = 5;
const LOOP_WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// How long a service may stay unwell.
const PATIENCE: SignedDuration = SignedDuration::from_secs(120);
/// Failed health checks in a row that make a ready service unwell.
const UNWELL_AFTER: u8 = 3;

/// Code of a service that memory ran out for.
pub(crate) const SHORT: &str = "service.out_of_memory";
/// How a process ended that memory ran out for.
pub(crate) const OUT_OF_MEMORY: &str = "was ended because memory ran out";
const SEE_ITS_LOG: &str = "see its log, correct the error, then `envforge wake`";
const STAY: &str =
    "have its `command` stay in the foreground, or write `restart: never` if it is to end; then `envforge wake`";

/// How trying ends.
struct Block<'a> {
    code: &'a str,
    fix: &'a str,
}

impl<'a> Block<'a> {
    fn new(code: &'a str, fix: &'a str) -> Self {
        Self { code, fix }
    }
}

/// Where a service stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub(crate) enum State {
    /// Something it needs is not there yet.
    Waiting,
    /// It runs and is not healthy yet.
    Starting { since: Timestamp, detail: Option<String> },
    /// It works.
    Ready { since: Timestamp, misses: u8 },
    /// It worked, and now its health check fails.
    Unwell { since: Timestamp, detail: String },
    /// It failed and is started again at this instant.
    BackOff { until: Timestamp, cause: String },
    /// It can't run.
    Blocked { code: String, cause: String, fix: String },
    /// It ended by itself and is left so.
    Ended { cause: String },
    /// It was ended.
    Stopped,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

impl Exit {
    fn is_success(self) -> bool {
        self.code == Some(0)
    }

    /// In words.
    pub(crate) fn say(self) -> String {
        match (self.code, self.signal) {
            (_, Some(9)) => "was killed (signal 9)".to_owned(),
            (_, Some(signal)) => format!("was ended by signal {signal}"),
            (Some(code), None) => format!("exited with code {code}"),
            (None, None) => "ended, and nobody saw how".to_owned(),
        }
    }
}

/// Memory that ran out, as the end of a process: what the kernel says, not what a signal suggests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutOfMemory {
    /// Whose memory it was and how much there is: "the runtime reached its limit of 8 GiB (size small)".
    pub(crate) cause: String,
    /// What helps.
    pub(crate) fix: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Everything the service needs is there.
    InputsKnown,
    /// Its health check passed.
    Healthy,
    /// Its health check failed; `sure` when there is no point in asking again before believing it.
    Unhealthy { detail: String, sure: bool },
    /// Its process ended, perhaps because memory ran out; `lines` are the last of its log.
    Exited { exit: Exit, memory: Option<OutOfMemory>, lines: String },
    /// Its process could not be started.
    NotStarted { cause: String },
    /// Time passed.
    Tick,
    /// It is to end.
    Stop,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Start its process.
    Start,
    /// End its process; its exit need not be told.
    Stop,
}

/// One service's supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Supervisor {
    policy: RestartPolicy,
    state: State,
    /// Instants of the failures that still count.
    failures: Vec<Timestamp>,
    /// Failures since the service was last forgiven.
    streak: u32,
    restarts: u32,
    /// Seconds it may take to become ready.
    #[serde(default = "default_start_timeout")]
    start_timeout: u32,
    /// Somebody is to reach it on a port, so that it never is to end by itself.
    #[serde(default)]
    serves: bool,
}

fn default_start_timeout() -> u32 {
    DEFAULT_START_TIMEOUT
}

impl Supervisor {
    pub(crate) fn new(policy: RestartPolicy) -> Self {
        Self {
            policy,
            state: State::Waiting,
            failures: Vec::new(),
            streak: 0,
            restarts: 0,
            start_timeout: DEFAULT_START_TIMEOUT,
            serves: false,
        }
    }

    /// For a service that has so many seconds to become ready, and perhaps is reached on a port.
    pub(crate) fn of_service(policy: RestartPolicy, start_timeout: Option<u32>, serves: bool) -> Self {
        Self { start_timeout: start_timeout.unwrap_or(DEFAULT_START_TIMEOUT), serves, ..Self::new(policy) }
    }

    fn time_to_start(&self) -> SignedDuration {
        SignedDuration::from_secs(self.start_timeout.into())
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Restarts since the wake.
    pub(crate) fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Whether its process should be there.
    pub(crate) fn wants_process(&self) -> bool {
        matches!(self.state, State::Starting { .. } | State::Ready { .. } | State::Unwell { .. })
    }

    /// Whether nothing will change by itself soon: ready, blocked, ended, stopped.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.state, State::Ready { .. } | State::Blocked { .. } | State::Ended { .. } | State::Stopped)
    }

    /// When a [`Event::Tick`] will do something.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Starting { since, .. } => Some(after(*since, self.time_to_start())),
            State::Unwell { since, .. } => Some(after(*since, PATIENCE)),
            State::BackOff { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// Moves every instant: time that passed while frozen did not pass for the service.
    pub(crate) fn shift(&mut self, by: SignedDuration) {
        for failure in &mut self.failures {
            *failure = after(*failure, by);
        }
        match &mut self.state {
            State::Starting { since, .. } | State::Ready { since, .. } | State::Unwell { since, .. } => {
                *since = after(*since, by);
            }
            State::BackOff { until, .. } => *until = after(*until, by),
            _ => {}
        }
    }

    /// Leaves blocked, ended or stopped for another try, with a clean record.
    pub(crate) fn retry(&mut self) {
        if matches!(self.state, State::Blocked { .. } | State::Ended { .. } | State::Stopped) {
            *self = Self { start_timeout: self.start_timeout, serves: self.serves, ..Self::new(self.policy) };
        }
    }

    /// Leaves blocked alone.
    pub(crate) fn retry_blocked(&mut self) {
        if matches!(self.state, State::Blocked { .. }) {
            self.retry();
        }
    }

    /// What follows from an event. Events that come too late change nothing.
    pub(crate) fn handle(&mut self, event: Event, now: Timestamp) -> Option<Effect> {
        match event {
            Event::InputsKnown if self.state == State::Waiting => Some(self.start(now)),
            Event::InputsKnown => None,
            Event::Healthy => {
                self.healthy(now);
                None
            }
            Event::Unhealthy { detail, sure } => {
                self.unhealthy(detail, sure, now);
                None
            }
            Event::Exited { exit, memory, lines } => {
                if self.wants_process() {
                    self.exited(exit, memory, &lines, now);
                }
                None
            }
            Event::NotStarted { cause } => {
                if self.wants_process() {
                    self.block(
                        "service.not_started",
                        cause,
                        "correct the service's `command` or `directory` in envforge.yml, then `envforge wake`",
                    );
                }
                None
            }
            Event::Tick => self.tick(now),
            Event::Stop => {
                let stop = self.wants_process().then_some(Effect::Stop);
                self.state = State::Stopped;
                stop
            }
        }
    }

    fn start(&mut self, now: Timestamp) -> Effect {
        self.state = State::Starting { since: now, detail: None };
        Effect::Start
    }

    fn healthy(&mut self, now: Timestamp) {
        match &mut self.state {
            State::Starting { .. } | State::Unwell { .. } => self.state = State::Ready { since: now, misses: 0 },
            State::Ready { misses, .. } => *misses = 0,
            _ => {}
        }
    }

    fn unhealthy(&mut self, why: String, sure: bool, now: Timestamp) {
        match &mut self.state {
            State::Starting { detail, .. } => *detail = Some(why),
            State::Unwell { detail, .. } => *detail = why,
            State::Ready { misses, .. } => {
                *misses = misses.saturating_add(1);
                if sure || *misses >= UNWELL_AFTER {
                    self.state = State::Unwell { since: now, detail: why };
                }
            }
            _ => {}
        }
    }

    fn exited(&mut self, exit: Exit, memory: Option<OutOfMemory>, lines: &str, now: Timestamp) {
        let starting = matches!(self.state, State::Starting { .. });
        if starting && exit.code == Some(127) {
            let cause = with_lines("the command, or a program it runs, was not found", lines);
            self.block(
                "service.command_not_found",
                cause,
                "install the program, add it to `hooks.setup`, or correct the service's `command`; then `envforge wake`",
            );
            return;
        }
        let failed = !exit.is_success();
        let again = match self.policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => failed || self.serves,
            RestartPolicy::Never => false,
        };
        if again {
            let (how, block) = match &memory {
                Some(OutOfMemory { cause, fix }) => (format!("{OUT_OF_MEMORY}: {cause}"), Block::new(SHORT, fix)),
                None if !failed && self.serves => {
                    let how = "ended by itself with code 0, and a service is expected to go on running".to_owned();
                    (how, Block::new("service.crash_loop", STAY))
                }
                None => (exit.say(), Block::new("service.crash_loop", SEE_ITS_LOG)),
            };
            self.failed(&how, lines, &block, now);
        } else if let Some(OutOfMemory { cause, fix }) = memory.filter(|_| failed) {
            let cause = format!("it {OUT_OF_MEMORY}: {cause}; its restart policy is `never`");
            self.block(SHORT, with_lines(&cause, lines), &fix);
        } else if failed {
            let cause = with_lines(&format!("it {} and its restart policy is `never`", exit.say()), lines);
            self.block("service.failed", cause, SEE_ITS_LOG);
        } else {
            self.state = State::Ended { cause: format!("it {}", exit.say()) };
        }
    }

    /// Counts a failure: a pause and another try, or the end of trying as `block` says.
    fn failed(&mut self, how: &str, lines: &str, block: &Block<'_>, now: Timestamp) {
        if let State::Ready { since, .. } = self.state
            && now.duration_since(since) >= FORGIVEN_AFTER
        {
            self.streak = 0;
            self.failures.clear();
        }
        self.failures.retain(|failure| now.duration_since(*failure) < LOOP_WINDOW);
        self.failures.push(now);
        if self.failures.len() >= LOOP_FAILURES {
            let cause = format!("it {how}; it failed {} times within a minute", self.failures.len());
            self.block(block.code, with_lines(&cause, lines), block.fix);
            return;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.streak.min(10)).min(LONGEST_PAUSE);
        self.streak = self.streak.saturating_add(1);
        self.state = State::BackOff { until: after(now, pause), cause: with_lines(&format!("it {how}"), lines) };
    }

    fn tick(&mut self, now: Timestamp) -> Option<Effect> {
        match &self.state {
            State::BackOff { until, .. } if *until <= now => {
                self.restarts = self.restarts.saturating_add(1);
                Some(self.start(now))
            }
            State::Starting { since, detail } if now.duration_since(*since) >= self.time_to_start() => {
                let detail = detail.clone().unwrap_or_else(|| "its port never accepted a connection".to_owned());
                let cause = format!("it did not become ready within {}: {detail}", duration(self.start_timeout.into()));
                let fix = format!(
                    "see its log for what it waits for, or correct its `port` or `health` in envforge.yml{}; then `envforge wake`",
                    longer(self.start_timeout)
                );
                self.block("service.never_healthy", cause, &fix);
                Some(Effect::Stop)
            }
            State::Unwell { since, detail } if now.duration_since(*since) >= PATIENCE => {
                let how = format!("stayed unhealthy for {} s: {detail}", PATIENCE.as_secs());
                self.failed(&how, "", &Block::new("service.crash_loop", SEE_ITS_LOG), now);
                Some(Effect::Stop)
            }
            _ => None,
        }
    }

    fn block(&mut self, code: &str, cause: impl Into<String>, fix: &str) {
        self.state = State::Blocked { code: code.to_owned(), cause: cause.into(), fix: fix.to_owned() };
    }
}

fn after(instant: Timestamp, by: SignedDuration) -> Timestamp {
    instant.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// How to give more time to a service that needs more than this, if it can have more.
fn longer(seconds: u32) -> String {
    if seconds >= START_TIMEOUT_MAX {
        return String::new();
    }
    let more = seconds.saturating_mul(2).clamp(10 * 60, START_TIMEOUT_MAX);
    format!("; if it needs longer, write `start_timeout: {}` there", duration(more.into()))
}

fn with_lines(cause: &str, lines: &str) -> String {
    if lines.is_empty() { cause.to_owned() } else { format!("{cause}\nlast lines of its log:\n{lines}") }
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;
