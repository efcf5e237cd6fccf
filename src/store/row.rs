//! Values as columns hold them: ids, lengths of bans, evidence.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use rusqlite::Row;
use serde::{Deserialize, Serialize};

use crate::{
    ticket::{BanTime, Evidence, Id},
    time::Timestamp,
};

/// A line of evidence is stored up to this length; an attacker may have written it.
pub(super) const LINE_BYTES_MAX: usize = 2048;

/// So many `<F-…>` values are stored of one piece of evidence.
const FIELDS_MAX: usize = 32;

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

#[derive(Deserialize, Serialize)]
struct Written<'a> {
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    lines: Vec<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    regex: Option<u32>,
}

/// Evidence as text: the newest `lines_max` lines, long ones cut. None if there is nothing to say.
pub(super) fn write_evidence(evidence: &Evidence, lines_max: usize) -> Option<String> {
    let Evidence { lines, fields, regex } = evidence;
    if lines.is_empty() && fields.is_empty() && regex.is_none() {
        return None;
    }
    let newest = lines.iter().skip(lines.len().saturating_sub(lines_max));
    let written = Written {
        lines: newest.map(|line| cut(line).into()).collect(),
        fields: fields
            .iter()
            .take(FIELDS_MAX)
            .map(|(name, value)| (cut(name).into(), cut(value).into()))
            .collect(),
        regex: *regex,
    };
    serde_json::to_string(&written).ok()
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
