//! ipset: what a batch says, done set by set; sets grow before they are full.

use std::collections::HashMap;

use super::{
    Applied, Element, Netlink, Reconciled, TOLERANCE_MS,
    codec::{Answer, Writer},
    diff::Diff,
    fault::Fault,
    ipset::{self, Item, Shape, State},
    millis,
    resync::{Wanted, sorted},
    watch::Lost,
};
use crate::{
    action::sets::{Change, IPSET_TIMEOUT_MAX_S, IpsetGuard, SetVerb, family_of},
    net::Cidr,
    time::Stopwatch,
};

/// The most elements that a set may be grown to: IPv6 prefixes take some 100 bytes each.
const MAXELEM_MAX: u32 = 1 << 26;
/// So many elements of one message may be refused, each costing another message, before the rest
/// is given up.
const REFUSALS_MAX: usize = 64;

/// How full a set is believed to be; it may be emptier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill {
    elements: u32,
    shape: Shape,
}

/// How full the sets are.
pub(super) type Fills = HashMap<String, Fill>;

impl Netlink {
    pub(super) fn ipset_apply(
        &mut self,
        guard: &IpsetGuard,
        verb: &SetVerb,
    ) -> Result<Applied, Fault> {
        let mut applied = Applied::default();
        match verb {
            SetVerb::Start => {
                for (set, prefixes) in own(guard) {
                    applied.notes.extend(self.ipset_start(set, &shape(guard, prefixes))?);
                }
            }
            SetVerb::Change(changes) => self.ipset_change(guard, changes, &mut applied.failed)?,
            SetVerb::Exactly(roll) => {
                let done = self.ipset_reconcile(guard, Wanted::Roll(roll))?;
                applied.notes.extend(done.note());
                applied.failed = done.failed;
            }
            SetVerb::Flush => {
                for (set, _) in own(guard) {
                    self.fills.remove(set);
                    let write = |writer: &mut Writer, seq| ipset::flush(writer, seq, set);
                    unless_missing(self.ipset_do(&format!("flush set {set}"), write))?;
                }
            }
            SetVerb::Stop => {
                for (set, _) in own(guard) {
                    self.ipset_destroy(set)?;
                }
            }
            SetVerb::Check(nets) => self.ipset_check(guard, nets)?,
            SetVerb::List => applied.listed = self.ipset_elements(guard)?,
        }
        Ok(applied)
    }

    /// What a set's header says; none if there is no such set.
    ///
    /// # Errors
    ///
    /// When the kernel does not answer.
    pub fn ipset_state(&mut self, set: &str) -> Result<Option<State>, Fault> {
        let mut state = None;
        let write = |writer: &mut Writer, seq| ipset::list(writer, seq, set, true);
        let asked = self.socket.dump(&format!("look at set {set}"), write, |message| {
            if let Some(found) = message.as_ref().and_then(ipset::state) {
                state = Some(found);
            }
        });
        unless_missing(asked)?;
        Ok(state)
    }

    /// What a jail's sets lost, asked in a moment; `asked` says that rules ask the sets, `held` how
    /// many singles and prefixes must be in. For what announces nothing by itself.
    ///
    /// # Errors
    ///
    /// When the kernel does not answer.
    pub fn ipset_lost(
        &mut self,
        guard: &IpsetGuard,
        asked: bool,
        held: [u32; 2],
    ) -> Result<Vec<Lost>, Fault> {
        let mut lost = Vec::new();
        for ((set, _), held) in own(guard).into_iter().zip(held) {
            match self.ipset_state(set)? {
                None => lost.push(Lost::Set(set.to_owned())),
                Some(state) => {
                    if state.elements < held {
                        lost.push(Lost::Elements(set.to_owned()));
                    }
                    if asked && state.references == 0 {
                        lost.push(Lost::Rules(set.to_owned()));
                    }
                }
            }
        }
        Ok(lost)
    }

    pub(super) fn ipset_version(&mut self) -> Result<(), Fault> {
        self.ipset_do("ask for the version of ipset", ipset::version)
    }

    fn ipset_start(&mut self, set: &str, shape: &Shape) -> Result<Option<String>, Fault> {
        self.fills.remove(set);
        let write = |writer: &mut Writer, seq| ipset::create(writer, seq, set, shape);
        let made = self.ipset_do(&format!("create set {set}"), write);
        let Err(fault) = made else { return Ok(None) };
        if fault.errno() != Some(libc::EEXIST) {
            return Err(fault);
        }
        let Some(found) = self.ipset_state(set)? else { return Err(fault) };
        match found.shape {
            Some(old) if (old.family, old.prefixes) == (shape.family, shape.prefixes) => {
                if found.timeouts && old.maxelem >= shape.maxelem {
                    return Ok(None);
                }
                let larger = Shape {
                    hashsize: old.hashsize.max(shape.hashsize),
                    maxelem: old.maxelem.max(shape.maxelem),
                    ..*shape
                };
                self.ipset_rebuild(set, &larger)?;
                Ok(Some(format!("set {set} was too small or without timeouts and is made anew")))
            }
            _ => Err(fault),
        }
    }

