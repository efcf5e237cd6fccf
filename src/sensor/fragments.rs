//! Puts the first bytes of fragmented packets together: ports and flags, never more.
//!
//! Nothing is delivered to anybody here, so the whole packet does not matter: its first
//! [`HEAD_BYTES`] do, and of them only so many as are needed to read ports and flags. Fragments
//! may come in any order; where they overlap, the first to come counts.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

use super::packet::{Decoded, Envelope, IpOptions, Lack, chained};
use crate::time::Timestamp;

/// A fragment that begins behind so many bytes of its packet is of no interest: neither here, nor
/// to a filter of the kernel.
pub const HEAD_BYTES: usize = 64;

/// So many packets are being put together at once; beyond, the oldest is given up.
pub const PACKETS_MAX: usize = 2048;

/// A packet whose beginning is not complete after so many seconds is given up, as a kernel would.
pub const PACKET_AGE_MAX_S: i64 = 30;

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Key {
    source: IpAddr,
    target: IpAddr,
    id: u32,
    proto: u8,
}

#[derive(Debug)]
struct Head {
    since: Timestamp,
    bytes: [u8; HEAD_BYTES],
    /// One bit for each byte that is known.
    known: u64,
    options: IpOptions,
    /// The protocol that the first fragment names; later ones of IPv6 may name another.
    proto: Option<u8>,
    done: bool,
}

/// Packets whose beginning is not complete yet; bounded.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    heads: HashMap<Key, Head>,
    /// In the order in which they were begun.
    order: VecDeque<Key>,
}

impl Fragments {
    /// Takes a fragment whose bytes begin `offset` bytes behind the packet's IP header.
    pub fn add(
        &mut self,
        envelope: Envelope,
        id: u32,
        proto: u8,
        offset: usize,
        bytes: &[u8],
    ) -> Decoded {
        if offset >= HEAD_BYTES || bytes.is_empty() {
            return Decoded::Fragment;
        }
        let Envelope { source, target, .. } = envelope;
        // Of IPv6 only the first fragment's next header counts, so it is no part of the name.
        let named = if source.is_ipv4() { proto } else { 0 };
        let key = Key { source, target, id, proto: named };
        self.forget(envelope.time);
        if !self.heads.contains_key(&key) {
            if self.order.len() >= PACKETS_MAX {
                self.drop_oldest();
            }
            self.order.push_back(key);
        }
        let head = self.heads.entry(key).or_insert_with(|| Head {
            since: envelope.time,
            bytes: [0; HEAD_BYTES],
            known: 0,
            options: IpOptions::Unset,
            proto: None,
            done: false,
        });
        head.add(envelope, proto, offset, bytes)
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some(head) = self.order.front().and_then(|key| self.heads.get(key)) {
            if now < head.since.plus_secs(PACKET_AGE_MAX_S) && head.since <= now {
                return;
            }
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(key) = self.order.pop_front() {
            self.heads.remove(&key);
        }
    }
}

impl Head {
    fn add(&mut self, envelope: Envelope, proto: u8, offset: usize, bytes: &[u8]) -> Decoded {
        if self.done {
            return Decoded::Fragment;
        }
        for (at, byte) in (offset..HEAD_BYTES).zip(bytes) {
            if let Some(place) = self.bytes.get_mut(at)
                && self.known & 1 << at == 0
            {
                *place = *byte;
                self.known |= 1 << at;
            }
        }
        if envelope.options == IpOptions::Set {
            self.options = IpOptions::Set;
        }
        if offset == 0 {
            self.proto = self.proto.or(Some(proto));
        }
        let known = self.known.trailing_ones() as usize;
        let Some(proto) = self.proto else { return Decoded::Fragment };
        let whole = Envelope { options: self.options, ..envelope };
        match chained(whole, proto, self.bytes.get(..known).unwrap_or_default()) {
            Ok(decoded) => {
                self.done = true;
                decoded
            }
            Err(Lack::Sense) => {
                self.done = true;
                Decoded::Fragment
            }
            Err(Lack::Bytes) => Decoded::Fragment,
        }
    }
}
