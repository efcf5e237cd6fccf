//! `BanList`: who is out, until when, and whether the kernel says so too.
//!
//! A million bans fit in a hundred megabytes: a slot of 64 bytes each, an index of numbers, and a
//! heap of deadlines in which moved ones stay behind until they come up. What led to a ban is not
//! here; the store knows it.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use hashbrown::HashTable;

use super::slab::Slab;
use crate::{
    net::Cidr,
    ticket::{Ban, BanTime, Evidence, Id},
    time::Timestamp,
};

/// Stands for "never" among deadlines.
const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

/// Where a ban stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BanState {
    /// Decided, and not yet answered by all banactions that matter.
    Pending,
    /// All deciding actions hold it.
    Held,
    /// Some deciding action failed, so many times in a row; it is tried again.
    Failing(u32),
}

/// A ban as listings show it.
#[derive(Clone, Debug, PartialEq)]
pub struct BanView {
    /// Who.
    pub id: Id,
    /// Since when; a renewed ban counts from its renewal.
    pub from: Timestamp,
    /// For how long, from then.
    pub time: BanTime,
    /// Until when; none for good.
    pub until: Option<Timestamp>,
    /// Which ban of this id it is.
    pub count: u32,
    /// Failures that led to it.
    pub failures: u32,
    /// Where it stands.
    pub state: BanState,
    /// Somebody ordered it.
    pub ordered: bool,
    /// It came back from the store.
    pub restored: bool,
}

/// One ban in memory.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) id: Id,
    pub(super) from: Timestamp,
    /// [`NEVER`] for good.
    until: Timestamp,
    pub(super) count: u32,
    pub(super) failures: u32,
    /// The deciding actions that have not said yet that they hold it, as bits of their places.
    pub(super) waits: u32,
    /// With which act it began (the low bits of its number): answers to earlier ones are about
    /// another ban of this id.
    pub(super) since: u32,
    /// How often they failed in a row.
    pub(super) tries: u16,
    /// The next try has its time.
    pub(super) scheduled: bool,
    pub(super) ordered: bool,
    pub(super) restored: bool,
    /// The log has said that it is banned.
    pub(super) told: bool,
    /// It grew, and the log is to say so.
    pub(super) grown: bool,
}

impl Slot {
    pub(super) fn new(ban: &Ban, ordered: bool, waits: u32) -> Slot {
        Slot {
            id: ban.id.clone(),
            from: ban.from,
            until: ban.until().unwrap_or(NEVER),
            count: ban.count,
            failures: ban.failures,
            waits,
            since: 0,
            tries: 0,
            scheduled: false,
            ordered,
            restored: ban.restored,
            told: false,
            grown: false,
        }
    }

    pub(super) fn until(&self) -> Option<Timestamp> {
        Some(self.until).filter(|until| *until != NEVER)
    }

    pub(super) fn time(&self) -> BanTime {
        match self.until() {
            None => BanTime::Permanent,
            Some(until) => {
                let micros = until.micros().saturating_sub(self.from.micros());
                BanTime::Seconds(u64::try_from(micros / 1_000_000).unwrap_or(0))
            }
        }
    }

    /// As banactions and the store get it, without what led to it.
    pub(super) fn ban(&self, evidence: Arc<Evidence>) -> Ban {
        Ban {
            id: self.id.clone(),
            from: self.from,
            time: self.time(),
            count: self.count,
            failures: self.failures,
            restored: self.restored,
            evidence,
        }
    }

    pub(super) fn state(&self) -> BanState {
        match (self.waits, self.tries) {
            (0, _) => BanState::Held,
            (_, 0) => BanState::Pending,
            (_, tries) => BanState::Failing(u32::from(tries)),
        }
    }

    pub(super) fn view(&self) -> BanView {
        BanView {
            id: self.id.clone(),
            from: self.from,
            time: self.time(),
            until: self.until(),
            count: self.count,
            failures: self.failures,
            state: self.state(),
            ordered: self.ordered,
            restored: self.restored,
        }
    }
}

/// The bans of a jail.
#[derive(Clone, Debug, Default)]
pub(super) struct BanList {
    slots: Slab<Slot>,
    index: HashTable<u32>,
    hasher: RandomState,
    /// Deadlines; an entry that is not its slot's deadline (any more) says nothing.
    deadlines: BinaryHeap<Reverse<(Timestamp, u32)>>,
    /// The prefix lengths of banned networks, each with whether it is IPv6 and how many there are.
    prefixes: Vec<(bool, u8, u32)>,
}

