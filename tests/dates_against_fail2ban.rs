//! The date detector beside fail2ban's own: the same lines to both, and after each line the same
//! cut, the same moment, the same template, the same record of hits in the same order.
//!
//! `SENTRYBAN_DATES_CASES` and `SENTRYBAN_DATES_SEED` ask for more, or other, logs than usual.
//!
//! fail2ban is imported from where Debian installs it, or from the directory that
//! `SENTRYBAN_FAIL2BAN` names. Each zone needs a process of its own, since `TZ` is read once: the
//! test runs itself again with `TZ` set.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::io::Write;
use std::process::{Command, Stdio};

use sentryban::date::{DateDetector, parse_zone};
use sentryban::time::{Timestamp, Zone, now as present};
use serde_json::{Value, json};

#[path = "common/stamps.rs"]
mod stamps;
use stamps::{Random, log};

/// Set in the copy of this test that runs in one zone.
const WITHIN: &str = "SENTRYBAN_DATES_WITHIN_ZONE";

struct Case {
    patterns: Option<String>,
    zone: Option<&'static str>,
    lines: Vec<(i64, String)>,
}

/// Patterns as filters and users write them.
const PATTERNS: [&str; 44] = [
    "{^LN-BEG}",
    "{DEFAULT}",
    "{NONE}",
    "EPOCH",
    "^Epoch",
    "{^LN-BEG}EPOCH",
    "LEPOCH",
    "{^LN-BEG}LEPOCH",
    "^LEPOCH",
    "TAI64N",
    "{^LN-BEG}TAI64N",
    "audit\\({EPOCH}:",
    "^{LEPOCH}",
    "\\[{EPOCH}\\]",
    "^{DATE}",
    "{DATE}\n{NONE}",
    "^[^\\[]*\\[({DATE})",
    "^<\\d+>\\s*{DATE}",
    "^\\S+ {DATE}",
    "host \\(?{DATE}\n{^LN-BEG}",
    "%Y-%m-%d %H:%M:%S",
    "^%Y-%m-%d %H:%M:%S",
    "^\\[%d/%b/%Y %H:%M:%S\\]",
    "%d/%b[^/]*/%Y:%H:%M:%S %z",
    "^%H:%M:%S.%f",
    "^(?:%Y-)?%m-%d[ T]%H:%M:%S(?:\\.%f)?",
    "{^LN-BEG}%ExY(?P<_sep>[-/.])%m(?P=_sep)%d[T ]%H:%M:%S(?:[.,]%f)?(?:\\s*%z)?",
    "^\\[?%ExY%Exm%Exd-%ExH:%ExM:%ExS\\]?",
    "{^LN-BEG}%b-%d-%Exy %H:%M:%S",
    "^%b %d, %ExY %I:%M:%S %p",
    "{UNB}%H:%M:%S",
    "**%d/%m/%y %k:%M:%S**",
    "%a %b %d %H:%M",
    "%A, %d %B %Y %l:%M%p",
    "%Exy%j %k:%M",
    "%Y week %U %a %H",
    "%Y week %W %w %H",
    "%c",
    "%x %X",
    "%ExY-%Exm-%Exd %Exk:%ExM:%ExS %Exz",
    "%b %d %H:%M:%S %ExZ",
    "%H:%M$",
    "(?i)t=%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%d %H:%M:%S\n%b %d %H:%M:%S\nEPOCH\n{^LN-BEG}%d/%b/%Y:%H:%M:%S",
];

