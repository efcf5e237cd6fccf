//! `--out` prints what fail2ban-regex prints.
//!
//! Failures are made by hand, as a scanner finds them in a small log, and printed in each form;
//! where `fail2ban-regex` is installed it must print the same over that log.

// The lints are for what runs on attackers' input; a test may stop where it stands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::process::Command;

use sentryban::{
    cli::regex::out::{Form, Printer},
    filter::{Field, Fields},
    scan::{CutLine, Failure},
    time::{Civil, Timestamp, Zone},
};

const REGEX: &str = "refused <F-USER>\\S+</F-USER> from <HOST> port <F-PORT/>";
const GROUPS: [&str; 5] = ["user", "ip4", "ip6", "dns", "fport"];

/// User, group of the address, address, port, second.
const FOUND: [(&str, &str, &str, &str, u32); 3] = [
    ("b'o\"\\b", "ip4", "192.0.2.1", "22", 0),
    ("änn", "ip6", "2001:db8::1", "23", 1),
    ("mike", "dns", "gate.example.org", "2", 2),
];

fn date(second: u32) -> String {
    format!("2024-05-01 10:00:{second:02}")
}

fn rest(row: &(&str, &str, &str, &str, u32)) -> String {
    format!(" gate demo[1]: refused {} from {} port {}\ttail", row.0, row.2, row.3)
}

fn failure(row: &(&str, &str, &str, &str, u32)) -> Failure {
    let (user, kind, address, port, second) = *row;
    let mut fields = Fields::default();
    for (name, value) in [("user", user), (kind, address), ("fport", port)] {
        fields.set(&name.into(), Field::Text(value.into()));
    }
    let civil = Civil { year: 2024, month: 5, day: 1, hour: 10, minute: 0, second };
    Failure {
        regex: 0,
        id: Some(address.into()),
        host: Some(address.into()),
        lookup: false,
        time: Zone::Local.timestamp(civil),
        fields,
        attempts: 1,
        lines: vec![CutLine::new("", &date(second), &rest(row))],
        users: Vec::new(),
        nofail: false,
    }
}

fn ours(form: &str) -> String {
    let groups = vec![GROUPS.map(str::to_owned).to_vec()];
    let printer = Printer::new(Form::parse(form).unwrap(), groups, false, Timestamp::default());
    let mut out = Vec::new();
    for (index, row) in FOUND.iter().enumerate() {
        printer.write(&failure(row), index as u64 + 1, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn forms_are_fail2ban_regexs() {
    assert_eq!(
        ours("<ip> <F-USER>:<F-PORT> <x>"),
        "192.0.2.1 b'o\"\\b:22 <x>\n2001:db8::1 änn:23 <x>\ngate.example.org mike:2 <x>\n"
    );
    let log = std::env::temp_dir().join(format!("sentryban-{}-out.log", std::process::id()));
    let lines = FOUND.iter().map(|row| format!("{}{}\n", date(row.4), rest(row)));
    std::fs::write(&log, lines.collect::<String>()).unwrap();
    let forms = [
        "id",
        "fid",
        "ip",
        "msg",
        "row",
        "user",
        "ip4",
        "dns",
        "fport",
        "nonesuch",
        "matches",
        "<ip>|<fid>|<time>|<family>|<F-USER>|<F-NONE>|<F-PORT>|<F-IP4>|<user>|a < b",
        "<msg> by <fid>",
        "<matches><sp><br>.",
        "<bancount>/<restored>",
    ];
    for form in forms {
        let theirs = Command::new("fail2ban-regex")
            .args(["-r", "-e", "UTF-8", "-o", form])
            .args([log.to_str().unwrap(), REGEX])
            .env("PYTHONIOENCODING", "UTF-8")
            .output();
        match theirs {
            Ok(output) => {
                assert_eq!(ours(form), String::from_utf8_lossy(&output.stdout), "{form}");
            }
            Err(_) if std::env::var_os("SENTRYBAN_REQUIRE_LAB").is_some() => {
                panic!("SENTRYBAN_REQUIRE_LAB is set and fail2ban-regex is not installed")
            }
            Err(_) => println!("skipped: fail2ban-regex is not installed"),
        }
    }
    std::fs::remove_file(log).unwrap();
}
