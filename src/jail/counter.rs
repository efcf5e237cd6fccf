//! `Counter`: who failed how often within `findtime`: a true sliding window.
//!
//! For each id the times of its last failures are kept, in whole seconds, fewer than `maxretry` of
//! them, since with the last one the id is handed over. Ids are chained in the order in which they
//! last failed: what is idle stands at the head and is dropped there, so that no event ever walks
//! over all of them. Four failures of an address cost some 47 bytes, and so does one.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::Arc,
};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{slab::Slab, words::cut};
use crate::{ticket::Id, time::Timestamp};

/// So many ids are counted at once in a jail; beyond, whoever was idle longest is forgotten, and
/// that is counted.
pub const IDS_MAX: usize = 250_000;

/// So many times are kept of one id. With a greater `maxretry` neighbouring ones share an entry.
pub const TIMES_MAX: u32 = 128;

/// Of the last lines so many bytes are kept, over all ids of a jail.
pub const LINES_BYTES_MAX: usize = 256 * 1024;

/// Of one line.
pub const LINE_BYTES_MAX: usize = 1024;

const NONE: u32 = u32::MAX;

/// Failures of one moment, or of a span of `Counter::grain` seconds from it.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: u32,
    count: u32,
}

/// The times of an id, oldest first. Up to four failures, which is what `maxretry = 5` needs, lie
/// where they are: the first, and how much later the others were. More of them, or such that are
/// further apart, lie in `Counter::many`, under this number.
#[derive(Clone, Copy, Debug)]
enum Times {
    Few { first: u32, later: [u16; 3], count: u8 },
    Many(u32),
}

/// An id in the least of room: nearly all are addresses. What else there is stands in
/// `Counter::others`, under this number.
#[derive(Clone, Copy, Debug)]
enum Key {
    Address(IpAddr),
    Other(u32),
}

/// What is known of an id, in 40 bytes.
#[derive(Clone, Copy, Debug)]
struct Slot {
    key: Key,
    times: Times,
    before: u32,
    behind: u32,
}

/// Counts failures within `findtime`.
#[derive(Clone, Debug)]
pub struct Counter {
    maxretry: u32,
    findtime_s: u32,
    slots: Slab<Slot>,
    others: Slab<Id>,
    many: Slab<Box<[Moment]>>,
    index: HashTable<u32>,
    hasher: IdHasher,
    /// Who was idle longest, and who failed last.
    head: u32,
    tail: u32,
    lines: LastLines,
    forgotten: u64,
}

/// Times within a window before `now`, as a sum.
fn within(times: impl Iterator<Item = Moment>, oldest: u32) -> u32 {
    times
        .filter(|moment| moment.at >= oldest)
        .fold(0, |sum: u32, moment| sum.saturating_add(moment.count))
}

impl Times {
    /// None if there are too many, or they are too far apart.
    fn few(moments: &[Moment]) -> Option<Times> {
        let total = within(moments.iter().copied(), 0);
        let count = u8::try_from(total).ok().filter(|count| *count <= 4)?;
        let first = moments.first().map_or(0, |moment| moment.at);
        let mut later = [0; 3];
        let singles = moments.iter().flat_map(|moment| (0..moment.count).map(|_| moment.at));
        for (slot, single) in later.iter_mut().zip(singles.skip(1)) {
            *slot = u16::try_from(single.checked_sub(first)?).ok()?;
        }
        Some(Times::Few { first, later, count })
    }
}

/// Whole seconds since 1970, held at the ends of what 32 bits can say (the year 2106).
fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.secs().max(0)).unwrap_or(u32::MAX)
}

impl Counter {
    /// An empty counter; both numbers are at least 1.
    pub fn new(maxretry: u32, findtime_s: u64) -> Counter {
        let mut counter = Counter {
            maxretry: 1,
            findtime_s: 1,
            slots: Slab::default(),
            others: Slab::default(),
            many: Slab::default(),
            index: HashTable::new(),
            hasher: IdHasher::new(),
            head: NONE,
            tail: NONE,
            lines: LastLines::default(),
            forgotten: 0,
        };
        counter.set(maxretry, findtime_s);
        counter
    }

