//! Option lists: `sshd[mode=aggressive, x="a,b"][y=z]`, and several of them in one value.

use super::{
    ini::is_space,
    text::{Options, Text},
};
use crate::place::{Located, Place};

/// Splits `name[option=value, …]` into the name and the options, in order; the last of two equal
/// names wins.
///
/// Values may be quoted by `"` or `'`; unquoted ones end at `,` or `]`.
///
/// # Errors
/// What is wrong, in words that fit behind the text itself.
pub fn parse(text: &str) -> Result<(String, Vec<(String, String)>), String> {
    let text = text.trim_matches(is_space);
    let Some((name, rest)) = text.split_once('[') else {
        return if text.is_empty() { Err("is empty".into()) } else { Ok((text.into(), vec![])) };
    };
    let Some(list) = rest.strip_suffix(']') else {
        return Err("has a '[' without a ']' at its end".to_owned());
    };
    let name = name.trim_matches(is_space);
    if name.is_empty() {
        return Err("has no name before its '['".to_owned());
    }
    Ok((name.to_owned(), parse_list(list)?))
}

/// Reads what stands within the brackets.
///
/// # Errors
/// As [`parse`].
pub fn parse_list(list: &str) -> Result<Vec<(String, String)>, String> {
    let mut options: Vec<(String, String)> = Vec::new();
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches(is_space);
        if rest.is_empty() || rest.trim_matches(is_space) == "," {
            return Ok(options);
        }
        let Some((name, after)) = option_name(rest) else {
            let shown: String = rest.chars().take(25).collect();
            return Err(format!("has '{shown}' where `option=value` should stand"));
        };
        let (value, after) = option_value(after);
        let value = value.trim_matches(is_space).to_owned();
        match options.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => options.push((name.to_owned(), value)),
        }
        rest = match separator(after) {
            Some(next) => next,
            None => {
                let shown: String = after.chars().take(25).collect();
                return Err(format!("has '{shown}' behind the value of '{name}'"));
            }
        };
    }
}

/// `name=` at the beginning, where the name may carry a condition: `name?family=inet6=`.
fn option_name(text: &str) -> Option<(&str, &str)> {
    let is_char = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let word = |text: &str| text.find(|c| !is_char(c)).unwrap_or(text.len());
    let plain = word(text);
    if plain == 0 {
        return None;
    }
    let mut end = plain;
    if let Some(condition) = text.get(plain..)?.strip_prefix('?')
        && let Some((key, value)) = condition.split_once('=')
        && !key.is_empty()
        && word(key) == key.len()
        && word(value) > 0
    {
        end = plain + 1 + key.len() + 1 + word(value);
    }
    let after = text.get(end..)?.strip_prefix('=')?;
    Some((text.get(..end)?, after))
}

/// The value and what follows it.
fn option_value(text: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some(quoted) = text.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return quoted;
        }
    }
    let end = text.find([',', ']']).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// What follows a separator: `,`, `][`, or the end.
fn separator(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix(',') {
        return Some(rest);
    }
    if text.trim_matches(is_space).is_empty() {
        return Some("");
    }
    text.strip_prefix(']')?.trim_start_matches(is_space).strip_prefix('[')
}

/// Splits a value into its entries, at white space outside brackets: several actions, say.
pub fn split(text: &Text) -> Vec<Located<String>> {
    let whole = text.as_str();
    let mut entries = Vec::new();
    let mut at = 0;
    while let Some(rest) = whole.get(at..).filter(|rest| !rest.is_empty()) {
        let blank = rest.len() - rest.trim_start_matches(is_space).len();
        if blank > 0 {
            at += blank;
            continue;
        }
        let length = entry_length(rest);
        let place = text.place_of(at);
        entries.push(Located::new(rest.get(..length).unwrap_or(rest).to_owned(), place));
        at += length.max(1);
    }
    entries
}

