//! nf_tables: what a batch says, done in transactions; what went wrong, told by address.

use std::collections::HashSet;

use super::{
    Applied, Element, Netlink,
    codec::Writer,
    commit::{Mode, TRIES_MAX, Unit, refused},
    cover::{Edit, Piece, Span, Until, number},
    fault::Fault,
    listing::Found,
    nft::{self, Home, Item, Shape, Transaction},
    resync::Wanted,
    rules,
};
use crate::{
    action::sets::{Change, NFT_TABLE, NftGuard, SetVerb, Verdict},
    net::Cidr,
};

impl Netlink {
    pub(super) fn nft_apply(&mut self, guard: &NftGuard, verb: &SetVerb) -> Result<Applied, Fault> {
        let mut applied = Applied::default();
        match verb {
            SetVerb::Start => applied.notes = self.nft_start(guard)?,
            SetVerb::Change(changes) => applied.failed = self.nft_change(guard, changes)?,
            SetVerb::Exactly(roll) => {
                let done = self.nft_reconcile(guard, Wanted::Roll(roll))?;
                applied.notes.extend(done.note());
                applied.failed = done.failed;
            }
            SetVerb::Flush => self.nft_flush(guard)?,
            SetVerb::Stop => self.nft_stop(guard)?,
            SetVerb::Check(nets) => self.nft_check(guard, nets)?,
            SetVerb::List => applied.listed = self.nft_elements(guard)?,
        }
        Ok(applied)
    }

    pub(super) fn nft_start(&mut self, guard: &NftGuard) -> Result<Vec<String>, Fault> {
        self.nft_forget(guard);
        let found = self.nft_found()?;
        self.nft_write(guard, |transaction, rules| write_start(transaction, guard, &found, rules))
    }

