//! Debian's own filters against their own annotated samples, as they lie in the `fail2ban` package.
//!
//! Nothing of that package is in this tree: the test reads it where it is installed (or in the
//! directory that `SENTRYBAN_FAIL2BAN_DIR` names, for an unpacked newer one) and drives the true
//! binary. Each sample line stands under a comment that says what must come of it; option sets
//! and included files are honoured as that package's own test suite does, with the zone
//! Europe/Zurich and the present pinned to 2005-08-14 12:00 there.

// The lints are for what runs on attackers' input; a test may stop where it stands.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use sentryban::net;
use serde_json::{Map, Value, json};

const NOW: &str = "1124013600";

struct Fail2ban {
    config: PathBuf,
    tests: PathBuf,
    /// The filters of its own tests, at the place from which their includes lead somewhere.
    test_config: PathBuf,
    _staged: common::Dir,
}

fn fail2ban() -> Option<Fail2ban> {
    let root = std::env::var_os("SENTRYBAN_FAIL2BAN_DIR").map_or(PathBuf::from("/"), PathBuf::from);
    let staged = common::Dir::new("stock-config");
    let found = Fail2ban {
        config: root.join("etc/fail2ban"),
        tests: root.join("usr/lib/python3/dist-packages/fail2ban/tests"),
        test_config: staged.path().join("1/2/3/4/5/config"),
        _staged: staged,
    };
    if found.config.is_dir() && found.tests.join("files/logs").is_dir() {
        // They include `config/filter.d/common.conf` seven folders up, or four in newer versions.
        copy(&found.tests.join("config/filter.d"), &found.test_config.join("filter.d"));
        for place in ["config/filter.d", "1/2/3/config/filter.d"] {
            copy(&found.config.join("filter.d"), &found._staged.path().join(place));
        }
        return Some(found);
    }
    common::missing("fail2ban with its sample logs");
    None
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// One filter with one set of options, and the lines that it is shown.
#[derive(Default)]
struct Case {
    options: Map<String, Value>,
    lines: Vec<(String, Map<String, Value>, String)>, // line, what must come of it, where it stands
}

#[test]
fn every_annotated_sample_of_the_package_gets_its_verdict() {
    let Some(package) = fail2ban() else { return };
    let mut wrong = Vec::new();
    let mut checked = 0;
    for (config, name) in filters(&package) {
        for (label, case) in cases(&package, &name) {
            checked += case.lines.len();
            wrong.extend(check(&config, &name, &label, &case));
        }
    }
    eprintln!("{checked} lines checked, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{} of {checked} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 1000, "only {checked} lines were found");
}

#[test]
fn every_filter_of_the_package_loads() {
    let Some(package) = fail2ban() else { return };
    let mut wrong = Vec::new();
    for (config, name) in filters(&package) {
        let output = Command::new(env!("CARGO_BIN_EXE_sentryban-regex"))
            .args(["-c".as_ref(), config.as_os_str()])
            .args(["Jan  1 00:00:00 a line", &format!("filter.d/{name}")])
            .output()
            .unwrap();
        if !output.status.success() {
            wrong.push(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_jail_of_the_package_loads_by_its_name() {
    let Some(package) = fail2ban() else { return };
    let text = std::fs::read_to_string(package.config.join("jail.conf")).unwrap();
    let sections = text.lines().filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
    let names: Vec<&str> =
        sections.filter(|name| !["INCLUDES", "DEFAULT"].contains(name)).collect();
    assert!(names.len() > 80, "only {} jails", names.len());
    for name in names {
        let output = Command::new(env!("CARGO_BIN_EXE_sentryban-regex"))
            .args(["-c".as_ref(), package.config.as_os_str()])
            .args(["Jan  1 00:00:00 a line", name])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(&format!("\nUse             jail : {name}\n")), "{name}: {output:?}");
        assert!(output.stderr.is_empty(), "{name}: {output:?}");
    }
}

fn filters(package: &Fail2ban) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    for (config, wanted) in [(package.config.clone(), ""), (package.test_config.clone(), "zzz-")] {
        let Ok(entries) = std::fs::read_dir(config.join("filter.d")) else { continue };
        for entry in entries {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let Some(stem) = name.strip_suffix(".conf") else { continue };
            if stem.starts_with(wanted) && !stem.ends_with("common") {
                all.push((config.clone(), stem.to_owned()));
            }
        }
    }
    all.sort();
    assert!(all.len() > 80, "only {} filters", all.len());
    all
}

fn cases(package: &Fail2ban, filter: &str) -> BTreeMap<String, Case> {
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    let mut files = vec![filter.to_owned()];
    let mut common: Map<String, Value> = Map::new();
    let mut current: Vec<String> = vec![String::new()];
    let mut next = 0;
    cases.entry(String::new()).or_default();
    while let Some(file) = files.get(next).cloned() {
        next += 1;
        let path = package.tests.join("files/logs").join(&file);
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut bypass = false;
        let mut lines = text.split('\n').enumerate();
        while let Some((index, line)) = lines.next() {
            let mut annotation = Map::new();
            let mut line = line;
            if let Some((word, value)) = directive(line) {
                match (word, value) {
                    ("fileOptions", Value::Object(options)) => {
                        common = options;
                        continue;
                    }
                    ("filterOptions", value) => {
                        let sets = if let Value::Array(sets) = value { sets } else { vec![value] };
                        bypass = false;
                        current.clear();
                        for set in sets {
                            let mut options = common.clone();
                            options.extend(set.as_object().unwrap().clone());
                            let condition = options.get("test.condition").and_then(Value::as_str);
                            bypass = condition.is_some_and(|text| !holds(text, filter, &options));
                            if bypass {
                                continue;
                            }
                            let mut shown = options.clone();
                            shown.retain(|key, _| !key.starts_with("test."));
                            let label = match options.get("test.filter-name") {
                                Some(name) => name.as_str().unwrap().to_owned(),
                                None if shown.is_empty() => String::new(),
                                None => Value::Object(shown).to_string(),
                            };
                            cases.entry(label.clone()).or_default().options = options;
                            current.push(label);
                        }
                        continue;
                    }
                    ("addFILE", value) => {
                        files.push(value.as_str().unwrap().to_owned());
                        continue;
                    }
                    (_, value) => annotation = value.as_object().unwrap().clone(),
                }
                line = lines.next().map_or("", |(_, line)| line);
            } else if bypass || line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            if bypass {
                continue;
            }
            let line = line.trim_end_matches(['\r', '\n']);
            for label in &current {
                let case = cases.get_mut(label).unwrap();
                let constraint = annotation.get("constraint").and_then(Value::as_str);
                if constraint.is_some_and(|text| !holds(text, filter, &case.options)) {
                    continue;
                }
                let prefix = case.options.get("test.prefix-line").and_then(Value::as_str);
                let line = format!("{}{line}", prefix.unwrap_or_default());
                case.lines.push((line, annotation.clone(), format!("{file}:{}", index + 1)));
            }
        }
    }
    cases.retain(|_, case| !case.lines.is_empty());
    cases
}

/// `# failJSON: {…}` and its kin.
fn directive(line: &str) -> Option<(&str, Value)> {
    let rest = line.strip_prefix('#')?.trim_start_matches('#');
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let (word, json) = rest.split_once(':')?;
    let known = ["failJSON", "fileOptions", "filterOptions", "addFILE"];
    known.contains(&word).then(|| (word, serde_json::from_str(json.trim()).unwrap()))
}

/// The handful of conditions that the samples use.
fn holds(condition: &str, filter: &str, options: &Map<String, Value>) -> bool {
    let mode = options.get("mode").and_then(Value::as_str);
    match condition.replace(' ', "").as_str() {
        "name=='sshd'" => filter == "sshd",
        "opts.get('mode')!='aggressive'" => mode != Some("aggressive"),
        "opts.get('mode')=='aggressive'" => mode == Some("aggressive"),
        other => panic!("unknown condition {other}"),
    }
}

fn check(config: &Path, filter: &str, label: &str, case: &Case) -> Vec<String> {
    let dir = common::Dir::new("stock");
    let log = dir.path().join("log");
    let text: String = case.lines.iter().map(|(line, _, _)| format!("{line}\n")).collect();
    std::fs::write(&log, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentryban-regex"));
    command.env("TZ", "Europe/Zurich").arg("-c").arg(config);
    command.args(["--out", "json", "--now", NOW]);
    let options: Vec<String> = case
        .options
        .iter()
        .filter(|(key, _)| !key.starts_with("test."))
        .map(|(key, value)| format!("{key}=\"{}\"", value.as_str().unwrap()))
        .collect();
    if case.options.get("logtype").and_then(Value::as_str) == Some("journal") {
        // The journal knows the time; its lines carry none.
        command.args(["-d", "{NONE}"]);
    }
    // By its path: a jail of the same name has a mode of its own.
    let name = match options.is_empty() {
        true => format!("filter.d/{filter}"),
        false => format!("filter.d/{filter}[{}]", options.join(", ")),
    };
    let output = command.arg(&log).arg(&name).output().unwrap();
    if !output.status.success() {
        return vec![format!("{name}: {}", String::from_utf8_lossy(&output.stderr))];
    }
    let mut found: BTreeMap<u64, Value> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let object: Value = serde_json::from_str(line).unwrap();
        let number = object["line"].as_u64().unwrap();
        assert!(found.insert(number, object).is_none(), "{name}: two objects for line {number}");
    }
    let mut wrong = Vec::new();
    for (index, (line, annotation, place)) in case.lines.iter().enumerate() {
        let object = found.get(&(index as u64 + 1));
        if let Err(difference) = compare(annotation, object, line) {
            wrong.push(format!("{filter}{label} {place}: {difference}\n    {line}"));
        }
    }
    wrong
}

fn compare(
    annotation: &Map<String, Value>,
    object: Option<&Value>,
    line: &str,
) -> Result<(), String> {
    let skipped = line.starts_with('#') || line.trim().is_empty();
    let expected = annotation.get("match").and_then(Value::as_bool).unwrap_or(false) && !skipped;
    let Some(object) = object else {
        return if expected { Err("not matched".into()) } else { Ok(()) };
    };
    if !expected {
        return Err(format!("matched: {object}"));
    }
    for (key, value) in annotation {
        let got = match key.as_str() {
            "match" | "desc" | "constraint" => continue,
            "time" if value.is_null() => continue,
            "time" => json!(common::zurich_time(value.as_str().unwrap())),
            "host" => {
                [&object["host"], &object["id"]][usize::from(object["host"].is_null())].clone()
            }
            "attempts" => object["attempts"].clone(),
            "users" => sorted(&object["groups"]["users"]),
            other => object["groups"][other].clone(),
        };
        let wanted = match key.as_str() {
            "time" => object["time"].clone(),
            "users" => sorted(value),
            _ => value.clone(),
        };
        let same = match (got.as_str(), wanted.as_str()) {
            // Two spellings of one address are one address.
            (Some(got), Some(wanted)) => net::normal_id(got) == net::normal_id(wanted),
            _ => got == wanted,
        };
        if !same {
            return Err(format!("{key} is {got}, not {wanted}: {object}"));
        }
    }
    Ok(())
}

fn sorted(value: &Value) -> Value {
    let mut words: Vec<String> =
        value.as_array().into_iter().flatten().map(|word| word.to_string()).collect();
    words.sort();
    json!(words)
}
