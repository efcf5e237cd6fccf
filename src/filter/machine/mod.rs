//! `Machine`: a small backtracking matcher for the usual line.
//!
//! The engines of `regex.rs` are built for any text; finding where groups lie costs them more than
//! a microsecond a line. Most lines are ASCII, most expressions are a row of words, runs and one
//! address, and for those a machine of this kind needs a tenth of that:
//!
//! ```text
//! Node ──compile.rs──► steps ──run.rs──► groups, "no", or "too long": ask the engine
//! ```
//!
//! It tries things in the very order in which Python's `re` does, so what it finds is what Python
//! finds. Where what follows a run cannot begin within the run, it never goes back into it. Its
//! steps are counted: a text that makes it go back and forth is handed to the engine, whose time
//! is bounded; so is every expression that it cannot express. `tests/patterns.rs` holds both ways
//! to the same answers.

mod bytes;
mod compile;
mod conditions;
mod head;
mod run;

use bytes::Table;

pub use bytes::Bytes;
pub use head::{Head, Recall};
pub use run::{Memory, Outcome};

use memchr::memmem;

/// One step.
#[derive(Clone, Debug)]
enum Step {
    /// This text.
    Text(Box<[u8]>),
    /// One byte of a set.
    One(Table),
    /// As many bytes of a set as there are; then, if the rest fails, fewer.
    Run(Run),
    /// As few bytes of a set as possible.
    Lazy(Run),
    /// Remembers the position.
    Save(usize),
    /// Two ways on, the first before the second.
    Split(Box<Split>),
    Jump(usize),
    At(super::syntax::Assert),
    /// On if the group took part, else elsewhere.
    Need {
        group: usize,
        otherwise: usize,
    },
    /// What the group holds, once more.
    Same(usize),
    /// The steps up to `end`, by themselves, taking nothing.
    Look {
        negative: bool,
        end: usize,
    },
    /// The steps up to `end`, whose first match is final.
    Atomic {
        end: usize,
    },
    /// An IPv4 address with nothing of a host's name behind it: as `<HOST>` would match it, at
    /// once. Otherwise, or if the rest fails and the address is not `alone` in its place, the
    /// steps behind this one, up to `end`, are the host in full.
    Address {
        group: usize,
        hostlike: Table,
        alone: bool,
        end: usize,
    },
    /// Nothing in ASCII matches here.
    Never,
    Done,
}

/// A repeated set.
#[derive(Clone, Debug)]
struct Run {
    set: Table,
    /// The set is all bytes but this one: found by a search.
    but: Option<u8>,
    min: usize,
    max: usize,
    /// What follows begins with one of these, if that is known.
    follow: Option<Table>,
    /// What follows cannot begin within the run: there is no way back into it.
    is_final: bool,
    /// The text that follows, if it is a text.
    text: Option<Word>,
}

/// A text and the byte of it that is searched for: the one that is likely to be the rarest.
#[derive(Clone, Debug)]
struct Word {
    text: Box<[u8]>,
    rare: u8,
    /// Where in the text that byte stands.
    offset: usize,
}

#[derive(Clone, Debug)]
struct Split {
    first: usize,
    second: usize,
    /// Bytes with which each way can begin, if that is known.
    first_set: Option<Table>,
    second_set: Option<Table>,
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Machine {
    steps: Vec<Step>,
    groups: usize,
    start: Start,
    /// With what an anchored match begins.
    first: Option<Bytes>,
    /// And what comes behind that.
    second: Option<Bytes>,
}

/// Where a match can begin.
#[derive(Clone, Debug)]
enum Start {
    /// Only at the beginning of the text.
    Anchored,
    /// Where this text stands.
    Text(Box<memmem::Finder<'static>>),
    /// At a byte of this set.
    Set(Table),
    Anywhere,
}
