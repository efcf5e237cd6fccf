//! `Gate`: which expressions are worth a try on a text.
//!
//! Each failregex that requires some fixed text is asked only where that text stands. One pass of
//! an automaton over the text finds all of them; nothing is ever lost, since a required text is
//! part of every match (`filter/literal.rs`).

use aho_corasick::AhoCorasick;

use super::block::BlockGate;
use crate::filter::Filter;

/// Below this number of failregexes the automaton costs more than it saves.
const GATED_MIN: usize = 3;

/// The literals of a filter's failregexes, and whose they are.
#[derive(Debug)]
pub struct Gate {
    literals: Option<AhoCorasick>,
    /// Failregexes that each literal belongs to.
    owners: Vec<Vec<usize>>,
    /// Failregexes without a literal: always tried.
    always: Vec<usize>,
    all: usize,
    /// The same for whole blocks of a log.
    pub block: BlockGate,
    /// Length of the longest text in `block`.
    pub block_longest: usize,
}

impl Gate {
    /// Builds the gate of `filter`.
    pub fn new(filter: &Filter) -> Gate {
        let mut texts: Vec<&[u8]> = Vec::new();
        let mut owners: Vec<Vec<usize>> = Vec::new();
        let mut always = Vec::new();
        for (index, expression) in filter.failregex.iter().enumerate() {
            let Some(required) = expression.pattern.required() else {
                always.push(index);
                continue;
            };
            for literal in &required.0 {
                match texts.iter().position(|known| known == literal) {
                    Some(known) => owners.iter_mut().skip(known).take(1).for_each(|o| o.push(index)),
                    None => {
                        texts.push(literal);
                        owners.push(vec![index]);
                    }
                }
            }
        }
        let all = filter.failregex.len();
        let worth_it = all >= GATED_MIN && !texts.is_empty();
        let literals = worth_it.then(|| AhoCorasick::new(&texts).ok()).flatten();
        let (block, block_longest) = BlockGate::new(filter);
        Gate { literals, owners, always, all, block, block_longest }
    }

    /// Failregexes that may match `text`, in order.
    pub fn candidates(&self, text: &str) -> Vec<usize> {
        let Some(literals) = &self.literals else { return (0..self.all).collect() };
        let mut found = self.always.clone();
        for hit in literals.find_overlapping_iter(text) {
            if let Some(owners) = self.owners.get(hit.pattern().as_usize()) {
                found.extend(owners);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}
