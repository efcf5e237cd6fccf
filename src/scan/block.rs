//! Many lines at once: only those that could matter are looked at.
//!
//! A block of whole lines is searched for the text that the filter requires, at the speed of the
//! vector unit, and each line is asked only whether its date stands where the last one stood. A
//! line that lacks the text cannot match, whatever else it holds; every other line, and every line
//! whose date is not where it is expected, goes through [`Scanner::scan`]. Both ways give the same
//! result, which `tests/block.rs` holds over random and hostile logs.
//!
//! One trap: an expression sees the line *without* its date, so the required text may stand across
//! the gap. Where anything stands before the date, the seam is searched as well.

use std::{borrow::Cow, sync::Arc};

use memchr::memchr;

use super::{
    Event, Failure, Parts, Scan, Scanner,
    gate::{BlockGate, Cursor},
    runs::{self, Run},
};
use crate::{
    date::{DateMatch, Front},
    filter::{Expression, Filter, Outcome, syntax::Node},
    time::Timestamp,
};

/// Hears what became of each line of a block, in order.
pub trait Tally {
    /// A line was scanned. `number` counts all lines of the log from 1.
    fn scanned(&mut self, number: u64, line: &str, scan: Scan, scanner: &Scanner);

    /// A line cannot match any expression of the filter.
    fn passed(&mut self, number: u64, line: &[u8], scanner: &Scanner);

    /// What this tally wants to hear, asked before each line.
    fn wants(&self) -> Wants;

    /// So many more lines did not match, of which so many passed prefregex.
    fn passed_many(&mut self, lines: u64, prefixed: u64);

    /// A line matched just this failregex, and that is all of it; only where [`Wants::Counts`].
    fn counted(&mut self, regex: usize, prefixed: bool);

    /// The same for many lines: how many each failregex matched, and how many of them passed
    /// prefregex.
    fn counted_many(&mut self, hits: &[u64], prefixed: u64);

    /// A line matched just this failregex, and its session says whether it is no failure; only
    /// where [`Wants::Counts`].
    fn concluded(&mut self, line: &[u8], regex: usize, nofail: bool, prefixed: bool);
}

/// How much a [`Tally`] wants to hear.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wants {
    /// Every line, with all that is to be told of it.
    Lines,
    /// What failed, with all that is to be told; lines that did not match are of no interest.
    Failures,
    /// How many lines matched which failregex, and no more.
    Counts,
}

/// What the quick way makes of a line.
enum Quick {
    /// It takes the long way to tell.
    Unsure,
    /// It is told already.
    Told,
    /// No failregex matches.
    Missed { prefixed: bool },
    /// Just this failregex, and it counts.
    Matched { regex: usize, prefixed: bool },
}

