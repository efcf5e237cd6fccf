//! The store after a crash: whenever it is killed, it comes back as it was behind some batch, never
//! within one, and no batch is missing whose commit had returned.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod common;
#[path = "common/store.rs"]
mod kit;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use common::{Dir, Random};
use kit::*;
use sentryban::store::{Location, Options, Store};

const SEED: u64 = 7;

/// The batches of a seed, one after the other, in memory.
struct Model {
    store: Store,
    number: u64,
}

impl Model {
    fn new() -> Model {
        let store = Store::open(&Location::Memory, Options::default(), at(0)).unwrap();
        Model { store, number: 0 }
    }

    /// What a store must hold behind batch `number`.
    fn after(&mut self, number: u64) -> String {
        if number < self.number {
            *self = Model::new();
        }
        while self.number < number {
            self.number += 1;
            self.store.commit(&batch(SEED, self.number), time_of(self.number)).unwrap();
        }
        dump(&self.store)
    }
}

/// Not a test of its own: the process that is killed. It writes batch after batch, and says so.
#[test]
fn a_process_that_writes() {
    let Some(path) = std::env::var_os("SENTRYBAN_TEST_DATABASE") else { return };
    let mut store = open(Path::new(&path));
    // The purge runs, but finds nothing old: the model does not purge.
    store.set_options(Options { purge_age_s: 1 << 40, ..Options::default() });
    for number in number_of(&store) + 1.. {
        store.commit(&batch(SEED, number), time_of(number)).unwrap();
        // A pipe whose reader is gone ends this process, should its parent die.
        writeln!(std::io::stdout(), "\n{number}").unwrap();
        if number % 7 == 0 {
            store.housekeep(time_of(number * 100)).unwrap();
        }
    }
}

#[test]
fn killed_fifty_times_it_always_stands_behind_a_batch() {
    let dir = Dir::new("store-kill");
    let path = dir.path().join("db");
    let mut random = Random(1);
    let mut model = Model::new();
    let mut before = 0;
    for round in 0..50 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_that_writes", "--nocapture", "--test-threads=1"])
            .env("SENTRYBAN_TEST_DATABASE", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It dies at a random number of batches, and a random moment behind that one.
        let limit = before + 1 + random.below(60) as u64;
        let mut said = before;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for number in lines.by_ref().map_while(Result::ok).filter_map(|line| line.parse().ok()) {
            said = number;
            if said >= limit {
                break;
            }
        }
        for _ in 0..random.below(200_000) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        drop(lines);
        assert!(said >= limit, "round {round}: the writer ended by itself");

        let mut store = open(&path);
        let number = number_of(&store);
        assert!(number >= said, "round {round}: batch {said} was committed, {number} is there");
        let (got, expected) = (dump(&store), model.after(number));
        assert!(got == expected, "round {round}, batch {number}:\n{}", difference(&got, &expected));
        assert!(store.take_notices().is_empty(), "round {round}");
        before = number;
    }
}

fn difference(got: &str, expected: &str) -> String {
    let lines = |a: &str, b: &str, sign: char| -> Vec<String> {
        let others: std::collections::HashSet<&str> = b.lines().collect();
        let only = a.lines().filter(|line| !others.contains(line));
        only.take(10).map(|line| format!("{sign} {line}")).collect()
    };
    [lines(got, expected, '+'), lines(expected, got, '-')].concat().join("\n")
}

/// Copies a database as a crash at this moment would leave it, its log cut after `keep` bytes.
fn copy(path: &Path, to: &Path, keep: Option<u64>) -> PathBuf {
    let target = to.join("copy");
    let side = |path: &Path, end: &str| PathBuf::from(format!("{}{end}", path.display()));
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(side(&target, end));
    }
    fs::copy(path, &target).unwrap();
    let wal = side(&target, "-wal");
    if fs::copy(side(path, "-wal"), &wal).is_ok()
        && let Some(keep) = keep
    {
        fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(keep).unwrap();
    }
    target
}

#[test]
fn a_copy_between_batches_holds_them_all() {
    let dir = Dir::new("store-copy");
    let path = dir.path().join("db");
    let mut store = open(&path);
    let mut model = Model::new();
    for number in 1..=60 {
        store.commit(&batch(SEED, number), time_of(number)).unwrap();
        let target = copy(&path, dir.path(), None);
        let expected = model.after(number);
        assert_eq!(difference(&dump(&open(&target)), &expected), "", "batch {number}");
    }
}

#[test]
fn a_log_that_is_cut_short_leaves_whole_batches() {
    let dir = Dir::new("store-cut");
    let path = dir.path().join("db");
    let mut store = open(&path);
    let mut random = Random(5);
    let mut model = Model::new();
    let mut seen = std::collections::HashSet::new();
    for number in 1..=40 {
        store.commit(&batch(SEED, number), time_of(number)).unwrap();
    }
    let wal = PathBuf::from(format!("{}-wal", path.display()));
    for _ in 0..60 {
        // The last seconds are missing, and the last block that reached the disk is torn.
        let keep = random.below(fs::metadata(&wal).unwrap().len() as usize) as u64;
        let target = copy(&path, dir.path(), Some(keep));
        let copy = open(&target);
        let number = number_of(&copy);
        assert_eq!(difference(&dump(&copy), &model.after(number)), "", "{keep} bytes kept");
        seen.insert(number);
    }
    assert!(seen.len() > 3, "the cuts met few batches: {seen:?}");
}
