//! The commonest stamps, known by their bytes.
//!
//! A [`Shape`] answers for one template: bound to the beginning of the line, or at the place where
//! the template matched last. It says where the date stands only where it is certain that the
//! template's expression matches just there, and that a calendar has the date; whatever is unusual
//! (a fraction of seven digits, a leap day, a letter beyond ASCII) is left to the matcher.

use std::ops::Range;

use super::defaults::{ISO, SYSLOG, WEB};
use super::directive::Decades;
use super::read::Found;
use super::template::LINE_BEGIN;
use super::zone::minutes_east;

/// The same as the default one, as filters write it that want the date to be the first thing.
const ISO_IN_FILTERS: &str = r"%ExY(?P<_sep>[-/.])%m(?P=_sep)%d[T ]%H:%M:%S(?:[.,]%f)?(?:\s*%z)?";

/// A form of date that can be known by its bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    /// `Jan 23 21:59:59`, perhaps with a day's name before and a year behind.
    Syslog(Decades),
    /// `2005-01-23T21:59:59.981+02:00` and its kin.
    Iso(Decades),
    /// `23/Jan/2005:21:59:59 +0100`.
    Web(Decades),
    /// `1106513999.981`.
    Epoch,
}

impl Shape {
    /// The shape of a pattern's stamps, if it has one.
    pub(crate) fn of(pattern: &str, decades: Decades) -> Option<Shape> {
        match pattern.strip_prefix(LINE_BEGIN).unwrap_or(pattern) {
            SYSLOG => Some(Shape::Syslog(decades)),
            ISO | ISO_IN_FILTERS => Some(Shape::Iso(decades)),
            WEB => Some(Shape::Web(decades)),
            _ => None,
        }
    }

    /// Whether these bytes, with nothing behind them, are certainly one date.
    pub(crate) fn fills(self, part: &[u8]) -> bool {
        self.length(part) == Some(part.len())
    }

    /// The fields of a date of which [`Shape::find`] or [`Shape::fills`] was certain. An epoch has
    /// none.
    pub(crate) fn fields(self, date: &[u8]) -> Option<Found> {
        match self {
            Shape::Syslog(_) => syslog_fields(date),
            Shape::Iso(_) => iso_fields(date),
            Shape::Web(_) => web_fields(date),
            Shape::Epoch => None,
        }
    }

    fn length(self, text: &[u8]) -> Option<usize> {
        match self {
            Shape::Syslog(decades) => syslog(text, decades),
            Shape::Iso(decades) => iso(text, decades),
            Shape::Web(decades) => web(text, decades),
            Shape::Epoch => epoch(text),
        }
    }

    /// Where the date stands in a line without its newline; `None` if there is none or if this is
    /// not certain.
    #[inline]
    pub(crate) fn find(self, line: &[u8]) -> Option<Range<usize>> {
        // At most two characters that belong to no word may stand before the date.
        let start = line.iter().take(3).position(|byte| !is_blank_or_mark(*byte))?;
        let rest = line.get(start..)?;
        let length = self.length(rest)?;
        Some(start..start + length)
    }
}

/// An ASCII character that is no `\w`.
fn is_blank_or_mark(byte: u8) -> bool {
    byte.is_ascii() && !byte.is_ascii_alphanumeric() && byte != b'_'
}

/// Whether a word certainly ends before what stands here.
fn ends_word(next: Option<&u8>) -> bool {
    next.is_none_or(|byte| is_blank_or_mark(*byte))
}

fn digit(byte: u8) -> Option<u32> {
    let value = byte.wrapping_sub(b'0');
    (value < 10).then_some(u32::from(value))
}

fn two_digits(tens: u8, ones: u8) -> Option<u32> {
    Some(digit(tens)? * 10 + digit(ones)?)
}

/// A time of day that every clock has. Templates match leap seconds and hour 29, too, but whether
/// such a date can be read is for others to find out.
fn is_clock(bytes: &[u8]) -> bool {
    let &[h, hh, b':', m, mm, b':', s, ss] = bytes else { return false };
    let within = |tens, ones, most| two_digits(tens, ones).is_some_and(|value| value <= most);
    within(h, hh, 23) && within(m, mm, 59) && within(s, ss, 59)
}

