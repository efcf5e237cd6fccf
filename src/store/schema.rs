//! The tables, their version, and how older ones become the present ones.
//!
//! A ban that stands is one small row in `bans`, so that a million of them are read at once; what
//! led to it lies in `evidence` under the same number. When it ends, its row moves to `history`.
//! Failures that led to no ban yet stand on sheets (`sheets.rs`), in the order in which they came.
//! Times are microseconds since 1970 (`begun`, `ended`, `time`, `newest`), lengths seconds
//! (`bantime`, -1 for a permanent ban; `findtime`). Ids of bans are text, so that people may look
//! with `sqlite3`.

use rusqlite::{Connection, Row};

use super::{row, sheets::Sheets};
use crate::{ticket::Ticket, time::Timestamp};

/// "sban": tells our databases from those of others.
pub(super) const APPLICATION_ID: i64 = 0x7362_616e;

/// The newest version of the tables: how many migrations there are.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Each one brings the tables from its index to the next version. They are never changed once
/// released; a new one is added at the end.
const MIGRATIONS: [&str; 2] = [
    "
    CREATE TABLE jails(
        jail INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        findtime INTEGER NOT NULL DEFAULT 600,
        failed INTEGER NOT NULL DEFAULT 0,
        banned INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE bans(
        id TEXT NOT NULL,
        jail INTEGER NOT NULL,
        begun INTEGER NOT NULL,
        bantime INTEGER NOT NULL,
        count INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        ordered INTEGER NOT NULL,
        num INTEGER NOT NULL,
        PRIMARY KEY(id, jail)
    ) WITHOUT ROWID;
    CREATE TABLE evidence(
        num INTEGER PRIMARY KEY,
        data TEXT
    );
    CREATE TABLE history(
        num INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        jail INTEGER NOT NULL,
        begun INTEGER NOT NULL,
        bantime INTEGER NOT NULL,
        count INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        ended INTEGER NOT NULL,
        why INTEGER NOT NULL,
        forgiven INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX history_of ON history(id, jail);
    CREATE TABLE failures(
        num INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        jail INTEGER NOT NULL,
        time INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        data TEXT
    );
    CREATE UNIQUE INDEX failures_of ON failures(id, jail, time);
    CREATE TABLE positions(
        key TEXT PRIMARY KEY,
        value BLOB NOT NULL,
        time INTEGER NOT NULL
    ) WITHOUT ROWID;
",
    "
    CREATE TABLE sheets(
        num INTEGER PRIMARY KEY,
        jail INTEGER NOT NULL,
        newest INTEGER NOT NULL,
        items INTEGER NOT NULL,
        data BLOB NOT NULL
    );
    CREATE INDEX sheets_of ON sheets(jail, num, items);
    CREATE TABLE salt(salt INTEGER NOT NULL);
",
];

/// The version whose tables have a row for each failure.
const WITH_ROWS: i64 = 1;

/// The version of the tables; 0 where there are none.
pub(super) fn version(db: &Connection) -> rusqlite::Result<i64> {
    let there = db.query_row(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'migrations'",
        [],
        |row| row.get::<_, i64>(0),
    )?;
    match there {
        0 => Ok(0),
        _ => db.query_row("SELECT coalesce(max(version), 0) FROM migrations", [], |row| row.get(0)),
    }
}

/// Brings the tables from `version` to [`VERSION`]: all of it, or nothing.
pub(super) fn migrate(db: &Connection, version: i64, now: Timestamp) -> rusqlite::Result<()> {
    let transaction = db.unchecked_transaction()?;
    if version == 0 {
        db.pragma_update(None, "application_id", APPLICATION_ID)?;
        db.execute_batch("CREATE TABLE migrations(version INTEGER PRIMARY KEY, time INTEGER)")?;
    }
    for (step, sql) in (1..).zip(MIGRATIONS) {
        if step > version {
            db.execute_batch(sql)?;
            db.execute("INSERT INTO migrations VALUES (?1, ?2)", (step, now.micros()))?;
        }
    }
    if version <= WITH_ROWS {
        move_failures(db)?;
        db.execute_batch("DROP TABLE failures")?;
    }
    transaction.commit()
}

/// Failures go from rows of their own onto sheets. What cannot be read, or has no jail, is left out:
/// the bans beside it are worth more.
fn move_failures(db: &Connection) -> rusqlite::Result<()> {
    let mut sheets = Sheets::read(db)?;
    let mut all = db.prepare(
        "SELECT jail, id, time, attempts, data FROM failures \
         WHERE jail IN (SELECT jail FROM jails) ORDER BY num",
    )?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        if let Ok((jail, ticket)) = failure(row) {
            sheets.push(db, jail, &ticket, usize::MAX)?;
        }
    }
    sheets.finish(db)
}

/// A failure in a row of its own, and its jail.
fn failure(row: &Row<'_>) -> rusqlite::Result<(i64, Ticket)> {
    let ticket = Ticket {
        id: row::id(row, 1)?,
        time: row::time(row, 2)?,
        attempts: row::count::<u32>(row, 3)?.max(1),
        evidence: row::read_evidence(row.get_ref(4)?.as_str_or_null()?).into(),
    };
    Ok((row.get(0)?, ticket))
}
