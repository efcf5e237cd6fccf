//! The words of log lines: times, spans and ids as fail2ban writes them.

use crate::{
    ticket::{BanTime, Id},
    time::{Timestamp, Zone},
};

/// An id on its way to a line of its own: no control characters.
pub(super) fn shown(id: &Id) -> String {
    match id {
        Id::Text(text) => one_line(text),
        _ => id.to_string(),
    }
}

/// Foreign text on one line: control characters become blanks.
pub(super) fn one_line(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The beginning of a text, so many bytes at most.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// `2005-08-14 12:00:00`; what no calendar has becomes its end.
pub(super) fn moment(at: Timestamp, zone: Zone) -> String {
    let mut out = String::new();
    push_moment(&mut out, at, zone);
    out
}

pub(super) fn push_moment(out: &mut String, at: Timestamp, zone: Zone) {
    const LAST_S: i64 = 253_402_214_400;
    const FIRST_S: i64 = -62_135_510_400;
    let civil = match at.secs() {
        LAST_S.. => None,
        ..FIRST_S => zone.civil(Timestamp::from_secs(FIRST_S)),
        _ => zone.civil(at),
    };
    match civil {
        Some(civil) => civil.append_to(out),
        None => out.push_str("9999-12-31 23:59:59"),
    }
}

/// `1h 5m`, `2w 3d`, `permanent`: at most three units, rounded to what matters at its size.
pub(super) fn span(time: BanTime) -> String {
    let BanTime::Seconds(seconds) = time else { return "permanent".to_owned() };
    // The size from which on, what to round to, and the units left, each with its length.
    const DAY: u64 = 86_400;
    let (round, units): (u64, &[(u64, char)]) = match seconds {
        0 => return "0".to_owned(),
        31_536_000.. => (DAY, &[(365 * DAY, 'y'), (7 * DAY, 'w'), (DAY, 'd')]),
        604_800.. => (3600, &[(7 * DAY, 'w'), (DAY, 'd'), (3600, 'h')]),
        86_400.. => (60, &[(DAY, 'd'), (3600, 'h'), (60, 'm')]),
        3595.. => (10, &[(3600, 'h'), (60, 'm')]),
        _ => (1, &[(60, 'm'), (1, 's')]),
    };
    // Halves go to the even side, as Python rounds.
    let (whole, rest) = (seconds / round, seconds % round);
    let up = rest * 2 > round || (rest * 2 == round && whole % 2 == 1);
    let mut left = (whole + u64::from(up)).saturating_mul(round);
    let mut parts = Vec::new();
    for (length, unit) in units {
        if left >= *length {
            parts.push(format!("{}{unit}", left / length));
            left %= length;
        }
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_fail2ban_writes_them() {
        for (seconds, expected) in [
            (0, "0"),
            (59, "59s"),
            (600, "10m"),
            (3590, "59m 50s"),
            (3595, "1h"),
            (3600, "1h"),
            (5400, "1h 30m"),
            (86_400 * 2 + 3599, "2d 1h"),
            (86_400 * 2 + 3600 * 7 + 60 * 15, "2d 7h 15m"),
            (2_592_000, "4w 2d"),
            (86_400 * 368, "1y 3d"),
            (86_400 * 390, "1y 3w 4d"),
            (31_579_200, "1y 1d"),
        ] {
            assert_eq!(span(BanTime::Seconds(seconds)), expected, "{seconds}");
        }
        assert_eq!(span(BanTime::Permanent), "permanent");
        assert!(!span(BanTime::Seconds(u64::MAX)).is_empty());
    }

    #[test]
    fn moments_stay_within_the_calendar() {
        for (seconds, expected) in [
            (1_124_013_600, "2005-08-14 10:00:00"),
            (253_402_214_400, "9999-12-31 23:59:59"),
            (i64::MAX, "9999-12-31 23:59:59"),
            (i64::MIN, "0001-01-02 00:00:00"),
        ] {
            let text = moment(Timestamp::from_secs(seconds), Zone::Fixed(0));
            assert_eq!(text, expected, "{seconds}");
        }
    }

    #[test]
    fn what_an_attacker_wrote_stays_on_its_line() {
        assert_eq!(
            shown(&Id::Text("a\n[sshd] Ban 192.0.2.1\x1b[0m".into())),
            "a [sshd] Ban 192.0.2.1 [0m"
        );
    }
}
