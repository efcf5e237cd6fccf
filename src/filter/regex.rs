//! `Pattern`: one expression of a filter, compiled.
//!
//! Rule of use: [`Pattern::search`] looks for the expression in a text that ends with a newline,
//! as fail2ban's buffers do, and fills a [`Hit`] with byte ranges. The linear engine runs wherever
//! it can express the pattern; else the backtracking one, with a step limit. Running out of steps
//! is never a match: it is an [`OutOfSteps`], for the caller to count.

use std::{ops::Range, sync::Arc, sync::OnceLock};

use super::{
    emit::{self, Dialect},
    literal::{self, Required},
    machine::{Bytes, Head, Machine, Memory, Outcome, Recall},
    spec::UseDns,
    syntax::{self, Assert, Expression, Node, Repetition, SyntaxError},
    tag,
};

/// Steps after which the backtracking engine gives a line up: 1.7 ms on a hostile pattern, where
/// no honest line of the stock filters needs a tenth of it.
const BACKTRACK_STEPS_MAX: usize = 100_000;
/// One step of that engine may read to the end of the text, so of a text longer than this it gets
/// only a few: some two seconds for the longest line and the worst pattern.
const LONG_TEXT_BYTES: usize = 16 << 10;
/// Steps on such a text: enough for an expression that is bound to the line's beginning.
const LONG_TEXT_STEPS_MAX: usize = 256;
/// Memory that one compiled expression may take. The largest stock filter needs 2 MiB.
const PROGRAM_BYTES_MAX: usize = 32 << 20;
/// Memory of the lazily built automaton of one expression.
const AUTOMATON_BYTES_MAX: usize = 1 << 20;

/// The step limit was reached: the line counts as missed, and this is reported.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutOfSteps;

/// An expression that cannot be used, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PatternError {
    /// Nothing is left of it.
    Empty,
    /// Python's grammar does not allow it; with the text around the fault.
    Syntax {
        /// What is wrong.
        error: SyntaxError,
        /// The expression up to the fault, whole tags as tags.
        before: String,
    },
    /// An engine refuses it: too large, most likely.
    Engine(String),
}

/// Where a pattern matched.
#[derive(Clone, Debug, Default)]
pub struct Hit {
    /// The whole match, in bytes of the text.
    pub span: Range<usize>,
    /// One range per named group, in the order of [`Pattern::names`].
    pub groups: Vec<Option<Range<usize>>>,
    memory: Memory,
}

#[derive(Clone)]
enum Engine {
    Linear {
        ascii: OnceLock<Option<regex::bytes::Regex>>,
        unicode: OnceLock<Option<regex::Regex>>,
    },
    Backtracking {
        ascii: OnceLock<Option<fancy_regex::Regex>>,
        unicode: OnceLock<Option<fancy_regex::Regex>>,
        /// For long texts, of whatever letters.
        long: OnceLock<Option<Box<fancy_regex::Regex>>>,
    },
}

