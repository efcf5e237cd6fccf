//! `Scanner`: a line goes in, failures come out.

use crate::{filter::Fields, time::Timestamp};

/// A line cut in three by its date: what stands before it, the date, what stands behind.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CutLine {
    /// Text before the date.
    pub before: String,
    /// The date itself; empty where the line has none.
    pub date: String,
    /// Text behind the date; the whole line where it has none.
    pub after: String,
}

impl CutLine {
    /// The line as it stood in the log.
    pub fn whole(&self) -> String {
        [self.before.as_str(), self.date.as_str(), self.after.as_str()].concat()
    }
}

/// One failregex found one failure.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Which failregex, counted from 0.
    pub regex: usize,
    /// The id under which the failure counts: an address, a network, a name, an `<F-ID>`. `None`
    /// where a session's address is not known yet (only when pending failures are asked for).
    pub id: Option<String>,
    /// The address or name of the offender, if the expression gave one.
    pub host: Option<String>,
    /// True if the id is a name that `usedns` wants looked up (`yes`, `warn`).
    pub lookup: bool,
    /// When it happened; `None` if the line has no readable date and the scanner does not assume one.
    pub time: Option<Timestamp>,
    /// All named groups, merged over prefregex, alternatives and session.
    pub fields: Fields,
    /// How many failures this stands for: the number of its lines, at least 1.
    pub attempts: u32,
    /// The lines that made it, oldest first.
    pub lines: Vec<CutLine>,
    /// `<F-NOFAIL>`: matched, yet no failure.
    pub nofail: bool,
}

/// What became of one line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    /// What was found, in the order of the failregexes; several only when all are checked.
    pub failures: Vec<Failure>,
    /// The ignoreregexes that took the line, counted from 0.
    pub ignored_by: Vec<usize>,
    /// The groups of prefregex, if there is one and it matched.
    pub prefregex: Option<Fields>,
}
