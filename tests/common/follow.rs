//! What tests of the reader share: jails, and an ear that hears all reports.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; each test uses some"
)]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use sentryban::{
    daemon::reader::{Batch, Follow, Log, Notice, Origin, Output, Report, What},
    date::DateDetector,
    filter::{Filter, FilterSpec, UseDns},
    place::{Located, Place},
    scan::{ScanOptions, Scanner},
    source::{Encoding, Position},
    time::{Timestamp, now},
};

/// Longer than anything takes on a machine that is not broken.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Heard {
    batches: Vec<Batch>,
    notices: Vec<Notice>,
}

/// Hears reports, and waits for them.
#[derive(Clone, Default)]
pub struct Ear(Arc<(Mutex<Heard>, Condvar)>);

impl Ear {
    pub fn output(&self) -> Output {
        let ear = self.clone();
        Arc::new(move |report| {
            let mut heard = ear.0.0.lock().unwrap();
            match report {
                Report::Batch(batch) => heard.batches.push(batch),
                Report::Notice(notice) => heard.notices.push(notice),
            }
            ear.0.1.notify_all();
            true
        })
    }

    fn wait(&self, what: &str, is_there: impl Fn(&Heard) -> bool) {
        let start = Instant::now();
        let mut heard = self.0.0.lock().unwrap();
        while !is_there(&heard) {
            let left = DEADLINE.checked_sub(start.elapsed());
            let left = left.unwrap_or_else(|| {
                panic!("waited in vain for {what}; heard {:?}, {:?}", counts(&heard), heard.notices)
            });
            heard = self.0.1.wait_timeout(heard, left).unwrap().0;
        }
    }

    /// Waits until a jail has so many failures; they are not one more even then.
    pub fn expect(&self, jail: &str, count: usize) {
        self.wait(&format!("{count} failures of {jail}"), |heard| {
            counts(heard).get(jail).copied().unwrap_or(0) >= count
        });
        assert_eq!(self.hosts(jail).len(), count, "{jail}: {:?}", self.hosts(jail));
    }

    pub fn expect_notice(&self, what: impl Fn(&What) -> bool) {
        self.expect_notices(1, what);
    }

    /// Waits until there have been so many notices of a kind.
    pub fn expect_notices(&self, number: usize, what: impl Fn(&What) -> bool) {
        self.wait("notices", |heard| {
            heard.notices.iter().filter(|notice| what(&notice.what)).count() >= number
        });
    }

    /// Waits until so many lines have been told of.
    pub fn expect_lines(&self, count: u64) {
        self.wait(&format!("{count} lines"), |heard| {
            heard.batches.iter().map(|batch| batch.lines).sum::<u64>() >= count
        });
    }

    /// The addresses that a jail found, in order.
    pub fn hosts(&self, jail: &str) -> Vec<String> {
        let heard = self.0.0.lock().unwrap();
        let found = heard.batches.iter().flat_map(|batch| &batch.found);
        let found = found.filter(|(name, _)| **name == *jail).flat_map(|(_, found)| found.iter());
        found.map(|(id, _)| id.to_string()).collect()
    }

    /// The times of a jail's failures.
    pub fn times(&self, jail: &str) -> Vec<Timestamp> {
        let heard = self.0.0.lock().unwrap();
        let found = heard.batches.iter().flat_map(|batch| &batch.found);
        let found = found.filter(|(name, _)| **name == *jail).flat_map(|(_, found)| found.iter());
        found.map(|(_, time)| time).collect()
    }

    /// The last position of each source, as one who keeps one for each source has them.
    pub fn positions(&self) -> Vec<(Arc<str>, Position)> {
        let heard = self.0.0.lock().unwrap();
        let mut last = BTreeMap::new();
        for batch in heard.batches.iter().filter(|batch| batch.shared) {
            if let Some(position) = &batch.position {
                let row = position.to_row();
                last.insert(Arc::clone(&batch.source), Position::from_row(&row).unwrap());
            }
        }
        last.into_iter().collect()
    }

    pub fn notices(&self) -> Vec<String> {
        self.0.0.lock().unwrap().notices.iter().map(Notice::to_string).collect()
    }

    pub fn is_catching_up(&self) -> bool {
        self.0.0.lock().unwrap().batches.iter().any(|batch| !batch.shared)
    }
}

fn counts(heard: &Heard) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (jail, found) in heard.batches.iter().flat_map(|batch| &batch.found) {
        *counts.entry(jail.to_string()).or_default() += found.len();
    }
    counts
}

/// A jail that looks for `WORD from ADDRESS`.
pub fn jail(name: &str, word: &str, origin: Origin) -> Follow {
    let located = |text: String| Located::new(text, Place::command_line());
    let spec = FilterSpec {
        name: name.to_owned(),
        failregex: vec![located(format!("^ {word} from <HOST>$"))],
        ..FilterSpec::default()
    };
    let filter = Filter::compile(&spec, UseDns::No).unwrap();
    let dates = DateDetector::new(None, now()).unwrap();
    Follow {
        jail: name.into(),
        scanner: Scanner::new(filter, dates, ScanOptions::default()),
        findtime_s: 600,
        encoding: Encoding::default(),
        origin,
        stored: Vec::new(),
    }
}

pub fn files(globs: &[&str]) -> Origin {
    let logs = globs.iter().map(|glob| Log { glob: (*glob).to_owned(), from_end: false });
    Origin::Files { logs: logs.collect(), polling: false }
}

/// Lines of failures, `age` seconds old, from 10.0.0.N for each N.
pub fn lines(word: &str, age: i64, numbers: std::ops::Range<u32>) -> String {
    let stamp = now().plus_secs(-age).secs();
    numbers.fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "{stamp} {word} from 10.0.{}.{}", n / 250, n % 250);
        text
    })
}

/// The addresses in such lines.
pub fn hosts(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| format!("10.0.{}.{}", n / 250, n % 250)).collect()
}
