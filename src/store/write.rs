//! Entries as SQL, each a few prepared statements.

use std::{collections::HashMap, fmt::Write as _, sync::Arc};

use rusqlite::{Connection, params};

use super::{
    row::{cut, signed, write_evidence},
    sheet::Key,
    sheets::Sheets,
    young::Young,
};
use crate::{
    ticket::{Ban, Entry, Evidence, Id, JailName, UnbanWhy},
    time::Timestamp,
};

const NEW_BAN: &str = "INSERT OR IGNORE INTO bans VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const CHANGED_BAN: &str = "INSERT OR REPLACE INTO bans VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// The numbers of jails that the database knows, kept to save a look-up an entry.
#[derive(Debug, Default)]
pub(super) struct Jails(HashMap<JailName, i64>);

impl Jails {
    /// After a transaction that was rolled back, numbers given in it are none.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn number(&mut self, db: &Connection, jail: &JailName) -> rusqlite::Result<i64> {
        if let Some(number) = self.0.get(jail) {
            return Ok(*number);
        }
        db.prepare_cached("INSERT INTO jails(name) VALUES (?1) ON CONFLICT DO NOTHING")?
            .execute([&**jail])?;
        let number = db
            .prepare_cached("SELECT jail FROM jails WHERE name = ?1")?
            .query_row([&**jail], |row| row.get(0))?;
        self.0.insert(jail.clone(), number);
        Ok(number)
    }
}

