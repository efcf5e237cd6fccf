//! Moments, civil dates and zones; the only file that reads the clock.
//!
//! Everything else takes `now: Timestamp` as an argument, which is what lets an old log be
//! replayed by the code that runs live. The local zone is whatever `TZ` says (a name, a path or a
//! POSIX rule string such as `CET-1CEST,M3.5.0,M10.5.0/3`), else `/etc/localtime`.

use std::{
    cell::Cell,
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use chrono::{
    Datelike, Local, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone, Timelike,
};

const MICROS: i64 = 1_000_000;

/// A moment: microseconds since 1970-01-01 00:00:00 UTC. Log stamps carry whole seconds, except
/// epoch stamps, which keep their decimals.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From whole seconds since the epoch; saturates instead of wrapping.
    pub const fn from_secs(seconds: i64) -> Timestamp {
        Timestamp(seconds.saturating_mul(MICROS))
    }

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Timestamp {
        Timestamp(micros)
    }

    /// From seconds with a fraction, rounded to the microsecond. NaN becomes the epoch.
    pub fn from_secs_f64(seconds: f64) -> Timestamp {
        Timestamp((seconds * MICROS as f64).round() as i64)
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(MICROS)
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Seconds with their fraction.
    pub fn secs_f64(self) -> f64 {
        self.0 as f64 / MICROS as f64
    }

    /// This moment, `seconds` later (or earlier, if negative).
    pub const fn plus_secs(self, seconds: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(seconds.saturating_mul(MICROS)))
    }
}

/// A date and a time of day as a wall calendar shows them, in no particular zone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Civil {
    /// Year, as `2026`.
    pub year: i32,
    /// Month, 1 to 12.
    pub month: u32,
    /// Day of the month, from 1.
    pub day: u32,
    /// Hour, 0 to 23.
    pub hour: u32,
    /// Minute, 0 to 59.
    pub minute: u32,
    /// Second, 0 to 59.
    pub second: u32,
}

impl Civil {
    fn naive(self) -> Option<NaiveDateTime> {
        NaiveDate::from_ymd_opt(self.year, self.month, self.day)?.and_hms_opt(
            self.hour,
            self.minute,
            self.second,
        )
    }

    /// Seconds since the epoch if this were UTC; `None` for a date that no calendar has
    /// (31 February, second 60).
    pub fn seconds_as_utc(self) -> Option<i64> {
        self.naive().map(|naive| naive.and_utc().timestamp())
    }

    /// The civil time of so many seconds after the epoch, read as UTC.
    pub fn from_utc_seconds(seconds: i64) -> Option<Civil> {
        let naive = chrono::DateTime::from_timestamp(seconds, 0)?.naive_utc();
        Some(Civil::from_naive(naive))
    }

    /// The day that is number `ordinal` (from 1) of `year`, at midnight.
    pub fn from_year_day(year: i32, ordinal: i64) -> Option<Civil> {
        let first = NaiveDate::from_ymd_opt(year, 1, 1)?;
        let day = first.checked_add_signed(chrono::Duration::try_days(ordinal - 1)?)?;
        Some(Civil::from_naive(day.and_hms_opt(0, 0, 0)?))
    }

    /// Day of the week, 0 for Monday to 6 for Sunday.
    pub fn weekday(self) -> Option<u32> {
        self.naive().map(|naive| naive.weekday().num_days_from_monday())
    }

    /// Appends `2005-08-14 12:00:00`. By hand, since each line of our own log has one or two.
    pub fn append_to(self, out: &mut String) {
        let year = u32::try_from(self.year).unwrap_or(10_000);
        if year > 9999 {
            // Writing to a String never fails.
            let _ = write!(out, "{:04}", self.year);
        } else {
            push_digits(out, year, 1000);
        }
        for (mark, number) in [('-', self.month), ('-', self.day), (' ', self.hour)] {
            out.push(mark);
            push_digits(out, number, 10);
        }
        for number in [self.minute, self.second] {
            out.push(':');
            push_digits(out, number, 10);
        }
    }

