//! The store by its public face: what is committed comes back, what is undone stays undone, what is
//! old goes. Crashes: `store_crash.rs`; full disks and damaged files: `store_faults.rs`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/store.rs"]
mod kit;

use std::sync::Arc;

use common::Dir;
use kit::*;
use sentryban::{
    store::{Counters, Entry, Health, Location, Notice, Options, Past, Store, UnbanWhy},
    ticket::{Ban, BanTime, Evidence, Id},
    time::Timestamp,
};

const MONTH_S: u64 = 2_592_000;

#[test]
fn what_is_committed_comes_back_after_a_restart() {
    let dir = Dir::new("store");
    let path = dir.path().join("deep/er/db.sqlite3");
    let evidence = Arc::new(Evidence {
        lines: vec!["a \u{1b}[31m\0 \"line\"".into()],
        fields: vec![("user".into(), "ro'ot".into())],
        regex: Some(2),
    });
    let permanent = Ban {
        id: Id::parse("2001:db8::/64"),
        from: Timestamp::from_micros(1_500_000_123_456),
        time: BanTime::Permanent,
        count: 3,
        failures: 7,
        restored: false,
        evidence: evidence.clone(),
    };
    let mut store = open(&path);
    assert_eq!(store.health(), Health::Good);
    let entries = [
        Entry::JailStart { jail: "sshd".into(), findtime_s: 600 },
        position("/var/log/auth.log", "17"),
        failure("sshd", "192.0.2.7", 900, "bad"),
        failure("sshd", "192.0.2.7", 900, "bad again"),
        failure("sshd", "bob", 901, "worse"),
        ban("sshd", "192.0.2.1", 1000, MONTH_S, 1),
        Entry::Ban { jail: "portsentry".into(), ban: permanent.clone(), ordered: true },
        Entry::Counters { jail: "sshd".into(), counters: Counters { failed: 3, banned: 1 } },
    ];
    store.commit(&entries, at(1000)).unwrap();
    let before = dump(&store);
    drop(store);
    for end in ["-wal", "-shm"] {
        let side = dir.path().join(format!("deep/er/db.sqlite3{end}"));
        assert!(!side.exists(), "{end} stays after a clean end");
    }

    let mut store = open(&path);
    assert_eq!(dump(&store), before);
    assert!(store.take_notices().is_empty());
    let mut bans = Vec::new();
    store.for_each_ban(|jail, ban, ordered| bans.push((jail.to_string(), ban, ordered))).unwrap();
    bans.sort_by(|a, b| a.0.cmp(&b.0));
    let restored = Ban { restored: true, evidence: Arc::default(), ..permanent };
    assert_eq!(bans[0], ("portsentry".into(), restored, true));
    assert_eq!(bans[1].1.until(), Some(at(1000 + 2_592_000)));
    let id = Id::parse("2001:db8::/64");
    assert_eq!(store.evidence("portsentry", &id).unwrap(), Some(evidence));
    let mut failures = Vec::new();
    store.for_each_failure("sshd", at(900), |ticket| failures.push(ticket)).unwrap();
    assert_eq!(failures.len(), 2);
    assert_eq!((failures[0].attempts, &failures[0].evidence), (2, &lines(&["bad again"]).into()));
    assert_eq!(store.for_each_failure("sshd", at(901), |_| ()).unwrap(), 1);
    assert_eq!(store.for_each_failure("nowhere", at(0), |_| ()).unwrap(), 0);
    assert_eq!(store.position("/var/log/auth.log").unwrap(), Some(b"17".to_vec()));
    let jails = store.jails().unwrap();
    let sshd = jails.iter().find(|row| &*row.jail == "sshd").unwrap();
    assert_eq!((sshd.findtime_s, sshd.current), (600, 1));
    assert_eq!(sshd.counters, Counters { failed: 3, banned: 1 });
}

#[test]
fn the_file_is_for_us_alone() {
    use std::os::unix::fs::PermissionsExt;

    let dir = Dir::new("store");
    let path = dir.path().join("db");
    let mut store = open(&path);
    store.commit(&[position("a", "b")], at(1)).unwrap();
    for end in ["", "-wal", "-shm"] {
        let side = dir.path().join(format!("db{end}"));
        let mode = std::fs::metadata(&side).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "db{end}");
    }
}

