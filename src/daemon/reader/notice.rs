//! What happens to sources, in words.

use std::{fmt, sync::Arc};

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
    /// A line bears a time that is not now, and was taken for now; told once a day.
    TimeOff {
        /// How far it is off, in seconds; positive if it lies in the past.
        behind_s: i64,
        /// The line, as an attacker may have written it.
        line: String,
    },
    /// So many files are read already that this one is not.
    TooMany(usize),
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

impl Notice {
    /// How loud it is.
    pub fn level(&self) -> Level {
        match self.what {
            What::Added { .. } | What::Removed | What::Rotated | What::Truncated => Level::Info,
            What::Missing | What::NoMatch | What::Lost | What::TimeOff { .. } => Level::Warning,
            What::Polling(_) => Level::Warning,
            What::Unreadable(_) | What::TooMany(_) | What::Failed { .. } => Level::Error,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = &self.source;
        let jails = self.jails.join(", ");
        match &self.what {
            What::Added { offset, hash } => {
                write!(f, "Added logfile: '{source}' (pos = {offset}, hash = {hash})")
            }
            What::Removed => write!(f, "Removed logfile: '{source}'"),
            What::Missing => write!(
                f,
                "Unable to open {source}: there is no such file; [{jails}] will read it once it \
                 appears"
            ),
            What::NoMatch => {
                write!(f, "No file(s) found for glob {source}; [{jails}] will read what appears")
            }
            What::Unreadable(why) => write!(f, "Unable to open {source}: {why}"),
            What::TooMany(limit) => write!(
                f,
                "Unable to open {source}: {limit} files are read already; narrow the globs"
            ),
            What::Rotated => write!(f, "Log rotation detected for {source}: another file"),
            What::Truncated => write!(f, "Log rotation detected for {source}: emptied"),
            What::Lost => write!(
                f,
                "{source} is not the file that was read before, and that is nowhere beside it: \
                 what was written to it in between is not seen"
            ),
            What::TimeOff { behind_s, line } => {
                let (way, problem) = match behind_s {
                    0..=3300 => ("before", "latency"),
                    3301.. => ("before", "timezone"),
                    _ => ("after", "timezone"),
                };
                write!(
                    f,
                    "[{jails}] Detected a log entry {} s {way} the current time in operation \
                     mode. This looks like a {problem} problem. Treating such entries as if they \
                     just happened: {line}",
                    behind_s.unsigned_abs()
                )
            }
            What::Failed { why, retry_s } => {
                write!(f, "Unable to read {source}: {why}; next try in {retry_s} s")
            }
            What::Polling(why) => write!(
                f,
                "Files cannot be watched ({why}): they are looked at from time to time instead"
            ),
        }
    }
}
