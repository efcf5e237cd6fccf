//! Transactions: elements of sets on their way into the kernel, and who was refused.

use super::{
    Netlink,
    codec::Answer,
    fault::{Fault, words},
    nft::{About, Home, Item, Transaction},
};
use crate::net::Cidr;

/// So many elements of one transaction may be refused, each costing another try, before the rest
/// is given up.
pub(super) const TRIES_MAX: usize = 64;

/// Room that a transaction has beside its elements.
pub(super) const HEADROOM: usize = 2048;

/// Elements of hashes go in transactions of so many bytes, some 2 000 of them: in larger ones each
/// costs the kernel twice as much, which makes its tables grow only between transactions.
const HASH_BYTES_MAX: usize = 96 << 10;

/// What is to become of elements.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    /// They are new; if one is not, [`Mode::Refresh`] does it.
    Fresh,
    /// They are in afterwards, with this time.
    Refresh,
    /// They are in afterwards, and overlap nothing.
    Add,
    /// They are not in afterwards.
    Remove,
}

/// Elements of one set with one fate.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) home: Home,
    pub(super) set: String,
    pub(super) mode: Mode,
    pub(super) items: Vec<Item>,
}

impl Unit {
    fn len(&self, items: usize) -> usize {
        let passes = match self.mode {
            Mode::Fresh | Mode::Add => 1,
            Mode::Remove => 2,
            Mode::Refresh => 3,
        };
        let messages = items / 400 + 1;
        passes * (items * self.home.shape().element_len() + messages * (64 + self.set.len()))
    }

    /// Bytes of one element among many.
    fn each(&self) -> usize {
        self.len(400).div_ceil(400).max(1)
    }

    fn write(&self, number: usize, transaction: &mut Transaction) {
        let (set, shape, items) = (&self.set, self.home.shape(), || self.items.iter().copied());
        // To add what is to be deleted makes it be there: a deletion of nothing undoes the lot.
        transaction.add(number, set, shape, items(), self.mode == Mode::Fresh);
        if matches!(self.mode, Mode::Refresh | Mode::Remove) {
            transaction.delete(number, set, shape, items());
        }
        // And to add what is there does not set its time anew in every kernel.
        if self.mode == Mode::Refresh {
            transaction.add(number, set, shape, items(), false);
        }
    }
}

impl Netlink {
    pub(super) fn send(&mut self, transaction: &mut Transaction) -> Result<Vec<Answer>, Fault> {
        if transaction.is_empty() {
            return Ok(Vec::new());
        }
        let (bytes, first, last) = transaction.end();
        self.socket.used(last.wrapping_add(1));
        self.own.commits().count(|| {
            let refusals = self.socket.ask(bytes, first, last);
            let made = refusals.as_ref().is_ok_and(Vec::is_empty);
            (refusals, made)
        })
    }

    /// Sends a transaction without elements.
    pub(super) fn do_all(&mut self, mut transaction: Transaction) -> Result<(), Fault> {
        let refusals = self.send(&mut transaction)?;
        refusals.into_iter().next().map_or(Ok(()), |first| Err(refused(&transaction, first, &[])))
    }

    /// Does all units, in as few transactions as the socket allows.
    pub(super) fn run(
        &mut self,
        units: Vec<Unit>,
        failed: &mut Vec<(Cidr, String)>,
    ) -> Result<(), Fault> {
        let most = self.socket.send_max().saturating_sub(HEADROOM);
        let mut batch: Vec<Unit> = Vec::new();
        let mut used = 0;
        for unit in units {
            let Unit { home, set, mode, items } = unit;
            let most = if home.is_interval() { most } else { most.min(HASH_BYTES_MAX) };
            let mut items = items.into_iter();
            while items.len() > 0 {
                let mut part = Unit { home, set: set.clone(), mode, items: Vec::new() };
                let room = match used + part.len(items.len()) <= most {
                    true => items.len(),
                    false => most.saturating_sub(used) / part.each(),
                };
                if room == 0 || room < items.len().min(100) && used > 0 {
                    self.commit(std::mem::take(&mut batch), failed)?;
                    used = 0;
                    continue;
                }
                part.items.extend(items.by_ref().take(room));
                used += part.len(part.items.len());
                batch.push(part);
            }
        }
        self.commit(batch, failed)
    }

