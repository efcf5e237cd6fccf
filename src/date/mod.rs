//! Finds the date in a line, cuts it out, and reads it.
//!
//! A [`DateDetector`] holds templates and learns which of them the lines of a log follow:
//!
//! ```text
//! line ──► DateDetector ──► DateMatch { cut } ──► time ──► Timestamp
//!              │ └ the template that matched last is tried first, at the same place
//!              └── DateTemplate ── Pattern (own matcher), Field, Field, …
//! ```
//!
//! The rule of use: `find_again` on the raw line; where that is not sure, `find`; what lies before
//! and behind `cut` is the message that filters see. `time` only for a line that matters.
//!
//! Begin with `template.rs` (what a pattern is), then `detector.rs` (what is learned). The pattern
//! language is described in sentryban-filter(5).

mod boundary;
mod calendar;
mod defaults;
mod detector;
mod directive;
mod front;
mod matcher;
mod quick;
mod read;
mod recall;
mod template;
mod zone;

pub use detector::{DateDetector, DateMatch, TemplateInfo};
pub use directive::UnknownDirective;
pub use front::Front;
pub use matcher::{Pattern, PatternError, STEPS_PER_BYTE, STEPS_PER_SEARCH, Scratch};
pub use template::DateTemplate;
pub use zone::parse_zone;

/// A `datepattern` that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DateError {
    /// A `%` that begins no directive.
    Directive {
        /// The whole pattern.
        pattern: String,
        /// What stands there.
        error: UnknownDirective,
    },
    /// The pattern is no expression that can be compiled.
    Expression {
        /// The pattern as written.
        pattern: String,
        /// What is wrong with the expression that it stands for.
        error: PatternError,
    },
    /// Two lines of the option mean the same template.
    Twice {
        /// The template's name.
        name: String,
    },
}

impl DateError {
    /// The same, for the pattern as the user wrote it.
    fn of(self, written: &str) -> DateError {
        match self {
            DateError::Expression { error, .. } => {
                DateError::Expression { pattern: written.to_owned(), error }
            }
            other => other,
        }
    }
}

impl std::fmt::Display for DateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DateError::Directive { pattern, error } => write!(
                f,
                "datepattern {pattern}: {} at character {} is no directive: {}",
                error.found, error.column, error.instead,
            ),
            DateError::Expression { pattern, error } => {
                write!(f, "datepattern {pattern}: {error}")
            }
            DateError::Twice { name } => {
                write!(f, "datepattern: the template {name} is there twice: leave one out")
            }
        }
    }
}

impl std::error::Error for DateError {}