/// One compiled expression.
#[derive(Clone)]
pub struct Pattern {
    /// As the user wrote it, tags and all.
    pub source: String,
    /// With its tags written out, in Python's dialect: what reports show.
    pub expanded: String,
    expression: Expression,
    names: Vec<Arc<str>>,
    /// Group number in the emitted expression of each name.
    numbers: Vec<usize>,
    /// Group number in the expression itself of each name.
    indices: Vec<usize>,
    machine: Option<Machine>,
    /// Where the expression takes every line.
    head: Option<Head>,
    required: Option<Required>,
    engine: Engine,
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pattern").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Pattern {
    /// Compiles `source`. `multiline`: the buffer may hold several lines (`maxlines` above 1).
    ///
    /// # Errors
    ///
    /// [`PatternError`] for an empty, malformed or oversized expression.
    pub fn new(source: &str, usedns: UseDns, multiline: bool) -> Result<Pattern, PatternError> {
        let expanded = tag::expand(source, usedns);
        if expanded.text.trim_start().is_empty() {
            return Err(PatternError::Empty);
        }
        let expression =
            syntax::parse(&expanded.text, multiline, &expanded.hosts).map_err(|error| {
                let before = expanded.text.get(..error.at).unwrap_or(&expanded.text);
                PatternError::Syntax { error, before: tag::contract(before, usedns) }
            })?;
        let linear = emit::is_linear(&expression.node);
        let named = || expression.groups.iter().enumerate().filter(|(_, name)| name.is_some());
        let names: Vec<Arc<str>> = named().filter_map(|(_, name)| name.clone()).collect();
        // The linear form forgets groups without a name, which shifts the numbers.
        let numbers = match linear {
            true => (1..=names.len()).collect(),
            false => named().map(|(number, _)| number).collect(),
        };
        let indices = named().map(|(number, _)| number).collect();
        let machine = Machine::new(&expression);
        let takes_all = machine.is_some() && takes_every_line(&expression.node);
        let head = takes_all.then(|| Head::new(&expression)).flatten();
        let required = literal::required(&expression.node);
        let engine = match linear {
            true => Engine::Linear { ascii: OnceLock::new(), unicode: OnceLock::new() },
            false => Engine::Backtracking {
                ascii: OnceLock::new(),
                unicode: OnceLock::new(),
                long: OnceLock::new(),
            },
        };
        let pattern = Pattern {
            source: source.to_owned(),
            expanded: expanded.text,
            expression,
            names,
            numbers,
            indices,
            machine,
            head,
            required,
            engine,
        };
        // Where the machine can run it, the engine is built when it is first needed: hardly ever.
        if pattern.machine.is_none() {
            pattern.compile_ascii()?;
        }
        Ok(pattern)
    }

