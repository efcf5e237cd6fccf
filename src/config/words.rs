//! Spans of time as people write them: `600`, `10m`, `1d 12h`, `1hour+30min`, `-1`.
//!
//! The words are those of fail2ban, with its lengths of a month (30.4375 days) and a year
//! (365.25 days); `m` is a minute, `mo` a month. Blanks between groups add up, and `+ - * / // %`
//! and brackets are understood. fail2ban hands such text to Python to run as code; here it is
//! parsed, and nothing else than arithmetic can be said in it.

use std::fmt;

/// A number that stays whole as long as it can, as Python's do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Whole(i64),
    /// One with a fraction, or that came from a division.
    Real(f64),
}

impl Number {
    /// As a float.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Whole(number) => number as f64,
            Number::Real(number) => number,
        }
    }

    /// Whole seconds, rounded down; out of range becomes the nearest end of the range.
    pub fn whole(self) -> i64 {
        match self {
            Number::Whole(number) => number,
            Number::Real(number) => number.floor() as i64,
        }
    }
}

/// As `--str2sec` prints it: `3600`, or `2629800.0` where a month or a division is in it.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Whole(number) => write!(f, "{number}"),
            Number::Real(number) => write!(f, "{number:?}"),
        }
    }
}

/// The units, with the names that they go by.
const UNITS: &[(&[&str], Number)] = &[
    (&["s", "ss", "se", "sec", "second", "seconds"], Number::Whole(1)),
    (&["m", "mm", "mi", "min", "minute", "minutes"], Number::Whole(60)),
    (&["h", "hh", "ho", "hou", "hour", "hours"], Number::Whole(3600)),
    (&["d", "dd", "da", "day", "days"], Number::Whole(86_400)),
    (&["w", "ww", "we", "wee", "week", "weeks"], Number::Whole(604_800)),
    (&["mo", "mon", "month", "months"], Number::Real(2_629_800.0)),
    (&["y", "yy", "ye", "yea", "year", "years"], Number::Real(31_557_600.0)),
];

/// How deep brackets and signs may nest.
const DEPTH_MAX: usize = 32;

/// Reads a span of time; the unit of the result is the second.
///
/// # Errors
/// What cannot be understood, in words that fit behind "`bantime = …`".
pub fn seconds(text: &str) -> Result<Number, String> {
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        return Err("is empty".to_owned());
    }
    let mut parser = Parser { tokens: &tokens, at: 0 };
    let number = parser.sum(0)?;
    match parser.peek() {
        None => Ok(number),
        Some(Token::Sign(sign)) => Err(format!("has a stray '{sign}'")),
        Some(_) => Err("has something behind its end".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    Number(Number),
    Unit(Number),
    Sign(char),
    /// `//`, which rounds down.
    Floor,
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = first.is_alphabetic();
        let length = match first {
            c if c.is_ascii_digit() || c == '.' => {
                rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len())
            }
            _ if is_word => rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len()),
            '/' if rest.starts_with("//") => 2,
            other => other.len_utf8(),
        };
        let (word, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        let behind_number = matches!(tokens.last(), Some(Token::Number(_) | Token::Unit(_)));
        let token = match first {
            c if c.is_ascii_digit() || c == '.' => {
                if behind_number {
                    tokens.push(Token::Sign('+'));
                }
                number(word)?
            }
            _ if is_word => unit(word)?,
            '/' if length == 2 => Token::Floor,
            '+' | '-' | '*' | '/' | '%' | '(' | ')' => Token::Sign(first),
            other => return Err(format!("has a '{}' in it", other.escape_default())),
        };
        tokens.push(token);
        rest = after.trim_start();
    }
    Ok(tokens)
}

fn number(word: &str) -> Result<Token, String> {
    let whole = word.parse().map(Number::Whole);
    let number = match word.contains('.') {
        true => word.parse().map(Number::Real).map_err(|_| ()),
        false => whole.map_err(|_| ()),
    };
    number.map(Token::Number).map_err(|()| format!("has the impossible number '{word}'"))
}

