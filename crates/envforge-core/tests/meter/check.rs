//! What must hold when a story has ended.

use super::*;

impl Story {
    pub(super) fn check(&mut self, vanished: bool) -> Result<(), String> {
        if let Some(from) = self.since.take() {
            self.truth.push((from, self.now));
        }
        if self.open.is_some() || self.meter.runtime.window_open || self.meter.opened_at.is_some() {
            return Err("a window is open although nothing runs any more".to_owned());
        }
        if !vanished && self.meter.runtime.intent == RuntimeIntent::Asleep && self.meter.runtime.session_open {
            return Err("a session goes on although nothing runs any more".to_owned());
        }
        let windows = fold(&self.facts);
        self.check_order(&windows)?;
        let (mut billed, mut unproven, mut excused) = (0, 0, 0);
        for (window, end, doubt) in &self.done {
            let seconds = (end - window.opened) / SECOND;
            let ran: i64 = self
                .truth
                .iter()
                .map(|(from, to)| (*to).min(*end) - (*from).max(window.opened))
                .filter(|ran| *ran > 0)
                .sum();
            if seconds * SECOND > ran + window.excuse + SECOND {
                return Err(format!(
                    "{seconds} s are billed of which {ran} ms ran (clocks excuse {} ms)",
                    window.excuse
                ));
            }
            if window.excuse == 0 && !self.faults.clock && seconds * SECOND > ran {
                return Err(format!("{seconds} s are billed of which only {ran} ms ran"));
            }
            billed += seconds * SECOND;
            unproven += doubt.cast_signed() * SECOND;
            excused += window.excuse;
        }
        let ran: i64 = self.truth.iter().map(|(from, to)| to - from).sum();
        let count = self.done.len() as i64;
        if billed > ran + excused + SECOND * count {
            return Err(format!("{billed} ms are billed and {ran} ms ran"));
        }
        // What is lost: less than a second of each window, and what the receipt says. While the server held the host
        // for lost, or with clocks that are wrong, more.
        let intervals = self.truth.len() as i64;
        let missing = ran - billed;
        if !self.lost && !self.faults.clock {
            if !self.unhealthy && self.deaths == 0 && missing > SECOND * intervals.max(count) {
                return Err(format!("a healthy host: of {ran} ms {missing} are missing in {count} windows"));
            }
            let dies = self.deaths * BEAT;
            if !self.unhealthy && missing > SECOND * intervals.max(count) + dies {
                return Err(format!("{} deaths cost {missing} ms", self.deaths));
            }
            if !self.unhealthy && missing > dies + SECOND * intervals.max(count) + unproven {
                return Err(format!("{missing} ms are missing and the receipt says {unproven}"));
            }
        }
        Ok(())
    }

    pub(super) fn check_order(&self, windows: &[AwakeWindow]) -> Result<(), String> {
        if windows.len() != self.done.len() {
            return Err("a window is lost by the fold".to_owned());
        }
        for (window, (metered, end, _)) in windows.iter().zip(&self.done) {
            if (ms(window.opened_at), window.closed_at.map(ms)) != (metered.opened, Some(*end)) {
                return Err(format!("the fold had to mend a window: {window:?}"));
            }
            if *end < metered.opened || *end > self.now {
                return Err(format!("a window of negative length, or in the future: {window:?}"));
            }
        }
        for pair in windows.windows(2) {
            if pair[0].closed_at.is_none_or(|closed| closed > pair[1].opened_at) {
                return Err(format!("two windows overlap: {pair:?}"));
            }
        }
        Ok(())
    }
}
