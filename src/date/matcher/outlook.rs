//! What can be told of an expression without running it: where a match can begin, what every match
//! holds, whether its groups depend on what stands around it. A search skips by it what is hopeless.

use super::class::is_word;
use super::program::{One, single};
use super::tree::{At, Node};

/// A byte that every match holds, and what must stand next to it there.
#[derive(Clone, Debug)]
pub(super) struct Required {
    pub(super) byte: u8,
    before: Option<Box<[bool; 256]>>,
    after: Option<Box<[bool; 256]>>,
}

impl Required {
    /// Whether it stands anywhere in these bytes.
    pub(super) fn stands_in(&self, bytes: &[u8]) -> bool {
        memchr::memchr_iter(self.byte, bytes).any(|at| {
            let allows = |table: &Option<Box<[bool; 256]>>, place: Option<usize>| match table {
                None => true,
                // A byte is always a place in a table of 256.
                Some(table) => place
                    .and_then(|place| bytes.get(place))
                    .is_some_and(|byte| table[usize::from(*byte)]),
            };
            allows(&self.before, at.checked_sub(1)) && allows(&self.after, at.checked_add(1))
        })
    }
}

/// Whether every match of the node begins at the beginning of the text.
pub(super) fn begins_at_start(node: &Node) -> bool {
    match node {
        Node::At { at: At::Start, .. } => true,
        Node::Concat(items) => {
            for item in items {
                if begins_at_start(item) {
                    return true;
                }
                if !matches!(item, Node::At { .. } | Node::Look { .. } | Node::Empty) {
                    return false;
                }
            }
            false
        }
        Node::Either(branches) => branches.iter().all(begins_at_start),
        Node::Group { inner, .. } | Node::Atomic(inner) => begins_at_start(inner),
        Node::Repeat { inner, least, .. } => *least > 0 && begins_at_start(inner),
        _ => false,
    }
}

/// Whether the expression begins with `(?=^|\b|\W)`, or what means the same: where a character of
/// a word comes next, no such character may stand before.
pub(super) fn begins_at_word(node: &Node) -> bool {
    let Node::Concat(items) = node else { return false };
    let Some(Node::Look { inner, behind: None, negated: false }) = items.first() else {
        return false;
    };
    let Node::Either(branches) = inner.as_ref() else { return false };
    branches.iter().all(|branch| match branch {
        Node::At { at, .. } => matches!(at, At::Start | At::Boundary),
        Node::Set(set) => (0..128u8).map(char::from).all(|c| !(set.has(c) && is_word(c))),
        _ => false,
    })
}

/// Which end of a node is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Edge {
    First,
    Last,
}

/// Collects the bytes with which the node can begin; `true` if it may take nothing.
pub(super) fn first_bytes(node: &Node, bytes: &mut [bool; 256]) -> bool {
    edge_bytes(node, Edge::First, bytes)
}

/// Collects the bytes with which the node can begin or end; `true` if it may take nothing.
fn edge_bytes(node: &Node, edge: Edge, bytes: &mut [bool; 256]) -> bool {
    let mut allow = |one: &One| {
        for (byte, allowed) in bytes.iter_mut().enumerate() {
            let Ok(byte) = u8::try_from(byte) else { continue };
            *allowed |= match one {
                _ if byte.is_ascii() => one.is(char::from(byte)),
                One::Char(c) => !c.is_ascii(),
                One::Set(set) => set.may_hold_beyond_ascii(),
                One::Folded(_) | One::NotNewline | One::Anything => true,
            };
        }
    };
    if let Some(one) = single(node) {
        allow(&one);
        return false;
    }
    match node {
        Node::Char { .. } | Node::Set(_) | Node::Any { .. } => false,
        Node::Empty | Node::At { .. } | Node::Look { .. } => true,
        Node::Group { inner, .. } | Node::Atomic(inner) => edge_bytes(inner, edge, bytes),
        Node::Concat(items) if edge == Edge::First => {
            items.iter().all(|item| edge_bytes(item, edge, bytes))
        }
        Node::Concat(items) => items.iter().rev().all(|item| edge_bytes(item, edge, bytes)),
        // Every branch must be looked at, so no lazy `any`.
        Node::Either(branches) => {
            let empty: Vec<bool> =
                branches.iter().map(|branch| edge_bytes(branch, edge, bytes)).collect();
            empty.contains(&true)
        }
        Node::Repeat { most: Some(0), .. } => true,
        Node::Repeat { inner, least, .. } => edge_bytes(inner, edge, bytes) || *least == 0,
        Node::Same { .. } => {
            allow(&One::Anything);
            true
        }
        Node::If { yes, no, .. } => {
            let empty = edge_bytes(yes, edge, bytes);
            edge_bytes(no, edge, bytes) || empty
        }
    }
}

