//! Values as Python prints them.
//!
//! Scripts read `--out row`, and people compare our report with fail2ban's: both contain Python's
//! `repr` of texts, numbers and dictionaries.

use crate::{filter::Field, time::Timestamp};

/// `repr` of a text: single quotes unless it holds one and no double quote; control characters and
/// what has no glyph escaped.
pub fn repr_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if letter == quote => {
                out.push('\\');
                out.push(letter);
            }
            letter if is_printable(letter) => out.push(letter),
            letter => {
                let code = u32::from(letter);
                out.push_str(&match code {
                    0..=0xff => format!("\\x{code:02x}"),
                    0x100..=0xffff => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                });
            }
        }
    }
    out.push(quote);
    out
}

/// Python escapes what Unicode calls "other" or "separator", the blank excepted. The tables for all
/// unassigned characters are not worth their size here: they are printed.
fn is_printable(letter: char) -> bool {
    let invisible = matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e000}'..='\u{f8ff}' | '\u{fff9}'..='\u{fffb}');
    !letter.is_control() && !invisible && (letter == ' ' || !letter.is_whitespace())
}

/// `repr` of a text or `None`.
pub fn repr_option(text: Option<&str>) -> String {
    text.map_or_else(|| "None".to_owned(), repr_text)
}

/// A moment as Python's float: always with a decimal point (`1124013599.0`).
pub fn float(at: Timestamp) -> String {
    format!("{:?}", at.secs_f64())
}

/// `repr` of a captured value; a tuple of one part keeps its comma.
pub fn repr_field(field: &Field) -> String {
    match field {
        Field::Text(text) => repr_text(text),
        Field::Tuple(parts) => {
            let parts: Vec<String> =
                parts.iter().map(|part| repr_option(part.as_deref())).collect();
            match parts.as_slice() {
                [one] => format!("({one},)"),
                several => format!("({})", several.join(", ")),
            }
        }
    }
}

/// `str` of a captured value: a text without quotes.
pub fn text_of_field(field: &Field) -> String {
    match field {
        Field::Text(text) => text.to_string(),
        Field::Tuple(_) => repr_field(field),
    }
}

/// `repr` of a dictionary whose values are already printed.
pub fn repr_dict<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let inside: Vec<String> =
        pairs.into_iter().map(|(name, value)| format!("{}: {value}", repr_text(name))).collect();
    format!("{{{}}}", inside.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_python_does() {
        let rows = [
            ("bob", "'bob'"),
            ("", "''"),
            ("it's", "\"it's\""),
            ("b'o\"\\b", "'b\\'o\"\\\\b'"),
            ("a\tb\nc\u{1b}", "'a\\tb\\nc\\x1b'"),
            ("é → \u{a0}\u{2028}", "'é → \\xa0\\u2028'"),
        ];
        for (text, expected) in rows {
            assert_eq!(repr_text(text), expected);
        }
    }

    #[test]
    fn numbers_and_tuples_look_like_pythons() {
        assert_eq!(float(Timestamp::from_secs(1_124_013_599)), "1124013599.0");
        assert_eq!(float(Timestamp::from_micros(1_124_013_599_250_000)), "1124013599.25");
        let pair = Field::Tuple(vec![None, Some("a".into())]);
        assert_eq!(repr_field(&pair), "(None, 'a')");
        assert_eq!(repr_field(&Field::Tuple(vec![Some("a".into())])), "('a',)");
        assert_eq!(
            repr_dict([("x", "1".to_owned()), ("y", "None".to_owned())]),
            "{'x': 1, 'y': None}"
        );
        assert_eq!(repr_dict([]), "{}");
    }
}
