//! Option lists beside fail2ban's own functions, and small parsers under arbitrary text.
#![allow(clippy::unwrap_used)]

mod common;

use std::{collections::HashSet, path::Path};

use proptest::prelude::*;
use sentryban::{
    config::{
        options, shell, tags,
        text::{Options, Text},
        words,
    },
    place::Place,
};
use serde_json::{Value, json};

use common::Random;

fn generated(random: &mut Random) -> String {
    const WORDS: &[&str] = &["sshd", "a-b", "x.y", "%x", "<a>", "\"q\"", "a=b", "]", "é"];
    const NAMES: &[&str] = &["mode", "a.b", "x-y", "é", "bad name", "n?f", ""];
    const VALUES: &[&str] =
        &["", "1", "a b", "\"q,]\"", "'s \" s'", "\"open", "x\ny", "<t>", "a\"b", " pad "];
    let mut text = String::new();
    for _ in 0..1 + random.below(3) {
        text.push_str(random.pick(WORDS));
        for _ in 0..random.below(3) {
            text.push_str(random.pick(&["[", "[", "[", "[ ", "\n["]));
            for _ in 0..random.below(4) {
                let sane = random.below(4) > 0;
                let name = if sane { "opt" } else { random.pick(NAMES) };
                let end = random.pick(&[",", ",", ", ", ",\n  ", "", " ,"]);
                text.push_str(&format!("{name}={}{end}", random.pick(VALUES)));
            }
            text.push_str(random.pick(&["]", "]", "]", "] ", ""]));
        }
        text.push_str(random.pick(&[" ", "\n", "  \n ", "\t"]));
    }
    text
}

#[test]
fn lists_are_taken_apart_as_fail2ban_does() {
    let Some(root) = common::fail2ban_root() else { return common::skip("no fail2ban here") };
    if !common::has_python() {
        return common::skip("no python3 here");
    }
    let mut random = Random(5);
    let texts: Vec<String> = (0..4000).map(|_| generated(&mut random)).collect();
    let mut command = common::python(&root);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py/read_options.py"));
    let answers = common::answer(command, &json!(texts).to_string());
    let theirs: Vec<Value> = serde_json::from_str(&answers).unwrap();
    let (mut lists, mut splits) = (0, 0);
    for (text, theirs) in texts.iter().zip(theirs) {
        let one = options::parse(text).ok().map(|(name, options)| json!([name, options]));
        // A blank between name and bracket is forgiven here.
        if theirs["one"][0].as_str().is_none_or(|name| name.trim() == name) {
            assert_eq!(json!(one), theirs["one"], "{text:?}");
            lists += usize::from(one.is_some());
        }
        // Where an entry is no good list anyhow, it does not matter where it is cut.
        let split = options::split(&Text::new(text.as_str(), Place::command_line()));
        if split.iter().all(|entry| options::parse(&entry.value).is_ok()) {
            let split: Vec<String> = split.into_iter().map(|entry| entry.value).collect();
            let theirs = theirs["split"].as_array().unwrap();
            let theirs: Vec<&str> = theirs.iter().map(|e| e.as_str().unwrap().trim()).collect();
            assert_eq!(split, theirs, "{text:?}");
            splits += 1;
        }
    }
    assert!(lists > 500 && splits > 500, "the generator is one-sided: {lists} {splits}");
}

#[test]
fn spans_are_read_as_fail2ban_reads_them() {
    let Some(root) = common::fail2ban_root() else { return common::skip("no fail2ban here") };
    if !common::has_python() {
        return common::skip("no python3 here");
    }
    const NUMBERS: &[&str] = &["0", "1", "2", "10", "30", "365", "1.5", "0.25"];
    const UNITS: &[&str] = &[
        "s", "sec", "seconds", "m", "min", "Minutes", "h", "hou", "hours", "d", "days", "w",
        "weeks", "mo", "months", "y", "years", "x", " d", " mo", "",
    ];
    let mut random = Random(3);
    let texts: Vec<String> = (0..3000)
        .map(|_| {
            let mut text = String::from(random.pick(&["", "", "", "-", "("]));
            for _ in 0..1 + random.below(3) {
                text.push_str(random.pick(NUMBERS));
                text.push_str(random.pick(UNITS));
                text.push_str(random.pick(&["", " ", " ", "+", "-", "*", "/", " + ", ") ", "//"]));
            }
            text
        })
        .collect();
    let mut command = common::python(&root);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py/read_spans.py"));
    let answers = common::answer(command, &json!(texts).to_string());
    let theirs: Vec<Option<String>> = serde_json::from_str(&answers).unwrap();
    let mut good = 0;
    for (text, theirs) in texts.iter().zip(theirs) {
        // What makes no sense there may make sense here, not the other way round.
        if let Some(theirs) = theirs {
            let theirs: f64 = theirs.parse().unwrap();
            assert_eq!(words::seconds(text).map(words::Number::as_f64), Ok(theirs), "{text:?}");
            good += 1;
        }
    }
    assert!(good > 500, "the generator is one-sided: {good}");
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "[ \\[\\]=,'\"<>/a-c0-9.%()\\\\\n\u{e4}+*-]{0,80}") {
        let value = Text::new(text.as_str(), Place::command_line());
        let _ = options::parse(&text);
        let _ = words::seconds(&text);
        let _ = shell::words(&text);
        for entry in options::split(&value) {
            prop_assert!(!entry.value.is_empty());
        }
        let values: Options = [("a", text.as_str()), ("b", "<a>")]
            .map(|(name, text)| (name.to_owned(), Text::new(text, Place::command_line())))
            .into();
        let _ = tags::substitute(&values, &HashSet::new(), |_| Ok(None));
    }
}
