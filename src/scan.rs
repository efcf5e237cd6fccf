//! `Scanner`: a line goes in, failures come out.
//!
//! ```text
//! line ──► date cut out ──► ignoreregex? ──► prefregex ──► failregex … ──► session ──► Failure
//! ```
//!
//! The same scanner serves live jails, replays and `sentryban-regex`. It holds what one log needs
//! from line to line: the learning date detector, the buffer of `maxlines` lines, the sessions.
//! [`Scanner::scan`] takes one line; `block.rs` takes many at once and looks only at those that
//! could matter.

pub mod block;
mod gate;
mod grams;
mod judge;
mod multiline;
mod runs;
pub mod survey;

use std::{ops::Range, sync::Arc};

use crate::{
    date::{DateDetector, DateMatch},
    filter::{Fields, Filter, Hit, Marks, Memory, Piece, Recall, Sessions},
    time::Timestamp,
};

pub use crate::record::CutLine;
pub use block::{Tally, Wants};
use gate::{Bits, Candidates, Gate};

/// How a scanner is used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ScanOptions {
    /// Try every failregex on a line, as `sentryban-regex` reports; else the first match decides.
    pub check_all: bool,
    /// Tell of failures whose address is not known yet.
    pub keep_pending: bool,
    /// Names stand for themselves: no failure asks for a look-up.
    pub raw_hosts: bool,
    /// A line without a date happens now; else its failures have no time.
    pub assume_now: bool,
}

/// One failregex found one failure. Where only numbers are asked for ([`Wants::Counts`]), `regex`
/// and `nofail` are all that is filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Failure {
    /// Which failregex, counted from 0.
    pub regex: usize,
    /// The id under which the failure counts: an address, a network, a name, an `<F-ID>`. `None`
    /// where a session's address is not known yet (only when pending failures are asked for).
    pub id: Option<Piece>,
    /// The address or name of the offender, if the expression gave one.
    pub host: Option<Piece>,
    /// True if the id is a name that `usedns` wants looked up (`yes`, `warn`).
    pub lookup: bool,
    /// When it happened; `None` if the line has no readable date and the scanner assumes none.
    pub time: Option<Timestamp>,
    /// All named groups, merged over prefregex, alternatives and session.
    pub fields: Fields,
    /// The users that its session tried, if it is one.
    pub users: Vec<String>,
    /// How many failures this stands for: the number of its lines, at least 1.
    pub attempts: u32,
    /// The lines that made it, oldest first.
    pub lines: Vec<CutLine>,
    /// `<F-NOFAIL>`: matched, yet no failure.
    pub nofail: bool,
}

impl Failure {
    /// One of which only the number is asked for.
    fn counted(regex: usize, nofail: bool) -> Failure {
        Failure { regex, nofail, ..Failure::default() }
    }
}

/// A match whose session another scanner has to ask.
#[derive(Clone, Debug)]
struct Event {
    /// Number of the line within the block, from 1.
    number: u64,
    /// Where it stands in the block.
    line: Range<usize>,
    prefixed: bool,
    regex: usize,
    /// In bytes from the beginning of the line.
    marks: Marks,
}

/// What became of one line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    /// What was found, in the order of the failregexes; several only when all are checked.
    pub failures: Vec<Failure>,
    /// The ignoreregexes that took the line, counted from 0.
    pub ignored_by: Vec<usize>,
    /// There is a prefregex, and it matched.
    pub prefixed: bool,
    /// Its groups, where a report may show them.
    pub prefregex: Option<Fields>,
    /// Matches whose sessions are for another scanner to ask; empty but within a survey.
    pub deferred: Vec<(usize, Marks)>,
    /// Expressions that ran out of steps on this line: they count as not matching.
    pub out_of_steps: u32,
}

/// Reads one log through one filter.
#[derive(Debug)]
pub struct Scanner {
    filter: Arc<Filter>,
    dates: DateDetector,
    options: ScanOptions,
    gate: Arc<Gate>,
    /// Every match is a failure, whatever else stands in the log.
    is_plain: bool,
    /// False while only numbers are asked for.
    details: bool,
    /// Matches are handed on as they are: another scanner knows the sessions.
    defers: bool,
    /// The matches to hand on.
    events: Vec<Event>,
    /// How often the detector had to look at a whole line: what it knows may have changed.
    learnt: u64,
    candidates: Candidates,
    /// Failregexes that the block search has found worth a try on this line, if it has.
    preset: Bits,
    has_preset: bool,
    memory: Memory,
    /// The same for prefregex, whose groups are asked for once a failregex has matched.
    pre_memory: Memory,
    /// What lines like the next one began with.
    recall: Recall,
    /// The number of prefregex' group of what it hands on.
    content: Option<usize>,
    /// What matched on a line; kept for its memory.
    matches: Vec<(usize, Marks)>,
    sessions: Sessions,
    /// The last `maxlines` lines that no failure has taken.
    buffer: Vec<CutLine>,
    /// Date of the last line that had one, and how it was written.
    last_date: Option<(Timestamp, String)>,
    /// The text that expressions see; kept for its memory.
    text: String,
    /// Where prefregex matched.
    pre_hit: Hit,
    /// Where each failregex matched.
    hits: Vec<Hit>,
    /// Where an ignoreregex matched.
    ignore_hit: Hit,
    out_of_steps: u64,
}

/// How far back the date of an earlier line serves a line without one, in seconds.
const LAST_DATE_S: i64 = 60;