    /// Other numbers from now on; what was counted stays.
    pub fn set(&mut self, maxretry: u32, findtime_s: u64) {
        self.maxretry = maxretry.max(1);
        self.findtime_s = u32::try_from(findtime_s.max(1)).unwrap_or(u32::MAX);
    }

    /// Counts a failure that weighs as so many (at least 1), at `at`, not later than `now`. If
    /// that makes `maxretry` within `findtime`, the id is handed over: their number comes back,
    /// and it is no longer counted.
    pub fn add(
        &mut self,
        id: &Id,
        at: Timestamp,
        weight: u32,
        line: Option<&str>,
        now: Timestamp,
    ) -> Option<u32> {
        let now = seconds(now);
        let at = seconds(at).min(now);
        let weight = weight.max(1);
        let hash = self.hash(id);
        let number = self.find_hashed(hash, id);
        if number.is_none() {
            // Of most addresses this is the first failure, and often the last.
            if weight >= self.maxretry {
                return Some(weight);
            }
            let number = self.insert(hash, id);
            self.set_times(number, &[Moment { at, count: weight }]);
            self.chain(number);
            self.lines.put(number, line.unwrap_or_default());
            return None;
        }
        let mut moments: Vec<Moment> = Vec::new();
        // Who was idle for too long starts anew, swept already or not.
        let slot = number.and_then(|number| self.slots.get(number));
        if let Some(slot) = slot.filter(|slot| !self.is_idle(slot, now)) {
            // After a step of the clock backwards, what lies ahead happened just now.
            let known = self.moments(&slot.times);
            moments.extend(known.map(|moment| Moment { at: moment.at.min(now), ..moment }));
        }
        let place = moments.partition_point(|moment| moment.at <= at);
        moments.insert(place, Moment { at, count: weight });
        let newest = moments.last().map_or(at, |moment| moment.at);
        let oldest = newest.saturating_sub(self.findtime_s);
        moments.retain(|moment| moment.at >= oldest);
        let count = within(moments.iter().copied(), 0);
        if count >= self.maxretry {
            if let Some(number) = number {
                self.drop_slot(number);
            }
            return Some(count);
        }
        self.thin(&mut moments);
        let number = match number {
            Some(number) => {
                self.unchain(number);
                number
            }
            None => self.insert(hash, id),
        };
        self.set_times(number, &moments);
        self.chain(number);
        if let Some(line) = line {
            self.lines.put(number, line);
        }
        None
    }

    /// Failures of an id within `findtime` before `now`.
    pub fn count(&self, id: &Id, now: Timestamp) -> u32 {
        let slot = self.find(id).and_then(|number| self.slots.get(number));
        let oldest = seconds(now).saturating_sub(self.findtime_s);
        slot.map_or(0, |slot| within(self.moments(&slot.times), oldest))
    }

    /// The last line of an id, cut to [`LINE_BYTES_MAX`], if it is still kept.
    pub fn last_line(&self, id: &Id) -> Option<Arc<str>> {
        self.lines.get(self.find(id)?)
    }

    /// Forgets an id; true if it was counted.
    pub fn remove(&mut self, id: &Id) -> bool {
        let number = self.find(id);
        number.is_some_and(|number| self.drop_slot(number))
    }

    /// Forgets everybody.
    pub fn clear(&mut self) {
        let (maxretry, findtime_s) = (self.maxretry, u64::from(self.findtime_s));
        *self = Counter { forgotten: self.forgotten, ..Counter::new(maxretry, findtime_s) };
    }