    /// Names of the groups, in order.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The position of `name` among [`Pattern::names`].
    pub fn group(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| &**known == name)
    }

    /// Text of which every matching line holds at least one.
    pub fn required(&self) -> Option<&Required> {
        self.required.as_ref()
    }

    /// The ASCII bytes with which a text must begin that matches; `None` if the match may begin
    /// later, or with anything.
    pub fn first_bytes(&self) -> Option<Bytes> {
        self.machine.as_ref()?.first_bytes()
    }

    /// The same of the byte behind the first, whatever that is.
    pub fn second_bytes(&self) -> Option<Bytes> {
        self.machine.as_ref()?.second_bytes()
    }

    /// Looks for the pattern in ASCII text by the quick machine alone. The groups of a hit are in
    /// `memory`, by [`Pattern::range`].
    pub fn search_ascii(&self, text: &[u8], memory: &mut Memory) -> Outcome {
        self.machine.as_ref().map_or(Outcome::Unknown, |machine| machine.search(text, memory))
    }

    /// The same for a text that is one line with its newline, which may be like one before.
    pub fn search_line(&self, text: &[u8], recall: &mut Recall, memory: &mut Memory) -> Outcome {
        if let Some(head) = &self.head
            && head.search(text, recall, memory) == Outcome::Found
        {
            return Outcome::Found;
        }
        self.search_ascii(text, memory)
    }

    /// True if lines like one before are known by their beginnings.
    pub fn has_head(&self) -> bool {
        self.head.is_some()
    }

    /// The number by which [`Memory::group`] knows the group at position `group` of
    /// [`Pattern::names`].
    pub fn number(&self, group: usize) -> Option<usize> {
        self.indices.get(group).copied()
    }

    /// Where the group at position `group` of [`Pattern::names`] lies after
    /// [`Pattern::search_ascii`].
    pub fn range(&self, group: usize, memory: &Memory) -> Option<Range<usize>> {
        memory.group(*self.indices.get(group)?)
    }

    /// True if every line that holds anything matches: `^`, then only what may be left out, then
    /// `.+` up to the end. So are prefregexes that merely take a line apart.
    pub fn takes_every_line(&self) -> bool {
        takes_every_line(self.node())
    }

    /// The tree of the expression.
    pub fn node(&self) -> &syntax::Node {
        &self.expression.node
    }

    /// True if the linear engine runs it.
    pub fn is_linear(&self) -> bool {
        matches!(self.engine, Engine::Linear { .. })
    }

    /// The usual line is ASCII, so this form tells if there is a fault.
    fn compile_ascii(&self) -> Result<(), PatternError> {
        match &self.engine {
            Engine::Linear { ascii, .. } => {
                let built = build_bytes(&emit::emit(self.node(), Dialect::LinearAscii));
                let built = built.map_err(PatternError::Engine)?;
                let _ = ascii.set(Some(built));
            }
            Engine::Backtracking { ascii, .. } => {
                let form = emit::emit(self.node(), Dialect::BacktrackingAscii);
                let built = build_fancy(&form, BACKTRACK_STEPS_MAX);
                let built = built.map_err(PatternError::Engine)?;
                let _ = ascii.set(Some(built));
            }
        }
        Ok(())
    }

    /// Searches `text`; fills `hit` and answers true if the pattern is found.
    ///
    /// # Errors
    ///
    /// [`OutOfSteps`] if the backtracking engine gave up.
    pub fn search(&self, text: &str, hit: &mut Hit) -> Result<bool, OutOfSteps> {
        self.search_known(text, text.is_ascii(), hit)
    }

    /// The same, where it is known whether the text `is_ascii`.
    ///
    /// # Errors
    ///
    /// [`OutOfSteps`] if the backtracking engine gave up.
    pub fn search_known(
        &self,
        text: &str,
        is_ascii: bool,
        hit: &mut Hit,
    ) -> Result<bool, OutOfSteps> {
        if let Some(machine) = &self.machine
            && is_ascii
        {
            match machine.search(text.as_bytes(), &mut hit.memory) {
                Outcome::Found => {
                    hit.span = hit.memory.group(0).unwrap_or_default();
                    hit.groups.clear();
                    hit.groups.extend(self.indices.iter().map(|index| hit.memory.group(*index)));
                    return Ok(true);
                }
                Outcome::Nowhere => return Ok(false),
                Outcome::Unknown => {}
            }
        }
        self.search_by_engine(text, hit)
    }

    /// The same without the machine: what it is held against in tests.
    ///
    /// # Errors
    ///
    /// [`OutOfSteps`] if the backtracking engine gave up.
    pub fn search_by_engine(&self, text: &str, hit: &mut Hit) -> Result<bool, OutOfSteps> {
        hit.groups.clear();
        match (&self.engine, text.is_ascii()) {
            (Engine::Linear { ascii, .. }, true) => {
                let form = || emit::emit(self.node(), Dialect::LinearAscii);
                let regex = ascii.get_or_init(|| build_bytes(&form()).ok()).as_ref();
                let regex = regex.ok_or(OutOfSteps)?;
                let mut locations = regex.capture_locations();
                let Some(found) = regex.captures_read(&mut locations, text.as_bytes()) else {
                    return Ok(false);
                };
                hit.span = found.range();
                let range = |number: &usize| locations.get(*number).map(|(from, to)| from..to);
                hit.groups.extend(self.numbers.iter().map(range));
                Ok(true)
            }
            (Engine::Linear { unicode, .. }, false) => {
                let form = || emit::emit(self.node(), Dialect::LinearUnicode);
                // Classes are larger beyond ASCII: if they are too large, that must not go unsaid.
                let regex = unicode.get_or_init(|| build_text(&form()).ok()).as_ref();
                let regex = regex.ok_or(OutOfSteps)?;
                let mut locations = regex.capture_locations();
                let Some(found) = regex.captures_read(&mut locations, text) else {
                    return Ok(false);
                };
                hit.span = found.range();
                let range = |number: &usize| locations.get(*number).map(|(from, to)| from..to);
                hit.groups.extend(self.numbers.iter().map(range));
                Ok(true)
            }
            (Engine::Backtracking { ascii, unicode, long }, is_ascii) => {
                let unicode_form = |steps| {
                    build_fancy(&emit::emit(self.node(), Dialect::BacktrackingUnicode), steps).ok()
                };
                let regex = match is_ascii {
                    _ if text.len() > LONG_TEXT_BYTES => {
                        if self.required.as_ref().is_some_and(|required| !required.is_in(text)) {
                            return Ok(false);
                        }
                        long.get_or_init(|| unicode_form(LONG_TEXT_STEPS_MAX).map(Box::new))
                            .as_deref()
                    }
                    true => ascii
                        .get_or_init(|| {
                            let form = emit::emit(self.node(), Dialect::BacktrackingAscii);
                            build_fancy(&form, BACKTRACK_STEPS_MAX).ok()
                        })
                        .as_ref(),
                    false => unicode.get_or_init(|| unicode_form(BACKTRACK_STEPS_MAX)).as_ref(),
                };
                let regex = regex.ok_or(OutOfSteps)?;
                let Some(found) = regex.captures(text).map_err(|_| OutOfSteps)? else {
                    return Ok(false);
                };
                hit.span = found.get(0).map_or(0..0, |whole| whole.start()..whole.end());
                let range = |number: &usize| found.get(*number).map(|m| m.start()..m.end());
                hit.groups.extend(self.numbers.iter().map(range));
                Ok(true)
            }
        }
    }
}

