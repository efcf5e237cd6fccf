//! Runs a program over a text, with a stack of places to come back to.
//!
//! Nothing here recurses but look-around and atomic groups, whose nesting the parser bounds; and
//! nothing runs on without end: every step of a search counts, and a search that has used up its
//! steps finds nothing.

use std::ops::Range;

use super::class::{fold, is_word};
use super::program::{One, Pattern, Step};
use super::tree::{At, Greed};

/// Steps that a search may take, whatever it searches.
pub const STEPS_PER_SEARCH: u64 = 20_000;
/// Steps that it may take beyond that for every byte searched: long lines are not dateless lines.
pub const STEPS_PER_BYTE: u64 = 32;

const UNSET: usize = usize::MAX;

/// What to undo, and where to go on, when a way has failed.
#[derive(Clone, Copy, Debug)]
enum Frame {
    Try {
        step: usize,
        at: usize,
    },
    Register {
        number: usize,
        was: usize,
    },
    /// A greedy repeat that may give back characters down to `low`.
    Give {
        step: usize,
        low: usize,
        at: usize,
    },
    /// A lazy repeat that may take `left` more characters.
    Take {
        step: usize,
        at: usize,
        left: u32,
    },
}

/// The working memory of searches, kept so that a line costs no allocation; it also holds the
/// groups of the last match.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    registers: Vec<usize>,
    stack: Vec<Frame>,
    left: u64,
    exhausted: bool,
    seen: usize,
    overruns: u64,
}

impl Scratch {
    /// Where a group of the last match stands; `None` if it took no part.
    pub fn group(&self, number: usize) -> Option<Range<usize>> {
        let start = *self.registers.get(2 * number)?;
        let end = *self.registers.get(2 * number + 1)?;
        (start != UNSET && end != UNSET && start <= end).then_some(start..end)
    }

    /// How far into the text the last search looked; beyond its length, if it saw the end.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// Searches so far that ran out of steps.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }

    pub(super) fn search(&mut self, pattern: &Pattern, text: &str, range: Range<usize>) -> bool {
        let end = range.end.min(text.len());
        let from = range.start.min(end);
        if !text.is_char_boundary(end) || !text.is_char_boundary(from) {
            return false;
        }
        let bytes = text.as_bytes().get(..end).unwrap_or_default();
        self.stack.clear();
        self.exhausted = false;
        self.left = STEPS_PER_SEARCH + STEPS_PER_BYTE * (end - from) as u64;
        self.seen = from;
        if pattern.anchored {
            let hopeless = match (&pattern.first, bytes.first()) {
                (Some(first), Some(byte)) => !first[usize::from(*byte)],
                (Some(_), None) => true,
                (None, _) => false,
            };
            let found = from == 0 && !hopeless && self.match_at(pattern, bytes, 0);
            self.overruns += u64::from(self.exhausted);
            return found;
        }
        if let Some(required) = &pattern.required
            && !required.stands_in(bytes.get(from..).unwrap_or_default())
        {
            return false;
        }
        let mut at = from;
        loop {
            if let Some(first) = &pattern.first {
                let rest = bytes.get(at..).unwrap_or_default();
                // A byte is always a place in a table of 256.
                let Some(skip) = rest.iter().position(|byte| first[usize::from(*byte)]) else {
                    return false;
                };
                at += skip;
            }
            let within_word = pattern.word_start
                && is_word_byte(bytes.get(at))
                && is_word_byte(at.checked_sub(1).and_then(|before| bytes.get(before)));
            if !within_word && is_border(bytes, at) && self.match_at(pattern, bytes, at) {
                return true;
            }
            if self.exhausted {
                self.overruns += 1;
                return false;
            }
            if at >= end {
                return false;
            }
            at += 1;
        }
    }

    fn match_at(&mut self, pattern: &Pattern, bytes: &[u8], at: usize) -> bool {
        self.registers.clear();
        self.registers.resize(pattern.registers, UNSET);
        self.stack.clear();
        let found = self.run(pattern, bytes, 0, at);
        if let Some(end) = found {
            self.set(0, at);
            self.set(1, end);
        }
        found.is_some()
    }

    fn register(&self, number: usize) -> usize {
        self.registers.get(number).copied().unwrap_or(UNSET)
    }

