//! Words as a POSIX shell splits them: blanks separate, quotes and `\` keep together.

/// Splits a line into words; `None` if a quote is not closed.
pub fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"'), '\\') if matches!(chars.peek(), Some('"' | '\\')) => {
                word.get_or_insert_default().extend(chars.next());
            }
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().push(chars.next()?),
            (None, ' ' | '\t' | '\r' | '\n') => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_split_as_a_shell_does() {
        for (line, expected) in [
            ("_A=1 + _B=2", Some(&["_A=1", "+", "_B=2"][..])),
            ("_A=\"x y\" '\\z'", Some(&["_A=x y", "\\z"])),
            (r#""a\"b\\c\d" e\ f ''"#, Some(&["a\"b\\c\\d", "e f", ""])),
            ("", Some(&[])),
            ("'open", None),
            ("end\\", None),
        ] {
            let expected = expected.map(|words| words.iter().map(|w| w.to_string()).collect());
            assert_eq!(words(line), expected, "{line}");
        }
    }
}
