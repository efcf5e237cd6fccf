//! Runs the steps over a text.

use std::ops::Range;

use memchr::{memchr, memrchr};

use super::{Machine, Run, Split, Start, Step, Word, bytes::Table};
use crate::filter::syntax::Assert;

/// Steps for one text. An honest line takes about a hundred.
const STEPS_MAX: u32 = 4_000;

const UNSET: usize = usize::MAX;

/// What came of a search.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Found; the groups are in the memory.
    Found,
    /// Not to be found.
    Nowhere,
    /// Too many steps: another engine has to tell.
    Unknown,
}

/// What a search needs, kept from line to line. After a search it holds the groups.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub(super) slots: Vec<usize>,
    stack: Vec<Frame>,
    steps: u32,
    /// No byte from here on was looked at, if no step was of the kinds that look elsewhere.
    pub(super) seen: usize,
}

/// What to undo, and where to go on.
#[derive(Clone, Copy, Debug)]
enum Frame {
    Try {
        step: usize,
        at: usize,
    },
    Slot {
        slot: usize,
        was: usize,
    },
    /// The run before `step` may end earlier: at `low` or behind it, before `at`.
    Fewer {
        step: usize,
        low: usize,
        at: usize,
    },
    /// The lazy run at `step` may go on behind `at`, up to `high`.
    More {
        step: usize,
        at: usize,
        high: usize,
    },
}

impl Memory {
    /// Where group `number` of the last match is; 0 is the whole.
    pub fn group(&self, number: usize) -> Option<Range<usize>> {
        let from = self.slots.get(2 * number).copied().filter(|at| *at != UNSET)?;
        let to = self.slots.get(2 * number + 1).copied().filter(|at| *at != UNSET)?;
        Some(from..to)
    }

    /// Steps of the last search.
    pub fn used(&self) -> u32 {
        STEPS_MAX - self.steps
    }

    fn set(&mut self, slot: usize, at: usize) {
        if let Some(place) = self.slots.get_mut(slot) {
            let was = std::mem::replace(place, at);
            // With nothing to go back to, nothing will ask for the old value.
            if !self.stack.is_empty() {
                self.stack.push(Frame::Slot { slot, was });
            }
        }
    }
}