    /// Ids that are counted.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True if nobody failed of late.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the number of ids that were forgotten for want of room since the last call.
    pub fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }

    /// Drops who has not failed within `findtime` before `now`, but at most `most` ids; true if
    /// that was enough.
    pub fn expire(&mut self, now: Timestamp, most: usize) -> bool {
        for _ in 0..most {
            if self.next_expiry().is_none_or(|at| at > now) {
                return true;
            }
            self.drop_slot(self.head);
        }
        self.next_expiry().is_none_or(|at| at > now)
    }

    /// When the id that was idle longest is to be dropped.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        let newest = self.newest(self.slots.get(self.head)?);
        Some(Timestamp::from_secs(i64::from(newest) + i64::from(self.findtime_s) + 1))
    }

    /// The clock was set back from `before` to `now`: who was idle for too long by then is
    /// forgotten, and what lies ahead of `now` happened just now.
    pub fn set_back(&mut self, before: Timestamp, now: Timestamp) {
        let (before, now) = (seconds(before), seconds(now));
        let idle: Vec<u32> = {
            let idle = self.slots.iter().filter(|(_, slot)| self.is_idle(slot, before));
            idle.map(|(number, _)| number).collect()
        };
        for number in idle {
            self.drop_slot(number);
        }
        for (_, slot) in self.slots.iter_mut() {
            if let Times::Few { first, later, .. } = &mut slot.times {
                *first = (*first).min(now);
                let most = u16::try_from(now - *first).unwrap_or(u16::MAX);
                later.iter_mut().for_each(|later| *later = (*later).min(most));
            }
        }
        for (_, many) in self.many.iter_mut() {
            many.iter_mut().for_each(|moment| moment.at = moment.at.min(now));
        }
    }

    /// Neighbours share an entry where there are more times than are kept. An entry counts as long
    /// as its first failure does, so that none is ever counted for longer than `findtime`.
    fn thin(&self, moments: &mut Vec<Moment>) {
        let grain = match self.maxretry > TIMES_MAX {
            true => self.findtime_s / (TIMES_MAX - 1) + 1,
            false => 1,
        };
        moments.dedup_by(|later, earlier| {
            let near = later.at - earlier.at < grain;
            if near {
                earlier.count = earlier.count.saturating_add(later.count);
            }
            near
        });
    }

    fn is_idle(&self, slot: &Slot, now: u32) -> bool {
        u64::from(self.newest(slot)) + u64::from(self.findtime_s) < u64::from(now)
    }

    fn moments(&self, times: &Times) -> impl Iterator<Item = Moment> {
        let (first, later, count, many) = match *times {
            Times::Few { first, later, count } => (first, later, usize::from(count), None),
            Times::Many(number) => (0, [0; 3], 0, self.many.get(number)),
        };
        let later = later.into_iter().map(move |later| first.saturating_add(u32::from(later)));
        let few = std::iter::once(first).chain(later).take(count);
        let few = few.map(|at| Moment { at, count: 1 });
        few.chain(many.into_iter().flat_map(|many| many.iter().copied()))
    }

    fn newest(&self, slot: &Slot) -> u32 {
        match &slot.times {
            Times::Few { first, later, count } => {
                let last = usize::from(*count).checked_sub(2).and_then(|last| later.get(last));
                first.saturating_add(last.map_or(0, |later| u32::from(*later)))
            }
            Times::Many(number) => {
                let newest = self.many.get(*number).and_then(|many| many.last());
                newest.map_or(0, |moment| moment.at)
            }
        }
    }

    fn set_times(&mut self, number: u32, moments: &[Moment]) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        if let Times::Many(old) = slot.times {
            self.many.remove(old);
        }
        slot.times = match Times::few(moments) {
            Some(few) => few,
            None => Times::Many(self.many.insert(moments.into())),
        };
    }

    fn is_of(&self, slot: &Slot, id: &Id) -> bool {
        match (&slot.key, id) {
            (Key::Address(known), Id::Ip(address)) => known == address,
            (Key::Address(_), _) => false,
            (Key::Other(number), _) => self.others.get(*number) == Some(id),
        }
    }

    fn hash(&self, id: &Id) -> u64 {
        match id {
            Id::Ip(address) => self.hasher.of_address(*address),
            other => self.hasher.of_other(other),
        }
    }

    fn find(&self, id: &Id) -> Option<u32> {
        self.find_hashed(self.hash(id), id)
    }

    fn find_hashed(&self, hash: u64, id: &Id) -> Option<u32> {
        let is_it = |number: &u32| self.slots.get(*number).is_some_and(|slot| self.is_of(slot, id));
        self.index.find(hash, is_it).copied()
    }

    fn insert(&mut self, hash: u64, id: &Id) -> u32 {
        if self.slots.len() >= IDS_MAX {
            self.forgotten += 1;
            self.drop_slot(self.head);
        }
        let key = match id {
            Id::Ip(address) => Key::Address(*address),
            other => Key::Other(self.others.insert(other.clone())),
        };
        let times = Times::Few { first: 0, later: [0; 3], count: 0 };
        let number = self.slots.insert(Slot { key, times, before: NONE, behind: NONE });
        let Counter { index, slots, others, hasher, .. } = self;
        index.insert_unique(hash, number, |number| {
            slots.get(*number).map_or(0, |slot| hash_of(hasher, slot, others))
        });
        number
    }

    fn drop_slot(&mut self, number: u32) -> bool {
        self.unchain(number);
        let Some(slot) = self.slots.remove(number) else { return false };
        let hash = hash_of(&self.hasher, &slot, &self.others);
        if let Ok(entry) = self.index.find_entry(hash, |n| *n == number) {
            entry.remove();
        }
        if let Key::Other(number) = slot.key {
            self.others.remove(number);
        }
        if let Times::Many(number) = slot.times {
            self.many.remove(number);
        }
        if self.slots.len() == 0 {
            self.index = HashTable::new();
            self.lines = LastLines::default();
        }
        true
    }

    fn unchain(&mut self, number: u32) {
        let Some(slot) = self.slots.get(number) else { return };
        let (before, behind) = (slot.before, slot.behind);
        match self.slots.get_mut(before) {
            Some(slot) => slot.behind = behind,
            None if self.head == number => self.head = behind,
            None => return, // not chained yet
        }
        match self.slots.get_mut(behind) {
            Some(slot) => slot.before = before,
            None => self.tail = before,
        }
    }

    fn chain(&mut self, number: u32) {
        let tail = self.tail;
        if let Some(slot) = self.slots.get_mut(number) {
            (slot.before, slot.behind) = (tail, NONE);
        }
        match self.slots.get_mut(tail) {
            Some(last) => last.behind = number,
            None => self.head = number,
        }
        self.tail = number;
    }
}

