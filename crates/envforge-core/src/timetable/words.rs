//! Days and times as one types them: `Mon-Fri 08:30`.

use super::{Day, DueAction, TimetableEntry, time};
use crate::refusal::Refusal;
use std::collections::BTreeSet;

/// What helps where days are not understood.
pub(super) const DAYS_HELP: &str = "give days such as Mon-Fri, Sat,Sun or daily";

impl Day {
    /// The name, as one writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mon => "Mon",
            Self::Tue => "Tue",
            Self::Wed => "Wed",
            Self::Thu => "Thu",
            Self::Fri => "Fri",
            Self::Sat => "Sat",
            Self::Sun => "Sun",
        }
    }
}

impl TimetableEntry {
    /// Reads `Mon-Fri 08:30`; a time alone is of every day.
    pub fn parse(action: DueAction, text: &str) -> Result<Self, Refusal> {
        let (days, at) = text.trim().rsplit_once(char::is_whitespace).unwrap_or(("daily", text.trim()));
        let at = if at.find(':') == Some(1) { format!("0{at}") } else { at.to_owned() };
        time(&at)?;
        Ok(Self { action, days: parse_days(days)?, at })
    }
}

/// Reads `Mon-Fri`, `Sat,Sun`, `Fri-Mon` or `daily`.
pub fn parse_days(text: &str) -> Result<BTreeSet<Day>, Refusal> {
    if text.trim().eq_ignore_ascii_case("daily") {
        return Ok(Day::ALL.into());
    }
    let mut days = BTreeSet::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (day(from)?, day(to)?);
        days.insert(to);
        days.extend(Day::ALL.into_iter().cycle().skip_while(|day| *day != from).take_while(|day| *day != to));
    }
    Ok(days)
}

fn day(text: &str) -> Result<Day, Refusal> {
    let name = text.trim();
    Day::ALL.into_iter().find(|day| name.eq_ignore_ascii_case(day.as_str())).ok_or_else(|| {
        Refusal::invalid("schedule.day", format!("`{}` is not a day of the week", cut(name))).hint(DAYS_HELP)
    })
}

/// Says days as they are read: three or more in a row as a range.
pub fn say_days(days: &BTreeSet<Day>) -> String {
    if days.len() == Day::ALL.len() {
        return "daily".to_owned();
    }
    let mut rows: Vec<Vec<Day>> = Vec::new();
    for day in Day::ALL {
        match rows.last_mut() {
            _ if !days.contains(&day) => {}
            Some(row) if row.last().is_some_and(|last| *last as usize + 1 == day as usize) => row.push(day),
            _ => rows.push(vec![day]),
        }
    }
    let row = |row: &Vec<Day>| match row.as_slice() {
        [first, _, .., last] => format!("{}-{}", first.as_str(), last.as_str()),
        few => few.iter().map(|day| day.as_str()).collect::<Vec<_>>().join(","),
    };
    rows.iter().map(row).collect::<Vec<_>>().join(",")
}

/// What somebody gave, fit to be shown to them.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}