/// A byte that every match holds, with its neighbours; one that is rare in log lines, if there is a
/// choice.
pub(super) fn required(node: &Node) -> Option<Required> {
    let rarity = |found: &Required| {
        let neighbours = usize::from(found.before.is_some()) + usize::from(found.after.is_some());
        let kind = match found.byte {
            b' ' => 0,
            byte if byte.is_ascii_alphanumeric() => 1,
            _ => 2,
        };
        (neighbours, kind)
    };
    match node {
        Node::Char { c, ignore_case } if c.is_ascii() => {
            let caseless = !*ignore_case || !c.is_ascii_alphabetic();
            caseless.then_some(Required { byte: *c as u8, before: None, after: None })
        }
        Node::Group { inner, .. } | Node::Atomic(inner) => required(inner),
        Node::Repeat { inner, least, .. } if *least > 0 => required(inner),
        Node::Concat(items) => (0..items.len())
            .filter_map(|i| {
                let mut found = required(items.get(i)?)?;
                if matches!(items.get(i), Some(Node::Char { .. })) {
                    let before = i.checked_sub(1).and_then(|i| items.get(i));
                    found.before = neighbour(before, Edge::Last);
                    found.after = neighbour(items.get(i + 1), Edge::First);
                }
                Some(found)
            })
            .max_by_key(rarity),
        _ => None,
    }
}

/// The bytes that can stand next to a character, where something must.
fn neighbour(node: Option<&Node>, edge: Edge) -> Option<Box<[bool; 256]>> {
    let mut bytes = Box::new([false; 256]);
    (!edge_bytes(node?, edge, &mut bytes)).then_some(bytes)
}

/// See [`Pattern::plain`]. `edge` is set where nothing takes a character on one side.
pub(super) fn is_plain(node: &Node, edge: bool) -> bool {
    match node {
        Node::At { .. } => edge,
        Node::Look { inner, .. } => edge && !captures(inner),
        Node::Same { .. } => true,
        Node::If { .. } => false,
        Node::Empty | Node::Char { .. } | Node::Set(_) | Node::Any { .. } => true,
        Node::Group { inner, .. } | Node::Atomic(inner) => is_plain(inner, false),
        Node::Repeat { inner, .. } => is_plain(inner, false),
        Node::Either(branches) => branches.iter().all(|branch| is_plain(branch, false)),
        Node::Concat(items) => {
            let takes = |item: &Node| !matches!(item, Node::At { .. } | Node::Look { .. });
            let first = items.iter().position(takes).unwrap_or(items.len());
            let last = items.iter().rposition(takes).unwrap_or(0);
            items
                .iter()
                .enumerate()
                .all(|(i, item)| is_plain(item, edge && (i < first || i > last)))
        }
    }
}

fn captures(node: &Node) -> bool {
    match node {
        Node::Group { number: Some(_), .. } => true,
        Node::Group { inner, .. } | Node::Atomic(inner) => captures(inner),
        Node::Repeat { inner, .. } | Node::Look { inner, .. } => captures(inner),
        Node::Concat(items) | Node::Either(items) => items.iter().any(captures),
        Node::If { yes, no, .. } => captures(yes) || captures(no),
        _ => false,
    }
}
