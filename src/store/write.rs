//! Entries as SQL, each a few prepared statements.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, LazyLock},
};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    row::{cut, read_evidence, signed, write_evidence},
    young::Young,
};
use crate::{
    ticket::{Ban, Entry, Evidence, Id, JailName, Ticket, UnbanWhy},
    time::Timestamp,
};

/// So many failures are inserted by one statement: what a statement costs beside its rows is about
/// as much as a row.
const ROWS: usize = 16;

static INSERT_MANY: LazyLock<String> = LazyLock::new(|| insertion(ROWS));
static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insertion(1));

/// The statement that inserts so many failures; its last parameter is how many lines are kept.
/// Several failures of one moment keep the lines of each, as far as lines are kept.
fn insertion(rows: usize) -> String {
    let rows = vec!["(?, ?, ?, ?, ?)"; rows].join(", ");
    format!(
        "INSERT INTO failures(id, jail, time, attempts, data) VALUES {rows} \
         ON CONFLICT DO UPDATE SET attempts = attempts + excluded.attempts, \
         data = CASE WHEN data IS NULL THEN excluded.data \
         WHEN json_extract(excluded.data, '$.lines[#-1]') IS NULL \
         OR json_array_length(data, '$.lines') >= ? THEN data \
         ELSE json_insert(data, '$.lines[#]', json_extract(excluded.data, '$.lines[#-1]')) END"
    )
}

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
    matches_max: usize,
    young: Young<'a>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(db: &'a Connection, jails: &'a mut Jails, matches_max: usize) -> Writer<'a> {
        Writer { db, jails, matches_max, young: Young::default() }
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
                    self.insert_failures(&[(jail, ticket)])?;
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
                self.forget_failures(&text(&ban.id), jail)?;
            }
            Entry::Unban { jail, id, why } => {
                let (id, jail) = (text(id), self.jails.number(db, jail)?);
                self.end(&id, jail, *why, now)?;
                self.forget_failures(&id, jail)?;
                if *why == UnbanWhy::Ordered {
                    self.forgive(&id, jail)?;
                }
            }
            Entry::Spent { jail, id } => {
                let (id, jail) = (text(id), self.jails.number(db, jail)?);
                self.forget_failures(&id, jail)?;
            }
            Entry::Forget { jail, id } => {
                let (id, jail) = (text(id), self.jails.number(db, jail)?);
                self.forget_failures(&id, jail)?;
                self.forgive(&id, jail)?;
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
        let failures = self.young.take_all();
        let mut rows = failures.chunks_exact(ROWS);
        for rows in &mut rows {
            self.insert_failures(rows)?;
        }
        rows.remainder().iter().try_for_each(|row| self.insert_failures(&[*row]))
    }

    /// [`ROWS`] of them, or one.
    fn insert_failures(&self, failures: &[(i64, &Ticket)]) -> rusqlite::Result<()> {
        let sql = if failures.len() == ROWS { &INSERT_MANY } else { &INSERT_ONE };
        let mut statement = self.db.prepare_cached(sql)?;
        let mut place = 1;
        let mut id = String::new();
        for (jail, ticket) in failures {
            id.clear();
            push_text(&mut id, &ticket.id);
            statement.raw_bind_parameter(place, &*id)?;
            statement.raw_bind_parameter(place + 1, jail)?;
            statement.raw_bind_parameter(place + 2, ticket.time.micros())?;
            statement.raw_bind_parameter(place + 3, ticket.attempts)?;
            let data = write_evidence(&ticket.evidence, self.matches_max);
            statement.raw_bind_parameter(place + 4, data)?;
            place += 5;
        }
        let most = i64::try_from(self.matches_max).unwrap_or(i64::MAX);
        statement.raw_bind_parameter(place, most)?;
        statement.raw_execute()?;
        Ok(())
    }

    fn ban(
        &mut self,
        jail: &JailName,
        ban: &Ban,
        ordered: bool,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let (id, jail) = (text(&ban.id), self.jails.number(self.db, jail)?);
        let data = self.gather(&id, jail, &ban.evidence)?;
        let there = self
            .db
            .prepare_cached("SELECT begun, num FROM bans WHERE id = ?1 AND jail = ?2")?
            .query_row((&id, jail), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        let num = match there {
            Some((begun, num)) if begun == ban.from.micros() => {
                if data.is_some() {
                    self.db
                        .prepare_cached("UPDATE evidence SET data = ?2 WHERE num = ?1")?
                        .execute((num, data))?;
                }
                num
            }
            other => {
                if other.is_some() {
                    self.end(&id, jail, UnbanWhy::Replaced, now)?;
                }
                self.insert_evidence(data)?
            }
        };
        self.db
            .prepare_cached("INSERT OR REPLACE INTO bans VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
            .execute(params![
                id,
                jail,
                ban.from.micros(),
                ban.time.secs(),
                ban.count,
                ban.failures,
                ordered,
                num
            ])?;
        Ok(())
    }

    /// The evidence of a ban: its own, or the lines of the failures that led to it where those are
    /// more. Those failures are forgotten.
    fn gather(
        &mut self,
        id: &str,
        jail: i64,
        evidence: &Evidence,
    ) -> rusqlite::Result<Option<String>> {
        // Newest first, each with the lines of its moment.
        let mut moments: Vec<(i64, Vec<Arc<str>>)> = Vec::new();
        let mut failures = self.db.prepare_cached(
            "SELECT time, data FROM failures WHERE id = ?1 AND jail = ?2 ORDER BY time DESC",
        )?;
        let mut rows = failures.query((id, jail))?;
        let mut found = false;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            found = true;
            if count >= self.matches_max {
                break;
            }
            let lines = read_evidence(row.get_ref(1)?.as_str_or_null()?).lines;
            count += lines.len();
            moments.push((row.get(0)?, lines));
        }
        drop(rows);
        drop(failures);
        if found {
            self.delete_failures(id, jail)?;
        }
        for ticket in self.young.take(jail, id) {
            let time = ticket.time.micros();
            let place = moments.partition_point(|(at, _)| *at > time);
            match moments.get_mut(place).filter(|(at, _)| *at == time) {
                Some((_, lines)) => lines.extend(ticket.evidence.lines.last().cloned()),
                None => moments.insert(place, (time, ticket.evidence.lines.clone())),
            }
        }
        let mut lines: Vec<Arc<str>> =
            moments.into_iter().flat_map(|(_, lines)| lines.into_iter().rev()).collect();
        if lines.len() <= evidence.lines.len() {
            return Ok(write_evidence(evidence, self.matches_max));
        }
        lines.truncate(self.matches_max);
        lines.reverse();
        let evidence = Evidence { lines, ..evidence.clone() };
        Ok(write_evidence(&evidence, self.matches_max))
    }

    /// A row for what led to a ban; its number is the ban's, for good.
    fn insert_evidence(&self, data: Option<String>) -> rusqlite::Result<i64> {
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
        self.db.prepare_cached("DELETE FROM failures WHERE jail = ?1")?.execute([jail])?;
        Ok(())
    }

    fn forget_failures(&mut self, id: &str, jail: i64) -> rusqlite::Result<()> {
        self.young.take(jail, id);
        self.delete_failures(id, jail)
    }

    fn delete_failures(&self, id: &str, jail: i64) -> rusqlite::Result<()> {
        self.db
            .prepare_cached("DELETE FROM failures WHERE id = ?1 AND jail = ?2")?
            .execute((id, jail))?;
        Ok(())
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
        let num = self.insert_evidence(write_evidence(&ban.evidence, self.matches_max))?;
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
