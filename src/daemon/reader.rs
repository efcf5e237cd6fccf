//! `Reader`: the threads that follow logs and the journal, and scan what they read.
//!
//! ```text
//! file ──► Tail ──► block of lines ──► Scanner of jail a ─┐
//!            ▲                     └─► Scanner of jail b ─┴──► Batch { position, failures } ──► loop
//!          Watch
//! ```
//!
//! One thread reads all files, one more each journal. A batch holds the failures and the position
//! behind the lines that made them, so that the loop can store both in one transaction. The output
//! may block: then nothing is read, and files and the journal wait.

use std::sync::Arc;

use crate::{
    scan::{Failure, Scanner},
    source::{Encoding, JournalOptions, Position},
};

/// What the loop hears.
#[derive(Debug)]
pub enum Report {
    /// Lines were read.
    Batch(Batch),
    /// Something happened to a source.
    Notice(Notice),
}

/// Lines that were read from one source, in one go.
#[derive(Debug, Default)]
pub struct Batch {
    /// The path of the file as the jail names it (a glob's match), or the journal's name.
    pub source: Arc<str>,
    /// How far the source has been read with these lines. `None` if they were read for a jail that
    /// catches up, while the shared position is further on.
    pub position: Option<Position>,
    /// The failures of each jail that had any, in the order of their lines.
    pub found: Vec<(Arc<str>, Vec<Failure>)>,
    /// Lines read.
    pub lines: u64,
    /// Lines cut because they were too long.
    pub cut_lines: u64,
    /// Failures that were older than findtime, and were left out.
    pub stale: u64,
}

/// How loud a notice is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// For those who look for a fault.
    Debug,
    /// The usual course.
    Info,
    /// Worth a look.
    Warning,
    /// Something does not work.
    Error,
}

/// Something happened to a source. `Display` gives the text for the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// The source: path or journal's name.
    pub source: Arc<str>,
    /// The jails that read it.
    pub jails: Vec<Arc<str>>,
    /// What happened.
    pub what: What,
}

/// What happened to a source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum What {
    /// It is being read, from this position on.
    Added {
        /// Where reading began.
        offset: u64,
        /// Hash of the first line; empty if there is none yet.
        hash: String,
    },
    /// It is no longer read.
    Removed,
    /// It does not exist yet: its jails wait.
    Missing,
    /// A glob matches nothing yet: its jail waits.
    NoMatch,
    /// It is there, and cannot be read.
    Unreadable(String),
    /// Another file has taken its place.
    Rotated,
    /// It was emptied, and is read from its beginning.
    Truncated,
    /// What was stored of it fits no file any more: so much of it may have been missed.
    Lost,
    /// Lines bear a time that is not now; told once a day.
    TimeOff {
        /// How far it is off, in seconds; positive if it lies in the past.
        behind_s: i64,
        /// The first such line's time was taken for now.
        now: bool,
    },
    /// The journal cannot be read; it will be tried again after so many seconds.
    Failed {
        /// Why.
        why: String,
        /// Seconds until the next try.
        retry_s: u64,
    },
    /// The kernel cannot watch the files: they are looked at from time to time.
    Polling(String),
}

/// A file or glob of a jail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// Path or glob.
    pub glob: String,
    /// Where nothing is stored of it, only what is written from now on counts.
    pub from_end: bool,
}

/// Where a jail's lines come from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Log files.
    Files {
        /// Paths and globs.
        logs: Vec<Log>,
        /// Look at them from time to time only; the kernel is not asked.
        polling: bool,
    },
    /// The journal.
    Journal {
        /// Which one.
        options: JournalOptions,
        /// `journalmatch`, one a line; any will do. None means every entry.
        matches: Vec<String>,
    },
}

/// A jail as the reader knows it.
#[derive(Debug)]
pub struct Follow {
    /// Its name.
    pub jail: Arc<str>,
    /// Scans its lines; each source gets a sibling of it.
    pub scanner: Scanner,
    /// Seconds: older failures are of no interest, and reading starts so long ago.
    pub findtime_s: u64,
    /// Encoding of its files.
    pub encoding: Encoding,
    /// Where its lines come from.
    pub origin: Origin,
    /// Stored positions by source, as they were handed out in batches.
    pub stored: Vec<(Arc<str>, Position)>,
}

impl Notice {
    /// How loud it is.
    pub fn level(&self) -> Level {
        Level::Info
    }
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

/// Takes what a reader has to say. It may block, and then the reader waits. False ends the reader.
pub type Output = Arc<dyn Fn(Report) -> bool + Send + Sync>;

/// Follows the sources of all jails.
pub struct Reader {
    _output: Output,
}

impl Reader {
    /// A reader without jails. Threads are started when the first jail needs them.
    pub fn new(output: Output) -> Reader {
        Reader { _output: output }
    }

    /// Follows the sources of a jail. A jail of this name is replaced: sources that it had before
    /// are read on from where they stand.
    pub fn follow(&mut self, _jail: Follow) {}

    /// A jail reads one more log.
    pub fn add_log(&mut self, _jail: &str, _log: Log) {}

    /// A jail no longer reads a log, given as it was named.
    pub fn remove_log(&mut self, _jail: &str, _glob: &str) {}

    /// A jail is gone.
    pub fn forget(&mut self, _jail: &str) {}

    /// A jail sleeps (`idle on`) or wakes; when it wakes it reads what it has missed.
    pub fn pause(&mut self, _jail: &str, _asleep: bool) {}

    /// Looks for new matches of all globs now.
    pub fn rescan(&mut self) {}

    /// Ends all threads; what was read has been handed out.
    pub fn stop(self) {}
}