    fn from_naive(naive: NaiveDateTime) -> Civil {
        Civil {
            year: naive.year(),
            month: naive.month(),
            day: naive.day(),
            hour: naive.hour(),
            minute: naive.minute(),
            second: naive.second(),
        }
    }
}

/// Appends a number from the digit of this place on.
pub(crate) fn push_digits(out: &mut String, number: u32, mut place: u32) {
    while place > 0 {
        out.extend(char::from_digit(number / place % 10, 10));
        place /= 10;
    }
}

/// What is known of the offset of a time that clocks on the wall show, in seconds east.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WallOffset {
    /// They show it once.
    Once(i32),
    /// They show it twice, at these offsets: the earlier moment's, the later one's.
    Twice(i32, i32),
    /// They skip it; the offset is that before the change.
    Never(i32),
}

/// The zone in which a stamp without one is read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Zone {
    /// The machine's zone (`TZ`, else `/etc/localtime`).
    #[default]
    Local,
    /// A fixed number of seconds east of Greenwich.
    Fixed(i32),
}

impl Zone {
    /// The moment at which this zone's clocks show `civil`; `None` for an impossible date.
    ///
    /// As `mktime(3)` decides when it is first called: see [`Zone::timestamp_near`], with no offset.
    pub fn timestamp(self, civil: Civil) -> Option<Timestamp> {
        self.timestamp_near(civil, 0)
    }

    /// The moment at which this zone's clocks show `civil`, for one that follows upon a moment at
    /// which they went `near` seconds before Greenwich; `None` for an impossible date.
    ///
    /// As `mktime(3)` decides: of an hour that occurs twice, that one is meant whose offset held at
    /// `civil` less `near`, so that the stamps of a log go on as they came. An hour that a change to
    /// summer time skips is read with the offset before the change.
    pub fn timestamp_near(self, civil: Civil, near: i64) -> Option<Timestamp> {
        let utc = civil.seconds_as_utc()?;
        let east = match self.offset(civil)? {
            WallOffset::Once(east) | WallOffset::Never(east) => east,
            WallOffset::Twice(earlier, later) => {
                let change = utc.checked_sub(near)?;
                match self.offset_at(change)? == i64::from(later) {
                    true => later,
                    false => earlier,
                }
            }
        };
        Some(Timestamp::from_secs(utc - i64::from(east)))
    }

    /// How far before Greenwich this zone's clocks go when they show `civil`; `None` for an
    /// impossible date.
    pub(crate) fn offset(self, civil: Civil) -> Option<WallOffset> {
        match self {
            Zone::Fixed(east) => Some(WallOffset::Once(east)),
            Zone::Local => local_offset(civil.naive()?),
        }
    }

    fn offset_at(self, utc: i64) -> Option<i64> {
        let civil = self.civil(Timestamp::from_secs(utc))?;
        Some(civil.seconds_as_utc()? - utc)
    }

    /// What this zone's clocks show at `at`.
    pub fn civil(self, at: Timestamp) -> Option<Civil> {
        match self {
            Zone::Fixed(east) => Civil::from_utc_seconds(at.secs() + i64::from(east)),
            Zone::Local => local_civil(at.secs()),
        }
    }
}

thread_local! {
    /// The last two seconds of the local zone that were asked for: lines come by the hundreds in one.
    static ASKED: Cell<[Option<(i64, Civil)>; 2]> = const { Cell::new([None; 2]) };
}

fn local_civil(secs: i64) -> Option<Civil> {
    let asked = ASKED.get();
    if let Some((_, civil)) = asked.into_iter().flatten().find(|(known, _)| *known == secs) {
        return Some(civil);
    }
    let civil = match zone_is_empty() {
        true => Civil::from_utc_seconds(secs)?,
        false => {
            let utc = chrono::DateTime::from_timestamp(secs, 0)?;
            Civil::from_naive(utc.with_timezone(&Local).naive_local())
        }
    };
    let [first, _] = asked;
    ASKED.set([Some((secs, civil)), first]);
    Some(civil)
}