    fn ipset_change(
        &mut self,
        guard: &IpsetGuard,
        changes: &[Change],
        failed: &mut Vec<(Cidr, String)>,
    ) -> Result<(), Fault> {
        for (set, prefixes) in own(guard) {
            // Runs of one kind, so that of several words about one address the last counts.
            let mut run: Vec<Item> = Vec::new();
            let mut adding = true;
            let in_set = |change: &&Change| {
                let net = change.net();
                family_of(net) == guard.family && net.is_single() != prefixes
            };
            for change in changes.iter().filter(in_set) {
                let (net, add, timeout_ms) = match change {
                    Change::Add { net, timeout_s } => {
                        (*net, true, timeout_s.map(|seconds| seconds.saturating_mul(1000)))
                    }
                    Change::Delete { net } => (*net, false, None),
                };
                if add != adding {
                    self.ipset_run(set, adding, &run, failed)?;
                    run.clear();
                    adding = add;
                }
                run.extend(halves(net).map(|net| Item { net, timeout_ms }));
            }
            self.ipset_run(set, adding, &run, failed)?;
        }
        Ok(())
    }

    fn ipset_run(
        &mut self,
        set: &str,
        add: bool,
        items: &[Item],
        failed: &mut Vec<(Cidr, String)>,
    ) -> Result<(), Fault> {
        if add && !items.is_empty() {
            self.ipset_make_room(set, items.len())?;
        }
        for chunk in items.chunks(ipset::MESSAGE_ELEMENTS_MAX) {
            self.ipset_send(set, add, chunk, failed)?;
        }
        Ok(())
    }

    fn ipset_send(
        &mut self,
        set: &str,
        add: bool,
        items: &[Item],
        failed: &mut Vec<(Cidr, String)>,
    ) -> Result<(), Fault> {
        let mut rest = items;
        let mut refusals = 0;
        let mut grown = false;
        while !rest.is_empty() {
            let verb = if add { "add" } else { "remove" };
            let asked = self.ipset_ask(|writer, seq| match add {
                true => ipset::add(writer, seq, set, rest),
                false => ipset::delete(writer, seq, set, rest),
            });
            let Some(answer) = asked? else { return Ok(()) };
            let at = answer.line.and_then(|line| usize::try_from(line).ok());
            let Some((at, item)) = at.and_then(|at| Some((at, rest.get(at)?))) else {
                return Err(refused(format!("{verb} {} elements (set {set})", rest.len()), answer));
            };
            if answer.errno == libc::ENOENT {
                return Err(Fault::Missing(format!("set {set}")));
            }
            if answer.errno == ipset::FULL && !grown {
                self.fills.remove(set);
                self.ipset_grow(set, rest.len())?;
                grown = true;
                rest = rest.get(at..).unwrap_or_default();
                continue;
            }
            refusals += 1;
            if refusals > REFUSALS_MAX {
                return Err(refused(format!("{verb} {} (set {set})", item.net), answer));
            }
            failed.push((item.net, super::fault::words(answer.errno)));
            rest = rest.get(at + 1..).unwrap_or_default();
        }
        Ok(())
    }

    /// Sees to it that so many more fit: a set that is full refuses, and says so only then.
    fn ipset_make_room(&mut self, set: &str, more: usize) -> Result<(), Fault> {
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let known = self.fills.get(set).copied();
        let fits = |fill: &Fill| fill.elements.saturating_add(more) <= fill.shape.maxelem;
        let fill = match known.filter(fits) {
            Some(fill) => fill,
            None => {
                let missing = || Fault::Missing(format!("set {set}"));
                let state = self.ipset_state(set)?.ok_or_else(missing)?;
                let shape = state.shape.ok_or_else(missing)?;
                let fill = Fill { elements: state.elements, shape };
                match fits(&fill) {
                    true => fill,
                    false => self.ipset_grow(set, more as usize)?,
                }
            }
        };
        let elements = fill.elements.saturating_add(more);
        self.fills.insert(set.to_owned(), Fill { elements, ..fill });
        Ok(())
    }

