//! Filters: `filter.d/NAME.conf`, or a file that belongs to no tree, read into a [`FilterSpec`].

use std::path::Path;

use super::{
    definition::Definition,
    finding::{ConfigError, Finding},
    nearest,
    text::{Options, Text},
    tree::{Merged, Tree},
};
use crate::{
    filter::{FilterSpec, UseDns},
    place::{Located, Place},
};

/// What a filter may say, in the order in which it is asked.
pub(super) const FILTER_OPTIONS: &[&str] =
    &["usedns", "prefregex", "ignoreregex", "failregex", "maxlines", "datepattern", "journalmatch"];

/// Which filter to read.
#[derive(Clone, Copy, Debug)]
pub enum FilterSource<'a> {
    /// `filter.d/NAME` of the tree, with its `.local` and its `.d` folder.
    Name(&'a str),
    /// This very file with what it includes, as a file of no tree.
    File(&'a Path),
}

/// Reads a filter with the options of its option list, for a jail with this backend.
///
/// Gives what fail2ban would: the option list goes before `[Init]`, that before `[Definition]`;
/// `logtype` is `journal` for the systemd backend and `file` for others, unless it is set; empty
/// lines of `failregex` are skipped. Warnings come beside the filter.
///
/// # Errors
/// The filter does not exist, or one of its files is broken.
pub fn read_filter(
    tree: &Tree,
    source: FilterSource<'_>,
    options: &[(String, String)],
    backend: &str,
) -> Result<(FilterSpec, Vec<Finding>), ConfigError> {
    let here = Place::command_line();
    let (name, mut merged) = open(tree, source, &here)?;
    let mut warnings = merged.sound()?;
    let list = options.iter();
    let list = list.map(|(name, value)| (name.clone(), Text::new(value.clone(), here.clone())));
    let mut definition = definition(&merged, list.collect(), backend, &here)?;
    definition.collect(&Options::new(), false)?;
    let values = definition.combined(&[])?;
    let mut spec = FilterSpec { name, ..FilterSpec::default() };
    fill(&mut spec, &values, &mut warnings);
    spec.settled = settled(&definition, &values, options.iter().map(|(name, _)| name.as_str()));
    if spec.failregex.is_empty() {
        warnings.push(no_failregex(&merged));
    }
    Ok((spec, warnings))
}

/// What is worth showing of a filter's values: the two that decide most, and those that were given.
pub(super) fn settled<'a>(
    definition: &Definition<'_>,
    values: &Options,
    given: impl Iterator<Item = &'a str>,
) -> Vec<(String, String)> {
    let mut settled = Options::new();
    for name in ["logtype", "datepattern"].into_iter().chain(given) {
        if let Some(value) = values.get(name).cloned().or_else(|| definition.setting(name)) {
            settled.insert(name.to_owned(), value);
        }
    }
    settled.into_iter().map(|(name, value)| (name, value.as_str().to_owned())).collect()
}

/// The files of a filter, not yet judged; `here` is the place that named it.
pub(super) fn open(
    tree: &Tree,
    source: FilterSource<'_>,
    here: &Place,
) -> Result<(String, Merged), ConfigError> {
    match source {
        FilterSource::File(path) => {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if !path.exists() {
                let what = format!("the filter file '{}' does not exist", path.display());
                let write = "write the path of a file, or a filter's name without '/'";
                return Err(Finding::fault(here.clone(), what, write).into());
            }
            Ok((name, tree.read_file(path)))
        }
        FilterSource::Name(name) => match tree.read(&format!("filter.d/{name}")) {
            Some(merged) => Ok((name.to_owned(), merged)),
            None => {
                let what = format!("there is no filter '{name}'");
                let known = tree.names("filter.d");
                let write = match nearest(name, known.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean '{near}'?"),
                    None => format!("write {}/filter.d/{name}.conf", tree.root().display()),
                };
                Err(Finding::fault(here.clone(), what, write).into())
            }
        },
    }
}

/// Prepares a filter for reading: checks its shape and settles `logtype`.
pub(super) fn definition<'a>(
    merged: &'a Merged,
    mut list: Options,
    backend: &str,
    here: &Place,
) -> Result<Definition<'a>, ConfigError> {
    if merged.section("Definition").is_none() {
        let file = merged.files.first();
        let at = file.map_or_else(|| here.clone(), |file| Place { file: file.clone(), line: 0 });
        let known = merged.sections.keys().map(String::as_str);
        let write = match nearest("Definition", known) {
            Some(near) => format!("write [Definition] for [{near}]"),
            None => "write [Definition] above its failregex".to_owned(),
        };
        return Err(Finding::fault(at, "the filter has no section [Definition]", write).into());
    }
    let given = list.get("logtype").is_some_and(|value| !value.as_str().is_empty());
    if !given && !merged.has_own("Definition", "logtype") {
        let logtype = if backend.starts_with("systemd") { "journal" } else { "file" };
        list.insert("logtype".to_owned(), Text::new(logtype, here.clone()));
    }
    Ok(Definition::new(merged, FILTER_OPTIONS, list))
}

/// Takes over what `values` say about a filter, on top of what it has: expressions are added,
/// single values replaced.
pub(super) fn fill(spec: &mut FilterSpec, values: &Options, warnings: &mut Vec<Finding>) {
    let whole = |name: &str| values.get(name).map(Text::located);
    if let Some(text) = values.get("failregex") {
        spec.failregex.extend(expressions(text));
    }
    if let Some(text) = values.get("ignoreregex") {
        spec.ignoreregex.extend(expressions(text));
    }
    if let Some(text) = whole("prefregex") {
        spec.prefregex = Some(text).filter(|text| !text.value.is_empty());
    }
    if let Some(text) = whole("datepattern") {
        spec.datepattern = Some(text);
    }
    if let Some(text) = values.get("journalmatch") {
        let lines = text.lines().filter(|line| !line.value.is_empty());
        spec.journalmatch.extend(lines.map(|line| line.value.to_owned()));
    }
    if let Some(text) = whole("maxlines") {
        match text.value.trim().parse::<u32>() {
            Ok(lines) if lines > 0 => spec.maxlines = Some(text.map(|_| lines)),
            _ => {
                let what = format!("'maxlines = {}' is not a number of lines", text.value);
                warnings.push(Finding::fault(text.at, what, "write a whole number from 1 on"));
            }
        }
    }
    if let Some(text) = whole("usedns") {
        spec.usedns = Some(UseDns::parse(&text.value).unwrap_or_else(|| {
            let what = format!("'usedns = {}' is not known and counts as no", text.value);
            warnings.push(Finding::fault(text.at, what, "write yes, warn, no or raw"));
            UseDns::No
        }));
    }
}

/// One expression a line; empty lines are none.
fn expressions(text: &Text) -> Vec<Located<String>> {
    let lines = text.lines().filter(|line| !line.value.is_empty());
    lines.map(|line| line.map(str::to_owned)).collect()
}

fn no_failregex(merged: &Merged) -> Finding {
    let file = merged.files.first();
    let at = file.map_or_else(Place::command_line, |file| Place { file: file.clone(), line: 0 });
    let options = merged.section("Definition").into_iter().flatten();
    let names = options.map(|(name, _)| name.as_str()).filter(|name| *name != "failregex");
    let write = match nearest("failregex", names.filter(|name| *name != "ignoreregex")) {
        Some(near) => format!("did you mean failregex by '{near}'?"),
        None => "write `failregex = …` in [Definition]".to_owned(),
    };
    Finding::warning(at, "the filter has no failregex, so it finds nothing", write)
}
