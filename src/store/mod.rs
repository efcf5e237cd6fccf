//! The store: bans, failures and positions in SQLite.
//!
//! ```text
//! what happened, in one batch ──► Store::commit ──► one transaction ──► only now: banactions
//! restart ──► Store::open ──► for_each_ban, for_each_failure, positions ──► the engine goes on
//! ```
//!
//! **What is promised.** A batch is written whole or not at all, and in its place: after a crash of
//! the daemon at any instant the database is as it was behind some batch, and that is the last one
//! whose commit returned (or the one that was being written). A position stands in one batch with
//! what was read before it, so no line is lost and none is counted twice.
//!
//! After a **power cut** the same holds, but for the last second or two: commits do not wait for the
//! disk (`synchronous = NORMAL` on a write-ahead log); a thread syncs a second behind them. Since
//! positions go back together with failures and bans, logs that survived are read again from there.
//! What somebody *ordered* to be undone (`unban`) is synced before the commit returns, so that it
//! stays undone.
//!
//! **What goes wrong** does not stop the guard. A commit that fails leaves its entries in a bounded
//! queue, which goes with a later one; a damaged file is set aside and a new one begun; both are
//! told by [`Store::take_notices`]. A database of fail2ban, or of any other program, is refused and
//! never touched.
//!
//! Begin with `ticket/entry.rs` (what is written), then `schema.rs`.

mod error;
mod file;
pub mod import;
mod past;
mod purge;
mod queue;
mod read;
mod row;
mod schema;
mod sheet;
mod sheets;
mod sync;
mod write;
mod young;

use std::{ops::Deref, path::PathBuf};

use rusqlite::{Connection, Transaction, TransactionBehavior, config::DbConfig};

pub use crate::ticket::{Counters, Entry, UnbanWhy};
use crate::time::Timestamp;

pub use error::{Notice, OpenError, StoreError};
pub use past::{JailRow, Merged, Past, PastBan};
pub use read::Reader;

/// While writing fails, it is tried again so many seconds later.
const RETRY_S: i64 = 2;

/// A batch of so many entries gets more memory for its pages.
const LARGE_BATCH: usize = 500;

/// Where the database is: what `dbfile` says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Location {
    /// Nowhere: nothing is remembered.
    None,
    /// In memory: gone with the process.
    Memory,
    /// In this file.
    File(PathBuf),
}

impl Location {
    /// Reads `dbfile`: `None`, `:memory:`, or a path.
    pub fn parse(text: &str) -> Location {
        match text.trim() {
            "" => Location::None,
            text if text.eq_ignore_ascii_case("none") => Location::None,
            ":memory:" => Location::Memory,
            path => Location::File(path.into()),
        }
    }
}

/// What the configuration says of the database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
    /// `dbmaxmatches`: so many lines are kept of a ban, the newest.
    pub matches_max: usize,
    /// `dbpurgeage`: so many seconds bans are remembered after their end.
    pub purge_age_s: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { matches_max: 10, purge_age_s: 86_400 }
    }
}

/// Whether what is committed is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Health {
    /// There is no database, on purpose.
    Off,
    /// It is.
    Good,
    /// It is not; entries wait in memory.
    Failing {
        /// Since when.
        since: Timestamp,
        /// Why.
        cause: StoreError,
        /// Entries that wait.
        waiting: usize,
        /// Entries that were dropped since then.
        lost: u64,
    },
}

#[derive(Debug)]
struct Failing {
    since: Timestamp,
    tried: Timestamp,
    cause: StoreError,
}

/// The database, in the hands of one thread. Questions are answered by the [`Reader`] that it is.
#[derive(Debug)]
pub struct Store {
    // Ended before the connection of `reader`, which closes the file and clears up.
    syncer: Option<sync::Syncer>,
    reader: Reader,
    location: Location,
    identity: Option<(u64, u64)>,
    options: Options,
    jails: write::Jails,
    /// None until something is written, and after a transaction that was rolled back.
    sheets: Option<sheets::Sheets>,
    queue: queue::Queue,
    failing: Option<Failing>,
    purge: purge::Purge,
    notices: Vec<Notice>,
}

