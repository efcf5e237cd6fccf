//! What users and attackers throw at `sentryban-regex`: each gets an answer in bounded time and
//! memory, the right exit code and no panic.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::process::{Command, Output, Stdio};

fn regex(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sentryban-regex"))
        .args(arguments)
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const STAMP: &str = "2005-08-14 12:00:00";

#[test]
fn logs_of_every_kind_are_read() {
    let work = common::Dir::new("bad-logs");
    let line = |address: &str| format!("{STAMP} from {address}\n");
    let utf16 = |text: &str| -> Vec<u8> {
        [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    };
    let rows: &[(&[&str], Vec<u8>, &str)] = &[
        (&[], Vec::new(), ""),
        (&[], b"\n\n#x\n\n".to_vec(), ""),
        (&[], line("192.0.2.1").trim_end().as_bytes().to_vec(), "192.0.2.1\n"),
        (&[], line("192.0.2.1\r").into_bytes(), "192.0.2.1\n"),
        (&[], line("\0\0 from 192.0.2.1").into_bytes(), "192.0.2.1\n"),
        (&[], [b"\xff\xfe\n", line("192.0.2.1").as_bytes()].concat(), "192.0.2.1\n"),
        (&[], [line("192.0.2.1").as_bytes(), b"\xc3"].concat(), "192.0.2.1\n"),
        (&["-e", "UTF-16"], utf16(&line("192.0.2.1")), "192.0.2.1\n"),
        (&["-e", "latin1"], line("\u{e9} from 192.0.2.1").into_bytes(), "192.0.2.1\n"),
        // Longer than a line may be: the next one is whole again.
        (
            &[],
            [vec![b'x'; 3 << 20], b"\n".to_vec(), line("192.0.2.1").into_bytes()].concat(),
            "192.0.2.1\n",
        ),
    ];
    for (number, (options, bytes, expected)) in rows.iter().enumerate() {
        let log = work.file("log", bytes);
        let arguments = [*options, &["-o", "id", log.to_str().unwrap(), "from <ADDR>$"]].concat();
        let output = regex(&arguments);
        assert_eq!(stdout(&output), *expected, "row {number}: {}", stderr(&output));
        assert_eq!(output.status.code(), Some(0), "row {number}");
    }
}

/// A look-ahead that reads to the end of the line wherever it is tried, and its kind: a line cost
/// minutes.
#[test]
fn a_hostile_line_costs_a_bounded_time() {
    let work = common::Dir::new("bad-time");
    let tail = "a".repeat(200_000);
    let log = work.file("log", format!("{STAMP} {tail}\n{STAMP} from 192.0.2.1\n"));
    let log = log.to_str().unwrap();
    for (expression, gives_up) in [
        (r"(?=(a+)+b)<HOST>", true),
        (r"(a+)+$<HOST>", true),
        (r"(\w+)\1+ from <HOST>", false),
        (r"(?=[a ]*from )<HOST>", true),
        (r"^(\w+\s?)*(?=!)! <HOST>$", false),
        (r"(?:a?){30}(?:a?){30}b<HOST>", false),
    ] {
        let output = regex(&["-o", "id", log, expression]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{expression}: {said}");
        assert_eq!(said.contains("ran out of steps"), gives_up, "{expression}: {said}");
    }
}

/// The classes of an expression are larger beyond ASCII. Where they are too large for the engine,
/// a line with one odd letter must not slip by in silence.
#[test]
fn an_odd_letter_does_not_hide_a_line_in_silence() {
    let expression = format!("{} from <ADDR>$", r"(?:\w{1,200}){12}");
    let plain =
        regex(&["-o", "id", &format!("{STAMP} aaaaaaaaaaaaaa from 192.0.2.1"), &expression]);
    assert_eq!(stdout(&plain), "192.0.2.1\n", "{}", stderr(&plain));
    let odd =
        regex(&["-o", "id", &format!("{STAMP} aaaaaaaaaaaaa\u{e9} from 192.0.2.1"), &expression]);
    let told = stdout(&odd) == "192.0.2.1\n" || stderr(&odd).contains("ran out of steps");
    assert!(told, "{}", stderr(&odd));
}

#[test]
fn filters_that_cannot_be_used_are_named() {
    let work = common::Dir::new("bad-filters");
    let nested = "(".repeat(5000);
    let rows: &[(&str, &str)] = &[
        ("failregex = (<HOST>", "filter.conf:2: failregex cannot be read: a parenthesis"),
        ("failregex = a <HOST> (<HOST>", "only one <HOST>"),
        ("failregex = <HOST>**", "behind '<HOST>*'"),
        (&format!("failregex = <HOST>{nested}"), "nested more than"),
        ("failregex = ^ nobody$", "filter.conf:2: failregex names nobody"),
        ("ignoreregex = x", "has no failregex"),
        ("failregex = <a> <HOST>\na = <b>\nb = <a>", "contains itself through <"),
        ("failregex = <HOST>\nfailregex = <ADDR>", "stands twice"),
        ("failregex = <HOST>\nmaxlines = abc", "'maxlines = abc' is not a number"),
        ("failregex = <HOST>\ndatepattern = (((", "filter.conf:3: datepattern"),
    ];
    for (text, part) in rows {
        let filter = work.file("filter.conf", format!("[Definition]\n{text}\n"));
        let output = regex(&["a line", filter.to_str().unwrap()]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{text}: {said}");
        assert!(said.contains(part), "{text}: {said}");
        assert!(!said.contains("panicked"), "{text}: {said}");
    }
    let binary = work.file("filter.conf", (0..=255).collect::<Vec<u8>>());
    assert_eq!(regex(&["a line", binary.to_str().unwrap()]).status.code(), Some(78));
}

/// A buffer of a billion lines is none that anybody means.
#[test]
fn a_huge_maxlines_is_cut_and_mentioned() {
    let work = common::Dir::new("bad-maxlines");
    let text = "[Definition]\nfailregex = ^ from <HOST>$\nmaxlines = 4000000000\n";
    let filter = work.file("filter.conf", text);
    let log = work.file("log", format!("{STAMP} from 192.0.2.1\n").repeat(3));
    let output = regex(&["-o", "id", log.to_str().unwrap(), filter.to_str().unwrap()]);
    assert_eq!(stdout(&output), "192.0.2.1\n".repeat(3));
    assert!(stderr(&output).contains("filter.conf:3: maxlines is larger"), "{}", stderr(&output));
}

#[test]
fn many_failregexes_are_no_trouble() {
    let work = common::Dir::new("bad-many");
    let all: String = (0..500).map(|n| format!("  ^ word{n} .* from <HOST>$\n")).collect();
    let filter = work.file("filter.conf", format!("[Definition]\nfailregex =\n{all}"));
    let log = work.file("log", format!("{STAMP} word499 x from 192.0.2.1\n").repeat(100));
    let output = regex(&["-o", "json", log.to_str().unwrap(), filter.to_str().unwrap()]);
    assert_eq!(stdout(&output).matches("\"regex\": 500").count(), 100, "{}", stderr(&output));
}

#[cfg(unix)]
#[test]
fn special_files_end_or_are_refused() {
    for (log, code) in [("/dev/null", 0), ("/", 66), ("/proc/self/status", 0)] {
        if std::path::Path::new(log).exists() {
            let output = regex(&[log, "<HOST>"]);
            assert_eq!(output.status.code(), Some(code), "{log}: {}", stderr(&output));
        }
    }
    for filter in ["/", "/dev/null", "/dev/zero"] {
        let output = regex(&["a line", filter]);
        assert_eq!(output.status.code(), Some(66), "{filter}: {}", stderr(&output));
        let same = format!("did you mean '{filter}'");
        assert!(!stderr(&output).contains(&same), "{}", stderr(&output));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for form in [&[][..], &["-o", "row"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_sentryban-regex"))
            .args(form)
            .args([&format!("{STAMP} from 192.0.2.1"), "from <HOST>$"])
            .stdout(full.try_clone().unwrap())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
        assert!(stderr(&output).contains("cannot write"), "{}", stderr(&output));
    }
}
