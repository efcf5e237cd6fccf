//! Decodes a frame into a [`Probe`]; total on any bytes.

use std::{fmt, net::IpAddr};

use super::fragments::Fragments;
use crate::time::Timestamp;

/// The protocols that ports are of.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Proto {
    /// The protocol of a number in an IP header.
    pub fn of(number: u8) -> Option<Proto> {
        match number {
            next::TCP => Some(Proto::Tcp),
            next::UDP => Some(Proto::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Proto::Tcp => "TCP",
            Proto::Udp => "UDP",
        })
    }
}

/// The flags of a TCP segment: byte 13 of its header.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Flags(pub u8);

impl Flags {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// PSH.
    pub const PSH: u8 = 0x08;
    /// ACK.
    pub const ACK: u8 = 0x10;
    /// URG.
    pub const URG: u8 = 0x20;

    /// True if one of these bits is set.
    pub fn any(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    /// True if all of these bits are set.
    pub fn all(self, bits: u8) -> bool {
        self.0 & bits == bits
    }
}

/// What is known of the IP options of a packet.
///
/// Of IPv6, a routing header counts as such, as source routing does in IPv4.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum IpOptions {
    /// There are none.
    #[default]
    Unset,
    /// There are some.
    Set,
    /// Nobody could look: a connection that a bound socket accepted.
    Unknown,
}

/// A packet that asks for a port of ours, or may do so.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Probe {
    /// When it was received.
    pub time: Timestamp,
    /// Who says to have sent it; v4-mapped addresses never occur.
    pub source: IpAddr,
    /// For which address it is.
    pub target: IpAddr,
    /// TCP or UDP.
    pub proto: Proto,
    /// The port asked for.
    pub port: u16,
    /// The sender's port.
    pub source_port: u16,
    /// TCP flags; none for UDP.
    pub flags: Flags,
    /// IP options.
    pub options: IpOptions,
    /// It came in fragments.
    pub fragmented: bool,
}

/// A connection or datagram that a bound socket of ours received (modes tcp and udp).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Connect {
    /// When.
    pub time: Timestamp,
    /// Who; none if the socket could not tell any more (`accept failed`).
    pub source: Option<IpAddr>,
    /// TCP or UDP.
    pub proto: Proto,
    /// The port on which it came.
    pub port: u16,
}

/// How frames of an interface begin.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Link {
    /// An Ethernet header, perhaps with VLAN tags.
    Ethernet,
    /// Nothing stands before the IP header.
    Raw,
    /// Linux' cooked capture, version 1 (`LINUX_SLL` of capture files).
    Cooked,
    /// Linux' cooked capture, version 2.
    Cooked2,
    /// BSD loopback: four bytes of address family.
    Null,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decoded {
    /// TCP or UDP.
    Probe(Probe),
    /// An ICMP or ICMPv6 message.
    Icmp {
        /// From whom.
        source: IpAddr,
        /// To whom.
        target: IpAddr,
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
    /// A piece of a packet, kept until the others come, or of no interest.
    Fragment,
    /// Claims a protocol that it is too short or too odd for.
    Malformed(Malformed),
    /// Anything else.
    Other,
}

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Malformed {
    /// The IPv4 header says to be shorter than one can be; portsentry has a line for it.
    HeaderLength {
        /// As the header says, in words of 32 bits.
        words: u8,
        /// From whom it pretends to be.
        source: IpAddr,
        /// The protocol number that stands in the header.
        proto: u8,
    },
    /// It ends too early.
    Short,
}

/// So many VLAN tags may stand one behind the other.
const TAGS_MAX: usize = 4;

/// Of a TCP header so many bytes are needed: up to the flags.
const TCP_BYTES: usize = 14;

/// And of a UDP header: all.
const UDP_BYTES: usize = 8;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Protocol numbers.
mod next {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMP6: u8 = 58;
    pub const DESTINATION: u8 = 60;
    pub const MOBILITY: u8 = 135;
    pub const HOST_IDENTITY: u8 = 139;
    pub const SHIM6: u8 = 140;
}

/// Decodes frames; remembers a bounded number of fragments.
#[derive(Debug, Default)]
pub struct Decoder {
    fragments: Fragments,
}

/// What is known of a packet before its ports are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope {
    pub time: Timestamp,
    pub source: IpAddr,
    pub target: IpAddr,
    pub options: IpOptions,
    pub fragmented: bool,
}

