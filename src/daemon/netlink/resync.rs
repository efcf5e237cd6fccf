//! Resync: the sets of nf_tables made equal to what is wanted.

use super::{
    Element, NAMED_MAX, Netlink, Reconciled, TOLERANCE_MS,
    codec::Writer,
    commit::{HEADROOM, Mode, Unit, refused},
    cover::{Edit, Piece, Span, Until},
    diff::{self, Diff},
    fault::{Fault, Part},
    millis,
    nft::{self, Home, Item, Transaction},
    socket::Socket,
    tables::{edit_units, item},
};
use crate::{action::sets::NftGuard, net::Cidr, time::Stopwatch};

/// So many elements of a hash are compared with what is wanted. The kernel walks from the start for
/// each datagram of a dump: 100 000 take it half a second, a million nearly a minute.
pub(super) const LISTED_MAX: usize = 150_000;

impl Netlink {
    pub(super) fn nft_reconcile(
        &mut self,
        guard: &NftGuard,
        wanted: &mut [Element],
    ) -> Result<Reconciled, Fault> {
        let mut done = Reconciled::default();
        let mut units = Vec::new();
        let mut failed = Vec::new();
        wanted.sort_unstable_by_key(|element| (Home::of(element.net), element.net));
        self.nft_forget(guard);
        for home in Home::ALL {
            let set = home.name(&guard.sets);
            let from = wanted.partition_point(|element| Home::of(element.net) < home);
            let to = wanted.partition_point(|element| Home::of(element.net) <= home);
            let own = wanted.get(from..to).unwrap_or_default();
            if home.is_interval() {
                let edit = self.nft_reconcile_intervals(guard, home, own, &mut done)?;
                units.extend(edit_units(guard, home, &edit, self.now_ms()));
                continue;
            }
            let Some(result) = self.nft_diff(home, &set, own)? else {
                done.refreshed += own.len();
                self.nft_replace(home, &set, own, &mut failed)?;
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
        done.failed = failed;
        run.map(|()| done)
    }

    /// Holds a hash against what is wanted; none if there is too much to compare.
    pub(super) fn nft_diff(
        &mut self,
        home: Home,
        set: &str,
        own: &[Element],
    ) -> Result<Option<diff::Found>, Fault> {
        if own.len() > LISTED_MAX {
            return Ok(None);
        }
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

    /// Makes a hash hold these and nothing else without a look at it: in one transaction where it
    /// fits; else they are refreshed, and what else is in stays.
    pub(super) fn nft_replace(
        &mut self,
        home: Home,
        set: &str,
        own: &[Element],
        failed: &mut Vec<(Cidr, String)>,
    ) -> Result<(), Fault> {
        if self.nft_is_empty(set)? {
            // As behind a start of the machine: nobody waits for anything that would be lost.
            let items = own.iter().map(|element| item(element.net, element.left_ms)).collect();
            let unit = Unit { home, set: set.to_owned(), mode: Mode::Fresh, items };
            return self.run(vec![unit], failed);
        }
        let shape = home.shape();
        let items = || own.iter().map(|element| item(element.net, element.left_ms));
        let needed = own.len() * (shape.element_len() + 1) + HEADROOM;
        if needed <= self.socket.send_max() {
            let mut transaction = Transaction::begin(self.socket.next_seq(), None);
            transaction.flush_set(set);
            transaction.add(0, set, shape, items(), false);
            let refusals = self.send(&mut transaction)?;
            let Some(first) = refusals.into_iter().next() else { return Ok(()) };
            // One element that is refused: below they are tried with care.
            if first.offset.is_none() {
                return Err(refused(&transaction, first, &[]));
            }
        }
        for chunk in own.chunks(LISTED_MAX) {
            let items = chunk.iter().map(|element| item(element.net, element.left_ms)).collect();
            let unit = Unit { home, set: set.to_owned(), mode: Mode::Refresh, items };
            self.run(vec![unit], failed)?;
        }
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