impl Machine {
    /// Looks for the expression in `text`, which has to be ASCII.
    pub fn search(&self, text: &[u8], memory: &mut Memory) -> Outcome {
        memory.steps = STEPS_MAX;
        memory.seen = 0;
        let mut at = 0;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let skip = match &self.start {
                Start::Anchored | Start::Anywhere => Some(0),
                Start::Text(finder) => finder.find(rest),
                Start::Set(set) => rest.iter().position(|byte| set.has(*byte)),
            };
            let Some(skip) = skip else { return Outcome::Nowhere };
            at += skip;
            memory.slots.clear();
            memory.slots.resize(2 * self.groups, UNSET);
            memory.stack.clear();
            match self.run(0, at, text, memory) {
                Ok(Some(end)) => {
                    if let [from, to, ..] = memory.slots.as_mut_slice() {
                        (*from, *to) = (at, end);
                    }
                    return Outcome::Found;
                }
                Ok(None) => {}
                Err(TooLong) => return Outcome::Unknown,
            }
            if matches!(self.start, Start::Anchored) || at >= text.len() {
                return Outcome::Nowhere;
            }
            at += 1;
        }
    }

    /// The end of the first match of the steps from `step` on, at `at`.
    fn run(
        &self,
        mut step: usize,
        mut at: usize,
        text: &[u8],
        memory: &mut Memory,
    ) -> Result<Option<usize>, TooLong> {
        let base = memory.stack.len();
        loop {
            memory.steps = memory.steps.checked_sub(1).ok_or(TooLong)?;
            let Some(now) = self.steps.get(step) else { return Ok(None) };
            let next = match now {
                Step::Text(word) => stands_at(word, text, at).then(|| (step + 1, at + word.len())),
                Step::One(set) => {
                    let there = text.get(at).is_some_and(|byte| set.has(*byte));
                    there.then_some((step + 1, at + 1))
                }
                Step::Run(run) => greedy(run, step, at, text, memory),
                Step::Lazy(run) => lazy(run, step, at, text, memory),
                Step::Save(slot) => {
                    memory.set(*slot, at);
                    Some((step + 1, at))
                }
                Step::Split(split) => choose(split, at, text, memory),
                Step::Jump(target) => Some((*target, at)),
                Step::At(assert) => holds(*assert, at, text).then_some((step + 1, at)),
                Step::Need { group, otherwise } => {
                    let there = memory.group(*group).is_some();
                    Some((if there { step + 1 } else { *otherwise }, at))
                }
                Step::Same(group) => memory.group(*group).and_then(|range| {
                    let word = text.get(range)?;
                    text.get(at..)?.starts_with(word).then_some((step + 1, at + word.len()))
                }),
                Step::Look { negative, end } => {
                    let found = self.aside(step + 1, at, text, memory, *negative)?;
                    (found.is_some() != *negative).then_some((*end, at))
                }
                Step::Atomic { end } => {
                    self.aside(step + 1, at, text, memory, false)?.map(|to| (*end, to))
                }
                Step::Address { group, hostlike, alone, end } => {
                    match address(text, at, hostlike) {
                        Some(to) => {
                            // The long way begins with the same address and goes on with others.
                            if !alone {
                                memory.stack.push(Frame::Try { step: step + 1, at });
                            }
                            memory.set(2 * group, at);
                            memory.set(2 * group + 1, to);
                            Some((*end, to))
                        }
                        None => Some((step + 1, at)),
                    }
                }
                Step::Never => None,
                Step::Done => {
                    memory.seen = memory.seen.max(at + 1);
                    return Ok(Some(at));
                }
            };
            match next {
                Some(place) => (step, at) = place,
                None => {
                    memory.seen = memory.seen.max(at.saturating_add(now.reach(at, text)));
                    match self.back(base, text, memory)? {
                        Some(place) => (step, at) = place,
                        None => return Ok(None),
                    }
                }
            }
        }
    }

    /// Runs steps by themselves. Their choices are dropped; what they captured stays, unless
    /// `undo` says otherwise.
    fn aside(
        &self,
        step: usize,
        at: usize,
        text: &[u8],
        memory: &mut Memory,
        undo: bool,
    ) -> Result<Option<usize>, TooLong> {
        // A frame at the bottom makes sure that captures can be undone.
        let base = memory.stack.len();
        memory.stack.push(Frame::Slot { slot: UNSET, was: UNSET });
        let found = self.run(step, at, text, memory)?;
        if undo || found.is_none() {
            while memory.stack.len() > base {
                if let Some(Frame::Slot { slot, was }) = memory.stack.pop()
                    && let Some(place) = memory.slots.get_mut(slot)
                {
                    *place = was;
                }
            }
        } else {
            let mut kept = base;
            for index in base..memory.stack.len() {
                if let Some(frame @ Frame::Slot { .. }) = memory.stack.get(index).copied()
                    && let Some(place) = memory.stack.get_mut(kept)
                {
                    *place = frame;
                    kept += 1;
                }
            }
            memory.stack.truncate(kept);
        }
        Ok(found)
    }

    /// Takes back what was done since the last choice, and gives the other way.
    fn back(
        &self,
        base: usize,
        text: &[u8],
        memory: &mut Memory,
    ) -> Result<Option<(usize, usize)>, TooLong> {
        while memory.stack.len() > base {
            memory.steps = memory.steps.checked_sub(1).ok_or(TooLong)?;
            match memory.stack.pop() {
                None => break,
                Some(Frame::Try { step, at }) => return Ok(Some((step, at))),
                Some(Frame::Slot { slot, was }) => {
                    if let Some(place) = memory.slots.get_mut(slot) {
                        *place = was;
                    }
                }
                Some(Frame::Fewer { step, low, at }) => {
                    let Some(Step::Run(run)) = self.steps.get(step) else { continue };
                    if let Some(at) = end_before(run, low, at, text) {
                        if at > low {
                            memory.stack.push(Frame::Fewer { step, low, at });
                        }
                        return Ok(Some((step + 1, at)));
                    }
                }
                Some(Frame::More { step, at, high }) => {
                    let Some(Step::Lazy(run)) = self.steps.get(step) else { continue };
                    if let Some(place) = lengthen(run, step, at, high, text, memory) {
                        return Ok(Some(place));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// The step budget is used up.
struct TooLong;

impl Step {
    /// How many bytes the step may have looked at where it failed.
    fn reach(&self, at: usize, text: &[u8]) -> usize {
        match self {
            Step::Text(word) if text.get(at) == word.first() => word.len(),
            Step::Run(run) | Step::Lazy(run) => run.min.saturating_add(1),
            _ => 1,
        }
    }
}

impl Run {
    /// What was looked at where the run goes up to `high`: the byte that ended it, and the text
    /// that may stand there.
    fn seen_from(&self, high: usize) -> usize {
        high + 1 + self.text.as_ref().map_or(0, |word| word.text.len())
    }
}

impl Word {
    fn is_at(&self, text: &[u8], at: usize) -> bool {
        stands_at(&self.text, text, at)
    }
}

/// True if `word` stands there. Most of the time, its first byte says no.
#[inline(always)]
fn stands_at(word: &[u8], text: &[u8], at: usize) -> bool {
    text.get(at) == word.first() && text.get(at..).is_some_and(|rest| rest.starts_with(word))
}

/// How far the run's set goes from `at`, at most `max` bytes.
fn reach(run: &Run, at: usize, text: &[u8]) -> usize {
    let end = text.len().min(at.saturating_add(run.max));
    let rest = text.get(at..end).unwrap_or_default();
    let length = match run.but {
        Some(byte) => memchr(byte, rest),
        None => rest.iter().position(|byte| !run.set.has(*byte)),
    };
    at + length.unwrap_or(rest.len())
}

fn greedy(
    run: &Run,
    step: usize,
    at: usize,
    text: &[u8],
    memory: &mut Memory,
) -> Option<(usize, usize)> {
    let high = reach(run, at, text);
    let low = at + run.min;
    if high < low {
        return None;
    }
    if run.is_final {
        return Some((step + 1, high));
    }
    memory.seen = memory.seen.max(run.seen_from(high));
    let end = end_before(run, low, high + 1, text)?;
    if end > low {
        memory.stack.push(Frame::Fewer { step, low, at: end });
    }
    Some((step + 1, end))
}

/// The last place from `low` on and before `before` at which what follows can begin.
fn end_before(run: &Run, low: usize, before: usize, text: &[u8]) -> Option<usize> {
    if let Some(word) = &run.text {
        let mut before = before;
        loop {
            // Only the rare byte is searched for; then the word is looked at in full.
            let window = text.get(low + word.offset..(before + word.offset).min(text.len()))?;
            let at = low + memrchr(word.rare, window)?;
            if word.is_at(text, at) {
                return Some(at);
            }
            before = at;
        }
    }
    let Some(follow) = &run.follow else { return before.checked_sub(1).filter(|at| *at >= low) };
    // The end of the text is never ruled out: `$` holds there.
    (low..before).rev().find(|at| text.get(*at).is_none_or(|byte| follow.has(*byte)))
}

fn lazy(
    run: &Run,
    step: usize,
    at: usize,
    text: &[u8],
    memory: &mut Memory,
) -> Option<(usize, usize)> {
    let least = text.get(at..at.checked_add(run.min)?)?;
    if !least.iter().all(|byte| run.set.has(*byte)) {
        return None;
    }
    let high = reach(run, at, text);
    memory.seen = memory.seen.max(run.seen_from(high));
    lengthen(run, step, at + run.min, high, text, memory)
}

/// The first place from `from` to `high` at which what follows can begin.
fn lengthen(
    run: &Run,
    step: usize,
    from: usize,
    high: usize,
    text: &[u8],
    memory: &mut Memory,
) -> Option<(usize, usize)> {
    let end = match (&run.text, &run.follow) {
        (Some(word), _) => {
            let mut at = from;
            loop {
                if at > high {
                    return None;
                }
                let window = at + word.offset..(high + 1 + word.offset).min(text.len());
                at += memchr(word.rare, text.get(window)?)?;
                if word.is_at(text, at) {
                    break at;
                }
                at += 1;
            }
        }
        (None, Some(follow)) => {
            (from..=high).find(|at| text.get(*at).is_none_or(|byte| follow.has(*byte)))?
        }
        (None, None) => (from <= high).then_some(from)?,
    };
    if end < high {
        memory.stack.push(Frame::More { step, at: end + 1, high });
    }
    Some((step + 1, end))
}

/// Takes the first way; notes the second only if the next byte allows both.
fn choose(split: &Split, at: usize, text: &[u8], memory: &mut Memory) -> Option<(usize, usize)> {
    let Some(byte) = text.get(at).copied() else {
        memory.stack.push(Frame::Try { step: split.second, at });
        return Some((split.first, at));
    };
    let first = split.first_set.as_ref().is_none_or(|set| set.has(byte));
    let second = split.second_set.as_ref().is_none_or(|set| set.has(byte));
    match (first, second) {
        (true, true) => {
            memory.stack.push(Frame::Try { step: split.second, at });
            Some((split.first, at))
        }
        (true, false) => Some((split.first, at)),
        (false, true) => Some((split.second, at)),
        (false, false) => None,
    }
}

fn holds(assert: Assert, at: usize, text: &[u8]) -> bool {
    let is_word = |at: Option<usize>| {
        let byte = at.and_then(|at| text.get(at));
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    };
    let boundary = || is_word(at.checked_sub(1)) != is_word(Some(at));
    match assert {
        Assert::TextStart => at == 0,
        Assert::TextEnd => at == text.len(),
        Assert::TextEndNewline => {
            at == text.len() || (at + 1 == text.len() && text.last() == Some(&b'\n'))
        }
        Assert::LineStart => at == 0 || text.get(at - 1) == Some(&b'\n'),
        Assert::LineEnd => at == text.len() || text.get(at) == Some(&b'\n'),
        Assert::Word => boundary(),
        Assert::NotWord => !boundary(),
    }
}

/// The end of four groups of one to three digits at `at`, if nothing of a host stands behind.
fn address(text: &[u8], at: usize, hostlike: &Table) -> Option<usize> {
    let mut at = at;
    for part in 0..4 {
        if part > 0 {
            if text.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
        let rest = text.get(at..)?;
        let digits = rest.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=3).contains(&digits) {
            return None;
        }
        at += digits;
    }
    text.get(at).is_none_or(|byte| !hostlike.has(*byte)).then_some(at)
}