/// Lines that only some of the patterns read.
fn special(r: &mut Random) -> String {
    let (h, m) = (r.below(24), r.below(60));
    let year = 2004 + r.below(24);
    match r.below(12) {
        0 => format!(
            "Tuesday, {} August {year} {}:{m:02}{}",
            1 + r.below(31),
            r.below(14),
            r.pick(&["AM", "PM"])
        ),
        1 => format!("{:02}{} {h}:{m:02}", year % 100, 1 + r.below(370)),
        2 => format!("{year} week {} {} {h}", r.below(54), r.pick(&["Mon", "Sun", "Wed"])),
        3 => format!("{year} week {} {} {h}", r.below(54), r.below(7)),
        4 => format!("Tue Aug  {} {h:02}:{m:02}:07 {year}", 1 + r.below(9)),
        5 => format!(
            "{:02}/{:02}/{:02} {h:02}:{m:02}:00",
            1 + r.below(12),
            1 + r.below(28),
            year % 100
        ),
        6 => format!(
            "{year}-08-{:02} {h:02}:{m:02}:59 {}",
            1 + r.below(31),
            r.pick(&["CEST", "UTC+0100", "MSK", "X", "-03"])
        ),
        7 => format!("Feb 29 {h:02}:{m:02}:00 {}", r.pick(&["PDT", "CET", "Z", "ABC", "NST"])),
        8 => format!("t={year}-02-{:02}T{h:02}:{m:02}:00+0100 x", 27 + r.below(4)),
        9 => format!("at {h:02}:{m:02}"),
        10 => format!("[{}]", 1_000_000_000 + r.below(900_000_000)),
        _ => format!("<14>Dec 31 23:5{}:59 host", r.below(10)),
    }
}

fn cases() -> Vec<Case> {
    // Presents around the turn of a year, a leap day, and ordinary days.
    let presents = [1_124_013_600, 1_104_534_000, 1_709_200_000, 1_735_689_000, 1_790_000_000];
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let mut r = Random::new(number("SENTRYBAN_DATES_SEED").unwrap_or(7));
    let count = number("SENTRYBAN_DATES_CASES").unwrap_or(220) as usize;
    let mut cases = Vec::new();
    for i in 0..count {
        let patterns = (i % 3 == 2).then(|| PATTERNS[(i / 3) % PATTERNS.len()].to_owned());
        let zone = (i % 5 == 1).then(|| r.pick(&["UTC", "UTC+0200", "NST", "-0430"]));
        let mut at = presents[i % presents.len()] + r.below(86_400) as i64;
        let mut lines = log(&mut r, 60);
        if patterns.is_some() {
            lines.extend((0..40).map(|_| special(&mut r)));
        }
        let lines = lines
            .into_iter()
            .map(|line| {
                at += if r.one_in(9) { r.below(900) as i64 } else { 0 };
                (at, line)
            })
            .collect();
        cases.push(Case { patterns, zone, lines });
    }
    cases.extend(samples());
    cases
}

/// The sample logs that fail2ban's own tests use, where they are installed.
fn samples() -> Vec<Case> {
    let folder = std::path::Path::new(&home()).join("fail2ban/tests/files/logs");
    let mut cases = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    files.sort();
    for file in files {
        let Ok(bytes) = std::fs::read(&file) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let of = |patterns: Option<&str>| Case {
            patterns: patterns.map(str::to_owned),
            zone: None,
            lines: text
                .split('\n')
                .filter(|line| !line.starts_with('#') && !line.is_empty())
                .map(|line| (1_124_013_600, line.to_owned()))
                .collect(),
        };
        cases.push(of(None));
        cases.push(of(Some("{^LN-BEG}")));
    }
    cases
}

