//! `bantime.formula`: the arithmetic that people write for fail2ban, parsed and never run as code.
//!
//! ```text
//! choice  = or ["if" or "else" choice]
//! or      = and {"or" and}             and   = not {"and" not}        not = "not" not | compared
//! compared = bits {("<" | "<=" | ">" | ">=" | "==" | "!=") bits}
//! bits    = | ^ & << >> + - * / // %   by Python's ranks; then signs, then "**", then
//! atom    = number | ban.Time | ban.Count | banFactor | math.pi | name "(" choice, … ")" | "(" choice ")"
//! ```
//!
//! Numbers stay whole as long as Python's do; whole ones that outgrow 128 bits go on as floats.

use std::fmt;

use super::number::{self, Fault, Number};

/// A longer formula is not read.
pub const FORMULA_BYTES_MAX: usize = 1000;

/// Brackets, signs and choices nest so deep at most.
const DEPTH_MAX: usize = 50;

/// A parsed `bantime.formula`.
///
/// ```
/// # use sentryban::jail::Formula;
/// let formula = Formula::parse("ban.Time * (1<<(ban.Count if ban.Count<20 else 20)) * banFactor")?;
/// assert_eq!(formula.evaluate(600, 3, 1.0), Some(4800.0));
/// assert!(Formula::parse("open('/etc/passwd')").is_err());
/// # Ok::<(), sentryban::jail::FormulaError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    text: String,
    root: Node,
}

/// Why a formula cannot be used: always the user's file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FormulaError {
    /// What is wrong, to be put behind the formula, without a full stop.
    pub what: String,
}

impl fmt::Display for FormulaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)
    }
}

impl std::error::Error for FormulaError {}

