//! Where a value was written: file and line, carried along so that a message can name both.

use std::{path::Path, sync::Arc};

/// One line of one configuration file, or of the command line.
///
/// Prints as `path:12`, the form that editors and terminals turn into a link.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The file as the user would name it; `<command line>` or `<built-in>/…` where there is none.
    pub file: Arc<str>,
    /// Line number, counted from 1; 0 means the file as a whole.
    pub line: u32,
}

impl Place {
    /// A line of a file.
    pub fn new(file: impl AsRef<Path>, line: u32) -> Place {
        Place { file: file.as_ref().to_string_lossy().into(), line }
    }

    /// The place of what was typed as an argument.
    pub fn command_line() -> Place {
        Place { file: "<command line>".into(), line: 0 }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub at: Place,
}

impl<T> Located<T> {
    /// Puts a value and its place together.
    pub fn new(value: T, at: Place) -> Located<T> {
        Located { value, at }
    }

    /// Keeps the place, exchanges the value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: change(self.value), at: self.at }
    }
}