#[test]
fn the_lines_of_failures_become_the_evidence_of_the_ban() {
    let mut store = Store::open(&Location::Memory, Options::default(), at(0)).unwrap();
    let mut entries: Vec<Entry> = (0..15)
        .map(|number| failure("sshd", "192.0.2.1", 100 + number, &format!("line {number}")))
        .collect();
    entries.push(failure("sshd", "192.0.2.2", 100, "of somebody else"));
    entries.push(failure("recidive", "192.0.2.1", 100, "of another jail"));
    let last = Ban { evidence: lines(&["line 14"]), ..ban_of("192.0.2.1", 200, 600, 1) };
    entries.push(Entry::Ban { jail: "sshd".into(), ban: last, ordered: false });
    store.commit(&entries, at(200)).unwrap();

    let id = Id::parse("192.0.2.1");
    let evidence = store.evidence("sshd", &id).unwrap().unwrap();
    let newest: Vec<Arc<str>> = (5..15).map(|number| format!("line {number}").into()).collect();
    assert_eq!(evidence.lines, newest);
    assert_eq!(store.for_each_failure("sshd", at(0), |_| ()).unwrap(), 1);
    let last = store.last_failure("recidive", &id).unwrap().unwrap();
    assert_eq!(last.evidence, lines(&["of another jail"]).into());
    assert_eq!(store.last_failure("sshd", &id).unwrap(), None);

    // The next ban starts from nothing.
    let next = Ban { evidence: lines(&["own"]), ..ban_of("192.0.2.1", 900, 600, 2) };
    let next = Entry::Ban { jail: "sshd".into(), ban: next, ordered: false };
    store.commit(&[unban("sshd", "192.0.2.1", UnbanWhy::Lapsed), next], at(900)).unwrap();
    assert_eq!(store.evidence("sshd", &id).unwrap().unwrap(), lines(&["own"]));
    let merged = store.merged(Some("sshd"), &id, 4).unwrap();
    let expected = ["line 12", "line 13", "line 14", "own"].map(Arc::from);
    assert_eq!(merged.lines, expected);
    assert_eq!((merged.bans, merged.failures), (2, 10));
}

#[test]
fn an_ordered_unban_stays_and_starts_from_nothing() {
    let dir = Dir::new("store");
    let path = dir.path().join("db");
    let mut store = open(&path);
    let entries = [
        position("log", "1"),
        failure("sshd", "192.0.2.1", 99, "x"),
        ban("sshd", "192.0.2.1", 100, MONTH_S, 1),
        failure("sshd", "192.0.2.1", 101, "while banned"),
        failure("sshd", "192.0.2.2", 101, "of another"),
    ];
    store.commit(&entries, at(100)).unwrap();
    store.commit(&[unban("sshd", "192.0.2.1", UnbanWhy::Ordered)], at(105)).unwrap();
    drop(store);

    let mut store = open(&path);
    let id = Id::parse("192.0.2.1");
    assert!(banned(&store).is_empty());
    assert_eq!(store.for_each_failure("sshd", at(0), |_| ()).unwrap(), 1);
    assert_eq!(store.past(Some("sshd"), &id).unwrap(), None);
    assert_eq!(store.past(None, &id).unwrap(), None);
    let history = store.history(None, &id, 10).unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].end, Some((at(105), UnbanWhy::Ordered)));
    assert_eq!(history[0].evidence, lines(&["x"]));
    // Once more changes nothing, nor does one for somebody who was never banned.
    let before = dump(&store);
    let again = ["192.0.2.1", "192.0.2.99"].map(|id| unban("sshd", id, UnbanWhy::Ordered));
    store.commit(&again, at(106)).unwrap();
    assert_eq!(dump(&store).replace("[]", ""), before.replace("[]", ""));
}

