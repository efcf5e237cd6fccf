//! Values as columns hold them: ids, lengths of bans, evidence.

use std::{borrow::Cow, fmt::Write as _, net::IpAddr, sync::Arc};

use rusqlite::Row;
use serde::Deserialize;

use crate::{
    ticket::{BanTime, Evidence, Id},
    time::Timestamp,
};

/// A line of evidence is stored up to this length; an attacker may have written it.
pub(super) const LINE_BYTES_MAX: usize = 2048;

/// So many `<F-…>` values are stored of one piece of evidence.
pub(super) const FIELDS_MAX: usize = 32;

pub(super) fn bantime(secs: i64) -> BanTime {
    u64::try_from(secs).map_or(BanTime::Permanent, BanTime::Seconds)
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp::from_micros(row.get(column)?))
}

/// A number that is never negative; what cannot be is 0.
pub(super) fn count<T: TryFrom<i64> + Default>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    Ok(T::try_from(row.get(column)?).unwrap_or_default())
}

pub(super) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<Id> {
    let text = row.get_ref(column)?.as_str()?;
    // Addresses are most of them, and stand in their one spelling already.
    Ok(text.parse::<IpAddr>().map_or_else(|_| Id::parse(text), Id::from))
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow, default)]
    lines: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    #[serde(default)]
    regex: Option<u32>,
}

/// Evidence as text: the newest `lines_max` lines, long ones cut. None if there is nothing to say.
/// [`Written`] reads it; it is put together by hand because every failure is written.
pub(super) fn write_evidence(evidence: &Evidence, lines_max: usize) -> Option<String> {
    let Evidence { lines, fields, regex } = evidence;
    if lines.is_empty() && fields.is_empty() && regex.is_none() {
        return None;
    }
    let newest = lines.get(lines.len().saturating_sub(lines_max)..).unwrap_or_default();
    let fields = fields.get(..FIELDS_MAX.min(fields.len())).unwrap_or_default();
    let bytes = newest.iter().map(|line| line.len()).sum::<usize>();
    let mut text = String::with_capacity(64 + 32 * fields.len() + bytes);
    for (number, line) in newest.iter().enumerate() {
        text.push_str(if number == 0 { "{\"lines\":[" } else { "," });
        push_string(&mut text, cut(line));
    }
    text.push_str(if newest.is_empty() { "{" } else { "]" });
    for (number, (name, value)) in fields.iter().enumerate() {
        let comma = if newest.is_empty() { "" } else { "," };
        let first = if number == 0 { [comma, "\"fields\":[["] } else { ["", ",["] };
        text.extend(first);
        push_string(&mut text, cut(name));
        text.push(',');
        push_string(&mut text, cut(value));
        text.push(']');
    }
    if !fields.is_empty() {
        text.push(']');
    }
    if let Some(regex) = regex {
        let comma = if newest.is_empty() && fields.is_empty() { "" } else { "," };
        // Writing to a String never fails.
        let _ = write!(text, "{comma}\"regex\":{regex}");
    }
    text.push('}');
    Some(text)
}

/// A text between quotation marks; what is special in it is left to those who know.
fn push_string(out: &mut String, text: &str) {
    let is_plain = |byte: &u8| *byte >= b' ' && !matches!(byte, b'"' | b'\\');
    if text.as_bytes().iter().all(is_plain) {
        out.extend(["\"", text, "\""]);
    } else {
        // A text can always be written.
        out.push_str(&serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned()));
    }
}

/// What [`write_evidence`] wrote; nothing where it cannot be read.
pub(super) fn read_evidence(data: Option<&str>) -> Evidence {
    let written = data.and_then(|data| serde_json::from_str::<Written<'_>>(data).ok());
    let Some(written) = written else { return Evidence::default() };
    Evidence {
        lines: written.lines.iter().map(|line| Arc::from(&**line)).collect(),
        fields: written
            .fields
            .iter()
            .map(|(name, value)| (Arc::from(&**name), Arc::from(&**value)))
            .collect(),
        regex: written.regex,
    }
}

/// A line up to its limit, cut where a character ends.
pub(super) fn cut(line: &str) -> &str {
    if line.len() <= LINE_BYTES_MAX {
        return line;
    }
    (0..4).find_map(|back| line.get(..LINE_BYTES_MAX - back)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(lines: &[&str]) -> Evidence {
        Evidence {
            lines: lines.iter().map(|line| Arc::from(*line)).collect(),
            fields: vec![("user".into(), "ro\"ot\n\u{1b}[31m".into())],
            regex: Some(3),
        }
    }

    #[test]
    fn evidence_comes_back_as_it_was() {
        let written = evidence(&["a", "b \u{0} \u{fffd} \"\\", ""]);
        let text = write_evidence(&written, 10).unwrap();
        assert_eq!(read_evidence(Some(&text)), written);
        assert_eq!(write_evidence(&Evidence::default(), 10), None);
        assert_eq!(read_evidence(None), Evidence::default());
        assert_eq!(read_evidence(Some("{\"lines\": 7")), Evidence::default());
    }

    #[test]
    fn whatever_is_missing_comes_back_as_missing() {
        for mask in 0..8 {
            let has = |bit: u32| mask & (1 << bit) != 0;
            let strings: &[&str] = if has(0) { &["a", "\u{7f}\u{80}"] } else { &[] };
            let mut evidence = evidence(strings);
            if has(1) {
                evidence.fields.push(("ip4".into(), "\\".into()));
            } else {
                evidence.fields.clear();
            }
            evidence.regex = has(2).then_some(7);
            let text = write_evidence(&evidence, 10);
            assert_eq!(text.is_none(), mask == 0);
            if let Some(text) = &text {
                assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
            }
            assert_eq!(read_evidence(text.as_deref()), evidence, "{text:?}");
        }
    }

    #[test]
    fn the_newest_lines_are_kept_and_long_ones_cut() {
        let text = write_evidence(&evidence(&["a", "b", "c"]), 2).unwrap();
        assert_eq!(read_evidence(Some(&text)).lines, ["b".into(), "c".into()]);
        let text = write_evidence(&evidence(&["a"]), 0).unwrap();
        assert!(read_evidence(Some(&text)).lines.is_empty());
        let long = "ä".repeat(LINE_BYTES_MAX);
        assert_eq!(cut(&long).len(), LINE_BYTES_MAX);
        assert_eq!(cut(&format!("a{long}")).len(), LINE_BYTES_MAX - 1);
    }
}
