//! Going on where a log was left: which lines of a log that is read again are new.
//!
//! It is read from its start, and while it begins with the line it began with, the lines printed are counted off. A
//! long log loses its beginning (a host keeps so much, and gives so many lines): then the lines printed last are looked
//! for, and what follows them is new.

use std::collections::VecDeque;

/// Lines looked for together: one alone may well be there twice.
const WINDOW: usize = 100;

/// What was printed of a log, and the place in it when it is read again.
#[derive(Debug, Default)]
pub(crate) struct Resume {
    count: u64,
    first: Vec<u8>,
    last: VecDeque<Vec<u8>>,
    place: Place,
}

#[derive(Debug, Default)]
enum Place {
    /// Before its first line.
    #[default]
    Start,
    /// So many more were printed.
    Printed(u64),
    /// Where the lines printed last may still come; these came so far.
    Search(Vec<Vec<u8>>),
    /// Behind all that was printed.
    New,
}

impl Resume {
    /// Lines printed so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The log is read again, from its start.
    pub(crate) fn again(&mut self) {
        self.place = Place::Start;
    }

    /// Takes the log's next line, and gives it back if it is new.
    pub(crate) fn next(&mut self, line: Vec<u8>) -> Option<Vec<u8>> {
        if matches!(self.place, Place::Start) {
            self.place = match self.count {
                0 => Place::New,
                count if line == self.first => Place::Printed(count),
                _ => Place::Search(Vec::new()),
            };
        }
        match &mut self.place {
            Place::Printed(1) => self.place = Place::New,
            Place::Printed(left) => *left -= 1,
            Place::Search(came) => {
                came.push(line);
                let from = came.len().saturating_sub(self.last.len());
                if came[from..].iter().eq(&self.last) {
                    self.place = Place::New;
                }
            }
            Place::Start | Place::New => return Some(self.printed(line)),
        }
        None
    }

    /// No more of the past will come: what was held back for it is new, but for the lines printed that are its beginning.
    pub(crate) fn rest(&mut self) -> Vec<Vec<u8>> {
        let Place::Search(came) = &mut self.place else { return Vec::new() };
        let mut came = std::mem::take(came);
        let known = self.last.len().min(came.len());
        let is_end = |length: &usize| came[..*length].iter().eq(self.last.range(self.last.len() - length..));
        let known = (0..=known).rev().find(is_end).unwrap_or(0);
        self.place = Place::New;
        came.drain(..known);
        came.into_iter().map(|line| self.printed(line)).collect()
    }

    fn printed(&mut self, line: Vec<u8>) -> Vec<u8> {
        if self.count == 0 {
            self.first.clone_from(&line);
        }
        self.count += 1;
        if self.last.len() == WINDOW {
            self.last.pop_front();
        }
        self.last.push_back(line.clone());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a log of the numbers in a range, from its start, and returns the new ones.
    fn read(resume: &mut Resume, log: std::ops::Range<u32>) -> Vec<u32> {
        resume.again();
        let lines = log.map(|number| number.to_string().into_bytes());
        let mut new: Vec<_> = lines.filter_map(|line| resume.next(line)).collect();
        new.extend(resume.rest());
        new.iter().map(|line| String::from_utf8_lossy(line).parse().expect("a number")).collect()
    }

    #[test]
    fn only_what_is_new_is_given() {
        let mut resume = Resume::default();
        assert_eq!(read(&mut resume, 0..3), [0, 1, 2]);
        assert_eq!(read(&mut resume, 0..3), [] as [u32; 0]);
        assert_eq!(read(&mut resume, 0..5), [3, 4]);
        assert_eq!(resume.count(), 5);
    }

    #[test]
    fn a_log_that_lost_its_beginning_is_gone_on_with() {
        let mut resume = Resume::default();
        let all = read(&mut resume, 0..1000);
        assert_eq!(all.len(), 1000);
        assert_eq!(read(&mut resume, 500..1002), [1000, 1001]);
        assert_eq!(read(&mut resume, 990..1003), [1002], "most of the lines looked for are gone, too");
        assert_eq!(read(&mut resume, 1003..1005), [1003, 1004], "all of them are");
        assert_eq!(read(&mut resume, 1004..1004), [] as [u32; 0]);
    }

    #[test]
    fn equal_lines_are_told_apart_by_their_number() {
        let mut resume = Resume::default();
        let mut read = |count: usize| {
            resume.again();
            (0..count).filter_map(|_| resume.next(b"tick".to_vec())).count()
        };
        assert_eq!((read(2), read(5), read(5)), (2, 3, 0));
    }
}