#[test]
fn past_bans_are_counted_by_jail_and_in_all() {
    let mut store = Store::open(&Location::Memory, Options::default(), at(0)).unwrap();
    let id = Id::parse("192.0.2.1");
    let past = |count, last, seconds| {
        Some(Past { count, last: at(last), time: BanTime::Seconds(seconds) })
    };
    for (count, from) in [(1, 100), (2, 1000), (3, 5000)] {
        let seconds = 600 << count;
        store.commit(&[ban("sshd", "192.0.2.1", from, seconds, count)], at(from)).unwrap();
        assert_eq!(store.past(Some("sshd"), &id).unwrap(), past(count, from, seconds));
        let lapsed = unban("sshd", "192.0.2.1", UnbanWhy::Lapsed);
        store.commit(&[lapsed], at(from + 600)).unwrap();
        assert_eq!(store.past(Some("sshd"), &id).unwrap(), past(count, from, seconds));
    }
    store.commit(&[ban("recidive", "192.0.2.1", 200, 60, 4)], at(200)).unwrap();
    assert_eq!(store.past(None, &id).unwrap(), past(7, 5000, 4800));
    assert_eq!(store.past(Some("recidive"), &id).unwrap(), past(4, 200, 60));
    assert_eq!(store.past(Some("nginx"), &id).unwrap(), None);
    let forget = Entry::Forget { jail: "sshd".into(), id: id.clone() };
    store.commit(&[forget], at(6000)).unwrap();
    assert_eq!(store.past(None, &id).unwrap(), past(4, 200, 60));
    store.commit(&[Entry::UnbanAll { jail: "recidive".into() }], at(6000)).unwrap();
    assert_eq!(store.past(None, &id).unwrap(), None);
    assert!(banned(&store).is_empty());
    assert_eq!(store.history(None, &id, 10).unwrap().len(), 4);
    assert_eq!(store.history(Some("recidive"), &id, 10).unwrap().len(), 1);
}

#[test]
fn failures_of_one_second_keep_the_lines_of_each() {
    let mut store = Store::open(&Location::Memory, Options::default(), at(0)).unwrap();
    let id = Id::parse("192.0.2.1");
    let failure = |line: &str| Entry::Failure {
        jail: "sshd".into(),
        ticket: sentryban::ticket::Ticket {
            id: id.clone(),
            time: at(100),
            attempts: 1,
            evidence: lines(&[line]).into(),
        },
    };
    let entries = [failure("a"), failure("it's \"b\""), failure("c")];
    store.commit(&entries, at(100)).unwrap();
    store.commit(&[ban("sshd", "192.0.2.1", 100, 600, 1)], at(100)).unwrap();
    let evidence = store.evidence("sshd", &id).unwrap().unwrap();
    assert_eq!(evidence.lines, lines(&["a", "it's \"b\"", "c"]).lines);
}

#[test]
fn the_same_ban_again_changes_its_row_and_another_replaces_it() {
    let mut store = Store::open(&Location::Memory, Options::default(), at(0)).unwrap();
    let id = Id::parse("192.0.2.1");
    let first = Ban { evidence: lines(&["x"]), ..ban_of("192.0.2.1", 100, 600, 1) };
    let first = Entry::Ban { jail: "sshd".into(), ban: first, ordered: false };
    store.commit(&[first, ban("sshd", "192.0.2.1", 100, 700, 1)], at(100)).unwrap();
    assert_eq!(store.history(None, &id, 10).unwrap().len(), 1);
    assert_eq!(store.evidence("sshd", &id).unwrap().unwrap(), lines(&["x"]));
    let time = |store: &Store| store.past(Some("sshd"), &id).unwrap().unwrap().time;
    assert_eq!(time(&store), BanTime::Seconds(700));

    let longer = Entry::Prolong {
        jail: "sshd".into(),
        ban: ban_of("192.0.2.1", 150, 900, 2),
        ordered: false,
    };
    let nobody = Entry::Prolong {
        jail: "sshd".into(),
        ban: ban_of("192.0.2.9", 150, 900, 2),
        ordered: false,
    };
    store.commit(&[longer, nobody], at(150)).unwrap();
    assert_eq!(time(&store), BanTime::Seconds(900));
    assert_eq!(banned(&store), ["sshd 192.0.2.1"]);

    store.commit(&[ban("sshd", "192.0.2.1", 300, 60, 3)], at(300)).unwrap();
    let history = store.history(None, &id, 10).unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(history[0].end, None);
    assert_eq!(history[1].end, Some((at(300), UnbanWhy::Replaced)));
}

