//! Reads an expression in Python's dialect into a tree.
//!
//! Known: literals, escapes, sets, `.`, anchors, groups of every kind, alternation, greedy, lazy
//! and possessive repeats, look-ahead and look-behind (of fixed width), back-references,
//! conditionals, comments, and the flags `a i m s u`, global or for a group. All else is an error
//! that tells its place.

use super::class::{Class, Piece, Set};
use super::tree::{At, Greed, Node, width};

/// Groups nested deeper than this are refused: it bounds the recursion of everything that walks
/// the tree. No date needs more than a handful.
const DEEPEST: usize = 60;
/// Largest count of a `{m,n}` repeat.
const MOST_REPEATS: u32 = 1000;

/// Why an expression cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PatternError {
    /// The expression as it was compiled.
    pub pattern: String,
    /// The character (from 1) at which reading stopped.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

impl std::fmt::Display for PatternError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (at character {} of the expression {})", self.what, self.column, self.pattern)
    }
}

impl std::error::Error for PatternError {}

/// What reading an expression gives.
pub(super) struct Parsed {
    pub(super) tree: Node,
    /// Number of capturing groups; group 0, the whole match, not counted.
    pub(super) groups: usize,
    /// Names of groups with their numbers, in the order in which they were opened.
    pub(super) names: Vec<(String, usize)>,
}

/// Reads `text`.
pub(super) fn parse(text: &str) -> Result<Parsed, PatternError> {
    let mut parser = Parser {
        chars: text.chars().collect(),
        at: 0,
        depth: 0,
        groups: 0,
        open: Vec::new(),
        names: Vec::new(),
        flags: Flags::default(),
        text,
    };
    parser.read_global_flags();
    let tree = parser.alternatives()?;
    if parser.peek().is_some() {
        return Err(parser.error("a ) that closes nothing: write \\) for the character"));
    }
    Ok(Parsed { tree, groups: parser.groups, names: parser.names })
}

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    ascii: bool,
    ignore_case: bool,
    multiline: bool,
    dot_all: bool,
}

struct Parser<'t> {
    chars: Vec<char>,
    at: usize,
    depth: usize,
    groups: usize,
    open: Vec<usize>,
    names: Vec<(String, usize)>,
    flags: Flags,
    text: &'t str,
}