fn takes_every_line(node: &Node) -> bool {
    let mut items = Vec::new();
    flatten(node, &mut items);
    let Some((Node::Assert(Assert::TextStart), rest)) = items.split_first() else { return false };
    let Some((Node::Assert(Assert::TextEndNewline), rest)) = rest.split_last() else {
        return false;
    };
    let Some((last, skippable)) = rest.split_last() else { return false };
    let takes_all = matches!(last, Node::Repeat { min: 0 | 1, max: None, mode, node }
        if *mode == Repetition::Greedy && matches!(**node, Node::Any { newline: false }));
    let may_be_left_out = |node: &&Node| {
        matches!(node, Node::Repeat { min: 0, mode, .. }
        if *mode != Repetition::Possessive)
    };
    takes_all && skippable.iter().all(may_be_left_out)
}

fn flatten<'a>(node: &'a Node, out: &mut Vec<&'a Node>) {
    match node {
        Node::Concat(items) => items.iter().for_each(|item| flatten(item, out)),
        Node::Capture { node, .. } => flatten(node, out),
        other => out.push(other),
    }
}

fn build_bytes(form: &str) -> Result<regex::bytes::Regex, String> {
    regex::bytes::RegexBuilder::new(form)
        .unicode(false)
        .size_limit(PROGRAM_BYTES_MAX)
        .dfa_size_limit(AUTOMATON_BYTES_MAX)
        .build()
        .map_err(|error| last_line(&error.to_string()))
}

fn build_text(form: &str) -> Result<regex::Regex, String> {
    regex::RegexBuilder::new(form)
        .size_limit(PROGRAM_BYTES_MAX)
        .dfa_size_limit(AUTOMATON_BYTES_MAX)
        .build()
        .map_err(|error| last_line(&error.to_string()))
}

fn build_fancy(form: &str, steps: usize) -> Result<fancy_regex::Regex, String> {
    fancy_regex::RegexBuilder::new(form)
        .backtrack_limit(steps)
        .delegate_size_limit(PROGRAM_BYTES_MAX)
        .delegate_dfa_size_limit(AUTOMATON_BYTES_MAX)
        .build()
        .map_err(|error| last_line(&error.to_string()))
}

/// The engines draw pictures of the expression; the fault itself is the last line.
fn last_line(text: &str) -> String {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(text).trim().to_owned()
}
