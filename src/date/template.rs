//! `DateTemplate`: one form in which a date may be written, built from a date pattern.
//!
//! ```text
//! pattern ──directives──► expression ──borders──► regex ──compile──► Pattern
//!        └──────────────► name
//! ```
//!
//! Besides patterns with %-directives there are three forms of their own: `EPOCH` (seconds since
//! 1970, with decimals), `LEPOCH` (also milli- and microseconds) and `TAI64N` (DJB's labels).

use super::DateError;
use super::boundary::{Bound, Start, bind, has_group};
use super::directive::{Decades, Expanded, expand};
use super::matcher::Pattern;
use super::quick::Shape;
use super::read::Field;

/// The prefix that binds a pattern to the beginning of the line.
pub(crate) const LINE_BEGIN: &str = "{^LN-BEG}";
const UNBOUND: &str = "{UNB}";

/// Seconds since the epoch. The word border keeps longer numbers out.
const EPOCH: &str = r"\d{10,11}\b(?:\.\d{3,6})?";
/// The same, or milliseconds with or without decimals, or microseconds.
const LONG_EPOCH: &str = r"\d{10,11}(?:\d{3}(?:\d{3}|\.\d{1,6})?)?";
const TAI64N: &str = "@[0-9a-f]{24}";

/// How the groups of a match become a moment.
#[derive(Clone, Debug)]
pub(crate) enum Reading {
    /// Civil fields, in the order of their groups.
    Fields(Vec<(Field, usize)>),
    /// A number in this group; `long` ones may be milli- or microseconds.
    Epoch { group: usize, long: bool },
    /// Hexadecimal seconds.
    Tai,
}

/// One form of a date.
#[derive(Clone, Debug)]
pub struct DateTemplate {
    pub(crate) name: String,
    pub(crate) pattern: Option<String>,
    pub(crate) regex: String,
    pub(crate) program: Pattern,
    pub(crate) reading: Reading,
    /// Bound to the beginning of the line.
    pub(crate) line_begin: bool,
    /// Bound to the beginning or the end of the line.
    pub(crate) anchored: bool,
    pub(crate) weight: f64,
    /// The bytes by which the commonest lines of this form are known at once.
    pub(crate) shape: Option<Shape>,
}

impl DateTemplate {
    /// The template of one date pattern. Of the words that stand for a whole form, upper and lower
    /// case do not count.
    pub(crate) fn new(pattern: &str, decades: Decades) -> Result<DateTemplate, DateError> {
        let key = keyword(pattern);
        let (line, word) = match key.strip_prefix(LINE_BEGIN).or_else(|| key.strip_prefix('^')) {
            Some(word) => (true, word),
            None => (false, key.as_str()),
        };
        if key.contains("EPOCH") && (!epoch_tags(pattern).is_empty()) {
            return DateTemplate::tagged_epoch(pattern, key.contains("LEPOCH"));
        }
        match word {
            "EPOCH" => DateTemplate::epoch(line, false),
            "LEPOCH" => DateTemplate::epoch(line, true),
            "TAI64N" => DateTemplate::tai64n(line),
            _ => DateTemplate::civil(pattern, decades),
        }
    }

    fn civil(pattern: &str, decades: Decades) -> Result<DateTemplate, DateError> {
        let (rest, start, end) = match pattern.strip_prefix(UNBOUND) {
            Some(rest) => (rest, Start::Free, false),
            None => match pattern.strip_prefix(LINE_BEGIN) {
                Some(rest) => (rest, Start::Line, true),
                None => (pattern, Start::Word, true),
            },
        };
        let Expanded { mut expression, name, letters } = expand(rest, decades)
            .map_err(|error| DateError::Directive { pattern: pattern.to_owned(), error })?;
        if letters {
            expression.insert_str(0, "(?iu)");
        }
        let bound = bind(&expression, start, end);
        let mut template = DateTemplate::build(name, bound, |program| {
            Reading::Fields(Field::list(program.names()))
        })
        .map_err(|error| error.of(pattern))?;
        template.pattern = Some(pattern.to_owned());
        template.shape = Shape::of(pattern, decades);
        Ok(template)
    }

