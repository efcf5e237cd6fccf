//! Why a filter cannot be used: where, what, and what to write instead.

use std::fmt;

use super::{PatternError, tag};
use crate::place::Place;

/// Why a filter cannot be used. Always the user's file, so each message says where, what, and what
/// to write instead.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FilterError {
    /// One expression does not compile.
    Expression {
        /// Where it stands.
        at: Place,
        /// `failregex`, `ignoreregex` or `prefregex`.
        option: &'static str,
        /// As written.
        source: String,
        /// What is wrong.
        error: PatternError,
    },
    /// Nothing in it could say who failed.
    NoFailureId {
        /// Where it stands.
        at: Place,
        /// As written.
        source: String,
    },
    /// `maxlines` is zero.
    NoLines {
        /// Where it stands.
        at: Place,
    },
}

/// How much of the expression is shown in front of a fault, in characters.
const SHOWN_BEFORE: usize = 30;

/// What to write where the parser says so; the first part that fits counts.
const ADVICE: &[(&str, &str)] = &[
    (
        "unbalanced parenthesis",
        "take the ')' out, write '\\)' for the sign itself, or close a '[' before it",
    ),
    ("a parenthesis is not closed", "close it, or write '\\(' for the sign itself"),
    ("nothing to repeat", "put what is to be repeated before it, or a '\\' for the sign itself"),
    ("two counts in a row", "take one of them out, or a '\\' before the sign itself"),
    ("a count is too large", "write a smaller one, or '*' for any number"),
    ("the least count", "write the smaller count first"),
    ("an assertion cannot be repeated", "take the count out"),
    ("stands here for the second time", "give one of them another name, such as <F-ALT_USER>"),
    ("is no name for a group", "write letters, digits and '_', a letter first"),
    ("group's name does not end", "close it with '>' or ')'"),
    ("before this", "name a group that is opened further to the left"),
    ("lone backslash", "write '\\\\' for the sign itself"),
    ("is no escape that is known", "write the letter without the '\\'"),
    ("runs backwards or has no end", "write ']' behind it; '-' stands for itself as the last sign"),
    ("comment without an end", "close it with ')'"),
    ("is not supported", "write both cases out where case does not count, such as [Aa]"),
    ("nested more than", "write it with fewer brackets"),
];

impl FilterError {
    /// Where it stands.
    pub fn at(&self) -> &Place {
        match self {
            FilterError::Expression { at, .. }
            | FilterError::NoFailureId { at, .. }
            | FilterError::NoLines { at } => at,
        }
    }

    /// The expression as it was written, if it is about one.
    pub fn source(&self) -> Option<&str> {
        match self {
            FilterError::Expression { source, .. } | FilterError::NoFailureId { source, .. } => {
                Some(source)
            }
            FilterError::NoLines { .. } => None,
        }
    }

    /// What is wrong, the expression included, in one line without a full stop.
    pub fn what(&self) -> String {
        match self {
            FilterError::Expression { option, error: PatternError::Empty, .. } => {
                format!("{option} is empty")
            }
            FilterError::Expression { option, source, error, .. } => match error {
                PatternError::Syntax { error, before } if before.is_empty() => {
                    format!("{option} cannot be read: {error}: {source}")
                }
                PatternError::Syntax { error, before } => {
                    let skipped = before.chars().count().saturating_sub(SHOWN_BEFORE);
                    let behind: String = before.chars().skip(skipped).collect();
                    format!("{option} cannot be read: {error}, behind '{behind}': {source}")
                }
                PatternError::Engine(what) => {
                    format!("{option} cannot be compiled: {what}: {source}")
                }
                PatternError::Empty => format!("{option} is empty"),
            },
            FilterError::NoFailureId { source, .. } => match tag::unset(source) {
                None => format!("failregex names nobody: {source}"),
                Some(tag) => {
                    format!("failregex names nobody, and nothing sets its <{tag}>: {source}")
                }
            },
            FilterError::NoLines { .. } => "'maxlines = 0' leaves no line to look at".to_owned(),
        }
    }

    /// What to write instead.
    pub fn write(&self) -> &'static str {
        match self {
            FilterError::Expression { error, .. } => match error {
                PatternError::Empty => "write an expression, or take the option out",
                PatternError::Syntax { error, .. } => {
                    let advice = ADVICE.iter().find(|(part, _)| error.what.contains(part));
                    advice.map_or("write it as Python's re reads it", |(_, advice)| advice)
                }
                PatternError::Engine(_) => "split it into several lines, or repeat smaller parts",
            },
            FilterError::NoFailureId { source, .. } if tag::unset(source).is_some() => {
                tag::UNSET_ADVICE
            }
            FilterError::NoFailureId { .. } => {
                "put <HOST>, <ADDR> or <F-ID>…</F-ID> where the offender stands"
            }
            FilterError::NoLines { .. } => "write a number from 1 upwards",
        }
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n  {}", self.at(), self.what(), self.write())
    }
}

impl std::error::Error for FilterError {}