/// A day of a month (from 1), in two places of which the first may be blank, that this month has in
/// every year.
fn is_day(month: usize, tens: u8, ones: u8) -> bool {
    let tens = if tens == b' ' { b'0' } else { tens };
    let last = month.checked_sub(1).and_then(|month| LAST_DAYS.get(month)).copied().unwrap_or(0);
    two_digits(tens, ones).is_some_and(|day| (1..=last).contains(&day))
}

const LAST_DAYS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

fn syslog(line: &[u8], decades: Decades) -> Option<usize> {
    let (name, rest) = line.split_first_chunk::<4>()?;
    let skipped = if is_name(name, &DAY_NAMES) { 4 } else { 0 };
    let rest = if skipped > 0 { rest } else { line };
    let (stamp, after) = rest.split_first_chunk::<15>()?;
    let (month, day_and_time) = stamp.split_first_chunk::<4>()?;
    let (&[tens, ones, b' '], clock) = day_and_time.split_first_chunk::<3>()? else { return None };
    if !is_day(month_number(month), tens, ones) || !is_clock(clock) {
        return None;
    }
    let end = skipped + 15;
    match after {
        [] => Some(end),
        // A fraction is left to the matcher.
        [b'.', ..] => None,
        [b' ', b'2', rest @ ..] => match rest {
            [b, c, d, next @ ..] if is_year([b'2', *b, *c, *d], decades) => {
                ends_word(next.first()).then_some(end + 5)
            }
            // Digits beyond ASCII could make a year too.
            _ => rest.iter().take(3).all(u8::is_ascii).then_some(end),
        },
        [next, ..] => is_blank_or_mark(*next).then_some(end),
    }
}

/// Two digits, the first of which may be blank.
fn value(tens: u8, ones: u8) -> Option<i64> {
    let tens = if tens == b' ' { b'0' } else { tens };
    two_digits(tens, ones).map(i64::from)
}

fn year_value([a, b, c, d]: [u8; 4]) -> Option<i64> {
    Some(value(a, b)? * 100 + value(c, d)?)
}

fn clock_fields(clock: &[u8; 8]) -> Option<Found> {
    let &[h, hh, _, m, mm, _, s, ss] = clock;
    Some(Found {
        hour: value(h, hh)?,
        minute: value(m, mm)?,
        second: value(s, ss)?,
        ..Found::default()
    })
}

fn month_value(name: &[u8; 4]) -> Option<i64> {
    i64::try_from(month_number(name)).ok().filter(|month| *month > 0)
}

/// The month of that name, from 1; 0 if there is none.
fn month_number(name: &[u8; 4]) -> usize {
    let lower = lower_name(name);
    MONTH_NAMES.iter().position(|name| *name == lower).map_or(0, |place| place + 1)
}

fn syslog_fields(date: &[u8]) -> Option<Found> {
    let (name, rest) = date.split_first_chunk::<4>()?;
    let stamp = if month_value(name).is_some() { date } else { rest };
    let (month, rest) = stamp.split_first_chunk::<4>()?;
    let (&[tens, ones, _], rest) = rest.split_first_chunk::<3>()?;
    let (clock, year) = rest.split_first_chunk::<8>()?;
    let year = match year {
        [] => None,
        &[_, a, b, c, d] => Some(year_value([a, b, c, d])?),
        _ => return None,
    };
    let (month, day) = (month_value(month), value(tens, ones));
    Some(Found { year, month, day, ..clock_fields(clock)? })
}

fn is_year(year: [u8; 4], decades: Decades) -> bool {
    let [a, b, c, d] = year;
    let decade = || Some(two_digits(a, b)? * 10 + digit(c)?);
    digit(d).is_some() && decade().is_some_and(|decade| decades.has(decade))
}

