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
    },
    /// It ends too early.
    Short,
}

/// Decodes frames; remembers a bounded number of fragments.
#[derive(Debug, Default)]
pub struct Decoder {
    fragments: Fragments,
}

impl Decoder {
    /// With nothing remembered.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Decodes a frame that was received at `time`.
    pub fn decode(&mut self, link: Link, frame: &[u8], time: Timestamp) -> Decoded {
        let _ = (link, frame, time, &mut self.fragments);
        Decoded::Other
    }
}
