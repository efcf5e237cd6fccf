//! The date matcher beside Python's `re`: random expressions of the kind that date patterns are made
//! of, random texts, and all groups compared.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

use std::io::Write;
use std::process::{Command, Stdio};

use sentryban::date::{Pattern, Scratch};
use serde_json::{Value, json};

#[allow(dead_code)]
#[path = "common/stamps.rs"]
mod stamps;
use stamps::Random;

/// Grows an expression; `groups` are those that are closed and may be referred to.
fn expression(r: &mut Random, depth: u32, groups: &mut u32) -> String {
    let mut text = String::new();
    for _ in 0..1 + r.below(4) {
        let item = match r.below(if depth == 0 { 12 } else { 22 }) {
            0..=4 => r.pick(&["a", "b", "1", "2", ":", "-", " ", "é", "ab"]).to_owned(),
            5 => r.pick(&[".", "\\d", "\\w", "\\s", "\\W", "\\D", "\\S"]).to_owned(),
            6 => r.pick(&["[ab]", "[^a]", "[0-2é]", "[\\d:]", "[^\\w]", "[]a-]"]).to_owned(),
            7 => r.pick(&["^", "$", "\\b", "\\B", "\\Z"]).to_owned(),
            8 if *groups > 0 => format!("\\{}", 1 + r.below(u64::from(*groups))),
            9 => r.pick(&["{", "}", "{x}", "\\.", "\\[", "\\:"]).to_owned(),
            8..=11 => r.pick(&["a", "1", "é"]).to_owned(),
            12 if *groups > 0 => {
                let group = 1 + r.below(u64::from(*groups));
                let (yes, no) = (literal(r), literal(r));
                format!("(?({group}){yes}|{no})")
            }
            13 => format!("(?={})", expression(r, depth - 1, groups)),
            14 => format!("(?!{})", flat(r)),
            15 => format!("(?<={})", literal(r)),
            16 => format!("(?<!{})", literal(r)),
            17 => format!("(?i:{})", flat(r).to_uppercase()),
            18 => {
                let either = format!("{}|{}", flat(r), flat(r));
                format!("(?:{either})")
            }
            _ => {
                let inner = expression(r, depth - 1, &mut 0);
                // Only outermost groups are counted, and those inside of them not referred to.
                let plain = inner.replace("(?", "\u{1}").replace("\\(", "\u{2}");
                let more = plain.matches('(').count() as u32;
                if *groups == 0 && more == 0 {
                    *groups = 1;
                }
                format!("({inner})")
            }
        };
        let repeatable = !matches!(item.as_str(), "^" | "$" | "\\b" | "\\B" | "\\Z" | "{" | "{x}");
        text.push_str(&item);
        if repeatable && item.chars().count() != 2 && r.one_in(3) || repeatable && r.one_in(9) {
            let times = ["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,2}?", "++", "?+"];
            text.push_str(r.pick(&times));
        }
    }
    text
}

fn literal(r: &mut Random) -> String {
    r.pick(&["a", "1", "ab", "é", ":", "\\b1", "^a", "\\W"]).to_owned()
}

fn flat(r: &mut Random) -> String {
    format!("{}{}", r.pick(&["a", "b+", "1", "é?"]), r.pick(&["", "1", "b", ":*", "$"]))
}

fn text(r: &mut Random) -> String {
    let parts = ["a", "b", "A", "1", "2", "12", ":", "-", " ", "é", "É", "ab", "aba", "\n", "{x}"];
    (0..r.below(12)).map(|_| r.pick(&parts)).collect()
}

#[test]
fn groups_are_those_of_python() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|out| out.status.success()) {
        let must = std::env::var_os("SENTRYBAN_REQUIRE_LAB").is_some();
        assert!(!must, "python3 is not installed, and SENTRYBAN_REQUIRE_LAB asks for it");
        eprintln!("SKIPPED: python3 is not installed");
        return;
    }
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let mut r = Random::new(number("SENTRYBAN_DATES_SEED").unwrap_or(3));
    let count = number("SENTRYBAN_DATES_CASES").unwrap_or(3000);
    let cases: Vec<(String, Vec<String>)> = (0..count)
        .map(|_| {
            let pattern = expression(&mut r, 3, &mut 0);
            (pattern, (0..12).map(|_| text(&mut r)).collect())
        })
        .collect();
    let answers = ask(&json!(cases));
    let mut answers = answers.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut scratch = Scratch::default();
    let (mut matches, mut faults) = (0, Vec::new());
    for (source, texts) in &cases {
        let ours = Pattern::new(source);
        for (i, text) in texts.iter().enumerate() {
            let theirs = answers.next().unwrap();
            if theirs == "error" {
                if ours.is_ok() {
                    faults.push(format!("{source}: compiles here only"));
                }
                break;
            }
            let Ok(pattern) = &ours else {
                if i == 0 {
                    faults.push(format!("{source}: {}", ours.as_ref().unwrap_err()));
                }
                continue;
            };
            let found = pattern.search(&mut scratch, text, 0..text.len()).then(|| {
                let chars = |at: usize| text[..at].chars().count() as i64;
                (0..=pattern.groups())
                    .map(|number| match scratch.group(number) {
                        Some(range) => [chars(range.start), chars(range.end)],
                        None => [-1, -1],
                    })
                    .collect::<Vec<_>>()
            });
            matches += usize::from(found.is_some());
            if json!(found) != theirs {
                faults.push(format!("{source} in {text:?}: {} is {theirs}", json!(found)));
            }
        }
    }
    let some = &faults[..faults.len().min(20)];
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), some.join("\n"));
    assert!(matches > 2 * cases.len(), "{matches} matches of {} expressions", cases.len());
}

fn ask(cases: &Value) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/py/search.py");
    let mut command = Command::new("python3");
    let mut child =
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = cases.to_string();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(out.status.success(), "the script failed");
    String::from_utf8(out.stdout).unwrap()
}
