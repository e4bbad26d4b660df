//! A measurement, its target, its peer, and whether it is ahead.

use serde::Serialize;
use std::fmt::Write as _;

/// Whether less is better, as for times, or more, as for requests a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    Less,
    More,
}

/// What is promised: of the median, and of the worst in a hundred.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
    /// As it is printed.
    pub(super) text: &'static str,
}

/// One line of the report. The fields and their names are the ones other tools read.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Record {
    pub(super) name: &'static str,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) unit: &'static str,
    pub(super) target: &'static str,
    pub(super) peer: Option<String>,
    pub(super) peer_p50: Option<f64>,
    pub(super) peer_p99: Option<f64>,
    /// Above 1: ahead of the peer.
    pub(super) ratio: Option<f64>,
    /// Whether the target was missed.
    pub(super) missed: bool,
    /// Why it, or its peer, was not measured; then there are no numbers of it.
    pub(super) not_run: Option<String>,
}

impl Record {
    /// Of samples, in the unit given.
    pub(super) fn of(name: &'static str, unit: &'static str, better: Better, samples: &[f64], target: Target) -> Self {
        let (p50, p99) = (percentile(samples, 50.0, better), percentile(samples, 99.0, better));
        let misses = |value: f64, limit: Option<f64>| {
            limit.is_some_and(|limit| match better {
                Better::Less => value > limit,
                Better::More => value < limit,
            })
        };
        let missed = misses(p50, target.p50) || misses(p99, target.p99);
        Self {
            name,
            p50,
            p99,
            unit,
            target: target.text,
            peer: None,
            peer_p50: None,
            peer_p99: None,
            ratio: None,
            missed,
            not_run: None,
        }
    }

    /// What could not be measured here, and why.
    pub(super) fn not_run(name: &'static str, unit: &'static str, target: Target, why: &str) -> Self {
        let record = Self::of(name, unit, Better::Less, &[], Target { p50: None, p99: None, ..target });
        Self { not_run: Some(why.to_owned()), ..record }
    }

    /// Beside a peer measured in the same run.
    pub(super) fn beside(mut self, peer: &str, better: Better, samples: &[f64]) -> Self {
        let (p50, p99) = (percentile(samples, 50.0, better), percentile(samples, 99.0, better));
        let ratio = match better {
            Better::Less => p50 / self.p50,
            Better::More => self.p50 / p50,
        };
        (self.peer, self.peer_p50, self.peer_p99) = (Some(peer.to_owned()), Some(p50), Some(p99));
        self.ratio = ratio.is_finite().then_some(ratio);
        self
    }

    /// Beside what is no peer, to be read along: another run of our own, or a time of another kind. There is no ratio.
    pub(super) fn along(self, what: &str, better: Better, samples: &[f64]) -> Self {
        Self { ratio: None, ..self.beside(what, better, samples) }
    }
}

/// The value that `percent` of the samples are at least as good as.
fn percentile(samples: &[f64], percent: f64, better: Better) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    if better == Better::More {
        sorted.reverse();
    }
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).or(sorted.last()).copied().unwrap_or(f64::NAN)
}

/// The records as a table.
pub(super) fn table(records: &[Record]) -> String {
    let mut text = format!(
        "{:<21} {:>10} {:>10} {:<8} {:<28} {:<28} {:>10} {:>10} {:>6}\n",
        "name", "p50", "p99", "unit", "target", "peer", "p50", "p99", "ratio"
    );
    for record in records {
        let number = |value: Option<f64>| number(value, 2);
        let _ = writeln!(
            text,
            "{:<21} {:>10} {:>10} {:<8} {:<28} {:<28} {:>10} {:>10} {:>6}{}",
            record.name,
            number(Some(record.p50)),
            number(Some(record.p99)),
            record.unit,
            record.target,
            record.peer.as_deref().unwrap_or("-"),
            number(record.peer_p50),
            number(record.peer_p99),
            number(record.ratio),
            match &record.not_run {
                Some(why) => format!("  NOT RUN: {why}"),
                None if record.missed => "  MISSED".to_owned(),
                None => String::new(),
            }
        );
    }
    text
}

/// With so many digits behind the point; nothing is a dash.
pub(super) fn number(value: Option<f64>, digits: usize) -> String {
    value.filter(|value| value.is_finite()).map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::{Better, Record, Target, table};

    #[test]
    fn the_worst_in_a_hundred_is_the_slowest_or_the_fewest() {
        let samples: Vec<f64> = (1..=100).map(f64::from).collect();
        let target = Target { p50: Some(40.0), p99: Some(100.0), text: "< 40" };
        let times = Record::of("a", "ms", Better::Less, &samples, target);
        assert_eq!((times.p50, times.p99, times.missed), (50.0, 99.0, true));
        let rates =
            Record::of("b", "req/s", Better::More, &samples, Target { p50: Some(40.0), p99: None, text: "≥ 40" });
        assert_eq!((rates.p50, rates.p99, rates.missed), (51.0, 2.0, false));
        let beside = rates.beside("peer", Better::More, &[25.5]);
        assert_eq!(beside.ratio, Some(2.0));
    }

    #[test]
    fn what_was_not_run_has_no_numbers_and_says_why() {
        let target = Target { p50: Some(1.0), p99: None, text: "< 1" };
        let record = Record::not_run("a", "ms", target, "too few descriptors");
        assert!(!record.missed && serde_json::to_value(&record).unwrap()["p50"].is_null());
        assert!(table(&[record]).ends_with("NOT RUN: too few descriptors\n"));
    }
}
