//! Logs are followed for jails: real files, the kernel's real wake-ups, real threads.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/follow.rs"]
mod follow;

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    sync::{Arc, Mutex, mpsc},
};

use common::Dir;
use follow::{Ear, files, hosts, jail, lines};
use sentryban::{
    daemon::reader::{Log, Origin, Reader, Report, What},
    time::{Timestamp, now},
};

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn two_jails_read_one_file_and_go_on_after_a_restart() {
    let dir = Dir::new("reader");
    let log = dir.file("log", lines("a", 10, 0..3) + &lines("b", 10, 3..5));
    let start = |ear: &Ear, stored: Vec<_>| {
        let mut reader = Reader::new(ear.output());
        for name in ["a", "b"] {
            let mut jail = jail(name, name, files(&[text(&log)]));
            jail.stored.clone_from(&stored);
            reader.follow(jail).unwrap();
        }
        reader
    };
    let ear = Ear::default();
    let reader = start(&ear, Vec::new());
    ear.expect("a", 3);
    ear.expect("b", 2);
    append(&log, &(lines("a", 0, 5..6) + &lines("b", 0, 6..7)));
    ear.expect("a", 4);
    ear.expect("b", 3);
    reader.stop();
    // While it is off, the log is written and rotated.
    append(&log, &lines("a", 0, 7..8));
    fs::rename(&log, dir.path().join("log.1")).unwrap();
    append(&log, &lines("b", 0, 8..9));
    let again = Ear::default();
    let reader = start(&again, ear.positions());
    again.expect("a", 1);
    again.expect("b", 1);
    append(&log, &lines("a", 0, 9..10));
    again.expect("a", 2);
    reader.stop();
    assert_eq!([ear.hosts("a"), again.hosts("a")].concat(), {
        let mut all = hosts(0..3);
        all.extend([hosts(5..6), hosts(7..8), hosts(9..10)].concat());
        all
    });
}

#[test]
fn a_lone_line_is_read_by_whoever_hears_of_it() {
    let dir = Dir::new("reader");
    let log = dir.file("log", lines("a", 10, 0..1));
    let ear = Ear::default();
    let readers = Arc::new(Mutex::new(Vec::new()));
    let output = {
        let (hear, readers) = (ear.output(), Arc::clone(&readers));
        Arc::new(move |report| {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            readers.lock().unwrap().push(thread);
            hear(report)
        })
    };
    let mut reader = Reader::new(output);
    reader.follow(jail("a", "a", files(&[text(&log)]))).unwrap();
    ear.expect("a", 1);
    // The thread of the files may be looking at them just then: it reads the line in that case.
    let mut count = 1;
    while readers.lock().unwrap().iter().all(|thread| thread == "files") {
        assert!(count < 1000, "always the thread of the files");
        // Lone is what comes some time behind the line before.
        std::thread::sleep(std::time::Duration::from_millis(10));
        append(&log, &lines("a", 0, count..count + 1));
        count += 1;
        ear.expect("a", count as usize);
    }
    // What a glance does not see to the end of, the thread does: many lines, half a line, the end of
    // which comes later, and another file.
    append(&log, &lines("a", 0, count..count + 3000));
    ear.expect("a", count as usize + 3000);
    count += 3000;
    let line = lines("a", 0, count..count + 1);
    let (half, rest) = line.split_at(line.len() / 2);
    append(&log, half);
    append(&log, rest);
    ear.expect("a", count as usize + 1);
    count += 1;
    append(&log, &lines("a", 0, count..count + 1));
    fs::rename(&log, dir.path().join("log.1")).unwrap();
    append(&log, &lines("a", 0, count + 1..count + 2));
    ear.expect("a", count as usize + 2);
    reader.stop();
    assert_eq!(ear.hosts("a"), hosts(0..count + 2));
}

#[test]
fn a_missing_file_is_waited_for_and_rotation_is_followed() {
    let dir = Dir::new("reader");
    let log = dir.path().join("log");
    let ear = Ear::default();
    let mut reader = Reader::new(ear.output());
    reader.follow(jail("a", "a", files(&[text(&log)]))).unwrap();
    ear.expect_notice(|what| *what == What::Missing);
    append(&log, &lines("a", 0, 0..2));
    ear.expect("a", 2);
    append(&log, &lines("a", 0, 2..3));
    fs::rename(&log, dir.path().join("log.1")).unwrap();
    append(&log, &lines("a", 0, 3..4));
    ear.expect("a", 4);
    ear.expect_notice(|what| *what == What::Rotated);
    fs::copy(&log, dir.path().join("log.2")).unwrap();
    fs::write(&log, lines("a", 0, 4..9)).unwrap();
    ear.expect("a", 9);
    ear.expect_notice(|what| *what == What::Truncated);
    fs::remove_file(&log).unwrap();
    append(&log, &lines("a", 0, 9..10));
    ear.expect("a", 10);
    reader.forget("a");
    ear.expect_notice(|what| *what == What::Removed);
    reader.stop();
    assert_eq!(ear.hosts("a"), hosts(0..10));
    assert!(ear.notices().iter().any(|text| text.starts_with("Added logfile: '")));
}

