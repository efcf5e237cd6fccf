//! What travels down the street: failures on their way to a jail, bans on their way to a firewall.

mod entry;
mod traces;

use std::{fmt, net::IpAddr, sync::Arc};

pub use entry::{Counters, Entry, UnbanWhy};
use serde::{Deserialize, Serialize};
pub use traces::{Dossier, Traces};

use crate::{
    net::{Cidr, normal_id, parse_address, plain},
    time::Timestamp,
};

/// The name of a jail: that of its section.
pub type JailName = Arc<str>;

/// Whom a failure counts against, and whom a ban shuts out: fail2ban's failure id.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Id {
    /// An address; a v4-mapped one is its IPv4 address.
    Ip(IpAddr),
    /// A network: what `<SUBNET>` captured, or an address cut to `banprefix4` or `banprefix6`.
    Net(Cidr),
    /// Anything else that an `<F-ID>` captured: a user, a session, a host's name.
    Text(Arc<str>),
}

/// Address families, under fail2ban's names in `<family>`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Family {
    /// IPv4; ids that are no address count as this one, as in fail2ban.
    Inet4,
    /// IPv6.
    Inet6,
}

impl Id {
    /// Reads an id in the one spelling that [`normal_id`] gives it.
    pub fn parse(text: &str) -> Id {
        if let Some(address) = parse_address(text) {
            return Id::Ip(address);
        }
        let text = normal_id(text);
        // `192.0.2.1/32` is an address, too.
        if let Some(address) = parse_address(&text) {
            return Id::Ip(address);
        }
        let network = text
            .split_once('/')
            .and_then(|(address, bits)| Some(Cidr::new(address.parse().ok()?, bits.parse().ok()?)));
        match network {
            Some(network) => Id::Net(network),
            None => Id::Text(text.into()),
        }
    }

    /// The id of a network; one of a single address is that address.
    pub fn of_network(network: Cidr) -> Id {
        match network.is_single() {
            true => Id::Ip(network.address()),
            false => Id::Net(network),
        }
    }

    /// The network that it stands for; none if it is no address.
    pub fn network(&self) -> Option<Cidr> {
        match self {
            Id::Ip(address) => Some(Cidr::new(*address, 128)),
            Id::Net(network) => Some(*network),
            Id::Text(_) => None,
        }
    }

    /// Its family.
    pub fn family(&self) -> Family {
        match self.network() {
            Some(network) if network.address().is_ipv6() => Family::Inet6,
            _ => Family::Inet4,
        }
    }
}

impl From<IpAddr> for Id {
    fn from(address: IpAddr) -> Id {
        Id::Ip(plain(address))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Ip(address) => address.fmt(f),
            Id::Net(network) => network.fmt(f),
            Id::Text(text) => text.fmt(f),
        }
    }
}

/// How long a ban lasts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BanTime {
    /// Until somebody lifts it (`-1`).
    Permanent,
    /// So many seconds.
    Seconds(u64),
}

impl BanTime {
    /// When a ban of this length ends that began at `from`; none if it does not.
    pub fn until(self, from: Timestamp) -> Option<Timestamp> {
        match self {
            BanTime::Permanent => None,
            BanTime::Seconds(seconds) => {
                Some(from.plus_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
            }
        }
    }

    /// As fail2ban writes it: seconds, or -1.
    pub fn secs(self) -> i64 {
        match self {
            BanTime::Permanent => -1,
            BanTime::Seconds(seconds) => i64::try_from(seconds).unwrap_or(i64::MAX),
        }
    }
}

/// One failure (or several of one moment) that somebody is to answer for.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticket {
    /// Whose it is.
    pub id: Id,
    /// When it happened.
    pub time: Timestamp,
    /// How many failures it stands for, at least 1.
    pub attempts: u32,
    /// What is known of it.
    pub evidence: Traces,
}

/// What speaks against an offender: for the store, for `why`, for the tags of actions. All of it
/// is text that an attacker may have written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The lines, oldest first, at most `maxmatches` of them.
    pub lines: Vec<Arc<str>>,
    /// What `<F-USER>` and the like captured, by the name of the tag in lower case.
    pub fields: Vec<(Arc<str>, Arc<str>)>,
    /// The failregex that matched last, counted from 1; none if somebody ordered the ban.
    pub regex: Option<u32>,
}

/// A ban: decided, stored, and to be held by the kernel until it ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Ban {
    /// Who is out.
    pub id: Id,
    /// Since when.
    pub from: Timestamp,
    /// For how long, growth and chance included.
    pub time: BanTime,
    /// Which ban of this id in this jail it is, counted from 1 (fail2ban's `bancount`).
    pub count: u32,
    /// How many failures led to it.
    pub failures: u32,
    /// It comes back from the store after a restart: actions with `norestored` leave it out.
    pub restored: bool,
    /// What led to it.
    pub evidence: Arc<Evidence>,
}

impl Ban {
    /// When it ends; none if it does not.
    pub fn until(&self) -> Option<Timestamp> {
        self.time.until(self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_shown() {
        for text in ["192.0.2.1", "192.0.2.0/24", "2001:db8::/64", "2001:db8::1", "bob", "a/b"] {
            assert_eq!(Id::parse(text).to_string(), text);
        }
        assert_eq!(Id::parse("::ffff:192.0.2.1"), Id::parse("192.0.2.1"));
        assert_eq!(Id::parse("192.0.2.1/32"), Id::parse("192.0.2.1"));
        assert_eq!(Id::parse("bob").family(), Family::Inet4);
        assert_eq!(Id::parse("2001:db8::/64").family(), Family::Inet6);
    }

    #[test]
    fn a_ban_ends_when_its_time_is_over() {
        let from = Timestamp::from_secs(1000);
        assert_eq!(BanTime::Seconds(60).until(from), Some(Timestamp::from_secs(1060)));
        assert_eq!(BanTime::Permanent.until(from), None);
        assert!(BanTime::Seconds(u64::MAX).until(from) > Some(from));
    }
}
