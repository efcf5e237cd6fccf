//! The grammar of Python's `re`, read into a tree.
//!
//! Filters are written in Python's dialect, which differs from Rust's in ways that compile
//! silently and match something else (`$`, `\<`, `(?(name)…)`, `[a&&b]`). So nothing is translated
//! letter by letter: an expression is parsed here by Python's rules and written out anew by
//! `emit.rs`. The same tree tells which fixed text a line must hold (`literal.rs`) and whether an
//! expression can be matched without any engine (`machine/`). Its nodes stand in `node.rs`.
//!
//! Never panics, whatever the text; nesting is limited to [`DEPTH_MAX`].

use std::{fmt, ops::Range, sync::Arc};

pub use super::node::{Assert, Class, ClassItem, Node, Repetition, Set};

/// How deep groups may be nested. Python itself gives up near 1000; real filters stay below 20.
pub const DEPTH_MAX: u32 = 200;

/// An expression, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    /// The tree.
    pub node: Node,
    /// Names of the groups; index 0 is the whole match and has none.
    pub groups: Vec<Option<Arc<str>>>,
}

/// Why an expression cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SyntaxError {
    /// Byte offset in the expanded expression.
    pub at: usize,
    /// What is wrong, in a few words.
    pub what: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// The node of a host's tag. A count behind the tag has been read with its last part: behind
/// `<HOST>` that is all of it, and each repetition is a host.
fn host(names: bool, node: Node) -> Node {
    match node {
        Node::Repeat { min, max, mode, node } if names => {
            Node::Repeat { min, max, mode, node: Box::new(Node::Host { names, node }) }
        }
        node => Node::Host { names, node: Box::new(node) },
    }
}

/// Reads `text`. `multiline` is Python's `re.MULTILINE`. `hosts` are the byte ranges at which a
/// host tag was expanded, with whether it takes names.
///
/// # Errors
///
/// [`SyntaxError`] where Python would refuse the expression too (or where it is nested too deep).
pub fn parse(
    text: &str,
    multiline: bool,
    hosts: &[(Range<usize>, bool)],
) -> Result<Expression, SyntaxError> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        flags: Flags { multiline, ..Flags::default() },
        groups: vec![None],
        open: Vec::new(),
        hosts,
    };
    parser.global_flags()?;
    let all = parser.flags.ignore_case;
    let node = parser.alternation()?;
    if parser.at < text.len() {
        return Err(parser.fault("unbalanced parenthesis"));
    }
    let node = if all || parser.flags.ignore_case { ignore_case(node) } else { node };
    Ok(Expression { node, groups: parser.groups })
}

fn ignore_case(node: Node) -> Node {
    Node::IgnoreCase(Box::new(node))
}

#[derive(Clone, Copy, Default)]
struct Flags {
    multiline: bool,
    dot_all: bool,
    verbose: bool,
    ignore_case: bool,
    ascii: bool,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    flags: Flags,
    groups: Vec<Option<Arc<str>>>,
    /// Groups that are still open: they cannot be referred to.
    open: Vec<usize>,
    hosts: &'a [(Range<usize>, bool)],
}

