//! Cover: overlapping prefixes as pieces that do not overlap, for sets that can hold nothing else.
//!
//! ```text
//! asked   10.0.0.0/8 for 1 h ├──────────────────────────┤
//!         10.1.0.0/16 for 1 d       ├────┤
//! held                       ├──1 h─┤├1 d┤├─────1 h─────┤
//! ```
//!
//! A piece lasts as long as the longest of the prefixes above it, so that each prefix is kept out
//! for its time also if nobody is there to rearrange things. A change touches only the pieces
//! within its own prefix.

use std::{collections::BTreeMap, net::IpAddr};

use crate::net::Cidr;

/// A row of addresses: numbers of 32 bits for IPv4, of 128 for IPv6.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Span {
    /// The first.
    pub first: u128,
    /// The last.
    pub last: u128,
}

/// When something ends, in milliseconds on the clock of the caller; none sorts last: never.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Until(pub Option<u64>);

impl Until {
    fn rank(self) -> u64 {
        self.0.unwrap_or(u64::MAX)
    }

    fn is_over(self, now_ms: u64) -> bool {
        self.0.is_some_and(|until| until <= now_ms)
    }
}

/// A span and its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Piece {
    /// What it covers.
    pub span: Span,
    /// When it ends.
    pub until: Until,
}

/// What has to be done so that the set holds what it should.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Edit {
    /// Pieces that have to go.
    pub remove: Vec<Piece>,
    /// Pieces that have to come, after that.
    pub add: Vec<Piece>,
}

/// What was asked for, and the pieces in which the kernel holds it.
#[derive(Clone, Debug, Default)]
pub struct Cover {
    asked: BTreeMap<Span, Until>,
    held: BTreeMap<u128, Piece>,
}

impl Span {
    /// The addresses of a prefix.
    pub fn of(net: Cidr) -> Span {
        let (address, width) = number(net.address());
        let host = u128::MAX.checked_shr(128 - (width - u32::from(net.bits()))).unwrap_or(0);
        Span { first: address, last: address | host }
    }

    /// One number.
    pub fn one(number: u128) -> Span {
        Span { first: number, last: number }
    }

    /// True if they have an address in common.
    pub fn meets(self, other: Span) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The fewest prefixes that make it up.
    pub fn prefixes(self, v6: bool) -> Vec<Cidr> {
        let width: u32 = if v6 { 128 } else { 32 };
        let mut found = Vec::new();
        let mut first = self.first;
        while first <= self.last {
            let left = self.last - first;
            // As large as the start is aligned, and not beyond the end.
            let aligned = first.trailing_zeros().min(width);
            let fits = match left.checked_add(1) {
                Some(count) => 127 - count.leading_zeros(),
                None => 128,
            };
            let host = aligned.min(fits);
            let bits = u8::try_from(width - host).unwrap_or(0);
            found.push(Cidr::new(address(first, v6), bits));
            let next = 1u128.checked_shl(host).and_then(|size| first.checked_add(size));
            match next {
                Some(next) => first = next,
                None => break,
            }
        }
        found
    }

    /// Prefixes that hold all of it, by length: one for each.
    fn ancestors(self) -> impl Iterator<Item = Span> {
        (0..=128u32).map(move |host| {
            let mask = u128::MAX.checked_shl(host).unwrap_or(0);
            Span { first: self.first & mask, last: self.first | !mask }
        })
    }
}

/// An address as a number, and the bits of its family.
pub fn number(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u32::from(v4).into(), 32),
        IpAddr::V6(v6) => (v6.into(), 128),
    }
}

/// A number as an address.
pub fn address(number: u128, v6: bool) -> IpAddr {
    match u32::try_from(number) {
        Ok(short) if !v6 => std::net::Ipv4Addr::from(short).into(),
        _ => std::net::Ipv6Addr::from(number).into(),
    }
}

