//! The tree of an expression.

use super::class::Set;

/// A place between characters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum At {
    /// `^` and `\A`: the beginning of the text.
    Start,
    /// `^` with the flag `m`.
    LineStart,
    /// `$`: the end, or before a newline that is the last character.
    End,
    /// `$` with the flag `m`.
    LineEnd,
    /// `\Z`: the very end.
    VeryEnd,
    /// `\b`.
    Boundary,
    /// `\B`.
    NoBoundary,
}

/// How eagerly a repeat takes what it can.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Greed {
    Greedy,
    Lazy,
    Possessive,
}

/// A piece of an expression.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Empty,
    Char { c: char, ignore_case: bool },
    Set(Set),
    Any { newline: bool },
    At { at: At, ascii: bool },
    Group { number: Option<usize>, inner: Box<Node> },
    Concat(Vec<Node>),
    Either(Vec<Node>),
    Repeat { inner: Box<Node>, least: u32, most: Option<u32>, greed: Greed },
    Look { inner: Box<Node>, behind: Option<usize>, negated: bool },
    Atomic(Box<Node>),
    Same { group: usize, ignore_case: bool },
    If { group: usize, yes: Box<Node>, no: Box<Node> },
}

/// How many characters the node takes, if that is always the same number.
pub(super) fn width(node: &Node) -> Option<usize> {
    match node {
        Node::Empty | Node::At { .. } | Node::Look { .. } => Some(0),
        Node::Char { .. } | Node::Set(_) | Node::Any { .. } => Some(1),
        Node::Group { inner, .. } | Node::Atomic(inner) => width(inner),
        Node::Concat(items) => items.iter().map(width).sum(),
        Node::Either(branches) => {
            let mut widths = branches.iter().map(width);
            let first = widths.next()??;
            widths.all(|other| other == Some(first)).then_some(first)
        }
        Node::Repeat { inner, least, most, .. } => {
            (Some(*least) == *most).then_some(())?;
            Some(width(inner)? * *least as usize)
        }
        Node::If { yes, no, .. } => {
            let first = width(yes)?;
            (width(no)? == first).then_some(first)
        }
        Node::Same { .. } => None,
    }
}
