//! Links: the interfaces of this host and their addresses, and news of both.

use std::{
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use rustix::{io::Errno, net::RecvFlags};

use super::{
    codec::{DUMP, Message, Messages, Writer},
    fault::{Fault, Part},
    route::{Surroundings, concerns},
    socket::{Own, Socket},
    watch::readable,
};
use crate::net::plain;

const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const GET_ROUTE: u16 = 26;

/// Links, addresses and routes of both families, as a mask of `RTMGRP_…`.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

const LINK_HEAD: usize = 16;
const ADDRESS_HEAD: usize = 8;
const ROUTE_HEAD: [u8; 12] = [0; 12];

/// So many interfaces and addresses are remembered.
const ENTRIES_MAX: usize = 65_536;
/// So many datagrams are read at once.
const DATAGRAMS_MAX: usize = 4096;

/// Masters that hand packets up a second time, in their own name.
const REPEATERS: [&str; 3] = ["bridge", "bond", "team"];

/// An interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// It is a port of a bridge or a part of a bond: its packets come again from there.
    pub enslaved: bool,
}

/// What there is on this host.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ground {
    /// Its interfaces.
    pub links: Vec<Link>,
    /// Its addresses, each with the length of its network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Gateways of its default routes.
    pub gateways: Vec<IpAddr>,
}

/// Reads the ground, and waits for it to change.
#[derive(Debug)]
pub struct Links {
    asking: Socket,
    listening: Socket,
    buffer: Vec<u8>,
}

impl Links {
    /// Opens it. No right is needed.
    ///
    /// # Errors
    ///
    /// [`Fault::Unavailable`] where the system has no rtnetlink for us.
    pub fn open() -> Result<Links, Fault> {
        let own = Own::default();
        let asking = Socket::open(Part::Route, 0, &own)?;
        let listening = Socket::open(Part::Route, GROUPS, &own)?;
        Ok(Links { asking, listening, buffer: Vec::new() })
    }

    /// What there is now.
    ///
    /// # Errors
    ///
    /// When the kernel does not answer.
    pub fn look(&mut self) -> Result<Ground, Fault> {
        let mut ground = Ground::default();
        let ask = |kind: u16, head: &'static [u8]| {
            move |writer: &mut Writer, seq| {
                let mark = writer.begin(kind, DUMP, seq, head);
                writer.end(mark);
            }
        };
        self.asking.dump(
            "list interfaces",
            ask(GET_LINK, &[0; LINK_HEAD]),
            |message| match message {
                None => ground.links.clear(),
                Some(message) if ground.links.len() < ENTRIES_MAX => {
                    ground.links.extend(link(&message));
                }
                Some(_) => {}
            },
        )?;
        self.asking.dump("list addresses", ask(GET_ADDRESS, &[0; ADDRESS_HEAD]), |message| {
            match message {
                None => ground.addresses.clear(),
                Some(message) if ground.addresses.len() < ENTRIES_MAX => {
                    ground.addresses.extend(address(&message));
                }
                Some(_) => {}
            }
        })?;
        let mut around = Surroundings::default();
        self.asking.dump("list routes", ask(GET_ROUTE, &ROUTE_HEAD), |message| match message {
            None => around.gateways.clear(),
            Some(message) => around.take(&message),
        })?;
        ground.gateways = around.gateways;
        ground.gateways.sort_unstable();
        ground.gateways.dedup();
        Ok(ground)
    }

    /// True if something of the ground has changed since this was asked last. Routes that are no
    /// default routes come and go on a router all the time.
    ///
    /// # Errors
    ///
    /// When the socket fails; open another.
    pub fn changed(&mut self) -> Result<bool, Fault> {
        if !readable(&self.listening, Some(Duration::ZERO))? {
            return Ok(false);
        }
        let is_ours = |m: &Message<'_>| matches!(m.kind, NEW_LINK | DEL_LINK) || concerns(m);
        let mut changed = false;
        for _ in 0..DATAGRAMS_MAX {
            match self.listening.receive(&mut self.buffer, RecvFlags::DONTWAIT) {
                Ok(()) => changed |= Messages::of(&self.buffer).any(|m| is_ours(&m)),
                Err(Errno::NOBUFS) => changed = true,
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(changed)
    }
}

impl AsFd for Links {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listening.as_fd()
    }
}

/// Reads an interface.
pub fn link(message: &Message<'_>) -> Option<Link> {
    if message.kind != NEW_LINK {
        return None;
    }
    let index = u32::from_ne_bytes(*message.body.get(4..)?.first_chunk()?);
    let attrs = message.attrs(LINK_HEAD);
    let name = attrs.text(3)?.to_owned();
    let master = attrs.nested(18).text(4);
    let enslaved = attrs.find(10).is_some() && master.is_some_and(|kind| REPEATERS.contains(&kind));
    Some(Link { index, name, enslaved })
}

/// Reads an address.
fn address(message: &Message<'_>) -> Option<(IpAddr, u8)> {
    if message.kind != NEW_ADDRESS {
        return None;
    }
    let (family, bits) = (*message.body.first()?, *message.body.get(1)?);
    let attrs = message.attrs(ADDRESS_HEAD);
    // Between two points the first is the other end, and the second ours.
    let bytes = attrs.find(2).or_else(|| attrs.find(1))?;
    let address = match family {
        2 => IpAddr::from(*bytes.first_chunk::<4>()?),
        10 => IpAddr::from(*bytes.first_chunk::<16>()?),
        _ => return None,
    };
    Some((plain(address), bits))
}
