//! Diff: what a set holds, held against what it should hold.

use super::Element;
use crate::net::Cidr;

/// A comparison under way: elements of the kernel come in any order.
#[derive(Debug)]
pub struct Diff<'a> {
    wanted: &'a [Element],
    seen: Vec<bool>,
    tolerance_ms: u64,
    longest_ms: Option<u64>,
    found: Found,
}

/// What it came to; numbers are places in what was wanted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// Not in the kernel.
    pub missing: Vec<usize>,
    /// There, for too long or not long enough.
    pub off: Vec<usize>,
    /// So many are there as they should be.
    pub kept: usize,
    /// There, and not wanted.
    pub strangers: Vec<Cidr>,
}

impl<'a> Diff<'a> {
    /// Against `wanted`, which is in the order of its addresses, none twice. Times may be off by
    /// `tolerance_ms`; where the kernel holds nothing beyond `longest_ms`, half of that is enough.
    pub fn of(wanted: &'a [Element], tolerance_ms: u64, longest_ms: Option<u64>) -> Diff<'a> {
        let seen = vec![false; wanted.len()];
        Diff { wanted, seen, tolerance_ms, longest_ms, found: Found::default() }
    }

    /// The kernel begins anew.
    pub fn restart(&mut self) {
        self.seen.fill(false);
        self.found = Found::default();
    }

    /// The kernel has this, `elapsed_ms` after what is wanted was written down.
    pub fn found(&mut self, net: Cidr, left_ms: Option<u64>, elapsed_ms: u64) {
        let place = self.wanted.binary_search_by_key(&net, |element| element.net).ok();
        let wanted = place.and_then(|at| Some((at, self.wanted.get(at)?, self.seen.get_mut(at)?)));
        let Some((at, element, seen)) = wanted else {
            self.found.strangers.push(net);
            return;
        };
        // A dump may show an element twice.
        if std::mem::replace(seen, true) {
            return;
        }
        let fits = match (left_ms, element.left_ms) {
            (None, None) => true,
            (Some(left), Some(wanted)) => match self.longest_ms {
                Some(longest) if wanted > longest => left >= longest / 2,
                _ => left.saturating_add(elapsed_ms).abs_diff(wanted) <= self.tolerance_ms,
            },
            _ => false,
        };
        match fits {
            true => self.found.kept += 1,
            false => self.found.off.push(at),
        }
    }

    /// That was all.
    pub fn end(mut self) -> Found {
        let unseen = self.seen.iter().enumerate().filter(|(_, seen)| !**seen);
        self.found.missing = unseen.map(|(at, _)| at).collect();
        self.found.strangers.sort_unstable();
        self.found.strangers.dedup();
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_apart() {
        let net = |text: &str| Cidr::new(text.parse().unwrap(), 128);
        let wanted = [
            Element { net: net("192.0.2.1"), left_ms: Some(10_000) },
            Element { net: net("192.0.2.2"), left_ms: Some(10_000) },
            Element { net: net("192.0.2.3"), left_ms: None },
            Element { net: net("192.0.2.4"), left_ms: Some(3_000_000_000) },
            Element { net: net("192.0.2.5"), left_ms: Some(1000) },
        ];
        let mut diff = Diff::of(&wanted, 2000, Some(2_147_483_000));
        diff.found(net("192.0.2.9"), None, 0);
        diff.restart();
        diff.found(net("192.0.2.77"), Some(5), 0);
        diff.found(net("192.0.2.1"), Some(7_000), 1500);
        diff.found(net("192.0.2.2"), Some(5_000), 0);
        diff.found(net("192.0.2.3"), Some(5_000), 0);
        diff.found(net("192.0.2.4"), Some(2_147_000_000), 0);
        diff.found(net("192.0.2.4"), Some(2_147_000_000), 0);
        let expected = Found {
            missing: vec![4],
            off: vec![1, 2],
            kept: 2,
            strangers: vec![net("192.0.2.77")],
        };
        assert_eq!(diff.end(), expected);
    }
}
