//! Whatever a network does between them, both sides see one stream.

use super::{NotKept, Received, Sent, TELL_AFTER};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::VecDeque;

/// Small, so that it is often full.
const MAX: usize = 40;

#[derive(Debug, Clone)]
enum Step {
    /// The sender has so many bytes more, as far as there is room.
    Send(usize),
    /// So many bytes in flight arrive.
    Arrive(usize),
    /// The receiver says what it has; it is on its way.
    Tell,
    /// So many such words arrive.
    Hear(usize),
    /// One of them arrives a second time.
    HearAgain,
    /// The connection is lost with all in flight, after so many bytes and words of it still arrived; another is made.
    Cut(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..30_usize).prop_map(Step::Send),
        4 => (1..30_usize).prop_map(Step::Arrive),
        2 => Just(Step::Tell),
        2 => (1..3_usize).prop_map(Step::Hear),
        1 => Just(Step::HearAgain),
        1 => (0..30_usize, 0..3_usize).prop_map(|(bytes, words)| Step::Cut(bytes, words)),
    ]
}

/// One direction and what is under way on its connection.
struct Line {
    sent: Sent,
    received: Received,
    /// All that was sent, and all that arrived.
    said: Vec<u8>,
    seen: Vec<u8>,
    flight: VecDeque<u8>,
    words: VecDeque<u64>,
    heard: Option<u64>,
}

impl Line {
    fn new() -> Self {
        let (said, seen, flight, words) = (Vec::new(), Vec::new(), VecDeque::new(), VecDeque::new());
        Self { sent: Sent::new(MAX), received: Received::default(), said, seen, flight, words, heard: None }
    }

    fn arrive(&mut self, length: usize) {
        let arrived: Vec<u8> = self.flight.drain(..length.min(self.flight.len())).collect();
        self.received.take(arrived.len());
        self.seen.extend(arrived);
    }

    fn hear(&mut self, count: usize) {
        for word in self.words.drain(..count.min(self.words.len())) {
            self.sent.acknowledge(word).expect("no more is acknowledged than was sent");
            self.heard = Some(word);
        }
    }

    fn cut(&mut self) {
        self.flight.clear();
        self.words.clear();
        let again = self.sent.resume(self.received.tell()).expect("what is missing is kept");
        self.flight.extend(again);
    }

    fn walk(&mut self, step: &Step) {
        match *step {
            Step::Send(length) => {
                // Bytes that repeat late only, so that one missing, doubled or out of order shows.
                let bytes: Vec<u8> = (0..length).map(|number| ((self.said.len() + number) % 251) as u8).collect();
                let taken = self.sent.push(&bytes);
                self.said.extend(&bytes[..taken]);
                self.flight.extend(&bytes[..taken]);
            }
            Step::Arrive(length) => self.arrive(length),
            Step::Tell => {
                let word = self.received.tell();
                self.words.push_back(word);
            }
            Step::Hear(count) => self.hear(count),
            Step::HearAgain => {
                if let Some(word) = self.heard {
                    self.sent.acknowledge(word).expect("it was right before");
                }
            }
            Step::Cut(bytes, words) => {
                self.arrive(bytes);
                self.hear(words);
                self.cut();
            }
        }
    }
}

proptest! {
    // proves UP-3
    #[test]
    fn whatever_is_cut_the_receiver_sees_what_was_sent(steps in vec(step(), 0..200)) {
        let mut line = Line::new();
        for step in &steps {
            line.walk(step);
            prop_assert!(line.said.starts_with(&line.seen), "after {step:?}");
            prop_assert!(line.sent.unacknowledged() <= MAX);
            prop_assert_eq!(line.sent.end(), line.said.len() as u64);
        }
        line.cut();
        line.arrive(usize::MAX);
        prop_assert_eq!(&line.seen, &line.said);
        line.walk(&Step::Tell);
        line.hear(1);
        prop_assert_eq!(line.sent.room(), MAX, "all is acknowledged");
    }

    #[test]
    fn nothing_is_sent_from_outside_of_what_is_kept(pushed in 0..MAX, acknowledged in 0..MAX, offset in 0..2 * MAX as u64) {
        let mut sent = Sent::new(MAX);
        sent.push(&vec![7; pushed]);
        let (from, end) = (acknowledged.min(pushed) as u64, pushed as u64);
        sent.acknowledge(from).unwrap();
        let refused = NotKept { offset, from, end };
        if (from..=end).contains(&offset) {
            prop_assert_eq!(sent.resume(offset).unwrap().len() as u64, end - offset);
        } else {
            prop_assert_eq!(sent.resume(offset), Err(refused));
            prop_assert_eq!(sent.unacknowledged() as u64, end - from, "and nothing changed");
        }
        if offset > end {
            prop_assert_eq!(sent.acknowledge(offset), Err(refused));
        }
    }
}

#[test]
fn much_is_told_at_once_and_nothing_twice() {
    let mut received = Received::default();
    assert!(!received.is_untold() && !received.is_due());
    received.take(TELL_AFTER as usize - 1);
    assert!(received.is_untold() && !received.is_due());
    received.take(1);
    assert!(received.is_due());
    assert_eq!(received.tell(), TELL_AFTER);
    assert!(!received.is_untold() && !received.is_due());
}

#[test]
fn memory_for_a_flood_is_given_back() {
    let mut sent = Sent::new(1 << 20);
    assert_eq!(sent.push(&vec![0; 2 << 20]), 1 << 20, "no more than there is room for");
    sent.acknowledge(1 << 20).unwrap();
    assert!(sent.kept.capacity() < 1 << 17, "{}", sent.kept.capacity());
}