/// A line cut at its date, not yet copied.
#[derive(Clone, Copy)]
struct Parts<'a> {
    before: &'a str,
    date: &'a str,
    after: &'a str,
    /// The three in one, if they stand side by side.
    whole: Option<&'a str>,
}

impl Parts<'_> {
    fn to_line(self) -> CutLine {
        let from = self.before.len();
        match self.whole {
            Some(whole) => CutLine::cut(whole, from..from + self.date.len()),
            None => CutLine::new(self.before, self.date, self.after),
        }
    }
}

impl Scanner {
    /// A scanner for one log.
    pub fn new(filter: Filter, dates: DateDetector, options: ScanOptions) -> Scanner {
        let filter = Arc::new(filter);
        let gate = Arc::new(Gate::new(Arc::clone(&filter)));
        Scanner::with(filter, gate, dates, options)
    }

    /// Another scanner of the same filter, for another log: nothing is in its buffers yet.
    pub fn sibling(&self) -> Scanner {
        let (filter, gate) = (Arc::clone(&self.filter), Arc::clone(&self.gate));
        Scanner::with(filter, gate, self.dates.clone(), self.options)
    }

    fn with(
        filter: Arc<Filter>,
        gate: Arc<Gate>,
        dates: DateDetector,
        options: ScanOptions,
    ) -> Scanner {
        let prefregex = filter.prefregex.as_ref().map(|prefregex| &prefregex.pattern);
        let content = prefregex.and_then(|pattern| pattern.number(pattern.group("content")?));
        Scanner {
            is_plain: block::is_plain(&filter),
            details: true,
            defers: false,
            events: Vec::new(),
            learnt: 0,
            hits: filter.failregex.iter().map(|_| Hit::default()).collect(),
            filter,
            dates,
            options,
            gate,
            candidates: Candidates::default(),
            preset: Bits::default(),
            has_preset: false,
            memory: Memory::default(),
            pre_memory: Memory::default(),
            recall: Recall::default(),
            content,
            matches: Vec::new(),
            sessions: Sessions::default(),
            buffer: Vec::new(),
            last_date: None,
            text: String::new(),
            pre_hit: Hit::default(),
            ignore_hit: Hit::default(),
            out_of_steps: 0,
        }
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The date detector, for its templates and their hits.
    pub fn dates(&self) -> &DateDetector {
        &self.dates
    }

    /// Lines that are still in the buffer, oldest first: `sentryban-regex` asks which have left.
    pub fn buffered(&self) -> &[CutLine] {
        &self.buffer
    }

    /// The date of the last line that had one.
    pub fn last_date(&self) -> Option<Timestamp> {
        self.last_date.as_ref().map(|(time, _)| *time)
    }

    /// How often an expression ran out of steps so far.
    pub fn out_of_steps(&self) -> u64 {
        self.out_of_steps
    }

    /// Scans one line, given without its line break.
    pub fn scan(&mut self, line: &str, now: Timestamp) -> Scan {
        self.has_preset = false;
        self.learnt += 1;
        let found = self.dates.find(line, now);
        self.scan_found(line, found.as_ref(), now)
    }

    /// Scans a line whose time is known from elsewhere: a journal entry. `stamp` is that time as
    /// text, for display.
    pub fn scan_stamped(&mut self, line: &str, stamp: &str, at: Timestamp, now: Timestamp) -> Scan {
        self.last_date = Some((at, stamp.to_owned()));
        self.has_preset = false;
        self.scan_parts(Parts { before: "", date: stamp, after: line, whole: None }, Some(at), now)
    }

    /// Scans a line in which the date has been found, or looked for in vain.
    fn scan_found(&mut self, line: &str, found: Option<&DateMatch>, now: Timestamp) -> Scan {
        let whole = Parts::undated(line);
        let mut parts = whole;
        if let Some(found) = found {
            parts = Parts {
                before: line.get(..found.cut.start).unwrap_or_default(),
                date: line.get(found.cut.clone()).unwrap_or_default(),
                after: line.get(found.cut.end..).unwrap_or_default(),
                whole: None,
            };
            // Where bytes were no UTF-8, dates may have been found elsewhere.
            let length = parts.before.len() + parts.date.len() + parts.after.len();
            parts.whole = (length == line.len()).then_some(line);
            if let Some(time) = self.note_date(line, found, now) {
                return self.scan_parts(parts, Some(time), now);
            }
            // What a date comes to that no calendar has depends on the lines before.
            self.learnt += u64::from(!found.cut.is_empty());
        }
        // An empty date means that the pattern says there is none to be had: it happens now.
        let assumed = found.is_some_and(|found| found.cut.is_empty()) || self.options.assume_now;
        match self.last_date.take() {
            Some((time, date)) if time > now.plus_secs(-LAST_DATE_S) => {
                let scan =
                    self.scan_parts(Parts { date: &date, whole: None, ..whole }, Some(time), now);
                self.last_date = Some((time, date));
                scan
            }
            older => {
                self.last_date = older;
                self.scan_parts(parts, assumed.then_some(now), now)
            }
        }
    }

    /// Reads the date of a line and remembers it for lines without one.
    fn note_date(&mut self, line: &str, found: &DateMatch, now: Timestamp) -> Option<Timestamp> {
        if found.cut.is_empty() {
            return None;
        }
        let time = self.dates.time(line, found, now)?;
        let date = line.get(found.cut.clone()).unwrap_or_default();
        match &mut self.last_date {
            Some((last, text)) => {
                *last = time;
                text.clear();
                text.push_str(date);
            }
            None => self.last_date = Some((time, date.to_owned())),
        }
        Some(time)
    }
}
