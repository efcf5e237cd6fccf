//! The named pieces that an expression cut out of a line: `user`, `ip4`, `mlfid` …

use std::{fmt, ops::Deref, ops::Range, sync::Arc};

/// A piece of a line. All pieces of one line share its text, so taking one costs no copy.
#[derive(Clone)]
pub struct Piece {
    line: Arc<str>,
    from: u32,
    to: u32,
}

impl Piece {
    /// The piece of `line` at `range`; the empty one if that is not within the line.
    pub fn new(line: &Arc<str>, range: Range<usize>) -> Piece {
        let at = |at: usize| u32::try_from(at).ok();
        let inside = line.get(range.clone()).is_some();
        match (at(range.start), at(range.end)) {
            (Some(from), Some(to)) if inside => Piece { line: Arc::clone(line), from, to },
            _ => Piece { line: Arc::clone(line), from: 0, to: 0 },
        }
    }

    /// Where it stands in `line`, if that is the text that it shares.
    pub fn place_in(&self, line: &Arc<str>) -> Option<Range<usize>> {
        Arc::ptr_eq(&self.line, line).then_some(self.from as usize..self.to as usize)
    }
}

impl Deref for Piece {
    type Target = str;

    fn deref(&self) -> &str {
        self.line.get(self.from as usize..self.to as usize).unwrap_or_default()
    }
}

impl<T: AsRef<str>> From<T> for Piece {
    fn from(text: T) -> Piece {
        let line: Arc<str> = text.as_ref().into();
        Piece::new(&line, 0..line.len())
    }
}

impl PartialEq for Piece {
    fn eq(&self, other: &Piece) -> bool {
        **self == **other
    }
}

impl Eq for Piece {}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// What one name holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Field {
    /// Text, as the group captured it.
    Text(Piece),
    /// Parts of a tuple (`<F-TUPLE_ID>`), in order; a part whose group did not take part is `None`.
    Tuple(Vec<Option<String>>),
}

impl Field {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        self.piece().map(|piece| &**piece)
    }

    /// The same, to be kept without a copy.
    pub fn piece(&self) -> Option<&Piece> {
        match self {
            Field::Text(text) => Some(text),
            Field::Tuple(_) => None,
        }
    }
}

/// Named values in the order of their first appearance. Names whose group did not take part in the
/// match are absent. A handful of entries at most, hence a list and not a map.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Fields(Vec<(Arc<str>, Field)>);

impl Fields {
    /// The value under `name`.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|(known, _)| &**known == name).map(|(_, value)| value)
    }

    /// The text under `name`, if it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Field::text)
    }

    /// True if `name` holds a text that is not empty: what Python calls true.
    pub fn is_set(&self, name: &str) -> bool {
        match self.get(name) {
            Some(Field::Text(text)) => !text.is_empty(),
            Some(Field::Tuple(_)) => true,
            None => false,
        }
    }

    /// Sets `name`, keeping its place in the order if it is known.
    pub fn set(&mut self, name: &Arc<str>, value: Field) {
        let same = |known: &Arc<str>| Arc::ptr_eq(known, name) || known == name;
        match self.0.iter_mut().find(|(known, _)| same(known)) {
            Some((_, old)) => *old = value,
            None => self.0.push((Arc::clone(name), value)),
        }
    }

    /// None, with room for so many.
    pub(super) fn with_room(count: usize) -> Fields {
        Fields(Vec::with_capacity(count))
    }

    /// Adds a name that is known to be new.
    pub(super) fn add(&mut self, name: &Arc<str>, value: Field) {
        self.0.push((Arc::clone(name), value));
    }

    /// Takes `name` out.
    pub fn take(&mut self, name: &str) -> Option<Field> {
        let index = self.0.iter().position(|(known, _)| &**known == name)?;
        Some(self.0.remove(index).1)
    }

    /// Overwrites with everything that `newer` holds.
    pub fn update(&mut self, newer: Fields) {
        for (name, value) in newer.0 {
            self.set(&name, value);
        }
    }

    /// Bytes held for them, counting for each what it was cut out of.
    pub(super) fn bytes(&self) -> usize {
        let of = |field: &Field| match field {
            Field::Text(piece) => piece.line.len(),
            Field::Tuple(parts) => parts.iter().flatten().map(String::len).sum(),
        };
        self.0.iter().map(|(_, field)| of(field)).sum()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// The same, with names that can be kept without a copy.
    pub fn shared(&self) -> impl Iterator<Item = (&Arc<str>, &Field)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
