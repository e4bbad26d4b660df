//! Caps: how much of a month may be used, what is said on approach, and what happens there.
//!
//! A workspace, a project and an org may each have one; all of them count, and the links' budgets are told in the same words.
//! A cap is in awake minutes or in money, of a calendar month (UTC). What is decided here depends on what was used and on
//! the instant alone; who asks when is the server's business.

use super::format_money;
use crate::refusal::Refusal;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// Percent from which a cap warns unless it says otherwise.
pub const WARN_AT: u8 = 80;
/// Minutes for which running jobs may go on past a cap unless it says otherwise.
pub const GRACE_MINUTES: u32 = 10;
/// Longest grace, in minutes: a day.
pub const GRACE_MINUTES_MAX: u32 = 24 * 60;
/// Minutes of the longest month: most that one workspace can be awake.
pub const MONTH_MINUTES: u64 = 60 * 24 * 31;
/// Most minutes and micro-units of any cap; numbers beyond are mistakes.
const LIMIT_MAX: u64 = 1_000_000_000_000_000;
/// Longest reason of an override, in bytes.
const REASON_MAX: usize = 500;

/// What happens at a cap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CapMode {
    /// No cap.
    #[default]
    None,
    /// Say so, go on.
    Warn,
    /// Refuse to wake, and sleep.
    Stop,
}

impl CapMode {
    /// The name in JSON and storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Warn => "warn",
            Self::Stop => "stop",
        }
    }
}

/// Whose a cap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CapLevel {
    /// One workspace's.
    Workspace,
    /// Of all workspaces of a project together, deleted ones too.
    Project,
    /// Of all workspaces of an organization together.
    Organization,
    /// A link's budget of awake minutes, for as long as it is valid.
    Link,
}

impl CapLevel {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Project => "project",
            Self::Organization => "organization",
            Self::Link => "link",
        }
    }
}

impl fmt::Display for CapLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A cap on awake minutes, or on money, per calendar month (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cap {
    /// None, warn or stop.
    pub mode: CapMode,
    /// Awake minutes a month; 0 when it is in money.
    #[serde(default)]
    pub minutes: u64,
    /// Cost a month in micro-units of the currency; absent when it is in minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micros: Option<u64>,
    /// Percent of it from which it warns, 1 to 100; 80 when absent.
    #[serde(default = "warn_at", skip_serializing_if = "is_usual_warning")]
    pub warn_at: u8,
    /// How many minutes jobs that run when it stops may go on; 10 when absent.
    #[serde(default = "grace_minutes", skip_serializing_if = "is_usual_grace")]
    pub grace_minutes: u32,
}

const fn warn_at() -> u8 {
    WARN_AT
}

const fn grace_minutes() -> u32 {
    GRACE_MINUTES
}

// Serde hands references.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
const fn is_usual_warning(percent: &u8) -> bool {
    *percent == WARN_AT
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
const fn is_usual_grace(minutes: &u32) -> bool {
    *minutes == GRACE_MINUTES
}

impl Default for Cap {
    fn default() -> Self {
        Self { mode: CapMode::None, minutes: 0, micros: None, warn_at: WARN_AT, grace_minutes: GRACE_MINUTES }
    }
}

/// What was used of a month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Seconds awake.
    pub seconds: u64,
    /// What they cost, in micro-units of the currency.
    pub micros: u64,
}

/// Where usage stands against a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "posture", rename_all = "snake_case")]
pub enum CapPosture {
    /// No cap is set.
    None,
    /// Below the warning.
    Within {
        /// Percent used.
        percent: u64,
    },
    /// From the warning on, past the cap in mode `warn`, or past one in mode `stop` that is overridden.
    Warning {
        /// Percent used.
        percent: u64,
    },
    /// At or past the cap in mode `stop`.
    Stopped {
        /// Percent used.
        percent: u64,
    },
}

impl CapPosture {
    /// Percent used, where there is a cap.
    pub const fn percent(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Within { percent } | Self::Warning { percent } | Self::Stopped { percent } => Some(percent),
        }
    }

    /// Whether somebody should hear of it.
    pub const fn is_news(self) -> bool {
        matches!(self, Self::Warning { .. } | Self::Stopped { .. })
    }
}

/// What is told of a cap once a month, or once an override.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CapStep {
    /// Its warning was reached.
    Warned,
    /// All of it was used.
    Reached,
    /// What runs goes on past it, for it is overridden.
    Continued,
}

