//! `-t` and `-d`: a whole tree looked through, as text for a terminal.

use super::{
    finding::Finding,
    jails::{Jails, read_jails},
    main_conf::{MainSpec, read_main},
    stream,
    tree::Tree,
};
use crate::filter::FilterSpec;

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
    /// One line for each warning and each fault: the main file's, those of no jail in particular,
    /// then each jail's, by place; last the verdict.
    pub text: String,
    /// True if there is no fault.
    pub passed: bool,
}

/// Looks through everything: `-t`. `more` is what the caller found beside the files.
pub fn test(tree: &Tree, more: Vec<Finding>) -> Report {
    let config = read(tree);
    let mut findings = more;
    findings.extend(by_place(config.main_findings.clone()));
    findings.extend(by_place(config.jails.findings.clone()));
    for jail in &config.jails.jails {
        let mut of_jail = jail.findings.clone();
        let filter = jail.spec.as_ref().and_then(|spec| spec.filter.as_ref());
        of_jail.extend(filter.map(compiled).unwrap_or_default());
        of_jail.extend(logs(jail));
        findings.extend(by_place(of_jail));
    }
    if config.jails.jails.is_empty() && !findings.iter().any(Finding::is_fault) {
        let at = crate::place::Place::new(tree.root(), 0);
        let write = "write `enabled = true` into a jail's section of jail.local";
        findings.push(Finding::warning(at, "no jail is enabled", write));
    }
    let mut said = Vec::new();
    for finding in &findings {
        let line = finding.to_string();
        if !said.contains(&line) {
            said.push(line);
        }
    }
    let passed = !findings.iter().any(Finding::is_fault);
    said.push(match passed {
        true => "OK: configuration test is successful".to_owned(),
        false => "ERROR: test configuration failed".to_owned(),
    });
    Report { text: said.join("\n") + "\n", passed }
}

/// As somebody goes through the files with an editor.
fn by_place(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|one, other| one.at.cmp(&other.at));
    findings
}

/// What the filter room has against a filter's expressions, each with its place.
///
/// This is where `-t` compiles them.
fn compiled(_filter: &FilterSpec) -> Vec<Finding> {
    Vec::new()
}

/// A log that is not there is no fault: the jail waits for it.
fn logs(jail: &super::jails::Jail) -> Vec<Finding> {
    let paths = jail.values.as_ref().map(super::jails::JailValues::logs).unwrap_or_default();
    let missing = paths.into_iter().filter(|path| path.files().is_empty());
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
