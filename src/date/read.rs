//! From the groups of a match to a moment.
//!
//! What a stamp leaves out is taken from the present: the year (last year's, if the date would lie
//! more than a day ahead), or the whole date (yesterday's, if the time is yet to come). A stamp
//! without zone is read in the configured zone, else in the machine's. Fractions of a second
//! count for epoch stamps only.

use super::calendar::Calendar;
use super::directive::{DAYS, MONTHS};
use super::matcher::digit_value;
use super::zone::minutes_east;
use crate::time::{Civil, Timestamp, Zone};

const DAY_SECONDS: i64 = 86_400;

/// What a named group of a pattern holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Field {
    Year,
    ShortYear,
    Month,
    MonthName,
    ShortMonthName,
    Day,
    Hour,
    HalfDayHour,
    HalfDay,
    Minute,
    Second,
    DayName,
    ShortDayName,
    DayNumber,
    YearDay,
    WeekFromSunday,
    WeekFromMonday,
    Zone,
}

impl Field {
    /// The fields among the groups, in the order of the groups.
    pub(crate) fn list(names: &[(String, usize)]) -> Vec<(Field, usize)> {
        names.iter().filter_map(|(name, group)| Some((Field::of(name)?, *group))).collect()
    }

    fn of(name: &str) -> Option<Field> {
        Some(match name {
            "Y" => Field::Year,
            "y" => Field::ShortYear,
            "m" => Field::Month,
            "B" => Field::MonthName,
            "b" => Field::ShortMonthName,
            "d" => Field::Day,
            "H" => Field::Hour,
            "I" => Field::HalfDayHour,
            "p" => Field::HalfDay,
            "M" => Field::Minute,
            "S" => Field::Second,
            "A" => Field::DayName,
            "a" => Field::ShortDayName,
            "w" => Field::DayNumber,
            "j" => Field::YearDay,
            "U" => Field::WeekFromSunday,
            "W" => Field::WeekFromMonday,
            "z" | "Z" => Field::Zone,
            _ => return None,
        })
    }
}

/// The present and the zones by which a stamp is read.
#[derive(Debug)]
pub(crate) struct Reader<'c> {
    pub(crate) now: Timestamp,
    /// Zone of stamps that name none, if one was configured.
    pub(crate) default_zone: Option<Zone>,
    /// In the machine's zone.
    pub(crate) calendar: &'c mut Calendar,
}

/// A moment read from a stamp.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Read {
    pub(crate) at: Timestamp,
    /// The present was needed to read it.
    pub(crate) assumed: bool,
}

/// The fields as found. A later group overrules an earlier one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Found {
    pub(crate) year: Option<i64>,
    pub(crate) month: Option<i64>,
    pub(crate) day: Option<i64>,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) weekday: Option<i64>,
    pub(crate) year_day: Option<i64>,
    /// Week of the year, and whether weeks begin on Monday.
    pub(crate) week: Option<(i64, bool)>,
    pub(crate) zone_minutes: Option<i32>,
}

impl Reader<'_> {
    /// Reads civil fields; `None` for a date that no calendar has.
    pub(crate) fn civil<'l>(
        self,
        fields: &[(Field, usize)],
        group: impl Fn(usize) -> Option<&'l str>,
    ) -> Option<Read> {
        let mut found = Found::default();
        for (field, number) in fields {
            if let Some(text) = group(*number) {
                found.set(*field, text, fields, &group)?;
            }
        }
        self.resolve(found)
    }

    /// Completes the fields, and finds the moment.
    pub(crate) fn resolve(self, mut found: Found) -> Option<Read> {
        let assume_year = found.year.is_none();
        let mut year = match found.year {
            Some(year) => year,
            None => i64::from(self.calendar.civil(self.now)?.year),
        };
        if found.month.is_none() || found.day.is_none() {
            if let (None, Some(week), Some(weekday)) = (found.year_day, found.week, found.weekday) {
                found.year_day = Some(day_of_week(year, week, weekday)?);
            }
            if let Some(ordinal) = found.year_day {
                let day = Civil::from_year_day(checked_year(year)?, ordinal)?;
                year = i64::from(checked_year(i64::from(day.year))?);
                found.month = Some(i64::from(day.month));
                found.day = Some(i64::from(day.day));
            }
        }
        let assume_today = found.month.is_none() && found.day.is_none();
        let (month, day) = if assume_today {
            let now = self.calendar.civil(self.now)?;
            (i64::from(now.month), i64::from(now.day))
        } else {
            (found.month?, found.day?)
        };

        let written = Civil {
            year: checked_year(year)?,
            month: u32::try_from(month).ok()?,
            day: u32::try_from(day).ok()?,
            hour: u32::try_from(found.hour).ok()?,
            minute: u32::try_from(found.minute).ok()?,
            second: u32::try_from(found.second).ok()?,
        };
        let mut seconds = written.seconds_as_utc()?;
        let east = match (found.zone_minutes, self.default_zone) {
            (Some(minutes), _) => Some(i64::from(minutes) * 60),
            (None, Some(Zone::Fixed(east))) => Some(i64::from(east)),
            (None, Some(Zone::Local) | None) => None,
        };
        seconds -= east.unwrap_or(0);

        // The present is compared as the clock on the wall shows it, stamps with zones as UTC.
        let mut date = written;
        if assume_year || assume_today {
            let now = self.calendar.civil(self.now)?.seconds_as_utc()?;
            if assume_today && seconds > now {
                seconds -= DAY_SECONDS;
            }
            date = Civil::from_utc_seconds(seconds)?;
            checked_year(i64::from(date.year))?;
            if assume_year && seconds > now + DAY_SECONDS {
                date = Civil {
                    year: checked_year(year - 1)?,
                    month: written.month,
                    day: written.day,
                    ..date
                };
                seconds = date.seconds_as_utc()?;
            }
        } else if !(2..9999).contains(&written.year) {
            // A zone may carry the first and the last hours over the edge of the calendar.
            checked_year(i64::from(Civil::from_utc_seconds(seconds)?.year))?;
        }
        let at = match east {
            Some(_) => Timestamp::from_secs(seconds),
            None => self.calendar.timestamp(date)?,
        };
        Some(Read { at, assumed: assume_year || assume_today })
    }
}