#[test]
fn a_jail_that_is_gone_leaves_history_only() {
    let mut store = Store::open(&Location::Memory, Options::default(), at(0)).unwrap();
    let entries = [
        ban("sshd", "192.0.2.1", 100, 600, 1),
        failure("sshd", "192.0.2.2", 100, "x"),
        ban("recidive", "192.0.2.1", 100, 600, 1),
        Entry::ForgetJail { jail: "sshd".into() },
    ];
    store.commit(&entries, at(100)).unwrap();
    assert_eq!(banned(&store), ["recidive 192.0.2.1"]);
    assert_eq!(store.for_each_failure("sshd", at(0), |_| ()).unwrap(), 0);
    assert!(store.past(Some("sshd"), &Id::parse("192.0.2.1")).unwrap().is_some());
}

#[test]
fn a_past_ban_of_another_program_is_taken_once() {
    let mut store = Store::open(&Location::Memory, Options::default(), at(0)).unwrap();
    let ban = ban_of("192.0.2.1", 100, 600, 2);
    let past = Entry::PastBan { jail: "sshd".into(), ban, end: at(700) };
    store.commit(&[past.clone(), past.clone()], at(9000)).unwrap();
    store.commit(&[past], at(9001)).unwrap();
    let id = Id::parse("192.0.2.1");
    assert_eq!(store.history(None, &id, 9).unwrap().len(), 1);
    assert_eq!(store.past(None, &id).unwrap().unwrap().count, 2);
    assert!(banned(&store).is_empty());
}

#[test]
fn without_a_database_nothing_is_remembered() {
    let mut store = Store::open(&Location::parse("None"), Options::default(), at(0)).unwrap();
    store.commit(&[ban("sshd", "192.0.2.1", 100, 600, 1)], at(100)).unwrap();
    assert_eq!(store.health(), Health::Off);
    assert!(banned(&store).is_empty());
    assert_eq!(store.past(None, &Id::parse("192.0.2.1")).unwrap(), None);
    assert!(!store.housekeep(at(200)).unwrap());
    assert!(store.reader().unwrap().is_none());
    assert_eq!(Location::parse(":memory:"), Location::Memory);
    assert_eq!(Location::parse("/a/none"), Location::File("/a/none".into()));
}

#[test]
fn another_thread_reads_what_was_committed() {
    let dir = Dir::new("store");
    let mut store = open(&dir.path().join("db"));
    let reader = store.reader().unwrap().unwrap();
    store.commit(&[ban("sshd", "192.0.2.1", 100, 600, 1)], at(100)).unwrap();
    let theirs = std::thread::spawn(move || banned(&reader)).join().unwrap();
    assert_eq!(theirs, ["sshd 192.0.2.1"]);
}

#[test]
fn an_entry_that_no_table_takes_holds_nobody_up() {
    let dir = Dir::new("store");
    let path = dir.path().join("db");
    drop(open(&path));
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch(
        "CREATE TRIGGER poison BEFORE INSERT ON bans WHEN new.id = '192.0.2.66' \
         BEGIN SELECT raise(ABORT, 'poisoned'); END",
    )
    .unwrap();
    drop(db);
    let mut store = open(&path);
    let entries = [
        ban("sshd", "192.0.2.1", 100, 600, 1),
        ban("sshd", "192.0.2.66", 100, 600, 1),
        ban("recidive", "192.0.2.2", 100, 600, 1),
    ];
    store.commit(&entries, at(100)).unwrap();
    assert_eq!(banned(&store), ["recidive 192.0.2.2", "sshd 192.0.2.1"]);
    let notices = store.take_notices();
    assert!(matches!(&notices[..], [Notice::Refused { entries: 1, .. }]), "{notices:?}");
    store.commit(&[ban("recidive", "192.0.2.3", 100, 600, 1)], at(101)).unwrap();
    assert_eq!(banned(&store).len(), 3);
}

