//! `Front`: the stamp at the front of a log's lines, known by a glance at its bytes.
//!
//! Lines of a log follow each other within the same minute, so their stamps differ in the seconds
//! and below, if at all. A front is made of one line whose stamp is certain (`quick.rs`); it fits
//! another line where everything that the certainty rests on is the same byte, and a digit stands
//! wherever one stood that may change. Such a line's date is as long, at the same place, and one
//! that a calendar has.

use super::quick::Shape;

/// The longest stamp with the blank behind it: `2005-01-23T21:59:59.981123 +02:00 `.
const WIDTH: usize = 48;
/// Length of the shortest, `Jan 23 21:59:59 `.
const NARROW: usize = 16;
/// Length of `2005-01-23T21:59:59`.
const ISO_STAMP: usize = 19;

/// What a line must begin with, and in which places any digit will do.
#[derive(Clone, Copy, Debug)]
pub struct Front {
    /// The bytes of the line that it was made of, the first `length` of them and the blank.
    bytes: [u8; WIDTH],
    /// All bits where the byte has to be the same.
    same: [u8; WIDTH],
    /// All bits where a digit has to stand.
    digit: [u8; WIDTH],
    /// The first two rows, as numbers.
    narrow: (u128, u128),
    /// Length of the stamp, without the blank.
    length: usize,
    /// Where the tens of the seconds stand, which go up to 5.
    tens: usize,
    behind: Behind,
}

/// What may stand behind the blank.
#[derive(Clone, Copy, Debug)]
enum Behind {
    /// Anything, or nothing.
    Open,
    /// Anything but the first digit of a year, or nothing.
    NoYear,
    /// A visible character with which no zone begins.
    NoZone,
}

impl Front {
    /// The front of a line of which `shape` is certain that its date is the first `length` bytes;
    /// `None` if that is not enough to know the next line's date by.
    pub(super) fn new(shape: Shape, line: &[u8], length: usize) -> Option<Front> {
        if line.get(length) != Some(&b' ') {
            return None;
        }
        let (tens, digits, behind) = match shape {
            // Only a year could make more of such a stamp than its fifteen bytes.
            Shape::Syslog(_) if length + 1 == NARROW => (13, 13..15, Behind::NoYear),
            Shape::Iso(_) => {
                let rest = line.get(ISO_STAMP..length)?;
                let fraction = match rest.split_first() {
                    Some((b'.' | b',', rest)) => {
                        1 + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
                    }
                    _ => 0,
                };
                // A zone has to end before the blank; where there is none, the next word must not
                // be one.
                let behind = if rest.len() > fraction { Behind::Open } else { Behind::NoZone };
                (ISO_STAMP - 2, ISO_STAMP - 2..ISO_STAMP + fraction, behind)
            }
            Shape::Syslog(_) | Shape::Web(_) | Shape::Epoch => return None,
        };
        let mut front = Front {
            bytes: [0; WIDTH],
            same: [0; WIDTH],
            digit: [0; WIDTH],
            narrow: (0, 0),
            length,
            tens,
            behind,
        };
        front.bytes.get_mut(..=length)?.copy_from_slice(line.get(..=length)?);
        for at in 0..=length {
            let is_free = digits.contains(&at) && front.bytes.get(at)?.is_ascii_digit();
            let mask = if is_free { &mut front.digit } else { &mut front.same };
            *mask.get_mut(at)? = u8::MAX;
        }
        let narrow = |row: &[u8; WIDTH]| {
            row.first_chunk::<NARROW>().map_or(0, |row| u128::from_le_bytes(*row))
        };
        front.narrow = (narrow(&front.bytes), narrow(&front.same));
        Some(front)
    }

    /// Length of the stamp, without the blank behind it.
    pub fn length(&self) -> usize {
        self.length
    }

    /// True if the text that begins so is dated in the same way. The text may go on behind the
    /// line.
    #[inline]
    pub fn fits(&self, text: &[u8]) -> bool {
        match self.is_narrow() {
            true => self.fits_narrow(text),
            false => self.fits_wide(text),
        }
    }

    /// True for the plainest form, for which [`fits_narrow`](Front::fits_narrow) answers.
    #[inline]
    pub fn is_narrow(&self) -> bool {
        self.length + 1 == NARROW
    }

