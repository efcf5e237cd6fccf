//! Every filter in `filters/` against its samples in `tests/logs/`, through the
//! program that administrators use.
//!
//! A sample is a log line under a comment that says what must come of it:
//!
//! ```text
//! # failJSON: { "time": "2005-06-21T16:47:48", "match": true, "host": "192.0.2.6" }
//! Jun 21 16:47:48 gate sshd[13709]: Failed password for root from 192.0.2.6 port 1 ssh2
//! ```
//!
//! The present is 2005-08-14 12:00 in Zurich. A comment `# filterOptions: {...}`,
//! or a list of such objects, says with which options the lines after it are
//! read. All lines of one set of options go through one run, in order, since a
//! line may be judged by the ones before it.
//!
//! These fail: a line read otherwise than its comment says, a filter without
//! samples or samples without a filter, a failregex that no sample reaches, and
//! a greedy catch-all before the address with nothing firm behind it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says by failing what is wrong"
)]

use chrono::{Datelike, NaiveDate, NaiveDateTime, Weekday};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// 2005-08-14 12:00:00 in Zurich, the present of all samples.
const NOW: &str = "1124013600";

/// Zurich's rule, spelled out so that no zone database is needed.
const ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

/// A log line and what must come of it.
struct Sample {
    /// Line number in the file of samples.
    place: usize,
    line: String,
    /// Keys of the `failJSON` comment.
    expected: Map<String, Value>,
}

/// One set of options, and the samples that are read with it, in order.
#[derive(Default)]
struct Group {
    options: Map<String, Value>,
    samples: Vec<Sample>,
}

#[test]
fn every_filter_reads_its_samples() {
    let mut wrong = Vec::new();
    for name in filters() {
        let groups = match groups(&name) {
            Ok(groups) => groups,
            Err(fault) => {
                wrong.push(fault);
                continue;
            }
        };
        for (index, group) in groups.iter().enumerate() {
            match failures(&name, index, group) {
                Ok(found) => compare(&name, group, &found, &mut wrong),
                Err(fault) => wrong.push(fault),
            }
        }
    }
    report(&wrong);
}

#[test]
fn every_failregex_has_a_sample() {
    let mut wrong = Vec::new();
    for name in filters() {
        let mut hits: BTreeMap<String, u64> = BTreeMap::new();
        for (index, group) in groups(&name).unwrap_or_default().iter().enumerate() {
            match expressions(&name, index, group) {
                Ok(found) => {
                    for (expression, count) in found {
                        *hits.entry(expression).or_default() += count;
                    }
                }
                Err(fault) => wrong.push(fault),
            }
        }
        if hits.is_empty() {
            wrong.push(format!("{name}: the report lists no failregex"));
        }
        for (expression, _) in hits.iter().filter(|(_, count)| **count == 0) {
            wrong.push(format!("{name}: no sample reaches\n    {expression}"));
        }
    }
    report(&wrong);
}

#[test]
fn no_failregex_lets_the_address_be_chosen() {
    let mut wrong = Vec::new();
    for name in filters() {
        let mut addressed = false;
        for (index, group) in groups(&name).unwrap_or_default().iter().enumerate() {
            for (expression, _) in expressions(&name, index, group).unwrap_or_default() {
                addressed |= address_tag(&expression).is_some();
                if loose(&expression) {
                    wrong.push(format!("{name}: greedy, and not anchored:\n    {expression}"));
                }
            }
        }
        if !addressed {
            wrong.push(format!("{name}: no expression of the report shows an address tag"));
        }
    }
    report(&wrong);
}

#[test]
fn the_lint_knows_loose_from_firm() {
    for (expression, expected) in [
        (r"^login of .* from <HOST>", true),
        (r"^login of .+ from <ADDR> failed: .*$", true),
        (r"^login of .* from <ADDR>(?: port \d+)?$", false),
        (r"^login of .*? from <ADDR>", false),
        (r"^\.* from <ADDR>", false),
        (r"^\\.* from <ADDR>", true),
        (r"^from <ADDR>: .*", false),
        (r"^nobody .* at all", false),
    ] {
        assert_eq!(loose(expression), expected, "{expression}");
    }
}

#[test]
fn samples_belong_to_a_filter() {
    let known: BTreeSet<String> = filters().into_iter().collect();
    let there = names(&root().join("tests/logs"), "");
    let strays: Vec<_> = there.iter().filter(|name| !known.contains(*name)).collect();
    assert!(strays.is_empty(), "samples in tests/logs without a filter: {strays:?}");
}