impl Scanner {
    /// Scans a block of lines. Each ends with a newline, but for the last of a log. `number` is
    /// the number of the line before the block. Answers the number of its last line.
    pub fn scan_block(
        &mut self,
        block: &[u8],
        mut number: u64,
        now: Timestamp,
        tally: &mut dyn Tally,
    ) -> u64 {
        let (gate, filter) = (Arc::clone(&self.gate), Arc::clone(&self.filter));
        let mut start = 0;
        let (mut passed, mut prefixed) = (0, 0);
        // The last line whose date was found but not yet read.
        let mut undated: Option<(&[u8], DateMatch)> = None;
        // The same, where the detector's front fits it.
        let mut last_front: Option<&[u8]> = None;
        let mut wants = tally.wants();
        let new_cursor =
            |wants, behind_blank| Cursor::new(gate.block(wants == Wants::Failures, behind_blank));
        let mut behind_front = new_cursor(wants, true);
        let mut others = None;
        while start < block.len() {
            let mut known_end = None;
            // Most lines end here: dated as the last one, and without any of the texts.
            if wants != Wants::Lines
                && behind_front.gate.is_strict()
                && let Some(front) = self.dates.front()
            {
                let limit = behind_front.next(block, start);
                let run = run_of(front, behind_front.gate, block, start, limit);
                if run.lines > 0 {
                    self.dates.count_fronts(run.lines, now);
                    number += run.lines;
                    passed += run.lines;
                    // Each holds at least the blank behind its date.
                    prefixed += if gate.takes_every_line { run.lines } else { 0 };
                    last_front = block.get(run.last..run.next).map(trim_break);
                    start = run.next;
                    if run.end.is_none() {
                        continue;
                    }
                }
                known_end = run.end;
            }
            let rest = block.get(start..).unwrap_or_default();
            let find_end = || memchr(b'\n', rest).map_or(block.len(), |at| start + at);
            let end = known_end.unwrap_or_else(find_end);
            let line = trim_break(block.get(start..end).unwrap_or_default());
            number += 1;
            let from = start;
            start = end + 1;
            if line.first().is_none_or(|b| *b == b'#') {
                continue;
            }
            let fits = self.dates.front().is_some_and(|front| front.fits(rest));
            let found = if fits {
                self.dates.count_fronts(1, now);
                self.dates.front_match()
            } else {
                if let Some(line) = last_front.take() {
                    undated = self.dates.front_match().map(|found| (line, found)).or(undated);
                }
                self.dates.find_again(line, now)
            };
            // Whatever its stamp, a blank behind it tells as much.
            let behind_blank = found
                .as_ref()
                .is_some_and(|found| is_in_front(found) && line.get(found.cut.end) == Some(&b' '));
            let cursor = match behind_blank {
                true => &mut behind_front,
                false => others.get_or_insert_with(|| new_cursor(wants, false)),
            };
            self.has_preset = false;
            let usual = found.as_ref().filter(|found| self.is_readable(line, found, now));
            if let Some(found) = usual {
                let in_front = is_in_front(found);
                let hopeful = match in_front {
                    // What may match shows at the first byte of what prefregex hands on.
                    true if gate.has_prefregex => cursor.may_match(block, (from, end)),
                    // The texts that the line holds tell which failregexes may match it.
                    true => {
                        let text = line.get(found.cut.end..).unwrap_or_default();
                        cursor.gather(block, (from, end), &mut self.preset);
                        self.has_preset = true;
                        gate.narrow(text, &mut self.preset)
                    }
                    false => {
                        cursor.next(block, from) < end
                            || cursor.gate.seam_matters(&gate, line, &found.cut)
                    }
                };
                // Who wants to see lines wants to see what prefregex made of them, too.
                let shows_prefix = wants == Wants::Lines && gate.takes_every_line;
                let quick = if !hopeful && !shows_prefix && !cursor.gate.takes_all {
                    let text_length = line.len() - (found.cut.end - found.cut.start);
                    Quick::Missed { prefixed: gate.takes_every_line && text_length > 0 }
                } else if wants == Wants::Counts && in_front {
                    // A line break behind the line serves as the newline that expressions want.
                    let text = block.get(from + found.cut.end..=end).unwrap_or_default();
                    match from + line.len() == end && text.ends_with(b"\n") && text.is_ascii() {
                        true if self.is_plain => self.quick(text),
                        true => {
                            let places = (from, from + found.cut.end);
                            self.count(&filter, line, text, places, number, now, tally)
                        }
                        false => Quick::Unsure,
                    }
                } else {
                    Quick::Unsure
                };
                let told = match quick {
                    Quick::Unsure => false,
                    Quick::Told => true,
                    Quick::Missed { .. } if wants == Wants::Lines => {
                        tally.passed(number, line, self);
                        true
                    }
                    Quick::Missed { prefixed: one } => {
                        passed += 1;
                        prefixed += u64::from(one);
                        true
                    }
                    Quick::Matched { regex, prefixed } => {
                        tally.counted(regex, prefixed);
                        true
                    }
                };
                if told {
                    // A line that has no date of its own leaves the last one as it is.
                    if fits {
                        last_front = Some(line);
                    } else if !found.cut.is_empty() {
                        undated = Some((line, found.clone()));
                    }
                    continue;
                }
            }
            tally.passed_many(std::mem::take(&mut passed), std::mem::take(&mut prefixed));
            if let Some(line) = last_front.take() {
                undated = self.dates.front_match().map(|found| (line, found)).or(undated);
            }
            if let Some((line, found)) = undated.take() {
                self.note_date(&decoded(line), &found, now);
            }
            let line = decoded(line);
            let scan = match found {
                Some(found) => self.scan_found(&line, Some(&found), now),
                None => self.scan(&line, now),
            };
            tally.scanned(number, &line, scan, self);
            let wanted = tally.wants();
            if wanted != wants {
                wants = wanted;
                behind_front = new_cursor(wants, true);
                others = None;
            }
        }
        tally.passed_many(passed, prefixed);
        if let Some(line) = last_front {
            undated = self.dates.front_match().map(|found| (line, found)).or(undated);
        }
        if let Some((line, found)) = undated {
            self.note_date(&decoded(line), &found, now);
        }
        number
    }

