//! `Gate`: which expressions are worth a try on a text.
//!
//! Two things are known of most failregexes: with which bytes they can begin if they are bound to
//! the text's beginning, and some fixed text that they require. The first rules nearly all out
//! with one look at one byte; where many are left, one pass of an automaton over the text finds
//! the fixed ones. Nothing is ever lost: both are part of every match (`filter/literal.rs`).

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::block::BlockGate;
use crate::filter::Filter;

/// With so many failregexes left, the automaton saves more than it costs.
const AUTOMATON_FROM: u32 = 5;

/// A set of failregexes, by number: one bit each.
type Bits = Vec<u64>;

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
}

/// The failregexes that are worth a try: [`Candidates::next`] gives them in order.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    bits: Bits,
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
        let block = BlockGate::new(filter, false);
        let block_of_failures = BlockGate::new(filter, true);
        let takes_every_line = super::block::takes_every_line(filter);
        Gate { takes_every_line, by_first, literals, owners, free, words, block, block_of_failures }
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

fn set_bit(bits: &mut Bits, index: usize, value: bool) {
    if value && let Some(word) = bits.get_mut(index / 64) {
        *word |= 1 << (index % 64);
    }
}
