//! Netlink: nf_tables and ipset without their tools, and what the kernel tells by itself.
//!
//! ```text
//! SetBatch ──► Netlink::apply ──► nft.rs, ipset.rs: bytes ──► socket.rs ──► kernel
//! kernel ──► watch.rs: Lost       route.rs: Surroundings       sockets.rs: connections cut
//!                                links.rs, services.rs, conntrack.rs: what the sensor has to know
//! ```
//!
//! `codec.rs`, `nft.rs`, `rules.rs`, `ipset.rs`, `cover.rs` and `diff.rs` are pure: bytes and
//! values in and out. A [`Netlink`] is one conversation with the kernel; each thread that needs
//! one opens its own. Where it cannot be opened ([`Fault::is_unavailable`]) the tools have to do.
//!
//! What is promised:
//! - Elements given to one `apply` go in transactions of some thousands, in which the kernel is
//!   quickest; each is atomic.
//! - An element that the kernel refuses is named with the kernel's reason and keeps none of the
//!   others out.
//! - Prefixes may overlap. An interval set of the kernel cannot hold that, so it gets pieces that
//!   do not, each with the longest time that any prefix above it has (`cover.rs`).
//! - IPv6 networks of 64 bits, which is what most bans of IPv6 are, have a hash set of their own:
//!   an interval set takes longer for one more the more it holds.

pub mod codec;
mod commit;
pub mod conntrack;
pub mod cover;
pub mod diff;
pub mod exec;
pub mod express;
pub mod fault;
pub mod ipset;
mod ipsets;
pub mod links;
mod listing;
mod losses;
pub mod nat;
pub mod nft;
mod option;
mod resync;
pub mod route;
pub mod rules;
pub mod services;
mod socket;
pub mod sockets;
mod tables;
pub mod watch;

use std::collections::HashMap;

use crate::{
    action::sets::{IpsetGuard, NftGuard, SetBatch},
    net::Cidr,
    time::Stopwatch,
};
use cover::Cover;

pub use fault::{Fault, Part};
#[cfg(feature = "libipset")]
pub(in crate::daemon) use ipsets::halves;
pub use route::{Horizon, Surroundings};
pub use socket::Own;
pub use sockets::Sockets;
pub use watch::{Lost, Watch};

/// An element of a set.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Element {
    /// The address or prefix.
    pub net: Cidr,
    /// How long it will stay, in milliseconds; none for ever.
    pub left_ms: Option<u64>,
}

/// Whose sets.
#[derive(Clone, Copy, Debug)]
pub enum Guard<'a> {
    /// A jail's sets in nf_tables.
    Nft(&'a NftGuard),
    /// A jail's sets in ipset.
    Ipset(&'a IpsetGuard),
}

/// What came of a batch that the kernel took.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Applied {
    /// What it did not take of it, each with the reason, in words.
    pub failed: Vec<(Cidr, String)>,
    /// What was listed.
    pub listed: Vec<Element>,
    /// Something for the log, once: `reject` became `drop`, a set had to be made anew.
    pub notes: Vec<String>,
}

/// What it took to make the kernel's sets what they should be.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reconciled {
    /// So many were missing and are in now.
    pub added: usize,
    /// So many had too short or too long a time, and have the right one now; or were written anew
    /// without a look at what was there.
    pub refreshed: usize,
    /// So many were as they should be.
    pub kept: usize,
    /// These were in and nobody wanted them; they are out. At most [`NAMED_MAX`] are named.
    pub removed: Vec<Cidr>,
    /// So many were removed.
    pub removed_count: usize,
    /// What the kernel refused, with the reason.
    pub failed: Vec<(Cidr, String)>,
}

impl Reconciled {
    /// What a human should know of it.
    fn note(&self) -> Option<String> {
        if self.removed_count == 0 {
            return None;
        }
        let named: Vec<String> = self.removed.iter().take(10).map(Cidr::to_string).collect();
        let more = if self.removed_count > named.len() { ", …" } else { "" };
        Some(format!(
            "{} element(s) that no ban stands for are out: {}{more}",
            self.removed_count,
            named.join(", ")
        ))
    }
}

/// So many strangers are named; the rest is counted.
pub const NAMED_MAX: usize = 100;

/// The time that an element has left may be off by so much before it is set anew.
const TOLERANCE_MS: u64 = 2000;