    /// One transaction with the rules of the chain in it, begun anew if the kernel does not take
    /// them as they should be; what there is to say.
    pub(super) fn nft_write(
        &mut self,
        guard: &NftGuard,
        write: impl Fn(&mut Transaction, &Rules<'_>) -> Vec<String>,
    ) -> Result<Vec<String>, Fault> {
        let protocols = rules::protocols(guard).map_err(|name| {
            Fault::Missing(format!("a number for the protocol \"{name}\" (write it as a number)"))
        })?;
        let mut notes = Vec::new();
        let mut rules = Rules { guard, protocols: &protocols, verdict: guard.verdict };
        loop {
            let mut transaction = Transaction::begin(self.socket.next_seq(), None);
            notes.extend(write(&mut transaction, &rules));
            let refusals = self.send(&mut transaction)?;
            let Some(first) = refusals.into_iter().next() else { return Ok(notes) };
            // Old kernels have no `reject` at this hook, or have it in a module that is not there.
            let no_reject = [libc::EOPNOTSUPP, libc::ENOENT, libc::EINVAL].contains(&first.errno);
            if rules.verdict == Verdict::Reject && no_reject {
                rules.verdict = Verdict::Drop;
                notes = vec![format!(
                    "the kernel takes no reject at prerouting ({}): chain {} drops instead",
                    super::fault::words(first.errno),
                    guard.chain
                )];
                continue;
            }
            return Err(refused(&transaction, first, &[]));
        }
    }

    pub(super) fn nft_change(
        &mut self,
        guard: &NftGuard,
        changes: &[Change],
    ) -> Result<Vec<(Cidr, String)>, Fault> {
        let mut failed = Vec::new();
        for last_try in [false, true] {
            match self.nft_change_once(guard, changes, &mut failed) {
                // Somebody else changed an interval set: look at it again.
                Err(fault) if !last_try && is_conflict(&fault) => (),
                other => return other.map(|()| failed),
            }
        }
        Ok(failed)
    }

    pub(super) fn nft_change_once(
        &mut self,
        guard: &NftGuard,
        changes: &[Change],
        failed: &mut Vec<(Cidr, String)>,
    ) -> Result<(), Fault> {
        let mut units = Vec::new();
        let mut wanted: Vec<&Change> = changes.iter().collect();
        // Of several words about one address the last counts.
        if changes.len() > 1 {
            let mut seen = HashSet::with_capacity(changes.len());
            wanted.reverse();
            wanted.retain(|change| seen.insert(change.net()));
            wanted.reverse();
        }
        for home in Home::ALL {
            let own = || wanted.iter().filter(|change| Home::of(change.net()) == home);
            if own().next().is_none() {
                continue;
            }
            if home.is_interval() {
                let now_ms = self.now_ms();
                let until = |timeout_s: Option<u64>| {
                    Until(timeout_s.map(|s| now_ms.saturating_add(s.saturating_mul(1000))))
                };
                let changes: Vec<(Cidr, Option<Until>)> = own()
                    .map(|change| match change {
                        Change::Add { net, timeout_s } => (*net, Some(until(*timeout_s))),
                        Change::Delete { net } => (*net, None),
                    })
                    .collect();
                let edit = self.nft_cover(guard, home)?.change(&changes, now_ms);
                units.extend(edit_units(guard, home, &edit, now_ms));
                continue;
            }
            let unit = |mode, items| Unit { home, set: home.name(&guard.sets), mode, items };
            let gone = own().filter_map(|change| match change {
                Change::Delete { net } => Some(item(*net, None)),
                Change::Add { .. } => None,
            });
            let come = own().filter_map(|change| match change {
                Change::Add { net, timeout_s } => {
                    Some(item(*net, timeout_s.map(|seconds| seconds.saturating_mul(1000))))
                }
                Change::Delete { .. } => None,
            });
            units.push(unit(Mode::Remove, gone.collect()));
            // Not `Fresh`: to undo a transaction takes the kernel a thousand times as long.
            units.push(unit(Mode::Refresh, come.collect()));
        }
        let done = self.run(units, failed);
        if done.is_err() || !failed.is_empty() {
            self.nft_forget(guard);
        }
        done
    }

    pub(super) fn nft_flush(&mut self, guard: &NftGuard) -> Result<(), Fault> {
        self.nft_forget(guard);
        let found = self.nft_found()?;
        let mut transaction = Transaction::begin(self.socket.next_seq(), None);
        let homes = Home::ALL.iter();
        for set in homes.flat_map(|home| [home.name(&guard.sets), home.spare(&guard.sets)]) {
            if found.set(&set).is_some() {
                transaction.flush_set(&set);
            }
        }
        self.do_all(transaction)
    }

    pub(super) fn nft_stop(&mut self, guard: &NftGuard) -> Result<(), Fault> {
        self.nft_forget(guard);
        let found = self.nft_found()?;
        let mut transaction = Transaction::begin(self.socket.next_seq(), None);
        if found.chain(&guard.chain).is_some() {
            transaction.flush_chain(&guard.chain);
            transaction.delete_chain(&guard.chain);
        }
        for set in set_names(guard) {
            if found.set(&set).is_some() {
                transaction.delete_set(&set);
            }
        }
        self.do_all(transaction)?;
        // Another jail may start just now: the table goes only if nobody touched it meanwhile.
        for _ in 0..TRIES_MAX {
            let generation = self.nft_generation()?;
            if self.nft_uses()? != Some(0) {
                return Ok(());
            }
            let mut transaction = Transaction::begin(self.socket.next_seq(), Some(generation));
            transaction.delete_table();
            match self.do_all(transaction) {
                Err(fault) if fault.errno() == Some(libc::ERESTART) => (),
                Err(Fault::Missing(_)) => return Ok(()),
                other => return other,
            }
        }
        Ok(())
    }

    pub(super) fn nft_check(&mut self, guard: &NftGuard, nets: &[Cidr]) -> Result<(), Fault> {
        let missing = |what: String| Err(Fault::Missing(what));
        let found = self.nft_found()?;
        match found.table {
            None => return missing(format!("table inet {NFT_TABLE}")),
            Some(true) => return missing(format!("the work of table inet {NFT_TABLE} (dormant)")),
            Some(false) => (),
        }
        match found.chain(&guard.chain) {
            Some(Some(priority)) if priority == guard.priority => (),
            Some(_) => return missing(format!("chain {} at its hook", guard.chain)),
            None => return missing(format!("chain {}", guard.chain)),
        }
        for home in Home::ALL {
            let set = home.name(&guard.sets);
            if found.set(&set) != Some(home.shape()) {
                return missing(format!("set {set}"));
            }
        }
        let rules = self.nft_rules()?;
        let own = rules.iter().filter(|chain| **chain == guard.chain).count();
        if own < rules::RULES {
            return missing(format!("a rule of chain {}", guard.chain));
        }
        for net in nets {
            self.nft_find(guard, *net)?;
        }
        Ok(())
    }

    /// Fails if an address or a prefix is not kept out.
    pub(super) fn nft_find(&mut self, guard: &NftGuard, net: Cidr) -> Result<(), Fault> {
        let home = Home::of(net);
        let set = home.name(&guard.sets);
        let missing = || Fault::Missing(format!("{net} in set {set}"));
        if home.is_interval() {
            let (items, span) = (self.nft_items(guard, home)?, Span::of(net));
            let mut next = Some(span.first);
            for item in items {
                if next.is_some_and(|next| item.span.first <= next && next <= item.span.last) {
                    next = item.span.last.checked_add(1).filter(|next| *next <= span.last);
                }
            }
            return match next {
                None => Ok(()),
                Some(_) => Err(missing()),
            };
        }
        let seq = self.socket.next_seq();
        let mut writer = Writer::new();
        nft::find(&mut writer, seq, &set, home.shape(), number(net.address()).0);
        let refusals = self.socket.ask(writer.bytes(), seq, seq)?;
        match refusals.into_iter().next() {
            None => Ok(()),
            Some(answer) if answer.errno == libc::ENOENT => Err(missing()),
            Some(answer) => Err(Fault::Refused { what: format!("look for {net}"), answer }),
        }
    }

    pub(super) fn nft_elements(&mut self, guard: &NftGuard) -> Result<Vec<Element>, Fault> {
        let mut elements = Vec::new();
        for home in Home::ALL {
            for item in self.nft_items(guard, home)? {
                let left_ms = item.timeout_ms;
                match home.is_interval() {
                    false => elements.push(Element { net: home.net(item.span.first), left_ms }),
                    true => elements.extend(
                        item.span
                            .prefixes(home.v6())
                            .iter()
                            .map(|net| Element { net: *net, left_ms }),
                    ),
                }
            }
        }
        Ok(elements)
    }

    pub(super) fn nft_strangers(&mut self, ours: &[&NftGuard]) -> Result<Vec<String>, Fault> {
        let found = self.nft_found()?;
        let mut strangers = Vec::new();
        for (chain, _) in &found.chains {
            if !ours.iter().any(|guard| guard.chain == *chain) {
                strangers.push(format!("chain inet {NFT_TABLE} {chain}"));
            }
        }
        let names: HashSet<String> = ours.iter().flat_map(|guard| set_names(guard)).collect();
        for (set, _) in found.sets.iter().filter(|(set, _)| !names.contains(set)) {
            strangers.push(format!("set inet {NFT_TABLE} {set}"));
        }
        if found.table.is_some() {
            let rules = self.nft_rules()?;
            for guard in ours {
                let own = rules.iter().filter(|chain| **chain == guard.chain).count();
                let more = own.saturating_sub(rules::RULES + found.spared(guard).len());
                if more > 0 {
                    strangers
                        .push(format!("{more} rule(s) in chain inet {NFT_TABLE} {}", guard.chain));
                }
            }
        }
        Ok(strangers)
    }

    pub(super) fn nft_lift(&mut self) -> Result<bool, Fault> {
        self.covers.clear();
        if self.nft_found()?.table.is_none() {
            return Ok(false);
        }
        let mut transaction = Transaction::begin(self.socket.next_seq(), None);
        transaction.delete_table();
        match self.do_all(transaction) {
            Err(Fault::Missing(_)) => Ok(false),
            other => other.map(|()| true),
        }
    }
}

/// All sets that a jail may have, that of its ports among them.
fn set_names(guard: &NftGuard) -> Vec<String> {
    let homes = Home::ALL.iter();
    let sets = homes.flat_map(|home| [home.name(&guard.sets), home.spare(&guard.sets)]);
    sets.chain([guard.port_set.clone()]).collect()
}

/// How rules are to be written.
pub(super) struct Rules<'a> {
    guard: &'a NftGuard,
    protocols: &'a [u8],
    verdict: Verdict,
}

