//! `Bound`: ports that are bound so that nobody else answers there, and who knocks at them.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
};

use socket2::{Domain, Socket, Type};

use crate::net::plain;

/// Connections that wait at one port.
const BACKLOG: i32 = 16;
/// So many knocks at one port are taken in one go.
const KNOCKS_PER_TURN: usize = 64;
/// A datagram is read so far; only its length matters beyond its first byte.
const DATAGRAM_BYTES: usize = 2048;

/// What is bound at a port.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// It takes connections.
    Tcp,
    /// It takes datagrams.
    Udp,
}

/// A port, with its protocol.
pub type Port = (Kind, u16);

/// Ports that are bound, of IPv4 and, where it can be had, IPv6.
#[derive(Debug, Default)]
pub struct Bound {
    open: Vec<(Port, Socket)>,
    /// Ports that somebody else has.
    missing: Vec<Port>,
}

impl Bound {
    /// Binds these.
    pub fn bind(ports: impl IntoIterator<Item = Port>) -> Bound {
        let mut bound = Bound { open: Vec::new(), missing: ports.into_iter().collect() };
        bound.missing.sort_unstable();
        bound.missing.dedup();
        bound.retry();
        bound
    }

    /// Tries once more to bind what is missing; true if any could be had now.
    pub fn retry(&mut self) -> bool {
        let before = self.missing.len();
        let open = &mut self.open;
        self.missing.retain(|port| match open_port(*port) {
            Ok(sockets) => {
                open.extend(sockets.into_iter().map(|socket| (*port, socket)));
                false
            }
            Err(_) => true,
        });
        self.missing.len() < before
    }

    /// Ports that could not be bound.
    pub fn missing(&self) -> &[Port] {
        &self.missing
    }

    /// True if nothing is bound.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// True if this port is bound here.
    pub fn has(&self, port: Port) -> bool {
        self.open.iter().any(|(known, _)| *known == port)
    }

    /// The sockets, in an order that stays until the next [`Bound::retry`].
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.open.iter().map(|(_, socket)| socket.as_fd())
    }

    /// Takes who knocks at the socket of this number. `knock` is told the port and who it was (none
    /// if that could not be had any more), and what it gives back is sent to them.
    pub fn take(
        &self,
        nth: usize,
        mut knock: impl FnMut(Port, Option<SocketAddr>) -> Option<Vec<u8>>,
    ) {
        let Some((port, socket)) = self.open.get(nth) else { return };
        for _ in 0..KNOCKS_PER_TURN {
            let done = match port.0 {
                Kind::Tcp => accept(*port, socket, &mut knock),
                Kind::Udp => receive(*port, socket, &mut knock),
            };
            if done.is_none() {
                return;
            }
        }
    }
}

/// None if nobody waits.
fn accept(
    port: Port,
    socket: &Socket,
    knock: &mut impl FnMut(Port, Option<SocketAddr>) -> Option<Vec<u8>>,
) -> Option<()> {
    match socket.accept() {
        Ok((stream, address)) => {
            if let Some(banner) = knock(port, address.as_socket().map(unmapped)) {
                // Who does not wait for it does not get it.
                let _ = stream.set_nonblocking(true);
                let _ = (&stream).write(&banner);
            }
            Some(())
        }
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => None,
            io::ErrorKind::Interrupted => Some(()),
            io::ErrorKind::ConnectionAborted => {
                knock(port, None);
                Some(())
            }
            // Out of descriptors, say: the next turn tries again.
            _ => None,
        },
    }
}

fn receive(
    port: Port,
    socket: &Socket,
    knock: &mut impl FnMut(Port, Option<SocketAddr>) -> Option<Vec<u8>>,
) -> Option<()> {
    let mut buffer = [0; DATAGRAM_BYTES];
    match rustix::net::recvfrom(socket, &mut buffer, rustix::net::RecvFlags::empty()) {
        Ok((_, length, address)) => {
            let sender = address.and_then(|any| SocketAddr::try_from(any).ok());
            if let Some(banner) = knock(port, sender.map(unmapped))
                && let Some(sender) = sender
            {
                // Not more than came in: whose address was forged must not be flooded by us.
                let banner = banner.get(..length).unwrap_or(&banner);
                let _ = socket.send_to(banner, &sender.into());
            }
            Some(())
        }
        Err(rustix::io::Errno::AGAIN) => None,
        // What an earlier answer of ours met.
        Err(_) => Some(()),
    }
}

fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(plain(address.ip()), address.port())
}

fn open_port((kind, port): Port) -> io::Result<Vec<Socket>> {
    let mut sockets = vec![open_one(kind, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?];
    // A host without IPv6 has none, and what somebody else serves there is theirs.
    sockets.extend(open_one(kind, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))));
    Ok(sockets)
}

fn open_one(kind: Kind, address: SocketAddr) -> io::Result<Socket> {
    let how = if kind == Kind::Tcp { Type::STREAM } else { Type::DGRAM };
    let socket = Socket::new(Domain::for_address(address), how, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if kind == Kind::Tcp {
        // Connections of an earlier run that linger are no service.
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if kind == Kind::Tcp {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        net::{TcpListener, TcpStream, UdpSocket},
        time::Duration,
    };

    use super::*;

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn who_knocks_is_told_and_gets_the_banner() {
        let taken = TcpListener::bind("0.0.0.0:0").unwrap();
        let busy = taken.local_addr().unwrap().port();
        let free = free_port();
        let mut bound = Bound::bind([(Kind::Tcp, busy), (Kind::Tcp, free), (Kind::Udp, free)]);
        assert_eq!(bound.missing(), [(Kind::Tcp, busy)]);
        assert!(bound.has((Kind::Tcp, free)) && bound.has((Kind::Udp, free)));

        let mut stream = TcpStream::connect(("127.0.0.1", free)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let datagram = UdpSocket::bind("127.0.0.1:0").unwrap();
        datagram.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        datagram.send_to(b"ab", ("127.0.0.1", free)).unwrap();
        let mut knocks = Vec::new();
        while knocks.len() < 2 {
            for nth in 0..bound.sockets().count() {
                bound.take(nth, |port, who| {
                    knocks.push((port, who.unwrap().ip().to_string()));
                    Some(b"hello".to_vec())
                });
            }
        }
        knocks.sort();
        let own = "127.0.0.1".to_owned();
        assert_eq!(knocks, [((Kind::Tcp, free), own.clone()), ((Kind::Udp, free), own)]);
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(said, "hello");
        let mut buffer = [0; 9];
        let (length, _) = datagram.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"he");

        drop(taken);
        assert!(bound.retry() && bound.missing().is_empty());
    }
}