/// How far the entry at the beginning of `text` reaches.
fn entry_length(text: &str) -> usize {
    let run = text.find(is_space).unwrap_or(text.len());
    let word = text.find(|c| c == '[' || is_space(c)).unwrap_or(text.len());
    let after = text.get(word..).unwrap_or_default();
    let bracket = after.trim_start_matches(is_space);
    if word == 0 || !bracket.starts_with('[') {
        return run;
    }
    match list_length(bracket) {
        Some(length) => word + (after.len() - bracket.len()) + length,
        None => run,
    }
}

/// The length of a well-formed `[…][…]`, which white space or the end must follow.
fn list_length(text: &str) -> Option<usize> {
    let mut rest = text.strip_prefix('[')?;
    loop {
        rest = rest.trim_start_matches(is_space);
        if let Some((_, after)) = option_name(rest) {
            let (_, after) = option_value(after);
            rest = after.trim_start_matches(is_space);
        } else if !rest.starts_with(']') {
            return None;
        }
        if let Some(after) = rest.strip_prefix(',') {
            rest = after;
        } else if let Some(after) = rest.strip_prefix(']') {
            match after.trim_start_matches(is_space).strip_prefix('[') {
                Some(inner) => rest = inner,
                None => {
                    let ended = after.is_empty() || after.starts_with(is_space);
                    return ended.then_some(text.len() - after.len());
                }
            }
        }
    }
}

/// The options as texts of one place, for those who look names up in them.
pub(super) fn located(options: Vec<(String, String)>, at: &Place) -> Options {
    let options = options.into_iter();
    options.map(|(name, value)| (name, Text::new(value, at.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(options: &[(&str, &str)]) -> Vec<(String, String)> {
        options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn lists_are_read() {
        for (text, name, options) in [
            ("sshd", "sshd", &[][..]),
            ("sshd[]", "sshd", &[]),
            ("sshd[mode=aggressive]", "sshd", &[("mode", "aggressive")]),
            ("a[x=\"a,b]\", y='q\"']", "a", &[("x", "a,b]"), ("y", "q\"")]),
            ("a[x=1][y=2] [z=3]", "a", &[("x", "1"), ("y", "2"), ("z", "3")]),
            ("a[x=1,\n  y=2,]", "a", &[("x", "1"), ("y", "2")]),
            ("a[x=, y= b c ]", "a", &[("x", ""), ("y", "b c")]),
            ("a[x=1, x=2]", "a", &[("x", "2")]),
            ("a[b?family=inet6=DROP]", "a", &[("b?family=inet6", "DROP")]),
            ("a[x=\"open, y=2]", "a", &[("x", "\"open"), ("y", "2")]),
        ] {
            assert_eq!(parse(text), Ok((name.to_owned(), pairs(options))), "{text}");
        }
    }

    #[test]
    fn broken_lists_are_refused() {
        for (text, expected) in [
            ("", "is empty"),
            ("a[x=1", "has a '[' without a ']' at its end"),
            ("[x=1]", "has no name before its '['"),
            ("a[nonsense]", "has 'nonsense' where `option=value` should stand"),
            ("a[x=\"1\" y=2]", "has ' y=2' behind the value of 'x'"),
        ] {
            assert_eq!(parse(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn entries_are_split_outside_brackets() {
        let mut text = Text::new("one[a=\"x y\", b=1]  two", Place::new("f", 1));
        text.push_line("three[c=d,", Place::new("f", 2));
        text.push_line("e=f]", Place::new("f", 3));
        text.push_line("four [g=h] broken[x y", Place::new("f", 4));
        let entries: Vec<_> =
            split(&text).into_iter().map(|entry| (entry.value, entry.at.line)).collect();
        let expected = [
            ("one[a=\"x y\", b=1]", 1),
            ("two", 1),
            ("three[c=d,\ne=f]", 2),
            ("four [g=h]", 4),
            ("broken[x", 4),
            ("y", 4),
        ];
        assert_eq!(entries, expected.map(|(entry, line)| (entry.to_owned(), line)));
    }
}
