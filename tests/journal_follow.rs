//! The journal is followed for jails, through a `journalctl` that plays one from a file.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/follow.rs"]
mod follow;

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use common::Dir;
use follow::{Ear, hosts, jail};
use sentryban::{
    daemon::reader::{Follow, Origin, Reader, What},
    source::JournalOptions,
    time::now,
};

/// Plays the lines of a file: the cursor of its line N is `cN`.
const JOURNALCTL: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$@" >> "$here/calls"
[ -e "$here/broken" ] && { echo "Failed to open: it is broken" >&2; exit 1; }
from=1
for word in "$@"; do
    case $word in --after-cursor=c*) from=$((${word#--after-cursor=c} + 1)) ;; esac
    case $word in --after-cursor=lost) echo "Failed to seek to cursor" >&2; exit 1 ;; esac
done
echo $$ > "$here/pid"
exec tail -n +$from -f "$here/journal"
"#;

struct Lab {
    dir: PathBuf,
    entries: u32,
}

impl Lab {
    fn entry(&mut self, unit: &str, age: i64, word: &str, number: u32) -> String {
        self.entries += 1;
        let at = now().plus_secs(-age).micros();
        let host = hosts(number..number + 1).remove(0);
        // The text is `gate IDENT: MESSAGE`, so the identifier is the filter's word.
        format!(
            "{{\"__CURSOR\":\"c{}\",\"__REALTIME_TIMESTAMP\":\"{at}\",\"_SYSTEMD_UNIT\":\"{unit}\",\
             \"MESSAGE\":\" {word} from {host}\"}}\n",
            self.entries
        )
    }

    fn write(&mut self, unit: &str, age: i64, word: &str, numbers: std::ops::Range<u32>) {
        let text = numbers.fold(String::new(), |mut text, number| {
            let _ = write!(text, "{}", self.entry(unit, age, word, number));
            text
        });
        let path = self.dir.join("journal");
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.dir.join("calls")).unwrap_or_default()
    }
}

/// Runs a test of this file again, with the false journalctl in front of all others; or, within
/// that run, gives it its directory.
fn lab(test: &str) -> Option<Lab> {
    if let Some(dir) = std::env::var_os("JOURNAL_LAB") {
        return Some(Lab { dir: PathBuf::from(dir), entries: 0 });
    }
    let dir = Dir::new("journal");
    let program = dir.file("journalctl", JOURNALCTL);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    dir.file("journal", "");
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    run(test, dir.path(), &path);
    None
}

fn run(test: &str, dir: &Path, path: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env("JOURNAL_LAB", dir).env("PATH", path);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn journal_jail(name: &str, matches: &[&str]) -> Follow {
    let matches = matches.iter().map(|one| (*one).to_owned()).collect();
    jail(name, name, Origin::Journal { options: JournalOptions::default(), matches })
}

#[test]
fn one_child_serves_all_jails_and_goes_on_at_the_cursor() {
    let Some(mut lab) = lab("one_child_serves_all_jails_and_goes_on_at_the_cursor") else { return };
    lab.write("a.service", 7200, "a", 90..95);
    lab.write("a.service", 60, "a", 0..2);
    lab.write("b.service", 60, "b", 0..3);
    lab.write("other.service", 60, "a", 70..75);
    let start = |ear: &Ear, stored: Vec<_>| {
        let mut reader = Reader::new(ear.output());
        for name in ["a", "b"] {
            let unit = format!("_SYSTEMD_UNIT={name}.service");
            let mut jail = journal_jail(name, &[&unit]);
            jail.stored.clone_from(&stored);
            reader.follow(jail).unwrap();
        }
        reader
    };
    let ear = Ear::default();
    let reader = start(&ear, Vec::new());
    ear.expect("a", 2);
    ear.expect("b", 3);
    lab.write("a.service", 0, "a", 2..3);
    ear.expect("a", 3);
    reader.stop();
    lab.write("b.service", 0, "b", 3..5);
    let again = Ear::default();
    let reader = start(&again, ear.positions());
    again.expect("b", 2);
    lab.write("a.service", 0, "a", 3..4);
    again.expect("a", 1);
    reader.stop();
    assert_eq!([ear.hosts("a"), again.hosts("a")].concat(), hosts(0..4));
    assert_eq!([ear.hosts("b"), again.hosts("b")].concat(), hosts(0..5));
    let calls = lab.calls();
    let call = calls.lines().last().unwrap();
    assert!(call.contains("--output=json") && call.contains("--follow --no-tail"), "{call}");
    assert!(call.contains("--after-cursor=c"), "{call}");
    assert!(call.ends_with("_SYSTEMD_UNIT=a.service + _SYSTEMD_UNIT=b.service"), "{call}");
}

#[test]
fn a_child_that_dies_is_started_again() {
    let Some(mut lab) = lab("a_child_that_dies_is_started_again") else { return };
    let ear = Ear::default();
    let mut reader = Reader::new(ear.output());
    reader.follow(journal_jail("a", &[])).unwrap();
    lab.write("a.service", 0, "a", 0..2);
    ear.expect("a", 2);
    let pid = fs::read_to_string(lab.dir.join("pid")).unwrap();
    lab.write("a.service", 0, "a", 2..3);
    ear.expect("a", 3);
    assert!(Command::new("kill").arg(pid.trim()).status().unwrap().success());
    ear.expect_notice(|what| matches!(what, What::Failed { why, .. } if why.contains("ended")));
    lab.write("a.service", 0, "a", 3..5);
    ear.expect("a", 5);
    reader.stop();
    assert_eq!(ear.hosts("a"), hosts(0..5));
}

#[test]
fn a_jail_that_comes_later_has_its_past_too() {
    let Some(mut lab) = lab("a_jail_that_comes_later_has_its_past_too") else { return };
    lab.write("a.service", 30, "a", 0..2);
    lab.write("a.service", 30, "b", 0..2);
    let ear = Ear::default();
    let mut reader = Reader::new(ear.output());
    reader.follow(journal_jail("a", &[])).unwrap();
    ear.expect("a", 2);
    reader.follow(journal_jail("b", &[])).unwrap();
    ear.expect("b", 2);
    reader.pause("a", true);
    lab.write("a.service", 0, "a", 2..4);
    lab.write("a.service", 0, "b", 2..3);
    ear.expect("b", 3);
    assert_eq!(ear.hosts("a"), hosts(0..2));
    reader.pause("a", false);
    ear.expect("a", 4);
    lab.write("a.service", 0, "b", 3..4);
    ear.expect("b", 4);
    reader.stop();
    assert_eq!((ear.hosts("a"), ear.hosts("b")), (hosts(0..4), hosts(0..4)));
}

#[test]
fn its_last_words_are_told_and_a_lost_cursor_is_replaced_by_the_time() {
    let Some(mut lab) = lab("its_last_words_are_told_and_a_lost_cursor_is_replaced_by_the_time")
    else {
        return;
    };
    lab.write("a.service", 30, "a", 0..2);
    let ear = Ear::default();
    let mut reader = Reader::new(ear.output());
    let mut jail = journal_jail("a", &[]);
    let lost = sentryban::source::Position::Journal("lost".to_owned(), now().plus_secs(-40));
    jail.stored = vec![("systemd-journal".into(), lost)];
    reader.follow(jail).unwrap();
    ear.expect_notice(|what| {
        matches!(what, What::Failed { why, .. } if why == "journalctl: Failed to seek to cursor")
    });
    ear.expect("a", 2);
    assert!(lab.calls().lines().last().unwrap().contains("--since=@"), "{}", lab.calls());
    reader.stop();
}

#[test]
fn without_journalctl_that_is_said() {
    let name = "without_journalctl_that_is_said";
    if std::env::var_os("JOURNAL_LAB").is_none() {
        let dir = Dir::new("journal");
        run(name, dir.path(), dir.path().to_str().unwrap());
        return;
    }
    let ear = Ear::default();
    let mut reader = Reader::new(ear.output());
    reader.follow(journal_jail("a", &[])).unwrap();
    ear.expect_notice(
        |what| matches!(what, What::Failed { why, .. } if why == "journalctl is not installed"),
    );
    assert!(ear.notices()[0].starts_with("Unable to read systemd-journal: journalctl is not"));
    reader.stop();
}
