//! Sets of nftables and of ipset: what is to be done with them, meant for netlink, written as text
//! where only the tools are there.

use crate::{net::Cidr, ticket::Family};

/// The one nftables table, family `inet`, that is ours.
pub const NFT_TABLE: &str = "sentryban";

/// The longest timeout that ipset can express, in seconds (24.8 days).
pub const IPSET_TIMEOUT_MAX_S: u64 = 2_147_483;

/// The longest timeout that nftables takes, in seconds (213503 days).
pub const NFT_TIMEOUT_MAX_S: u64 = 213_503 * 86_400;

/// So many elements go into one batch.
pub const BATCH_MAX: usize = 2000;

/// One batch: all of it or, if the answer is an error, nothing that counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SetBatch {
    /// For nftables.
    Nft {
        /// The jail's chain and sets.
        guard: NftGuard,
        /// What is to be done.
        verb: SetVerb,
    },
    /// For ipset; the rules that ask its sets are steps of their own.
    Ipset {
        /// The jail's sets.
        guard: IpsetGuard,
        /// What is to be done.
        verb: SetVerb,
    },
}

/// What is to be done with the sets of a jail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SetVerb {
    /// Table, chain, rules and sets are there afterwards. Sets that were there keep their elements;
    /// the chain's rules are written anew, in the same transaction.
    Start,
    /// Changes elements.
    Change(Vec<Change>),
    /// The sets are empty afterwards. Sets that are not there are no fault.
    Flush,
    /// All that `Start` made is gone; the table, too, once it is empty. What is not there is no
    /// fault.
    Stop,
    /// Fails if the chain or a set is missing, or one of these elements.
    Check(Vec<Cidr>),
    /// Prints all elements of all sets, one address or prefix a line.
    List,
}

/// A change of one element. Which set it belongs to follows from it: singles and prefixes of each
/// family have their own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// It is in afterwards, with this timeout counted from now, whether it was before or not.
    Add {
        /// The address or prefix.
        net: Cidr,
        /// Seconds; none for ever.
        timeout_s: Option<u64>,
    },
    /// It is not in afterwards, whether it was before or not.
    Delete {
        /// The address or prefix.
        net: Cidr,
    },
}

/// What a jail has in the table: one base chain and four sets (singles and prefixes, each family).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NftGuard {
    /// Name of the base chain, made of the jail's name.
    pub chain: String,
    /// Sets of the jail.
    pub sets: Sets,
    /// Priority of the chain at the hook `prerouting`: −150, or −300 for `raw`.
    pub priority: i32,
    /// What the rules look at.
    pub ports: Ports,
    /// What happens to a packet.
    pub verdict: Verdict,
    /// Packets are counted in the rules.
    pub counter: bool,
}

/// Names of four sets.
#[derive(Clone, Debug, Eq, PartialEq)]
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

/// What a jail has in ipset.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IpsetGuard {
    /// Names, each at most 31 bytes.
    pub sets: Sets,
    /// Only the sets of this family; none for both.
    pub family: Option<Family>,
    /// So many elements fit.
    pub maxelem: u32,
    /// So many buckets at first.
    pub hashsize: u32,
}

/// What a rule looks at besides the source.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ports {
    /// `tcp`, `udp`, …; empty for every protocol.
    pub protocols: Vec<String>,
    /// Destination ports as the sender wrote them (before DNAT), from and to; empty for all.
    pub ranges: Vec<(u16, u16)>,
}

/// What happens to a packet of somebody who is out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is dropped.
    Drop,
    /// It is answered; where the kernel refuses that at this hook, it is dropped.
    Reject,
}