    /// Does the same with any number of elements of one hash, of which only those of one transaction
    /// are in memory at a time.
    pub(super) fn stream(
        &mut self,
        (home, set, mode): (Home, &str, Mode),
        mut items: impl Iterator<Item = Item>,
        failed: &mut Vec<(Cidr, String)>,
    ) -> Result<(), Fault> {
        let most = self.socket.send_max().saturating_sub(HEADROOM).min(HASH_BYTES_MAX);
        let part = |items| Unit { home, set: set.to_owned(), mode, items };
        let room = (most / part(Vec::new()).each()).max(1);
        loop {
            let some: Vec<Item> = items.by_ref().take(room).collect();
            if some.is_empty() {
                return Ok(());
            }
            self.commit(vec![part(some)], failed)?;
        }
    }

    /// One transaction; elements that the kernel refuses are left out and named.
    pub(super) fn commit(
        &mut self,
        mut units: Vec<Unit>,
        failed: &mut Vec<(Cidr, String)>,
    ) -> Result<(), Fault> {
        for _ in 0..TRIES_MAX {
            let mut transaction = Transaction::begin(self.socket.next_seq(), None);
            for (number, unit) in units.iter().enumerate().filter(|(_, u)| !u.items.is_empty()) {
                unit.write(number, &mut transaction);
            }
            let refusals = self.send(&mut transaction)?;
            let Some(first) = refusals.into_iter().next() else { return Ok(()) };
            let place = match transaction.about(first.seq) {
                Some(About::Elements { unit, from }) => Some((*unit, *from)),
                _ => None,
            };
            let unit = place.and_then(|(unit, _)| units.get_mut(unit));
            let (Some((_, from)), Some(unit)) = (place, unit) else {
                return Err(refused(&transaction, first, &units));
            };
            if unit.mode == Mode::Fresh && first.errno == libc::EEXIST {
                // The transaction grows threefold and may have to be cut.
                unit.mode = Mode::Refresh;
                let most = self.socket.send_max().saturating_sub(HEADROOM);
                if units.iter().map(|unit| unit.len(unit.items.len())).sum::<usize>() > most {
                    return self.run(units, failed);
                }
                continue;
            }
            let at = first.offset.and_then(|at| transaction.element_at(first.seq, at));
            let item = at.map(|at| from + at).filter(|at| *at < unit.items.len());
            let overlap = [libc::EEXIST, libc::ENOTEMPTY].contains(&first.errno);
            match item {
                Some(at) if !overlap => {
                    let item = unit.items.remove(at);
                    failed.push((item_net(unit.home, &item), reason(&first)));
                }
                _ => return Err(refused(&transaction, first, &units)),
            }
        }
        let rest: usize = units.iter().map(|unit| unit.items.len()).sum();
        let answer = Answer { seq: 0, errno: libc::EINVAL, text: None, offset: None, line: None };
        Err(Fault::Refused { what: format!("change {rest} elements after many refusals"), answer })
    }
}

pub(super) fn item_net(home: Home, item: &Item) -> Cidr {
    let single = home.net(item.span.first);
    match home.is_interval() {
        true => item.span.prefixes(home.v6()).first().copied().unwrap_or(single),
        false => single,
    }
}

fn reason(answer: &Answer) -> String {
    let words = words(answer.errno);
    match &answer.text {
        Some(text) => format!("{words} ({text})"),
        None => words,
    }
}

pub(super) fn refused(transaction: &Transaction, answer: Answer, units: &[Unit]) -> Fault {
    let what = match transaction.about(answer.seq) {
        Some(About::Thing(what)) => what.clone(),
        Some(About::Elements { unit, .. }) => match units.get(*unit) {
            Some(unit) => {
                if answer.errno == libc::ENOENT {
                    return Fault::Missing(format!("set {}", unit.set));
                }
                let verb = if unit.mode == Mode::Remove { "remove" } else { "add" };
                match unit.items.as_slice() {
                    [one] => format!("{verb} {} (set {})", item_net(unit.home, one), unit.set),
                    many => format!("{verb} {} elements (set {})", many.len(), unit.set),
                }
            }
            None => "fill a set".to_owned(),
        },
        None => "change the firewall".to_owned(),
    };
    Fault::Refused { what, answer }
}
