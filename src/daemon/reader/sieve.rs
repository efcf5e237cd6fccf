//! Which failures count, and when they happened.
//!
//! While a source is read up to its end for the first time, the stamps of its lines hold, and what
//! is older than findtime is left out. From then on its lines are news: one whose stamp is more
//! than a minute off happened now, whatever it says (a clock or a zone is set wrongly there).

use crate::{
    scan::{Failure, Scan, Scanner, Tally, Wants},
    time::Timestamp,
};

/// News may be so old or so young before their stamps are doubted.
const OFF_S: i64 = 60;
/// Doubts are told once in so many seconds.
const DOUBT_EVERY_S: i64 = 24 * 60 * 60;

/// Sorts the failures of one jail.
#[derive(Debug, Default)]
pub(super) struct Sieve {
    /// Doubts are not told before.
    quiet_until: Option<Timestamp>,
}

/// A stamp that was doubted: how far it lies in the past, and its line.
pub(super) type Doubt = (i64, String);

impl Sieve {
    /// Keeps what counts, with its time. Answers how many were left out, and a doubt to be told.
    pub fn sift(
        &mut self,
        failures: &mut Vec<Failure>,
        operating: bool,
        findtime_s: u64,
        now: Timestamp,
    ) -> (u64, Option<Doubt>) {
        let findtime = i64::try_from(findtime_s).unwrap_or(i64::MAX);
        let oldest = now.plus_secs(findtime.saturating_neg());
        let before = failures.len();
        let mut doubt = None;
        if !operating {
            failures.retain(|failure| failure.time.is_some_and(|time| time >= oldest));
        }
        for failure in failures.iter_mut() {
            let time = failure.time.unwrap_or(now);
            let behind_s = now.secs().saturating_sub(time.secs());
            let is_off = operating && behind_s.abs() > OFF_S;
            if is_off && doubt.is_none() && self.quiet_until.is_none_or(|until| now >= until) {
                self.quiet_until = Some(now.plus_secs(DOUBT_EVERY_S));
                doubt = Some((
                    behind_s,
                    failure.lines.last().map(|line| line.whole().to_string()).unwrap_or_default(),
                ));
            }
            // Nothing has happened yet that will happen tomorrow.
            failure.time = Some(if is_off { now } else { time.min(now) });
        }
        ((before - failures.len()) as u64, doubt)
    }
}

/// Collects the failures of a block.
#[derive(Debug, Default)]
pub(super) struct Found(pub Vec<Failure>);

impl Found {
    /// Takes what counts of a line's scan.
    pub fn take(&mut self, scan: Scan) {
        let counts = |failure: &Failure| !failure.nofail && failure.id.is_some();
        self.0.extend(scan.failures.into_iter().filter(counts));
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

    fn sifted(ages: &[Option<i64>], operating: bool) -> (Vec<i64>, u64, Option<i64>) {
        let failure = |age: &Option<i64>| Failure {
            time: age.map(|age| Timestamp::from_secs(NOW - age)),
            ..Failure::default()
        };
        let mut failures: Vec<Failure> = ages.iter().map(failure).collect();
        let now = Timestamp::from_secs(NOW);
        let (stale, doubt) = Sieve::default().sift(&mut failures, operating, 600, now);
        let ages = failures.iter().map(|failure| NOW - failure.time.unwrap().secs()).collect();
        (ages, stale, doubt.map(|(behind, _)| behind))
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
            let time = Some(Timestamp::from_secs(NOW - 7200));
            let mut failures = vec![Failure { time, ..Failure::default() }];
            doubts += u32::from(sieve.sift(&mut failures, true, 600, now).1.is_some());
        }
        assert_eq!(doubts, 2);
    }
}