    /// Makes a set larger, so that so many more fit.
    fn ipset_grow(&mut self, set: &str, more: usize) -> Result<Fill, Fault> {
        let missing = || Fault::Missing(format!("set {set}"));
        let state = self.ipset_state(set)?.ok_or_else(missing)?;
        let old = state.shape.ok_or_else(missing)?;
        let needed = u64::from(state.elements) + more as u64;
        let wanted = needed.saturating_mul(2).next_power_of_two().max(65_536);
        let maxelem = u32::try_from(wanted).unwrap_or(u32::MAX).min(MAXELEM_MAX);
        if u64::from(maxelem) < needed || maxelem <= old.maxelem {
            let answer =
                Answer { seq: 0, errno: ipset::FULL, text: None, offset: None, line: None };
            return Err(refused(format!("grow set {set} beyond {}", old.maxelem), answer));
        }
        // Four to a bucket, so that the kernel need not enlarge the hash while it fills.
        let hashsize = old.hashsize.max(maxelem / 4);
        let shape = Shape { hashsize, maxelem, ..old };
        self.ipset_rebuild(set, &shape)?;
        Ok(Fill { elements: state.elements, shape })
    }

    /// Makes a set anew under another name, fills it as the old one was, and exchanges the two: no
    /// packet finds the set empty.
    fn ipset_rebuild(&mut self, set: &str, shape: &Shape) -> Result<(), Fault> {
        let other = spare_name(set);
        self.ipset_destroy(&other)?;
        let write = |writer: &mut Writer, seq| ipset::create(writer, seq, &other, shape);
        self.ipset_do(&format!("create set {other}"), write)?;
        let mut failed = Vec::new();
        let copied = self.ipset_items(set).and_then(|items| {
            let chunks = items.chunks(ipset::MESSAGE_ELEMENTS_MAX);
            chunks.into_iter().try_for_each(|c| self.ipset_send(&other, true, c, &mut failed))
        });
        let swapped = copied.and_then(|()| {
            let write = |writer: &mut Writer, seq| ipset::swap(writer, seq, set, &other);
            self.ipset_do(&format!("swap sets {set} and {other}"), write)
        });
        self.ipset_destroy(&other)?;
        swapped
    }

    fn ipset_destroy(&mut self, set: &str) -> Result<(), Fault> {
        self.fills.remove(set);
        let write = |writer: &mut Writer, seq| ipset::destroy(writer, seq, set);
        unless_missing(self.ipset_do(&format!("destroy set {set}"), write))
    }

    fn ipset_check(&mut self, guard: &IpsetGuard, nets: &[Cidr]) -> Result<(), Fault> {
        for (set, prefixes) in own(guard) {
            let state = self.ipset_state(set)?;
            let Some(shape) = state.and_then(|state| state.shape) else {
                return Err(Fault::Missing(format!("set {set}")));
            };
            if (shape.family, shape.prefixes) != (guard.family, prefixes) {
                return Err(Fault::Missing(format!("set {set} of type hash")));
            }
            let in_set =
                |net: &&Cidr| family_of(**net) == guard.family && net.is_single() != prefixes;
            for net in nets.iter().filter(in_set).flat_map(|net| halves(*net)) {
                let test = |writer: &mut Writer, seq| ipset::test(writer, seq, set, net);
                match self.ipset_ask(test)? {
                    None => (),
                    Some(answer) if answer.errno == ipset::EXISTS => {
                        return Err(Fault::Missing(format!("{net} in set {set}")));
                    }
                    Some(answer) => return Err(refused(format!("look for {net}"), answer)),
                }
            }
        }
        Ok(())
    }

    pub(super) fn ipset_elements(&mut self, guard: &IpsetGuard) -> Result<Vec<Element>, Fault> {
        let mut elements = Vec::new();
        for (set, _) in own(guard) {
            let items = self.ipset_items(set)?;
            elements.extend(
                items.iter().map(|item| Element { net: item.net, left_ms: item.timeout_ms }),
            );
        }
        Ok(elements)
    }

    fn ipset_items(&mut self, set: &str) -> Result<Vec<Item>, Fault> {
        let mut items = Vec::new();
        self.ipset_dump(set, |item| match item {
            None => items.clear(),
            Some(item) => items.push(item),
        })?;
        Ok(items)
    }

    fn ipset_dump(&mut self, set: &str, mut each: impl FnMut(Option<Item>)) -> Result<(), Fault> {
        let write = |writer: &mut Writer, seq| ipset::list(writer, seq, set, false);
        unless_missing(self.socket.dump(
            &format!("list set {set}"),
            write,
            |message| match message {
                None => each(None),
                Some(message) => ipset::items(&message).for_each(|item| each(Some(item))),
            },
        ))
    }

