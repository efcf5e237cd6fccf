//! `%(name)s`: one option's value inside another's.
//!
//! A name is looked for among the caller's own values, then in the section, then in `[DEFAULT]`.
//! `%(section/name)s` reads another section, `%(default/name)s` the defaults, and
//! `%(known/name)s` what the option said before a later file overrode it. `%%` is a per cent sign.
//! What is found may refer further, ten levels deep.

use super::{
    finding::Finding,
    ini::shorten,
    text::{Options, Text, Weave, newlines},
    tree::Merged,
};
use crate::place::Place;

/// How deep references may nest (Python's ConfigParser has the same limit).
const DEPTH_MAX: usize = 10;

/// How long a value may become, and how many references may be followed for it: a few options
/// that double each other would otherwise fill the memory.
const VALUE_BYTES_MAX: usize = 1 << 20;
const REFERENCES_MAX: usize = 20_000;

/// Why there is no value.
#[derive(Debug)]
pub enum Lack {
    /// No such section.
    Section,
    /// No such option in the section or the defaults.
    Option,
    /// There is one, but it cannot be resolved.
    Broken(Box<Finding>),
}

impl Merged {
    /// The value of an option with all references resolved; `vars` go before the section's own.
    pub fn get(&self, section: &str, option: &str, vars: &Options) -> Result<Text, Lack> {
        let scope = Scope::new(self, section, vars).ok_or(Lack::Section)?;
        let raw = scope.raw(&option.to_lowercase()).ok_or(Lack::Option)?;
        if !raw.as_str().contains('%') {
            return Ok(raw.clone());
        }
        let mut resolver = Resolver { scope, option, references: 0 };
        let mut weave = Weave::default();
        resolver.some(raw, &mut weave, 1).map_err(|broken| Lack::Broken(Box::new(broken)))?;
        Ok(weave.finish(raw.at()))
    }

    /// As [`Merged::get`], but an option may name its section: `section/option`, `known/option`.
    pub fn get_from(&self, section: &str, option: &str, vars: &Options) -> Result<Text, Lack> {
        if let Some((elsewhere, name)) = split_section(option) {
            let none = Options::new();
            let known = format!("KNOWN/{section}");
            let places: &[&str] = match elsewhere.to_lowercase().as_str() {
                "known" => &[&known, section],
                "default" => &["DEFAULT"],
                _ => &[elsewhere],
            };
            for place in places {
                match self.get(place, name, &none) {
                    Err(Lack::Section | Lack::Option) => {}
                    found => return found,
                }
            }
        }
        self.get(section, option, vars)
    }
}

/// `section/option`, if that is what it looks like.
fn split_section(name: &str) -> Option<(&str, &str)> {
    let (section, option) = name.split_once('/')?;
    let is_name = !section.is_empty() && section.chars().all(is_name_char);
    let has_option = !option.is_empty() && !option.contains([' ', '\t', '\n', '>']);
    (is_name && has_option).then_some((section, option))
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// Where names are looked for.
struct Scope<'a> {
    merged: &'a Merged,
    name: &'a str,
    vars: &'a Options,
    own: &'a Options,
}

impl<'a> Scope<'a> {
    fn new(merged: &'a Merged, section: &'a str, vars: &'a Options) -> Option<Scope<'a>> {
        let own = match section {
            "DEFAULT" => &merged.defaults,
            name => merged.section(name)?,
        };
        Some(Scope { merged, name: section, vars, own })
    }

    fn raw(&self, option: &str) -> Option<&'a Text> {
        let own = self.vars.get(option).or_else(|| self.own.get(option));
        own.or_else(|| self.merged.defaults.get(option))
    }

    /// What `%(name)s` stands for.
    fn reference(&self, name: &str) -> Option<Text> {
        let lower = name.to_lowercase();
        if lower == "__name__" {
            return Some(Text::new(self.name, Place::command_line()));
        }
        if let Some(found) = self.raw(&lower) {
            return Some(found.clone());
        }
        let (section, option) = split_section(name)?;
        let option = option.to_lowercase();
        let found = match section.to_lowercase().as_str() {
            "default" => None,
            "known" => self.merged.known.get(self.name).and_then(|known| known.get(&option)),
            _ => self.merged.section(section)?.get(&option),
        };
        found.or_else(|| self.merged.defaults.get(&option)).cloned()
    }
}

struct Resolver<'a> {
    scope: Scope<'a>,
    option: &'a str,
    references: usize,
}

impl Resolver<'_> {
    /// Appends `text` with its references resolved.
    fn some(&mut self, text: &Text, weave: &mut Weave, depth: usize) -> Result<(), Finding> {
        if depth > DEPTH_MAX || self.references > REFERENCES_MAX {
            let what = format!(
                "option '{}' refers to others more than {DEPTH_MAX} levels deep, or to itself",
                self.option
            );
            return Err(self.fault(text.at(), what, "break the circle of %(…)s references"));
        }
        let raw = text.as_str();
        let (mut done, mut line) = (0, 0);
        while let Some(found) = raw.get(done..).and_then(|rest| rest.find('%')) {
            let percent = done + found;
            line += weave.own(text, done..percent, line);
            let rest = raw.get(percent + 1..).unwrap_or_default();
            if rest.starts_with('%') {
                weave.own(text, percent..percent + 1, line);
                done = percent + 2;
                continue;
            }
            let Some(name) = reference_name(rest) else {
                return Err(self.stray(text, percent));
            };
            let Some(value) = self.scope.reference(name) else {
                return Err(self.missing(text, percent, name));
            };
            self.references += 1;
            if value.as_str().contains('%') {
                let mut inner = Weave::default();
                self.some(&value, &mut inner, depth + 1)?;
                weave.insert(&inner.finish(value.at()));
            } else {
                weave.insert(&value);
            }
            if weave.len() > VALUE_BYTES_MAX {
                let what =
                    format!("option '{}' grows beyond a megabyte by %({name})s", self.option);
                return Err(self.fault(text.place_of(percent), what, "refer to it less often"));
            }
            done = percent + name.len() + "%()s".len();
            line += newlines(name);
        }
        weave.own(text, done..raw.len(), line);
        Ok(())
    }

    fn stray(&self, text: &Text, at: usize) -> Finding {
        let shown = shorten(text.as_str().get(at..).unwrap_or_default());
        let what = format!("option '{}' has a single % in '{shown}'", self.option);
        let write = "write %% for a per cent sign, %(name)s for another option's value";
        self.fault(text.place_of(at), what, write)
    }

    fn missing(&self, text: &Text, at: usize, name: &str) -> Finding {
        let what = format!("option '{}' refers to %({name})s, which is not set", self.option);
        let known = self.scope.own.keys().chain(self.scope.vars.keys());
        let known = known.chain(self.scope.merged.defaults.keys());
        let write = match super::nearest(name, known.map(String::as_str)) {
            Some(near) => format!("did you mean %({near})s?"),
            None => format!("set `{name} = …` in [{}] or [DEFAULT]", self.scope.name),
        };
        self.fault(text.place_of(at), what, write)
    }

    fn fault(&self, at: Place, what: String, write: impl Into<String>) -> Finding {
        Finding::fault(at, what, write).within(self.scope.name)
    }
}

/// The name in `(name)s`, which follows the per cent sign.
fn reference_name(rest: &str) -> Option<&str> {
    let (name, after) = rest.strip_prefix('(')?.split_once(')')?;
    (!name.is_empty() && after.starts_with('s')).then_some(name)
}
