//! Blocks that are surveyed beside each other.
//!
//! What matches on a line depends on the lines before it only through the date detector, as long
//! as the filter has no buffer of several lines; what a match *means* may depend on its session,
//! and that is concluded when the numbers are put together. So several blocks of a log can be looked at at
//! the same time, each by a scanner that begins with what the [`Scanner`] knows of dates at that
//! moment, and the numbers are put together in the order of the log:
//!
//! ```text
//! let mut helper = scanner.helper()?;          // once per thread
//! helper.catch_up(&scanner);                   // before each block
//! let survey = helper.survey(block, now);      // beside the others
//! scanner.accept(survey?, number, now, &mut tally)  // in order
//! ```
//!
//! A survey is given up where a line is not dated as the last one was, and is not accepted where
//! the scanner has learnt of dates since: then the block is scanned in the ordinary way.

use super::{Event, Failure, Scan, Scanner, Tally, Wants, block::decoded};
use crate::{date::DateDetector, time::Timestamp};

/// The numbers of one block.
#[derive(Debug)]
pub struct Survey {
    /// What the detector had learnt when the survey began.
    learnt: u64,
    dates: DateDetector,
    before: DateDetector,
    last_date: Option<(Timestamp, String)>,
    numbers: Numbers,
    events: Vec<Event>,
}

#[derive(Debug, Default)]
struct Numbers {
    /// The filter knows sessions: what is more than a number is not for a helper to tell.
    in_sessions: bool,
    lines: u64,
    passed: u64,
    prefixed: u64,
    /// Hits of each failregex, on lines that just this one matched.
    counted: Vec<u64>,
    counted_prefixed: u64,
    /// Lines of which more is to be told.
    scans: Vec<(u64, String, Scan)>,
    given_up: bool,
}

/// Lines of which more than a number is to be told, in one block; beyond it, the ordinary way
/// costs no more.
const SCANS_MAX: usize = 4_096;

/// A scanner that surveys blocks for another one.
#[derive(Debug)]
pub struct Helper {
    scanner: Scanner,
}

impl Scanner {
    /// A helper, if blocks of this filter can be surveyed beside each other.
    pub fn helper(&self) -> Option<Helper> {
        // Without sessions a line is done with its first match; with them, a report goes on to the
        // next expression whatever the session says, so nothing is lost by asking it later.
        let in_sessions = self.filter.maxlines == 1 && self.filter.ignoreregex.is_empty();
        let fits = self.is_plain || (in_sessions && self.options.check_all);
        fits.then(|| {
            let mut scanner = self.sibling();
            scanner.defers = !scanner.is_plain;
            Helper { scanner }
        })
    }

    /// Takes over the numbers of `block`, which comes next. `number` is the number of the line
    /// before it; answers the number of its last line, or `None` if the survey does not hold.
    pub fn accept(
        &mut self,
        survey: Survey,
        block: &[u8],
        number: u64,
        now: Timestamp,
        tally: &mut dyn Tally,
    ) -> Option<u64> {
        if survey.learnt != self.learnt || tally.wants() != Wants::Counts {
            return None;
        }
        let numbers = survey.numbers;
        self.dates.absorb(&survey.dates, &survey.before);
        self.last_date = survey.last_date.or(self.last_date.take());
        self.ask_sessions(survey.events, block, number, now, tally);
        for (offset, line, scan) in numbers.scans {
            self.out_of_steps += u64::from(scan.out_of_steps);
            tally.scanned(number + offset, &line, scan, self);
        }
        tally.passed_many(numbers.passed, numbers.prefixed);
        tally.counted_many(&numbers.counted, numbers.counted_prefixed);
        Some(number + numbers.lines)
    }

    /// Asks the sessions, in the order of the log, what the matches of a block come to.
    fn ask_sessions(
        &mut self,
        events: Vec<Event>,
        block: &[u8],
        number: u64,
        now: Timestamp,
        tally: &mut dyn Tally,
    ) {
        if events.is_empty() {
            return;
        }
        let mut events = events.into_iter().peekable();
        while let Some(event) = events.next() {
            // A group may have taken the newline behind the line.
            let text = block.get(event.line.start..).unwrap_or_default();
            let line = block.get(event.line).unwrap_or_default();
            let first = self.count_match(&event.marks, text, now);
            let alone = events.peek().is_none_or(|next| next.number != event.number);
            if alone && let Some(nofail) = first {
                tally.concluded(line, event.regex, nofail, event.prefixed);
                continue;
            }
            let mut scan = Scan { prefixed: event.prefixed, ..Scan::default() };
            scan.failures.extend(first.map(|nofail| Failure::counted(event.regex, nofail)));
            while let Some(next) = events.next_if(|next| next.number == event.number) {
                let nofail = self.count_match(&next.marks, text, now);
                scan.failures.extend(nofail.map(|nofail| Failure::counted(next.regex, nofail)));
            }
            tally.scanned(number + event.number, &decoded(line), scan, self);
        }
    }
}

impl Helper {
    /// Takes over what the scanner knows of dates.
    pub fn catch_up(&mut self, scanner: &Scanner) {
        self.scanner.dates = scanner.dates.clone();
        self.scanner.learnt = scanner.learnt;
        self.scanner.last_date = None;
    }

    /// Looks at a block; `None` if it has to be scanned in the ordinary way.
    pub fn survey(&mut self, block: &[u8], now: Timestamp) -> Option<Survey> {
        let before = self.scanner.dates.clone();
        let learnt = self.scanner.learnt;
        let fails = self.scanner.filter.failregex.len();
        let in_sessions = self.scanner.defers;
        self.scanner.events.clear();
        let counted = vec![0; fails];
        let mut numbers = Numbers { in_sessions, counted, ..Numbers::default() };
        numbers.lines = self.scanner.scan_block(block, 0, now, &mut numbers);
        if numbers.given_up || self.scanner.learnt != learnt {
            return None;
        }
        let last_date = self.scanner.last_date.take();
        let events = std::mem::take(&mut self.scanner.events);
        let dates = self.scanner.dates.clone();
        Some(Survey { learnt, dates, before, last_date, numbers, events })
    }
}

impl Tally for Numbers {
    fn scanned(&mut self, number: u64, line: &str, scan: Scan, _: &Scanner) {
        match !self.in_sessions && self.scans.len() < SCANS_MAX {
            true => self.scans.push((number, line.to_owned(), scan)),
            false => self.given_up = true,
        }
    }

    fn passed(&mut self, _: u64, _: &[u8], _: &Scanner) {
        self.given_up = true;
    }

    fn wants(&self) -> Wants {
        Wants::Counts
    }

    fn passed_many(&mut self, lines: u64, prefixed: u64) {
        self.passed += lines;
        self.prefixed += prefixed;
    }

    fn counted(&mut self, regex: usize, prefixed: bool) {
        if let Some(count) = self.counted.get_mut(regex) {
            *count += 1;
        }
        self.counted_prefixed += u64::from(prefixed);
    }

    fn counted_many(&mut self, _: &[u64], _: u64) {
        self.given_up = true;
    }

    fn concluded(&mut self, _: &[u8], _: usize, _: bool, _: bool) {
        self.given_up = true;
    }
}