impl Cover {
    /// What the kernel holds; it counts as asked for until somebody says otherwise.
    pub fn found(pieces: &[Piece], v6: bool) -> Cover {
        let mut cover = Cover::default();
        for piece in pieces {
            for net in piece.span.prefixes(v6) {
                cover.asked.insert(Span::of(net), piece.until);
            }
            cover.held.insert(piece.span.first, *piece);
        }
        cover
    }

    /// Pieces that are held, by address.
    pub fn held(&self) -> impl Iterator<Item = &Piece> {
        self.held.values()
    }

    /// True if it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Asks for prefixes until a moment, or (none) no longer. What comes out is to be done in one
    /// transaction; the cover is as if it were.
    pub fn change(&mut self, changes: &[(Cidr, Option<Until>)], now_ms: u64) -> Edit {
        let mut edit = Edit::default();
        let mut regions: Vec<Span> = Vec::new();
        for (net, until) in changes {
            let span = Span::of(*net);
            match until {
                Some(until) => self.asked.insert(span, *until),
                None => self.asked.remove(&span),
            };
            regions.push(self.region(span));
        }
        regions.sort_unstable();
        let mut joined: Vec<Span> = Vec::new();
        for region in regions {
            match joined.last_mut() {
                Some(last) if last.meets(region) => last.last = last.last.max(region.last),
                _ => joined.push(region),
            }
        }
        for region in joined {
            self.settle(region, now_ms, &mut edit);
        }
        edit
    }

    /// Makes the cover hold `wanted` and nothing else.
    pub fn replace(&mut self, wanted: &[(Cidr, Until)], now_ms: u64, tolerance_ms: u64) -> Edit {
        self.asked = wanted.iter().map(|(net, until)| (Span::of(*net), *until)).collect();
        let all = Span { first: 0, last: u128::MAX };
        let mut edit = Edit::default();
        let found = self.held.clone();
        self.settle(all, now_ms, &mut edit);
        // What differs by a hair in time stays.
        let mut near: BTreeMap<u128, Piece> = BTreeMap::new();
        for piece in &edit.add {
            let old = found.get(&piece.span.first).filter(|old| old.span == piece.span);
            let is_near = |old: &&Piece| match (old.until.0, piece.until.0) {
                (Some(old), Some(new)) => old.abs_diff(new) <= tolerance_ms,
                (old, new) => old == new,
            };
            near.extend(old.filter(is_near).map(|old| (old.span.first, *old)));
        }
        edit.add.retain(|piece| !near.contains_key(&piece.span.first));
        edit.remove.retain(|piece| !near.contains_key(&piece.span.first));
        self.held.extend(near);
        edit
    }

    /// A span, and the pieces that reach into it, whole.
    fn region(&self, span: Span) -> Span {
        let mut region = span;
        for piece in self.held_in(span) {
            region.first = region.first.min(piece.span.first);
            region.last = region.last.max(piece.span.last);
        }
        region
    }

    fn held_in(&self, span: Span) -> impl Iterator<Item = &Piece> {
        let before = self.held.range(..span.first).next_back();
        let within = self.held.range(span.first..=span.last);
        let all = before.into_iter().chain(within).map(|(_, piece)| piece);
        all.filter(move |piece| piece.span.meets(span))
    }

    /// Computes the pieces of a region anew and notes what changes.
    fn settle(&mut self, region: Span, now_ms: u64, edit: &mut Edit) {
        let mut asked: Vec<(Span, Until)> = Vec::new();
        for above in region.ancestors().filter(|above| above.first < region.first) {
            asked.extend(self.asked.get_key_value(&above).map(|(span, until)| (*span, *until)));
        }
        let low = Span { first: region.first, last: 0 };
        let high = Span { first: region.last, last: u128::MAX };
        asked.extend(self.asked.range(low..=high).map(|(span, until)| (*span, *until)));
        for (span, _) in asked.iter().filter(|(_, until)| until.is_over(now_ms)) {
            self.asked.remove(span);
        }
        asked.retain(|(_, until)| !until.is_over(now_ms));
        let new = flatten(&asked, region);
        let old: Vec<Piece> = self.held_in(region).copied().collect();
        edit.remove.extend(old.iter().filter(|piece| !has(&new, piece)));
        edit.add.extend(new.iter().filter(|piece| !has(&old, piece)));
        for piece in old {
            self.held.remove(&piece.span.first);
        }
        self.held.extend(new.into_iter().map(|piece| (piece.span.first, piece)));
    }
}

