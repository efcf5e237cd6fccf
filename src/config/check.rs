//! `-t` and `-d`: a whole tree looked through, as text for a terminal.

use std::{collections::HashSet, path::Path};

use super::{
    finding::Finding,
    jail_spec::{Backend, LogPath},
    jail_typed,
    jails::{Jail, Jails, read_jails},
    main_conf::{MainSpec, read_main},
    sensor::{Places, read_sensor},
    stream,
    tree::Tree,
};
use crate::{
    date::DateDetector,
    filter::{Filter, FilterError, FilterSpec, Lint, lint},
    place::Place,
    time::Timestamp,
};

/// Everything that a tree says.
#[derive(Clone, Debug)]
pub struct Config {
    /// The main file; defaults stand where something in it cannot be used.
    pub main: MainSpec,
    /// The enabled jails.
    pub jails: Jails,
    /// What is wrong with the main file.
    pub main_findings: Vec<Finding>,
}

/// Reads a whole tree. This never fails: what is wrong stands in the findings, beside what is not.
pub fn read(tree: &Tree) -> Config {
    let (main, main_findings) = read_main(tree);
    Config { main, jails: read_jails(tree), main_findings }
}

/// The outcome of a test of the configuration.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was found: the main file's, that of no jail in particular, then each jail's, by place;
    /// nothing twice.
    pub findings: Vec<Finding>,
    /// One line for each enabled jail: what it looks for, and where.
    pub jails: Vec<String>,
}

impl Report {
    /// True if there is no fault.
    pub fn passed(&self) -> bool {
        !self.findings.iter().any(Finding::is_fault)
    }

