//! Values as Python prints them, which is how `fail2ban-client -d` prints a configuration.
//!
//! Provisioning tools search that output; so `-d` and `--dp` are rendered here to the letter:
//! `repr` on one line, and `pprint` with a width of 1000 columns and an indent of 2.

/// A value of the command stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// True or false.
    Flag(bool),
    /// Nothing.
    None,
    /// Several.
    List(Vec<Value>),
    /// One value under a name.
    Map(&'static str, Box<Value>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

/// A list, from things that are values.
macro_rules! list {
    ($($value:expr),* $(,)?) => { Value::List(vec![$(Value::from($value)),*]) };
}
pub(super) use list;

const WIDTH: usize = 1000;
const INDENT: usize = 2;

impl Value {
    /// On one line, as `print` shows it.
    pub fn repr(&self) -> String {
        match self {
            Value::Text(text) => repr_text(text),
            Value::Number(number) => number.to_string(),
            Value::Flag(true) => "True".to_owned(),
            Value::Flag(false) => "False".to_owned(),
            Value::None => "None".to_owned(),
            Value::List(values) => {
                let values: Vec<String> = values.iter().map(Value::repr).collect();
                format!("[{}]", values.join(", "))
            }
            Value::Map(name, value) => format!("{{{}: {}}}", repr_text(name), value.repr()),
        }
    }

    /// Broken into lines where it is too long, as `pprint` shows it.
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        self.pretty_into(&mut out, 0, 0);
        out
    }

    /// `indent` is the column in which it begins, `allowance` the room needed behind it.
    fn pretty_into(&self, out: &mut String, indent: usize, allowance: usize) {
        let repr = self.repr();
        if repr.chars().count() <= WIDTH.saturating_sub(indent + allowance) {
            out.push_str(&repr);
            return;
        }
        match self {
            Value::List(values) => {
                out.push('[');
                out.push_str(&" ".repeat(INDENT - 1));
                let indent = indent + INDENT;
                for (number, value) in values.iter().enumerate() {
                    if number > 0 {
                        out.push_str(",\n");
                        out.push_str(&" ".repeat(indent));
                    }
                    let is_last = number + 1 == values.len();
                    value.pretty_into(out, indent, if is_last { allowance + 1 } else { 1 });
                }
                out.push(']');
            }
            Value::Text(text) => {
                let chunks = chunks(text, WIDTH.saturating_sub(indent), allowance);
                out.push_str(&chunks.join(&format!("\n{}", " ".repeat(indent))));
            }
            _ => out.push_str(&repr),
        }
    }
}

/// Long text in pieces that stand below each other: one for each line, and where a line does not
/// fit, broken behind white space.
fn chunks(text: &str, width: usize, allowance: usize) -> Vec<String> {
    let mut chunks = Vec::new();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for (number, line) in lines.iter().enumerate() {
        let last_line = number + 1 == lines.len();
        let repr = repr_text(line);
        let room = if last_line { width.saturating_sub(allowance) } else { width };
        if repr.chars().count() <= room {
            chunks.push(repr);
            continue;
        }
        let words = words(line);
        let mut room = width;
        let mut current = String::new();
        for (word_number, word) in words.iter().enumerate() {
            if last_line && word_number + 1 == words.len() {
                room = room.saturating_sub(allowance);
            }
            let candidate = format!("{current}{word}");
            if repr_text(&candidate).chars().count() > room {
                if !current.is_empty() {
                    chunks.push(repr_text(&current));
                }
                current = (*word).to_owned();
            } else {
                current = candidate;
            }
        }
        if !current.is_empty() {
            chunks.push(repr_text(&current));
        }
    }
    chunks
}

/// Words, each with the white space behind it.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let blank = rest.find(super::ini::is_space).unwrap_or(rest.len());
        let after = rest.get(blank..).unwrap_or_default();
        let length = rest.len() - after.trim_start_matches(super::ini::is_space).len();
        let (word, next) = rest.split_at_checked(length).unwrap_or((rest, ""));
        words.push(word);
        rest = next;
    }
    words
}

fn repr_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut repr = String::with_capacity(text.len() + 2);
    repr.push(quote);
    for c in text.chars() {
        match c {
            '\\' => repr.push_str("\\\\"),
            '\n' => repr.push_str("\\n"),
            '\r' => repr.push_str("\\r"),
            '\t' => repr.push_str("\\t"),
            c if c == quote => repr.extend(['\\', c]),
            ' '..='~' => repr.push(c),
            c if is_shown(c) => repr.push(c),
            c => match u32::from(c) {
                code @ ..=0xff => repr.push_str(&format!("\\x{code:02x}")),
                code @ ..=0xffff => repr.push_str(&format!("\\u{code:04x}")),
                code => repr.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    repr.push(quote);
    repr
}

/// Whether a character is printed as it is. Rust's debug form follows the same Unicode classes,
/// but also escapes combining marks, which Python prints.
fn is_shown(c: char) -> bool {
    c.is_alphanumeric() || c.escape_debug().nth(1).is_none_or(|second| second != 'u')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_python_quotes_it() {
        for (text, expected) in [
            ("plain", "'plain'"),
            ("it's", "\"it's\""),
            ("it's \"x\"", "'it\\'s \"x\"'"),
            ("a\\b\n\t", "'a\\\\b\\n\\t'"),
            ("\u{7f}\u{85}\u{a0}é\u{200b}\u{1f600}", "'\\x7f\\x85\\xa0é\\u200b\u{1f600}'"),
        ] {
            assert_eq!(Value::from(text).repr(), expected);
        }
        let list = list!["a", Value::Number(5), Value::Flag(true), Value::None, list!["b"]];
        assert_eq!(list.repr(), "['a', 5, True, None, ['b']]");
    }
}