/// A conversation with nf_tables or ipset.
#[derive(Debug)]
pub struct Netlink {
    socket: socket::Socket,
    own: Own,
    clock: Stopwatch,
    covers: HashMap<String, Cover>,
    fills: ipsets::Fills,
}

impl Netlink {
    /// Opens it, and asks whether there is somebody at the other end who lets us.
    ///
    /// # Errors
    ///
    /// [`Fault::Unavailable`] without the right (CAP_NET_ADMIN in this namespace) or without that
    /// part in the kernel; another where it may be had later.
    pub fn open(part: Part, own: &Own) -> Result<Netlink, Fault> {
        let socket = socket::Socket::open(part, 0, own)?;
        let mut netlink = Netlink {
            socket,
            own: own.clone(),
            clock: Stopwatch::start(),
            covers: HashMap::new(),
            fills: HashMap::new(),
        };
        let asked = match part {
            Part::Ipset => netlink.ipset_version().map(drop),
            _ => netlink.nft_generation().map(drop),
        };
        match asked {
            Ok(()) => Ok(netlink),
            Err(fault) if fault.is_passing() => Err(fault),
            Err(fault) => Err(Fault::Unavailable { part, why: fault.to_string() }),
        }
    }

    /// Does what a batch says.
    ///
    /// # Errors
    ///
    /// When nothing of it (or, of more elements than fit into one transaction, not all of it) could
    /// be done. [`Fault::Missing`] also where a `Check` finds something missing. The order may be
    /// given again: it says what is to be so, not what is to be changed. A batch for iptables is
    /// none for netlink.
    pub fn apply(&mut self, batch: &SetBatch) -> Result<Applied, Fault> {
        match batch {
            SetBatch::Nft { guard, verb } => {
                let done = self.nft_apply(guard, verb);
                self.unless_done(guard, done)
            }
            SetBatch::Ipset { guard, verb } => self.ipset_apply(guard, verb),
            SetBatch::Iptables { .. } => Err(Fault::Unavailable {
                part: self.socket.part(),
                why: "chains of iptables are for its own tools".to_owned(),
            }),
        }
    }

    /// All elements of a jail's sets. Of prefixes that overlap in nf_tables the pieces come.
    ///
    /// # Errors
    ///
    /// When a set cannot be read. Sets that are not there are empty.
    pub fn elements(&mut self, guard: Guard<'_>) -> Result<Vec<Element>, Fault> {
        match guard {
            Guard::Nft(guard) => self.nft_elements(guard),
            Guard::Ipset(guard) => self.ipset_elements(guard),
        }
    }

    /// Makes the sets hold `wanted` and nothing else: adds, refreshes times that are off by more
    /// than two seconds, removes what is not wanted. Of what stands twice in `wanted` the longest
    /// time counts.
    ///
    /// A hash of nf_tables with very many elements is made anew instead, beside the old one, as the
    /// kernel takes a minute to list a million: then strangers go without being named.
    ///
    /// # Errors
    ///
    /// As for [`Netlink::apply`]; the sets have to be there.
    pub fn reconcile(&mut self, guard: Guard<'_>, wanted: &[Element]) -> Result<Reconciled, Fault> {
        let wanted = resync::Wanted::Elements(wanted);
        match guard {
            Guard::Nft(guard) => {
                let done = self.nft_reconcile(guard, wanted);
                self.unless_done(guard, done)
            }
            Guard::Ipset(guard) => self.ipset_reconcile(guard, wanted),
        }
    }

    /// What stands in our nf_tables table and belongs to none of these jails, in words.
    ///
    /// # Errors
    ///
    /// When the table cannot be read.
    pub fn strangers(&mut self, ours: &[&NftGuard]) -> Result<Vec<String>, Fault> {
        self.nft_strangers(ours)
    }

    /// Removes our whole nf_tables table, whoever made what is in it. False if there was none.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn lift(&mut self) -> Result<bool, Fault> {
        self.nft_lift()
    }

    /// What was worked out is remembered as if it were in the kernel. Where something went wrong
    /// before it was sent, it is not.
    fn unless_done<T>(&mut self, guard: &NftGuard, done: Result<T, Fault>) -> Result<T, Fault> {
        if done.is_err() {
            self.nft_forget(guard);
        }
        done
    }

    /// Milliseconds on a clock of our own that nobody sets.
    fn now_ms(&self) -> u64 {
        millis(self.clock)
    }
}

fn millis(since: Stopwatch) -> u64 {
    (since.seconds() * 1000.0) as u64
}