impl Decoder {
    /// With nothing remembered.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Decodes a frame that was received at `time`.
    ///
    /// Of a fragmented packet one fragment gives the probe: the one with which ports and flags are
    /// complete. `nmap -f` cuts a TCP header into pieces of eight bytes, and the flags stand in the
    /// second.
    pub fn decode(&mut self, link: Link, frame: &[u8], time: Timestamp) -> Decoded {
        let packet = match link {
            Link::Raw => frame,
            Link::Null => rest(frame, 4),
            Link::Cooked => rest(frame, 16),
            Link::Cooked2 => rest(frame, 20),
            Link::Ethernet => match behind_ethernet(frame) {
                Some(packet) => packet,
                None => return Decoded::Other,
            },
        };
        match packet.first().map(|first| first >> 4) {
            Some(4) => self.ipv4(packet, time),
            Some(6) => self.ipv6(packet, time),
            _ => Decoded::Other,
        }
    }

    fn ipv4(&mut self, packet: &[u8], time: Timestamp) -> Decoded {
        let Some(header) = packet.first_chunk::<20>() else { return Decoded::Other };
        let [first, _, l0, l1, i0, i1, f0, f1, _, proto, _, _, s0, s1, s2, s3, t0, t1, t2, t3] =
            *header;
        let source = IpAddr::from([s0, s1, s2, s3]);
        let target = IpAddr::from([t0, t1, t2, t3]);
        let words = first & 0x0f;
        if words < 5 {
            return Decoded::Malformed(Malformed::HeaderLength { words, source, proto });
        }
        // A length of 0 is that of a packet that the network card has yet to cut.
        let length = match u16::from_be_bytes([l0, l1]) {
            0 => packet.len(),
            length => usize::from(length).min(packet.len()),
        };
        let Some(payload) = packet.get(usize::from(words) * 4..length) else {
            return Decoded::Malformed(Malformed::Short);
        };
        let fragment = u16::from_be_bytes([f0, f1]);
        let (more, offset) = (fragment & 0x2000 != 0, usize::from(fragment & 0x1fff) * 8);
        let fragmented = more || offset > 0;
        let options = if words > 5 { IpOptions::Set } else { IpOptions::Unset };
        let envelope = Envelope { time, source, target, options, fragmented };
        if !fragmented {
            return upper(envelope, proto, payload).unwrap_or_else(Lack::of_whole);
        }
        let id = u32::from(u16::from_be_bytes([i0, i1]));
        self.fragments.add(envelope, id, proto, offset, payload)
    }

    fn ipv6(&mut self, packet: &[u8], time: Timestamp) -> Decoded {
        let Some(header) = packet.first_chunk::<40>() else { return Decoded::Other };
        let Some((source, target)) = addresses(header) else { return Decoded::Other };
        // A length of 0 is that of a jumbogram, or of a packet yet to be cut.
        let length = match u16::from_be_bytes([header[4], header[5]]) {
            0 => packet.len(),
            length => (usize::from(length) + 40).min(packet.len()),
        };
        let payload = packet.get(40..length).unwrap_or_default();
        let options = IpOptions::Unset;
        let envelope = Envelope { time, source, target, options, fragmented: false };
        match walk(envelope, header[6], payload) {
            Walk::Upper { envelope, proto, payload } => {
                upper(envelope, proto, payload).unwrap_or_else(Lack::of_whole)
            }
            Walk::Fragment { envelope, proto, offset, more, id, payload } => {
                if offset == 0 && !more {
                    // One fragment that is all: the rest of the chain stands behind it.
                    return chained(envelope, proto, payload).unwrap_or_else(Lack::of_whole);
                }
                let envelope = Envelope { fragmented: true, ..envelope };
                self.fragments.add(envelope, id, proto, offset, payload)
            }
            Walk::Lack => Decoded::Malformed(Malformed::Short),
            Walk::Other => Decoded::Other,
        }
    }
}

/// What stands behind an Ethernet header and its tags, if that is IP.
fn behind_ethernet(frame: &[u8]) -> Option<&[u8]> {
    let mut at = 12;
    for _ in 0..=TAGS_MAX {
        let kind = u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]);
        match kind {
            IPV4 | IPV6 => return Some(rest(frame, at + 2)),
            0x8100 | 0x88a8 | 0x9100 => at += 4,
            _ => return None,
        }
    }
    None
}

/// The addresses of an IPv6 header. An IPv4 address in its clothes has no business on a wire, and
/// would speak for a host that did not send it.
fn addresses(header: &[u8; 40]) -> Option<(IpAddr, IpAddr)> {
    let address = |at: usize| {
        let bytes: [u8; 16] = header.get(at..at + 16)?.try_into().ok()?;
        let address = std::net::Ipv6Addr::from(bytes);
        address.to_ipv4_mapped().is_none().then_some(IpAddr::V6(address))
    };
    Some((address(8)?, address(24)?))
}