    /// A pattern with `{EPOCH}` in it: all else is a plain expression, without %-directives.
    fn tagged_epoch(pattern: &str, long: bool) -> Result<DateTemplate, DateError> {
        let number = format!("({})", if long { LONG_EPOCH } else { EPOCH });
        let mut expression = pattern.to_owned();
        for tag in epoch_tags(pattern).into_iter().rev() {
            expression.replace_range(tag, &number);
        }
        if !has_group(pattern) {
            expression = format!("({expression})");
        }
        // What is cut out is group 1, so the number is in group 2 at the earliest.
        DateTemplate::build(pattern.to_owned(), bind(&expression, Start::Word, true), |_| {
            Reading::Epoch { group: 2, long }
        })
    }

    fn epoch(line: bool, long: bool) -> Result<DateTemplate, DateError> {
        let number = if long { LONG_EPOCH } else { EPOCH };
        let bound = if line {
            bind(&format!("({number})"), Start::Line, true)
        } else {
            // At the beginning of the line, behind a bracket there, or in an audit record.
            bind(&format!(r"((?:^|(?<=^\[)|(?<=\baudit\()){number})"), Start::Free, true)
        };
        let name = if long { "LongEpoch" } else { "Epoch" }.to_owned();
        let mut template = DateTemplate::build(name, bound, |_| Reading::Epoch { group: 1, long })?;
        template.shape = (line && !long).then_some(Shape::Epoch);
        Ok(template)
    }

    fn tai64n(line: bool) -> Result<DateTemplate, DateError> {
        let start = if line { Start::Line } else { Start::Free };
        DateTemplate::build("TAI64N".to_owned(), bind(TAI64N, start, true), |_| Reading::Tai)
    }

    fn build(
        name: String,
        bound: Bound,
        reading: impl FnOnce(&Pattern) -> Reading,
    ) -> Result<DateTemplate, DateError> {
        let program = Pattern::new(&bound.regex)
            .map_err(|error| DateError::Expression { pattern: name.clone(), error })?;
        let name = if bound.line_prefix && !name.starts_with(LINE_BEGIN) {
            format!("{LINE_BEGIN}{name}")
        } else {
            name
        };
        Ok(DateTemplate {
            name,
            pattern: None,
            regex: bound.regex,
            reading: reading(&program),
            program,
            line_begin: bound.line_begin,
            anchored: bound.line_begin || bound.line_end,
            weight: 1.0,
            shape: None,
        })
    }

    /// What a template derived from this one is built from: its pattern, or the word that is one.
    pub(crate) fn source(&self) -> &str {
        self.pattern.as_deref().unwrap_or(&self.name)
    }
}

/// The pattern as it is compared with the words that have a meaning of their own.
pub(crate) fn keyword(pattern: &str) -> String {
    if pattern.contains('%') { pattern.to_owned() } else { pattern.to_uppercase() }
}

/// A pattern without the prefixes that say how it is bound.
pub(crate) fn unbound(pattern: &str) -> &str {
    let rest = pattern.strip_prefix(UNBOUND).unwrap_or(pattern);
    rest.strip_prefix(LINE_BEGIN).unwrap_or(rest)
}

/// Where `{DATE}` stands, whatever its case; `\{DATE}` is plain text.
pub(crate) fn date_tags(pattern: &str) -> Vec<std::ops::Range<usize>> {
    tags(pattern, "{DATE}")
}

fn epoch_tags(pattern: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = tags(pattern, "{EPOCH}");
    found.extend(tags(pattern, "{LEPOCH}"));
    found.sort_by_key(|range| range.start);
    found
}

fn tags(pattern: &str, tag: &str) -> Vec<std::ops::Range<usize>> {
    let bytes = pattern.as_bytes();
    let escaped = |i: usize| i.checked_sub(1).and_then(|i| bytes.get(i)) == Some(&b'\\');
    (0..bytes.len())
        .filter(|&i| !escaped(i))
        .map(|i| i..i + tag.len())
        .filter(|range| {
            bytes.get(range.clone()).is_some_and(|text| text.eq_ignore_ascii_case(tag.as_bytes()))
        })
        .collect()
}
