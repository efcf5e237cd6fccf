//! Resync: the sets of nf_tables made equal to what is wanted.

use super::{
    Element, NAMED_MAX, Netlink, Reconciled, TOLERANCE_MS,
    codec::Writer,
    commit::{Mode, Unit},
    cover::{Edit, Piece, Span, Until},
    diff::{self, Diff},
    fault::{Fault, Part},
    millis,
    nft::{self, Home, Item, Transaction},
    socket::Socket,
    tables::{edit_units, item},
};
use crate::{
    action::sets::{NftGuard, Roll},
    net::Cidr,
    time::Stopwatch,
};

/// So many elements of a hash are compared with what is wanted. The kernel walks from the start for
/// each datagram of a dump: 100 000 take it half a second, a million nearly a minute.
pub(super) const LISTED_MAX: usize = 150_000;

/// What sets are to hold, as whoever asks has written it down.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    Roll(&'a Roll),
    Elements(&'a [Element]),
}

impl Wanted<'_> {
    /// All of it, in no order; what stands in it twice comes twice.
    pub(super) fn all(&self) -> Box<dyn Iterator<Item = Element> + '_> {
        let element = |(net, timeout_s): (Cidr, Option<u64>)| Element {
            net,
            left_ms: timeout_s.map(|s| s.saturating_mul(1000)),
        };
        match self {
            Wanted::Roll(roll) => Box::new(roll.iter().map(element)),
            Wanted::Elements(elements) => Box::new(elements.iter().copied()),
        }
    }

    /// What belongs into one of the sets of nf_tables.
    fn of(&self, home: Home) -> Box<dyn Iterator<Item = Element> + '_> {
        match self {
            // A million of the one kind need not be looked at for the sake of each other.
            Wanted::Roll(roll) if home != Home::Addr4 && roll.others().next().is_none() => {
                Box::new(std::iter::empty())
            }
            _ => Box::new(self.all().filter(move |element| Home::of(element.net) == home)),
        }
    }

    fn items(&self, home: Home) -> impl Iterator<Item = Item> {
        self.of(home).map(|element| item(element.net, element.left_ms))
    }
}

/// In the order of their addresses, each once with the longest of its times.
pub(super) fn sorted(elements: impl Iterator<Item = Element>) -> Vec<Element> {
    let mut found: Vec<Element> = elements.collect();
    // For ever is longest.
    let length = |element: &Element| element.left_ms.unwrap_or(u64::MAX);
    found.sort_unstable_by(|one, other| {
        one.net.cmp(&other.net).then(length(other).cmp(&length(one)))
    });
    found.dedup_by_key(|element| element.net);
    found
}

impl Netlink {
    pub(super) fn nft_reconcile(
        &mut self,
        guard: &NftGuard,
        wanted: Wanted<'_>,
    ) -> Result<Reconciled, Fault> {
        let mut done = Reconciled::default();
        let mut units = Vec::new();
        let mut failed = Vec::new();
        self.nft_forget(guard);
        self.nft_unspare(guard, wanted, &mut failed)?;
        for home in Home::ALL {
            let set = home.name(&guard.sets);
            let own_len = wanted.of(home).count();
            if own_len > LISTED_MAX && !home.is_interval() {
                done.refreshed += own_len;
                self.nft_replace(guard, home, wanted, &mut failed)?;
                continue;
            }
            let own = sorted(wanted.of(home));
            if home.is_interval() {
                let edit = self.nft_reconcile_intervals(guard, home, &own, &mut done)?;
                units.extend(edit_units(guard, home, &edit, self.now_ms()));
                continue;
            }
            let Some(result) = self.nft_diff(home, &set, &own)? else {
                done.refreshed += own_len;
                self.nft_replace(guard, home, wanted, &mut failed)?;
                continue;
            };
            let unit = |mode, items| Unit { home, set: set.clone(), mode, items };
            let items = |at: &[usize]| -> Vec<Item> {
                let elements = at.iter().filter_map(|at| own.get(*at));
                elements.map(|element| item(element.net, element.left_ms)).collect()
            };
            units.push(unit(
                Mode::Remove,
                result.strangers.iter().map(|net| item(*net, None)).collect(),
            ));
            units.push(unit(Mode::Refresh, items(&result.off)));
            units.push(unit(Mode::Fresh, items(&result.missing)));
            done.count(&result);
        }
        let run = self.run(units, &mut failed);
        if run.is_err() || !failed.is_empty() {
            self.nft_forget(guard);
        }
        failed.sort_unstable();
        failed.dedup_by_key(|(net, _)| *net);
        done.failed = failed;
        run.map(|()| done)
    }

    /// Holds a hash against what is wanted; none if it holds too much to compare.
    pub(super) fn nft_diff(
        &mut self,
        home: Home,
        set: &str,
        own: &[Element],
    ) -> Result<Option<diff::Found>, Fault> {
        let mut diff = Diff::of(own, TOLERANCE_MS, None);
        let since = Stopwatch::start();
        let mut seen = 0;
        // The socket may have to be left with half of an answer in it.
        let mut socket = Socket::open(Part::Nft, 0, &self.own)?;
        let write = |writer: &mut Writer, seq| nft::list_set(writer, seq, set);
        let asked = socket.dump_while(&format!("list set {set}"), write, |message| {
            match message {
                None => {
                    seen = 0;
                    diff.restart();
                }
                Some(message) => nft::miles(&message).for_each(|mile| {
                    seen += 1;
                    diff.found(home.net(mile.key), mile.left_ms, millis(since));
                }),
            }
            seen <= 2 * LISTED_MAX
        });
        match asked {
            Err(fault) if fault.errno() == Some(libc::ENOENT) => {
                return Err(Fault::Missing(format!("set {set}")));
            }
            other => other?,
        }
        Ok((seen <= 2 * LISTED_MAX).then(|| diff.end()))
    }