/// In a stream of lines nobody looks after each of them whether the path still leads to the file.
#[test]
fn a_rotation_in_a_stream_of_lines_is_followed_even_if_nothing_more_comes() {
    let dir = Dir::new("reader");
    let log = dir.path().join("log");
    append(&log, "");
    let ear = Ear::default();
    let mut reader = Reader::new(ear.output());
    reader.follow(jail("a", "a", files(&[text(&log)]))).unwrap();
    for turn in 0..3 {
        for at in turn * 80..turn * 80 + 80 {
            append(&log, &lines("a", 0, at..at + 1));
            // Each of these is read by itself.
            if at % 8 == 0 {
                ear.expect("a", at as usize + 1);
            }
        }
        fs::rename(&log, dir.path().join(format!("log.{}", 3 - turn))).unwrap();
        append(&log, "");
        ear.expect_notices(turn as usize + 1, |what| *what == What::Rotated);
    }
    ear.expect("a", 240);
    reader.stop();
    assert_eq!(ear.hosts("a"), hosts(0..240));
}

#[test]
fn matches_of_a_glob_may_come_later() {
    let dir = Dir::new("reader");
    let glob = dir.path().join("*/*.log*");
    let ear = Ear::default();
    let mut reader = Reader::new(ear.output());
    reader.follow(jail("a", "a", files(&[text(&glob)]))).unwrap();
    ear.expect_notice(|what| *what == What::NoMatch);
    fs::create_dir(dir.path().join("one")).unwrap();
    let log = dir.path().join("one/x.log");
    append(&log, &lines("a", 0, 0..3));
    ear.expect("a", 3);
    // What it is rotated to matches the glob as well; its lines are not read again.
    fs::rename(&log, dir.path().join("one/x.log.1")).unwrap();
    append(&log, &lines("a", 0, 3..4));
    append(&dir.path().join("one/y.log"), &lines("a", 0, 4..5));
    ear.expect("a", 5);
    reader.rescan();
    append(&log, &lines("a", 0, 5..6));
    ear.expect("a", 6);
    reader.stop();
}

#[test]
fn a_jail_that_comes_later_catches_up_by_itself() {
    let dir = Dir::new("reader");
    let old = lines("a", 7200, 0..2000) + &lines("b", 7200, 0..2000);
    let log = dir.file("log", old + &lines("b", 300, 0..3) + &lines("a", 5, 0..2));
    let ear = Ear::default();
    let mut reader = Reader::new(ear.output());
    reader.follow(jail("a", "a", files(&[text(&log)]))).unwrap();
    ear.expect("a", 2);
    reader.follow(jail("b", "b", files(&[text(&log)]))).unwrap();
    append(&log, &(lines("a", 0, 2..4) + &lines("b", 0, 3..5)));
    ear.expect("a", 4);
    ear.expect("b", 5);
    append(&log, &(lines("a", 0, 4..5) + &lines("b", 0, 5..6)));
    ear.expect("b", 6);
    ear.expect("a", 5);
    assert!(ear.is_catching_up());
    reader.stop();
    assert_eq!((ear.hosts("a"), ear.hosts("b")), (hosts(0..5), hosts(0..6)));
}

#[test]
fn a_jail_that_has_slept_reads_what_it_missed() {
    let dir = Dir::new("reader");
    let log = dir.file("log", "");
    let ear = Ear::default();
    let mut reader = Reader::new(ear.output());
    for name in ["a", "b"] {
        reader.follow(jail(name, name, files(&[text(&log)]))).unwrap();
    }
    append(&log, &(lines("a", 0, 0..1) + &lines("b", 0, 0..1)));
    ear.expect("a", 1);
    ear.expect("b", 1);
    reader.pause("b", true);
    append(&log, &(lines("b", 0, 1..3) + &lines("a", 0, 1..2)));
    ear.expect("a", 2);
    assert_eq!(ear.hosts("b"), hosts(0..1));
    reader.pause("b", false);
    ear.expect("b", 3);
    append(&log, &(lines("b", 0, 3..4) + &lines("a", 0, 2..3)));
    ear.expect("b", 4);
    ear.expect("a", 3);
    reader.stop();
}

/// What was stored of it may be older than what has been handed out.
#[test]
fn a_log_that_is_taken_out_and_put_in_again_is_read_on() {
    let dir = Dir::new("reader");
    let log = dir.file("log", lines("a", 10, 0..3));
    let ear = Ear::default();
    let mut reader = Reader::new(ear.output());
    let first = reader.follow(jail("a", "a", files(&[text(&log)]))).unwrap();
    ear.expect("a", 3);
    reader.remove_log("a", text(&log));
    ear.expect_notice(|what| *what == What::Removed);
    reader.add_log("a", Log { glob: text(&log).to_owned(), from_end: false });
    append(&log, &lines("a", 0, 3..4));
    ear.expect("a", 4);
    let elsewhere = dir.file("elsewhere", lines("a", 10, 4..5));
    reader.follow(jail("a", "a", files(&[text(&elsewhere)]))).unwrap();
    ear.expect("a", 5);
    let same = reader.follow(jail("a", "a", files(&[text(&log)]))).unwrap();
    append(&log, &lines("a", 0, 5..6));
    ear.expect("a", 6);
    // A jail that begins anew begins where it is told.
    reader.forget("a");
    let other = reader.follow(jail("a", "a", files(&[text(&log)]))).unwrap();
    ear.expect("a", 11);
    reader.stop();
    assert!(first == same && same != other);
}

