//! `Gate`: which expressions are worth a try on a text.
//!
//! Two things are known of most failregexes: with which bytes they can begin if they are bound to
//! the text's beginning, and some fixed text that they require. The first rules nearly all out
//! with one look at one byte; where many are left, one pass of an automaton over the text finds
//! the fixed ones. Nothing is ever lost: both are part of every match (`filter/literal.rs`).

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use memchr::memmem;
use std::{
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use super::grams::Grams;
use crate::filter::{Filter, Pattern, machine::Bytes};

/// With so many failregexes left, the automaton saves more than it costs.
const AUTOMATON_FROM: u32 = 5;
/// After so many texts, the automaton is worth building.
const LITERALS_FROM: u32 = 64;
/// Fewer texts are found as fast by the vector unit, which cannot look for more at once.
const GRAMS_FROM: usize = 33;
/// What is known of a byte, and in the last place of any that is none of ASCII.
const BYTES: usize = 129;

/// A set of failregexes, by number: one bit each.
pub type Bits = Vec<u64>;

/// What is known of a filter's failregexes. The searches are made ready when they are first asked
/// for: most filters need one of them.
#[derive(Debug)]
pub struct Gate {
    filter: Arc<Filter>,
    /// Failregexes that can match a text that begins with this byte: as many words for each byte.
    by_first: Bits,
    /// The same for the second byte.
    by_second: Bits,
    literals: OnceLock<Option<Literals>>,
    /// How many texts might have been searched for literals.
    asked: AtomicU32,
    words: usize,
    blocks: [OnceLock<BlockGate>; 4],
    /// Every line with any text passes prefregex.
    pub takes_every_line: bool,
    /// Failregexes see no more than what prefregex hands on.
    pub has_prefregex: bool,
    /// A text that begins with a blank can match fewer failregexes than others.
    blanks_matter: bool,
}

/// The fixed texts of the failregexes, for one line.
#[derive(Debug)]
struct Literals {
    automaton: AhoCorasick,
    /// Failregexes that each text belongs to.
    owners: Vec<Bits>,
    /// Failregexes without a text.
    free: Bits,
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
    pub fn new(filter: Arc<Filter>) -> Gate {
        let words = filter.failregex.len().div_ceil(64).max(1);
        let by = |known: fn(&Pattern) -> Option<Bytes>| {
            let mut all = vec![0; BYTES * words];
            for (byte, bits) in all.chunks_mut(words).enumerate() {
                // Beyond ASCII nothing is known.
                let byte = u8::try_from(byte).ok().filter(u8::is_ascii);
                for (index, expression) in filter.failregex.iter().enumerate() {
                    let set = known(&expression.pattern).filter(|_| filter.maxlines == 1);
                    let possible = set.is_none_or(|set| byte.is_none_or(|byte| set.has(byte)));
                    set_bit(bits, index, possible);
                }
            }
            all
        };
        let has_prefregex = filter.prefregex.is_some();
        let knows_more = |pattern: &Pattern| {
            let first = pattern.first_bytes();
            first.is_some_and(|first| !first.has(b' ')) || pattern.required().is_none()
        };
        let blanks_matter = !has_prefregex
            && filter.maxlines == 1
            && filter.failregex.iter().any(|expression| knows_more(&expression.pattern));
        Gate {
            blanks_matter,
            by_first: by(Pattern::first_bytes),
            by_second: by(Pattern::second_bytes),
            literals: OnceLock::new(),
            asked: AtomicU32::new(0),
            words,
            blocks: Default::default(),
            takes_every_line: super::block::takes_every_line(&filter),
            has_prefregex,
            filter,
        }
    }

    /// The gate for whole blocks of a log, where every line has to be accounted for, or only
    /// failures are (`failures_only`). `behind_blank`: for lines whose text begins with a blank.
    pub fn block(&self, failures_only: bool, behind_blank: bool) -> &BlockGate {
        let [all, failures, all_behind, failures_behind] = &self.blocks;
        let behind_blank = behind_blank && self.blanks_matter;
        let place = match (failures_only, behind_blank) {
            (false, false) => all,
            (true, false) => failures,
            (false, true) => all_behind,
            (true, true) => failures_behind,
        };
        place.get_or_init(|| BlockGate::new(&self.filter, failures_only, behind_blank))
    }

    fn literals(&self) -> Option<&Literals> {
        // Most logs have few lines that come here: their blocks are searched as a whole.
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if self.literals.get().is_none() && asked < LITERALS_FROM {
            return None;
        }
        self.literals.get_or_init(|| Literals::new(&self.filter, self.words)).as_ref()
    }

    /// Finds the failregexes that may match `text`.
    pub fn choose(&self, text: &[u8], found: &mut Candidates) {
        found.bits.clear();
        // Of the last place, everything is possible.
        found.bits.extend_from_slice(of_byte(&self.by_first, u8::MAX, self.words));
        self.begin(text, &mut found.bits);
        if found.count() < AUTOMATON_FROM {
            return;
        }
        let Some(literals) = self.literals() else { return };
        let mut there = literals.free.clone();
        for hit in literals.automaton.find_overlapping_iter(text) {
            if let Some(owners) = literals.owners.get(hit.pattern().as_usize()) {
                there.iter_mut().zip(owners).for_each(|(word, more)| *word |= more);
            }
        }
        found.bits.iter_mut().zip(&there).for_each(|(word, there)| *word &= there);
    }

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
        let possible = of_byte(&self.by_first, first, self.words);
        bits.iter_mut().zip(possible).for_each(|(word, possible)| *word &= possible);
        // Where there is no second byte, an expression may be content without one.
        if let Some(second) = text.get(1) {
            let possible = of_byte(&self.by_second, *second, self.words);
            bits.iter_mut().zip(possible).for_each(|(word, possible)| *word &= possible);
        }
    }
}