    /// Makes a hash hold what is wanted and nothing else without a look at it. Nobody is let in
    /// meanwhile: where something is in it, a spare set is filled first, and both are asked until
    /// the hash, made anew, is full.
    fn nft_replace(
        &mut self,
        guard: &NftGuard,
        home: Home,
        wanted: Wanted<'_>,
        failed: &mut Vec<(Cidr, String)>,
    ) -> Result<(), Fault> {
        let (set, spare, shape) = (home.name(&guard.sets), home.spare(&guard.sets), home.shape());
        if !self.nft_is_empty(&set)? {
            let mut transaction = Transaction::begin(self.socket.next_seq(), None);
            transaction.set(&spare, shape);
            self.do_all(transaction)?;
            self.stream((home, &spare, Mode::Fresh), wanted.items(home), failed)?;
            let changed = self.nft_write(guard, |transaction, rules| {
                // To forget a set is cheaper than to delete each of its elements; it must not be
                // asked any more.
                transaction.flush_chain(&guard.chain);
                transaction.delete_set(&set);
                transaction.set(&set, shape);
                rules.write(transaction, &[home]);
                Vec::new()
            });
            match changed {
                // Somebody's own rule asks it, too.
                Err(fault) if fault.errno() == Some(libc::EBUSY) => {
                    self.nft_write(guard, |transaction, rules| {
                        rules.write(transaction, &[home]);
                        transaction.flush_set(&set);
                        Vec::new()
                    })?;
                }
                changed => drop(changed?),
            }
            self.stream((home, &set, Mode::Fresh), wanted.items(home), failed)?;
            return self.nft_drop_spares(guard, &[home]);
        }
        // As behind a start of the machine: nobody waits for anything that would be lost.
        self.stream((home, &set, Mode::Fresh), wanted.items(home), failed)
    }

    /// Who died while a set was made anew left a spare one that is asked as well: it goes as soon
    /// as it is not needed any more.
    fn nft_unspare(
        &mut self,
        guard: &NftGuard,
        wanted: Wanted<'_>,
        failed: &mut Vec<(Cidr, String)>,
    ) -> Result<(), Fault> {
        let spared = self.nft_found()?.spared(guard);
        for home in &spared {
            let set = home.name(&guard.sets);
            self.stream((*home, &set, Mode::Refresh), wanted.items(*home), failed)?;
        }
        match spared.is_empty() {
            true => Ok(()),
            false => self.nft_drop_spares(guard, &spared),
        }
    }

    fn nft_drop_spares(&mut self, guard: &NftGuard, spared: &[Home]) -> Result<(), Fault> {
        self.nft_write(guard, |transaction, rules| {
            rules.write(transaction, &[]);
            spared.iter().for_each(|home| transaction.delete_set(&home.spare(&guard.sets)));
            Vec::new()
        })?;
        Ok(())
    }

    /// True if a set holds nothing; only the first datagram of its list is read.
    fn nft_is_empty(&mut self, set: &str) -> Result<bool, Fault> {
        let mut seen = 0;
        let mut socket = Socket::open(Part::Nft, 0, &self.own)?;
        let write = |writer: &mut Writer, seq| nft::list_set(writer, seq, set);
        let asked = socket.dump_while(&format!("list set {set}"), write, |message| {
            seen = message.map_or(0, |message| nft::miles(&message).count());
            seen == 0
        });
        match asked {
            Err(fault) if fault.errno() == Some(libc::ENOENT) => {
                Err(Fault::Missing(format!("set {set}")))
            }
            other => other.map(|_| seen == 0),
        }
    }

    pub(super) fn nft_reconcile_intervals(
        &mut self,
        guard: &NftGuard,
        home: Home,
        wanted: &[Element],
        done: &mut Reconciled,
    ) -> Result<Edit, Fault> {
        let now_ms = self.now_ms();
        let wanted: Vec<(Cidr, Until)> = wanted
            .iter()
            .map(|element| {
                (element.net, Until(element.left_ms.map(|left| now_ms.saturating_add(left))))
            })
            .collect();
        let cover = self.nft_cover(guard, home)?;
        let before = cover.held().count();
        let edit = cover.replace(&wanted, now_ms, TOLERANCE_MS);
        let news: Vec<Span> = edit.add.iter().map(|piece| piece.span).collect();
        let (again, gone): (Vec<&Piece>, Vec<&Piece>) =
            edit.remove.iter().partition(|piece| news.iter().any(|new| new.meets(piece.span)));
        done.kept += before - edit.remove.len();
        done.refreshed += again.len();
        done.added += edit.add.len().saturating_sub(again.len());
        done.removed_count += gone.len();
        for piece in gone {
            done.removed.extend(piece.span.prefixes(home.v6()).first());
        }
        done.removed.truncate(NAMED_MAX);
        Ok(edit)
    }
}

impl Reconciled {
    pub(super) fn count(&mut self, result: &diff::Found) {
        self.added += result.missing.len();
        self.refreshed += result.off.len();
        self.kept += result.kept;
        self.removed_count += result.strangers.len();
        let room = NAMED_MAX.saturating_sub(self.removed.len());
        self.removed.extend(result.strangers.iter().take(room));
    }
}
