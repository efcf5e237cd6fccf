//! The store in trouble: damaged files, foreign files, files that vanish, full disks.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/store.rs"]
mod kit;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use common::{Dir, Random, skip};
use kit::*;
use rusqlite::Connection;
use sentryban::{
    store::{Health, Location, Notice, OpenError, Options, Store, StoreError, UnbanWhy},
    ticket::Id,
};

fn try_open(path: &Path) -> Result<Store, OpenError> {
    Store::open(&Location::File(path.to_owned()), Options::default(), at(1000))
}

fn aside(notices: &[Notice]) -> PathBuf {
    match notices {
        [Notice::SetAside { aside, .. }] => aside.clone(),
        other => panic!("{other:?}"),
    }
}

/// A database with some hundred bans, closed.
fn filled(path: &Path) {
    let mut store = open(path);
    let bans: Vec<_> = (0..500)
        .map(|number| ban("sshd", &format!("10.0.{}.{}", number / 250, number % 250), 1, 9, 1))
        .collect();
    store.commit(&bans, at(1000)).unwrap();
}

#[test]
fn a_file_of_rubbish_is_set_aside() {
    let dir = Dir::new("store");
    for rubbish in [&b"this is no database at all"[..], &[0; 4096], b"SQLite format 3\0 and then?"]
    {
        let path = dir.file("db", rubbish);
        let mut store = open(&path);
        let notices = store.take_notices();
        let aside = aside(&notices);
        assert!(aside.display().to_string().contains("db.corrupt-19700101T001640"), "{aside:?}");
        assert!(notices[0].wants_all() && notices[0].to_string().contains("set aside"));
        assert_eq!(fs::read(&aside).unwrap(), rubbish);
        store.commit(&[ban("sshd", "192.0.2.1", 1, 9, 1)], at(1000)).unwrap();
        drop(store);
        assert_eq!(banned(&open(&path)), ["sshd 192.0.2.1"]);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn an_empty_file_is_a_new_database() {
    let dir = Dir::new("store");
    let path = dir.file("db", "");
    let mut store = open(&path);
    assert!(store.take_notices().is_empty());
    store.commit(&[position("a", "b")], at(1)).unwrap();
}

#[test]
fn damage_anywhere_is_survived() {
    let dir = Dir::new("store");
    let mut random = Random(3);
    let mut set_aside = 0;
    for round in 0..60 {
        let path = dir.path().join(format!("db{round}"));
        filled(&path);
        let mut bytes = fs::read(&path).unwrap();
        let length = bytes.len();
        match round % 3 {
            0 => bytes.truncate(random.below(length)),
            1 => {
                let from = random.below(length);
                let end = (from + 3000).min(length);
                bytes[from..end].fill_with(|| random.next() as u8);
            }
            _ => {
                for _ in 0..20 {
                    let at = random.below(length);
                    bytes[at] = random.next() as u8;
                }
            }
        }
        fs::write(&path, &bytes).unwrap();
        let mut store = match try_open(&path) {
            Ok(store) => store,
            // A flipped byte in the header may make it the file of a newer program, or of another.
            Err(OpenError::Foreign { .. } | OpenError::Newer { .. }) => continue,
            Err(error) => panic!("round {round}: {error}"),
        };
        let _ = store.for_each_ban(|_, _, _| ());
        let _ = store.past(None, &Id::parse("10.0.0.1"));
        let result = store.commit(&[ban("sshd", "192.0.2.1", 1, 9, 1)], at(1000));
        assert_eq!(result, Ok(()), "round {round}");
        assert!(banned(&store).contains(&"sshd 192.0.2.1".to_owned()), "round {round}");
        set_aside += usize::from(store.take_notices().iter().any(Notice::wants_all));
    }
    assert!(set_aside > 20, "only {set_aside}");
}

#[test]
fn damage_that_shows_while_reading_is_mended_at_the_next_commit() {
    let dir = Dir::new("store");
    let path = dir.path().join("db");
    filled(&path);
    let mut store = open(&path);
    assert_eq!(store.for_each_ban(|_, _, _| ()).unwrap(), 500);
    // Behind its back, and behind that of its cache: every page but the first.
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA user_version = 5").unwrap(); // now the cache is outdated
    drop(other);
    let read = store.for_each_ban(|_, _, _| ());
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
    store.housekeep(at(1001)).unwrap();
    assert!(aside(&store.take_notices()).exists());
    store.commit(&[ban("sshd", "192.0.2.1", 1, 9, 1)], at(1002)).unwrap();
    assert_eq!(banned(&store), ["sshd 192.0.2.1"]);
    assert_eq!(store.health(), Health::Good);
}

#[test]
fn few_damaged_files_are_kept() {
    let dir = Dir::new("store");
    for second in 0..9 {
        let path = dir.file("db", format!("rubbish {second}"));
        let location = Location::File(path.clone());
        Store::open(&location, Options::default(), at(second / 3)).unwrap();
        fs::remove_file(&path).unwrap();
    }
    let names = fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name());
    let kept = names.filter(|name| name.to_string_lossy().contains("corrupt")).count();
    assert_eq!(kept, 5);
}

#[test]
fn a_database_of_fail2ban_is_left_as_it_is() {
    let dir = Dir::new("store");
    let path = dir.path().join("fail2ban.sqlite3");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "CREATE TABLE fail2banDb(version INTEGER); INSERT INTO fail2banDb VALUES (4); \
         CREATE TABLE bips(ip TEXT, jail TEXT, timeofban INTEGER, bantime INTEGER, data JSON);",
    )
    .unwrap();
    // Its daemon is at work: it holds a lock, and has written half a transaction.
    db.execute_batch("PRAGMA cache_size = 1; BEGIN IMMEDIATE; INSERT INTO bips(ip) VALUES ('x')")
        .unwrap();
    let before = fs::read(&path).unwrap();
    let error = try_open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Fail2ban { .. }), "{error:?}");
    assert!(error.to_string().contains("sentryban-client import"), "{error}");
    db.execute_batch("COMMIT").unwrap();
    drop(db);
    assert!(matches!(try_open(&path), Err(OpenError::Fail2ban { .. })));
    assert_eq!(before.len(), fs::read(&path).unwrap().len());

    // Damaged, it is still not ours to move.
    let mut bytes = fs::read(&path).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0x5a);
    bytes[100..110].fill(0xff);
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(try_open(&path), Err(OpenError::Fail2ban { .. })));
    assert_eq!(fs::read(&path).unwrap(), bytes);
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn databases_of_others_and_of_the_future_are_left_as_they_are() {
    let dir = Dir::new("store");
    let path = dir.path().join("other.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE mails(x)").unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(try_open(&path), Err(OpenError::Foreign { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);

    let path = dir.path().join("newer.db");
    drop(open(&path));
    Connection::open(&path)
        .unwrap()
        .execute_batch("INSERT INTO migrations VALUES (1000, 0)")
        .unwrap();
    let error = try_open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Newer { version: 1000, .. }), "{error:?}");

    let error = try_open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    let error = try_open(Path::new("/proc/version/db")).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
}

