//! Calendar months, and seconds in them.

use crate::size::Size;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::iter;
use std::str::FromStr;
use utoipa::ToSchema;

/// Why a text names no month.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no month; write it like 2026-11")]
pub struct MonthError(String);

/// A calendar month in UTC, `2026-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(into = "String", try_from = "String")]
#[schema(value_type = String)]
pub struct Month(Date);

impl Month {
    /// The month of an instant.
    pub fn of(at: Timestamp) -> Self {
        Self(at.to_zoned(TimeZone::UTC).date().first_of_month())
    }

    /// The month of a day.
    pub fn of_date(day: Date) -> Self {
        Self(day.first_of_month())
    }

    /// Its first day.
    pub fn first(self) -> Date {
        self.0
    }

    /// The next one; itself at the end of the calendar.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1.month()).first_of_month())
    }

    /// When it begins.
    pub fn start(self) -> Timestamp {
        TimeZone::UTC.to_timestamp(self.0.at(0, 0, 0, 0)).unwrap_or(Timestamp::MAX)
    }

    /// When the next begins.
    pub fn end(self) -> Timestamp {
        if self.next() == self { Timestamp::MAX } else { self.next().start() }
    }

    /// From this month to `last`, both included; nothing when that is earlier.
    pub fn until(self, last: Self) -> impl Iterator<Item = Self> {
        let first = (self <= last).then_some(self);
        iter::successors(first, move |month| Some(month.next()).filter(|next| *next <= last && *next > *month))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl FromStr for Month {
    type Err = MonthError;
    fn from_str(text: &str) -> Result<Self, MonthError> {
        let wrong = || MonthError(text.chars().filter(|c| !c.is_control()).take(20).collect());
        let (year, month) = text.split_once('-').ok_or_else(wrong)?;
        let are_digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        if !are_digits(year, 4) || !are_digits(month, 2) {
            return Err(wrong());
        }
        let (year, month) = (year.parse().map_err(|_| wrong())?, month.parse().map_err(|_| wrong())?);
        Date::new(year, month, 1).map(Self).map_err(|_| wrong())
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        month.to_string()
    }
}

impl TryFrom<String> for Month {
    type Error = MonthError;
    fn try_from(text: String) -> Result<Self, MonthError> {
        text.parse()
    }
}

/// Seconds at each size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SizeSeconds {
    /// At size small.
    pub small: u64,
    /// At size medium.
    pub medium: u64,
    /// At size large.
    pub large: u64,
}

impl SizeSeconds {
    /// Of all sizes.
    pub fn total(self) -> u64 {
        self.small.saturating_add(self.medium).saturating_add(self.large)
    }

    /// Adds seconds at a size.
    pub fn add(&mut self, size: Size, seconds: u64) {
        let sum = match size {
            Size::Small => &mut self.small,
            Size::Medium => &mut self.medium,
            Size::Large => &mut self.large,
        };
        *sum = sum.saturating_add(seconds);
    }

    /// Adds those of another.
    pub fn add_all(&mut self, other: Self) {
        self.add(Size::Small, other.small);
        self.add(Size::Medium, other.medium);
        self.add(Size::Large, other.large);
    }

    /// Those at a size.
    pub fn of(self, size: Size) -> u64 {
        match size {
            Size::Small => self.small,
            Size::Medium => self.medium,
            Size::Large => self.large,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_read_and_told_alike() {
        let month: Month = "2026-12".parse().unwrap();
        assert_eq!((month.to_string(), month.next().to_string()), ("2026-12".to_owned(), "2027-01".to_owned()));
        assert_eq!(month.end().to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(Month::of(month.end()), month.next());
        assert_eq!(month.until("2027-02".parse().unwrap()).count(), 3);
        assert_eq!(month.next().until(month).count(), 0);
        for wrong in ["", "2026", "2026-13", "2026-1", "26-01", "2026-01-01", "2026-00", "+026-01"] {
            assert!(wrong.parse::<Month>().is_err(), "{wrong}");
        }
        let last: Month = "9999-12".parse().unwrap();
        assert_eq!((last.next(), last.until(last).count()), (last, 1));
    }
}