fn hash_of(hasher: &IdHasher, slot: &Slot, others: &Slab<Id>) -> u64 {
    match slot.key {
        Key::Address(address) => hasher.of_address(address),
        Key::Other(number) => others.get(number).map_or(0, |id| hasher.of_other(id)),
    }
}

/// Offenders choose what is hashed, so nobody but chance may choose how. Addresses are a word or
/// two, for which a quick hash does behind a salt; texts get one that was made to be attacked.
#[derive(Clone, Debug)]
struct IdHasher {
    quick: DefaultHashBuilder,
    salt: u128,
    sound: RandomState,
}

impl IdHasher {
    fn new() -> IdHasher {
        let sound = RandomState::new();
        let half = |half: u8| u128::from(sound.hash_one(half));
        IdHasher { quick: DefaultHashBuilder::default(), salt: half(0) << 64 | half(1), sound }
    }

    fn of_address(&self, address: IpAddr) -> u64 {
        match address {
            IpAddr::V4(v4) => self.quick.hash_one(u64::from(u32::from(v4)) ^ self.salt as u64),
            IpAddr::V6(v6) => self.quick.hash_one(u128::from(v6) ^ self.salt),
        }
    }

    fn of_other(&self, id: &Id) -> u64 {
        self.sound.hash_one(id)
    }
}

/// The last lines of whom there is room for, one behind the other. Nothing is looked for when one
/// is put in, as that happens all the time, and is asked for once in a blue moon.
#[derive(Clone, Debug, Default)]
struct LastLines {
    /// Whose, and how long; oldest first. What somebody had before is followed by what he has now,
    /// and whoever takes over a number begins with a line, be it empty.
    order: VecDeque<(u32, u32)>,
    text: VecDeque<u8>,
}