impl Deref for Store {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Store {
    /// Opens the database, makes it where there is none, sets a damaged one aside. A thread is
    /// started at the first commit: open before or after going to the background, commit after.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; the daemon may go on with [`Location::Memory`].
    pub fn open(location: &Location, options: Options, now: Timestamp) -> Result<Store, OpenError> {
        let mut store = Store {
            syncer: None,
            reader: Reader::default(),
            location: location.clone(),
            identity: None,
            options,
            jails: write::Jails::default(),
            sheets: None,
            queue: queue::Queue::default(),
            failing: None,
            purge: purge::Purge::default(),
            notices: Vec::new(),
        };
        store.connect(now)?;
        Ok(store)
    }

    fn connect(&mut self, now: Timestamp) -> Result<(), OpenError> {
        self.reader.db = match &self.location {
            Location::None => None,
            Location::Memory => Some(in_memory(now).map_err(|error| OpenError::Io {
                path: ":memory:".into(),
                cause: error.to_string(),
            })?),
            Location::File(path) => Some(file::open(path, now, &mut self.notices)?),
        };
        self.reader.damage.take();
        self.jails.clear();
        self.sheets = None;
        if let Location::File(path) = &self.location {
            self.identity = file::identity(path);
        }
        Ok(())
    }

    /// Takes what is to be said in the log, oldest first. [`Notice::wants_all`] tells when the
    /// daemon is to commit once more what it knows.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Whether what is committed is written.
    pub fn health(&self) -> Health {
        match &self.failing {
            Some(failing) => Health::Failing {
                since: failing.since,
                cause: failing.cause.clone(),
                waiting: self.queue.len(),
                lost: self.queue.lost_failures + self.queue.lost_others,
            },
            None if self.location == Location::None => Health::Off,
            None => Health::Good,
        }
    }

    /// `dbmaxmatches` and `dbpurgeage` as they are now.
    pub fn options(&self) -> Options {
        self.options
    }

    /// Changes them.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    /// Where the database is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Writes a batch: all of it in one transaction, in its order, behind whatever waits.
    ///
    /// # Errors
    ///
    /// The batch is not written yet; it waits (in its order, within a limit) and goes with a later
    /// commit. The caller goes on as if it had been written; [`Store::take_notices`] says once what
    /// is wrong.
    pub fn commit(&mut self, entries: &[Entry], now: Timestamp) -> Result<(), StoreError> {
        if self.location == Location::None || entries.is_empty() && self.queue.is_empty() {
            return Ok(());
        }
        if let Some(failing) = &self.failing
            && now >= failing.tried
            && now < failing.tried.plus_secs(RETRY_S)
        {
            let cause = failing.cause.clone();
            self.wait(entries, now);
            return Err(cause);
        }
        if let Err(cause) = self.write_or_mend(entries, now) {
            let since = match self.failing.take() {
                Some(failing) => failing.since,
                None => {
                    self.notices.push(Notice::Failing { cause: cause.clone() });
                    now
                }
            };
            self.failing = Some(Failing { since, tried: now, cause: cause.clone() });
            self.wait(entries, now);
            return Err(cause);
        }
        if self.failing.take().is_some() {
            let incomplete = self.queue.lost_others > 0;
            self.notices.push(Notice::Recovered { written: self.queue.len(), incomplete });
        }
        self.queue.clear();
        if self.syncer.is_none()
            && let Location::File(path) = &self.location
        {
            self.syncer = sync::Syncer::start(path.clone());
        }
        if let Some(syncer) = &self.syncer {
            syncer.wake();
        }
        Ok(())
    }

    /// Puts a batch into the queue. What is lost of it is said at the first loss; how much it was in
    /// the end, [`Store::health`] knows.
    fn wait(&mut self, entries: &[Entry], now: Timestamp) {
        let first = self.queue.lost_failures + self.queue.lost_others == 0;
        if self.queue.push(entries, now) && first {
            self.notices.push(Notice::Lost {
                failures: self.queue.lost_failures,
                others: self.queue.lost_others,
            });
        }
    }

