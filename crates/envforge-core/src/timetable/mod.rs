//! When a workspace wakes and sleeps by itself: a week of due times in one time zone, and an org's quiet hours.
//!
//! A timetable answers what was due last. Whoever remembers the due time that was acted on therefore acts on each once, and
//! after a long silence on the latest alone. [`decide`] says what follows from what is due: a wake that comes late or in
//! quiet hours is left out, and a sleep ends no work, but waits for its end until something else is due.
//!
//! Time zones are those in the binary, not the machine's: every server has the same due times.

mod quiet;
mod words;

pub use quiet::{QUIET_IDLE_MAX, QUIET_IDLE_MIN, Quiet, QuietHours};
pub use words::{parse_days, say_days};

use crate::idle::{self, IdleFacts, IdlePolicy, IdleVerdict};
use crate::refusal::Refusal;
use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// Most entries of one timetable.
pub const ENTRIES_MAX: usize = 16;
/// How late a wake may still be.
pub const LATE_MAX: SignedDuration = SignedDuration::from_mins(15);

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Day {
    /// All of them, Monday first.
    pub const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    fn of(weekday: Weekday) -> Self {
        Self::ALL[weekday.to_monday_zero_offset().unsigned_abs() as usize % 7]
    }
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DueAction {
    /// The runtime wakes.
    Wake,
    /// The runtime sleeps, once it does not work.
    Sleep,
}

impl DueAction {
    /// The word in JSON and storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wake => "wake",
            Self::Sleep => "sleep",
        }
    }
}

/// One line of a timetable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TimetableEntry {
    /// What is due.
    pub action: DueAction,
    /// On which days, at least one.
    #[schema(min_items = 1, max_items = 7)]
    pub days: BTreeSet<Day>,
    /// The time of day, `HH:MM`. One that a day leaves out (clocks go forward) is due as much later; one that it has twice is due the
    /// first time.
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$", example = "08:30")]
    pub at: String,
}

/// When a workspace wakes and sleeps by itself, as people write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Timetable {
    /// The time zone, by its IANA name.
    #[schema(max_length = 64, example = "Europe/Berlin")]
    pub zone: String,
    /// At least one, at most 16.
    #[schema(min_items = 1, max_items = 16)]
    pub entries: Vec<TimetableEntry>,
}

/// A timetable that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Week {
    zone: TimeZone,
    entries: Vec<(DueAction, BTreeSet<Day>, Time)>,
}

/// Something due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// When.
    pub at: Timestamp,
    /// What.
    pub action: DueAction,
}

impl Timetable {
    /// Understands it, or says which part can't be.
    pub fn check(&self) -> Result<Week, Refusal> {
        let zone = zone(&self.zone)?;
        if self.entries.is_empty() {
            return Err(Refusal::invalid("schedule.empty", "the schedule has no time at which something happens")
                .hint("give a wake, a sleep or both; no schedule at all is another request"));
        }
        if self.entries.len() > ENTRIES_MAX {
            let message = format!("the schedule has {} entries, and may have {ENTRIES_MAX}", self.entries.len());
            return Err(Refusal::invalid("schedule.too_many", message).hint("one entry can be of several days"));
        }
        let mut entries: Vec<(DueAction, BTreeSet<Day>, Time)> = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let at = time(&entry.at)?;
            check_days(&entry.days)?;
            let clash = entries.iter().find(|(action, days, other)| {
                *other == at && *action != entry.action && !days.is_disjoint(&entry.days)
            });
            if clash.is_some() {
                let message = format!("{} at {}: a wake and a sleep at once", say_days(&entry.days), entry.at);
                return Err(Refusal::invalid("schedule.conflict", message).hint("choose another time for one of them"));
            }
            entries.push((entry.action, entry.days.clone(), at));
        }
        Ok(Week { zone, entries })
    }

    /// The same with the zone's name as its database writes it.
    #[must_use]
    pub fn normalized(mut self, week: &Week) -> Self {
        if let Some(name) = week.zone.iana_name() {
            name.clone_into(&mut self.zone);
        }
        self
    }
}

impl Week {
    /// What was due last, not after `now`; nothing before a week has passed that has its day.
    pub fn latest(&self, now: Timestamp) -> Option<Due> {
        self.around(now).filter(|(at, _, _)| *at <= now).max().map(|(at, _, action)| Due { at, action })
    }

