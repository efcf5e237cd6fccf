//! What can go wrong with a database, and what the store wants said aloud.

use std::{fmt, path::PathBuf};

use rusqlite::ErrorCode;

/// Why a database was not opened. None of these touched the file.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// It is fail2ban's.
    Fail2ban {
        /// The file.
        path: PathBuf,
    },
    /// It is a SQLite database of some other program.
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer sentryban wrote it.
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        version: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The file or its directory may not be read or written.
    Permission {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// Another process holds it.
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full, or the device failed.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Fail2ban { path } => write!(
                f,
                "{0}: this is fail2ban's database, which is left as it is\n  \
                 set `dbfile` to a file of its own, and take the bans over with \
                 `sentryban-client import {0}`",
                path.display()
            ),
            OpenError::Foreign { path } => write!(
                f,
                "{}: this is another program's database, which is left as it is\n  \
                 set `dbfile` to a file of its own",
                path.display()
            ),
            OpenError::Newer { path, version, known } => write!(
                f,
                "{}: written by a newer sentryban (tables of version {version}, this one knows \
                 {known})\n  install that one again, or move the file away",
                path.display()
            ),
            OpenError::Permission { path, cause } => write!(
                f,
                "{}: {cause}\n  the database and its directory must be writable for this user",
                path.display()
            ),
            OpenError::Busy { path } => {
                write!(f, "{}: another process holds the database", path.display())
            }
            OpenError::Io { path, cause } => write!(f, "{}: {cause}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {}

/// Why something could not be written or read.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoreError {
    /// No space is left on the disk.
    Full(String),
    /// The device failed, or the file may not be written any more.
    Io(String),
    /// Another process holds the database.
    Busy(String),
    /// The file is no sound database any more.
    Corrupt(String),
    /// Anything else: our fault.
    Other(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Full(text) => write!(f, "no space is left for the database: {text}"),
            StoreError::Io(text) => write!(f, "the database cannot be used: {text}"),
            StoreError::Busy(text) => write!(f, "another process holds the database: {text}"),
            StoreError::Corrupt(text) => write!(f, "the database is damaged: {text}"),
            StoreError::Other(text) => write!(f, "database: {text}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        use rusqlite::Error as E;

        let text = error.to_string();
        // What stands there is not what we write.
        let unreadable = matches!(
            error,
            E::FromSqlConversionFailure(..)
                | E::IntegralValueOutOfRange(..)
                | E::InvalidColumnType(..)
                | E::Utf8Error(..)
        );
        if unreadable {
            return StoreError::Corrupt(text);
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full(text),
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::NoLargeFileSupport
                | ErrorCode::OutOfMemory,
            ) => StoreError::Io(text),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy(text),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt(text),
            // No such table, no such column: somebody took it away behind our back.
            Some(ErrorCode::Unknown) if text.contains("no such ") => StoreError::Corrupt(text),
            _ => StoreError::Other(text),
        }
    }
}

/// Something for the log, told once. The store itself does not log.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// A damaged file was set aside, and an empty one begun. What the daemon still knows (the bans
    /// of its jails, the positions of its sources) is to be committed once more.
    SetAside {
        /// Where the database should be.
        path: PathBuf,
        /// Where the damaged file is now.
        aside: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file was removed, or replaced by another, while it was in use; a new one is begun. What
    /// the daemon still knows is to be committed once more.
    Vanished {
        /// Where the database should be.
        path: PathBuf,
    },
    /// Entries that the tables do not take were left out: our fault.
    Refused {
        /// How many.
        entries: usize,
        /// What the database said of the last one.
        cause: StoreError,
    },
    /// Writing fails from now on; entries wait.
    Failing {
        /// Why.
        cause: StoreError,
    },
    /// The queue of waiting entries was full: so many failures, or bans and the like, were dropped.
    /// Bans are to be committed once more when writing works again.
    Lost {
        /// Failures dropped so far.
        failures: u64,
        /// Other entries dropped so far.
        others: u64,
    },
    /// Writing works again, and what waited is written.
    Recovered {
        /// How many entries had waited.
        written: usize,
        /// Entries other than failures were lost: commit the current bans once more.
        incomplete: bool,
    },
    /// The tables were brought to a newer version.
    Upgraded {
        /// From this version.
        from: i64,
        /// To this one.
        to: i64,
    },
}

impl Notice {
    /// What the daemon still knows (the current bans of its jails, the positions of its sources, its
    /// totals) is to be committed once more.
    pub fn wants_all(&self) -> bool {
        matches!(
            self,
            Notice::SetAside { .. }
                | Notice::Vanished { .. }
                | Notice::Recovered { incomplete: true, .. }
        )
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::SetAside { path, aside, why } => write!(
                f,
                "{}: the database is damaged ({why}); it was set aside as {}, and an empty one \
                 begun",
                path.display(),
                aside.display()
            ),
            Notice::Vanished { path } => write!(
                f,
                "{}: the database was removed or replaced while in use; it is begun anew",
                path.display()
            ),
            Notice::Refused { entries, cause } => {
                write!(f, "{entries} entries could not be written and are left out: {cause}")
            }
            Notice::Failing { cause } => write!(
                f,
                "{cause}; jails go on, and what they do is kept in memory and written when this \
                 is mended"
            ),
            Notice::Lost { failures, others } => write!(
                f,
                "too much waits to be written: {failures} failures and {others} other entries \
                 were dropped so far"
            ),
            Notice::Recovered { written, .. } => {
                write!(f, "the database works again: {written} entries that waited are written")
            }
            Notice::Upgraded { from, to } => {
                write!(f, "the database was brought from version {from} to {to}")
            }
        }
    }
}