impl CapStep {
    /// The name in storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warned => "warned",
            Self::Reached => "reached",
            Self::Continued => "continued",
        }
    }

    /// The ledger's word.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Warned => "cap.warned",
            Self::Reached => "cap.reached",
            Self::Continued => "cap.continued",
        }
    }
}

/// A stop that somebody has lifted for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapOverride {
    /// Until when, at most the month's end.
    pub until: Timestamp,
    /// And up to which use of the month; `None` is no limit.
    pub up_to: Option<Limit>,
}

/// How much may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Seconds awake.
    Seconds(u64),
    /// Money, in micro-units of the currency.
    Micros(u64),
}

impl Limit {
    /// What of the used counts against it.
    const fn of(self, used: Used) -> u64 {
        match self {
            Self::Seconds(_) => used.seconds,
            Self::Micros(_) => used.micros,
        }
    }

    const fn amount(self) -> u64 {
        match self {
            Self::Seconds(amount) | Self::Micros(amount) => amount,
        }
    }
}

impl CapOverride {
    /// Whether it still lifts the stop.
    pub fn holds(self, used: Used, now: Timestamp) -> bool {
        now < self.until && self.up_to.is_none_or(|limit| limit.of(used) < limit.amount())
    }
}

/// How long a stop is lifted, as it is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// Until when; the month's end when absent.
    pub until: Option<Timestamp>,
    /// So many awake minutes more.
    pub minutes: Option<u64>,
    /// So much money more, in micro-units of the currency.
    pub micros: Option<u64>,
}

impl Cap {
    /// Whether it can be meant, where one holder can be awake for at most `minutes_max` minutes a month.
    pub fn check(self, minutes_max: Option<u64>) -> Result<(), Refusal> {
        let most = minutes_max.unwrap_or(LIMIT_MAX);
        if self.minutes > 0 && self.micros.is_some() {
            return Err(Refusal::invalid("cap.limit", "a cap is in minutes or in money, not in both")
                .hint("leave one of `minutes` and `micros` out"));
        }
        if self.minutes > most {
            return Err(Refusal::invalid("cap.minutes", format!("a cap has at most {most} minutes"))
                .hint("a workspace that is awake for a whole month uses 44640"));
        }
        if self.micros.is_some_and(|micros| micros > LIMIT_MAX) {
            return Err(Refusal::invalid("cap.micros", format!("a cap has at most {LIMIT_MAX} micro-units"))
                .hint("1,000,000 are one unit of the currency"));
        }
        if !(1..=100).contains(&self.warn_at) {
            return Err(Refusal::invalid("cap.warn_at", "a cap warns from 1 to 100 percent on").hint("80 is usual"));
        }
        if self.grace_minutes > GRACE_MINUTES_MAX {
            return Err(Refusal::invalid("cap.grace", format!("grace is at most {GRACE_MINUTES_MAX} minutes"))
                .hint("0 gives none; 10 is usual"));
        }
        Ok(())
    }

    /// How much may be used.
    pub fn limit(self) -> Limit {
        self.micros.map_or_else(|| Limit::Seconds(self.minutes.saturating_mul(60)), Limit::Micros)
    }

    /// Percent used, rounded down; of nothing, everything is used.
    fn percent(self, used: Used) -> u64 {
        let limit = self.limit();
        let percent = (u128::from(limit.of(used)) * 100).checked_div(u128::from(limit.amount())).unwrap_or(100);
        u64::try_from(percent).unwrap_or(u64::MAX)
    }

    /// The posture after this use of the month.
    pub fn posture(self, used: Used) -> CapPosture {
        let percent = self.percent(used);
        match self.mode {
            CapMode::None => CapPosture::None,
            CapMode::Stop if percent >= 100 => CapPosture::Stopped { percent },
            _ if percent >= u64::from(self.warn_at) => CapPosture::Warning { percent },
            _ => CapPosture::Within { percent },
        }
    }

    /// The same where it may be overridden.
    pub fn posture_with(self, used: Used, lifted: Option<CapOverride>, now: Timestamp) -> CapPosture {
        match self.posture(used) {
            CapPosture::Stopped { percent } if lifted.is_some_and(|lifted| lifted.holds(used, now)) => {
                CapPosture::Warning { percent }
            }
            posture => posture,
        }
    }

