//! Forgets what is old, in small steps, and gives the room back to the disk.

use rusqlite::{Connection, params};

use crate::time::Timestamp;

/// So often old rows are looked for.
const EVERY_S: i64 = 3600;

/// Rows looked at in one step, so that a step lasts some milliseconds.
const STEP_ROWS: i64 = 4000;

/// The same for sheets of failures, of which each takes half a page.
const STEP_SHEETS: i64 = 400;

/// Pages given back in one step.
const STEP_PAGES: i64 = 500;

/// Bans that are remembered at most, whatever `dbpurgeage` says; the oldest go.
const HISTORY_ROWS_MAX: i64 = 5_000_000;

/// A position that was not written for so long is forgotten: its log is gone, or has been silent.
const POSITION_AGE_S: i64 = 365 * 86_400;

/// How far a purge has come.
#[derive(Clone, Copy, Debug, Default)]
enum Step {
    #[default]
    Idle,
    /// Bans up to this number are done.
    History(i64),
    /// Sheets of failures up to this number are done.
    Failures(i64),
    /// Positions.
    Positions,
    /// Pages that are free.
    Room,
}

/// The state of purging: one for a store.
#[derive(Debug, Default)]
pub(super) struct Purge {
    step: Step,
    last: Option<Timestamp>,
    /// So many items went with sheets of failures.
    dropped: u64,
    /// The earliest and the latest time of a step of this purge. A later sheet must not go before
    /// an earlier one, of which it may forget something, though the clock is set between two steps.
    times: Option<(Timestamp, Timestamp)>,
    /// No sheet is younger than this.
    youngest: Option<Timestamp>,
}

impl Purge {
    /// Begins from the start.
    pub(super) fn begin(&mut self) {
        self.step = Step::History(0);
        self.times = None;
    }

    /// Begins if an hour has passed (or the clock went back); true if there is something to do.
    pub(super) fn is_due(&mut self, now: Timestamp) -> bool {
        let waiting = self.last.is_some_and(|last| now >= last && now < last.plus_secs(EVERY_S));
        if matches!(self.step, Step::Idle) && !waiting {
            self.begin();
        }
        !matches!(self.step, Step::Idle)
    }

    /// How many items were taken away with sheets of failures, told once; and, at the end of them
    /// all, what none of them is younger than.
    pub(super) fn take_dropped(&mut self) -> (u64, Option<Timestamp>) {
        (std::mem::take(&mut self.dropped), self.youngest.take())
    }

    /// Does one step, within a transaction of its own; true if there is more to do.
    pub(super) fn step(
        &mut self,
        db: &Connection,
        age_s: u64,
        now: Timestamp,
    ) -> rusqlite::Result<bool> {
        let age_s = i64::try_from(age_s).unwrap_or(i64::MAX);
        let (earliest, latest) = self.times.unwrap_or((now, now));
        let (earliest, latest) = (earliest.min(now), latest.max(now));
        self.times = Some((earliest, latest));
        self.step = match self.step {
            Step::Idle => Step::Idle,
            Step::History(from) => match history(db, from, age_s, now)? {
                Some(upto) => Step::History(upto),
                None => Step::Failures(0),
            },
            Step::Failures(from) => match failures(db, from, earliest, latest)? {
                Some((upto, gone)) => {
                    self.dropped += gone;
                    Step::Failures(upto)
                }
                None => {
                    self.youngest = Some(latest);
                    Step::Positions
                }
            },
            Step::Positions => {
                positions(db, now)?;
                Step::Room
            }
            Step::Room if give_room(db)? => Step::Room,
            Step::Room => {
                self.last = Some(now);
                Step::Idle
            }
        };
        Ok(!matches!(self.step, Step::Idle))
    }
}

/// The last number of the next rows of a table behind `from`; none at its end.
fn next(db: &Connection, table: &str, from: i64, rows: i64) -> rusqlite::Result<Option<i64>> {
    let sql = format!(
        "SELECT max(num) FROM (SELECT num FROM {table} WHERE num > ?1 ORDER BY num LIMIT ?2)"
    );
    db.prepare_cached(&sql)?.query_row((from, rows), |row| row.get(0))
}

/// Bans that ended longer ago than `age_s` lose their evidence, and are forgotten as soon as they
/// would not make a further ban longer: three times their length after they began.
fn history(
    db: &Connection,
    from: i64,
    age_s: i64,
    now: Timestamp,
) -> rusqlite::Result<Option<i64>> {
    let Some(upto) = next(db, "history", from, STEP_ROWS)? else { return Ok(None) };
    let transaction = db.unchecked_transaction()?;
    let old = now.plus_secs(age_s.saturating_neg()).micros();
    let newest: Option<i64> =
        db.query_row("SELECT max(num) FROM evidence", [], |row| row.get(0))?;
    let least = newest.unwrap_or(0).saturating_sub(HISTORY_ROWS_MAX);
    let gone: Vec<i64> = db
        .prepare_cached(
            "DELETE FROM history WHERE num > ?1 AND num <= ?2 AND (num <= ?5 OR ended < ?3 AND \
             (forgiven OR bantime < 0 OR begun + 3000000 * bantime < ?4)) RETURNING num",
        )?
        .query_map(params![from, upto, old, now.micros(), least], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut delete = db.prepare_cached("DELETE FROM evidence WHERE num = ?1")?;
    for num in gone {
        delete.execute([num])?;
    }
    db.prepare_cached(
        "UPDATE evidence SET data = NULL WHERE data IS NOT NULL AND num IN \
         (SELECT num FROM history WHERE num > ?1 AND num <= ?2 AND ended < ?3)",
    )?
    .execute((from, upto, old))?;
    drop(delete);
    transaction.commit()?;
    Ok(Some(upto))
}

/// Sheets on which every failure is older than the `findtime` of its jail; how many items they had.
fn failures(
    db: &Connection,
    from: i64,
    earliest: Timestamp,
    latest: Timestamp,
) -> rusqlite::Result<Option<(i64, u64)>> {
    let Some(upto) = next(db, "sheets", from, STEP_SHEETS)? else { return Ok(None) };
    let transaction = db.unchecked_transaction()?;
    // The clock was ahead. As every later sheet took over the time, none would ever be old.
    db.prepare_cached(
        "UPDATE sheets SET newest = ?3 WHERE num > ?1 AND num <= ?2 AND newest > ?3",
    )?
    .execute((from, upto, latest.micros()))?;
    let gone: Vec<u32> = db
        .prepare_cached(
            "DELETE FROM sheets WHERE num > ?1 AND num <= ?2 AND newest < ?3 - 1000000 * \
             (SELECT findtime FROM jails WHERE jails.jail = sheets.jail) RETURNING items",
        )?
        .query_map((from, upto, earliest.micros()), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    transaction.commit()?;
    Ok(Some((upto, gone.into_iter().map(u64::from).sum())))
}

fn positions(db: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let old = now.plus_secs(-POSITION_AGE_S);
    db.execute("DELETE FROM positions WHERE time < ?1", [old.micros()])?;
    Ok(())
}

/// Gives free pages back where they are more than a quarter of the file; true if there are more.
fn give_room(db: &Connection) -> rusqlite::Result<bool> {
    let count = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let wants = || -> rusqlite::Result<bool> {
        let free = count("freelist_count")?;
        Ok(free > 256 && free.saturating_mul(4) > count("page_count")?)
    };
    if !wants()? {
        db.execute_batch("PRAGMA shrink_memory")?;
        return Ok(false);
    }
    let mut vacuum = db.prepare(&format!("PRAGMA incremental_vacuum({STEP_PAGES})"))?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    drop(rows);
    wants()
}