type Parsed<T> = Result<T, SyntaxError>;

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn fault(&self, what: impl Into<String>) -> SyntaxError {
        SyntaxError { at: self.at, what: what.into() }
    }

    /// `(?i)` and so on at the very beginning hold for the whole expression.
    fn global_flags(&mut self) -> Parsed<()> {
        while let Some(letters) = self.lone_flags() {
            self.set_flags(letters)?;
        }
        Ok(())
    }

    /// Takes `(?imsx)`, if that is what stands here.
    fn lone_flags(&mut self) -> Option<Vec<char>> {
        let rest = self.rest().strip_prefix("(?")?;
        let end = rest.find(')')?;
        let letters: Vec<char> = rest.get(..end)?.chars().collect();
        if letters.is_empty() || !letters.iter().all(|c| "aiLmsux".contains(*c)) {
            return None;
        }
        self.at += 2 + end + 1;
        Some(letters)
    }

    fn set_flags(&mut self, letters: impl IntoIterator<Item = char>) -> Parsed<()> {
        for letter in letters {
            match letter {
                'i' => self.flags.ignore_case = true,
                'm' => self.flags.multiline = true,
                's' => self.flags.dot_all = true,
                'x' => self.flags.verbose = true,
                'a' => self.flags.ascii = true,
                'u' => self.flags.ascii = false,
                _ => return Err(self.fault(format!("flag '{letter}' does not fit text"))),
            }
        }
        Ok(())
    }

    fn alternation(&mut self) -> Parsed<Node> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.fault(format!("groups are nested more than {DEPTH_MAX} deep")));
        }
        let mut branches = vec![self.concatenation(None)?];
        while self.eat("|") {
            branches.push(self.concatenation(None)?);
        }
        self.depth -= 1;
        Ok(match branches.len() {
            1 => branches.pop().unwrap_or(Node::Empty),
            _ => Node::Alternate(branches),
        })
    }

    /// Items up to `|`, `)`, the end, or the byte `until` (the end of a host tag).
    fn concatenation(&mut self, until: Option<usize>) -> Parsed<Node> {
        let mut items = Vec::new();
        loop {
            if until.is_some_and(|end| self.at >= end) {
                break;
            }
            if self.flags.verbose && self.skip_blanks() {
                continue;
            }
            let Some(c) = self.peek() else { break };
            if c == '|' || c == ')' {
                break;
            }
            if until.is_none()
                && let Some((range, names)) =
                    self.hosts.iter().find(|(range, _)| range.start == self.at).cloned()
            {
                items.push(host(names, self.concatenation(Some(range.end))?));
                continue;
            }
            let start = self.at;
            let atom = self.atom()?;
            let Some(atom) = atom else { continue };
            let atom = self.quantified(atom)?;
            items.push(atom);
            if self.at == start {
                return Err(self.fault("cannot be read"));
            }
        }
        Ok(match items.len() {
            0 => Node::Empty,
            1 => items.pop().unwrap_or(Node::Empty),
            _ => Node::Concat(items),
        })
    }

    /// `(?x)`: blanks and comments outside of classes mean nothing.
    fn skip_blanks(&mut self) -> bool {
        match self.peek() {
            Some(c) if c.is_ascii_whitespace() => self.next().is_some(),
            Some('#') => {
                let end = self.rest().find('\n').unwrap_or(self.rest().len());
                self.at += end;
                true
            }
            _ => false,
        }
    }

    /// `(?#…)`, also between an item and its quantifier.
    fn skip_comment(&mut self) -> bool {
        let Some(comment) = self.rest().strip_prefix("(?#") else { return false };
        let Some(end) = comment.find(')') else { return false };
        self.at += 3 + end + 1;
        true
    }

    /// One item without its quantifier; `None` for a comment or a flag, which match nothing.
    fn atom(&mut self) -> Parsed<Option<Node>> {
        let start = self.at;
        let Some(c) = self.next() else { return Ok(None) };
        Ok(Some(match c {
            '.' => Node::Any { newline: self.flags.dot_all },
            '^' if self.flags.multiline => Node::Assert(Assert::LineStart),
            '^' => Node::Assert(Assert::TextStart),
            '$' if self.flags.multiline => Node::Assert(Assert::LineEnd),
            '$' => Node::Assert(Assert::TextEndNewline),
            '[' => self.class()?,
            '\\' => self.escape()?,
            '(' => return self.group(start),
            '*' | '+' | '?' => {
                self.at = start;
                return Err(self.fault(format!("'{c}' has nothing to repeat")));
            }
            '{' if self.braces(start).is_some() => {
                self.at = start;
                return Err(self.fault("a count in braces has nothing to repeat"));
            }
            other => Node::Char(other),
        }))
    }

    /// Reads the quantifiers behind `node`.
    fn quantified(&mut self, mut node: Node) -> Parsed<Node> {
        let mut seen = false;
        loop {
            while (self.flags.verbose && self.skip_blanks()) || self.skip_comment() {}
            let start = self.at;
            let (min, max) = match self.peek() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => match self.braces(self.at) {
                    Some((min, max, end)) => {
                        self.at = end - 1;
                        (min?, max?)
                    }
                    None => return Ok(node),
                },
                _ => return Ok(node),
            };
            self.at += 1;
            if seen {
                self.at = start;
                return Err(self.fault("two counts in a row"));
            }
            seen = true;
            if let Some(max) = max
                && max < min
            {
                self.at = start;
                return Err(self.fault("the least count is larger than the most"));
            }
            if matches!(node, Node::Assert(_)) {
                // `^*`: an assertion holds or not, however often; Python refuses it.
                self.at = start;
                return Err(self.fault("an assertion cannot be repeated"));
            }
            let mode = if self.eat("?") {
                Repetition::Lazy
            } else if self.eat("+") {
                Repetition::Possessive
            } else {
                Repetition::Greedy
            };
            node = Node::Repeat { min, max, mode, node: Box::new(node) };
        }
    }

    /// `{m}`, `{m,}`, `{,n}`, `{m,n}` at byte `start`, and where it ends; else the brace is text.
    #[allow(clippy::type_complexity)]
    fn braces(&self, start: usize) -> Option<(Parsed<u32>, Parsed<Option<u32>>, usize)> {
        let inside = self.text.get(start..)?.strip_prefix('{')?;
        let end = inside.find('}')?;
        let inside = inside.get(..end)?;
        let (low, high) = inside.split_once(',').map_or((inside, None), |(l, h)| (l, Some(h)));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if inside.is_empty() || !digits(low) || !digits(high.unwrap_or_default()) {
            return None;
        }
        let number = |text: &str| {
            let fault = || SyntaxError { at: start, what: "a count is too large".into() };
            text.parse::<u32>().ok().filter(|n| *n <= COUNT_MAX).ok_or_else(fault)
        };
        let min = if low.is_empty() { Ok(0) } else { number(low) };
        let max = match high {
            None => min.clone().map(Some),
            Some("") => Ok(None),
            Some(high) => number(high).map(Some),
        };
        Some((min, max, start + 1 + end + 1))
    }

    fn group(&mut self, start: usize) -> Parsed<Option<Node>> {
        if !self.eat("?") {
            // A flag right behind the parenthesis holds for this group only.
            if self.rest().starts_with("(?")
                && let Some(letters) = self.lone_flags()
            {
                return self.scoped(letters, &[]).map(Some);
            }
            return self.capture(None).map(Some);
        }
        if self.eat("P<") {
            let name = self.name('>')?;
            return self.capture(Some(name)).map(Some);
        }
        if self.eat("P=") {
            let name = self.name(')')?;
            return self.reference(&name).map(|group| Some(Node::BackReference(group)));
        }
        if self.eat("#") {
            let end = self.rest().find(')').ok_or_else(|| self.fault("comment without an end"))?;
            self.at += end + 1;
            return Ok(None);
        }
        if self.eat("(") {
            return self.conditional().map(Some);
        }
        for (sign, ahead, negative) in
            [("=", true, false), ("!", true, true), ("<=", false, false), ("<!", false, true)]
        {
            if self.eat(sign) {
                let node = Box::new(self.inside()?);
                return Ok(Some(Node::Look { ahead, negative, node }));
            }
        }
        if self.eat(">") {
            return Ok(Some(Node::Atomic(Box::new(self.inside()?))));
        }
        if self.eat(":") {
            if self.rest().starts_with("(?")
                && let Some(letters) = self.lone_flags()
            {
                return self.scoped(letters, &[]).map(Some);
            }
            return self.inside().map(grouped).map(Some);
        }
        self.flag_group(start)
    }

    /// `(?i)` in the middle, `(?i:…)`, `(?i-s:…)`.
    fn flag_group(&mut self, start: usize) -> Parsed<Option<Node>> {
        let length = self.rest().find(|c: char| !(c.is_ascii_alphabetic() || c == '-'));
        let (on, off, close) = {
            let end = length.unwrap_or(self.rest().len());
            let letters = self.rest().get(..end).unwrap_or_default();
            let close = self.rest().get(end..).and_then(|rest| rest.chars().next());
            let (on, off) = letters.split_once('-').unwrap_or((letters, ""));
            let known = on.chars().chain(off.chars()).all(|c| "aiLmsux".contains(c));
            let pair: (Vec<char>, Vec<char>) = (on.chars().collect(), off.chars().collect());
            if !known || (on.is_empty() && off.is_empty()) {
                self.at = start;
                return Err(self.fault(
                    "'(?' begins no construct: write '\\(\\?' for the text, or '(?:' for a group",
                ));
            }
            self.at += end;
            (pair.0, pair.1, close)
        };
        match close {
            Some(':') => {
                self.at += 1;
                self.scoped(on, &off).map(Some)
            }
            Some(')') if off.is_empty() => {
                // Python 3.11 refuses a global flag here, older ones take it for the whole.
                self.at += 1;
                self.set_flags(on)?;
                Ok(None)
            }
            _ => Err(self.fault("a group of flags needs ':' or ')'")),
        }
    }

    /// The inside of a group in which flags differ.
    fn scoped(&mut self, on: Vec<char>, off: &[char]) -> Parsed<Node> {
        let outer = self.flags;
        self.set_flags(on)?;
        for letter in off {
            match letter {
                'i' => self.flags.ignore_case = false,
                'm' => self.flags.multiline = false,
                's' => self.flags.dot_all = false,
                'x' => self.flags.verbose = false,
                _ => return Err(self.fault(format!("flag '{letter}' cannot be taken back"))),
            }
        }
        let inner = self.flags;
        let node = self.inside()?;
        self.flags = outer;
        Ok(match (outer.ignore_case, inner.ignore_case) {
            (false, true) => ignore_case(node),
            (true, false) => return Err(self.fault("'(?-i:' inside of '(?i)' is not supported")),
            _ => grouped(node),
        })
    }

    fn capture(&mut self, name: Option<String>) -> Parsed<Node> {
        if let Some(name) = &name
            && self.groups.iter().flatten().any(|known| &**known == name.as_str())
        {
            let hint = match name.as_str() {
                "ip4" | "ip6" | "dns" => ": only one <HOST>, <ADDR> or the like may stand in it",
                _ => "",
            };
            return Err(self.fault(format!("group '{name}' stands here for the second time{hint}")));
        }
        let name: Option<Arc<str>> = name.map(Into::into);
        let index = self.groups.len();
        self.groups.push(name.clone());
        self.open.push(index);
        let node = Box::new(self.inside()?);
        self.open.pop();
        Ok(Node::Capture { index, name, node })
    }

    /// What stands up to the closing parenthesis, which is taken too.
    fn inside(&mut self) -> Parsed<Node> {
        let node = self.alternation()?;
        if !self.eat(")") {
            return Err(self.fault("a parenthesis is not closed"));
        }
        Ok(node)
    }

    fn name(&mut self, close: char) -> Parsed<String> {
        let rest = self.rest();
        let end = rest.find(close).ok_or_else(|| self.fault("a group's name does not end"))?;
        let name = rest.get(..end).unwrap_or_default().to_owned();
        let first = name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
        if !first || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            return Err(self.fault(format!("'{name}' is no name for a group")));
        }
        self.at += end + close.len_utf8();
        Ok(name)
    }

    fn reference(&self, name: &str) -> Parsed<usize> {
        let known = |group: &Option<Arc<str>>| group.as_deref() == Some(name);
        match self.groups.iter().position(known) {
            Some(group) if self.open.contains(&group) => {
                Err(self.fault(format!("group '{name}' is referred to from inside itself")))
            }
            Some(group) => Ok(group),
            None => Err(self.fault(format!("there is no group '{name}' before this"))),
        }
    }

    fn conditional(&mut self) -> Parsed<Node> {
        let end = self.rest().find(')').ok_or_else(|| self.fault("a condition does not end"))?;
        let word = self.rest().get(..end).unwrap_or_default().to_owned();
        let group = match word.parse::<usize>() {
            Ok(number) if number > 0 && number < self.groups.len() => number,
            Ok(_) => return Err(self.fault(format!("there is no group {word} before this"))),
            Err(_) => self.reference(&word)?,
        };
        self.at += end + 1;
        let yes = Box::new(self.concatenation(None)?);
        let no = if self.eat("|") { self.concatenation(None)? } else { Node::Empty };
        if self.peek() == Some('|') {
            return Err(self.fault("a condition has more than two branches"));
        }
        if !self.eat(")") {
            return Err(self.fault("a parenthesis is not closed"));
        }
        Ok(Node::Conditional { group, yes, no: Box::new(no) })
    }

    fn escape(&mut self) -> Parsed<Node> {
        let Some(c) = self.next() else { return Err(self.fault("a lone backslash at the end")) };
        if let Some(set) = set_of(c) {
            return Ok(Node::Class(Class { negated: false, items: self.set(set) }));
        }
        Ok(match c {
            'A' => Node::Assert(Assert::TextStart),
            'Z' => Node::Assert(Assert::TextEnd),
            'b' => Node::Assert(Assert::Word),
            'B' => Node::Assert(Assert::NotWord),
            '1'..='9' => {
                let digits = self.octal_or_reference(c);
                match digits {
                    Ok(octal) => Node::Char(octal),
                    Err(group) if group < self.groups.len() && !self.open.contains(&group) => {
                        Node::BackReference(group)
                    }
                    Err(group) => {
                        return Err(self.fault(format!("there is no group {group} before this")));
                    }
                }
            }
            other => Node::Char(self.escaped_char(other)?),
        })
    }

    /// `\123` is a character, `\12` a reference to group 12.
    fn octal_or_reference(&mut self, first: char) -> Result<char, usize> {
        let rest = self.rest().as_bytes();
        let octal = |b: Option<&u8>| b.is_some_and(|b| (b'0'..=b'7').contains(b));
        let first = first.to_digit(10).unwrap_or_default();
        if first < 8 && octal(rest.first()) && octal(rest.get(1)) {
            let digit = |b: Option<&u8>| b.map_or(0, |b| u32::from(b - b'0'));
            let value = first * 64 + digit(rest.first()) * 8 + digit(rest.get(1));
            self.at += 2;
            return Ok(char::from_u32(value & 0xff).unwrap_or('\0'));
        }
        let mut group = first as usize;
        if let Some(second) = rest.first().filter(|b| b.is_ascii_digit()) {
            group = group * 10 + usize::from(second - b'0');
            self.at += 1;
        }
        Err(group)
    }

    /// A character behind a backslash that stands for one character.
    fn escaped_char(&mut self, c: char) -> Parsed<char> {
        Ok(match c {
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => self.hexadecimal(2)?,
            'u' => self.hexadecimal(4)?,
            'U' => self.hexadecimal(8)?,
            '0' => {
                let rest = self.rest();
                let length = rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
                let digits = rest.get(..length).unwrap_or_default();
                let value = u32::from_str_radix(digits, 8).unwrap_or(0);
                self.at += length;
                char::from_u32(value).unwrap_or('\0')
            }
            c if c.is_ascii_alphanumeric() => {
                return Err(self.fault(format!("'\\{c}' is no escape that is known")));
            }
            other => other,
        })
    }

    fn hexadecimal(&mut self, digits: usize) -> Parsed<char> {
        let text = self.rest().get(..digits).unwrap_or_default();
        let good = text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
        let value = u32::from_str_radix(text, 16).ok().filter(|_| good);
        match value.and_then(char::from_u32) {
            Some(c) => {
                self.at += digits;
                Ok(c)
            }
            None => Err(self.fault(format!("{digits} hexadecimal digits are missing"))),
        }
    }

    fn class(&mut self) -> Parsed<Node> {
        let start = self.at;
        let unclosed = SyntaxError { at: start, what: "a '[' is not closed".into() };
        let negated = self.eat("^");
        let mut items = Vec::new();
        loop {
            let first = items.is_empty();
            let c = self.next().ok_or_else(|| unclosed.clone())?;
            if c == ']' && !first {
                break;
            }
            let low = self.class_member(c)?;
            if !self.rest().starts_with('-') || self.rest().starts_with("-]") {
                match low {
                    Member::Char(c) => items.push(ClassItem::Range(c, c)),
                    Member::Set(set) => items.extend(self.set(set)),
                }
                continue;
            }
            self.at += 1;
            let c = self.next().ok_or_else(|| unclosed.clone())?;
            match (low, self.class_member(c)?) {
                (Member::Char(low), Member::Char(high)) if low <= high => {
                    items.push(ClassItem::Range(low, high));
                }
                _ => return Err(self.fault("a range in '[…]' runs backwards or has no end")),
            }
        }
        Ok(Node::Class(Class { negated, items }))
    }

    /// What a set holds; under `(?a)` ASCII only.
    fn set(&self, set: Set) -> Vec<ClassItem> {
        const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
        const SPACE: &[(char, char)] = &[('\t', '\r'), (' ', ' ')];
        const DIGIT: &[(char, char)] = &[('0', '9')];
        if !self.flags.ascii {
            return vec![ClassItem::Set(set)];
        }
        let (ranges, inside) = match set {
            Set::Digit => (DIGIT, true),
            Set::NotDigit => (DIGIT, false),
            Set::Space => (SPACE, true),
            Set::NotSpace => (SPACE, false),
            Set::Word => (WORD, true),
            Set::NotWord => (WORD, false),
        };
        if inside {
            return ranges.iter().map(|(low, high)| ClassItem::Range(*low, *high)).collect();
        }
        let mut items = Vec::new();
        let mut low = '\0';
        for (from, to) in ranges {
            let before = char::from_u32(u32::from(*from).saturating_sub(1)).unwrap_or('\0');
            items.push(ClassItem::Range(low, before));
            low = char::from_u32(u32::from(*to) + 1).unwrap_or(char::MAX);
        }
        items.push(ClassItem::Range(low, char::MAX));
        items
    }

    fn class_member(&mut self, c: char) -> Parsed<Member> {
        if c != '\\' {
            return Ok(Member::Char(c));
        }
        let Some(c) = self.next() else { return Err(self.fault("a lone backslash at the end")) };
        if let Some(set) = set_of(c) {
            return Ok(Member::Set(set));
        }
        Ok(Member::Char(match c {
            'b' => '\x08',
            '1'..='7' => {
                let rest = self.rest();
                let length = rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
                let digits = format!("{c}{}", rest.get(..length).unwrap_or_default());
                self.at += length;
                char::from_u32(u32::from_str_radix(&digits, 8).unwrap_or(0) & 0xff).unwrap_or('\0')
            }
            other => self.escaped_char(other)?,
        }))
    }
}

/// Counts above this are refused: an expression of that size is a mistake, and would take memory.
const COUNT_MAX: u32 = 1000;

enum Member {
    Char(char),
    Set(Set),
}

fn set_of(c: char) -> Option<Set> {
    Some(match c {
        'd' => Set::Digit,
        'D' => Set::NotDigit,
        's' => Set::Space,
        'S' => Set::NotSpace,
        'w' => Set::Word,
        'W' => Set::NotWord,
        _ => return None,
    })
}

/// A plain group keeps its inside together: only an alternation would fall apart without it, and
/// the tree holds that together already.
fn grouped(node: Node) -> Node {
    node
}
