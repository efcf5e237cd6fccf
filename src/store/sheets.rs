//! Failures in the database: many on one sheet, a sheet a row.
//!
//! A row for each failure, found by its id, would be the dearest part of a busy log's line. So
//! failures are only ever added: a sheet is a page's part full of them (`sheet.rs`). What forgets
//! those of an id is an item behind them. What led to a ban is found from its end: [`Sheets`] knows
//! on which sheet something of an id stands last, each item says how far back the one before is.
//!
//! Ids are known by a tag of 32 bits there, of a hash that begins with the database's own salt:
//! nobody can choose addresses that share one. Two that do share a chain, and are told apart when
//! their items are read.

use std::hash::{DefaultHasher, Hasher};

use hashbrown::{HashTable, hash_table::Entry};
use rusqlite::{Connection, OptionalExtension};

use super::sheet::{Item, Key, Sheet, items};
use crate::{ticket::Ticket, time::Timestamp};

/// A sheet ends when it is longer than this: two of them fit on a page of the database.
const SHEET_BYTES: usize = 1800;

/// Failures that are remembered at most, items that forget included; the oldest go.
const ITEMS_MAX: u64 = 1_000_000;

/// So many sheets go at once when there are too many failures.
const DROPPED_AT_ONCE: i64 = 400;

/// So many sheets are read at most for what led to a ban.
const CHAIN_MAX: usize = 256;

/// Beyond this number sheets are numbered anew from 1: a long flood would come to the end.
const NUMBER_MAX: u32 = 1 << 31;

/// A tag, and the last sheet with an item of it.
#[derive(Clone, Copy, Debug)]
struct Last {
    tag: u32,
    sheet: u32,
}

/// What is known of the sheets in the database, and those that are being written.
#[derive(Debug)]
pub(super) struct Sheets {
    salt: i64,
    last: HashTable<Last>,
    /// The number of the next sheet.
    next: u32,
    /// How many items there are, in all sheets of the database.
    items: u64,
    /// The latest time of a failure so far, in microseconds. Every sheet is as young as that, lest
    /// an item that forgets is gone before what it forgets.
    newest: i64,
    /// Sheets that are not in the database yet, one for each jail: the jail, its number, and it.
    open: Vec<(i64, u32, Sheet)>,
    /// Sheets were taken out of the database, and their tags are still here.
    is_stale: bool,
}