fn unit(word: &str) -> Result<Token, String> {
    let lower = word.to_lowercase();
    let found = UNITS.iter().find(|(names, _)| names.contains(&lower.as_str()));
    let Some((_, length)) = found else {
        return Err(format!("has the unknown unit '{word}'"));
    };
    Ok(Token::Unit(*length))
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn sum(&mut self, depth: usize) -> Result<Number, String> {
        let mut left = self.product(depth)?;
        while let Some(Token::Sign(sign @ ('+' | '-'))) = self.peek() {
            self.at += 1;
            left = calculate(left, sign, self.product(depth)?)?;
        }
        Ok(left)
    }

    fn product(&mut self, depth: usize) -> Result<Number, String> {
        let mut left = self.signed(depth)?;
        loop {
            let sign = match self.peek() {
                Some(Token::Unit(length)) => {
                    self.at += 1;
                    left = calculate(left, '*', length)?;
                    continue;
                }
                Some(Token::Sign(sign @ ('*' | '/' | '%'))) => sign,
                Some(Token::Floor) => '⌊',
                _ => return Ok(left),
            };
            self.at += 1;
            left = calculate(left, sign, self.signed(depth)?)?;
        }
    }

    fn signed(&mut self, depth: usize) -> Result<Number, String> {
        if depth > DEPTH_MAX {
            return Err("is nested too deeply".to_owned());
        }
        let token = self.peek();
        self.at += 1;
        match token {
            Some(Token::Number(number)) => Ok(number),
            Some(Token::Sign('-')) => calculate(Number::Whole(0), '-', self.signed(depth + 1)?),
            Some(Token::Sign('+')) => self.signed(depth + 1),
            Some(Token::Sign('(')) => {
                let inner = self.sum(depth + 1)?;
                let closed = self.peek() == Some(Token::Sign(')'));
                self.at += 1;
                if closed { Ok(inner) } else { Err("has a '(' that is not closed".to_owned()) }
            }
            Some(Token::Unit(_)) => Err("has a unit without a number before it".to_owned()),
            Some(Token::Sign(sign)) => Err(format!("has a '{sign}' where a number is missing")),
            Some(Token::Floor) => Err("has a '//' where a number is missing".to_owned()),
            None => Err("ends where a number is missing".to_owned()),
        }
    }
}

fn calculate(left: Number, sign: char, right: Number) -> Result<Number, String> {
    let by_zero = || "divides by zero".to_owned();
    let too_large = || "is too large".to_owned();
    if matches!(sign, '/' | '⌊' | '%') && right.as_f64() == 0.0 {
        return Err(by_zero());
    }
    if let (Number::Whole(a), Number::Whole(b)) = (left, right) {
        let whole = match sign {
            '+' => a.checked_add(b),
            '-' => a.checked_sub(b),
            '*' => a.checked_mul(b),
            // Rounded towards minus infinity, and the remainder to match.
            '⌊' => a.checked_div_euclid(b).map(|q| if b < 0 && a != q * b { q - 1 } else { q }),
            '%' => a.checked_rem(b).map(|r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r }),
            _ => return finite(a as f64 / b as f64),
        };
        return whole.map(Number::Whole).ok_or_else(too_large);
    }
    let (a, b) = (left.as_f64(), right.as_f64());
    finite(match sign {
        '+' => a + b,
        '-' => a - b,
        '*' => a * b,
        '⌊' => (a / b).floor(),
        '%' => a - b * (a / b).floor(),
        _ => a / b,
    })
}

fn finite(number: f64) -> Result<Number, String> {
    match number.is_finite() {
        true => Ok(Number::Real(number)),
        false => Err("is too large".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn spans_as_fail2ban_reads_them() {
        for (text, expected) in [
            ("600", "600"),
            ("-1", "-1"),
            ("10m", "600"),
            ("1d12h", "129600"),
            ("1d 12h", "129600"),
            ("1hour+30min", "5400"),
            ("0d 1h 30m", "5400"),
            ("1year-6mo", "15778800.0"),
            ("6 months", "15778800.0"),
            ("1y 6mo 2w 3d 4h 5m 6s", "48819906.0"),
            ("1.5h", "5400.0"),
            ("10/2h", "18000.0"),
            ("(1+2) h", "10800"),
            ("7 // 2", "3"),
            ("-7 // 2", "-4"),
            ("-7 % 3", "2"),
            ("2592000", "2592000"),
            ("1 WEEK", "604800"),
            ("60*60*24", "86400"),
        ] {
            assert_eq!(seconds(text).map(|n| n.to_string()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_said() {
        for (text, expected) in [
            ("", "is empty"),
            ("5 fortnights", "has the unknown unit 'fortnights'"),
            ("h", "has a unit without a number before it"),
            ("1h +", "ends where a number is missing"),
            ("(1h", "has a '(' that is not closed"),
            ("1/0", "divides by zero"),
            ("1 | 2", "has a '|' in it"),
            ("99999999999999999999", "has the impossible number '99999999999999999999'"),
            ("9223372036854775807*2", "is too large"),
            ("1..2", "has the impossible number '1..2'"),
            ("__import__('os')", "has a '_' in it"),
        ] {
            assert_eq!(seconds(text), Err(expected.to_owned()), "{text}");
        }
        assert!(seconds(&"(".repeat(100_000)).is_err());
    }
}
