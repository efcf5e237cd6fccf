//! Conditions that can be settled beforehand.
//!
//! `(?P<known>…)?A(?(known)B|C)` is tried as `(?P<known>…)AB`, then as `AC`: which way the
//! condition goes is known from the way taken before it. Written so, each way shows what follows
//! what, and fails where it has to instead of at its end. The order of tries stays the same, and so
//! do the groups, which may now stand in the tree more than once.

use crate::filter::syntax::{Node, Repetition};

/// Conditions settled in one expression: each doubles what stands behind it.
const SETTLED_MAX: u32 = 4;

/// The same expression with its conditions settled, as far as that goes.
pub fn resolved(node: &Node) -> Node {
    let mut left = SETTLED_MAX;
    settle(node, &mut left)
}

fn settle(node: &Node, left: &mut u32) -> Node {
    let Node::Concat(items) = node else { return node.clone() };
    for (index, item) in items.iter().enumerate() {
        let rest = items.get(index + 1..).unwrap_or_default();
        let ways =
            ways(item).filter(|(group, _)| *left > 0 && rest.iter().any(|n| asks(n, *group)));
        let Some((group, ways)) = ways else { continue };
        *left -= 1;
        let branches = ways.into_iter().map(|(taken, way)| {
            let rest = rest.iter().map(|node| assume(node, group, taken)).collect();
            let mut branch = way.into_iter().collect::<Vec<Node>>();
            match settle(&Node::Concat(rest), left) {
                Node::Concat(rest) => branch.extend(rest),
                other => branch.push(other),
            }
            Node::Concat(branch)
        });
        let branches = branches.collect();
        let mut all = items.get(..index).unwrap_or_default().to_vec();
        all.push(Node::Alternate(branches));
        return Node::Concat(all);
    }
    node.clone()
}

/// An item that either captures a group or does not: the group, and its ways in order, with
/// whether the group takes part.
#[allow(clippy::type_complexity)]
fn ways(item: &Node) -> Option<(usize, Vec<(bool, Option<Node>)>)> {
    match item {
        Node::Repeat { min: 0, max: Some(1), mode, node } => {
            let group = captured(node)?;
            let with = (true, Some((**node).clone()));
            let without = (false, None);
            match mode {
                Repetition::Greedy => Some((group, vec![with, without])),
                Repetition::Lazy => Some((group, vec![without, with])),
                Repetition::Possessive => None,
            }
        }
        Node::Alternate(branches) => {
            let group = branches.iter().find_map(captured)?;
            let way = |branch: &Node| (captured(branch) == Some(group), Some(branch.clone()));
            Some((group, branches.iter().map(way).collect()))
        }
        Node::Capture { index, name, node } => {
            let (group, inner) = ways(node)?;
            let around = |way: Option<Node>| Node::Capture {
                index: *index,
                name: name.clone(),
                node: Box::new(way.unwrap_or(Node::Empty)),
            };
            let ways = inner.into_iter().map(|(taken, way)| (taken, Some(around(way))));
            Some((group, ways.collect()))
        }
        _ => None,
    }
}

/// The group that every match of `node` captures, if it is one of its own.
fn captured(node: &Node) -> Option<usize> {
    match node {
        Node::Capture { index, .. } => Some(*index),
        Node::Concat(items) => items.iter().find_map(captured),
        _ => None,
    }
}

/// True if there is a condition on `group` in `node`.
fn asks(node: &Node, wanted: usize) -> bool {
    match node {
        Node::Conditional { group, yes, no } => {
            *group == wanted || asks(yes, wanted) || asks(no, wanted)
        }
        Node::Capture { node, .. }
        | Node::IgnoreCase(node)
        | Node::Atomic(node)
        | Node::Look { node, .. }
        | Node::Host { node, .. }
        | Node::Repeat { node, .. } => asks(node, wanted),
        Node::Concat(items) | Node::Alternate(items) => items.iter().any(|n| asks(n, wanted)),
        _ => false,
    }
}

/// The node where it is known whether `wanted` took part.
fn assume(node: &Node, wanted: usize, taken: bool) -> Node {
    let inside = |node: &Node| Box::new(assume(node, wanted, taken));
    let all = |items: &[Node]| items.iter().map(|n| assume(n, wanted, taken)).collect();
    match node {
        Node::Conditional { group, yes, no } if *group == wanted => {
            assume(if taken { yes } else { no }, wanted, taken)
        }
        Node::Conditional { group, yes, no } => {
            Node::Conditional { group: *group, yes: inside(yes), no: inside(no) }
        }
        Node::Capture { index, name, node } => {
            Node::Capture { index: *index, name: name.clone(), node: inside(node) }
        }
        Node::IgnoreCase(node) => Node::IgnoreCase(inside(node)),
        Node::Atomic(node) => Node::Atomic(inside(node)),
        Node::Look { ahead, negative, node } => {
            Node::Look { ahead: *ahead, negative: *negative, node: inside(node) }
        }
        Node::Repeat { min, max, mode, node } => {
            Node::Repeat { min: *min, max: *max, mode: *mode, node: inside(node) }
        }
        Node::Concat(items) => Node::Concat(all(items)),
        Node::Alternate(items) => Node::Alternate(all(items)),
        other => other.clone(),
    }
}

/// True if a reference or condition asks for a group of a host: then it matters which of its forms
/// was taken.
pub fn refers_to_host(node: &Node) -> bool {
    let mut of_hosts = Vec::new();
    collect(node, false, &mut of_hosts);
    of_hosts.iter().any(|group| asks(node, *group) || repeats(node, *group))
}

/// The groups that stand in hosts.
fn collect(node: &Node, in_host: bool, out: &mut Vec<usize>) {
    match node {
        Node::Host { node, .. } => collect(node, true, out),
        Node::Capture { index, node, .. } => {
            if in_host {
                out.push(*index);
            }
            collect(node, in_host, out);
        }
        Node::IgnoreCase(node)
        | Node::Atomic(node)
        | Node::Look { node, .. }
        | Node::Repeat { node, .. } => collect(node, in_host, out),
        Node::Conditional { yes, no, .. } => {
            collect(yes, in_host, out);
            collect(no, in_host, out);
        }
        Node::Concat(items) | Node::Alternate(items) => {
            items.iter().for_each(|item| collect(item, in_host, out));
        }
        _ => {}
    }
}

/// True if `wanted` is referred back to.
fn repeats(node: &Node, wanted: usize) -> bool {
    match node {
        Node::BackReference(group) => *group == wanted,
        Node::Capture { node, .. }
        | Node::IgnoreCase(node)
        | Node::Atomic(node)
        | Node::Look { node, .. }
        | Node::Host { node, .. }
        | Node::Repeat { node, .. } => repeats(node, wanted),
        Node::Conditional { yes, no, .. } => repeats(yes, wanted) || repeats(no, wanted),
        Node::Concat(items) | Node::Alternate(items) => items.iter().any(|n| repeats(n, wanted)),
        _ => false,
    }
}
