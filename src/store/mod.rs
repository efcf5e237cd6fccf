//! The store: bans, failures and positions in SQLite.

mod entry;
mod error;
pub mod import;
mod past;

use std::{path::PathBuf, sync::Arc};

use crate::{
    ticket::{Ban, Evidence, Id, JailName, Ticket},
    time::Timestamp,
};

pub use entry::{Counters, Entry, UnbanWhy};
pub use error::{Notice, OpenError, StoreError};
pub use past::{JailRow, Merged, Past, PastBan};

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
    /// `dbpurgeage`: so many seconds bans are remembered.
    pub purge_age_s: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { matches_max: 10, purge_age_s: 86_400 }
    }
}

/// Whether what is committed reaches the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Health {
    /// There is no database, on purpose.
    Off,
    /// It does.
    Good,
    /// It does not; entries wait in memory.
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

/// The database, in the hands of one thread.
#[derive(Debug)]
pub struct Store {
    notices: Vec<Notice>,
}

/// A second, read-only look at the database, for another thread.
#[derive(Debug)]
pub struct Reader {}

impl Store {
    /// Opens the database, makes it where there is none, sets a damaged one aside.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; the daemon may go on with [`Location::None`] or [`Location::Memory`].
    pub fn open(location: &Location, options: Options, now: Timestamp) -> Result<Store, OpenError> {
        let _ = (location, options, now);
        Ok(Store { notices: Vec::new() })
    }

    /// Takes what is to be said in the log, oldest first.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Whether what is committed reaches the disk.
    pub fn health(&self) -> Health {
        Health::Off
    }

    /// Changes `dbmaxmatches` and `dbpurgeage`.
    pub fn set_options(&mut self, options: Options) {
        let _ = options;
    }

    /// Writes a batch: all of it in one transaction, in its order, behind whatever waits.
    ///
    /// # Errors
    ///
    /// The batch is not written yet; it waits (in its order, within a limit) and goes with a later
    /// commit. The caller goes on as if it had been written, and says so: [`Store::take_notices`].
    pub fn commit(&mut self, entries: &[Entry], now: Timestamp) -> Result<(), StoreError> {
        let _ = (entries, now);
        Ok(())
    }

    /// Work for an idle moment: writes what waits, moves the log of changes into the database, and
    /// once an hour forgets what is old. Call it about once a second when nothing else is to be done.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    pub fn housekeep(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.commit(&[], now)
    }

    /// Forgets at once what is old.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub fn purge(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.commit(&[], now)
    }

    /// Gives every ban that stands, lapsed ones that nobody lifted yet included, without what led to
    /// it ([`Store::evidence`] has that); how many there were.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn for_each_ban(&self, each: impl FnMut(&JailName, Ban)) -> Result<u64, StoreError> {
        let _ = each;
        Ok(0)
    }

    /// Gives the failures of a jail at or after `since`, oldest first; how many there were.
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
        let _ = (jail, since, each);
        Ok(0)
    }

    /// All positions, as `(key, value)`.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn positions(&self) -> Result<Vec<(Arc<str>, Arc<str>)>, StoreError> {
        Ok(Vec::new())
    }

    /// How often an id was banned in a jail, or in any jail; none if it never was, as far as is
    /// remembered. The current ban counts.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn past(&self, jail: Option<&str>, id: &Id) -> Result<Option<Past>, StoreError> {
        let _ = (jail, id);
        Ok(None)
    }

    /// The bans of an id, newest first, at most `limit`.
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
        let _ = (jail, id, limit);
        Ok(Vec::new())
    }

    /// What led to the current ban of an id; none if it is not banned.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn evidence(&self, jail: &str, id: &Id) -> Result<Option<Arc<Evidence>>, StoreError> {
        let _ = (jail, id);
        Ok(None)
    }

    /// What all bans of an id have against it, in a jail or in all.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn merged(&self, jail: Option<&str>, id: &Id) -> Result<Merged, StoreError> {
        let _ = (jail, id);
        Ok(Merged::default())
    }

    /// The jails that the database knows.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn jails(&self) -> Result<Vec<JailRow>, StoreError> {
        Ok(Vec::new())
    }

    /// A second connection, read-only, for slow questions from another thread; none where the
    /// database is in no file.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub fn reader(&self) -> Result<Option<Reader>, StoreError> {
        Ok(None)
    }
}
