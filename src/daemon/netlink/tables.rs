//! nf_tables: what a batch says, done in transactions; what went wrong, told by address.

use std::collections::HashSet;

use super::{
    Applied, Element, NAMED_MAX, Netlink, Reconciled, TOLERANCE_MS,
    codec::{self, Answer, Writer},
    cover::{Cover, Edit, Piece, Span, Until, number},
    diff::{self, Diff},
    fault::{Fault, Part},
    millis,
    nft::{self, About, Home, Item, Listed, Mile, Shape, Transaction, kind},
    rules,
    socket::Socket,
};
use crate::{
    action::sets::{Change, NFT_TABLE, NftGuard, SetVerb, Verdict},
    net::Cidr,
    time::Stopwatch,
};

/// So many elements of one transaction may be refused, each costing another try, before the rest
/// is given up.
const TRIES_MAX: usize = 64;

/// So many elements of a hash are compared with what is wanted. The kernel walks from the start for
/// each datagram of a dump: 100 000 take it half a second, a million nearly a minute.
const LISTED_MAX: usize = 150_000;

/// Room that a transaction has beside its elements.
const HEADROOM: usize = 2048;

/// What stands in our table.
#[derive(Debug, Default)]
struct Found {
    table: Option<bool>,
    chains: Vec<(String, Option<i32>)>,
    sets: Vec<(String, Shape)>,
}

/// What is to become of elements.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
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
struct Unit {
    home: Home,
    set: String,
    mode: Mode,
    items: Vec<Item>,
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
    pub(super) fn nft_apply(&mut self, guard: &NftGuard, verb: &SetVerb) -> Result<Applied, Fault> {
        let mut applied = Applied::default();
        match verb {
            SetVerb::Start => applied.notes = self.nft_start(guard)?,
            SetVerb::Change(changes) => applied.failed = self.nft_change(guard, changes)?,
            SetVerb::Flush => self.nft_flush(guard)?,
            SetVerb::Stop => self.nft_stop(guard)?,
            SetVerb::Check(nets) => self.nft_check(guard, nets)?,
            SetVerb::List => applied.listed = self.nft_elements(guard)?,
        }
        Ok(applied)
    }

