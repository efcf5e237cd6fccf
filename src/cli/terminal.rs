//! What an attacker wrote must not move the cursor of whoever reads it.
//!
//! Text of a log goes to a pipe as it stands; to a terminal it goes through [`plain`].

use std::{borrow::Cow, fmt::Write as _};

/// `text` with everything escaped that a terminal would obey instead of show: control characters
/// (the tab excepted), the C1 range, and the marks that turn the direction of writing.
pub fn plain(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_obeyed) else { return Cow::Borrowed(text) };
    let (clean, rest) = text.split_at(first);
    let mut shown = String::with_capacity(text.len() + 16);
    shown.push_str(clean);
    for letter in rest.chars() {
        match letter {
            letter if !is_obeyed(letter) => shown.push(letter),
            letter if u32::from(letter) < 0x100 => {
                // Writing to a String cannot fail.
                let _ = write!(shown, "\\x{:02x}", u32::from(letter));
            }
            letter => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(letter));
            }
        }
    }
    Cow::Owned(shown)
}

/// `text` made [`plain`] if it goes to a terminal.
pub fn shown(text: &str, to_terminal: bool) -> Cow<'_, str> {
    if to_terminal { plain(text) } else { Cow::Borrowed(text) }
}

/// True for what a terminal obeys instead of showing it.
pub fn is_obeyed(letter: char) -> bool {
    let direction = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (letter.is_control() && letter != '\t') || direction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        let rows = [
            ("plain text, é\t→", "plain text, é\t→"),
            ("\u{1b}[2Jgone", "\\x1b[2Jgone"),
            ("a\rb\nc\u{7f}", "a\\x0db\\x0ac\\x7f"),
            ("\u{9b}31m", "\\x9b31m"),
            ("a\u{202e}b", "a\\u{202e}b"),
        ];
        for (text, expected) in rows {
            assert_eq!(plain(text), expected);
            assert_eq!(shown(text, false), text);
        }
    }
}
