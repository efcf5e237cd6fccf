//! `Gate`: which expressions are worth a try on a text.
//!
//! Two things are known of most failregexes: with which bytes they can begin if they are bound to
//! the text's beginning, and some fixed text that they require. The first rules nearly all out
//! with one look at one byte; where many are left, one pass of an automaton over the text finds
//! the fixed ones. Nothing is ever lost: both are part of every match (`filter/literal.rs`).

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use memchr::memmem;
use std::ops::Range;

use crate::filter::Filter;

/// With so many failregexes left, the automaton saves more than it costs.
const AUTOMATON_FROM: u32 = 5;

/// A set of failregexes, by number: one bit each.
pub type Bits = Vec<u64>;

/// What is known of a filter's failregexes.
#[derive(Debug)]
pub struct Gate {
    /// Failregexes that can match a text that begins with this byte (index 128: with any other).
    by_first: Vec<Bits>,
    literals: Option<AhoCorasick>,
    /// Failregexes that each literal belongs to.
    owners: Vec<Bits>,
    /// Failregexes without a literal.
    free: Bits,
    words: usize,
    /// The same for whole blocks of a log, where every line has to be accounted for.
    pub block: BlockGate,
    /// The same where only failures are asked for.
    pub block_of_failures: BlockGate,
    /// Every line with any text passes prefregex.
    pub takes_every_line: bool,
    has_prefregex: bool,
}

/// The failregexes that are worth a try: [`Candidates::next`] gives them in order.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    pub(super) bits: Bits,
}

impl Candidates {
    /// Takes the next one out.
    pub fn next(&mut self) -> Option<usize> {
        let word = self.bits.iter().position(|word| *word != 0)?;
        let bits = self.bits.get_mut(word)?;
        let bit = bits.trailing_zeros();
        *bits &= *bits - 1;
        Some(word * 64 + bit as usize)
    }

    fn count(&self) -> u32 {
        self.bits.iter().map(|word| word.count_ones()).sum()
    }
}

impl Gate {
    /// Builds the gate of `filter`.
    pub fn new(filter: &Filter) -> Gate {
        let words = filter.failregex.len().div_ceil(64).max(1);
        let mut by_first = vec![vec![0; words]; 129];
        let mut free = vec![0; words];
        let mut texts: Vec<&[u8]> = Vec::new();
        let mut owners: Vec<Bits> = Vec::new();
        for (index, expression) in filter.failregex.iter().enumerate() {
            let first = expression.pattern.first_bytes().filter(|_| filter.maxlines == 1);
            for (byte, bits) in by_first.iter_mut().enumerate() {
                // Beyond ASCII nothing is known.
                let byte = u8::try_from(byte).ok().filter(u8::is_ascii);
                let possible = first.is_none_or(|set| byte.is_none_or(|byte| set.has(byte)));
                set_bit(bits, index, possible);
            }
            let Some(required) = expression.pattern.required() else {
                set_bit(&mut free, index, true);
                continue;
            };
            for literal in &required.0 {
                let known = texts.iter().position(|known| known == literal);
                let place = known.unwrap_or(texts.len());
                if known.is_none() {
                    texts.push(literal);
                    owners.push(vec![0; words]);
                }
                owners.iter_mut().skip(place).take(1).for_each(|bits| set_bit(bits, index, true));
            }
        }
        let automaton =
            || AhoCorasick::builder().kind(Some(AhoCorasickKind::DFA)).build(&texts).ok();
        let worth_it = filter.failregex.len() >= AUTOMATON_FROM as usize && !texts.is_empty();
        let literals = worth_it.then(automaton).flatten();
        let has_prefregex = filter.prefregex.is_some();
        let block = BlockGate::new(filter, false);
        let block_of_failures = BlockGate::new(filter, true);
        let takes_every_line = super::block::takes_every_line(filter);
        Gate {
            takes_every_line,
            has_prefregex,
            by_first,
            literals,
            owners,
            free,
            words,
            block,
            block_of_failures,
        }
    }