    fn nft_start(&mut self, guard: &NftGuard) -> Result<Vec<String>, Fault> {
        self.nft_forget(guard);
        let protocols = rules::protocols(guard).map_err(|name| {
            Fault::Missing(format!("a number for the protocol \"{name}\" (write it as a number)"))
        })?;
        let found = self.nft_found()?;
        let mut notes = Vec::new();
        let mut verdict = guard.verdict;
        loop {
            let mut transaction = Transaction::begin(self.socket.next_seq(), None);
            notes.extend(write_start(&mut transaction, guard, &found, &protocols, verdict));
            let refusals = self.send(&mut transaction)?;
            let Some(first) = refusals.into_iter().next() else { return Ok(notes) };
            // Old kernels have no `reject` at this hook, or have it in a module that is not there.
            let no_reject = [libc::EOPNOTSUPP, libc::ENOENT, libc::EINVAL].contains(&first.errno);
            if verdict == Verdict::Reject && no_reject {
                verdict = Verdict::Drop;
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

    fn nft_change(
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

    fn nft_change_once(
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

    fn nft_flush(&mut self, guard: &NftGuard) -> Result<(), Fault> {
        self.nft_forget(guard);
        let found = self.nft_found()?;
        let mut transaction = Transaction::begin(self.socket.next_seq(), None);
        for home in Home::ALL {
            let set = home.name(&guard.sets);
            if found.set(&set).is_some() {
                transaction.flush_set(&set);
            }
        }
        self.do_all(transaction)
    }

    fn nft_stop(&mut self, guard: &NftGuard) -> Result<(), Fault> {
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

    fn nft_check(&mut self, guard: &NftGuard, nets: &[Cidr]) -> Result<(), Fault> {
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
    fn nft_find(&mut self, guard: &NftGuard, net: Cidr) -> Result<(), Fault> {
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
    fn nft_diff(
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
    fn nft_replace(
        &mut self,
        home: Home,
        set: &str,
        own: &[Element],
        failed: &mut Vec<(Cidr, String)>,
    ) -> Result<(), Fault> {
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

    fn nft_reconcile_intervals(
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
                let more = own.saturating_sub(rules::RULES);
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

    // ---- questions ------------------------------------------------------------------------------

    pub(super) fn nft_generation(&mut self) -> Result<u32, Fault> {
        let mut generation = None;
        self.socket.dump("ask for the generation", nft::generation, |message| {
            if let Some(Listed::Generation(number)) = message.as_ref().and_then(nft::listed) {
                generation = Some(number);
            }
        })?;
        generation.ok_or(Fault::NoAnswer)
    }

    fn nft_list(&mut self, kind: u16, mut each: impl FnMut(Option<Listed>)) -> Result<(), Fault> {
        let write = |writer: &mut Writer, seq| nft::list(writer, seq, kind);
        let asked = self.socket.dump("list our table", write, |message| match message {
            None => each(None),
            Some(message) => {
                if let Some(listed) = nft::listed(&message) {
                    each(Some(listed));
                }
            }
        });
        match asked {
            Err(fault) if fault.errno() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    fn nft_found(&mut self) -> Result<Found, Fault> {
        let mut found = Found::default();
        self.nft_list(kind::GET_TABLE, |listed| match listed {
            Some(Listed::Table { dormant, .. }) => found.table = Some(dormant),
            _ => found.table = None,
        })?;
        if found.table.is_none() {
            return Ok(found);
        }
        self.nft_list(kind::GET_CHAIN, |listed| match listed {
            None => found.chains.clear(),
            Some(Listed::Chain { name, priority }) => found.chains.push((name, priority)),
            Some(_) => (),
        })?;
        self.nft_list(kind::GET_SET, |listed| match listed {
            None => found.sets.clear(),
            Some(Listed::Set { name, shape }) => found.sets.push((name, shape)),
            Some(_) => (),
        })?;
        Ok(found)
    }

    fn nft_uses(&mut self) -> Result<Option<u32>, Fault> {
        let mut found = None;
        self.nft_list(kind::GET_TABLE, |listed| match listed {
            Some(Listed::Table { uses, .. }) => found = Some(uses),
            None => found = None,
            Some(_) => (),
        })?;
        Ok(found)
    }

    /// The chains of all rules in our table: a name for each rule.
    fn nft_rules(&mut self) -> Result<Vec<String>, Fault> {
        let mut rules = Vec::new();
        self.nft_list(kind::GET_RULE, |listed| match listed {
            None => rules.clear(),
            Some(Listed::Rule(chain)) => rules.push(chain),
            Some(_) => (),
        })?;
        Ok(rules)
    }

    /// Shows each mile of a set; none when it begins anew. A set that is not there is empty.
    fn nft_dump(&mut self, set: &str, mut each: impl FnMut(Option<Mile>)) -> Result<(), Fault> {
        let write = |writer: &mut Writer, seq| nft::list_set(writer, seq, set);
        let asked = self.socket.dump(&format!("list set {set}"), write, |message| match message {
            None => each(None),
            Some(message) => nft::miles(&message).for_each(|mile| each(Some(mile))),
        });
        match asked {
            Err(fault) if fault.errno() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    fn nft_items(&mut self, guard: &NftGuard, home: Home) -> Result<Vec<Item>, Fault> {
        let mut miles = Vec::new();
        self.nft_dump(&home.name(&guard.sets), |mile| match mile {
            None => miles.clear(),
            Some(mile) => miles.push(mile),
        })?;
        if home.is_interval() {
            return Ok(nft::spans(miles, home.shape()));
        }
        let item = |mile: Mile| Item { span: Span::one(mile.key), timeout_ms: mile.left_ms };
        Ok(miles.into_iter().map(item).collect())
    }

    /// What an interval set holds: as it is remembered, else as the kernel says.
    fn nft_cover(&mut self, guard: &NftGuard, home: Home) -> Result<&mut Cover, Fault> {
        let set = home.name(&guard.sets);
        if !self.covers.contains_key(&set) {
            let now_ms = self.now_ms();
            let pieces: Vec<Piece> = self
                .nft_items(guard, home)?
                .into_iter()
                .map(|item| Piece {
                    span: item.span,
                    until: Until(item.timeout_ms.map(|left| now_ms.saturating_add(left))),
                })
                .collect();
            self.covers.insert(set.clone(), Cover::found(&pieces, home.v6()));
        }
        Ok(self.covers.entry(set).or_default())
    }

    /// Forgets what the interval sets hold, to ask the kernel again.
    fn nft_forget(&mut self, guard: &NftGuard) {
        for home in Home::ALL.into_iter().filter(|home| home.is_interval()) {
            self.covers.remove(&home.name(&guard.sets));
        }
    }

    // ---- transactions ---------------------------------------------------------------------------

    fn send(&mut self, transaction: &mut Transaction) -> Result<Vec<Answer>, Fault> {
        if transaction.is_empty() {
            return Ok(Vec::new());
        }
        let (bytes, first, last) = transaction.end();
        self.socket.used(last.wrapping_add(1));
        self.socket.ask(bytes, first, last)
    }

    /// Sends a transaction without elements.
    fn do_all(&mut self, mut transaction: Transaction) -> Result<(), Fault> {
        let refusals = self.send(&mut transaction)?;
        refusals.into_iter().next().map_or(Ok(()), |first| Err(refused(&transaction, first, &[])))
    }

    /// Does all units, in as few transactions as the socket allows.
    fn run(&mut self, units: Vec<Unit>, failed: &mut Vec<(Cidr, String)>) -> Result<(), Fault> {
        let most = self.socket.send_max().saturating_sub(HEADROOM);
        let mut batch: Vec<Unit> = Vec::new();
        let mut used = 0;
        for unit in units {
            let Unit { home, set, mode, mut items } = unit;
            while !items.is_empty() {
                let mut part = Unit { home, set: set.clone(), mode, items: Vec::new() };
                if used + part.len(items.len()) <= most {
                    part.items = std::mem::take(&mut items);
                } else {
                    let each = part.len(400).div_ceil(400).max(1);
                    let room = most.saturating_sub(used) / each;
                    if room == 0 || room < 100 && used > 0 {
                        self.commit(std::mem::take(&mut batch), failed)?;
                        used = 0;
                        continue;
                    }
                    let rest = items.split_off(room.min(items.len()));
                    part.items = std::mem::replace(&mut items, rest);
                }
                used += part.len(part.items.len());
                batch.push(part);
            }
        }
        self.commit(batch, failed)
    }

    /// One transaction; elements that the kernel refuses are left out and named.
    fn commit(
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

impl Found {
    fn chain(&self, name: &str) -> Option<Option<i32>> {
        self.chains.iter().find(|chain| chain.0 == name).map(|chain| chain.1)
    }

    fn set(&self, name: &str) -> Option<Shape> {
        self.sets.iter().find(|set| set.0 == name).map(|set| set.1)
    }
}

/// All sets of a jail, that of its ports among them.
fn set_names(guard: &NftGuard) -> Vec<String> {
    let sets = Home::ALL.iter().map(|home| home.name(&guard.sets));
    sets.chain([guard.port_set.clone()]).collect()
}

fn write_start(
    transaction: &mut Transaction,
    guard: &NftGuard,
    found: &Found,
    protocols: &[u8],
    verdict: Verdict,
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
    rules::write(transaction, guard, protocols, verdict);
    notes
}

fn edit_units(guard: &NftGuard, home: Home, edit: &Edit, now_ms: u64) -> Vec<Unit> {
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

fn item(net: Cidr, timeout_ms: Option<u64>) -> Item {
    Item { span: Span::one(number(net.address()).0), timeout_ms }
}

fn item_net(home: Home, item: &Item) -> Cidr {
    let single = home.net(item.span.first);
    match home.is_interval() {
        true => item.span.prefixes(home.v6()).first().copied().unwrap_or(single),
        false => single,
    }
}

fn reason(answer: &Answer) -> String {
    let words = super::fault::words(answer.errno);
    match &answer.text {
        Some(text) => format!("{words} ({text})"),
        None => words,
    }
}

fn refused(transaction: &Transaction, answer: codec::Answer, units: &[Unit]) -> Fault {
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

/// True if the kernel's set is not what was believed.
fn is_conflict(fault: &Fault) -> bool {
    let conflicts = [libc::EEXIST, libc::ENOTEMPTY, libc::ENOENT];
    fault.errno().is_some_and(|errno| conflicts.contains(&errno))
}
