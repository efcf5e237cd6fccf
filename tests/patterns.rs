//! Expressions against Python's own `re`: same match, same groups, on corners of the dialect and
//! on every expression of the installed fail2ban over its samples, whole and damaged.

// The lints are for what runs on attackers' input; a test may stop where it stands.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;

use sentryban::filter::{Hit, Pattern, UseDns};
use serde_json::Value;

#[test]
fn own_expressions_match_as_python_would() {
    let rows = python(&["own"]);
    let Some(rows) = rows else { return };
    let mut wrong = Vec::new();
    let mut compared = 0;
    for row in &rows {
        compare(row, &mut wrong, &mut compared);
    }
    assert!(compared > 5_000, "only {compared} comparisons");
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), shown(&wrong));
}

#[test]
fn stock_expressions_match_as_python_would() {
    if !std::path::Path::new("/etc/fail2ban/filter.d").is_dir() {
        return common::missing("fail2ban");
    }
    let Some(rows) = python(&["stock"]) else { return };
    let mut wrong = Vec::new();
    let mut compared = 0;
    for row in &rows {
        compare(row, &mut wrong, &mut compared);
    }
    eprintln!("{} expressions, {compared} comparisons", rows.len());
    assert!(rows.len() > 200 && compared > 50_000, "{} rows, {compared} texts", rows.len());
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), shown(&wrong));
}

/// A count behind `<HOST>` once counted as part of the tag, and the quick machine, which takes an
/// address at once, took it once.
#[test]
fn repeated_hosts_are_hosts_each() {
    for source in [
        "is <HOST>?out",
        "is <HOST>?? ?(?P<rest>.*)$",
        "is (?:<HOST>){2}",
        "is <HOST>{2}(?P<rest>.*)$",
        "is <HOST>+(?P<rest>.*)$",
        "is <ADDR>?(?P<rest>.*)$",
    ] {
        let pattern = Pattern::new(source, UseDns::Warn, false).unwrap();
        for text in [
            "is out\n",
            "is 192.0.2.1 out\n",
            "is 192.0.2.1\n",
            "is 192.0.2.1[192.0.2.2]\n",
            "is [192.0.2.1]192.0.2.2] out\n",
            "is [2001:db8::1]host.example.org out\n",
        ] {
            let (mut hit, mut other) = (Hit::default(), Hit::default());
            let found = pattern.search(text, &mut hit).unwrap();
            assert_eq!(
                found,
                pattern.search_by_engine(text, &mut other).unwrap(),
                "{source}: {text:?}"
            );
            assert_eq!(hit.groups, other.groups, "{source}: {text:?}");
        }
    }
    let mut hit = Hit::default();
    let lazy = Pattern::new("is <HOST>?? ?(?P<rest>.*)$", UseDns::Warn, false).unwrap();
    assert_eq!(lazy.search("is 192.0.2.1 out\n", &mut hit), Ok(true));
    let rest = lazy.group("rest").unwrap();
    assert_eq!(hit.groups[rest], Some(3..16), "nothing is taken where nothing will do");
}

fn python(arguments: &[&str]) -> Option<Vec<Value>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/py/patterns.py");
    // Debian's interpreter: the one that the package's modules belong to.
    let interpreter = ["/usr/bin/python3", "python3"]
        .into_iter()
        .find(|name| Command::new(name).arg("-V").output().is_ok_and(|o| o.status.success()));
    let Some(interpreter) = interpreter else {
        common::missing("python3");
        return None;
    };
    let output = Command::new(interpreter).arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn compare(row: &Value, wrong: &mut Vec<String>, compared: &mut usize) {
    let source = row["source"].as_str().unwrap();
    let multiline = row["multiline"].as_bool().unwrap();
    let pattern = match Pattern::new(source, UseDns::Warn, multiline) {
        Ok(pattern) => pattern,
        Err(error) => {
            if row.get("error").is_none() {
                wrong.push(format!("{source}\n  does not compile: {error:?}"));
            }
            return;
        }
    };
    if row.get("error").is_some() {
        // Python refuses some expressions that have a plain meaning; being milder is no fault.
        return;
    }
    let mut hit = Hit::default();
    let mut other = Hit::default();
    for pair in row["texts"].as_array().unwrap() {
        let text = pair[0].as_str().unwrap();
        *compared += 1;
        let found = match pattern.search(text, &mut hit) {
            Ok(found) => found,
            Err(_) => {
                wrong.push(format!("{source}\n  ran out of steps on {text:?}"));
                continue;
            }
        };
        // The quick machine and the engine behind it agree, groups and all.
        let by_engine = pattern.search_by_engine(text, &mut other).unwrap_or(false);
        if by_engine != found || (found && hit.groups != other.groups) {
            let (one, two) = (&hit.groups, &other.groups);
            wrong.push(format!(
                "{source}\n  on {text:?}\n  machine {found} {one:?}\n  engine {by_engine} {two:?}"
            ));
        }
        let got = found.then(|| {
            let groups = pattern.names().iter().zip(&hit.groups);
            let groups = groups.filter_map(|(name, range)| {
                let value = text[range.clone()?].to_owned();
                Some((name.to_string(), Value::String(value)))
            });
            serde_json::json!({
                "match": text[hit.span.clone()],
                "groups": Value::Object(groups.collect()),
            })
        });
        let wanted = &pair[1];
        let same = match (&got, wanted) {
            (None, Value::Null) => true,
            (Some(got), wanted) if !wanted.is_null() => {
                // `$` is written as an optional newline for the linear engine, so the whole match
                // may hold it; no group can.
                got["groups"] == wanted["groups"]
                    && got["match"].as_str().unwrap().trim_end_matches('\n')
                        == wanted["match"].as_str().unwrap().trim_end_matches('\n')
            }
            _ => false,
        };
        if !same {
            wrong.push(format!("{source}\n  on {text:?}\n  got {got:?}\n  not {wanted}"));
        }
        let literal_free = pattern.required().is_none_or(|required| {
            required
                .0
                .iter()
                .any(|literal| text.as_bytes().windows(literal.len()).any(|w| w == literal))
        });
        if found && !literal_free {
            wrong.push(format!("{source}\n  matched {text:?} without {:?}", pattern.required()));
        }
    }
}

fn shown(wrong: &[String]) -> String {
    wrong.iter().take(15).cloned().collect::<Vec<_>>().join("\n")
}
