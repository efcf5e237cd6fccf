//! What is wrong in a configuration: where, what, and what to write instead.

use std::fmt;

use crate::place::Place;

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Gravity {
    /// It works, but probably not as meant; a test of the configuration passes.
    Warning,
    /// It cannot work as written; a test of the configuration fails.
    Fault,
}

/// One thing that somebody should look at, with its place.
///
/// Prints on one line, as compilers do: `jail.local:12: error: WHAT; WHAT TO WRITE`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Warning or fault.
    pub gravity: Gravity,
    /// File and line.
    pub at: Place,
    /// What is wrong, without a full stop.
    pub what: String,
    /// What to write instead; may be empty.
    pub write: String,
    /// The section in which it stands, where that is known.
    pub section: Option<String>,
}

impl Finding {
    /// Something that cannot work.
    pub fn fault(at: Place, what: impl Into<String>, write: impl Into<String>) -> Finding {
        Finding {
            gravity: Gravity::Fault,
            at,
            what: what.into(),
            write: write.into(),
            section: None,
        }
    }

    /// Something that works, but deserves a look.
    pub fn warning(at: Place, what: impl Into<String>, write: impl Into<String>) -> Finding {
        Finding { gravity: Gravity::Warning, ..Finding::fault(at, what, write) }
    }

    /// Notes the section in which it stands.
    #[must_use]
    pub fn within(mut self, section: impl Into<String>) -> Finding {
        self.section = Some(section.into());
        self
    }

    /// True for a fault.
    pub fn is_fault(&self) -> bool {
        self.gravity == Gravity::Fault
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gravity = match self.gravity {
            Gravity::Warning => "warning",
            Gravity::Fault => "error",
        };
        write!(f, "{}: {gravity}: {}", self.at, printable(&self.what))?;
        if !self.write.is_empty() {
            write!(f, "; {}", printable(&self.write))?;
        }
        Ok(())
    }
}

/// Text of a file on its way to a terminal: control characters are shown, not sent.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// Why something could not be read: one finding or several, at least one of them a fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// In the order of the files; warnings that were met on the way are among them.
    pub findings: Vec<Finding>,
}

impl From<Finding> for ConfigError {
    fn from(finding: Finding) -> ConfigError {
        ConfigError { findings: vec![finding] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, finding) in self.findings.iter().filter(|found| found.is_fault()).enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
