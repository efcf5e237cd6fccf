//! Writes an expression out in the dialect of the engine that shall run it.
//!
//! Three forms of one tree: for the linear engine on ASCII bytes (the usual line), for the linear
//! engine on Unicode text, and for the backtracking engine, which alone knows look-around,
//! back-references and conditions. Each form matches exactly what Python's `re` would.

use super::syntax::{Assert, Class, ClassItem, Node, Repetition, Set};

/// Which engine is written for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// `regex`, on text that is known to be ASCII.
    LinearAscii,
    /// `regex`, on any text.
    LinearUnicode,
    /// `fancy-regex`, on text that is known to be ASCII.
    BacktrackingAscii,
    /// `fancy-regex`, on any text.
    BacktrackingUnicode,
}

impl Dialect {
    fn is_ascii(self) -> bool {
        matches!(self, Dialect::LinearAscii | Dialect::BacktrackingAscii)
    }

    fn is_backtracking(self) -> bool {
        matches!(self, Dialect::BacktrackingAscii | Dialect::BacktrackingUnicode)
    }
}

/// A class that nothing is in. Whatever the case around it: to fold all of Unicode takes an engine
/// milliseconds each time.
const NOTHING: &str = r"(?-i:[^\s\S])";

/// True if the linear engine can express `node`: nothing in it looks around, refers back, or asks
/// for the end of the text before going on.
pub fn is_linear(node: &Node) -> bool {
    linear(node, true)
}

/// `tail` says that nothing follows which could take characters.
fn linear(node: &Node, tail: bool) -> bool {
    match node {
        Node::Empty | Node::Char(_) | Node::Any { .. } | Node::Class(_) => true,
        // Written as an optional newline and the end: it takes that newline, so nothing may follow.
        Node::Assert(Assert::TextEndNewline) => tail,
        Node::Assert(_) => true,
        Node::Look { .. }
        | Node::Atomic(_)
        | Node::BackReference(_)
        | Node::Conditional { .. }
        | Node::Repeat { mode: Repetition::Possessive, .. } => false,
        // Within a group that is asked for, the newline would be part of it.
        Node::Capture { name: Some(_), node, .. } => linear(node, false),
        Node::Capture { node, .. } | Node::IgnoreCase(node) | Node::Host { node, .. } => {
            linear(node, tail)
        }
        Node::Repeat { node, max, .. } => linear(node, tail && *max == Some(1)),
        Node::Alternate(branches) => branches.iter().all(|branch| linear(branch, tail)),
        Node::Concat(items) => {
            // Behind a `$`, only another one does no harm: it holds behind the newline, too.
            let last = items.iter().rposition(|item| !is_end(item)).unwrap_or(0);
            items.iter().enumerate().all(|(index, item)| linear(item, tail && index >= last))
        }
    }
}

fn is_end(node: &Node) -> bool {
    match node {
        Node::Empty | Node::Assert(Assert::TextEndNewline) => true,
        Node::Capture { name: None, node, .. } | Node::IgnoreCase(node) => is_end(node),
        Node::Concat(items) | Node::Alternate(items) => items.iter().all(is_end),
        _ => false,
    }
}

/// Writes `node` for `dialect`. Groups without a name are remembered only where the engine may
/// refer back to them.
pub fn emit(node: &Node, dialect: Dialect) -> String {
    let mut out = String::with_capacity(256);
    Emitter { dialect }.node(node, &mut out);
    out
}

struct Emitter {
    dialect: Dialect,
}

impl Emitter {
    fn node(&self, node: &Node, out: &mut String) {
        match node {
            Node::Empty => {}
            Node::Char(c) => self.char(*c, out),
            Node::Any { newline: false } => out.push_str(r"[^\n]"),
            Node::Any { newline: true } => out.push_str(r"[\s\S]"),
            Node::Class(class) => self.class(class, out),
            Node::Assert(assert) => out.push_str(self.assertion(*assert)),
            Node::Capture { name, node, .. } => {
                match name {
                    Some(name) => out.push_str(&format!("(?P<{name}>")),
                    None if self.dialect.is_backtracking() => out.push('('),
                    None => out.push_str("(?:"),
                }
                self.node(node, out);
                out.push(')');
            }
            Node::IgnoreCase(node) => self.wrapped("(?i:", node, out),
            Node::Look { ahead, negative, node } => {
                let open = match (ahead, negative) {
                    (true, false) => "(?=",
                    (true, true) => "(?!",
                    (false, false) => "(?<=",
                    (false, true) => "(?<!",
                };
                self.wrapped(open, node, out);
            }
            Node::Atomic(node) => self.wrapped("(?>", node, out),
            Node::BackReference(group) => out.push_str(&format!(r"(?:\{group})")),
            Node::Conditional { group, yes, no } => {
                out.push_str(&format!("(?({group})"));
                self.branch(yes, out);
                out.push('|');
                self.branch(no, out);
                out.push(')');
            }
            Node::Concat(items) => items.iter().for_each(|item| self.branch(item, out)),
            Node::Alternate(branches) => {
                out.push_str("(?:");
                for (index, branch) in branches.iter().enumerate() {
                    if index > 0 {
                        out.push('|');
                    }
                    self.node(branch, out);
                }
                out.push(')');
            }
            Node::Repeat { min, max, mode, node } => {
                self.wrapped("(?:", node, out);
                self.count(*min, *max, *mode, out);
            }
            Node::Host { node, .. } => self.node(node, out),
        }
    }