impl Formula {
    /// Reads a formula.
    ///
    /// # Errors
    /// It holds something that is no arithmetic, or names something unknown.
    pub fn parse(text: &str) -> Result<Formula, FormulaError> {
        let fault = |what: String| FormulaError { what };
        if text.len() > FORMULA_BYTES_MAX {
            return Err(fault(format!("is longer than {FORMULA_BYTES_MAX} bytes")));
        }
        let tokens = tokens(text).map_err(fault)?;
        let mut parser = Parser { tokens: &tokens, depth: 0 };
        let root = parser.choice().map_err(fault)?;
        match parser.tokens.first() {
            None => Ok(Formula { text: text.to_owned(), root }),
            Some(token) => Err(fault(format!("has '{token}' where it should end"))),
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What Python makes of it: seconds for a first ban of `time_s` seconds, `count` bans so far,
    /// and `banFactor`. Endless where it outgrows all numbers; none where Python has no answer
    /// (a division by zero, the root of a negative number).
    pub fn evaluate(&self, time_s: u64, count: u32, factor: f64) -> Option<f64> {
        let known = Known {
            time: Number::Whole(i128::from(time_s)),
            count: Number::Whole(i128::from(count)),
            factor: match factor.fract() == 0.0 && factor.abs() < 1e15 {
                true => Number::Whole(factor as i128),
                false => Number::Real(factor),
            },
        };
        match self.root.value(&known) {
            Ok(number) => Some(number.real()).filter(|real| !real.is_nan()),
            Err(Fault::Endless) => Some(f64::INFINITY),
            Err(Fault::Undefined) => None,
        }
    }
}

/// What a formula is about.
struct Known {
    time: Number,
    count: Number,
    factor: Number,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Number(Number),
    Time,
    Count,
    Factor,
    Sign(&'static str, Box<Node>),
    Not(Box<Node>),
    Pair(&'static str, Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    /// The first operand, then each comparison with its operand.
    Compared(Box<Node>, Vec<(&'static str, Node)>),
    Choice {
        then: Box<Node>,
        condition: Box<Node>,
        otherwise: Box<Node>,
    },
    Call(&'static str, Vec<Node>),
}

impl Node {
    fn value(&self, known: &Known) -> Result<Number, Fault> {
        match self {
            Node::Number(number) => Ok(*number),
            Node::Time => Ok(known.time),
            Node::Count => Ok(known.count),
            Node::Factor => Ok(known.factor),
            Node::Sign(sign, inner) => number::sign(sign, inner.value(known)?),
            Node::Not(inner) => Ok(Number::from(!inner.value(known)?.truth())),
            Node::Pair(operator, left, right) => {
                number::pair(operator, left.value(known)?, right.value(known)?)
            }
            Node::And(left, right) => match left.value(known)? {
                left if left.truth() => right.value(known),
                left => Ok(left),
            },
            Node::Or(left, right) => match left.value(known)? {
                left if left.truth() => Ok(left),
                _ => right.value(known),
            },
            Node::Compared(first, rest) => {
                let mut left = first.value(known)?;
                for (operator, right) in rest {
                    let right = right.value(known)?;
                    if !number::holds(operator, left, right) {
                        return Ok(Number::from(false));
                    }
                    left = right;
                }
                Ok(Number::from(true))
            }
            Node::Choice { then, condition, otherwise } => match condition.value(known)?.truth() {
                true => then.value(known),
                false => otherwise.value(known),
            },
            Node::Call(name, arguments) => {
                let values: Result<Vec<Number>, Fault> =
                    arguments.iter().map(|argument| argument.value(known)).collect();
                number::call(name, &values?)
            }
        }
    }
}

// ---- reading -----------------------------------------------------------------------------------

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(Number, String),
    /// With its dots: `ban.Time`.
    Name(String),
    Symbol(&'static str),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Number(_, text) | Token::Name(text) => text.fmt(f),
            Token::Symbol(symbol) => symbol.fmt(f),
        }
    }
}

/// Longer ones first.
const SYMBOLS: &[&str] = &[
    "**", "//", "<<", ">>", "<=", ">=", "==", "!=", "+", "-", "*", "/", "%", "<", ">", "&", "|",
    "^", "~", "(", ")", ",",
];

/// What may be called, with the least and the greatest number of arguments.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("abs", 1, 1),
    ("bool", 1, 1),
    ("float", 1, 1),
    ("int", 1, 1),
    ("max", 2, 16),
    ("min", 2, 16),
    ("pow", 2, 2),
    ("round", 1, 1),
    ("math.cbrt", 1, 1),
    ("math.ceil", 1, 1),
    ("math.cosh", 1, 1),
    ("math.exp", 1, 1),
    ("math.exp2", 1, 1),
    ("math.expm1", 1, 1),
    ("math.fabs", 1, 1),
    ("math.floor", 1, 1),
    ("math.fmod", 2, 2),
    ("math.hypot", 2, 2),
    ("math.log", 1, 2),
    ("math.log10", 1, 1),
    ("math.log1p", 1, 1),
    ("math.log2", 1, 1),
    ("math.pow", 2, 2),
    ("math.sinh", 1, 1),
    ("math.sqrt", 1, 1),
    ("math.tanh", 1, 1),
    ("math.trunc", 1, 1),
];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let bytes = if first.is_whitespace() {
            first.len_utf8()
        } else if first.is_ascii_digit() || (first == '.' && starts_fraction(rest)) {
            let (number, bytes) = read_number(rest)?;
            tokens.push(Token::Number(number, rest.get(..bytes).unwrap_or_default().to_owned()));
            bytes
        } else if first.is_ascii_alphabetic() || first == '_' {
            let bytes = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.')
                .unwrap_or(rest.len());
            tokens.push(Token::Name(rest.get(..bytes).unwrap_or_default().to_owned()));
            bytes
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            tokens.push(Token::Symbol(symbol));
            symbol.len()
        } else {
            return Err(format!("has '{}', which is no arithmetic", first));
        };
        rest = rest.get(bytes..).unwrap_or_default();
    }
    Ok(tokens)
}

fn starts_fraction(text: &str) -> bool {
    text.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
}

/// A number as Python writes it (`20`, `1_000`, `2.5`, `1e3`, `0x10`), and how long it is.
fn read_number(text: &str) -> Result<(Number, usize), String> {
    let bytes = text.as_bytes();
    let at = |place: usize| bytes.get(place).copied().unwrap_or(b' ');
    let mut end = 0;
    let radix = match (at(0), at(1).to_ascii_lowercase()) {
        (b'0', b'x') => 16,
        (b'0', b'o') => 8,
        (b'0', b'b') => 2,
        _ => 10,
    };
    if radix != 10 {
        end = 2;
    }
    let mut real = false;
    loop {
        let (byte, exponent) = (at(end), radix == 10 && matches!(at(end), b'e' | b'E'));
        let signed = matches!(at(end + 1), b'+' | b'-') && at(end + 2).is_ascii_digit();
        if exponent && (signed || at(end + 1).is_ascii_digit()) {
            (real, end) = (true, end + 2);
        } else if byte == b'.' && radix == 10 {
            (real, end) = (true, end + 1);
        } else if byte == b'_' || char::from(byte).is_digit(radix) {
            end += 1;
        } else {
            break;
        }
    }
    let written = text.get(..end).unwrap_or_default();
    let digits = written.replace('_', "");
    let number = match (real, radix) {
        (true, _) => digits.parse().ok().map(Number::Real),
        (false, 10) => digits.parse().ok().map(Number::Whole),
        (false, _) => {
            i128::from_str_radix(digits.get(2..).unwrap_or_default(), radix).ok().map(Number::Whole)
        }
    };
    let glued = char::from(at(end)).is_ascii_alphabetic();
    match number.filter(|_| !glued) {
        Some(number) => Ok((number, end)),
        None => Err(format!("has '{written}' where a number should stand")),
    }
}

/// Two-sided operators by rank, the weakest first; `**` stands apart.
const RANKS: &[&[&str]] =
    &[&["|"], &["^"], &["&"], &["<<", ">>"], &["+", "-"], &["*", "/", "//", "%"]];

const COMPARISONS: &[&str] = &["<", "<=", ">", ">=", "==", "!="];

struct Parser<'a> {
    tokens: &'a [Token],
    depth: usize,
}

type Read = Result<Node, String>;

impl Parser<'_> {
    fn choice(&mut self) -> Read {
        self.deeper(|parser| {
            let then = parser.or()?;
            if !parser.word("if") {
                return Ok(then);
            }
            let condition = parser.or()?;
            if !parser.word("else") {
                return Err("has an 'if' without 'else'".to_owned());
            }
            let otherwise = parser.choice()?;
            let (then, condition) = (Box::new(then), Box::new(condition));
            Ok(Node::Choice { then, condition, otherwise: Box::new(otherwise) })
        })
    }

