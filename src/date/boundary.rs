//! Where an expression of a date may begin and end.
//!
//! A date is found at borders of words only, unless its pattern says otherwise: with an anchor
//! (`^`, `$`), with `**` at the end in question, or with a prefix: `{^LN-BEG}` allows it only at the
//! beginning of the line, behind at most two characters that belong to no word; `{UNB}` anywhere.
//! What is cut out of the line is the first group of the expression, so one is put around all of
//! it where the author wrote none.

/// What goes before an expression that must begin at the beginning of the line.
const AT_LINE_START: &str = r"^(?:\W{0,2})?";
const AT_WORD_START: &str = r"(?=^|\b|\W)";
const AT_WORD_END: &str = r"(?=\b|\W|$)";

/// How a template wants its beginning bound.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Start {
    Free,
    Word,
    Line,
}

/// An expression with its borders.
pub(crate) struct Bound {
    pub(crate) regex: String,
    /// `{^LN-BEG}` was applied, and belongs into the template's name.
    pub(crate) line_prefix: bool,
    /// It can match at the beginning of a line only, as far as its first characters tell.
    pub(crate) line_begin: bool,
    /// Likewise its end.
    pub(crate) line_end: bool,
}

/// Puts borders, and a group if there is none, around an expression.
pub(crate) fn bind(expression: &str, start: Start, bind_end: bool) -> Bound {
    let (flags, body) = take_flags(expression.trim());
    let bind_start = start != Start::Free && !begins_by_itself(&body);
    let bind_end = bind_end && !ends_by_itself(&body);
    let grouped = if has_group(&body) { body } else { group_all(&body) };

    let line_prefix = bind_start && start == Start::Line;
    let prefix = match start {
        _ if !bind_start => "",
        Start::Line => AT_LINE_START,
        Start::Word | Start::Free => AT_WORD_START,
    };
    let suffix = if bind_end { AT_WORD_END } else { "" };
    let regex = format!("{prefix}{grouped}{suffix}");
    Bound {
        line_prefix,
        line_begin: line_prefix || begins_with_anchor(&regex),
        line_end: ends_with_anchor(&regex),
        regex: format!("{flags}{}", without_stars(&regex)),
    }
}

/// Whether a capturing group without a name stands in the expression. Named ones do not count:
/// the directives are such.
pub(crate) fn has_group(expression: &str) -> bool {
    let bytes = expression.as_bytes();
    let at = |i: Option<usize>| i.and_then(|i| bytes.get(i)).copied();
    (0..bytes.len()).any(|i| {
        let before = at(i.checked_sub(1));
        let condition = before == Some(b'?') && at(i.checked_sub(2)) == Some(b'(');
        at(Some(i)) == Some(b'(')
            && at(Some(i + 1)) != Some(b'?')
            && before != Some(b'\\')
            && !condition
    })
}

/// Takes the first group of global flags, `(?i)`, out of the expression.
fn take_flags(expression: &str) -> (String, String) {
    for (i, _) in expression.match_indices("(?") {
        let escaped = expression.get(..i).is_some_and(|before| before.ends_with('\\'));
        let rest = expression.get(i + 2..).unwrap_or_default();
        let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        if !escaped && letters > 0 && rest.as_bytes().get(letters) == Some(&b')') {
            let end = i + 2 + letters + 1;
            let flags = expression.get(i..end).unwrap_or_default().to_owned();
            let before = expression.get(..i).unwrap_or_default();
            let after = expression.get(end..).unwrap_or_default();
            return (flags, format!("{before}{after}"));
        }
    }
    (String::new(), expression.to_owned())
}