/// What keeping a line costs beside its bytes, about: a place in the order, and some air.
const LINE_COST: usize = 16;

impl LastLines {
    fn put(&mut self, number: u32, line: &str) {
        let line = cut(line, LINE_BYTES_MAX);
        let room = LINES_BYTES_MAX - LINE_COST - line.len();
        while self.text.len() + self.order.len() * LINE_COST > room
            && let Some((_, length)) = self.order.pop_front()
        {
            self.text.drain(..(length as usize).min(self.text.len()));
        }
        self.order.push_back((number, u32::try_from(line.len()).unwrap_or(0)));
        self.text.extend(line.as_bytes());
    }

    fn get(&self, number: u32) -> Option<Arc<str>> {
        let mut end = self.text.len();
        for (whose, length) in self.order.iter().rev() {
            let from = end.saturating_sub(*length as usize);
            if *whose == number && from < end {
                let line: Vec<u8> = self.text.range(from..end).copied().collect();
                return Some(String::from_utf8_lossy(&line).into());
            } else if *whose == number {
                return None;
            }
            end = from;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + seconds)
    }

    fn id(number: u32) -> Id {
        Id::Ip(std::net::Ipv4Addr::from(number).into())
    }

    #[test]
    fn an_id_is_handed_over_at_maxretry_inside_findtime() {
        struct Row {
            name: &'static str,
            maxretry: u32,
            failures_s: &'static [i64],
            handed_over: &'static [(i64, u32)],
        }
        let rows = [
            Row { name: "never failed", maxretry: 3, failures_s: &[], handed_over: &[] },
            Row { name: "one is enough", maxretry: 1, failures_s: &[5], handed_over: &[(5, 1)] },
            Row { name: "one short", maxretry: 3, failures_s: &[0, 10], handed_over: &[] },
            Row {
                name: "exactly",
                maxretry: 3,
                failures_s: &[0, 10, 20, 30, 40],
                handed_over: &[(20, 3)],
            },
            Row {
                name: "first of findtime's age",
                maxretry: 3,
                failures_s: &[0, 10, 600],
                handed_over: &[(600, 3)],
            },
            Row {
                name: "first just older",
                maxretry: 3,
                failures_s: &[0, 10, 601],
                handed_over: &[],
            },
            Row {
                name: "slides",
                maxretry: 3,
                failures_s: &[0, 500, 700, 900],
                handed_over: &[(900, 3)],
            },
            Row {
                name: "one every 200 s for ever",
                maxretry: 5,
                failures_s: &[0, 200, 400, 600, 800, 1000, 1200, 1400, 1600],
                handed_over: &[],
            },
            Row {
                name: "a late line, an old date",
                maxretry: 3,
                failures_s: &[100, 90, 95],
                handed_over: &[(95, 3)],
            },
            Row {
                name: "too late to count",
                maxretry: 2,
                failures_s: &[1000, 100],
                handed_over: &[],
            },
            Row {
                name: "more than four are kept",
                maxretry: 7,
                failures_s: &[1, 1, 2, 3, 5, 8, 13],
                handed_over: &[(13, 7)],
            },
        ];
        for Row { name, maxretry, failures_s, handed_over } in rows {
            let mut counter = Counter::new(maxretry, 600);
            let mut got = Vec::new();
            let mut now = at(0);
            for failure in failures_s {
                now = now.max(at(*failure));
                if let Some(count) = counter.add(&id(1), at(*failure), 1, None, now) {
                    got.push((*failure, count));
                }
            }
            assert_eq!(got, handed_over, "{name}");
        }
    }

    #[test]
    fn a_weight_counts_as_so_many() {
        let mut counter = Counter::new(5, 600);
        assert_eq!(counter.add(&id(1), at(0), 3, None, at(0)), None);
        assert_eq!(counter.count(&id(1), at(0)), 3);
        assert_eq!(counter.add(&id(1), at(1), 9, None, at(1)), Some(12));
        assert_eq!(counter.count(&id(1), at(1)), 0);
        let mut greedy = Counter::new(u32::MAX, 600);
        assert_eq!(greedy.add(&id(1), at(0), u32::MAX - 1, None, at(0)), None);
        assert_eq!(greedy.add(&id(1), at(0), u32::MAX, None, at(0)), Some(u32::MAX));
    }

