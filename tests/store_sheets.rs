//! Failures in the database: whatever came, was banned, forgotten or restarted in between, those
//! that still count come back, and what led to a ban is found.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/store.rs"]
mod kit;

use std::collections::BTreeMap;

use common::{Dir, Random};
use kit::*;
use sentryban::{
    store::{Entry, Location, Notice, Options, Store, UnbanWhy},
    ticket::{Ban, Id},
    time::Timestamp,
};

/// What the store should know of each jail's ids: the time and the line of each failure.
type Model = BTreeMap<(&'static str, Id), Vec<(i64, String)>>;

fn counted(store: &Store) -> Vec<String> {
    let mut all = Vec::new();
    for jail in JAILS {
        store
            .for_each_failure(jail, at(0), |ticket| {
                let (time, attempts) = (ticket.time.secs(), ticket.attempts);
                let line = ticket.evidence.evidence().lines[0].clone();
                all.push(format!("{jail} {} {time} {attempts} {line}", ticket.id));
            })
            .unwrap();
    }
    all.sort();
    all
}

/// Those of one moment are one.
fn expected(model: &Model) -> Vec<String> {
    let mut all = Vec::new();
    for ((jail, id), failures) in model {
        let mut moments: BTreeMap<i64, (u32, &str)> = BTreeMap::new();
        for (time, line) in failures {
            let moment = moments.entry(*time).or_default();
            *moment = (moment.0 + 1, line);
        }
        for (time, (attempts, line)) in moments {
            all.push(format!("{jail} {id} {time} {attempts} {line}"));
        }
    }
    all.sort();
    all
}

#[test]
fn what_counts_comes_back_and_what_led_to_a_ban_is_found() {
    for seed in 0..12 {
        let dir = Dir::new("sheets");
        let path = dir.path().join("db");
        let mut random = Random(0x5eed_0000 + seed);
        let mut model = Model::new();
        let mut store = open(&path);
        let mut number = 0;
        for _ in 0..60 {
            let mut entries = Vec::new();
            let mut bans = Vec::new();
            for _ in 0..random.below(120) {
                number += 1;
                let jail = random.pick(&JAILS);
                // Few ids that come often, and many that come once.
                let id = match random.below(3) {
                    0 => format!("10.0.{}.{}", number / 250, number % 250),
                    1 => format!("192.0.2.{}", random.below(20)),
                    _ => random.pick(&["bob", "2001:db8::/64", "2001:db8::1", "al ice"]).to_owned(),
                };
                let key = (jail, Id::parse(&id));
                match random.below(40) {
                    0 => {
                        entries.push(Entry::Spent { jail: jail.into(), id: key.1.clone() });
                        model.remove(&key);
                    }
                    1 if random.below(5) == 0 => {
                        entries.push(Entry::UnbanAll { jail: jail.into() });
                        model.retain(|(of, _), _| *of != jail);
                        bans.retain(|(of, ..): &(&str, Id, Vec<String>)| *of != jail);
                    }
                    2..6 => {
                        let failures = model.remove(&key).unwrap_or_default();
                        let mut lines: Vec<String> =
                            failures.into_iter().map(|(_, line)| line).collect();
                        let own = format!("ban {number}");
                        let ban =
                            Ban { evidence: kit::lines(&[&own]), ..ban_of(&id, number, 60, 1) };
                        entries.push(Entry::Ban { jail: jail.into(), ban, ordered: false });
                        lines.drain(..lines.len().saturating_sub(10));
                        if lines.len() <= 1 {
                            lines = vec![own];
                        }
                        bans.retain(|(of, who, _)| (*of, who) != (jail, &key.1));
                        bans.push((jail, key.1, lines));
                    }
                    6 => {
                        let why = UnbanWhy::Lapsed;
                        entries.push(Entry::Unban { jail: jail.into(), id: key.1.clone(), why });
                        model.remove(&key);
                        bans.retain(|(of, who, _)| (*of, who) != (jail, &key.1));
                    }
                    _ => {
                        let time = i64::from(number as u32) / 3;
                        let line = format!("{number} {}", "x".repeat(random.below(200)));
                        entries.push(failure(jail, &id, time, &line));
                        model.entry(key).or_default().push((time, line));
                    }
                }
            }
            store.commit(&entries, at(number)).unwrap();
            for (jail, id, lines) in bans {
                let evidence = store.evidence(jail, &id).unwrap().unwrap();
                let found: Vec<&str> = evidence.lines.iter().map(|line| &**line).collect();
                assert_eq!(found, lines, "seed {seed}: {jail} {id}");
            }
            assert_eq!(counted(&store), expected(&model), "seed {seed}");
            if let Some(((jail, id), failures)) = model.iter().nth(random.below(50)) {
                let last = store.last_failure(jail, id).unwrap().unwrap();
                assert_eq!(&*last.evidence.evidence().lines[0], failures.last().unwrap().1);
            }
            if random.below(6) == 0 {
                drop(store);
                store = open(&path);
            }
        }
    }
}

#[test]
fn a_database_with_a_row_for_each_failure_is_brought_along() {
    let dir = Dir::new("sheets");
    let path = dir.path().join("db");
    {
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch(
            "PRAGMA application_id = 0x7362616e;
             CREATE TABLE migrations(version INTEGER PRIMARY KEY, time INTEGER);
             INSERT INTO migrations VALUES (1, 0);
             CREATE TABLE jails(jail INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
                 findtime INTEGER NOT NULL DEFAULT 600, failed INTEGER NOT NULL DEFAULT 0,
                 banned INTEGER NOT NULL DEFAULT 0);
             INSERT INTO jails(jail, name) VALUES (7, 'sshd'), (8, 'recidive');
             CREATE TABLE bans(id TEXT NOT NULL, jail INTEGER NOT NULL, begun INTEGER NOT NULL,
                 bantime INTEGER NOT NULL, count INTEGER NOT NULL, failures INTEGER NOT NULL,
                 ordered INTEGER NOT NULL, num INTEGER NOT NULL, PRIMARY KEY(id, jail)) WITHOUT ROWID;
             CREATE TABLE evidence(num INTEGER PRIMARY KEY, data TEXT);
             CREATE TABLE history(num INTEGER PRIMARY KEY, id TEXT NOT NULL, jail INTEGER NOT NULL,
                 begun INTEGER NOT NULL, bantime INTEGER NOT NULL, count INTEGER NOT NULL,
                 failures INTEGER NOT NULL, ended INTEGER NOT NULL, why INTEGER NOT NULL,
                 forgiven INTEGER NOT NULL DEFAULT 0);
             CREATE INDEX history_of ON history(id, jail);
             CREATE TABLE failures(num INTEGER PRIMARY KEY, id TEXT NOT NULL, jail INTEGER NOT NULL,
                 time INTEGER NOT NULL, attempts INTEGER NOT NULL, data TEXT);
             CREATE UNIQUE INDEX failures_of ON failures(id, jail, time);
             CREATE TABLE positions(key TEXT PRIMARY KEY, value BLOB NOT NULL, time INTEGER NOT NULL)
                 WITHOUT ROWID;",
        )
        .unwrap();
        for number in 0..500 {
            let data = format!("{{\"lines\":[\"line {number}\"],\"regex\":2}}");
            db.execute(
                "INSERT INTO failures(id, jail, time, attempts, data) VALUES (?1, ?2, ?3, 2, ?4)",
                (format!("192.0.2.{}", number % 100), 7 + number % 2, number * 1_000_000, data),
            )
            .unwrap();
        }
        db.execute("INSERT INTO bans VALUES ('192.0.2.200', 7, 5000000, 600, 1, 3, 0, 1)", [])
            .unwrap();
        // What cannot be read is left behind, and what belongs to nobody, too.
        db.execute_batch(
            "INSERT INTO failures(id, jail, time, attempts, data) VALUES
                 (x'ff', 7, 1, 1, NULL), (CAST(x'c3' AS TEXT), 7, 2, 1, NULL),
                 ('192.0.2.201', 7, 3, 1, x'00'), ('192.0.2.202', 9, 4, 1, NULL);",
        )
        .unwrap();
    }
    let mut store = open(&path);
    assert_eq!(store.take_notices(), [Notice::Upgraded { from: 1, to: 2 }]);
    let count = |store: &Store| store.for_each_failure("sshd", at(0), |_| ()).unwrap();
    assert_eq!(count(&store), 250);
    assert_eq!(banned(&store), ["sshd 192.0.2.200"]);
    let id = Id::parse("192.0.2.42");
    let last = store.last_failure("sshd", &id).unwrap().unwrap();
    assert_eq!((last.time, last.attempts, last.evidence.regex()), (at(442), 2, Some(2)));
    store.commit(&[ban("sshd", "192.0.2.42", 500, 600, 1)], at(500)).unwrap();
    let evidence = store.evidence("sshd", &id).unwrap().unwrap();
    let told = ["line 42", "line 142", "line 242", "line 342", "line 442"];
    assert_eq!(evidence.lines, lines(&told).lines);
    assert_eq!(count(&store), 245);
    drop(store);
    assert_eq!(count(&open(&path)), 245);
}

#[test]
fn the_oldest_failures_go_before_they_are_too_many() {
    let mut store = Store::open(&Location::Memory, Options::default(), at(0)).unwrap();
    let mut number: u32 = 0;
    for _ in 0..105 {
        let failures = (0..10_000).map(|_| {
            number += 1;
            let id = std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string();
            failure("sshd", &id, i64::from(number), "x")
        });
        let entries: Vec<Entry> = failures.collect();
        store.commit(&entries, at(i64::from(number))).unwrap();
    }
    let mut first = None;
    let count = store.for_each_failure("sshd", at(0), |ticket| {
        first.get_or_insert(ticket.time.secs());
    });
    let count = i64::try_from(count.unwrap()).unwrap();
    assert!((900_000..=1_000_000).contains(&count), "{count}");
    assert_eq!(first, Some(1_050_000 - count + 1), "the newest are there without a gap");
    store.purge(at(2_000_000)).unwrap();
    assert_eq!(store.for_each_failure("sshd", at(0), |_| ()).unwrap(), 0);
    store.commit(&[failure("sshd", "10.0.0.1", 3_000_000, "again")], at(3_000_000)).unwrap();
    assert_eq!(store.for_each_failure("sshd", at(0), |_| ()).unwrap(), 1);
}

#[test]
fn what_was_forgotten_stays_so_though_what_it_forgets_is_younger() {
    let mut store = Store::open(&Location::Memory, Options::default(), at(0)).unwrap();
    let start = Entry::JailStart { jail: "sshd".into(), findtime_s: 600 };
    // The clock was a day ahead, and is right again.
    store.commit(&[start, failure("sshd", "192.0.2.1", 86_400 + 100, "x")], at(100)).unwrap();
    let spent = Entry::Spent { jail: "sshd".into(), id: Id::parse("192.0.2.1") };
    store.commit(&[spent], at(101)).unwrap();
    store.purge(at(2000)).unwrap();
    assert_eq!(store.for_each_failure("sshd", at(0), |_| ()).unwrap(), 0);
}

#[test]
fn what_the_clock_dated_ahead_is_forgotten_once_it_is_right_again() {
    let mut store = Store::open(&Location::Memory, Options::default(), at(0)).unwrap();
    let start = Entry::JailStart { jail: "sshd".into(), findtime_s: 600 };
    let year = 365 * 86_400;
    store.commit(&[start, failure("sshd", "192.0.2.1", 9 * year, "x")], at(9 * year)).unwrap();
    // All that follow stand on sheets of that time.
    for (number, id) in (0..5).zip(["192.0.2.1", "192.0.2.2", "192.0.2.3", "bob", "192.0.2.5"]) {
        store.commit(&[failure("sshd", id, number, "x")], at(number)).unwrap();
    }
    store.purge(at(10)).unwrap();
    assert_eq!(store.for_each_failure("sshd", at(0), |_| ()).unwrap(), 6);
    let spent = Entry::Spent { jail: "sshd".into(), id: Id::parse("192.0.2.1") };
    store.commit(&[spent, failure("sshd", "192.0.2.6", 20, "x")], at(20)).unwrap();
    store.purge(at(615)).unwrap();
    let mut left = Vec::new();
    store.for_each_failure("sshd", at(0), |ticket| left.push(ticket.id)).unwrap();
    assert_eq!(left, [Id::parse("192.0.2.6")]);
    store.purge(at(700)).unwrap();
    assert_eq!(store.for_each_failure("sshd", at(0), |_| ()).unwrap(), 0);
}

/// Another program's hand in the database.
fn meddle(path: &std::path::Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn sheets_that_cannot_be_read_once_hold_nothing_up_later() {
    let dir = Dir::new("sheets");
    let path = dir.path().join("db");
    open(&path).commit(&[failure("sshd", "192.0.2.1", 1, "a")], at(1)).unwrap();
    let mut store = open(&path);
    // Whoever reads the table is told that a number is too large.
    meddle(
        &path,
        "ALTER TABLE sheets RENAME TO kept;
         CREATE VIEW sheets AS SELECT num, jail, newest, items, data FROM kept
             WHERE abs(-9223372036854775807 - kept.jail) > 0;",
    );
    store.commit(&[failure("sshd", "192.0.2.1", 2, "b")], at(2)).unwrap_err();
    meddle(&path, "DROP VIEW sheets; ALTER TABLE kept RENAME TO sheets;");
    store.commit(&[failure("sshd", "192.0.2.1", 5, "c")], at(5)).unwrap();
    assert_eq!(store.for_each_failure("sshd", at(0), |_| ()).unwrap(), 3);
}

#[test]
fn a_sheet_that_is_none_has_the_file_set_aside() {
    let dir = Dir::new("sheets");
    let path = dir.path().join("db");
    open(&path).commit(&[failure("sshd", "192.0.2.1", 1, "a")], at(1)).unwrap();
    let mut store = open(&path);
    meddle(&path, "UPDATE sheets SET data = 'text'");
    store.commit(&[failure("sshd", "192.0.2.1", 2, "b")], at(2)).unwrap();
    assert!(matches!(&store.take_notices()[..], [Notice::SetAside { .. }]));
    assert_eq!(store.for_each_failure("sshd", at(0), |_| ()).unwrap(), 1);
}

#[test]
fn sheets_get_low_numbers_before_they_are_too_high() {
    let dir = Dir::new("sheets");
    let path = dir.path().join("db");
    for far in [1 << 31, u32::MAX - 1, u32::MAX].map(i64::from).into_iter().chain([i64::MAX]) {
        let mut store = open(&path);
        let forget = Entry::ForgetJail { jail: "sshd".into() };
        let first = failure("sshd", "192.0.2.1", 1, "1");
        store.commit(&[forget, first], at(1)).unwrap();
        store.commit(&[failure("sshd", "192.0.2.1", 2, "2")], at(2)).unwrap();
        drop(store);
        // As after a long flood.
        meddle(
            &path,
            &format!("UPDATE sheets SET num = num + ({far} - (SELECT max(num) FROM sheets))"),
        );
        let mut store = open(&path);
        for second in 3..6 {
            let line = second.to_string();
            store.commit(&[failure("sshd", "192.0.2.1", second, &line)], at(second)).unwrap();
        }
        store.commit(&[ban("sshd", "192.0.2.1", 6, 600, 1)], at(6)).unwrap();
        assert_eq!(store.take_notices(), []);
        let evidence = store.evidence("sshd", &Id::parse("192.0.2.1")).unwrap().unwrap();
        assert_eq!(evidence.lines, lines(&["1", "2", "3", "4", "5"]).lines, "{far}");
    }
}

#[test]
fn all_failures_of_a_second_count_again_however_many_there_are() {
    let mut store = Store::open(&Location::Memory, Options::default(), at(0)).unwrap();
    let mut entries = Vec::new();
    for number in 0..400 {
        let mut entry = failure("sshd", "192.0.2.1", 0, "x");
        if let Entry::Failure { ticket, .. } = &mut entry {
            ticket.time = Timestamp::from_micros(10_000_000 + 10_000 * number);
        }
        entries.push(entry);
    }
    store.commit(&entries, at(20)).unwrap();
    let mut attempts = 0;
    store.for_each_failure("sshd", at(0), |ticket| attempts += ticket.attempts).unwrap();
    assert_eq!(attempts, 400);
}

#[test]
fn what_is_forgotten_behind_a_refused_entry_stays_so() {
    let dir = Dir::new("sheets");
    let path = dir.path().join("db");
    let mut store = open(&path);
    let lapsed = unban("sshd", "192.0.2.9", UnbanWhy::Lapsed);
    store.commit(&[ban("sshd", "192.0.2.9", 1, 9, 1), lapsed], at(1)).unwrap();
    let failures = ["192.0.2.1", "192.0.2.2"].map(|id| failure("sshd", id, 2, "x"));
    store.commit(&failures, at(2)).unwrap();
    meddle(
        &path,
        "CREATE TRIGGER no BEFORE UPDATE ON history BEGIN SELECT RAISE(ABORT, 'no'); END;",
    );
    let all = Entry::UnbanAll { jail: "sshd".into() };
    let spent = Entry::Spent { jail: "sshd".into(), id: Id::parse("192.0.2.1") };
    store.commit(&[all, spent], at(3)).unwrap();
    assert!(matches!(&store.take_notices()[..], [Notice::Refused { entries: 1, .. }]));
    let mut left = Vec::new();
    store.for_each_failure("sshd", at(0), |ticket| left.push(ticket.id)).unwrap();
    assert_eq!(left, [Id::parse("192.0.2.2")]);
}

#[test]
fn a_purge_takes_what_is_old_and_brings_nothing_back_whatever_the_clock_does() {
    for seed in 0..12 {
        let dir = Dir::new("sheets");
        let path = dir.path().join("db");
        let mut random = Random(0xc10c_0000 + seed);
        let mut store = open(&path);
        let start = JAILS.map(|jail| Entry::JailStart { jail: jail.into(), findtime_s: 600 });
        store.commit(&start, at(0)).unwrap();
        let mut model = Model::new();
        let (mut now, mut set_back, mut number) = (1_700_000_000_i64, 0, 0);
        for _ in 0..150 {
            match random.below(12) {
                0 => now += 10_000_000,
                1 => {
                    now -= i64::try_from(random.below(20_000_000)).unwrap();
                    set_back = number;
                }
                _ => now += i64::try_from(random.below(400)).unwrap(),
            }
            let mut entries = Vec::new();
            for _ in 0..random.below(60) {
                number += 1;
                let (jail, last) = (random.pick(&JAILS), random.below(30));
                let id = format!("192.0.2.{last}");
                let key = (jail, Id::parse(&id));
                if random.below(4) == 0 {
                    entries.push(Entry::Spent { jail: jail.into(), id: key.1.clone() });
                    model.remove(&key);
                } else {
                    entries.push(failure(jail, &id, now, &number.to_string()));
                    model.entry(key).or_default().push((now, number.to_string()));
                }
            }
            store.commit(&entries, at(now)).unwrap();
            match random.below(6) {
                0 => store.purge(at(now)).unwrap(),
                1 => drop(store.housekeep(at(now)).unwrap()),
                2 => {
                    drop(store);
                    store = open(&path);
                }
                _ => (),
            }
            // Those of one moment are one, with the last line.
            let all = expected(&model);
            let found = counted(&store);
            for one in &found {
                let words: Vec<&str> = one.split(' ').collect();
                let key = (
                    JAILS.into_iter().find(|jail| *jail == words[0]).unwrap(),
                    Id::parse(words[1]),
                );
                let line = words[4].to_owned();
                let is_there =
                    |(time, known): &(i64, String)| time.to_string() == words[2] && *known == line;
                assert!(model[&key].iter().any(is_there), "seed {seed}: {one} comes back");
            }
            for ((jail, id), failures) in &model {
                for (time, line) in failures {
                    let is_news = line.parse::<i32>().unwrap() > set_back;
                    if is_news && now - 600 <= *time && *time <= now {
                        let start = format!("{jail} {id} {time} ");
                        let meant = all.iter().find(|one| one.starts_with(&start)).unwrap();
                        assert!(found.contains(meant), "seed {seed}: {meant} is lost");
                    }
                }
            }
        }
    }
}
