//! Turns the tree of an expression into a flat list of steps.
//!
//! Repeats of a single character become one step; other counted repeats are written out, so a
//! program has a size limit.

use std::ops::Range;

use super::class::Set;
use super::outlook::{Required, begins_at_start, begins_at_word, first_bytes, is_plain, required};
use super::parse::{Parsed, PatternError, parse};
use super::run::Scratch;
use super::tree::{At, Greed, Node};

/// Most steps of a program: a pattern beyond it repeats something long very often.
const LARGEST: usize = 20_000;

/// What one repeated or lone character may be.
#[derive(Clone, Debug)]
pub(super) enum One {
    Char(char),
    /// A character whose case does not count, already folded.
    Folded(char),
    Set(Set),
    NotNewline,
    Anything,
}

/// One step of a program; `usize` targets are places in it.
#[derive(Clone, Debug)]
pub(super) enum Step {
    One(One),
    Many {
        one: One,
        least: u32,
        most: u32,
        greed: Greed,
    },
    At {
        at: At,
        ascii: bool,
    },
    Save(usize),
    /// Go to the first, and come back to the second if that fails.
    Split(usize, usize),
    Jump(usize),
    /// Remember where a round of a loop began.
    Mark(usize),
    /// Leave the loop if the round that began at the mark took nothing.
    Leave {
        mark: usize,
        exit: usize,
    },
    Same {
        group: usize,
        ignore_case: bool,
    },
    /// Go on if the group took part, else jump.
    Need {
        group: usize,
        otherwise: usize,
    },
    /// Run the steps up to `end` by themselves, from so many characters back.
    Look {
        behind: Option<usize>,
        negated: bool,
        end: usize,
    },
    /// Run the steps up to `end` by themselves; what they matched is final.
    Atomic {
        end: usize,
    },
    Done,
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub(super) steps: Vec<Step>,
    /// Registers: two for each group (0 is the whole match), then one for each loop.
    pub(super) registers: usize,
    pub(super) groups: usize,
    names: Vec<(String, usize)>,
    /// The match can only begin at the beginning of the text.
    pub(super) anchored: bool,
    /// Bytes with which a match can begin; `None` if it may be empty.
    pub(super) first: Option<Box<[bool; 256]>>,
    /// Something without which there is no match.
    pub(super) required: Option<Required>,
    /// Begins with the look-ahead that wants a border of a word.
    pub(super) word_start: bool,
    plain: bool,
}

impl Pattern {
    /// Compiles an expression in Python's dialect.
    ///
    /// # Errors
    ///
    /// [`PatternError`] tells what cannot be read, and where.
    pub fn new(text: &str) -> Result<Pattern, PatternError> {
        let Parsed { tree, groups, names } = parse(text)?;
        let mut writer = Writer { steps: Vec::new(), registers: 2 * (groups + 1), full: false };
        writer.node(&tree);
        writer.push(Step::Done);
        if writer.full {
            return Err(PatternError {
                pattern: text.to_owned(),
                column: 1,
                what: "the repeats of this expression make it too large".to_owned(),
            });
        }
        let mut first = Box::new([false; 256]);
        let empty = first_bytes(&tree, &mut first);
        Ok(Pattern {
            anchored: begins_at_start(&tree),
            first: (!empty).then_some(first),
            required: required(&tree),
            word_start: begins_at_word(&tree),
            plain: is_plain(&tree, true),
            steps: writer.steps,
            registers: writer.registers,
            groups,
            names,
        })
    }

    /// The leftmost match in `text` that begins at `range.start` or later and sees nothing beyond
    /// `range.end`; what lies before the range is seen by `\b`, `^` and look-behind. The groups
    /// stay in `scratch`.
    pub fn search(&self, scratch: &mut Scratch, text: &str, range: Range<usize>) -> bool {
        scratch.search(self, text, range)
    }

    /// Named groups and their numbers, in order.
    pub fn names(&self) -> &[(String, usize)] {
        &self.names
    }

    /// Number of capturing groups.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Whether the match can only begin at the beginning of the text.
    pub fn anchored(&self) -> bool {
        self.anchored
    }

    /// Whether the groups depend on nothing but the matched text: no look-around, boundary or
    /// anchor stands between the first and the last thing that takes a character.
    pub fn plain(&self) -> bool {
        self.plain
    }
}

struct Writer {
    steps: Vec<Step>,
    registers: usize,
    full: bool,
}

impl Writer {
    fn push(&mut self, step: Step) -> usize {
        if self.steps.len() >= LARGEST {
            self.full = true;
        } else {
            self.steps.push(step);
        }
        self.steps.len().saturating_sub(1)
    }

    fn here(&self) -> usize {
        self.steps.len()
    }

    fn patch(&mut self, place: usize, step: Step) {
        if let Some(slot) = self.steps.get_mut(place) {
            *slot = step;
        }
    }

