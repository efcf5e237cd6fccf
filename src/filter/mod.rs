//! The filter room: what makes a failure out of a line's text.
//!
//! ```text
//! text ──► prefregex ──► failregex 1, 2, 3 … ──► Fields ──► session (F-MLFID) ──► failure
//! ```
//!
//! A [`FilterSpec`] is what the files say, a [`Filter`] what has been compiled from it. Expressions
//! are written in Python's dialect with tags (`tag.rs`), parsed (`syntax.rs`), written out for an
//! engine (`emit.rs`) and run (`regex.rs`); `literal.rs` finds the text that lets most lines be
//! skipped, `session.rs` joins the lines of one connection. What is wrong with a filter is said in
//! `fault.rs`; `lint.rs` looks for traps.
//!
//! Pure: no clock, disk or network. Read `regex.rs` first.

pub mod emit;
pub mod fault;
pub mod fields;
pub mod lint;
pub mod literal;
pub mod machine;
mod marks;
pub mod node;
pub mod regex;
pub mod session;
pub mod spec;
pub mod syntax;
pub mod tag;

use std::{ops::Range, sync::Arc};

pub use fault::FilterError;
pub use fields::{Field, Fields, Piece};
pub use lint::Lint;
pub use machine::{Memory, Outcome, Recall};
pub use marks::Marks;
pub use regex::{Hit, OutOfSteps, Pattern, PatternError};
pub use session::{Draft, LineFacts, Sessions};
pub use spec::{FilterSpec, UseDns};

use crate::place::{Located, Place};

/// Lines that a buffer may hold. The whole buffer is searched for every line of the log, and no
/// stock filter asks for more than a few dozen.
pub const LINES_MAX: usize = 1000;

/// A filter, ready to run. Clones share what was compiled.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The filter's name, for messages.
    pub name: String,
    /// Looked for first; a line without it is done.
    pub prefregex: Option<Expression>,
    /// In the order in which they are tried.
    pub failregex: Vec<Expression>,
    /// In the order in which they are tried.
    pub ignoreregex: Vec<Expression>,
    /// How many lines the buffer holds: at most [`LINES_MAX`].
    pub maxlines: usize,
    /// Where more lines than that are asked for.
    pub too_many_lines: Option<Place>,
    /// What becomes of names.
    pub usedns: UseDns,
}

/// A compiled expression with what its group names mean.
#[derive(Clone, Debug)]
pub struct Expression {
    /// The engine's side.
    pub pattern: Pattern,
    /// Where it was written.
    pub at: Place,
    /// `(group, name)`: a value for `name`, should that be empty.
    alternatives: Vec<(Arc<str>, Arc<str>)>,
    /// `(group, name)`: one more part of the tuple `name`.
    tuples: Vec<(Arc<str>, Arc<str>)>,
    roles: marks::Roles,
}