const fn name(text: &[u8; 4]) -> u32 {
    u32::from_be_bytes(*text)
}

const MONTH_NAMES: [u32; 12] = [
    name(b"jan "),
    name(b"feb "),
    name(b"mar "),
    name(b"apr "),
    name(b"may "),
    name(b"jun "),
    name(b"jul "),
    name(b"aug "),
    name(b"sep "),
    name(b"oct "),
    name(b"nov "),
    name(b"dec "),
];
const DAY_NAMES: [u32; 7] = [
    name(b"mon "),
    name(b"tue "),
    name(b"wed "),
    name(b"thu "),
    name(b"fri "),
    name(b"sat "),
    name(b"sun "),
];

/// Whether these are a name of three letters, in whatever case, and a blank.
fn is_name(text: &[u8; 4], names: &[u32]) -> bool {
    names.contains(&lower_name(text))
}

fn lower_name(text: &[u8; 4]) -> u32 {
    let &[a, b, c, d] = text;
    // 0x20 is what lower case letters have more; no other byte becomes a letter by it.
    u32::from_be_bytes([a | 0x20, b | 0x20, c | 0x20, d])
}

fn iso(line: &[u8], decades: Decades) -> Option<usize> {
    let (stamp, after) = line.split_first_chunk::<19>()?;
    let (&[a, b, c, d, dash, m, mm, other_dash, t, tt, between], clock) =
        stamp.split_first_chunk::<11>()?;
    let fits = is_year([a, b, c, d], decades)
        && matches!(dash, b'-' | b'/' | b'.')
        && dash == other_dash
        && two_digits(m, mm).is_some_and(|month| is_day(month as usize, t, tt))
        && matches!(between, b'T' | b' ')
        && is_clock(clock);
    if !fits {
        return None;
    }
    let fraction = fraction_length(after, b".,", 1)?;
    let after = after.get(fraction..)?;
    Some(19 + fraction + zone_length(after)?)
}

fn iso_fields(date: &[u8]) -> Option<Found> {
    let (stamp, after) = date.split_first_chunk::<19>()?;
    let (&[a, b, c, d, _, m, mm, _, t, tt, _], clock) = stamp.split_first_chunk::<11>()?;
    let clock = clock.first_chunk::<8>()?;
    let fraction = fraction_length(after, b".,", 1)?;
    Some(Found {
        year: Some(year_value([a, b, c, d])?),
        month: value(m, mm),
        day: value(t, tt),
        zone_minutes: zone_value(after.get(fraction..)?)?,
        ..clock_fields(clock)?
    })
}

/// What a zone says, blanks before it included; `Some(None)` where there is none.
fn zone_value(text: &[u8]) -> Option<Option<i32>> {
    let text = text.trim_ascii_start();
    if text.is_empty() {
        return Some(None);
    }
    minutes_east(std::str::from_utf8(text).ok()?).map(Some)
}

/// Only as most web servers write it: day, name of the month and year between two equal marks, a
/// colon or blank, the time, and a zone of four digits or none.
fn web(line: &[u8], decades: Decades) -> Option<usize> {
    let (stamp, after) = line.split_first_chunk::<20>()?;
    let (&[t, tt, mark, a, b, c, other_mark, y, yy, yyy, yyyy, between], clock) =
        stamp.split_first_chunk::<12>()?;
    let fits = t.is_ascii_digit()
        && is_day(month_number(&[a, b, c, b' ']), t, tt)
        && matches!(mark, b'-' | b'/')
        && mark == other_mark
        && is_year([y, yy, yyy, yyyy], decades)
        && matches!(between, b':' | b' ')
        && is_clock(clock);
    if !fits {
        return None;
    }
    match after {
        [] => Some(20),
        [b' ', b'+' | b'-', a, b, c, d, next @ ..]
            if matches!(a, b'0' | b'1') && [b, c, d].iter().all(|byte| byte.is_ascii_digit()) =>
        {
            ends_word(next.first()).then_some(26)
        }
        [b']' | b'[' | b':' | b')' | b'"', ..] => Some(20),
        _ => None,
    }
}

