//! Services: the ports on which somebody listens, as the kernel tells them. Nothing is bound to
//! find out.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{
    codec::{DUMP, Message, Writer},
    fault::{Fault, Part},
    socket::{Own, Socket},
};
use crate::{
    net::plain,
    sensor::{Probe, Proto, Service},
};

const BY_FAMILY: u16 = 20;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ESTABLISHED: u8 = 1;
const TIME_WAIT: u8 = 6;
const CLOSE: u8 = 7;
const LISTEN: u8 = 10;
/// What stands before the attributes.
const HEAD: usize = 72;
const V6ONLY: u16 = 11;

/// So many are remembered.
const SERVICES_MAX: usize = 65_536;

/// Asks for services.
#[derive(Debug)]
pub struct Services {
    socket: Socket,
}

impl Services {
    /// Opens it. No right is needed.
    ///
    /// # Errors
    ///
    /// [`Fault::Unavailable`] where the kernel has no sock_diag.
    pub fn open() -> Result<Services, Fault> {
        Ok(Services { socket: Socket::open(Part::Sockets, 0, &Own::default())? })
    }

    /// All services of this host, in order.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell; `/proc` may ([`listed`]).
    pub fn all(&mut self) -> Result<Vec<Service>, Fault> {
        let mut found = Vec::new();
        for (protocol, state) in [(TCP, LISTEN), (UDP, CLOSE)] {
            for family in [2, 10] {
                let write = |writer: &mut Writer, seq| {
                    let body = request(family, protocol, 1 << state, &[0; 48]);
                    let mark = writer.begin(BY_FAMILY, DUMP, seq, &body);
                    writer.end(mark);
                };
                let known = found.len();
                let asked = self.socket.dump("list services", write, |message| match message {
                    None => found.truncate(known),
                    Some(message) if found.len() < SERVICES_MAX => {
                        found.extend(services(&message, protocol));
                    }
                    Some(_) => {}
                });
                match asked {
                    // A kernel without IPv6 has no sockets of it.
                    Err(fault) if family == 10 && fault.errno() == Some(libc::ENOENT) => {}
                    other => other?,
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// True if some socket would take this very packet.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell.
    pub fn takes(&mut self, probe: &Probe) -> Result<bool, Fault> {
        let (protocol, family) =
            (protocol(probe.proto), if probe.source.is_ipv4() { 2 } else { 10 });
        let (us, them) = ((probe.target, probe.port), (probe.source, probe.source_port));
        // For UDP the kernel has the two ends the other way round.
        let (first, second) = if protocol == TCP { (us, them) } else { (them, us) };
        let mut name = [0; 48];
        put(&mut name, 0, &first.1.to_be_bytes());
        put(&mut name, 2, &second.1.to_be_bytes());
        put_address(&mut name, 4, first.0);
        put_address(&mut name, 20, second.0);
        // No cookie: whichever it is.
        put(&mut name, 40, &[0xff; 8]);
        let mut state = None;
        let write = |writer: &mut Writer, seq| {
            let mark = writer.begin(BY_FAMILY, 0, seq, &request(family, protocol, u32::MAX, &name));
            writer.end(mark);
        };
        let asked = self.socket.dump_while("find a service", write, |message| match message {
            None => true,
            Some(message) => {
                state = message.body.get(1).copied();
                false
            }
        });
        match asked {
            Ok(()) => Ok(state.is_some_and(|state| match protocol {
                TCP => state != TIME_WAIT,
                _ => state == CLOSE || state == ESTABLISHED,
            })),
            Err(fault) if fault.errno() == Some(libc::ENOENT) => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}

fn protocol(proto: Proto) -> u8 {
    match proto {
        Proto::Tcp => TCP,
        Proto::Udp => UDP,
    }
}

fn put(name: &mut [u8; 48], at: usize, bytes: &[u8]) {
    if let Some(place) = name.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn put_address(name: &mut [u8; 48], at: usize, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => put(name, at, &v4.octets()),
        IpAddr::V6(v6) => put(name, at, &v6.octets()),
    }
}

/// `inet_diag_req_v2`.
fn request(family: u8, protocol: u8, states: u32, name: &[u8; 48]) -> Vec<u8> {
    let mut body = vec![family, protocol, 0, 0];
    body.extend_from_slice(&states.to_ne_bytes());
    body.extend_from_slice(name);
    body
}

/// Reads an `inet_diag_msg`: one service, or two if the socket serves both families.
fn services(message: &Message<'_>, protocol: u8) -> Vec<Service> {
    let read = || {
        let family = *message.body.first()?;
        let port = u16::from_be_bytes(*message.body.get(4..)?.first_chunk()?);
        let address = message.body.get(8..)?;
        let address = match family {
            2 => IpAddr::from(*address.first_chunk::<4>()?),
            10 => IpAddr::from(*address.first_chunk::<16>()?),
            _ => return None,
        };
        Some((address, port))
    };
    if message.kind != BY_FAMILY {
        return Vec::new();
    }
    let Some((address, port)) = read() else { return Vec::new() };
    let both = message.attrs(HEAD).find(V6ONLY).is_some_and(|only| only.first() == Some(&0));
    of_socket(protocol, address, port, both)
}

fn of_socket(protocol: u8, address: IpAddr, port: u16, both: bool) -> Vec<Service> {
    let proto = if protocol == TCP { Proto::Tcp } else { Proto::Udp };
    if port == 0 {
        return Vec::new();
    }
    let mut found = vec![Service { proto, address: plain(address), port }];
    if both && address == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        found.push(Service { proto, address: Ipv4Addr::UNSPECIFIED.into(), port });
    }
    found
}

/// The same from `/proc/net`, for kernels without sock_diag; none where that is hidden.
pub fn listed() -> Option<Vec<Service>> {
    let mut found = Vec::new();
    for (file, protocol) in [("tcp", TCP), ("tcp6", TCP), ("udp", UDP), ("udp6", UDP)] {
        let text = match fs::read_to_string(format!("/proc/net/{file}")) {
            Ok(text) => text,
            // A kernel without IPv6 has no list of it.
            Err(_) if file.ends_with('6') => continue,
            Err(_) => return None,
        };
        found.extend(text.lines().skip(1).flat_map(|line| row(line, protocol)));
        found.truncate(SERVICES_MAX);
    }
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// `  0: 0100007F:0016 00000000:0000 0A …`; addresses are words of the machine's byte order. What
/// serves IPv4 as well is not told there, and is taken for that.
fn row(line: &str, protocol: u8) -> Vec<Service> {
    let read = || {
        let mut words = line.split_whitespace().skip(1);
        let (address, port) = words.next()?.split_once(':')?;
        let state = u8::from_str_radix(words.nth(1)?, 16).ok()?;
        let wanted = if protocol == TCP { LISTEN } else { CLOSE };
        let port = u16::from_str_radix(port, 16).ok()?;
        let mut bytes = Vec::new();
        for at in (0..address.len()).step_by(8) {
            let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        let address = match bytes.len() {
            4 => IpAddr::from(*bytes.first_chunk::<4>()?),
            16 => IpAddr::from(*bytes.first_chunk::<16>()?),
            _ => return None,
        };
        (state == wanted).then_some((address, port))
    };
    read().map_or_else(Vec::new, |(address, port)| of_socket(protocol, address, port, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_well() {
        let loopback = u32::from_ne_bytes([127, 0, 0, 1]);
        let rows = [
            (format!("   0: {loopback:08X}:0016 00000000:0000 0A 0"), TCP, vec![("127.0.0.1", 22)]),
            (format!("   0: {loopback:08X}:0016 00000000:0000 01 0"), TCP, vec![]),
            ("1: 00000000:0035 00000000:0000 07 0".to_owned(), UDP, vec![("0.0.0.0", 53)]),
            (
                format!("2: {:032}:0050 {:032}:0000 0A 0", 0, 0),
                TCP,
                vec![("::", 80), ("0.0.0.0", 80)],
            ),
            ("x".to_owned(), TCP, vec![]),
            ("2: 0000:0050 0:0 0A".to_owned(), TCP, vec![]),
        ];
        for (line, protocol, expected) in rows {
            let found: Vec<(String, u16)> = row(&line, protocol)
                .into_iter()
                .map(|one| (one.address.to_string(), one.port))
                .collect();
            let expected: Vec<(String, u16)> =
                expected.into_iter().map(|(a, p)| (a.to_owned(), p)).collect();
            assert_eq!(found, expected, "{line}");
        }
    }
}
