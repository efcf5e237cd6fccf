//! Conntrack: whose conversation a packet belongs to, as the kernel tracks it.
//!
//! One entry is asked for, by the addresses and ports of the packet; the table is never listed.

use std::net::IpAddr;

use super::{
    codec::{Attrs, Message, Writer},
    fault::{Fault, Part},
    socket::{Own, Socket},
};
use crate::net::plain;

/// Subsystem 1; new entries (as an entry is told) are 0, to get one is 1.
const NEW: u16 = 0x100;
const GET: u16 = 0x101;

const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
/// The entry was expected by a helper (the data of an FTP that we asked for).
const EXPECTED: u32 = 1;

/// One end's view of a conversation.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Tuple {
    /// 6 is TCP, 17 UDP.
    pub protocol: u8,
    /// Who sends, from which port.
    pub from: (IpAddr, u16),
    /// To whom, at which port.
    pub to: (IpAddr, u16),
}

/// What is known of a packet's conversation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The packet is an answer, or was expected.
    pub answers: bool,
    /// Another address or port than the one in the packet answers it.
    pub translated: bool,
}

/// Asks for entries.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
}

impl Conntrack {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// [`Fault::Unavailable`] where there is no netfilter.
    pub fn open() -> Result<Conntrack, Fault> {
        Ok(Conntrack { socket: Socket::open(Part::Conntrack, 0, &Own::default())? })
    }

    /// What is known of the conversation of a packet; none if it is not tracked.
    ///
    /// # Errors
    ///
    /// When the kernel does not answer, or lacks conntrack.
    pub fn find(&mut self, packet: &Tuple) -> Result<Option<Entry>, Fault> {
        let mut found = None;
        let asked = self.socket.dump_while(
            "find a conversation",
            |writer, seq| write(writer, seq, packet),
            |message| match message {
                None => true,
                Some(message) => {
                    found = entry(&message, packet);
                    false
                }
            },
        );
        match asked {
            Ok(()) => Ok(found),
            Err(fault) if fault.errno() == Some(libc::ENOENT) => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}

fn write(writer: &mut Writer, seq: u32, packet: &Tuple) {
    let (family, sender, receiver) = match packet.from.0 {
        IpAddr::V4(_) => (2, 1, 2),
        IpAddr::V6(_) => (10, 3, 4),
    };
    let mark = writer.begin_nf(GET, 0, seq, family, 0);
    let tuple = writer.open(ORIGINAL);
    let addresses = writer.open(1);
    for (kind, address) in [(sender, packet.from.0), (receiver, packet.to.0)] {
        match address {
            IpAddr::V4(v4) => writer.put(kind, &v4.octets()),
            IpAddr::V6(v6) => writer.put(kind, &v6.octets()),
        }
    }
    writer.close(addresses);
    let protocol = writer.open(2);
    writer.put(1, &[packet.protocol]);
    writer.put(2, &packet.from.1.to_be_bytes());
    writer.put(3, &packet.to.1.to_be_bytes());
    writer.close(protocol);
    writer.close(tuple);
    writer.end(mark);
}

/// Reads an entry as it is told; none if it is of another conversation.
pub fn entry(message: &Message<'_>, packet: &Tuple) -> Option<Entry> {
    if message.kind != NEW {
        return None;
    }
    let attrs = message.nf_attrs();
    let original = tuple(attrs.nested(ORIGINAL))?;
    let reply = tuple(attrs.nested(REPLY))?;
    let expected = attrs.u32(STATUS).is_some_and(|status| status & EXPECTED != 0);
    if original == *packet {
        return Some(Entry { answers: expected, translated: reply.from != packet.to });
    }
    (reply == *packet).then_some(Entry { answers: true, translated: false })
}

fn tuple(attrs: Attrs<'_>) -> Option<Tuple> {
    let addresses = attrs.nested(1);
    let address = |v4, v6| {
        let short = || Some(IpAddr::from(*addresses.find(v4)?.first_chunk::<4>()?));
        let long = || Some(IpAddr::from(*addresses.find(v6)?.first_chunk::<16>()?));
        short().or_else(long).map(plain)
    };
    let protocol = attrs.nested(2);
    let port = |kind| Some(u16::from_be_bytes(*protocol.find(kind)?.first_chunk()?));
    Some(Tuple {
        protocol: *protocol.find(1)?.first()?,
        from: (address(1, 3)?, port(2)?),
        to: (address(2, 4)?, port(3)?),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::codec::Messages, *};

    fn told(original: &Tuple, reply: &Tuple, status: u32) -> Vec<u8> {
        let mut writer = Writer::new();
        let mark = writer.begin_nf(NEW, 0, 1, 2, 0);
        for (kind, one) in [(ORIGINAL, original), (REPLY, reply)] {
            let mut whole = Writer::new();
            write(&mut whole, 1, one);
            let messages = whole.bytes().to_vec();
            let message = Messages::of(&messages).next().unwrap();
            writer.put(kind, message.nf_attrs().find(ORIGINAL).unwrap());
        }
        writer.put_u32(STATUS, status);
        writer.end(mark);
        writer.bytes().to_vec()
    }

    #[test]
    fn answers_and_translations_are_told_apart() {
        let at = |text: &str, port| (text.parse().unwrap(), port);
        let one = |from, to| Tuple { protocol: 6, from, to };
        let (them, us, inner) =
            (at("192.0.2.1", 4000), at("198.51.100.1", 79), at("172.17.0.2", 7));
        let rows = [
            ((one(them, us), one(us, them), 0), Some((false, false))),
            ((one(them, us), one(inner, them), 0), Some((false, true))),
            ((one(them, us), one(us, them), EXPECTED), Some((true, false))),
            ((one(us, them), one(them, us), 0), Some((true, false))),
            ((one(inner, them), one(them, inner), 0), None),
        ];
        for ((original, reply, status), expected) in rows {
            let bytes = told(&original, &reply, status);
            let message = Messages::of(&bytes).next().unwrap();
            let found = entry(&message, &one(them, us));
            assert_eq!(found.map(|e| (e.answers, e.translated)), expected, "{original:?}");
            for cut in 0..bytes.len() {
                if let Some(message) = Messages::of(&bytes[..cut]).next() {
                    let _ = entry(&message, &one(them, us));
                }
            }
        }
    }
}