    fn set(&mut self, number: usize, value: usize) {
        if let Some(register) = self.registers.get_mut(number) {
            *register = value;
        }
    }

    fn save(&mut self, number: usize, value: usize) {
        let was = self.register(number);
        self.stack.push(Frame::Register { number, was });
        self.set(number, value);
    }

    /// The end of the first match from `at` that the steps from `step` on find.
    fn run(&mut self, pattern: &Pattern, bytes: &[u8], step: usize, at: usize) -> Option<usize> {
        let base = self.stack.len();
        let (mut step, mut at) = (step, at);
        loop {
            if self.left == 0 {
                self.exhausted = true;
                return None;
            }
            self.left -= 1;
            let next = match pattern.steps.get(step)? {
                Step::Done => return Some(at),
                Step::One(one) => self.take(bytes, at, one).map(|after| (step + 1, after)),
                Step::Many { one, least, most, greed } => {
                    self.many(bytes, step, at, one, (*least, *most, *greed))
                }
                Step::At { at: what, ascii } => {
                    self.stands(bytes, at, *what, *ascii).then_some((step + 1, at))
                }
                Step::Save(number) => {
                    self.save(*number, at);
                    Some((step + 1, at))
                }
                Step::Split(first, second) => {
                    self.stack.push(Frame::Try { step: *second, at });
                    Some((*first, at))
                }
                Step::Jump(target) => Some((*target, at)),
                Step::Mark(mark) => {
                    self.save(*mark, at);
                    Some((step + 1, at))
                }
                Step::Leave { mark, exit } => {
                    Some((if self.register(*mark) == at { *exit } else { step + 1 }, at))
                }
                Step::Same { group, ignore_case } => {
                    self.same(bytes, at, *group, *ignore_case).map(|after| (step + 1, after))
                }
                Step::Need { group, otherwise } => {
                    let took_part = self.group(*group).is_some();
                    Some((if took_part { step + 1 } else { *otherwise }, at))
                }
                Step::Look { behind, negated, end } => {
                    let found = match behind {
                        Some(count) => back(bytes, at, *count).is_some_and(|from| {
                            self.aside(pattern, bytes, step + 1, from).is_some()
                        }),
                        None => self.aside(pattern, bytes, step + 1, at).is_some(),
                    };
                    if self.exhausted {
                        return None;
                    }
                    (found != *negated).then_some((*end, at))
                }
                Step::Atomic { end } => {
                    self.aside(pattern, bytes, step + 1, at).map(|after| (*end, after))
                }
            };
            match next.or_else(|| self.come_back(pattern, bytes, base)) {
                Some(place) => (step, at) = place,
                None => return None,
            }
        }
    }

    /// Runs a part of the program by itself: of its stack only the undoing of groups remains.
    fn aside(&mut self, pattern: &Pattern, bytes: &[u8], step: usize, at: usize) -> Option<usize> {
        let base = self.stack.len();
        let found = self.run(pattern, bytes, step, at)?;
        let mut kept = base;
        for i in base..self.stack.len() {
            if let Some(frame @ Frame::Register { .. }) = self.stack.get(i).copied() {
                if let Some(slot) = self.stack.get_mut(kept) {
                    *slot = frame;
                }
                kept += 1;
            }
        }
        self.stack.truncate(kept);
        Some(found)
    }

    /// Undoes what was done since the last choice, and takes its other way.
    fn come_back(
        &mut self,
        pattern: &Pattern,
        bytes: &[u8],
        base: usize,
    ) -> Option<(usize, usize)> {
        while self.stack.len() > base {
            match self.stack.pop()? {
                Frame::Try { step, at } => return Some((step, at)),
                Frame::Register { number, was } => self.set(number, was),
                Frame::Give { step, low, at } => {
                    let at = back(bytes, at, 1)?;
                    if at > low {
                        self.stack.push(Frame::Give { step, low, at });
                    }
                    return Some((step, at));
                }
                Frame::Take { step, at, left } => {
                    let Some(Step::Many { one, .. }) = pattern.steps.get(step) else { continue };
                    let Some(after) = self.take(bytes, at, one) else { continue };
                    if left > 1 {
                        self.stack.push(Frame::Take { step, at: after, left: left - 1 });
                    }
                    return Some((step + 1, after));
                }
            }
        }
        None
    }