    /// What is to be told of this use of the month, each once.
    pub fn steps(self, used: Used) -> &'static [CapStep] {
        let percent = self.percent(used);
        match self.mode {
            CapMode::None => &[],
            _ if percent >= 100 => &[CapStep::Warned, CapStep::Reached],
            _ if percent >= u64::from(self.warn_at) => &[CapStep::Warned],
            _ => &[],
        }
    }

    /// What an override that is asked for becomes. So many minutes or so much money more is counted from the cap, or from what
    /// was used when that is past it.
    pub fn lifted(self, wish: Wish, used: Used, now: Timestamp, month_end: Timestamp) -> Result<CapOverride, Refusal> {
        if self.mode != CapMode::Stop {
            return Err(Refusal::conflict("cap.stops_nothing", "there is no stop here that could be overridden")
                .hint("see `envforge cap show`: another level's cap may be the one that stops"));
        }
        let until = wish.until.unwrap_or(month_end);
        if until <= now || until > month_end {
            let message = format!("an override ends later than now, and with the month at the latest, at {month_end}");
            return Err(Refusal::invalid("cap.until", message).hint("a new month begins at nothing used"));
        }
        let from = |limit: Limit| if limit.of(used) > limit.amount() { limit.of(used) } else { limit.amount() };
        let up_to = match (wish.minutes, wish.micros) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                return Err(Refusal::invalid("cap.limit", "an override is for minutes or for money, not for both")
                    .hint("leave one of `minutes` and `micros` out"));
            }
            (Some(minutes), None) if (1..=LIMIT_MAX).contains(&minutes) => {
                let base = match self.limit() {
                    limit @ Limit::Seconds(_) => from(limit),
                    Limit::Micros(_) => used.seconds,
                };
                Some(Limit::Seconds(base.saturating_add(minutes.saturating_mul(60))))
            }
            (None, Some(micros)) if (1..=LIMIT_MAX).contains(&micros) => {
                let base = match self.limit() {
                    limit @ Limit::Micros(_) => from(limit),
                    Limit::Seconds(_) => used.micros,
                };
                Some(Limit::Micros(base.saturating_add(micros)))
            }
            _ => {
                return Err(Refusal::invalid("cap.limit", "an override is for at least one minute, or some money")
                    .hint("leave both out to lift the stop until it ends"));
            }
        };
        Ok(CapOverride { until, up_to })
    }

    /// The limit in words: `600 minutes`, `25.0000 EUR`.
    pub fn limit_words(self, currency: &str) -> String {
        match self.micros {
            Some(micros) => format_money(micros, currency),
            None if self.minutes == 1 => "1 minute".to_owned(),
            None => format!("{} minutes", self.minutes),
        }
    }
}

/// Checks the reason for an override.
pub fn check_reason(reason: &str) -> Result<(), Refusal> {
    if reason.trim().is_empty() || reason.len() > REASON_MAX || reason.chars().any(char::is_control) {
        let message = format!("an override needs a reason: one line of at most {REASON_MAX} bytes");
        return Err(Refusal::invalid("cap.reason", message).hint("it is kept in the ledger"));
    }
    Ok(())
}

/// What becomes of a runtime that a cap stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grace {
    /// It goes on until then, for the jobs that run in it.
    Until(Timestamp),
    /// It sleeps: no job runs in it.
    NoJobs,
    /// It sleeps: jobs had their time.
    Over,
}

/// Whether a runtime that caps stop may go on: `minutes` is the shortest grace of these caps, `since` when it began.
pub fn grace(minutes: u32, runs_jobs: bool, since: Option<Timestamp>, now: Timestamp) -> Grace {
    if !runs_jobs {
        return Grace::NoJobs;
    }
    let length = SignedDuration::from_mins(i64::from(minutes.min(GRACE_MINUTES_MAX)));
    let until = since.unwrap_or(now).checked_add(length).unwrap_or(Timestamp::MAX);
    if now < until { Grace::Until(until) } else { Grace::Over }
}

/// A sum of money as people type it, `25` or `25.50`, in micro-units of the currency; no more than six decimals.
pub fn parse_money(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no sum of money: write it like 25 or 25.50, with at most six decimals");
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits = |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    if !are_digits(whole, 12) || !are_digits(part, 6) {
        return Err(wrong());
    }
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    Ok(number(whole)? * 1_000_000 + number(&format!("{part:0<6}"))?)
}

#[cfg(test)]
#[path = "cap_tests.rs"]
mod tests;
