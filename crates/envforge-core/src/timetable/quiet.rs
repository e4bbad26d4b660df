//! Hours in which no schedule wakes anything, and what idles sleeps sooner.

use super::{Day, check_days, time, zone};
use crate::refusal::Refusal;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// Shortest idle time before sleep in quiet hours, in seconds.
pub const QUIET_IDLE_MIN: u32 = 30;
/// Longest, in seconds.
pub const QUIET_IDLE_MAX: u32 = 3_600;

/// An org's quiet hours, as people write them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// The time zone, by its IANA name.
    #[schema(max_length = 64, example = "Europe/Berlin")]
    pub zone: String,
    /// On which days they begin, at least one.
    #[schema(min_items = 1, max_items = 7)]
    pub days: BTreeSet<Day>,
    /// The time of day they begin, `HH:MM`.
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$", example = "20:00")]
    pub from: String,
    /// The time of day they end, `HH:MM`: of the same day if that is later, else of the next one.
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$", example = "07:00")]
    pub to: String,
    /// Seconds of idleness after which a runtime sleeps in them, 30 to 3600, if that is sooner than else.
    #[schema(minimum = 30, maximum = 3600, example = 120)]
    pub quiet_idle: u32,
}

/// Quiet hours that were understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiet {
    zone: TimeZone,
    days: BTreeSet<Day>,
    from: Time,
    to: Time,
    /// Seconds a runtime may idle in them.
    pub idle: u32,
}

impl QuietHours {
    /// Understands them, or says which part can't be.
    pub fn check(&self) -> Result<Quiet, Refusal> {
        let (zone, from, to) = (zone(&self.zone)?, time(&self.from)?, time(&self.to)?);
        check_days(&self.days)?;
        if !(QUIET_IDLE_MIN..=QUIET_IDLE_MAX).contains(&self.quiet_idle) {
            let message = format!("the idle time in quiet hours is {QUIET_IDLE_MIN} to {QUIET_IDLE_MAX} seconds");
            return Err(Refusal::invalid("quiet_hours.idle", message));
        }
        Ok(Quiet { zone, days: self.days.clone(), from, to, idle: self.quiet_idle })
    }

    /// The same with the zone's name as its database writes it.
    #[must_use]
    pub fn normalized(mut self, quiet: &Quiet) -> Self {
        if let Some(name) = quiet.zone.iana_name() {
            name.clone_into(&mut self.zone);
        }
        self
    }
}

impl Quiet {
    /// Whether an instant is in them; their end is not.
    pub fn covers(&self, now: Timestamp) -> bool {
        let today = self.zone.to_datetime(now).date();
        // Those that began yesterday may last; two days back where a zone leaves a whole day out.
        (0..=2).any(|back| {
            let bounds = || {
                let date = today.checked_sub(Span::new().days(back)).ok()?;
                let end = if self.to > self.from { date } else { date.tomorrow().ok()? };
                let at = |date: jiff::civil::Date, time| self.zone.to_timestamp(date.to_datetime(time)).ok();
                self.days.contains(&Day::of(date.weekday())).then_some(())?;
                Some(at(date, self.from)?..at(end, self.to)?)
            };
            bounds().is_some_and(|bounds| bounds.contains(&now))
        })
    }
}