    /// The same as [`fits`](Front::fits), for a front that is narrow.
    #[inline(always)]
    pub fn fits_narrow(&self, text: &[u8]) -> bool {
        let Some(head) = text.first_chunk::<NARROW>() else { return false };
        let (bytes, same) = self.narrow;
        if (u128::from_le_bytes(*head) ^ bytes) & same != 0 {
            return false;
        }
        let clock = head[13].wrapping_sub(b'0') < 6 && head[14].is_ascii_digit();
        clock && text.get(NARROW) != Some(&b'2')
    }

    #[inline(always)]
    fn fits_wide(&self, text: &[u8]) -> bool {
        let Some(head) = text.first_chunk::<WIDTH>() else { return false };
        let mut odd = 0;
        let masks = self.bytes.iter().zip(&self.same).zip(&self.digit);
        for (byte, ((known, same), digit)) in head.iter().zip(masks) {
            let not_a_digit = if byte.wrapping_sub(b'0') > 9 { u8::MAX } else { 0 };
            odd |= (byte ^ known) & same | not_a_digit & digit;
        }
        let behind = text.get(self.length + 1).copied().unwrap_or(b'\n');
        let may_follow = match self.behind {
            Behind::Open => true,
            Behind::NoYear => behind != b'2',
            Behind::NoZone => {
                behind.is_ascii_graphic() && !matches!(behind, b'+' | b'-' | b'Z' | b'U' | b'G')
            }
        };
        odd == 0 && may_follow && head.get(self.tens).is_some_and(|tens| *tens <= b'5')
    }
}

#[cfg(test)]
mod tests {
    use super::super::directive::Decades;
    use super::*;

    /// Whatever a front fits, the shape says the same of: every byte of a line is changed to every
    /// value, and pairs of them at random.
    #[test]
    fn a_front_fits_only_what_the_shape_is_certain_of() {
        let decades = Decades::until(2026);
        let lines = [
            (Shape::Syslog(decades), "Mar  3 04:05:06 host app: some text that goes on for long"),
            (Shape::Syslog(decades), "Dec 31 23:59:59 2"),
            (Shape::Iso(decades), "2026-03-03T04:05:06.123456+00:00 host app: some text, long"),
            (Shape::Iso(decades), "2026-03-03 04:05:06,123 fail2ban.actions [1]: NOTICE some text"),
            (Shape::Iso(decades), "2026-03-03 04:05:06 host app: some text that goes on for long"),
            (Shape::Iso(decades), "2026-03-03T04:05:06Z host app: some text that goes on for long"),
            (Shape::Iso(decades), "2026-03-03 04:05:06 +0100 host app: some text that goes on so"),
            (
                Shape::Iso(decades),
                "2026-03-03T04:05:06+01 host app: some text that goes on for long",
            ),
        ];
        let mut random = 1_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % below as u64) as usize
        };
        for (shape, line) in lines {
            let line = line.as_bytes();
            let Some(cut) = shape.find(line) else { panic!("{shape:?} is not certain") };
            let Some(front) = Front::new(shape, line, cut.end) else { continue };
            let mut fitting = 0;
            let mut check = |changed: &[u8]| {
                if front.fits(changed) {
                    fitting += 1;
                    let text = String::from_utf8_lossy(changed).into_owned();
                    assert_eq!(shape.find(changed), Some(cut.clone()), "{text}");
                    assert!(shape.fields(&changed[cut.clone()]).is_some(), "{text}");
                }
            };
            for at in 0..line.len().min(WIDTH + 4) {
                for byte in 0..=u8::MAX {
                    let mut changed = line.to_vec();
                    changed[at] = byte;
                    check(&changed);
                }
                let mut shorter = line.to_vec();
                shorter.truncate(at);
                check(&shorter);
            }
            for _ in 0..20_000 {
                let mut changed = line.to_vec();
                for _ in 0..2 {
                    let at = next(line.len().min(cut.end + 3));
                    let digits = [b'0', b'5', b'9', b'6', b' ', b'2', b'Z', b'+', b'\n', 0xc3];
                    changed[at] = digits[next(digits.len())];
                }
                check(&changed);
            }
            assert!(fitting > 300, "{}: {fitting}", String::from_utf8_lossy(line));
        }
    }
}
