//! Jails: the sections of `jail.conf` and what lies on top of it.
//!
//! For each enabled one its filter is read first, and what that says becomes `%(known/…)s` of the
//! jail; then the jail's own options, then its actions. A jail that is wrong says so and leaves
//! the others alone.

use std::collections::HashSet;

use super::{
    actions::{self, ActionValues},
    filters::{self, FilterSource},
    finding::{ConfigError, Finding},
    interpolate::Lack,
    jail_options::{self as read, HINTS, JAIL_OPTIONS, Kind, OWN_OPTIONS, USUAL_OPTIONS},
    jail_spec::JailSpec,
    jail_typed, nearest, options,
    text::{Options, Text},
    tree::{Merged, Tree},
};
use crate::{filter::FilterSpec, place::Place};

/// All enabled jails, and what is wrong outside of any.
#[derive(Clone, Debug, Default)]
pub struct Jails {
    /// In the order of the files.
    pub jails: Vec<Jail>,
    /// What concerns no jail in particular.
    pub findings: Vec<Finding>,
}

/// One enabled jail.
#[derive(Clone, Debug)]
pub struct Jail {
    /// The name of its section.
    pub name: String,
    /// What it is told; none where it cannot run as written. An action that cannot be read is
    /// left out of it and a fault among the findings: the others still ban.
    pub spec: Option<JailSpec>,
    /// What is wrong with it, warnings and faults.
    pub findings: Vec<Finding>,
    pub(super) values: Option<JailValues>,
}

/// A jail's values as text, before they become types or a command stream.
#[derive(Clone, Debug)]
pub(super) struct JailValues {
    pub name: String,
    pub at: Place,
    /// Name and combined options of the filter.
    pub filter: Option<(String, Options)>,
    /// Options in the order of [`JAIL_OPTIONS`].
    pub options: Options,
    pub own: Options,
    pub actions: Vec<ActionValues>,
    /// See [`FilterSpec::settled`].
    pub settled: Vec<(String, String)>,
}

impl JailValues {
    /// True if it has expressions: a filter's, or its own without one.
    pub fn looks_for_something(&self) -> bool {
        let own = self.options.get("failregex");
        self.filter.is_some() || own.is_some_and(|text| !text.as_str().trim().is_empty())
    }
}

/// Reads the jails of a tree.
pub fn read_jails(tree: &Tree) -> Jails {
    let mut jails = Jails::default();
    let Some(mut merged) = tree.read("jail") else {
        let at = Place::new(tree.root(), 0);
        let write = match tree.root().is_dir() {
            true => "write a jail.conf or a jail.local there",
            false => "name a directory that has one: -c DIR",
        };
        jails.findings.push(Finding::fault(at, "there is no jail.conf", write));
        return jails;
    };
    let all = std::mem::take(&mut merged.findings);
    let in_jail = |finding: &Finding| {
        let section = finding.section.as_ref();
        section.is_some_and(|name| name != "INCLUDES" && merged.section(name).is_some())
    };
    let (inside, outside): (Vec<_>, Vec<_>) = all.into_iter().partition(in_jail);
    jails.findings = outside;
    add_constants(tree, &mut merged);
    let referenced = referenced(&merged);
    unknown_defaults(&merged, &referenced, &mut jails.findings);
    let names: Vec<String> = merged.sections.keys().cloned().collect();
    for name in names.iter().filter(|name| *name != "INCLUDES") {
        let mut findings: Vec<Finding> =
            inside.iter().filter(|found| found.section.as_deref() == Some(name)).cloned().collect();
        let broken = findings.iter().any(Finding::is_fault);
        let values = match values(tree, &mut merged, name, None, &mut findings) {
            Ok(None) => continue,
            Ok(Some(values)) => Some(values),
            Err(error) => {
                findings.extend(error.findings);
                None
            }
        };
        unknown_options(&merged, name, &referenced, &mut findings);
        let spec =
            values.as_ref().and_then(|values| jail_typed::spec(&merged, values, &mut findings));
        let spec = spec.filter(|_| !broken);
        for finding in &mut findings {
            finding.section = Some(name.clone());
        }
        jails.jails.push(Jail { name: name.clone(), spec, findings, values });
    }
    jails
}