    /// Finds the failregexes that may match `text`.
    pub fn choose(&self, text: &[u8], found: &mut Candidates) {
        let first = text.first().map_or(128, |byte| usize::from((*byte).min(128)));
        found.bits.clear();
        match self.by_first.get(first) {
            Some(bits) => found.bits.extend_from_slice(bits),
            None => found.bits.resize(self.words, u64::MAX),
        }
        let Some(literals) = &self.literals else { return };
        if found.count() < AUTOMATON_FROM {
            return;
        }
        let mut there = self.free.clone();
        for hit in literals.find_overlapping_iter(text) {
            if let Some(owners) = self.owners.get(hit.pattern().as_usize()) {
                there.iter_mut().zip(owners).for_each(|(word, more)| *word |= more);
            }
        }
        found.bits.iter_mut().zip(&there).for_each(|(word, there)| *word &= there);
    }
}

impl Gate {
    /// Takes out of `bits` what cannot match a line whose text is `text`; false if nothing is left
    /// and prefregex need not be asked either.
    #[inline]
    pub fn narrow(&self, text: &[u8], bits: &mut Bits) -> bool {
        // Behind a prefregex, failregexes see a part of the text only.
        if !self.has_prefregex {
            self.begin(text, bits);
        }
        bits.iter().any(|word| *word != 0)
    }

    /// Takes out of `bits` what cannot match a text that begins so.
    #[inline]
    pub fn begin(&self, text: &[u8], bits: &mut Bits) {
        let first = text.first().map_or(b'\n', |byte| *byte);
        if let Some(possible) = self.by_first.get(usize::from(first.min(128))) {
            bits.iter_mut().zip(possible).for_each(|(word, possible)| *word &= possible);
        }
    }
}

/// Where a text stands in a block, and which.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// The byte at which it begins; far behind the block if there is none.
    pub at: usize,
    pattern: usize,
}

/// The texts of which every interesting line of a block holds some.
#[derive(Debug)]
pub struct BlockGate {
    finder: Finder,
    /// The failregexes that may match where each text stands. Texts of the same beginning speak
    /// for each other, since only one of them is found.
    owners: Vec<Bits>,
    /// The failregexes that no text speaks for: every line may match them.
    free: Bits,
    longest: usize,
    /// Every line is to be looked at, whether a failregex may match it or not.
    pub takes_all: bool,
}

#[derive(Debug)]
enum Finder {
    /// Every line is interesting.
    Open,
    One(Box<memmem::Finder<'static>>),
    Many(AhoCorasick),
}

/// Texts of so many bytes make an automaton that is worth its memory.
const AUTOMATON_BYTES_MAX: usize = 8 << 10;

impl BlockGate {
    /// The gate of `filter`. `failures_only`: nobody asks how many lines passed prefregex or were
    /// ignored before that, so only what can become a failure has to get through.
    pub fn new(filter: &Filter, failures_only: bool) -> BlockGate {
        let fails = filter.failregex.len();
        let words = fails.div_ceil(64).max(1);
        let mut everyone = vec![0; words];
        (0..fails).for_each(|index| set_bit(&mut everyone, index, true));
        let mut open = BlockGate {
            takes_all: false,
            finder: Finder::Open,
            owners: Vec::new(),
            free: everyone.clone(),
            longest: 0,
        };
        let ignores = filter.ignoreregex.len();
        // A buffer of several lines needs every line, and so does a report of what was ignored.
        // So does the count of lines that pass prefregex, if there is no failregex to hope for.
        let counts_prefixed = !failures_only && fails == 0 && filter.prefregex.is_some();
        let counts_ignored = !failures_only && ignores > 0 && ignores + 2 < fails;
        if filter.maxlines > 1 || counts_ignored || counts_prefixed {
            open.takes_all = true;
            return open;
        }
        let takes_every_line = super::block::takes_every_line(filter);
        let prefix = filter.prefregex.as_ref().map(|one| one.pattern.required());
        let mut texts: Vec<(&[u8], Bits)> = Vec::new();
        let mut free = vec![0; words];
        match prefix {
            // Only lines with the prefix's text pass it; whose they are is not known yet.
            Some(Some(required)) if !failures_only => {
                texts.extend(required.0.iter().map(|text| (&**text, everyone.clone())));
            }
            Some(None) if !failures_only && !takes_every_line => return open,
            _ => {
                for (index, expression) in filter.failregex.iter().enumerate() {
                    let Some(required) = expression.pattern.required() else {
                        set_bit(&mut free, index, true);
                        continue;
                    };
                    for text in &required.0 {
                        let mut owner = vec![0; words];
                        set_bit(&mut owner, index, true);
                        texts.push((text, owner));
                    }
                }
            }
        }
        BlockGate::of(texts, free).unwrap_or(open)
    }

