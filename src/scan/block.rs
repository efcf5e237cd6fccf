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

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, MatchKind};
use memchr::{memchr, memmem};

use super::{Parts, Scan, Scanner};
use crate::{date::DateMatch, filter::Filter, time::Timestamp};

/// Hears what became of each line of a block, in order.
pub trait Tally {
    /// A line was scanned. `number` counts all lines of the log from 1.
    fn scanned(&mut self, number: u64, line: &str, scan: Scan, scanner: &Scanner);

    /// A line cannot match any expression of the filter.
    fn passed(&mut self, number: u64, line: &[u8]);

    /// True while [`Tally::passed`] wants to see the lines; else it is counted by
    /// [`Tally::passed_many`] only.
    fn wants_passed(&self) -> bool;

    /// So many more lines cannot match.
    fn passed_many(&mut self, count: u64);

    /// An empty line, or one that begins with `#`: skipped, but counted in the numbers.
    fn skipped(&mut self) {}
}

/// The text of which every interesting line holds some.
#[derive(Debug)]
pub enum BlockGate {
    /// Every line is interesting.
    Open,
    /// One text.
    One(Box<memmem::Finder<'static>>),
    /// Several.
    Many(AhoCorasick),
}

impl BlockGate {
    /// The gate of `filter`; a multi-line buffer needs every line.
    pub fn new(filter: &Filter) -> (BlockGate, usize) {
        if filter.maxlines > 1 {
            return (BlockGate::Open, 0);
        }
        // A report counts ignoreregexes that are asked before anything else.
        if !filter.ignoreregex.is_empty() && filter.ignoreregex.len() + 2 < filter.failregex.len() {
            return (BlockGate::Open, 0);
        }
        let prefix = filter.prefregex.as_ref().and_then(|one| one.pattern.required());
        let mut texts: Vec<Vec<u8>> = match prefix {
            Some(required) => required.0.clone(),
            None if filter.prefregex.is_some() => return (BlockGate::Open, 0),
            None => {
                let mut all = Vec::new();
                for expression in &filter.failregex {
                    match expression.pattern.required() {
                        Some(required) => all.extend(required.0.iter().cloned()),
                        None => return (BlockGate::Open, 0),
                    }
                }
                all
            }
        };
        texts.sort();
        texts.dedup();
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
        let gate = match texts.as_slice() {
            [] => BlockGate::Open,
            [one] => BlockGate::One(Box::new(memmem::Finder::new(one).into_owned())),
            many => {
                let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(many);
                built.map_or(BlockGate::Open, BlockGate::Many)
            }
        };
        (gate, longest)
    }

    /// Where the next required text begins, at or behind `from`.
    fn find(&self, block: &[u8], from: usize) -> usize {
        let rest = block.get(from..).unwrap_or_default();
        let found = match self {
            BlockGate::Open => Some(0),
            BlockGate::One(finder) => finder.find(rest),
            BlockGate::Many(automaton) => automaton.find(rest).map(|hit| hit.start()),
        };
        found.map_or(usize::MAX, |at| from + at)
    }
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
        let mut start = 0;
        let mut next_hit = self.gate.block.find(block, 0);
        let mut passed = 0;
        // The last line whose date was found but not yet read.
        let mut undated: Option<(&[u8], DateMatch)> = None;
        while start < block.len() {
            let rest = block.get(start..).unwrap_or_default();
            let end = memchr(b'\n', rest).map_or(block.len(), |at| start + at);
            let line = trim_break(block.get(start..end).unwrap_or_default());
            number += 1;
            if next_hit < start {
                next_hit = self.gate.block.find(block, start);
            }
            let wanted = next_hit < end;
            start = end + 1;
            if line.first().is_none_or(|b| *b == b'#') {
                tally.skipped();
                continue;
            }
            let found = self.dates.find_again(line, now);
            if !wanted
                && let Some(found) = &found
                && !self.seam_matters(line, found)
            {
                match tally.wants_passed() {
                    true => {
                        // Lines that are shown keep their order among those that are scanned.
                        tally.passed_many(std::mem::take(&mut passed));
                        tally.passed(number, line);
                    }
                    false => passed += 1,
                }
                undated = Some((line, found.clone()));
                continue;
            }
            tally.passed_many(std::mem::take(&mut passed));
            if let Some((line, found)) = undated.take() {
                self.note_date(&decoded(line), &found, now);
            }
            let line = decoded(line);
            let scan = match found {
                Some(found) => self.scan_found(&line, Some(&found), now),
                None => self.scan(&line, now),
            };
            tally.scanned(number, &line, scan, self);
        }
        tally.passed_many(passed);
        if let Some((line, found)) = undated {
            self.note_date(&decoded(line), &found, now);
        }
        number
    }

    /// True if a required text might stand across the place where the date is cut out.
    fn seam_matters(&self, line: &[u8], found: &DateMatch) -> bool {
        if found.cut.start == 0 {
            return false;
        }
        if found.cut.is_empty() {
            return true;
        }
        let reach = self.gate.block_longest.saturating_sub(1);
        let before = line.get(found.cut.start.saturating_sub(reach)..found.cut.start);
        let behind = line.get(found.cut.end..line.len().min(found.cut.end + reach));
        let seam = [before.unwrap_or_default(), behind.unwrap_or_default()].concat();
        self.gate.block.find(&seam, 0) != usize::MAX
    }
}

/// A line without `\r\n` at its end, as fail2ban strips it.
fn trim_break(line: &[u8]) -> &[u8] {
    let length = line.iter().rposition(|b| *b != b'\r' && *b != b'\n').map_or(0, |at| at + 1);
    line.get(..length).unwrap_or_default()
}

/// Bytes that are no UTF-8 become U+FFFD, as Python's `replace` has it.
fn decoded(line: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(line)
}

impl Parts<'_> {
    /// The whole line as one part: it has no date.
    pub(super) fn undated(line: &str) -> Parts<'_> {
        Parts { before: "", date: "", after: line }
    }
}
