//! The nodes of an expression that was read: what `syntax.rs` makes of a text.

use std::sync::Arc;

/// A piece of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Matches the empty text.
    Empty,
    /// One character, as it is.
    Char(char),
    /// `.`
    Any {
        /// It takes a newline, too (`(?s)`).
        newline: bool,
    },
    /// `[…]`, `\d` and their kin.
    Class(Class),
    /// A condition on the position.
    Assert(Assert),
    /// `(…)` that is remembered.
    Capture {
        /// Its number, from 1.
        index: usize,
        /// Its name, if it has one.
        name: Option<Arc<str>>,
        /// What is remembered.
        node: Box<Node>,
    },
    /// `(?i:…)`: the inside ignores the case of letters.
    IgnoreCase(Box<Node>),
    /// Look-around: what stands ahead or behind, without taking it.
    Look {
        /// Ahead or behind.
        ahead: bool,
        /// It must not stand there.
        negative: bool,
        /// What is looked for.
        node: Box<Node>,
    },
    /// `(?>…)`.
    Atomic(Box<Node>),
    /// `\1`, `(?P=name)`.
    BackReference(usize),
    /// `(?(group)yes|no)`.
    Conditional {
        /// Number of the group that is asked for.
        group: usize,
        /// If it took part.
        yes: Box<Node>,
        /// If it did not.
        no: Box<Node>,
    },
    /// One after the other.
    Concat(Vec<Node>),
    /// The first that leads to a match.
    Alternate(Vec<Node>),
    /// `*`, `+`, `?`, `{m,n}`.
    Repeat {
        /// At least so often.
        min: u32,
        /// At most so often; `None` is without end.
        max: Option<u32>,
        /// Which of the possible counts is tried first.
        mode: Repetition,
        /// What is repeated.
        node: Box<Node>,
    },
    /// The expansion of `<HOST>` (`names`) or `<ADDR>`, known as a whole.
    Host {
        /// It takes names, too.
        names: bool,
        /// The expansion.
        node: Box<Node>,
    },
}

/// How a repetition chooses among counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Repetition {
    /// As many as possible, fewer if need be.
    Greedy,
    /// As few as possible.
    Lazy,
    /// As many as possible, and never fewer.
    Possessive,
}

/// A condition on the position.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Assert {
    /// `\A`, or `^` outside of multi-line mode.
    TextStart,
    /// `\Z`.
    TextEnd,
    /// `$` outside of multi-line mode: the end, or before a newline at the end.
    TextEndNewline,
    /// `^` in multi-line mode.
    LineStart,
    /// `$` in multi-line mode.
    LineEnd,
    /// `\b`.
    Word,
    /// `\B`.
    NotWord,
}

/// A set of characters.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// True for `[^…]`.
    pub negated: bool,
    /// What is in it.
    pub items: Vec<ClassItem>,
}

/// One member of a class.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClassItem {
    /// First to last, both included.
    Range(char, char),
    /// `\d` and so on.
    Set(Set),
}

/// The classes with a letter of their own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Set {
    /// `\d`
    Digit,
    /// `\D`
    NotDigit,
    /// `\s`
    Space,
    /// `\S`
    NotSpace,
    /// `\w`
    Word,
    /// `\W`
    NotWord,
}
