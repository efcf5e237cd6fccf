//! The file on the disk: whose it is, whether it is sound, how it is opened and set aside.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    error::{Notice, OpenError, StoreError},
    schema,
};
use crate::time::{Timestamp, Zone};

/// What every SQLite database begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// A table that every version of fail2ban's database has, and no other.
pub(super) const FAIL2BAN_TABLE: &str = "fail2banDb";

/// Up to this size the whole file is checked at start (about 0.3 s); damage in a larger one is found
/// where it is read.
const CHECK_BYTES_MAX: u64 = 48 << 20;

/// So many damaged files are kept; the oldest goes when one more is set aside.
const ASIDE_MAX: usize = 5;

/// So long another process may hold the database before we give up; the loop waits meanwhile.
const BUSY_WAIT: Duration = Duration::from_millis(100);

/// So long a program at work in a database that is imported is waited for.
const FOREIGN_WAIT: Duration = Duration::from_secs(2);

/// A checkpoint within a commit happens only if the thread for it did not come that far: 64 MiB.
const WAL_PAGES_MAX: i64 = 16_384;

/// What is left of the log of changes after a checkpoint.
pub(super) const WAL_BYTES_KEPT: i64 = 4 << 20;

/// Pages that a connection keeps in memory, in KiB. The system keeps the others, a microsecond away.
const CACHE_KIB: i64 = 512;

/// The same while a large batch is written: pages that do not fit are written again and again.
const LARGE_CACHE_KIB: i64 = 49_152;

/// Why a file was not opened.
enum Fault {
    Damaged(String),
    Refused(OpenError),
}

/// Opens the database in a file, or begins it; a damaged one is set aside.
pub(super) fn open(
    path: &Path,
    now: Timestamp,
    notices: &mut Vec<Notice>,
) -> Result<Connection, OpenError> {
    let why = match attempt(path, now, notices) {
        Ok(db) => return Ok(db),
        Err(Fault::Refused(error)) => return Err(error),
        Err(Fault::Damaged(why)) => why,
    };
    set_aside(path, why, now, notices)?;
    attempt(path, now, notices).map_err(|fault| match fault {
        Fault::Refused(error) => error,
        Fault::Damaged(cause) => OpenError::Io { path: path.to_owned(), cause },
    })
}

fn attempt(path: &Path, now: Timestamp, notices: &mut Vec<Notice>) -> Result<Connection, Fault> {
    let length = prepare(path).map_err(|error| Fault::Refused(io_fault(path, &error)))?;
    if length > 0 {
        look(path)?;
    }
    let fault = |error: rusqlite::Error| sqlite_fault(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(fault)?;
    db.busy_timeout(BUSY_WAIT).map_err(fault)?;
    check_owner(path, &db)?;
    let version = schema::version(&db).map_err(fault)?;
    if version > schema::VERSION {
        let known = schema::VERSION;
        let path = path.to_owned();
        return Err(Fault::Refused(OpenError::Newer { path, version, known }));
    }
    if version > 0 && length <= CHECK_BYTES_MAX {
        let verdict: String =
            db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(fault)?;
        if verdict != "ok" {
            return Err(Fault::Damaged(verdict));
        }
    }
    settings(&db, version == 0).map_err(fault)?;
    if version < schema::VERSION {
        schema::migrate(&db, version, now).map_err(fault)?;
        if version > 0 {
            notices.push(Notice::Upgraded { from: version, to: schema::VERSION });
        }
    }
    Ok(db)
}

/// Settings of a connection that writes.
pub(super) fn settings(db: &Connection, new: bool) -> rusqlite::Result<()> {
    if new {
        db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    // Answers with the mode that it took; a file system without shared memory keeps another.
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    db.pragma_update(None, "wal_autocheckpoint", WAL_PAGES_MAX)?;
    db.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    steady(db)
}

/// Statements are prepared once: else those with an order are planned anew for every id.
fn steady(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Makes room for a large batch, or gives it back.
pub(super) fn large_cache(db: &Connection, large: bool) -> rusqlite::Result<()> {
    match large {
        true => db.pragma_update(None, "cache_size", -LARGE_CACHE_KIB),
        false => {
            db.pragma_update(None, "cache_size", -CACHE_KIB)?;
            db.execute_batch("PRAGMA shrink_memory")
        }
    }
}

/// A second connection to the file; `write` only for moving the log of changes into the database.
pub(super) fn second(path: &Path, write: bool) -> rusqlite::Result<Connection> {
    let access = match write {
        true => OpenFlags::SQLITE_OPEN_READ_WRITE,
        false => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let db = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY_WAIT)?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    steady(&db)?;
    if write {
        db.pragma_update(None, "synchronous", "NORMAL")?;
        db.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    }
    Ok(db)
}

/// Makes the directory and the file where they are missing, readable for us alone (log lines are in
/// it; SQLite gives its side files the same mode). The length of the file.
fn prepare(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Ok(file) if !file.is_file() => Err(io::Error::other("this is no regular file")),
        Ok(file) => Ok(file.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
            }
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            Ok(0)
        }
        Err(error) => Err(error),
    }
}

/// Looks into a file without a lock, a journal or any other trace: fail2ban may be at work in it.
fn look(path: &Path) -> Result<(), Fault> {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(1 << 16).read_to_end(&mut head))
        .map_err(|error| Fault::Refused(io_fault(path, &error)))?;
    if !head.starts_with(MAGIC) {
        return Err(Fault::Damaged("it does not begin as a SQLite database does".to_owned()));
    }
    let names = untouched(path).and_then(|db| tables(&db));
    let is_fail2ban = match &names {
        Ok(names) => names.iter().any(|name| name == FAIL2BAN_TABLE),
        // Even a damaged one is not ours to move: its first pages hold the names of its tables.
        Err(_) => memchr::memmem::find(&head, FAIL2BAN_TABLE.as_bytes()).is_some(),
    };
    match is_fail2ban {
        true => Err(Fault::Refused(OpenError::Fail2ban { path: path.to_owned() })),
        false => Ok(()),
    }
}