/// Writes entries within a transaction that the caller holds; all is written after
/// [`Writer::finish`].
pub(super) struct Writer<'a> {
    db: &'a Connection,
    jails: &'a mut Jails,
    sheets: &'a mut Sheets,
    matches_max: usize,
    young: Young<'a>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        db: &'a Connection,
        jails: &'a mut Jails,
        sheets: &'a mut Sheets,
        matches_max: usize,
    ) -> Writer<'a> {
        Writer { db, jails, sheets, matches_max, young: Young::default() }
    }

    pub(super) fn write(&mut self, entry: &'a Entry, now: Timestamp) -> rusqlite::Result<()> {
        let db = self.db;
        match entry {
            Entry::JailStart { jail, findtime_s } => {
                let jail = self.jails.number(db, jail)?;
                db.prepare_cached("UPDATE jails SET findtime = ?2 WHERE jail = ?1")?
                    .execute((jail, signed(*findtime_s)))?;
            }
            Entry::ForgetJail { jail } => {
                let jail = self.jails.number(db, jail)?;
                self.end_all(jail, UnbanWhy::Replaced, now)?;
            }
            Entry::Failure { jail, ticket } => {
                let jail = self.jails.number(db, jail)?;
                if !self.young.push(jail, ticket) {
                    self.sheets.push(db, jail, ticket, self.matches_max)?;
                }
            }
            Entry::Ban { jail, ban, ordered } => self.ban(jail, ban, *ordered, now)?,
            Entry::Prolong { jail, ban, ordered } => {
                let jail = self.jails.number(db, jail)?;
                db.prepare_cached(
                    "UPDATE bans SET begun = ?3, bantime = ?4, count = ?5, failures = ?6, \
                     ordered = ?7 WHERE id = ?1 AND jail = ?2",
                )?
                .execute(params![
                    text(&ban.id),
                    jail,
                    ban.from.micros(),
                    ban.time.secs(),
                    ban.count,
                    ban.failures,
                    ordered
                ])?;
                self.forget_failures(&ban.id, jail)?;
            }
            Entry::Unban { jail, id, why } => {
                let jail = self.jails.number(db, jail)?;
                self.forget_failures(id, jail)?;
                let id = text(id);
                self.end(&id, jail, *why, now)?;
                if *why == UnbanWhy::Ordered {
                    self.forgive(&id, jail)?;
                }
            }
            Entry::Spent { jail, id } => {
                let jail = self.jails.number(db, jail)?;
                self.forget_failures(id, jail)?;
            }
            Entry::Forget { jail, id } => {
                let jail = self.jails.number(db, jail)?;
                self.forget_failures(id, jail)?;
                self.forgive(&text(id), jail)?;
            }
            Entry::UnbanAll { jail } => {
                let jail = self.jails.number(db, jail)?;
                self.end_all(jail, UnbanWhy::Ordered, now)?;
                db.prepare_cached("UPDATE history SET forgiven = 1 WHERE jail = ?1")?
                    .execute([jail])?;
            }
            Entry::PastBan { jail, ban, end } => self.past_ban(jail, ban, *end)?,
            Entry::Position { key, value } => {
                db.prepare_cached("INSERT OR REPLACE INTO positions VALUES (?1, ?2, ?3)")?
                    .execute((&**key, &**value, now.micros()))?;
            }
            Entry::ForgetPosition { key } => {
                db.prepare_cached("DELETE FROM positions WHERE key = ?1")?.execute([&**key])?;
            }
            Entry::Counters { jail, counters } => {
                let jail = self.jails.number(db, jail)?;
                db.prepare_cached("UPDATE jails SET failed = ?2, banned = ?3 WHERE jail = ?1")?
                    .execute((jail, signed(counters.failed), signed(counters.banned)))?;
            }
        }
        Ok(())
    }

    /// Writes what was kept back.
    pub(super) fn finish(&mut self) -> rusqlite::Result<()> {
        for (jail, ticket) in self.young.take_all() {
            self.sheets.push(self.db, jail, ticket, self.matches_max)?;
        }
        self.sheets.finish(self.db)
    }

    fn ban(
        &mut self,
        jail: &JailName,
        ban: &Ban,
        ordered: bool,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let (id, jail) = (text(&ban.id), self.jails.number(self.db, jail)?);
        let data = self.gather(&ban.id, jail, &ban.evidence)?;
        // Nearly all are new, and a lone one is waited for.
        let num = self.insert_evidence(&data)?;
        if self.insert_ban(NEW_BAN, &id, jail, ban, ordered, num)? {
            return Ok(());
        }
        self.db.prepare_cached("DELETE FROM evidence WHERE num = ?1")?.execute([num])?;
        let (begun, there) = self
            .db
            .prepare_cached("SELECT begun, num FROM bans WHERE id = ?1 AND jail = ?2")?
            .query_row((&id, jail), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        let num = match begun == ban.from.micros() {
            true => {
                if data.is_some() {
                    self.db
                        .prepare_cached("UPDATE evidence SET data = ?2 WHERE num = ?1")?
                        .execute((there, data))?;
                }
                there
            }
            false => {
                self.end(&id, jail, UnbanWhy::Replaced, now)?;
                self.insert_evidence(&data)?
            }
        };
        self.insert_ban(CHANGED_BAN, &id, jail, ban, ordered, num)?;
        Ok(())
    }

    /// The row of a ban; false if there is another, and that stays.
    fn insert_ban(
        &self,
        sql: &str,
        id: &str,
        jail: i64,
        ban: &Ban,
        ordered: bool,
        num: i64,
    ) -> rusqlite::Result<bool> {
        let row = params![
            id,
            jail,
            ban.from.micros(),
            ban.time.secs(),
            ban.count,
            ban.failures,
            ordered,
            num
        ];
        Ok(self.db.prepare_cached(sql)?.execute(row)? > 0)
    }

    /// The evidence of a ban: its own, or the lines of the failures that led to it where those are
    /// more. Those failures are forgotten.
    fn gather(
        &mut self,
        id: &Id,
        jail: i64,
        evidence: &Evidence,
    ) -> rusqlite::Result<Option<String>> {
        let key = Key::of(id);
        // Newest first, each with the time of its failure.
        let mut lines: Vec<(i64, Arc<str>)> = Vec::new();
        for ticket in self.young.take(jail, id).into_iter().rev() {
            let time = ticket.time.micros();
            lines.extend(ticket.evidence.lines().rev().map(|line| (time, Arc::from(line))));
        }
        let missing = self.matches_max.saturating_sub(lines.len());
        lines.extend(self.sheets.lines(self.db, jail, &key, missing)?);
        self.sheets.forget(self.db, jail, &key)?;
        // Several logs need not have been read in the order of their stamps.
        lines.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        lines.truncate(self.matches_max);
        if lines.len() <= evidence.lines.len() {
            return Ok(write_evidence(evidence, self.matches_max));
        }
        let lines = lines.into_iter().rev().map(|(_, line)| line).collect();
        let evidence = Evidence { lines, ..evidence.clone() };
        Ok(write_evidence(&evidence, self.matches_max))
    }

    /// A row for what led to a ban; its number is the ban's, for good.
    fn insert_evidence(&self, data: &Option<String>) -> rusqlite::Result<i64> {
        self.db.prepare_cached("INSERT INTO evidence(data) VALUES (?1)")?.execute([data])?;
        Ok(self.db.last_insert_rowid())
    }

    /// Moves the current ban of an id into the history.
    fn end(&self, id: &str, jail: i64, why: UnbanWhy, now: Timestamp) -> rusqlite::Result<()> {
        let moved = self
            .db
            .prepare_cached(
                "INSERT OR REPLACE INTO history \
                 SELECT num, id, jail, begun, bantime, count, failures, ?3, ?4, 0 \
                 FROM bans WHERE id = ?1 AND jail = ?2",
            )?
            .execute((id, jail, now.micros(), why.code()))?;
        if moved > 0 {
            self.db
                .prepare_cached("DELETE FROM bans WHERE id = ?1 AND jail = ?2")?
                .execute((id, jail))?;
        }
        Ok(())
    }

    /// Moves all bans of a jail into the history, and forgets its failures.
    fn end_all(&mut self, jail: i64, why: UnbanWhy, now: Timestamp) -> rusqlite::Result<()> {
        self.young.drop_jail(jail);
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO history \
                 SELECT num, id, jail, begun, bantime, count, failures, ?2, ?3, 0 \
                 FROM bans WHERE jail = ?1",
            )?
            .execute((jail, now.micros(), why.code()))?;
        self.db.prepare_cached("DELETE FROM bans WHERE jail = ?1")?.execute([jail])?;
        self.sheets.forget_jail(self.db, jail)
    }

    fn forget_failures(&mut self, id: &Id, jail: i64) -> rusqlite::Result<()> {
        self.young.take(jail, id);
        self.sheets.forget(self.db, jail, &Key::of(id))
    }

    /// The past bans of an id stay readable, but no later ban grows on them.
    fn forgive(&self, id: &str, jail: i64) -> rusqlite::Result<()> {
        self.db
            .prepare_cached("UPDATE history SET forgiven = 1 WHERE id = ?1 AND jail = ?2")?
            .execute((id, jail))?;
        Ok(())
    }

    fn past_ban(&mut self, jail: &JailName, ban: &Ban, end: Timestamp) -> rusqlite::Result<()> {
        let (id, jail) = (text(&ban.id), self.jails.number(self.db, jail)?);
        let there = self
            .db
            .prepare_cached(
                "SELECT 1 FROM history WHERE id = ?1 AND jail = ?2 AND begun = ?3 \
                 UNION ALL SELECT 1 FROM bans WHERE id = ?1 AND jail = ?2 AND begun = ?3",
            )?
            .exists((&id, jail, ban.from.micros()))?;
        if there {
            return Ok(());
        }
        let num = self.insert_evidence(&write_evidence(&ban.evidence, self.matches_max))?;
        self.db
            .prepare_cached("INSERT INTO history VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0)")?
            .execute(params![
                num,
                id,
                jail,
                ban.from.micros(),
                ban.time.secs(),
                ban.count,
                ban.failures,
                end.micros(),
                UnbanWhy::Lapsed.code()
            ])?;
        Ok(())
    }
}

/// An id as its column holds it. A text beyond the limit of a line is cut: as nobody can be told
/// apart by what stands behind, that id counts as the cut one after a restart.
pub(super) fn text(id: &Id) -> String {
    let mut text = String::new();
    push_text(&mut text, id);
    text
}

fn push_text(text: &mut String, id: &Id) {
    // Writing to a String never fails.
    let _ = write!(text, "{id}");
    text.truncate(cut(text).len());
}
