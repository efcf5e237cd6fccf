//! Puts the first bytes of fragmented packets together: ports and flags, never more.
//!
//! Nothing is delivered to anybody here, so the whole packet does not matter: its first
//! [`HEAD_BYTES`] do, and of them only so many as are needed to read ports and flags. A first
//! fragment that holds them needs no other.
//!
//! When a packet is whole a kernel begins another under its number at once, and of pieces that
//! contradict each other it takes the one or drops all. So nothing is kept that would hide what
//! comes later: a head ends with its probe, a new piece takes the place of an old one, and a piece
//! with flags that ask for nothing takes no place at all.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

use super::{
    kind::Kind,
    packet::{Decoded, Envelope, Flags, IpOptions, Lack, Proto, chained},
};
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

#[derive(Clone, Debug)]
struct Head {
    since: Timestamp,
    /// Tells it from an earlier one of the same key.
    number: u64,
    bytes: [u8; HEAD_BYTES],
    /// One bit for each byte that is known.
    known: u64,
    options: IpOptions,
    /// The protocol that the first fragment names; later ones of IPv6 may name another.
    proto: Option<u8>,
}

/// Packets whose beginning is not complete yet; bounded.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    heads: HashMap<Key, Head>,
    /// In the order in which they were begun; some of them are over.
    order: VecDeque<(Key, u64)>,
    number: u64,
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
        if offset == 0 {
            match chained(envelope, proto, bytes) {
                Ok(decoded) => return decoded,
                Err(Lack::Sense) => return Decoded::Fragment,
                Err(Lack::Bytes) => {}
            }
        }
        self.forget(envelope.time);
        let Envelope { source, target, .. } = envelope;
        // Of IPv6 only the first fragment's next header counts, so it is no part of the name.
        let named = if source.is_ipv4() { proto } else { 0 };
        let key = Key { source, target, id, proto: named };
        let known = self.heads.get(&key);
        let mut head = known.cloned().unwrap_or_else(|| Head::new(envelope.time, self.number + 1));
        match head.add(envelope, proto, offset, bytes) {
            Ok(decoded) => {
                if asks(&decoded) {
                    self.heads.remove(&key);
                }
                decoded
            }
            Err(Lack::Sense) => Decoded::Fragment,
            Err(Lack::Bytes) if source.is_ipv4() && is_answer(proto, offset, bytes) => {
                Decoded::Fragment
            }
            Err(Lack::Bytes) => {
                if known.is_none() {
                    if self.order.len() >= PACKETS_MAX {
                        self.drop_oldest();
                    }
                    self.number += 1;
                    self.order.push_back((key, self.number));
                }
                self.heads.insert(key, head);
                Decoded::Fragment
            }
        }
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some((key, number)) = self.order.front() {
            let head = self.heads.get(key).filter(|head| head.number == *number);
            let is_young =
                |head: &Head| now < head.since.plus_secs(PACKET_AGE_MAX_S) && head.since <= now;
            if head.is_some_and(is_young) {
                return;
            }
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((key, number)) = self.order.pop_front()
            && self.heads.get(&key).is_some_and(|head| head.number == number)
        {
            self.heads.remove(&key);
        }
    }
}

/// True if it is what a sensor looks for.
fn asks(decoded: &Decoded) -> bool {
    matches!(decoded, Decoded::Probe(probe) if Kind::of(probe).is_some())
}

/// True for a later piece of a TCP header over IPv4 whose flags are those of a conversation.
fn is_answer(proto: u8, offset: usize, bytes: &[u8]) -> bool {
    const FLAGS_AT: usize = 13;
    let flags = FLAGS_AT.checked_sub(offset).and_then(|at| bytes.get(at));
    Proto::of(proto) == Some(Proto::Tcp)
        && offset > 0
        && flags.is_some_and(|flags| Kind::of_flags(Flags(*flags)).is_none())
}

impl Head {
    fn new(since: Timestamp, number: u64) -> Head {
        let (bytes, options) = ([0; HEAD_BYTES], IpOptions::Unset);
        Head { since, number, bytes, known: 0, options, proto: None }
    }

    fn add(
        &mut self,
        envelope: Envelope,
        proto: u8,
        offset: usize,
        bytes: &[u8],
    ) -> Result<Decoded, Lack> {
        for (at, byte) in (offset..HEAD_BYTES).zip(bytes) {
            if let Some(place) = self.bytes.get_mut(at) {
                *place = *byte;
                self.known |= 1 << at;
            }
        }
        if envelope.options == IpOptions::Set {
            self.options = IpOptions::Set;
        }
        if offset == 0 {
            self.proto = Some(proto);
        }
        let known = self.known.trailing_ones() as usize;
        let proto = self.proto.ok_or(Lack::Bytes)?;
        let whole = Envelope { options: self.options, ..envelope };
        chained(whole, proto, self.bytes.get(..known).unwrap_or_default())
    }
}