#[test]
fn what_is_old_goes_and_the_file_shrinks() {
    let dir = Dir::new("store");
    let path = dir.path().join("db");
    let mut store = open(&path);
    let long = "x".repeat(1500);
    let mut entries = vec![
        Entry::JailStart { jail: "sshd".into(), findtime_s: 600 },
        position("/var/log/auth.log", "1"),
    ];
    for number in 0..5000 {
        let id = format!("10.0.{}.{}", number / 250, number % 250);
        let ban = Ban { evidence: lines(&[&long]), ..ban_of(&id, 1000, 600, 1) };
        entries.push(Entry::Ban { jail: "sshd".into(), ban, ordered: false });
        entries.push(failure(
            "sshd",
            &format!("10.1.{}.{}", number / 250, number % 250),
            1000,
            "x",
        ));
    }
    for number in 0..500 {
        entries.push(failure("sshd", "10.9.9.9", 100_000 + number, "slow and steady"));
    }
    store.commit(&entries, at(1000)).unwrap();
    let lapse = |number: i64| {
        let id = format!("10.0.{}.{}", number / 250, number % 250);
        unban("sshd", &id, UnbanWhy::Lapsed)
    };
    let lapsed: Vec<Entry> = (0..4990).map(lapse).collect();
    store.commit(&lapsed, at(1600)).unwrap();

    // Not a day later: all is there but the failures.
    store.purge(at(80_000)).unwrap();
    let id = |number: i64| Id::parse(&format!("10.0.{}.{}", number / 250, number % 250));
    assert_eq!(store.history(None, &id(0), 9).unwrap()[0].evidence.lines[0].len(), 1500);
    assert_eq!(store.for_each_failure("sshd", at(79_400), |_| ()).unwrap(), 128);

    store.purge(at(100_000)).unwrap();
    assert!(store.history(None, &id(0), 9).unwrap().is_empty());
    assert_eq!(banned(&store).len(), 10);
    assert!(!store.evidence("sshd", &id(4995)).unwrap().unwrap().lines.is_empty());
    assert!(store.position("/var/log/auth.log").unwrap().is_some());
    drop(store);
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size < 1 << 20, "{size} bytes are left of 10 MB");
}

#[test]
fn a_long_ban_is_remembered_for_three_times_its_length() {
    let mut store = Store::open(&Location::Memory, Options::default(), at(0)).unwrap();
    let long = Ban { evidence: lines(&["x"]), ..ban_of("192.0.2.1", 1000, MONTH_S, 1) };
    let entries = [
        Entry::Ban { jail: "sshd".into(), ban: long, ordered: false },
        ban("sshd", "192.0.2.2", 1000, MONTH_S, 1),
    ];
    store.commit(&entries, at(1000)).unwrap();
    let end = 1000 + 2_592_000;
    store.commit(&[unban("sshd", "192.0.2.1", UnbanWhy::Lapsed)], at(end)).unwrap();
    store.purge(at(end + 100_000)).unwrap();
    let id = Id::parse("192.0.2.1");
    let history = store.history(None, &id, 9).unwrap();
    assert!(history[0].evidence.lines.is_empty(), "its lines go with dbpurgeage");
    assert_eq!(store.past(None, &id).unwrap().unwrap().count, 1);
    store.purge(at(1000 + 3 * 2_592_000)).unwrap();
    assert!(store.past(None, &id).unwrap().is_some());
    store.purge(at(1001 + 3 * 2_592_000)).unwrap();
    assert_eq!(store.past(None, &id).unwrap(), None);
    assert_eq!(banned(&store), ["sshd 192.0.2.2"], "what stands, stands");
}

#[test]
fn housekeeping_purges_hourly_and_step_by_step() {
    let mut store = Store::open(&Location::Memory, Options::default(), at(0)).unwrap();
    let run = |store: &mut Store, now| {
        let mut steps = 0;
        while store.housekeep(at(now)).unwrap() {
            steps += 1;
        }
        steps
    };
    store.commit(&[Entry::JailStart { jail: "sshd".into(), findtime_s: 10 }], at(0)).unwrap();
    assert!(run(&mut store, 1000) > 0);
    store.commit(&[failure("sshd", "192.0.2.1", 1000, "x")], at(1000)).unwrap();
    assert_eq!(run(&mut store, 1000 + 3599), 0);
    assert_eq!(store.for_each_failure("sshd", at(0), |_| ()).unwrap(), 1);
    assert!(run(&mut store, 1000 + 3600) > 0);
    assert_eq!(store.for_each_failure("sshd", at(0), |_| ()).unwrap(), 0);
    assert!(run(&mut store, 10) > 0, "the clock went back");
}