#[test]
fn dates_are_found_and_read_as_fail2ban_does() {
    if std::env::var_os(WITHIN).is_some() {
        compare();
        return;
    }
    let importable = python()
        .args(["-c", "import fail2ban.server.datedetector"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !importable {
        let must = std::env::var_os("SENTRYBAN_REQUIRE_LAB").is_some();
        assert!(!must, "fail2ban is not installed, and SENTRYBAN_REQUIRE_LAB asks for it");
        eprintln!("SKIPPED: fail2ban is not installed");
        return;
    }
    for zone in ["Europe/Zurich", "CET-1CEST,M3.5.0,M10.5.0/3", "UTC", "NST3:30NDT,M3.2.0,M11.1.0"]
    {
        let itself = std::env::current_exe().unwrap();
        let out = Command::new(itself)
            .args(["--exact", "dates_are_found_and_read_as_fail2ban_does", "--nocapture"])
            .env("TZ", zone)
            .env(WITHIN, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "in zone {zone}: {text}");
        assert!(String::from_utf8_lossy(&out.stdout).contains("compared"), "nothing compared");
    }
}

fn python() -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", home());
    command
}

/// The directory from which fail2ban is imported.
fn home() -> String {
    std::env::var("SENTRYBAN_FAIL2BAN")
        .unwrap_or_else(|_| "/usr/lib/python3/dist-packages".to_owned())
}

fn compare() {
    let cases = cases();
    let started = present();
    let compact = DateDetector::new(None, started)
        .unwrap()
        .templates()
        .filter_map(|template| template.pattern)
        .find(|pattern| pattern.starts_with("%ExY%Exm%Exd"))
        .unwrap()
        .to_owned();
    let asked: Vec<Value> = cases
        .iter()
        .map(|case| json!({"patterns": case.patterns, "zone": case.zone, "lines": case.lines}))
        .collect();
    let answers = ask(&json!({"compact": compact, "cases": asked}));
    let mut answers = answers.lines();
    let (mut lines, mut dates, mut faults) = (0, 0, Vec::new());
    for (number, case) in cases.iter().enumerate() {
        let mut detector = DateDetector::new(case.patterns.as_deref(), started).unwrap();
        detector.set_default_zone(case.zone.map(|zone| parse_zone(zone).unwrap()));
        for (at, line) in &case.lines {
            let theirs: Value = serde_json::from_str(answers.next().unwrap()).unwrap();
            let ours = answer(&mut detector, line, Timestamp::from_secs(*at));
            lines += 1;
            dates += usize::from(!theirs.is_null());
            if !equal(&ours, &theirs) {
                faults.push(format!(
                    "case {number} {:?} zone {:?} now {at}\n  line {line:?}\n  ours   {ours}\n  theirs {theirs}",
                    case.patterns, case.zone
                ));
                // What was learned differs from here on.
                for _ in
                    case.lines.iter().skip_while(|(_, other)| !std::ptr::eq(other, line)).skip(1)
                {
                    answers.next();
                }
                break;
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults\n{}",
        faults.len(),
        faults[..faults.len().min(8)].join("\n")
    );
    assert!(dates > 5_000, "{dates} dates in {lines} lines");
    println!("compared {lines} lines, {dates} with a date");
}

fn ask(cases: &Value) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/py/dates.py");
    let mut child =
        python().arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = cases.to_string();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(out.status.success(), "the script failed");
    String::from_utf8(out.stdout).unwrap()
}

fn answer(detector: &mut DateDetector, line: &str, now: Timestamp) -> Value {
    // The quick way must be the same way.
    let found = detector.find_again(line.as_bytes(), now).or_else(|| detector.find(line, now));
    let Some(found) = found else { return Value::Null };
    let time = if found.cut.is_empty() { None } else { detector.time(line, &found, now) };
    let name = detector.name(&found).unwrap();
    let ranks: Vec<Value> = detector
        .templates()
        .enumerate()
        .filter(|(_, template)| template.hits > 0)
        .map(|(i, template)| json!([i, template.name, template.hits]))
        .collect();
    let (start, end) = if found.cut.is_empty() { (0, 0) } else { (found.cut.start, found.cut.end) };
    json!([start, end, time.map(Timestamp::secs_f64), name, ranks])
}

fn equal(ours: &Value, theirs: &Value) -> bool {
    let (Some(ours), Some(theirs)) = (ours.as_array(), theirs.as_array()) else {
        return ours == theirs;
    };
    let empty = theirs[0] == theirs[1];
    let cut = if empty { ours[0] == ours[1] } else { ours[..2] == theirs[..2] };
    let time = match (ours[2].as_f64(), theirs[2].as_f64()) {
        // Theirs is a float of limited precision. In the hour that comes twice in autumn, glibc
        // answers by what it was asked before.
        (Some(one), Some(other)) => (one - other).abs() < 1e-5 || same_clock(one, other),
        (None, None) => true,
        _ => false,
    };
    cut && time && ours[3..] == theirs[3..]
}

/// Whether the clocks on the wall show the same at both moments.
fn same_clock(one: f64, other: f64) -> bool {
    let civil = |seconds| Zone::Local.civil(Timestamp::from_secs_f64(seconds));
    (one - other).abs() == 3600.0 && civil(one) == civil(other)
}
