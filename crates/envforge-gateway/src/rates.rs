//! Rates: how often one address, and one link, may ask.
//!
//! A [`Pace`] lets so many requests through each second, and a burst at once (the generic cell rate algorithm, as in ITU-T
//! I.371: one number tells when the next request would be due if they came evenly). Verified requests are paced by what they
//! were let in with, strangers by their address, so that whoever floods is slowed down and nobody else is.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// Addresses known to a shard before those are forgotten that may ask at once anyway.
const KNOWN: usize = 4096;
const SHARDS: usize = 16;

/// So many a second, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Each second; zero is no limit.
    pub each_second: u32,
    /// At once.
    pub burst: u32,
}

impl Rate {
    /// So many times as often.
    pub(crate) fn times(self, factor: u32) -> Self {
        let Self { each_second, burst } = self;
        Self { each_second: each_second.saturating_mul(factor), burst: burst.saturating_mul(factor) }
    }

    fn interval(self) -> u64 {
        1_000_000_000 / u64::from(self.each_second.max(1))
    }

    /// When the next is due after one at `now`, in nanoseconds; or how long to wait.
    fn next(self, due: u64, now: u64) -> Result<u64, Duration> {
        let due = due.max(now);
        let ahead = self.interval() * u64::from(self.burst.saturating_sub(1));
        if due - now > ahead {
            return Err(Duration::from_nanos(due - now - ahead));
        }
        Ok(due + self.interval())
    }
}

/// The pace of one of those who ask.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// Lets one more through, or tells how long to wait.
    pub(crate) fn take(&self, rate: Rate, since: Instant) -> Result<(), Duration> {
        if rate.each_second == 0 {
            return Ok(());
        }
        let now = since.elapsed().as_nanos() as u64;
        let mut due = self.0.load(Ordering::Relaxed);
        loop {
            let next = rate.next(due, now)?;
            match self.0.compare_exchange_weak(due, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => due = other,
            }
        }
    }
}

/// What an address is counted as: of IPv6, the network a household or a machine is given, because it has all addresses of
/// it.
pub(crate) fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// The paces of addresses.
#[derive(Debug)]
pub(crate) struct Addresses {
    rate: Rate,
    since: Instant,
    shards: [Mutex<HashMap<IpAddr, u64>>; SHARDS],
}

impl Addresses {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, since: Instant::now(), shards: Default::default() }
    }

    fn shard(&self, key: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, u64>> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.shards[hasher.finish() as usize % SHARDS].lock().expect("no panic while held")
    }

    /// Whether one more of this address would be let through, else how long to wait.
    pub(crate) fn look(&self, address: IpAddr) -> Result<(), Duration> {
        if self.rate.each_second == 0 {
            return Ok(());
        }
        let key = household(address);
        let due = self.shard(key).get(&key).copied().unwrap_or_default();
        self.rate.next(due, self.since.elapsed().as_nanos() as u64).map(drop)
    }

    /// Lets one more of this address through, or tells how long to wait.
    pub(crate) fn take(&self, address: IpAddr) -> Result<(), Duration> {
        if self.rate.each_second == 0 {
            return Ok(());
        }
        let key = household(address);
        let mut known = self.shard(key);
        let now = self.since.elapsed().as_nanos() as u64;
        if known.len() >= KNOWN && !known.contains_key(&key) {
            known.retain(|_, due| *due > now);
            if known.len() >= KNOWN {
                known.clear();
            }
        }
        let due = known.entry(key).or_default();
        *due = self.rate.next(*due, now)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { each_second: 10, burst: 3 };

    // proves LINK-4
    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_through_and_then_so_many_each_second() {
        let (pace, since) = (Pace::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(pace.take(RATE, since), Ok(()));
        }
        assert_eq!(pace.take(RATE, since), Err(Duration::from_millis(100)));
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(pace.take(RATE, since), Ok(()));
        assert!(pace.take(RATE, since).is_err());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!((0..9).filter(|_| pace.take(RATE, since).is_ok()).count(), 3, "rest is not saved up");
        assert!((0..100).all(|_| pace.take(Rate { each_second: 0, burst: 0 }, since).is_ok()));
    }

    // proves LINK-4
    #[tokio::test(start_paused = true)]
    async fn whoever_floods_slows_down_nobody_else() {
        let addresses = Addresses::new(RATE);
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let taken = |text: &str| (0..100).filter(|_| addresses.take(address(text)).is_ok()).count();
        assert_eq!(addresses.look(address("10.0.0.1")), Ok(()));
        assert_eq!(taken("10.0.0.1"), 3);
        assert!(addresses.look(address("10.0.0.1")).is_err());
        assert_eq!(taken("10.0.0.2"), 3);
        assert_eq!(taken("::ffff:10.0.0.1"), 0, "the same address, written differently");
        assert_eq!((taken("2001:db8::1"), taken("2001:db8::2"), taken("2001:db8:0:1::1")), (3, 0, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn it_stays_bounded() {
        let addresses = Addresses::new(RATE);
        for n in 0..200_000_u32 {
            assert!(addresses.take(IpAddr::from(n.to_be_bytes())).is_ok());
        }
        assert!(addresses.shards.iter().all(|shard| shard.lock().expect("no panic").len() <= KNOWN));
    }
}
