//! `Bucket`: so many at once, and so many a second; in whole numbers.

use crate::time::Timestamp;

const UNIT: u64 = 1_000_000;

/// How much is allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// At once, after a rest.
    pub burst: u32,
    /// For each second that passes.
    pub per_s: u32,
}

/// What is left of a [`Rate`]; full at the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// Millionths that are used up.
    used: u64,
    at: Timestamp,
}

impl Bucket {
    /// How many are left.
    pub fn left(&mut self, rate: Rate, now: Timestamp) -> u32 {
        let passed = now.micros().saturating_sub(self.at.micros());
        // A clock that was set back gives nothing, and takes nothing.
        let passed = u64::try_from(passed).unwrap_or(0);
        self.at = now;
        self.used = self.used.saturating_sub(passed.saturating_mul(u64::from(rate.per_s)));
        let free = (u64::from(rate.burst) * UNIT).saturating_sub(self.used);
        u32::try_from(free / UNIT).unwrap_or(u32::MAX)
    }

    /// Takes one, if one is left.
    pub fn take(&mut self, rate: Rate, now: Timestamp) -> bool {
        self.take_above(rate, now, 0)
    }

    /// Takes one, if more than `reserve` are left.
    pub fn take_above(&mut self, rate: Rate, now: Timestamp, reserve: u32) -> bool {
        let can = self.left(rate, now) > reserve;
        if can {
            self.used += UNIT;
        }
        can
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_burst_and_then_its_rate() {
        let rate = Rate { burst: 5, per_s: 2 };
        let mut bucket = Bucket::default();
        let at = Timestamp::from_micros;
        let taken = (0..10).filter(|_| bucket.take(rate, at(1_000_000))).count();
        assert_eq!(taken, 5);
        assert!(!bucket.take(rate, at(1_400_000)));
        assert!(bucket.take(rate, at(1_500_000)));
        assert!(!bucket.take(rate, at(1_500_000)));
        assert!(!bucket.take(rate, at(500_000)), "back in time");
        assert!(bucket.take_above(rate, at(9_000_000), 4));
        assert!(!bucket.take_above(rate, at(9_000_000), 4));
    }
}
