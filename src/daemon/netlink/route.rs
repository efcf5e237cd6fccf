//! Surroundings: which addresses are ours, which networks are next to us, who leads out of them.
//!
//! Nobody of these is ever banned. They are read by rtnetlink, and read again when the kernel tells
//! that they changed.

use std::{
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use rustix::{io::Errno, net::RecvFlags};

use super::{
    codec::{Attrs, DUMP, Message, Messages, Writer},
    fault::{Fault, Part},
    socket::{Own, Socket},
    watch::readable,
};
use crate::net::{Cidr, plain};

const NEW_ADDRESS: u16 = 20;
const DEL_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DEL_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;

/// Addresses and routes of both families, as a mask of `RTMGRP_…`.
const GROUPS: u32 = 0x10 | 0x40 | 0x100 | 0x400;

/// Lengths of what stands before the attributes.
const ADDRESS_HEAD: usize = 8;
const ROUTE_HEAD: usize = 12;

/// So many addresses are remembered; a host with more has other worries.
const ADDRESSES_MAX: usize = 65_536;
/// So many datagrams are read at once.
const DATAGRAMS_MAX: usize = 4096;

/// What is around this host.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Surroundings {
    /// Addresses of this host, loopback among them, in order.
    pub own: Vec<IpAddr>,
    /// Networks that its interfaces are in, in order.
    pub connected: Vec<Cidr>,
    /// Gateways of its default routes, in order.
    pub gateways: Vec<IpAddr>,
}

/// Reads the surroundings, and waits for them to change.
#[derive(Debug)]
pub struct Horizon {
    asking: Socket,
    listening: Socket,
    buffer: Vec<u8>,
}

impl Horizon {
    /// Opens it. No right is needed.
    ///
    /// # Errors
    ///
    /// [`Fault::Unavailable`] where the system has no rtnetlink for us.
    pub fn open() -> Result<Horizon, Fault> {
        let own = Own::default();
        let asking = Socket::open(Part::Route, 0, &own)?;
        let listening = Socket::open(Part::Route, GROUPS, &own)?;
        Ok(Horizon { asking, listening, buffer: Vec::new() })
    }

    /// The surroundings as they are now.
    ///
    /// # Errors
    ///
    /// When the kernel does not answer.
    pub fn look(&mut self) -> Result<Surroundings, Fault> {
        let mut found = Surroundings::default();
        let ask = |kind, head: &'static [u8]| {
            move |writer: &mut Writer, seq| {
                let mark = writer.begin(kind, DUMP, seq, head);
                writer.end(mark);
            }
        };
        self.asking.dump("list addresses", ask(GET_ADDRESS, &[0; ADDRESS_HEAD]), |message| {
            match message {
                None => found = Surroundings::default(),
                Some(message) => found.take(&message),
            }
        })?;
        self.asking.dump(
            "list routes",
            ask(GET_ROUTE, &[0; ROUTE_HEAD]),
            |message| match message {
                None => found.gateways.clear(),
                Some(message) => found.take(&message),
            },
        )?;
        found.own.sort_unstable();
        found.own.dedup();
        found.connected.sort_unstable();
        found.connected.dedup();
        found.gateways.sort_unstable();
        found.gateways.dedup();
        Ok(found)
    }

    /// Waits at most so long (none: for ever) for a change; true if it is time to look again.
    ///
    /// # Errors
    ///
    /// When the socket fails; open another.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<bool, Fault> {
        if !readable(&self.listening, timeout)? {
            return Ok(false);
        }
        let mut changed = false;
        for _ in 0..DATAGRAMS_MAX {
            match self.listening.receive(&mut self.buffer, RecvFlags::DONTWAIT) {
                Ok(()) => changed |= Messages::of(&self.buffer).any(|m| concerns(&m)),
                Err(Errno::AGAIN) => break,
                Err(Errno::NOBUFS) => changed = true,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(changed)
    }
}

impl AsFd for Horizon {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listening.as_fd()
    }
}

/// True for news of an address or of a default route: a router hears of many others.
pub(super) fn concerns(message: &Message<'_>) -> bool {
    match message.kind {
        NEW_ADDRESS | DEL_ADDRESS => true,
        NEW_ROUTE | DEL_ROUTE => message.body.get(1) == Some(&0),
        _ => false,
    }
}

impl Surroundings {
    /// Takes in what a message tells.
    pub fn take(&mut self, message: &Message<'_>) {
        match message.kind {
            NEW_ADDRESS => self.take_address(message),
            NEW_ROUTE => self.take_route(message),
            _ => (),
        }
    }

    fn take_address(&mut self, message: &Message<'_>) {
        let [Some(family), Some(bits)] = [0, 1].map(|at| message.body.get(at).copied()) else {
            return;
        };
        let attrs = message.attrs(ADDRESS_HEAD);
        let at = |kind| attrs.find(kind).and_then(|bytes| address(family, bytes));
        // Between two points the first is the other end, and the second ours.
        let (other, local) = (at(1), at(2));
        if self.own.len() < ADDRESSES_MAX {
            self.own.extend(local.or(other).map(plain));
            self.connected.extend(other.or(local).map(|address| Cidr::new(address, bits)));
        }
    }

    fn take_route(&mut self, message: &Message<'_>) {
        const UNICAST: u8 = 1;
        let byte = |at: usize| message.body.get(at).copied();
        let (Some(family), Some(0), Some(UNICAST)) = (byte(0), byte(1), byte(7)) else { return };
        let attrs = message.attrs(ROUTE_HEAD);
        self.take_gateway(family, attrs);
        // Several ways out: each a head of eight bytes, whose first two are its length.
        let mut ways = attrs.find(9).unwrap_or_default();
        while let Some(length) = ways.first_chunk().map(|l| usize::from(u16::from_ne_bytes(*l)))
            && let Some(way) = ways.get(8..length)
        {
            self.take_gateway(family, Attrs::of(way));
            ways = ways.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }

    fn take_gateway(&mut self, family: u8, attrs: Attrs<'_>) {
        let direct = attrs.find(5).and_then(|bytes| address(family, bytes));
        let via = || {
            let (family, bytes) = attrs.find(18)?.split_first_chunk()?;
            address(u8::try_from(u16::from_ne_bytes(*family)).ok()?, bytes)
        };
        if self.gateways.len() < ADDRESSES_MAX {
            self.gateways.extend(direct.or_else(via).map(plain));
        }
    }
}

fn address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        2 => Some(IpAddr::from(*bytes.first_chunk::<4>()?)),
        10 => Some(IpAddr::from(*bytes.first_chunk::<16>()?)),
        _ => None,
    }
}