impl Found {
    fn set<'l>(
        &mut self,
        field: Field,
        text: &str,
        fields: &[(Field, usize)],
        group: &impl Fn(usize) -> Option<&'l str>,
    ) -> Option<()> {
        let number = || integer(text);
        match field {
            Field::Year => self.year = Some(number()?),
            Field::ShortYear => {
                let year = number()?;
                self.year = Some(if year <= 2000 { year + 2000 } else { year });
            }
            Field::Month => self.month = Some(number()?),
            Field::MonthName => self.month = Some(position(&MONTHS, text, None)? + 1),
            Field::ShortMonthName => self.month = Some(position(&MONTHS, text, Some(3))? + 1),
            Field::Day => self.day = Some(number()?),
            Field::Hour => self.hour = number()?,
            Field::HalfDayHour => {
                let half = fields.iter().find(|(field, _)| *field == Field::HalfDay);
                let half = match half {
                    // Written into the pattern, it must be there.
                    Some((_, number)) => group(*number)?.to_lowercase(),
                    None => String::new(),
                };
                self.hour = match (number()?, half.as_str()) {
                    (12, "" | "am") => 0,
                    (hour, "pm") if hour != 12 => hour + 12,
                    (hour, _) => hour,
                };
            }
            Field::HalfDay => {}
            Field::Minute => self.minute = number()?,
            Field::Second => self.second = number()?,
            Field::DayName => self.weekday = Some(position(&DAYS, text, None)?),
            Field::ShortDayName => self.weekday = Some(position(&DAYS, text, Some(3))?),
            // 0 is Sunday, which is the last day of the week here.
            Field::DayNumber => {
                let day = number()?;
                self.weekday = Some(if day < 1 { 6 } else { day - 1 });
            }
            Field::YearDay => self.year_day = Some(number()?),
            Field::WeekFromSunday => self.week = Some((number()?, false)),
            Field::WeekFromMonday => self.week = Some((number()?, true)),
            Field::Zone => self.zone_minutes = Some(minutes_east(text)?),
        }
        Some(())
    }
}

fn checked_year(year: i64) -> Option<i32> {
    (1..=9999).contains(&year).then(|| i32::try_from(year).ok())?
}

/// The day of the year (from 1; below it for the year before) of a weekday, 0 for Monday, in a
/// week. Week 0 holds the days before the first Monday or Sunday, with which week 1 begins.
fn day_of_week(year: i64, (week, from_monday): (i64, bool), weekday: i64) -> Option<i64> {
    let first = Civil::from_year_day(checked_year(year)?, 1)?.weekday()?;
    let shift = i64::from(!from_monday);
    let first = (i64::from(first) + shift) % 7;
    let weekday = (weekday + shift) % 7;
    if week == 0 {
        return Some(1 + weekday - first);
    }
    Some(1 + (7 - first) % 7 + 7 * (week.checked_sub(1)?) + weekday)
}

/// The place of a name in a list, of which only the first so many letters may count.
fn position(names: &[&str], text: &str, letters: Option<usize>) -> Option<i64> {
    let text = text.to_lowercase();
    let found = names.iter().position(|name| match letters {
        Some(count) => name.get(..count) == Some(text.as_str()),
        None => *name == text,
    })?;
    i64::try_from(found).ok()
}

/// A whole number, with blanks around it if need be; decimal digits of any script.
fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0i64;
    for c in digits.chars() {
        value = value.checked_mul(10)?.checked_add(i64::from(digit_value(c)?))?;
    }
    // More than fits a calendar in any unit; it keeps the arithmetic behind this from overflowing.
    (value < 1_000_000_000_000).then_some(if negative { -value } else { value })
}

/// Seconds since the epoch, as text with decimals. Of a `long` number the digits tell the unit:
/// 16 and more are microseconds, 13 and more (or a long one with decimals) milliseconds.
pub(crate) fn epoch(text: &str, long: bool) -> Option<Timestamp> {
    let length = text.chars().count();
    // Places by which the point is moved to the right to get microseconds.
    let places = match () {
        () if long && length >= 16 && !text.contains('.') => 0,
        () if long && length >= 13 => 3,
        () => 6,
    };
    let (whole, decimals) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let mut micros: i64 = 0;
    let mut round_up = false;
    for c in whole.chars() {
        micros = micros.checked_mul(10)?.checked_add(i64::from(digit_value(c)?))?;
    }
    let mut decimals = decimals.chars();
    for _ in 0..places {
        let digit = decimals.next().map_or(Some(0), digit_value)?;
        micros = micros.checked_mul(10)?.checked_add(i64::from(digit))?;
    }
    for (i, c) in decimals.enumerate() {
        let digit = digit_value(c)?;
        round_up |= i == 0 && digit >= 5;
    }
    (!whole.is_empty()).then_some(Timestamp::from_micros(micros + i64::from(round_up)))
}

/// A TAI64N label: the digits 2 to 16 behind the `@` are seconds. The ten leap seconds of 1970 are
/// not taken off, since fail2ban does not.
pub(crate) fn tai64n(text: &str) -> Option<Timestamp> {
    i64::from_str_radix(text.get(2..17)?, 16).ok().map(Timestamp::from_secs)
}