// Elsewhere a thread has no user of its own.
#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_nobody_may_write_is_said() {
    if !rustix::process::geteuid().is_root() {
        let error = try_open(Path::new("/var/lib/sentryban-of-root/db")).unwrap_err();
        assert!(matches!(error, OpenError::Permission { .. }), "{error:?}");
        return;
    }
    let dir = Dir::new("store");
    let missing = dir.path().join("db");
    let mine = dir.path().join("mine");
    drop(open(&mine));
    let errors = std::thread::spawn(move || {
        // Of this thread alone.
        let nobody = rustix::process::Uid::from_raw(65534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        [missing, mine].map(|path| try_open(&path).unwrap_err())
    });
    for error in errors.join().unwrap() {
        assert!(matches!(error, OpenError::Permission { .. }), "{error:?}");
        assert!(error.to_string().contains("must be writable"), "{error}");
    }
}

#[test]
fn a_file_that_is_removed_is_begun_anew() {
    let dir = Dir::new("store");
    let path = dir.path().join("db");
    filled(&path);
    let mut store = open(&path);
    store.commit(&[position("a", "b")], at(1000)).unwrap();
    fs::remove_file(&path).unwrap();
    store.housekeep(at(1001)).unwrap();
    let notices = store.take_notices();
    assert!(matches!(&notices[..], [Notice::Vanished { .. }]) && notices[0].wants_all());
    store.commit(&[ban("sshd", "192.0.2.1", 1, 9, 1)], at(1002)).unwrap();
    drop(store);
    assert_eq!(banned(&open(&path)), ["sshd 192.0.2.1"]);

    // A backup is put in its place.
    let backup = dir.path().join("backup");
    filled(&backup);
    let mut store = open(&path);
    store.commit(&[position("a", "b")], at(1000)).unwrap();
    fs::rename(&backup, &path).unwrap();
    store.housekeep(at(1001)).unwrap();
    assert_eq!(banned(&store).len(), 500);
    store.commit(&[position("a", "c")], at(1002)).unwrap();
    drop(store);
    let mut store = open(&path);
    assert!(store.take_notices().is_empty());
    assert_eq!(banned(&store).len(), 500);
}

