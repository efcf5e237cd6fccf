//! What the tests of the store share: entries in short, and all that a store holds as text.
#![allow(dead_code, clippy::unwrap_used, reason = "helpers of tests; each test uses some")]

use std::{fmt::Write, path::Path, sync::Arc};

use sentryban::{
    store::{Entry, Location, Options, Reader, Store, UnbanWhy},
    ticket::{Ban, BanTime, Evidence, Id, Ticket},
    time::Timestamp,
};

use crate::common::Random;

pub const JAILS: [&str; 3] = ["sshd", "portsentry", "recidive"];

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(seconds)
}

pub fn open(path: &Path) -> Store {
    Store::open(&Location::File(path.to_owned()), Options::default(), at(1000)).unwrap()
}

pub fn lines(lines: &[&str]) -> Arc<Evidence> {
    let lines = lines.iter().map(|line| Arc::from(*line)).collect();
    Arc::new(Evidence { lines, ..Evidence::default() })
}

pub fn failure(jail: &str, id: &str, time: i64, line: &str) -> Entry {
    let ticket =
        Ticket { id: Id::parse(id), time: at(time), attempts: 1, evidence: lines(&[line]).into() };
    Entry::Failure { jail: jail.into(), ticket }
}

pub fn ban_of(id: &str, from: i64, seconds: u64, count: u32) -> Ban {
    Ban {
        id: Id::parse(id),
        from: at(from),
        time: BanTime::Seconds(seconds),
        count,
        failures: 5,
        restored: false,
        evidence: Arc::default(),
    }
}

pub fn ban(jail: &str, id: &str, from: i64, seconds: u64, count: u32) -> Entry {
    Entry::Ban { jail: jail.into(), ban: ban_of(id, from, seconds, count), ordered: false }
}

pub fn unban(jail: &str, id: &str, why: UnbanWhy) -> Entry {
    Entry::Unban { jail: jail.into(), id: Id::parse(id), why }
}

pub fn position(key: &str, value: &str) -> Entry {
    Entry::Position { key: key.into(), value: value.as_bytes().into() }
}

/// The ids of current bans, as `jail id`.
pub fn banned(store: &Reader) -> Vec<String> {
    let mut bans = Vec::new();
    store.for_each_ban(|jail, ban, _| bans.push(format!("{jail} {}", ban.id))).unwrap();
    bans.sort();
    bans
}

/// All that a store holds, as text.
pub fn dump(store: &Reader) -> String {
    let mut text = String::new();
    let mut ids = Vec::new();
    let mut bans = Vec::new();
    store
        .for_each_ban(|jail, ban, ordered| {
            ids.push(ban.id.clone());
            bans.push((jail.clone(), ban, ordered));
        })
        .unwrap();
    bans.sort_by(|a, b| (&a.0, &a.1.id).cmp(&(&b.0, &b.1.id)));
    for (jail, ban, ordered) in bans {
        let evidence = store.evidence(&jail, &ban.id).unwrap().unwrap();
        writeln!(text, "ban {jail} {ban:?} {ordered} {evidence:?}").unwrap();
    }
    for row in store.jails().unwrap() {
        writeln!(text, "{row:?}").unwrap();
        store
            .for_each_failure(&row.jail, at(0), |ticket| {
                ids.push(ticket.id.clone());
                writeln!(text, "failure {} {ticket:?}", row.jail).unwrap();
            })
            .unwrap();
    }
    let keep = |key: &str, value: &[u8]| {
        writeln!(text, "position {key} {}", String::from_utf8_lossy(value)).unwrap();
    };
    store.for_each_position(keep).unwrap();
    ids.extend((0..IDS).map(id));
    ids.sort();
    ids.dedup();
    for id in ids {
        for ban in store.history(None, &id, 1000).unwrap() {
            writeln!(text, "history {id} {ban:?}").unwrap();
        }
        for jail in JAILS {
            writeln!(text, "past {id} {jail} {:?}", store.past(Some(jail), &id).unwrap()).unwrap();
        }
    }
    text
}

const IDS: usize = 30;

fn id(number: usize) -> Id {
    Id::parse(&match number % 3 {
        0 => format!("192.0.2.{number}"),
        1 => format!("2001:db8:{number:x}::/64"),
        _ => format!("user{number}"),
    })
}

/// The batch number `number` of an endless history; the same for a seed, whoever asks.
pub fn batch(seed: u64, number: u64) -> Vec<Entry> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9) ^ number);
    let now = i64::try_from(number).unwrap() + 10_000;
    let mut entries = vec![position("number", &number.to_string())];
    if number <= 1 {
        let start = |jail: &str| Entry::JailStart { jail: jail.into(), findtime_s: 1 << 40 };
        entries.extend(JAILS.map(start));
    }
    for _ in 0..random.below(12) {
        let jail = random.pick(&JAILS);
        let id = id(random.below(IDS)).to_string();
        entries.push(match random.below(20) {
            0..10 => {
                failure(jail, &id, now - 1 + random.below(2) as i64, &format!("line {number}"))
            }
            10..14 => ban(jail, &id, now, 600, 1 + random.below(5) as u32),
            14 => {
                let ban = ban_of(&id, now, 3600, 9);
                Entry::Prolong { jail: jail.into(), ban, ordered: false }
            }
            15 => unban(jail, &id, UnbanWhy::Lapsed),
            16 => unban(jail, &id, UnbanWhy::Ordered),
            17 => Entry::Forget { jail: jail.into(), id: Id::parse(&id) },
            18 => position(&format!("/var/log/{}", random.below(5)), &number.to_string()),
            _ if random.below(10) == 0 => Entry::UnbanAll { jail: jail.into() },
            _ => {
                let counters = sentryban::store::Counters { failed: number, banned: 1 };
                Entry::Counters { jail: jail.into(), counters }
            }
        });
    }
    entries
}

/// When batch `number` happens.
pub fn time_of(number: u64) -> Timestamp {
    at(i64::try_from(number).unwrap() + 10_000)
}

/// The number of the last batch that a store holds; 0 if it is empty.
pub fn number_of(store: &Reader) -> u64 {
    let value = store.position("number").unwrap();
    value.map_or(0, |value| String::from_utf8(value).unwrap().parse().unwrap())
}
