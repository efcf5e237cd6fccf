//! Sets of nftables and ipset and chains of iptables: what is to be done with them, meant for
//! netlink, written as text where only the tools are there.
//!
//! A batch says what shall be true afterwards. Whoever carries it out (netlink, or the tools) may
//! look at what is there first; the text here is what the tools are given on an empty firewall, and
//! what people are shown.

mod roll;
mod text;

use std::fmt;

pub use roll::Roll;
use serde::{Deserialize, Serialize};

use crate::{
    net::Cidr,
    ticket::{Ban, Family},
    time::Timestamp,
};

/// The one nftables table, family `inet`, that is ours.
pub const NFT_TABLE: &str = "sentryban";

/// The priority of our chain at the hook `prerouting`: after conntrack, before DNAT.
pub const NFT_PRIORITY: i32 = -150;

/// That of `priority = raw`: before conntrack, so that replies to us are not told apart.
pub const NFT_PRIORITY_RAW: i32 = -300;

/// The longest timeout that ipset can express, in seconds (24.8 days).
pub const IPSET_TIMEOUT_MAX_S: u64 = 2_147_483;

/// The longest timeout that nftables takes, in seconds (213503 days).
pub const NFT_TIMEOUT_MAX_S: u64 = 213_503 * 86_400;

/// So many elements go into one batch.
pub const BATCH_MAX: usize = 2000;

/// The longest name of an ipset set, in bytes.
pub const IPSET_NAME_MAX: usize = 31;

/// The longest name of an iptables chain, in bytes.
pub const IPTABLES_NAME_MAX: usize = 28;

/// ICMPv6 types that a host must hear from its neighbours: router and neighbour discovery and
/// redirects.
pub const ICMPV6_PASSED: (u8, u8) = (133, 137);

/// One batch: all of it or, if the answer is an error, nothing that counts.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum SetBatch {
    /// For nftables.
    Nft {
        /// The jail's chain and sets.
        guard: NftGuard,
        /// What is to be done.
        verb: SetVerb,
    },
    /// For ipset; the chain that asks its sets is a batch of its own.
    Ipset {
        /// The jail's sets.
        guard: IpsetGuard,
        /// What is to be done.
        verb: SetVerb,
    },
    /// For iptables or ip6tables: the chain of a jail, which asks sets or holds a rule for each
    /// element.
    Iptables {
        /// The jail's chain in one family.
        guard: IptablesGuard,
        /// What is to be done.
        verb: SetVerb,
    },
}

/// What is to be done with the sets of a jail.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum SetVerb {
    /// Table, chain, rules and sets are there afterwards. Sets that were there keep their elements;
    /// the chain's rules are written anew, in the same transaction.
    Start,
    /// Changes elements.
    Change(Vec<Change>),
    /// There are no elements afterwards. Sets that are not there are no fault.
    Flush,
    /// All that `Start` made is gone; the table, too, once it is empty. What is not there is no
    /// fault.
    Stop,
    /// The sets hold exactly these afterwards: what else they held is out, and of what they held
    /// nothing was out meanwhile, as far as the kernel can do so.
    Exactly(Roll),
    /// Fails if the chain or a set is missing, or one of these elements.
    Check(Vec<Cidr>),
    /// Prints all elements of all sets, one address or prefix a line.
    List,
}

/// A change of one element. Which set it belongs to follows from it: singles and prefixes of each
/// family have their own.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Change {
    /// It is in afterwards, with this timeout counted from now, whether it was before or not.
    Add {
        /// The address or prefix.
        net: Cidr,
        /// Seconds, at least 1 and at most what the backend takes; none for ever.
        timeout_s: Option<u64>,
    },
    /// It is not in afterwards, whether it was before or not.
    Delete {
        /// The address or prefix.
        net: Cidr,
    },
}

/// What a jail has in the table: one base chain, four sets (singles and prefixes, each family) and
/// one of ports.
///
/// A base chain a jail and not one for all: it is made, filled and removed in one transaction
/// without a rule's handle, and costs a packet no more than the jump would.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NftGuard {
    /// Name of the base chain, made of the jail's name.
    pub chain: String,
    /// Sets of the jail.
    pub sets: Sets,
    /// Priority of the chain at the hook `prerouting`.
    pub priority: i32,
    /// What the rules look at.
    pub ports: Ports,
    /// A set of the ports (`inet_service`, interval), if `ports` names some.
    pub port_set: String,
    /// What happens to a packet.
    pub verdict: Verdict,
    /// Packets are counted in the rules.
    pub counter: bool,
}

/// Names of four sets.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sets {
    /// Single IPv4 addresses.
    pub addr4: String,
    /// Single IPv6 addresses.
    pub addr6: String,
    /// IPv4 prefixes.
    pub net4: String,
    /// IPv6 prefixes.
    pub net6: String,
}

