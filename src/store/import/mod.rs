//! Bans of others: fail2ban's database, portsentry's history and blocked files.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::{
    ticket::{BanTime, Evidence, Id},
    time::Timestamp,
};

/// A ban that another program decided.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedBan {
    /// The jail that it names; none where the file knows no jails.
    pub jail: Option<String>,
    /// Who is out.
    pub id: Id,
    /// Since when; none where the file does not say.
    pub from: Option<Timestamp>,
    /// For how long; none where the file does not say (the jail's own `bantime` holds then).
    pub time: Option<BanTime>,
    /// Which ban of this id it is, counted from 1.
    pub count: u32,
    /// How many failures led to it.
    pub failures: u32,
    /// What led to it.
    pub evidence: Evidence,
    /// It stands at the time of the import; otherwise it is history.
    pub current: bool,
}

/// What kind of file it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// fail2ban's database, with the version of its tables.
    Fail2ban(i64),
    /// portsentry's history or blocked file, 1.x.
    Portsentry1,
    /// portsentry's history, 2.x.
    Portsentry2,
    /// portsentry's blocked file, 2.x (binary).
    Portsentry2Blocked,
}

/// What a file held.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// What kind of file it was.
    pub kind: Kind,
    /// The bans, oldest first.
    pub bans: Vec<ImportedBan>,
    /// Lines (or rows) that say nothing of a ban or were not understood, by their number from 1
    /// with the reason; at most [`UNREAD_MAX`] of them.
    pub unread: Vec<(u64, String)>,
    /// How many there were in all.
    pub unread_count: u64,
}

/// How many lines that were not understood are named; the others are counted.
pub const UNREAD_MAX: usize = 100;

/// Why nothing could be imported.
#[derive(Debug)]
#[non_exhaustive]
pub enum ImportError {
    /// The file cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// It is no file that we know.
    Unknown {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        what: String,
    },
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImportError::Unreadable { path, cause } => write!(f, "{}: {cause}", path.display()),
            ImportError::Unknown { path, what } => write!(
                f,
                "{}: {what}\n  import takes fail2ban's database (fail2ban.sqlite3), and \
                 portsentry's history and blocked files",
                path.display()
            ),
        }
    }
}

impl std::error::Error for ImportError {}

/// Reads the bans of a file, whose kind is known by what it holds. The file is never written.
///
/// # Errors
///
/// [`ImportError`] if it cannot be read, or is none of those that [`Kind`] names.
pub fn import(path: &Path, now: Timestamp) -> Result<Imported, ImportError> {
    let _ = now;
    let what = "its kind is not known".to_owned();
    Err(ImportError::Unknown { path: path.to_owned(), what })
}