    fn node(&mut self, node: &Node) {
        if self.full {
            return;
        }
        if let Some(one) = single(node) {
            self.push(Step::One(one));
            return;
        }
        match node {
            Node::Char { .. } | Node::Set(_) | Node::Any { .. } | Node::Empty => {}
            Node::At { at, ascii } => {
                self.push(Step::At { at: *at, ascii: *ascii });
            }
            Node::Group { number: None, inner } => self.node(inner),
            Node::Group { number: Some(number), inner } => {
                self.push(Step::Save(2 * number));
                self.node(inner);
                self.push(Step::Save(2 * number + 1));
            }
            Node::Concat(items) => items.iter().for_each(|item| self.node(item)),
            Node::Either(branches) => self.either(branches),
            Node::Repeat { inner, least, most, greed } => self.repeat(inner, *least, *most, *greed),
            Node::Look { inner, behind, negated } => {
                let place = self.push(Step::Done);
                self.node(inner);
                self.push(Step::Done);
                let end = self.here();
                self.patch(place, Step::Look { behind: *behind, negated: *negated, end });
            }
            Node::Atomic(inner) => self.atomic(|writer| writer.node(inner)),
            Node::Same { group, ignore_case } => {
                self.push(Step::Same { group: *group, ignore_case: *ignore_case });
            }
            Node::If { group, yes, no } => {
                let need = self.push(Step::Done);
                self.node(yes);
                let jump = self.push(Step::Done);
                let otherwise = self.here();
                self.node(no);
                self.patch(need, Step::Need { group: *group, otherwise });
                let after = self.here();
                self.patch(jump, Step::Jump(after));
            }
        }
    }

    fn atomic(&mut self, inner: impl FnOnce(&mut Writer)) {
        let place = self.push(Step::Done);
        inner(self);
        self.push(Step::Done);
        let end = self.here();
        self.patch(place, Step::Atomic { end });
    }

    fn either(&mut self, branches: &[Node]) {
        let mut jumps = Vec::new();
        for (i, branch) in branches.iter().enumerate() {
            if i + 1 == branches.len() {
                self.node(branch);
            } else {
                let split = self.push(Step::Done);
                self.node(branch);
                jumps.push(self.push(Step::Done));
                let next = self.here();
                self.patch(split, Step::Split(split + 1, next));
            }
        }
        let after = self.here();
        for jump in jumps {
            self.patch(jump, Step::Jump(after));
        }
    }

    fn repeat(&mut self, inner: &Node, least: u32, most: Option<u32>, greed: Greed) {
        if let Some(one) = single(inner) {
            let most = most.unwrap_or(u32::MAX);
            self.push(Step::Many { one, least, most, greed });
        } else if greed == Greed::Possessive {
            self.atomic(|writer| writer.repeat(inner, least, most, Greed::Greedy));
        } else {
            for _ in 0..least {
                self.node(inner);
            }
            match most {
                None => self.endless(inner, greed),
                Some(most) => self.optional(inner, most.saturating_sub(least), greed),
            }
        }
    }

    fn endless(&mut self, inner: &Node, greed: Greed) {
        let mark = self.registers;
        self.registers += 1;
        let split = self.push(Step::Done);
        self.push(Step::Mark(mark));
        self.node(inner);
        let leave = self.push(Step::Done);
        self.push(Step::Jump(split));
        let exit = self.here();
        self.patch(leave, Step::Leave { mark, exit });
        self.patch(split, choice(split + 1, exit, greed));
    }

    fn optional(&mut self, inner: &Node, times: u32, greed: Greed) {
        let mut splits = Vec::new();
        for _ in 0..times {
            splits.push(self.push(Step::Done));
            self.node(inner);
            if self.full {
                return;
            }
        }
        let exit = self.here();
        for split in splits {
            self.patch(split, choice(split + 1, exit, greed));
        }
    }
}

fn choice(inside: usize, exit: usize, greed: Greed) -> Step {
    match greed {
        Greed::Lazy => Step::Split(exit, inside),
        Greed::Greedy | Greed::Possessive => Step::Split(inside, exit),
    }
}

pub(super) fn single(node: &Node) -> Option<One> {
    match node {
        Node::Char { c, ignore_case: false } => Some(One::Char(*c)),
        Node::Char { c, ignore_case: true } => {
            let folded = super::class::fold(*c);
            let has_case = !folded.is_ascii() || folded.is_ascii_alphabetic();
            Some(if has_case { One::Folded(folded) } else { One::Char(*c) })
        }
        Node::Set(set) => Some(One::Set(set.clone())),
        Node::Any { newline: true } => Some(One::Anything),
        Node::Any { newline: false } => Some(One::NotNewline),
        Node::Group { number: None, inner } => single(inner),
        _ => None,
    }
}
