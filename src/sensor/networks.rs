//! `Networks`: a set of networks that is asked for addresses, once for every packet.

use std::{collections::HashSet, net::IpAddr};

use crate::net::Cidr;

/// A set of networks. Asking costs one look for each length of prefix that occurs.
#[derive(Clone, Debug, Default)]
pub(super) struct Networks {
    nets: HashSet<Cidr>,
    /// How many networks there are of each length, with the family: ascending, none twice.
    lengths: Vec<(bool, u8, usize)>,
}

impl Networks {
    pub fn of(networks: &[Cidr]) -> Networks {
        let mut set = Networks::default();
        networks.iter().for_each(|network| set.insert(*network));
        set
    }

    pub fn len(&self) -> usize {
        self.nets.len()
    }

    pub fn insert(&mut self, network: Cidr) {
        if !self.nets.insert(network) {
            return;
        }
        let (is_ipv4, bits) = (network.address().is_ipv4(), network.bits());
        match self
            .lengths
            .iter_mut()
            .find(|(family, length, _)| (*family, *length) == (is_ipv4, bits))
        {
            Some((_, _, count)) => *count += 1,
            None => self.lengths.push((is_ipv4, bits, 1)),
        }
    }

    pub fn remove(&mut self, network: Cidr) {
        if !self.nets.remove(&network) {
            return;
        }
        let (is_ipv4, bits) = (network.address().is_ipv4(), network.bits());
        self.lengths.retain_mut(|(family, length, count)| {
            if (*family, *length) == (is_ipv4, bits) {
                *count -= 1;
            }
            *count > 0
        });
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let is_ipv4 = address.is_ipv4();
        let of_family = self.lengths.iter().filter(|(family, ..)| *family == is_ipv4);
        of_family.into_iter().any(|(_, bits, _)| self.nets.contains(&Cidr::new(address, *bits)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_networks_of_every_length() {
        let cidr = |text: &str, bits| Cidr::new(text.parse().unwrap(), bits);
        let mut set =
            Networks::of(&[cidr("10.0.0.0", 8), cidr("192.0.2.1", 32), cidr("fd00::", 8)]);
        let has = |set: &Networks, text: &str| set.contains(text.parse().unwrap());
        for inside in ["10.9.8.7", "192.0.2.1", "fdff::1"] {
            assert!(has(&set, inside), "{inside}");
        }
        for outside in ["11.0.0.0", "192.0.2.2", "fe00::1", "::"] {
            assert!(!has(&set, outside), "{outside}");
        }
        set.insert(cidr("10.1.2.3", 8));
        set.remove(cidr("10.0.0.0", 8));
        assert!(!has(&set, "10.9.8.7") && has(&set, "192.0.2.1"));
        set.insert(cidr("0.0.0.0", 0));
        assert!(has(&set, "203.0.113.9") && !has(&set, "2001:db8::1"));
        assert_eq!(set.len(), 3);
    }
}
