//! Buffers of several lines: which of them a match took.

use std::ops::Range;

use crate::record::CutLine;

/// The text that expressions see: each line without its date, a newline behind each.
pub fn text_of(lines: &[CutLine]) -> String {
    let length = lines.iter().map(|line| line.before().len() + line.after().len() + 1).sum();
    let mut text = String::with_capacity(length);
    for line in lines {
        text.push_str(line.before());
        text.push_str(line.after());
        text.push('\n');
    }
    text
}

/// Splits `lines` into those that the match at `span` of `text` took and those that it left.
/// `skipped` are the texts of lines that `<SKIPLINES>` passed over: they are left.
pub fn split(
    text: &str,
    span: &Range<usize>,
    lines: &[CutLine],
    skipped: &[String],
) -> (Vec<CutLine>, Vec<CutLine>) {
    if lines.len() <= 1 {
        return (lines.to_vec(), Vec::new());
    }
    let bytes = text.as_bytes();
    let head = bytes.get(..(span.start + 1).min(bytes.len())).unwrap_or_default();
    let start = head.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let last = span.end.saturating_sub(1).min(bytes.len());
    let tail = bytes.get(last..).unwrap_or_default();
    let end = tail.iter().position(|b| *b == b'\n').map_or(bytes.len(), |at| last + at + 1);
    let newlines = |to: usize| {
        bytes.get(..to).unwrap_or_default().iter().filter(|b| **b == b'\n').count().min(lines.len())
    };
    let (first, behind) = (newlines(start), newlines(end).max(newlines(start)));
    let mut taken: Vec<CutLine> = lines.get(first..behind).unwrap_or_default().to_vec();
    let mut left: Vec<CutLine> = lines.get(..first).unwrap_or_default().to_vec();
    let mut from = 0;
    for skip in skipped {
        let found = taken.iter().skip(from).position(|line| line.text() == *skip);
        if let Some(offset) = found {
            left.push(taken.remove(from + offset));
            from += offset;
        }
    }
    left.extend(lines.get(behind..).unwrap_or_default().iter().cloned());
    (taken, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<CutLine> {
        texts.iter().map(|text| CutLine::undated(text)).collect()
    }

    #[test]
    fn a_match_takes_whole_lines_and_leaves_skipped_ones() {
        let all = lines(&["one", "two", "three", "four"]);
        let text = text_of(&all);
        assert_eq!(text, "one\ntwo\nthree\nfour\n");
        // "two\nthree" with the middle of nothing skipped
        let (taken, left) = split(&text, &(4..13), &all, &[]);
        assert_eq!((taken, left), (lines(&["two", "three"]), lines(&["one", "four"])));
        // "one … three" where "two" was skipped
        let (taken, left) = split(&text, &(0..13), &all, &["two".to_owned()]);
        assert_eq!((taken, left), (lines(&["one", "three"]), lines(&["two", "four"])));
    }
}