    /// Finds the failregexes that are worth a try on `content`.
    pub(super) fn choose(&mut self, content: &[u8]) {
        match self.has_preset {
            true => {
                self.candidates.bits.clone_from(&self.preset);
                self.gate.begin(content, &mut self.candidates.bits);
            }
            false => self.gate.choose(content, &mut self.candidates),
        }
    }

    /// True unless the date is one that no calendar has: what such a line comes to depends on the
    /// lines before.
    fn is_readable(&self, line: &[u8], found: &DateMatch, now: Timestamp) -> bool {
        found.readable
            || found.cut.is_empty()
            || self.dates.time(&decoded(line), found, now).is_some()
    }

    /// Scans a line for its numbers alone, sessions and all. `places` are the bytes of the block at
    /// which line and text begin.
    #[allow(clippy::too_many_arguments, reason = "they are the line, and where it stands")]
    fn count(
        &mut self,
        filter: &Filter,
        line: &[u8],
        text: &[u8],
        places: (usize, usize),
        number: u64,
        now: Timestamp,
        tally: &mut dyn Tally,
    ) -> Quick {
        if self.filter.maxlines > 1 {
            return Quick::Unsure;
        }
        if self.options.check_all
            && filter.ignoreregex.is_empty()
            && let Some(prefixed) = self.match_all(filter, text)
        {
            return self.count_matches(line, text, places, number, prefixed, now, tally);
        }
        let Ok(text) = std::str::from_utf8(text) else { return Quick::Unsure };
        let mut scan = Scan::default();
        self.details = false;
        self.judge_line(filter, Parts::undated(""), text, None, now, &mut scan);
        self.details = true;
        self.out_of_steps += u64::from(scan.out_of_steps);
        for (regex, marks) in scan.deferred.drain(..) {
            self.events.push(Event {
                number,
                line: places.0..places.0 + line.len(),
                prefixed: scan.prefixed,
                regex,
                marks: marks.moved(places.1 - places.0),
            });
        }
        if self.events.last().is_some_and(|event| event.number == number) {
            return Quick::Told;
        }
        if scan.failures.is_empty() && scan.ignored_by.is_empty() {
            return Quick::Missed { prefixed: scan.prefixed };
        }
        match scan.failures.as_slice() {
            [one] if scan.ignored_by.is_empty() => {
                tally.concluded(line, one.regex, one.nofail, scan.prefixed);
            }
            _ => tally.scanned(number, &decoded(line), scan, self),
        }
        Quick::Told
    }

    /// Counts, or hands on, what [`match_all`](Scanner::match_all) has found.
    #[allow(clippy::too_many_arguments, reason = "they are the line, and where it stands")]
    fn count_matches(
        &mut self,
        line: &[u8],
        text: &[u8],
        places: (usize, usize),
        number: u64,
        prefixed: bool,
        now: Timestamp,
        tally: &mut dyn Tally,
    ) -> Quick {
        if self.matches.is_empty() {
            return Quick::Missed { prefixed };
        }
        if self.defers {
            let range = places.0..places.0 + line.len();
            let by = places.1 - places.0;
            self.events.extend(self.matches.drain(..).map(|(regex, marks)| Event {
                number,
                line: range.clone(),
                prefixed,
                regex,
                marks: marks.moved(by),
            }));
            return Quick::Told;
        }
        let mut matches = std::mem::take(&mut self.matches);
        let failures = matches.drain(..).filter_map(|(regex, marks)| {
            let nofail = self.count_match(&marks, text, now)?;
            Some((regex, nofail))
        });
        let told: Vec<(usize, bool)> = failures.collect();
        self.matches = matches;
        match told.as_slice() {
            [] => return Quick::Missed { prefixed },
            [(regex, nofail)] => tally.concluded(line, *regex, *nofail, prefixed),
            _ => {
                let failures =
                    told.into_iter().map(|(regex, nofail)| Failure::counted(regex, nofail));
                let scan = Scan { failures: failures.collect(), prefixed, ..Scan::default() };
                tally.scanned(number, &decoded(line), scan, self);
            }
        }
        Quick::Told
    }