impl Parser<'_> {
    fn error(&self, what: impl Into<String>) -> PatternError {
        PatternError { pattern: self.text.to_owned(), column: self.at + 1, what: what.into() }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let found =
            wanted.chars().enumerate().all(|(i, c)| self.chars.get(self.at + i) == Some(&c));
        if found {
            self.at += wanted.chars().count();
        }
        found
    }

    /// `(?i)` holds for the whole expression wherever it stands, so they are collected beforehand.
    fn read_global_flags(&mut self) {
        let mut i = 0;
        while let Some(&c) = self.chars.get(i) {
            if c == '\\' {
                i += 2;
                continue;
            }
            if c == '(' && self.chars.get(i + 1) == Some(&'?') {
                let letters: String =
                    self.chars.iter().skip(i + 2).take_while(|c| c.is_ascii_alphabetic()).collect();
                if !letters.is_empty() && self.chars.get(i + 2 + letters.len()) == Some(&')') {
                    for letter in letters.chars() {
                        self.flags.set(letter, true);
                    }
                }
            }
            i += 1;
        }
    }

    fn alternatives(&mut self) -> Result<Node, PatternError> {
        let mut branches = vec![self.sequence()?];
        while self.eat("|") {
            branches.push(self.sequence()?);
        }
        Ok(match branches.pop() {
            Some(only) if branches.is_empty() => only,
            Some(last) => {
                branches.push(last);
                Node::Either(branches)
            }
            None => Node::Empty,
        })
    }

    fn sequence(&mut self) -> Result<Node, PatternError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error(format!("groups nested more than {DEEPEST} deep")));
        }
        let mut items = Vec::new();
        while let Some(c) = self.peek() {
            if matches!(c, '|' | ')') {
                break;
            }
            if let Some((least, most)) = self.repeat_count()? {
                let greed = if self.eat("?") {
                    Greed::Lazy
                } else if self.eat("+") {
                    Greed::Possessive
                } else {
                    Greed::Greedy
                };
                match items.pop() {
                    None | Some(Node::At { .. }) => return Err(self.error("nothing to repeat")),
                    Some(Node::Repeat { .. }) => return Err(self.error("a repeat of a repeat")),
                    Some(inner) => {
                        items.push(Node::Repeat { inner: Box::new(inner), least, most, greed })
                    }
                }
                continue;
            }
            if let Some(item) = self.item()? {
                items.push(item);
            }
        }
        self.depth -= 1;
        Ok(match items.len() {
            0 => Node::Empty,
            1 => items.pop().unwrap_or(Node::Empty),
            _ => Node::Concat(items),
        })
    }

    /// `* + ? {m,n}`, if one stands here. A brace that is none of these is a plain character.
    fn repeat_count(&mut self) -> Result<Option<(u32, Option<u32>)>, PatternError> {
        let simple = match self.peek() {
            Some('*') => Some((0, None)),
            Some('+') => Some((1, None)),
            Some('?') => Some((0, Some(1))),
            Some('{') => None,
            _ => return Ok(None),
        };
        if simple.is_some() {
            self.at += 1;
            return Ok(simple);
        }
        let start = self.at;
        self.at += 1;
        if self.peek() == Some('}') {
            self.at = start;
            return Ok(None);
        }
        let least = self.digits();
        let most = if self.eat(",") { self.digits() } else { least.clone() };
        if !self.eat("}") {
            self.at = start;
            return Ok(None);
        }
        let number = |digits: &str| match digits.parse::<u32>() {
            Ok(count) if count <= MOST_REPEATS => Ok(count),
            _ => Err(self.error(format!("a repeat of more than {MOST_REPEATS} times"))),
        };
        let low = if least.is_empty() { 0 } else { number(&least)? };
        let high = if most.is_empty() { None } else { Some(number(&most)?) };
        if high.is_some_and(|high| high < low) {
            return Err(self.error("a repeat whose upper count is below its lower one"));
        }
        Ok(Some((low, high)))
    }

    fn digits(&mut self) -> String {
        let mut found = String::new();
        while let Some(c) = self.peek().filter(char::is_ascii_digit) {
            found.push(c);
            self.at += 1;
        }
        found
    }

    fn item(&mut self) -> Result<Option<Node>, PatternError> {
        let ascii = self.flags.ascii;
        let at = |at| Some(Node::At { at, ascii });
        let Some(c) = self.next() else { return Ok(None) };
        Ok(match c {
            '.' => Some(Node::Any { newline: self.flags.dot_all }),
            '^' => at(if self.flags.multiline { At::LineStart } else { At::Start }),
            '$' => at(if self.flags.multiline { At::LineEnd } else { At::End }),
            '[' => Some(self.set()?),
            '(' => self.group()?,
            '\\' => Some(self.escape()?),
            _ => Some(self.literal(c)),
        })
    }

    fn literal(&self, c: char) -> Node {
        Node::Char { c, ignore_case: self.flags.ignore_case }
    }

    fn escape(&mut self) -> Result<Node, PatternError> {
        let Some(c) = self.next() else {
            return Err(self.error("a lone \\ at the end: write \\\\ for the character"));
        };
        let ascii = self.flags.ascii;
        let at = |at| Ok(Node::At { at, ascii });
        match c {
            'A' => at(At::Start),
            'Z' => at(At::VeryEnd),
            'b' => at(At::Boundary),
            'B' => at(At::NoBoundary),
            '1'..='9' => {
                let mut number = c.to_digit(10).unwrap_or(0) as usize;
                if let Some(second) = self.peek().and_then(|c| c.to_digit(10)) {
                    self.at += 1;
                    number = number * 10 + second as usize;
                }
                self.same(number)
            }
            _ => match self.class_or_char(c)? {
                Piece::Range(c, _) => Ok(self.literal(c)),
                piece => Ok(Node::Set(Set::new(vec![piece], false, false, ascii))),
            },
        }
    }

    /// What an escape means both inside and outside of brackets.
    fn class_or_char(&mut self, c: char) -> Result<Piece, PatternError> {
        let class = |class, negated| Ok(Piece::Class { class, negated });
        let one = |c| Ok(Piece::Range(c, c));
        match c {
            'd' => class(Class::Digit, false),
            'D' => class(Class::Digit, true),
            's' => class(Class::Space, false),
            'S' => class(Class::Space, true),
            'w' => class(Class::Word, false),
            'W' => class(Class::Word, true),
            'a' => one('\x07'),
            'f' => one('\x0c'),
            'n' => one('\n'),
            'r' => one('\r'),
            't' => one('\t'),
            'v' => one('\x0b'),
            'x' => self.code(2).and_then(one),
            'u' => self.code(4).and_then(one),
            'U' => self.code(8).and_then(one),
            '0' => {
                let mut code = 0;
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    self.at += 1;
                }
                one(char::from_u32(code).unwrap_or('\0'))
            }
            _ if c.is_ascii_alphanumeric() => {
                Err(self.error(format!("the escape \\{c} has no meaning")))
            }
            _ => one(c),
        }
    }

    fn code(&mut self, digits: usize) -> Result<char, PatternError> {
        let mut code = 0u32;
        for _ in 0..digits {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(16)) else {
                return Err(self.error(format!("{digits} hex digits are wanted here")));
            };
            code = code.wrapping_mul(16).wrapping_add(digit);
            self.at += 1;
        }
        char::from_u32(code).ok_or_else(|| self.error("no character has this code"))
    }

    fn set(&mut self) -> Result<Node, PatternError> {
        let negated = self.eat("^");
        let mut pieces = Vec::new();
        loop {
            let Some(c) = self.next() else {
                return Err(self.error("a [ without its ]: write \\[ for the character"));
            };
            if c == ']' && !pieces.is_empty() {
                break;
            }
            let first = self.set_piece(c)?;
            let Piece::Range(low, _) = first else {
                pieces.push(first);
                continue;
            };
            if self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|c| *c != ']') {
                self.at += 1;
                let c = self.next().unwrap_or('-');
                match self.set_piece(c)? {
                    Piece::Range(high, _) if low <= high => pieces.push(Piece::Range(low, high)),
                    _ => return Err(self.error("a range in [ ] that runs backwards")),
                }
            } else {
                pieces.push(first);
            }
        }
        Ok(Node::Set(Set::new(pieces, negated, self.flags.ignore_case, self.flags.ascii)))
    }

    fn set_piece(&mut self, c: char) -> Result<Piece, PatternError> {
        if c != '\\' {
            return Ok(Piece::Range(c, c));
        }
        match self.next() {
            None => Err(self.error("a lone \\ at the end: write \\\\ for the character")),
            Some('b') => Ok(Piece::Range('\x08', '\x08')),
            Some(c) => self.class_or_char(c),
        }
    }

    fn group(&mut self) -> Result<Option<Node>, PatternError> {
        if !self.eat("?") {
            return self.capture(None).map(Some);
        }
        let node = if self.eat(":") {
            Node::Group { number: None, inner: self.inside()? }
        } else if self.eat("P<") {
            let name = self.name('>')?;
            if self.names.iter().any(|(known, _)| *known == name) {
                return Err(self.error(format!("the group name {name} is used twice")));
            }
            return self.capture(Some(name)).map(Some);
        } else if self.eat("P=") {
            let name = self.name(')')?;
            let group = self.named(&name)?;
            return self.same(group).map(Some);
        } else if self.eat("=") {
            Node::Look { inner: self.inside()?, behind: None, negated: false }
        } else if self.eat("!") {
            Node::Look { inner: self.inside()?, behind: None, negated: true }
        } else if self.eat("<=") {
            self.look_behind(false)?
        } else if self.eat("<!") {
            self.look_behind(true)?
        } else if self.eat(">") {
            Node::Atomic(self.inside()?)
        } else if self.eat("#") {
            while self.next().is_some_and(|c| c != ')') {}
            return Ok(None);
        } else if self.eat("(") {
            self.conditional()?
        } else {
            return self.flag_group();
        };
        Ok(Some(node))
    }

    /// The inside of a group whose opening was read, and its `)`.
    fn inside(&mut self) -> Result<Box<Node>, PatternError> {
        let outer = self.flags;
        let inner = self.alternatives()?;
        self.flags = outer;
        if self.eat(")") {
            Ok(Box::new(inner))
        } else {
            Err(self.error("a ( without its ): write \\( for the character"))
        }
    }

    fn capture(&mut self, name: Option<String>) -> Result<Node, PatternError> {
        self.groups += 1;
        let number = self.groups;
        if let Some(name) = name {
            self.names.push((name, number));
        }
        self.open.push(number);
        let inner = self.inside()?;
        self.open.pop();
        Ok(Node::Group { number: Some(number), inner })
    }

    fn look_behind(&mut self, negated: bool) -> Result<Node, PatternError> {
        let inner = self.inside()?;
        match width(&inner) {
            Some(behind) => Ok(Node::Look { inner, behind: Some(behind), negated }),
            None => Err(self.error("what a (?<= or (?<! looks back at must have a fixed width")),
        }
    }

    fn conditional(&mut self) -> Result<Node, PatternError> {
        let name = self.name(')')?;
        let group = match name.parse::<usize>() {
            Ok(number) if number >= 1 && number <= self.groups => number,
            Ok(_) => return Err(self.error(format!("there is no group {name} before this place"))),
            Err(_) => self.named(&name)?,
        };
        let outer = self.flags;
        let yes = Box::new(self.sequence()?);
        let no = Box::new(if self.eat("|") { self.sequence()? } else { Node::Empty });
        self.flags = outer;
        if self.eat(")") {
            Ok(Node::If { group, yes, no })
        } else {
            Err(self.error("a conditional (?(group)yes|no) takes two branches and a )"))
        }
    }

    fn flag_group(&mut self) -> Result<Option<Node>, PatternError> {
        let outer = self.flags;
        let mut flags = self.flags;
        let mut on = true;
        loop {
            match self.next() {
                Some('-') if on => on = false,
                Some(')') => return Ok(None),
                Some(':') => break,
                Some(letter) if flags.set(letter, on) => {}
                _ => {
                    self.at -= 1;
                    return Err(self.error("this kind of group (?… is not known here"));
                }
            }
        }
        self.flags = flags;
        let inner = self.inside()?;
        self.flags = outer;
        Ok(Some(Node::Group { number: None, inner }))
    }

    fn name(&mut self, end: char) -> Result<String, PatternError> {
        let mut name = String::new();
        loop {
            match self.next() {
                Some(c) if c == end && !name.is_empty() => return Ok(name),
                Some(c) if c.is_alphanumeric() || c == '_' => name.push(c),
                _ => return Err(self.error("a group's name is wanted here")),
            }
        }
    }

    fn named(&self, name: &str) -> Result<usize, PatternError> {
        self.names
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, group)| *group)
            .ok_or_else(|| self.error(format!("there is no group {name} before this place")))
    }

    fn same(&self, group: usize) -> Result<Node, PatternError> {
        if group == 0 || group > self.groups {
            return Err(self.error(format!("there is no group {group} before this place")));
        }
        if self.open.contains(&group) {
            return Err(self.error(format!("group {group} is still open here")));
        }
        Ok(Node::Same { group, ignore_case: self.flags.ignore_case })
    }
}

impl Flags {
    /// Sets one flag; `false` for a letter that is none.
    fn set(&mut self, letter: char, on: bool) -> bool {
        match letter {
            'a' => self.ascii = on,
            'u' => self.ascii = !on,
            'i' => self.ignore_case = on,
            'm' => self.multiline = on,
            's' => self.dot_all = on,
            _ => return false,
        }
        true
    }
}
