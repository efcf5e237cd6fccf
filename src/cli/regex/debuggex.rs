//! Addresses under which debuggex.com draws an expression on a line. Only text: nobody calls there.

use std::fmt::Write as _;

/// The address for one line and one expression in Python's dialect.
pub fn address(line: &str, regex: &str, multiline: bool) -> String {
    let flags = if multiline { "&flags=m" } else { "" };
    format!(
        "https://www.debuggex.com/?re={}&str={}&flavor=python{flags}",
        encoded(regex),
        encoded(line)
    )
}

/// Form encoding: a blank is `+`, and what is neither letter, digit nor one of `_.-~` is `%XX`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'_' | b'.' | b'-' | b'~' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_letters_is_escaped() {
        assert_eq!(
            address("a é", "^<x>+$", true),
            "https://www.debuggex.com/?re=%5E%3Cx%3E%2B%24&str=a+%C3%A9&flavor=python&flags=m"
        );
    }
}