fn web_fields(date: &[u8]) -> Option<Found> {
    let (stamp, zone) = date.split_first_chunk::<20>()?;
    let (&[t, tt, _, a, b, c, _, y, yy, yyy, yyyy, _], clock) = stamp.split_first_chunk::<12>()?;
    Some(Found {
        year: Some(year_value([y, yy, yyy, yyyy])?),
        month: month_value(&[a, b, c, b' ']),
        day: value(t, tt),
        zone_minutes: zone_value(zone)?,
        ..clock_fields(clock.first_chunk::<8>()?)?
    })
}

/// The length of a point and `least` to 6 digits; 0 if there is no fraction, `None` if it is not
/// certain where it ends.
fn fraction_length(text: &[u8], points: &[u8], least: usize) -> Option<usize> {
    let Some((point, rest)) = text.split_first() else { return Some(0) };
    if !points.contains(point) {
        return Some(0);
    }
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match digits {
        0 => ends_word(rest.first()).then_some(0),
        _ if digits < least || digits > 6 => None,
        _ => Some(1 + digits),
    }
}

/// The length of an optional zone, blanks before it included.
fn zone_length(text: &[u8]) -> Option<usize> {
    let (skipped, rest) = match text {
        [] => return Some(0),
        [b' ', rest @ ..] => (1, rest),
        // Other white space would count as well; marks that begin no zone end the date.
        [byte, ..]
            if byte.is_ascii_whitespace() || *byte == 0x0b || (0x1c..0x20).contains(byte) =>
        {
            return None;
        }
        _ => (0, text),
    };
    let length = match rest {
        // A sign before something else than digits: no zone.
        [b'+' | b'-'] => return Some(0),
        [b'+' | b'-', next, ..] if next.is_ascii() && !next.is_ascii_digit() => return Some(0),
        [b'Z', next @ ..] if ends_word(next.first()) => 1,
        [b'U', b'T', b'C', next @ ..] | [b'G', b'M', b'T', next @ ..]
            if ends_word(next.first()) =>
        {
            3
        }
        [b'+' | b'-', numbers @ ..] => offset_length(numbers)?,
        _ => 0,
    };
    match rest.first() {
        _ if length > 0 => Some(skipped + length),
        None => Some(0),
        // One blank, then something that certainly is no zone.
        Some(byte) if skipped > 0 => (byte.is_ascii_graphic()
            && !matches!(byte, b'Z' | b'U' | b'G')
            || matches!(rest, [b'Z' | b'U' | b'G', next, ..] if next.is_ascii_lowercase()))
        .then_some(0),
        Some(byte) => is_blank_or_mark(*byte).then_some(0),
    }
}

/// The length of `hh`, `hhmm` or `hh:mm` with its sign.
fn offset_length(numbers: &[u8]) -> Option<usize> {
    let ten = |byte: &u8| matches!(byte, b'0' | b'1');
    match numbers {
        [a, b, c, d, next @ ..] if ten(a) && [b, c, d].iter().all(|byte| byte.is_ascii_digit()) => {
            ends_word(next.first()).then_some(5)
        }
        [a, b, b':', c, d, next @ ..]
            if ten(a) && [b, c, d].iter().all(|byte| byte.is_ascii_digit()) =>
        {
            ends_word(next.first()).then_some(6)
        }
        [a, b, next @ ..] if ten(a) && b.is_ascii_digit() => {
            (next.is_empty() || matches!(next, [b' ' | b']' | b',', ..])).then_some(3)
        }
        _ => None,
    }
}

fn epoch(line: &[u8]) -> Option<usize> {
    let digits = line.iter().take(12).take_while(|byte| byte.is_ascii_digit()).count();
    if !(10..=11).contains(&digits) {
        return None;
    }
    let after = line.get(digits..)?;
    if !ends_word(after.first()) {
        return None;
    }
    let fraction = fraction_length(after, b".", 3)?;
    let next = after.get(fraction);
    ends_word(next).then_some(digits + fraction)
}