impl Rules<'_> {
    /// In the place of those that are there; of `spared` the spare sets are asked as well.
    pub(super) fn write(&self, transaction: &mut Transaction, spared: &[Home]) {
        transaction.flush_chain(&self.guard.chain);
        rules::write(transaction, self.guard, spared, self.protocols, self.verdict);
    }
}

fn write_start(
    transaction: &mut Transaction,
    guard: &NftGuard,
    found: &Found,
    rules: &Rules<'_>,
) -> Vec<String> {
    let mut notes = Vec::new();
    let chain = &guard.chain;
    transaction.table();
    if let Some(priority) = found.chain(chain) {
        transaction.flush_chain(chain);
        if priority != Some(guard.priority) {
            transaction.delete_chain(chain);
        }
    }
    transaction.chain(chain, guard.priority);
    let mut sets: Vec<(String, Shape)> =
        Home::ALL.iter().map(|home| (home.name(&guard.sets), home.shape())).collect();
    let ports = guard.port_set.clone();
    let has_ports = !guard.ports.ranges.is_empty();
    if has_ports {
        sets.push((ports.clone(), Shape::PORTS));
    } else if found.set(&ports).is_some() {
        transaction.delete_set(&ports);
    }
    for (set, shape) in &sets {
        match found.set(set) {
            Some(old) if old == *shape => continue,
            Some(_) => {
                transaction.delete_set(set);
                notes.push(format!("set {set} was of another kind and is made anew"));
            }
            None => (),
        }
        transaction.set(set, *shape);
    }
    if has_ports {
        transaction.flush_set(&ports);
        transaction.add(usize::MAX, &ports, Shape::PORTS, rules::ports(guard).into_iter(), false);
    }
    // A set that was being made anew when we died may be all that keeps them out.
    rules.write(transaction, &found.spared(guard));
    notes
}

pub(super) fn edit_units(guard: &NftGuard, home: Home, edit: &Edit, now_ms: u64) -> Vec<Unit> {
    let items = |pieces: &[Piece]| {
        let item = |piece: &Piece| Item {
            span: piece.span,
            timeout_ms: piece.until.0.map(|until| until.saturating_sub(now_ms)),
        };
        pieces.iter().map(item).collect()
    };
    let unit = |mode, items| Unit { home, set: home.name(&guard.sets), mode, items };
    vec![unit(Mode::Remove, items(&edit.remove)), unit(Mode::Add, items(&edit.add))]
}

pub(super) fn item(net: Cidr, timeout_ms: Option<u64>) -> Item {
    Item { span: Span::one(number(net.address()).0), timeout_ms }
}

/// True if the kernel's set is not what was believed.
fn is_conflict(fault: &Fault) -> bool {
    let conflicts = [libc::EEXIST, libc::ENOTEMPTY, libc::ENOENT];
    fault.errno().is_some_and(|errno| conflicts.contains(&errno))
}