    #[test]
    fn a_great_maxretry_is_counted_in_few_entries() {
        let mut counter = Counter::new(1000, 600);
        for second in 0..5000 {
            let last = counter.add(&id(1), at(second), 1, None, at(second));
            assert_eq!(last, None, "one a second never makes 1000 within 600 s");
        }
        let Some(slot) = counter.slots.get(0) else { panic!() };
        assert!(counter.moments(&slot.times).count() <= TIMES_MAX as usize, "{:?}", slot.times);
        let count = counter.count(&id(1), at(4999));
        assert!((590..=601).contains(&count), "{count}");
        let times = 5000..;
        let over = times.into_iter().find(|half| {
            let now = at(5000 + (half - 5000) / 2);
            counter.add(&id(1), now, 1, None, now).is_some()
        });
        assert!((5700..=6000).contains(&over.unwrap()), "{over:?}");
    }

    #[test]
    fn who_is_idle_is_dropped_without_a_look_at_the_others() {
        let mut counter = Counter::new(5, 600);
        for number in 0..1000 {
            let now = at(i64::from(number));
            counter.add(&id(number), now, 1, None, now);
        }
        counter.add(&id(0), at(1000), 1, None, at(1000));
        assert!(counter.expire(at(1000), 10_000));
        assert_eq!(counter.len(), 601, "400 to 999, and the one that failed again");
        assert_eq!(counter.count(&id(0), at(1000)), 1);
        assert!(!counter.expire(at(9000), 100));
        assert!(counter.expire(at(9000), 1000));
        assert!(counter.is_empty());
        assert_eq!(counter.next_expiry(), None);
    }

    #[test]
    fn beyond_the_limit_the_longest_idle_is_forgotten() {
        let mut counter = Counter::new(2, 600);
        for number in 0..=u32::try_from(IDS_MAX).unwrap() {
            counter.add(&id(number), at(0), 1, None, at(0));
        }
        assert_eq!((counter.len(), counter.take_forgotten()), (IDS_MAX, 1));
        assert_eq!(counter.take_forgotten(), 0);
        assert_eq!(counter.count(&id(0), at(0)), 0);
        assert_eq!(counter.count(&id(1), at(0)), 1);
        assert!(counter.remove(&id(1)) && !counter.remove(&id(1)));
    }

    #[test]
    fn what_is_no_address_is_counted_and_forgotten_alike() {
        let ids = ["bob", "192.0.2.0/24", "2001:db8::/64", "2001:db8::1", "192.0.2.1"];
        let ids = ids.map(Id::parse);
        let mut counter = Counter::new(9, 600);
        for round in 1..8 {
            for id in &ids {
                assert_eq!(counter.add(id, at(round), 1, None, at(round)), None);
                assert_eq!(counter.count(id, at(round)), round as u32, "{id}");
            }
        }
        assert_eq!((counter.len(), counter.others.len(), counter.many.len()), (5, 3, 5));
        assert!(counter.remove(&ids[0]) && !counter.remove(&ids[0]));
        assert_eq!(counter.count(&Id::parse("192.0.2.0"), at(8)), 0);
        assert_eq!((counter.others.len(), counter.many.len()), (2, 4));
        assert_eq!(counter.add(&ids[2], at(8), 2, None, at(8)), Some(9));
        assert!(counter.expire(at(10_000), 10));
        assert_eq!((counter.len(), counter.others.len(), counter.many.len()), (0, 0, 0));
    }

