//! What the database is asked.

use std::{cell::RefCell, collections::HashMap, path::Path, sync::Arc};

use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    error::StoreError,
    file,
    past::{JailRow, Merged, Past, PastBan},
    row,
    sheet::{Failure, Item, Key, items},
    write::text,
};
use crate::{
    ticket::{Ban, Counters, Evidence, Id, JailName, Ticket, UnbanWhy},
    time::Timestamp,
};

/// A connection, and the questions that it answers. [`Store`](super::Store) is one, too; another for
/// a thread of its own comes from [`Store::reader`](super::Store::reader) and sees what was
/// committed. Without a database every answer is empty.
#[derive(Debug, Default)]
pub struct Reader {
    pub(super) db: Option<Connection>,
    /// What was found to be damaged while reading.
    pub(super) damage: RefCell<Option<String>>,
}

impl Reader {
    pub(super) fn second(path: &Path) -> Result<Reader, StoreError> {
        let db = Some(file::second(path, false)?);
        Ok(Reader { db, damage: RefCell::default() })
    }

    /// Asks; notes damage, for whoever can do something about it.
    fn ask<T: Default>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let Some(db) = &self.db else { return Ok(T::default()) };
        question(db).map_err(|error| {
            let error = StoreError::from(error);
            if let StoreError::Corrupt(why) = &error {
                *self.damage.borrow_mut() = Some(why.clone());
            }
            error
        })
    }

    /// Gives every ban that stands, lapsed ones that nobody lifted yet included, and whether it was
    /// ordered; without what led to it ([`Reader::evidence`] has that). How many there were.
    ///
    /// # Errors
    ///
    /// If the database cannot be read; bans before the damage were given.
    pub fn for_each_ban(
        &self,
        mut each: impl FnMut(&JailName, Ban, bool),
    ) -> Result<u64, StoreError> {
        self.ask(|db| {
            let jails = names(db)?;
            let evidence = Arc::new(Evidence::default());
            let mut bans =
                db.prepare("SELECT jail, id, begun, bantime, count, failures, ordered FROM bans")?;
            let mut rows = bans.query([])?;
            let mut number = 0;
            while let Some(row) = rows.next()? {
                let Some(jail) = jails.get(&row.get::<_, i64>(0)?) else { continue };
                let ban = ban(row, &evidence)?;
                each(jail, ban, row.get(6)?);
                number += 1;
            }
            Ok(number)
        })
    }

    /// Gives the failures of a jail at or after `since` that still count, oldest first, each with
    /// its newest line only; how many there were. Those of one id and one moment are one, and of an
    /// id it is the newest 128 seconds at most: a jail keeps no more times than that.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn for_each_failure(
        &self,
        jail: &str,
        since: Timestamp,
        each: impl FnMut(Ticket),
    ) -> Result<u64, StoreError> {
        // Of each id so many moments, and the last of them. Jails count by the second.
        let mut seen: HashMap<Key, (u32, i64)> = HashMap::new();
        let mut found: Vec<Ticket> = Vec::new();
        self.sheets(jail, |items| {
            for item in items.into_iter().rev() {
                let (moments, last) = seen.entry(item.key.clone()).or_default();
                let Some(failure) = item.failure else {
                    *moments = u32::MAX;
                    continue;
                };
                if failure.time < since || *moments > MOMENTS_MAX {
                    continue;
                }
                let second = failure.time.secs();
                *moments += u32::from(*moments == 0 || *last != second);
                *last = second;
                if *moments <= MOMENTS_MAX {
                    found.push(ticket(&item.key, &failure));
                }
            }
            true
        })?;
        drop(seen);
        found.reverse();
        found.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        found.dedup_by(|newer, older| {
            let same = (newer.time, &newer.id) == (older.time, &older.id);
            if same {
                older.attempts = older.attempts.saturating_add(newer.attempts);
                std::mem::swap(&mut older.evidence, &mut newer.evidence);
            }
            same
        });
        let number = found.len() as u64;
        found.into_iter().for_each(each);
        Ok(number)
    }

    /// The last failure of an id that still counts in a jail, with its newest line.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn last_failure(&self, jail: &str, id: &Id) -> Result<Option<Ticket>, StoreError> {
        let key = Key::of(id);
        let mut last = None;
        self.sheets(jail, |items| {
            let item = items.into_iter().rev().find(|item| item.key == key);
            last = item.as_ref().map(|item| item.failure.as_ref().map(|found| ticket(&key, found)));
            last.is_none()
        })?;
        Ok(last.flatten())
    }

    /// Gives the items of each sheet of a jail, the newest sheet first, until `each` says false.
    fn sheets(
        &self,
        jail: &str,
        mut each: impl FnMut(Vec<Item<'_>>) -> bool,
    ) -> Result<(), StoreError> {
        self.ask(|db| {
            let mut sheets = db.prepare(
                "SELECT data FROM sheets WHERE jail = (SELECT jail FROM jails WHERE name = ?1) \
                 ORDER BY num DESC",
            )?;
            let mut rows = sheets.query([jail])?;
            while let Some(row) = rows.next()? {
                if !each(items(row.get_ref(0)?.as_blob()?).collect()) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Gives every position, as key and value; how many there were.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn for_each_position(&self, mut each: impl FnMut(&str, &[u8])) -> Result<u64, StoreError> {
        self.ask(|db| {
            let mut positions = db.prepare("SELECT key, value FROM positions ORDER BY key")?;
            let mut rows = positions.query([])?;
            let mut number = 0;
            while let Some(row) = rows.next()? {
                each(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_blob()?);
                number += 1;
            }
            Ok(number)
        })
    }

    /// The position of one source.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn position(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask(|db| {
            db.prepare_cached("SELECT value FROM positions WHERE key = ?1")?
                .query_row([key], |row| row.get(0))
                .optional()
        })
    }

    /// How often an id was banned in a jail, or in any jail; none if it never was, as far as is
    /// remembered. The current ban counts; bans before an unban by order do not.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn past(&self, jail: Option<&str>, id: &Id) -> Result<Option<Past>, StoreError> {
        let id = text(id);
        let past = |row: &Row<'_>| {
            let count = row::count::<u32>(row, 0)?.max(1);
            Ok(Past { count, last: row::time(row, 1)?, time: row::bantime(row.get(2)?) })
        };
        self.ask(|db| {
            let Some(jail) = jail else {
                // Of each jail the last ban, whose count is that of the jail.
                let mut all = db.prepare_cached(
                    "SELECT count, max(begun), bantime FROM ( \
                     SELECT jail, count, begun, bantime FROM bans WHERE id = ?1 UNION ALL \
                     SELECT jail, count, begun, bantime FROM history WHERE id = ?1 \
                     AND NOT forgiven) GROUP BY jail",
                )?;
                let mut sum: Option<Past> = None;
                for of_jail in all.query_map([&id], past)? {
                    let of_jail: Past = of_jail?;
                    let count = of_jail.count + sum.map_or(0, |sum| sum.count);
                    let last = sum.filter(|sum| sum.last >= of_jail.last).unwrap_or(of_jail);
                    sum = Some(Past { count, ..last });
                }
                return Ok(sum);
            };
            let current = db
                .prepare_cached(
                    "SELECT count, begun, bantime FROM bans WHERE id = ?1 \
                     AND jail = (SELECT jail FROM jails WHERE name = ?2)",
                )?
                .query_row((&id, jail), past)
                .optional()?;
            if current.is_some() {
                return Ok(current);
            }
            db.prepare_cached(
                "SELECT count, begun, bantime FROM history WHERE id = ?1 \
                 AND jail = (SELECT jail FROM jails WHERE name = ?2) AND NOT forgiven \
                 ORDER BY begun DESC LIMIT 1",
            )?
            .query_row((&id, jail), past)
            .optional()
        })
    }

    /// The bans of an id with what led to them, newest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn history(
        &self,
        jail: Option<&str>,
        id: &Id,
        limit: usize,
    ) -> Result<Vec<PastBan>, StoreError> {
        let (id, limit) = (text(id), i64::try_from(limit).unwrap_or(i64::MAX));
        self.ask(|db| {
            let mut bans = db.prepare_cached(
                "SELECT name, begun, bantime, count, failures, ended, why, data FROM ( \
                 SELECT num, jail, begun, bantime, count, failures, NULL AS ended, 0 AS why \
                 FROM bans WHERE id = ?1 UNION ALL \
                 SELECT num, jail, begun, bantime, count, failures, ended, why \
                 FROM history WHERE id = ?1 \
                 ) JOIN jails USING (jail) LEFT JOIN evidence USING (num) \
                 WHERE ?2 IS NULL OR name = ?2 ORDER BY begun DESC, num DESC LIMIT ?3",
            )?;
            bans.query_map((&id, jail, limit), |row| {
                let ended: Option<i64> = row.get(5)?;
                let why = UnbanWhy::from_code(row.get(6)?);
                Ok(PastBan {
                    jail: row.get_ref(0)?.as_str()?.into(),
                    from: row::time(row, 1)?,
                    time: row::bantime(row.get(2)?),
                    count: row::count(row, 3)?,
                    failures: row::count(row, 4)?,
                    end: ended.map(|ended| (Timestamp::from_micros(ended), why)),
                    evidence: Arc::new(row::read_evidence(row.get_ref(7)?.as_str_or_null()?)),
                })
            })?
            .collect()
        })
    }

    /// Gives all bans that are over and still count against their ids, without what led to them,
    /// each with its end; how many there were.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn for_each_past(
        &self,
        mut each: impl FnMut(&JailName, Ban, Timestamp),
    ) -> Result<u64, StoreError> {
        self.ask(|db| {
            let jails = names(db)?;
            let evidence = Arc::new(Evidence::default());
            let mut bans = db.prepare(
                "SELECT jail, id, begun, bantime, count, failures, ended FROM history \
                 WHERE NOT forgiven ORDER BY num",
            )?;
            let mut rows = bans.query([])?;
            let mut number = 0;
            while let Some(row) = rows.next()? {
                let Some(jail) = jails.get(&row.get::<_, i64>(0)?) else { continue };
                let ban = ban(row, &evidence)?;
                each(jail, ban, row::time(row, 6)?);
                number += 1;
            }
            Ok(number)
        })
    }

    /// What led to the current ban of an id; none if it is not banned.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn evidence(&self, jail: &str, id: &Id) -> Result<Option<Arc<Evidence>>, StoreError> {
        self.ask(|db| {
            db.prepare_cached(
                "SELECT data FROM bans JOIN evidence USING (num) WHERE id = ?1 \
                 AND jail = (SELECT jail FROM jails WHERE name = ?2)",
            )?
            .query_row((text(id), jail), |row| {
                Ok(Arc::new(row::read_evidence(row.get_ref(0)?.as_str_or_null()?)))
            })
            .optional()
        })
    }

    /// What the bans of an id have against it, in a jail or in all, at most `lines_max` lines.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn merged(
        &self,
        jail: Option<&str>,
        id: &Id,
        lines_max: usize,
    ) -> Result<Merged, StoreError> {
        let mut merged = Merged::default();
        for ban in self.history(jail, id, MERGED_BANS_MAX)? {
            merged.bans += 1;
            merged.failures += u64::from(ban.failures);
            let room = lines_max.saturating_sub(merged.lines.len());
            merged.lines.extend(ban.evidence.lines.iter().rev().take(room).cloned());
        }
        merged.lines.reverse();
        Ok(merged)
    }

    /// The jails that the database knows, by name.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn jails(&self) -> Result<Vec<JailRow>, StoreError> {
        self.ask(|db| {
            db.prepare(
                "SELECT name, findtime, failed, banned, coalesce(current, 0) FROM jails LEFT JOIN \
                 (SELECT jail, count(*) AS current FROM bans GROUP BY jail) USING (jail) \
                 ORDER BY name",
            )?
            .query_map([], |row| {
                Ok(JailRow {
                    jail: row.get_ref(0)?.as_str()?.into(),
                    findtime_s: row::count(row, 1)?,
                    counters: Counters { failed: row::count(row, 2)?, banned: row::count(row, 3)? },
                    current: row::count(row, 4)?,
                })
            })?
            .collect()
        })
    }
}

/// The newest bans of an id that [`Reader::merged`] looks at.
const MERGED_BANS_MAX: usize = 1000;

/// So many moments of one id are given to a jail that begins.
const MOMENTS_MAX: u32 = 128;

/// A failure on a sheet, with its newest line.
fn ticket(key: &Key, failure: &Failure<'_>) -> Ticket {
    Ticket {
        id: key.id(),
        time: failure.time,
        attempts: failure.attempts,
        evidence: failure.evidence(true).into(),
    }
}

/// A row that begins with the jail, the id, and what a ban is.
fn ban(row: &Row<'_>, evidence: &Arc<Evidence>) -> rusqlite::Result<Ban> {
    Ok(Ban {
        id: row::id(row, 1)?,
        from: row::time(row, 2)?,
        time: row::bantime(row.get(3)?),
        count: row::count(row, 4)?,
        failures: row::count(row, 5)?,
        restored: true,
        evidence: Arc::clone(evidence),
    })
}

fn names(db: &Connection) -> rusqlite::Result<HashMap<i64, JailName>> {
    db.prepare("SELECT jail, name FROM jails")?
        .query_map([], |row| Ok((row.get(0)?, JailName::from(row.get_ref(1)?.as_str()?))))?
        .collect()
}