/// Opens a database without taking a lock and without writing anything, whatever its journal says.
pub(super) fn untouched(path: &Path) -> rusqlite::Result<Connection> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = "file://".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(uri, flags)
}

/// Opens another program's database for reading, with a lock against half-written changes.
pub(super) fn locked(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(FOREIGN_WAIT)?;
    // A journal that waits to be rolled back shows itself at the first look.
    tables(&db)?;
    Ok(db)
}

/// The names of all tables.
pub(super) fn tables(db: &Connection) -> rusqlite::Result<Vec<String>> {
    db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'")?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn check_owner(path: &Path, db: &Connection) -> Result<(), Fault> {
    let fault = |error: rusqlite::Error| sqlite_fault(path, error);
    let names = tables(db).map_err(fault)?;
    if names.iter().any(|name| name == FAIL2BAN_TABLE) {
        return Err(Fault::Refused(OpenError::Fail2ban { path: path.to_owned() }));
    }
    let application: i64 =
        db.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(fault)?;
    match names.is_empty() || application == schema::APPLICATION_ID {
        true => Ok(()),
        false => Err(Fault::Refused(OpenError::Foreign { path: path.to_owned() })),
    }
}

/// Renames a damaged file and what SQLite keeps beside it.
pub(super) fn set_aside(
    path: &Path,
    why: String,
    now: Timestamp,
    notices: &mut Vec<Notice>,
) -> Result<(), OpenError> {
    let stamp = Zone::Fixed(0).civil(now).map_or_else(
        || now.secs().to_string(),
        |at| {
            format!(
                "{:04}{:02}{:02}T{:02}{:02}{:02}",
                at.year, at.month, at.day, at.hour, at.minute, at.second
            )
        },
    );
    let mut aside = with_end(path, &format!(".corrupt-{stamp}"));
    let mut number = 2;
    while aside.exists() {
        aside = with_end(path, &format!(".corrupt-{stamp}-{number}"));
        number += 1;
    }
    fs::rename(path, &aside).map_err(|error| io_fault(path, &error))?;
    for end in ["-wal", "-shm", "-journal"] {
        let (from, to) = (with_end(path, end), with_end(&aside, end));
        match fs::rename(&from, to) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                // It must not be applied to the new file.
                fs::remove_file(&from).map_err(|error| io_fault(&from, &error))?;
            }
            _ => (),
        }
    }
    thin_out(path);
    notices.push(Notice::SetAside { path: path.to_owned(), aside, why });
    Ok(())
}

/// Keeps the newest few of the files set aside: a failing disk must not be filled by them.
fn thin_out(path: &Path) {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else {
        return;
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let start = format!("{name}.corrupt-");
    let Ok(entries) = fs::read_dir(parent.unwrap_or(Path::new("."))) else { return };
    let mut asides: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with(&start) && !name.ends_with("-wal") && !name.ends_with("-shm")
        })
        .map(|entry| entry.path())
        .collect();
    asides.sort(); // by stamp
    let surplus = asides.len().saturating_sub(ASIDE_MAX);
    for aside in asides.iter().take(surplus) {
        for end in ["", "-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(with_end(aside, end));
        }
    }
}

pub(super) fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Removes the side files of a database that is gone.
pub(super) fn remove_sides(path: &Path) {
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(with_end(path, end));
    }
}

/// Which file a path names now.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|file: Metadata| (file.dev(), file.ino()))
}

fn io_fault(path: &Path, error: &io::Error) -> OpenError {
    let (path, cause) = (path.to_owned(), error.to_string());
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            OpenError::Permission { path, cause }
        }
        _ => OpenError::Io { path, cause },
    }
}

fn sqlite_fault(path: &Path, error: rusqlite::Error) -> Fault {
    use rusqlite::ErrorCode as Code;

    let code = error.sqlite_error_code();
    let (path, cause) = (path.to_owned(), error.to_string());
    Fault::Refused(match code {
        Some(Code::ReadOnly | Code::CannotOpen | Code::PermissionDenied) => {
            OpenError::Permission { path, cause }
        }
        _ => match StoreError::from(error) {
            StoreError::Corrupt(why) => return Fault::Damaged(why),
            StoreError::Busy(_) => OpenError::Busy { path },
            _ => OpenError::Io { path, cause },
        },
    })
}