    #[test]
    fn lines_have_a_budget() {
        let mut counter = Counter::new(5, 600);
        let line: Arc<str> = "é".repeat(LINE_BYTES_MAX).into();
        for number in 0..1000 {
            counter.add(&id(number), at(0), 1, Some(&line), at(0));
        }
        assert_eq!(counter.last_line(&id(0)), None);
        assert_eq!(counter.last_line(&id(999)).map(|line| line.len()), Some(LINE_BYTES_MAX));
        let kept = &counter.lines;
        assert!(kept.text.len() + kept.order.len() * LINE_COST <= LINES_BYTES_MAX);
        assert!(kept.text.capacity() <= LINES_BYTES_MAX);
        for number in 0..1000 {
            counter.remove(&id(number));
        }
        assert_eq!((counter.lines.text.capacity(), counter.lines.order.capacity()), (0, 0));
    }

    #[test]
    fn nobody_gets_the_last_line_of_another() {
        let mut counter = Counter::new(9, 600);
        let last = |counter: &Counter, number| counter.last_line(&id(number)).unwrap_or_default();
        for (number, line) in [(1, "one"), (2, "two"), (1, "one again"), (3, "ä")] {
            counter.add(&id(number), at(0), 1, Some(line), at(0));
        }
        counter.add(&id(2), at(0), 1, None, at(0));
        assert_eq!([1, 2, 3].map(|n| last(&counter, n)), ["one again", "two", "ä"].map(Arc::from));
        // Who comes next has the place of who went.
        counter.remove(&id(1));
        counter.add(&id(4), at(0), 1, None, at(0));
        assert_eq!([1, 4].map(|n| counter.last_line(&id(n))), [None, None]);
        counter.add(&id(4), at(0), 1, Some("four"), at(0));
        assert_eq!(last(&counter, 4), "four".into());
        assert_eq!(last(&counter, 3), "ä".into());
    }

    #[test]
    fn a_clock_set_back_forgets_nothing_and_keeps_nothing_for_ever() {
        let mut counter = Counter::new(3, 600);
        counter.add(&id(1), at(86_400), 1, None, at(86_400));
        counter.set_back(at(86_400), at(0));
        assert_eq!(counter.add(&id(1), at(1), 1, None, at(1)), None);
        assert_eq!(counter.add(&id(1), at(2), 1, None, at(2)), Some(3));
        counter.add(&id(2), at(86_400), 1, None, at(86_400));
        counter.set_back(at(86_400), at(0));
        assert!(counter.expire(at(601), 10) && counter.is_empty());
    }

    #[test]
    fn failures_that_are_far_apart_count_like_others() {
        let mut counter = Counter::new(4, 864_000);
        let far = [0, 65_535, 65_536, 200_000];
        for (nth, second) in (1..).zip(&far[..3]) {
            assert_eq!(counter.add(&id(1), at(*second), 1, None, at(*second)), None);
            assert_eq!(counter.count(&id(1), at(*second)), nth);
        }
        assert_eq!(counter.many.len(), 1);
        assert_eq!(counter.count(&id(1), at(65_535 + 864_000)), 2);
        assert_eq!(counter.next_expiry(), Some(at(65_536 + 864_000 + 1)));
        assert_eq!(counter.add(&id(1), at(far[3]), 1, None, at(far[3])), Some(4));
        assert_eq!((counter.len(), counter.many.len()), (0, 0));
        // Of times that lie where they are, a clock that is set back cuts what lies ahead.
        for second in [0, 10, 60_000] {
            counter.add(&id(1), at(second), 1, None, at(second));
        }
        counter.set_back(at(60_000), at(20));
        assert_eq!(counter.next_expiry(), Some(at(20 + 864_000 + 1)));
        assert_eq!([0, 10, 20].map(|age| counter.count(&id(1), at(864_000 + age))), [3, 2, 1]);
    }

    #[test]
    fn no_time_is_too_strange() {
        let extremes = [i64::MIN, -1, 0, 1, i64::MAX].map(Timestamp::from_micros);
        let mut counter = Counter::new(1000, u64::MAX);
        for at in extremes {
            for now in extremes {
                counter.add(&id(1), at, 1, None, now);
                counter.count(&id(1), now);
                counter.set_back(at, now);
                counter.expire(now, 1);
            }
        }
    }

    #[test]
    fn an_id_costs_few_bytes() {
        assert_eq!(size_of::<Option<Slot>>(), 40);
    }
}