impl Sheets {
    /// Looks what is there, within a transaction of the caller's.
    pub fn read(db: &Connection) -> rusqlite::Result<Sheets> {
        number_anew(db)?;
        let salt = db.query_row("SELECT salt FROM salt", [], |row| row.get(0)).optional()?;
        let salt = match salt {
            Some(salt) => salt,
            None => {
                db.query_row("INSERT INTO salt VALUES (random()) RETURNING salt", [], |row| {
                    row.get(0)
                })?
            }
        };
        let (last, open) = (HashTable::new(), Vec::new());
        let (newest, is_stale) = (i64::MIN, false);
        let mut sheets = Sheets { salt, last, next: 1, items: 0, newest, open, is_stale };
        let mut all =
            db.prepare("SELECT num, jail, data, newest, items FROM sheets ORDER BY num")?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            let (number, jail) = (row.get::<_, u32>(0)?, row.get(1)?);
            for item in items(row.get_ref(2)?.as_blob()?) {
                let tag = sheets.tag(jail, &item.key);
                sheets.set_last(tag, number);
            }
            sheets.items += u64::from(row.get::<_, u32>(4)?);
            sheets.next = number.saturating_add(1);
            sheets.newest = sheets.newest.max(row.get(3)?);
        }
        Ok(sheets)
    }

    /// Writes a failure down.
    pub fn push(
        &mut self,
        db: &Connection,
        jail: i64,
        ticket: &Ticket,
        lines_max: usize,
    ) -> rusqlite::Result<()> {
        let key = Key::of(&ticket.id);
        self.newest = self.newest.max(ticket.time.micros());
        let (sheet, back) = self.place(db, jail, &key)?;
        sheet.push(&key, ticket, back, lines_max);
        Ok(())
    }

    /// What is written of an id counts no more.
    pub fn forget(&mut self, db: &Connection, jail: i64, key: &Key) -> rusqlite::Result<()> {
        if self.last_of(self.tag(jail, key)).is_some() {
            let (sheet, back) = self.place(db, jail, key)?;
            sheet.forget(key, back);
        }
        Ok(())
    }

    /// What is not in the database yet never will be. Until all is read anew, the way to what led to
    /// a ban may be cut off.
    pub fn drop_open(&mut self) {
        self.open.clear();
    }

    /// What is written of a jail counts no more.
    pub fn forget_jail(&mut self, db: &Connection, jail: i64) -> rusqlite::Result<()> {
        self.open.retain(|(of, ..)| *of != jail);
        let mut delete = db.prepare_cached("DELETE FROM sheets WHERE jail = ?1 RETURNING items")?;
        let mut gone = delete.query([jail])?;
        while let Some(row) = gone.next()? {
            self.dropped(row.get::<_, u32>(0)?.into());
        }
        Ok(())
    }

    /// So many items were taken out of the database, or put in and then out.
    pub fn dropped(&mut self, items: u64) {
        self.items = self.items.saturating_sub(items);
        self.is_stale = true;
    }

    /// True if all is to be read anew, lest numbers come to their end.
    pub fn is_worn(&self) -> bool {
        self.next > NUMBER_MAX
    }

    /// All failures in the database are at most as young as this, though the clock was ahead.
    pub fn none_is_younger(&mut self, now: Timestamp) {
        self.newest = self.newest.min(now.micros());
    }

    /// The lines that count against an id, newest first, each with its time in microseconds; at
    /// least `lines_max` of them if there are so many.
    pub fn lines(
        &self,
        db: &Connection,
        jail: i64,
        key: &Key,
        lines_max: usize,
    ) -> rusqlite::Result<Vec<(i64, std::sync::Arc<str>)>> {
        let mut found = Vec::new();
        let mut at = self.last_of(self.tag(jail, key));
        for _ in 0..CHAIN_MAX {
            let Some(number) = at.filter(|_| found.len() < lines_max) else { break };
            let is_here = |(of, open, _): &&(i64, u32, Sheet)| (*of, *open) == (jail, number);
            let back = match self.open.iter().find(is_here) {
                Some((_, _, sheet)) => self.read_lines(&sheet.bytes, jail, key, &mut found),
                None => db
                    .prepare_cached("SELECT data FROM sheets WHERE num = ?1 AND jail = ?2")?
                    .query_row((number, jail), |row| {
                        Ok(self.read_lines(row.get_ref(0)?.as_blob()?, jail, key, &mut found))
                    })
                    .optional()?
                    .flatten(),
            };
            at = back.and_then(|back| number.checked_sub(back));
        }
        Ok(found)
    }

    /// The lines of one sheet; how many sheets back the next one is, if there is one.
    fn read_lines(
        &self,
        bytes: &[u8],
        jail: i64,
        key: &Key,
        found: &mut Vec<(i64, std::sync::Arc<str>)>,
    ) -> Option<u32> {
        let tag = self.tag(jail, key);
        let of_tag: Vec<Item<'_>> =
            items(bytes).filter(|item| self.tag(jail, &item.key) == tag).collect();
        for item in of_tag.iter().rev().filter(|item| item.key == *key) {
            let failure = item.failure.as_ref()?;
            let lines = failure.evidence(false).lines;
            found.extend(lines.into_iter().rev().map(|line| (failure.time.micros(), line)));
        }
        // The first of the tag knows the way.
        of_tag.first().map(|item| item.back).filter(|back| *back > 0)
    }

    /// Brings what is written onto sheets into the database. The oldest go where they are too many.
    pub fn finish(&mut self, db: &Connection) -> rusqlite::Result<()> {
        for (jail, number, sheet) in std::mem::take(&mut self.open) {
            self.insert(db, jail, number, &sheet)?;
        }
        while self.items > ITEMS_MAX {
            let mut delete = db.prepare_cached(
                "DELETE FROM sheets WHERE num <= \
                 (SELECT max(num) FROM (SELECT num FROM sheets ORDER BY num LIMIT ?1)) \
                 RETURNING items",
            )?;
            let mut gone = delete.query([DROPPED_AT_ONCE])?;
            let before = self.items;
            while let Some(row) = gone.next()? {
                self.dropped(row.get::<_, u32>(0)?.into());
            }
            if self.items == before {
                break;
            }
        }
        self.tidy(db)
    }

    /// Forgets what is known of sheets that are not in the database any more.
    pub fn tidy(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if !std::mem::take(&mut self.is_stale) {
            return Ok(());
        }
        let least: Option<u32> =
            db.prepare_cached("SELECT min(num) FROM sheets")?.query_row([], |row| row.get(0))?;
        let open = self.open.iter().map(|(_, number, _)| *number).min();
        let least = least.into_iter().chain(open).min().unwrap_or(u32::MAX);
        self.last.retain(|last| last.sheet >= least);
        if self.last.len() < self.last.capacity() / 4 {
            self.last.shrink_to(0, rehash);
        }
        Ok(())
    }

    /// The open sheet of a jail, and how far back the last item of an id is from there; the next
    /// item is of that id.
    fn place(
        &mut self,
        db: &Connection,
        jail: i64,
        key: &Key,
    ) -> rusqlite::Result<(&mut Sheet, u32)> {
        let mut at = self.open.iter().position(|(of, ..)| *of == jail);
        if let Some(full) = at
            && self.open.get(full).is_some_and(|(.., sheet)| sheet.bytes.len() > SHEET_BYTES)
        {
            let (jail, number, sheet) = self.open.swap_remove(full);
            self.insert(db, jail, number, &sheet)?;
            at = None;
        }
        let at = at.unwrap_or_else(|| {
            self.open.push((jail, self.next, Sheet::with_capacity(SHEET_BYTES + 200)));
            self.next = self.next.saturating_add(1);
            self.open.len() - 1
        });
        let tag = self.tag(jail, key);
        let Some(&(_, number, _)) = self.open.get(at) else {
            return Err(rusqlite::Error::InvalidQuery);
        };
        let before = self.set_last(tag, number).unwrap_or(number);
        match self.open.get_mut(at) {
            Some((.., sheet)) => Ok((sheet, number.saturating_sub(before))),
            None => Err(rusqlite::Error::InvalidQuery),
        }
    }

    fn insert(
        &mut self,
        db: &Connection,
        jail: i64,
        number: u32,
        sheet: &Sheet,
    ) -> rusqlite::Result<()> {
        db.prepare_cached("INSERT INTO sheets VALUES (?1, ?2, ?3, ?4, ?5)")?.execute((
            number,
            jail,
            self.newest,
            sheet.items,
            &*sheet.bytes,
        ))?;
        self.items += u64::from(sheet.items);
        Ok(())
    }

    fn tag(&self, jail: i64, key: &Key) -> u32 {
        // Its own keys are zeros; the salt stands for them, so that tags stay the same.
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.salt.cast_unsigned() ^ jail.cast_unsigned().rotate_left(32));
        hasher.write_u8(key.kind());
        hasher.write(key.bytes());
        hasher.finish() as u32
    }

    fn last_of(&self, tag: u32) -> Option<u32> {
        let last = self.last.find(u64::from(tag).wrapping_mul(SPREAD), |last| last.tag == tag);
        last.map(|last| last.sheet)
    }

    /// Sets the last sheet of a tag; the one before.
    fn set_last(&mut self, tag: u32, sheet: u32) -> Option<u32> {
        let hash = u64::from(tag).wrapping_mul(SPREAD);
        match self.last.entry(hash, |last| last.tag == tag, rehash) {
            Entry::Occupied(mut there) => {
                Some(std::mem::replace(&mut there.get_mut().sheet, sheet))
            }
            Entry::Vacant(place) => {
                place.insert(Last { tag, sheet });
                None
            }
        }
    }
}

/// Gives sheets low numbers where they have come near the end. Which is how far behind another one
/// stays; those that are too far behind the last one are dropped.
fn number_anew(db: &Connection) -> rusqlite::Result<()> {
    let last: Option<i64> = db.query_row("SELECT max(num) FROM sheets", [], |row| row.get(0))?;
    let Some(last) = last.filter(|last| *last > i64::from(NUMBER_MAX)) else { return Ok(()) };
    let far = last.saturating_sub(i64::from(NUMBER_MAX / 2));
    db.execute("DELETE FROM sheets WHERE num < ?1", [far])?;
    let first: i64 = db.query_row("SELECT min(num) FROM sheets", [], |row| row.get(0))?;
    db.execute("UPDATE sheets SET num = num - ?1 + 1", [first])?;
    Ok(())
}

/// Spreads a tag over 64 bits, of which the table uses both ends.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

fn rehash(last: &Last) -> u64 {
    u64::from(last.tag).wrapping_mul(SPREAD)
}
