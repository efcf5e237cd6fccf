//! A value that knows, line by line, where it was written.
//!
//! Values are woven from several places: an option of one file refers to an option of another,
//! and a `failregex` of ten lines may come from three files. A message about the seventh
//! expression must still name the line on which somebody can mend it.

use std::ops::Range;

use indexmap::IndexMap;

use crate::place::{Located, Place};

/// Options of a section in the order in which they were first written.
pub type Options = IndexMap<String, Text>;

/// Text of one or more lines, each with its place.
#[derive(Clone, Debug)]
pub struct Text {
    text: String,
    /// One for each line of `text`; never empty.
    places: Vec<Place>,
}

impl Text {
    /// Text that was all written at one place.
    pub fn new(text: impl Into<String>, at: Place) -> Text {
        let text = text.into();
        let lines = newlines(&text) + 1;
        Text { text, places: vec![at; lines] }
    }

    /// Adds a line below.
    pub fn push_line(&mut self, line: &str, at: Place) {
        self.text.push('\n');
        self.text.push_str(line);
        self.places.push(at);
    }

    /// Drops white space and empty lines at the end.
    pub fn trim_end(&mut self) {
        let length = self.text.trim_end_matches(super::ini::is_space).len();
        self.text.truncate(length);
        let lines = newlines(&self.text) + 1;
        self.places.truncate(lines);
    }

    /// The text, lines joined by `\n`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where its first line that says anything stands.
    pub fn at(&self) -> Place {
        let told = self.lines().find(|line| !line.value.trim().is_empty()).map(|line| line.at);
        told.or_else(|| self.places.first().cloned()).unwrap_or_else(Place::command_line)
    }

    /// The lines with their places; an empty text has one empty line.
    pub fn lines(&self) -> impl Iterator<Item = Located<&str>> {
        let last = self.places.last();
        self.text.split('\n').enumerate().map(move |(number, line)| {
            let at = self.places.get(number).or(last).cloned();
            Located::new(line, at.unwrap_or_else(Place::command_line))
        })
    }

    /// The place of the line that holds the byte `at`.
    pub fn place_of(&self, at: usize) -> Place {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        let line = memchr::memchr_iter(b'\n', before).count();
        let place = self.places.get(line).or(self.places.last());
        place.cloned().unwrap_or_else(Place::command_line)
    }

    /// The whole text with the place where it begins.
    pub fn located(&self) -> Located<String> {
        Located::new(self.text.clone(), self.at())
    }

    /// This text with every occurrence of `pattern` replaced.
    #[must_use]
    pub fn replace(&self, pattern: &str, by: &Text) -> Text {
        let mut weave = Weave::default();
        let (mut done, mut line) = (0, 0);
        for (at, found) in self.text.match_indices(pattern) {
            line += weave.own(self, done..at, line) + newlines(found);
            weave.insert(by);
            done = at + found.len();
        }
        weave.own(self, done..self.text.len(), line);
        weave.finish(self.at())
    }
}

/// Equal in what it says, wherever it was written.
impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.text == other.text
    }
}

/// Builds a [`Text`] from slices of one text and others inserted into it.
///
/// A line stands where its own words stand; where it consists of an insertion alone, it stands
/// where the inserted text does.
#[derive(Default)]
pub(super) struct Weave {
    text: String,
    places: Vec<Place>,
    line: Option<(Rank, Place)>,
}

#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    Blank,
    Inserted,
    Own,
}

impl Weave {
    /// Appends these bytes of the outer text, the first of which stands on `line` (from 0); tells
    /// how many lines they go down, so that nobody counts a long text from its beginning twice.
    pub fn own(&mut self, outer: &Text, bytes: Range<usize>, line: usize) -> usize {
        let Some(slice) = outer.text.get(bytes) else { return 0 };
        self.append(slice, outer.places.get(line..).unwrap_or_default(), Rank::Own);
        newlines(slice)
    }

    /// Appends text that stood elsewhere.
    pub fn insert(&mut self, inner: &Text) {
        self.append(&inner.text, &inner.places, Rank::Inserted);
    }

    /// How long it has become.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// The text; `at` is the place of what is empty.
    pub fn finish(mut self, at: Place) -> Text {
        self.places.push(self.line.map_or(at, |(_, place)| place));
        Text { text: self.text, places: self.places }
    }

    fn append(&mut self, piece: &str, places: &[Place], rank: Rank) {
        for (number, line) in piece.split('\n').enumerate() {
            let Some(place) = places.get(number).or(places.last()) else { continue };
            if number > 0 {
                let ended = self.line.take().map_or_else(|| place.clone(), |(_, place)| place);
                self.places.push(ended);
                self.text.push('\n');
            }
            self.text.push_str(line);
            let rank = if line.trim().is_empty() { Rank::Blank } else { rank };
            if self.line.as_ref().is_none_or(|(known, _)| *known < rank) {
                self.line = Some((rank, place.clone()));
            }
        }
    }
}

/// How many lines a text goes down.
pub(super) fn newlines(text: &str) -> usize {
    memchr::memchr_iter(b'\n', text.as_bytes()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &Text) -> Vec<(String, u32)> {
        text.lines().map(|line| (line.value.to_owned(), line.at.line)).collect()
    }

    fn written(lines: &[(&str, u32)]) -> Text {
        let mut text: Option<Text> = None;
        for (line, number) in lines {
            let at = Place::new("f", *number);
            match &mut text {
                None => text = Some(Text::new(*line, at)),
                Some(text) => text.push_line(line, at),
            }
        }
        text.unwrap()
    }

    #[test]
    fn a_line_that_is_all_insertion_stands_where_the_insertion_does() {
        let outer = written(&[("", 1), ("^a <x>$", 2), ("<y>", 3), ("^z", 4)]);
        let inner = written(&[("^one", 10), ("^two", 11)]);
        let woven = outer.replace("<y>", &inner);
        let expected =
            [("", 1), ("^a <x>$", 2), ("^one", 10), ("^two", 11), ("^z", 4)].map(own_line);
        assert_eq!(places(&woven), expected);
        let woven = woven.replace("<x>", &written(&[("X", 20)]));
        assert_eq!(places(&woven).get(1), Some(&own_line(("^a X$", 2))));
    }

    fn own_line((line, number): (&str, u32)) -> (String, u32) {
        (line.to_owned(), number)
    }

    #[test]
    fn trimming_drops_the_places_as_well() {
        let mut text = written(&[("a", 1), ("", 2), ("  ", 3)]);
        text.trim_end();
        assert_eq!(places(&text), [own_line(("a", 1))]);
    }
}
