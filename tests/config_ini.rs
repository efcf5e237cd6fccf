//! The ini dialect beside Python's own parser, over generated files.
#![allow(clippy::unwrap_used)]

mod common;

use std::{path::Path, process::Command};

use proptest::prelude::*;
use sentryban::config::{
    ini::{self, Ini},
    text::Options,
};
use serde_json::{Value, json};

use common::Random;

/// One file of odd and even lines.
fn generated(random: &mut Random) -> String {
    const INDENTS: &[&str] =
        &["", "", "", " ", "\t", "    ", "  \t", "\u{a0}", "\u{2003} ", "\x1f"];
    const NAMES: &[&str] = &[
        "name",
        "Name",
        "failregex",
        "a b",
        "Ünlü",
        "x.y",
        "opt?family=inet6",
        "",
        "__name__",
        "known/x",
        "[odd",
        "ſ",
        "İ",
    ];
    const VALUES: &[&str] = &[
        "",
        "value",
        "two words",
        "a = b",
        "c: d",
        "^x;y$",
        "x ; comment",
        "x\t;",
        ";x",
        "# no",
        "x # stays",
        "[bracket]",
        "%(ref)s",
        "ü\u{2028}z",
        "\u{1f600}",
        "a;b ;c",
        "=",
        "\u{85}tail",
        "\x0cform",
        "  ",
        "\x1c",
    ];
    const DELIMITERS: &[&str] = &["=", " = ", ":", " : ", "\t=\t", "==", " ", ""];
    const SECTIONS: &[&str] = &[
        "[DEFAULT]",
        "[Definition]",
        "[sshd]",
        "[s]] junk",
        "[]",
        "[a][b]",
        "[ x ]",
        "[Init?f=6]",
        "[default]",
        "[s",
        "[a];b",
        "[a] ;b",
    ];
    const ENDS: &[&str] = &["\n", "\n", "\n", "\n", "\r\n", "\r"];
    let mut text = String::new();
    // Most files begin soundly, or every second would end in the same error.
    if random.below(10) > 0 {
        text.push_str("[first]\n");
    }
    let wild = random.below(3) == 0;
    for number in 0..random.below(14) {
        let indent = random.pick(INDENTS);
        let line = match random.below(12) {
            0 => String::new(),
            1 => indent.to_owned(),
            2 => format!("{indent}{}{}", random.pick(&["#", ";"]), random.pick(VALUES)),
            3 if wild => format!("{indent}{}", random.pick(SECTIONS)),
            3 => format!("[s{number}]"),
            4..=6 => format!("{indent} {}", random.pick(VALUES)),
            _ if wild => {
                let (name, delimiter) = (random.pick(NAMES), random.pick(DELIMITERS));
                format!("{indent}{name}{delimiter}{}", random.pick(VALUES))
            }
            _ => format!("O{number}{}{}", random.pick(&["=", " = ", ":"]), random.pick(VALUES)),
        };
        text.push_str(&line);
        text.push_str(if wild { random.pick(ENDS) } else { "\n" });
    }
    text
}

fn pairs(options: &Options) -> Value {
    options.iter().map(|(name, text)| json!([name, text.as_str()])).collect()
}

fn ours(text: &str) -> Value {
    let (Ini { defaults, sections }, findings) = ini::parse(text.as_bytes(), &"generated".into());
    if let Some(finding) = findings.first() {
        return json!({"error": finding.to_string()});
    }
    let sections: Value =
        sections.iter().map(|(name, section)| json!([name, pairs(&section.options)])).collect();
    json!({"defaults": pairs(&defaults), "sections": sections})
}

#[test]
fn generated_files_read_as_configparser_reads_them() {
    if !common::has_python() {
        return common::skip("no python3 here");
    }
    let mut random = Random(7);
    let texts: Vec<String> = (0..6000).map(|_| generated(&mut random)).collect();
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py/read_ini.py"));
    let answers = common::answer(command, &json!(texts).to_string());
    let theirs: Vec<Value> = serde_json::from_str(&answers).unwrap();
    let (mut good, mut bad) = (0, 0);
    for (text, theirs) in texts.iter().zip(theirs) {
        let ours = ours(text);
        match (ours.get("error"), theirs.get("error")) {
            (Some(_), Some(_)) => bad += 1,
            _ => {
                assert_eq!(ours, theirs, "{text:?}");
                good += 1;
            }
        }
    }
    assert!(good > 1500 && bad > 500, "the generator is one-sided: {good} good, {bad} bad");
}

#[test]
fn every_line_keeps_its_place() {
    let text =
        "# top\n[Definition]\r\nfailregex = ^one$\n  # between\n\n            ^two$\n[x]\ny=z\n";
    let (ini, findings) = ini::parse(text.as_bytes(), &"f.conf".into());
    assert!(findings.is_empty());
    let failregex = ini.sections["Definition"].options["failregex"].lines();
    let lines: Vec<_> = failregex.map(|line| format!("{} {}", line.at, line.value)).collect();
    assert_eq!(lines, ["f.conf:3 ^one$", "f.conf:5 ", "f.conf:6 ^two$"]);
    assert_eq!(ini.sections["x"].at.to_string(), "f.conf:7");
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let (ini, findings) = ini::parse("\u{feff}[a]\nb=c\n".as_bytes(), &"f".into());
    assert!(findings.is_empty());
    assert_eq!(ini.sections["a"].options["b"].as_str(), "c");
}

/// A value of many lines must not be walked again for each.
#[test]
fn a_long_value_is_read_in_linear_time() {
    let text = format!("[a]\nb =\n{}", "    ^line$\n".repeat(300_000));
    let (ini, findings) = ini::parse(text.as_bytes(), &"f".into());
    assert!(findings.is_empty());
    assert_eq!(ini.sections["a"].options["b"].lines().count(), 300_001);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (ini, findings) = ini::parse(&bytes, &"f".into());
        prop_assert!(ini.sections.len() <= bytes.len());
        for finding in findings {
            prop_assert!(!finding.to_string().is_empty());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[ \\[\\]=:;#%()a-c<>\n\r\t\u{e4}\u{2028}]{0,120}") {
        let (ini, _) = ini::parse(text.as_bytes(), &"f".into());
        for options in ini.sections.values().map(|section| &section.options).chain([&ini.defaults]) {
            for value in options.values() {
                prop_assert_eq!(value.lines().count(), value.as_str().split('\n').count());
            }
        }
    }
}
