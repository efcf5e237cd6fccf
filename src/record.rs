//! What sources hand on: lines, as text.

/// A line cut in three by its date: what stands before it, the date, what stands behind.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CutLine {
    /// Text before the date.
    pub before: String,
    /// The date itself; empty where the line has none.
    pub date: String,
    /// Text behind the date; the whole line where it has none.
    pub after: String,
}

impl CutLine {
    /// The line as it stood in the log.
    pub fn whole(&self) -> String {
        [self.before.as_str(), self.date.as_str(), self.after.as_str()].concat()
    }

    /// The line without its date: what expressions see.
    pub fn text(&self) -> String {
        [self.before.as_str(), self.after.as_str()].concat()
    }
}