fn rest(bytes: &[u8], from: usize) -> &[u8] {
    bytes.get(from..).unwrap_or_default()
}

/// Where a chain of IPv6 headers leads.
enum Walk<'a> {
    Upper {
        envelope: Envelope,
        proto: u8,
        payload: &'a [u8],
    },
    Fragment {
        envelope: Envelope,
        proto: u8,
        offset: usize,
        more: bool,
        id: u32,
        payload: &'a [u8],
    },
    Lack,
    Other,
}

fn walk(mut envelope: Envelope, mut proto: u8, mut bytes: &[u8]) -> Walk<'_> {
    // Each header takes eight bytes or more, so the packet ends it. A kernel sets no other limit.
    loop {
        let length = match (proto, bytes) {
            (next::TCP | next::UDP | next::ICMP6, payload) => {
                return Walk::Upper { envelope, proto, payload };
            }
            (next::FRAGMENT, [following, _, o0, o1, i0, i1, i2, i3, payload @ ..]) => {
                let field = u16::from_be_bytes([*o0, *o1]);
                return Walk::Fragment {
                    envelope,
                    proto: *following,
                    offset: usize::from(field & 0xfff8),
                    more: field & 1 != 0,
                    id: u32::from_be_bytes([*i0, *i1, *i2, *i3]),
                    payload,
                };
            }
            (next::AUTHENTICATION, [_, length, ..]) => (usize::from(*length) + 2) * 4,
            (
                next::HOP_BY_HOP
                | next::ROUTING
                | next::DESTINATION
                | next::MOBILITY
                | next::HOST_IDENTITY
                | next::SHIM6,
                [_, length, ..],
            ) => (usize::from(*length) + 1) * 8,
            (
                next::FRAGMENT
                | next::AUTHENTICATION
                | next::HOP_BY_HOP
                | next::ROUTING
                | next::DESTINATION,
                _,
            ) => return Walk::Lack,
            _ => return Walk::Other,
        };
        if proto == next::ROUTING {
            envelope.options = IpOptions::Set;
        }
        let (Some(following), Some(behind)) = (bytes.first(), bytes.get(length..)) else {
            return Walk::Lack;
        };
        (proto, bytes) = (*following, behind);
    }
}

/// Why a packet's beginning says nothing yet.
pub(super) enum Lack {
    /// More bytes would help.
    Bytes,
    /// Nothing would.
    Sense,
}

impl Lack {
    fn of_whole(self) -> Decoded {
        match self {
            Lack::Bytes => Decoded::Malformed(Malformed::Short),
            Lack::Sense => Decoded::Other,
        }
    }
}

/// Reads what the first bytes behind the IP header of a packet say; for IPv6 there may stand more
/// extension headers before the ports.
pub(super) fn chained(envelope: Envelope, proto: u8, bytes: &[u8]) -> Result<Decoded, Lack> {
    if envelope.source.is_ipv4() {
        return upper(envelope, proto, bytes);
    }
    match walk(envelope, proto, bytes) {
        Walk::Upper { envelope, proto, payload } => upper(envelope, proto, payload),
        Walk::Lack => Err(Lack::Bytes),
        // Fragments of fragments are nothing that a kernel would accept.
        Walk::Fragment { .. } | Walk::Other => Err(Lack::Sense),
    }
}

fn upper(envelope: Envelope, proto: u8, payload: &[u8]) -> Result<Decoded, Lack> {
    let Envelope { time, source, target, options, fragmented } = envelope;
    let is_ipv4 = source.is_ipv4();
    let (proto, needed) = match proto {
        next::TCP => (Proto::Tcp, TCP_BYTES),
        next::UDP => (Proto::Udp, UDP_BYTES),
        next::ICMP | next::ICMP6 if (proto == next::ICMP) == is_ipv4 => {
            return match payload {
                [kind, code, ..] => Ok(Decoded::Icmp { source, target, kind: *kind, code: *code }),
                _ => Err(Lack::Bytes),
            };
        }
        _ => return Err(Lack::Sense),
    };
    if payload.len() < needed {
        return Err(Lack::Bytes);
    }
    let [s0, s1, p0, p1, ..] = *payload else { return Err(Lack::Bytes) };
    let flags = match proto {
        Proto::Tcp => Flags(payload.get(13).copied().unwrap_or_default()),
        Proto::Udp => Flags::default(),
    };
    let port = u16::from_be_bytes([p0, p1]);
    let source_port = u16::from_be_bytes([s0, s1]);
    Ok(Decoded::Probe(Probe {
        time,
        source,
        target,
        proto,
        port,
        source_port,
        flags,
        options,
        fragmented,
    }))
}