impl Sets {
    /// What netlink has beside these in nf_tables, for IPv6 networks of 64 bits.
    pub fn wide6(&self) -> String {
        format!("{}-64", self.net6)
    }
}

/// What a jail has in ipset: the sets of one family, `hash:ip` and `hash:net`, with timeouts.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct IpsetGuard {
    /// Names, each at most [`IPSET_NAME_MAX`] bytes.
    pub sets: Sets,
    /// The family whose two sets are meant.
    pub family: Family,
    /// So many elements fit.
    pub maxelem: u32,
    /// So many buckets at first.
    pub hashsize: u32,
}

/// The chain of a jail in the table `filter` of one family.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct IptablesGuard {
    /// Which of iptables and ip6tables.
    pub family: Family,
    /// Our own chain, at most [`IPTABLES_NAME_MAX`] bytes.
    pub chain: String,
    /// Chains that jump to it from their top.
    pub parents: Vec<String>,
    /// What the jumps look at.
    pub ports: Ports,
    /// What happens to a packet.
    pub verdict: Verdict,
    /// Sets to ask (those of the family); none if the chain holds a rule for each element.
    pub ask: Option<Sets>,
}

/// What a rule looks at besides the source.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ports {
    /// `tcp`, `udp`, …; empty for every protocol.
    pub protocols: Vec<String>,
    /// Destination ports as the sender wrote them (before DNAT), from and to; empty for all.
    pub ranges: Vec<(u16, u16)>,
}

/// What happens to a packet of somebody who is out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Verdict {
    /// It is dropped.
    Drop,
    /// It is answered; where the kernel refuses that at this hook, it is dropped.
    Reject,
}

impl Sets {
    /// The names of a family: that of singles, that of prefixes.
    pub fn of(&self, family: Family) -> [&str; 2] {
        match family {
            Family::Inet4 => [&self.addr4, &self.net4],
            Family::Inet6 => [&self.addr6, &self.net6],
        }
    }

    /// All four: name, family, and whether it holds prefixes.
    pub fn all(&self) -> [(&str, Family, bool); 4] {
        [
            (&self.addr4, Family::Inet4, false),
            (&self.net4, Family::Inet4, true),
            (&self.addr6, Family::Inet6, false),
            (&self.net6, Family::Inet6, true),
        ]
    }

    /// The set to which an address or prefix belongs.
    pub fn home(&self, net: Cidr) -> &str {
        let [single, prefix] = self.of(family_of(net));
        if net.is_single() { single } else { prefix }
    }
}

impl Change {
    /// The address or prefix that it is about.
    pub fn net(&self) -> Cidr {
        match self {
            Change::Add { net, .. } | Change::Delete { net } => *net,
        }
    }
}

/// The family of an address or prefix.
pub fn family_of(net: Cidr) -> Family {
    if net.address().is_ipv6() { Family::Inet6 } else { Family::Inet4 }
}

/// Seconds that the kernel is to hold a ban: none for ever; never 0, which would be for ever, and
/// never more than `max_s`.
pub fn timeout_s(ban: &Ban, now: Timestamp, max_s: u64) -> Option<u64> {
    let left = ban.until()?.micros().saturating_sub(now.micros());
    let whole = u64::try_from(left).unwrap_or(0).div_ceil(1_000_000);
    Some(whole.clamp(1, max_s))
}

/// When a ban that lasts longer than `max_s` has to be told again: after half of that time.
pub fn refresh_after(ban: &Ban, now: Timestamp, max_s: u64) -> Option<Timestamp> {
    let left = ban.until()?.micros().saturating_sub(now.micros());
    let longest = i64::try_from(max_s).unwrap_or(i64::MAX);
    (left > longest.saturating_mul(1_000_000)).then(|| now.plus_secs(longest / 2))
}

impl SetBatch {
    /// What is to be done.
    pub fn verb(&self) -> &SetVerb {
        match self {
            SetBatch::Nft { verb, .. }
            | SetBatch::Ipset { verb, .. }
            | SetBatch::Iptables { verb, .. } => verb,
        }
    }
}

impl fmt::Display for SetBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tool = match self {
            SetBatch::Nft { .. } => "nft -f -",
            SetBatch::Ipset { .. } => "ipset restore -exist",
            SetBatch::Iptables { guard, .. } => match guard.family {
                Family::Inet4 => "iptables-restore --noflush -w",
                Family::Inet6 => "ip6tables-restore --noflush -w",
            },
        };
        f.write_str(tool)?;
        super::plan::here_document(f, &self.text())
    }
}