/// What a jail looks for, enabled or not: its filter with the options of the jail's own line, the
/// jail's mode and expressions. `options` go before both; `backend` is that of the log at hand.
/// `None` if there is no such jail.
///
/// # Errors
/// The jail's filter, or the jail itself, is broken.
#[allow(clippy::type_complexity)]
pub fn read_jail_filter(
    tree: &Tree,
    name: &str,
    options: &[(String, String)],
    backend: &str,
) -> Option<Result<(FilterSpec, Vec<Finding>), ConfigError>> {
    let mut merged = tree.read("jail")?;
    merged.section(name).filter(|_| name != "INCLUDES")?;
    let findings = std::mem::take(&mut merged.findings).into_iter();
    let mut findings: Vec<Finding> =
        findings.filter(|found| found.section.as_deref() == Some(name)).collect();
    add_constants(tree, &mut merged);
    let mut given = options::located(options.to_vec(), &Place::command_line());
    given.insert("backend".to_owned(), Text::new(backend, Place::command_line()));
    let values = match values(tree, &mut merged, name, Some(&given), &mut findings) {
        Ok(values) => values?,
        Err(error) => return Some(Err(error)),
    };
    let mut spec = jail_typed::filter(&values, &mut findings);
    spec.settled = values.settled;
    Some(match findings.iter().any(Finding::is_fault) {
        true => Err(ConfigError { findings }),
        false => Ok((spec, findings)),
    })
}

/// What is set in every tree.
fn add_constants(tree: &Tree, merged: &mut Merged) {
    let root = Place::new(tree.root(), 0);
    for (name, value) in [
        ("fail2ban_version", crate::VERSION.to_owned()),
        ("fail2ban_confpath", tree.root().to_string_lossy().into_owned()),
    ] {
        merged.defaults.insert(name.to_owned(), Text::new(value, root.clone()));
    }
}

