//! fail2ban's database, versions 1 to 4 of its tables: `bans` is its history, `bips` (since 4) holds
//! the last ban of each id in each jail, unless that one was lifted by hand.

use std::collections::HashSet;

use rusqlite::{Connection, Row, types::ValueRef};
use serde_json::Value;

use super::{BANS_MAX, Imported, ImportedBan, Kind};
use crate::{
    store::row::cut,
    ticket::{BanTime, Evidence, Id},
    time::Timestamp,
};

/// So many lines are taken over of a ban: what fail2ban's `dbmaxmatches` is by default.
const LINES_MAX: usize = 10;

/// So many bytes of lines are taken over in all; later bans come without.
const LINES_BYTES_MAX: usize = 64 << 20;

/// Length of a ban that fail2ban never wrote down (version 2 and before).
const UNKNOWN: i64 = -2;

/// A ban as two rows tell it: of whom, in which jail, since when.
type Key = (String, String, i64);

pub(super) fn bans(
    db: &Connection,
    tables: &[String],
    now: Timestamp,
) -> rusqlite::Result<Imported> {
    // One look at one moment, though fail2ban may be at work.
    let moment = db.unchecked_transaction()?;
    let version: i64 = db.query_row("SELECT max(version) FROM fail2banDb", [], |row| {
        Ok(row.get::<_, Option<i64>>(0)?.unwrap_or(0))
    })?;
    let mut reader =
        Reading { imported: Imported::new(Kind::Fail2ban(version)), now, bytes: LINES_BYTES_MAX };
    let has = |table: &str| tables.iter().any(|name| name == table);
    let mut last: HashSet<Key> = HashSet::new();
    let mut remembered: HashSet<(String, String)> = HashSet::new();
    if has("bips") {
        reader.table(db, "bips", |key| {
            remembered.insert((key.0.clone(), key.1.clone()));
            last.insert(key);
            Some(Meaning { current: true, forgiven: false })
        })?;
    } else if has("bans") {
        // Before version 4 the newest row of an id in a jail is its last ban.
        let newest: HashSet<Key> = db
            .prepare(
                "SELECT ip, jail, max(timeofban) FROM bans WHERE ip IS NOT NULL GROUP BY 1, 2",
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        reader.table(db, "bans", |key| {
            Some(Meaning { current: newest.contains(&key), forgiven: false })
        })?;
    }
    if has("bips") && has("bans") {
        reader.table(db, "bans", |key| {
            let is_remembered = remembered.contains(&(key.0.clone(), key.1.clone()));
            (!last.contains(&key)).then_some(Meaning { current: false, forgiven: !is_remembered })
        })?;
    }
    moment.finish()?;
    let mut imported = reader.imported;
    imported.bans.sort_by_key(|ban| ban.from);
    Ok(imported)
}

/// What a row of a table means.
struct Meaning {
    current: bool,
    forgiven: bool,
}

struct Reading {
    imported: Imported,
    now: Timestamp,
    bytes: usize,
}

impl Reading {
    fn table(
        &mut self,
        db: &Connection,
        table: &str,
        mut meaning: impl FnMut(Key) -> Option<Meaning>,
    ) -> rusqlite::Result<()> {
        let columns: HashSet<String> = db
            .prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let or = |name: &str, default: &str| match columns.contains(name) {
            true => name.to_owned(),
            false => default.to_owned(),
        };
        let sql = format!(
            "SELECT ip, jail, timeofban, {}, {}, {} FROM {table}",
            or("bantime", "-2"),
            or("bancount", "1"),
            or("data", "NULL"),
        );
        let mut statement = db.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let mut number = 0;
        while let Some(row) = rows.next()? {
            number += 1;
            let (Some(ip), Some(jail), Some(from)) =
                (text(row, 0), text(row, 1), integer(row, 2).filter(|from| *from >= 0))
            else {
                self.imported.unread(number, format!("{table}: no id, no jail or no time"));
                continue;
            };
            let length = integer(row, 3).unwrap_or(UNKNOWN);
            let Some(Meaning { current, forgiven }) = meaning((ip.clone(), jail.clone(), from))
            else {
                continue;
            };
            if self.imported.bans.len() >= BANS_MAX {
                self.imported.unread(number, format!("{table}: more than {BANS_MAX} bans"));
                continue;
            }
            let from = Timestamp::from_secs(from);
            let time = match length {
                -1 => Some(BanTime::Permanent),
                length => u64::try_from(length).ok().map(BanTime::Seconds),
            };
            let over = time.and_then(|time| time.until(from)).is_some_and(|end| end <= self.now);
            let (evidence, failures) = self.evidence(row);
            self.imported.bans.push(ImportedBan {
                jail: Some(jail),
                id: Id::parse(&ip),
                from: Some(from),
                time,
                count: integer(row, 4)
                    .and_then(|count| u32::try_from(count).ok())
                    .unwrap_or(1)
                    .max(1),
                failures,
                evidence,
                current: current && !over,
                forgiven,
            });
        }
        Ok(())
    }

    /// `{"matches": […], "failures": 5, "user": "root", …}`; a match is a line, or its three parts.
    fn evidence(&mut self, row: &Row<'_>) -> (Evidence, u32) {
        let data = text(row, 5).and_then(|data| serde_json::from_str(&data).ok());
        let Some(Value::Object(data)) = data else { return (Evidence::default(), 1) };
        let mut evidence = Evidence::default();
        let mut failures = 1;
        for (name, value) in &data {
            match (name.as_str(), value) {
                ("matches", Value::Array(matches)) => {
                    let older = matches.len().saturating_sub(LINES_MAX);
                    for line in matches.iter().skip(older).filter_map(line) {
                        let line = cut(&line);
                        if line.len() <= self.bytes {
                            self.bytes -= line.len();
                            evidence.lines.push(line.into());
                        }
                    }
                }
                ("failures", value) => {
                    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
                    failures = number.unwrap_or(1).max(1);
                }
                (name, Value::String(value)) if value.len() <= self.bytes => {
                    self.bytes -= value.len();
                    evidence.fields.push((cut(name).into(), cut(value).into()));
                }
                _ => (),
            }
        }
        (evidence, failures)
    }
}

fn line(value: &Value) -> Option<String> {
    match value {
        Value::String(line) => Some(line.clone()),
        Value::Array(parts) => Some(parts.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

/// Text that may stand in a column as text or as bytes; none if there is none.
fn text(row: &Row<'_>, column: usize) -> Option<String> {
    match row.get_ref(column).ok()? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) if !bytes.is_empty() => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
        _ => None,
    }
}

/// Columns of SQLite hold what was put in: fail2ban put fractions in, at times.
fn integer(row: &Row<'_>, column: usize) -> Option<i64> {
    match row.get_ref(column).ok()? {
        ValueRef::Integer(number) => Some(number),
        ValueRef::Real(number) => Some(number as i64),
        _ => None,
    }
}