#[test]
fn polling_asks_nothing_of_the_kernel() {
    let dir = Dir::new("reader");
    let log = dir.path().join("log");
    let ear = Ear::default();
    let mut reader = Reader::new(ear.output());
    let logs = vec![Log { glob: text(&log).to_owned(), from_end: false }];
    reader.follow(jail("a", "a", Origin::Files { logs, polling: true })).unwrap();
    append(&log, &lines("a", 0, 0..1));
    ear.expect("a", 1);
    append(&log, &lines("a", 0, 1..2));
    ear.expect("a", 2);
    reader.stop();
}

#[test]
fn from_the_end_only_what_is_new_counts() {
    let dir = Dir::new("reader");
    let log = dir.file("log", lines("a", 0, 0..5));
    let ear = Ear::default();
    let mut reader = Reader::new(ear.output());
    let logs = vec![Log { glob: text(&log).to_owned(), from_end: true }];
    reader.follow(jail("a", "a", Origin::Files { logs, polling: false })).unwrap();
    ear.expect_notice(|what| matches!(what, What::Added { offset, .. } if *offset > 0));
    append(&log, &lines("a", 0, 5..6));
    ear.expect("a", 1);
    reader.stop();
    assert_eq!(ear.hosts("a"), hosts(5..6));
}

#[test]
fn old_lines_are_left_out_at_first_and_odd_ones_are_news_later() {
    let dir = Dir::new("reader");
    let log = dir.file("log", lines("a", 700, 0..3) + &lines("a", 500, 3..4));
    let ear = Ear::default();
    let present = Arc::new(Mutex::new(now()));
    let clock = Arc::clone(&present);
    let clock = Arc::new(move || -> Timestamp { *clock.lock().unwrap() });
    let mut reader = Reader::with_clock(ear.output(), clock);
    reader.follow(jail("a", "a", files(&[text(&log)]))).unwrap();
    ear.expect("a", 1);
    assert_eq!(ear.hosts("a"), hosts(3..4));
    // Orders are obeyed between two rounds of reading, so the one that found it has met the end when
    // this is told. Lines that come before that are not news.
    reader.follow(jail("b", "b", files(&[text(&dir.path().join("missing"))]))).unwrap();
    ear.expect_notice(|what| *what == What::Missing);
    append(&log, &lines("a", 0, 4..5));
    ear.expect("a", 2);
    append(&log, &lines("a", 7200, 5..7));
    ear.expect("a", 4);
    ear.expect_notice(|what| matches!(what, What::TimeOff { behind_s: 7100..7300, .. }));
    reader.stop();
    let times = ear.times("a");
    assert_eq!(times[2..], vec![*present.lock().unwrap(); 2]);
    assert_eq!(ear.notices().iter().filter(|text| text.contains("timezone")).count(), 1);
}

#[test]
fn a_full_inbox_makes_the_reader_wait() {
    let dir = Dir::new("reader");
    let log = dir.file("log", "");
    let (sender, inbox) = mpsc::sync_channel(0);
    let output = Arc::new(move |report| sender.send(report).is_ok());
    let mut reader = Reader::new(output);
    reader.follow(jail("a", "a", files(&[text(&log)]))).unwrap();
    let many = 20_000;
    append(&log, &lines("a", 0, 0..many));
    let mut found = 0;
    let mut largest = 0;
    while found < many as usize {
        if let Report::Batch(batch) = inbox.recv().unwrap() {
            let here: usize = batch.found.iter().map(|(_, found)| found.len()).sum();
            (found, largest) = (found + here, largest.max(here));
        }
    }
    assert_eq!(found, many as usize);
    assert!(largest < many as usize, "one batch of {largest}");
    // Who closes the inbox ends the reader.
    drop(inbox);
    append(&log, &lines("a", 0, 0..1));
    reader.stop();
}

#[test]
fn other_encodings_are_read_as_text() {
    let dir = Dir::new("reader");
    let wide = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let log = dir.file("log", [vec![0xff, 0xfe], wide(&lines("\u{e4}", 0, 0..300))].concat());
    let ear = Ear::default();
    let mut reader = Reader::new(ear.output());
    let mut wanted = jail("a", "\u{e4}", files(&[text(&log)]));
    wanted.encoding = sentryban::source::Encoding::parse("utf-16le").unwrap();
    reader.follow(wanted).unwrap();
    ear.expect("a", 300);
    let late = wide(&lines("\u{e4}", 0, 300..301));
    let mut file = OpenOptions::new().append(true).open(&log).unwrap();
    // A newline may be written by halves, too.
    file.write_all(&late[..late.len() - 1]).unwrap();
    file.write_all(&late[late.len() - 1..]).unwrap();
    ear.expect("a", 301);
    reader.stop();
}