/// What remains behind `(?letters)`, if that stands here; also what stands here.
fn maybe_flags(expression: &str) -> &str {
    expression
        .strip_prefix("(?")
        .map(|rest| rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'))
        .and_then(|rest| rest.strip_prefix(')'))
        .unwrap_or(expression)
}

/// The author bound the beginning: `^`, `**`, also inside of opening groups.
fn begins_by_itself(expression: &str) -> bool {
    let mut inner = expression;
    loop {
        let rest = maybe_flags(inner);
        let opened = rest.trim_start_matches('(');
        if rest.starts_with('^')
            || rest.starts_with("(^")
            || rest.starts_with("(?:^")
            || opened.starts_with("**")
        {
            return true;
        }
        match inner.strip_prefix('(') {
            Some(next) => inner = next,
            None => return false,
        }
    }
}

/// The author bound the end: `$`, `\b`, `\s`, `**`, the last also inside of closing groups.
fn ends_by_itself(expression: &str) -> bool {
    let unescaped = |before: &str| !before.ends_with('\\');
    ends_with_dollar(expression).is_some_and(unescaped)
        || [r"\b", r"\s"].iter().any(|end| expression.strip_suffix(end).is_some_and(unescaped))
        || expression.trim_end_matches(')').strip_suffix("**").is_some_and(unescaped)
}

/// What stands before a last `$` or `$)`.
fn ends_with_dollar(expression: &str) -> Option<&str> {
    expression.strip_suffix("$)").or_else(|| expression.strip_suffix('$'))
}

fn begins_with_anchor(expression: &str) -> bool {
    let rest = maybe_flags(expression);
    rest.starts_with('^')
        || ["(^", "(?:^"]
            .iter()
            .any(|start| rest.strip_prefix(start).is_some_and(|after| !after.starts_with('|')))
}

fn ends_with_anchor(expression: &str) -> bool {
    ends_with_dollar(expression).is_some_and(|before| !before.ends_with(['\\', '|']))
}

/// Puts a group around the expression, leaving `^` and `$` at its ends outside.
fn group_all(expression: &str) -> String {
    let rest = maybe_flags(expression);
    let rest = rest.strip_prefix('^').unwrap_or(rest);
    let body = maybe_flags(rest);
    let (body, dollar) = match body.strip_suffix('$') {
        Some(before) if !before.ends_with('\\') => (before, "$"),
        _ => (body, ""),
    };
    let prefix = expression.len() - rest.len() + (rest.len() - maybe_flags(rest).len());
    format!("{}({body}){dollar}", expression.get(..prefix).unwrap_or_default())
}

/// Removes the `**` at either end that switched the border off there.
fn without_stars(expression: &str) -> String {
    let mut text = expression.to_owned();
    let opened = maybe_flags(text.trim_start_matches('(')).trim_start_matches('(');
    if opened.starts_with("**") {
        let at = text.len() - opened.len();
        text.replace_range(at..at + 2, "");
    }
    let closed = text.trim_end_matches(')');
    if let Some(before) = closed.strip_suffix("**").filter(|before| !before.ends_with('\\')) {
        let at = before.len();
        text.replace_range(at..at + 2, "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_put_where_the_author_set_none() {
        struct Row(&'static str, Start, &'static str, bool, bool);
        let rows = [
            Row("x", Start::Word, r"(?=^|\b|\W)(x)(?=\b|\W|$)", false, false),
            Row("x", Start::Line, r"^(?:\W{0,2})?(x)(?=\b|\W|$)", true, false),
            Row("^x", Start::Word, r"^(x)(?=\b|\W|$)", true, false),
            Row("^x$", Start::Word, r"^(x)$", true, true),
            Row(r"x\$", Start::Word, r"(?=^|\b|\W)(x\$)(?=\b|\W|$)", false, false),
            Row("**x**", Start::Word, "(x)", false, false),
            Row("(**x**)", Start::Word, "(x)", false, false),
            Row("^a(x)**", Start::Word, "^a(x)", true, false),
            Row("^WARN:()**", Start::Line, "^WARN:()", true, false),
            Row("^", Start::Free, "^()", true, false),
            Row("(?i)^x", Start::Word, r"(?i)^(x)(?=\b|\W|$)", true, false),
            Row("^(?i)x", Start::Word, r"(?i)^(x)(?=\b|\W|$)", true, false),
            Row("(^|y)x", Start::Word, r"(^|y)x(?=\b|\W|$)", false, false),
            Row("(?:^a|b)(x)", Start::Word, r"(?:^a|b)(x)(?=\b|\W|$)", true, false),
            Row(r"x\s", Start::Word, r"(?=^|\b|\W)(x\s)", false, false),
            Row("(?P<Y>1)", Start::Word, r"(?=^|\b|\W)((?P<Y>1))(?=\b|\W|$)", false, false),
            Row("x", Start::Free, "(x)", false, false),
        ];
        for Row(text, start, regex, begin, end) in rows {
            let bound = bind(text, start, start != Start::Free);
            let got = (bound.regex.as_str(), bound.line_begin, bound.line_end);
            assert_eq!(got, (regex, begin, end), "{text}");
        }
    }
}