/// `TZ=` (set, but empty) means UTC to the C library; chrono would look elsewhere.
fn zone_is_empty() -> bool {
    std::env::var_os("TZ").is_some_and(|zone| zone.is_empty())
}

fn local_offset(naive: NaiveDateTime) -> Option<WallOffset> {
    if zone_is_empty() {
        return Some(WallOffset::Once(0));
    }
    let east = |offset: chrono::FixedOffset| offset.fix().local_minus_utc();
    Some(match Local.offset_from_local_datetime(&naive) {
        MappedLocalTime::Single(offset) => WallOffset::Once(east(offset)),
        MappedLocalTime::Ambiguous(one, other) => {
            // The earlier moment is the one with the larger offset to the east.
            let (one, other) = (east(one), east(other));
            WallOffset::Twice(one.max(other), one.min(other))
        }
        MappedLocalTime::None => {
            // No zone jumps by more than a day: the offset of the day before is the one before.
            let before = naive.checked_sub_signed(chrono::Duration::try_hours(24)?)?;
            WallOffset::Never(east(Local.offset_from_local_datetime(&before).latest()?))
        }
    })
}

/// The present moment: the one place where the clock is read.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A number that nobody else can guess, for what is left to chance.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds its hash tables from the system's random numbers.
    std::hash::RandomState::new().build_hasher().finish()
}

/// Measures how long something took.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    #[allow(clippy::new_without_default)]
    pub fn start() -> Stopwatch {
        Stopwatch(std::time::Instant::now())
    }

    /// Seconds since the start.
    pub fn seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_zone_is_subtracted() {
        let noon = Civil { year: 2005, month: 8, day: 14, hour: 12, minute: 0, second: 0 };
        assert_eq!(Zone::Fixed(7200).timestamp(noon), Some(Timestamp::from_secs(1_124_013_600)));
        assert_eq!(Zone::Fixed(7200).civil(Timestamp::from_secs(1_124_013_600)), Some(noon));
    }

    #[test]
    fn a_date_that_no_calendar_has_is_none() {
        let day = Civil { year: 2005, month: 2, day: 31, hour: 0, minute: 0, second: 0 };
        assert_eq!(Zone::Fixed(0).timestamp(day), None);
        let leap = Civil { day: 28, second: 60, ..day };
        assert_eq!(Zone::Fixed(0).timestamp(leap), None);
    }

    #[test]
    fn a_civil_time_is_written_with_all_its_digits() {
        let rows = [
            (2005, "2005-08-14 02:03:09"),
            (7, "0007-08-14 02:03:09"),
            (12_345, "12345-08-14 02:03:09"),
            (-5, "-005-08-14 02:03:09"),
        ];
        for (year, expected) in rows {
            let civil = Civil { year, month: 8, day: 14, hour: 2, minute: 3, second: 9 };
            let mut text = String::new();
            civil.append_to(&mut text);
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn what_was_asked_before_is_answered_alike() {
        let seconds = [0, 1_124_013_600, 1_700_000_000, 86_399];
        let first: Vec<_> =
            seconds.iter().map(|at| Zone::Local.civil(Timestamp::from_secs(*at))).collect();
        for (at, expected) in seconds.iter().zip(&first).rev().chain(seconds.iter().zip(&first)) {
            assert_eq!(Zone::Local.civil(Timestamp::from_secs(*at)), *expected);
            let micros = Timestamp::from_micros(at * 1_000_000 + 999_999);
            assert_eq!(Zone::Local.civil(micros), *expected);
        }
    }

    #[test]
    fn fractions_survive() {
        assert_eq!(Timestamp::from_secs_f64(1.25).micros(), 1_250_000);
        assert_eq!(Timestamp::from_micros(-1).secs(), -1);
    }
}
