//! The fixed text that a line must hold before any engine is asked.
//!
//! Nearly every failregex has some: a program's name, `Failed password for`. Blocks of a log are
//! searched for it at many gigabytes a second, and only the lines around a hit are looked at. What
//! is found here must be *required*: every text that the expression matches holds at least one
//! member of the set.

use super::syntax::{ClassItem, Node};

/// Shorter literals occur nearly everywhere and would only slow the search down.
const LENGTH_MIN: usize = 3;
/// Up to this length a text is searched for by the vector unit alone; a part of a required text is
/// required, too.
const LENGTH_MAX: usize = 30;
/// Alternatives beyond this number make a poor gate.
const ALTERNATIVES_MAX: usize = 32;

/// A set of texts of which every match holds at least one; never empty, none of them short.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Required(pub Vec<Vec<u8>>);

impl Required {
    /// True if `text` holds one of them.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.iter().any(|one| memchr::memmem::find(text.as_bytes(), one).is_some())
    }
}

/// The best set that `node` requires, or none.
pub fn required(node: &Node) -> Option<Required> {
    let mut found = best_of(node)?;
    found.iter_mut().for_each(|text| text.truncate(LENGTH_MAX));
    (shortest(&found) >= LENGTH_MIN).then_some(Required(found))
}

fn shortest(set: &[Vec<u8>]) -> usize {
    set.iter().map(Vec::len).min().unwrap_or(0)
}

/// Longer is better; of equally long sets, the one with fewer members.
fn better(one: Option<Vec<Vec<u8>>>, other: Option<Vec<Vec<u8>>>) -> Option<Vec<Vec<u8>>> {
    match (one, other) {
        (Some(one), Some(other)) => {
            let worth = |set: &[Vec<u8>]| (shortest(set).min(40), usize::MAX - set.len());
            Some(if worth(&other) > worth(&one) { other } else { one })
        }
        (one, other) => one.or(other),
    }
}

fn best_of(node: &Node) -> Option<Vec<Vec<u8>>> {
    match node {
        Node::Char(_) | Node::Class(_) | Node::Concat(_) => best_of_sequence(node),
        Node::Capture { node, .. } | Node::Atomic(node) | Node::Host { node, .. } => best_of(node),
        Node::Repeat { min, node, .. } if *min >= 1 => best_of(node),
        Node::Alternate(branches) => {
            let mut all = Vec::new();
            for branch in branches {
                all.extend(best_of(branch)?);
            }
            all.sort();
            all.dedup();
            (all.len() <= ALTERNATIVES_MAX).then_some(all)
        }
        Node::Conditional { yes, no, .. } => {
            let mut all = best_of(yes)?;
            all.extend(best_of(no)?);
            Some(all)
        }
        // Case-blind text is not searched for: the block search is exact.
        _ => None,
    }
}

/// Joins neighbouring characters of a sequence into runs, and takes the best run or part.
fn best_of_sequence(node: &Node) -> Option<Vec<Vec<u8>>> {
    let mut flat = Vec::new();
    flatten(node, &mut flat);
    let mut best = None;
    let mut run: Vec<u8> = Vec::new();
    for item in flat {
        match single_char(item) {
            Some(c) => run.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            None => {
                if !run.is_empty() {
                    best = better(best, Some(vec![std::mem::take(&mut run)]));
                }
                if !matches!(item, Node::Class(_) | Node::Char(_)) {
                    best = better(best, best_of(item));
                }
            }
        }
    }
    if !run.is_empty() {
        best = better(best, Some(vec![run]));
    }
    best
}

/// `x`, and `[x]`, which people write for a literal bracket. Two characters are in the text that
/// expressions see but need not be in the file: the newline (behind its last line) and U+FFFD
/// (for bytes that are no UTF-8).
fn single_char(node: &Node) -> Option<char> {
    let single = match node {
        Node::Char(c) => Some(*c),
        Node::Class(class) if !class.negated => match class.items.as_slice() {
            [ClassItem::Range(low, high)] if low == high => Some(*low),
            _ => None,
        },
        _ => None,
    };
    single.filter(|c| !matches!(*c, '\n' | char::REPLACEMENT_CHARACTER))
}

fn flatten<'a>(node: &'a Node, out: &mut Vec<&'a Node>) {
    match node {
        Node::Concat(items) => items.iter().for_each(|item| flatten(item, out)),
        Node::Capture { node, .. } | Node::Atomic(node) => flatten(node, out),
        // Takes no characters, so runs go on across it.
        Node::Empty | Node::Assert(_) | Node::Look { .. } => {}
        other => out.push(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::syntax::parse;

    fn texts(expression: &str) -> Vec<String> {
        let node = parse(expression, false, &[]).unwrap().node;
        let found = required(&node).map_or(vec![], |set| set.0);
        found.into_iter().map(|text| String::from_utf8(text).unwrap()).collect()
    }

    #[test]
    fn the_longest_required_text_is_found() {
        let rows: [(&str, &[&str]); 11] = [
            (r"^.* sshd\[\d+\]: Failed x", &["]: Failed x"]),
            (r"(?:abc|defg)+x", &["abc", "defg"]),
            (r"(?:abc|d)+x", &[]),
            (r"(?:abc)?de", &[]),
            (r"(?i)abcdef", &[]),
            (r"a(?P<x>bc)(?=q)de", &["abcde"]),
            (r"Fail[:]ed", &["Fail:ed"]),
            (r"(?:failed ){2}\d", &["failed "]),
            (r"(a)?(?(1)longer|short)", &["longer", "short"]),
            (r"bad word\n", &["bad word"]),
            ("abcd\u{fffd}efghi[\u{fffd}]", &["efghi"]),
        ];
        for (expression, expected) in rows {
            assert_eq!(texts(expression), expected, "{expression}");
        }
    }
}
