//! Addresses as failures name them: v4-in-v6 made plain, prefixes cut to their mask.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

/// An address with the number of its leading bits that count.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl Cidr {
    /// A prefix; the bits behind it are cleared. A v4-mapped address becomes its IPv4 one, and a
    /// length beyond the family's means a single address.
    pub fn new(address: IpAddr, bits: u8) -> Cidr {
        let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        let bits = if mapped && bits >= 96 { bits - 96 } else { bits };
        match plain(address) {
            IpAddr::V4(v4) => {
                let bits = bits.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                Cidr { address: Ipv4Addr::from(u32::from(v4) & mask).into(), bits }
            }
            IpAddr::V6(v6) => {
                let bits = bits.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                Cidr { address: Ipv6Addr::from(u128::from(v6) & mask).into(), bits }
            }
        }
    }

    /// True if this is one address, not a network.
    pub fn is_single(self) -> bool {
        self.bits == if self.address.is_ipv4() { 32 } else { 128 }
    }

    /// How many leading bits count.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// The first address of the network.
    pub fn address(self) -> IpAddr {
        self.address
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_single() {
            true => write!(f, "{}", self.address),
            false => write!(f, "{}/{}", self.address, self.bits),
        }
    }
}

/// `::ffff:192.0.2.1` is 192.0.2.1 seen through an IPv6 socket; everything else stays.
pub fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// Reads an address as logs write it, with or without square brackets.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().map(plain)
}

/// The one spelling under which a failure's id is counted: an address in its shortest form, a
/// network as `address/bits`, and anything else (a name, a mail address, a session) as it stands.
pub fn normal_id(text: &str) -> String {
    if let Some(address) = parse_address(text) {
        return address.to_string();
    }
    if let Some((address, bits)) = text.split_once('/')
        && let (Some(address), Ok(bits)) = (address.parse().ok(), bits.parse::<u8>())
        && bits <= if IpAddr::is_ipv4(&address) { 32 } else { 128 }
    {
        return Cidr::new(address, bits).to_string();
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_spelling() {
        let rows = [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[2001:DB8:0::1]", "2001:db8::1"),
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("2001:db8::5/64", "2001:db8::/64"),
            ("192.0.2.1/32", "192.0.2.1"),
            ("192.0.2.300", "192.0.2.300"),
            ("mail/bob", "mail/bob"),
            ("gate.example.org", "gate.example.org"),
        ];
        for (written, expected) in rows {
            assert_eq!(normal_id(written), expected, "{written}");
        }
    }
}