    /// Writes, after (or with a second try after) mending what can be mended.
    fn write_or_mend(&mut self, entries: &[Entry], now: Timestamp) -> Result<(), StoreError> {
        let damage = self.reader.damage.take();
        if let Some(why) = damage {
            self.begin_anew(why, now)?;
        }
        if self.reader.db.is_none() {
            self.connect(now).map_err(|error| StoreError::Io(error.to_string()))?;
        }
        match self.write(entries, now) {
            Err(StoreError::Corrupt(why)) => {
                self.begin_anew(why, now)?;
                self.write(entries, now)
            }
            Err(StoreError::Other(_)) => {
                let done = self.write_one_by_one(entries, now);
                // Where it was rolled back, numbers given in it are none.
                self.jails.clear();
                done
            }
            result => result,
        }
    }

    fn write(&mut self, entries: &[Entry], now: Timestamp) -> Result<(), StoreError> {
        let Some(db) = &self.reader.db else { return Ok(()) };
        let waiting = self.queue.iter().map(|(entry, _)| entry);
        let ordered = waiting.chain(entries).any(Entry::is_order);
        if ordered {
            db.pragma_update(None, "synchronous", "FULL")?;
        }
        // Failures stand many to a row, and all behind the others.
        let is_row = |entry: &&Entry| !matches!(entry, Entry::Failure { .. });
        let large = self.queue.len() + entries.iter().filter(is_row).count() >= LARGE_BATCH;
        if large {
            file::large_cache(db, true)?;
        }
        let mut jails = std::mem::take(&mut self.jails);
        let sheets = self.sheets.take();
        let result = self.transaction(db, &mut jails, sheets, entries, now);
        let result = result.map_err(StoreError::from);
        if large {
            let _ = file::large_cache(db, false); // the batch is written, whatever this says
        }
        if ordered {
            // It was set a moment ago on the same connection; what fails here fails again and louder.
            let _ = db.pragma_update(None, "synchronous", "NORMAL");
        }
        self.sheets = Some(result?).filter(|sheets| !sheets.is_worn());
        self.jails = jails;
        Ok(())
    }

    /// All that waits and a batch, in one transaction.
    fn transaction(
        &self,
        db: &Connection,
        jails: &mut write::Jails,
        sheets: Option<sheets::Sheets>,
        entries: &[Entry],
        now: Timestamp,
    ) -> rusqlite::Result<sheets::Sheets> {
        // A lone ban waits for this, so not even these words are read anew each time.
        let say = |word: &str| db.prepare_cached(word)?.execute([]).map(drop);
        say("BEGIN IMMEDIATE")?;
        let all = || {
            let mut sheets = match sheets {
                Some(sheets) => sheets,
                None => sheets::Sheets::read(db)?,
            };
            let mut writer = write::Writer::new(db, jails, &mut sheets, self.options.matches_max);
            let mut batch = self.queue.iter().chain(entries.iter().map(|entry| (entry, now)));
            batch.try_for_each(|(entry, time)| writer.write(entry, time))?;
            writer.finish()?;
            say("COMMIT")?;
            Ok(sheets)
        };
        let done = all();
        if done.is_err() && !db.is_autocommit() {
            // What made it fail is told; a failing rollback has no other reason.
            let _ = db.execute_batch("ROLLBACK");
        }
        done
    }

