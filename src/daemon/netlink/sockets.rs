//! Sockets: connections of this host that were accepted from somebody who is out now, cut off.
//!
//! To conntrack a connection that is older than our table may look as if we had opened it, and its
//! packets like replies, which pass. So its socket is destroyed as well (`SOCK_DESTROY`). What we
//! opened ourselves stays: its local port is none on which anybody listens.

use std::{collections::HashSet, net::IpAddr};

use super::{
    codec::{DUMP, Message, Writer},
    fault::{Fault, Part},
    socket::{Own, Socket},
};
use crate::net::{Cidr, plain};

const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
const TCP: u8 = 6;
const LISTEN: u32 = 1 << 10;
/// Established, half open by the other side, and closing; not what we are opening ourselves.
const ACCEPTED: u32 = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
/// What names a socket: ports, addresses, interface, cookie.
const NAME: usize = 48;

/// A socket of this host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Open {
    /// Of which family (2 or 10) the socket itself is.
    family: u8,
    name: [u8; NAME],
    /// Its own port.
    pub port: u16,
    /// The address at its other end.
    pub peer: IpAddr,
}

/// Cuts connections.
#[derive(Debug)]
pub struct Sockets {
    socket: Socket,
}

impl Sockets {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// [`Fault::Unavailable`] where the kernel has no sock_diag.
    pub fn open() -> Result<Sockets, Fault> {
        Ok(Sockets { socket: Socket::open(Part::Sockets, 0, &Own::default())? })
    }

    /// Destroys the TCP sockets that were accepted from these; if `ports` names ranges, only those
    /// of local ports within. How many there were.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell, or cannot destroy sockets.
    pub fn cut(&mut self, nets: &[Cidr], ports: &[(u16, u16)]) -> Result<usize, Fault> {
        let singles: HashSet<IpAddr> =
            nets.iter().filter(|net| net.is_single()).map(|net| net.address()).collect();
        let prefixes: Vec<Cidr> = nets.iter().filter(|net| !net.is_single()).copied().collect();
        let is_out = |peer: IpAddr| {
            let within = |net: &Cidr| Cidr::new(peer, net.bits()) == *net;
            singles.contains(&peer) || prefixes.iter().any(within)
        };
        let is_meant = |port: u16| {
            ports.is_empty() || ports.iter().any(|(from, to)| (*from..=*to).contains(&port))
        };
        let mut found: Vec<Open> = Vec::new();
        for family in [2, 10] {
            self.list(family, ACCEPTED, |open| {
                if is_meant(open.port) && is_out(open.peer) {
                    found.push(open);
                }
            })?;
        }
        if found.is_empty() {
            return Ok(0);
        }
        let mut served: HashSet<u16> = HashSet::new();
        for family in [2, 10] {
            self.list(family, LISTEN, |open| served.extend([open.port]))?;
        }
        let mut cut = 0;
        for open in found.iter().filter(|open| served.contains(&open.port)) {
            cut += usize::from(self.destroy(open)?);
        }
        Ok(cut)
    }

    fn list(&mut self, family: u8, states: u32, mut each: impl FnMut(Open)) -> Result<(), Fault> {
        let write = |writer: &mut Writer, seq| {
            let mark = writer.begin(BY_FAMILY, DUMP, seq, &request(family, states, &[0; NAME]));
            writer.end(mark);
        };
        let asked = self.socket.dump("list sockets", write, |message| {
            if let Some(open) = message.as_ref().and_then(open) {
                each(open);
            }
        });
        match asked {
            // A kernel without IPv6 has no sockets of it.
            Err(fault) if family == 10 && fault.errno() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    /// True if it was still there.
    fn destroy(&mut self, open: &Open) -> Result<bool, Fault> {
        let seq = self.socket.next_seq();
        let mut writer = Writer::new();
        let body = request(open.family, u32::MAX, &open.name);
        let mark = writer.begin(DESTROY, super::codec::ACK, seq, &body);
        writer.end(mark);
        let refusals = self.socket.ask(writer.bytes(), seq, seq)?;
        match refusals.into_iter().next() {
            None => Ok(true),
            Some(answer) if answer.errno == libc::ENOENT => Ok(false),
            Some(answer) if answer.errno == libc::EOPNOTSUPP => Err(Fault::Unavailable {
                part: Part::Sockets,
                why: "this kernel cannot destroy sockets".to_owned(),
            }),
            Some(answer) => {
                Err(Fault::Refused { what: format!("cut the connection of {}", open.peer), answer })
            }
        }
    }
}

/// `inet_diag_req_v2`.
fn request(family: u8, states: u32, name: &[u8; NAME]) -> Vec<u8> {
    let mut body = vec![family, TCP, 0, 0];
    body.extend_from_slice(&states.to_ne_bytes());
    body.extend_from_slice(name);
    body
}

/// Reads an `inet_diag_msg`.
pub fn open(message: &Message<'_>) -> Option<Open> {
    if message.kind != BY_FAMILY {
        return None;
    }
    let family = *message.body.first()?;
    let name = *message.body.get(4..)?.first_chunk::<NAME>()?;
    let port = u16::from_be_bytes(*name.first_chunk()?);
    let peer = name.get(20..)?;
    let peer = match family {
        2 => IpAddr::from(*peer.first_chunk::<4>()?),
        10 => IpAddr::from(*peer.first_chunk::<16>()?),
        _ => return None,
    };
    Some(Open { family, name, port, peer: plain(peer) })
}
