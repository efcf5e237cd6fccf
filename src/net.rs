//! Addresses as failures name them: v4-in-v6 made plain, prefixes cut to their mask.

use std::{
    fmt::{self, Write as _},
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

    /// The last address of the network.
    pub fn last(self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => {
                let host = u32::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0);
                Ipv4Addr::from(u32::from(v4) | host).into()
            }
            IpAddr::V6(v6) => {
                let host = u128::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0);
                Ipv6Addr::from(u128::from(v6) | host).into()
            }
        }
    }

    /// True if the address lies in it; a v4-mapped one counts as its IPv4 address.
    pub fn contains(self, address: IpAddr) -> bool {
        self.agrees(plain(address), self.bits)
    }

    /// True if so many leading bits of an address are those of ours.
    fn agrees(self, address: IpAddr, bits: u8) -> bool {
        let bits = u32::from(bits);
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = u32::from(own) ^ u32::from(other);
                differing.checked_shr(32_u32.saturating_sub(bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = u128::from(own) ^ u128::from(other);
                differing.checked_shr(128_u32.saturating_sub(bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// True if all of `other` lies in it.
    pub fn covers(self, other: Cidr) -> bool {
        self.bits <= other.bits && self.contains(other.address)
    }

    /// True if they have an address in common: one lies within the other.
    pub fn touches(self, other: Cidr) -> bool {
        self.agrees(other.address, self.bits.min(other.bits))
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

/// Appends an address as it is shown. By hand, since each failure has a line in our own log.
pub fn push_address(out: &mut String, address: IpAddr) {
    let IpAddr::V4(v4) = address else {
        // Writing to a String never fails.
        let _ = write!(out, "{address}");
        return;
    };
    for (place, octet) in v4.octets().into_iter().enumerate() {
        if place > 0 {
            out.push('.');
        }
        let digit = |digit: u8| char::from(b'0' + digit % 10);
        if octet >= 100 {
            out.push(digit(octet / 100));
        }
        if octet >= 10 {
            out.push(digit(octet / 10));
        }
        out.push(digit(octet));
    }
}

/// True if [`normal_id`] would surely leave a text as it is: a plain IPv4 address, which has one
/// spelling only, or what cannot be an address at all.
pub fn is_normal_id(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok() || !text.contains([':', '/', '['])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_know_what_lies_within() {
        let net = |text: &str| {
            let (address, bits) = text.split_once('/').unwrap();
            Cidr::new(address.parse().unwrap(), bits.parse().unwrap())
        };
        for (one, other, covers, touches) in [
            ("192.0.2.0/24", "192.0.2.128/25", true, true),
            ("192.0.2.128/25", "192.0.2.0/24", false, true),
            ("192.0.2.0/25", "192.0.2.128/25", false, false),
            ("0.0.0.0/0", "192.0.2.1/32", true, true),
            ("0.0.0.0/0", "2001:db8::/64", false, false),
            ("::/0", "2001:db8::1/128", true, true),
        ] {
            assert_eq!(net(one).covers(net(other)), covers, "{one} {other}");
            assert_eq!(net(one).touches(net(other)), touches, "{one} {other}");
        }
        assert!(net("192.0.2.0/24").contains("::ffff:192.0.2.9".parse().unwrap()));
        for text in ["0.0.0.0", "9.10.99.100", "192.0.2.255", "2001:db8::1"] {
            let mut out = "at ".to_owned();
            push_address(&mut out, text.parse().unwrap());
            assert_eq!(out, format!("at {text}"));
        }
        assert_eq!(net("192.0.2.0/25").last().to_string(), "192.0.2.127");
        assert_eq!(net("0.0.0.0/0").last().to_string(), "255.255.255.255");
        assert_eq!(net("192.0.2.1/32").last().to_string(), "192.0.2.1");
        assert_eq!(net("2001:db8::/112").last().to_string(), "2001:db8::ffff");
    }

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
            assert!(!is_normal_id(written) || written == expected, "{written}");
        }
    }
}
