//! The true binary beside fail2ban-regex on hostile logs: the same failures in the same order, the
//! same numbers in the report.
//!
//! The logs are made, from a seed, of the samples that come with the `fail2ban` package where it is
//! installed (`tests/py/rows.py`); nothing of it is in this tree. `SENTRYBAN_ROWS_CASES` and
//! `SENTRYBAN_ROWS_SEED` ask for more, or other, logs than usual; `SENTRYBAN_FAIL2BAN_DIR` names
//! another version, unpacked.
//!
//! Not compared, as fail2ban-regex itself goes wrong there: the total of prefregex (a line that was
//! ignored before it counts as the line before did) and a negative number of missed lines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says by failing what is wrong"
)]
// The lints are for what runs on attackers' input; a test may stop where it stands.

mod common;

use std::process::{Command, Output};

use serde_json::Value;

/// The zone in which both run.
const TZ: &str = "Europe/Zurich";

fn regex(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sentryban-regex"))
        .args(arguments)
        .env("TZ", TZ)
        .output()
        .unwrap()
}

fn setting(name: &str, usual: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| usual.to_owned())
}

#[test]
fn hostile_logs_give_the_rows_and_numbers_of_fail2ban_regex() {
    let root = setting("SENTRYBAN_FAIL2BAN_DIR", "");
    if !std::path::Path::new(&format!("{root}/etc/fail2ban/filter.d")).is_dir() {
        common::missing("fail2ban with its sample logs");
        return;
    }
    let work = common::Dir::new("rows");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/py/rows.py");
    let cases = Command::new("python3")
        .args([script, &root])
        .arg(work.path())
        .args([setting("SENTRYBAN_ROWS_SEED", "1"), setting("SENTRYBAN_ROWS_CASES", "60")])
        .env("TZ", TZ)
        .output()
        .unwrap();
    assert!(cases.status.success(), "{}", String::from_utf8_lossy(&cases.stderr));
    let (mut rows, mut wrong) = (0, Vec::new());
    let text = String::from_utf8(cases.stdout).unwrap();
    for case in text.lines() {
        let case: Value = serde_json::from_str(case).unwrap();
        let arguments: Vec<&str> =
            case["arguments"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
        let expected = case["rows"].as_array().unwrap();
        rows += expected.len();
        wrong.extend(failures_differ(&arguments, expected));
        wrong.extend(numbers_differ(&arguments, case["numbers"].as_array().unwrap()));
    }
    eprintln!("{} logs, {rows} failures, {} wrong", text.lines().count(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows > 100, "only {rows} failures to compare");
}

fn failures_differ(arguments: &[&str], expected: &[Value]) -> Option<String> {
    let output = regex(&[&["-o", "json"], arguments].concat());
    let found: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let same = |(found, expected): (&Value, &Value)| {
        let mut groups = found["groups"].clone();
        groups.as_object_mut().unwrap().remove("users");
        for inner in ["nofail", "mlfgained"] {
            groups.as_object_mut().unwrap().remove(inner);
        }
        // fail2ban-regex leaves the time of a line without a date open, or reads the clock.
        let time = expected[1].as_f64().is_none_or(|time| {
            let found = found["time"].as_f64().unwrap();
            found == time || (time.fract() != 0.0 && (found - time).abs() < 60.0)
        });
        same_id(&found["id"], &expected[0]) && time && groups == expected[2]
    };
    if found.len() == expected.len() && found.iter().zip(expected).all(same) {
        return None;
    }
    let at = found.iter().zip(expected).position(|pair| !same(pair));
    let at = at.unwrap_or(found.len().min(expected.len()));
    let (found, expected) = (found.get(at), expected.get(at));
    Some(format!("{arguments:?}: failure {at}: {found:?}\n  where {expected:?}"))
}

/// `::1.2.3.4` and `::102:304` are one address.
fn same_id(one: &Value, other: &Value) -> bool {
    let address = |id: &Value| id.as_str()?.parse::<std::net::IpAddr>().ok();
    one == other || address(one).is_some_and(|one| Some(one) == address(other))
}

fn numbers_differ(arguments: &[&str], expected: &[Value]) -> Option<String> {
    let output = regex(arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    let report = text.split("\nResults\n").nth(1).unwrap_or_default();
    let report = report.split("[processed in").next().unwrap_or_default();
    let expected: Vec<&str> = expected.iter().map(|one| one.as_str().unwrap()).collect();
    if expected.last().is_some_and(|lines| lines.contains(" -")) {
        return None;
    }
    let plain = |line: &str| {
        // fail2ban 1.0.2 knows one form less of the compact date.
        line.replace("(?:-|T|  ?)Ex24hour:?ExMinute:?Ex", "(?:T|  ?)Ex24hourExMinuteEx")
    };
    let starts = |line: &&str, text: &str| line.starts_with(text);
    let mut found = report.lines().filter(|line| {
        ["Failregex: ", "Ignoreregex: ", "Lines: ", "|  ["].iter().any(|one| starts(line, one))
            || (starts(line, "|") && line.split(") [").next().is_some_and(is_numbered))
                && line.contains(") [")
    });
    for expected in &expected {
        let line = found.next().unwrap_or_default();
        if !plain(line).starts_with(&plain(expected)) {
            return Some(format!("{arguments:?}: report has {line:?} where {expected:?}"));
        }
    }
    found.next().map(|more| format!("{arguments:?}: report has {more:?} too many"))
}

fn is_numbered(head: &str) -> bool {
    head.trim_start_matches('|').trim().parse::<u32>().is_ok()
}

/// The expressions that look at the whole buffer know it as one text: `^` is its beginning.
#[test]
fn prefregex_and_ignoreregex_do_not_know_the_lines_of_a_buffer() {
    let work = common::Dir::new("rows-lines");
    let log = "Jan  1 00:00:00 one\nJan  1 00:00:01 two 192.0.2.1\n";
    let log = work.file("log", log);
    let lines = |filter: &str| {
        let filter = work.file("filter.conf", format!("[Definition]\n{filter}\n"));
        let output = regex(&["-o", "id", log.to_str().unwrap(), filter.to_str().unwrap()]);
        String::from_utf8(output.stdout).unwrap()
    };
    let fails = "failregex = two <HOST>$\n  x <HOST>\n  y <HOST>\n  z <HOST>\n";
    assert_eq!(lines(&format!("{fails}maxlines = 2")), "192.0.2.1\n");
    assert_eq!(lines(&format!("{fails}maxlines = 2\nignoreregex = ^ one$")), "192.0.2.1\n");
    assert_eq!(lines(&format!("{fails}maxlines = 2\nignoreregex = ^ one")), "");
    assert_eq!(lines(&format!("{fails}maxlines = 2\nignoreregex = ^ two")), "");
    let prefixed = format!("{fails}prefregex = ^ two.*\nmaxlines = ");
    assert_eq!(lines(&format!("{prefixed}1")), "192.0.2.1\n");
    assert_eq!(lines(&format!("{prefixed}2")), "");
}

/// The C library takes that one of two like hours in which the last stamp was.
#[test]
fn an_hour_that_occurs_twice_goes_on_as_the_log_did() {
    let rows = [
        // Alone: as a fresh process has it, which begins at Greenwich.
        ("Europe/Zurich", "2005-10-30 02:30:00", &[1_130_635_800][..]),
        ("America/New_York", "2005-10-30 01:30:00", &[1_130_650_200]),
        ("EST5EDT,M4.1.0,M10.5.0", "2005-10-30 01:30:00", &[1_130_650_200]),
        (
            "Europe/Zurich",
            "2005-10-30 01:59:59\n2005-10-30 02:30:00\n2005-10-30 03:00:00\n2005-10-30 02:30:00",
            &[1_130_630_399, 1_130_632_200, 1_130_637_600, 1_130_635_800],
        ),
        // At midnight: the day does not begin in one way.
        ("Atlantic/Azores", "2005-10-30 00:30:00", &[1_130_632_200]),
        // Skipped: with the offset before.
        ("Europe/Zurich", "2005-03-27 02:30:00", &[1_111_887_000]),
    ];
    for (zone, stamps, expected) in rows {
        let log: String = stamps.lines().map(|stamp| format!("{stamp} from 192.0.2.1\n")).collect();
        let output = Command::new(env!("CARGO_BIN_EXE_sentryban-regex"))
            .args(["-o", "<time>", &log, "from <HOST>$"])
            .env("TZ", zone)
            .output()
            .unwrap();
        let expected: String = expected.iter().map(|time: &i64| format!("{time}.0\n")).collect();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{zone}: {stamps}");
    }
}

/// A pattern that is one of the defaults, word for word, weighs as much beside them.
#[test]
fn a_default_template_named_before_the_defaults_keeps_its_weight() {
    let log = "2005-08-14 12:00:00 a 192.0.2.1\n1124013599 b 192.0.2.1\nAug 14 12:00:00 c\n\
               1124013599 d 192.0.2.1";
    let output = regex(&["-d", "{^LN-BEG}Epoch\n{^LN-BEG}", log, "<HOST>$"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let hits: Vec<&str> = text.lines().filter(|line| line.starts_with("|  [")).collect();
    assert!(hits.first().is_some_and(|first| *first == "|  [2] {^LN-BEG}Epoch"), "{hits:?}");
}