impl Filter {
    /// Compiles every expression of `spec`.
    ///
    /// # Errors
    ///
    /// The first [`FilterError`]; [`Filter::faults`] gives all of them.
    pub fn compile(spec: &FilterSpec, usedns: UseDns) -> Result<Filter, FilterError> {
        let maxlines = match &spec.maxlines {
            Some(lines) if lines.value == 0 => {
                return Err(FilterError::NoLines { at: lines.at.clone() });
            }
            Some(lines) => usize::try_from(lines.value).unwrap_or(LINES_MAX),
            None => 1,
        };
        let asked = spec.maxlines.as_ref().filter(|_| maxlines > LINES_MAX);
        let too_many_lines = asked.map(|lines| lines.at.clone());
        let maxlines = maxlines.min(LINES_MAX);
        // Only in a failregex do `^` and `$` know the lines of a buffer; the others see it as one
        // text, as fail2ban has it.
        let one = |option: &'static str, written: &Located<String>| {
            let multiline = maxlines > 1 && option == "failregex";
            Expression::new(option, written, usedns, multiline)
        };
        // An empty prefregex is none, as fail2ban has it.
        let prefregex = spec.prefregex.as_ref().filter(|written| !written.value.is_empty());
        let prefregex = prefregex.map(|written| one("prefregex", written)).transpose()?;
        let failregex = spec.failregex.iter().map(|written| one("failregex", written));
        let failregex = failregex.collect::<Result<Vec<_>, _>>()?;
        let ignoreregex = spec.ignoreregex.iter().map(|written| one("ignoreregex", written));
        let ignoreregex = ignoreregex.collect::<Result<Vec<_>, _>>()?;
        let pre_names_one = prefregex.as_ref().is_some_and(Expression::names_offender);
        if !pre_names_one && let Some(nobody) = failregex.iter().find(|one| !one.names_offender()) {
            let source = nobody.pattern.source.clone();
            return Err(FilterError::NoFailureId { at: nobody.at.clone(), source });
        }
        Ok(Filter {
            name: spec.name.clone(),
            prefregex,
            failregex,
            ignoreregex,
            maxlines,
            too_many_lines,
            usedns,
        })
    }

    /// Every fault of `spec`, for a check that shall tell all at once.
    pub fn faults(spec: &FilterSpec, usedns: UseDns) -> Vec<FilterError> {
        let mut faults = Vec::new();
        let mut left = spec.clone();
        // An expression that is at fault is taken out, and the rest is tried again.
        while let Err(fault) = Filter::compile(&left, usedns) {
            let at = fault.at();
            let source = fault.source().unwrap_or_default();
            let before = left.clone();
            let keep = |one: &Located<String>| one.at != *at || one.value != source;
            left.failregex.retain(keep);
            left.ignoreregex.retain(keep);
            left.prefregex = left.prefregex.filter(keep);
            left.maxlines = left.maxlines.filter(|lines| lines.value != 0);
            faults.push(fault);
            if left == before {
                break;
            }
        }
        faults
    }
}

impl Expression {
    fn new(
        option: &'static str,
        written: &Located<String>,
        usedns: UseDns,
        multiline: bool,
    ) -> Result<Expression, FilterError> {
        let pattern = Pattern::new(&written.value, usedns, multiline).map_err(|error| {
            let source = written.value.clone();
            FilterError::Expression { at: written.at.clone(), option, source, error }
        })?;
        let mut alternatives = composed(&pattern, "alt_");
        let mut tuples = composed(&pattern, "tuple_");
        alternatives.sort();
        tuples.sort();
        let roles = marks::Roles::new(&pattern, &alternatives);
        Ok(Expression { pattern, at: written.at.clone(), alternatives, tuples, roles })
    }

    /// True if it has a group that can say who failed, or to which session that belongs.
    pub fn names_offender(&self) -> bool {
        tag::ID_GROUPS.iter().any(|name| self.pattern.group(name).is_some())
    }

    /// The named groups of a hit, with alternatives and tuples merged. `piece` cuts them out of the
    /// text that was searched.
    pub fn fields(&self, hit: &Hit, mut piece: impl FnMut(Range<usize>) -> Piece) -> Fields {
        let mut fields = Fields::with_room(hit.groups.iter().flatten().count());
        for (name, range) in self.pattern.names().iter().zip(&hit.groups) {
            if let Some(range) = range {
                fields.add(name, Field::Text(piece(range.clone())));
            }
        }
        for (group, name) in &self.alternatives {
            if fields.is_set(group)
                && !fields.is_set(name)
                && let Some(value) = fields.get(group).cloned()
            {
                fields.set(name, value);
            }
        }
        for (group, name) in &self.tuples {
            let part = fields.text(group).map(str::to_owned);
            let parts = match fields.take(name) {
                Some(Field::Tuple(mut parts)) => {
                    parts.push(part);
                    parts
                }
                Some(Field::Text(first)) => vec![Some(first.to_string()), part],
                None => vec![None, part],
            };
            fields.set(name, Field::Tuple(parts));
        }
        fields
    }
}

/// Groups called `PREFIXname` or `PREFIXname_2`, with the name that they stand for.
fn composed(pattern: &Pattern, prefix: &str) -> Vec<(Arc<str>, Arc<str>)> {
    let stands_for = |group: &Arc<str>| {
        let name = group.strip_prefix(prefix)?;
        let bare = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let name = match bare.strip_suffix('_') {
            Some(bare) if name.len() > bare.len() + 1 => bare,
            _ => name,
        };
        Some((Arc::clone(group), tag::group_name(name).into()))
    };
    pattern.names().iter().filter_map(stands_for).collect()
}