    /// For a batch with an entry that the tables do not take: that one is left out, so that it does
    /// not hold up all others for ever.
    fn write_one_by_one(&mut self, entries: &[Entry], now: Timestamp) -> Result<(), StoreError> {
        let Some(db) = &self.reader.db else { return Ok(()) };
        let mut refused = None;
        let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
        let mut sheets = sheets::Sheets::read(db)?;
        let batch = entries.iter().map(|entry| (entry, now));
        for (entry, time) in self.queue.iter().chain(batch) {
            self.jails.clear();
            let jails = &mut self.jails;
            let matches_max = self.options.matches_max;
            let mut writer = write::Writer::new(db, jails, &mut sheets, matches_max);
            db.execute_batch("SAVEPOINT entry")?;
            let written = writer.write(entry, time).and_then(|()| writer.finish());
            match written.map_err(StoreError::from) {
                Ok(()) => (),
                Err(cause @ StoreError::Other(_)) => {
                    db.execute_batch("ROLLBACK TO entry")?;
                    sheets.drop_open();
                    let (number, _) = refused.unwrap_or((0, StoreError::Other(String::new())));
                    refused = Some((number + 1, cause));
                }
                Err(cause) => return Err(cause),
            }
            db.execute_batch("RELEASE entry")?;
        }
        transaction.commit()?;
        if let Some((entries, cause)) = refused {
            self.notices.push(Notice::Refused { entries, cause });
        }
        Ok(())
    }

    /// The file is damaged: sets it aside and begins an empty one.
    fn begin_anew(&mut self, why: String, now: Timestamp) -> Result<(), StoreError> {
        self.syncer = None;
        self.reader.db = None;
        let io = |error: OpenError| StoreError::Io(error.to_string());
        if let Location::File(path) = &self.location {
            file::set_aside(path, why, now, &mut self.notices).map_err(io)?;
        }
        self.connect(now).map_err(io)
    }

    /// Work for an idle moment: writes what waits, and once an hour forgets what is old, a step a
    /// call. Call it about once a second when nothing else is to be done, and at once again after
    /// `true`: there is more to do.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    pub fn housekeep(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        self.look_after_file(now)?;
        if self.reader.damage.borrow().is_some() {
            self.write_or_mend(&[], now)?;
        }
        self.commit(&[], now)?;
        match self.failing.is_none() && self.purge.is_due(now) {
            true => self.purge_step(now),
            false => Ok(false),
        }
    }

    /// Forgets at once all that is old (`purge` of `dbpurgeage`), however long that takes.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub fn purge(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.purge.begin();
        while self.purge_step(now)? {}
        Ok(())
    }

    fn purge_step(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        let Some(db) = &self.reader.db else { return Ok(false) };
        let more = self.purge.step(db, self.options.purge_age_s, now).map_err(StoreError::from);
        if let Err(StoreError::Corrupt(why)) = &more {
            *self.reader.damage.borrow_mut() = Some(why.clone());
        }
        let (items, youngest) = self.purge.take_dropped();
        if let Some(sheets) = &mut self.sheets {
            if items > 0 {
                sheets.dropped(items);
            }
            if let Some(youngest) = youngest {
                sheets.none_is_younger(youngest);
            }
            if sheets.tidy(db).is_err() {
                self.sheets = None; // it is read anew
            }
        }
        if let Some(syncer) = &self.syncer {
            syncer.wake();
        }
        more
    }

    /// SQLite goes on writing into a file that was removed. We do not.
    fn look_after_file(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let Location::File(path) = &self.location else { return Ok(()) };
        if self.reader.db.is_none() || file::identity(path) == self.identity {
            return Ok(());
        }
        let path = path.clone();
        self.syncer = None;
        if let Some(db) = &self.reader.db {
            // The side files are found by name: they must not be mixed with those of another file.
            let _ = db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
        self.reader.db = None;
        file::remove_sides(&path);
        self.notices.push(Notice::Vanished { path });
        self.connect(now).map_err(|error| StoreError::Io(error.to_string()))
    }

    /// A second connection, read-only, for slow questions from another thread; none where the
    /// database is in no file.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub fn reader(&self) -> Result<Option<Reader>, StoreError> {
        match &self.location {
            Location::File(path) => Reader::second(path).map(Some),
            Location::None | Location::Memory => Ok(None),
        }
    }
}

fn in_memory(now: Timestamp) -> rusqlite::Result<Connection> {
    let db = Connection::open_in_memory()?;
    file::settings(&db, true)?;
    schema::migrate(&db, 0, now)?;
    Ok(db)
}