    fn many(
        &mut self,
        bytes: &[u8],
        step: usize,
        at: usize,
        one: &One,
        (least, most, greed): (u32, u32, Greed),
    ) -> Option<(usize, usize)> {
        let mut low = at;
        for _ in 0..least {
            low = self.take(bytes, low, one)?;
        }
        let left = most.saturating_sub(least);
        if greed == Greed::Lazy {
            if left > 0 {
                self.stack.push(Frame::Take { step, at: low, left });
            }
            return Some((step + 1, low));
        }
        let mut high = low;
        for _ in 0..left {
            let Some(after) = self.take(bytes, high, one) else { break };
            high = after;
            self.left = self.left.saturating_sub(1);
        }
        if greed == Greed::Greedy && high > low {
            self.stack.push(Frame::Give { step: step + 1, low, at: high });
        }
        Some((step + 1, high))
    }

    #[inline]
    fn take(&mut self, bytes: &[u8], at: usize, one: &One) -> Option<usize> {
        let Some((c, after)) = char_at(bytes, at) else {
            self.seen = usize::MAX;
            return None;
        };
        self.seen = self.seen.max(after);
        one.is(c).then_some(after)
    }

    fn same(&mut self, bytes: &[u8], at: usize, group: usize, ignore_case: bool) -> Option<usize> {
        let range = self.group(group)?;
        let wanted = std::str::from_utf8(bytes.get(range)?).ok()?;
        let mut at = at;
        for c in wanted.chars() {
            let one = if ignore_case { One::Folded(fold(c)) } else { One::Char(c) };
            at = self.take(bytes, at, &one)?;
        }
        Some(at)
    }

    fn stands(&mut self, bytes: &[u8], at: usize, what: At, ascii: bool) -> bool {
        let before = |at| char_before(bytes, at);
        match what {
            At::Start => return at == 0,
            At::LineStart => return at == 0 || before(at) == Some('\n'),
            _ => {}
        }
        let here = char_at(bytes, at);
        self.seen = self.seen.max(here.map_or(usize::MAX, |(_, after)| after));
        match what {
            At::Start | At::LineStart => false,
            At::VeryEnd => here.is_none(),
            At::LineEnd => here.is_none_or(|(c, _)| c == '\n'),
            At::End => match here {
                None => true,
                Some(('\n', after)) => {
                    self.seen = usize::MAX;
                    after == bytes.len()
                }
                Some(_) => false,
            },
            At::Boundary | At::NoBoundary => {
                // In an empty text there is neither, says Python.
                if bytes.is_empty() {
                    return false;
                }
                let word = |c: char| is_word(c) && (!ascii || c.is_ascii());
                let border = before(at).is_some_and(word) != here.is_some_and(|(c, _)| word(c));
                border == (what == At::Boundary)
            }
        }
    }
}

impl One {
    #[inline]
    pub(super) fn is(&self, c: char) -> bool {
        match self {
            One::Char(wanted) => c == *wanted,
            One::Folded(wanted) => c == *wanted || fold(c) == *wanted,
            One::Set(set) => set.has(c),
            One::NotNewline => c != '\n',
            One::Anything => true,
        }
    }
}

fn is_word_byte(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// Whether a character begins at `at`, or the text ends there.
fn is_border(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_none_or(|byte| byte & 0xc0 != 0x80)
}

/// The character at `at` and where the next one begins. The bytes are known to be UTF-8.
#[inline]
fn char_at(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let first = *bytes.get(at)?;
    if first.is_ascii() {
        return Some((char::from(first), at + 1));
    }
    let mut after = at + 1;
    while !is_border(bytes, after) {
        after += 1;
    }
    let c = std::str::from_utf8(bytes.get(at..after)?).ok()?.chars().next()?;
    Some((c, after))
}

fn char_before(bytes: &[u8], at: usize) -> Option<char> {
    char_at(bytes, back(bytes, at, 1)?).map(|(c, _)| c)
}

/// The place `count` characters before `at`.
fn back(bytes: &[u8], at: usize, count: usize) -> Option<usize> {
    let mut at = at;
    for _ in 0..count {
        at = at.checked_sub(1)?;
        while !is_border(bytes, at) {
            at = at.checked_sub(1)?;
        }
    }
    Some(at)
}
