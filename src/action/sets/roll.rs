//! Roll: all elements that a jail's sets are to hold, a million of them in few megabytes.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::family_of;
use crate::{net::Cidr, ticket::Family};

/// Addresses and prefixes with their timeouts: 8 bytes for a single IPv4 address, 24 for others.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Roll {
    addr4: Vec<(u32, Left)>,
    others: Vec<(Cidr, Left)>,
}

/// Seconds; 0 is for ever, as is what lasts longer than 136 years.
type Left = u32;

impl Roll {
    /// Puts one in; it may stand in it already. `timeout_s` is at least 1, none is for ever.
    pub fn push(&mut self, net: Cidr, timeout_s: Option<u64>) {
        let left = timeout_s.map_or(0, |s| u32::try_from(s.max(1)).unwrap_or(0));
        match net.address() {
            IpAddr::V4(address) if net.is_single() => self.addr4.push((address.into(), left)),
            _ => self.others.push((net, left)),
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.addr4.len() + self.others.len()
    }

    /// True if nothing is in.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, single IPv4 addresses first: each with its timeout in seconds, none for ever.
    pub fn iter(&self) -> impl Iterator<Item = (Cidr, Option<u64>)> {
        self.singles4().chain(self.others())
    }

    /// Single IPv4 addresses.
    pub fn singles4(&self) -> impl Iterator<Item = (Cidr, Option<u64>)> {
        let net = |address: u32| Cidr::new(Ipv4Addr::from(address).into(), 32);
        self.addr4.iter().map(move |(address, left)| (net(*address), seconds(*left)))
    }

    /// IPv4 prefixes and all that is IPv6.
    pub fn others(&self) -> impl Iterator<Item = (Cidr, Option<u64>)> {
        self.others.iter().map(|(net, left)| (*net, seconds(*left)))
    }

    /// Those of IPv4, and those of IPv6.
    pub fn by_family(self) -> [Roll; 2] {
        let is_four = |(net, _): &(Cidr, Left)| family_of(*net) == Family::Inet4;
        let (four, six) = self.others.into_iter().partition(is_four);
        [Roll { addr4: self.addr4, others: four }, Roll { addr4: Vec::new(), others: six }]
    }
}

fn seconds(left: Left) -> Option<u64> {
    (left != 0).then(|| left.into())
}

impl FromIterator<(Cidr, Option<u64>)> for Roll {
    fn from_iter<I: IntoIterator<Item = (Cidr, Option<u64>)>>(elements: I) -> Roll {
        let mut roll = Roll::default();
        elements.into_iter().for_each(|(net, timeout_s)| roll.push(net, timeout_s));
        roll
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Cidr {
        let (address, bits) = text.split_once('/').unwrap_or((text, "128"));
        Cidr::new(address.parse().unwrap(), bits.parse().unwrap())
    }

    #[test]
    fn what_is_put_in_comes_out() {
        let rows = [
            ("192.0.2.1", Some(1)),
            ("198.51.100.7", None),
            ("10.0.0.0/8", Some(2_592_000)),
            ("2001:db8::/64", Some(u64::from(u32::MAX))),
            ("2001:db8::1", None),
        ];
        let roll: Roll = rows.iter().map(|(text, left)| (net(text), *left)).collect();
        let found: Vec<(String, Option<u64>)> =
            roll.iter().map(|(net, left)| (net.to_string(), left)).collect();
        assert_eq!(found, rows.map(|(text, left)| (text.to_owned(), left)));
        let [four, six] = roll.by_family();
        assert_eq!((four.len(), six.len()), (3, 2));
    }

    #[test]
    fn no_time_becomes_none_and_none_becomes_a_short_one() {
        let rows = [(Some(0), Some(1)), (Some(1 << 32), None), (None, None)];
        for (given, expected) in rows {
            let roll: Roll = [(net("192.0.2.1"), given)].into_iter().collect();
            assert_eq!(roll.iter().next().map(|(_, left)| left), Some(expected), "{given:?}");
        }
    }

    #[test]
    fn a_million_addresses_take_eight_megabytes() {
        assert_eq!(size_of::<(u32, Left)>(), 8);
        assert!(size_of::<(Cidr, Left)>() <= 24);
    }
}
