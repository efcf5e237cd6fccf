//! `Traces`: what is known of one failure, on its way from a reader to the store.
//!
//! A flood is a hundred thousand failures a second, and most of them are never looked at again. So
//! those of one reading share one [`Dossier`], which holds their lines and the named pieces of them in
//! one text: to make, hand on and drop a failure then takes no memory of its own.

use std::{fmt, ops::Range, sync::Arc};

use super::Evidence;

/// What is known of the failures of one reading.
#[derive(Debug, Default)]
pub struct Dossier {
    /// Their lines, and values that are no pieces of them.
    text: String,
    /// The names of fields, each once.
    names: Vec<Arc<str>>,
    /// Of each failure: which failregex (0 for none), how many lines, how many fields; then each
    /// line: where it begins, where it ends, where its date ends; then each field: which name,
    /// where its value begins, where it ends.
    marks: Vec<u32>,
    /// Where the marks of the last failure begin.
    last: usize,
}

/// The marks in front of the lines of a failure.
const HEAD: usize = 3;
/// The marks of a line, and of a field.
const EACH: usize = 3;

fn mark(at: usize) -> u32 {
    // A text that long does not come: a reading is a block of a file.
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl Dossier {
    /// An empty one, with room for as much text and as many marks as another has, and a little
    /// more: who reads a log in parts finds about as much in one as in the next.
    pub fn with_room((text, marks): (usize, usize)) -> Dossier {
        Dossier {
            text: String::with_capacity(text + text / 4),
            marks: Vec::with_capacity(marks + marks / 4),
            ..Dossier::default()
        }
    }

    /// How much text it has, in bytes, and how many marks.
    pub fn size(&self) -> (usize, usize) {
        (self.text.len(), self.marks.len())
    }

    /// Begins the next failure, found by this failregex (counted from 1); answers its number.
    pub fn begin(&mut self, regex: Option<u32>) -> u32 {
        self.last = self.marks.len();
        self.marks.extend([regex.unwrap_or(0), 0, 0]);
        mark(self.last)
    }

    /// Adds a line of it, whose date ends at byte `behind`; answers where it begins in the text.
    /// Lines come before fields.
    pub fn add_line(&mut self, line: &str, behind: usize) -> usize {
        let at = self.text.len();
        self.text.push_str(line);
        self.marks.extend([mark(at), mark(self.text.len()), mark(at + behind)]);
        self.count(1);
        at
    }

    /// Adds a field of it, whose value stands in the text already.
    pub fn add_field_at(&mut self, name: &Arc<str>, value: Range<usize>) {
        let known = self.names.iter().position(|known| Arc::ptr_eq(known, name) || known == name);
        let number = known.unwrap_or_else(|| {
            self.names.push(Arc::clone(name));
            self.names.len() - 1
        });
        self.marks.extend([mark(number), mark(value.start), mark(value.end)]);
        self.count(2);
    }

    /// Adds a field of it.
    pub fn add_field(&mut self, name: &Arc<str>, value: &str) {
        let at = self.text.len();
        self.text.push_str(value);
        self.add_field_at(name, at..self.text.len());
    }

    fn count(&mut self, place: usize) {
        if let Some(count) = self.marks.get_mut(self.last + place) {
            *count += 1;
        }
    }

    /// All of its text, of all failures.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What stands behind the dates of a failure's lines.
    pub fn behind_dates(&self, number: u32) -> impl Iterator<Item = &str> {
        let lines = (0..self.head(number, 1)).map(move |line| HEAD + EACH * line);
        lines.filter_map(move |at| self.piece(self.mark(number, at + 2), self.mark(number, at + 1)))
    }

    fn mark(&self, number: u32, place: usize) -> u32 {
        self.marks.get(number as usize + place).copied().unwrap_or(0)
    }

    fn head(&self, number: u32, place: usize) -> usize {
        self.mark(number, place) as usize
    }

    fn piece(&self, from: u32, to: u32) -> Option<&str> {
        self.text.get(from as usize..to as usize)
    }

    fn line(&self, number: u32, line: usize) -> Option<&str> {
        let at = HEAD + EACH * line;
        self.piece(self.mark(number, at), self.mark(number, at + 1))
    }

    fn field(&self, number: u32, field: usize) -> Option<(&str, &str)> {
        let at = HEAD + EACH * (self.head(number, 1) + field);
        let name = self.names.get(self.head(number, at))?;
        Some((name, self.piece(self.mark(number, at + 1), self.mark(number, at + 2))?))
    }
}

/// What is known of one failure: text that an attacker may have written. Copies cost next to
/// nothing.
#[derive(Clone, Default)]
pub struct Traces(Form);

#[derive(Clone, Default)]
enum Form {
    #[default]
    Nothing,
    Whole(Arc<Evidence>),
    /// Under this number.
    On(Arc<Dossier>, u32),
}

impl Traces {
    /// Those of one failure of a dossier: `number` is what [`Dossier::begin`] answered.
    pub fn of(dossier: &Arc<Dossier>, number: u32) -> Traces {
        Traces(Form::On(Arc::clone(dossier), number))
    }

    /// The failregex that matched last, counted from 1; none if somebody ordered the ban.
    pub fn regex(&self) -> Option<u32> {
        match &self.0 {
            Form::Nothing => None,
            Form::Whole(evidence) => evidence.regex,
            Form::On(dossier, number) => Some(dossier.mark(*number, 0)).filter(|regex| *regex != 0),
        }
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        let count = match &self.0 {
            Form::Nothing => 0,
            Form::Whole(evidence) => evidence.lines.len(),
            Form::On(dossier, number) => dossier.head(*number, 1),
        };
        (0..count).map(|line| self.line(line).unwrap_or_default())
    }

    fn line(&self, line: usize) -> Option<&str> {
        match &self.0 {
            Form::Nothing => None,
            Form::Whole(evidence) => evidence.lines.get(line).map(|line| &**line),
            Form::On(dossier, number) => dossier.line(*number, line),
        }
    }

    /// What `<F-USER>` and the like captured, with the name of the tag in lower case.
    pub fn fields(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> + ExactSizeIterator {
        let count = match &self.0 {
            Form::Nothing => 0,
            Form::Whole(evidence) => evidence.fields.len(),
            Form::On(dossier, number) => dossier.head(*number, 2),
        };
        (0..count).map(|field| self.field(field).unwrap_or_default())
    }

    fn field(&self, field: usize) -> Option<(&str, &str)> {
        match &self.0 {
            Form::Nothing => None,
            Form::Whole(evidence) => {
                evidence.fields.get(field).map(|(name, value)| (&**name, &**value))
            }
            Form::On(dossier, number) => dossier.field(*number, field),
        }
    }

    /// The same to be kept for longer: it holds nothing of other failures.
    pub fn evidence(&self) -> Arc<Evidence> {
        if let Form::Whole(evidence) = &self.0 {
            return Arc::clone(evidence);
        }
        let fields = self.fields().map(|(name, value)| (name.into(), value.into()));
        Arc::new(Evidence {
            lines: self.lines().map(Arc::from).collect(),
            fields: fields.collect(),
            regex: self.regex(),
        })
    }
}

impl From<Arc<Evidence>> for Traces {
    fn from(evidence: Arc<Evidence>) -> Traces {
        Traces(Form::Whole(evidence))
    }
}

impl From<Evidence> for Traces {
    fn from(evidence: Evidence) -> Traces {
        Arc::new(evidence).into()
    }
}

impl PartialEq for Traces {
    fn eq(&self, other: &Traces) -> bool {
        self.regex() == other.regex()
            && self.lines().eq(other.lines())
            && self.fields().eq(other.fields())
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.evidence().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_of_a_dossier_has_its_own() {
        let (user, ip): (Arc<str>, Arc<str>) = ("user".into(), "ip4".into());
        let mut dossier = Dossier::default();
        let first = dossier.begin(Some(3));
        let at = dossier.add_line("Jan 1 ann from 192.0.2.1", 5);
        dossier.add_field_at(&user, at + 6..at + 9);
        dossier.add_field_at(&ip, at + 15..at + 24);
        let bare = dossier.begin(None);
        let last = dossier.begin(Some(1));
        dossier.add_line("one", 0);
        dossier.add_line("zwö", 4);
        dossier.add_field(&user, "bob");
        let dossier = Arc::new(dossier);
        assert_eq!(dossier.names.len(), 2);
        assert_eq!(dossier.behind_dates(first).collect::<Vec<_>>(), [" ann from 192.0.2.1"]);
        assert_eq!(dossier.behind_dates(last).collect::<Vec<_>>(), ["one", ""]);
        let written = |lines: &[&str], fields: &[(&str, &str)], regex| {
            let fields = fields.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            Evidence {
                lines: lines.iter().map(|line| Arc::from(*line)).collect(),
                fields: fields.collect(),
                regex,
            }
        };
        let rows = [
            (
                first,
                written(
                    &["Jan 1 ann from 192.0.2.1"],
                    &[("user", "ann"), ("ip4", "192.0.2.1")],
                    Some(3),
                ),
            ),
            (bare, Evidence::default()),
            (last, written(&["one", "zwö"], &[("user", "bob")], Some(1))),
        ];
        for (number, expected) in rows {
            let traces = Traces::of(&dossier, number);
            assert_eq!(*traces.evidence(), expected);
            assert_eq!(traces, Traces::from(expected.clone()));
            assert_eq!(Traces::from(expected.clone()).lines().len(), expected.lines.len());
            assert_eq!(Traces::from(expected.clone()).regex(), expected.regex);
        }
        assert_ne!(Traces::of(&dossier, first), Traces::of(&dossier, last));
        assert_eq!(Traces::default(), Traces::of(&dossier, bare));
    }
}