    /// A part of a sequence: an alternation keeps its own parentheses, so it is safe as it is.
    fn branch(&self, node: &Node, out: &mut String) {
        self.node(node, out);
    }

    fn wrapped(&self, open: &str, node: &Node, out: &mut String) {
        out.push_str(open);
        self.node(node, out);
        out.push(')');
    }

    fn count(&self, min: u32, max: Option<u32>, mode: Repetition, out: &mut String) {
        match (min, max) {
            (0, None) => out.push('*'),
            (1, None) => out.push('+'),
            (0, Some(1)) => out.push('?'),
            (min, None) => out.push_str(&format!("{{{min},}}")),
            (min, Some(max)) => out.push_str(&format!("{{{min},{max}}}")),
        }
        match mode {
            Repetition::Greedy => {}
            Repetition::Lazy => out.push('?'),
            Repetition::Possessive => out.push('+'),
        }
    }

    fn assertion(&self, assert: Assert) -> &'static str {
        match (assert, self.dialect) {
            (Assert::TextStart, _) => r"\A",
            (Assert::TextEnd, _) => r"\z",
            (Assert::TextEndNewline, dialect) if dialect.is_backtracking() => r"(?=\n?\z)",
            (Assert::TextEndNewline, _) => r"(?:\n?\z)",
            (Assert::LineStart, _) => r"(?m:^)",
            (Assert::LineEnd, _) => r"(?m:$)",
            (Assert::Word, _) => r"\b",
            (Assert::NotWord, _) => r"\B",
        }
    }

    fn char(&self, c: char, out: &mut String) {
        match c {
            '\n' => out.push_str(r"\n"),
            c if c.is_ascii_alphanumeric() || c == ' ' || c == '_' => out.push(c),
            // Only what means something: a backslash before `<` would make it a word's beginning.
            c if r"\.+*?()|[]{}^$#&-~".contains(c) => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_ascii_punctuation() => out.push(c),
            c if c.is_ascii() => out.push_str(&format!(r"\x{:02x}", u32::from(c))),
            // ASCII text never holds it: a class that is empty.
            _ if self.dialect.is_ascii() => out.push_str(NOTHING),
            c => out.push(c),
        }
    }

    fn class(&self, class: &Class, out: &mut String) {
        let mut inside = String::new();
        for item in &class.items {
            match item {
                ClassItem::Range(low, high) => self.range(*low, *high, &mut inside),
                ClassItem::Set(set) => inside.push_str(self.set(*set)),
            }
        }
        match (inside.is_empty(), class.negated) {
            (false, negated) => {
                out.push_str(if negated { "[^" } else { "[" });
                out.push_str(&inside);
                out.push(']');
            }
            // Nothing that ASCII text can hold was in it.
            (true, false) => out.push_str(NOTHING),
            (true, true) => out.push_str(r"[\s\S]"),
        }
    }

    fn range(&self, low: char, high: char, out: &mut String) {
        let high = match self.dialect {
            dialect if dialect.is_ascii() && !low.is_ascii() => return,
            dialect if dialect.is_ascii() && !high.is_ascii() => '\x7f',
            _ => high,
        };
        out.push_str(&format!(r"\x{{{:x}}}", u32::from(low)));
        if low != high {
            out.push_str(&format!(r"-\x{{{:x}}}", u32::from(high)));
        }
    }

    /// Python's sets: `\s` takes the four separators 0x1c to 0x1f, and `\w` is letters, numbers and
    /// the underscore, without combining marks.
    fn set(&self, set: Set) -> &'static str {
        match (set, self.dialect.is_ascii()) {
            (Set::Digit, true) => "0-9",
            (Set::NotDigit, true) => r"\x00-/:-\x7f",
            (Set::Space, true) => r"\t-\r\x1c-\x20",
            (Set::NotSpace, true) => r"\x00-\x08\x0e-\x1b\x21-\x7f",
            (Set::Word, true) => "0-9A-Z_a-z",
            (Set::NotWord, true) => r"\x00-/:-@\[-\^`\{-\x7f",
            (Set::Digit, _) => r"\p{Nd}",
            (Set::NotDigit, _) => r"\P{Nd}",
            (Set::Space, _) => r"\s\x{1c}-\x{1f}",
            (Set::NotSpace, _) => r"[\S&&[^\x{1c}-\x{1f}]]",
            (Set::Word, _) => r"\p{L}\p{N}_",
            (Set::NotWord, _) => r"[^\p{L}\p{N}_]",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::syntax::parse;

    fn linear_of(text: &str) -> bool {
        is_linear(&parse(text, false, &[]).unwrap().node)
    }

    /// Eighty of these took half a second to build.
    #[test]
    fn nothing_is_not_folded() {
        let node = parse("(?i)\u{e9}x", false, &[]).unwrap().node;
        assert_eq!(emit(&node, Dialect::BacktrackingAscii), r"(?i:(?-i:[^\s\S])x)");
    }

    #[test]
    fn what_the_linear_engine_can_do() {
        for yes in ["a$", "(?:a$|b$)", "^a+?(?P<x>b|c)$", "(?i)x", "a$()$", r"\S+ \d{1,3}"] {
            assert!(linear_of(yes), "{yes}");
        }
        for no in [
            "a$(?P<e>)",
            "(?P<x>a$)",
            r"a$\b",
            r"a$\Z",
            "(?=a)b",
            r"(a)\1",
            "(?P<x>a)?(?(x)b|c)",
            "a++",
            "(?:a$|b)c",
            "(?:a$)*",
            "(?>a)",
        ] {
            assert!(!linear_of(no), "{no}");
        }
    }
}