/// The failregexes for which `byte` will do.
#[inline]
fn of_byte(all: &Bits, byte: u8, words: usize) -> &[u64] {
    let from = usize::from(byte.min(128)) * words;
    all.get(from..from + words).unwrap_or_default()
}

impl Literals {
    fn new(filter: &Filter, words: usize) -> Option<Literals> {
        let mut free = vec![0; words];
        let mut texts: Vec<&[u8]> = Vec::new();
        let mut owners: Vec<Bits> = Vec::new();
        for (index, expression) in filter.failregex.iter().enumerate() {
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
        if texts.is_empty() {
            return None;
        }
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        let kind = (bytes < AUTOMATON_BYTES_MAX).then_some(AhoCorasickKind::DFA);
        let automaton = AhoCorasick::builder().kind(kind).build(&texts).ok()?;
        Some(Literals { automaton, owners, free })
    }
}

/// Where a text stands in a block, and which.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The byte at which it begins; far behind the block if there is none.
    pub at: usize,
    pattern: usize,
}

/// Goes through a block from text to text.
#[derive(Debug)]
pub struct Cursor<'g> {
    /// The texts.
    pub gate: &'g BlockGate,
    next: Option<Place>,
}

impl<'g> Cursor<'g> {
    /// Before the first text.
    pub fn new(gate: &'g BlockGate) -> Cursor<'g> {
        Cursor { gate, next: None }
    }

    /// Where the next text begins, at or behind `from`, which never goes back.
    #[inline]
    pub fn next(&mut self, block: &[u8], from: usize) -> usize {
        self.place(block, from).at
    }

    #[inline]
    fn place(&mut self, block: &[u8], from: usize) -> Place {
        match self.next {
            Some(next) if next.at >= from => next,
            _ => *self.next.insert(self.gate.find(block, from)),
        }
    }

    /// True if any failregex may match the line at `from`, which ends at `end`.
    #[inline]
    pub fn may_match(&mut self, block: &[u8], (from, end): (usize, usize)) -> bool {
        self.next(block, from) < end || self.gate.free.iter().any(|word| *word != 0)
    }

    /// Collects in `bits` the failregexes that may match the line at `from`, which ends at `end`.
    #[inline]
    pub fn gather(&mut self, block: &[u8], (from, end): (usize, usize), bits: &mut Bits) {
        let first = self.place(block, from);
        self.next = Some(self.gate.gather(block, (from, end), first, bits));
    }
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
    /// The bytes, if that is known, of which one stands behind the blank wherever one of those
    /// matches.
    seconds: Option<Bytes>,
    longest: usize,
    /// Every line is to be looked at, whether a failregex may match it or not.
    pub takes_all: bool,
}

#[derive(Debug)]
enum Finder {
    /// Every line is interesting.
    Open,
    /// None is.
    Closed,
    One(Box<memmem::Finder<'static>>),
    Several(Box<Grams>),
    Many(AhoCorasick),
}

/// Texts of so many bytes make an automaton that is worth its memory.
const AUTOMATON_BYTES_MAX: usize = 8 << 10;

impl BlockGate {
    /// The gate of `filter`. `failures_only`: nobody asks how many lines passed prefregex or were
    /// ignored before that, so only what can become a failure has to get through.
    fn new(filter: &Filter, failures_only: bool, behind_blank: bool) -> BlockGate {
        let fails = filter.failregex.len();
        let words = fails.div_ceil(64).max(1);
        let mut everyone = vec![0; words];
        (0..fails).for_each(|index| set_bit(&mut everyone, index, true));
        let open = |takes_all| BlockGate {
            takes_all,
            finder: Finder::Open,
            owners: Vec::new(),
            free: everyone.clone(),
            seconds: None,
            longest: 0,
        };
        let ignores = filter.ignoreregex.len();
        // A buffer of several lines needs every line, and so does a report of what was ignored.
        // So does the count of lines that pass prefregex, if there is no failregex to hope for.
        let counts_prefixed = !failures_only && fails == 0 && filter.prefregex.is_some();
        let counts_ignored = !failures_only && ignores > 0 && ignores + 2 < fails;
        if filter.maxlines > 1 || counts_ignored || counts_prefixed {
            return open(true);
        }
        let takes_every_line = super::block::takes_every_line(filter);
        let prefix = filter.prefregex.as_ref().map(|one| one.pattern.required());
        let mut texts: Vec<(&[u8], Bits)> = Vec::new();
        let mut free = vec![0; words];
        let mut seconds = Some(Bytes::NONE);
        match prefix {
            // Only lines with the prefix's text pass it; whose they are is not known yet.
            Some(Some(required)) if !failures_only => {
                texts.extend(required.0.iter().map(|text| (&**text, everyone.clone())));
            }
            Some(None) if !failures_only && !takes_every_line => return open(false),
            _ => {
                for (index, expression) in filter.failregex.iter().enumerate() {
                    let pattern = &expression.pattern;
                    // Behind a prefregex, failregexes see a part of the text only.
                    let begins = filter.prefregex.is_none() && behind_blank;
                    if begins && pattern.first_bytes().is_some_and(|first| !first.has(b' ')) {
                        continue;
                    }
                    let Some(required) = pattern.required() else {
                        set_bit(&mut free, index, true);
                        let set = pattern.second_bytes().filter(|_| begins);
                        seconds = set.and_then(|set| Some(seconds?.or(set)));
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
        let Some((finder, owners, longest)) = finder_of(texts, words) else { return open(false) };
        BlockGate { finder, owners, free, seconds, longest, takes_all: false }
    }

    /// Where the next text begins, at or behind `from`.
    #[inline]
    fn find(&self, block: &[u8], from: usize) -> Place {
        let rest = block.get(from..).unwrap_or_default();
        let found = match &self.finder {
            Finder::Open => Some((0, usize::MAX)),
            Finder::Closed => None,
            Finder::Several(grams) => {
                return match grams.find(block, from) {
                    Some(found) => Place { at: found.at, pattern: found.text },
                    None => Place { at: usize::MAX, pattern: 0 },
                };
            }
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

    /// True if such a line cannot match where `text` begins with what stands behind the blank that follows the date.
    #[inline]
    pub fn rules_out(&self, text: Option<&u8>) -> bool {
        let Some(set) = self.seconds else { return false };
        // Of what stands beyond ASCII, or where a line ends, nothing is known.
        let rules_out =
            |byte: &u8| byte.is_ascii() && !matches!(byte, b'\r' | b'\n') && !set.has(*byte);
        set.is_empty() || text.is_some_and(rules_out)
    }

    /// True if a line that is dated at its front and holds none of the texts cannot match.
    pub fn needs_texts_only(&self) -> bool {
        self.seconds.is_some_and(Bytes::is_empty)
    }

    /// True if there is any line that [`rules_out`](BlockGate::rules_out) can rule out.
    pub fn is_strict(&self) -> bool {
        !matches!(self.finder, Finder::Open) && self.seconds.is_some()
    }

    /// Collects in `bits` the failregexes that may match the line at `from`, which ends at `end`;
    /// `hit` is the first text from there on. Gives the first text behind the line.
    #[inline]
    fn gather(
        &self,
        block: &[u8],
        (from, end): (usize, usize),
        mut hit: Place,
        bits: &mut Bits,
    ) -> Place {
        bits.clone_from(&self.free);
        let mut add = |pattern: usize| {
            if let Some(owners) = self.owners.get(pattern) {
                bits.iter_mut().zip(owners).for_each(|(word, more)| *word |= more);
            }
        };
        if hit.at >= end {
            return hit;
        }
        match &self.finder {
            Finder::Open => return Place { at: end + 1, pattern: usize::MAX },
            Finder::Several(grams) => {
                grams.all(block.get(from..end).unwrap_or_default(), add);
                return self.find(block, end);
            }
            _ => {}
        }
        while hit.at < end {
            add(hit.pattern);
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
        // By the first two bytes it is known how a text begins.
        let behind = line.get(cut.end..line.len().min(cut.end + reach.max(2))).unwrap_or_default();
        let mut bits = self.free.clone();
        if gate.narrow(if before.is_empty() { behind } else { before }, &mut bits) {
            return true;
        }
        let seam = [near, behind].concat();
        self.find(&seam, 0).at != usize::MAX
    }
}

/// A search for these texts, whose each is, and the length of the longest.
fn finder_of(texts: Vec<(&[u8], Bits)>, words: usize) -> Option<(Finder, Vec<Bits>, usize)> {
    let mut patterns: Vec<&[u8]> = texts.iter().map(|(text, _)| *text).collect();
    patterns.sort();
    patterns.dedup();
    let owners = patterns.iter().map(|pattern| {
        let mut owners = vec![0; words];
        for (text, more) in &texts {
            if text.starts_with(pattern) || pattern.starts_with(text) {
                owners.iter_mut().zip(more).for_each(|(word, more)| *word |= more);
            }
        }
        owners
    });
    let owners = owners.collect();
    let longest = patterns.iter().map(|text| text.len()).max().unwrap_or(0);
    let bytes: usize = patterns.iter().map(|text| text.len()).sum();
    let finder = match patterns.as_slice() {
        [] => Finder::Closed,
        [one] => Finder::One(Box::new(memmem::Finder::new(one).into_owned())),
        many => match Grams::new(many).filter(|_| many.len() >= GRAMS_FROM) {
            Some(grams) => Finder::Several(Box::new(grams)),
            None => {
                let kind = (bytes < AUTOMATON_BYTES_MAX).then_some(AhoCorasickKind::DFA);
                let mut builder = AhoCorasick::builder();
                let builder = builder.match_kind(MatchKind::LeftmostFirst).kind(kind);
                Finder::Many(builder.build(many).ok()?)
            }
        },
    };
    Some((finder, owners, longest))
}

fn set_bit(bits: &mut [u64], index: usize, value: bool) {
    if value && let Some(word) = bits.get_mut(index / 64) {
        *word |= 1 << (index % 64);
    }
}
