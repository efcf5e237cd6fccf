//! Which failures count, and when they happened.
//!
//! While a source is read up to its end for the first time, the stamps of its lines hold, and what
//! is older than findtime is left out. From then on its lines are news: one whose stamp is more
//! than a minute off happened now, whatever it says (a clock or a zone is set wrongly there).

use super::catch::Catch;
use crate::{
    scan::{Failure, Scan, Scanner, Tally, Wants},
    time::Timestamp,
};

/// News may be so old or so young before their stamps are doubted.
const OFF_S: i64 = 60;
/// Doubts are told once in so many seconds.
const DOUBT_EVERY_S: i64 = 24 * 60 * 60;

/// Sorts the failures of one jail.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sieve {
    /// Doubts are not told before.
    quiet_until: Option<Timestamp>,
}

/// A stamp that was doubted: how far it lies in the past, and its line.
pub(super) type Doubt = (i64, String);

/// Collects the failures of a reading that count, each with its time.
#[derive(Debug)]
pub(super) struct Found {
    /// What it is sorted by; whoever lent it takes it back.
    pub sieve: Sieve,
    /// What is read is news.
    pub operating: bool,
    /// What counts.
    pub catch: Catch,
    /// How many were left out.
    pub stale: u64,
    /// Doubts to be told.
    pub doubt: Option<Doubt>,
    oldest: Timestamp,
    now: Timestamp,
}

impl Found {
    /// Nothing yet.
    pub fn new(sieve: Sieve, operating: bool, findtime_s: u64, now: Timestamp) -> Found {
        let findtime = i64::try_from(findtime_s).unwrap_or(i64::MAX);
        Found {
            sieve,
            operating,
            catch: Catch::default(),
            stale: 0,
            doubt: None,
            oldest: now.plus_secs(findtime.saturating_neg()),
            now,
        }
    }

    /// Takes what counts of a line's scan.
    pub fn take(&mut self, scan: Scan) {
        for failure in scan.failures {
            if failure.nofail || failure.id.is_none() {
                continue;
            }
            match self.time_of(&failure) {
                Some(time) => self.catch.push(failure, time),
                None => self.stale += 1,
            }
        }
    }

    /// When a failure happened that counts.
    fn time_of(&mut self, failure: &Failure) -> Option<Timestamp> {
        if !self.operating && failure.time.is_none_or(|time| time < self.oldest) {
            return None;
        }
        let now = self.now;
        let time = failure.time.unwrap_or(now);
        let behind_s = now.secs().saturating_sub(time.secs());
        let is_off = self.operating && behind_s.abs() > OFF_S;
        if is_off && self.sieve.quiet_until.is_none_or(|until| now >= until) {
            self.sieve.quiet_until = Some(now.plus_secs(DOUBT_EVERY_S));
            let line = failure.lines.last().map(|line| line.whole().to_string());
            self.doubt = Some((behind_s, line.unwrap_or_default()));
        }
        // Nothing has happened yet that will happen tomorrow.
        Some(if is_off { now } else { time.min(now) })
    }
}

impl Tally for Found {
    fn scanned(&mut self, _: u64, _: &str, scan: Scan, _: &Scanner) {
        self.take(scan);
    }

    fn wants(&self) -> Wants {
        Wants::Failures
    }

    fn passed(&mut self, _: u64, _: &[u8], _: &Scanner) {}
    fn passed_many(&mut self, _: u64, _: u64) {}
    fn counted(&mut self, _: usize, _: bool) {}
    fn counted_many(&mut self, _: &[u64], _: u64) {}
    fn concluded(&mut self, _: &[u8], _: usize, _: bool, _: bool) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn failures(ages: &[Option<i64>]) -> Scan {
        let failure = |age: &Option<i64>| Failure {
            id: Some("192.0.2.1".into()),
            time: age.map(|age| Timestamp::from_secs(NOW - age)),
            ..Failure::default()
        };
        Scan { failures: ages.iter().map(failure).collect(), ..Scan::default() }
    }

    fn sifted(ages: &[Option<i64>], operating: bool) -> (Vec<i64>, u64, Option<i64>) {
        let now = Timestamp::from_secs(NOW);
        let mut found = Found::new(Sieve::default(), operating, 600, now);
        found.take(failures(ages));
        let ages = found.catch.iter().map(|(_, time)| NOW - time.secs()).collect();
        (ages, found.stale, found.doubt.map(|(behind, _)| behind))
    }

    #[test]
    fn what_is_old_is_left_out_at_first_and_is_news_later() {
        let ages = [Some(601), Some(600), None, Some(0), Some(-5), Some(-90_000)];
        assert_eq!(sifted(&ages, false), (vec![600, 0, 0, 0], 2, None));
        assert_eq!(sifted(&ages, true), (vec![0; 6], 0, Some(601)));
        assert_eq!(sifted(&[Some(60), Some(-60)], true), (vec![60, 0], 0, None));
    }

    #[test]
    fn a_doubt_is_told_once_a_day() {
        let mut sieve = Sieve::default();
        let mut doubts = 0;
        for hour in 0..48 {
            let now = Timestamp::from_secs(NOW + hour * 3600);
            let mut found = Found::new(sieve, true, 600, now);
            found.take(failures(&[Some(7200 - hour * 3600), Some(7200 - hour * 3600)]));
            sieve = found.sieve;
            doubts += u32::from(found.doubt.is_some());
        }
        assert_eq!(doubts, 2);
    }

    #[test]
    fn what_is_no_failure_or_of_nobody_is_left_out() {
        let mut found = Found::new(Sieve::default(), true, 600, Timestamp::from_secs(NOW));
        let mut scan = failures(&[Some(0), Some(0), Some(0)]);
        scan.failures[0].nofail = true;
        scan.failures[1].id = None;
        found.take(scan);
        assert_eq!((found.catch.len(), found.stale), (1, 0));
    }
}
