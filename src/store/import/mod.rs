//! Bans of others: fail2ban's database, portsentry's history and blocked files.
//!
//! What a file is, its content tells. It is only read: not a byte is written beside it, whoever may
//! be at work in it. Names and lines in it are an attacker's text.

mod fail2ban;
mod portsentry;

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{file, schema};
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
    /// It stands at the time of the import, as far as the file tells; otherwise it is history. With
    /// no `time` of its own it stands as long as the jail's `bantime` says.
    pub current: bool,
    /// It was lifted by hand: no later ban grows on it.
    pub forgiven: bool,
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

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Fail2ban(version) => write!(f, "fail2ban's database, version {version}"),
            Kind::Portsentry1 => f.write_str("portsentry's history or blocked file"),
            Kind::Portsentry2 => f.write_str("portsentry 2's history"),
            Kind::Portsentry2Blocked => f.write_str("portsentry 2's blocked file"),
        }
    }
}

/// What a file held.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// What kind of file it was.
    pub kind: Kind,
    /// The bans, oldest first.
    pub bans: Vec<ImportedBan>,
    /// Lines (or rows) that were not understood, by their number from 1 with the reason; at most
    /// [`UNREAD_MAX`] of them.
    pub unread: Vec<(u64, String)>,
    /// How many there were in all.
    pub unread_count: u64,
}

/// How many lines that were not understood are named; the others are counted.
pub const UNREAD_MAX: usize = 100;

/// So many bans are taken from one file; what is beyond counts as not understood.
pub const BANS_MAX: usize = 2_000_000;

impl Imported {
    fn new(kind: Kind) -> Imported {
        Imported { kind, bans: Vec::new(), unread: Vec::new(), unread_count: 0 }
    }

    fn unread(&mut self, number: u64, why: impl Into<String>) {
        self.unread_count += 1;
        if self.unread.len() < UNREAD_MAX {
            self.unread.push((number, why.into()));
        }
    }
}

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
    let unreadable = |error: io::Error| ImportError::Unreadable {
        path: path.to_owned(),
        cause: error.to_string(),
    };
    let unknown = |what: &str| ImportError::Unknown { path: path.to_owned(), what: what.into() };
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unknown("this is no regular file"));
    }
    let mut head = Vec::new();
    let opened = File::open(path).map_err(unreadable)?;
    opened.take(HEAD_BYTES).read_to_end(&mut head).map_err(unreadable)?;
    if head.starts_with(b"SQLite format 3\0") {
        return database(path, &head, now);
    }
    if head.starts_with(&[0x1f, 0x8b]) || head.starts_with(b"BZh") || head.starts_with(b"\xfd7zXZ")
    {
        return Err(unknown("this file is compressed: unpack it first"));
    }
    if head.is_empty() {
        // portsentry empties its blocked files at every start.
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        return match name.is_some_and(|name| name.contains("portsentry")) {
            true => Ok(Imported::new(Kind::Portsentry1)),
            false => Err(unknown("this file is empty")),
        };
    }
    if let Some(imported) = portsentry::blocked(path).map_err(unreadable)? {
        return Ok(imported);
    }
    if head.contains(&0) {
        return Err(unknown("this binary file is none that import knows"));
    }
    if let Some(imported) = portsentry::text(path).map_err(unreadable)? {
        return Ok(imported);
    }
    Err(unknown(match memchr::memmem::find(&head, b"attackalert: ").is_some() {
        true => {
            "this is a log, in which nothing tells what still stands: let a jail read it \
             (filter = portsentry, logpath = this file)"
        }
        false => "no line of it is one that portsentry writes when it blocks",
    }))
}

/// As much of a file is looked at for telling what it is.
const HEAD_BYTES: u64 = 64 << 10;

fn database(path: &Path, head: &[u8], now: Timestamp) -> Result<Imported, ImportError> {
    let unreadable = |error: rusqlite::Error| ImportError::Unreadable {
        path: path.to_owned(),
        cause: error.to_string(),
    };
    // Bytes 18 and 19 are 2 with a write-ahead log: even a reader would make files beside that one.
    let has_wal = head.get(18..20) == Some(&[2, 2]);
    let db = match has_wal {
        true => file::untouched(path).map_err(unreadable)?,
        false => file::locked(path).or_else(|_| file::untouched(path)).map_err(unreadable)?,
    };
    let tables = file::tables(&db).map_err(unreadable)?;
    if tables.iter().any(|name| name == file::FAIL2BAN_TABLE) {
        return fail2ban::bans(&db, &tables, now).map_err(unreadable);
    }
    let application: i64 =
        db.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(unreadable)?;
    let what = match application == schema::APPLICATION_ID {
        true => "this is sentryban's own database: `dbfile` names it",
        false => "this is the database of another program",
    };
    Err(ImportError::Unknown { path: path.to_owned(), what: what.to_owned() })
}