    fn or(&mut self) -> Read {
        let mut left = self.and()?;
        while self.word("or") {
            left = Node::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Read {
        let mut left = self.not()?;
        while self.word("and") {
            left = Node::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Read {
        match self.word("not") {
            true => self.deeper(|parser| Ok(Node::Not(Box::new(parser.not()?)))),
            false => self.compared(),
        }
    }

    fn compared(&mut self) -> Read {
        let first = self.ranked(0)?;
        let mut rest = Vec::new();
        while let Some(operator) = self.symbol(COMPARISONS) {
            rest.push((operator, self.ranked(0)?));
        }
        Ok(match rest.is_empty() {
            true => first,
            false => Node::Compared(Box::new(first), rest),
        })
    }

    fn ranked(&mut self, rank: usize) -> Read {
        let Some(operators) = RANKS.get(rank) else { return self.signed() };
        let mut left = self.ranked(rank + 1)?;
        while let Some(operator) = self.symbol(operators) {
            left = Node::Pair(operator, Box::new(left), Box::new(self.ranked(rank + 1)?));
        }
        Ok(left)
    }

    fn signed(&mut self) -> Read {
        match self.symbol(&["+", "-", "~"]) {
            Some(sign) => self.deeper(|parser| Ok(Node::Sign(sign, Box::new(parser.signed()?)))),
            None => self.power(),
        }
    }

    /// `a ** b` binds tighter than a sign before `a`, and less than one before `b`.
    fn power(&mut self) -> Read {
        let base = self.atom()?;
        match self.symbol(&["**"]) {
            Some(operator) => self.deeper(|parser| {
                Ok(Node::Pair(operator, Box::new(base), Box::new(parser.signed()?)))
            }),
            None => Ok(base),
        }
    }

    fn atom(&mut self) -> Read {
        let Some((token, rest)) = self.tokens.split_first() else {
            return Err("ends where a value should stand".to_owned());
        };
        self.tokens = rest;
        match token {
            Token::Number(number, _) => Ok(Node::Number(*number)),
            Token::Symbol("(") => {
                let inner = self.choice()?;
                self.close()?;
                Ok(inner)
            }
            Token::Symbol(symbol) => Err(format!("has '{symbol}' where a value should stand")),
            Token::Name(name) => self.named(name),
        }
    }

    fn named(&mut self, name: &str) -> Read {
        match name {
            "ban.Time" => return Ok(Node::Time),
            "ban.Count" => return Ok(Node::Count),
            "banFactor" => return Ok(Node::Factor),
            "True" => return Ok(Node::Number(Number::from(true))),
            "False" => return Ok(Node::Number(Number::from(false))),
            "math.pi" => return Ok(Node::Number(Number::Real(std::f64::consts::PI))),
            "math.e" => return Ok(Node::Number(Number::Real(std::f64::consts::E))),
            "math.tau" => return Ok(Node::Number(Number::Real(std::f64::consts::TAU))),
            "math.inf" => return Ok(Node::Number(Number::Real(f64::INFINITY))),
            _ => {}
        }
        let Some(&(name, least, most)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
            return Err(format!("names '{name}', which is unknown"));
        };
        if self.symbol(&["("]).is_none() {
            return Err(format!("has '{name}' without '(' behind it"));
        }
        let mut arguments = vec![self.choice()?];
        while self.symbol(&[","]).is_some() {
            if self.tokens.first() == Some(&Token::Symbol(")")) {
                break;
            }
            arguments.push(self.choice()?);
        }
        self.close()?;
        match (least..=most).contains(&arguments.len()) {
            true => Ok(Node::Call(name, arguments)),
            false => Err(format!("gives {} argument(s) to '{name}'", arguments.len())),
        }
    }

    fn close(&mut self) -> Result<(), String> {
        match self.symbol(&[")"]) {
            Some(_) => Ok(()),
            None => Err("has a '(' without its ')'".to_owned()),
        }
    }

    fn symbol(&mut self, wanted: &[&str]) -> Option<&'static str> {
        let (first, rest) = self.tokens.split_first()?;
        match first {
            Token::Symbol(symbol) if wanted.contains(symbol) => {
                self.tokens = rest;
                Some(symbol)
            }
            _ => None,
        }
    }

    fn word(&mut self, wanted: &str) -> bool {
        match self.tokens.split_first() {
            Some((Token::Name(name), rest)) if name == wanted => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Read) -> Read {
        self.depth += 1;
        let node = match self.depth > DEPTH_MAX {
            true => Err("nests too deep".to_owned()),
            false => read(self),
        };
        self.depth -= 1;
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_python() {
        // Time, count, factor; the values are Python's.
        let rows = [
            ("ban.Time * (1<<(ban.Count if ban.Count<20 else 20)) * banFactor", 600, 0, 1.0, 600.0),
            (
                "ban.Time * (1<<(ban.Count if ban.Count<20 else 20)) * banFactor",
                600,
                5,
                1.0,
                19200.0,
            ),
            (
                "ban.Time * (1<<(ban.Count if ban.Count<20 else 20)) * banFactor",
                600,
                99,
                1.5,
                943_718_400.0,
            ),
            ("2 ** 3 ** 2", 1, 1, 1.0, 512.0),
            ("-2 ** 2", 1, 1, 1.0, -4.0),
            ("2 ** -1", 1, 1, 1.0, 0.5),
            ("-7 // 2", 1, 1, 1.0, -4.0),
            ("-7 % 3", 1, 1, 1.0, 2.0),
            ("7 / 2", 1, 1, 1.0, 3.5),
            ("round(2.5) + round(3.5)", 1, 1, 1.0, 6.0),
            ("int(-3.7) + abs(-2)", 1, 1, 1.0, -1.0),
            ("1 < ban.Count <= 3", 1, 3, 1.0, 1.0),
            (
                "ban.Time if ban.Count < 2 else ban.Time * 2 if ban.Count < 4 else 9",
                10,
                3,
                1.0,
                20.0,
            ),
            ("max(1, 2.5, 2) + min(4, 3,)", 1, 1, 1.0, 5.5),
            ("not 0 and 5 or 6", 1, 1, 1.0, 5.0),
            ("1_000 + 0x10 + 1e3 + .5", 1, 1, 1.0, 2016.5),
            ("math.log(8, 2) + math.floor(2.9)", 1, 1, 1.0, 5.0),
            ("6 ^ 3 | 8 & 12", 1, 1, 1.0, 13.0),
            ("True + ~0", 1, 1, 1.0, 0.0),
            ("float(ban.Count+1)*banFactor", 1, 2, 0.5, 1.5),
        ];
        for (text, time, count, factor, expected) in rows {
            let value = Formula::parse(text).unwrap().evaluate(time, count, factor);
            assert_eq!(value, Some(expected), "{text}");
        }
    }

    #[test]
    fn what_python_cannot_answer_has_no_value() {
        for (text, expected) in [
            ("1 / 0", None),
            ("1 // (ban.Count - ban.Count)", None),
            ("math.sqrt(-1)", None),
            ("math.log(0)", None),
            ("(-8) ** 0.5", None),
            ("1 << -1", None),
            ("1.5 << 1", None),
            ("math.exp(1000)", Some(f64::INFINITY)),
            ("10 ** 400", Some(f64::INFINITY)),
            ("1 << 100000", Some(f64::INFINITY)),
            ("2 ** 1000 * 2.0 ** 1000", Some(f64::INFINITY)),
        ] {
            assert_eq!(Formula::parse(text).unwrap().evaluate(600, 3, 1.0), expected, "{text}");
        }
    }

    #[test]
    fn faults_say_what_is_wrong() {
        let deep = format!("{}1{}", "(".repeat(60), ")".repeat(60));
        let long = "1+".repeat(FORMULA_BYTES_MAX);
        for (text, expected) in [
            ("", "ends where a value should stand"),
            ("ban.Time *", "ends where a value should stand"),
            ("ban.time", "names 'ban.time'"),
            ("__import__('os')", "has ''', which is no arithmetic"),
            ("ban.Time ban.Count", "has 'ban.Count' where it should end"),
            ("(1", "has a '(' without its ')'"),
            ("1 if 2", "has an 'if' without 'else'"),
            ("math.exp", "has 'math.exp' without '('"),
            ("math.exp(1, 2)", "gives 2 argument(s) to 'math.exp'"),
            ("1 = 2", "has '=', which is no arithmetic"),
            ("1.2.3", "has '1.2.3' where a number should stand"),
            ("5m", "has '5' where a number should stand"),
            (&deep, "nests too deep"),
            (&long, "is longer than"),
        ] {
            let error = Formula::parse(text).unwrap_err();
            assert!(error.what.contains(expected), "{text}: {error}");
        }
    }
}
