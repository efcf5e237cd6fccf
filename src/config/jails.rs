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
    jail_spec::{Backend, BanTime, Increment, JailSpec},
    nearest, options,
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
    /// What it is told; none where it cannot run as written.
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
}

/// Reads the jails of a tree.
pub fn read_jails(tree: &Tree) -> Jails {
    let mut jails = Jails::default();
    let Some(mut merged) = tree.read("jail") else {
        let at = Place::new(tree.root(), 0);
        let write = "write a jail.conf or a jail.local there";
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
    let root = Place::new(tree.root(), 0);
    for (name, value) in [
        ("fail2ban_version", crate::VERSION.to_owned()),
        ("fail2ban_confpath", tree.root().to_string_lossy().into_owned()),
    ] {
        merged.defaults.insert(name.to_owned(), Text::new(value, root.clone()));
    }
    let referenced = referenced(&merged);
    unknown_defaults(&merged, &referenced, &mut jails.findings);
    let names: Vec<String> = merged.sections.keys().cloned().collect();
    for name in names.iter().filter(|name| *name != "INCLUDES") {
        let mut findings: Vec<Finding> =
            inside.iter().filter(|found| found.section.as_deref() == Some(name)).cloned().collect();
        let broken = findings.iter().any(Finding::is_fault);
        let values = match values(tree, &mut merged, name, &mut findings) {
            Ok(None) => continue,
            Ok(Some(values)) => Some(values),
            Err(error) => {
                findings.extend(error.findings);
                None
            }
        };
        unknown_options(&merged, name, &referenced, &mut findings);
        let spec = values.as_ref().and_then(|values| spec(&merged, values, &mut findings));
        let spec = spec.filter(|_| !broken);
        for finding in &mut findings {
            finding.section = Some(name.clone());
        }
        jails.jails.push(Jail { name: name.clone(), spec, findings, values });
    }
    jails
}

/// Reads one jail's values; `None` if it is not enabled.
fn values(
    tree: &Tree,
    merged: &mut Merged,
    name: &str,
    findings: &mut Vec<Finding>,
) -> Result<Option<JailValues>, ConfigError> {
    let at = merged.headers.get(name).cloned().unwrap_or_else(Place::command_line);
    let first = asked(merged, name, &at, &["enabled", "backend", "filter"])?;
    let enabled = first.get("enabled");
    match enabled.map(|value| (value, read::flag(value.as_str()))) {
        Some((_, Some(true))) => {}
        Some((value, None)) => return Err(read::no_flag("enabled", value).into()),
        Some((_, Some(false))) | None => return Ok(None),
    }
    let names: Vec<&str> = JAIL_OPTIONS.iter().map(|(name, _)| *name).collect();
    let own: Vec<&str> = OWN_OPTIONS.iter().map(|(name, _)| *name).collect();
    let mut jail = JailValues {
        name: name.to_owned(),
        at: at.clone(),
        filter: None,
        options: Options::new(),
        own: Options::new(),
        actions: Vec::new(),
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
        let list = options::located(list, &filter.at());
        let mut definition = filters::definition(&files, list, backend, &filter.at())?;
        definition.collect(&outer(&first), true)?;
        let known = definition.combined(&[])?;
        if let Some(section) = merged.sections.get_mut(name) {
            let known = known.into_iter().filter(|(name, _)| !name.starts_with("known/"));
            section.extend(known.map(|(name, value)| (format!("known/{name}"), value)));
        }
        jail.options = asked(merged, name, &at, &names)?;
        definition.collect(&outer(&jail.options), false)?;
        jail.filter = Some((filter_name, definition.combined(&[])?));
    } else {
        jail.options = asked(merged, name, &at, &names)?;
        let what = format!("jail [{name}] has no filter, so only `banip` fills it");
        findings.push(Finding::warning(at.clone(), what, "write `filter = NAME`"));
    }
    jail.own = asked(merged, name, &at, &own)?;
    read_actions(tree, &mut jail, findings);
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

/// The typed form; none if anything in it is a fault.
fn spec(merged: &Merged, values: &JailValues, findings: &mut Vec<Finding>) -> Option<JailSpec> {
    let mut typed = Typed { values, faults: Vec::new(), broken: false };
    let mut action_faults = Vec::new();
    let backend = typed.backend(merged);
    let filter = values.filter.as_ref().map(|(name, combined)| {
        let mut spec = FilterSpec { name: name.clone(), ..FilterSpec::default() };
        let mut notes = Vec::new();
        filters::fill(&mut spec, combined, &mut notes);
        filters::fill(&mut spec, &values.options, &mut notes);
        typed.broken |= notes.iter().any(Finding::is_fault);
        typed.faults.extend(notes);
        spec
    });
    if let Some(spec) = filter.as_ref().filter(|spec| spec.failregex.is_empty()) {
        let what = format!("filter '{}' has no failregex, so it finds nothing", spec.name);
        typed.faults.push(Finding::warning(values.at.clone(), what, "write `failregex = …`"));
    }
    let maxretry = typed.number("maxretry").unwrap_or(5);
    if let Some(value) = values.options.get("maxretry").filter(|_| maxretry < 1) {
        let write = "write 1 to ban at the first failure";
        let what = format!("'maxretry = {maxretry}' counts as 1");
        typed.faults.push(Finding::warning(value.at(), what, write));
    }
    let maxretry = u32::try_from(maxretry.max(1)).unwrap_or(u32::MAX);
    let maxmatches = typed
        .number("maxmatches")
        .map_or(maxretry, |number| u32::try_from(number.max(0)).unwrap_or(u32::MAX));
    let spec = JailSpec {
        name: values.name.clone(),
        at: values.at.clone(),
        backend,
        logpath: values.options.get("logpath").map(read::logpath).unwrap_or_default(),
        skip_if_nologs: typed.flag("skip_if_nologs").unwrap_or(false),
        systemd_if_nologs: typed.flag("systemd_if_nologs").unwrap_or(true),
        logencoding: values.options.get("logencoding").map_or_else(
            || crate::place::Located::new("auto".to_owned(), values.at.clone()),
            Text::located,
        ),
        logtimezone: typed.text("logtimezone"),
        filter,
        maxretry,
        maxmatches,
        findtime_s: typed
            .parsed("findtime", |value| read::span("findtime", value, 1))
            .unwrap_or(600),
        bantime: typed.parsed("bantime", read::bantime).unwrap_or(BanTime::Seconds(600)),
        increment: typed.increment(),
        ignoreself: typed.flag("ignoreself").unwrap_or(true),
        ignoreip: typed.ignoreip(),
        ignorecommand: typed.text("ignorecommand"),
        ignorecache: typed.parsed("ignorecache", read::ignorecache).flatten(),
        actions: values.actions.iter().map(|action| action.spec(&mut action_faults)).collect(),
        banprefix4: typed.prefix("banprefix4", 32),
        banprefix6: typed.prefix("banprefix6", 128),
        protect: typed.flag("protect").unwrap_or(true),
        protect_sessions: typed.flag("protect_sessions").unwrap_or(true),
        count_own_lines: typed.count_own_lines(),
    };
    let Typed { faults, broken, .. } = typed;
    findings.extend(faults);
    findings.extend(action_faults);
    (!broken).then_some(spec)
}

/// Turns values into types and remembers what failed.
struct Typed<'a> {
    values: &'a JailValues,
    faults: Vec<Finding>,
    broken: bool,
}

impl Typed<'_> {
    fn value(&self, name: &str) -> Option<&Text> {
        self.values.options.get(name).or_else(|| self.values.own.get(name))
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&Text) -> Result<T, Finding>,
    ) -> Option<T> {
        let value = self.value(name)?;
        match parse(value) {
            Ok(parsed) => Some(parsed),
            Err(fault) => {
                self.broken = true;
                self.faults.push(fault);
                None
            }
        }
    }

    fn flag(&mut self, name: &str) -> Option<bool> {
        self.parsed(name, |value| {
            read::flag(value.as_str()).ok_or_else(|| read::no_flag(name, value))
        })
    }

    fn number(&mut self, name: &str) -> Option<i64> {
        self.parsed(name, |value| {
            value.as_str().trim().parse().map_err(|_| read::no_number(name, value))
        })
    }

    /// Text that says something.
    fn text(&self, name: &str) -> Option<crate::place::Located<String>> {
        self.value(name).map(Text::located).filter(|text| !text.value.is_empty())
    }

    fn prefix(&mut self, name: &str, bits_max: i64) -> Option<u8> {
        let number = self.number(name)?;
        self.parsed(name, |value| {
            let bits = u8::try_from(number).ok().filter(|bits| i64::from(*bits) <= bits_max);
            bits.filter(|bits| *bits > 0).ok_or_else(|| {
                let what = format!("'{name} = {number}' is no prefix length");
                Finding::fault(value.at(), what, format!("write a number from 1 to {bits_max}"))
            })
        })
    }

    fn count_own_lines(&mut self) -> Option<bool> {
        let value = self.value("count_own_lines")?;
        match value.as_str().trim() {
            "auto" => None,
            _ => self.flag("count_own_lines"),
        }
    }

    fn ignoreip(&mut self) -> Vec<crate::place::Located<super::jail_spec::IgnoreEntry>> {
        let Some(value) = self.value("ignoreip").cloned() else { return Vec::new() };
        let before = self.faults.len();
        let entries = read::ignoreip(&value, &mut self.faults);
        // Whom not to ban must be known for certain.
        self.broken |= self.faults.len() > before;
        entries
    }

    fn increment(&mut self) -> Increment {
        let number = |name: &'static str| {
            move |value: &Text| {
                let number = super::words::seconds(value.as_str());
                number.map(super::words::Number::as_f64).map_err(|error| {
                    let what = format!("'{name} = {}' {error}", value.as_str());
                    Finding::fault(value.at(), what, "write a number such as 2 or 1.5")
                })
            }
        };
        Increment {
            enabled: self.flag("bantime.increment").unwrap_or(false),
            factor: self.parsed("bantime.factor", number("bantime.factor")),
            formula: self.text("bantime.formula"),
            multipliers: self.parsed("bantime.multipliers", read::multipliers).unwrap_or_default(),
            maxtime_s: self.parsed("bantime.maxtime", |v| read::span("bantime.maxtime", v, 0)),
            rndtime_s: self.parsed("bantime.rndtime", |v| read::span("bantime.rndtime", v, 0)),
            overalljails: self.flag("bantime.overalljails").unwrap_or(false),
        }
    }

    /// A jail on the sensor by inheritance only, which is given a log of its own, reads that log.
    fn backend(&mut self, merged: &Merged) -> crate::place::Located<Backend> {
        let at = self.value("backend").map_or_else(|| self.values.at.clone(), Text::at);
        let backend = self.parsed("backend", read::backend).unwrap_or(Backend::Auto);
        let section = merged.section(&self.values.name);
        let own = |name: &str| section.and_then(|section| section.get(name)).map(Text::at);
        let layer = |at: Option<Place>| {
            let file = at?.file;
            merged.files.iter().rposition(|known| *known == file)
        };
        let log = layer(own("logpath")).max(layer(own("journalmatch")));
        let inherited = log.is_some() && log > layer(own("backend"));
        let backend = if backend == Backend::Sensor && inherited { Backend::Auto } else { backend };
        crate::place::Located::new(backend, at)
    }
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
