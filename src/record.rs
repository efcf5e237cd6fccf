//! What sources hand on: lines, as text.

use std::sync::Arc;

/// A line cut in three by its date: what stands before it, the date, what stands behind. Copies of
/// it, and whoever keeps the whole of it as evidence, share its text.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CutLine {
    whole: Arc<str>,
    /// Where the date begins and ends.
    from: usize,
    to: usize,
}

impl CutLine {
    /// A line of these three parts.
    pub fn new(before: &str, date: &str, after: &str) -> CutLine {
        let from = before.len();
        CutLine { whole: [before, date, after].concat().into(), from, to: from + date.len() }
    }

    /// A line whose date stands at `date`; one without a date if that is not within the line.
    pub fn cut(line: &str, date: std::ops::Range<usize>) -> CutLine {
        let (from, to) = match line.get(date.clone()) {
            Some(_) => (date.start, date.end),
            None => (0, 0),
        };
        CutLine { whole: line.into(), from, to }
    }

    /// A line without a date.
    pub fn undated(text: &str) -> CutLine {
        CutLine { whole: text.into(), from: 0, to: 0 }
    }

    /// Text before the date.
    pub fn before(&self) -> &str {
        self.whole.get(..self.from).unwrap_or_default()
    }

    /// The date itself; empty where the line has none.
    pub fn date(&self) -> &str {
        self.whole.get(self.from..self.to).unwrap_or_default()
    }

    /// The byte at which its date ends.
    pub fn date_end(&self) -> usize {
        self.to
    }

    /// Text behind the date; the whole line where it has none.
    pub fn after(&self) -> &str {
        self.whole.get(self.to..).unwrap_or_default()
    }

    /// The line as it stood in the log.
    pub fn whole(&self) -> &Arc<str> {
        &self.whole
    }

    /// The line without its date: what expressions see.
    pub fn text(&self) -> String {
        [self.before(), self.after()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_back_in_its_parts() {
        for (before, date, after) in [("<34>", "Jan 1", " sshd"), ("", "", "a"), ("ä", "ö", "")] {
            let line = CutLine::new(before, date, after);
            assert_eq!((line.before(), line.date(), line.after()), (before, date, after));
            assert_eq!(**line.whole(), [before, date, after].concat());
            assert_eq!(line.text(), [before, after].concat());
        }
        assert_eq!(CutLine::cut("<34>Jan 1 sshd", 4..9), CutLine::new("<34>", "Jan 1", " sshd"));
        assert_eq!(CutLine::cut("ä", 1..2), CutLine::undated("ä"));
        assert_eq!(CutLine::undated("x"), CutLine::new("", "", "x"));
        assert_eq!(CutLine::default().text(), "");
    }
}