#[test]
fn while_another_process_holds_it_entries_wait() {
    let dir = Dir::new("store");
    let path = dir.path().join("db");
    let mut store = open(&path);
    store.commit(&[ban("sshd", "192.0.2.1", 1, 9, 1)], at(1000)).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let entries = [ban("sshd", "192.0.2.2", 1, 9, 1)];
    assert!(matches!(store.commit(&entries, at(1001)), Err(StoreError::Busy(_))));
    let entries = [unban("sshd", "192.0.2.1", UnbanWhy::Ordered)];
    assert!(store.commit(&entries, at(1001)).is_err());
    let health = store.health();
    assert!(matches!(health, Health::Failing { waiting: 2, lost: 0, .. }), "{health:?}");
    let notices = store.take_notices();
    assert!(matches!(&notices[..], [Notice::Failing { .. }]), "{notices:?}");
    other.execute_batch("ROLLBACK").unwrap();
    // Not at once: a disk in trouble is not asked for every failure.
    assert!(store.commit(&[], at(1002)).is_err());
    store.housekeep(at(1003)).unwrap();
    assert_eq!(banned(&store), ["sshd 192.0.2.2"]);
    assert_eq!(store.health(), Health::Good);
    let notices = store.take_notices();
    let expected = Notice::Recovered { written: 2, incomplete: false };
    assert_eq!(notices, [expected]);
    let history = store.history(None, &Id::parse("192.0.2.1"), 9).unwrap();
    assert_eq!(history[0].end, Some((at(1001), UnbanWhy::Ordered)), "it ended when it did");
}

/// A file system of one megabyte, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(dir: &Dir) -> Option<SmallDisk> {
        let path = dir.path().join("disk");
        fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&path);
        let done = mount.output().is_ok_and(|output| output.status.success());
        done.then_some(SmallDisk(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn on_a_full_disk_entries_wait_until_there_is_room() {
    let dir = Dir::new("store");
    let Some(disk) = SmallDisk::new(&dir) else {
        return skip("a small file system cannot be mounted here");
    };
    let path = disk.0.join("db");
    let mut store = open(&path);
    store.commit(&[ban("sshd", "192.0.2.1", 1, 9, 1)], at(1000)).unwrap();
    let ballast = disk.0.join("ballast");
    let mut now = 1000;
    fs::write(&ballast, vec![1; 1 << 20]).unwrap_err();
    let mut number = 0;
    let cause = loop {
        number += 1;
        now += 1;
        let id = format!("10.0.{}.{}", number / 250, number % 250);
        match store.commit(&[ban("sshd", &id, 1, 9, 1)], at(now)) {
            Ok(()) => assert!(number < 5000, "the disk does not get full"),
            Err(cause) => break cause,
        }
    };
    assert!(matches!(cause, StoreError::Full(_) | StoreError::Io(_)), "{cause:?}");
    // The guard goes on: what is asked is answered, what is done waits.
    assert_eq!(banned(&store).len(), number);
    for _ in 0..100 {
        number += 1;
        now += 1;
        let id = format!("10.0.{}.{}", number / 250, number % 250);
        let _ = store.commit(&[ban("sshd", &id, 1, 9, 1)], at(now));
    }
    assert!(matches!(store.health(), Health::Failing { .. }), "{:?}", store.health());
    fs::remove_file(&ballast).unwrap();
    store.housekeep(at(now + 10)).unwrap();
    assert_eq!(banned(&store).len(), number + 1);
    let notices = store.take_notices();
    assert!(
        matches!(&notices[..], [Notice::Failing { .. }, Notice::Recovered { .. }]),
        "{notices:?}"
    );
    drop(store);
    assert_eq!(banned(&open(&path)).len(), number + 1);
}