impl BanList {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// One above the greatest number of a ban.
    pub(super) fn end(&self) -> u32 {
        self.slots.end()
    }

    pub(super) fn get(&self, number: u32) -> Option<&Slot> {
        self.slots.get(number)
    }

    /// For everything but the deadline: that is set by [`BanList::set_end`].
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Slot> {
        self.slots.get_mut(number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Slot)> {
        self.slots.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Slot)> {
        self.slots.iter_mut()
    }

    /// The ban of exactly this id.
    pub(super) fn find(&self, id: &Id) -> Option<u32> {
        let is_it = |number: &u32| self.slots.get(*number).is_some_and(|slot| slot.id == *id);
        self.index.find(self.hasher.hash_one(id), is_it).copied()
    }

    /// The ban under which an id is out: its own, or that of a network around it.
    pub(super) fn find_around(&self, id: &Id) -> Option<u32> {
        if let Some(number) = self.find(id) {
            return Some(number);
        }
        let network = id.network()?;
        let (v6, bits) = (network.address().is_ipv6(), network.bits());
        let lengths =
            self.prefixes.iter().filter(|(is_v6, length, _)| *is_v6 == v6 && *length < bits);
        lengths
            .filter_map(|(_, length, _)| {
                self.find(&Id::of_network(Cidr::new(network.address(), *length)))
            })
            .next()
    }

    /// All bans of addresses and networks that touch this network.
    pub(super) fn touching(&self, network: Cidr) -> Vec<u32> {
        let touches = |slot: &Slot| slot.id.network().is_some_and(|other| other.touches(network));
        self.slots.iter().filter(|(_, slot)| touches(slot)).map(|(number, _)| number).collect()
    }

    /// True if any network is banned.
    pub(super) fn has_networks(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// Puts a ban in; nobody may be banned twice.
    pub(super) fn insert(&mut self, slot: Slot) -> u32 {
        let (hash, until) = (self.hasher.hash_one(&slot.id), slot.until());
        self.count_prefix(&slot.id, true);
        let number = self.slots.insert(slot);
        let BanList { index, slots, hasher, .. } = self;
        index.insert_unique(hash, number, |number| {
            slots.get(*number).map_or(0, |slot| hasher.hash_one(&slot.id))
        });
        if let Some(until) = until {
            self.deadlines.push(Reverse((until, number)));
        }
        number
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<Slot> {
        let slot = self.slots.remove(number)?;
        if let Ok(entry) = self.index.find_entry(self.hasher.hash_one(&slot.id), |n| *n == number) {
            entry.remove();
        }
        self.count_prefix(&slot.id, false);
        if self.slots.len() == 0 {
            self.index = HashTable::new();
            self.deadlines = BinaryHeap::new();
        }
        Some(slot)
    }

    /// Takes all bans out.
    pub(super) fn take(&mut self) -> Vec<Slot> {
        let numbers: Vec<u32> = self.slots.iter().map(|(number, _)| number).collect();
        numbers.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    /// Another beginning and length.
    pub(super) fn set_end(&mut self, number: u32, from: Timestamp, time: BanTime) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        slot.from = from;
        slot.until = time.until(from).unwrap_or(NEVER);
        if let Some(until) = slot.until() {
            self.deadlines.push(Reverse((until, number)));
        }
        // Whoever is prolonged again and again must not fill the heap.
        if self.deadlines.len() > 2 * self.slots.len() + 1024 {
            let slots = self.slots.iter();
            let ends = slots.filter_map(|(number, slot)| Some(Reverse((slot.until()?, number))));
            self.deadlines = ends.collect();
        }
    }

    /// Not later than the next ban ends.
    pub(super) fn peek_deadline(&self) -> Option<Timestamp> {
        self.deadlines.peek().map(|Reverse((until, _))| *until)
    }

    /// When the next ban ends.
    fn next_deadline(&mut self) -> Option<Timestamp> {
        while let Some(Reverse((until, number))) = self.deadlines.peek() {
            if self.slots.get(*number).is_some_and(|slot| slot.until == *until) {
                return Some(*until);
            }
            self.deadlines.pop();
        }
        None
    }

    /// A ban whose time is over at `now`, the first to end first.
    pub(super) fn pop_over(&mut self, now: Timestamp) -> Option<Slot> {
        if self.next_deadline()? > now {
            return None;
        }
        let Reverse((_, number)) = self.deadlines.pop()?;
        self.remove(number)
    }

    fn count_prefix(&mut self, id: &Id, one_more: bool) {
        let Id::Net(network) = id else { return };
        let (v6, bits) = (network.address().is_ipv6(), network.bits());
        let known =
            self.prefixes.iter_mut().find(|(is_v6, length, _)| (*is_v6, *length) == (v6, bits));
        match (known, one_more) {
            (Some((.., count)), true) => *count += 1,
            (Some((.., count)), false) => *count -= 1,
            (None, true) => self.prefixes.push((v6, bits, 1)),
            (None, false) => {}
        }
        self.prefixes.retain(|(.., count)| *count > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(id: &str, from_s: i64, time: BanTime) -> Slot {
        let ban = Ban {
            id: Id::parse(id),
            from: Timestamp::from_secs(from_s),
            time,
            count: 1,
            failures: 5,
            restored: false,
            evidence: Arc::default(),
        };
        Slot::new(&ban, false, 0)
    }

    #[test]
    fn bans_end_in_the_order_of_their_deadlines() {
        let mut bans = BanList::default();
        bans.insert(slot("192.0.2.1", 0, BanTime::Seconds(100)));
        let second = bans.insert(slot("192.0.2.2", 0, BanTime::Seconds(50)));
        bans.insert(slot("192.0.2.3", 0, BanTime::Permanent));
        bans.set_end(second, Timestamp::from_secs(100), BanTime::Seconds(50));
        assert_eq!(bans.next_deadline(), Some(Timestamp::from_secs(100)));
        assert!(bans.pop_over(Timestamp::from_secs(99)).is_none());
        let over =
            |bans: &mut BanList| bans.pop_over(Timestamp::from_secs(150)).map(|b| b.id.to_string());
        assert_eq!(over(&mut bans), Some("192.0.2.1".to_owned()));
        assert_eq!(over(&mut bans), Some("192.0.2.2".to_owned()));
        assert_eq!(over(&mut bans), None);
        assert_eq!((bans.len(), bans.next_deadline()), (1, None));
        assert_eq!(bans.take().len(), 1);
    }

    #[test]
    fn a_ban_is_found_by_any_address_within() {
        let mut bans = BanList::default();
        for id in ["2001:db8:1::/64", "192.0.2.0/24", "198.51.100.7", "bob"] {
            bans.insert(slot(id, 0, BanTime::Permanent));
        }
        for (id, expected) in [
            ("2001:db8:1::5", Some("2001:db8:1::/64")),
            ("2001:db8:2::5", None),
            ("2001:db8:1::/80", Some("2001:db8:1::/64")),
            ("2001:db8:1::/48", None),
            ("192.0.2.77", Some("192.0.2.0/24")),
            ("198.51.100.7", Some("198.51.100.7")),
            ("198.51.100.8", None),
            ("bob", Some("bob")),
            ("eve", None),
        ] {
            let found = bans.find_around(&Id::parse(id)).and_then(|number| bans.get(number));
            assert_eq!(found.map(|slot| slot.id.to_string()), expected.map(str::to_owned), "{id}");
        }
        let Id::Net(network) = Id::parse("198.51.0.0/16") else { panic!() };
        assert_eq!(bans.touching(network).len(), 1);
        bans.take();
        assert!(!bans.has_networks());
    }

    #[test]
    fn what_is_prolonged_for_ever_does_not_grow() {
        let mut bans = BanList::default();
        let number = bans.insert(slot("192.0.2.1", 0, BanTime::Seconds(100)));
        for second in 0..10_000 {
            bans.set_end(number, Timestamp::from_secs(second), BanTime::Seconds(100));
        }
        assert!(bans.deadlines.len() < 2000);
        assert_eq!(bans.next_deadline(), Some(Timestamp::from_secs(10_099)));
    }

    #[test]
    fn a_ban_costs_few_bytes() {
        assert!(size_of::<Option<Slot>>() <= 64, "{}", size_of::<Option<Slot>>());
    }

    #[test]
    fn lengths_survive_what_a_deadline_can_say() {
        for time in [BanTime::Permanent, BanTime::Seconds(0), BanTime::Seconds(31_536_000)] {
            assert_eq!(slot("a", 1_700_000_000, time).time(), time);
        }
        assert_eq!(slot("a", 5, BanTime::Seconds(u64::MAX)).time(), BanTime::Permanent);
    }
}