    /// What is due next, after `now`.
    pub fn next(&self, now: Timestamp) -> Option<Due> {
        let at = self.around(now).map(|(at, _, _)| at).filter(|at| *at > now).min()?;
        self.latest(at)
    }

    /// What has to be acted on now, of what was due after the one that was acted on before.
    pub fn pending(&self, acted: Timestamp, now: Timestamp) -> Option<Due> {
        self.latest(now).filter(|due| due.at > acted)
    }

    /// Due times of some more than a week before and after; of two at one instant, which a change of clocks can make, the one
    /// written later is the greater.
    fn around(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, DateTime, DueAction)> + '_ {
        let today = self.zone.to_datetime(now).date();
        // Two days more, because a zone that crosses the date line leaves a whole day out.
        (-9..=9).filter_map(move |days| today.checked_add(Span::new().days(days)).ok()).flat_map(move |date| {
            let day = Day::of(date.weekday());
            self.entries.iter().filter(move |(_, days, _)| days.contains(&day)).filter_map(move |(action, _, at)| {
                let written = date.to_datetime(*at);
                Some((self.zone.to_timestamp(written).ok()?, written, *action))
            })
        })
    }
}

/// What is known of a runtime when something is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueFacts {
    /// Whether it is wanted awake.
    pub is_awake: bool,
    /// Since when it is as it is.
    pub since: Timestamp,
    /// What it does.
    pub idle: IdleFacts,
    /// What of it is work.
    pub policy: IdlePolicy,
}

/// What follows from what is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It wakes now.
    Wake,
    /// It sleeps now.
    Sleep,
    /// It works; what is due stays so.
    Hold {
        /// What holds it, in words.
        reason: String,
    },
    /// Nothing happens, and nothing will for this due time.
    Skip(Skip),
}

/// Why nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// A wake came too late.
    Late,
    /// A wake was due in quiet hours.
    Quiet,
    /// It sleeps already.
    Asleep,
    /// Somebody woke it since.
    WokenSince,
}

impl Skip {
    /// The word in JSON and storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Quiet => "quiet",
            Self::Asleep => "asleep",
            Self::WokenSince => "woken_since",
        }
    }
}

/// What to do about something due.
pub fn decide(due: Due, quiet: Option<&Quiet>, facts: &DueFacts, now: Timestamp) -> Step {
    match due.action {
        DueAction::Wake if quiet.is_some_and(|quiet| quiet.covers(due.at) || quiet.covers(now)) => {
            Step::Skip(Skip::Quiet)
        }
        DueAction::Wake if now.duration_since(due.at) > LATE_MAX => Step::Skip(Skip::Late),
        DueAction::Wake => Step::Wake,
        DueAction::Sleep if !facts.is_awake => Step::Skip(Skip::Asleep),
        DueAction::Sleep if facts.since > due.at => Step::Skip(Skip::WokenSince),
        // How long it has been idle is nothing here, only whether it works.
        DueAction::Sleep => match idle::decide(&facts.idle, &IdlePolicy { freeze_after: 0, ..facts.policy }, now) {
            IdleVerdict::Busy { reason, .. } => Step::Hold { reason },
            IdleVerdict::Idle { .. } | IdleVerdict::Sleep { .. } => Step::Sleep,
        },
    }
}

fn zone(name: &str) -> Result<TimeZone, Refusal> {
    let found = (name.len() <= 64).then(|| TimeZoneDatabase::bundled().get(name).ok()).flatten();
    found.ok_or_else(|| {
        Refusal::invalid("schedule.zone", format!("`{}` is not a time zone", words::cut(name)))
            .hint("give its IANA name, such as Europe/Berlin, America/New_York or UTC")
    })
}

fn time(text: &str) -> Result<Time, Refusal> {
    let parsed = || {
        let (hour, minute) = text.split_once(':')?;
        let number = |digits: &str| {
            let is_two = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_two.then(|| digits.parse::<i8>().ok()).flatten()
        };
        Time::new(number(hour)?, number(minute)?, 0, 0).ok()
    };
    parsed().ok_or_else(|| {
        Refusal::invalid("schedule.time", format!("`{}` is not a time of day", words::cut(text)))
            .hint("give hours and minutes from 00:00 to 23:59, such as 08:30")
    })
}

fn check_days(days: &BTreeSet<Day>) -> Result<(), Refusal> {
    if days.is_empty() {
        return Err(Refusal::invalid("schedule.day", "no day of the week is named").hint(words::DAYS_HELP));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
