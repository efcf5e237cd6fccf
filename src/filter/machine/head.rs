//! `Head`: what stands before the part of a line that a prefregex hands on.
//!
//! A prefregex that takes every line is a row of things that may be left out, and then the rest of
//! the line. Whatever comes of the row, the rest matches, so the row never has to be gone back
//! into: its first way through is the match. And that way depends on few bytes, of which the
//! expression tells only some apart: behind `[` it is one digit or another. So the places of the
//! groups are remembered by the kinds of the bytes that were looked at, and the next line of the
//! same service asks for no more than a comparison.

use std::collections::HashMap;

use super::{Machine, Memory, Outcome, Start, Step, bytes::Table};
use crate::filter::syntax::{Assert, Expression, Node, Repetition};

/// Heads that are remembered.
const KNOWN_MAX: usize = 32;
/// A head that depends on more bytes is not remembered.
const KEY_MAX: usize = 96;
/// So many more lines may be unknown than known, before the memory is given up.
const VAIN_MAX: i32 = 1_000;

/// The row before the rest of the line.
#[derive(Clone, Debug)]
pub struct Head {
    machine: Machine,
    /// The kind of each byte: those of one kind are the same to the row.
    kinds: Box<[u8; 256]>,
    /// Groups that hold the rest of the line and may hold more.
    rest_groups: Vec<usize>,
}

/// Heads that were seen, for one reader of one log.
#[derive(Clone, Debug, Default)]
pub struct Recall {
    known: Vec<Known>,
    /// Which is forgotten next.
    oldest: usize,
    /// Hits that are worth something, or, below 0, lines in vain.
    worth: i32,
}

#[derive(Clone, Debug)]
struct Known {
    /// Kinds of the bytes, from the beginning of the text on.
    key: Box<[u8]>,
    slots: Box<[usize]>,
}

impl Head {
    /// The head of an expression of which it is known that it takes every line; `None` if it is
    /// not the plain kind.
    pub fn new(expression: &Expression) -> Option<Head> {
        let mut rest_groups = Vec::new();
        let node = without_rest(&expression.node, &mut rest_groups)?;
        let row = Expression { node, groups: expression.groups.clone() };
        let machine = Machine::new(&row)?;
        if !matches!(machine.start, Start::Anchored) {
            return None;
        }
        let kinds = kinds(&machine.steps)?;
        Some(Head { machine, kinds, rest_groups })
    }

    /// Finds the expression in `text`: one line of ASCII with its newline. `memory` is as after a
    /// search for the whole expression; [`Outcome::Unknown`] asks for that search.
    pub fn search(&self, text: &[u8], recall: &mut Recall, memory: &mut Memory) -> Outcome {
        let known = recall.known.iter().find(|known| self.is_like(&known.key, text));
        match known {
            Some(known) => {
                recall.worth = (recall.worth + 1).min(VAIN_MAX);
                memory.slots.clear();
                memory.slots.extend_from_slice(&known.slots);
            }
            None => {
                match self.machine.search(text, memory) {
                    Outcome::Found => {}
                    // The row may be left out as a whole, so something is odd.
                    Outcome::Nowhere | Outcome::Unknown => return Outcome::Unknown,
                }
                if recall.worth > -VAIN_MAX {
                    recall.worth -= 1;
                    self.remember(text, recall, memory);
                }
            }
        }
        let end = text.len().saturating_sub(1);
        let Some(whole) = memory.slots.get_mut(1) else { return Outcome::Unknown };
        // Something has to be left for the rest, or the row has to be gone back into.
        if *whole >= end {
            return Outcome::Unknown;
        }
        *whole = end;
        for group in &self.rest_groups {
            if let Some(slot) = memory.slots.get_mut(2 * group + 1) {
                *slot = end;
            }
        }
        Outcome::Found
    }

    #[inline(always)]
    fn is_like(&self, key: &[u8], text: &[u8]) -> bool {
        let kind = |byte: &u8| self.kinds[usize::from(*byte)];
        let Some(text) = text.get(..key.len()) else { return false };
        // What differs is mostly the last few bytes, or where they stand.
        key.last() == text.last().map(kind).as_ref()
            && key.iter().rev().zip(text.iter().rev()).all(|(one, byte)| *one == kind(byte))
    }

    fn remember(&self, text: &[u8], recall: &mut Recall, memory: &Memory) {
        let Some(seen) = text.get(..memory.seen).filter(|seen| seen.len() <= KEY_MAX) else {
            return;
        };
        let known = Known {
            key: seen.iter().map(|byte| self.kinds[usize::from(*byte)]).collect(),
            slots: memory.slots.as_slice().into(),
        };
        match recall.known.get_mut(recall.oldest) {
            Some(oldest) => *oldest = known,
            None => recall.known.push(known),
        }
        recall.oldest = (recall.oldest + 1) % KNOWN_MAX;
    }
}

/// The expression up to `.+$`, and the groups around that.
fn without_rest(node: &Node, groups: &mut Vec<usize>) -> Option<Node> {
    let Node::Concat(items) = node else { return None };
    let (end, items) = items.split_last()?;
    let (rest, row) = items.split_last()?;
    if !matches!(end, Node::Assert(Assert::TextEndNewline)) {
        return None;
    }
    let mut row = row.to_vec();
    row.push(empty_rest(rest, groups)?);
    Some(Node::Concat(row))
}