/// True if the piece is among these, which are in order.
fn has(pieces: &[Piece], piece: &Piece) -> bool {
    let place = pieces.binary_search_by_key(&piece.span.first, |other| other.span.first);
    place.is_ok_and(|at| pieces.get(at) == Some(piece))
}

/// Cuts spans into pieces within `region`: everywhere that one counts which lasts longest, of equal
/// ones the larger.
fn flatten(asked: &[(Span, Until)], region: Span) -> Vec<Piece> {
    let mut order: Vec<&(Span, Until)> = asked.iter().collect();
    // The best first; whatever it covers is taken.
    order.sort_by_key(|(span, until)| {
        (std::cmp::Reverse(until.rank()), std::cmp::Reverse(span.last - span.first), span.first)
    });
    let mut taken: BTreeMap<u128, Piece> = BTreeMap::new();
    for (span, until) in order {
        let first = span.first.max(region.first);
        let last = span.last.min(region.last);
        if first > last {
            continue;
        }
        let mut gaps: Vec<Span> = Vec::new();
        let mut next = Some(first);
        let before = taken.range(..first).next_back().map(|(_, piece)| *piece);
        let within = taken.range(first..=last).map(|(_, piece)| *piece);
        for piece in before.into_iter().chain(within) {
            let Some(from) = next else { break };
            if piece.span.last < from {
                continue;
            }
            if piece.span.first > from {
                gaps.push(Span { first: from, last: piece.span.first - 1 });
            }
            next = piece.span.last.checked_add(1).filter(|next| *next <= last);
        }
        gaps.extend(next.map(|first| Span { first, last }));
        for span in gaps {
            taken.insert(span.first, Piece { span, until: *until });
        }
    }
    taken.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> Cidr {
        let (address, bits) = text.split_once('/').unwrap();
        Cidr::new(address.parse().unwrap(), bits.parse().unwrap())
    }

    fn shown(pieces: &[Piece], v6: bool) -> Vec<String> {
        let text = |piece: &Piece| {
            let (first, last) = (address(piece.span.first, v6), address(piece.span.last, v6));
            format!("{first}-{last} {}", piece.until.rank())
        };
        pieces.iter().map(text).collect()
    }

    #[test]
    fn a_prefix_within_a_prefix_is_cut_out_only_if_it_lasts_longer() {
        let mut cover = Cover::default();
        let edit = cover.change(&[(net("10.0.0.0/16"), Some(Until(Some(100))))], 0);
        assert_eq!(shown(&edit.add, false), ["10.0.0.0-10.0.255.255 100"]);
        // Shorter: nothing to do.
        let edit = cover.change(&[(net("10.0.1.0/24"), Some(Until(Some(50))))], 0);
        assert_eq!(edit, Edit::default());
        // Longer: three pieces.
        let edit = cover.change(&[(net("10.0.2.0/24"), Some(Until(None)))], 0);
        assert_eq!(shown(&edit.remove, false), ["10.0.0.0-10.0.255.255 100"]);
        assert_eq!(
            shown(&edit.add, false),
            [
                "10.0.0.0-10.0.1.255 100",
                "10.0.2.0-10.0.2.255 18446744073709551615",
                "10.0.3.0-10.0.255.255 100"
            ]
        );
        // The large one is lifted: what was within stays for its own time.
        let edit = cover.change(&[(net("10.0.0.0/16"), None)], 10);
        assert_eq!(shown(&edit.add, false), ["10.0.1.0-10.0.1.255 50"]);
        assert_eq!(edit.remove.len(), 2);
    }

    #[test]
    fn spans_are_told_as_prefixes() {
        let span = |first: &str, last: &str| {
            let number = |text: &str| number(text.parse().unwrap()).0;
            let span = Span { first: number(first), last: number(last) };
            let shown: Vec<String> =
                span.prefixes(first.contains(':')).iter().map(Cidr::to_string).collect();
            shown.join(" ")
        };
        assert_eq!(span("0.0.0.0", "255.255.255.255"), "0.0.0.0/0");
        assert_eq!(span("10.0.0.1", "10.0.0.4"), "10.0.0.1 10.0.0.2/31 10.0.0.4");
        assert_eq!(span("255.255.255.254", "255.255.255.255"), "255.255.255.254/31");
        assert_eq!(span("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "::/0");
        assert_eq!(span("2001:db8::", "2001:db8::1"), "2001:db8::/127");
        assert_eq!(Span::of(net("0.0.0.0/0")).last, u128::from(u32::MAX));
        assert_eq!(Span::of(net("::/0")).last, u128::MAX);
    }

    /// A small world: addresses 10.0.0.0 to 10.0.0.15 and prefixes within, plus all of IPv4.
    fn prefix() -> impl Strategy<Value = Cidr> {
        (0u8..16, 27u8..=32).prop_map(|(low, bits)| {
            let bits = if bits == 27 { 0 } else { bits };
            Cidr::new(IpAddr::from([10, 0, 0, low]), bits)
        })
    }

    proptest! {
        #[test]
        fn each_address_is_out_exactly_as_long_as_its_longest_prefix(
            steps in proptest::collection::vec(
                proptest::collection::vec((prefix(), proptest::option::of(1u64..60)), 1..4),
                1..12,
            )
        ) {
            let mut cover = Cover::default();
            let mut kernel: Vec<Piece> = Vec::new();
            let mut model: Vec<(Cidr, u64)> = Vec::new();
            for (index, step) in steps.iter().enumerate() {
                let now = index as u64 * 5;
                let until = |left: &Option<u64>| left.map(|left| Until(Some(now + left)));
                let changes: Vec<_> = step.iter().map(|(n, left)| (*n, until(left))).collect();
                let edit = cover.change(&changes, now);
                kernel.retain(|piece| !piece.until.is_over(now));
                for piece in &edit.remove {
                    kernel.retain(|held| held != piece);
                }
                for piece in &edit.add {
                    prop_assert!(kernel.iter().all(|held| !held.span.meets(piece.span)));
                    kernel.push(*piece);
                }
                for (net, left) in step {
                    model.retain(|(held, _)| held != net);
                    model.extend(left.map(|left| (*net, now + left)));
                }
                for low in 0u32..17 {
                    let probe = Span::one(u128::from(0x0a00_0000 + low));
                    let wanted = model.iter().filter(|(net, until)| {
                        *until > now && Span::of(*net).meets(probe)
                    });
                    let wanted = wanted.map(|(_, until)| *until).max();
                    let found = kernel.iter().find(|piece| piece.span.meets(probe));
                    prop_assert_eq!(found.map(|piece| piece.until.rank()), wanted);
                }
            }
        }

        #[test]
        fn replacing_is_the_same_as_asking_anew(
            first in proptest::collection::vec((prefix(), 1u64..60), 0..8),
            then in proptest::collection::vec((prefix(), 1u64..60), 0..8),
        ) {
            let wanted = |rows: &[(Cidr, u64)]| -> Vec<(Cidr, Until)> {
                rows.iter().map(|(net, until)| (*net, Until(Some(*until)))).collect()
            };
            let mut one = Cover::default();
            one.replace(&wanted(&first), 0, 0);
            let before: Vec<Piece> = one.held().copied().collect();
            let mut other = Cover::found(&before, false);
            let edit = other.replace(&wanted(&then), 0, 0);
            let mut fresh = Cover::default();
            fresh.replace(&wanted(&then), 0, 0);
            let mut kernel: Vec<Piece> = before;
            kernel.retain(|piece| !edit.remove.contains(piece));
            kernel.extend(&edit.add);
            kernel.sort_by_key(|piece| piece.span.first);
            prop_assert_eq!(kernel, fresh.held().copied().collect::<Vec<_>>());
        }
    }
}