    pub(super) fn ipset_reconcile(
        &mut self,
        guard: &IpsetGuard,
        wanted: Wanted<'_>,
    ) -> Result<Reconciled, Fault> {
        const LONGEST_MS: u64 = IPSET_TIMEOUT_MAX_S * 1000;
        let mut done = Reconciled::default();
        for (set, prefixes) in own(guard) {
            let in_set = |element: &Element| {
                let net = element.net;
                family_of(net) == guard.family && net.is_single() != prefixes
            };
            let halves = wanted
                .all()
                .filter(in_set)
                .flat_map(|element| halves(element.net).map(move |net| Element { net, ..element }));
            if self.ipset_state(set)?.is_some_and(|state| state.elements == 0) {
                done.added += self.ipset_fill(set, halves, &mut done.failed)?;
                continue;
            }
            let own = sorted(halves);
            let mut diff = Diff::of(&own, TOLERANCE_MS, Some(LONGEST_MS));
            let since = Stopwatch::start();
            self.ipset_dump(set, |item| match item {
                None => diff.restart(),
                Some(item) => diff.found(item.net, item.timeout_ms, millis(since)),
            })?;
            let result = diff.end();
            let gone: Vec<Item> =
                result.strangers.iter().map(|net| Item { net: *net, timeout_ms: None }).collect();
            self.ipset_run(set, false, &gone, &mut done.failed)?;
            let come: Vec<Item> = result
                .missing
                .iter()
                .chain(&result.off)
                .filter_map(|at| own.get(*at))
                .map(|element| Item { net: element.net, timeout_ms: element.left_ms })
                .collect();
            self.ipset_run(set, true, &come, &mut done.failed)?;
            done.count(&result);
        }
        Ok(done)
    }

    /// Fills a set in which nothing is; how many it got.
    fn ipset_fill(
        &mut self,
        set: &str,
        mut elements: impl Iterator<Item = Element>,
        failed: &mut Vec<(Cidr, String)>,
    ) -> Result<usize, Fault> {
        let item = |element: Element| Item { net: element.net, timeout_ms: element.left_ms };
        let mut added = 0;
        loop {
            let some: Vec<Item> =
                elements.by_ref().take(ipset::MESSAGE_ELEMENTS_MAX).map(item).collect();
            if some.is_empty() {
                return Ok(added);
            }
            added += some.len();
            self.ipset_run(set, true, &some, failed)?;
        }
    }

    fn ipset_do(&mut self, what: &str, write: impl FnOnce(&mut Writer, u32)) -> Result<(), Fault> {
        match self.ipset_ask(write)? {
            None => Ok(()),
            Some(answer) => Err(refused(what.to_owned(), answer)),
        }
    }

    fn ipset_ask(&mut self, write: impl FnOnce(&mut Writer, u32)) -> Result<Option<Answer>, Fault> {
        let seq = self.socket.next_seq();
        let mut writer = Writer::new();
        write(&mut writer, seq);
        Ok(self.socket.ask(writer.bytes(), seq, seq)?.into_iter().next())
    }
}

/// The sets of a guard: their names, and whether they hold prefixes.
fn own(guard: &IpsetGuard) -> [(&str, bool); 2] {
    let [single, prefix] = guard.sets.of(guard.family);
    [(single, false), (prefix, true)]
}

fn shape(guard: &IpsetGuard, prefixes: bool) -> Shape {
    let IpsetGuard { family, hashsize, maxelem, .. } = *guard;
    Shape { family, prefixes, hashsize, maxelem }
}

/// A prefix, or its two halves where it is everything: ipset knows no prefix of no bits.
pub(in crate::daemon) fn halves(net: Cidr) -> impl Iterator<Item = Cidr> {
    let upper: std::net::IpAddr = match net.address().is_ipv6() {
        true => std::net::Ipv6Addr::from(1u128 << 127).into(),
        false => std::net::Ipv4Addr::from(1u32 << 31).into(),
    };
    let (first, second) = match net.bits() {
        0 => (Cidr::new(net.address(), 1), Some(Cidr::new(upper, 1))),
        _ => (net, None),
    };
    std::iter::once(first).chain(second)
}

/// A name of at most 31 bytes for the set that is to replace this one.
fn spare_name(set: &str) -> String {
    let hash = set.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("sentryban-{hash:016x}")
}

fn refused(what: String, answer: Answer) -> Fault {
    Fault::Refused { what, answer }
}

fn unless_missing(result: Result<(), Fault>) -> Result<(), Fault> {
    match result {
        Err(fault) if fault.errno() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}