fn empty_rest(node: &Node, groups: &mut Vec<usize>) -> Option<Node> {
    match node {
        Node::Capture { index, name, node } => {
            groups.push(*index);
            let node = Box::new(empty_rest(node, groups)?);
            Some(Node::Capture { index: *index, name: name.clone(), node })
        }
        Node::Concat(items) => match items.as_slice() {
            [one] => empty_rest(one, groups),
            _ => None,
        },
        Node::Repeat { min: 0 | 1, max: None, mode: Repetition::Greedy, node }
            if matches!(**node, Node::Any { newline: false }) =>
        {
            Some(Node::Empty)
        }
        _ => None,
    }
}

/// Tells bytes apart that any of the steps tells apart; `None` if there is a step that looks at
/// more than the bytes before the place at which it fails or succeeds.
fn kinds(steps: &[Step]) -> Option<Box<[u8; 256]>> {
    let mut kinds = Kinds(Box::new([0; 256]));
    for step in steps {
        match step {
            Step::Text(text) => kinds.part_by_text(text),
            Step::One(set) => kinds.part_by_set(set),
            Step::Run(run) | Step::Lazy(run) => {
                kinds.part_by_set(&run.set);
                run.follow.iter().for_each(|set| kinds.part_by_set(set));
                run.text.iter().for_each(|word| kinds.part_by_text(&word.text));
            }
            Step::Split(split) => {
                let sets = split.first_set.iter().chain(&split.second_set);
                sets.for_each(|set| kinds.part_by_set(set));
            }
            Step::Save(_) | Step::Jump(_) | Step::Never | Step::Done => {}
            Step::At(Assert::TextStart) => {}
            Step::At(_)
            | Step::Need { .. }
            | Step::Same(_)
            | Step::Look { .. }
            | Step::Atomic { .. }
            | Step::Address { .. } => return None,
        }
    }
    Some(kinds.0)
}

struct Kinds(Box<[u8; 256]>);

impl Kinds {
    fn part_by_text(&mut self, text: &[u8]) {
        text.iter().for_each(|one| self.part(|byte| byte == *one));
    }

    fn part_by_set(&mut self, set: &Table) {
        self.part(|byte| set.has(byte));
    }

    fn part(&mut self, has: impl Fn(u8) -> bool) {
        let mut new: HashMap<(u8, bool), u8> = HashMap::new();
        for (byte, kind) in (0..=u8::MAX).zip(self.0.iter_mut()) {
            // There are no more kinds than bytes.
            let count = u8::try_from(new.len()).unwrap_or(u8::MAX);
            *kind = *new.entry((*kind, has(byte))).or_insert(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Pattern, UseDns};

    /// Rows in which one thing may be taken for another, and the words that they are made of.
    const ROWS: [&str; 4] = [
        r"^<F-MLFID>(?:\[\])?\s*(?:<[^.]+\.[^.]+>\s+)?(?:\S+\s+)?(?:kernel:\s?\[ *\d+\.\d+\]:?\s+)?(?:(?:(?:\[\d+\])?:\s+[\[\(]?sshd(?:\(\S+\))?[\]\)]?:?|[\[\(]?sshd(?:\(\S+\))?[\]\)]?:?(?:\[\d+\])?:?)\s+)?(?:\[ID \d+ \S+\]\s+)?</F-MLFID>(?:(?:error|fatal): (?:PAM: )?)?<F-CONTENT>.+</F-CONTENT>$",
        r"^(?:a*?b)?(?P<x>(?:\d+ )?(?:[^ ]* from )?)(?P<content>.*)$",
        r"^(?:\w+ ??)*(?P<x>(?: x| xy| xyz)?)(?P<content>.+)$",
        r"^(?P<x>(?:.*: )?)(?:\S{2,4} )?(?:.*?\[\d\])?(?P<content>.+)$",
    ];
    const WORDS: [&str; 28] = [
        " ",
        " ns",
        " ns sshd[",
        "sshd",
        "]: ",
        "[",
        ": ",
        "1",
        "22",
        "4567",
        "error: ",
        "fatal",
        "PAM: ",
        "[ID 7 x] ",
        "<a.b> ",
        "kernel: [ 1.2]",
        "(x)",
        "Failed",
        "a",
        "aab",
        " from ",
        "xy",
        "xyz",
        "x",
        "\t",
        "\r",
        "e",
        "[]",
    ];

    #[test]
    fn what_is_remembered_is_what_a_search_finds() {
        let mut random = 11_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as usize % below
        };
        let mut known_again = Vec::new();
        for row in ROWS {
            let pattern = Pattern::new(row, UseDns::No, false).unwrap();
            assert!(pattern.takes_every_line(), "{row}");
            let mut recall = Recall::default();
            let mut again = 0;
            let (mut memory, mut fresh) = (Memory::default(), Memory::default());
            for round in 0..60_000 {
                // Few words at first, so that beginnings come again.
                let words = if round % 2 == 0 { 12 } else { WORDS.len() };
                let mut text: String = (0..next(9)).map(|_| WORDS[next(words)]).collect();
                text.push('\n');
                // The memory shall not wear out on what is rarely alike.
                recall.worth = 0;
                let found = pattern.search_line(text.as_bytes(), &mut recall, &mut memory);
                again += u32::from(recall.worth > 0 && found == Outcome::Found);
                let expected = pattern.search_ascii(text.as_bytes(), &mut fresh);
                assert_eq!(found, expected, "{row} {text:?}");
                if found == Outcome::Found {
                    assert_eq!(memory.slots, fresh.slots, "{row} {text:?}");
                }
            }
            assert!(pattern.has_head(), "{row}");
            known_again.push(again);
        }
        // The last row looks at the whole line, so it is always searched.
        let enough = known_again.iter().map(|again| *again > 3_000).collect::<Vec<_>>();
        assert_eq!(enough, [true, true, true, false], "{known_again:?}");
    }
}
