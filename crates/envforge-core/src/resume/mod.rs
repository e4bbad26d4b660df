//! A stream of bytes that outlives its connections.
//!
//! Each direction is counted in bytes from its beginning. The side that sends keeps what the other has not acknowledged
//! ([`Sent`]); the side that receives counts what it took for good ([`Received`]), says so now and then, and says so again at the
//! beginning of each connection: the sender begins exactly there.
//!
//! ```text
//!   Sent:      ...acknowledged | kept, perhaps received | to come
//!                             from                     end
//!   Received:  ...taken                   | to come
//!                                       count            from ≤ count ≤ end
//! ```
//!
//! What was in flight when a connection was lost is therefore neither missing nor there twice, whatever part of it had
//! arrived. What is kept is bounded: a side without room sends nothing more until it hears.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

/// After this many bytes a receiver says what it has, without waiting any longer.
pub const TELL_AFTER: u64 = 32 * 1024;
/// Most bytes of a terminal's input that its client sends without hearing that they were taken. Part of the protocol: a server
/// has room for as many, so that what else a client says never waits behind them.
pub const INPUT_MAX: usize = 256 * 1024;
/// What is kept beyond need is given back above this.
const SPARE: usize = 64 * 1024;

/// An offset that nothing can be sent from, or acknowledged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset} is not among those kept, {from} to {end}")]
pub struct NotKept {
    /// What was asked for.
    pub offset: u64,
    /// The first byte that is kept.
    pub from: u64,
    /// The one after the last.
    pub end: u64,
}

/// One direction as its sender sees it.
#[derive(Debug)]
pub struct Sent {
    from: u64,
    kept: VecDeque<u8>,
    max: usize,
}

impl Sent {
    /// A stream of which at most so many bytes are kept.
    pub fn new(max: usize) -> Self {
        Self { from: 0, kept: VecDeque::new(), max }
    }

    /// How many bytes may be sent now.
    pub fn room(&self) -> usize {
        self.max - self.kept.len()
    }

    /// How many bytes are not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.kept.len()
    }

    /// How many bytes were sent since the beginning.
    pub fn end(&self) -> u64 {
        self.from + self.kept.len() as u64
    }

    /// Takes note of what is sent; how many bytes there was room for. The others may not be sent.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let length = bytes.len().min(self.room());
        self.kept.extend(&bytes[..length]);
        length
    }

    /// The other side has all before `offset`. To be told so twice, or late, changes nothing.
    pub fn acknowledge(&mut self, offset: u64) -> Result<(), NotKept> {
        if offset > self.end() {
            return Err(self.not_kept(offset));
        }
        let length = usize::try_from(offset.saturating_sub(self.from)).unwrap_or(usize::MAX);
        self.kept.drain(..length);
        self.from = self.from.max(offset);
        if self.kept.capacity() > SPARE && self.kept.len() < SPARE / 2 {
            self.kept.shrink_to(SPARE / 2);
        }
        Ok(())
    }

    /// Whether a connection can go on at `offset`.
    pub fn has(&self, offset: u64) -> Result<(), NotKept> {
        if (self.from..=self.end()).contains(&offset) { Ok(()) } else { Err(self.not_kept(offset)) }
    }

    /// What is to be sent first over another connection, whose other side has all before `offset`.
    pub fn resume(&mut self, offset: u64) -> Result<Vec<u8>, NotKept> {
        self.has(offset)?;
        self.acknowledge(offset)?;
        Ok(self.kept.iter().copied().collect())
    }

    fn not_kept(&self, offset: u64) -> NotKept {
        NotKept { offset, from: self.from, end: self.end() }
    }
}

/// One direction as its receiver sees it.
#[derive(Debug, Default)]
pub struct Received {
    count: u64,
    told: u64,
}

impl Received {
    /// So many bytes more were taken for good.
    pub fn take(&mut self, length: usize) {
        self.count += length as u64;
    }

    /// Whether there is something the other side was not told.
    pub fn is_untold(&self) -> bool {
        self.told < self.count
    }

    /// Whether it is so much that it should be told at once.
    pub fn is_due(&self) -> bool {
        self.count - self.told >= TELL_AFTER
    }

    /// How many bytes were taken since the beginning, for the other side to be told now.
    pub fn tell(&mut self) -> u64 {
        self.told = self.count;
        self.count
    }
}