/// An administrator's own filter, and the shipped one, on the same real log.
#[test]
fn a_portsentry_log_gives_fifteen_of_thirty_five() {
    let log = root().join("tests/data/portsentry-messages.log");
    for filter in ["tests/data/portsentry-user.conf", "filters/portsentry.conf"] {
        let out = run(&["--out", "json"], &log, filter).expect("runs");
        assert_eq!(out.lines().count(), 15, "{filter} on {}", log.display());
    }
    let lines = std::fs::read_to_string(&log).expect("the log is there");
    assert_eq!(lines.lines().count(), 35);
}

/// What the samples of one group came to, against what they say.
fn compare(name: &str, group: &Group, found: &BTreeMap<usize, Value>, wrong: &mut Vec<String>) {
    for (index, sample) in group.samples.iter().enumerate() {
        let expected = sample.expected.get("match").and_then(Value::as_bool).unwrap_or(false);
        let differences = match (expected, found.get(&(index + 1))) {
            (false, None) => continue,
            (true, None) => vec!["missed".to_owned()],
            (false, Some(failure)) => vec![format!("matched, and should not: {failure}")],
            (true, Some(failure)) => differences(&sample.expected, failure),
        };
        if !differences.is_empty() {
            let options = Value::Object(group.options.clone());
            wrong.push(format!(
                "tests/logs/{name}:{} {options}: {}\n    {}",
                sample.place,
                differences.join("; "),
                sample.line
            ));
        }
    }
}

/// Each annotated key that the failure shows otherwise.
fn differences(expected: &Map<String, Value>, failure: &Value) -> Vec<String> {
    let mut list = Vec::new();
    for (key, want) in expected {
        let got = match key.as_str() {
            "match" | "desc" | "constraint" => continue,
            "time" => {
                let want = want.as_str().and_then(zurich);
                let got = failure.get("time").and_then(Value::as_f64);
                if want.is_none() || want != got {
                    list.push(format!("time {got:?}, expected {want:?}"));
                }
                continue;
            }
            "host" | "id" | "attempts" => failure.get(key),
            group => failure.get("groups").and_then(|groups| groups.get(group)),
        };
        if got != Some(want) {
            list.push(format!("{key} is {got:?}, expected {want}"));
        }
    }
    list
}

/// The failures of one group by the number of the line they came out at.
fn failures(name: &str, index: usize, group: &Group) -> Result<BTreeMap<usize, Value>, String> {
    let log = scratch(&format!("{name}-{index}.json-run"), group)?;
    let out = run(&["--out", "json"], &log, &filter_with(name, &group.options))?;
    let mut found = BTreeMap::new();
    for text in out.lines() {
        let failure: Value = serde_json::from_str(text)
            .map_err(|error| format!("{name}: --out json wrote {text:?}: {error}"))?;
        let line = failure.get("line").and_then(Value::as_u64).unwrap_or(0) as usize;
        if found.insert(line, failure).is_some() {
            return Err(format!("{name}: two failures of line {line}"));
        }
    }
    Ok(found)
}

/// The failregexes of the report and their hits; `-v` shows those without any, too.
fn expressions(name: &str, index: usize, group: &Group) -> Result<Vec<(String, u64)>, String> {
    let log = scratch(&format!("{name}-{index}.report-run"), group)?;
    let out = run(&["-v"], &log, &filter_with(name, &group.options))?;
    let section = out.split("\nFailregex:").nth(1).unwrap_or_default();
    let section = section.split("\nIgnoreregex:").next().unwrap_or_default();
    Ok(section.lines().filter_map(numbered).collect())
}

/// `|   4) [1] EXPRESSION`
fn numbered(line: &str) -> Option<(String, u64)> {
    let (number, rest) = line.strip_prefix('|')?.trim_start().split_once(") [")?;
    number.parse::<usize>().ok()?;
    let (hits, expression) = rest.split_once("] ")?;
    Some((expression.to_owned(), hits.parse().ok()?))
}