    /// One line for each finding, and last the verdict. Below 0 of `verbosity` only faults are told,
    /// and a verdict only over those; at -2 nothing at all. Above 0 the jails are named as well.
    pub fn text(&self, verbosity: i16) -> String {
        let told = |finding: &&Finding| verbosity >= 0 || finding.is_fault();
        let mut lines: Vec<String> = match verbosity {
            ..=-2 => return String::new(),
            1.. => self.jails.clone(),
            _ => Vec::new(),
        };
        lines.extend(self.findings.iter().filter(told).map(Finding::to_string));
        match self.passed() {
            true if verbosity < 0 => {}
            true => lines.push("OK: configuration test is successful".to_owned()),
            false => lines.push("ERROR: test configuration failed".to_owned()),
        }
        lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

/// Looks through everything: `-t`. `more` is what the caller found beside the files; `now` says
/// which years a date may have.
pub fn test(tree: &Tree, more: Vec<Finding>, now: Timestamp) -> Report {
    let config = read(tree);
    let mut findings = more;
    findings.extend(by_place(config.main_findings.clone()));
    findings.extend(by_place(config.jails.findings.clone()));
    findings.extend(by_place(of_sensor(&config)));
    for jail in &config.jails.jails {
        let mut of_jail = jail.findings.clone();
        of_jail.extend(filter_of(jail).map(|spec| compiled(&spec, now)).unwrap_or_default());
        of_jail.extend(logs(jail));
        findings.extend(by_place(of_jail));
    }
    if config.jails.jails.is_empty() && !findings.iter().any(Finding::is_fault) {
        let at = Place::new(tree.root(), 0);
        let write = "write `enabled = true` into a jail's section of jail.local";
        findings.push(Finding::warning(at, "no jail is enabled", write));
    }
    // A filter of several jails is told once; so much is printed of a finding.
    let mut told = HashSet::new();
    findings.retain(|finding| told.insert(finding.to_string()));
    Report { findings, jails: config.jails.jails.iter().map(summary).collect() }
}

/// What is wrong with the sensor. Where it would not run, nobody asks what portsentry's own files
/// say.
fn of_sensor(config: &Config) -> Vec<Finding> {
    let (spec, mut findings) = read_sensor(&config.main.sensor, &Places::default());
    let hears =
        |jail: &Jail| jail.spec.as_ref().is_some_and(|spec| spec.backend.value == Backend::Sensor);
    if !spec.enabled.unwrap_or_else(|| config.jails.jails.iter().any(hears)) {
        findings.retain(|finding| finding.section.is_some());
    }
    findings
}

/// What the jail looks for, even where it cannot run for another reason.
fn filter_of(jail: &Jail) -> Option<FilterSpec> {
    let values = jail.values.as_ref()?;
    // What does not fit its type is among the jail's findings already.
    values.looks_for_something().then(|| jail_typed::filter(values, &mut Vec::new()))
}

/// `jail [sshd]: filter sshd, 21 failregexes, logs /var/log/auth.log`.
fn summary(jail: &Jail) -> String {
    if jail.values.is_none() {
        return format!("jail [{}]: cannot be read", jail.name);
    }
    let mut parts = Vec::new();
    match filter_of(jail) {
        None => parts.push("no filter".to_owned()),
        Some(spec) => {
            let count = spec.failregex.len();
            let many = if count == 1 { "failregex" } else { "failregexes" };
            parts.push(format!("filter {}", spec.name));
            parts.push(format!("{count} {many}"));
        }
    }
    match jail.spec.as_ref().map(|spec| (&spec.backend.value, &spec.logpath)) {
        None => parts.push("cannot run".to_owned()),
        Some((Backend::Systemd(_), _)) => parts.push("the journal".to_owned()),
        Some((Backend::Sensor, _)) => parts.push("the sensor".to_owned()),
        Some((_, paths)) if paths.is_empty() => parts.push("no log".to_owned()),
        Some((_, paths)) => {
            let paths: Vec<&str> = paths.iter().map(|path| path.glob.as_str()).collect();
            parts.push(format!("logs {}", paths.join(" ")));
        }
    }
    format!("jail [{}]: {}", jail.name, parts.join(", "))
}

/// As somebody goes through the files with an editor.
fn by_place(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|one, other| one.at.cmp(&other.at));
    findings
}

/// What the rooms below have against a filter's expressions and dates, each with its place.
fn compiled(spec: &FilterSpec, now: Timestamp) -> Vec<Finding> {
    let usedns = spec.usedns.unwrap_or_default();
    let faults = Filter::faults(spec, usedns);
    let mut findings: Vec<Finding> = faults.iter().map(fault).collect();
    if faults.is_empty()
        && let Ok(filter) = Filter::compile(spec, usedns)
    {
        findings.extend(lint::lint(&filter).iter().map(trap));
    }
    if let Some(pattern) = &spec.datepattern
        && let Err(error) = DateDetector::new(Some(&pattern.value), now)
    {
        findings.push(Finding::fault(pattern.at.clone(), error.to_string(), DATE_ADVICE));
    }
    findings
}

/// What to write for a date pattern that cannot be read.
const DATE_ADVICE: &str = "sentryban-filter(5) lists what a datepattern may hold, under DATES";

fn fault(fault: &FilterError) -> Finding {
    Finding::fault(fault.at().clone(), fault.what(), fault.write())
}

fn trap(trap: &Lint) -> Finding {
    let what = match trap.source.as_str() {
        "" => trap.what().to_owned(),
        source => format!("{}: {source}", trap.what()),
    };
    Finding::warning(trap.at.clone(), what, trap.write())
}

/// A log that is not there is no fault: the jail waits for it. Nothing is said where the jail was
/// told to be quiet, or of a place from a list for many systems if another of the jail's is there.
fn logs(jail: &Jail) -> Vec<Finding> {
    if jail.spec.as_ref().is_some_and(|spec| spec.skip_if_nologs) {
        return Vec::new();
    }
    let paths = jail.values.as_ref().map(super::jails::JailValues::logs).unwrap_or_default();
    let (missing, found): (Vec<_>, Vec<_>) =
        paths.into_iter().partition(|path| path.files().is_empty());
    let missing = missing.into_iter().filter(|path| found.is_empty() || !is_listed(path));
    let warnings = missing.map(|path| {
        let what = format!("jail [{}] has no log '{}' yet", jail.name, path.glob);
        Finding::warning(
            path.at,
            what,
            "it waits for the file; `backend = systemd` reads the journal",
        )
    });
    warnings.collect()
}

/// True if `paths-SYSTEM.conf` names it, and not the administrator.
fn is_listed(path: &LogPath) -> bool {
    let name = Path::new(&*path.at.file).file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("paths-") && name.ends_with(".conf")
}

/// The command stream: `-d`, and `--dp` if `pretty`. One command a line, as fail2ban-client
/// prints them.
pub fn dump(tree: &Tree, pretty: bool) -> String {
    let config = read(tree);
    let mut text = String::new();
    for command in stream::commands(&config.main, &config.jails) {
        text.push_str(&if pretty { command.pretty() } else { command.repr() });
        text.push('\n');
    }
    text
}