    fn of(texts: Vec<(&[u8], Bits)>, free: Bits) -> Option<BlockGate> {
        let mut patterns: Vec<&[u8]> = texts.iter().map(|(text, _)| *text).collect();
        patterns.sort();
        patterns.dedup();
        let owners = patterns.iter().map(|pattern| {
            let mut owners = vec![0; free.len()];
            for (text, more) in &texts {
                if text.starts_with(pattern) || pattern.starts_with(text) {
                    owners.iter_mut().zip(more).for_each(|(word, more)| *word |= more);
                }
            }
            owners
        });
        let owners = owners.collect();
        let longest = patterns.iter().map(|text| text.len()).max()?;
        let bytes: usize = patterns.iter().map(|text| text.len()).sum();
        let finder = match patterns.as_slice() {
            [one] => Finder::One(Box::new(memmem::Finder::new(one).into_owned())),
            many => {
                let kind = (bytes < AUTOMATON_BYTES_MAX).then_some(AhoCorasickKind::DFA);
                let mut builder = AhoCorasick::builder();
                let builder = builder.match_kind(MatchKind::LeftmostFirst).kind(kind);
                Finder::Many(builder.build(many).ok()?)
            }
        };
        Some(BlockGate { finder, owners, free, longest, takes_all: false })
    }

    /// Where the next text begins, at or behind `from`.
    #[inline]
    pub fn find(&self, block: &[u8], from: usize) -> Place {
        let rest = block.get(from..).unwrap_or_default();
        let found = match &self.finder {
            Finder::Open => Some((0, usize::MAX)),
            Finder::One(finder) => finder.find(rest).map(|at| (at, 0)),
            Finder::Many(automaton) => {
                automaton.find(rest).map(|hit| (hit.start(), hit.pattern().as_usize()))
            }
        };
        match found {
            Some((at, pattern)) => Place { at: from + at, pattern },
            None => Place { at: usize::MAX, pattern: 0 },
        }
    }

    /// True if a line without any of the texts cannot match.
    pub fn is_strict(&self) -> bool {
        !matches!(self.finder, Finder::Open) && self.free.iter().all(|word| *word == 0)
    }

    /// Collects in `bits` the failregexes that may match a line which ends at `end`, of which `hit`
    /// is the first text; gives the first text behind it.
    #[inline]
    pub fn gather(&self, block: &[u8], end: usize, mut hit: Place, bits: &mut Bits) -> Place {
        bits.clone_from(&self.free);
        while hit.at < end {
            if let Some(owners) = self.owners.get(hit.pattern) {
                bits.iter_mut().zip(owners).for_each(|(word, more)| *word |= more);
            }
            if matches!(self.finder, Finder::Open) {
                return Place { at: end + 1, pattern: usize::MAX };
            }
            hit = self.find(block, hit.at + 1);
        }
        hit
    }

    /// True if a text might stand across the place where the date is cut out, or a failregex that
    /// no text speaks for might match there.
    pub fn seam_matters(&self, gate: &Gate, line: &[u8], cut: &Range<usize>) -> bool {
        if cut.is_empty() {
            return true;
        }
        let reach = self.longest.saturating_sub(1);
        let before = line.get(..cut.start).unwrap_or_default();
        let near = before.get(cut.start.saturating_sub(reach)..).unwrap_or_default();
        let behind = line.get(cut.end..line.len().min(cut.end + reach)).unwrap_or_default();
        let mut bits = self.free.clone();
        if gate.narrow(if before.is_empty() { behind } else { before }, &mut bits) {
            return true;
        }
        let seam = [near, behind].concat();
        self.find(&seam, 0).at != usize::MAX
    }
}

fn set_bit(bits: &mut Bits, index: usize, value: bool) {
    if value && let Some(word) = bits.get_mut(index / 64) {
        *word |= 1 << (index % 64);
    }
}
