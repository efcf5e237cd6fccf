//! Traps in expressions that compile: what an attacker could use, and what can never match.

use std::fmt;

use super::{
    Expression, Filter,
    syntax::{Assert, Node, Repetition},
    tag,
};
use crate::place::Place;

/// One trap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lint {
    /// Where the expression stands.
    pub at: Place,
    /// The expression, as written.
    pub source: String,
    /// Which trap.
    pub kind: LintKind,
}

/// Which trap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LintKind {
    /// `.*` before the host and no anchor behind it: whoever may write into the line (a user name,
    /// a URL) can put an address of his choice behind the real one.
    GreedyBeforeHost,
    /// `<SKIPLINES>` or a newline, in a filter whose buffer holds one line.
    NeedsMaxlines,
    /// `<mode>` where no option is called so: the text itself is looked for.
    UnsetTag,
    /// `maxlines` is larger than a buffer may be.
    TooManyLines,
}

/// See [`super::LINES_MAX`].
const TOO_MANY_LINES: &str = "maxlines is larger than 1000, and taken for that";

impl Lint {
    /// What the trap is, in one line without a full stop.
    pub fn what(&self) -> &'static str {
        match self.kind {
            LintKind::GreedyBeforeHost => {
                "a greedy '.*' stands before <HOST>, and nothing anchors what follows: an attacker \
                 can name the address that is banned"
            }
            LintKind::NeedsMaxlines => {
                "the expression spans lines, but maxlines is 1, so it never matches"
            }
            LintKind::UnsetTag => {
                "the expression has a tag that no option sets, so it is looked for as it stands"
            }
            LintKind::TooManyLines => TOO_MANY_LINES,
        }
    }

    /// What to write instead.
    pub fn write(&self) -> &'static str {
        match self.kind {
            LintKind::GreedyBeforeHost => {
                "end it with '$', or write what may stand there ('[^/]+', '\\S+', '.*?')"
            }
            LintKind::NeedsMaxlines => "set maxlines to the number of lines that it spans",
            LintKind::UnsetTag => tag::UNSET_ADVICE,
            LintKind::TooManyLines => "set it to the number of lines that one failure spans",
        }
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.at, self.what())?;
        if !self.source.is_empty() {
            writeln!(f, "  {}", self.source)?;
        }
        write!(f, "  {}", self.write())
    }
}

/// All traps of `filter`, in the order of its expressions.
pub fn lint(filter: &Filter) -> Vec<Lint> {
    let mut found = Vec::new();
    if let Some(at) = filter.too_many_lines.clone() {
        found.push(Lint { at, source: String::new(), kind: LintKind::TooManyLines });
    }
    for expression in &filter.failregex {
        let mut report = |kind| found.push(of(expression, kind));
        if greedy_before_host(expression.pattern.node()) {
            report(LintKind::GreedyBeforeHost);
        }
        if filter.maxlines == 1 && expression.pattern.source.contains("<SKIPLINES>") {
            report(LintKind::NeedsMaxlines);
        }
        if tag::unset(&expression.pattern.source).is_some() {
            report(LintKind::UnsetTag);
        }
    }
    found
}

fn of(expression: &Expression, kind: LintKind) -> Lint {
    Lint { at: expression.at.clone(), source: expression.pattern.source.clone(), kind }
}

/// A catch-all that gives back as little as possible, then (with no anchor between) the host, and
/// behind it either no end or another catch-all.
fn greedy_before_host(node: &Node) -> bool {
    let mut items = Vec::new();
    flatten(node, &mut items);
    let Some(host) = items.iter().position(|item| holds_host(item)) else { return false };
    let (before, behind) = items.split_at(host);
    let is_anchor = |item: &&Node| match item {
        Node::Assert(assert) => !is_word(*assert),
        Node::Repeat { min: 0, .. } => false,
        item => ends_line(item),
    };
    let since_anchor = before.iter().rposition(&is_anchor).map_or(0, |at| at + 1);
    let takes_all = |item: &&Node| !ends_line(item) && holds_catch_all(item, true);
    let greedy = before.iter().skip(since_anchor).any(takes_all);
    let ends = behind.last().is_some_and(is_anchor);
    let loose = behind.iter().skip(1).any(|item| holds_catch_all(item, false));
    greedy && (!ends || loose)
}

/// True for a newline and for whole lines (`<SKIPLINES>`): nobody writes one into a line, so what
/// follows begins where the program began its line.
fn ends_line(node: &Node) -> bool {
    match node {
        Node::Char(letter) => *letter == '\n',
        Node::Concat(items) => items.last().is_some_and(ends_line),
        Node::Capture { node, .. } | Node::Repeat { node, .. } => ends_line(node),
        _ => false,
    }
}

fn is_word(assert: Assert) -> bool {
    matches!(assert, Assert::Word | Assert::NotWord)
}

fn flatten<'a>(node: &'a Node, out: &mut Vec<&'a Node>) {
    match node {
        Node::Concat(items) => items.iter().for_each(|item| flatten(item, out)),
        Node::Capture { node, .. } | Node::IgnoreCase(node) | Node::Atomic(node) => {
            flatten(node, out);
        }
        Node::Empty => {}
        other => out.push(other),
    }
}

fn holds_host(node: &Node) -> bool {
    any(node, &|node| {
        matches!(node, Node::Host { .. })
            || matches!(node, Node::Capture { name: Some(name), .. } if ["ip4", "ip6", "dns"].contains(&&**name))
    })
}

fn holds_catch_all(node: &Node, greedy_only: bool) -> bool {
    any(node, &|node| match node {
        Node::Repeat { max: None, mode, node, .. } => {
            (!greedy_only || *mode != Repetition::Lazy) && matches!(**node, Node::Any { .. })
        }
        _ => false,
    })
}

/// True if `test` holds for `node` or anything in it.
fn any(node: &Node, test: &dyn Fn(&Node) -> bool) -> bool {
    test(node)
        || match node {
            Node::Capture { node, .. }
            | Node::IgnoreCase(node)
            | Node::Atomic(node)
            | Node::Repeat { node, .. }
            | Node::Host { node, .. } => any(node, test),
            Node::Conditional { yes, no, .. } => any(yes, test) || any(no, test),
            Node::Concat(items) | Node::Alternate(items) => items.iter().any(|i| any(i, test)),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Pattern, UseDns};

    #[test]
    fn a_greedy_catch_all_before_the_host_needs_an_anchor() {
        let rows = [
            ("greedy .* test <HOST> not anchored", true),
            ("greedy .+ test <HOST> vary .* anchored$", true),
            ("greedy .* test <HOST> anchored$", false),
            ("lazy .*? test <HOST> not anchored", false),
            ("lazy .+? test <HOST> vary .* anchored$", false),
            ("^user <F-USER>.*</F-USER> from <HOST>", true),
            ("^user <F-USER>.*</F-USER> from <HOST>$", false),
            ("^<HOST> .*", false),
            ("^conn .+<SKIPLINES> end of <HOST>", false),
            ("^conn .+\\n end of .* <HOST>", true),
            ("^conn .+(?:\\n)?<HOST>", true),
        ];
        for (source, expected) in rows {
            let pattern = Pattern::new(source, UseDns::Warn, false).unwrap();
            assert_eq!(greedy_before_host(pattern.node()), expected, "{source}");
        }
    }
}