    /// Whether and by which failregex a text matches, if that can be told by the quick machine and
    /// nothing else is to be told. The text is a line without its date, with its newline.
    fn quick(&mut self, text: &[u8]) -> Quick {
        let (mut content, mut prefixed) = (text, false);
        if let Some(prefregex) = &self.filter.prefregex {
            match prefregex.pattern.search_ascii(text, &mut self.memory) {
                Outcome::Found => prefixed = true,
                Outcome::Nowhere => return Quick::Missed { prefixed: false },
                Outcome::Unknown => return Quick::Unsure,
            }
            let range = prefregex.pattern.group("content");
            let range = range.and_then(|group| prefregex.pattern.range(group, &self.memory));
            if let Some(range) = range.filter(|range| !range.is_empty()) {
                if range.end + 1 != text.len() {
                    return Quick::Unsure;
                }
                content = text.get(range.start..).unwrap_or_default();
            }
        }
        self.choose(content);
        let mut matched = None;
        while let Some(regex) = self.candidates.next() {
            let Some(expression) = self.filter.failregex.get(regex) else { continue };
            match expression.pattern.search_ascii(content, &mut self.memory) {
                Outcome::Nowhere => {}
                // What several matches make of it is for the long way to tell.
                Outcome::Found if matched.is_none() => matched = Some(regex),
                Outcome::Found | Outcome::Unknown => return Quick::Unsure,
            }
        }
        match matched {
            Some(regex) => Quick::Matched { regex, prefixed },
            None => Quick::Missed { prefixed },
        }
    }
}

/// True for a date with which its line begins.
fn is_in_front(found: &DateMatch) -> bool {
    found.cut.start == 0 && !found.cut.is_empty()
}

/// The run of lines at `start` that `front` fits and that end before `limit`, where no text stands
/// before that.
fn run_of(front: &Front, gate: &BlockGate, block: &[u8], start: usize, limit: usize) -> Run {
    let behind = front.length() + 1;
    let rules_out = |text: &[u8]| gate.rules_out(text.get(behind));
    match (gate.needs_texts_only(), front.is_narrow()) {
        (true, true) => runs::run(block, start, limit, |text| front.fits_narrow(text)),
        (true, false) => runs::run(block, start, limit, |text| front.fits(text)),
        (false, _) => runs::run(block, start, limit, |text| front.fits(text) && rules_out(text)),
    }
}

/// True if a match is a failure, whatever else stands in the log: no sessions, nothing that
/// matches without failing, and each expression names its offender by itself.
pub(super) fn is_plain(filter: &Filter) -> bool {
    let certain = ["fid", "ip4", "ip6", "dns", "host"];
    let has = |expression: &Expression, name: &str| expression.pattern.group(name).is_some();
    let odd = |expression: &Expression| {
        ["mlfid", "nofail", "mlfgained", "mlfforget"].iter().any(|name| has(expression, name))
    };
    let names = |expression: &Expression| certain.iter().any(|name| has(expression, name));
    filter.maxlines == 1
        && filter.ignoreregex.is_empty()
        && !filter.prefregex.iter().any(odd)
        && filter.failregex.iter().all(|expression| !odd(expression) && names(expression))
        && filter.failregex.iter().all(|expression| always_names(expression.pattern.node()))
}

/// True if every match of `node` goes through a group that names the offender.
fn always_names(node: &Node) -> bool {
    match node {
        Node::Host { .. } => true,
        Node::Capture { name: Some(name), .. }
            if ["fid", "ip4", "ip6", "dns", "host"].contains(&&**name) =>
        {
            true
        }
        Node::Capture { node, .. } | Node::IgnoreCase(node) | Node::Atomic(node) => {
            always_names(node)
        }
        Node::Concat(items) => items.iter().any(always_names),
        Node::Alternate(branches) => branches.iter().all(always_names),
        Node::Repeat { min, node, .. } => *min > 0 && always_names(node),
        _ => false,
    }
}

/// True if the filter's prefregex takes every line that holds anything besides its date.
pub(super) fn takes_every_line(filter: &Filter) -> bool {
    filter.prefregex.as_ref().is_some_and(|prefregex| prefregex.pattern.takes_every_line())
}

/// A line without `\r\n` at its end, as fail2ban strips it.
fn trim_break(line: &[u8]) -> &[u8] {
    let length = line.iter().rposition(|b| *b != b'\r' && *b != b'\n').map_or(0, |at| at + 1);
    line.get(..length).unwrap_or_default()
}

/// Bytes that are no UTF-8 become U+FFFD, as Python's `replace` has it.
pub(super) fn decoded(line: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(line) {
        Ok(line) => Cow::Borrowed(line),
        Err(_) => String::from_utf8_lossy(line),
    }
}

impl Parts<'_> {
    /// The whole line as one part: it has no date.
    pub(super) fn undated(line: &str) -> Parts<'_> {
        Parts { before: "", date: "", after: line, whole: Some(line) }
    }
}