/// One run of the program; a run that does not end well is a fault.
fn run(options: &[&str], log: &Path, filter: &str) -> Result<String, String> {
    let out = Command::new(env!("CARGO_BIN_EXE_sentryban-regex"))
        .current_dir(root())
        .env("TZ", ZONE)
        .args(options)
        .args(["--now", NOW])
        .arg(log)
        .arg(filter)
        .output()
        .map_err(|error| format!("sentryban-regex does not start: {error}"))?;
    if !out.status.success() {
        let text = String::from_utf8_lossy(&out.stderr);
        return Err(format!("{filter}: sentryban-regex says {}: {text}", out.status));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// `filters/NAME.conf[key="value", ...]`
fn filter_with(name: &str, options: &Map<String, Value>) -> String {
    let pairs: Vec<String> = options
        .iter()
        .map(|(key, value)| format!("{key}=\"{}\"", value.as_str().unwrap_or_default()))
        .collect();
    match pairs.is_empty() {
        true => format!("filters/{name}.conf"),
        false => format!("filters/{name}.conf[{}]", pairs.join(", ")),
    }
}

/// The lines of a group as a log of their own.
fn scratch(file: &str, group: &Group) -> Result<PathBuf, String> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    let mut text = String::new();
    for sample in &group.samples {
        text.push_str(&sample.line);
        text.push('\n');
    }
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// The samples of a filter, gathered by their options.
fn groups(name: &str) -> Result<Vec<Group>, String> {
    let path = format!("tests/logs/{name}");
    let text = std::fs::read_to_string(root().join(&path))
        .map_err(|error| format!("{path}: {error}: every filter needs samples"))?;
    let mut groups: Vec<Group> = Vec::new();
    let mut current = vec![Map::new()];
    let mut expected = None;
    for (index, line) in text.lines().enumerate() {
        let place = index + 1;
        if let Some(json) = line.strip_prefix("# filterOptions: ") {
            current = match parsed(&path, place, json)? {
                Value::Array(list) => list.iter().filter_map(Value::as_object).cloned().collect(),
                Value::Object(one) => vec![one],
                other => return Err(format!("{path}:{place}: {other} is no set of options")),
            };
        } else if let Some(json) = line.strip_prefix("# failJSON: ") {
            expected = parsed(&path, place, json)?.as_object().cloned();
        } else if !line.starts_with('#') && !line.trim().is_empty() {
            let expected = expected
                .take()
                .ok_or_else(|| format!("{path}:{place}: nothing says what must come of it"))?;
            for options in &current {
                let at = groups.iter().position(|group| group.options == *options);
                let at = at.unwrap_or_else(|| {
                    groups.push(Group { options: options.clone(), samples: Vec::new() });
                    groups.len() - 1
                });
                groups[at].samples.push(Sample {
                    place,
                    line: line.to_owned(),
                    expected: expected.clone(),
                });
            }
        }
    }
    let matching = |group: &Group| {
        group.samples.iter().any(|sample| sample.expected.get("match") == Some(&Value::Bool(true)))
    };
    match groups.iter().any(matching) {
        true => Ok(groups),
        false => Err(format!("{path}: no sample that matches")),
    }
}

fn parsed(path: &str, place: usize, json: &str) -> Result<Value, String> {
    serde_json::from_str(json).map_err(|error| format!("{path}:{place}: {error}"))
}

/// Names of the shipped filters, without the files that they share.
fn filters() -> Vec<String> {
    let all = names(&root().join("filters"), ".conf");
    let list: Vec<String> = all.into_iter().filter(|name| !name.starts_with("common")).collect();
    assert!(!list.is_empty(), "no filters in filters/");
    list
}

fn names(directory: &Path, ending: &str) -> Vec<String> {
    let mut list: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(ending).map(str::to_owned))
        .collect();
    list.sort();
    list
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether text of the attacker could shift the address: a greedy catch-all
/// stands before it, and the expression is not held to the end of the line.
fn loose(expression: &str) -> bool {
    let Some(at) = address_tag(expression) else { return false };
    let (before, behind) = expression.split_at(at);
    greedy(before) && (greedy(behind) || !expression.ends_with('$'))
}

/// Where the last address tag of an expression begins.
fn address_tag(expression: &str) -> Option<usize> {
    ["<HOST>", "<ADDR>", "<SUBNET>"].iter().filter_map(|tag| expression.rfind(tag)).max()
}

/// `.*` or `.+`, neither lazy nor an escaped dot.
fn greedy(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut escaped = false;
    for (index, byte) in bytes.iter().enumerate() {
        if *byte == b'.'
            && !escaped
            && matches!(bytes.get(index + 1), Some(b'*' | b'+'))
            && bytes.get(index + 2) != Some(&b'?')
        {
            return true;
        }
        escaped = *byte == b'\\' && !escaped;
    }
    false
}

/// Seconds since the epoch of a civil time in Zurich. Summer time lasts from
/// 02:00 on the last Sunday of March to 03:00 on the last Sunday of October.
fn zurich(text: &str) -> Option<f64> {
    let civil = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
    let begins = last_sunday(civil.year(), 3)?.and_hms_opt(2, 0, 0)?;
    let ends = last_sunday(civil.year(), 10)?.and_hms_opt(3, 0, 0)?;
    let hours = if begins <= civil && civil < ends { 2 } else { 1 };
    let utc = civil.and_utc();
    Some((utc.timestamp() - hours * 3600) as f64 + f64::from(utc.timestamp_subsec_millis()) / 1e3)
}

fn last_sunday(year: i32, month: u32) -> Option<NaiveDate> {
    (25..=31)
        .filter_map(|day| NaiveDate::from_ymd_opt(year, month, day))
        .find(|day| day.weekday() == Weekday::Sun)
}

fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