/// Reads one jail's values; `None` if it is not enabled. With `given` it need not be, its actions
/// are not read, and what is given goes before the option list of its filter.
fn values(
    tree: &Tree,
    merged: &mut Merged,
    name: &str,
    given: Option<&Options>,
    findings: &mut Vec<Finding>,
) -> Result<Option<JailValues>, ConfigError> {
    let at = merged.headers.get(name).cloned().unwrap_or_else(Place::command_line);
    let mut first = asked(merged, name, &at, &["enabled", "backend", "filter"])?;
    let enabled = first.get("enabled").filter(|_| given.is_none());
    match enabled.map(|value| (value, read::flag(value.as_str()))) {
        Some((_, Some(true))) => {}
        Some((value, None)) => return Err(read::no_flag("enabled", value).into()),
        None if given.is_some() => {}
        Some((_, Some(false))) | None => return Ok(None),
    }
    first.extend(given.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
    let names: Vec<&str> = JAIL_OPTIONS.iter().map(|(name, _)| *name).collect();
    let own: Vec<&str> = OWN_OPTIONS.iter().map(|(name, _)| *name).collect();
    let mut jail = JailValues {
        name: name.to_owned(),
        at: at.clone(),
        filter: None,
        options: Options::new(),
        own: Options::new(),
        actions: Vec::new(),
        settled: Vec::new(),
    };
    let filter = first.get("filter").filter(|value| !value.as_str().trim().is_empty());
    if let Some(filter) = filter {
        let (filter_name, list) = options::parse(filter.as_str()).map_err(|error| {
            let what = format!("'filter = {}' {error}", filter.as_str());
            Finding::fault(filter.at(), what, "write `filter = name[option=value]`")
        })?;
        let (_, mut files) = filters::open(tree, FilterSource::Name(&filter_name), &filter.at())?;
        findings.extend(files.sound()?);
        let backend = first.get("backend").map(|value| value.as_str()).unwrap_or_default();
        let mut list = options::located(list, &filter.at());
        list.extend(given.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
        let mut definition = filters::definition(&files, list, backend, &filter.at())?;
        definition.collect(&outer(&first), true)?;
        let known = definition.combined(&[])?;
        if let Some(section) = merged.sections.get_mut(name) {
            let known = known.into_iter().filter(|(name, _)| !name.starts_with("known/"));
            section.extend(known.map(|(name, value)| (format!("known/{name}"), value)));
        }
        jail.options = asked(merged, name, &at, &names)?;
        definition.collect(&outer(&jail.options), false)?;
        let combined = definition.combined(&[])?;
        let shown = given.into_iter().flat_map(|given| given.keys().map(String::as_str));
        jail.settled = filters::settled(&definition, &combined, shown);
        jail.filter = Some((filter_name, combined));
    } else {
        jail.options = asked(merged, name, &at, &names)?;
        if !jail.looks_for_something() {
            let what = format!("jail [{name}] has no filter, so only `banip` fills it");
            findings.push(Finding::warning(at.clone(), what, "write `filter = NAME`"));
        }
    }
    jail.own = asked(merged, name, &at, &own)?;
    if given.is_none() {
        read_actions(tree, &mut jail, findings);
    }
    Ok(Some(jail))
}

/// An action that cannot be read is a fault, but the jail's others still ban.
fn read_actions(tree: &Tree, jail: &mut JailValues, findings: &mut Vec<Finding>) {
    let entries = jail.options.get("action").map(options::split).unwrap_or_default();
    let outer = outer(&jail.options);
    for entry in entries {
        match actions::read(tree, &entry, &jail.name, &outer) {
            Err(error) => findings.extend(error.findings),
            Ok((action, _)) if jail.actions.iter().any(|known| known.name == action.name) => {
                let what = format!("action '{}' stands twice in this jail", action.name);
                let write = "give one of them another name: `[actname=…]`";
                findings.push(Finding::fault(entry.at, what, write));
            }
            Ok((action, warnings)) => {
                findings.extend(warnings);
                jail.actions.push(action);
            }
        }
    }
    if jail.actions.is_empty() {
        let what = format!("jail [{}] has no action, so it finds but never bans", jail.name);
        let write = "write `banaction = auto`, or `action = NAME`";
        findings.push(Finding::warning(jail.at.clone(), what, write));
    }
}

/// The named options with their references resolved; those that nobody sets are left out.
fn asked(
    merged: &Merged,
    section: &str,
    at: &Place,
    names: &[&str],
) -> Result<Options, ConfigError> {
    let none = Options::new();
    let mut values = Options::new();
    let mut broken = Vec::new();
    for &name in names {
        match merged.get(section, name, &none) {
            Ok(value) => {
                values.insert(name.to_owned(), value);
            }
            Err(Lack::Broken(finding)) => broken.push(*finding),
            Err(Lack::Section | Lack::Option) => {
                let default = match name {
                    "enabled" | "skip_if_nologs" => "false",
                    "systemd_if_nologs" => "true",
                    "backend" => "auto",
                    "filter" | "action" => "",
                    _ => continue,
                };
                values.insert(name.to_owned(), Text::new(default, at.clone()));
            }
        }
    }
    match broken.is_empty() {
        true => Ok(values),
        false => Err(ConfigError { findings: broken }),
    }
}

/// A jail's options as its filter and its actions may refer to them.
fn outer(values: &Options) -> Options {
    let mut outer = values.clone();
    for (name, value) in &mut outer {
        let kind = JAIL_OPTIONS.iter().find(|(known, _)| known == name).map(|(_, kind)| *kind);
        if kind == Some(Kind::Flag) {
            let word = if read::flag(value.as_str()) == Some(true) { "True" } else { "False" };
            *value = Text::new(word, value.at());
        }
    }
    outer
}

/// All names that some value refers to by `%(name)s`.
fn referenced(merged: &Merged) -> HashSet<String> {
    let sections = merged.sections.values().chain([&merged.defaults]);
    let mut names = HashSet::new();
    for value in sections.flat_map(Options::values) {
        for part in value.as_str().split("%(").skip(1) {
            let name = part.split(')').next().unwrap_or_default();
            let option = name.rsplit('/').next().unwrap_or_default();
            names.insert(option.to_lowercase());
        }
    }
    names
}

fn is_known(name: &str, referenced: &HashSet<String>) -> bool {
    let listed = JAIL_OPTIONS.iter().chain(OWN_OPTIONS).any(|(known, _)| *known == name);
    listed || USUAL_OPTIONS.contains(&name) || referenced.contains(name)
}

fn hint(name: &str) -> Option<String> {
    let plain = name.replace('-', "_");
    HINTS.iter().find(|(known, _)| *known == plain).map(|(_, hint)| (*hint).to_owned())
}

/// What a name nobody asks for was meant to be.
fn meant(name: &str) -> Option<String> {
    let known = JAIL_OPTIONS.iter().chain(OWN_OPTIONS).map(|(known, _)| *known);
    // `action_mw` is a name that people build on `action`, not a slip of it.
    let built_on = |near: &&str| name.strip_prefix(*near).is_some_and(|rest| rest.starts_with('_'));
    let near = || {
        let near = nearest(name, known.chain(USUAL_OPTIONS.iter().copied()));
        near.filter(|near| !built_on(near))
    };
    hint(name).or_else(|| near().map(|near| format!("did you mean '{near}'?")))
}

/// Options of a jail that nothing reads and nothing refers to.
fn unknown_options(
    merged: &Merged,
    jail: &str,
    referenced: &HashSet<String>,
    findings: &mut Vec<Finding>,
) {
    for (name, value) in merged.section(jail).into_iter().flatten() {
        let inherited = merged.defaults.contains_key(name) || name.starts_with("known/");
        if inherited || is_known(name, referenced) {
            continue;
        }
        let what = format!("nothing reads the option '{name}' of jail [{jail}]");
        let write = meant(name).unwrap_or_else(|| "remove it".to_owned());
        findings.push(Finding::warning(value.at(), what, write));
    }
}

/// In `[DEFAULT]` people keep values of their own; only what looks like a slip is said.
fn unknown_defaults(merged: &Merged, referenced: &HashSet<String>, findings: &mut Vec<Finding>) {
    for (name, value) in &merged.defaults {
        if is_known(name, referenced) || name.starts_with("fail2ban_") {
            continue;
        }
        if let Some(write) = meant(name) {
            let what = format!("nothing reads the option '{name}' of [DEFAULT]");
            findings.push(Finding::warning(value.at(), what, write).within("DEFAULT"));
        }
    }
}
