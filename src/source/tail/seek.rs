//! Where in a log a moment is: half by half, by the dates of its lines.

use std::{io, os::unix::fs::FileExt};

use super::{
    super::{LINE_BYTES_MAX, NewlineKind},
    file::Open,
};
use crate::time::Timestamp;

/// Below this the rest is read through: dates of older lines are looked at one by one anyway.
const NEAR_BYTES: u64 = 16 << 10;
/// So far a line with a date is looked for from each middle.
const LOOK_BYTES: usize = 64 << 10;
/// So many lines without a date are passed over there.
const UNDATED_MAX: usize = 200;

/// The beginning of a line at or before the first one that is as young as `since`; where dates do
/// not rise, some line. Nothing before the
/// file's mark is looked at. `dated` reads the date of a line (without its newline).
pub(super) fn seek_time(
    open: &Open,
    newline: NewlineKind,
    since: Timestamp,
    dated: &mut dyn FnMut(&[u8]) -> Option<Timestamp>,
) -> io::Result<u64> {
    let (mut low, mut high) = (open.mark.offset, open.len()?);
    let mut buffer = Vec::new();
    while high.saturating_sub(low) > NEAR_BYTES {
        let middle = newline.even(low + (high - low) / 2);
        match first_date(open, newline, (middle, high), &mut buffer, dated)? {
            Some((start, date)) if date < since => low = start,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// False if no line tells when it was written, as far as the first and the last ones show: then
/// nobody can say which of them are old.
pub(super) fn is_dated(
    open: &Open,
    newline: NewlineKind,
    dated: &mut dyn FnMut(&[u8]) -> Option<Timestamp>,
) -> io::Result<bool> {
    let end = open.len()?;
    let mut buffer = vec![0; usize::try_from(end).unwrap_or(LOOK_BYTES).min(LOOK_BYTES)];
    let mut lines = 0;
    for start in [0, newline.even(end.saturating_sub(LOOK_BYTES as u64))] {
        let count = open.file().read_at(&mut buffer, start)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        // Where it does not begin with a line the first piece is half of one, which harms nobody.
        let mut at = 0;
        for _ in 0..UNDATED_MAX {
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(length) = newline.first(rest) else { break };
            if dated(rest.get(..length).unwrap_or_default()).is_some() {
                return Ok(true);
            }
            at += length;
            lines += 1;
        }
    }
    Ok(lines == 0)
}

/// Behind the last line that has ended; where the last one is endless, behind all there is.
pub(super) fn last_line(open: &Open, newline: NewlineKind) -> io::Result<u64> {
    let end = open.len()?;
    let start = newline.even(end.saturating_sub(LINE_BYTES_MAX as u64));
    let mut buffer = vec![0; usize::try_from(end - start).unwrap_or(LINE_BYTES_MAX)];
    let count = open.file().read_at(&mut buffer, start)?;
    let bytes = buffer.get(..count).unwrap_or_default();
    Ok(newline.last(bytes).map_or(end, |at| start + at as u64))
}

/// The first line with a date that begins behind `within.0`, and where it begins.
fn first_date(
    open: &Open,
    newline: NewlineKind,
    within: (u64, u64),
    buffer: &mut Vec<u8>,
    dated: &mut dyn FnMut(&[u8]) -> Option<Timestamp>,
) -> io::Result<Option<(u64, Timestamp)>> {
    let wanted = usize::try_from(within.1 - within.0).unwrap_or(LOOK_BYTES).min(LOOK_BYTES);
    buffer.resize(wanted, 0);
    let count = open.file().read_at(buffer, within.0)?;
    let bytes = buffer.get(..count).unwrap_or_default();
    let Some(mut start) = newline.first(bytes) else { return Ok(None) };
    for _ in 0..UNDATED_MAX {
        let rest = bytes.get(start..).unwrap_or_default();
        let Some(end) = newline.first(rest) else { return Ok(None) };
        if let Some(date) = dated(rest.get(..end).unwrap_or_default()) {
            return Ok(Some((within.0 + start as u64, date)));
        }
        start += end;
    }
    Ok(None)
}
